"""Properties of known texts and series, step by step, in time that grows linearly with the text."""

from __future__ import annotations

import time

import numpy as np
import pytest

from elman.inspect.properties import SERIES, TEXT, SeriesSteps, mark_series, mark_text

# A text of this length takes well below a second; a search that goes back and back takes minutes.
LONG, SECONDS = 100_000, 20


@pytest.mark.parametrize(
    ("name", "text", "marks"),
    [
        ("inside double quotes", 'a "bc" d “e” f', "  xxx    xx   "),
        ("inside double quotes", 'a "b\n\nc" d', "  xx   xxx"),
        ("inside single quotes", "don't 'go on' don't", "      xxxxxx       "),
        ("inside single quotes", "it's 'tis not", "             "),
        ("inside round brackets", "a (b (c) d) e)", "  xxxxxxxx    "),
        ("inside round brackets", "a (b\n\nc", "  xx"),
        ("inside square brackets", "a[1]b", " xx  "),
        ("inside curly brackets", "f {\n  a\n\n  b\n} c", "  xxxxxxxxxxx   "),
        ("inside curly brackets", "{ a\n\nb", "xxx   "),
        ("inside brackets in brackets", "f(a[1], (b))", "   xx   xx"),
        ("inside a tag", "a <b c> 1 < 2", "  xxxx       "),
        ("inside a string", "a = 'x' + r\"y\" # '", "    xx     xx     "),
        ("inside a string", "'''a'\nb''' 'c' don't can't", "xxxxxxxxx  xx"),
        ("inside a comment", "a = '#' # b\nc", "        xxx  "),
        ("inside a comment", "a // 2\n // b\n/* c\n */ d", "       xxxxx xxxxxxxx  "),
        ("at a line's start", "  a\n b", "xx xx "),
        ("first 10 characters of a line", "123456789012\n1", "xxxxxxxxxx  xx"),
        ("past 30 characters of a line", "a" * 32 + "\n", " " * 30 + "xx "),
        ("past 60 characters of a line", "a" * 62, " " * 60 + "xx"),
        ("first third of a line", "123456\n123\n\n1", "xx     x"),
        ("second third of a line", "123456\n123", "  xx    x "),
        ("last third of a line", "123456\n123\na", "    xx   x x"),
        ("indented", "a\n  b\n\n\tc", "  xxx  xx"),
        ("indented past 4", "    a\n     b\n\t\tc", "          xx  xx"),
        ("indented past 8", "\t\t\tc\n        d", "  xx"),
        ("first line after an empty line", "a\nb\n\nc\n \nd", "     x   x"),
        ("last line before an empty line", "a\nb\n\nc\n \nd", "  x  x    "),
        ("in a speaker's name", "First Citizen:\nNo: I\n", "xxxxxxxxxxxxx"),
        ("in a speaker's name", "KING: Who?\nraise X:", "xxxx               "),
        ("after a negation", "I do not go. I don't!", "        xxx          "),
        ("after a negation", "NEVER mind\nit\n\nnow nothing", "     xxxxxxxx             "),
        ("after a negation", "another knot notes", " " * 18),
        ("a sentence has begun", 'Go. On we "go!" and', "   " + "x" * 16),
        ("a sentence ends soon", "a 3.5 cat sat on the mat.", "    " + "x" * 20 + " "),
        ("in a URL", "see https://a.b/c?d now", "    xxxxxxxxxxxxxxx    "),
        ("in a number", "a 1,234.5 b2.", "  xxxxxxx  x "),
        ("in a word of capitals", "NASA I AmE ÄÖ", "xxxx       xx"),
        ("in a capitalised word", "Hello NASA wOrld I", "xxxxx             "),
        ("first letter of a word", "to be", "x  x "),
        ("past 5 letters of a word", "abcdefg ab", "     xx   "),
        ("at a vowel", "To be", " x  x"),
        ("at a consonant", "To be1", "x  x  "),
    ],
)
def test_property_marks_these_characters(name: str, text: str, marks: str) -> None:
    found = mark_text(text)[name]
    assert found.dtype == bool
    assert "".join("x" if held else " " for held in found) == marks.ljust(len(text))


def test_every_property_has_its_own_name_and_a_sentence() -> None:
    names = [one.name for one in TEXT] + [one.name for one in SERIES]
    assert len(set(names)) == len(names)
    assert all([one.sentence for one in TEXT] + [one.sentence for one in SERIES])
    assert mark_text("").keys() == {one.name for one in TEXT}
    assert all(held.shape == (0,) for held in mark_text("").values())


def test_properties_within_a_word_are_for_character_models() -> None:
    left = mark_text("a").keys() - mark_text("a", words=True).keys()
    assert left == {one.name for one in TEXT if one.letters}
    assert "at a vowel" in left


@pytest.mark.slow
@pytest.mark.parametrize(
    "piece",
    [
        '"""',
        "'a ",
        "(",
        "{",
        "/*",
        "\n",
        "\n\t",
        " ",
        "a",
        "not ",
        "A.B ",
        "<a",
        "\ud800\u202e",
        "1,",
    ],
)
def test_hostile_text_takes_linear_time(piece: str) -> None:
    text = piece * (LONG // len(piece))
    begun = time.process_time()
    marks = mark_text(text)
    assert time.process_time() - begun < SECONDS
    assert {held.shape for held in marks.values()} == {(len(text),)}


def series(times: np.ndarray) -> SeriesSteps:
    values = np.arange(len(times), dtype=float)
    return SeriesSteps(times, values, np.append(np.nan, values[:-1]), np.full(len(times), 1.0))


def test_quarters_of_the_day_and_of_the_year() -> None:
    hours = np.datetime64("2024-03-30T00", "us") + np.arange(0, 72, 3) * np.timedelta64(1, "h")
    marks = mark_series(series(hours))
    quarters = ["at night", "in the morning", "in the afternoon", "in the evening"]
    assert np.array_equal(np.sum([marks[name] for name in quarters], axis=0), np.ones(24))
    assert [marks[name][:8].tolist().index(True) for name in quarters] == [0, 2, 4, 6]
    # 30 and 31 March 2024 are a Saturday and a Sunday; then April begins
    assert marks["weekend"].tolist() == [True] * 16 + [False] * 8
    assert marks["first quarter of the year"].tolist() == [True] * 16 + [False] * 8
    assert marks["second quarter of the year"].tolist() == [False] * 16 + [True] * 8


def test_values_of_series_without_a_calendar() -> None:
    marks = mark_series(series(np.arange(3)))
    assert not marks["weekend"].any()
    assert not marks["at night"].any()
    assert marks["rising"].tolist() == [False, True, True]
    assert not marks["falling"].any()
    assert marks["high"].tolist() == [False, False, True]
    assert marks["low"].tolist() == [True, False, False]
