"""Weights and random seeds as the runtime of the exported page reads them."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

MAX_FLOAT32_WEIGHTS = 500_000
"""Largest number of weights that are written as float32. More are written as the upper 24 bits of it, which
keeps the file of an LSTM with 512 units below 6 MB and moves probabilities by less than 0.0001."""


class Weights:
    """Arrays one after the other, as base64 text."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._shapes: list[tuple[str, int, int]] = []
        self._count = 0

    def add(self, name: str, array: np.ndarray) -> None:
        """Add an array; a matrix is written column by column, as the runtime multiplies with it."""
        flat = np.ascontiguousarray(array.T, np.float32).ravel()
        self._arrays.append(flat)
        self._shapes.append((name, self._count, self._count + flat.size))
        self._count += flat.size

    def packed(self) -> dict[str, Any]:
        """Return the arrays, their names and positions, and the number of bytes of a weight."""
        bits = np.concatenate(self._arrays).view(np.uint32).astype("<u4")
        width = 4
        if self._count > MAX_FLOAT32_WEIGHTS:
            # Round to the nearest; a float32 is far from the largest number here, so nothing overflows.
            bits, width = bits + np.uint32(0x80), 3
        bytes_ = bits.view(np.uint8).reshape(-1, 4)[:, 4 - width :]
        weights = base64.b64encode(np.ascontiguousarray(bytes_).tobytes()).decode()
        return {"weights": weights, "shapes": self._shapes, "width": width}


def seed_of(seed: int | Sequence[int]) -> list[str]:
    """Return the state and increment of numpy's generator with a seed."""
    state = np.random.default_rng(seed).bit_generator.state["state"]
    return [str(state["state"]), str(state["inc"])]
