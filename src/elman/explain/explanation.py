"""An explanation as a value: a number for every input, and the test of its own that it passed or failed.

An explanation that adds up says how much of the score came from each input; one by leave-one-out says how the
score changes without it. Each is held against the network: do its numbers sum to the score, and does deleting
the inputs that it names move the score more than deleting others? One that fails says so where it is shown.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman._errors import printable
from elman.explain.deletion import RARE, Deletion

__all__ = [
    "DECOMPOSITION",
    "GAP",
    "INTEGRATED",
    "LEFT_OUT",
    "METHODS",
    "MOST_TIMES",
    "Explanation",
    "not_known",
    "printed",
]

METHODS = DECOMPOSITION, INTEGRATED, LEFT_OUT = (
    "decomposition",
    "integrated gradients",
    "leave-one-out",
)
GAP = 0.01
"""Share of the score that may be missing from the sum."""
MOST_TIMES = 1000
"""Times the score that contributions which cancel each other may come to."""

_CHANCE = 0.5
_ROWS, _BAR = 40, 20


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
    """The share of the biases; by integrated gradients the score of nothing read from a state of zeros, by
    leave-one-out that without any of the inputs."""
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
    def deletion_chance(self) -> float | None:
        """The share of random choices that have this deletion score or a higher one."""
        return None if self.deletion is None else self.deletion.chance

    @property
    def _whole(self) -> float:
        """What was really there to explain: the score, or the largest change without an input."""
        absence = np.zeros(0) if self.absence is None else np.abs(self.absence)
        return max(abs(self.score), float(absence.max(initial=0.0)))

    @property
    def gap(self) -> float | None:
        """The residual as a share of the score, or of the largest change without an input if that is more.

        None by leave-one-out, whose numbers need not sum to anything.
        """
        if self.method == LEFT_OUT:
            return None
        return abs(self.residual) / self._whole if self._whole else float(self.residual != 0)

    @property
    def _times(self) -> float:
        """How many times what was there its terms are: where they explode they cancel each other."""
        terms = float(np.abs(self.contributions).sum()) + abs(self.start_state)
        return terms / self._whole if self._whole else 0.0

    @property
    def passed(self) -> bool | None:
        """Whether it stands its own test; None where that cannot be told.

        It fails where its numbers do not sum or cancel each other by the thousand, or deleting what it names
        moves the score less than deleting others in the mean; it passes where at most `RARE` of random
        choices do as well.
        """
        if (self.gap or 0.0) > GAP or self._times > MOST_TIMES:
            return False
        if self.deletion is None or self.deletion.chance > RARE:
            return False if self.deletion is not None and self.deletion.score < _CHANCE else None
        return True

    @property
    def tested(self) -> str:
        """How its test went, in parts of a sentence."""
        if self.gap is None:
            sums = "each number is measured, without that input"
        elif self.gap > GAP:
            allowed = f"gap {100 * self.gap:.2f} %, at most {100 * GAP:g} % is allowed"
            sums = f"its numbers do not sum to the score ({allowed})"
        else:
            sums = f"its numbers sum to the score (gap {100 * self.gap:.2f} %)"
        if self._times > MOST_TIMES:
            sums += f", but they are {self._times:.0e} times as large and cancel each other"
        if self.deletion is None:
            return f"{sums}; not tested by deleting inputs"
        score, chance = self.deletion
        random = f"{100 * chance:.0f} %" if chance >= 0.005 else "less than 1 %"
        deleted = f"deletion score {score:.2f} (as high for {random} of random choices)"
        if score < _CHANCE:
            deleted = f"deletion score {score:.2f}, where chance is {_CHANCE:.2f}"
        elif chance > RARE:
            deleted += ", too close to chance to tell"
        return f"{sums}; {deleted}"

    @property
    def verdict(self) -> str:
        """How its test went, in a sentence."""
        if self.passed is False:
            return f"THIS EXPLANATION FAILS ITS OWN TEST: {self.tested}."
        return f"{self.tested[0].upper()}{self.tested[1:]}."

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON, an object for each input."""
        absence = [None] * len(self.inputs) if self.absence is None else self.absence.tolist()
        rows = zip(self.inputs, self.contributions.tolist(), absence, strict=True)
        names = ("task", "target", "score", "score_name", "method", "exact")
        after = ("start_state", "bias", "residual", "gap", "deletion_score")
        return {
            **{name: getattr(self, name) for name in names},
            "contributions": [
                {"token": token, "position": place, "contribution": share, "absence": change}
                for place, (token, share, change) in enumerate(rows)
            ],
            **{name: getattr(self, name) for name in after},
            **{name: getattr(self, name) for name in ("deletion_chance", "passed", "verdict")},
            **{name: getattr(self, name) for name in ("steps", "note")},
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
        # what is measured by leaving out is its own absence
        absence = None if self.method == LEFT_OUT else self.absence
        changes = [None] * len(self.inputs) if absence is None else absence.tolist()
        rows = [(printed(self.inputs[i]), float(self.contributions[i]), changes[i]) for i in kept]
        if self.method != LEFT_OUT and self.start_state:
            rows.append(("start state", self.start_state, None))
        widest = max((abs(share) for _, share, _ in rows), default=0.0) or 1.0
        width = max([11, *(len(name) for name, _, _ in rows)])
        lines = [
            f'why "{printed(self.target)}": {self.score_name} {self.score:.4f} by {self.method}',
            f"{'':{width}}  contribution" + ("" if absence is None else "  absence"),
        ]
        for name, share, change in rows:
            bar = ("█" if share > 0 else "░") * round(_BAR * abs(share) / widest)
            absent = "" if absence is None else f"  {'' if change is None else f'{change:+.4f}':>7}"
            lines.append(f"{name:{width}}  {share:>+12.4f}{absent}  {bar}".rstrip())
        if self.method != LEFT_OUT:
            lines.append(f"{'bias':{width}}  {self.bias:>+12.4f}")
            if self.residual:
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
