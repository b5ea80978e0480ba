"""Training on labelled sequences: split, budget, weights, calibration, refit, exact resume, two processes."""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional

from elman import DataError, ModelFileError, OptionError, load
from elman.engine import kernel
from elman.files.model import Model
from elman.labels.calibration import fit_temperature
from elman.labels.dataset import Sequences
from elman.labels.examples import LabelledSequences, RunInputs
from elman.labels.label_values import Labels
from elman.labels.objective import LabelledObjective
from elman.labels.options import ClassifierOptions, LabelledOptions, RegressorOptions, TaggerOptions
from elman.labels.plan import FEW_STEPS
from elman.labels.train import LabelledRecipe, train_labelled
from elman.training.checkpoint import StageResult
from elman.training.distributed import Group
from elman.training.journal import Run
from elman.training.plan import Schedule
from elman.training.random import Randomness
from readers import open_labelled

pytestmark = pytest.mark.slow

SMALL: dict[str, Any] = {
    "hidden_size": 6,
    "embedding_size": 5,
    "spelling_size": 4,
    "batch_size": 8,
    "learning_rate": 0.02,
    "threads": 1,
    "steps": 24,
    "evaluations": 4,
}
WORDS = ("good", "bad", "day", "night", "tea", "a", "of", ",")


def texts(count: int = 60, seed: int = 0) -> LabelledSequences:
    """Return texts, with the label "yes" if "good" is among the words."""
    draw = np.random.default_rng(seed)
    given = [" ".join(draw.choice(WORDS, draw.integers(1, 9))) for _ in range(count)]
    return LabelledSequences(
        Sequences.of(given), ["yes" if "good" in one else "no" for one in given]
    )


def numbers(count: int = 60, seed: int = 0) -> LabelledSequences:
    """Return sequences of two channels, and as targets ten plus five times the mean of the first channel."""
    draw = np.random.default_rng(seed)
    given = [draw.normal(size=(draw.integers(1, 9), 2)) for _ in range(count)]
    return LabelledSequences(
        Sequences.of(given), [10 + 5 * float(one[:, 0].mean()) for one in given]
    )


def tagged(count: int = 60, seed: int = 0) -> LabelledSequences:
    """Return lists of words, with tags that say whether each word is good, bad or neither."""
    draw = np.random.default_rng(seed)
    given = [draw.choice(WORDS, draw.integers(1, 9)).tolist() for _ in range(count)]
    kinds = {"good": "up", "bad": "down"}
    return LabelledSequences(
        Sequences.of(given), [[kinds.get(word, "O") for word in one] for one in given]
    )


TASKS: dict[str, tuple[Any, type[LabelledOptions]]] = {
    "classify": (texts, ClassifierOptions),
    "regress": (numbers, RegressorOptions),
    "tag": (tagged, TaggerOptions),
}


def train(
    task: str = "classify", data: LabelledSequences | None = None, *, watch: Any = None, **how: Any
) -> Model:
    make, options = TASKS[task]
    inputs, files = (
        {name: how.pop(name) for name in names if name in how}
        for names in (("valid", "test", "labels", "before"), ("output", "resume"))
    )
    run = Run(watch=watch, **files)
    return train_labelled(
        task, data or make(), options(**SMALL | how), run, RunInputs(**inputs)
    ).model


def run_of(
    task: str = "classify", data: LabelledSequences | None = None, **how: Any
) -> LabelledRecipe:
    make, options = TASKS[task]
    given = RunInputs(valid=how.pop("valid", None), test=how.pop("test", None))
    return LabelledRecipe.load(
        task, data or make(), options(**SMALL | how), given, None, Group(), Randomness()
    )


def stage_of(run: LabelledRecipe, earlier: list[StageResult]) -> tuple[LabelledObjective, Schedule]:
    objective, plan = run.stage(earlier)
    assert isinstance(objective, LabelledObjective)
    return objective, plan


def same(one: Model, other: Model) -> bool:
    return all(np.array_equal(array, other.arrays[name]) for name, array in one.arrays.items())


@pytest.mark.parametrize("task", TASKS)
def test_the_seed_determines_the_weights(task: str) -> None:
    first, again, other = (train(task, dropout=0.3, seed=seed) for seed in (1, 1, 2))
    assert same(first, again)
    assert not same(first, other)
    assert first.card["identity"] == again.card["identity"]
    differ = {name for name in first.card if first.card[name] != again.card[name]}
    assert differ <= {"created", "training"}  # the time of day, and how long the run took


@pytest.mark.parametrize("task", ["classify", "tag"])
def test_the_number_of_threads_changes_no_bit(task: str, monkeypatch: pytest.MonkeyPatch) -> None:
    how: dict[str, Any] = {"hidden_size": 40, "batch_size": 32, "steps": 4, "refit": False}
    found = []
    for threads in (1, 2):
        monkeypatch.setattr(kernel, "threads", lambda *_, threads=threads: threads)
        found.append(train(task, TASKS[task][0](100), **how | {"threads": threads}))
    assert same(*found)


@pytest.mark.parametrize("task", TASKS)
def test_it_learns_and_reports_its_metrics(task: str) -> None:
    make, _ = TASKS[task]
    events: list[dict[str, Any]] = []
    how: dict[str, Any] = {"steps": 300, "dropout": 0.0, "hidden_size": 16, "word_dropout": 0.0}
    model = train(task, make(400), watch=events.append, **how)
    predictor, fresh = open_labelled(model), make(200, seed=1)
    report = predictor.evaluate(fresh.sequences, fresh.targets)
    card = model.card
    if task == "regress":
        spread = float(np.std(fresh.targets))
        assert report.methods[0].rmse < 0.3 * spread
        assert card["held_out"]["rmse"] < 0.3 * spread
    else:
        assert report.accuracy > 0.95
        assert card["held_out"]["accuracy"] > 0.95
    start, end = events[0], events[-1]
    assert (start["event"], end["event"]) == ("start", "end")
    assert start["data"]["sequences"] == 360
    assert start["held_out"]["sequences"] == card["held_out"]["sequences"] == 40
    assert card["refit"]
    assert card["data"]["sequences"] == 400
    assert card["split"] == (
        "3-fold cross-validation chooses when training ends; "
        "40 sequences, drawn by the seed, are the test set"
    )
    assert card["validation"]["folds"] == 3
    assert card["validation"]["sequences"] == 360
    assert len(card["baselines"]) == (2 if task == "classify" else 3)
    assert {one["verdict"] for one in card["baselines"]} <= {"better", "worse", "no difference"}
    assert card["baselines"][0]["verdict"] == "better"


def rows_of(count: int) -> Sequences:
    return Sequences.of([f"row {row}" for row in range(count)])


def test_the_split_is_stratified_by_class() -> None:
    targets = ["a"] * 100 + ["b"] * 10 + ["c"] * 2 + ["d"]
    data = LabelledSequences(rows_of(len(targets)), targets)
    training, held = data.split(0.1, seed=0)
    assert sorted(training + held) == [*range(len(targets))]
    assert Counter(targets[row] for row in held) == {"a": 10, "b": 1, "c": 1}
    assert data.split(0.1, seed=0) == (training, held)
    assert data.split(0.1, seed=1) != (training, held)
    regress = LabelledSequences(data.sequences, [float(row) for row in range(len(targets))])
    assert len(regress.of_task("regress").split(0.2, seed=0)[1]) == round(0.2 * len(targets))


def test_enough_data_gives_a_validation_and_a_test_set() -> None:
    data = LabelledSequences(rows_of(1200), ["a", "b"] * 600)
    run = run_of(data=data)
    assert run.stages.kinds == ("measured", "refit")
    parts = [run.split.training, run.split.validation, run.split.test]
    assert [len(part) for part in parts if part is not None] == [1080, 60, 60]
    texts_of = [set(part.sequences.items) for part in parts if part is not None]
    assert len(set.union(*texts_of)) == 1200
    for part in parts[1:]:
        assert part is not None
        assert Counter(part.targets) == {"a": 30, "b": 30}
    assert run.split.description == (
        "60 sequences, drawn by the seed, choose when training ends; "
        "60 sequences, drawn by the seed, are the test set"
    )


def test_little_data_gives_cross_validation() -> None:
    run = run_of(data=LabelledSequences(rows_of(100), ["a", "b"] * 50))
    assert run.stages.kinds == ("fold", "fold", "fold", "measured", "refit")
    assert run.split.validation is None
    assert run.split.test is not None
    folds = [row for fold in run.split.folds for row in fold]
    assert sorted(folds) == [*range(90)]
    # a fold is measured on rows that it does not train on, and no fold sees the test set
    for earlier in range(3):
        objective, _ = stage_of(run, [{"length": 24}] * earlier)
        assert objective.held is not None
        assert len(objective.examples) + len(objective.held) == 90
    objective, plan = stage_of(run, [{"length": 24, "best": best} for best in (6, 12, 24)])
    assert objective.held is None
    # a network on all three folds takes half as many steps more as one on two of them
    assert (plan.steps, plan.stop) == (36, 18)


def test_below_twenty_sequences_nothing_is_held_out() -> None:
    data = LabelledSequences(rows_of(19), ["a", "b"] * 9 + ["a"])
    model = train(data=data)
    assert model.card["held_out"] is None
    assert model.card["baselines"] == []
    assert not model.card["refit"]
    assert model.card["data"]["sequences"] == 19
    assert "nothing is held out, because there are too few" in model.card["split"]
    assert (
        train(data=LabelledSequences(rows_of(20), ["a", "b"] * 10)).card["held_out"]["sequences"]
        == 2
    )


@pytest.mark.parametrize(
    ("task", "given", "targets", "words"),
    [
        ("classify", ["some text"], ["a"], "the training set is one sample: got one sequence"),
        ("regress", [[1.0]], [1.0], "the training set is one sample: got one sequence"),
        ("tag", [["word"]], [["O"]], "the training set is one sample: got one sequence"),
        (
            "classify",
            ["one", "two"],
            ["a", "a"],
            "nothing to tell apart in one class: got only 'a'",
        ),
        ("tag", [["word"], ["other"]], [["O"], ["O"]], "in one class: got only 'O'"),
    ],
)
def test_one_sequence_or_one_class_is_an_error(
    task: str, given: Any, targets: list[Any], words: str
) -> None:
    with pytest.raises(DataError) as told:
        train(task, LabelledSequences(Sequences.of(given), targets))
    assert words in str(told.value)


def test_labels_that_occur_once_are_an_error_or_a_warning() -> None:
    texts = [f"text number {row}" for row in range(40)]
    with pytest.raises(DataError, match="these are no classes: got 40 of 40 labels occur only"):
        run_of(data=LabelledSequences(Sequences.of(texts), texts))
    tags = [[f"{row} a", f"{row} b"] for row in range(40)]
    with pytest.raises(DataError, match="these are no classes: got 80 of 80 labels occur only"):
        run_of("tag", LabelledSequences(Sequences.of([["a", "b"]] * 40), tags))
    half = [text if row < 25 else f"label {row % 2}" for row, text in enumerate(texts)]
    found = run_of(data=LabelledSequences(Sequences.of(texts), half)).split.warnings
    assert any(one.startswith("25 of 40 labels occur only once") for one in found)
    usual = run_of(data=LabelledSequences(Sequences.of(texts), ["a", "b"] * 20)).split.warnings
    assert not any("occur only once" in one for one in usual)
    # the first batch of a partial fit may hold every class only once
    options = ClassifierOptions(**(SMALL | {"steps": 2}))
    batch = LabelledSequences(Sequences.of(texts), texts)
    inputs = RunInputs(labels=Labels.of(texts))
    assert train_labelled("classify", batch, options, Run(), inputs).model.card


def test_copies_stay_in_one_set_with_a_warning() -> None:
    texts_given = [f"row {row % 100}" for row in range(150)] + [f"text {row}" for row in range(150)]
    run = run_of(data=LabelledSequences(Sequences.of(texts_given), ["a", "b"] * 150))
    assert run.split.test is not None
    known = set(run.split.training.sequences.items)
    assert not known & set(run.split.test.sequences.items)
    for fold in run.split.folds:
        inside = {run.split.training.sequences.items[row] for row in fold}
        others = {
            text for row, text in enumerate(run.split.training.sequences.items) if row not in fold
        }
        assert not inside & others
    assert "50 of 300 sequences repeat another one" in run.split.warnings[0]
    twice = LabelledSequences(
        Sequences.of([f"row {row}" for row in range(50)] * 2), ["a", "b"] * 50
    )
    assert "is a file given twice?" in run_of(data=twice).split.warnings[0]
    assert run_of(data=LabelledSequences(rows_of(100), ["a", "b"] * 50)).split.warnings == ()


def test_shared_sequences_of_the_sets_give_a_warning() -> None:
    data = LabelledSequences(rows_of(200), ["a", "b"] * 100)
    warnings = run_of(data=data, valid=data).start_facts()["warnings"]
    assert [line.partition(" of ")[0] for line in warnings] == ["all 100 sequences"] * 2
    assert "its figures flatter" in warnings[0]
    some = run_of(data=data, test=data.take(range(50))).start_facts()["warnings"]
    assert "all 50 sequences of the test set are in the training set too" in some[0]
    other = LabelledSequences(Sequences.of([f"other {row}" for row in range(60)]), ["a", "b"] * 30)
    assert run_of(data=data, valid=other, test=other).start_facts()["warnings"] == [
        "all 60 sequences of the test set are in the validation set too: its figures flatter"
    ]


def test_a_test_set_unlike_the_training_set_gives_a_warning() -> None:
    data = LabelledSequences(
        Sequences.of([f"a b c {row % 7}" for row in range(300)]), ["a", "b"] * 150
    )
    other = Sequences.of([f"unheard x{row} y z z z z z z z" for row in range(120)])
    warnings = run_of(data=data, test=LabelledSequences(other, ["a"] * 120)).start_facts()[
        "warnings"
    ]
    (line,) = [line for line in warnings if "unlike" in line]
    assert line.startswith("the test set is unlike the training set: ")
    for part in (
        "steps on average against",
        "% unknown tokens against 0 %",
        "label a is 100 % of it",
    ):
        assert part in line
    alike = LabelledSequences(
        Sequences.of([f"a b c {row} d" for row in range(400)]), ["a", "b"] * 200
    )
    assert not any("unlike" in line for line in run_of(data=alike).start_facts()["warnings"])


def test_validation_and_test_sets_of_the_user() -> None:
    model = train(valid=texts(30, seed=5))
    assert model.card["split"] == (
        "3-fold cross-validation chooses when training ends; 30 sequences, as given, are the test set"
    )
    assert model.card["held_out"]["sequences"] == 30
    assert model.card["data"]["sequences"] == 60
    assert not model.card["refit"]  # all sequences were trained on already
    run = run_of(valid=texts(200, seed=5))
    assert run.stages.kinds == ("measured",)
    assert run.split.validation is not None
    assert run.split.test is not None
    assert len(run.split.validation) + len(run.split.test) == 200
    both = run_of(valid=texts(30, seed=5), test=texts(25, seed=6))
    assert both.split.validation is not None
    assert both.split.test is not None
    assert (len(both.split.validation), len(both.split.test)) == (30, 25)
    own = run_of(
        data=LabelledSequences(rows_of(600), ["a", "b"] * 300),
        test=LabelledSequences(rows_of(25), ["a"] * 25),
    )
    assert own.split.validation is not None
    assert (len(own.split.training), len(own.split.validation)) == (540, 60)


def test_the_test_set_has_no_influence_on_training() -> None:
    """Another test set gives the same network and the same temperature to the last bit."""
    data = LabelledSequences(rows_of(80), ["a", "b"] * 40)
    valid = LabelledSequences(rows_of(60), ["a", "b"] * 30)
    one, two = (
        train(data=data, valid=valid, test=LabelledSequences(rows_of(30), labels))
        for labels in (["a", "b"] * 15, ["b", "a"] * 15)
    )
    assert same(one, two)
    assert one.card["temperature"] == two.card["temperature"]
    assert one.card["validation"] == two.card["validation"]
    assert one.card["held_out"] != two.card["held_out"]


def test_a_label_of_the_test_set_alone_counts_as_wrong() -> None:
    valid = texts(30, seed=5)
    other = LabelledSequences(valid.sequences, ["maybe"] * 15 + [*valid.targets[15:]])
    assert train(valid=other).card["held_out"]["accuracy"] <= 0.5
    nothing = LabelledSequences(valid.sequences, ["maybe"] * 30)
    with pytest.raises(DataError, match="have no label of those trained on"):
        train(valid=nothing)


@pytest.mark.parametrize("task", ["classify", "tag"])
def test_a_label_outside_the_expected_ones_is_an_error(task: str) -> None:
    with pytest.raises(
        DataError, match=r"a label that is not among the expected ones: got '(yes|up)'"
    ) as told:
        train(task, labels=Labels.of(["no", "O", "down"]))
    assert "expected one of O, down, no" in str(told.value)


def test_expected_labels_may_be_missing_in_the_data() -> None:
    model = train(labels=Labels.of(["maybe", "no", "yes"]))
    assert model.codec.labels.values == ("maybe", "no", "yes")


def test_the_codec_is_fitted_on_the_training_set_only() -> None:
    data = numbers()
    run = run_of("regress", data)
    training = run.split.training
    rows = np.concatenate(training.sequences.items)
    assert len(training) == 54
    assert run.codec.scaler is not None
    assert run.codec.target is not None
    np.testing.assert_allclose(run.codec.scaler.mean, rows.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(run.codec.target.mean, np.mean(training.targets), rtol=1e-12)
    np.testing.assert_allclose(run.codec.target.scale, np.std(training.targets), rtol=1e-12)
    words = LabelledSequences(
        Sequences.of([f"common word{row} word{row}" for row in range(20)]), ["a", "b"] * 10
    )
    run = run_of("classify", words)
    assert run.split.test is not None
    held = {word for text in run.split.test.sequences.items for word in text.split()[1:]}
    assert held
    assert run.codec.tokens is not None
    assert not held & {*run.codec.tokens.tokens}


def test_balanced_class_weights() -> None:
    data = LabelledSequences(Sequences.of(["x"] * 8), ["a"] * 6 + ["b"] * 2)
    run = run_of(data=data, class_weight="balanced", valid=data)
    objective, _ = stage_of(run, [])
    np.testing.assert_allclose(objective.weights, [8 / 12, 8 / 4], rtol=1e-6)
    # the mean weight of all sequences is 1
    assert (6 * objective.weights[0] + 2 * objective.weights[1]).item() == pytest.approx(8)
    objective, _ = stage_of(run_of(data=data, valid=data), [])
    assert objective.weights.tolist() == [1.0, 1.0]


def loss_by_hand(objective: LabelledObjective, smoothing: float) -> tuple[float, int]:
    """Return the summed loss of the first batch, one sequence at a time, and the number of targets."""
    objective.network.eval()
    total, count = 0.0, 0
    for place in objective.batches.of(0)[0].tolist():
        with torch.no_grad():
            logits = objective.network(objective.examples.encoded.batch([place]))
        wanted = torch.from_numpy(objective.examples.targets[place])
        for one in logits:
            if objective.config.task == "regress":
                total += float((one[:, 0] - wanted).square().sum()) / len(logits)
                continue
            for row, label in zip(
                functional.log_softmax(one, dim=-1), wanted.tolist(), strict=True
            ):
                share = torch.full_like(row, smoothing / len(row))
                share[label] += 1 - smoothing
                weights = objective.weights * share
                total -= float((weights * row).sum()) / len(logits)
        count += len(wanted)
    return total, count


@pytest.mark.parametrize("task", TASKS)
def test_the_loss_equals_one_computed_by_hand(task: str) -> None:
    how: dict[str, Any] = {"members": 2}
    how |= {"label_smoothing": 0.2, "class_weight": "balanced"} if task == "classify" else {}
    objective, _ = stage_of(run_of(task, **how), [])
    expected, count = loss_by_hand(objective, objective.plan.label_smoothing)
    got, counted = objective.loss(0, 0)
    assert counted == count
    # rounding error of sums of about a hundred float32 numbers
    assert got.item() == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("task", TASKS)
def test_processes_share_a_batch(task: str) -> None:
    run = run_of(task)
    objective, _ = stage_of(run, [])
    objective.network.eval()
    whole, count = objective.loss(0, 0)
    for processes in (2, 20):
        parts = []
        for rank in range(processes):
            objective.group = Group(rank, processes)
            total, counted = objective.loss(0, 0)
            assert counted == count
            parts.append(total.item())
            objective.network.zero_grad()
            total.backward()  # must work for a process without sequences too
        # the terms are the same but are added in another order
        assert sum(parts) == pytest.approx(whole.item(), rel=1e-5)


def test_the_temperature_calibrates_the_network_alone() -> None:
    """All sequences are equal; 90 % have the label "a" in training, and 60 % in the validation set."""
    data = LabelledSequences(Sequences.of(["x"] * 40), ["a"] * 36 + ["b"] * 4)
    valid = LabelledSequences(Sequences.of(["x"] * 10), ["a"] * 6 + ["b"] * 4)
    model = train(data=data, valid=valid, test=valid, steps=60, label_smoothing=0.0, wide=False)
    shares = open_labelled(model).predict_proba(["x"])
    assert model.card["temperature"] > 2
    # the logits are float32, and the temperature is found to 1e-12
    np.testing.assert_allclose(shares, [[0.6, 0.4]], atol=1e-6)
    assert model.card["held_out"]["held_out_loss"] == pytest.approx(
        -0.6 * math.log(0.6) - 0.4 * math.log(0.4), abs=1e-6
    )


def test_the_factors_calibrate_network_and_wide_part_together() -> None:
    """The word tells the label in 90 % of the training texts, and in 75 % of those to validate."""
    data, valid = (
        LabelledSequences(
            Sequences.of(["x"] * count + ["y"] * count),
            ["a"] * right + ["b"] * count + ["a"] * (count - right),
        )
        for count, right in ((40, 36), (100, 75))
    )
    how: dict[str, Any] = {"steps": 120, "label_smoothing": 0.0, "refit": False}
    model = train(data=data, valid=valid, test=valid, **how)
    assert model.card["wide"]["factor"] > 0
    shares = open_labelled(model).predict_proba(["x", "y"])
    # the prior of the factors, and the small bias of the network, leave an error of .002
    np.testing.assert_allclose(shares, [[0.75, 0.25], [0.25, 0.75]], atol=0.005)
    entropy = -0.75 * math.log(0.75) - 0.25 * math.log(0.25)
    assert model.card["held_out"]["held_out_loss"] == pytest.approx(entropy, abs=1e-3)


@pytest.mark.parametrize("task", ["classify", "tag"])
def test_probabilities_are_calibrated_on_the_validation_set(task: str) -> None:
    valid = TASKS[task][0](200, seed=3)
    flip = np.random.default_rng(0)
    if task == "classify":
        noisy = [
            ("no", "yes")[flip.integers(2)] if flip.random() < 0.3 else one for one in valid.targets
        ]
    else:
        noisy = [["O" if flip.random() < 0.3 else tag for tag in tags] for tags in valid.targets]
    valid = LabelledSequences(valid.sequences, noisy)
    model = train(task, valid=valid, test=TASKS[task][0](20, seed=4), steps=100)
    predictor = open_labelled(model)
    shares = predictor.predict_proba(valid.sequences)
    logits = np.log(shares if task == "classify" else np.concatenate(shares))
    truth = model.codec.labels.encode(valid.of_task(task).flat_targets)
    assert model.card["temperature"] != 1.0
    assert fit_temperature(logits, truth) == pytest.approx(1.0, abs=1e-3)


@pytest.mark.parametrize("metric", ["loss", "accuracy", "macro_f1", "macro_recall"])
def test_the_chosen_metric_selects_the_best_network(metric: str) -> None:
    rare = texts(200)
    keep = [row for row, one in enumerate(rare.targets) if one == "no" or row % 4 == 0]
    events: list[dict[str, Any]] = []
    how: dict[str, Any] = {
        "metric": metric,
        "evaluations": 12,
        "steps": 120,
        "patience": 100,
        "learning_rate": 0.05,
    }
    parts: dict[str, Any] = {"valid": texts(60, seed=1), "test": texts(60, seed=2)}
    model = train(data=rare.take(keep), watch=events.append, **parts, **how)
    measured = [event for event in events if event["event"] == "evaluation"]
    sign = 1 if metric == "loss" else -1
    key = "held_out_loss" if metric == "loss" else metric
    best = min(measured, key=lambda event: (sign * event[key], event["held_out_loss"]))
    assert model.card["training"]["best_step"] == best["step"]
    assert len({event[key] for event in measured}) > 1
    if metric != "loss":  # the temperature changes the loss after training
        assert model.card["validation"][metric] == best[metric]


def test_it_stops_early() -> None:
    events: list[dict[str, Any]] = []
    how: dict[str, Any] = {
        "steps": 4000,
        "evaluations": 400,
        "patience": 3,
        "refit": False,
        "learning_rate": 0.1,
    }
    model = train(valid=texts(seed=1), test=texts(seed=2), watch=events.append, **how)
    assert model.card["training"]["stopped"] == "early"
    assert not model.card["training"]["improving"]
    measured = [event["step"] for event in events if event["event"] == "evaluation"]
    assert measured.index(model.card["training"]["best_step"]) == len(measured) - 4


@pytest.mark.parametrize("task", TASKS)
def test_a_refit_trains_for_as_many_epochs_as_were_best(task: str) -> None:
    events: list[dict[str, Any]] = []
    model = train(task, refit=True, watch=events.append)
    stages = [event for event in events if event["event"] == "stage"]
    assert [event["next"] for event in stages] == ["fold", "fold", "measured", "refit"]
    bests: list[int] = []
    fold: list[dict[str, Any]] = []
    for event in events:
        if event["event"] == "evaluation":
            fold.append(event)
        elif event["event"] == "stage" and len(bests) < 3:
            bests.append(min(fold, key=lambda one: one["held_out_loss"])["step"])
            fold = []
    # a fold trains on 36 sequences, the measured network on 54, the refit on all 60
    assert stages[2]["steps"] == round(float(np.median(bests)) * 54 / 36)
    assert model.card["refit"]
    assert model.card["training"]["steps"] == stages[3]["steps"]
    assert model.card["training"]["steps"] == round(stages[2]["steps"] * 60 / 54)
    assert model.card["data"]["sequences"] == 60
    # the reported metrics were measured before the network was trained on the test set
    alone = train(task, refit=False)
    assert model.card["held_out"] == alone.card["held_out"]
    assert not same(model, alone)


def test_a_time_budget_covers_all_stages() -> None:
    run = run_of(time=10, steps=None, refit=True)
    _, first = stage_of(run, [])
    assert first.time == pytest.approx(10 * 36 / (3 * 36 + 54 + 60))
    # later folds take the same number of steps
    assert stage_of(run, [{"length": 7}])[1].steps == 7
    valid: dict[str, Any] = {"valid": texts(60, seed=1), "test": texts(20, seed=2)}
    _, alone = stage_of(run_of(time=10, steps=None, **valid), [])
    assert alone.time == 10


def test_without_a_budget_it_trains_until_it_no_longer_improves() -> None:
    events: list[dict[str, Any]] = []
    parts: dict[str, Any] = {"valid": texts(60, seed=1), "test": texts(60, seed=2)}
    how: dict[str, Any] = {
        "steps": None,
        "patience": 1,
        "hidden_size": 2,
        "dropout": 0.0,
        "word_dropout": 0.0,
    }
    model = train(watch=events.append, **parts, **how)
    # the limit is announced before the first step; with the plain models a run takes three minutes
    assert events[0]["plan"]["limit"] == 150
    assert model.card["training"]["stopped"] == "early"
    assert not model.card["training"]["improving"]
    measured = [event["step"] for event in events if event["event"] == "evaluation"]
    assert measured[:2] == [50, 100]
    assert model.card["training"]["steps"] == measured[-1]


def test_a_run_that_still_improves_says_so() -> None:
    model = train(valid=texts(60, seed=1), test=texts(60, seed=2), learning_rate=1e-4)
    assert model.card["training"]["best_step"] == model.card["training"]["steps"] == 24
    assert model.card["training"]["improving"]


class Interrupt:
    """Send the interrupt of Ctrl-C in the batch with the number `at`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls, self.at = 0, -1
        right = LabelledObjective.loss

        def loss(objective: LabelledObjective, *arguments: Any) -> Any:
            self.calls += 1
            if self.calls == self.at:
                signal.raise_signal(signal.SIGINT)
            return right(objective, *arguments)

        monkeypatch.setattr(LabelledObjective, "loss", loss)


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("at", [5, 33, 90, 125])
def test_a_resumed_run_gives_the_same_bits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, task: str, at: int
) -> None:
    how: dict[str, Any] = {
        "dropout": 0.3,
        "word_dropout": 0.1,
        "refit": True,
        "patience": 100,
        "members": 2,
    }
    interrupt = Interrupt(monkeypatch)
    whole = train(task, **how)
    assert interrupt.calls > 125, "the last stage was not reached"
    interrupt.calls, interrupt.at = 0, at
    output = tmp_path / "m.safetensors"
    part = train(task, output=output, **how)
    assert part.card["training"]["stopped"] == "interrupted"
    assert same(load(output).model, part)
    interrupt.at = -1
    events: list[dict[str, Any]] = []
    rest = train(task, output=output, resume=True, watch=events.append, **how)
    assert any(event["event"] == "resume" for event in events)
    assert same(rest, whole)
    kept = ("created", "training")
    assert {k: v for k, v in rest.card.items() if k not in kept} == {
        k: v for k, v in whole.card.items() if k not in kept
    }
    assert same(load(output).model, whole)
    assert not output.with_suffix(".checkpoint").exists()


def test_resuming_with_other_data_or_options_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output, interrupt = tmp_path / "m.safetensors", Interrupt(monkeypatch)
    interrupt.at = 10
    train(output=output)
    data = texts()
    flipped = ["yes" if one == "no" else "no" for one in data.targets]
    changed = Sequences.of([*data.sequences.items[:-1], "quite another"])
    for other in (
        LabelledSequences(data.sequences, flipped),
        LabelledSequences(changed, data.targets),
    ):
        with pytest.raises(ModelFileError, match=r"--resume with another (test )?sequences"):
            train(data=other, output=output, resume=True)
    with pytest.raises(ModelFileError, match="another hidden_size than the interrupted run: got 7"):
        train(output=output, resume=True, hidden_size=7)
    train(output=output, resume=True)


def test_the_digest_covers_sequences_and_labels() -> None:
    data = texts()
    digests = {
        data.digest(),
        data.take(range(59)).digest(),
        data.take([1, 0, *range(2, 60)]).digest(),
        LabelledSequences(data.sequences, ["no", *data.targets[1:-1], "maybe"]).digest(),
        tagged().digest(),
    }
    assert len(digests) == 5
    assert texts().digest() == data.digest()
    drawn = LabelledSequences(data.sequences, [*np.array(data.targets)])
    assert drawn.digest() == data.digest()


SCRIPT = """
import sys
from pathlib import Path
from test_train import ALIKE, train
train(sys.argv[1], output=Path(sys.argv[2]), **ALIKE)
"""
# Batches that the processes share unequally; each process draws its own dropout.
ALIKE: dict[str, Any] = {
    "dropout": 0.0,
    "word_dropout": 0.0,
    "refit": True,
    "batch_size": 7,
    "steps": 16,
}
# Gradients are summed in another order; the first steps of Adam, divided by small moments, magnify that.
TOLERANCE = 2e-3


def test_two_processes_train_the_same_network_as_one(tmp_path: Path) -> None:
    script, output = tmp_path / "train.py", tmp_path / "m.safetensors"
    script.write_text(SCRIPT, encoding="utf-8")
    done = subprocess.run(
        [
            *(
                sys.executable,
                "-m",
                "torch.distributed.run",
                "--standalone",
                "--nproc-per-node",
                "2",
            ),
            *(str(script), "classify", str(output)),
        ],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ
        | {
            "PYTHONPATH": os.pathsep.join(
                [*map(str, Path(__file__).parents[:2]), os.environ.get("PYTHONPATH", "")]
            )
        },
    )
    assert done.returncode == 0, done.stderr
    one, two = train(**ALIKE), load(output).model
    assert two.card["refit"]  # each process draws the initial weights of the refit by itself
    assert two.card["identity"]["processes"] == 2
    for name, array in one.arrays.items():
        np.testing.assert_allclose(two.arrays[name], array, atol=TOLERANCE, err_msg=name)


def test_too_many_arrays_are_an_error_before_training() -> None:
    events: list[dict[str, Any]] = []
    with pytest.raises(
        OptionError, match=r"members and num_layers: got \d+ parameters; expected at most"
    ):
        train(members=32, num_layers=3, watch=events.append)
    assert not events


@pytest.mark.parametrize(
    ("given", "tags", "words"),
    [
        (
            [["a", "b"]],
            [["O"]],
            "sequence 0: got 2 steps, 1 tags; expected at least one step, and a tag for each",
        ),
        ([["a"], []], [["O"], []], "sequence 1: got 0 steps, 0 tags"),
        (["a b", "c"], [["O", "O"], ["O", "O"]], "sequence 1: got 1 steps, 2 tags"),
        ([["a"]], ["O"], "sequence 0: got 1 steps, one text"),
        ([[1.0, 2.0]], [["O"]], "sequence 0: got 2 steps, 1 tags"),
    ],
)
def test_a_tagger_needs_one_tag_for_each_step(given: Any, tags: Any, words: str) -> None:
    with pytest.raises(DataError) as caught:
        train("tag", LabelledSequences(Sequences.of(given), tags))
    assert words in str(caught.value)


def test_texts_are_split_at_white_space_for_tagging() -> None:
    data = tagged()
    lines = LabelledSequences(
        Sequences.of([" ".join(one) for one in data.sequences.items]), data.targets
    )
    assert same(train("tag", lines), train("tag", data))


@pytest.mark.parametrize(
    ("task", "targets", "words"),
    [
        ("classify", [0.5] * 60, "Unknown label type: continuous: got 0.5"),
        ("classify", ["a"] * 59 + [None], "Input y contains NaN: got None in row 59"),
        ("regress", ["a"] * 60, "targets: got could not convert string to float"),
        ("regress", [1.0] * 59 + [math.nan], "Input y contains NaN or infinity"),
        ("regress", [[1.0]] * 60, "Input y contains NaN or infinity; expected one finite number"),
        ("classify", ["a"] * 59, "sequences and their labels: got 60 and 59"),
    ],
)
def test_unusable_targets_are_errors(task: str, targets: list[Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        train(task, LabelledSequences(texts().sequences, targets))
    assert words in str(caught.value).replace(": expected", "; expected")


def test_texts_without_a_word_train() -> None:
    empty = LabelledSequences(Sequences.of([""] * 20), ["a"] * 15 + ["b"] * 5)
    shares = open_labelled(train(data=empty)).predict_proba(["", "other"])
    assert np.isfinite(shares).all()


def test_entity_f1_selects_and_is_compared() -> None:
    data = tagged(90)
    marks = {"up": "B-up", "down": "I-down", "O": "O"}
    tags = LabelledSequences(data.sequences, [[marks[tag] for tag in one] for one in data.targets])
    events: list[dict[str, Any]] = []
    parts: dict[str, Any] = {"valid": tags.take(range(60, 80)), "test": tags.take(range(80, 90))}
    model = train("tag", tags.take(range(60)), watch=events.append, metric="entity_f1", **parts)
    measured = [event for event in events if event["event"] == "evaluation"]
    assert model.card["validation"]["entity_f1"] == max(event["entity_f1"] for event in measured)
    assert events[0]["scheme"] == "IOB2"
    assert model.card["metric"] == "entity_f1"
    assert all("entity_f1" in one for one in model.card["baselines"])
    with pytest.raises(OptionError, match="entity_f1 needs tags that mark entities: got"):
        train("tag", metric="entity_f1")


def test_a_constant_target_is_predicted() -> None:
    data = LabelledSequences(numbers().sequences, [7.0] * 60)
    answers = open_labelled(train("regress", data, steps=200)).predict(numbers().sequences)
    np.testing.assert_allclose(answers, 7.0, atol=0.1)


def test_few_sequences_of_numbers_train_for_a_fixed_number_of_steps() -> None:
    draw = np.random.default_rng(0)
    sequences = [draw.normal(size=(4, 1)) + row % 2 for row in range(40)]
    data = LabelledSequences(Sequences.of(sequences), [row % 2 for row in range(40)])
    plan = run_of(data=data, steps=None).plan
    assert (plan.steps, plan.epochs, plan.limit) == (FEW_STEPS, None, None)
    timed = run_of(data=data, time=60, steps=None)
    assert (timed.plan.steps, timed.plan.time) == (FEW_STEPS, 60)
    schedules = [timed.stages.schedule(({"length": FEW_STEPS},) * fold) for fold in (0, 1)]
    assert [schedule.evaluations for schedule in schedules] == [1, 1]
    # a budget of the user replaces the default
    assert run_of(data=data, epochs=3, steps=None).plan.steps is None


def test_without_a_wide_part_the_answers_of_a_regression_have_no_temperature() -> None:
    assert train("regress", numbers(), steps=2, wide=False).card["temperature"] == 1.0


def test_words_start_from_the_vectors_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "vectors.txt"
    path.write_text("good 1 2 -3 0\nabsent 1 1 1 1\n", encoding="utf-8")
    how: dict[str, Any] = {"vectors": str(path), "steps": 1, "learning_rate": 1e-9}
    model = train(embedding_size=None, **how)
    assert model.config.embedding_size == 4
    number = model.codec.vocabulary.tokens.index("good")
    start = model.arrays["members.0.embedding.weight"][number]
    # in the direction of the file, on the scale of the random embeddings
    np.testing.assert_allclose(
        start / np.linalg.norm(start), np.array([1, 2, -3, 0]) / 14**0.5, atol=1e-6
    )
    assert np.std(start) == pytest.approx(0.1, rel=1e-5)
    with pytest.raises(OptionError, match=r"embedding_size: got 5; expected 4, as .*txt has"):
        train(embedding_size=5, **how)
    with pytest.raises(OptionError, match="vectors: got a network that reads characters"):
        train(level="char", **how)
