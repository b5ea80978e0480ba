"""The shape words of the house, and the checks that hold arrays and numbers to them.

T time steps · B sequences side by side · I input size · H hidden size · G gates · V vocabulary size.
"""

from __future__ import annotations

import numbers
from typing import Protocol

from elman.errors import OptionError, ShapeError

__all__ = ["Shaped", "check", "whole_number"]


class Shaped(Protocol):
    """Anything with a shape: numpy arrays and torch tensors alike."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The size of each axis."""
        ...


def check(array: Shaped, pattern: str, name: str, **sizes: int) -> dict[str, int]:
    """Return the size of every shape word in `pattern`, or raise ShapeError.

    A word given in `sizes`, or met twice, must have one size; a product is written ``G*H``.

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
            for factor in word.split("*"):
                expected *= int(factor) if factor.isdigit() else known[factor]
            fits = fits and size == expected
        else:
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
    """Return `value` as an int from `low` to `high`; raises OptionError for anything else.

    >>> whole_number("k", 3, 1)
    3
    """
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        number = int(value)
        if low <= number and (high is None or number <= high):
            return number
    limit = f" to {high}" if high is not None else ""
    raise OptionError(name, got=value, expected=f"a whole number from {low}{limit}")
