"""A test of an explanation: whether the inputs with the largest numbers move the score when replaced.

Each input alone is replaced by others that are plausible in its place, drawn anew for the test. Deleting
inputs instead would evaluate the network on sequences unlike its training data, and would pass explanations
that rank a wrong input first. Comparing a ranking with measured changes is the idea of W. Samek et al.,
"Evaluating the Visualization of What a Deep Neural Network Has Learned" (2017).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

MAX_P = 0.1
"""Largest share of random rankings that may move the score as much as an explanation that passes."""
MIN_MOVED_SHARE = 0.8
"""Smallest change by the inputs named first that passes, as a share of the largest possible change."""
RANKINGS = 1000
"""Number of rankings that are compared: the explanation's own and random ones."""
_NAMED_INPUTS = 3  # inputs at each end of a ranking that count as named
# Relative difference up to which sums of the same changes in another order are equal.
_ROUNDING = 1e-9


class SelfTest(NamedTuple):
    """Result of the test whether the inputs that an explanation names first move the score."""

    moved: float
    """Change of the score by the inputs named first, as a share of the largest change by equally many."""
    p: float
    """Share of random rankings of the inputs that move the score at least as much."""
    stronger: int | None = None
    """Index of the group of inputs that moves the score most, if the explanation does not name it first."""

    def described(self, names: Sequence[str]) -> str:
        """Return the result as a part of a sentence; `names` are those of the groups of inputs."""
        # The explanation's own ranking is among those compared.
        count = round(RANKINGS * self.p) - 1
        others = {0: "none moves", 1: "one moves"}.get(count, f"{count} move")
        random = f"p = {self.p:.3g}: of {RANKINGS - 1} random rankings {others} the score as much"
        if self.moved < MIN_MOVED_SHARE:
            other = "" if self.stronger is None else f", {names[self.stronger]} moves it most"
            return f"the inputs it names move the score too little{other} ({random})"
        return random if self.p <= MAX_P else f"{random}, too close to chance to tell"


def self_test(
    contributions: Sequence[float] | np.ndarray,
    falls: Sequence[float] | np.ndarray,
    *,
    min_change: float = 0.0,
) -> SelfTest | None:
    """Compare the inputs that an explanation names with measured changes of the score.

    Replacing the inputs with the one to three largest positive contributions should lower the score;
    replacing those with the most negative contributions should raise it. Each of the two changes is weighted
    by the share that the contributions of its sign have. Their sum is compared with the largest sum that any
    ranking of the inputs reaches, and with the sums of random rankings, drawn with seed 0.

    Args:
        contributions: ``[N]``, the numbers of the explanation.
        falls: ``[N]``, how far the score falls when each input alone is replaced.
        min_change: A fall up to this size counts as none.

    Returns:
        The result, or None where there is nothing to compare: fewer than two inputs, only contributions of 0,
        or no input that moves the score by more than `min_change`.

    >>> falls = np.array([0.0, 4.0, 0.1, 0.3, 0.0, -0.1, 0.0, 0.2])
    >>> self_test(falls, falls)
    SelfTest(moved=1.0, p=0.001, stronger=None)
    >>> self_test(falls[::-1], falls).moved
    0.0
    """
    named, moves = np.asarray(contributions, np.float64), np.asarray(falls, np.float64)
    N = len(named)
    if N < 2 or not named.any() or np.abs(moves).max() <= min_change:
        return None
    draw = np.random.default_rng(0)
    order = np.argsort(-named, kind="stable")
    random = draw.permuted(np.tile(np.arange(N), (RANKINGS - 1, 1)), axis=1)
    # [1001, N]: the explanation's ranking, random ones, and last the one by measured changes
    rankings = np.concatenate([order[None], random, [np.argsort(-moves, kind="stable")]])
    changes = _changes(named, moves, rankings)
    reached, most = changes[:-1], changes[-1]
    same = _ROUNDING * np.abs(moves).max()
    strongest = int(np.abs(moves).argmax())
    if most.max() <= same:
        return SelfTest(0.0, 1.0, strongest)
    # The smallest share decides: that of the first input, of the first two or of the first three.
    moved = float((reached[0] / np.maximum(most, same)).min().clip(0.0, 1.0))
    means = reached.mean(axis=1)
    p = float((means >= means[0] - same).mean())
    missed = moved < MIN_MOVED_SHARE and strongest != order[0]
    return SelfTest(moved, p, strongest if missed else None)


def _changes(named: np.ndarray, moves: np.ndarray, rankings: np.ndarray) -> np.ndarray:
    """Return the weighted change ``[R, 3]`` of the score by the first one to three inputs of R rankings.

    The first inputs of a ranking should lower the score and the last ones raise it, as many as `named` has
    positive and negative numbers, but at most three of each.
    """
    changes = np.zeros((len(rankings), _NAMED_INPUTS))
    for sign in (1, -1):
        count = min(_NAMED_INPUTS, int((sign * named > 0).sum()))
        if count:
            weight = sign * named[sign * named > 0].sum() / np.abs(named).sum()
            # For the negative numbers, take the inputs from the end of the ranking, the last one first.
            ends = slice(None, count) if sign > 0 else slice(None, -count - 1, -1)
            totals = np.cumsum(sign * weight * moves[rankings[:, ends]], axis=1)
            # if fewer than three inputs have this sign, repeat the last total
            changes += np.pad(totals, ((0, 0), (0, _NAMED_INPUTS - count)), mode="edge")
    return changes
