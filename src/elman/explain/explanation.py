"""An explanation as a value: a number for every input, and the test of its own that it passed or failed.

An explanation that adds up says how much of the score came from each input; one by leave-one-out says how the
score changes without it. Each is held against the network: do its numbers sum to the score, and does deleting
the inputs that it names move the score more than deleting others (Samek et al., "Evaluating the Visualization
of What a Deep Neural Network Has Learned", 2017)? One that fails says so wherever it is shown.
"""

from __future__ import annotations

import html
import itertools
import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np

from elman._errors import printable

__all__ = [
    "DECOMPOSITION",
    "GAP",
    "INTEGRATED",
    "LEFT_OUT",
    "METHODS",
    "RARE",
    "Deletion",
    "Explanation",
    "best_method",
    "deletion_test",
    "printed",
]

METHODS = DECOMPOSITION, INTEGRATED, LEFT_OUT = (
    "decomposition",
    "integrated gradients",
    "leave-one-out",
)
GAP = 0.01
"""Share of the contributions that may be missing from their sum."""

RARE = 0.1
"""At most this share of sets chosen at random may do as well as what an explanation names."""

_CHANCE = 0.5
_LARGEST = 3  # sets of up to so many inputs are deleted
_ALL, _DRAWN = 24, 19  # rankings that are compared
_ROWS, _BAR = 40, 20

Without = Callable[[list[tuple[int, ...]]], np.ndarray]


class Deletion(NamedTuple):
    """How much what an explanation names moves the score when it is deleted."""

    score: float
    """The mean share of other sets of inputs that move it less; 0.5 is chance."""
    chance: float
    """The share of sets chosen at random that have this score or a higher one."""


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a score is what it is: ``contributions + start_state + bias + residual == score``.

    >>> told = Explanation("language", "pizza", "decomposition", True, "logit", 2.0, ("I", "like"),
    ...     np.array([0.5, 1.0]), 0.25, 0.25, 0.0, np.array([0.5, 1.5]), Deletion(1.0, 0.05))
    >>> told.gap, told.passed
    (0.0, True)
    >>> print(told)
    why "pizza": logit 2.0000 by decomposition
                 contribution  absence
    I                 +0.5000  +0.5000  ██████████
    like              +1.0000  +1.5000  ████████████████████
    start state       +0.2500           █████
    bias              +0.2500
    Its numbers sum to the score (gap 0.00 %); deletion score 1.00 (as high for 5 % of random choices).
    """

    task: str
    target: str
    """The answer that is explained."""
    method: str
    """One of `METHODS`."""
    exact: bool
    """Whether it is a decomposition that is the network itself: linear rnn, mingru given its gates."""
    score_name: str
    """What the score is: "logit", "log probability", "forecast" and so on."""
    score: float
    inputs: tuple[str, ...]
    """Tokens, or names of earlier values."""
    contributions: np.ndarray
    """float64 ``[N]``, in units of the score."""
    start_state: float = 0.0
    """The share of the state before the first input."""
    bias: float = 0.0
    """The share of the biases; by integrated gradients the score of nothing read from a state of zeros."""
    residual: float = 0.0
    """What is missing from the sum: rounding, quadrature, or by leave-one-out what inputs do together."""
    absence: np.ndarray | None = None
    """float64 ``[N]``: the score minus what it is when that input is left out."""
    deletion: Deletion | None = None
    """What `deletion_test` returns."""
    steps: int = 0
    """Recurrent steps that were run for `absence`."""
    note: str = ""

    @property
    def deletion_score(self) -> float | None:
        """How often deleting what it names moves the score more than other deletions; 0.5 is chance."""
        return None if self.deletion is None else self.deletion.score

    @property
    def gap(self) -> float:
        """The residual as a share of what is explained: all contributions, or the score less the bias."""
        shares = float(np.abs(self.contributions).sum()) + abs(self.start_state)
        whole = max(shares, abs(self.score - self.bias))
        return abs(self.residual) / whole if whole else 0.0

    @property
    def _sums(self) -> bool:
        return self.method == LEFT_OUT or self.gap <= GAP

    @property
    def passed(self) -> bool | None:
        """Whether it stands its own test; None where that cannot be told.

        It fails where its numbers do not sum, or deleting what it names moves the score no more than deleting
        others in the mean; it passes where at most `RARE` of random choices do as well.
        """
        if not self._sums or (self.deletion is not None and self.deletion.score <= _CHANCE):
            return False
        return True if self.deletion is not None and self.deletion.chance <= RARE else None

    @property
    def verdict(self) -> str:
        """How its test went, in a sentence."""
        gap = f"gap {100 * self.gap:.2f} %"
        if self.method == LEFT_OUT:
            sums = "Each number is measured, without that input"
        elif self._sums:
            sums = f"Its numbers sum to the score ({gap})"
        else:
            sums = (
                f"its numbers do not sum to the score ({gap}, at most {100 * GAP:g} % is allowed)"
            )
        if self.deletion is None:
            return self._told(f"{sums}; not tested by deleting inputs.")
        score, chance = self.deletion
        random = f"{100 * chance:.0f} %" if chance >= 0.005 else "less than 1 %"
        deleted = f"deletion score {score:.2f} (as high for {random} of random choices)"
        if score <= _CHANCE:
            deleted = f"deletion score {score:.2f}, where chance is {_CHANCE:.2f}"
        elif chance > RARE:
            deleted += ", too close to chance to tell"
        return self._told(f"{sums}; {deleted}.")

    def _told(self, words: str) -> str:
        if self.passed is not False:
            return words
        return f"THIS EXPLANATION FAILS ITS OWN TEST: {words[0].lower()}{words[1:]}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON, an object for each input."""
        absence = [None] * len(self.inputs) if self.absence is None else self.absence.tolist()
        rows = zip(self.inputs, self.contributions.tolist(), absence, strict=True)
        names = ("task", "target", "score", "score_name", "method", "exact")
        after = ("start_state", "bias", "residual", "gap", "deletion_score", "passed", "verdict")
        return {
            **{name: getattr(self, name) for name in names},
            "contributions": [
                {"token": token, "position": place, "contribution": share, "absence": change}
                for place, (token, share, change) in enumerate(rows)
            ],
            **{name: getattr(self, name) for name in (*after, "steps", "note")},
        }

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def to_columns(self) -> dict[str, Any]:
        """Return a row for each input as columns: input, contribution, absence."""
        columns: dict[str, Any] = {"input": [*self.inputs], "contribution": self.contributions}
        return columns if self.absence is None else columns | {"absence": self.absence}

    def to_frame(self) -> Any:
        """Return `to_columns` as a data frame of polars where that is installed, else as it is."""
        columns = self.to_columns()
        try:
            import polars as pl
        except ImportError:
            return columns
        # a lone surrogate is no text for polars
        names = [name.encode("utf-8", "replace").decode() for name in self.inputs]
        return pl.DataFrame(columns | {"input": names})

    def to_svg(self, *, width: float = 720, standalone: bool = True) -> str:
        """Return it as a picture: an SVG, with its rules of style inside where it is to stand alone."""
        from elman.explain import draw

        return draw.contributions(self, width=width, standalone=standalone)

    def plot(self) -> Any:
        """Return it as a matplotlib figure; raises MissingDependencyError."""
        from elman import plots

        return plots.contributions(self)

    def __str__(self) -> str:
        order = np.argsort(-np.abs(self.contributions), kind="stable")
        kept = np.sort(order[:_ROWS]).tolist()
        changes = [None] * len(self.inputs) if self.absence is None else self.absence.tolist()
        rows = [(printed(self.inputs[i]), float(self.contributions[i]), changes[i]) for i in kept]
        if self.method != LEFT_OUT and self.start_state:
            rows.append(("start state", self.start_state, None))
        widest = max((abs(share) for _, share, _ in rows), default=0.0) or 1.0
        width = max([11, *(len(name) for name, _, _ in rows)])
        lines = [
            f'why "{printed(self.target)}": {self.score_name} {self.score:.4f} by {self.method}',
            f"{'':{width}}  contribution" + ("" if self.absence is None else "  absence"),
        ]
        for name, share, change in rows:
            bar = ("█" if share > 0 else "░") * round(_BAR * abs(share) / widest)
            absent = (
                "" if self.absence is None else f"  {'' if change is None else f'{change:+.4f}':>7}"
            )
            lines.append(f"{name:{width}}  {share:>+12.4f}{absent}  {bar}".rstrip())
        if self.method != LEFT_OUT:
            lines.append(f"{'bias':{width}}  {self.bias:>+12.4f}")
            if self.residual:
                lines.append(f"{'residual':{width}}  {self.residual:>+12.2g}")
        if len(kept) < len(self.inputs):
            lines.append(f"the {len(kept)} largest of {len(self.inputs):,} inputs")
        return "\n".join([*lines, self.verdict, *([self.note] if self.note else [])])

    def _repr_html_(self) -> str:
        # the picture has the verdict
        return f"<div>{self.to_svg()}<p>{html.escape(self.note)}</p></div>"


def printed(token: str) -> str:
    r"""Return an input's name as it is printed: on one line, without what steers a terminal.

    >>> printed("\n"), printed("pizza")
    ('line end', 'pizza')
    """
    return {"\n": "line end", " ": "space"}.get(token) or printable(token, 24)


def best_method(told: Callable[[str], Explanation]) -> Explanation:
    """Return ``told("decomposition")``, or where that fails its own test ``told("leave-one-out")``."""
    first = told(DECOMPOSITION)
    if first.passed is not False:
        return first
    second = told(LEFT_OUT)
    failed = f"gap {100 * first.gap:.2f} %, deletion score {first.deletion_score or 0.0:.2f}"
    note = f"By decomposition the explanation fails its own test here ({failed})."
    return replace(second, note=" ".join(filter(None, (second.note, note))))


def deletion_test(
    contributions: Sequence[float] | np.ndarray,
    score: float,
    alone: Sequence[float] | np.ndarray,
    without: Without,
    *,
    measured: bool = False,
) -> Deletion | None:
    """Return whether deleting what contributions ``[N]`` name moves the score more than other deletions.

    For k = 1, 2, 3, below N: the share of other sets of k inputs whose deletion moves the score less than
    that of the k largest contributions, a tie counted half; the mean over k. The other sets are those of
    other rankings of the inputs, all of them or 19 that are drawn with seed 0; how many of these do as well
    is what is due to chance.
    With contributions that are `measured` by leaving inputs out, k = 1 would be no test. `alone` ``[N]`` are
    the scores without each input, ``without(sets)`` those without each of some sets. None for less than four
    inputs, of which there are too few rankings to tell.

    >>> effect = np.array([4.0, 3.0, 2.0, 1.0])
    >>> without = lambda sets: np.array([10.0 - effect[list(one)].sum() for one in sets])
    >>> deletion_test(effect, 10.0, 10.0 - effect, without)
    Deletion(score=1.0, chance=0.041666666666666664)
    >>> deletion_test(effect[:2], 10.0, 10.0 - effect[:2], without) is None
    True
    """
    N = len(contributions)
    depth = min(_LARGEST, N - 1)
    named = tuple(np.argsort(-np.abs(contributions), kind="stable")[:depth].tolist())
    rankings = _rankings(named, N)
    if 1 / len(rankings) > RARE:
        return None
    prefixes = [[tuple(sorted(one[:k])) for one in rankings] for k in range(2, depth + 1)]
    sets = [list(dict.fromkeys(some)) for some in prefixes]
    rest = np.asarray(without([one for some in sets for one in some]), np.float64)
    parts = np.split(rest, np.cumsum([len(some) for some in sets])[:-1])
    moved = [
        (dict(zip(some, np.abs(score - scores).tolist(), strict=True)), prefix)
        for some, scores, prefix in zip(sets, parts, prefixes, strict=True)
    ]
    if not measured:
        lone = np.abs(score - np.asarray(alone, np.float64)).tolist()
        moved.append(({(i,): one for i, one in enumerate(lone)}, [one[:1] for one in rankings]))
    scores = np.mean([_shares(*one) for one in moved], axis=0)
    # sums of the same numbers may differ by rounding
    return Deletion(float(scores[0]), float((scores >= scores[0] - 1e-9).mean()))


def _shares(moved: dict[tuple[int, ...], float], sets: list[tuple[int, ...]]) -> np.ndarray:
    """Return for each of some sets the share of all the others that move the score less."""
    each = np.array([*moved.values()])
    own = np.array([moved[one] for one in sets])[:, None]
    less = (each < own).sum(axis=1) + 0.5 * (each == own).sum(axis=1)
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
