"""The options: their choices match the code that uses them, and invalid values are refused in one line."""

from __future__ import annotations

from typing import Any, get_type_hints

import numpy as np
import pytest

from elman import OptionError
from elman.cells import ACTIVATIONS, CELLS
from elman.language.options import LanguageOptions
from elman.text.vocabulary import DOCUMENTS, LEVELS, SPLITS
from elman.training.options import members_of, seconds


@pytest.mark.parametrize(
    ("name", "choices"),
    [
        ("cell", tuple(CELLS)),
        ("activation", tuple(ACTIVATIONS)),
        ("level", tuple(LEVELS)),
        ("split", tuple(SPLITS)),
        ("documents", tuple(DOCUMENTS)),
    ],
)
def test_choices_match_the_code_that_uses_them(name: str, choices: tuple[str, ...]) -> None:
    members = members_of(get_type_hints(LanguageOptions)[name])
    assert tuple(member for member in members if isinstance(member, str)) == choices


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hidden_size": 0}, "hidden_size: got 0; expected a whole number from 1 to 16384"),
        ({"hidden_size": "8"}, "hidden_size: got '8'; expected a whole number from 1 to 16384"),
        ({"hidden_size": [8]}, "hidden_size: got [8]; expected a whole number"),
        ({"hidden_size": None, "num_layers": 10**400}, "num_layers: got 1000"),
        ({"weight_decay": 10**400}, "weight_decay: got 1000"),
        ({"clip": None}, "clip: got None; expected a number above 0"),
        ({"level": np.array(["word", "char"])}, "level: got ['word' 'char']; expected one of"),
        ({"cell": None}, "cell: got None; expected one of rnn"),
        ({"time": [5]}, "time: got [5]; expected a span of time"),
        ({"time": 10**400}, "time: got 1000"),
        ({"hidden_size": 2.5}, "hidden_size: got 2.5; expected a whole number"),
        ({"hidden_size": True}, "hidden_size: got True"),
        ({"dropout": 1.0}, "dropout: got 1.0; expected a number from 0.0 to 0.99"),
        ({"clip": 0}, "clip: got 0; expected a number above 0"),
        ({"epochs": float("nan")}, "epochs: got nan"),
        ({"cell": "transformer"}, "cell: got transformer; expected one of rnn, gru, lstm, mingru"),
        ({"bias": 1}, "bias: got 1; expected true or false"),
        ({"encoding": 5}, "encoding: got 5; expected text"),
        ({"time": "soon"}, "time: got soon"),
        ({"checkpoint_every": "x"}, "checkpoint_every: got x"),
        ({"time": 5, "steps": 5}, "budget: got time and steps"),
        ({"activation": "relu"}, "activation: got relu; expected tanh"),
        ({"split": "whitespace", "level": "char"}, "split: got whitespace"),
    ],
    ids=str,
)
def test_invalid_values_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError) as caught:
        LanguageOptions(**options)
    assert str(caught.value).startswith(message)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("90s", 90), ("3m", 180), ("1.5h", 5400), ("1h2m3s", 3723), (7, 7), ("8", 8)],
)
def test_spans_of_time(text: str | int, expected: float) -> None:
    assert seconds(text) == expected


@pytest.mark.parametrize("text", ["", "m", "3x", "-3m", "0s", "3m 2s", float("inf"), True, "1e3"])
def test_invalid_spans_of_time(text: str | float) -> None:
    with pytest.raises(OptionError, match="time"):
        seconds(text)
