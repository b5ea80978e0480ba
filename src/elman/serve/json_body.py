"""Parser for JSON request bodies that describes every fault in one line."""

from __future__ import annotations

import json
from typing import Any

from elman.errors import InputError

MAX_OBJECT_FIELDS = 100
MAX_OPENING_BRACKETS = 200_000
"""Brackets and braces in one body. Python's parser runs without letting other threads run; it needs a few
hundredths of a second for this many."""


def _refuse_constant(name: str) -> float:
    raise ValueError(f"JSON has no number {name}")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object as a dict; raise InputError if it repeats a field or has too many."""
    if len(pairs) > MAX_OBJECT_FIELDS:
        got = f"an object of more than {MAX_OBJECT_FIELDS} fields"
        raise InputError("the body", got=got, expected=f"at most {MAX_OBJECT_FIELDS}")
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise InputError("the body", got=f"the field {name} twice", expected="each field once")
        fields[name] = value
    return fields


def parse_json(content: bytes) -> Any:
    """Parse a request body.

    Args:
        content: The body as it was sent.

    Returns:
        The value, built from dict, list, str, int, float, bool and None.

    Raises:
        InputError: The body is not JSON in UTF-8, repeats a field or has too many brackets.

    >>> parse_json(b'{"input": [[1, 2.5], [null]]}')
    {'input': [[1, 2.5], [None]]}
    """
    # Count before parsing, because the parser cannot be interrupted.
    if content.count(b"[") + content.count(b"{") > MAX_OPENING_BRACKETS:
        got = f"more than {MAX_OPENING_BRACKETS:,} lists and objects"
        raise InputError("the body", got=got, expected="fewer")
    try:
        text = str(content, "utf-8")
        return json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
    # InputError is a ValueError, which the last branch below would take for a fault of the parser.
    except InputError:
        raise
    except json.JSONDecodeError as error:
        fault = f"{error.msg[:1].lower()}{error.msg[1:]}, at character {error.pos}"
    except UnicodeDecodeError as error:
        fault = f"not UTF-8, at byte {error.start}"
    except RecursionError:
        fault = "nested too deep"
    except ValueError as error:
        fault = "a number with too many digits" if "digits" in str(error) else str(error)
    raise InputError("the body", got=f"invalid JSON ({fault})", expected="a JSON object")
