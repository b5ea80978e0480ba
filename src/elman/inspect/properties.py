"""Readable properties of each step of a text or series, with which the units of a network are compared.

A property holds or fails after each step is read: it is inside quotation marks from the opening mark on, and
no longer at the closing one. For a network of words it is taken at the last character of each word. An empty
line closes all quotation marks and brackets; curly brackets stay open before an indented line. The rules are
simple patterns for a search, not parsers.

Idea: A. Karpathy et al., "Visualizing and Understanding Recurrent Networks" (2015), section 4.2.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Generic, NamedTuple, TypeVar

import numpy as np

from elman.text.words import code_points

S = TypeVar("S", str, "SeriesSteps")


@dataclass(frozen=True)
class Property(Generic[S]):
    """A statement that is true or false after each step."""

    name: str
    sentence: str
    """Words that explain to which steps the property applies."""
    of: Callable[[S], np.ndarray]
    """Return whether it holds, bool ``[N]``, for each character of a text or each of `SeriesSteps`."""
    letters: bool = False
    """Whether it is about places within a word, which only a network of characters can tell apart."""


class SeriesSteps(NamedTuple):
    """The steps of one or several series, as arrays ``[N]``."""

    times: np.ndarray
    """datetime64, or whole numbers, for which no calendar property holds."""
    values: np.ndarray
    before: np.ndarray
    """The value one step earlier, NaN where there is none."""
    mean: np.ndarray
    """The mean of the window in which the step is read."""


Span = tuple[int, int]


def _between(text: str, spans: Iterable[Span]) -> np.ndarray:
    """Return whether each character lies in one of the spans."""
    # [n, 2]: the first character of each span, and the one after its last
    pairs = np.array([*spans], np.int64).reshape(-1, 2).clip(0, len(text))
    # Count how many spans begin and end at each character; the running sum counts the open ones.
    edges = np.zeros(len(text) + 1, np.int64)
    np.add.at(edges, pairs[:, 0], 1)
    # An empty span ends where it begins, and so marks nothing.
    np.add.at(edges, np.maximum(pairs[:, 1], pairs[:, 0]), -1)
    return np.asarray(np.cumsum(edges[:-1]) > 0)


def _matched(
    pattern: str, group: str = "", keep: Callable[[str], bool] = bool
) -> Callable[[str], np.ndarray]:
    """Return a function that marks matches that `keep` accepts: a group of them, or all where none matched.

    Without a name, the group is the last one that matched.
    """
    compiled = re.compile(pattern)

    def marks(text: str) -> np.ndarray:
        matches = (match for match in compiled.finditer(text) if keep(match[0]))
        return _between(text, (match.span(group or match.lastindex or 0) for match in matches))

    return marks


def _brackets(
    pairs: str, least: int = 1, blank: str = r"|\n[ \t]*\n"
) -> Callable[[str], np.ndarray]:
    """Return a function that marks text inside `least` or more nested brackets, without the closing one."""
    opening, closing = pairs[::2], pairs[1::2]
    compiled = re.compile(f"[{re.escape(pairs)}]{blank}")

    def spans(text: str) -> Iterable[Span]:
        depth = begun = 0
        for match in compiled.finditer(text):
            before = depth
            if match[0] in opening:
                depth += 1
            else:  # an empty line closes all brackets
                depth = max(0, depth - 1) if match[0] in closing else 0
            # The nesting just became deep enough: a span begins.
            if depth >= least > before:
                begun = match.start()
            elif before >= least > depth:
                yield begun, match.start()
        if depth >= least:
            yield begun, len(text)

    return lambda text: _between(text, spans(text))


_CODE = (
    r"(?ms)(?P<comment>\#[^\n]*|^[ \t]*//[^\n]*|/\*.*?(?:\*/|\Z))|"
    # the closing quotation mark is outside the group
    r'(?P<string>"""(?:\\.|.)*?(?:""(?=")|\Z)|\'\'\'(?:\\.|.)*?(?:\'\'(?=\')|\Z)|"(?:\\.|[^"\\\n])*(?=")|'
    # after two letters a single quote is an apostrophe; one letter may be the r of a raw string
    r"(?<![^\W_][^\W_])'(?:\\.|[^'\\\n])*(?='))['\"]?"
)


def _columns(text: str) -> tuple[np.ndarray, np.ndarray]:
    """Return for each character its column and its third of the line, from 1; both are 0 at a line end."""
    ends = code_points(text) == ord("\n")
    # Characters since the last line end, which has column 0 itself.
    places = np.arange(len(text))
    columns = places - np.maximum.accumulate(np.where(ends, places, -1))
    lines = np.cumsum(ends)
    # The length of the line of each character, without its line end.
    length = np.bincount(lines[~ends], minlength=1 + int(ends.sum()))[lines]
    return columns, np.ceil(3 * columns / np.maximum(length, 1))


_TAB_SPACES = 4


def _indented(least: int) -> Callable[[str], np.ndarray]:
    compiled = re.compile(r"^([ \t]+)[^\n]*", re.MULTILINE)

    def spans(text: str) -> Iterable[Span]:
        for match in compiled.finditer(text):
            # The depth of the indentation after each of its characters.
            widths = np.cumsum([_TAB_SPACES if space == "\t" else 1 for space in match[1]])
            if widths[-1] > least:
                yield match.start() + int(np.argmax(widths > least)), match.end()

    return lambda text: _between(text, spans(text))


_LETTER = r"[^\W\d_]"


def _one_of(letters: str) -> Callable[[str], np.ndarray]:
    return lambda text: np.isin(code_points(text), code_points(letters + letters.upper()))


def _before_stop(text: str) -> np.ndarray:
    stops = re.finditer(r"""[.!?](?=["'”’)]*(?:\s|$))""", text)
    return _between(text, ((stop.start() - 20, stop.start()) for stop in stops))


def _until(ends: str) -> str:
    """Return a pattern that matches up to one of the characters `ends`, or up to an empty line."""
    return rf"(?:[^{ends}\n]|\n(?![ \t]*\n))*"


_NEGATION = (
    r"(?i)(?:\b(?:not|no|never|none|nobody|nothing|nowhere|neither|nor|cannot|without)\b|n['’]t\b)"
)
_NAME = r"(?m)^([A-Z][\w'’.-]*(?: [\w'’.-]+){0,4}):[ \t]*$|^([A-Z][A-Z .'’-]{1,40}):"

TEXT: tuple[Property[str], ...] = (
    Property("inside double quotes", 'between " and ", or “ and ”',
             _matched('(["“]' + _until('"”') + ')["”]?')),
    Property("inside single quotes", "between ' and ' or ‘ and ’, apostrophes aside",
             _matched(r"(?<!\w)(['‘](?=\S)(?:[^'‘’\n]|['’](?=\w)|\n(?![ \t]*\n)){0,400})['’](?!\w)")),
    Property("inside round brackets", "between ( and )", _brackets("()")),
    Property("inside square brackets", "between [ and ]", _brackets("[]")),
    Property("inside curly brackets", "between { and }", _brackets("{}", blank=r"|\n[ \t]*\n(?![\s}])")),
    Property("inside brackets in brackets", "two or more brackets deep", _brackets("()[]{}", 2)),
    Property("inside a tag", "between < and > of a mark-up tag",
             _matched(r"(<[a-zA-Z/!][^<>\n]{0,200})>")),
    Property("inside a string", "in a string of program code", _matched(_CODE, "string")),
    Property("inside a comment", "after # or, at a line's start, //; between /* and */",
             _matched(_CODE, "comment")),
    Property("at a line's start", "only spaces of the line have been read",
             _matched(r"(?:\A|\n)[ \t]*")),
    Property("first 10 characters of a line", "at most 10 characters of the line have been read",
             lambda text: _columns(text)[0] <= 10),
    Property("past 30 characters of a line", "more than 30 characters of the line have been read",
             lambda text: _columns(text)[0] > 30),
    Property("past 60 characters of a line", "more than 60 characters of the line have been read",
             lambda text: _columns(text)[0] > 60),
    Property("first third of a line", "in the first third of the line's characters",
             lambda text: _columns(text)[1] == 1),
    Property("second third of a line", "in the second third of the line's characters",
             lambda text: _columns(text)[1] == 2),
    Property("last third of a line", "in the last third of the line's characters",
             lambda text: _columns(text)[1] == 3),
    Property("indented", "the line began with a space", _indented(0)),
    Property("indented past 4", "the line began with more than 4 spaces (a tab is 4)", _indented(4)),
    Property("indented past 8", "the line began with more than 8 spaces (a tab is 4)", _indented(8)),
    Property("first line after an empty line", "in the line after an empty line",
             _matched(r"(?<=\n)[ \t]*\n([^\n]+)")),
    Property("last line before an empty line", "in the line before an empty line",
             _matched(r"(?m)^([ \t]*[^\s][^\n]*)\n(?=[ \t]*\n)")),
    Property("in a speaker's name", "in a line that is a name and a colon, or in capitals before a colon",
             _matched(_NAME)),
    Property("after a negation", "after not, n't, no, never and so on, until the sentence ends",
             _matched(_NEGATION + "(" + _until(".!?;") + ")")),
    Property("a sentence has begun", "in the 20 characters after a . ! or ? with a space",
             _matched(r"""(?s)[.!?]["'”’)]*(?=(\s.{0,19}))""")),
    Property("a sentence ends soon", "in the 20 characters before a . ! or ?", _before_stop),
    Property("in a URL", "after http://, https:// or www., until a space",
             _matched(r"""\b(?:https?://|www\.)[^\s<>"]+""")),
    Property("in a number", "in digits, or points and commas between digits",
             _matched(r"\d+(?:[.,]\d+)*")),
    Property("in a word of capitals", "in two or more capital letters",
             _matched(f"{_LETTER}{{2,}}", keep=str.isupper)),
    Property("in a capitalised word", "in a word that starts with a capital, small letters after it",
             _matched(f"{_LETTER}+", keep=lambda word: word[0].isupper() and word[1:].islower())),
    Property("first letter of a word", "one letter of the word has been read",
             _matched(f"(?<!{_LETTER}){_LETTER}"), letters=True),
    Property("past 5 letters of a word", "more than 5 letters of the word have been read",
             _matched(f"(?<!{_LETTER}){_LETTER}{{5}}({_LETTER}+)"), letters=True),
    Property("at a vowel", "the last character is one of aeiou", _one_of("aeiou"), letters=True),
    Property("at a consonant", "the last character is one of the other English letters",
             _one_of("bcdfghjklmnpqrstvwxyz"), letters=True),
)  # fmt: skip
"""The properties of a text."""


def mark_text(text: str, *, words: bool = False) -> dict[str, np.ndarray]:
    """Return by name whether each property holds after each character of `text`, bool ``[N]``.

    With `words`, properties about places within a word are left out.

    >>> marks = mark_text('He said "no" (twice).')
    >>> "".join("x" if mark else "." for mark in marks["inside round brackets"])
    '.............xxxxxx..'
    """
    return {known.name: known.of(text) for known in TEXT if not (words and known.letters)}


def _quarter(number: int, unit: str, period: str, size: int) -> Callable[[SeriesSteps], np.ndarray]:
    """Return a function that marks a quarter (from 0) of a period of time; a quarter has `size` units."""

    def marks(steps: SeriesSteps) -> np.ndarray:
        # The time at which the day or the year of each step began.
        begun = steps.times.astype(f"datetime64[{period}]").astype(f"datetime64[{unit}]")
        passed = steps.times.astype(f"datetime64[{unit}]") - begun
        return np.asarray(passed.astype(np.int64) // size == number)

    return marks


SERIES: tuple[Property[SeriesSteps], ...] = (
    Property("at night", "from 0 to 6 o'clock", _quarter(0, "h", "D", 6)),
    Property("in the morning", "from 6 to 12 o'clock", _quarter(1, "h", "D", 6)),
    Property("in the afternoon", "from 12 to 18 o'clock", _quarter(2, "h", "D", 6)),
    Property("in the evening", "from 18 to 24 o'clock", _quarter(3, "h", "D", 6)),
    Property("weekend", "on a Saturday or Sunday",
             lambda steps: np.is_busday(steps.times.astype("datetime64[D]"), weekmask="Sat Sun")),
    Property("first quarter of the year", "from January to March", _quarter(0, "M", "Y", 3)),
    Property("second quarter of the year", "from April to June", _quarter(1, "M", "Y", 3)),
    Property("third quarter of the year", "from July to September", _quarter(2, "M", "Y", 3)),
    Property("fourth quarter of the year", "from October to December", _quarter(3, "M", "Y", 3)),
    Property("rising", "the value is above the one before", lambda steps: steps.values > steps.before),
    Property("falling", "the value is below the one before", lambda steps: steps.values < steps.before),
    Property("high", "the value is above the mean of its window", lambda steps: steps.values > steps.mean),
    Property("low", "the value is below the mean of its window", lambda steps: steps.values < steps.mean),
)  # fmt: skip
"""The properties of series."""


def mark_series(steps: SeriesSteps) -> dict[str, np.ndarray]:
    """Return by name whether each property holds at each step, bool ``[N]``.

    >>> days = np.arange("2024-03-01", "2024-03-04", dtype="datetime64[D]")
    >>> values = np.array([1.0, 3.0, 2.0])
    >>> steps = SeriesSteps(days, values, np.array([np.nan, 1.0, 3.0]), np.full(3, 2.0))
    >>> marks = mark_series(steps)
    >>> marks["weekend"].tolist(), marks["rising"].tolist()
    ([False, True, True], [False, True, False])
    """
    if steps.times.dtype.kind != "M":
        # no calendar property holds at a missing time
        steps = steps._replace(times=np.full(len(steps.times), "NaT", "datetime64[s]"))
    return {known.name: known.of(steps) for known in SERIES}
