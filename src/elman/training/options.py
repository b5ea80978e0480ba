"""Declarations of options: each has its type, default, help and limits in one place, and is checked by them.

The command, the estimators (by ``tools/signatures``) and the runs are all made from these declarations.
"""

from __future__ import annotations

import math
import numbers
import re
from collections.abc import Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from typing import Any, Self, TypeAlias, TypedDict, TypeVar, Unpack, get_args, get_type_hints

from elman.errors import OptionError

T = TypeVar("T")
Values: TypeAlias = Mapping[str, str | float | Sequence[str] | None]
"""Values of options by name, as a command parses them."""

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def _is_number(value: Any) -> bool:
    """Return whether `value` is a finite number that fits a float."""
    # bool is a subclass of int, but True is no number that a person means.
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and abs(value) < math.inf and int(value).bit_length() < 1024


def seconds(time: str | float, name: str = "time") -> float:
    """Return a span of time in seconds.

    Args:
        time: A number of seconds, or text such as "90s", "3m" or "1h30m".
        name: The option, for the message.

    Raises OptionError for anything else, and for a span that is not positive.

    >>> seconds("1h30m"), seconds(20)
    (5400.0, 20.0)
    """
    total = math.nan
    if isinstance(time, str):
        # seconds; the spans together must be the whole text, so that 3x or 1h-30m is refused
        spans = re.findall(r"(\d+(?:\.\d+)?)([smh])", time)
        if spans and "".join(number + unit for number, unit in spans) == time:
            total = sum(float(number) * _UNITS[unit] for number, unit in spans)
        elif re.fullmatch(r"\d+(?:\.\d+)?", time):
            total = float(time)
    elif _is_number(time):
        total = float(time)
    if not (math.isfinite(total) and total > 0):
        raise OptionError(name, got=time, expected='a span of time such as "90s", "3m" or "1h30m"')
    return total


class Details(TypedDict, total=False):
    """Further facts about an option."""

    low: float
    """Smallest number."""
    high: float
    """Largest number."""
    above: float
    """Number that the option must exceed."""
    rare: bool
    """Whether few people need the option, so that ``elman train --help`` only names it."""


def _option(default: T, text: str, group: str, details: Details) -> T:
    return field(default=default, metadata={"help": text, "group": group, "details": details})


def answering(default: T, help: str, **details: Unpack[Details]) -> T:  # noqa: A002 - as typer
    """Declare an option about the answers of a trained model."""
    return _option(default, help, "Options", details)


def picture(help: str, *endings: str) -> str | None:  # noqa: A002
    """Declare an option that names the file of a picture, whose name has one of the `endings`."""
    metadata = {"help": help, "group": "Options", "details": Details(), "endings": endings}
    return field(default=None, metadata=metadata)


def reading(default: T, help: str, **details: Unpack[Details]) -> T:  # noqa: A002 - as typer
    """Declare an option about reading and splitting data."""
    return _option(default, help, "Data", details)


def network(default: T, help: str, **details: Unpack[Details]) -> T:  # noqa: A002
    """Declare an option about the network."""
    return _option(default, help, "Network", details)


def training(default: T, help: str, **details: Unpack[Details]) -> T:  # noqa: A002
    """Declare an option about training."""
    return _option(default, help, "Training", details)


@dataclass(frozen=True)
class Options:
    """Base of the options of every task; a new object checks its values.

    Raises OptionError for a value of another type or out of limits.
    """

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            declared = type(self).__dataclass_fields__[name]
            # A grid search passes numpy's numbers; they become Python's.
            object.__setattr__(self, name, _checked(name, getattr(self, name), kind, declared))

    @classmethod
    def declared(cls) -> tuple[Field[Any], ...]:
        """Return the fields of the options of answers, data, network and training, in this order."""
        order = ("Options", "Data", "Network", "Training")
        return tuple(sorted(fields(cls), key=lambda option: order.index(option.metadata["group"])))

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the default of every option by name."""
        return {field.name: field.default for field in cls.declared()}

    @classmethod
    def from_values(cls, values: Values) -> Self:
        """Return options that take from `values` those that this class declares; raises OptionError."""
        own = {name: value for name, value in values.items() if name in cls.defaults()}
        return cls(**own)


def members_of(kind: Any) -> list[Any]:
    """Return the members of a union, with the values of a Literal in place of the Literal.

    >>> from typing import Literal
    >>> members_of(Literal["file", "line"] | None)
    ['file', 'line', <class 'NoneType'>]
    """
    return [
        value for member in get_args(kind) or (kind,) for value in get_args(member) or (member,)
    ]


def _checked(name: str, value: Any, kind: Any, declared: Field[Any]) -> Any:
    """Return `value` in its declared type; raises OptionError for another type and beyond the limits."""
    members = members_of(kind)
    if value is None and type(None) in members:
        return None
    got = "None" if value is None else value
    choices = [member for member in members if isinstance(member, str)]
    if choices:
        # `in` with a numpy array would compare element by element, so test for text first.
        if not isinstance(value, str) or value not in choices:
            raise OptionError(name, got=got, expected="one of " + ", ".join(choices))
        return str(value)
    if Ellipsis in members:  # a tuple of texts
        return tuple(value)
    if str in members and isinstance(value, str):
        return value
    if bool in members:
        if not isinstance(value, bool) and type(value).__name__ != "bool":
            raise OptionError(name, got=got, expected="true or false")
        return bool(value)
    limits: Details = declared.metadata["details"]
    low, high, above = (limits.get(name) for name in ("low", "high", "above"))
    expected = "a whole number" if int in members else "a number" if float in members else "text"
    for word, limit in (("from", low), ("to", high), ("above", above)):
        expected += f" {word} {limit}" if limit is not None else ""
    if expected != "text" and _is_number(value):
        number = int(value) if int in members else float(value)
        small = (low is not None and value < low) or (above is not None and value <= above)
        if number == value and not small and (high is None or value <= high):
            return number
    # Quotes distinguish the text "8" from the number 8.
    raise OptionError(name, got=repr(value) if isinstance(value, str) else got, expected=expected)
