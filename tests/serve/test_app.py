"""Routes of the API: their answers equal those of the predictors themselves."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from httpx import Response

from elman.language.predictor import LanguagePredictor
from elman.language.stream import Stream
from elman.serve import threads
from elman.serve.json_route import json_response

# JSON keeps every float64 exactly, and therefore every float32
MODELS = ("letters", "words", "lines")
TEXTS = {"letters": "abc dada", "words": "I like tea", "lines": "bad head"}


def send_post(
    models: dict[str, Any],
    route: str,
    body: dict[str, Any],
    status: int,
    ask: Callable[..., Any],
    **settings: Any,
) -> dict[str, Any]:
    async def go() -> dict[str, Any]:
        async with ask(models, **settings) as client:
            answer = await client.post(route, json=body)
            assert answer.status_code == status, answer.text
            return answer.json()

    return asyncio.run(go())


@pytest.fixture
def post(models: dict[str, Any], ask: Any) -> Callable[..., Any]:
    """Function that sends one POST and returns the answer."""
    return lambda route, body, status=200, **settings: send_post(
        models, route, body, status, ask, **settings
    )


@pytest.fixture
def fetch(models: dict[str, Any], ask: Any) -> Callable[..., Response]:
    """Function that sends one request and returns the response."""

    def fetch(method: str, route: str, **options: Any) -> Response:
        async def go() -> Response:
            async with ask(models) as client:
                return await client.request(method, route, **options)

        return asyncio.run(go())

    return fetch


def test_health_and_the_list_of_models(
    fetch: Callable[..., Response], models: dict[str, Any]
) -> None:
    assert fetch("GET", "/healthz").json() == {"status": "ok"}
    rows = {row["id"]: row for row in fetch("GET", "/v1/models").json()["data"]}
    assert list(rows) == list(models)
    # each request has an application of its own, whose models may be a second apart
    same = {"created": rows["words"]["created"]}
    assert fetch("GET", "/v1/models/words").json() | same == rows["words"]
    words = rows["words"]
    assert (words["object"], words["owned_by"], words["task"]) == ("model", "elman", "language")
    assert (words["cell"], words["hidden_size"], words["num_layers"]) == ("gru", 6, 2)
    assert words["parameters"] == models["words"].model.parameter_count
    assert (words["vocabulary"], words["level"], words["documents"]) == (11, "word", "file")
    assert words["panels"]["unrolled"] is None
    assert words["panels"]["series"] == (
        "This panel is for forecasts and labels; words reads text."
    )
    # a number that JSON cannot express is null
    assert words["card"] == {"note": "random", "not a number": None}
    forecast = rows["forecast"]
    assert (words["answers"], forecast["answers"]) == ("tokens", "forecast")
    assert forecast["horizon"] == models["forecast"].horizon
    assert forecast["series"] == list(models["forecast"].history.ids)
    assert forecast["panels"]["series"] is None
    assert "language" in forecast["panels"]["unrolled"]
    assert rows["classify"]["labels"] == list(models["classify"].labels.names)


@pytest.mark.parametrize("name", MODELS)
def test_predict_next(post: Callable[..., Any], models: dict[str, Any], name: str) -> None:
    text = TEXTS[name]
    reply = post("/v1/predict", {"model": name, "input": text + " \u00e9", "k": 3})
    expected = models[name].predict_next(text + " \u00e9", 3)
    assert [(row["token"], row["probability"]) for row in reply["predictions"]] == expected
    assert reply["unknown"] == ["\u00e9"]
    assert 0 < reply["unknown_probability"] < 1


def test_labels_numbers_and_tags(post: Callable[..., Any], models: dict[str, Any]) -> None:
    classify, regress, tag = (models[task] for task in ("classify", "regress", "tag"))
    reply = post("/v1/predict", {"model": "classify", "input": "so good", "k": 2})
    shares = classify.predict_proba(["so good"])[0]
    assert reply["label"] == classify.labels.names[shares.argmax()]
    assert [row["probability"] for row in reply["probabilities"]] == sorted(shares, reverse=True)[
        :2
    ]
    rows = [[1.0, None], [0.5, 2.0], [3.0, 1.0]]
    reply = post("/v1/predict", {"model": "regress", "input": rows})
    numbers = np.array(rows, np.float64)
    assert reply["value"] == regress.predict([numbers])[0]
    for words in ("a b c", ["a", "b", "c"]):
        reply = post("/v1/predict", {"model": "tag", "input": words})
        assert reply["tags"] == [str(one) for one in tag.predict([["a", "b", "c"]])[0]]


def test_forecast(post: Callable[..., Any], models: dict[str, Any]) -> None:
    predictor = models["forecast"]
    reply = post("/v1/predict", {"model": "forecast"})["series"]
    expected = predictor.predict()
    assert [row["id"] for row in reply] == list(expected.ids)
    for place, row in enumerate(reply):
        assert row["median"] == expected.median[place].tolist()
        assert len(row["time"]) == len(row["median"]) == predictor.horizon
        low, high = expected.interval(row["intervals"][0]["percent"])
        assert row["intervals"][0]["low"] == low[place].tolist()
        assert row["intervals"][0]["high"] == high[place].tolist()
        assert len(row["history"]["time"]) == len(row["history"]["value"])
    last = reply[-1]["id"]
    body = {"model": "forecast", "series": last, "horizon": 1, "input": [1.5, None]}
    (one,) = post("/v1/predict", body)["series"]
    stream = predictor.stream(last).feed(1.5).feed(float("nan"))
    assert one["median"] == stream.predict(1).median[0].tolist()
    assert one["history"]["value"][-2:] == [1.5, None]


@pytest.mark.slow
def test_predict_refuses_what_a_task_cannot_read(post: Callable[..., Any]) -> None:
    for body, words in (
        ({"model": "nobody", "input": "a"}, "no such model: got nobody; expected letters, words"),
        (
            {"model": "letters"},
            "input: got nothing; expected one input, or a list of them as inputs",
        ),
        ({"model": "letters", "input": [[1.0]]}, "input: got a list; expected text"),
        ({"model": "letters", "input": "a", "horizon": 2}, "horizon and series: got a model for"),
        (
            {"model": "regress", "input": [[1.0], [1.0, 2.0]]},
            "input: got rows of different lengths",
        ),
        (
            {"model": "forecast", "input": "a"},
            "input: got not a list of numbers; expected the next",
        ),
        ({"model": "forecast", "series": "nobody"}, "nobody"),
    ):
        status = 404 if body.get("model") == "nobody" else 400
        error = post("/v1/predict", body, status)["error"]
        assert words in error["message"]
        assert "\n" not in error["message"]
        assert error["type"] == ("not_found_error" if status == 404 else "invalid_request_error")
    for route in ("generate", "score", "streams", "step", "units"):
        error = post(
            f"/v1/{route}",
            {"model": "regress", "input": "a"} if route != "generate" else {"model": "regress"},
            400,
        )
        assert (
            error["error"]["message"] == "regress is a model for regress: expected a language model"
        )


@pytest.mark.parametrize("name", MODELS)
def test_generate_as_one_text_and_as_events(
    fetch: Callable[..., Response], models: dict[str, Any], name: str
) -> None:
    body = {
        "model": name,
        "prompt": TEXTS[name],
        "n": 30,
        "temperature": 0.8,
        "top_k": 5,
        "seed": 3,
    }
    expected = models[name].generate(TEXTS[name], 30, temperature=0.8, top_k=5, seed=3)
    assert fetch("POST", "/v1/generate", json=body).json() == {"text": expected}
    events = fetch("POST", "/v1/generate", json=body | {"stream": True})
    assert events.headers["content-type"].startswith("text/event-stream")
    lines = [line[6:] for line in events.text.splitlines() if line]
    assert lines[-1] == "[DONE]"
    assert "".join(json.loads(line)["text"] for line in lines[:-1]) == expected


@pytest.mark.parametrize("name", MODELS)
def test_score(post: Callable[..., Any], models: dict[str, Any], name: str) -> None:
    reply = post("/v1/score", {"model": name, "input": TEXTS[name]})
    expected = models[name].score(TEXTS[name])
    assert reply["tokens"] == list(expected.tokens)
    assert reply["log_probabilities"] == expected.log_probabilities.tolist()
    assert reply["loss"] == expected.loss


@pytest.mark.parametrize("adapt", ["weights", "both"])
def test_a_stream_that_adapts_answers_like_one_of_the_predictor(
    models: dict[str, Any], ask: Any, adapt: Any
) -> None:
    """A fork has learned the same and goes on by itself; another stream learns nothing."""
    predictor = models["letters"]

    async def go() -> None:
        async with ask(models) as client:

            async def predictions(url: str, text: str) -> list[tuple[str, float]]:
                reply = (await client.post(f"{url}/feed", json={"input": text, "k": 4})).json()
                return [(row["token"], row["probability"]) for row in reply["predictions"]]

            body = {"model": "letters", "input": "abcd" * 9, "adapt": adapt}
            made = (await client.post("/v1/streams", json=body)).json()
            assert made["position"] == 36
            url, alone = f"/v1/streams/{made['id']}", predictor.stream(adapt).feed("abcd" * 9)
            assert await predictions(url, "abcd" * 6) == alone.feed("abcd" * 6).predict(4)
            assert alone.predict(4) != predictor.stream().feed("abcd" * 15).predict(4)
            forked = (await client.post(f"{url}/fork")).json()
            assert forked["position"] == 60
            await predictions(url, "dcba" * 9)
            other = f"/v1/streams/{forked['id']}"
            assert await predictions(other, "ab") == alone.feed("ab").predict(4)
            plain = (await client.post("/v1/streams", json={"model": "letters"})).json()
            expected = predictor.stream().feed("ab").predict(4)
            assert await predictions(f"/v1/streams/{plain['id']}", "ab") == expected
            refused = await client.post("/v1/streams", json=body | {"adapt": "all"})
            assert refused.status_code == 400
            assert "adapt" in refused.json()["error"]["message"]

    asyncio.run(go())


@pytest.mark.parametrize("name", MODELS)
def test_a_stream_answers_like_a_stream_of_the_predictor(
    models: dict[str, Any], ask: Any, name: str
) -> None:
    """The answers are equal bit for bit, also after a fork."""
    predictor = models[name]

    async def go() -> None:
        async with ask(models) as client:
            made = (await client.post("/v1/streams", json={"model": name, "input": "a"})).json()
            assert (made["model"], made["position"]) == (name, len(predictor.score("a").tokens))
            url, alone = f"/v1/streams/{made['id']}", Stream(predictor.network).feed("a")
            for part in (" b", "", "\n", "like tea", [1, 2, 3]):
                body: dict[str, Any] = (
                    {"tokens": part} if isinstance(part, list) else {"input": part}
                )
                reply = (await client.post(f"{url}/feed", json=body | {"k": 4})).json()
                expected = alone.feed(part).predict(4)
                rows = [(row["token"], row["probability"]) for row in reply["predictions"]]
                assert rows == expected
                assert reply["unknown_probability"] == expected.unknown_probability
            other = (await client.post(f"{url}/fork")).json()
            assert other["position"] == reply["position"]
            assert other["id"] != made["id"]
            await client.post(f"{url}/feed", json={"input": "a a"})
            body = {"input": " b", "k": 4}
            reply = (await client.post(f"/v1/streams/{other['id']}/feed", json=body)).json()
            rows = [(row["token"], row["probability"]) for row in reply["predictions"]]
            assert rows == alone.feed(" b").predict(4)
            assert (await client.delete(url)).status_code == 204
            for gone in (
                client.delete(url),
                client.post(f"{url}/feed", json={}),
                client.post(f"{url}/fork"),
            ):
                answer = await gone
                assert answer.status_code == 404
                assert "no such stream" in answer.json()["error"]["message"]

    asyncio.run(go())


@pytest.mark.parametrize("name", MODELS)
def test_steps_with_a_state_that_the_client_keeps(
    models: dict[str, Any], ask: Any, name: str
) -> None:
    predictor = models[name]

    async def go() -> None:
        state, alone = None, Stream(predictor.network)
        async with ask(models) as client:
            for part in ("a", " b", "\n", "like tea", [1, 2]):
                body = {"model": name, "state": state, "input": part, "k": 6}
                reply = (await client.post("/v1/step", json=body)).json()
                state = reply["state"]
                rows = [(row["token"], row["probability"]) for row in reply["predictions"]]
                expected = alone.feed(part).predict(6)
                assert rows == expected
                assert reply["unknown_probability"] == expected.unknown_probability

    asyncio.run(go())


@pytest.mark.slow
def test_the_page_and_its_headers(fetch: Callable[..., Response]) -> None:
    page = fetch("GET", "/")
    assert page.status_code == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    assert page.headers["content-security-policy"].startswith(
        "default-src 'none'; script-src 'self'"
    )
    assert page.headers["x-content-type-options"] == "nosniff"
    assert page.headers["referrer-policy"] == "no-referrer"
    style = fetch("GET", "/page/draw.css")
    assert style.headers["content-type"] == "text/css; charset=utf-8"
    again = fetch("GET", "/page/draw.css", headers={"If-None-Match": style.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    for route in ("/docs", "/redoc", "/page/", "/page/nothing.js", "/v1/models/"):
        assert fetch("GET", route).status_code == 404


def test_the_description_refers_to_no_other_site(fetch: Callable[..., Response]) -> None:
    text = fetch("GET", "/openapi.json").text
    assert "/v1/streams/{stream}/feed" in json.loads(text)["paths"]
    assert "http" not in text.replace("https://json-schema.org", "")


@pytest.mark.slow
def test_the_description_says_which_routes_need_the_token(models: dict[str, Any], ask: Any) -> None:
    async def described(**settings: Any) -> dict[str, Any]:
        async with ask(models, **settings) as client:
            head = {"Authorization": f"Bearer {settings.get('token')}"}
            for _ in range(2):
                answer = await client.get("/openapi.json", headers=head)
            return answer.json()

    plain = asyncio.run(described())
    assert "securitySchemes" not in plain["components"]
    assert "security" not in str(plain["paths"])
    secured = asyncio.run(described(token="xyz-987"))
    scheme = secured["components"].pop("securitySchemes")
    assert scheme == {"token": {"type": "http", "scheme": "bearer"}}
    for path, operations in secured["paths"].items():
        for operation in operations.values():
            needed: Any = None if path == "/healthz" else [{"token": []}]
            assert operation.pop("security", None) == needed
    assert secured == plain
    assert "xyz-987" not in str(secured)


def test_every_reply_has_a_schema(fetch: Callable[..., Response]) -> None:
    described = fetch("GET", "/openapi.json").json()
    for path, operations in described["paths"].items():
        for operation in operations.values():
            answers = operation["responses"]
            for status in ("4XX", "5XX"):
                fault = answers[status]["content"]["application/json"]["schema"]
                assert fault == {"$ref": "#/components/schemas/ErrorReply"}
            good = answers.get("200")
            assert good is not None or path == "/v1/streams/{stream}"
            if good is not None:
                assert "$ref" in good["content"]["application/json"]["schema"], path


def test_metrics_count_requests_and_tokens(models: dict[str, Any], ask: Any) -> None:
    async def go() -> str:
        async with ask(models) as client:
            made = (await client.post("/v1/streams", json={"model": "letters"})).json()
            await client.post(f"/v1/streams/{made['id']}/feed", json={"input": "abcd"})
            await client.get("/v1/models/none")
            return (await client.get("/metrics")).text

    text = asyncio.run(go())
    route = 'route="/v1/streams/{stream}/feed",status="200"'
    assert f"elman_requests_total{{{route}}} 1.0" in text
    assert 'elman_requests_total{route="/v1/models/{model}",status="404"} 1.0' in text
    assert 'elman_steps_total{model="letters"} 4.0' in text
    assert "elman_streams 1.0" in text


def test_an_internal_error_is_reported_by_number_only(
    models: dict[str, Any],
    ask: Any,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def broken(*_: LanguagePredictor | int | str) -> None:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr(type(models["letters"]), "predict_next", broken)
    reply = send_post(models, "/v1/predict", {"model": "letters", "input": "a"}, 500, ask)
    number = reply["error"]["message"].split()[4]
    assert "secret" not in str(reply)
    assert reply["error"]["type"] == "server_error"
    assert f"error {number}" in caplog.text
    assert "a secret" in caplog.text


def test_an_object_with_too_many_fields_is_refused(post: Callable[..., Any]) -> None:
    """Collecting 150,000 faults would delay all other requests."""
    wrong = {"model": "letters", "input": "a"} | {f"x{n}": 0 for n in range(1000)}
    error = post("/v1/predict", wrong, 400)["error"]
    assert (
        error["message"] == "the body: got an object of more than 100 fields; expected at most 100"
    )
    error = post("/v1/predict", {"model": "letters", "input": [[""] * 900] * 70}, 400)["error"]
    assert len(error["message"]) < 300


class Failing:
    """Stands for a stream that fails after some words."""

    def __init__(self, *words: str) -> None:
        self.words = words

    def feed(self, _: str) -> Failing:
        return self

    def generate_pieces(self, *_: int, **__: Any) -> Iterator[str]:
        yield from self.words
        raise ZeroDivisionError("a secret")


def test_an_error_after_the_first_event_is_the_last_event(
    fetch: Callable[..., Response],
    models: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(threads, "SEND_EVERY_SECONDS", -1.0)
    monkeypatch.setattr(type(models["letters"]), "stream", lambda _: Failing("a", "b"))
    answer = fetch("POST", "/v1/generate", json={"model": "letters", "prompt": "", "stream": True})
    assert answer.status_code == 200
    *events, last = [json.loads(line[6:]) for line in answer.text.splitlines() if line]
    assert events == [{"text": "a"}, {"text": "b"}]
    assert last["error"]["type"] == "server_error"
    assert "secret" not in answer.text
    assert f"error {last['error']['message'].split()[4]}" in caplog.text


def test_an_error_before_the_first_event_has_its_status(
    fetch: Callable[..., Response], models: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(type(models["letters"]), "stream", lambda _: Failing())
    body = {"model": "letters", "prompt": "a", "stream": True}
    answer = fetch("POST", "/v1/generate", json=body)
    assert answer.status_code == 500
    assert answer.json()["error"]["type"] == "server_error"


def test_an_event_stream_reserves_room_once(
    fetch: Callable[..., Response], monkeypatch: pytest.MonkeyPatch
) -> None:
    entered: list[int] = []
    place = threads._reserved

    def reserved(room: Any) -> Any:
        entered.append(1)
        return place(room)

    monkeypatch.setattr(threads, "_reserved", reserved)
    body = {"model": "letters", "prompt": "a", "n": 3, "stream": True}
    assert fetch("POST", "/v1/generate", json=body).text.endswith("data: [DONE]\n\n")
    assert entered == [1]


@pytest.mark.slow
@pytest.mark.parametrize("route", ["/", "/healthz", "/page/draw.css"])
def test_head_has_the_headers_of_get(fetch: Callable[..., Response], route: str) -> None:
    head, get = fetch("HEAD", route), fetch("GET", route)
    assert head.status_code == 200
    assert head.headers == get.headers


@pytest.mark.slow
def test_torch_is_never_loaded(model_file: Path) -> None:
    code = (
        "import sys, elman; from elman.serve import server; from elman.serve.app import create_app\n"
        "from elman.cli import serve\n"
        "app = create_app({'m': elman.load(sys.argv[1])})\n"
        "print(sorted({'torch', 'sklearn', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, model_file], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_loss_of_an_empty_text_is_not_minus_zero(fetch: Callable[..., Response]) -> None:
    answer = fetch("POST", "/v1/score", json={"model": "letters", "input": ""})
    assert '"loss":0.0' in answer.text


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "inputs"),
    [
        ("letters", ["abc", "", "hello"]),
        ("classify", ["so good", "so bad", ""]),
        ("classify", [["so", "good"], ["bad"]]),
        ("regress", [[[1.0, None], [0.5, 2.0]], [[3.0, 1.0]]]),
        ("tag", [["a", "b"], ["c"]]),
    ],
)
def test_several_inputs_are_answered_like_single_ones(
    fetch: Callable[..., Response], name: str, inputs: list[Any]
) -> None:
    reply = fetch("POST", "/v1/predict", json={"model": name, "inputs": inputs, "k": 2})
    answers = reply.json()["answers"]
    assert len(answers) == len(inputs)
    for one, answer in zip(inputs, answers, strict=True):
        alone = fetch("POST", "/v1/predict", json={"model": name, "input": one, "k": 2}).json()
        assert alone.keys() == answer.keys()
        for field, value in alone.items():
            if field in ("probabilities", "predictions"):
                for row, same in zip(value, answer[field], strict=True):
                    assert row == pytest.approx(same, abs=1e-6)
            else:
                assert answer[field] == (pytest.approx(value) if field == "value" else value)


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ({"model": "letters", "inputs": ["a"], "input": "a"}, "input: got input and inputs"),
        ({"model": "letters"}, "input: got nothing"),
        ({"model": "letters", "inputs": ["a", ["b"]]}, "input: got a list; expected text"),
        ({"model": "letters", "inputs": []}, "inputs: got 0 items; expected at least 1"),
        ({"model": "letters", "inputs": ["a"] * 1001}, "inputs: got 1,001 items"),
        ({"model": "letters", "inputs": ["a", {}]}, "inputs.1: got an object"),
        ({"model": "forecast", "inputs": [[1.0]]}, "inputs: got a model for forecast"),
    ],
)
def test_invalid_inputs_are_refused(
    fetch: Callable[..., Response], body: dict[str, Any], line: str
) -> None:
    answer = fetch("POST", "/v1/predict", json=body)
    assert answer.status_code == 400
    assert answer.json()["error"]["message"].startswith(line)


@pytest.mark.parametrize(
    "value",
    [
        {"a": list(range(5000)), "b": [[1.5, None]] * 3, "c": {"d": ["x"] * 1001}, "e": []},
        [{"a": 1}, {"b": [True, {"c": "\u20ac"}]}],
        "text",
        None,
        {"events": [{}, [], {"1": [[]]}]},
    ],
)
def test_json_encoded_in_pieces_is_equal(value: Any) -> None:
    assert json.loads(bytes(json_response(value).body)) == value
    with pytest.raises(ValueError, match=r"not JSON compliant"):
        json_response([*[1.0] * 1500, float("nan")])
