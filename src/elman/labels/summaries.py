"""Summary statistics of sequences of numbers, as features of a linear model."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import numpy as np

MAX_RELATIVE_VALUE = 1e6
"""Values are clipped to this multiple of the largest value in training."""


def _summary(sequence: np.ndarray, largest: np.ndarray) -> np.ndarray:
    """Return the statistics of one sequence ``[T, C]``, NaN for a channel without any finite value."""
    values = np.where(np.isfinite(sequence), sequence, np.nan) / largest
    values = np.clip(values, -MAX_RELATIVE_VALUE, MAX_RELATIVE_VALUE)
    steps = np.arange(len(values))
    known = np.isfinite(values)
    first, last = known.argmax(axis=0), len(values) - 1 - known[::-1].argmax(axis=0)
    channels = np.arange(values.shape[1])
    centre = np.nanmean(values, axis=0)
    times = np.where(known, steps[:, None], np.nan)
    times = times - np.nanmean(times, axis=0)
    slope = np.nansum(times * (values - centre), axis=0) / np.maximum(
        1.0, np.nansum(times**2, axis=0)
    )
    return np.concatenate(
        [
            [len(values)],
            centre,
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
    """Return a function from sequences ``[T_i, C]`` to features ``[N, 1 + 8 · C]``, fitted on `training`.

    The features, standardised by `training`, are the length and, for each channel, the mean, standard
    deviation, minimum, maximum, first, last, slope and median of its finite values. A channel without finite
    values gets the mean features of training.

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
            # numpy warns of channels without finite values
            warnings.simplefilter("ignore", RuntimeWarning)
            return np.stack([_summary(sequence, largest) for sequence in sequences])

    features = raw(training)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)
        centre = np.nan_to_num(np.nanmean(features, axis=0))
        spread = np.nan_to_num(np.nanstd(features, axis=0))
    spread[spread < 1e-9] = 1.0

    def summarise(sequences: Sequence[np.ndarray]) -> np.ndarray:
        if not len(sequences):
            return np.zeros((0, len(centre)))
        # a missing feature becomes 0, its mean; an extreme one must not outweigh all others
        scaled = np.nan_to_num((raw(sequences) - centre) / spread)
        return np.asarray(scaled.clip(-100.0, 100.0))

    return summarise
