"""Generated sequences and series whose deciding inputs are known, and distractors beside them.

Tests train small networks on this data, and `benchmarks/truth_labels.py` measures every method on it.
An explanation is right where the inputs that decide the answer are the ones with the largest contributions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from elman.explain.explanation import Explanation

__all__ = ["Asked", "Truth", "is_right"]

DAYS = ("monday", "tuesday", "wednesday", "thursday", "friday")
FILLERS = (
    "we",
    "ate",
    "pizza",
    "and",
    "the",
    "test",
    "was",
    "long",
    "then",
    "rain",
    "came",
    "today",
)
SMALL: dict[str, Any] = {"hidden_size": 24, "num_layers": 1, "members": 1, "learning_rate": 0.02}


class Asked(NamedTuple):
    """One answer to explain, and the inputs that decide it."""

    what: Any
    answer: Any
    """The true answer, for a check that the network knows it."""
    deciding: frozenset[str | int]
    """Places or names of the inputs of the explanation."""
    options: Mapping[str, Any] = {}
    """Further arguments of `explain`."""


@dataclass(frozen=True)
class Truth:
    """A task with known truth: how to train on it, and what to ask."""

    name: str
    fit: Callable[[], Any]
    """Return a trained predictor."""
    ask: Callable[[np.random.Generator], Asked]
    knows: Callable[[Any, Asked], bool] = field(repr=False)
    """Whether the predictor gives the true answer."""


def is_right(told: Explanation, asked: Asked) -> bool:
    """Return whether the deciding inputs have the largest contributions by size."""
    order = np.argsort(-np.abs(told.contributions), kind="stable")[: len(asked.deciding)]
    return {told.inputs[i] for i in order} <= asked.deciding or {*order.tolist()} <= asked.deciding


def _labelled(
    make: Callable[[np.random.Generator], Asked], estimator: Any, count: int, **how: Any
) -> Any:
    draw = np.random.default_rng(0)
    rows = [make(draw) for _ in range(count)]
    return (
        estimator(**SMALL | how)
        .fit([row.what for row in rows], [row.options.get("tags", row.answer) for row in rows])
        .predictor_
    )


# -- a label of a text --


def last_day(draw: np.random.Generator) -> Asked:
    """One to three days among other words: the last one is the label."""
    words = draw.choice(FILLERS, draw.integers(8, 14)).tolist()
    places = sorted(draw.choice(len(words), draw.integers(1, 4), replace=False).tolist())
    days = draw.choice(DAYS, len(places), replace=False).tolist()
    for place, day in zip(places, days, strict=True):
        words[place] = day
    return Asked(" ".join(words), days[-1], frozenset([places[-1]]))


def marked_day(draw: np.random.Generator) -> Asked:
    """Three days among other words: the one behind "really" is the label, so that two words decide."""
    words = draw.choice(FILLERS, draw.integers(9, 15)).tolist()
    places = sorted(draw.choice(np.arange(0, len(words) - 1, 2), 3, replace=False).tolist())
    days = draw.choice(DAYS, 3, replace=False).tolist()
    for place, day in zip(places, days, strict=True):
        words[place + 1] = day
    place, day = draw.choice([*zip(places, days, strict=True)])
    words[int(place)] = "really"
    return Asked(" ".join(words), str(day), frozenset([int(place), int(place) + 1]))


def key_word(draw: np.random.Generator) -> Asked:
    """One of three words decides the label, among words that do not."""
    words = draw.choice(FILLERS, draw.integers(6, 14)).tolist()
    place = int(draw.integers(len(words)))
    kind = str(draw.choice(["broken", "late", "thanks"]))
    words[place] = kind
    return Asked(" ".join(words), kind, frozenset([place]))


# -- a tag, and sequences of numbers --


def tagged(draw: np.random.Generator) -> Asked:
    """The word before decides the tag of each word, and the word itself does not."""
    kinds = {"next": "LATER", "last": "PAST", "this": "NOW"}
    words = draw.choice([*FILLERS, *DAYS, *kinds], draw.integers(8, 14)).tolist()
    place = int(draw.integers(len(words) - 1))
    words[place] = str(draw.choice([*kinds]))
    tags = ["O", *(kinds.get(word, "O") for word in words[:-1])]
    return Asked(words, tags[place + 1], frozenset([place]), {"of": place + 1, "tags": tags})


def marked_number(draw: np.random.Generator) -> Asked:
    """Channel 0 marks one of 14 steps; the number in channel 1 there decides, the others are noise."""
    values = draw.uniform(0.3, 1.5, (14, 3)) * draw.choice([-1, 1], (14, 3))
    step = int(draw.integers(14))
    values[:, 0] = np.arange(14) == step
    return Asked(values, float(values[step, 1]), frozenset([step]))


def marked_channel(draw: np.random.Generator) -> Asked:
    """The same, asked by channels."""
    values, answer, (step,), _ = marked_number(draw)
    deciding = frozenset([f"channel 0, step {step}", f"channel 1, step {step}"])
    return Asked(values, answer, deciding, {"of": "channels"})


# -- a forecast --


def lagged(draw: np.random.Generator, length: int = 60) -> Asked:
    """Minus the value five steps before is the next one; the values between belong to other chains."""
    y = draw.uniform(0.5, 1.5, length + 1) * draw.choice([-1, 1], length + 1)
    for t in range(5, length + 1):
        y[t] = 0.5 * y[t] - 0.8 * y[t - 5]
    return Asked(_rows(y=y[:-1]), float(y[-1]), frozenset(["lag 5"]), {"target": 1})


def driven(draw: np.random.Generator, length: int = 60) -> Asked:
    """Column x three steps before decides the next value; column z and the values themselves are noise."""
    x, z = (draw.uniform(0.5, 1.5, length) * draw.choice([-1, 1], length) for _ in "xz")
    y = np.concatenate([draw.normal(size=3), 2 * x[:-2]]) + draw.normal(0, 0.1, length + 1)
    return Asked(_rows(y=y[:-1], x=x, z=z), float(y[-1]), frozenset(["x, lag 3"]), {"target": 1})


def _rows(**columns: np.ndarray) -> dict[str, Any]:
    length = len(columns["y"])
    return {"unique_id": ["new"] * length, "ds": np.arange(length), **columns}
