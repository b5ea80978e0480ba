"""An explanation as a value: a number for every input, and how it did in its own test.

An explanation that adds up says how much of the score came from each input; one by replacement or by
leave-one-out says how far the score falls when that input alone is replaced or left out. Each is held against
the network: do its numbers sum to the score, and do the inputs that it names move the score? One that fails
says so where it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.draw.numbers import aligned, significant
from elman.errors import printable
from elman.explain.selftest import CLOSE, RANKINGS, RARE, SelfTest
from elman.tables.frames import frame

__all__ = [
    "ADDITIVE",
    "DECOMPOSITION",
    "GAP",
    "INTEGRATED",
    "LEFT_OUT",
    "METHODS",
    "MOST_TIMES",
    "REPLACEMENT",
    "Explanation",
    "not_known",
    "printed",
]

METHODS = REPLACEMENT, DECOMPOSITION, INTEGRATED, LEFT_OUT = (
    "replacement",
    "decomposition",
    "integrated gradients",
    "leave-one-out",
)
ADDITIVE = (DECOMPOSITION, INTEGRATED)
"""Methods whose numbers sum to the score."""
GAP = 0.01
"""Share of the score that may be missing from the sum."""
MOST_TIMES = 1000
"""Times the score that contributions which cancel each other may come to."""

_ROWS, _BAR = 40, 20
_MEASURED = {REPLACEMENT: "replaced by others likely in its place", LEFT_OUT: "left out"}


@dataclass(frozen=True, eq=False)
class Explanation:
    """Why a score is what it is: ``contributions + start_state + bias + residual == score``.

    >>> told = Explanation("language", "pizza", "decomposition", True, "logit", 2.0, ("I", "like"),
    ...     np.array([0.5, 1.0]), 0.25, 0.25, 0.0, np.array([0.5, 1.5]), SelfTest(1.0, 0.05))
    >>> told.gap, told.passed
    (0.0, True)
    >>> print(told)
    why "pizza": logit 2 by decomposition
    what each input adds to the logit: with the start state and the bias these sum to it
                 contribution  measured
    I                 +0.5000   +0.5000  ██████████
    like              +1.0000   +1.5000  ████████████████████
    start state       +0.2500            █████
    bias              +0.2500
    It passes its own test: its numbers sum to the score (gap 0.00 %); \
p = 0.05: of 999 random rankings 49 move the score as much.
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
    """What is missing from the sum: rounding, quadrature, or what inputs do together."""
    absence: np.ndarray | None = None
    """float64 ``[N]``: how far the score falls when that input is replaced; by leave-one-out when it is left
    out. None where that was not measured."""
    test: SelfTest | None = None
    """What `self_test` returns; None where it was not made, or cannot tell."""
    steps: int = 0
    """Recurrent steps that were run for the measured changes."""
    note: str = ""
    groups: tuple[int, ...] = ()
    """Of a character model the number of each character's word; empty where each input is its own group."""
    least: float = 0.0
    """A contribution of at most this is no change of the score."""

    @property
    def additive(self) -> bool:
        """Whether the numbers of its method sum to the score."""
        return self.method in ADDITIVE

    @property
    def caption(self) -> str:
        """What its numbers are, in a sentence without its full stop."""
        if self.additive:
            return (
                f"what each input adds to the {self.score_name}: "
                "with the start state and the bias these sum to it"
            )
        how = f"how far the {self.score_name} falls when each input is {_MEASURED[self.method]}"
        return f"{how}: these need not sum to it"

    @property
    def full_bar(self) -> float:
        """The contribution whose bar has the full length; infinite where no input moves the score."""
        widest = max(float(np.abs(self.contributions).max(initial=0.0)), abs(self.start_state))
        return widest if widest > self.least else float("inf")

    @property
    def drawn(self) -> np.ndarray:
        """The contributions as bars and arcs show them: all 0 where no input moves the score."""
        return self.contributions if np.isfinite(self.full_bar) else np.zeros(len(self.inputs))

    def meaning(self, place: int) -> str:
        """Return what the number of the input at a place says, in a sentence."""
        name, share = printed(self.inputs[place]), float(self.contributions[place])
        score = f"the {self.score_name} of {printed(self.target)}"
        if self.additive:
            adds, to = ("adds", "to") if share >= 0 else ("takes", "from")
            return f"{name} {adds} {abs(share):.3g} {to} {score}."
        moves = "falls" if share >= 0 else "rises"
        return f"When {name} is {_MEASURED[self.method]}, {score} {moves} by {abs(share):.3g}."

    @property
    def by_word(self) -> tuple[tuple[str, ...], np.ndarray]:
        """The inputs and their contributions, those of a character model joined and summed by word."""
        if not self.groups:
            return self.inputs, self.contributions
        words = [""] * (self.groups[-1] + 1)
        for name, group in zip(self.inputs, self.groups, strict=True):
            words[group] += name
        return tuple(words), np.bincount(self.groups, self.contributions)

    @property
    def moved(self) -> float | None:
        """How far what it names moves the score, as a share of the most that as many inputs can."""
        return None if self.test is None else self.test.moved

    @property
    def p(self) -> float | None:
        """The share of random rankings that move the score as much."""
        return None if self.test is None else self.test.p

    @property
    def _whole(self) -> float:
        """What was really there to explain: the score, or the largest measured change if that is more."""
        absence = np.zeros(0) if self.absence is None else np.abs(self.absence)
        return max(abs(self.score), float(absence.max(initial=0.0)))

    @property
    def gap(self) -> float | None:
        """The residual as a share of the score, or of the largest measured change if that is more.

        None for a method whose numbers need not sum to anything.
        """
        if not self.additive:
            return None
        return abs(self.residual) / self._whole if self._whole else float(self.residual != 0)

    @property
    def _times(self) -> float:
        """How many times what was there its terms are: where they explode they cancel each other."""
        terms = float(np.abs(self.contributions).sum()) + abs(self.start_state)
        return terms / self._whole if self.additive and self._whole else 0.0

    @property
    def passed(self) -> bool | None:
        """Whether it stands its own test; None where that cannot be told.

        It fails where its numbers should sum and do not, or cancel each other by the thousand, or where what
        it names moves the score less than `CLOSE` of what other inputs do; it passes where at most `RARE` of
        random rankings move the score as much.
        """
        if (self.gap or 0.0) > GAP or self._times > MOST_TIMES:
            return False
        if self.test is None or self.test.moved < CLOSE:
            return None if self.test is None else False
        return True if self.test.p <= RARE else None

    @property
    def tested(self) -> str:
        """How its test went, in parts of a sentence."""
        return "; ".join(filter(None, (self._summed, self._moves)))

    @property
    def _summed(self) -> str:
        if self.gap is None:
            return ""
        if self.gap > GAP:
            allowed = f"gap {100 * self.gap:.2f} %, at most {100 * GAP:g} % is allowed"
            sums = f"its numbers do not sum to the score ({allowed})"
        else:
            sums = f"its numbers sum to the score (gap {100 * self.gap:.2f} %)"
        if self._times > MOST_TIMES:
            sums += f", but they are {self._times:.0e} times as large and cancel each other"
        return sums

    @property
    def _moves(self) -> str:
        if self.test is None:
            if len(self.by_word[0]) < 2:
                return "a test needs two inputs or words"
            moves = np.isfinite(self.full_bar)
            return "not tested by replacing inputs" if moves else "no input moves the score"
        moved, p, stronger = self.test
        # its own ranking is one of those that are compared
        count = round(RANKINGS * p) - 1
        others = {0: "none moves", 1: "one moves"}.get(count, f"{count} move")
        random = f"p = {p:.3g}: of {RANKINGS - 1} random rankings {others} the score as much"
        if moved < CLOSE:
            names, _ = self.by_word
            other = "" if stronger is None else f", {printed(names[stronger])} moves it most"
            return f"what it names moves the score too little{other} ({random})"
        return random if p <= RARE else f"{random}, too close to chance to tell"

    @property
    def verdict(self) -> str:
        """How its test went, in a sentence."""
        if self.passed is False:
            return f"THIS EXPLANATION FAILS ITS OWN TEST: {self.tested}."
        result = "It passes its own test" if self.passed else "Its own test cannot tell"
        return f"{result}: {self.tested}."

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON, an object for each input."""
        absence = [None] * len(self.inputs) if self.absence is None else self.absence.tolist()
        rows = zip(self.inputs, self.contributions.tolist(), absence, strict=True)
        full = self.full_bar if np.isfinite(self.full_bar) else None
        names = ("task", "target", "score", "score_name", "method", "exact")
        after = ("caption", "start_state", "bias", "residual", "gap", "moved", "p")
        return {
            **{name: getattr(self, name) for name in names},
            "contributions": [
                {
                    "token": token,
                    "position": place,
                    "contribution": share,
                    "absence": change,
                    "meaning": self.meaning(place),
                }
                for place, (token, share, change) in enumerate(rows)
            ],
            "full_bar": full,
            **{name: getattr(self, name) for name in after},
            **{name: getattr(self, name) for name in ("passed", "verdict", "steps", "note")},
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
        return frame(self.to_columns())

    def to_svg(self, *, width: float = 720, standalone: bool = True) -> str:
        """Return it as a picture: an SVG, with its rules of style inside where it is to stand alone."""
        from elman.draw import figures

        return figures.contributions(self, width=width, standalone=standalone)

    def plot(self) -> Any:
        """Return it as a matplotlib figure; raises MissingDependencyError."""
        from elman.draw import plots

        return plots.contributions(self)

    def __str__(self) -> str:
        order = np.argsort(-np.abs(self.contributions), kind="stable")
        kept = np.sort(order[:_ROWS])
        names = [printed(self.inputs[i]) for i in kept]
        shares = self.contributions[kept].tolist()
        # the numbers of the other methods are measured themselves
        measured = self.absence[kept] if self.additive and self.absence is not None else None
        if self.additive and self.start_state:
            names, shares = [*names, "start state"], [*shares, self.start_state]
        bars = [
            ("█" if share > 0 else "░") * round(_BAR * abs(share) / self.full_bar)
            for share in shares
        ]
        if self.additive:
            names, shares, bars = [*names, "bias"], [*shares, self.bias], [*bars, ""]
        width = max([11, *map(len, names)])
        lines = [
            f'why "{printed(self.target)}": {self.score_name} {significant(self.score)} by {self.method}',
            self.caption,
            f"{'':{width}}  contribution" + ("" if measured is None else "  measured"),
        ]
        changes = (
            [] if measured is None else [f"  {one:>8}" for one in aligned(measured, plus=True)]
        )
        changes += [" " * 10 * (measured is not None)] * (len(names) - len(changes))
        for name, share, change, bar in zip(
            names, aligned(shares, plus=True), changes, bars, strict=True
        ):
            lines.append(f"{name:{width}}  {share:>12}{change}  {bar}".rstrip())
        if self.additive and self.residual:
            lines.append(f"{'residual':{width}}  {self.residual:>+12.2g}")
        if len(kept) < len(self.inputs):
            lines.append(f"the {len(kept)} largest of {len(self.inputs):,} inputs")
        return "\n".join([*lines, self.verdict, *([self.note] if self.note else [])])

    def _repr_html_(self) -> str:
        return f"<div>{self.to_svg()}</div>"


def printed(token: str) -> str:
    r"""Return an input's name as it is printed: on one line, without what steers a terminal.

    >>> printed("\n"), printed("pizza")
    ('line end', 'pizza')
    """
    return {"\n": "line end", " ": "space"}.get(token) or printable(token, 24)


def not_known(words: Iterable[str], how: str = "read as <unk>") -> str:
    """Return a sentence that names words outside the vocabulary, or nothing.

    >>> not_known(["zork", "blip", "zork"])
    'Not in the vocabulary, read as <unk>: zork, blip.'
    """
    names = ", ".join(printable(word, 24) for word in [*dict.fromkeys(words)][:8])
    return f"Not in the vocabulary, {how}: {names}." if names else ""
