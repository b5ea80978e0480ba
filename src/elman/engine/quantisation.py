"""Weights as integers of 8 bits with one scale for each row: symmetric, without a zero point.

A weight is its integer times the scale of its row, max|row| / 127. Activations are quantised alike, one
vector at a time, so that a product is a sum of integer products, which is exact, times both scales.
"""

from __future__ import annotations

import numpy as np

LARGEST = 127
"""The largest integer; -128 is not used, so that the range is symmetric."""
TINY = np.float32(1e-30)
"""A row without a larger number is stored as zeros, because the inverse of its scale could overflow."""


def quantised(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the integers ``[.., N]``, int8, of float32 ``rows [.., N]``, and the scale of each row ``[..]``.

    Halves are rounded away from 0, as a cast to an integer after adding a half does in C.

    >>> quantised(np.float32([[1.0, -2.0], [0.0, 0.0]]))[0].tolist()
    [[64, -127], [0, 0]]
    """
    rows = np.asarray(rows, np.float32)
    largest = abs(rows).max(axis=-1, initial=0.0, keepdims=True)
    known = largest > TINY
    factor = np.where(known, np.float32(LARGEST) / np.where(known, largest, 1), np.float32(0))
    integers = (rows * factor + np.copysign(np.float32(0.5), rows)).astype(np.int8)
    return integers, largest[..., 0] / np.float32(LARGEST)
