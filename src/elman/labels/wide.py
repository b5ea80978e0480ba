"""The wide part of a model: a linear term on fixed features of a sequence, added to the network's logits.

A recurrent network beside a linear model is the "wide and deep" model of H.-T. Cheng et al. (2016). Each kind
of features is a subclass of `WidePart`. Training fits it and multiplies its weights by their share in the
answer (`elman.labels.fusion`), so that a model answers with the plain sum of network and wide part.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import ClassVar, NamedTuple, Protocol, Self

import numpy as np

from elman.files.container import Facts, JsonObject
from elman.files.growth import Growth, grown
from elman.labels.config import SequenceConfig


class Encoded(Protocol):
    """Encoded sequences as `elman.labels.batches.EncodedSequences` holds them, which a wide part reads."""

    @property
    def sequences(self) -> list[np.ndarray]:
        """Token ids ``[T_i]`` or scaled numbers ``[T_i, C]``; where words are spelled, indices of words."""

    @property
    def words(self) -> np.ndarray | None:
        """Token id of each distinct word ``[W]``, if words are spelled."""

    @property
    def letters(self) -> list[np.ndarray] | None:
        """Character ids of each distinct word, if words are spelled."""


class WideShares(NamedTuple):
    """The terms that sum exactly to one logit of a wide part."""

    elements: np.ndarray
    """Share of each element of the sequence, float64: tokens or letters ``[M]``, or numbers ``[T, C]``."""
    bias: float


class WidePart(ABC):
    """A linear model of a sequence's features; immutable."""

    kind: ClassVar[str]
    """Name of the kind of features in a model file."""
    note: ClassVar[str]
    """A sentence that says how explanations share the linear model's logit among the inputs."""

    bias: np.ndarray
    """``[K]``."""

    @property
    def outputs(self) -> int:
        """Number of logits, K."""
        return len(self.bias)

    def problem(self, config: SequenceConfig) -> str:
        """Return in words why the part does not fit a network of this configuration, or "" if it does."""
        if config.kind.per_step:
            return "a tagger has none"
        return "" if self.outputs == config.outputs else f"{self.outputs} outputs"

    @abstractmethod
    def logits(self, encoded: Encoded) -> np.ndarray:
        """Return the logits of each sequence, float64 ``[N, K]``."""

    @abstractmethod
    def shares(self, encoded: Encoded, output: int, *, letters: bool = False) -> WideShares:
        """Return the share of each element of a single sequence in the logit number `output`.

        Args:
            encoded: The sequence, as the only one.
            output: Number of the label; 0 for a regression.
            letters: Whether the elements are the letters of its words, not the words.
        """

    @abstractmethod
    def scaled(self, factor: float) -> Self:
        """Return the same model with logits multiplied by `factor`."""

    def extended(self, growth: Growth, characters: int) -> Self:  # noqa: ARG002 - few parts read characters
        """Return the part with a logit for each new label, the mean of the old ones minus a constant.

        Args:
            growth: The growth of the number of logits.
            characters: Size of the network's alphabet.
        """
        part = copy(self)
        for name, axis in (("weights", 1), ("bias", 0)):
            object.__setattr__(part, name, grown(getattr(self, name), axis, growth))
        return part

    @abstractmethod
    def to_parts(self) -> tuple[JsonObject, dict[str, np.ndarray]]:
        """Return the fields as a JSON object and arrays named ``codec.wide.…``, for a model file."""

    @classmethod
    @abstractmethod
    def from_parts(cls, form: Facts, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the part stored by `to_parts`; raises ModelFileError for anything else."""
