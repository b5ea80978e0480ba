"""Rules that all tasks share when they leave inputs out or replace them, to see how a score changes."""

from __future__ import annotations

import numpy as np

MAX_REPLACEMENTS, MIN_REPLACEMENTS = 64, 4
"""Bounds of the number of plausible replacements that are drawn for each input."""


def neighbour_blocks(count: int, max_blocks: int) -> np.ndarray:
    """Return the block ``[count]`` of each input when neighbours are merged into at most `max_blocks` blocks.

    >>> neighbour_blocks(5, 3).tolist()
    [0, 0, 1, 1, 2]
    """
    # -(-a // b) is a / b rounded up.
    return np.arange(count) // max(1, -(-count // max_blocks))


def count_replacements(budget: int, cost: int, *, quick: bool) -> int:
    """Return how many replacements to draw for each input.

    Args:
        budget: Amount of work for all replacements together.
        cost: Amount of work of one replacement of every input.
        quick: Whether the least number is enough, for a first answer.
    """
    if quick:
        return MIN_REPLACEMENTS
    # Draw as many replacements as the budget allows, within the bounds. The cost is 0 if there is no input.
    return min(MAX_REPLACEMENTS, max(MIN_REPLACEMENTS, budget // max(1, cost)))
