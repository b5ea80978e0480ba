"""Checks of shapes and whole numbers, with one letter for each size.

T time steps, B sequences of a batch, I input size, H hidden size, G gates, V vocabulary size.
"""

from __future__ import annotations

import numbers
from typing import Protocol

from elman.errors import OptionError, ShapeError


class Shaped(Protocol):
    """An array with a shape, such as a numpy array or a torch tensor."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        ...


def check(array: Shaped, pattern: str, name: str, **sizes: int) -> dict[str, int]:
    """Return the size of every letter in `pattern`.

    Args:
        array: The array to check.
        pattern: One word for each axis: a letter, a number, or a product such as ``G*H``.
        name: What the error calls the array.
        sizes: Sizes that are known. A letter has the same size wherever it occurs.

    Raises:
        ShapeError: the array has another shape.

    >>> import numpy as np
    >>> check(np.zeros((5, 2, 8)), "T B G*H", "gx", G=4, H=2)
    {'G': 4, 'H': 2, 'T': 5, 'B': 2}
    """
    words = pattern.split()
    shape = tuple(array.shape)
    known = dict(sizes)
    fits = len(shape) == len(words)
    for word, size in zip(words, shape, strict=False):
        if word.isdigit() or "*" in word:
            expected = 1
            # The letters of a product must be known from axes before it, or from `sizes`.
            for factor in word.split("*"):
                expected *= int(factor) if factor.isdigit() else known[factor]
            fits = fits and size == expected
        else:
            # The first axis with a letter sets its size; the others must agree.
            fits = fits and known.setdefault(word, size) == size
    if not fits:
        given = ", ".join(f"{word} = {size}" for word, size in sizes.items())
        raise ShapeError(
            f"{name} has the wrong shape",
            got=shape,
            expected=f"[{', '.join(words)}]" + (f" with {given}" if given else ""),
        )
    return known


def whole_number(name: str, value: object, low: int, high: int | None = None) -> int:
    """Return `value` as an int.

    Raises:
        OptionError: `value` is not a whole number from `low` to `high`; None for `high` sets no limit.

    >>> whole_number("k", 3, 1)
    3
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        number = int(value)
        if low <= number and (high is None or number <= high):
            return number
    limit = f" to {high}" if high is not None else ""
    raise OptionError(name, got=value, expected=f"a whole number from {low}{limit}")
