"""Configuration of a network: its sizes, and from them the name and shape of every parameter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import Field, asdict, dataclass, fields
from typing import Any, ClassVar, Protocol, Self, TypeAlias

from elman import cells
from elman.engine.shapes import whole_number
from elman.errors import ModelFileError, OptionError

Shapes: TypeAlias = dict[str, tuple[int, ...]]


class ModelConfig(Protocol):
    """Members that the configuration of every task has, though not every one declares them in `Config`.

    Model files keep the fields of a configuration in the order of their declaration. The sizes therefore stay
    in the classes of the tasks, behind the fields that a task has before them.
    """

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    @property
    def task(self) -> str:
        """Name of the task."""

    @property
    def cell(self) -> str:
        """Name of the cell."""

    @property
    def activation(self) -> str:
        """Activation of the cell."""

    @property
    def hidden_size(self) -> int:
        """Units of a layer."""

    @property
    def num_layers(self) -> int:
        """Recurrent layers."""

    @property
    def bias(self) -> bool:
        """Whether the recurrent layers have a bias."""

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration with these values of all fields; raises ModelFileError, OptionError."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a model file keeps them."""

    def parameters(self) -> Shapes:
        """Return the shape of every parameter by name."""


@dataclass(frozen=True)
class Config(ABC):
    """Base of the configurations of the tasks: the fields that come first in each of them.

    Raises OptionError for a value that no network can have.
    """

    task: str
    cell: str
    activation: str

    tasks: ClassVar[tuple[str, ...]]
    """Names of the tasks that have this class of configuration."""
    limits: ClassVar[Mapping[str, tuple[int, int]]]
    """Smallest and largest value of every integer field."""
    added: ClassVar[tuple[str, ...]] = ()
    """Fields that older versions do not have; a file leaves them out where they have their default."""

    def __post_init__(self) -> None:
        if self.task not in self.tasks:
            raise OptionError("task", got=self.task, expected="one of " + ", ".join(self.tasks))
        for declared in fields(self):
            name, value = declared.name, getattr(self, declared.name)
            # A model file can hold any JSON, so check the type of every field.
            if declared.type == "str" and type(value) is not str:
                raise OptionError(name, got=value, expected="text")
            if declared.type == "bool" and type(value) is not bool:
                raise OptionError(name, got=value, expected="True or False")
            if declared.type == "int":
                object.__setattr__(self, name, whole_number(name, value, *self.limits[name]))
        cells.find(self.cell, self.activation)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Return the configuration with these values of its fields; raises ModelFileError, OptionError."""
        names = {declared.name for declared in fields(cls)}
        if not names - {*cls.added} <= values.keys() <= names:
            # Fields of another version of Elman, or of a damaged file.
            unlike = ", ".join(sorted(values.keys() ^ names))
            raise ModelFileError("its config", got=f"other fields: {unlike}")
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Return the fields as a model file keeps them."""
        defaults = {declared.name: declared.default for declared in fields(self)}
        return {
            name: value
            for name, value in asdict(self).items()
            if name not in self.added or value != defaults[name]
        }

    @abstractmethod
    def parameters(self) -> Shapes:
        """Return the shape of every parameter by name, in the order of the network."""

    def layer(
        self, name: str, input_size: int, hidden_size: int, *, bidirectional: bool, bias: bool
    ) -> Shapes:
        """Return the parameters of one recurrent layer.

        The names of the backward direction end in ``_reverse``, as in torch.
        """
        shapes = cells.find(self.cell, self.activation).parameters(input_size, hidden_size, bias)
        directions = ("", "_reverse") if bidirectional else ("",)
        return {
            f"{name}.{parameter}{direction}": shape
            for direction in directions
            for parameter, shape in shapes.items()
        }


def member_shapes(shapes: Shapes, count: int) -> Shapes:
    """Return the shapes of `count` networks with the same `shapes`, each behind ``members.{m}.``."""
    return {
        f"members.{member}.{name}": shape
        for member in range(count)
        for name, shape in shapes.items()
    }
