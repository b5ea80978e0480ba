"""The test that an explanation takes: does deleting what it names move the score as it says?

W. Samek et al., "Evaluating the Visualization of What a Deep Neural Network Has Learned" (2017), here against
random rankings of the same inputs.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, TypeAlias

import numpy as np

__all__ = ["RARE", "Deletion", "Without", "deletion_test"]

RARE = 0.1
"""At most this share of random rankings may do as well as an explanation that passes."""
_LARGEST = 3  # sets of up to so many inputs are deleted
_ALL, _DRAWN = 24, 19  # rankings that are compared
_SAME = 1e-6  # of the score: what rounding in float32 makes of equal changes

Without: TypeAlias = Callable[[list[tuple[int, ...]]], np.ndarray]
"""Returns the scores ``[n]`` without each of n sets of inputs."""


class Deletion(NamedTuple):
    """How much what an explanation names moves the score when it is deleted."""

    score: float
    """The mean share of other sets of inputs that move it less; 0.5 is chance."""
    chance: float
    """The share of random rankings that have this score or a higher one."""


class _Side(NamedTuple):
    """The inputs that are said to raise the score (sign 1), or those said to lower it (-1)."""

    sign: int
    first: int
    """Where they begin in a ranking."""
    depth: int
    share: float
    """What they contribute, of all."""


def deletion_test(
    contributions: Sequence[float] | np.ndarray,
    score: float,
    alone: Sequence[float] | np.ndarray,
    without: Without,
    *,
    measured: bool = False,
) -> Deletion | None:
    """Return whether deleting what contributions ``[N]`` name moves the score more than other deletions.

    Inputs that are said to raise the score and those said to lower it are tested apart, for deleted together
    they cancel. For k = 1, 2, 3, as far as there are so many: the share of other sets of k inputs whose
    deletion lowers (raises) the score less than that of the k that come first, a tie counted half; the mean
    over k, and over the two by what each contributes. The other sets are those of other rankings of the
    inputs, all of them or 19 that are drawn with seed 0; how many of these do as well is what is due to
    chance. With contributions that are `measured` by leaving inputs out, k = 1 would be no test. `alone`
    ``[N]`` are the scores without each input. None where there are too few rankings to tell, as of less than
    four inputs.

    >>> effect = np.array([4.0, 3.0, -2.0, 1.0])
    >>> without = lambda sets: np.array([10.0 - effect[list(one)].sum() for one in sets])
    >>> deletion_test(effect, 10.0, 10.0 - effect, without)
    Deletion(score=1.0, chance=0.041666666666666664)
    >>> deletion_test(effect[:2], 10.0, 10.0 - effect[:2], without) is None
    True
    """
    shares = np.asarray(contributions, np.float64)
    N, least = len(shares), 2 if measured else 1
    order = np.argsort(-shares, kind="stable")
    sides, named = list[_Side](), tuple[int, ...]()
    for sign, ordered in ((1, order), (-1, order[::-1])):
        mine = sign * shares > 0
        depth = min(_LARGEST, N - 1, int(mine.sum()))
        if depth >= least:
            sides.append(_Side(sign, len(named), depth, float(abs(shares[mine]).sum())))
            named += tuple(ordered[:depth].tolist())
    rankings = _rankings(named, N)
    if 1 / len(rankings) > RARE:
        return None
    chosen = {  # of each side, for each k, the sets of all rankings
        side: [
            [tuple(sorted(one[side.first : side.first + k])) for one in rankings]
            for k in range(least, side.depth + 1)
        ]
        for side in sides
    }
    sets = list(dict.fromkeys(one for each in chosen.values() for some in each for one in some))
    many = [one for one in sets if len(one) > 1]
    if not measured:
        sets = [*((i,) for i in range(N)), *many]
    first = np.asarray(alone, np.float64)[: len(sets) - len(many)]
    rest = np.concatenate([first, np.asarray(without(many))]) if many else first
    changes = score - rest
    step = _SAME * float(abs(score) + abs(changes).max()) or 1.0
    moved = dict(zip(sets, np.round(changes / step).tolist(), strict=True))
    whole = sum(side.share for side in sides)
    scores = np.zeros(len(rankings))
    for side, each in chosen.items():
        found = [_shares(moved, some, side.sign) for some in each]
        scores += side.share / whole * np.mean(found, axis=0)
    # sums of the same numbers may differ by rounding
    return Deletion(float(scores[0]), float((scores >= scores[0] - 1e-9).mean()))


def _shares(
    moved: dict[tuple[int, ...], float], sets: list[tuple[int, ...]], sign: int
) -> np.ndarray:
    """Return for each of some sets the share of all the others of its size that move the score less."""
    each = np.array([change for one, change in moved.items() if len(one) == len(sets[0])])
    own = np.array([moved[one] for one in sets])[:, None]
    less = (sign * each < sign * own).sum(axis=1) + 0.5 * (each == own).sum(axis=1)
    return np.asarray((less - 0.5) / (len(each) - 1))


def _rankings(named: tuple[int, ...], N: int) -> list[tuple[int, ...]]:
    """Return `named`, the first of a ranking of N inputs, then those of others: all, or some drawn."""
    k = len(named)
    if math.perm(N, k) <= _ALL:
        return [named, *(one for one in itertools.permutations(range(N), k) if one != named)]
    draw, found = np.random.default_rng(0), {named: None}
    while len(found) <= _DRAWN:
        found[tuple(draw.choice(N, k, replace=False).tolist())] = None
    return [*found]
