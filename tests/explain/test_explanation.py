"""An explanation's own sums, its own test, and what it shows of hostile names."""

from __future__ import annotations

import itertools
import json
import sys
from html.parser import HTMLParser
from typing import Any

import numpy as np
import pytest

from elman.explain.explanation import (
    DECOMPOSITION,
    GAP,
    INTEGRATED,
    LEFT_OUT,
    RARE,
    Deletion,
    Explanation,
    deletion_test,
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
    told = explanation(contributions=np.array([1.0, -2.0, 0.0]), start_state=-1.0, residual=-0.04)
    assert told.gap == pytest.approx(0.01)
    # where contributions are next to nothing, and the score is not, nearly all of it is missing
    nothing = explanation(contributions=np.zeros(3), residual=3.0)
    assert (nothing.gap, nothing.passed) == (1.0, False)
    assert explanation(inputs=(), contributions=np.empty(0), absence=None).gap == 0


@pytest.mark.parametrize(
    ("method", "residual", "deletion", "passed"),
    [
        (DECOMPOSITION, 0.0, (0.75, RARE), True),
        (DECOMPOSITION, 0.9 * GAP * 4.5, (0.75, 0.05), True),
        (DECOMPOSITION, 1.1 * GAP * 4.5, (0.75, 0.05), False),
        (INTEGRATED, -1.1 * GAP * 4.5, (0.75, 0.05), False),
        (INTEGRATED, 0.0, (0.75, 1.01 * RARE), None),
        (INTEGRATED, 0.0, (0.5, 0.05), False),
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
    assert ("do not sum" in told.verdict) is (method != LEFT_OUT and abs(residual) > GAP * 4.5)
    assert ("to tell" in told.verdict) is (passed is None and tested is not None)


def test_as_a_dictionary() -> None:
    told = explanation(note="seen", steps=3)
    found = json.loads(told.to_json())
    assert found == told.to_dict()
    assert [*found] == [
        *("task", "target", "score", "score_name", "method", "exact", "contributions"),
        *("start_state", "bias", "residual", "gap", "deletion_score", "passed", "verdict"),
        *("steps", "note"),
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
    assert "start state" not in str(explanation(method=LEFT_OUT))
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


def additive(effect: np.ndarray) -> Any:
    return lambda sets: np.array([-effect[list(one)].sum() for one in sets])


@pytest.mark.parametrize("N", [4, 5, 9, 40])
def test_the_deletion_score_of_the_truth_is_one_and_of_its_reverse_none(N: int) -> None:
    effect = 2.0 ** -np.arange(N)  # no two sets of it move alike
    without = additive(effect)
    alone = without([(i,) for i in range(N)])
    best, worst = (deletion_test(named, 0.0, alone, without) for named in (effect, effect[::-1]))
    assert best is not None
    assert worst is not None
    assert (best.score, worst.score, worst.chance) == (1.0, 0.0, 1.0)
    assert best.chance <= RARE
    none = deletion_test(np.ones(N), 0.0, np.zeros(N), lambda sets: np.zeros(len(sets)))
    assert none == (0.5, 1.0)


def test_of_random_explanations_one_in_ten_passes() -> None:
    draw = np.random.default_rng(0)
    count, passed = 1000, 0
    for _ in range(count):
        effect, named = draw.normal(size=(2, 8))
        found = deletion_test(named, 0.0, -effect, additive(effect))
        assert found is not None
        passed += found.chance <= RARE
    # 5 standard deviations of a share of that many
    assert passed / count <= RARE + 5 * (RARE * (1 - RARE) / count) ** 0.5


def test_what_is_measured_alone_is_tested_by_more() -> None:
    effect = 2.0 ** -np.arange(5)
    lone = lambda sets: np.array([-effect[one[0]] if len(one) == 1 else 0.0 for one in sets])  # noqa: E731
    alone = -effect
    assert deletion_test(effect, 0.0, alone, lone) == pytest.approx((2 / 3, 0.2), abs=1e-9)
    assert deletion_test(effect, 0.0, alone, lone, measured=True) == (0.5, 1.0)


def test_the_deletion_score_by_hand() -> None:
    effect, named = np.array([4.0, -1.0, 3.0, 2.0]), np.array([0.5, -3.0, 2.0, 0.0])
    seen: list[tuple[int, ...]] = []

    def without(sets: list[tuple[int, ...]]) -> np.ndarray:
        seen.extend(sets)
        return additive(effect)(sets)

    # one: input 1 moves least of four; two: |-1 + 3| against 3, 7, 6, 1, 5; three: |4 - 1 + 3|
    # against |4 - 1 + 2|, |4 + 3 + 2|, |-1 + 3 + 2|
    expected = np.mean([0, 1 / 5, 2 / 3])
    found = deletion_test(named, 0.0, -effect, without)
    assert found is not None
    assert found.score == pytest.approx(expected)
    assert seen[0] == (1, 2)
    assert set(seen) == {*itertools.combinations(range(4), 2), *itertools.combinations(range(4), 3)}


def test_the_deletion_score_draws_the_same_sets_again() -> None:
    effect = np.random.default_rng(0).normal(size=30)
    drawn: list[list[tuple[int, ...]]] = []

    def without(sets: list[tuple[int, ...]]) -> np.ndarray:
        drawn.append(sets)
        return additive(effect)(sets)

    found = {deletion_test(effect, 0.0, -effect, without) for _ in range(2)}
    assert len(found) == 1
    assert drawn[0] == drawn[1]
    assert len(set(drawn[0])) == len(drawn[0]) <= 2 * 20
    for few in range(4):
        assert deletion_test([1.0] * few, 0.0, [1.0] * few, without) is None
