"""The estimators keep scikit-learn's conventions; unusual inputs give the documented result or error."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import elman
from elman import DataError, OptionError
from elman.errors import ShapeError
from elman.labels.estimator import SequenceClassifier, SequenceRegressor, SequenceTagger
from readers import open_labelled

pytestmark = pytest.mark.slow

QUICK: dict[str, Any] = {
    "cell": "gru",
    "hidden_size": 8,
    "batch_size": 16,
    "learning_rate": 0.05,
    "evaluations": 2,
    "dropout": 0.0,
    "refit": False,
    "members": 1,
    "threads": 1,
}
SMALL: dict[str, Any] = QUICK | {"steps": 40, "embedding_size": 8, "spelling_size": 4}

# Checks of scikit-learn that an estimator may fail, and why; at most eight for both estimators together.
EXCLUDED = {
    "SequenceClassifier": {
        "check_class_weight_classifiers": "class_weight is none or balanced, as the command can say it",
    },
    "SequenceRegressor": {},
}
TEXTS = ["what a good day", "so bad", "good food", "a bad , bad idea", "nothing"] * 6
LABELS = ["yes", "no", "yes", "no", "maybe"] * 6
ESTIMATORS = (SequenceClassifier, SequenceRegressor, SequenceTagger)


every_check: Callable[[Callable[..., None]], Callable[..., None]] = parametrize_with_checks(
    [
        SequenceClassifier(steps=60, **QUICK),
        # one of ten steps determines the answer: a plain network of one direction learns it fastest
        SequenceRegressor(
            steps=150, pooling="last", bidirectional=False, **QUICK | {"cell": "rnn"}
        ),
    ],
    expected_failed_checks=lambda estimator: EXCLUDED[type(estimator).__name__],
)


@every_check
def test_scikit_learn_checks(estimator: Any, check: Any) -> None:
    check(estimator)


def test_few_checks_are_excluded() -> None:
    assert sum(map(len, EXCLUDED.values())) <= 8


@pytest.fixture(scope="module")
def fitted() -> SequenceClassifier:
    return SequenceClassifier(**SMALL).fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    ("estimator", "options"),
    [(estimator, estimator.options) for estimator in ESTIMATORS],
)
def test_parameters_are_the_options(estimator: Any, options: Any) -> None:
    assert [*estimator().get_params()] == sorted(field.name for field in options.declared())
    copy = clone(estimator(hidden_size=7).set_params(members=2))
    assert (copy.hidden_size, copy.members) == (7, 2)
    with pytest.raises(TypeError, match="unexpected keyword argument 'hiden_size'"):
        estimator(hiden_size=3)
    wrong = estimator(cell="transformer")
    assert wrong.cell == "transformer"
    with pytest.raises(OptionError, match="cell: got transformer"):
        wrong.fit(["a"], [["O"]] if estimator is SequenceTagger else [1.0])


@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_using_an_unfitted_estimator_is_an_error(estimator: Any) -> None:
    for error in (elman.NotFittedError, NotFittedError):
        with pytest.raises(error, match="call fit first"):
            estimator().predict(["a"])
    with pytest.raises(elman.NotFittedError):
        estimator().save("x.safetensors")


def test_it_learns_texts(fitted: SequenceClassifier) -> None:
    assert fitted.predict(["good", "bad"]).tolist() == ["yes", "no"]
    assert fitted.classes_.tolist() == ["maybe", "no", "yes"]
    shares = fitted.predict_proba(TEXTS)
    np.testing.assert_allclose(shares.sum(axis=1), 1.0, atol=1e-12)
    assert fitted.score(TEXTS, LABELS) > 0.9
    report = fitted.evaluate(TEXTS, LABELS)
    assert report.accuracy == fitted.score(TEXTS, LABELS)


@pytest.mark.parametrize("kind", [list, np.array, pd.Series, pl.Series, tuple])
def test_columns_of_any_kind_give_the_same_weights(fitted: SequenceClassifier, kind: Any) -> None:
    other = SequenceClassifier(**SMALL).fit(kind(TEXTS), kind(LABELS))
    for name, array in fitted.model_.arrays.items():
        np.testing.assert_array_equal(other.model_.arrays[name], array)
    assert other.card_["data"]["sha256"] == fitted.card_["data"]["sha256"]


def test_ragged_numbers_in_lists_and_arrays_of_objects() -> None:
    draw = np.random.default_rng(0)
    given = [draw.normal(size=(length, 2)) for length in draw.integers(1, 9, 40)]
    labels = [bool(one[:, 0].sum() > 0) for one in given]
    objects = np.empty(40, object)
    objects[:] = given
    one, other = (SequenceClassifier(**SMALL).fit(X, labels) for X in (given, objects))
    np.testing.assert_array_equal(one.predict_proba(given), other.predict_proba(objects))
    assert one.predict(given).dtype == bool
    cube = SequenceClassifier(**SMALL).fit(draw.normal(size=(20, 5, 2)), [0, 1] * 10)
    assert cube.predict([np.zeros((3, 2))]).dtype == np.int64


def test_it_works_in_a_pipeline_and_in_searches() -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(40, 6)) * 100
    y = np.where(X[:, 0] > 0, "up", "down")
    pipeline = make_pipeline(StandardScaler(), SequenceClassifier(**SMALL | {"steps": 60}))
    assert pipeline.fit(X, y).score(X, y) > 0.9
    assert cross_val_score(pipeline, X, y, cv=2).shape == (2,)
    assert set(cross_val_predict(pipeline, X, y, cv=2)) <= {"up", "down"}
    grid = {"sequenceclassifier__hidden_size": [2, np.int64(8)]}
    search = GridSearchCV(pipeline, grid, cv=2, refit=True).fit(X, y)
    assert search.best_params_["sequenceclassifier__hidden_size"] in (2, 8)
    assert search.predict_proba(X).shape == (40, 2)
    regress = SequenceRegressor(**SMALL)
    assert cross_val_score(regress, X, X[:, 0], cv=2, scoring="neg_mean_absolute_error").shape == (
        2,
    )


def test_texts_go_through_a_pipeline_and_a_search() -> None:
    clean = FunctionTransformer(lambda texts: [text.upper() for text in texts])
    pipeline = make_pipeline(clean, SequenceClassifier(**SMALL))
    assert pipeline.fit(TEXTS, LABELS).predict(["GOOD day"]).tolist() == ["yes"]
    search = GridSearchCV(SequenceClassifier(**SMALL), {"pooling": ["last", "max"]}, cv=2)
    assert search.fit(TEXTS, LABELS).best_score_ > 0.5


def test_a_pickle_and_a_file_answer_alike(fitted: SequenceClassifier, tmp_path: Path) -> None:
    again = pickle.loads(pickle.dumps(fitted))
    path = tmp_path / "m.safetensors"
    fitted.save(path)
    loaded = elman.load(path, kind=elman.ClassifierPredictor)
    expected = fitted.predict_proba(TEXTS)
    np.testing.assert_array_equal(again.predict_proba(TEXTS), expected)
    np.testing.assert_array_equal(loaded.predict_proba(TEXTS), expected)
    assert loaded.card == fitted.card_
    assert loaded.labels.values == ("maybe", "no", "yes")
    assert str(loaded.evaluate(TEXTS, LABELS)) == str(fitted.evaluate(TEXTS, LABELS))


def test_it_writes_its_file_and_is_watched(tmp_path: Path) -> None:
    events: list[dict[str, Any]] = []
    path = tmp_path / "m.safetensors"
    model = SequenceClassifier(**SMALL).fit(TEXTS, LABELS, output=path, watch=events.append)
    assert [event["event"] for event in events[:1] + events[-1:]] == ["start", "end"]
    loaded = elman.load(path, kind=elman.ClassifierPredictor)
    np.testing.assert_array_equal(loaded.predict(TEXTS), model.predict(TEXTS))
    again = SequenceClassifier(**SMALL).fit(TEXTS, LABELS, output=str(path), resume=True)
    assert again.stopped_ == "complete"


# -- partial_fit --------------------------------------------------------------------------------------


def weights(model: Any) -> dict[str, np.ndarray]:
    return {name: array.copy() for name, array in model.model_.arrays.items()}


def test_partial_fit_improves_the_model() -> None:
    model = SequenceClassifier(**SMALL).partial_fit(
        TEXTS, LABELS, classes=["no", "yes", "maybe", "never"]
    )
    assert model.classes_.tolist() == ["maybe", "never", "no", "yes"]
    before, codec = weights(model), model.model_.codec
    assert model.predict(["word nothing"]).tolist() != ["never"]
    model.partial_fit(["word nothing", "nothing word"] * 10, ["never"] * 20)
    assert model.predict(["word nothing"]).tolist() == ["never"]
    assert model.model_.codec.labels is codec.labels
    assert any(not np.array_equal(before[name], array) for name, array in weights(model).items())
    # all are trained on, because they are too few for a test set
    assert model.card_["data"]["sequences"] == 20


def test_partial_fit_continues_from_the_fitted_weights(fitted: SequenceClassifier) -> None:
    model = pickle.loads(pickle.dumps(fitted)).set_params(steps=1, learning_rate=0.0)
    before, shares = weights(model), model.predict_proba(TEXTS)
    model.partial_fit(TEXTS, LABELS)
    # only the temperature may differ, and it was chosen on the same validation set
    for name, array in weights(model).items():
        if ".head." not in name:
            np.testing.assert_array_equal(array, before[name])
    np.testing.assert_allclose(model.predict_proba(TEXTS), shares, atol=1e-3)


def test_partial_fit_without_a_budget_takes_few_small_steps(fitted: SequenceClassifier) -> None:
    model = pickle.loads(pickle.dumps(fitted)).set_params(
        steps=None, learning_rate=None, patience=99
    )
    model.partial_fit(TEXTS[:5], LABELS[:5])
    assert model.card_["training"]["epochs"] == pytest.approx(5)
    assert model.card_["settings"]["learning_rate"] == pytest.approx(1e-3)
    assert model.score(TEXTS, LABELS) > 0.9  # the model has not forgotten its first training


def test_partial_fit_adds_a_new_label(fitted: SequenceClassifier) -> None:
    model = pickle.loads(pickle.dumps(fitted))
    answers, shares = model.predict(TEXTS), model.predict_proba(TEXTS)
    still = pickle.loads(pickle.dumps(fitted)).set_params(learning_rate=0.0)
    still.partial_fit(TEXTS[:2], ["yes", "never"])
    assert still.classes_.tolist() == ["maybe", "never", "no", "yes"]
    # Before it learns, the new label is improbable, and the old ones keep their ratios.
    assert (still.predict(TEXTS) == answers).all()
    old = still.predict_proba(TEXTS)[:, [0, 2, 3]]
    assert old.sum(axis=1).min() > 0.8
    np.testing.assert_allclose(old / old.sum(axis=1, keepdims=True), shares, atol=1e-4)
    model.partial_fit(["brand new words", "new words brand"] * 10, ["never"] * 20)
    assert {"brand", "new", "words"} <= {*model.model_.codec.tokens.tokens}
    assert model.predict(["new brand"]).tolist() == ["never"]
    assert model.predict_proba(["word"]).shape == (1, 4)


def test_partial_fit_with_a_label_of_another_type_is_an_error(fitted: SequenceClassifier) -> None:
    numbers = SequenceClassifier(**SMALL | {"steps": 1}).fit([[1.0], [2.0]] * 8, [1, 2] * 8)
    before = vars(numbers).copy()
    with pytest.raises(DataError, match="a new label: got 'never'; expected a label of the same"):
        numbers.partial_fit([[1.0]] * 2, ["1", "never"])
    assert vars(numbers) == before


def test_partial_fit_of_other_kinds() -> None:
    regress = SequenceRegressor(**SMALL).partial_fit([[1.0], [2.0]] * 8, [1.0, 2.0] * 8)
    target = regress.model_.codec.target
    regress.partial_fit([[3.0]] * 8, [30.0] * 8)
    assert regress.model_.codec.target is target
    tagger = SequenceTagger(**SMALL).partial_fit([["a", "b"]] * 8, [["A", "B"]] * 8, classes="ABC")
    assert tagger.classes_.tolist() == ["A", "B", "C"]
    tagger.partial_fit([["c"]] * 8, [["C"]] * 8)
    tagger.partial_fit([["c", "a"]] * 4, [["D", "A"]] * 4)
    assert tagger.classes_.tolist() == ["A", "B", "C", "D"]
    assert tagger.predict_proba([["a", "c"]])[0].shape == (2, 4)
    numbers = SequenceClassifier(**SMALL).partial_fit([[1.0], [2.0]] * 8, [1, 2] * 8)
    with pytest.raises(ShapeError, match="got 2 channels; expected 1"):
        numbers.partial_fit([[[1.0, 2.0]]] * 2, [1, 2])
    numbers.partial_fit([[1.0], [2.0]], [1.0, 2.0])  # the same labels, as floats


# -- unusual inputs -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "dtype"),
    [
        ([3, 1, 2] * 10, np.int64),
        ([1.0, 2.0, 3.0] * 10, np.float64),
        ([True, False, True] * 10, np.bool_),
        (["b", "a", "c"] * 10, "U"),
        (np.array(["b", "a", "c"] * 10, object), "U"),
        (pd.Series(["b", "a", "c"] * 10, dtype="category"), "U"),
    ],
)
def test_predictions_have_the_type_of_the_labels(labels: Any, dtype: Any) -> None:
    model = SequenceClassifier(**SMALL).fit(["one", "two", "three"] * 10, labels)
    answers = model.predict(["one", "two", "three"])
    assert answers.tolist() == np.asarray(labels)[:3].tolist()
    assert answers.dtype.kind == np.dtype(dtype).kind
    assert model.score(["one", "two", "three"], np.asarray(labels)[:3]) == 1.0


def test_a_label_not_in_training_counts_as_wrong(fitted: SequenceClassifier) -> None:
    known = fitted.evaluate(["good", "bad"], ["yes", "no"])
    other = fitted.evaluate(["good", "bad"], ["yes", "never"])
    assert (known.accuracy, other.accuracy) == (1.0, 0.5)
    assert "(not in trainin" in str(other)
    assert fitted.score(["good", "bad"], ["yes", "never"]) == 0.5


def test_float_labels_are_an_error_that_names_regression() -> None:
    with pytest.raises(DataError, match=r"SequenceRegressor \(--task regress\)"):
        SequenceClassifier(**SMALL).fit(TEXTS, np.linspace(0, 1, 30))


@pytest.mark.parametrize("missing", [None, float("nan"), np.nan, pd.NA])
def test_a_missing_label_is_an_error(missing: Any) -> None:
    with pytest.raises(DataError, match=r"Input y contains NaN|label 29: got <NA>"):
        SequenceClassifier(**SMALL).fit(TEXTS, [*LABELS[:-1], missing])
    with pytest.raises((DataError, ValueError), match=r"NaN|NA"):
        SequenceRegressor(**SMALL).fit(TEXTS, [*range(29), missing])


def test_labels_that_differ_in_white_space_are_different() -> None:
    model = SequenceClassifier(**SMALL).fit(["one", "two"] * 8, ["a", "a "] * 8)
    assert model.classes_.tolist() == ["a", "a "]


def test_one_class_alone_is_an_error() -> None:
    with pytest.raises(DataError, match="nothing to tell apart in one class: got only 'only'"):
        SequenceClassifier(**SMALL).fit(TEXTS, ["only"] * 30)


def test_a_class_with_one_example_is_trained_on() -> None:
    model = SequenceClassifier(**SMALL | {"steps": 80}).fit([*TEXTS, "zebra"], [*LABELS, "rare"])
    assert "rare" in model.classes_
    assert model.predict(["zebra"]).tolist() == ["rare"]


@pytest.mark.filterwarnings("ignore:The number of unique classes")
def test_a_thousand_classes() -> None:
    names = [f"kind {number}" for number in range(1000)]
    model = SequenceClassifier(**SMALL | {"steps": 2}).fit(names * 2, names * 2)
    assert model.predict_proba(["kind 7"]).shape == (1, 1000)


def test_empty_texts_and_single_steps(fitted: SequenceClassifier) -> None:
    shares = fitted.predict_proba(["", " ", "x"])
    assert np.isfinite(shares).all()
    np.testing.assert_array_equal(shares[0], shares[1])
    steps = SequenceClassifier(**SMALL).fit([[1.0], [-1.0]] * 20, ["up", "down"] * 20)
    assert steps.predict([[2.0], [-2.0]]).tolist() == ["up", "down"]


def test_missing_numbers_by_policy() -> None:
    X = np.tile([[1.0, np.nan], [np.nan, 1.0]], (20, 1))
    y = [0, 1] * 20
    with pytest.raises(ValueError, match="Input X contains NaN"):
        SequenceClassifier(**SMALL).fit(X, y)
    with pytest.raises(DataError, match='pass missing="mask"'):
        SequenceClassifier(**SMALL).fit([*X], y)
    masked = SequenceClassifier(**SMALL, missing="mask").fit(X, y)
    assert masked.score(X, y) == 1.0  # the labels depend only on which number is missing
    assert masked.model_.config.channels == 2
    plain = SequenceClassifier(**SMALL).fit(np.nan_to_num(X), y)
    with pytest.raises(ValueError, match="contains NaN"):
        plain.predict(X)
    with pytest.raises(DataError, match="Input X contains infinity"):
        masked.predict([[np.inf]])


@pytest.mark.parametrize("unit", [1e-300, 1e-30, 1e30, 1e300])
def test_numbers_of_any_size(unit: float) -> None:
    draw = np.random.default_rng(0)
    X = draw.normal(size=(40, 5))
    plain = SequenceRegressor(**SMALL).fit([*X], X[:, 0])
    large = SequenceRegressor(**SMALL).fit([*(X * unit)], X[:, 0])
    # scaled numbers differ in the last bits of float32; some dozen steps of Adam make that visible
    np.testing.assert_allclose(large.predict([*(X * unit)]), plain.predict([*X]), atol=0.02)
    assert np.isfinite(plain.predict([*(X * 1e300)])).all()


def test_a_tagger_predicts_one_tag_for_each_token() -> None:
    words = [["I", "like", "tea"], ["you", "hate", "rice"]] * 10
    tags = [["who", "does", "what"]] * 20
    model = SequenceTagger(**SMALL).fit(words, tags)
    expected = [["who", "does", "what"], [], ["what"]]
    assert model.predict([["you", "like", "rice"], [], ["tea"]]) == expected
    assert model.predict(["you  like rice", "", "tea"]) == expected
    shares = model.predict_proba([["tea"], []])
    assert [one.shape for one in shares] == [(1, 3), (0, 3)]
    assert model.score(words, tags) == 1.0
    assert model.evaluate([["tea"]], [["drink"]]).accuracy == 0.0
    for y, words_ in (([["what"]] * 2, "got 1 and 2"), ([["what", "x"]], "got 1 steps, 2 tags")):
        with pytest.raises(DataError, match=words_):
            model.evaluate([["tea"]], y)
    with pytest.raises(OptionError, match="level: got char"):
        SequenceTagger(level="char").fit(words, tags)


def test_a_tagger_of_numbers() -> None:
    draw = np.random.default_rng(0)
    X = [draw.normal(size=(length, 2)) for length in draw.integers(1, 9, 60)]
    y = [(one[:, 0] > 0).astype(int).tolist() for one in X]
    model = SequenceTagger(**SMALL | {"steps": 100}).fit(X, y)
    assert model.score(X, y) > 0.9
    assert model.predict(X[:1]) == [[int(tag) for tag in model.predict(X[:1])[0]]]


def test_regression_answers_in_the_unit_of_training() -> None:
    draw = np.random.default_rng(0)
    X = [draw.normal(size=length) for length in draw.integers(2, 6, 80)]
    y = [1e6 + 1e3 * float(one.max()) for one in X]
    model = SequenceRegressor(**SMALL | {"steps": 200}).fit(X, y)
    assert abs(model.predict(X) - y).mean() < 0.3 * np.std(y)
    assert model.score(X, y) > 0.8
    assert model.evaluate(X, y).count == 80
    with pytest.raises(DataError, match="got 1 and 2"):
        model.evaluate(X[:1], y[:2])


def test_validation_and_test_sequences_of_the_user() -> None:
    model = SequenceClassifier(**SMALL | {"members": 3}).fit(
        TEXTS, LABELS, test=(["good", "bad"], ["yes", "no"])
    )
    assert model.model_.config.members == 3
    assert model.card_["held_out"]["sequences"] == 2
    assert model.card_["split"] == "2 sequences, as given, are the test set"
    assert open_labelled(model.model_).classes_.tolist() == ["maybe", "no", "yes"]
