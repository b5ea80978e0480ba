"""Checks of the contract of a task, the same for every task of the registry.

    @pytest.mark.parametrize("check", CHECKS)
    def test_contract(case, check, tmp_path): check(case, tmp_path)

A `TaskCase` holds a model with fixed weights and one input, in the forms in which Python, the command and
the server take it. A new task adds a case to `tests/test_tasks.py`; these checks then hold it to the same
contract as the others.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from jsonschema_rs import Draft202012Validator

import elman
from elman.cli import main
from elman.explain.explanation import ADDITIVE, Explanation
from elman.files.model import Model
from elman.inspect.predictor import Predictor
from elman.serve.app import create_app

# Both sides of a comparison compute in float32, over at most some 100 terms for each number.
TOLERANCE = 1e-5
# The parts of an additive explanation sum to the score, rounded in float64.
SUM_TOLERANCE = 1e-9


@dataclass(frozen=True)
class TaskCase:
    """A model of one task, and an input for it."""

    model: Model
    value: Any
    """The input as Python passes it; None where the model holds its input."""
    arguments: Callable[[Path], list[str]]
    """Makes the arguments of the commands for the input; may write a file into the folder."""
    answer: Callable[[Any, Any], Any]
    """Returns the answer of a predictor for the input, as numbers."""
    trained: Callable[[Model, Any], np.ndarray]
    """Returns the same numbers, computed by the network that is trained."""
    command_numbers: Callable[[list[dict[str, Any]]], list[Any]]
    """Picks the answers out of the lines that ``elman predict --json`` prints."""
    server_numbers: Callable[[Any], list[Any]]
    """Picks the same answers out of the reply of ``/v1/predict``."""
    explained: dict[str, Any] = field(default_factory=dict)
    """Fields of the request ``/v1/explain`` besides the model, and options of `explain`."""

    @property
    def task(self) -> str:
        """Name of the task."""
        return str(self.model.config.task)

    def explanation(self, predictor: Any, **options: Any) -> Explanation:
        """Return the explanation of the answer for the input."""
        what = self.explained.get("series", self.value)
        told: Explanation = predictor.explain(what, **options)
        return told


def run_command(*arguments: str) -> str:
    """Run ``elman`` in this process; return what it prints to standard output."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), pytest.raises(SystemExit) as left:
        main([*arguments])
    assert not left.value.code, printed.getvalue()
    return printed.getvalue()


async def _post(predictor: Predictor, bodies: dict[str, dict[str, Any]]) -> Iterator[Any]:
    app = create_app({"model": predictor})
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8765") as client:
        description = (await client.get("/openapi.json")).json()
        replies = []
        for path, body in bodies.items():
            response = await client.post(path, json={"model": "model", **body})
            assert response.status_code == 200, response.text
            reply = response.json()
            schema = description["paths"][path]["post"]["responses"]["200"]["content"]
            Draft202012Validator(
                {**schema["application/json"]["schema"], "components": description["components"]}
            ).validate(reply)
            replies.append(reply)
    app.served.close()
    return iter(replies)


def ask_server(predictor: Predictor, bodies: dict[str, dict[str, Any]]) -> list[Any]:
    """Post a body to each path of a server with this model; return replies that match their schema."""
    return list(asyncio.run(_post(predictor, bodies)))


def plain(value: Any) -> Any:
    """Return a value as JSON holds it."""
    return value.tolist() if isinstance(value, np.ndarray) else value


def check_saved_and_loaded(case: TaskCase, folder: Path) -> None:
    """A saved model answers bit by bit as before, and its file does not change when it is saved again."""
    path = folder / "model.safetensors"
    case.model.save(path)
    predictor = elman.load(path)
    assert type(predictor) is type(elman.tasks.open_model(case.model))
    expected = case.answer(elman.tasks.open_model(case.model), case.value)
    np.testing.assert_array_equal(case.answer(predictor, case.value), expected)
    predictor.save(folder / "again.safetensors")
    assert (folder / "again.safetensors").read_bytes() == path.read_bytes()


def check_answers_of_the_trained_network(case: TaskCase, folder: Path) -> None:
    """The predictor answers what the network computes that is trained."""
    got = np.asarray(case.answer(elman.tasks.open_model(case.model), case.value), np.float64)
    expected = case.trained(case.model, case.value)
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=TOLERANCE * scale)


def check_explanations_sum(case: TaskCase, folder: Path) -> None:
    """An explanation sums to the score, or its text says that it need not."""
    predictor = elman.tasks.open_model(case.model)
    default = case.explanation(predictor)
    assert len(default.contributions) == len(default.inputs)
    assert default.additive == (default.method in ADDITIVE)
    assert default.additive or "need not sum" in str(default)
    additive = case.explanation(predictor, method="decomposition")
    assert additive.additive
    parts = additive.start_state + additive.bias + additive.residual
    total = additive.contributions.sum() + parts
    scale = np.abs([*additive.contributions, parts, additive.score]).sum()
    assert abs(total - additive.score) <= SUM_TOLERANCE * scale


def check_explanations_are_json(case: TaskCase, folder: Path) -> None:
    """Command, server and Python give the same explanation, as JSON."""
    predictor = elman.tasks.open_model(case.model)
    expected = json.loads(case.explanation(predictor).to_json())
    case.model.save(folder / "model.safetensors")
    question = [*case.explained.values()] or case.arguments(folder)
    printed = run_command("explain", str(folder / "model.safetensors"), *question, "--json")
    assert json.loads(printed) == expected
    body = case.explained or {"input": plain(case.value)}
    (reply,) = ask_server(predictor, {"/v1/explain": body})
    assert reply == expected


def check_command_and_server_agree(case: TaskCase, folder: Path) -> None:
    """The command and the server give the same predictions."""
    case.model.save(folder / "model.safetensors")
    arguments = ("predict", str(folder / "model.safetensors"), *case.arguments(folder), "--json")
    lines = [json.loads(line) for line in run_command(*arguments).splitlines()]
    body = {} if case.value is None else {"input": plain(case.value)}
    (reply,) = ask_server(elman.tasks.open_model(case.model), {"/v1/predict": body})
    assert case.command_numbers(lines) == case.server_numbers(reply)


CHECKS: list[Callable[[TaskCase, Path], None]] = [
    check_saved_and_loaded,
    check_answers_of_the_trained_network,
    check_explanations_sum,
    check_explanations_are_json,
    check_command_and_server_agree,
]
