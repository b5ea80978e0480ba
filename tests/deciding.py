"""Generated sequences and series whose deciding inputs are known, and distractors beside them.

Tests train small networks on this data, and `benchmarks/truth_labels.py` measures every method on it.
An explanation is right where the inputs that decide the answer are the ones with the largest contributions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

import elman
from elman.explain.explanation import Explanation

__all__ = ["TRUTHS", "Asked", "Truth", "is_right"]

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
SMALL: dict[str, Any] = {
    "steps": 400,
    "hidden_size": 24,
    "num_layers": 1,
    "members": 1,
    "learning_rate": 0.02,
}


class Asked(NamedTuple):
    """One answer to explain, and the inputs that decide it."""

    what: Any
    answer: Any
    """The true answer, for a check that the network knows it."""
    deciding: frozenset[str | int]
    """Positions or names of these inputs in the explanation."""
    options: Mapping[str, Any] = {}
    """Further arguments of `explain`."""


def is_right(explanation: Explanation, asked: Asked) -> bool:
    """Return whether the deciding inputs have the largest contributions by size."""
    order = np.argsort(-np.abs(explanation.contributions), kind="stable")[: len(asked.deciding)]
    return {explanation.inputs[i] for i in order} <= asked.deciding or {
        *order.tolist()
    } <= asked.deciding


# -- a label of a text --


def last_day(draw: np.random.Generator) -> Asked:
    """Draw a text with one to three days; the last day is the label."""
    words = draw.choice(FILLERS, draw.integers(8, 14)).tolist()
    places = sorted(draw.choice(len(words), draw.integers(1, 4), replace=False).tolist())
    days = draw.choice(DAYS, len(places), replace=False).tolist()
    for place, day in zip(places, days, strict=True):
        words[place] = day
    return Asked(" ".join(words), days[-1], frozenset([places[-1]]))


def marked_day(draw: np.random.Generator) -> Asked:
    """Draw a text with three days; the day after "really" is the label, so that two words decide."""
    words = draw.choice(FILLERS, draw.integers(9, 15)).tolist()
    places = sorted(draw.choice(np.arange(0, len(words) - 1, 2), 3, replace=False).tolist())
    days = draw.choice(DAYS, 3, replace=False).tolist()
    for place, day in zip(places, days, strict=True):
        words[place + 1] = day
    place, day = draw.choice([*zip(places, days, strict=True)])
    words[int(place)] = "really"
    return Asked(" ".join(words), str(day), frozenset([int(place), int(place) + 1]))


def key_word(draw: np.random.Generator) -> Asked:
    """Draw a text in which one of three key words decides the label."""
    words = draw.choice(FILLERS, draw.integers(6, 14)).tolist()
    place = int(draw.integers(len(words)))
    kind = str(draw.choice(["broken", "late", "thanks"]))
    words[place] = kind
    return Asked(" ".join(words), kind, frozenset([place]))


# -- a tag, and sequences of numbers --


def tagged(draw: np.random.Generator) -> Asked:
    """Draw tokens whose tags are decided by the token before, and not by the token itself."""
    kinds = {"next": "LATER", "last": "PAST", "this": "NOW"}
    words = draw.choice([*FILLERS, *DAYS, *kinds], draw.integers(8, 14)).tolist()
    place = int(draw.integers(len(words) - 1))
    words[place] = str(draw.choice([*kinds]))
    tags = ["O", *(kinds.get(word, "O") for word in words[:-1])]
    return Asked(words, tags[place + 1], frozenset([place]), {"of": place + 1, "tags": tags})


def marked_number(draw: np.random.Generator) -> Asked:
    """Draw 14 steps: channel 0 marks the step whose value in channel 1 decides; all else is noise."""
    values = draw.uniform(0.3, 1.5, (14, 3)) * draw.choice([-1, 1], (14, 3))
    step = int(draw.integers(14))
    values[:, 0] = np.arange(14) == step
    return Asked(values, float(values[step, 1]), frozenset([step]))


def marked_channel(draw: np.random.Generator) -> Asked:
    """Draw the same, explained by channels."""
    values, answer, (step,), _ = marked_number(draw)
    deciding = frozenset([f"channel 0, step {step}", f"channel 1, step {step}"])
    return Asked(values, answer, deciding, {"of": "channels"})


# -- a forecast --


def lagged(draw: np.random.Generator, length: int = 60) -> Asked:
    """Draw a series in which each value depends only on the value five steps before."""
    y = draw.normal(size=length + 1)
    for step in range(5, length + 1):
        y[step] = 0.4 * y[step] + y[step - 5]
    if abs(y[-6] - y[-11]) < 0.2:  # a value near the expected one would hardly change the forecast
        return lagged(draw, length)
    return Asked(_rows(y=y[:-1]), float(y[-1]), frozenset(["lag 5"]), {"target": 1})


def driven(draw: np.random.Generator, length: int = 60) -> Asked:
    """Draw a series whose next value depends on column x three steps before; column z is noise."""
    x, z = (draw.uniform(0.5, 1.5, length) * draw.choice([-1, 1], length) for _ in "xz")
    y = np.concatenate([draw.normal(size=3), 2 * x[:-2]]) + draw.normal(0, 0.1, length + 1)
    return Asked(_rows(y=y[:-1], x=x, z=z), float(y[-1]), frozenset(["x, lag 3"]), {"target": 1})


def _rows(**columns: np.ndarray) -> dict[str, Any]:
    length = len(columns["y"])
    return {"unique_id": ["new"] * length, "ds": np.arange(length), **columns}


# -- a network that has learned each --


class Truth(NamedTuple):
    """A kind of data whose deciding inputs are known, and the settings of a network that learns it."""

    ask: Callable[..., Asked]
    task: str
    settings: Mapping[str, Any] = {}

    def fit(self) -> Any:
        """Return a predictor that is trained on drawn examples."""
        draw = np.random.default_rng(0)
        if self.task == "forecast":
            many = [self.ask(draw, 300).what for _ in range(8)]
            rows = {name: np.concatenate([one[name] for one in many]) for name in many[0]}
            rows["unique_id"] = np.repeat([*"abcdefgh"], 300)
            return elman.Forecaster(**{**FORECASTER, **self.settings}).fit(rows).predictor_
        some = [self.ask(draw) for _ in range(2000)]
        answers = [one.options.get("tags", one.answer) for one in some]
        if self.task == "classify" and not isinstance(answers[0], str):
            answers = ["up" if answer > 0 else "down" for answer in answers]
        estimator = ESTIMATORS[self.task](**{**SMALL, **self.settings})
        return estimator.fit([one.what for one in some], answers).predictor_

    def explained(self, predictor: Any, asked: Asked, method: str | None = None) -> Explanation:
        """Return the explanation of one answer."""
        options = {name: asked.options[name] for name in ("of", "target") if name in asked.options}
        explanation: Explanation = predictor.explain(asked.what, method=method, **options)
        return explanation


ESTIMATORS: dict[str, Any] = {
    "classify": elman.SequenceClassifier,
    "regress": elman.SequenceRegressor,
    "tag": elman.SequenceTagger,
}
FORECASTER: dict[str, Any] = {"horizon": 5, "window": 15, "hidden_size": 32, "num_layers": 1}
FORECASTER |= {"members": 1, "steps": 800, "refit": False, "learning_rate": 0.02, "season": 1}
TRUTHS = {
    "a word of three": Truth(key_word, "classify", {"steps": 300, "level": "word"}),
    "the last day": Truth(last_day, "classify", {"steps": 300, "level": "word"}),
    "the marked day": Truth(marked_day, "classify", {"steps": 400, "level": "word"}),
    "the word before": Truth(tagged, "tag", {"steps": 300}),
    "a step, label": Truth(marked_number, "classify"),
    "a step, number": Truth(marked_number, "regress"),
    "channels, label": Truth(marked_channel, "classify"),
    "channels, number": Truth(marked_channel, "regress"),
    "a lag": Truth(lagged, "forecast", {"season": 5}),
    "a column's lag": Truth(driven, "forecast", {"past": "x,z", "learning_rate": 0.01}),
}
