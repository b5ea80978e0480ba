"""The parser of JSON bodies: equal to Python's own, but without repeated fields and with limits."""

from __future__ import annotations

import asyncio
import json
import math
from threading import current_thread, main_thread
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import InputError
from elman.serve import json_route
from elman.serve.json_body import MAX_OBJECT_FIELDS, MAX_OPENING_BRACKETS, parse_json
from elman.serve.schema import MAX_INPUT_LENGTH, PredictRequest, ScoreRequest

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text()
VALUES = st.recursive(
    SCALARS.filter(lambda value: not (isinstance(value, float) and math.isinf(value))),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@pytest.mark.slow
@given(VALUES, st.sampled_from([None, 0, 1, "\t"]), st.booleans())
def test_parse_json_equals_json_loads(value: Any, indent: int | str | None, ascii_: bool) -> None:
    text = json.dumps(value, indent=indent, ensure_ascii=ascii_)
    assert parse_json(text.encode("utf-8", "surrogatepass")) == value


ROWS = [[n / 7, None, -1e300, n] for n in range(3000)]


@pytest.mark.parametrize(
    "value",
    [
        list(range(MAX_INPUT_LENGTH)),
        [1.5, None] * 9_000,
        ["a]", '"', "[{,"] * 3_000,
        ROWS,
        [ROWS[:9]] * 99,
    ],
    ids=["tokens", "numbers", "words", "table", "nested"],
)
def test_long_lists_are_parsed_completely(value: list[Any]) -> None:
    for text in (json.dumps(value), json.dumps(value, indent=1), json.dumps({"input": value})):
        assert parse_json(text.encode()) in (value, {"input": value})


FAR = "1," * 2**15


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "expecting value, at character 0"),
        ("[1,]", "expecting value, at character 3"),
        ("[1 2]", "expecting ',' delimiter, at character 3"),
        ("[" + FAR + "2,,3]", f"expecting value, at character {len(FAR) + 3}"),
        ("[" + FAR + "01]", f"expecting ',' delimiter, at character {len(FAR) + 2}"),
        ("[" + FAR, f"expecting value, at character {len(FAR) + 1}"),
        ('["a" "b"]', "expecting ',' delimiter, at character 5"),
        ("{1: 2}", "expecting property name enclosed in double quotes, at character 1"),
        ('{"a" 2}', "expecting ':' delimiter, at character 5"),
        ('{"a": 2,}', "expecting property name enclosed in double quotes, at character 8"),
        ('{"a": 2', "expecting ',' delimiter, at character 7"),
        ("[" * 100_000, "nested too deep"),
        ('{"a":' * 100_000, "nested too deep"),
        ("[NaN]", "JSON has no number NaN"),
        ('{"a": -Infinity}', "JSON has no number -Infinity"),
        ("9" * 5_000, "a number with too many digits"),
        ('"a\nb"', "invalid control character at, at character 2"),
    ],
    ids=lambda value: value[:12] or "empty",
)
def test_invalid_json_is_reported_with_its_position(text: str, line: str) -> None:
    with pytest.raises(InputError) as caught:
        parse_json(text.encode())
    assert str(caught.value) == f"the body: got invalid JSON ({line}); expected a JSON object"


def test_invalid_utf_8_is_reported() -> None:
    with pytest.raises(InputError, match=r"not UTF-8, at byte 2"):
        parse_json(b'"a\xff"')
    with pytest.raises(InputError, match=r"invalid JSON"):
        parse_json('{"a": 1}'.encode("utf-16"))


@pytest.mark.parametrize("text", ['{"k": 1, "k": 2}', '{"a": {"k": 1, "b": 1, "k": 1}}'])
def test_a_repeated_field_is_refused(text: str) -> None:
    with pytest.raises(InputError, match=r"got the field k twice; expected each field once"):
        parse_json(text.encode())


@pytest.mark.parametrize("item", ["[]", "{}", '[{"a": []}]'])
@pytest.mark.parametrize("inside", ['{"input": [', '{"input": [[['])
def test_a_body_with_too_many_lists_is_not_parsed(item: str, inside: str) -> None:
    """A body of 2 MB of brackets is refused before it is parsed."""
    got = f"got more than {MAX_OPENING_BRACKETS:,} lists and objects; expected fewer"
    with pytest.raises(InputError, match=got):
        parse_json((inside + f"{item}," * MAX_OPENING_BRACKETS).encode())


def test_an_object_with_too_many_fields_is_refused() -> None:
    fields = ",".join(f'"a{n}": 1' for n in range(MAX_OBJECT_FIELDS + 1))
    with pytest.raises(InputError, match=r"got an object of more than 100 fields"):
        parse_json(f'{{"input": {{{fields}}}}}'.encode())


@pytest.mark.parametrize("size", [10, 200_000])
def test_a_large_body_is_parsed_in_a_worker_thread(
    models: dict[str, Any], ask: Any, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    threads: list[Any] = []

    def parsed(body: bytes) -> Any:
        threads.append(current_thread())
        return parse_json(body)

    monkeypatch.setattr(
        json_route,
        "parse_json",
        parsed,
    )

    async def go() -> None:
        async with ask(models) as client:
            body = {"model": "letters", "input": "a", "other": "b" * size}
            answer = await client.post("/v1/score", json=body)
            assert answer.status_code == 400

    asyncio.run(go())
    assert [thread is main_thread() for thread in threads] == [size < 1000]


def test_a_whole_number_may_be_written_with_a_fraction_of_zero() -> None:
    """JSON has only one kind of number: 3.0 is 3."""
    whole: dict[str, Any] = {"k": 3.0, "horizon": 2.0}
    assert PredictRequest(model="m", **whole).k == 3
    numbers: Any = [1.0, 2, 3.0]
    assert ScoreRequest(model="m", input=numbers).input == [1, 2, 3]
    for wrong in ({"k": 2.5}, {"k": True}, {"k": "3"}, {"k": 1e300}):
        with pytest.raises(ValueError, match=r"validation error"):
            PredictRequest(model="m", **wrong)
    with pytest.raises(ValueError, match=r"validation error"):
        ScoreRequest.model_validate({"model": "m", "input": [1.5]})
