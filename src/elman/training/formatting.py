"""Durations, sizes and untrusted text, formatted for a terminal."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Iterable


def visible(text: str) -> str:
    r"""Return `text` with U+FFFD in place of control characters other than line breaks and tabs.

    Escape sequences in a text could otherwise control the terminal.

    >>> visible("a\x1b[2Jb")
    'a\ufffd[2Jb'
    """
    return "".join(
        "\ufffd"
        if unicodedata.category(character) in ("Cc", "Cs") and character not in "\n\t"
        else character
        for character in text
    )


def width(text: str) -> int:
    """Return the number of columns that a text takes in a terminal.

    >>> width("tea"), width("お茶")
    (3, 4)
    """
    return sum(
        0
        if unicodedata.combining(character)
        else 2
        if unicodedata.east_asian_width(character) in "WF"
        else 1
        for character in text
    )


def duration(seconds: float) -> str:
    """Return a span of time in words.

    >>> duration(5.04), duration(125), duration(7384)
    ('5.0 s', '2:05 min', '2:03:04 h')
    """
    if seconds < 60:
        return f"{seconds:.1f} s"
    # Round first, or 119.7 s would become 1:60 min.
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02} h" if hours else f"{minutes}:{rest:02} min"


def size(count: float) -> str:
    """Return a number of bytes with its unit.

    >>> size(900), size(2_135_106)
    ('900 B', '2 MB')
    """
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"


def write_text(pieces: Iterable[str]) -> None:
    """Write pieces of text to standard output as they arrive; on a terminal without control characters."""
    terminal = sys.stdout.isatty()
    for piece in pieces:
        safe = visible(piece) if terminal else piece.encode("utf-8", "replace").decode()
        print(safe, end="", flush=True)
