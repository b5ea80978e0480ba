from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as oracle

from elman._errors import DataError, OptionError, ShapeError
from elman.metrics import Baseline, classification
from elman.metrics.classification import (
    METRICS,
    UNSEEN,
    baseline_verdict,
    class_figures,
    confusion_table,
)

K = 4
# A figure is a mean of at most K quotients of whole numbers.
ROUNDING = 1e-14

pairs = st.lists(st.tuples(st.integers(0, K - 1), st.integers(0, K - 1)), min_size=1, max_size=40)


@given(pairs)
def test_the_figures_are_those_of_scikit_learn(both):
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


def test_a_label_that_was_not_in_training_is_one_more_class_that_is_always_missed():
    probabilities = [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.6, 0.4]]
    report = classification([0, 1, -1, -5], probabilities, ["no", "yes"])
    assert report.labels == ("no", "yes", UNSEEN)
    assert report.confusion == ((1, 0, 0), (0, 1, 0), (2, 0, 0))
    assert report.accuracy == 0.5
    assert report.macro_recall == pytest.approx(2 / 3)
    assert report.macro_f1 == pytest.approx((0.5 + 1 + 0) / 3)
    # of those whose label the network knows
    assert report.log_loss == pytest.approx(-(np.log(0.9) + np.log(0.8)) / 2)
    only = classification([-1], [[0.5, 0.5]], ["no", "yes"])
    assert (only.accuracy, only.macro_f1, only.macro_recall, only.log_loss) == (0.0, 0.0, 0.0, None)


def test_one_class_only():
    report = classification([0, 0], [[1.0], [1.0]], ["all"])
    assert [report.accuracy, report.macro_f1, report.macro_recall] == [1.0, 1.0, 1.0]
    assert (report.log_loss, report.calibration_error) == (0.0, 0.0)
    # two are known, one occurs: recall is that of what occurs, F1 counts the wrong answer's class too
    report = classification([0, 0], [0, 1], ["a", "b"])
    assert (report.macro_recall, report.macro_f1) == (0.5, pytest.approx(1 / 3))


def test_no_class_and_no_answer():
    empty = np.zeros((3, 3), np.int64)
    assert [metric(empty) for metric in METRICS.values()] == [0.0, 0.0, 0.0]
    assert confusion_table([], [], 2).tolist() == [[0, 0], [0, 0]]
    with pytest.raises(DataError, match="nothing to compare"):
        classification([], np.zeros((0, 2)), ["a", "b"])


def test_what_does_not_fit_is_refused():
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


def test_the_report_says_whether_the_baselines_are_beaten():
    weak, strong = Baseline("the majority class", 0.5, 0.3, 0.5), Baseline("a line", 0.9, 0.9, 0.9)
    report = classification([0, 1, 1, 1], [0, 1, 1, 0], ["a", "b"], beside=[weak, strong])
    assert report.sentences == (
        "the majority class of the same training part has accuracy 0.5000: "
        "the network beats it by 0.2500",
        "a line of the same training part has accuracy 0.9000: "
        "the network, with 0.7500, DOES NOT BEAT IT",
    )
    assert baseline_verdict(0.5, 0.5, "a line", "macro_f1").endswith(
        "has macro F1 0.5000: the network, with 0.5000, DOES NOT BEAT IT"
    )
    recall = classification(
        [0, 1, 1, 1], [0, 1, 1, 0], ["a", "b"], beside=[weak], metric="macro_recall"
    )
    assert "macro recall 0.5000: the network beats it by 0.3333" in recall.sentences[0]


def test_the_report_prints_as_a_table():
    report = classification(
        [0, 1, 1, 1],
        [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]],
        ["no", "yes"],
        beside=[Baseline("a line", 0.5, 0.5, 0.5)],
    )
    assert str(report) == (
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
        "\n"
        "a line of the same training part has accuracy 0.5000: the network beats it by 0.2500"
    )


def test_names_from_outside_stay_on_their_line():
    report = classification([0, 1], [0, 1], ["a\nb\x1b[31m", "x" * 10_000])
    assert "a\\nb\\x1b[31m" in str(report)
    assert max(map(len, str(report).splitlines())) < 80


def test_many_labels_are_cut():
    truth = np.repeat(np.arange(30), np.arange(30, 0, -1))
    text = str(classification(truth, truth, [f"label {k}" for k in range(30)]))
    assert "and 10 more" in text
    assert "label 19" in text
    assert "label 20" not in text
    assert "answer →" not in text


def test_the_report_goes_into_json():
    report = classification(
        [0, 1, -1],
        [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6]],
        ["no", "yes"],
        beside=[Baseline("b", 0, 0, 0)],
    )
    form = json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert form["labels"] == ["no", "yes", UNSEEN]
    assert form["confusion"] == [[1, 0, 0], [0, 1, 0], [0, 1, 0]]
    assert form["macro_f1"] == report.macro_f1
    assert form["classes"]["support"] == [1, 1, 1]
    assert form["bins"][0]["answers"] == 1
    assert form["beside"][0]["name"] == "b"
    assert len(form["sentences"]) == 1


def test_a_report_draws_itself():
    report = classification([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["no", "yes"])
    assert report.plot().axes[0].get_xlabel() == "answer"
    assert report.plot(calibration=True).axes[0].get_xlabel() == "probability of the answer"
    with pytest.raises(OptionError, match="expected probabilities"):
        classification([0, 1], [0, 1], ["no", "yes"]).plot(calibration=True)


def test_one_label_alone_is_said():
    words = "all sequences are of one label: yes"
    assert words in str(classification([1, 1], [0, 1], ["no", "yes"]))
    assert words not in str(classification([0, 1], [0, 1], ["no", "yes"]))
    assert "of one label" not in str(classification([0, 0], [0, 0], ["no"]))
