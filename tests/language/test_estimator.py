"""The estimator follows scikit-learn's conventions, and its predictions equal those of the loaded file."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.base import clone

import elman
from elman import LanguageModel
from elman.language.options import LanguageOptions
from elman.language.ranking import rank_lines

TEXT = "I like to eat pizza .\nWe hate to eat soup .\n" * 60
SMALL: dict[str, Any] = {"hidden_size": 16, "num_layers": 1, "learning_rate": 0.03, "steps": 250}


@pytest.fixture(scope="module")
def fitted() -> LanguageModel:
    return LanguageModel(documents="line", **SMALL).fit(TEXT)


def test_parameters_are_the_options() -> None:
    signature = inspect.signature(LanguageModel)
    assert [*signature.parameters] == [field.name for field in LanguageOptions.declared()]
    for field in LanguageOptions.declared():
        assert signature.parameters[field.name].default == field.default


def test_get_set_clone_repr() -> None:
    model = LanguageModel(cell="gru", hidden_size=7)
    copy = clone(model.set_params(num_layers=2))
    assert copy is not model
    assert copy.get_params() == model.get_params()
    assert (copy.cell, copy.hidden_size, copy.num_layers) == ("gru", 7, 2)
    assert "hidden_size=7" in repr(model)
    wrong: dict[str, Any] = {"hiden_size": 3}
    with pytest.raises(TypeError, match="unexpected keyword argument 'hiden_size'"):
        LanguageModel(**wrong)
    with pytest.raises(ValueError, match="Invalid parameter"):
        model.set_params(hiden_size=3)


def test_init_stores_and_fit_validates() -> None:
    wrong: Any = "transformer"
    model = LanguageModel(cell=wrong)
    assert model.cell == wrong
    with pytest.raises(elman.OptionError, match="cell: got transformer"):
        model.fit(TEXT)


def test_use_before_fit_is_one_clear_error() -> None:
    asks: list[Callable[[LanguageModel], Any]] = [
        lambda model: model.predict_next("I"),
        lambda model: model.generate("I"),
        lambda model: model.evaluate(TEXT),
        lambda model: model.stream(),
        lambda model: model.save("x.safetensors"),
    ]
    for ask in asks:
        with pytest.raises(elman.NotFittedError, match="call fit first"):
            ask(LanguageModel())


@pytest.mark.slow
def test_fit_learns_and_predicts(fitted: LanguageModel) -> None:
    (token, probability), *_ = fitted.predict_next("I like to eat", k=3)
    assert token == "pizza"
    assert probability > 0.8
    assert fitted.predict_next("We hate to eat", k=1)[0][0] == "soup"
    assert "eat" in fitted.generate("I like to", n=5, seed=0)
    assert fitted.stream().feed("I like to eat").predict(1)[0][0] == "pizza"


def test_the_saved_model_predicts_as_the_estimator(fitted: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fitted.save(path)
    loaded = elman.load(path, kind=elman.LanguagePredictor)
    assert loaded.predict_next("I like to eat", 5) == fitted.predict_next("I like to eat", 5)
    assert loaded.evaluate(TEXT).loss == fitted.evaluate(TEXT).loss
    assert loaded.card == fitted.card_


def test_fit_takes_texts_paths_and_lists_of_them(tmp_path: Path) -> None:
    (tmp_path / "one.txt").write_text(TEXT)
    (tmp_path / "two.txt").write_text(TEXT)
    few = SMALL | {"steps": 3}
    sources: list[Any] = [
        TEXT,
        tmp_path / "one.txt",
        str(tmp_path / "one.txt"),
        [TEXT],
        [tmp_path / "one.txt"],
    ]
    hashes = {LanguageModel(**few).fit(source).card_["data"]["sha256"] for source in sources}
    assert len(hashes) == 1
    both = [
        LanguageModel(**few).fit(source) for source in (tmp_path, [TEXT, TEXT], iter([TEXT, TEXT]))
    ]
    assert len({model.card_["data"]["sha256"] for model in both}) == 1
    assert both[0].card_["data"]["characters"] > 1.5 * len(TEXT)


def test_valid_and_test_can_be_given() -> None:
    few = SMALL | {"steps": 3}
    others = "I like to eat soup .\n", "We like to eat .\n"
    card = LanguageModel(documents="line", **few).fit(TEXT, valid=others[0], test=others[1]).card_
    assert card["validation"]["tokens"] == 7
    assert card["held_out"]["tokens"] == 6
    assert card["data"]["characters"] == len(TEXT)
    assert card["split"] == "a text of its own"
    # a single line cannot be divided: it is the validation set, and there is no test set
    card = LanguageModel(documents="line", **few).fit(TEXT, valid=others[0]).card_
    assert card["validation"]["tokens"] == 7
    assert card["held_out"] is card["ngram"] is None


def test_numpy_numbers_are_accepted() -> None:
    numbers: dict[str, Any] = {"hidden_size": np.int64(8), "dropout": np.float32(0.5)}
    options = LanguageOptions(**numbers)
    assert options.hidden_size == 8


def test_a_positional_option_is_refused() -> None:
    estimator: Any
    for estimator, value in ((LanguageModel, "word"), (elman.SequenceTagger, ["a", "b"])):
        with pytest.raises(TypeError, match=r"__init__\(\) takes 1 positional argument"):
            estimator(value)


def test_a_list_of_texts_is_refused_as_a_prompt(fitted: LanguageModel) -> None:
    with pytest.raises(
        elman.InputError, match=r"got a list of 2 texts; .*; pass one text at a time"
    ):
        fitted.predict_next(["I like", "We hate"])  # type: ignore[arg-type]


def test_rank_lines_takes_a_predictor_or_an_estimator(fitted: LanguageModel) -> None:
    text = "I like to eat pizza .\nWe hate to eat eat .\n"
    ranking = rank_lines(fitted, text)
    assert [row.surprise.text for row in ranking.rows] == [
        row.surprise.text for row in rank_lines(fitted.predictor_, text).rows
    ]
    assert ranking.rows[0].surprise.text == "We hate to eat eat ."
    with pytest.raises(
        elman.InputError, match="first argument: got str; expected a language model"
    ):
        rank_lines(text, text)  # type: ignore[arg-type]
    with pytest.raises(elman.NotFittedError):
        rank_lines(LanguageModel(), text)


def test_a_file_needs_a_name_before_its_suffix(fitted: LanguageModel, tmp_path: Path) -> None:
    path = tmp_path / ".safetensors"
    with pytest.raises(elman.OptionError, match="expected a name before the suffix"):
        fitted.save(path)
    with pytest.raises(elman.OptionError, match="expected a name before the suffix"):
        LanguageModel(**SMALL).fit(TEXT, output=path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_three_lines_give_sensible_answers() -> None:
    three = "I like to eat pizza\nI like to eat burgers\nI like to eat burgers\n"
    model = LanguageModel(hidden_size=16).fit(three)
    (first, often), (second, seldom), *_ = model.predict_next("I like to eat")
    assert (first, second) == ("burgers", "pizza")
    assert often == pytest.approx(2 / 3, abs=0.08)
    assert seldom == pytest.approx(1 / 3, abs=0.08)
    card = model.card_
    assert card["held_out"] is card["validation"] is card["ngram"] is None
    assert card["split"] == "nothing is held out of so small a text"
    assert card["training"]["steps"] == 500
    assert model.evaluate(three).beats_ngram is None
