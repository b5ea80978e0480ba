"""Conversion of arrays and of numbers that are not finite to values that JSON can express."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray


def finite_or_none(value: Any) -> Any:
    """Return a JSON value with None in place of every number that is not finite.

    >>> finite_or_none({"loss": [1.5, float("nan")]})
    {'loss': [1.5, None]}
    """
    if isinstance(value, dict):
        return {str(name): finite_or_none(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite_or_none(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def array_values(array: NDArray[Any]) -> list[Any]:
    """Return an array as a list with None for numbers that are not finite and ISO 8601 for times.

    >>> import numpy as np
    >>> array_values(np.array([1.5, np.inf])), array_values(np.array(["2024-01-31"], "datetime64[D]"))
    ([1.5, None], ['2024-01-31'])
    """
    if array.dtype.kind == "M":
        return [str(time).removesuffix(".000000") for time in array]
    values: list[Any] = finite_or_none(array.tolist())
    return values
