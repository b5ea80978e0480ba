"""JSON bodies, read in small steps: a large one holds up no other thread, and is refused at its first fault.

Python's own parser reads a body in one go, in which no other thread runs, says nothing of a name that an
object has twice, and reads a list of any length. Here it reads single values and rows of numbers.
"""

from __future__ import annotations

from json import JSONDecodeError, JSONDecoder
from json.decoder import WHITESPACE, scanstring  # type: ignore[attr-defined]
from typing import Any

from elman._errors import InputError
from elman._pace import pause

__all__ = ["read"]

MAX_ITEMS, MAX_NUMBERS = 12_000, 120_000
"""Of one list. All fields take fewer, and a list that is longer is refused before it is read whole."""
MAX_FIELDS, MAX_DEPTH = 100, 8
ROW_CHARACTERS = 2**15
"""Of numbers that are read in one go, some tenths of a millisecond."""


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


_scan = JSONDecoder(parse_constant=_no_number).scan_once  # type: ignore[attr-defined]


def read(content: bytes) -> Any:
    """Return what a body says; raises InputError for what is no JSON, too long, or names a field twice.

    >>> read(b'{"input": [[1, 2.5], [null]]}')
    {'input': [[1, 2.5], [None]]}
    """
    try:
        text = str(content, "utf-8")
        value, at = _value(text, _skip(text, 0), 0)
        if at < len(text):
            raise JSONDecodeError("text after its end", text, at)
    except JSONDecodeError as error:
        fault = f"{error.msg[:1].lower()}{error.msg[1:]}, at character {error.pos}"
    except UnicodeDecodeError as error:
        fault = f"no UTF-8, at byte {error.start}"
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        fault = "a number of too many digits" if "digits" in str(error) else str(error)
    else:
        return value
    raise InputError("the body", got=f"invalid JSON ({fault})", expected="a JSON object")


def _skip(text: str, at: int) -> int:
    return int(WHITESPACE.match(text, at).end())


def _scanned(text: str, at: int, before: int = 0) -> tuple[Any, int]:
    """Return what Python's parser reads there, in a text that `before` characters stand before."""
    try:
        found: tuple[Any, int] = _scan(text, at)
    except StopIteration as stop:
        raise JSONDecodeError("Expecting value", text, before + stop.value) from None
    except JSONDecodeError as error:
        raise JSONDecodeError(error.msg, text, before + error.pos) from None
    return found


def _value(text: str, at: int, depth: int) -> tuple[Any, int]:
    """Return the value that begins at `at`, and where what follows it begins."""
    end = {"[": "]", "{": "}"}.get(text[at : at + 1])
    if end is None or (end == "]" and _is_row(text, at)):
        value, at = _scanned(text, at)
        return value, _skip(text, at)
    if depth == MAX_DEPTH:
        raise JSONDecodeError("nested too deep", text, at)
    found: Any = [] if end == "]" else {}
    at = _skip(text, at + 1)
    while text[at : at + 1] != end or found:
        pause()
        at = (_item if end == "]" else _field)(found, text, at, depth + 1)
        if text[at : at + 1] == end:
            break
        if text[at : at + 1] != ",":
            raise JSONDecodeError(f"Expecting ',' or '{end}'", text, at)
        at = _skip(text, at + 1)
    return found, _skip(text, at + 1)


def _is_row(text: str, at: int) -> bool:
    """Return whether a short list of nothing but numbers begins here."""
    end = text.find("]", at, at + ROW_CHARACTERS)
    return end > 0 and _plain(text, at + 1, end)


def _plain(text: str, begin: int, end: int) -> bool:
    return not any(text.find(mark, begin, end) > 0 for mark in '"[]{')


def _item(found: list[Any], text: str, at: int, depth: int) -> int:
    """Add the next item, or many numbers at once, to a list; return where what follows begins."""
    cut = text.rfind(",", at, at + ROW_CHARACTERS)
    if cut > at and _plain(text, at, cut):
        found += _scanned(f"[{text[at:cut]}]", 0, at - 1)[0]
        at = cut
    else:
        value, at = _value(text, at, depth)
        found.append(value)
    most = MAX_NUMBERS if isinstance(found[-1], int | float | None) else MAX_ITEMS
    if len(found) > most:
        got = f"a list of more than {most:,} items"
        raise InputError("the body", got=got, expected="a shorter one")
    return at


def _field(found: dict[str, Any], text: str, at: int, depth: int) -> int:
    """Add the next field to an object; return where what follows begins."""
    if text[at : at + 1] != '"':
        raise JSONDecodeError("Expecting a field's name in double quotes", text, at)
    name, at = scanstring(text, at + 1, True)
    at = _skip(text, at)
    if text[at : at + 1] != ":":
        raise JSONDecodeError("Expecting ':'", text, at)
    if name in found:
        raise InputError("the body", got=f"the field {name} twice", expected="each field once")
    if len(found) == MAX_FIELDS:
        got = f"an object of more than {MAX_FIELDS} fields"
        raise InputError("the body", got=got, expected="fewer")
    found[name], at = _value(text, _skip(text, at + 1), depth)
    return at
