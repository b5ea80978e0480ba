"""Conversion of results, arrays and numbers that are not finite to values that JSON can express."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

J = TypeVar("J")


def json_fields(result: object, shape: Callable[..., J], **others: object) -> J:
    """Return the attributes of a result that a TypedDict names, as JSON expresses them.

    Args:
        result: Has an attribute for each field that is not in `others`.
        shape: The TypedDict.
        others: Fields that are no attributes of the result, or that differ from them.

    >>> import fractions
    >>> from typing import TypedDict
    >>> Fraction = TypedDict("Fraction", {"numerator": int, "text": str})
    >>> json_fields(fractions.Fraction(2, 3), Fraction, text="2/3")
    {'numerator': 2, 'text': '2/3'}
    """
    fields = {
        name: others[name] if name in others else json_value(getattr(result, name))
        for name in shape.__annotations__
    }
    return shape(**fields)


def json_value(value: Any) -> Any:
    """Return a value for JSON: arrays become lists, times ISO 8601, and numbers that are not finite None.

    >>> json_value({"loss": [1.5, float("nan")]}), json_value(np.array([1.5, np.inf]))
    ({'loss': [1.5, None]}, [1.5, None])
    >>> json_value(np.array(["2024-01-31"], "datetime64[D]"))
    ['2024-01-31']
    """
    if isinstance(value, np.ndarray):
        if value.dtype.kind == "M":
            return [str(time).removesuffix(".000000") for time in value]
        return json_value(value.tolist())
    if isinstance(value, dict):
        return {str(name): json_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [json_value(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
