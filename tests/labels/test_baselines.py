from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman.errors import DataError, MissingDependencyError
from elman.labels import baselines, linear_models
from elman.labels.baselines import (
    Baseline,
    linear_classifier,
    linear_regressor,
    linear_tagger,
    majority,
    most_frequent_tag,
)
from elman.labels.comparison import (
    fit_baselines,
    measure_label_baselines,
    measure_number_baselines,
)
from elman.labels.dataset import Sequences
from elman.labels.examples import LabelledSequences
from elman.labels.features import Step, summaries
from elman.labels.label_values import Labels
from elman.labels.linear_models import DEFAULT_SETTINGS, FitSettings
from elman.labels.metrics import r2
from elman.metrics.forecast_errors import mae
from readers import reader_of

NAN = float("nan")


def reviews(n: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Return texts whose label depends on one word or sign; all other words are noise."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, n)
    said = [["awful", ":("], ["lovely", ":)"]]
    words = [f"word{k}" for k in range(200)]
    return [
        " ".join([*draw.choice(words, 8), str(draw.choice(said[label]))]) for label in labels
    ], labels


def waves(n: int, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Return sequences of unequal lengths whose label is the sign of the slope of the second channel."""
    draw = np.random.default_rng(seed)
    labels = draw.integers(0, 2, n)
    return [
        np.stack(
            [draw.normal(size=t), (2 * label - 1) * np.arange(t) + draw.normal(size=t)], axis=1
        )
        for t, label in zip(draw.integers(5, 20, n), labels, strict=True)
    ], labels


@pytest.mark.slow
def test_a_linear_model_learns_texts() -> None:
    fitted = linear_classifier(*reviews(400))
    texts, truth = reviews(200, 1)
    assert (fitted.predict(texts) == truth).mean() > 0.95
    assert fitted.name == "a linear SVM on TF-IDF of words and letters"


def test_a_linear_model_learns_sequences_of_numbers() -> None:
    fitted = linear_classifier(*waves(100))
    sequences, truth = waves(100, 1)
    assert (fitted.predict(sequences) == truth).mean() > 0.95
    assert fitted.predict([]).tolist() == []


@pytest.mark.slow
def test_ridge_regression_of_numbers_and_texts() -> None:
    sequences, slopes = waves(200)
    targets = 3.0 * slopes + 1
    fitted = linear_regressor(sequences, targets)
    later, truth = waves(50, 1)
    assert r2(fitted.predict(later), 3.0 * truth + 1) > 0.8
    texts, labels = reviews(400)
    others, truth = reviews(100, 1)
    assert mae(linear_regressor(texts, 5.0 * labels).predict(others), truth) < 5
    assert linear_regressor(["", ""], [1.0, 3.0]).predict(["", "b"]).tolist() == [2.0, 2.0]


def test_a_label_that_is_not_in_training() -> None:
    # one of the three labels has no example in training, and the evaluation has a label that is unknown
    texts, labels = reviews(100)
    names = Labels.of(["never", "no", "yes"])
    sequences, targets = Sequences.of(texts), names.decode(labels + 1).tolist()
    training = LabelledSequences(sequences, targets)
    other = LabelledSequences(Sequences.of(texts[:4]), ["maybe"] * 4)
    assert measure_label_baselines(training, other, names)[-1].accuracy == 0.0
    assert measure_label_baselines(training, training, names)[-1].accuracy > 0.9


def test_one_class_gives_the_majority() -> None:
    for fitted in (
        linear_classifier(["a", "b"], [1, 1]),
        linear_classifier([np.ones((3, 1))] * 2, [1, 1]),
    ):
        assert fitted.name == "the majority class"
        assert fitted.predict(["x"]).tolist() == [1]


def test_texts_without_a_word_give_the_majority() -> None:
    assert linear_classifier(["", " ", "\t"], [0, 1, 1]).predict([""]).tolist() == [1]
    # a thousand texts, in which no word occurs twice
    texts = [f"w{k}" for k in range(1000)]
    assert linear_classifier(texts, np.arange(1000) % 2).name == "the majority class"


def test_a_training_set_without_labels_is_an_error() -> None:
    for fit in (majority, lambda labels: linear_classifier([], labels)):
        with pytest.raises(DataError, match="labels: got none"):
            fit([])


@pytest.mark.slow
def test_balanced_classes_weigh_the_rare_one_more() -> None:
    texts, labels = reviews(400)
    kept = [k for k in range(400) if labels[k] == 0 or k % 20 == 0]
    texts, labels = [f"{texts[k].rsplit(' ', 1)[0]} {labels[k]}" for k in kept], labels[kept]
    unclear = [f"word{k} word{k + 1}" for k in range(199)]
    plain = linear_classifier(texts, labels).predict(unclear)
    balanced = linear_classifier(texts, labels, FitSettings(balanced=True)).predict(unclear)
    assert balanced.sum() > plain.sum()


def test_the_summaries_by_hand() -> None:
    sequence = np.array([[1.0, NAN], [3.0, NAN], [NAN, 4.0], [8.0, NAN]])
    other = np.array([[0.0, 0.0], [2.0, 1.0]])
    rows = summaries([sequence, other])([sequence, other])
    assert rows.shape == (2, 1 + 8 * 2)
    # with two sequences, each value is one deviation from their mean, or 0 if both values are equal
    assert np.isin(np.asarray(rows).round(9), [-1.0, 0.0, 1.0]).all()
    known = np.array([0.0, 1.0, 3.0])
    values = np.array([1.0, 3.0, 8.0])
    expected = {
        "mean": values.mean(),
        "deviation": values.std(),
        "least": 1.0,
        "greatest": 8.0,
        "first": 1.0,
        "last": 8.0,
        "slope": np.polyfit(known, values, 1)[0],
        "median": 3.0,
    }
    from elman.labels.features import _summary

    raw = _summary(sequence, np.ones(2))
    assert raw[0] == 4.0
    assert raw[1::2] == pytest.approx(list(expected.values()))
    assert raw[2::2] == pytest.approx([4.0, 0.0, 4.0, 4.0, 4.0, 4.0, 0.0, 4.0])


@pytest.mark.filterwarnings("error")
def test_summaries_of_extreme_values_are_finite() -> None:
    summarise = summaries([*waves(10)[0], np.full((3, 2), NAN)])
    hazards = [
        np.full((2, 2), NAN),
        np.full((1, 2), 1e308),
        np.array([[1e308, -1e308], [-1e308, np.inf]]),
        np.zeros((1, 2)),
    ]
    found = np.asarray(summarise(hazards))
    assert np.isfinite(found).all()
    assert np.abs(found).max() <= 100
    great = [np.array([[1e308], [-1e308]]), np.array([[1e308], [1e307]])]
    assert linear_classifier(great, [0, 1]).predict(great).tolist() == [0, 1]


@pytest.mark.slow
def test_a_model_fitted_on_a_sample_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(baselines, "MAX_SEQUENCES", 300)
    texts, labels = reviews(500)
    assert (
        linear_classifier(texts, labels).name
        == "a linear SVM on TF-IDF of words and letters of 300 sequences"
    )
    assert linear_classifier(*waves(301)).name.endswith(" of 300 sequences")
    fitted, again, other = (
        linear_regressor(texts, labels, FitSettings(seed=seed)) for seed in (3, 3, 4)
    )
    assert fitted.name == "a ridge regression on TF-IDF of words and letters of 300 sequences"
    assert np.array_equal(fitted.predict(texts), again.predict(texts))
    assert not np.array_equal(fitted.predict(texts), other.predict(texts))


@pytest.mark.slow
def test_many_texts_take_seconds() -> None:
    texts, labels = reviews(8_000)
    before = time.process_time()
    linear_classifier(texts, labels)
    # the fit takes 2 s of one core
    assert time.process_time() - before < 20


def steps_of(
    *sequences: Any,
) -> list[Step]:
    return [(one, place) for one in sequences for place in range(len(one))]


def test_the_most_frequent_tag_of_each_token() -> None:
    fitted = most_frequent_tag(steps_of(["a", "dog", "saw", "a", "cat", "a"]), [0, 1, 2, 0, 1, 2])
    # "a" has tag 0 two times of three; unknown tokens get 1, the most frequent tag of tokens that occur once
    assert fitted.predict([(["a"], 0)]).tolist() == [0]
    assert fitted.predict([(["new"], 0)]).tolist() == [1]
    # if no token occurs only once, a new token gets the most frequent tag of all
    repeated = most_frequent_tag(steps_of(["a", "a", "b", "b"]), [0, 1, 1, 1])
    assert repeated.predict([(["new"], 0)]).tolist() == [1]
    assert fitted.predict([]).shape == (0,)


def test_a_model_of_tags_sees_neighbours_ends_and_shapes() -> None:
    draw = np.random.default_rng(0)
    words, tags = [], []
    for _ in range(150):
        before, place = str(draw.choice(["in", "by"])), f"w{draw.integers(20)}"
        words.append([before, place, f"go{'ing' if draw.random() < 0.5 else 'es'}"])
        # the tag depends on the word before it, or on the ending of the word
        tags += [0, 1 if before == "in" else 2, 3 if words[-1][2] == "going" else 0]
    fitted = linear_tagger(steps_of(*words), tags)
    assert fitted.name == "a linear model of a token and its neighbours"
    assert fitted.predict(steps_of(["in", "Paris", "laughing"])).tolist() == [0, 1, 3]
    assert fitted.predict(steps_of(["by", "Paris"])).tolist() == [0, 2]
    assert fitted.predict([]).shape == (0,)
    assert linear_tagger(steps_of(["a", "b"]), [1, 1]).name == "the majority class"


def test_a_model_of_tags_sees_numbers_of_neighbours() -> None:
    draw = np.random.default_rng(0)
    sequences = [draw.normal(size=(9, 2)) * 1e9 for _ in range(60)]
    tags = np.concatenate([np.r_[0, (one[:-1, 1] > 0).astype(int)] for one in sequences])
    fitted = linear_tagger(steps_of(*sequences), tags)
    assert fitted.name == "a linear model of a step and its neighbours"
    # the first step of a sequence has no neighbour that determines its tag
    assert (fitted.predict(steps_of(*sequences)) == tags).mean() > 0.85


def test_cross_validation_chooses_the_regularisation() -> None:
    # one informative column and thirty columns of noise: strong regularisation is best
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 90)
    features = np.column_stack([labels + draw.normal(size=90), draw.normal(size=(90, 30))])
    tried = []

    class Machine:
        """A model whose answers are wider with the strength 7."""

        coef_ = intercept_ = classes_ = np.empty(0)

        def __init__(self, strength: float) -> None:
            self.strength = strength

        def fit(self, features: Any, targets: np.ndarray) -> None:
            tried.append((len(targets), self.strength))

        def predict(self, features: Any) -> np.ndarray:
            return np.zeros((len(features), 30 if self.strength == 7.0 else 2))

    def width(rows: np.ndarray, answers: np.ndarray) -> float:
        return answers.shape[1]

    model, chosen = linear_models.fit_chosen(
        Machine, (1.0, 7.0, 9.0), features, labels, width, DEFAULT_SETTINGS
    )
    assert isinstance(model, Machine)
    assert chosen == model.strength == 7.0
    assert tried[:3] == [(60, 1.0)] * 3
    # the last fit uses all rows
    assert tried[-1] == (90, 7.0)
    # of equal scores, the strongest regularisation wins
    _, chosen = linear_models.fit_chosen(
        Machine, (1.0, 9.0), features, labels, lambda rows, answers: 1.0, DEFAULT_SETTINGS
    )
    assert chosen == 1.0
    # a given strength is not chosen again
    tried.clear()
    linear_models.fit_chosen(Machine, (1.0,), features, labels, width, FitSettings(strength=5.0))
    assert tried == [(90, 5.0)]


def test_character_ngrams_help_where_words_do_not() -> None:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, 2, 300)
    texts = ["".join(draw.choice([*"abcdefgh"], 5)) + ["zq", "yv"][label] for label in labels]
    assert (linear_classifier(texts[:200], labels[:200]).predict(texts[200:]) == labels[200:]).all()


def test_ridge_regression_of_noise_predicts_about_the_mean() -> None:
    draw = np.random.default_rng(1)
    sequences = [draw.normal(size=(6, 3)) for _ in range(40)]
    targets = draw.normal(size=40)  # unrelated to the sequences, so the mean is the best prediction
    far = [draw.normal(size=(6, 3)) for _ in range(200)]
    fitted = linear_regressor(sequences, targets)
    assert np.std(fitted.predict(far)) < 0.3


@pytest.mark.slow
def test_the_plain_models_of_each_task() -> None:
    texts, labels = reviews(200)
    held = LabelledSequences(Sequences.of(reviews(50, 1)[0]), reviews(50, 1)[1].tolist())
    training = LabelledSequences(Sequences.of(texts), labels.tolist())
    rows = [one.figures() for one in measure_label_baselines(training, held)]
    assert [row["name"] for row in rows] == [
        "the majority class",
        "a linear SVM on TF-IDF of words and letters",
    ]
    assert rows[0]["accuracy"] == (reviews(50, 1)[1] == np.bincount(labels).argmax()).mean()
    assert float(rows[1]["macro_f1"]) > 0.9
    json.dumps(rows, allow_nan=False)
    # two of five apples have the rare label, which wins only if a rare example weighs as much as four others
    fruit = LabelledSequences(Sequences.of(["apple"] * 5 + ["pear"] * 5), [1, 1, *[0] * 8])
    apple = LabelledSequences(Sequences.of(["apple"]), [1])
    for balanced, right in ((False, 0.0), (True, 1.0)):
        settings = FitSettings(balanced=balanced)
        assert measure_label_baselines(fruit, apple, settings=settings)[1].accuracy == right

    numeric = LabelledSequences(Sequences.of(waves(60)[0]), [float(one) for one in waves(60)[1]])
    rows = [one.figures() for one in measure_number_baselines(numeric, numeric)]
    assert [row["name"] for row in rows] == [
        "the mean",
        "a ridge regression on summary statistics",
        "a ridge regression on random convolutions",
    ]
    assert rows[0]["r2"] == pytest.approx(0.0, abs=1e-12)

    tagged = LabelledSequences(Sequences.of([["a", "dog"], ["a", "cat"]]), [["D", "N"], ["D", "N"]])
    other = LabelledSequences(Sequences.of([["a", "fox", "ran"]]), [["D", "N", "V"]])
    rows = [
        one.figures()
        for one in measure_label_baselines(tagged.of_task("tag"), other.of_task("tag"))
    ]
    assert [row["name"] for row in rows] == [
        "the majority class",
        "the commonest tag of each token",
        "a linear model of a token and its neighbours",
    ]
    assert [row["accuracy"] for row in rows[:2]] == pytest.approx([1 / 3, 2 / 3])
    steps = LabelledSequences(Sequences.of([np.ones((2, 1)), np.ones((3, 1))]), [[0, 0], [0, 1, 1]])
    steps = steps.of_task("tag")
    assert [row.accuracy for row in measure_label_baselines(steps, steps)][:1] == [0.6]

    single = LabelledSequences(Sequences.of(["a", "b"]), ["x", "x"])
    assert len(fit_baselines(single, Labels.of(["x"]))) == 1


@pytest.mark.slow
def test_evaluating_beside_plain_models_does_not_import_torch(tmp_path: Path) -> None:
    model, table = tmp_path / "model.safetensors", tmp_path / "table.csv"
    reader_of("word").save(model)
    table.write_text("text,label\n" + "to be,a\nor not,b\nnot to,c\n" * 4)
    code = (
        "import sys, elman.cli\n"
        "try:\n"
        f"    elman.cli.main(['evaluate', {str(model)!r}, {str(table)!r}, '--text', 'text',"
        f" '--label', 'label', '--train', {str(table)!r}])\n"
        "except SystemExit as end:\n"
        "    assert not end.code, end.code\n"
        "print('torch' in sys.modules, 'sklearn' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "a linear SVM on TF-IDF of words and letters of the same training set" in done.stdout, (
        done.stderr
    )
    assert done.stdout.splitlines()[-1] == "False True"


def test_without_scikit_learn_the_error_says_how_to_install_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in [*sys.modules, "sklearn"]:
        if name.split(".")[0] == "sklearn":
            monkeypatch.setitem(sys.modules, name, None)
    fits: list[Callable[[], Baseline]] = [
        lambda: linear_classifier(["a", "b"], [0, 1]),
        lambda: linear_classifier(*waves(5)),
        lambda: linear_regressor(*waves(5)),
    ]
    for fit in fits:
        with pytest.raises(MissingDependencyError, match=re.escape('pip install ".[train]"')):
            fit()
