"""The parameters of the estimators by name, their help, and their display of progress."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import elman
from elman import OptionError

ESTIMATORS = [
    elman.LanguageModel,
    elman.SequenceClassifier,
    elman.SequenceRegressor,
    elman.SequenceTagger,
    elman.Forecaster,
]
TEXT = "I like tea and I like cake . " * 40
SMALL: dict[str, Any] = {"hidden_size": 8, "steps": 4, "evaluations": 2}


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_random_state_is_the_seed(estimator: Any) -> None:
    model = estimator(random_state=5)
    assert model.seed == model.random_state == clone(model).seed == 5
    assert "random_state" not in model.get_params()
    assert model.set_params(random_state=6).seed == 6
    model.random_state = 7
    assert model.get_params()["seed"] == 7
    assert estimator(random_state=None).seed == estimator().seed
    with pytest.raises(OptionError, match="random_state: got seed too"):
        estimator(random_state=1, seed=1)


@pytest.mark.parametrize("state", ["abc", -1, 1.5, True, np.random.RandomState(0)], ids=str)
def test_a_random_state_that_is_not_a_number_is_refused(state: Any) -> None:
    expected = "random_state: got .*; expected a whole number from 0"
    with pytest.raises(OptionError, match=expected):
        elman.LanguageModel(random_state=state)
    with pytest.raises(OptionError, match=expected):
        elman.Forecaster().set_params(random_state=state)
    three: Any = np.int64(3)
    assert elman.LanguageModel(random_state=three).seed == 3


def test_wrong_options_and_outputs_are_refused_before_data_is_read() -> None:
    wrong: Any = "8"
    with pytest.raises(OptionError, match="hidden_size: got '8'; expected a whole number"):
        elman.LanguageModel(hidden_size=wrong).fit("nowhere.txt")
    with pytest.raises(OptionError, match=r"output: got wrong.suffix"):
        elman.Forecaster().fit("nowhere.csv", output="wrong.suffix")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_help_describes_every_parameter(estimator: Any) -> None:
    for field in estimator.options.declared():
        (line,) = (
            line
            for line in estimator.__doc__.splitlines()
            if line.startswith(f"    {field.name}: ")
        )
        assert line.split(": ", 1)[1].startswith(field.metadata["help"][:20])


def test_parameters_are_given_by_their_names() -> None:
    model: Any = elman.LanguageModel
    with pytest.raises(TypeError, match="unexpected keyword argument 'hiden_size'"):
        model(hiden_size=3)
    forecaster: Any = elman.Forecaster
    with pytest.raises(TypeError, match=r"__init__\(\) takes 1 positional argument"):
        forecaster("prices.csv")


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_the_signature_is_that_of_the_options(estimator: Any) -> None:
    signature = inspect.signature(estimator)
    defaults = {name: parameter.default for name, parameter in signature.parameters.items()}
    assert [*defaults.items()] == [*estimator.options.defaults().items()]
    assert inspect.signature(estimator.__init__).parameters["random_state"].default is None
    assert estimator().get_params() == defaults


def test_the_written_signatures_are_fresh() -> None:
    tool = Path(__file__).parents[2] / "tools" / "signatures"
    assert subprocess.run([sys.executable, tool, "--check"], check=False).returncode == 0


@pytest.mark.slow
def test_verbose_shows_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    events: list[str] = []
    elman.LanguageModel(**SMALL).fit(TEXT, watch=lambda event: events.append(event["event"]))
    assert capsys.readouterr().out == ""
    shown: list[str] = []
    elman.LanguageModel(**SMALL).fit(
        TEXT, watch=lambda event: shown.append(event["event"]), verbose=True
    )
    printed = capsys.readouterr().out
    assert "step 4: validation loss" in printed
    assert "test set: loss" in printed
    assert "wrote" not in printed
    assert set(shown) == set(events)
    texts = [f"{mood} day {number}" for number in range(15) for mood in ("good", "bad")]
    labels = ["+", "-"] * 15
    elman.SequenceClassifier(**SMALL).fit(texts, labels, verbose=True)
    assert "step 4: " in capsys.readouterr().out
    series = 10 + np.sin(np.arange(80))
    elman.Forecaster(horizon=3, members=1, **SMALL).fit(series, verbose=True)
    assert "80 values" in capsys.readouterr().out
