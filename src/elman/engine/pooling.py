"""Pooling: the steps of each sequence become one row, forwards and backwards.

The rows ``[N, D]`` of all steps lie below one another, step by step and the longest sequence first, and
``sizes [T]`` is the number of sequences that are still running at each step. With h[t] the row of step t of a
sequence, the four poolings are::

    last        the forward half of its last row beside the backward half of its first row
    mean        sum over t of h[t] / T
    max         the largest h[t] of each unit
    attention   sum over t of a[t] · h[t], where a = softmax over t of (w · h[t])

Source of the attention: Z. Yang et al., "Hierarchical Attention Networks" (2016), here with one learned
vector w as the score. `elman.labels.network_torch` computes the same in torch, for training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np


def pool(
    ways: Sequence[str],
    y: np.ndarray,
    end: np.ndarray,
    sizes: np.ndarray,
    attention: np.ndarray | None = None,
) -> np.ndarray:
    """Return one row ``[B, P·D]`` for each sequence: the results of all `ways` side by side.

    Args:
        ways: Names of poolings.
        y: Outputs of the last layer, ``[N, D]``.
        end: Last states of the last layer, ``[directions, S, B, H]``.
        sizes: Number of running sequences at each step, ``[T]``.
        attention: The vector w as ``[1, D]``; None without attention.
    """
    pooled: list[np.ndarray] = []
    for way in ways:
        # both directions at their own ends: they have read the whole sequence there
        if way == "last":
            pooled.append(np.concatenate([*end[:, 0]], axis=1))
        elif way == "max":
            pooled.append(_largest(y, sizes))
        else:
            # mean and attention are weighted means of the rows
            weights = _weights(way, y, sizes, attention)
            pooled.append(_sums(weights * y, sizes) / _sums(weights, sizes))
    return np.concatenate(pooled, axis=1)


class RunningPool:
    """The pooled row of one sequence whose steps arrive one after the other, read in one direction.

    Args:
        ways: Names of poolings.
        attention: The vector w as ``[1, D]``; None without attention.

    >>> running = RunningPool(["last", "mean", "max"])
    >>> running.add(np.array([[1.0], [4.0]]))
    >>> running.add(np.array([[1.0]]))
    >>> running.row().tolist()
    [[1.0, 2.0, 4.0]]
    """

    def __init__(self, ways: Sequence[str], attention: np.ndarray | None = None) -> None:
        self._ways, self._attention = ways, attention
        # The row ``[1, D]`` of each way; for "mean" and "attention" the sum of the weighted outputs.
        self._rows: dict[str, np.ndarray] = {}
        # The sum of the weights, and the highest score, whose weight is 1.
        self._weights: dict[str, tuple[np.ndarray | float, np.ndarray | float]] = {}

    def add(self, y: np.ndarray) -> None:
        """Add the outputs ``[T, D]`` of the next steps."""
        for way in self._ways:
            before = self._rows.get(way)
            if way == "last":
                self._rows[way] = y[-1:]
            elif way == "max":
                largest = y.max(axis=0, keepdims=True)
                self._rows[way] = largest if before is None else np.maximum(before, largest)
            else:
                self._add_weighted(way, y)

    def _add_weighted(self, way: str, y: np.ndarray) -> None:
        """Add outputs to a mean with weights exp(score); without attention every score is 0."""
        scores = np.zeros((len(y), 1), y.dtype)
        if way == "attention" and self._attention is not None:
            scores = (y @ self._attention.T.astype(np.float64)).astype(y.dtype)
        total, before_highest = self._weights.get(way, (0.0, -np.inf))
        highest = np.maximum(scores.max(), before_highest)
        # The weights so far were relative to the highest score so far.
        rest, weights = np.exp(before_highest - highest), np.exp(scores - highest)
        before = self._rows.get(way, np.zeros((1, y.shape[1]), y.dtype))
        # A sum of rows one after the other, as `pool` adds them.
        self._rows[way] = np.concatenate([rest * before, weights * y]).sum(axis=0, keepdims=True)
        self._weights[way] = rest * total + weights.sum(), highest

    def row(self) -> np.ndarray:
        """Return the results of all ways side by side, ``[1, P·D]``; at least one step was added."""
        rows = [
            self._rows[way] / self._weights[way][0] if way in self._weights else self._rows[way]
            for way in self._ways
        ]
        return np.concatenate(rows, axis=1)


def pool_backward(
    ways: Sequence[str],
    y: np.ndarray,
    sizes: np.ndarray,
    d_pooled: np.ndarray,
    attention: np.ndarray | None = None,
    *,
    hidden_size: int,
    frozen: bool,
) -> np.ndarray:
    """Return the gradient ``[N, D]`` of ``(d_pooled · pool(...)).sum()`` with respect to `y`.

    With `frozen` the weights of attention count as constants. Every pooling is then a weighted sum of rows,
    and ``(gradient · y).sum()`` is the pooled value itself.

    Args:
        ways: Names of poolings.
        y: Outputs of the last layer, ``[N, D]``.
        sizes: Number of running sequences at each step, ``[T]``.
        d_pooled: Gradient of the pooled rows, ``[B, P·D]``.
        attention: The vector w as ``[1, D]``; None without attention.
        hidden_size: Units of one direction; "last" divides D into directions.
        frozen: Whether to hold the weights of attention constant.
    """
    columns = _columns(sizes)
    # the gradients of all poolings add up
    dy = np.zeros_like(y)
    for way, d_row in zip(ways, np.split(d_pooled, len(ways), axis=1), strict=True):
        if way == "last":
            # Forwards the last row counts, backwards the first.
            lengths = np.bincount(columns)
            first = np.arange(len(lengths))
            last = (np.cumsum(sizes) - sizes)[lengths - 1] + first
            dy[last, :hidden_size] += d_row[:, :hidden_size]
            dy[first, hidden_size:] += d_row[:, hidden_size:]
        elif way == "max":
            dy += _is_largest(y, sizes) * d_row[columns]
        else:
            weights = _weights(way, y, sizes, attention)
            weights /= _sums(weights, sizes)[columns]
            dy += weights * d_row[columns]
            if way == "attention" and attention is not None and not frozen:
                # Gradient of softmax: each score's weight times how far its row's gain is above the mean.
                gain = (y * d_row[columns]).sum(axis=1, keepdims=True)
                mean_gain = _sums(weights * gain, sizes)[columns]
                dy += weights * (gain - mean_gain) * attention
    return dy


def _weights(
    way: str, y: np.ndarray, sizes: np.ndarray, attention: np.ndarray | None
) -> np.ndarray:
    """Return the weight of each row before the division by their sum, ``[N, 1]``."""
    if way != "attention" or attention is None:
        return np.ones((len(y), 1), y.dtype)
    # in float64, because BLAS sums in another order when the batch holds other sequences
    scores = (y @ attention.T.astype(np.float64)).astype(y.dtype)
    return np.asarray(np.exp(scores - _largest(scores, sizes)[_columns(sizes)]))


def _steps(sizes: np.ndarray) -> Iterator[tuple[slice, int]]:
    """Yield the rows of each step, and how many there are."""
    first = 0
    for size in sizes.tolist():
        yield slice(first, first + size), size
        first += size


def _columns(sizes: np.ndarray) -> np.ndarray:
    """Return the number of the sequence that each row belongs to, ``[N]``."""
    return np.asarray(np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes))


def _is_largest(y: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    """Return where ``y [N, D]`` is the maximum of its sequence; the earliest of several equal rows counts."""
    largest, chosen = _largest(y, sizes), np.zeros(y.shape, bool)
    # units whose maximum has not been met yet, [B, D]
    missing = np.ones(largest.shape, bool)
    for rows, size in _steps(sizes):
        chosen[rows] = missing[:size] & (y[rows] == largest[:size])
        missing[:size] &= ~chosen[rows]
    return chosen


def _sums(rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    sums = np.zeros((int(sizes[0]), rows.shape[1]), rows.dtype)
    for step, size in _steps(sizes):
        sums[:size] += rows[step]
    return sums


def _largest(rows: np.ndarray, sizes: np.ndarray) -> np.ndarray:
    largest = np.full((int(sizes[0]), rows.shape[1]), -np.inf, rows.dtype)
    for step, size in _steps(sizes):
        np.maximum(largest[:size], rows[step], out=largest[:size])
    return largest
