from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from elman.errors import DataError, OptionError, ShapeError
from elman.labels.confusion import (
    METRICS,
    BaselineFigures,
    TrueTags,
    class_figures,
    confusion_table,
    label_figures,
    metric_of_table,
)
from elman.labels.metrics import UNSEEN, classification

K = 4
# A metric is a mean of at most K quotients of whole numbers.
ROUNDING = 1e-14

pairs = st.lists(st.tuples(st.integers(0, K - 1), st.integers(0, K - 1)), min_size=1, max_size=40)


@pytest.mark.slow
@given(pairs)
def test_metrics_agree_with_scikit_learn(both: list[tuple[int, int]]) -> None:
    truth, answers = map(list, zip(*both, strict=True))
    table = confusion_table(truth, answers, K)
    assert table.tolist() == oracle.confusion_matrix(truth, answers, labels=range(K)).tolist()
    precision, recall, f1, support = oracle.precision_recall_fscore_support(
        truth, answers, labels=range(K), zero_division=0
    )
    found = class_figures(table)
    assert found.precision == pytest.approx(precision, abs=ROUNDING)
    assert found.recall == pytest.approx(recall, abs=ROUNDING)
    assert found.f1 == pytest.approx(f1, abs=ROUNDING)
    assert found.support.tolist() == support.tolist()
    report = classification(truth, answers, list("abcd"))
    there = sorted(set(truth))
    assert report.accuracy == pytest.approx(oracle.accuracy_score(truth, answers), abs=ROUNDING)
    assert report.macro_f1 == pytest.approx(
        oracle.f1_score(truth, answers, average="macro", zero_division=0), abs=ROUNDING
    )
    assert report.macro_recall == pytest.approx(
        oracle.recall_score(truth, answers, labels=there, average="macro"), abs=ROUNDING
    )


def test_a_label_not_in_training_is_a_class_that_is_always_wrong() -> None:
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.6, 0.4]]
    report = classification([0, 1, -1, -1], probabilities, ["no", "yes"])
    assert report.labels == ("no", "yes", UNSEEN)
    assert report.confusion == ((1, 0, 0), (0, 1, 0), (2, 0, 0))
    assert report.accuracy == 0.5
    assert report.macro_recall == pytest.approx(2 / 3)
    assert report.macro_f1 == pytest.approx((0.5 + 1 + 0) / 3)
    # the log loss counts only labels that the network knows
    assert report.log_loss == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2)
    # each label that was not in training is a class of its own, as in scikit-learn
    two = classification([0, 1, -1, -5], probabilities, ["no", "yes"])
    assert two.labels == report.labels
    truth, answers = ["no", "yes", "maybe", "never"], ["no", "yes", "no", "no"]
    assert two.macro_f1 == pytest.approx(
        oracle.f1_score(truth, answers, average="macro", zero_division=0)
    )
    assert two.macro_recall == pytest.approx(
        oracle.recall_score(truth, answers, average="macro", zero_division=0)
    )
    assert two.to_dict()["macro_f1"] == two.macro_f1
    assert label_figures([0, 1, -1, -5], np.array([0, 1, 0, 0]))["macro_f1"] == two.macro_f1
    only = classification([-1], [[0.5, 0.5]], ["no", "yes"])
    assert (only.accuracy, only.macro_f1, only.macro_recall, only.log_loss) == (0.0, 0.0, 0.0, None)


def test_one_class_only() -> None:
    report = classification([0, 0], [[1.0], [1.0]], ["all"])
    assert [report.accuracy, report.macro_f1, report.macro_recall] == [1.0, 1.0, 1.0]
    assert (report.log_loss, report.calibration_error) == (0.0, 0.0)
    # of two known labels one is true: recall covers that one, F1 also the label of the wrong answer
    report = classification([0, 0], [0, 1], ["a", "b"])
    assert report.macro_recall == 0.5
    assert report.macro_f1 == pytest.approx(1 / 3)


def test_no_class_and_no_answer() -> None:
    empty = np.zeros((3, 3), np.int64)
    assert [metric_of_table(metric, empty) for metric in METRICS] == [0.0, 0.0, 0.0]
    assert confusion_table([], [], 2).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError, match="nothing to compare"):
        classification([], np.zeros((0, 2)), ["a", "b"])


def test_arrays_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ShapeError, match=r"\(2,\), \(1,\)"):
        confusion_table([0, 1], [0], 2)
    for truth, answers in (([2], [0]), ([0], [2]), ([0], [-1])):
        with pytest.raises(DataError, match="below 2"):
            confusion_table(truth, answers, 2)
    with pytest.raises(ShapeError):
        classification([0, 1], [[0.5, 0.5]], ["a", "b"])
    with pytest.raises(DataError, match="not finite"):
        classification([0], [[np.nan, 0.5]], ["a", "b"])
    with pytest.raises(OptionError, match=r"metric: got f1; expected accuracy, macro_f1"):
        classification([0], [0], ["a"], metric="f1")


def plain(name: str, truth: list[int], answers: list[int], **how: Any) -> BaselineFigures:
    return BaselineFigures.of(name, truth, np.array(answers), **how)


def test_a_better_network_beats_the_baseline() -> None:
    truth = [0, 1] * 50
    right, half = truth, [0] * 100
    report = classification(truth, right, ["a", "b"], beside=[plain("a line", truth, half)])
    assert report.comparisons[0].verdict == "better"
    assert report.sentences == (
        "a line of the same training set has accuracy 0.5000: the network, with 1.0000, beats it by "
        "0.5000 (chance alone makes such a difference less than once in 2,000 test sets)",
    )
    worse = classification(truth, half, ["a", "b"], beside=[plain("a line", truth, right)])
    assert worse.comparisons[0].verdict == "worse"
    assert "DOES NOT BEAT IT: it is worse by 0.5000" in worse.sentences[0]


@pytest.mark.parametrize("metric", ["accuracy", "macro_f1", "macro_recall"])
def test_one_better_answer_is_no_significant_difference(metric: str) -> None:
    truth = [0, 1] * 436
    others = [1, *truth[1:]]
    report = classification(
        truth, truth, ["a", "b"], beside=[plain("a line", truth, others)], metric=metric
    )
    assert report.comparisons[0].p_value == 1.0
    assert "shows NO DIFFERENCE that this test set can tell from chance" in report.sentences[0]
    # a single sequence, for which one model is right and the other is wrong
    single = classification([0], [0], ["a", "b"], beside=[plain("a line", [0], [1])])
    assert single.comparisons[0].verdict == "no difference"


def test_without_the_baselines_answers_there_is_no_verdict() -> None:
    report = classification(
        [0, 1], [0, 1], ["a", "b"], beside=[BaselineFigures("a line", 0.5, 0.3, 0.5)]
    )
    assert report.comparisons[0].verdict == "no difference"
    assert "no test tells skill from chance" in report.sentences[0]


def test_steps_of_one_sequence_are_not_independent() -> None:
    # twenty answers are better, but all of them in one sequence, which may be chance
    truth, wrong = [[0] * 20, [0] * 20], [1] * 20 + [0] * 20
    flat = [tag for tags in truth for tag in tags]
    names = ["x", "y"]
    tags = [["x"] * 20, ["x"] * 20]
    one = classification(flat, flat, names, beside=[plain("a line", flat, wrong)], tags=tags)
    assert one.unit == "tokens"
    assert one.comparisons[0].verdict == "no difference"
    alone = classification(flat, flat, names, beside=[plain("a line", flat, wrong)])
    assert alone.comparisons[0].verdict == "better"


def test_tags_that_mark_entities_are_compared_by_entity() -> None:
    names = ["B-a", "I-a", "O"]
    sentence, tags = [0, 1, 2, 0], ["B-a", "I-a", "O", "B-a"]
    truth, true_tags = sentence * 12, [tags] * 12
    halves = [0, 2, 2, 0] * 12  # every second entity ends too early
    beside = [BaselineFigures.of("a line", truth, np.array(halves), TrueTags(true_tags, names))]
    report = classification(truth, truth, names, beside=beside, tags=true_tags)
    assert report.entities is not None
    assert (report.metric, report.entities.f1, report.entities.scheme) == ("entity_f1", 1.0, "IOB2")
    assert report.entities.types["a"].true == 24
    assert report.beside[0].entity_f1 == 0.5
    assert report.comparisons[0].verdict == "better"
    assert "has entity F1 0.5000: the network, with 1.0000, beats it" in report.sentences[0]
    assert "entities, IOB2    precision    recall        F1   support" in str(report)
    assert json.loads(json.dumps(report.to_dict()))["entities"]["types"]["a"]["right"] == 24
    with pytest.raises(OptionError, match="metric: got entity_f1; expected accuracy"):
        classification([0], [0], ["N"], tags=[["N"]], metric="entity_f1")


def test_the_report_prints_as_a_table() -> None:
    report = classification(
        [0, 1, 1, 1],
        [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]],
        ["no", "yes"],
        beside=[BaselineFigures("a line", 0.5, 0.5, 0.5)],
    )
    assert str(report).rpartition("\n")[0] == (
        "sequences                 4\n"
        "accuracy             0.7500\n"
        "macro F1             0.7333\n"
        "macro recall         0.8333\n"
        "log loss             0.5108  nats\n"
        "calibration error    0.3500\n"
        "\n"
        "label             precision    recall        F1   support\n"
        "no                   0.5000    1.0000    0.6667         1\n"
        "yes                  1.0000    0.6667    0.8000         3\n"
        "\n"
        "truth, answer →          no       yes\n"
        "no                        1         0\n"
        "yes                       1         2\n"
    )


def test_control_characters_in_labels_are_escaped() -> None:
    report = classification([0, 1], [0, 1], ["a\nb\x1b[31m", "x" * 10_000])
    assert "a\\nb\\x1b[31m" in str(report)
    assert max(map(len, str(report).splitlines())) < 80


def test_a_long_report_shows_the_worst_labels() -> None:
    truth = np.repeat(np.arange(30), np.arange(30, 0, -1))
    answers = truth.copy()
    answers[truth == 29] = 28  # the rarest is always missed
    answers[truth == 25] = 24
    text = str(classification(truth, answers, [f"label {k}" for k in range(30)]))
    assert "and 10 more, with fewer wrong answers" in text
    assert text.index("label 25") < text.index("label 29") < text.index("label 0")
    assert "label 20" not in text
    assert "answer →" not in text


def test_the_report_goes_into_json() -> None:
    report = classification(
        [0, 1, -1],
        [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]],
        ["no", "yes"],
        beside=[BaselineFigures("b", 0, 0, 0)],
    )
    form = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert form["labels"] == ["no", "yes", UNSEEN]
    assert form["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert form["macro_f1"] == report.macro_f1
    assert form["classes"]["support"] == [1, 1, 1]
    assert form["bins"][0]["answers"] == 1
    assert form["beside"][0]["name"] == "b"
    assert len(form["sentences"]) == 1


def test_a_report_draws_itself() -> None:
    report = classification([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["no", "yes"])
    assert report.plot().axes[0].get_xlabel() == "answer"
    assert report.plot(calibration=True).axes[0].get_xlabel() == "probability of the answer"
    with pytest.raises(OptionError, match="expected probabilities"):
        classification([0, 1], [0, 1], ["no", "yes"]).plot(calibration=True)


def test_the_report_says_if_all_have_one_label() -> None:
    words = "all sequences have one label: yes"
    assert words in str(classification([1, 1], [0, 1], ["no", "yes"]))
    assert words not in str(classification([0, 1], [0, 1], ["no", "yes"]))
    assert "of one label" not in str(classification([0, 0], [0, 0], ["no"]))
