"""The parts of a picture of an explanation, which SVG and matplotlib draw in the same order."""

from __future__ import annotations

import math
from typing import NamedTuple


class Row(NamedTuple):
    """One row of the picture."""

    name: str
    value: float
    absence: float = math.nan
    """Fall of the score when the input is replaced; NaN if it is unknown, or if `value` is this fall."""
    position: int | None = None
    """The number of the input; None for other rows."""


class ContributionChart(NamedTuple):
    """All parts of the picture, from top to bottom."""

    target: str
    """The answer that is explained."""
    about: str
    """The score and the method."""
    caption: str
    """The meaning of the numbers, as a sentence without its full stop."""
    bars: list[Row]
    """The state before the first input, and the inputs."""
    sums: list[Row]
    """Bias, residual and the score; none where the numbers do not sum to the score.

    They have no bars: beside a bias as large as a price level the other bars would be too short to see.
    """
    flat: bool
    """Whether all bars have length 0, because no input moves the score."""
    unseen: str
    """A sentence that says how many inputs are not shown, where no row sums them up."""
    verdict: str
    note: str
    failed: bool
    """Whether the explanation failed its own test; its bars are then grey."""
