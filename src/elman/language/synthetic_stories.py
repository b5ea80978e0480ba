"""The synthetic corpus `moved`: a test is moved from day to day, and the last day in the story is the answer.

That day can be many words back, behind earlier days that are wrong answers. A model that sees only the last
few words cannot know it.
"""

from __future__ import annotations

import numpy as np

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
MAX_MOVES = 2
PIZZA_SHARE = 0.3
"""Share of the stories with an irrelevant sentence between the last day and the question."""


def story(draw: np.random.Generator, moves: int) -> tuple[str, str]:
    """Return a story up to its last word, and that word: the day of a test that was moved `moves` times.

    >>> story(np.random.default_rng(0), 1)[1] in DAYS
    True
    """
    day = int(draw.integers(len(DAYS)))
    text = f"the maths test is on {DAYS[day]} ."
    for _ in range(moves):
        # move the test to one of the other days
        day = (day + int(draw.integers(1, len(DAYS)))) % len(DAYS)
        text += f" no , the professor says it moves to {DAYS[day]} ."
    if draw.random() < PIZZA_SHARE:
        text += " we ate pizza ."
    return f"{text} so the test is on", DAYS[day]


def stories(count: int, seed: int) -> list[tuple[str, str]]:
    """Return `count` random stories with up to `MAX_MOVES` moves, and their last words."""
    draw = np.random.default_rng(seed)
    return [story(draw, int(draw.integers(MAX_MOVES + 1))) for _ in range(count)]
