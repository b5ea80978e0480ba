"""Standardisation of numbers by the mean and standard deviation of the training set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from elman.errors import ModelFileError

MAX_STANDARDISED = 1e6
"""Bound of standardised numbers: a network saturates long before."""


@dataclass(frozen=True, eq=False)
class Scaler:
    """Standardises each channel of a sequence by mean and standard deviation of the training set.

    A missing value (NaN) becomes the mean, 0. With `indicator`, a second channel for each channel is 1 where
    a value was missing; these follow after all channels of values.

    >>> scaler = Scaler.of([np.array([[1.0], [3.0]])])
    >>> scaler.apply(np.array([[5.0]])).tolist()
    [[3.0]]
    """

    mean: np.ndarray
    """float64 ``[C]``."""
    scale: np.ndarray
    """float64 ``[C]``, above 0."""
    indicator: bool = False

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray], indicator: bool = False) -> Scaler:
        """Return the scaler fitted on sequences ``[T_i, C]``; a constant channel is only centred."""
        rows = np.concatenate(sequences).astype(np.float64)
        present = np.isfinite(rows)
        count = np.maximum(1, present.sum(axis=0))
        # divide by the largest value first: squares of huge numbers would overflow
        largest = np.maximum(np.where(present, abs(rows), 0).max(axis=0, initial=0.0), 1e-300)
        rows = np.where(present, rows / largest, 0.0)
        mean = rows.sum(axis=0) / count
        spread = np.sqrt((np.where(present, rows - mean, 0.0) ** 2).sum(axis=0) / count)
        # drop a spread that is only rounding error: the channel is constant
        scale = np.where(spread > 1e-9 * abs(mean), spread, 1.0 / largest)
        return cls(mean * largest, scale * largest, indicator)

    @property
    def channels(self) -> int:
        """Number of channels of the network's input, with indicators."""
        return len(self.mean) * (2 if self.indicator else 1)

    def apply(self, sequence: np.ndarray) -> np.ndarray:
        """Return the network's input for a sequence ``[T, C]``, float32 and finite."""
        missing = np.isnan(sequence)
        with np.errstate(over="ignore"):
            scaled = np.where(missing, 0.0, (sequence - self.mean) / self.scale)
        parts = [scaled, missing] if self.indicator else [scaled]
        bounded = np.concatenate(parts, axis=1).clip(-MAX_STANDARDISED, MAX_STANDARDISED)
        return bounded.astype(np.float32)

    def to_arrays(self, name: str) -> dict[str, np.ndarray]:
        """Return mean and scale as arrays named ``codec.{name}.…``, for a model file."""
        return {f"codec.{name}.mean": self.mean, f"codec.{name}.scale": self.scale}

    @classmethod
    def from_arrays(
        cls, name: str, arrays: Mapping[str, np.ndarray], indicator: bool = False
    ) -> Scaler:
        """Return the scaler stored by `to_arrays`; raises ModelFileError for anything else."""
        mean, scale = (
            arrays.get(f"codec.{name}.{part}", np.empty(0)) for part in ("mean", "scale")
        )
        rows = mean.ndim == 1 and mean.shape == scale.shape and len(mean) > 0
        # a model file may come from anywhere: a scale of 0 or NaN would make every answer NaN
        numbers = rows and mean.dtype == scale.dtype == np.float64
        if not numbers or not np.isfinite([mean, scale]).all() or not (scale > 0).all():
            raise ModelFileError(f"codec {name}", expected="finite means and positive scales")
        return cls(mean, scale, indicator)
