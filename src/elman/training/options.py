"""How an option is declared, once: type, default, one line of help, limits; and how a value is checked.

Command, estimators and runs are all made from these declarations.
"""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import Field, dataclass, field, fields
from typing import Any, get_args, get_type_hints

from elman.errors import OptionError

__all__ = ["Options", "members_of", "network", "reading", "seconds", "training"]

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _is_number(value: Any) -> bool:
    """Return whether `value` is a finite number that fits a float."""
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and abs(value) < math.inf and int(value).bit_length() < 1024


def seconds(time: str | float, name: str = "time") -> float:
    """Return a span of time in seconds: a number of seconds, or text such as "90s", "3m", "1h30m".

    Raises OptionError for anything else, and for a span that is not positive.

    >>> seconds("1h30m"), seconds(20)
    (5400.0, 20.0)
    """
    total = math.nan
    if isinstance(time, str):
        parts = re.findall(r"(\d+(?:\.\d+)?)([smh])", time)
        if parts and "".join(number + unit for number, unit in parts) == time:
            total = sum(float(number) * _UNITS[unit] for number, unit in parts)
        elif re.fullmatch(r"\d+(?:\.\d+)?", time):
            total = float(time)
    elif _is_number(time):
        total = float(time)
    if not (math.isfinite(total) and total > 0):
        raise OptionError(name, got=time, expected='a span of time such as "90s", "3m" or "1h30m"')
    return total


def _option(
    default: Any,
    help: str,  # noqa: A002 - the field's name in every command line library
    *,
    group: str,
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
) -> Any:
    limits = {"low": low, "high": high, "above": above}
    return field(default=default, metadata={"help": help, "group": group, **limits})


def reading(default: Any, help: str, **limits: Any) -> Any:  # noqa: A002
    """Declare an option of how data are read."""
    return _option(default, help, group="Data", **limits)


def network(default: Any, help: str, **limits: Any) -> Any:  # noqa: A002
    """Declare an option of the network."""
    return _option(default, help, group="Network", **limits)


def training(default: Any, help: str, **limits: Any) -> Any:  # noqa: A002
    """Declare an option of training."""
    return _option(default, help, group="Training", **limits)


@dataclass(frozen=True)
class Options:
    """Base of every list of options: values are checked and made plain when one is made."""

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            declared = type(self).__dataclass_fields__[name]
            # numpy's numbers, as a grid search passes them, become Python's
            object.__setattr__(self, name, _checked(name, getattr(self, name), kind, declared))

    @classmethod
    def declared(cls) -> tuple[Field[Any], ...]:
        """Return the options, data first, then network and training, each with help, group and limits."""
        order = ("Data", "Network", "Training")
        return tuple(sorted(fields(cls), key=lambda one: order.index(one.metadata["group"])))

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return every option's default by name."""
        return {field.name: field.default for field in cls.declared()}


def members_of(kind: Any) -> list[Any]:
    """Return the types of a declared type that is a union, the values of a Literal in place of that.

    >>> from typing import Literal
    >>> members_of(Literal["file", "line"] | None)
    ['file', 'line', <class 'NoneType'>]
    """
    return [value for one in get_args(kind) or (kind,) for value in get_args(one) or (one,)]


def _checked(name: str, value: Any, kind: Any, declared: Field[Any]) -> Any:
    """Return `value` as the declared type; raises OptionError where it is not one, or out of limits."""
    members = members_of(kind)
    if value is None and type(None) in members:
        return None
    got = "None" if value is None else value
    choices = [member for member in members if isinstance(member, str)]
    if choices:
        # an array has no single answer to whether it is among the choices
        if not isinstance(value, str) or value not in choices:
            raise OptionError(name, got=got, expected="one of " + ", ".join(choices))
        return str(value)
    if str in members and isinstance(value, str):
        return value
    if bool in members:
        if not isinstance(value, bool) and type(value).__name__ != "bool":
            raise OptionError(name, got=got, expected="true or false")
        return bool(value)
    low, high, above = (declared.metadata[limit] for limit in ("low", "high", "above"))
    expected = "a whole number" if int in members else "a number" if float in members else "text"
    for word, limit in (("from", low), ("to", high), ("above", above)):
        expected += f" {word} {limit}" if limit is not None else ""
    if expected != "text" and _is_number(value):
        number = int(value) if int in members else float(value)
        small = (low is not None and value < low) or (above is not None and value <= above)
        if number == value and not small and (high is None or value <= high):
            return number
    # quotes tell the text "8" from the number 8
    raise OptionError(name, got=repr(value) if isinstance(value, str) else got, expected=expected)
