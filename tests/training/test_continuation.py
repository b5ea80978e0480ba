"""A trained model learns on: what is kept, what grows, what is refused, and what its card tells."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman import Forecaster, LanguageModel, SequenceClassifier, SequenceTagger
from elman.errors import DataError, ModelFileError, OptionError
from elman.files.growth import Growth
from elman.files.model import Model
from elman.training.continuation import extended
from elman.training.journal import JsonObject

GOLDEN = Path(__file__).parent.parent / "golden"
TINY: dict[str, Any] = {"hidden_size": 6, "num_layers": 1, "steps": 12, "threads": 1}
OLD_TEXT = "I like tea .\nyou like rice .\n" * 60
NEW_TEXT = "I like pizza .\nyou hate pizza .\n" * 60
VALUES = 10 + np.sin(np.arange(120) * 2 * np.pi / 12)


def language(**how: Any) -> LanguageModel:
    how = {"level": "word", "documents": "line", "held_out_from": "end"} | how
    return LanguageModel(**TINY | how).fit(OLD_TEXT)


def forecaster(**how: Any) -> Forecaster:
    how = {"horizon": 3, "members": 2, "refit": False, "season": 12} | how
    return Forecaster(**TINY | how).fit(VALUES[:90])


def classifier(**how: Any) -> SequenceClassifier:
    how = {"embedding_size": 4, "spelling_size": 3, "refit": False} | how
    texts = ["good day", "bad day", "good food", "bad idea"] * 10
    return SequenceClassifier(**TINY | how).fit(texts, ["yes", "no"] * 20)


def saved(estimator: Any, folder: Path) -> str:
    estimator.save(folder / "old.safetensors")
    return str(folder / "old.safetensors")


def test_new_entries_are_near_the_mean_of_the_old_ones() -> None:
    old = language().model_
    codec = old.codec.with_tokens(["pizza", "hate"])
    growth = {"vocabulary_size": Growth(len(codec), range(len(old.codec)))}
    new = extended(old, codec, growth, seed=0)
    weights, before = new.arrays["embedding.weight"], old.arrays["embedding.weight"]
    np.testing.assert_array_equal(weights[:-2], before)
    assert np.linalg.norm(weights[-1] - before.mean(0)) < np.linalg.norm(before.std(0))
    assert not np.array_equal(weights[-1], weights[-2])
    assert (new.arrays["head.bias"][-2:] < old.arrays["head.bias"].mean()).all()
    np.testing.assert_array_equal(
        new.arrays["layers.0.weight_hh"], old.arrays["layers.0.weight_hh"]
    )


@pytest.mark.parametrize("tied", [True, False])
def test_a_language_model_learns_new_words(tied: bool) -> None:
    model = language(tied=tied)
    old = model.evaluate(OLD_TEXT).loss
    still = LanguageModel(learning_rate=0.0, **TINY)
    still._keep(model.model_, "complete")
    still.partial_fit(NEW_TEXT)
    tokens = model.model_.codec.tokens
    assert still.model_.codec.tokens[: len(tokens)] == tokens
    assert {"pizza", "hate"} <= {*still.model_.codec.tokens}
    # A rate of 0 changes nothing, and the new words take little probability from the old ones.
    assert old < still.evaluate(OLD_TEXT).loss < old + 0.3
    model.set_params(steps=150, learning_rate=0.02).partial_fit(NEW_TEXT)
    assert model.predict_next("you hate", k=1)[0][0] == "pizza"


def rate_of(model: LanguageModel) -> float:
    return float(model.card_["settings"]["learning_rate"])


def test_by_default_it_learns_for_few_epochs_at_a_low_rate() -> None:
    model = language().set_params(steps=None).partial_fit(OLD_TEXT)
    new = LanguageModel(**TINY | {"steps": None}, epochs=5).fit(OLD_TEXT)
    assert rate_of(model) == pytest.approx(rate_of(new) / 10)
    assert model.card_["settings"]["epochs"] == 5
    assert model.card_["settings"]["time"] is None


def test_it_learns_faster_from_a_text_that_surprises_it() -> None:
    model = language(steps=100, learning_rate=0.02)
    rates = []
    for text in (OLD_TEXT, OLD_TEXT + NEW_TEXT, NEW_TEXT):
        again = LanguageModel(epochs=1, threads=1)
        again._keep(model.model_, "complete")
        rates.append(rate_of(again.partial_fit(text)))
    new = rate_of(LanguageModel(**TINY | {"steps": None}, epochs=1).fit(NEW_TEXT))
    assert rates[0] < rates[1] < rates[2] == new


def test_it_keeps_the_old_network_if_learning_on_makes_it_worse() -> None:
    # trained well enough that no few wild steps improve it by chance
    model = language(steps=300, learning_rate=0.02)
    arrays = model.model_.arrays
    model.set_params(learning_rate=5.0, clip=1e9, steps=3, evaluations=1).partial_fit(OLD_TEXT)
    assert model.card_["training"]["best_step"] == 0
    assert model.card_["training"]["held_out_loss_before"] == model.card_["validation"]["loss"]
    for name, array in model.model_.arrays.items():
        np.testing.assert_array_equal(array, arrays[name])


def test_the_card_keeps_the_history() -> None:
    model = language()
    first = model.card_
    assert "history" not in first
    model.partial_fit(NEW_TEXT)
    second = model.card_
    model.partial_fit(OLD_TEXT)
    history = model.card_["history"]
    assert [len(second["history"]), len(history)] == [1, 2]
    assert history[0] == second["history"][0]
    for entry, card in zip(history, (first, second), strict=True):
        assert entry["steps"] == card["training"]["steps"] == 12
        assert entry["created"] == card["created"]
        assert entry["version"] == card["version"]
        assert entry["data"]["text"] == card["data"]["sha256"]
        assert entry["held_out"]["loss"] == card["held_out"]["loss"]
    # the loss on the new text before and after
    assert second["training"]["held_out_loss_before"] > second["validation"]["loss"]


def test_a_forecaster_learns_on_from_new_rows() -> None:
    model = forecaster()
    old = model.model_
    model.partial_fit(VALUES[90:])
    assert model.predictor_.history.values[0].tolist() == VALUES.tolist()
    assert model.model_.codec.rule == old.codec.rule
    assert model.card_["training"]["held_out_loss_before"] > 0
    # 15 of the 30 new values are held out at most, because the network has seen the others
    assert model.card_["data"]["values"] == 120
    assert 0 < model.card_["split" if "split" in model.card_ else "windows"]["horizon"] == 3
    assert len(model.card_["history"]) == 1
    changed = [name for name in old.arrays if (old.arrays[name] != model.model_.arrays[name]).any()]
    assert changed


def test_a_forecaster_without_enough_new_rows_keeps_its_calibration() -> None:
    model = forecaster(steps=40)
    corrections = model.model_.codec.corrections
    model.partial_fit(VALUES[90:93])
    assert model.card_["held_out"] is None
    np.testing.assert_array_equal(model.model_.codec.corrections, corrections)
    assert len(model.predictor_.history.values[0]) == 93
    with pytest.raises(DataError, match="the table has no column"):
        model.partial_fit({"ds": ["2024-01-01", "2024-01-02"], "y": [1.0, 2.0]})


@pytest.mark.parametrize(
    ("make", "data"),
    [
        (language, (NEW_TEXT,)),
        (classifier, (["new food"] * 8, ["perhaps"] * 8)),
        (forecaster, (VALUES[90:],)),
    ],
)
def test_options_that_contradict_the_model_are_refused(
    make: Callable[..., Any], data: tuple[Any, ...]
) -> None:
    model = make()
    with pytest.raises(
        OptionError, match=r"hidden_size: got 99; expected 6, as in the model to train further"
    ):
        model.set_params(hidden_size=99).partial_fit(*data)
    with pytest.raises(OptionError, match=r"cell: got rnn; expected (lstm|gru), as in the model"):
        model.set_params(hidden_size=6, cell="rnn").partial_fit(*data)


@pytest.mark.parametrize(
    ("make", "how", "message"),
    [
        (language, {"level": "char"}, "level: got char; expected word"),
        (language, {"documents": "file"}, "documents: got file; expected line"),
        (language, {"split": "whitespace"}, "split: got whitespace; expected words"),
        (classifier, {"lowercase": False}, "lowercase: got False; expected True"),
        (classifier, {"level": "word"}, "level: got word; expected both"),
        (forecaster, {"horizon": 5}, "horizon: got 5; expected 3"),
        (forecaster, {"season": 7}, "season: got 7; expected 12"),
        (forecaster, {"past": "rain"}, "past: got rain; expected None"),
        (forecaster, {"levels": "70"}, "levels: got new levels such as 0.15"),
    ],
)
def test_other_tokens_horizons_and_columns_are_refused(
    make: Callable[..., Any], how: dict[str, Any], message: str
) -> None:
    model = make(steps=1).set_params(**how)
    data = {language: (NEW_TEXT,), classifier: (["a"], ["no"]), forecaster: (VALUES[90:],)}[make]
    with pytest.raises(OptionError, match=message):
        model.partial_fit(*data)


def test_a_file_of_another_task_is_refused(tmp_path: Path) -> None:
    path = saved(language(steps=1), tmp_path)
    with pytest.raises(OptionError, match="got a model for language; expected one for classify"):
        SequenceClassifier.from_file(path)
    with pytest.raises(OptionError, match="got a model for classify; expected one for tag"):
        SequenceTagger.from_file(GOLDEN / "classify-1.safetensors")
    data = Path(path).read_bytes()
    (tmp_path / "damaged.safetensors").write_bytes(data[:-4] + b"abcd")
    with pytest.raises(ModelFileError, match="damaged"):
        LanguageModel.from_file(tmp_path / "damaged.safetensors")


@pytest.mark.parametrize(
    ("file", "cls", "data"),
    [
        ("lstm", LanguageModel, ("I like pizza\nI eat pizza\n" * 30,)),
        ("gru", LanguageModel, ("aéb\naéa\n" * 30,)),
        ("classify", SequenceClassifier, (["bad é", "goodb"] * 6, ["positive", "new"] * 6)),
        ("regress", elman.SequenceRegressor, ([[[1.0, 2.0]], [[3.0, np.nan]]] * 4, [1.0, 2.0] * 4)),
        ("tag", SequenceTagger, ([["I", "eat"]] * 8, [[7, 3]] * 8)),
    ],
)
def test_golden_models_learn_on(file: str, cls: Any, data: tuple[Any, ...]) -> None:
    model = cls.from_file(GOLDEN / f"{file}-1.safetensors", steps=2, threads=1)
    old: Model = model.model_
    model.partial_fit(*data)
    assert model.card_["history"][0]["steps"] is None
    assert len(model.model_.arrays) == len(old.arrays)
    if file in ("classify", "tag"):
        assert len(model.classes_) == len(old.codec.labels) + 1
    assert math.isfinite(
        float(np.concatenate([a.ravel() for a in model.model_.arrays.values()]).sum())
    )


def test_a_golden_forecaster_learns_on() -> None:
    model = Forecaster.from_file(GOLDEN / "forecast-1.safetensors", steps=2, threads=1)
    history = model.predictor_.history
    rows: JsonObject = {
        "shop": ["Bern"] * 6,
        "day": [f"{day:02d}.03.2024" for day in range(5, 11)],
        "visits": [1.0, 2.0, 1.5, 2.5, 1.0, 2.0],
        "rain": [0.0] * 6,
        "offer": [0.0] * 6,
        "size": [3.0] * 6,
        "kind": ["bar"] * 6,
    }
    model.partial_fit(rows, overlap="replace")
    assert len(model.predictor_.history.values[1]) == len(history.values[1]) + 6
    assert model.predict().median.shape == (2, 3)


def test_the_same_run_gives_the_same_network() -> None:
    first, again = language(), language()
    for model in (first, again):
        model.set_params(dropout=0.2).partial_fit(NEW_TEXT)
    assert first.model_.digest() == again.model_.digest()


def test_a_model_with_a_wide_part_learns_new_labels_and_characters(tmp_path: Path) -> None:
    model = SequenceClassifier.from_file(GOLDEN / "ngrams-1.safetensors", steps=1, threads=1)
    old: Model = model.model_
    known = model.predict_proba(["a é", "é"])
    model.set_params(learning_rate=0.0).partial_fit(
        ["good xyz", "bad xyz"] * 8, ["new", "positive"] * 8
    )
    codec = model.model_.codec
    assert codec.wide.outputs == len(codec.labels) == len(old.codec.labels) + 1
    assert len(codec.alphabet) > len(old.codec.alphabet)
    # Texts of old words and characters are answered as before, but for the share of the new label.
    shares = np.delete(model.predict_proba(["a é", "é"]), codec.labels.values.index("new"), axis=1)
    np.testing.assert_allclose(shares / shares.sum(axis=1, keepdims=True), known, atol=1e-5)
    again = SequenceClassifier.from_file(saved(model, tmp_path))
    assert again.model_.digest() == model.model_.digest()


def test_a_tagger_of_entities_learns_a_new_kind_of_entity() -> None:
    words, tags = [["I", "see", "New", "York"]] * 16, [["O", "O", "B-LOC", "I-LOC"]] * 16
    model = SequenceTagger(**TINY | {"steps": 60}, refit=False, learning_rate=0.05).fit(words, tags)
    assert model.predict(words[:1]) == tags[:1]
    more = [["I", "see", "Ada", "Byron"]] * 16
    new = [["O", "O", "B-PER", "I-PER"]] * 16
    model.partial_fit(more * 2 + words, new * 2 + tags)
    assert model.classes_.tolist() == ["B-LOC", "B-PER", "I-LOC", "I-PER", "O"]
    assert model.predict([more[0], words[0]]) == [new[0], tags[0]]
