"""Path integrals of gradients: the difference of two scores as a sum over the numbers of the inputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from elman.cells import Cell

MAX_SCORE = 1e300
"""Scores and contributions are clipped to this size, so that sums of them stay finite."""

MAX_NUMBERS_AT_ONCE = 1 << 23
"""Numbers of all layers that are in memory at once."""
PATH_POINTS = (16, 32, 64, 128, 256, 512)
"""Numbers of points on the path from baseline to input, tried in this order until one is enough."""
MAX_MISSING_SHARE = 2e-3
"""Share of the score that the integral may miss for its points to be enough."""

ScoreFunction: TypeAlias = Callable[[np.ndarray, bool], tuple[np.ndarray, np.ndarray, np.ndarray]]
"""Takes rows ``[B, M, S]`` and whether the network is frozen.

Returns scores ``[B]``, gradients ``[B, M, S]``, and the biases ``[B]`` of a frozen network.
"""


def finite(numbers: ArrayLike) -> np.ndarray:
    """Return `numbers` clipped to ± `MAX_SCORE`, with 0 for NaN."""
    return np.asarray(np.nan_to_num(numbers).clip(-MAX_SCORE, MAX_SCORE))


def held_note(cell: Cell, *others: str) -> str:
    """Return a sentence about the parts that the decomposition holds constant; `others` are the task's."""
    constant = [*([" and ".join(cell.held)] if cell.held else []), *others]
    return f"Held constant: {', '.join(constant)}." if constant else ""


def mean_slopes(run: ScoreFunction, rows: np.ndarray, base: np.ndarray, size: int) -> np.ndarray:
    """Return the mean ``[M, S]`` of the gradients on the straight line from `base` to `rows`.

    The mean is a Gauss-Legendre quadrature. It takes more points until the integral misses at most
    `MAX_MISSING_SHARE` of the score.

    Args:
        run: The score and its gradients.
        rows: The input ``[M, S]``.
        base: The baseline ``[M, S]``.
        size: Numbers in memory for each row of the batch while `run` computes.
    """
    # [2]: the scores of the baseline and of the input
    ends = run(np.stack([base, rows]), False)[0]
    moved = rows.astype(np.float64) - base
    mean = np.zeros_like(moved)
    for points in PATH_POINTS:
        # Points and weights of the quadrature on -1 to 1.
        places, weights = np.polynomial.legendre.leggauss(points)
        mean = np.zeros_like(moved)
        # As many points together as fit into memory.
        at_once = max(1, MAX_NUMBERS_AT_ONCE // max(1, size))
        for first in range(0, points, at_once):
            block = slice(first, first + at_once)
            # [points, M, S]: inputs on the straight line, from -1 to 1 moved to 0 to 1
            between = base + (0.5 + 0.5 * places[block, None, None]) * moved
            mean += np.tensordot(0.5 * weights[block], run(between, False)[1], 1)
        # The integral of the gradient should be the difference of the scores; compare both.
        missing = ends[1] - ends[0] - (mean * moved).sum()
        if abs(missing) <= MAX_MISSING_SHARE * abs(ends[1]):
            break
    return np.asarray(mean)


def integrated(run: ScoreFunction, rows: np.ndarray, base: np.ndarray, size: int) -> np.ndarray:
    """Return the integrated gradients ``[M, S]``, which sum to the score of `rows` minus that of `base`.

    Source: M. Sundararajan et al., "Axiomatic Attribution for Deep Networks" (2017), equation 1.
    """
    return np.asarray(mean_slopes(run, rows, base, size) * (rows.astype(np.float64) - base))


def slopes_between(
    run: ScoreFunction, base: np.ndarray, rows: np.ndarray, *, frozen: bool, size: int
) -> tuple[np.ndarray, float]:
    """Return slopes ``[M, S]`` and a rest: the score of `rows` is ``(slopes · (rows - base)).sum() + rest``.

    A `frozen` network has the gates and slopes that it has at `rows`, and so is linear. Otherwise the slopes
    are `mean_slopes`, and the rest is the score of `base`.
    """
    if not frozen:
        return mean_slopes(run, rows, base, size), float(run(base[None], False)[0][0])
    _, slopes, bias = run(rows[None], True)
    # The frozen network is linear, so its score at the baseline is bias plus slopes times baseline.
    return slopes[0], float(bias[0] + (slopes[0] * base.astype(np.float64)).sum())
