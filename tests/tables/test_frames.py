"""Every answer is a data frame when it is asked to be one, and everything that answers says what it is."""

from __future__ import annotations

import datetime
import sys
from collections.abc import Callable
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import polars as pl
import pytest

import elman
from elman.language.ranking import rank_lines
from elman.tables.frames import frame, frame_of

SMALL: dict[str, Any] = {"hidden_size": 8, "num_layers": 1, "steps": 4, "evaluations": 1}
TEXT = "I like tea and I like cake . " * 40
TEXTS, LABELS = ["good day", "bad day"] * 12, ["+", "-"] * 12


@pytest.fixture(scope="module")
def language() -> Any:
    return elman.LanguageModel(level="word", **SMALL).fit(TEXT)


@pytest.fixture(scope="module")
def classifier() -> Any:
    return elman.SequenceClassifier(refit=False, **SMALL).fit(TEXTS, LABELS)


@pytest.fixture(scope="module")
def forecaster() -> Any:
    values = 10 + np.sin(np.arange(80))
    return elman.Forecaster(horizon=3, members=1, refit=False, **SMALL).fit(values)


FRAMES: dict[str, tuple[str, Callable[[Any], Any], list[str]]] = {
    "predictions": ("language", lambda m: m.predict_next("I"), ["token", "probability"]),
    "score": ("language", lambda m: m.stream().score("I like"), ["token", "log_probability"]),
    "evaluation": ("language", lambda m: m.evaluate(TEXT), ["tokens", "loss", "perplexity"]),
    "explanation": ("language", lambda m: m.explain("I like"), ["input", "contribution"]),
    "memory": ("language", lambda m: m.memory(TEXT), ["lag", "change", "gradient"]),
    "trace": ("language", lambda m: m.trace("I like"), ["token", "answer", "probability"]),
    "ranking": ("language", lambda m: rank_lines(m.predictor_, TEXT), ["rank", "line", "score"]),
    "classification": ("classifier", lambda m: m.evaluate(TEXTS, LABELS), ["label", "recall"]),
    "forecast": ("forecaster", lambda m: m.predict(), ["ds", "y_hat"]),
    "report": (
        "forecaster",
        lambda m: m.evaluate(10 + np.sin(np.arange(95))),
        ["name", "mae", "coverage_80"],
    ),
}


@pytest.mark.parametrize("name", FRAMES)
def test_every_result_becomes_a_data_frame(name: str, request: pytest.FixtureRequest) -> None:
    fixture, ask, columns = FRAMES[name]
    found = ask(request.getfixturevalue(fixture)).to_frame()
    assert isinstance(found, pl.DataFrame)
    assert len(found) > 0
    assert set(columns) <= set(found.columns)


def test_without_polars_a_frame_is_a_dict(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "polars", None)
    assert frame_of([{"a": 1, "b": "x"}, {"a": 2, "b": "y"}]) == {"a": [1, 2], "b": ["x", "y"]}


def test_lone_surrogates_are_replaced() -> None:
    assert frame({"token": ("\ud800", "a"), "n": [1, 2]})["token"].to_list() == ["?", "a"]
    assert len(frame_of([])) == 0


def test_predictors_have_a_readable_repr(language: Any, classifier: Any, forecaster: Any) -> None:
    count = language.model_.parameter_count
    network = f"lstm, 1 × 8 units, {count:,} parameters"
    assert repr(language.predictor_) == f"LanguagePredictor(language: {network})"
    assert repr(language.model_) == f"Model(language: {network})"
    assert repr(language.stream()) == f"Stream({network}; nothing read)"
    assert repr(language.stream().feed("I like")) == f"Stream({network}; after 'like')"
    assert repr(language.predictor_.streams(3)) == f"StreamPool(3 streams; {network})"
    assert repr(classifier.predictor_).startswith("ClassifierPredictor(classify: lstm, 1 × 8")
    assert repr(forecaster.predictor_).startswith("ForecastPredictor(forecast: gru, 1 × 8")
    assert repr(forecaster.stream()).endswith(", 80 values read)")
    # an estimator is shown as scikit-learn shows one
    assert repr(elman.LanguageModel(seed=3)) == "LanguageModel(seed=3)"


def test_figures_can_be_shown(forecaster: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    figure = forecaster.predict().plot()
    assert figure._repr_svg_().startswith("<?xml")
    opened: list[str] = []
    monkeypatch.setattr("webbrowser.open", opened.append)
    figure.show()
    assert opened[0].startswith("file://")
    assert opened[0].endswith(".svg")


def test_dates_keep_their_time_zone() -> None:
    zone = ZoneInfo("Europe/Berlin")
    stamps = np.array([datetime.datetime(2024, 1, day, tzinfo=zone) for day in (1, 2)], object)
    found = frame({"day": stamps})
    assert found.schema == {"day": pl.Datetime("us", "Europe/Berlin")}
    assert found["day"].to_list() == stamps.tolist()
