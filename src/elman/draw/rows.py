"""The rows of a picture of an explanation: which inputs it shows, in which order, and what it leaves out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import numpy as np

from elman.errors import ShapeError

MAX_INPUTS = 24
"""Inputs that have a row of their own."""


class Explained(Protocol):
    """The fields of `elman.explain.explanation.Explanation` that a picture needs; see there for each."""

    # properties, because the fields of a frozen class cannot be set
    @property
    def target(self) -> str: ...  # noqa: D102
    @property
    def method(self) -> str: ...  # noqa: D102
    @property
    def score_name(self) -> str: ...  # noqa: D102
    @property
    def score(self) -> float: ...  # noqa: D102
    @property
    def inputs(self) -> Sequence[str]: ...  # noqa: D102
    @property
    def contributions(self) -> np.ndarray: ...  # noqa: D102
    @property
    def start_state(self) -> float: ...  # noqa: D102
    @property
    def bias(self) -> float: ...  # noqa: D102
    @property
    def residual(self) -> float: ...  # noqa: D102
    @property
    def absence(self) -> np.ndarray | None: ...  # noqa: D102
    @property
    def note(self) -> str: ...  # noqa: D102
    @property
    def additive(self) -> bool: ...  # noqa: D102
    @property
    def caption(self) -> str: ...  # noqa: D102
    @property
    def full_bar(self) -> float: ...  # noqa: D102
    @property
    def passed(self) -> bool | None: ...  # noqa: D102
    @property
    def verdict(self) -> str: ...  # noqa: D102


class Row(NamedTuple):
    """One row of the picture."""

    name: str
    value: float
    bar: float
    """The length of the bar: the value, or 0 where no input moves the score."""
    absence: float = math.nan
    """Fall of the score when the input is replaced; NaN if it is unknown, or if `value` is this fall."""
    position: int | None = None
    """The number of the input; None for other rows."""


class Rows(NamedTuple):
    """All rows of the picture, from top to bottom."""

    bars: list[Row]
    """The state before the first input, and the inputs."""
    sums: list[Row]
    """Bias, residual and the score; none where the numbers do not sum to the score.

    They have no bars: beside a bias as large as a price level the other bars would be too short to see.
    """
    unseen: str
    """A sentence that says how many inputs are not shown, where no row sums them up."""


def rows_of(explanation: Explained) -> Rows:
    """Return the rows of an explanation; raises ShapeError.

    Of more than 24 inputs those with the largest contributions have a row. One row sums up the others, if the
    method is additive: the effect of several inputs together is not the sum of their measured single effects.
    """
    N = len(explanation.inputs)
    measured = not explanation.additive
    values, absence = np.asarray(explanation.contributions, np.float64), np.full(N, math.nan)
    if explanation.absence is not None and not measured:
        absence = np.asarray(explanation.absence, np.float64)
    for name, array in (("contributions", values), ("absence", absence)):
        if array.shape != (N,):
            raise ShapeError(name, got=array.shape, expected=f"[{N}]")
    scale = float(math.isfinite(explanation.full_bar))  # 0 where no input moves the score
    shown = np.sort(np.argsort(-np.nan_to_num(np.abs(values)), kind="stable")[:MAX_INPUTS])
    bars = [
        Row(
            explanation.inputs[position],
            float(values[position]),
            float(values[position]) * scale,
            float(absence[position]),
            position,
        )
        for position in shown.tolist()
    ]
    hidden = N - len(shown)
    if measured:
        return Rows(bars, [], f"{hidden:,} smaller ones are not shown." if hidden else "")
    if start := explanation.start_state:
        bars.insert(0, Row("start state", start, start * scale))
    if hidden:
        others = float(np.nansum(np.delete(values, shown)))
        bars.append(Row(f"{hidden:,} others", others, others * scale))
    sums = [Row("bias", explanation.bias, 0.0)]
    if explanation.residual:
        sums.append(Row("residual", explanation.residual, 0.0))
    sums.append(Row(explanation.score_name, explanation.score, 0.0))
    return Rows(bars, sums, "")
