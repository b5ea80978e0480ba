"""An explanation's own sums, its own test, and what it shows of hostile names."""

from __future__ import annotations

import json
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from elman.explain.deletion import RARE, Deletion
from elman.explain.explanation import (
    DECOMPOSITION,
    GAP,
    INTEGRATED,
    LEFT_OUT,
    MOST_TIMES,
    Explanation,
)

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
        "deletion": Deletion(0.75, 0.05),
    }
    return Explanation(**values | given)


def test_the_gap_is_the_share_of_what_is_missing() -> None:
    told = explanation(score=-4.0, residual=-0.04)
    assert told.gap == pytest.approx(0.01)
    # a score by chance near 0 is measured by what the inputs change
    told = explanation(score=1e-9, absence=np.array([0.0, -8.0, 2.0]), residual=0.04)
    assert told.gap == pytest.approx(0.005)
    nothing = explanation(score=0.0, absence=np.zeros(3), residual=3.0)
    assert (nothing.gap, nothing.passed) == (1.0, False)
    empty = explanation(inputs=(), score=0.0, contributions=np.empty(0), absence=None)
    assert empty.gap == 0
    assert explanation(method=LEFT_OUT, residual=3.0).gap is None


@pytest.mark.parametrize("times", [0.9, 1.1])
def test_terms_that_cancel_each_other_by_the_thousand_fail(times: float) -> None:
    large = times * MOST_TIMES * 3.0 / 2
    told = explanation(contributions=np.array([large, -large, 0.0]))
    assert told.passed is (times < 1)
    assert ("cancel each other" in told.verdict) is (times > 1)


@pytest.mark.parametrize(
    ("method", "residual", "deletion", "passed"),
    [
        (DECOMPOSITION, 0.0, (0.75, RARE), True),
        (DECOMPOSITION, 0.9 * GAP * 3.0, (0.75, 0.05), True),
        (DECOMPOSITION, 1.1 * GAP * 3.0, (0.75, 0.05), False),
        (INTEGRATED, -1.1 * GAP * 3.0, (0.75, 0.05), False),
        (INTEGRATED, 0.0, (0.75, 1.01 * RARE), None),
        (INTEGRATED, 0.0, (0.49, 0.6), False),
        (INTEGRATED, 0.0, (0.5, 1.0), None),
        (INTEGRATED, 0.0, None, None),
        (INTEGRATED, 1.0, None, False),
        (LEFT_OUT, 9.0, (0.75, 0.05), True),
        (LEFT_OUT, 9.0, (0.25, 0.9), False),
        (LEFT_OUT, 9.0, None, None),
    ],
)
def test_what_fails_its_test_says_so(
    method: str, residual: float, deletion: tuple[float, float] | None, passed: bool | None
) -> None:
    tested = None if deletion is None else Deletion(*deletion)
    told = explanation(method=method, residual=residual, deletion=tested)
    assert told.passed is passed
    assert ("FAILS ITS OWN TEST" in told.verdict) is (passed is False)
    for shown in (str(told), told.to_json(), told._repr_html_()):
        assert ("FAILS ITS OWN TEST" in shown) is (passed is False)
    assert ("do not sum" in told.verdict) is (method != LEFT_OUT and abs(residual) > GAP * 3.0)
    assert ("to tell" in told.verdict) is (passed is None and tested is not None)


def test_as_a_dictionary() -> None:
    told = explanation(note="seen", steps=3)
    found = json.loads(told.to_json())
    assert found == told.to_dict()
    assert [*found] == [
        *("task", "target", "score", "score_name", "method", "exact", "contributions"),
        *("start_state", "bias", "residual", "gap", "deletion_score", "deletion_chance"),
        *("passed", "verdict", "steps", "note"),
    ]
    assert found["contributions"][1] == {
        "token": "like",
        "position": 1,
        "contribution": 1.5,
        "absence": 0.5,
    }
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
    assert lines[0] == 'why "soup": logit 3.0000 by integrated gradients'
    assert lines[3].split() == ["like", "+1.5000", "+0.5000", "█" * 15]
    assert lines[5].split() == ["start", "state", "-1.0000", "░" * 10]
    assert lines[6].split() == ["bias", "+0.0000"]
    assert lines[7].split() == ["residual", "+0.5"]
    # its numbers are the absences, and sum to nothing
    plain = str(explanation(method=LEFT_OUT))
    assert not any(word in plain for word in ("start state", "absence", "bias", "residual"))
    long = str(explanation(inputs=tuple(map(str, range(100))))).splitlines()
    assert "the 40 largest of 100 inputs" in long
    assert len(long) < 50


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
