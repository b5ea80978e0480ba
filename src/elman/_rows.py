"""What every picture of an explanation shows: which rows, in which order, and what it leaves out."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from elman._errors import ShapeError

__all__ = ["Row", "Rows", "rows_of"]

_MOST = 24  # inputs that are shown
_MEASURED = "leave-one-out"  # the method whose numbers are no sum


class Row(NamedTuple):
    """A line of the picture."""

    name: str
    value: float
    absence: float = math.nan
    """The change without it, where that is known and is not the value itself."""
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
    method: str
    """The method, and what its numbers are where they are no sum."""
    unseen: str
    """How many inputs have no row, where no row sums them."""


def rows_of(explanation: Any) -> Rows:
    """Return the rows of an `Explanation`; raises ShapeError.

    Of more than 24 inputs those of the largest contributions are shown. The others are summed, but not by
    leave-one-out: what several inputs do together is not the sum of what each does.
    """
    N = len(explanation.inputs)
    measured = explanation.method == _MEASURED
    values, absence = np.asarray(explanation.contributions, np.float64), np.full(N, math.nan)
    if explanation.absence is not None and not measured:
        absence = np.asarray(explanation.absence, np.float64)
    for name, found in (("contributions", values), ("absence", absence)):
        if found.shape != (N,):
            raise ShapeError(name, got=found.shape, expected=f"[{N}]")
    named = np.sort(np.argsort(-np.nan_to_num(np.abs(values)), kind="stable")[:_MOST])
    bars = [
        Row(str(explanation.inputs[place]), float(values[place]), float(absence[place]), place)
        for place in named.tolist()
    ]
    hidden = N - len(named)
    if measured:
        method = f"{explanation.method}: how much lower it is without each"
        return Rows(bars, [], method, f"{hidden:,} smaller ones are not shown." if hidden else "")
    if explanation.start_state:
        bars.insert(0, Row("start state", float(explanation.start_state)))
    if hidden:
        bars.append(Row(f"{hidden:,} others", float(np.nansum(np.delete(values, named)))))
    sums = [Row("bias", float(explanation.bias))]
    if explanation.residual:
        sums.append(Row("residual", float(explanation.residual)))
    sums.append(Row(str(explanation.score_name), float(explanation.score)))
    return Rows(bars, sums, str(explanation.method), "")
