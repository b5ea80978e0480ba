"""Weights as integers of 8 bits with one scale for each row: symmetric, without a zero point.

A weight is its integer times the scale of its row, max|row| / 127. Activations are quantised alike, one
vector at a time, so that a product is a sum of integer products, which is exact, times both scales.
`native/int8.h` computes the same products in the compiled kernel.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import DTypeLike

from elman.cells import Cell
from elman.engine.layers import Layer

LARGEST = 127
"""The largest integer; -128 is not used, so that the range is symmetric."""
TINY = np.float32(1e-30)
"""A row without a larger number is stored as zeros, because the inverse of its scale could overflow."""
SCALE_BITS = 16
"""Significant bits of the scale of a stored weight, so that an integer of 7 bits times it is exact."""
_LOW_BITS = np.uint32((1 << (24 - SCALE_BITS)) - 1)
LARGEST_SCALE = ((np.finfo(np.float32).max / LARGEST).view(np.uint32) & ~_LOW_BITS).view(np.float32)
"""The largest scale whose product with `LARGEST` is finite."""


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
    scaled = rows * factor
    integers = (scaled + np.copysign(np.float32(0.5), scaled)).astype(np.int8)
    return integers, largest[..., 0] / np.float32(LARGEST)


def rounded_weights(weights: np.ndarray) -> np.ndarray:
    """Return float32 ``weights [R, N]`` rounded to integers times scales.

    Scales are rounded up to `SCALE_BITS`, so that the products are exact: `quantised` returns the same
    integers and scales for the result, however often it is rounded.

    >>> once = rounded_weights(np.float32([[0.1, -0.2]]))
    >>> bool((rounded_weights(once) == once).all())
    True
    """
    _, scales = quantised(weights)
    scales = ((scales.view(np.uint32) + _LOW_BITS) & ~_LOW_BITS).view(np.float32)[:, None]
    scales = np.minimum(scales, LARGEST_SCALE)
    known = scales > TINY / LARGEST
    ratios = np.where(known, weights / np.where(known, scales, 1), 0)
    integers = np.rint(ratios).clip(-LARGEST, LARGEST).astype(np.int8)  # a zero loses its sign
    return np.asarray(integers * scales)


def is_stored_form(integers: np.ndarray, scales: np.ndarray) -> bool:
    """Return whether `rounded_weights` could have given these integers ``[R, N]`` and scales ``[R]``."""
    largest = abs(integers.astype(np.int16)).max(axis=1, initial=0)
    known = (scales > TINY / LARGEST) & (scales <= LARGEST_SCALE)
    known &= scales.view(np.uint32) & _LOW_BITS == 0
    zero = (largest == 0) & (scales.view(np.uint32) == 0)
    return bool((zero | (known & (largest == LARGEST))).all())


class IntegerMatrix:
    """Weights ``[R, N]`` that multiply vectors as integers, exactly as the compiled kernel does."""

    def __init__(self, weights: np.ndarray) -> None:
        integers, self._scales = quantised(weights)
        # float64 holds every sum of integer products exactly, and its matrix product is fast
        self._columns = integers.astype(np.float64).T

    def product(self, x: np.ndarray) -> np.ndarray:
        """Return the products ``[.., R]`` of ``x [.., N]``, which is quantised."""
        integers, scales = quantised(x)
        sums = (integers.astype(np.float64) @ self._columns).astype(np.float32)
        return np.asarray(sums * (scales[..., None] * self._scales), x.dtype)


class IntegerLayer(Layer):
    """A recurrent layer in numpy whose products are those of integers; parameters as those of `Layer`."""

    def __init__(
        self,
        cell: Cell,
        arrays: Mapping[str, np.ndarray],
        name: str = "",
        dtype: DTypeLike = np.float32,
    ) -> None:
        super().__init__(cell, arrays, name, dtype)
        self._matrices = {
            id(weight): IntegerMatrix(weight)
            for direction in self.directions
            for weight in (direction.weight_ih, direction.weight_hh)
            if weight is not None
        }

    def _times(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        return self._matrices[id(weight)].product(x)
