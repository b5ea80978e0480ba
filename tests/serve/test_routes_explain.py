"""The routes that explain give what the predictor itself gives, and drawings that are only drawings."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ElementTree
from pathlib import Path

import pytest
from pydantic import ConfigDict, TypeAdapter

from elman import serve
from elman.explain.explanation import METHODS
from elman.serve import routes_explain
from elman.serve.replies import Next
from elman.serve.routes_explain import (
    Explained,
    MemoryMeasured,
    Traced,
    UnitsFound,
    UnitsLike,
    Unrolled,
)

TEXTS = {"letters": "abc dad", "words": "I like tea", "lines": "bad head"}


ANSWERS = {
    "/v1/explain": Explained,
    "/v1/memory": MemoryMeasured,
    "/v1/replace": Next,
    "/v1/trace": Traced,
    "/v1/units": UnitsFound,
    "/v1/units/like": UnitsLike,
    "/v1/unroll": Unrolled,
}


@pytest.fixture
def given(models, ask):
    """Returns the answer of one POST, which has the fields that are described and no others."""

    def given(route, body, status=200):
        async def go():
            async with ask(models) as client:
                answer = await client.post(route, json=body)
                assert answer.status_code == status, answer.text
                if status == 200:
                    whole = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
                    # a list, for a type of its own has its own configuration
                    found = TypeAdapter(list[ANSWERS[route]], config=whole)
                    found.validate_json(f"[{answer.text}]")
                return answer.json()

        return asyncio.run(go())

    return given


def drawing(svg):
    for element in ElementTree.fromstring(svg).iter():
        assert element.tag.rpartition("}")[2] not in ("script", "style", "foreignObject", "image")
        assert not any(name.startswith("on") or name == "style" for name in element.attrib)
    return svg


def test_the_page_offers_the_methods_that_there_are():
    page = Path(serve.__file__).parent / "page" / "index.html"
    options = re.search(r'id="method">(.*?)</select>', page.read_text("utf-8"), re.DOTALL)[1]
    assert tuple(options.strip().removeprefix("<option>").split("<option>")) == METHODS


@pytest.mark.parametrize("name", TEXTS)
def test_explain_a_word(given, models, name):
    text = TEXTS[name]
    predictor = models[name]
    found = given("/v1/explain", {"model": name, "input": text, "svg": True})
    drawing(found.pop("svg"))
    assert found == predictor.explain(text).to_dict()
    first = given("/v1/explain", {"model": name, "input": text, "quick": True})
    assert first == predictor.explain(text, quick=True).to_dict()
    target = predictor.predict_next(text, 3)[2][0]
    body = {"model": name, "input": text, "target": target, "method": "leave-one-out"}
    expected = predictor.explain(text, target, method="leave-one-out").to_dict()
    assert given("/v1/explain", body) == expected
    unknown = predictor.explain(text, target, unknown=True).to_dict()
    assert given("/v1/explain", {**body, "method": None, "unknown": True}) == unknown


def test_explain_labels_numbers_and_forecasts(given, models):
    found = given("/v1/explain", {"model": "classify", "input": "so good"})
    assert found == models["classify"].explain("so good").to_dict()
    found = given("/v1/explain", {"model": "tag", "input": ["a", "b"], "of": 1})
    assert found == models["tag"].explain(["a", "b"], of=1).to_dict()
    predictor = models["forecast"]
    series = predictor.history.ids[-1]
    found = given("/v1/explain", {"model": "forecast", "series": series, "target": 1})
    assert found == predictor.explain(series, 1).to_dict()


def test_what_cannot_be_explained_is_said(given):
    for body, words in (
        ({"model": "letters"}, "input: got nothing"),
        ({"model": "letters", "input": "a", "series": "x"}, "series"),
        ({"model": "letters", "input": "a", "of": 1}, "of: got a model for language"),
        ({"model": "classify", "input": "a", "unknown": True}, "unknown: got a model for classify"),
        ({"model": "forecast", "input": [1.0]}, "input: got numbers"),
        ({"model": "forecast", "series": "nobody"}, "nobody"),
        ({"model": "letters", "input": "a", "target": "zz"}, "target: got zz"),
        ({"model": "letters", "input": "a", "method": "magic"}, 'method: got "magic"'),
    ):
        assert words in given("/v1/explain", body, 400)["error"]["message"]


@pytest.mark.parametrize("name", TEXTS)
def test_unroll(given, models, name):
    text, predictor = TEXTS[name], models[name]
    found = given("/v1/unroll", {"model": name, "input": text, "k": 4})
    expected = predictor.explain(text)
    assert found["tokens"] == list(expected.inputs)
    assert found["explanation"] == expected.to_dict()
    rows = [(row["token"], row["probability"]) for row in found["predictions"]]
    assert rows == predictor.predict_next(text, 4)
    assert drawing(found["svg"]).count('class="word"') == len(expected.inputs)
    target = rows[2][0]
    found = given("/v1/unroll", {"model": name, "input": text, "target": target})
    assert found["explanation"]["target"] == target


def test_unroll_nothing_yet(given, models):
    found = given("/v1/unroll", {"model": "words", "input": ""})
    assert found["tokens"] == []
    assert len(found["predictions"]) == 8
    drawing(found["svg"])


@pytest.mark.parametrize("name", ["words", "lines"])
def test_replace(given, models, name):
    """Another word at a place, counted from the start of the document."""
    predictor = models[name]
    before, text, other, changed = {
        "words": ("", "I like tea", "pizza", "I pizza tea"),
        "lines": ("abc\n", "bad", "h", "bhd"),
    }[name]
    body = {"model": name, "input": before + text, "position": 1, "token": other}
    found = given("/v1/replace", body)
    rows = [(row["token"], row["probability"]) for row in found["predictions"]]
    assert rows == predictor.predict_next(changed)
    for more in ({"position": 40}, {"token": "zzz"}):
        given("/v1/replace", body | more, 400)


def test_units(given, models):
    text = "(I like my tea!) I like pizza!\n" * 120
    found = given("/v1/units", {"model": "words", "input": text, "count": 3})
    expected = models["words"].units(text).to_dict(3)
    # a random network tells nothing better than its baselines, which is no finding
    assert not any(row["found"] for row in expected["properties"])
    assert found["units"] == []
    assert found["note"].startswith("No unit tells a property better than an untrained network")
    body = {"model": "words", "input": text, "phrase": "my tea", "count": 4}
    found = given("/v1/units/like", body)
    assert len(found["units"]) == 4
    assert all(unit["likeness"] for unit in found["units"])
    found = given("/v1/units", {"model": "words", "input": "I like tea"})
    assert found["units"] == []
    assert "too little to find units on" in found["note"]


@pytest.mark.parametrize("name", TEXTS)
def test_trace(given, models, name):
    text = TEXTS[name]
    found = given("/v1/trace", {"model": name, "input": text, "svg": True})
    drawing(found.pop("svg"))
    expected = models[name].trace(text)
    assert found == expected.to_dict()
    body = {"model": name, "input": text, "units": [3, 1], "layer": 1}
    assert given("/v1/trace", body) == expected.to_dict(units=[3, 1], layer=1)
    # of so many there are as many as there are
    for count in (2, 4096):
        found = given("/v1/trace", {"model": name, "input": text, "units": count})
        assert found == expected.to_dict(units=min(count, 6))


def test_trace_of_every_task(given, models):
    for name, what in (
        ("classify", "so good"),
        ("tag", ["a", "b"]),
        ("forecast", models["forecast"].history.ids[0]),
    ):
        found = given("/v1/trace", {"model": name, "input": what})
        assert found == models[name].trace(what).to_dict()


def test_an_answer_is_bounded(given, monkeypatch):
    # 2 layers of 6 units, 2 states and 4 gates
    monkeypatch.setattr(routes_explain, "MOST_NUMBERS", 72 * 10)
    error = given("/v1/trace", {"model": "letters", "input": "a" * 11}, 400)["error"]
    assert "the numbers of the answer: got 792; expected at most 720" in error["message"]
    for less in ({"units": 2}, {"units": [1, 5]}, {"layer": 1}):
        given("/v1/trace", {"model": "letters", "input": "a" * 11} | less)
    given("/v1/trace", {"model": "letters", "input": "a" * 10})


def test_a_labelled_sequence_is_bounded(given, monkeypatch):
    monkeypatch.setattr(routes_explain, "MOST_STEPS", 3)
    for name, long, short in (
        ("tag", ["a"] * 4, ["a"] * 3),
        ("tag", "a b c d", "a b c"),
        ("classify", "so good so good", "so good so"),
    ):
        for route in ("/v1/explain", "/v1/trace"):
            given(route, {"model": name, "input": short})
            error = given(route, {"model": name, "input": long}, 400)["error"]
            assert error["message"] == "input: got 4 steps; expected at most 3"


def test_memory(given, models):
    text = "abc dad " * 20
    found = given("/v1/memory", {"model": "letters", "input": text, "svg": True})
    drawing(found.pop("svg"))
    assert found == models["letters"].memory(text).to_dict()
    for name in ("classify", "forecast"):
        assert given("/v1/memory", {"model": name}) == models[name].memory().to_dict()
    error = given("/v1/memory", {"model": "forecast", "input": "a.csv"}, 400)["error"]
    assert error["message"] == "input: got a text; expected none: the known series are measured"
