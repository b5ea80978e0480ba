"""Readable properties of every step of a text or series, which units of a network are held against.

A property says of each step whether it holds once that step has been read: behind an opening quotation mark
the text is inside quotation marks, behind the closing one it no longer is. What is told of characters is told
of a word by its last character. Opened quotation marks and brackets are closed by an empty line at the latest
(curly brackets by one before a line that is not indented). The rules are simple: for a search, no parser.

Idea: A. Karpathy et al., "Visualizing and Understanding Recurrent Networks" (2015), section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from elman.text.words import code_points

__all__ = ["SERIES", "TEXT", "Property", "SeriesSteps", "mark_series", "mark_text"]


@dataclass(frozen=True)
class Property:
    """A yes or no about every step."""

    name: str
    sentence: str
    """What is true of the steps where it holds."""
    of: Callable[[Any], np.ndarray]
    """From a text, or `SeriesSteps`, to a truth for every character or step, ``[N]``."""
    letters: bool = False
    """Whether it is about places within a word, so that only a network of characters can know it."""


class SeriesSteps(NamedTuple):
    """The steps of one or several series, ``[N]`` each."""

    times: np.ndarray
    """datetime64, or whole numbers, which no calendar property holds of."""
    values: np.ndarray
    before: np.ndarray
    """The value one step earlier, NaN where there is none."""
    mean: np.ndarray
    """Of the window that the step is read in."""


Span = tuple[int, int]


def _between(text: str, spans: Iterable[Span]) -> np.ndarray:
    """Return which characters lie in one of the spans."""
    pairs = np.array([*spans], np.int64).reshape(-1, 2).clip(0, len(text))
    edges = np.zeros(len(text) + 1, np.int64)
    np.add.at(edges, pairs[:, 0], 1)
    np.add.at(edges, np.maximum(pairs[:, 1], pairs[:, 0]), -1)
    return np.asarray(np.cumsum(edges[:-1]) > 0)


def _matched(pattern: str, flags: int = 0) -> Callable[[str], np.ndarray]:
    """Return what marks the groups of a pattern, or all of it where it has none."""
    compiled = re.compile(pattern, flags)

    def marks(text: str) -> np.ndarray:
        return _between(
            text, (found.span(found.lastindex or 0) for found in compiled.finditer(text))
        )

    return marks


def _brackets(
    pairs: str, least: int = 1, blank: str = r"|\n[ \t]*\n"
) -> Callable[[str], np.ndarray]:
    """Return what marks the inside of brackets, `least` deep: from the opening one to before the closing."""
    opening, closing = pairs[::2], pairs[1::2]
    compiled = re.compile(f"[{re.escape(pairs)}]{blank}")

    def spans(text: str) -> Iterable[Span]:
        depth = begun = 0
        for found in compiled.finditer(text):
            deep = depth
            depth = (
                depth + 1
                if found[0] in opening
                else max(0, depth - 1)
                if found[0] in closing
                else 0
            )
            if depth >= least > deep:
                begun = found.start()
            elif deep >= least > depth:
                yield begun, found.start()
        if depth >= least:
            yield begun, len(text)

    return lambda text: _between(text, spans(text))


_CODE = re.compile(
    r"(?P<comment>\#[^\n]*|^[ \t]*//[^\n]*|/\*.*?(?:\*/|\Z))|"
    r'(?P<string>"""(?:\\.|.)*?(?:"""|\Z)|\'\'\'(?:\\.|.)*?(?:\'\'\'|\Z)|"(?:\\.|[^"\\\n])*"|'
    # behind two letters it is an apostrophe; behind one, the r of a raw string
    r"(?<![^\W_][^\W_])'(?:\\.|[^'\\\n])*')",
    re.MULTILINE | re.DOTALL,
)


def _code(kind: str) -> Callable[[str], np.ndarray]:
    def spans(text: str) -> Iterable[Span]:
        for found in _CODE.finditer(text):
            if found.lastgroup == kind:
                yield found.start(), found.end() - (kind == "string")

    return lambda text: _between(text, spans(text))


def _columns(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return how many characters of its line are read at each character, and how many the line has."""
    ends = code_points(text) == ord("\n")
    places = np.arange(len(text))
    columns = places - np.maximum.accumulate(np.where(ends, places, -1))
    lines = np.cumsum(ends)
    length = np.bincount(lines[~ends], minlength=1 + int(ends.sum()))[lines]
    return columns, length


def _past(least: int) -> Callable[[str], np.ndarray]:
    return lambda text: _columns(text)[0] > least


def _third(number: int) -> Callable[[str], np.ndarray]:
    def marks(text: str) -> np.ndarray:
        columns, length = _columns(text)
        third = np.ceil(3 * columns / np.maximum(length, 1))
        return np.asarray((columns > 0) & (third == number))

    return marks


_TAB = 4


def _indented(least: int) -> Callable[[str], np.ndarray]:
    compiled = re.compile(r"^([ \t]+)[^\n]*", re.MULTILINE)

    def spans(text: str) -> Iterable[Span]:
        for found in compiled.finditer(text):
            wide = np.cumsum([_TAB if space == "\t" else 1 for space in found[1]])
            if wide[-1] > least:
                yield found.start() + int(np.argmax(wide > least)), found.end()

    return lambda text: _between(text, spans(text))


_WORD = re.compile(r"[^\W\d_]+")


def _words(span: Callable[[re.Match[str]], Span | None]) -> Callable[[str], np.ndarray]:
    def marks(text: str) -> np.ndarray:
        return _between(text, filter(None, map(span, _WORD.finditer(text))))

    return marks


def _capitals(found: re.Match[str]) -> Span | None:
    return found.span() if len(found[0]) > 1 and found[0].isupper() else None


def _capitalised(found: re.Match[str]) -> Span | None:
    return found.span() if found[0][0].isupper() and found[0][1:].islower() else None


def _one_of(letters: str) -> Callable[[str], np.ndarray]:
    return lambda text: np.isin(code_points(text), code_points(letters + letters.upper()))


def _before_stop(text: str) -> np.ndarray:
    stops = re.finditer(r"""[.!?](?=["'”’)]*(?:\s|$))""", text)
    return _between(text, ((found.start() - 20, found.start()) for found in stops))


def _until(ends: str) -> str:
    """Return the pattern of what goes on until one of `ends`, or an empty line."""
    return rf"(?:[^{ends}\n]|\n(?![ \t]*\n))*"


_NEGATION = (
    r"(?:\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|cannot|without)\b|n['’]t\b)"
)
_NAME = r"^([A-Z][\w'’.-]*(?: [\w'’.-]+){0,4}):[ \t]*$|^([A-Z][A-Z .'’-]{1,40}):"

TEXT: tuple[Property, ...] = (
    Property("inside double quotes", 'between " and ", or “ and ”',
             _matched('(["“]' + _until('"”') + ')["”]?')),
    Property("inside single quotes", "between ' and ' or ‘ and ’ that are no apostrophes",
             _matched(r"(?<!\w)(['‘](?=\S)(?:[^'‘’\n]|['’](?=\w)|\n(?![ \t]*\n)){0,400})['’](?!\w)")),
    Property("inside round brackets", "between ( and )", _brackets("()")),
    Property("inside square brackets", "between [ and ]", _brackets("[]")),
    Property("inside curly brackets", "between { and }", _brackets("{}", blank=r"|\n[ \t]*\n(?![\s}])")),
    Property("inside brackets in brackets", "two or more brackets deep", _brackets("()[]{}", 2)),
    Property("inside a tag", "between < and > of a mark-up tag",
             _matched(r"(<[a-zA-Z/!][^<>\n]{0,200})>")),
    Property("inside a string", "in a string of program code", _code("string")),
    Property("inside a comment", "behind # or, at a line's start, //; between /* and */",
             _code("comment")),
    Property("at a line's start", "nothing of the line but spaces is read",
             _matched(r"(?:\A|\n)[ \t]*")),
    Property("first 10 characters of a line", "at most 10 characters of the line are read",
             lambda text: _columns(text)[0] <= 10),
    Property("past 30 characters of a line", "more than 30 characters of the line are read", _past(30)),
    Property("past 60 characters of a line", "more than 60 characters of the line are read", _past(60)),
    Property("first third of a line", "in the first third of the line's characters", _third(1)),
    Property("second third of a line", "in the second third of the line's characters", _third(2)),
    Property("last third of a line", "in the last third of the line's characters", _third(3)),
    Property("indented", "the line began with a space", _indented(0)),
    Property("indented past 4", "the line began with more than 4 spaces (a tab is 4)", _indented(4)),
    Property("indented past 8", "the line began with more than 8 spaces (a tab is 4)", _indented(8)),
    Property("first line after an empty line", "in the line behind an empty one",
             _matched(r"(?<=\n)[ \t]*\n([^\n]+)")),
    Property("last line before an empty line", "in the line before an empty one",
             _matched(r"^([ \t]*[^\s][^\n]*)\n(?=[ \t]*\n)", re.MULTILINE)),
    Property("in a speaker's name", "in a line that is a name and a colon, or in capitals before a colon",
             _matched(_NAME, re.MULTILINE)),
    Property("after a negation", "behind not, n't, no, never, ... until the sentence ends",
             _matched(_NEGATION + "(" + _until(".!?;") + ")", re.IGNORECASE)),
    Property("a sentence has begun", "in the 20 characters behind a . ! or ? with a space",
             _matched(r"""[.!?]["'”’)]*(?=(\s.{0,19}))""", re.DOTALL)),
    Property("a sentence ends soon", "in the 20 characters before a . ! or ?", _before_stop),
    Property("in a URL", "behind http:// https:// or www. until a space",
             _matched(r"""\b(?:https?://|www\.)[^\s<>"]+""")),
    Property("in a number", "in digits, with points and commas between them",
             _matched(r"\d+(?:[.,]\d+)*")),
    Property("in a word of capitals", "in two or more capital letters", _words(_capitals)),
    Property("in a capitalised word", "in a capital letter and the small ones behind it",
             _words(_capitalised)),
    Property("first letter of a word", "one letter of the word is read",
             _words(lambda found: (found.start(), found.start() + 1)), letters=True),
    Property("past 5 letters of a word", "more than 5 letters of the word are read",
             _words(lambda found: (found.start() + 5, found.end())), letters=True),
    Property("at a vowel", "the last character is one of aeiou", _one_of("aeiou"), letters=True),
    Property("at a consonant", "the last character is another letter of the English alphabet",
             _one_of("bcdfghjklmnpqrstvwxyz"), letters=True),
)  # fmt: skip
"""What is looked for in a text."""


def mark_text(text: str, *, words: bool = False) -> dict[str, np.ndarray]:
    """Return by name where in `text` each property holds, bool ``[N]`` over its characters.

    For `words` those about places within a word are left out.

    >>> marks = mark_text('He said "no" (twice).')
    >>> "".join("x" if mark else "." for mark in marks["inside round brackets"])
    '.............xxxxxx..'
    """
    return {one.name: one.of(text) for one in TEXT if not (words and one.letters)}


def _clock(number: int, unit: str, whole: str, share: Any) -> Callable[[SeriesSteps], np.ndarray]:
    """Return what marks quarter `number` (from 0) of a day or year, of `share` units each."""

    def marks(steps: SeriesSteps) -> np.ndarray:
        if steps.times.dtype.kind != "M":
            return np.zeros(len(steps.times), bool)
        passed = steps.times.astype(f"datetime64[{unit}]") - steps.times.astype(
            f"datetime64[{whole}]"
        ).astype(f"datetime64[{unit}]")
        return np.asarray(passed.astype(np.int64) // share == number)

    return marks


def _weekend(steps: SeriesSteps) -> np.ndarray:
    if steps.times.dtype.kind != "M":
        return np.zeros(len(steps.times), bool)
    # day 0, 1 January 1970, was a Thursday
    days = steps.times.astype("datetime64[D]").astype(np.int64)
    return np.asarray((days + 3) % 7 >= 5)


SERIES: tuple[Property, ...] = (
    Property("at night", "from 0 to 6 o'clock", _clock(0, "h", "D", 6)),
    Property("in the morning", "from 6 to 12 o'clock", _clock(1, "h", "D", 6)),
    Property("in the afternoon", "from 12 to 18 o'clock", _clock(2, "h", "D", 6)),
    Property("in the evening", "from 18 to 24 o'clock", _clock(3, "h", "D", 6)),
    Property("weekend", "on a Saturday or Sunday", _weekend),
    Property("first quarter of the year", "from January to March", _clock(0, "M", "Y", 3)),
    Property("second quarter of the year", "from April to June", _clock(1, "M", "Y", 3)),
    Property("third quarter of the year", "from July to September", _clock(2, "M", "Y", 3)),
    Property("fourth quarter of the year", "from October to December", _clock(3, "M", "Y", 3)),
    Property("rising", "the value is above the one before", lambda steps: steps.values > steps.before),
    Property("falling", "the value is below the one before", lambda steps: steps.values < steps.before),
    Property("high", "the value is above the mean of its window", lambda steps: steps.values > steps.mean),
    Property("low", "the value is below the mean of its window", lambda steps: steps.values < steps.mean),
)  # fmt: skip
"""What is looked for in series."""


def mark_series(steps: SeriesSteps) -> dict[str, np.ndarray]:
    """Return by name at which steps each property holds, bool ``[N]``.

    >>> days = np.arange("2024-03-01", "2024-03-04", dtype="datetime64[D]")
    >>> values = np.array([1.0, 3.0, 2.0])
    >>> steps = SeriesSteps(days, values, np.array([np.nan, 1.0, 3.0]), np.full(3, 2.0))
    >>> marks = mark_series(steps)
    >>> marks["weekend"].tolist(), marks["rising"].tolist()
    ([False, True, True], [False, True, False])
    """
    return {one.name: one.of(steps) for one in SERIES}
