"""The score of one input shared out among its numbers, by the gradients on the way to it from another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from elman.cells import Cell

__all__ = ["LARGEST", "Run", "finite", "held", "integrated", "mean_slopes", "slopes_between"]

LARGEST = 1e300
"""Scores and shares are within this, so that any sum of them is a number."""

ROOM = 1 << 23
"""Numbers of all layers that are held at once."""
POINTS = (16, 32, 64, 128, 256, 512)
"""Points of the path between baseline and input, as many as are needed."""
CLOSE = 2e-3
"""Share of what is explained that may be missing for these to be enough."""

# of rows [B, M, S], frozen or not: scores [B], slopes as the rows, and of the frozen network biases [B]
Run: TypeAlias = Callable[[np.ndarray, bool], tuple[np.ndarray, np.ndarray, np.ndarray]]


def finite(numbers: Any) -> np.ndarray:
    """Return `numbers` within ± `LARGEST`, 0 where they are none."""
    return np.asarray(np.nan_to_num(numbers).clip(-LARGEST, LARGEST))


def held(cell: Cell, *others: str) -> str:
    """Return what the decomposition takes as given, in a sentence, with `others` of the task; or nothing."""
    given = [*([" and ".join(cell.held)] if cell.held else []), *others]
    return f"Held as they were here: {', '.join(given)}." if given else ""


def mean_slopes(run: Run, rows: np.ndarray, base: np.ndarray, size: int) -> np.ndarray:
    """Return the mean ``[M, S]`` of the gradients on the straight line from `base` to `rows`.

    At the points of Gauss and Legendre, of which there are more until it explains the score of `rows` minus
    that of `base`, to a share of that score. `size` are the numbers that one row of the batch takes while it
    is run.
    """
    ends = run(np.stack([base, rows]), False)[0]
    moved = rows.astype(np.float64) - base
    mean = np.zeros_like(moved)
    for points in POINTS:
        places, weights = np.polynomial.legendre.leggauss(points)
        mean = np.zeros_like(moved)
        at_once = max(1, ROOM // max(1, size))
        for first in range(0, points, at_once):
            some = slice(first, first + at_once)
            between = base + (0.5 + 0.5 * places[some, None, None]) * moved
            mean += np.tensordot(0.5 * weights[some], run(between, False)[1], 1)
        missing = ends[1] - ends[0] - (mean * moved).sum()
        if abs(missing) <= CLOSE * abs(ends[1]):
            break
    return np.asarray(mean)


def integrated(run: Run, rows: np.ndarray, base: np.ndarray, size: int) -> np.ndarray:
    """Return the share ``[M, S]`` that each number has in the score of `rows` minus that of `base`.

    Source: M. Sundararajan et al., "Axiomatic Attribution for Deep Networks" (2017), equation 1.
    """
    return np.asarray(mean_slopes(run, rows, base, size) * (rows.astype(np.float64) - base))


def slopes_between(
    run: Run, base: np.ndarray, rows: np.ndarray, *, frozen: bool, size: int
) -> tuple[np.ndarray, float]:
    """Return slopes ``[M, S]`` and a rest: the score of `rows` is ``(slopes · (rows - base)).sum() + rest``.

    The slopes are those of the network frozen at `rows`, or else `mean_slopes`, and the rest is then the
    score of `base`.
    """
    if not frozen:
        return mean_slopes(run, rows, base, size), float(run(base[None], False)[0][0])
    _, slopes, bias = run(rows[None], True)
    return slopes[0], float(bias[0] + (slopes[0] * base.astype(np.float64)).sum())
