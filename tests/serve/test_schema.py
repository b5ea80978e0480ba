"""What the description promises holds for whatever is sent: schemathesis draws good and bad requests from it.

``ELMAN_HOSTILE_COUNT`` sets how many requests are sent (a release: 50000).
"""

from __future__ import annotations

import os
import zlib
from pathlib import Path

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis.errors import Unsatisfiable
from pydantic import ValidationError
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS, load_all_checks

from elman.serve.schema import CompletionBody, Feed, Predict, Score, Trace

load_all_checks()
COUNT = int(os.environ.get("ELMAN_HOSTILE_COUNT", "300"))
CHECKED = CHECKS.get_by_names(
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


@pytest.fixture(scope="module")
def api(start, model_file):
    paths = [model_file, *(GOLDEN / f"{task}-1.safetensors" for task in NAMES[1:])]
    with start(*paths) as server, httpx.Client(base_url=server.url, timeout=30) as client:
        schema = schemathesis.openapi.from_url(f"{server.url}/openapi.json")
        schema.config.generation.update(modes=list(GenerationMode))
        # a text that is too long may make a body that is: 413
        rejection = schema.config.checks.negative_data_rejection
        rejection.expected_statuses = [*rejection.expected_statuses, "413"]

        def drawn(value):
            return zlib.crc32(repr(value).encode("utf-8", "surrogatepass"))

        @schema.hook
        def map_body(context, body):
            # a name that is drawn is nobody's: most questions are to reach a model
            name = body.get("model") if isinstance(body, dict) else None
            if isinstance(name, str) and 0 < len(name) <= 200 and drawn(body) % 4:
                known = [f"{name}-1" if name != "letters" else name for name in NAMES]
                return body | {"model": [*known, "letters", "letters"][drawn(body) // 4 % 7]}
            return body

        @schema.hook
        def map_path_parameters(context, path_parameters):
            if path_parameters and "stream" in path_parameters and drawn(path_parameters) % 2:
                made = client.post("/v1/streams", json={"model": "letters"}).json()
                return path_parameters | {"stream": made["id"]}
            return path_parameters

        yield schema
        assert client.get("/healthz").status_code == 200
        assert server.process.poll() is None


def operations(schema):
    found = {}
    for result in schema.get_all_operations():
        operation = result.ok()
        found[f"{operation.method.upper()} {operation.path}"] = operation
    return found


@pytest.mark.parametrize("mode", list(GenerationMode))
def test_no_request_breaks_the_description(api, mode):
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
        def ask(case):
            case.call_and_validate(checks=CHECKED, timeout=30)

        try:
            ask()
        except Unsatisfiable:
            # a request without parameters has nothing that could be wrong
            assert mode == GenerationMode.NEGATIVE, name


@pytest.mark.parametrize(
    "wrong", [[[""] * 90] * 70, [""] * 90 + [1], [[1.0] * 1001] * 9], ids=["rows", "mixed", "long"]
)
def test_a_list_stops_at_its_first_fault(wrong):
    """One a kind of input at most: all faults of a large body would keep everybody waiting."""
    with pytest.raises(ValidationError) as caught:
        Predict.model_validate({"model": "m", "input": wrong})
    assert caught.value.error_count() <= 4


@pytest.mark.parametrize(
    ("body", "field"),
    [(CompletionBody, "prompt"), (CompletionBody, "stop"), (Score, "input"), (Trace, "units")],
)
def test_every_list_stops_at_its_first_fault(body, field):
    with pytest.raises(ValidationError) as caught:
        body.model_validate({"model": "m", field: [None] * 500})
    assert caught.value.error_count() <= 4
    with pytest.raises(ValidationError) as caught:
        Feed.model_validate({"tokens": [-1] * 500})
    assert caught.value.error_count() == 1
