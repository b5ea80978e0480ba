"""An explanation: a number for every input of an answer, and the result of a test of these numbers.

The numbers of an additive method are shares of the score. Those of replacement and leave-one-out are
measured: how far the score falls when one input alone is replaced or left out. The test compares both kinds
with the network: whether additive numbers sum to the score, and whether the inputs with the largest numbers
move the score most. An explanation that fails its test says so wherever it is shown.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from itertools import zip_longest
from typing import TYPE_CHECKING, Literal, TypeAlias, get_args

import numpy as np
from typing_extensions import TypedDict

from elman.draw.contribution_chart import ContributionChart, Row
from elman.draw.numbers import aligned, significant
from elman.draw.pen import signed
from elman.errors import ShapeError
from elman.explain.input_names import display_name
from elman.explain.selftest import MAX_P, MIN_MOVED_SHARE, SelfTest
from elman.tables.frames import Frame, frame
from elman.tables.json_values import json_fields

if TYPE_CHECKING:
    from matplotlib.figure import Figure


Method: TypeAlias = Literal["replacement", "decomposition", "integrated gradients", "leave-one-out"]
METHODS: tuple[Method, ...] = get_args(Method)
REPLACEMENT, DECOMPOSITION, INTEGRATED, LEFT_OUT = METHODS
ADDITIVE = (DECOMPOSITION, INTEGRATED)
"""Methods whose numbers sum to the score."""
MAX_GAP = 0.01
"""Largest share of the score that may be missing from the sum of an additive explanation."""
MAX_CANCELLATION = 1000
"""Largest sum of absolute contributions, in multiples of the score, that passes the test."""

MAX_DRAWN_INPUTS = 24
"""Inputs that have a row of their own in a picture."""
_MAX_ROWS, _BAR_LENGTH = 40, 20
_MEASURED: dict[str, str] = {
    REPLACEMENT: "replaced by others likely in its place",
    LEFT_OUT: "left out",
}


class ContributionJson(TypedDict):
    """The number of one input, as `Explanation.to_dict` returns it."""

    token: str
    position: int
    contribution: float
    absence: float | None
    meaning: str


class ExplanationJson(TypedDict):
    """An explanation, as `Explanation.to_dict` returns it."""

    task: str
    target: str
    score: float
    score_name: str
    method: Method
    exact: bool
    contributions: list[ContributionJson]
    full_bar: float | None
    caption: str
    start_state: float
    bias: float
    residual: float
    gap: float | None
    moved: float | None
    p: float | None
    passed: bool | None
    verdict: str
    steps: int
    note: str


@dataclass(frozen=True, eq=False)
class Explanation:
    """The contributions of the inputs to a score.

    For an additive method ``contributions.sum() + start_state + bias + residual == score``.

    >>> why = Explanation("language", "pizza", "decomposition", True, "logit", 2.0, ("I", "like"),
    ...     np.array([0.5, 1.0]), 0.25, 0.25, 0.0, np.array([0.5, 1.5]), SelfTest(1.0, 0.05))
    >>> why.gap, why.passed
    (0.0, True)
    >>> print(why)
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
    """The answer whose score is explained."""
    method: str
    """Name of the method, one of `METHODS`."""
    exact: bool
    """Whether the decomposition equals the network, as for a linear rnn and for mingru given its gates."""
    score_name: str
    """The kind of score, such as "logit", "log probability" or "forecast"."""
    score: float
    inputs: tuple[str, ...]
    """Inputs by name: tokens, or names of earlier values."""
    contributions: np.ndarray
    """Contribution of each input, float64 ``[N]``, in units of the score."""
    start_state: float = 0.0
    """The contribution of the hidden state before the first input."""
    bias: float = 0.0
    """The contribution of the biases; by integrated gradients, the score of the baseline."""
    residual: float = 0.0
    """The difference between the score and the sum: rounding, quadrature, or interactions of inputs."""
    absence: np.ndarray | None = None
    """Fall of the score when the input is replaced, or left out by leave-one-out, float64 ``[N]``.

    None where it was not measured."""
    test: SelfTest | None = None
    """The result of `self_test`; None where the test was not made or cannot be made."""
    steps: int = 0
    """Recurrent steps computed for the measured changes."""
    note: str = ""
    """Assumptions of the method, and inputs that the model does not know, in sentences."""
    groups: tuple[int, ...] = ()
    """Index of the word of each character, in a character model; otherwise empty."""
    min_change: float = 0.0
    """A change of the score up to this size counts as none."""

    @property
    def additive(self) -> bool:
        """Whether the method's numbers sum to the score."""
        return self.method in ADDITIVE

    @property
    def caption(self) -> str:
        """The meaning of all numbers, in a sentence without its full stop."""
        if self.additive:
            return (
                f"what each input adds to the {self.score_name}: "
                "with the start state and the bias these sum to it"
            )
        how = f"how far the {self.score_name} falls when each input is {_MEASURED[self.method]}"
        return f"{how}: these need not sum to it"

    @property
    def full_bar(self) -> float:
        """The contribution whose bar has full length; infinite where no input moves the score."""
        # The start state has a bar of its own, so it counts too.
        widest = max(float(np.abs(self.contributions).max(initial=0.0)), abs(self.start_state))
        return widest if widest > self.min_change else float("inf")

    @property
    def drawn(self) -> np.ndarray:
        """The contributions for bars and arcs: all 0 where no input moves the score."""
        # Bars of a few rounding errors would look like an explanation.
        return self.contributions if np.isfinite(self.full_bar) else np.zeros(len(self.inputs))

    def meaning(self, position: int) -> str:
        """Return the meaning of the number of the input at `position`, in a sentence."""
        name, share = display_name(self.inputs[position]), float(self.contributions[position])
        score = f"the {self.score_name} of {display_name(self.target)}"
        if self.additive:
            adds, to = ("adds", "to") if share >= 0 else ("takes", "from")
            return f"{name} {adds} {abs(share):.3g} {to} {score}."
        moves = "falls" if share >= 0 else "rises"
        return f"When {name} is {_MEASURED[self.method]}, {score} {moves} by {abs(share):.3g}."

    @property
    def by_word(self) -> tuple[tuple[str, ...], np.ndarray]:
        """The inputs and their contributions; the characters of a character model are joined to words."""
        # Inputs are words already, or lags of a series.
        if not self.groups:
            return self.inputs, self.contributions
        words = [""] * (self.groups[-1] + 1)
        for name, group in zip(self.inputs, self.groups, strict=True):
            words[group] += name
        return tuple(words), np.bincount(self.groups, self.contributions)

    @property
    def moved(self) -> float | None:
        """Change of the score by the inputs with the largest numbers, as a share of the largest change."""
        return None if self.test is None else self.test.moved

    @property
    def p(self) -> float | None:
        """The share of random rankings of the inputs that move the score as much."""
        return None if self.test is None else self.test.p

    @property
    def _effect(self) -> float:
        """The size of the effect to explain: the score, or the largest measured change if that is more."""
        absence = np.zeros(0) if self.absence is None else np.abs(self.absence)
        return max(abs(self.score), float(absence.max(initial=0.0)))

    @property
    def gap(self) -> float | None:
        """The residual as a share of the score, or of the largest measured change if that is more.

        None for a method whose numbers need not sum to anything.
        """
        if not self.additive:
            return None
        # Without any effect, a residual is a gap of the whole score.
        return abs(self.residual) / self._effect if self._effect else float(self.residual != 0)

    @property
    def _cancellation(self) -> float:
        """The sum of absolute terms in multiples of the effect; it is large where terms cancel each other."""
        terms = float(np.abs(self.contributions).sum()) + abs(self.start_state)
        return terms / self._effect if self.additive and self._effect else 0.0

    @property
    def passed(self) -> bool | None:
        """Whether the explanation passes its test; None where the test cannot decide.

        It fails where additive numbers do not sum to the score, where terms cancel each other beyond
        `MAX_CANCELLATION`, and where the inputs with the largest numbers move the score by less than
        `MIN_MOVED_SHARE` of the largest possible change. It passes where at most `MAX_P` of random rankings
        move the score as much.
        """
        # These two checks need no measured change, so they fail untested explanations too.
        if (self.gap or 0.0) > MAX_GAP or self._cancellation > MAX_CANCELLATION:
            return False
        if self.test is None or self.test.moved < MIN_MOVED_SHARE:
            return None if self.test is None else False
        # A ranking that chance reaches easily is neither right nor wrong.
        return True if self.test.p <= MAX_P else None

    @property
    def tested(self) -> str:
        """The results of the test, in parts of a sentence."""
        return "; ".join(filter(None, (self._summed, self._moves)))

    @property
    def _summed(self) -> str:
        if self.gap is None:
            return ""
        if self.gap > MAX_GAP:
            allowed = f"gap {100 * self.gap:.2f} %, at most {100 * MAX_GAP:g} % is allowed"
            sums = f"its numbers do not sum to the score ({allowed})"
        else:
            sums = f"its numbers sum to the score (gap {100 * self.gap:.2f} %)"
        if self._cancellation > MAX_CANCELLATION:
            sums += f", but they are {self._cancellation:.0e} times as large and cancel each other"
        return sums

    @property
    def _moves(self) -> str:
        names, _ = self.by_word
        if self.test is not None:
            return self.test.described([*map(display_name, names)])
        if len(names) < 2:
            return "a test needs two inputs or words"
        moves = np.isfinite(self.full_bar)
        return "not tested by replacing inputs" if moves else "no input moves the score"

    @property
    def verdict(self) -> str:
        """The result of the test, in a sentence."""
        if self.passed is False:
            return f"THIS EXPLANATION FAILS ITS OWN TEST: {self.tested}."
        result = "It passes its own test" if self.passed else "Its own test cannot tell"
        return f"{result}: {self.tested}."

    def to_dict(self) -> ExplanationJson:
        """Return the explanation for JSON, with an object for each input."""
        absence = [None] * len(self.inputs) if self.absence is None else self.absence.tolist()
        columns = zip(self.inputs, self.contributions.tolist(), absence, strict=True)
        rows = []
        for at, (token, share, change) in enumerate(columns):
            row = {"token": token, "position": at, "contribution": share, "absence": change}
            rows.append(row | {"meaning": self.meaning(at)})
        # JSON has no infinity.
        full = self.full_bar if math.isfinite(self.full_bar) else None
        return json_fields(self, ExplanationJson, contributions=rows, full_bar=full)

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def to_columns(self) -> dict[str, list[str] | np.ndarray]:
        """Return columns with a row for each input: input, contribution, absence."""
        absence = {} if self.absence is None else {"absence": self.absence}
        return {"input": [*self.inputs], "contribution": self.contributions, **absence}

    def to_frame(self) -> Frame:
        """Return `to_columns` as a polars data frame, or as it is where polars is not installed."""
        return frame(self.to_columns())

    def chart(self) -> ContributionChart:
        """Return the parts of the picture of the explanation; raises ShapeError.

        The 24 inputs with the largest contributions have a row each. If the method is additive, one more row
        holds the sum of the other contributions. Other methods have no such row, because there the effect of
        several inputs together is not the sum of their single effects.
        """
        N, additive = len(self.inputs), self.additive
        values, absence = self.contributions, np.full(N, math.nan)
        if self.absence is not None and additive:
            absence = self.absence
        for name, array in (("contributions", values), ("absence", absence)):
            if array.shape != (N,):
                raise ShapeError(name, got=array.shape, expected=f"[{N}]")
        # The inputs with the largest sizes, in the order in which the network reads them.
        sizes = np.nan_to_num(np.abs(values))
        shown = np.sort(np.argsort(-sizes, kind="stable")[:MAX_DRAWN_INPUTS]).tolist()
        bars = [Row(self.inputs[at], float(values[at]), float(absence[at]), at) for at in shown]
        sums, unseen, hidden = list[Row](), "", N - len(shown)
        if additive:
            if self.start_state:
                bars.insert(0, Row("start state", self.start_state))
            if hidden:
                # The others as one bar, so that all bars still sum to the score.
                bars.append(Row(f"{hidden:,} others", float(np.nansum(np.delete(values, shown)))))
            sums = [Row("bias", self.bias), Row(self.score_name, self.score)]
            if self.residual:
                sums.insert(1, Row("residual", self.residual))
        elif hidden:
            unseen = f"{hidden:,} smaller ones are not shown."
        about = f"{self.score_name} {signed(self.score, plus=False)}, by {self.method}"
        flat, failed = not math.isfinite(self.full_bar), self.passed is False
        result = (self.verdict, self.note, failed)
        return ContributionChart(
            self.target, about, self.caption, bars, sums, flat, unseen, *result
        )

    def to_svg(self, *, width: float = 720, standalone: bool = True) -> str:
        """Return a chart of the contributions as SVG; a `standalone` one includes its style sheet."""
        from elman.draw import figures

        return figures.contributions(self.chart(), width=width, standalone=standalone)

    def plot(self) -> Figure:
        """Return a chart of the contributions as a matplotlib figure; raises MissingDependencyError."""
        from elman.draw import plots

        return plots.contributions(self.chart())

    def __str__(self) -> str:
        # The inputs with the largest numbers, in their order in the text.
        kept = np.sort(np.argsort(-np.abs(self.contributions), kind="stable")[:_MAX_ROWS])
        names = [display_name(self.inputs[at]) for at in kept]
        values = self.contributions[kept].tolist()
        measured: list[str] = []
        # The numbers of the other methods are measurements already.
        if self.additive and self.absence is not None:
            measured = aligned(self.absence[kept], plus=True)
        if self.additive and self.start_state:
            names, values = [*names, "start state"], [*values, self.start_state]
        bars = [
            ("█" if value > 0 else "░") * round(_BAR_LENGTH * abs(value) / self.full_bar)
            for value in values
        ]
        if self.additive:
            names, values = [*names, "bias"], [*values, self.bias]
        width, score = max([11, *map(len, names)]), significant(self.score)
        lines = [
            f'why "{display_name(self.target)}": {self.score_name} {score} by {self.method}',
            self.caption,
            f"{'':{width}}  contribution" + ("  measured" if measured else ""),
        ]
        numbers = aligned(values, plus=True)
        for name, number, change, bar in zip_longest(names, numbers, measured, bars, fillvalue=""):
            between = f"  {change:>8}" if measured else ""
            lines.append(f"{name:{width}}  {number:>12}{between}  {bar}".rstrip())
        if self.additive and self.residual:
            lines.append(f"{'residual':{width}}  {self.residual:>+12.2g}")
        if len(kept) < len(self.inputs):
            lines.append(f"the {len(kept)} largest of {len(self.inputs):,} inputs")
        return "\n".join([*lines, self.verdict, *([self.note] if self.note else [])])

    def _repr_html_(self) -> str:
        return f"<div>{self.to_svg()}</div>"
