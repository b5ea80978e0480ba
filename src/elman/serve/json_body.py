"""JSON bodies as Python values, with one line for what is no JSON."""

from __future__ import annotations

import json
from typing import Any

from elman.errors import InputError

__all__ = ["read"]

MAX_FIELDS = 100
"""Of one object."""
MAX_OPENED = 200_000
"""Brackets and braces in a body. Python reads so many in a few hundredths of a second, in which no other
thread runs."""


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number in JSON")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MAX_FIELDS:
        got = f"an object of more than {MAX_FIELDS} fields"
        raise InputError("the body", got=got, expected="fewer")
    fields: dict[str, Any] = {}
    for name, value in pairs:
        if name in fields:
            raise InputError("the body", got=f"the field {name} twice", expected="each field once")
        fields[name] = value
    return fields


def read(content: bytes) -> Any:
    """Return what a body says; raises InputError for what is no JSON or names a field twice.

    >>> read(b'{"input": [[1, 2.5], [null]]}')
    {'input': [[1, 2.5], [None]]}
    """
    if content.count(b"[") + content.count(b"{") > MAX_OPENED:
        got = f"more than {MAX_OPENED:,} lists and objects"
        raise InputError("the body", got=got, expected="fewer")
    try:
        text = str(content, "utf-8")
        return json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
    except InputError:
        raise
    except json.JSONDecodeError as error:
        fault = f"{error.msg[:1].lower()}{error.msg[1:]}, at character {error.pos}"
    except UnicodeDecodeError as error:
        fault = f"no UTF-8, at byte {error.start}"
    except RecursionError:
        fault = "nested too deep"
    except ValueError as error:
        fault = "a number of too many digits" if "digits" in str(error) else str(error)
    raise InputError("the body", got=f"invalid JSON ({fault})", expected="a JSON object")
