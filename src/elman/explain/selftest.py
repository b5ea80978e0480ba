"""The test that every explanation takes: do the inputs that it names move the score when they are replaced?

Each input alone is replaced by others that are plausible in its place, with other draws than those of the
explanation itself. Deleting inputs instead would ask about sequences that the network has never met, and
would pass explanations that put a wrong input on top. The idea of holding a ranking against measured changes
is from W. Samek et al., "Evaluating the Visualization of What a Deep Neural Network Has Learned" (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

__all__ = ["CLOSE", "RANKINGS", "RARE", "SelfTest", "self_test"]

RARE = 0.1
"""An explanation passes when at most this share of random rankings moves the score as much."""
CLOSE = 0.8
"""An explanation fails when what it names moves the score less than this share of what is possible."""
RANKINGS = 1000
"""Rankings that are compared: the explanation's own and random ones."""
_NAMED = 3  # inputs at each end of a ranking that are compared
_SAME = 1e-9  # share of the largest sum that rounding makes of equal sums


class SelfTest(NamedTuple):
    """How far the inputs that an explanation names first move the score."""

    moved: float
    """The change by the inputs that it names first, as a share of the largest change by as many inputs."""
    p: float
    """The share of random rankings of the inputs that move the score as much."""
    stronger: int | None = None
    """The group of inputs that moves the score most, where the explanation does not name it first."""


def self_test(
    contributions: Sequence[float] | np.ndarray,
    falls: Sequence[float] | np.ndarray,
    *,
    least: float = 0.0,
) -> SelfTest | None:
    """Compare the inputs that an explanation names with measured changes of the score.

    The inputs with the one to three largest positive contributions should lower the score when they are
    replaced, those with the most negative contributions should raise it. Both sums, weighted by the
    contributions of their sign, are held against the largest sums that any ranking of the inputs reaches,
    and against those of random rankings, which are drawn with seed 0.

    Args:
        contributions: ``[N]``, the explanation's numbers.
        falls: ``[N]``, how far the score falls when each input alone is replaced.
        least: A fall below this is no change of the score.

    Returns:
        The result, or None where it cannot be told: there are fewer than two inputs, all contributions are
        0, or no input moves the score by more than `least`.

    >>> falls = np.array([0.0, 4.0, 0.1, 0.3, 0.0, -0.1, 0.0, 0.2])
    >>> self_test(falls, falls)
    SelfTest(moved=1.0, p=0.001, stronger=None)
    >>> self_test(falls[::-1], falls).moved
    0.0
    >>> self_test([0.0, 1.0], [0.0, 0.0]) is None
    True
    """
    named, moves = np.asarray(contributions, np.float64), np.asarray(falls, np.float64)
    N, sums = len(named), np.abs(named).sum()
    if N < 2 or not sums or np.abs(moves).max() <= least:
        return None
    draw = np.random.default_rng(0)
    order = np.argsort(-named, kind="stable")
    random = draw.permuted(np.tile(np.arange(N), (RANKINGS - 1, 1)), axis=1)
    rankings = np.concatenate([order[None], random])
    best = np.argsort(-moves, kind="stable")
    reached, most = np.zeros((len(rankings), _NAMED)), np.zeros(_NAMED)
    for sign in (1, -1):
        count = min(_NAMED, int((sign * named > 0).sum()))
        if not count:
            continue
        share = sign * named[sign * named > 0].sum() / sums
        ends = slice(None, count) if sign > 0 else slice(None, -count - 1, -1)
        pad = (0, _NAMED - count)
        totals = np.cumsum(sign * share * moves[rankings[:, ends]], axis=1)
        reached += np.pad(totals, (pad[:1] * 2, pad), mode="edge")
        most += np.pad(np.cumsum(sign * share * moves[best[ends]]), pad, mode="edge")
    same = _SAME * np.abs(moves).max()
    if most.max() <= same:
        return SelfTest(0.0, 1.0, int(np.abs(moves).argmax()))
    moved = float((reached[0] / np.maximum(most, same)).min().clip(0.0, 1.0))
    totals = reached.mean(axis=1)
    p = float((totals >= totals[0] - same).mean())
    stronger = int(np.abs(moves).argmax())
    return SelfTest(moved, p, stronger if moved < CLOSE and stronger != order[0] else None)
