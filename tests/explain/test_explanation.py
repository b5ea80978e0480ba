"""The sums and the verdict of an explanation, and its display of hostile names."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from elman.explain.explanation import (
    DECOMPOSITION,
    INTEGRATED,
    LEFT_OUT,
    MAX_CANCELLATION,
    MAX_GAP,
    REPLACEMENT,
    Explanation,
)
from elman.explain.selftest import MAX_P, MIN_MOVED_SHARE, SelfTest

HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "\x1b[2J\x07\x00",
    "\u202eevil\u2066",
    "x" * 10_000,
    "\udc80 lone",
    "]]>&lt;!--",
    "\n",
    "'",
)


def explanation(**given: Any) -> Explanation:
    inputs = given.pop("inputs", ("I", "like", "pizza"))
    values: dict[str, Any] = {
        "task": "language",
        "target": "soup",
        "method": INTEGRATED,
        "exact": False,
        "score_name": "logit",
        "score": 3.0,
        "inputs": inputs,
        "contributions": np.linspace(1.0, 2.0, len(inputs)),
        "absence": np.linspace(-1.0, 2.0, len(inputs)),
        "test": SelfTest(0.9, 0.05),
    }
    return Explanation(**values | given)


def test_the_gap_is_the_missing_share_of_the_score() -> None:
    told = explanation(score=-4.0, residual=-0.04)
    assert told.gap == pytest.approx(0.01)
    # a score near 0 is replaced by the largest measured change
    told = explanation(score=1e-9, absence=np.array([0.0, -8.0, 2.0]), residual=0.04)
    assert told.gap == pytest.approx(0.005)
    nothing = explanation(score=0.0, absence=np.zeros(3), residual=3.0)
    assert (nothing.gap, nothing.passed) == (1.0, False)
    empty = explanation(inputs=(), score=0.0, contributions=np.empty(0), absence=None)
    assert empty.gap == 0
    assert explanation(method=LEFT_OUT, residual=3.0).gap is None


@pytest.mark.parametrize("times", [0.9, 1.1])
def test_terms_that_cancel_each_other_fail(times: float) -> None:
    large = times * MAX_CANCELLATION * 3.0 / 2
    told = explanation(contributions=np.array([large, -large, 0.0]))
    assert told.passed is (times < 1)
    assert ("cancel each other" in told.verdict) is (times > 1)


@pytest.mark.parametrize(
    ("method", "residual", "test", "passed"),
    [
        (DECOMPOSITION, 0.0, (MIN_MOVED_SHARE, MAX_P), True),
        (DECOMPOSITION, 0.9 * MAX_GAP * 3.0, (0.9, 0.05), True),
        (DECOMPOSITION, 1.1 * MAX_GAP * 3.0, (0.9, 0.05), False),
        (INTEGRATED, -1.1 * MAX_GAP * 3.0, (0.9, 0.05), False),
        (INTEGRATED, 0.0, (0.9, 1.01 * MAX_P), None),
        (INTEGRATED, 0.0, (0.99 * MIN_MOVED_SHARE, 0.05), False),
        (INTEGRATED, 0.0, None, None),
        (INTEGRATED, 1.0, None, False),
        (LEFT_OUT, 9.0, (0.9, 0.05), True),
        (REPLACEMENT, 9.0, (0.25, 0.9), False),
        (REPLACEMENT, 9.0, None, None),
    ],
)
def test_the_verdict_is_shown_everywhere(
    method: str, residual: float, test: tuple[float, float] | None, passed: bool | None
) -> None:
    tested = None if test is None else SelfTest(*test)
    told = explanation(method=method, residual=residual, test=tested)
    assert told.passed is passed
    assert ("FAILS ITS OWN TEST" in told.verdict) is (passed is False)
    for shown in (str(told), told.to_json(), told._repr_html_()):
        assert ("FAILS ITS OWN TEST" in shown) is (passed is False)
    assert ("do not sum" in told.verdict) is (told.additive and abs(residual) > MAX_GAP * 3.0)
    assert ("to tell" in told.verdict) is (passed is None and tested is not None)


def test_as_a_dictionary() -> None:
    told = explanation(note="seen", steps=3)
    found = json.loads(told.to_json())
    assert found == told.to_dict()
    assert [*found] == [
        *("task", "target", "score", "score_name", "method", "exact", "contributions", "full_bar"),
        *("caption", "start_state", "bias", "residual", "gap", "moved", "p"),
        *("passed", "verdict", "steps", "note"),
    ]
    assert found["contributions"][1] == {
        "token": "like",
        "position": 1,
        "contribution": 1.5,
        "absence": 0.5,
        "meaning": "like adds 1.5 to the logit of soup.",
    }
    assert explanation(contributions=np.zeros(3)).to_dict()["full_bar"] is None
    falls = explanation(method=REPLACEMENT, contributions=np.array([-0.25, 1.0, 0.0]))
    meaning = falls.meaning(0)
    assert meaning.startswith("When I is replaced by others likely in its place, the logit of soup")
    assert meaning.endswith(" rises by 0.25.")
    assert explanation(absence=None).to_dict()["contributions"][0]["absence"] is None


def test_as_a_table_of_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    told = explanation(inputs=("a", "\udc80"))
    assert told.to_frame().columns == ["input", "contribution", "absence"]
    assert told.to_frame()["contribution"].to_list() == [1.0, 2.0]
    monkeypatch.setitem(sys.modules, "polars", None)
    columns = told.to_frame()
    assert columns["input"] == ["a", "\udc80"]
    assert "absence" not in explanation(absence=None).to_columns()


def test_printed_in_rows() -> None:
    lines = str(explanation(residual=0.5, start_state=-1.0)).splitlines()
    assert lines[0] == 'why "soup": logit 3 by integrated gradients'
    assert lines[1].startswith("what each input adds to the logit")
    assert lines[4].split() == ["like", "+1.5000", "+0.5000", "█" * 15]
    assert lines[6].split() == ["start", "state", "-1.0000", "░" * 10]
    assert lines[7].split() == ["bias", "+0.0000"]
    assert lines[8].split() == ["residual", "+0.5"]
    # measured numbers do not sum to the score
    plain = str(explanation(method=LEFT_OUT))
    assert "how far the logit falls when each input is left out: these need not sum to it" in plain
    assert not any(word in plain for word in ("start state", "  measured", "bias", "residual"))
    long = str(explanation(inputs=tuple(map(str, range(100))))).splitlines()
    assert "the 40 largest of 100 inputs" in long
    assert len(long) < 50


@pytest.mark.parametrize("values", [np.zeros(3), np.full(3, 1e-9)])
def test_without_an_input_that_moves_the_score_there_is_no_bar(values: np.ndarray) -> None:
    told = explanation(contributions=values, min_change=1e-6)
    assert "█" not in str(told)
    assert told.chart().flat
    bars = [one for one in told.to_svg().split("<rect") if 'class="bar' in one]
    assert all('width="0' in one for one in bars)


def test_numbers_of_a_table_have_six_digits_at_most() -> None:
    told = explanation(contributions=np.array([872962444.5, 123456.789, -0.25]), score=1 / 3)
    shown = [word for line in str(told).splitlines() for word in line.split()]
    digits = [sum(map(str.isdigit, word.split("e")[0])) for word in shown if word[0] in "+-"]
    assert max(digits) <= 6
    assert "0.333333" in shown


def test_contributions_of_characters_sum_by_word() -> None:
    told = explanation(inputs=tuple("so on"), contributions=np.arange(5.0), groups=(0, 0, 1, 2, 2))
    names, sums = told.by_word
    assert (names, sums.tolist()) == (("so", " ", "on"), [1.0, 2.0, 7.0])
    failed = explanation(inputs=tuple("so on"), groups=(0, 0, 1, 2, 2), test=SelfTest(0.1, 0.5, 2))
    assert "on moves it most (p = 0.5: of 999 random rankings 499 move the" in failed.verdict


def test_one_input_or_one_word_cannot_be_tested() -> None:
    for only in (
        explanation(inputs=("pizza",), contributions=np.ones(1), test=None),
        explanation(inputs=tuple("to"), contributions=np.ones(2), groups=(0, 0), test=None),
    ):
        assert only.passed is None
        assert only.verdict.endswith("a test needs two inputs or words.")


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: set[str] = set()
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.add(tag)
        self.attributes |= {name for name, _ in attrs}


@pytest.mark.parametrize("token", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_names_are_text(token: str) -> None:
    told = explanation(inputs=("a", token, "b"), target=token, note=token)
    plain = str(explanation(inputs=("a", token, "b"), target=token))
    assert all(one.isprintable() or one == "\n" for one in plain)
    assert max(map(len, plain.splitlines())) < 200
    assert json.loads(told.to_json())["contributions"][1]["token"] == token
    tags = Tags()
    tags.feed(told._repr_html_())
    assert not tags.seen & {"script", "img", "iframe", "a", "foreignobject", "image", "use"}
    assert not {name for name in tags.attributes if name.startswith("on")} | (
        tags.attributes & {"href", "src", "xlink:href", "style"}
    )
