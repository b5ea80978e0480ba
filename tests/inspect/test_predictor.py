"""The questions that a predictor answers about its network: the input they need, and what they refuse."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from elman.errors import InputError
from elman.files.model import Model
from elman.inspect.predictor import Predictor
from elman.labels.predictor import ClassifierPredictor, RegressorPredictor, TaggerPredictor
from elman.language.predictor import LanguagePredictor
from elman.series.predictor import ForecastPredictor
from elman.series.series import load_series
from forecasters import make_forecaster as forecaster
from readers import reader_of

READERS: dict[str, Callable[[], Predictor]] = {
    "classify": lambda: ClassifierPredictor(reader_of()),
    "numbers": lambda: ClassifierPredictor(reader_of("numbers")),
    "regress": lambda: RegressorPredictor(reader_of(task="regress")),
    "tag": lambda: TaggerPredictor(reader_of(task="tag")),
}


@pytest.mark.parametrize("question", ["explain", "trace"])
@pytest.mark.parametrize("reader", READERS)
def test_missing_sequence_is_an_error(reader: str, question: str) -> None:
    predictor: Any = READERS[reader]()
    for given in ((), (None,)):
        with pytest.raises(InputError) as said:
            getattr(predictor, question)(*given)
        task = predictor.model.config.task
        line = f"the input to read: got nothing; expected what a model for {task} reads"
        assert str(said.value) == line


def test_language_model_needs_a_text(make: Callable[..., Model]) -> None:
    predictor = LanguagePredictor(make("gru"))
    for question in (predictor.explain, predictor.trace):
        with pytest.raises(InputError, match="the input to read: got nothing"):
            question()
    assert predictor.trace("").tokens == ()


@pytest.mark.parametrize("reader", [*READERS, "language"])
def test_units_without_an_input_are_an_error(reader: str, make: Callable[..., Model]) -> None:
    predictor = READERS[reader]() if reader in READERS else LanguagePredictor(make("gru"))
    with pytest.raises(InputError, match=r"^(the text to find units on|units of a model that)"):
        predictor.units()


@pytest.mark.slow
def test_forecaster_reads_its_own_series_by_default() -> None:
    days = np.datetime64("2000-01-01") + np.arange(7_500)
    values = 50 + np.random.default_rng(0).standard_normal(7_500)
    series = load_series({"ds": days.astype(str).tolist(), "y": values.tolist()})
    predictor = ForecastPredictor(forecaster(series, members=1))
    assert predictor.explain().task == predictor.trace().task == "forecast"
    found = predictor.units()
    assert len(found.scores) > 1
    assert found.to_dict() == predictor.units(predictor.history).to_dict()
