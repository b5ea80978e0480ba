"""What every picture of an explanation shows: which rows, in which order, and what it leaves out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from elman.errors import ShapeError

__all__ = ["Row", "Rows", "rows_of"]

_MOST = 24  # inputs that are shown


class Row(NamedTuple):
    """A line of the picture."""

    name: str
    value: float
    bar: float
    """The value as a bar shows it: 0 where no input moves the score."""
    absence: float = math.nan
    """The measured change, where that is known and is not the value itself."""
    place: int | None = None
    """Of an input: which one."""


class Rows(NamedTuple):
    """The picture of an explanation from above."""

    bars: list[Row]
    """What was read, and the state before it."""
    sums: list[Row]
    """Bias, residual, and last the score that all add up to; none where the numbers are no sum.

    They have no bars: beside a bias as large as a level of prices the others would be hairlines.
    """
    unseen: str
    """How many inputs have no row, where no row sums them."""


def rows_of(explanation: Any) -> Rows:
    """Return the rows of an `Explanation`; raises ShapeError.

    Of more than 24 inputs those of the largest contributions are shown. The others are summed only by a
    method that adds up: what several inputs do together is not the sum of what each does.
    """
    N = len(explanation.inputs)
    measured = not explanation.additive
    values, absence = np.asarray(explanation.contributions, np.float64), np.full(N, math.nan)
    if explanation.absence is not None and not measured:
        absence = np.asarray(explanation.absence, np.float64)
    for name, found in (("contributions", values), ("absence", absence)):
        if found.shape != (N,):
            raise ShapeError(name, got=found.shape, expected=f"[{N}]")
    shown = float(math.isfinite(explanation.full_bar))  # no bars where no input moves the score
    named = np.sort(np.argsort(-np.nan_to_num(np.abs(values)), kind="stable")[:_MOST])
    bars = [
        Row(
            str(explanation.inputs[place]),
            float(values[place]),
            float(values[place]) * shown,
            float(absence[place]),
            place,
        )
        for place in named.tolist()
    ]
    hidden = N - len(named)
    if measured:
        return Rows(bars, [], f"{hidden:,} smaller ones are not shown." if hidden else "")
    if explanation.start_state:
        bars.insert(0, Row("start state", start := float(explanation.start_state), start * shown))
    if hidden:
        others = float(np.nansum(np.delete(values, named)))
        bars.append(Row(f"{hidden:,} others", others, others * shown))
    sums = [Row("bias", float(explanation.bias), 0.0)]
    if explanation.residual:
        sums.append(Row("residual", float(explanation.residual), 0.0))
    sums.append(Row(str(explanation.score_name), float(explanation.score), 0.0))
    return Rows(bars, sums, "")
