"""What a language model reads: a text or token numbers, checked and turned into numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeAlias

import numpy as np

from elman.errors import InputError
from elman.text.vocabulary import TextCodec
from elman.text.words import plain_line_ends

Readable: TypeAlias = str | int | np.integer | Sequence[int] | np.ndarray
"""A text, the numbers of its tokens, or the number of one token."""


def token_numbers(codec: TextCodec, readable: Readable) -> np.ndarray:
    """Return the token numbers, int64 ``[N]``, of a text, a sequence of token numbers, or a single one.

    The codec remembers texts of one token, for `TextCodec.ordinary_token`. Raises InputError for anything
    else, and for numbers outside the vocabulary.
    """
    if isinstance(readable, str):
        found = codec.encode(plain_line_ends(readable))
        codec.remember_token(readable, found)
        return found
    expected = f"text, or token numbers from 0 to {len(codec) - 1}"
    if isinstance(readable, bytes | bytearray):
        got, remedy = type(readable).__name__, "decode bytes first"
        raise InputError("tokens", got=got, expected=expected, remedy=remedy)
    if isinstance(readable, int | np.integer) and not isinstance(readable, bool):
        readable = [int(readable)]
    try:
        numbers = np.asarray(readable)
    except (ValueError, OverflowError) as error:
        raise InputError("tokens", got=error, expected=expected) from None
    if numbers.ndim == 1 and not numbers.size:
        return numbers.astype(np.int64)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        got, remedy = f"{numbers.dtype.name} {list(numbers.shape)}", ""
        # Name what the user passed by mistake: a single number, or a list of texts.
        if not numbers.ndim:
            got = type(readable).__name__
        elif numbers.dtype.kind == "U":
            got, remedy = f"a list of {len(numbers)} texts", "pass one text at a time"
        raise InputError("tokens", got=got, expected=expected, remedy=remedy)
    outside = (numbers < 0) | (numbers >= len(codec))
    if outside.any():
        raise InputError("tokens", got=int(numbers[outside][0]), expected=expected)
    return numbers.astype(np.int64)
