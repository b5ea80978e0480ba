"""Recurrent layers over sequences of unequal lengths, forwards and backwards: in the kernel, or in numpy.

The rows of all steps lie below one another, the longest sequence first, as `elman.labels.dataset.Steps`
puts them: a sequence that has ended drops out, and nothing is padded.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.cells import Cell, State, find, numpy_ops
from elman.engine import kernel as native
from elman.engine.layers import bounded
from elman.engine.pauses import one_thread, pause

__all__ = ["PackedLayer", "member", "pooled"]


def member(arrays: Mapping[str, np.ndarray], m: int) -> dict[str, np.ndarray]:
    """Return the arrays of one of several networks by their names in it."""
    prefix = f"members.{m}."
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


class PackedLayer:
    """One layer in one or both directions; `arrays` are its parameters as the model names them."""

    def __init__(
        self, cell: str, activation: str, arrays: Mapping[str, np.ndarray], name: str
    ) -> None:
        self.cell = find(cell, activation)
        self._number = native.cell_number(cell, activation)
        parts = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self.weights = [
            [arrays.get(f"{name}.{part}{way}") for part in parts]
            for way in ("", "_reverse")
            if f"{name}.weight_ih{way}" in arrays
        ]
        self.hidden_size = len(self.weights[0][0]) // self.cell.G  # type: ignore[arg-type]

    def run(self, x: np.ndarray, sizes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs ``[N, D·H]`` of ``x [N, I]`` and the last states ``[D, S, B, H]``, from zeros.

        `sizes` ``[T]`` are the sequences still running at each step. Every number is finite.
        """
        start = np.zeros((len(self.cell.states), int(sizes[0]), self.hidden_size), np.float32)
        ways = [
            self._way(x, sizes, weights, start, way == 1)
            for way, weights in enumerate(self.weights)
        ]
        y = np.concatenate([way[0] for way in ways], axis=1) if len(ways) > 1 else ways[0][0]
        return y, np.stack([way[1] for way in ways])

    def _way(
        self,
        x: np.ndarray,
        sizes: np.ndarray,
        weights: list[np.ndarray | None],
        start: np.ndarray,
        reverse: bool,
    ) -> tuple[np.ndarray, np.ndarray]:
        pause()
        kernel = native.kernel()
        if kernel is not None and self._number is not None:
            y = np.empty((len(x), self.hidden_size), np.float32)
            end = np.empty(start.shape, np.float32)
            ready = [None if weight is None else np.ascontiguousarray(weight) for weight in weights]
            kernel.forward(
                self._number,
                np.ascontiguousarray(sizes, np.int64),
                reverse,
                False,
                native.threads(),
                np.ascontiguousarray(x, np.float32),
                None,
                *ready,
                start,
                y,
                end,
            )
            if np.isfinite(y).all():
                return y, end
        with np.errstate(over="ignore", invalid="ignore"):
            return _in_numpy(self.cell, x, sizes, weights, start, reverse)


@one_thread()
def _in_numpy(
    cell: Cell,
    x: np.ndarray,
    sizes: np.ndarray,
    weights: list[Any],
    start: np.ndarray,
    reverse: bool,
) -> tuple[np.ndarray, np.ndarray]:
    weight_ih, weight_hh, bias_ih, bias_hh = weights
    ops = numpy_ops()
    gx = bounded(x @ weight_ih.T) + (0 if bias_ih is None else bias_ih)
    state: State = tuple(part.copy() for part in start)
    y = np.empty((len(x), start.shape[-1]), np.float32)
    firsts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
    steps = range(len(sizes) - 1, -1, -1) if reverse else range(len(sizes))
    for step in steps:
        first, size = int(firsts[step]), int(sizes[step])
        running = tuple(part[:size] for part in state)
        gh = None
        if weight_hh is not None:
            gh = bounded(running[0] @ weight_hh.T) + (0 if bias_hh is None else bias_hh)
        after = cell.step(ops, gx[first : first + size], gh, running)
        for part, new in zip(state, after, strict=True):
            part[:size] = bounded(new)
        y[first : first + size] = state[0][:size]
    return y, np.stack(state)


def pooled(
    ways: tuple[str, ...],
    y: np.ndarray,
    end: np.ndarray,
    columns: np.ndarray,
    attention: np.ndarray | None,
) -> np.ndarray:
    """Return each sequence as one row ``[B, P·D]``: the pools one beside the other.

    ``y [N, D]`` are the outputs, ``end [ways, S, B, H]`` the last states, ``columns [N]`` the sequence
    of each row, ``attention [1, D]`` what the outputs are weighed by.

    Source of the attention: Z. Yang et al., "Hierarchical Attention Networks" (2016), with the score a
    product with one learned vector.
    """
    count = end.shape[2]
    lengths = np.bincount(columns, minlength=count)[:, None].astype(np.float32)
    parts: list[np.ndarray] = []
    for way in ways:
        if way == "last":
            parts.append(np.concatenate([*end[:, 0]], axis=1))
            continue
        weights = np.ones((len(y), 1), np.float32)
        if way == "max":
            largest = np.full((count, y.shape[1]), -np.inf, np.float32)
            np.maximum.at(largest, columns, y)
            parts.append(largest)
            continue
        if way == "attention" and attention is not None:
            scores = (y @ attention.T.astype(np.float64)).astype(np.float32)
            largest = np.full((count, 1), -np.inf, np.float32)
            np.maximum.at(largest, columns, scores)
            weights = np.exp(scores - largest[columns])
        summed = np.zeros((count, y.shape[1]), np.float32)
        np.add.at(summed, columns, weights * y)
        divisor = lengths
        if way == "attention":
            divisor = np.zeros((count, 1), np.float32)
            np.add.at(divisor, columns, weights)
        parts.append(summed / divisor)
    return np.concatenate(parts, axis=1)
