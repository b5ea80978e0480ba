"""Growth of a model's arrays: entries for new tokens and labels between and after the old ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

NEW_ROW_NOISE = 0.1
"""Standard deviation of a new row around the mean of the old rows, in standard deviations of these."""
NEW_BIAS_SHIFT = -1.0
"""Bias of a new token or label, relative to the mean of the old ones, so that old answers hardly move."""


class Growth(NamedTuple):
    """The growth of one size of a network, such as its vocabulary."""

    size: int
    places: Sequence[int]
    """Index of each old entry among the new ones."""


def grown(
    array: np.ndarray, axis: int, growth: Growth, draw: np.random.Generator | None = None
) -> np.ndarray:
    """Return `array` with new entries along `axis`, which have noise where `draw` is given."""
    old = np.moveaxis(array, axis, 0)
    # float16 is too coarse to compute a mean in
    mean, spread = old.mean(axis=0, dtype=np.float64), old.std(axis=0, dtype=np.float64)
    rows = np.tile(mean, (growth.size, *[1] * (array.ndim - 1)))
    if draw is not None:
        rows += NEW_ROW_NOISE * spread * draw.standard_normal(rows.shape)
    if array.ndim == 1:
        rows += NEW_BIAS_SHIFT
    rows[[*growth.places]] = old
    return np.ascontiguousarray(np.moveaxis(rows, 0, axis), array.dtype)
