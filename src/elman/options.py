"""The options of training a language model: the one list from which command and estimator are made."""

from __future__ import annotations

import math
import numbers
import re
from dataclasses import Field, dataclass, field, fields
from typing import Any, Literal, get_args, get_type_hints

from elman._errors import OptionError

__all__ = ["DEFAULT_TIME", "LanguageOptions", "defaults", "option_fields", "seconds"]

DEFAULT_TIME = "3m"

_UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


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
    elif not isinstance(time, bool):
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


def _text(default: Any, help: str, **limits: Any) -> Any:  # noqa: A002
    return _option(default, help, group="Text", **limits)


def _network(default: Any, help: str, **limits: Any) -> Any:  # noqa: A002
    return _option(default, help, group="Network", **limits)


def _training(default: Any, help: str, **limits: Any) -> Any:  # noqa: A002
    return _option(default, help, group="Training", **limits)


@dataclass(frozen=True)
class LanguageOptions:
    """What a person may choose when training a language model; None lets Elman choose.

    Raises OptionError for a value that cannot be.

    >>> LanguageOptions(hidden_size=0)
    Traceback (most recent call last):
    elman._errors.OptionError: hidden_size: got 0; expected a whole number from 1 to 16384
    """

    level: Literal["char", "word"] = _text("word", "what one step reads: a character or a word")
    split: Literal["words", "whitespace"] = _text(
        "words", "how words are found; whitespace is for texts that come tokenized"
    )
    documents: Literal["file", "line"] = _text(
        "file", "what starts from state zero: each file, or each line (names, sentences)"
    )
    max_vocabulary: int | None = _text(
        None, "commonest tokens kept, the rest <unk> (20000 characters, 50000 words)", low=1
    )
    min_count: int | None = _text(
        None, "times a token must occur to be kept (1 for characters, 2 for words)", low=1
    )
    encoding: str | None = _text(None, "encoding of the files (found out and said)")
    held_out: float = _text(
        0.1, "share of the text, its last part, kept to measure on", low=0.001, high=0.9
    )
    cell: Literal["rnn", "gru", "lstm", "mingru"] = _network("lstm", "recurrent cell")
    activation: Literal["linear", "tanh", "relu"] = _network("tanh", "f of the cell rnn")
    hidden_size: int | None = _network(None, "units a layer (by table)", low=1, high=16384)
    num_layers: int | None = _network(None, "recurrent layers (by table)", low=1, high=32)
    embedding_size: int | None = _network(
        None, "numbers that stand for a token (hidden size)", low=1, high=16384
    )
    bias: bool = _network(True, "add biases to the gate sums")
    residual: bool = _network(False, "add each layer's input to its output, from the second on")
    tied: bool | None = _network(None, "output shares the embedding's weights (where sizes allow)")
    dropout: float | None = _network(
        None, "share of activations dropped in training (by table)", low=0.0, high=0.99
    )
    time: str | float | None = _training(
        None, f"budget of time: 90s, 3m, 1h30m ({DEFAULT_TIME} without epochs or steps)"
    )
    epochs: float | None = _training(None, "budget in passes over the text", above=0, high=10**9)
    steps: int | None = _training(None, "budget in optimiser steps", low=1, high=10**12)
    batch_size: int | None = _training(None, "sequences side by side (by table)", low=1)
    sequence_length: int | None = _training(
        None, "steps unrolled between two updates (by table)", low=1
    )
    learning_rate: float | None = _training(
        None, "highest rate of AdamW (by table)", low=0.0, high=10.0
    )
    sampled_softmax: int | None = _training(
        None, "words drawn a step to stand for a large vocabulary, 0 takes all (by table)", low=0
    )
    weight_decay: float = _training(0.01, "AdamW's weight decay, on matrices alone", low=0.0)
    warm_up: float = _training(
        0.03, "share of the budget in which the rate rises to its highest", low=0.0, high=1.0
    )
    clip: float = _training(1.0, "largest norm of the gradient", above=0)
    evaluations: int = _training(10, "measurements on the held-out part", low=1, high=10000)
    patience: int = _training(
        5, "measurements without a better one before training stops early", low=1
    )
    checkpoint_every: str | float = _training("30s", "time between two saved checkpoints")
    precision: Literal["float32", "bf16"] = _training(
        "float32", "products of the recurrent layers; bf16 is faster where the processor has it"
    )
    seed: int = _training(0, "seed of all random numbers", low=0, high=2**63 - 1)
    threads: int | None = _training(None, "processor threads (all cores)", low=1, high=4096)
    device: Literal["auto", "cpu", "cuda"] = _training("auto", "where training runs")

    def __post_init__(self) -> None:
        for name, kind in get_type_hints(type(self)).items():
            declared = type(self).__dataclass_fields__[name]
            # numpy's numbers, as a grid search passes them, become Python's
            object.__setattr__(self, name, _checked(name, getattr(self, name), kind, declared))
        budgets = {name: getattr(self, name) for name in ("time", "epochs", "steps")}
        given = [name for name, value in budgets.items() if value is not None]
        if len(given) > 1:
            raise OptionError(
                "budget", got=" and ".join(given), expected="one of time, epochs, steps"
            )
        for name in ("time", "checkpoint_every"):
            if getattr(self, name) is not None:
                seconds(getattr(self, name), name)
        if self.activation != "tanh" and self.cell != "rnn":
            raise OptionError(
                "activation", got=self.activation, expected="tanh", remedy="or choose cell rnn"
            )
        if self.split == "whitespace" and self.level == "char":
            raise OptionError("split", got="whitespace", expected="words", remedy="or level word")


def _checked(name: str, value: Any, kind: Any, declared: Field[Any]) -> Any:
    """Return `value` as the declared type; raises OptionError where it is not one, or out of limits."""
    members = get_args(kind) or (kind,)
    if value is None and type(None) in members:
        return None
    choices = [member for member in members if isinstance(member, str)]
    if choices:
        if value not in choices:
            raise OptionError(name, got=value, expected="one of " + ", ".join(choices))
        return str(value)
    if str in members and isinstance(value, str):
        return value
    if bool in members:
        if not isinstance(value, bool) and type(value).__name__ != "bool":
            raise OptionError(name, got=value, expected="true or false")
        return bool(value)
    low, high, above = (declared.metadata[limit] for limit in ("low", "high", "above"))
    whole = int in members
    is_number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    expected = "a whole number" if whole else "a number" if float in members else "text"
    expected += f" from {low}" if low is not None else ""
    expected += f" to {high}" if high is not None else ""
    expected += f" above {above}" if above is not None else ""
    if (
        expected == "text"
        or not is_number
        or not abs(value) < math.inf
        or (whole and int(value) != value)
        or (low is not None and value < low)
        or (high is not None and value > high)
        or (above is not None and value <= above)
    ):
        raise OptionError(name, got=value, expected=expected)
    return int(value) if whole else float(value)


def option_fields() -> tuple[Field[Any], ...]:
    """Return the declared options in their order, each with help, group and limits."""
    return fields(LanguageOptions)


def defaults() -> dict[str, Any]:
    """Return every option's default by name.

    >>> defaults()["cell"]
    'lstm'
    """
    return {field.name: field.default for field in option_fields()}
