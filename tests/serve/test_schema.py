"""The OpenAPI description holds for all requests: schemathesis generates valid and invalid ones from it.

``ELMAN_HOSTILE_COUNT`` sets how many requests are sent (a release: 50000).
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from pydantic import ValidationError
from schemathesis.checks import CHECKS, load_all_checks
from schemathesis.generation.case import Case
from schemathesis.generation.modes import GenerationMode
from schemathesis.hooks import HookContext
from schemathesis.specs.openapi.schemas import OpenApiSchema

import elman
from elman.serve import schema
from elman.serve.json_route import _input_error
from elman.serve.schema import (
    CompletionRequest,
    FeedRequest,
    PredictRequest,
    ScoreRequest,
    TraceRequest,
)

load_all_checks()
COUNT = int(os.environ.get("ELMAN_HOSTILE_COUNT", "300"))
CHECKED: Any = CHECKS.get_by_names(
    [
        "not_a_server_error",
        "status_code_conformance",
        "content_type_conformance",
        "response_schema_conformance",
        "negative_data_rejection",
        "unsupported_method",
    ]
)
GOLDEN = Path(__file__).resolve().parent.parent / "golden"
NAMES = ("letters", "classify", "regress", "tag", "forecast")
FORECASTER: Any = elman.load(GOLDEN / "forecast-1.safetensors")
FORECASTS = FORECASTER.history.ids


@pytest.fixture(scope="module")
def api(start: Any, model_file: Path) -> Iterator[OpenApiSchema]:
    paths = [model_file, *(GOLDEN / f"{task}-1.safetensors" for task in NAMES[1:])]
    with start(*paths) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        schema.config.generation.update(modes=list(GenerationMode))
        # a text over its limit may exceed the limit of the body too: 413
        rejection = schema.config.checks.negative_data_rejection
        rejection.expected_statuses = [*rejection.expected_statuses, "413"]

        def drawn(value: dict[str, Any]) -> int:
            return zlib.crc32(repr(value).encode("utf-8", "surrogatepass"))

        @schema.hook
        def map_body(context: HookContext, body: Any) -> Any:
            # no model has a random name, so use known names for most requests
            name = body.get("model") if isinstance(body, dict) else None
            if isinstance(name, str) and 0 < len(name) <= 200 and drawn(body) % 4:
                known = [f"{name}-1" if name != "letters" else name for name in NAMES]
                return body | {"model": [*known, "letters", "letters"][drawn(body) // 4 % 7]}
            return body

        @schema.hook
        def map_path_parameters(
            context: HookContext, path_parameters: dict[str, Any]
        ) -> dict[str, str]:
            if path_parameters and "stream" in path_parameters and drawn(path_parameters) % 2:
                made = client.post("/v1/streams", json={"model": "letters"}).json()
                return path_parameters | {"stream": made["id"]}
            return path_parameters

        yield schema
        assert client.get("/healthz").status_code == 200
        assert server.process.poll() is None


def operations(schema: OpenApiSchema) -> dict[str, Any]:
    found: dict[str, Any] = {}
    results: Any = schema.get_all_operations()
    for result in results:
        operation = result.ok()
        found[f"{operation.method.upper()} {operation.path}"] = operation
    return found


@pytest.mark.slow
@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_contradicts_the_description(api: OpenApiSchema, mode: GenerationMode) -> None:
    every = operations(api)
    assert "POST /v1/streams/{stream}/feed" in every
    for number, (name, operation) in enumerate(every.items()):

        @seed(number)
        @settings(
            max_examples=max(1, COUNT // len(every) // 2),
            deadline=None,
            database=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Case[Any]) -> None:
            case.call_and_validate(checks=CHECKED, timeout=30)

        try:
            ask()
        except Unsatisfiable:
            # a request without parameters cannot be invalid
            assert mode == GenerationMode.NEGATIVE, name


READABLE: dict[str, dict[str, Any]] = {
    "letters": {"input": "abc dada"},
    "classify-1": {"input": "so good"},
    "regress-1": {"input": [[1.0, None], [0.5, 2.0]]},
    "tag-1": {"input": ["a", "b"]},
    "forecast-1": {"series": FORECASTS[0]},
}
LONG = "abc (dad) 'bad head' " * 150
DRAWN = {"svg": True, "width": 300}
ASKED = [
    *(("/v1/predict", {"model": name} | what) for name, what in READABLE.items()),
    *(("/v1/explain", {"model": name} | what | DRAWN) for name, what in READABLE.items()),
    *(
        ("/v1/explain", {"model": name, "method": method} | what)
        for name, what in READABLE.items()
        for method in ("integrated gradients", "leave-one-out")
    ),
    ("/v1/predict", {"model": "letters", "inputs": ["abc", "dada"]}),
    ("/v1/explain", {"model": "letters", "input": ""}),
    ("/v1/explain", {"model": "letters", "input": "abc", "unknown": True}),
    *(
        ("/v1/trace", {"model": name, "input": what.get("input", FORECASTS[0])} | DRAWN)
        for name, what in READABLE.items()
    ),
    ("/v1/unroll", {"model": "letters", "input": "abc"}),
    ("/v1/unroll", {"model": "letters", "input": ""}),
    ("/v1/memory", {"model": "letters", "input": "abc dada"} | DRAWN),
    ("/v1/units", {"model": "letters", "input": LONG}),
    ("/v1/units", {"model": "letters", "input": "too short"}),
    ("/v1/units/like", {"model": "letters", "input": LONG, "phrase": "bad"}),
]


@pytest.mark.parametrize(
    ("path", "body"),
    ASKED,
    ids=lambda value: value.get("model") if isinstance(value, dict) else value,
)
def test_the_replies_of_every_task_match_their_schemas(
    api: OpenApiSchema, path: str, body: dict[str, Any]
) -> None:
    """Most generated requests cannot be answered, so these are written by hand."""
    answer = operations(api)[f"POST {path}"].Case(body=body).call_and_validate(checks=CHECKED)
    assert answer.status_code == 200
    described = api.raw_schema["paths"][path]["post"]["responses"]["200"]["content"]
    assert "$ref" in described["application/json"]["schema"]


@pytest.mark.parametrize(
    "wrong", [[[""] * 90] * 70, [""] * 90 + [1], [[1.0] * 1001] * 9], ids=["rows", "mixed", "long"]
)
def test_validation_of_an_input_stops_at_its_first_fault(
    wrong: Sequence[list[float] | list[str] | str],
) -> None:
    """There is at most one fault for each type of input: collecting all would delay other requests."""
    with pytest.raises(ValidationError) as caught:
        PredictRequest.model_validate({"model": "m", "input": wrong})
    assert caught.value.error_count() <= 4


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (CompletionRequest, "prompt"),
        (CompletionRequest, "stop"),
        (ScoreRequest, "input"),
        (TraceRequest, "units"),
    ],
)
def test_validation_of_every_list_stops_at_its_first_fault(body: type[Any], field: str) -> None:
    with pytest.raises(ValidationError) as caught:
        body.model_validate({"model": "m", field: [None] * 500})
    assert caught.value.error_count() <= 4
    with pytest.raises(ValidationError) as caught:
        FeedRequest.model_validate({"tokens": [-1] * 500})
    assert caught.value.error_count() == 1


@pytest.fixture
def error_line(models: dict[str, Any], ask: Any) -> Callable[..., str]:
    """Function that returns the error line for an invalid body."""

    def error_line(content: str, route: str = "/v1/predict") -> str:
        async def go() -> str:
            async with ask(models) as client:
                head = {"Content-Type": "application/json"}
                answer = await client.post(route, content=content, headers=head)
                assert answer.status_code == 400, answer.text
                error = answer.json()["error"]
                line = error.pop("message")
                assert error == {"type": "invalid_request_error", "code": None}
                return line

        return asyncio.run(go())

    return error_line


FIELDS = "model, input, inputs, k, horizon, series"
EXPECTED_METHOD = "'replacement', 'decomposition', 'integrated gradients' or 'leave-one-out'"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("route", "body", "line"),
    [
        ("predict", {"input": "a"}, "model: got nothing; expected a string"),
        ("score", {}, "input: got nothing; expected a string or a list"),
        ("replace", {"input": "a", "token": "b"}, "position: got nothing; expected a whole number"),
        ("predict", {"k": 0}, "k: got 0; expected at least 1"),
        ("predict", {"k": "3"}, 'k: got "3"; expected a whole number'),
        ("predict", {"k": 5000}, "k: got 5000; expected at most 100"),
        ("predict", {"model": ""}, "model: got 0 characters; expected at least 1"),
        ("predict", {"model": None}, "model: got null; expected a string"),
        ("predict", {"other": 1}, f"no such field: got other; expected {FIELDS}"),
        ("predict", {"\n\u202e": 1}, rf"no such field: got \n\u202e; expected {FIELDS}"),
        ("predict", {"input": {}}, "input: got an object; expected a string or a list"),
        (
            "predict",
            {"input": [True]},
            "input.0: got true; expected a string or a number or a list",
        ),
        ("predict", {"input": ["a", 1]}, "input.1: got 1; expected a string"),
        ("predict", {"input": [1, None, "a"]}, 'input.2: got "a"; expected a number'),
        ("predict", {"input": [[1], [2], [3, "a"]]}, 'input.2.1: got "a"; expected a number'),
        ("predict", {"input": [[1.0], [[]]]}, "input.1.0: got a list; expected a number"),
        ("predict", {"input": ["a", 1e301]}, "input.1: got 1e+301; expected a string"),
        ("predict", {"input": [1, 1e301]}, "input.1: got 1e+301; expected at most 1e+300"),
        ("predict", {"input": ["a"] * 10_001}, "input: got 10,001 items; expected at most 10,000"),
        ("predict", {"input": [[0] * 1001]}, "input.0: got 1,001 items; expected at most 1,000"),
        (
            "predict",
            {"input": "a" * 100_001},
            "input: got 100,001 characters; expected at most 100,000",
        ),
        ("predict", {"k": "a" * 300}, f'k: got "{"a" * 78}…; expected a whole number'),
        ("generate", {"top_p": 0}, "top_p: got 0; expected more than 0"),
        ("generate", {"stream": 1}, "stream: got 1; expected true or false"),
        ("explain", {"target": -1}, "target: got -1; expected at least 0"),
        ("explain", {"target": 2.5}, "target: got 2.5; expected a string or a whole number"),
        ("explain", {"method": "magic"}, f'method: got "magic"; expected {EXPECTED_METHOD}'),
        ("trace", {"units": 0}, "units: got 0; expected at least 1"),
        ("trace", {"units": [0, -1]}, "units.1: got -1; expected at least 0"),
        ("trace", {"layer": 1000}, "layer: got 1000; expected less than 1,000"),
        ("completions", {"prompt": ["a"] * 17}, "prompt: got 17 items; expected at most 16"),
        ("completions", {"prompt": [[1]] * 17}, "prompt: got 17 items; expected at most 16"),
        ("completions", {"prompt": ["a", "b", "c", 4]}, "prompt.3: got 4; expected a string"),
        ("completions", {"prompt": [[1], [-1]]}, "prompt.1.0: got -1; expected at least 0"),
        ("completions", {"stop": ["a"] * 5}, "stop: got 5 items; expected at most 4"),
        ("completions", {"stream_options": 1}, "stream_options: got 1; expected a JSON object"),
        (
            "completions",
            {"stream_options": {"include_usage": "yes"}},
            'stream_options.include_usage: got "yes"; expected true or false',
        ),
    ],
    ids=lambda value: None if isinstance(value, dict) else value[:40],
)
def test_an_invalid_field_is_reported_in_one_line(
    error_line: Callable[..., str], route: str, body: dict[str, Any], line: str
) -> None:
    known = {"input": "a"} if route in ("score", "replace") and body else {}
    model = {} if route == "predict" and body == {"input": "a"} else {"model": "letters"}
    assert error_line(json.dumps(model | known | body), f"/v1/{route}") == line


@pytest.mark.parametrize(
    ("body", "line"),
    [
        (
            '{"model": "m"} abc',
            "got invalid JSON (extra data, at character 15); expected a JSON object",
        ),
        (
            "",
            "got invalid JSON (expecting value, at character 0); expected a JSON object",
        ),
        (
            "[" * 3000,
            "got invalid JSON (nested too deep); expected a JSON object",
        ),
        ("[1]", "got a list; expected a JSON object"),
        ("null", "got null; expected a JSON object"),
        (json.dumps("a" * 300), f'got "{"a" * 78}…; expected a JSON object'),
    ],
    ids=["after", "empty", "deep", "list", "null", "string"],
)
def test_a_body_that_is_not_an_object_is_reported_in_one_line(
    error_line: Callable[..., str], body: str, line: str
) -> None:
    assert error_line(body) == f"the body: {line}"


def test_any_invalid_number_is_reported(error_line: Callable[..., str]) -> None:
    """Python itself refuses to write a whole number of more than 4,300 digits."""
    for number in ("9" * 4_000, "9" * 5_000, "NaN", "-Infinity", "1e999"):
        content = f'{{"model": "letters", "input": "a", "k": {number}}}'
        assert len(error_line(content)) < 300


@pytest.mark.slow
@pytest.mark.parametrize(
    "body",
    [value for name, value in vars(schema).items() if name.endswith("Request") and name[0] != "_"],
)
def test_every_field_is_reported_by_its_name(body: type[Any]) -> None:
    """The line contains none of the names that pydantic has for the types of a union."""
    values: tuple[Any, ...] = ({}, [{}], [[{}]], [["a", {}]], [[1, {}]])
    for name in body.model_fields:
        for wrong in values:
            if (name, wrong) == ("stream_options", {}):
                continue  # all of its fields have defaults
            with pytest.raises(ValidationError) as caught:
                body.model_validate_json(json.dumps({"model": "m", name: wrong}))
            line = str(_input_error(body, caught.value))
            # a missing field may be reported first, and a stream's request has no model
            pattern = r"(\w+(\.\d+)*: got (an object|a list|nothing|\"a\"|1); expected .+|no such field: .+)"
            assert re.fullmatch(pattern, line), line
