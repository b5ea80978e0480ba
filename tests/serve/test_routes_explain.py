"""Routes that explain: their answers equal those of the predictors, and their pictures contain no scripts."""

from __future__ import annotations

import asyncio
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from pydantic import ConfigDict, TypeAdapter

from elman import serve
from elman.explain.explanation import METHODS
from elman.inspect.replies import NextTokens
from elman.labels import replies
from elman.serve import routes_explain
from elman.serve.routes_explain import (
    ExplainReply,
    MemoryReply,
    SimilarUnitsReply,
    TraceReply,
    UnitsReply,
    UnrollReply,
)

TEXTS = {"letters": "abc dad", "words": "I like tea", "lines": "bad head"}


ANSWERS = {
    "/v1/explain": ExplainReply,
    "/v1/memory": MemoryReply,
    "/v1/replace": NextTokens,
    "/v1/trace": TraceReply,
    "/v1/units": UnitsReply,
    "/v1/units/like": SimilarUnitsReply,
    "/v1/unroll": UnrollReply,
}


@pytest.fixture
def post(models: dict[str, Any], ask: Any) -> Callable[..., dict[str, Any]]:
    """Function that sends one POST, checks that the answer fits its schema exactly, and returns it."""

    def post(route: str, body: dict[str, Any], status: int = 200) -> dict[str, Any]:
        async def go() -> dict[str, Any]:
            async with ask(models) as client:
                answer = await client.post(route, json=body)
                assert answer.status_code == status, answer.text
                if status == 200:
                    whole = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)
                    # in a list, because pydantic accepts no configuration for the TypedDict itself
                    kind: Any = ANSWERS[route]
                    reply: TypeAdapter[Any] = TypeAdapter(list[kind], config=whole)
                    reply.validate_json(f"[{answer.text}]")
                return answer.json()

        return asyncio.run(go())

    return post


def drawing(svg: str) -> str:
    for element in ElementTree.fromstring(svg).iter():
        assert element.tag.rpartition("}")[2] not in ("script", "style", "foreignObject", "image")
        assert not any(name.startswith("on") or name == "style" for name in element.attrib)
    return svg


def test_the_page_offers_all_methods() -> None:
    page = Path(serve.__file__).parent / "page" / "index.html"
    options = re.findall(r'id="method">(.*?)</select>', page.read_text("utf-8"), re.DOTALL)[0]
    assert tuple(options.strip().removeprefix("<option>").split("<option>")) == METHODS


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_explain_a_word(
    post: Callable[..., dict[str, Any]], models: dict[str, Any], name: str
) -> None:
    text = TEXTS[name]
    predictor = models[name]
    reply = post("/v1/explain", {"model": name, "input": text, "svg": True})
    drawing(reply.pop("svg"))
    assert reply == predictor.explain(text).to_dict()
    first = post("/v1/explain", {"model": name, "input": text, "quick": True})
    assert first == predictor.explain(text, quick=True).to_dict()
    target = predictor.predict_next(text, 3)[2][0]
    body = {"model": name, "input": text, "target": target, "method": "leave-one-out"}
    expected = predictor.explain(text, target, method="leave-one-out").to_dict()
    assert post("/v1/explain", body) == expected
    unknown = predictor.explain(text, target, unknown=True).to_dict()
    assert post("/v1/explain", {**body, "method": None, "unknown": True}) == unknown


@pytest.mark.slow
def test_explain_labels_numbers_and_forecasts(
    post: Callable[..., dict[str, Any]], models: dict[str, Any]
) -> None:
    reply = post("/v1/explain", {"model": "classify", "input": "so good"})
    assert reply == models["classify"].explain("so good").to_dict()
    reply = post("/v1/explain", {"model": "tag", "input": ["a", "b"], "of": 1})
    assert reply == models["tag"].explain(["a", "b"], of=1).to_dict()
    predictor = models["forecast"]
    series = predictor.history.ids[-1]
    reply = post("/v1/explain", {"model": "forecast", "series": series, "target": 1})
    assert reply == predictor.explain(series, 1).to_dict()


@pytest.mark.slow
def test_invalid_explanations_are_refused(post: Callable[..., dict[str, Any]]) -> None:
    for body, words in (
        ({"model": "letters"}, "input: got nothing"),
        ({"model": "letters", "input": "a", "series": "x"}, "series"),
        ({"model": "letters", "input": "a", "of": 1}, "of: got a model for language"),
        ({"model": "classify", "input": "a", "unknown": True}, "unknown: got a model for classify"),
        ({"model": "forecast", "input": [1.0]}, "input: got a model for forecast"),
        ({"model": "forecast", "series": "nobody"}, "nobody"),
        ({"model": "letters", "input": "a", "target": "zz"}, "target: got zz"),
        ({"model": "letters", "input": "a", "method": "magic"}, 'method: got "magic"'),
    ):
        assert words in post("/v1/explain", body, 400)["error"]["message"]


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_unroll(post: Callable[..., dict[str, Any]], models: dict[str, Any], name: str) -> None:
    text, predictor = TEXTS[name], models[name]
    reply = post("/v1/unroll", {"model": name, "input": text, "k": 4})
    expected = predictor.explain(text)
    assert reply["tokens"] == list(expected.inputs)
    assert reply["explanation"] == expected.to_dict()
    rows = [(row["token"], row["probability"]) for row in reply["predictions"]]
    assert rows == predictor.predict_next(text, 4)
    assert drawing(reply["svg"]).count('class="word"') == len(expected.inputs)
    target = rows[2][0]
    reply = post("/v1/unroll", {"model": name, "input": text, "target": target})
    assert reply["explanation"]["target"] == target


def test_unroll_an_empty_text(post: Callable[..., dict[str, Any]], models: dict[str, Any]) -> None:
    reply = post("/v1/unroll", {"model": "words", "input": ""})
    assert reply["tokens"] == []
    assert len(reply["predictions"]) == 8
    drawing(reply["svg"])


@pytest.mark.slow
@pytest.mark.parametrize("name", ["words", "lines"])
def test_replace(post: Callable[..., dict[str, Any]], models: dict[str, Any], name: str) -> None:
    """The position counts from the start of the document."""
    predictor = models[name]
    before, text, other, changed = {
        "words": ("", "I like tea", "pizza", "I pizza tea"),
        "lines": ("abc\n", "bad", "h", "bhd"),
    }[name]
    body = {"model": name, "input": before + text, "position": 1, "token": other}
    reply = post("/v1/replace", body)
    rows = [(row["token"], row["probability"]) for row in reply["predictions"]]
    assert rows == predictor.predict_next(changed)
    for more in ({"position": 40}, {"token": "zzz"}):
        post("/v1/replace", body | more, 400)


@pytest.mark.slow
def test_units(post: Callable[..., dict[str, Any]], models: dict[str, Any]) -> None:
    text = "(I like my tea!) I like pizza!\n" * 120
    reply = post("/v1/units", {"model": "words", "input": text, "count": 3})
    expected = models["words"].units(text).to_dict(3)
    # no unit of a random network is better than its baselines
    assert not any(row["found"] for row in expected["properties"])
    assert reply["units"] == []
    assert reply["note"].startswith("No unit indicates a property better than an untrained network")
    body = {"model": "words", "input": text, "phrase": "my tea", "count": 4}
    reply = post("/v1/units/like", body)
    assert len(reply["units"]) == 4
    assert all(unit["likeness"] for unit in reply["units"])
    reply = post("/v1/units", {"model": "words", "input": "I like tea"})
    assert reply["units"] == []
    assert "too little to find units on" in reply["note"]


@pytest.mark.slow
@pytest.mark.parametrize("name", TEXTS)
def test_trace(post: Callable[..., dict[str, Any]], models: dict[str, Any], name: str) -> None:
    text = TEXTS[name]
    reply = post("/v1/trace", {"model": name, "input": text, "svg": True})
    drawing(reply.pop("svg"))
    expected = models[name].trace(text)
    assert reply == expected.to_dict()
    body = {"model": name, "input": text, "units": [3, 1], "layer": 1}
    assert post("/v1/trace", body) == expected.to_dict(units=[3, 1], layer=1)
    # asking for more units than there are returns all of them
    for count in (2, 4096):
        reply = post("/v1/trace", {"model": name, "input": text, "units": count})
        assert reply == expected.to_dict(units=min(count, 6))


def test_trace_of_every_task(post: Callable[..., dict[str, Any]], models: dict[str, Any]) -> None:
    for name, what in (
        ("classify", "so good"),
        ("tag", ["a", "b"]),
        ("forecast", models["forecast"].history.ids[0]),
    ):
        reply = post("/v1/trace", {"model": name, "input": what})
        assert reply == models[name].trace(what).to_dict()


def test_the_numbers_of_a_trace_are_limited(
    post: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    # 2 layers of 6 units, 2 states and 4 gates
    monkeypatch.setattr(routes_explain, "MAX_REPLY_NUMBERS", 72 * 10)
    error = post("/v1/trace", {"model": "letters", "input": "a" * 11}, 400)["error"]
    assert "the numbers of the answer: got 792; expected at most 720" in error["message"]
    for less in ({"units": 2}, {"units": [1, 5]}, {"layer": 1}):
        post("/v1/trace", {"model": "letters", "input": "a" * 11} | less)
    post("/v1/trace", {"model": "letters", "input": "a" * 10})


@pytest.mark.slow
def test_the_steps_of_a_labelled_sequence_are_limited(
    post: Callable[..., dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(replies, "MAX_EXPLAINED_STEPS", 3)
    for name, long, short in (
        ("tag", ["a"] * 4, ["a"] * 3),
        ("tag", "a b c d", "a b c"),
        ("classify", "so good so good", "so good so"),
    ):
        for route in ("/v1/explain", "/v1/trace"):
            post(route, {"model": name, "input": short})
            error = post(route, {"model": name, "input": long}, 400)["error"]
            assert error["message"] == "input: got 4 steps; expected at most 3"


@pytest.mark.slow
def test_memory(post: Callable[..., dict[str, Any]], models: dict[str, Any]) -> None:
    text = "abc dad " * 20
    reply = post("/v1/memory", {"model": "letters", "input": text, "svg": True})
    drawing(reply.pop("svg"))
    assert reply == models["letters"].memory(text).to_dict()
    for name in ("classify", "forecast"):
        assert post("/v1/memory", {"model": name}) == models[name].memory().to_dict()
    error = post("/v1/memory", {"model": "forecast", "input": "a.csv"}, 400)["error"]
    assert error["message"] == "input: got a text; expected none: the known series are measured"
