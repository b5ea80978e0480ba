"""A sequence of numbers as a few: what a linear model can read."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

__all__ = ["summaries"]

# So many times the greatest value of training is as far as it matters.
_FARTHEST = 1e6


def _summary(sequence: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return the summaries of one ``[T, C]``, NaN where a channel has no known value."""
    values = np.where(np.isfinite(sequence), sequence, np.nan) / largest
    values = np.clip(values, -_FARTHEST, _FARTHEST)
    steps = np.arange(len(values))
    known = np.isfinite(values)
    first, last = known.argmax(axis=0), len(values) - 1 - known[::-1].argmax(axis=0)
    channels = np.arange(values.shape[1])
    middle = np.nanmean(values, axis=0)
    times = np.where(known, steps[:, None], np.nan)
    times = times - np.nanmean(times, axis=0)
    slope = np.nansum(times * (values - middle), axis=0) / np.maximum(
        1.0, np.nansum(times**2, axis=0)
    )
    return np.concatenate(
        [
            [len(values)],
            middle,
            np.nanstd(values, axis=0),
            np.nanmin(values, axis=0),
            np.nanmax(values, axis=0),
            values[first, channels],
            values[last, channels],
            slope,
            np.nanmedian(values, axis=0),
        ]
    )


def summaries(training: Sequence[np.ndarray]) -> Callable[[Sequence[np.ndarray]], np.ndarray]:
    """Return what turns ``[T_i, C]`` sequences into summaries ``[N, 1 + 8 · C]``, standardised by `training`.

    They are the length and, of each channel, mean, deviation, least, greatest, first, last, slope and
    median of what is finite; of a channel that is missing throughout, those that are usual.

    >>> summarise = summaries([np.array([[0.0], [2.0]]), np.array([[4.0], [6.0]])])
    >>> summarise([np.array([[4.0], [np.nan], [6.0]])])[0, :2].round(6).tolist()
    [1.0, 1.0]
    """
    largest = np.zeros(training[0].shape[1])
    for sequence in training:
        largest = np.maximum(
            largest, np.abs(np.where(np.isfinite(sequence), sequence, 0)).max(axis=0)
        )
    largest[largest == 0] = 1.0

    def raw(sequences: Sequence[np.ndarray]) -> np.ndarray:
        with warnings.catch_warnings(), np.errstate(over="ignore"):
            # a channel that is missing throughout
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.stack([_summary(sequence, largest) for sequence in sequences])

    features = raw(training)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        middle = np.nan_to_num(np.nanmean(features, axis=0))
        spread = np.nan_to_num(np.nanstd(features, axis=0))
    spread[spread < 1e-9] = 1.0

    def summarise(sequences: Sequence[np.ndarray]) -> np.ndarray:
        if not len(sequences):
            return np.zeros((0, len(middle)))
        # what is missing is as usual; what is far outside must not drown the rest
        scaled = np.nan_to_num((raw(sequences) - middle) / spread)
        return np.asarray(scaled.clip(-100.0, 100.0))

    return summarise
