"""Lookup of the classes that read the model files of a task.

The registry of tasks stands above this folder, which must not import it. The package therefore hands the
registry's lookup down when it is imported, before any model can be read.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from typing import Self

    import numpy as np

    from elman.engine.config import ModelConfig
    from elman.files.container import Facts, JsonObject


class Codec(Protocol):
    """Translation between what a task reads and answers and the numbers of its network."""

    def check(self, config: Any) -> None:
        """Raise InputError where the network of `config` has other sizes than this codec."""

    def settings(self) -> Mapping[str, str | bool | int | None]:
        """Return the options of training that this codec fixes, by their names."""

    def to_parts(self) -> tuple[JsonObject, dict[str, np.ndarray]]:
        """Return the codec as a JSON object and arrays named ``codec.…``, for a model file."""

    @classmethod
    def from_parts(cls, config: Facts, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the codec that `to_parts` took apart; raises ModelFileError for anything else."""


ModelTypes: TypeAlias = "tuple[type[ModelConfig], type[Codec]]"

_lookup: Callable[[object], ModelTypes] | None = None


def set_lookup(lookup: Callable[[object], ModelTypes]) -> None:
    """Set the function that finds the configuration and codec class of a task by its name.

    Args:
        lookup: Raises ModelFileError for anything but the name of a task.
    """
    global _lookup
    _lookup = lookup


def types_of(task: object) -> ModelTypes:
    """Return the configuration and codec class of the task that a file names.

    Raises ModelFileError for anything but the name of a task.
    """
    assert _lookup is not None, "importing the package sets the lookup"  # noqa: S101
    return _lookup(task)
