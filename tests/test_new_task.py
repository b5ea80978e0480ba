"""A task that the package does not know: one object in the registry makes the commands work for it."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, TypedDict

import httpx
import numpy as np
import pytest

import elman
from elman.cli import main
from elman.cli.train import guess_task
from elman.engine.config import Config, Shapes
from elman.errors import InputError
from elman.files.model import Model
from elman.inspect.predictor import Predictor
from elman.inspect.replies import Replies, Reply, SequenceInput
from elman.serve.app import create_app
from elman.task_types import (
    Answers,
    ExplainOptions,
    PredictOptions,
    ReadingOptions,
    Result,
    Task,
)
from elman.tasks import TASKS
from elman.training.journal import Run
from elman.training.options import Values
from elman.training.trainer import Outcome


@dataclass(frozen=True)
class LengthConfig(Config):
    """The configuration of a network with one weight, a factor for the length of a text."""

    hidden_size: int
    num_layers: int
    bias: bool

    tasks = ("length",)
    limits: ClassVar[Mapping[str, tuple[int, int]]] = {"hidden_size": (1, 9), "num_layers": (1, 9)}

    def parameters(self) -> Shapes:
        return {"factor": (1,)}


class LengthCodec:
    def check(self, config: LengthConfig) -> None:
        if config.bias:
            raise InputError("bias", got=True, expected="False")

    def to_parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        return {}, {}

    def settings(self) -> dict[str, str]:
        return {}

    @classmethod
    def from_parts(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> LengthCodec:
        return cls()


class LengthPredictor(Predictor):
    def __init__(self, model: Model, storage: str = "float32") -> None:
        self.model = model

    def predict(self, text: str) -> float:
        return float(self.model.arrays["factor"][0] * len(text))


class LengthReply(TypedDict):
    length: float


class LengthReplies(Replies):
    predictor: LengthPredictor
    reply_type = LengthReply
    reads = "texts"
    answers = "number"
    panels = frozenset[str]()

    def predict(self, inputs: Sequence[SequenceInput], k: int) -> list[Reply]:
        return [{"length": self.predictor.predict(str(text))} for text in inputs]


@dataclass(frozen=True)
class LengthReport:
    mean: float

    def to_dict(self) -> dict[str, Any]:
        return {"mean": self.mean}

    def __str__(self) -> str:
        return f"mean length {self.mean}"


class LengthTask(Task):
    name = "length"
    panel = "Length"
    command_options: ClassVar[Any] = {
        "train": ReadingOptions,
        "predict": PredictOptions,
        "evaluate": ReadingOptions,
        "explain": ExplainOptions,
    }
    classes: ClassVar[dict[str, str]] = {
        "options": "elman.training.recurrent_options:RecurrentOptions",
        "config": f"{__name__}:LengthConfig",
        "codec": f"{__name__}:LengthCodec",
        "predictor": f"{__name__}:LengthPredictor",
        "replies": f"{__name__}:LengthReplies",
    }

    predictor: LengthPredictor

    @classmethod
    def guess(cls, files: Sequence[str], values: Values) -> str:
        return "the file's name" if files[0].endswith(".len") else ""

    @classmethod
    def train(cls, files: Sequence[str], values: Values, run: Run) -> Outcome:
        raise NotImplementedError

    def read_input(self, file: str, how: Any) -> str:
        return Path(file).read_text("utf-8")

    def predict(self, source: str | None, values: Values, *, as_table: bool) -> Answers:
        return Answers({"length": [self.predictor.predict(source or "")]})

    def evaluate(self, files: Sequence[str], values: Values) -> Result:
        how = ReadingOptions.from_values(values).how
        texts = [self.read_input(file, how) for file in files]
        return Result(LengthReport(sum(map(self.predictor.predict, texts)) / len(texts)))

    def explain(self, source: str | None, values: Values) -> Result:
        return Result(LengthReport(self.predictor.predict(source or "")))


@pytest.fixture
def model_file(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Return a model of a task that was just added to the registry."""
    monkeypatch.setitem(TASKS, LengthTask.name, LengthTask)
    config = LengthConfig("length", "gru", "tanh", 1, 1, False)
    model = Model(config, {"factor": np.array([2.0], np.float32)}, LengthCodec(), {})
    model.save(tmp_path / "length.safetensors")
    return tmp_path / "length.safetensors"


def test_a_model_of_a_new_task_is_loaded(model_file: Path) -> None:
    assert elman.load(model_file, kind=LengthPredictor).predict("four") == 8.0
    with pytest.raises(InputError, match=r"is a model for length: got LengthPredictor; expected L"):
        elman.load(model_file, kind=elman.LanguagePredictor)


def test_the_commands_work_for_a_new_task(
    model_file: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "text.txt").write_text("abc")
    for arguments, printed in (
        (["predict", str(model_file), "four"], "length\n8\n"),
        (["evaluate", str(model_file), str(tmp_path / "text.txt")], "mean length 6.0\n"),
        (["explain", str(model_file), "four", "--json"], '{"mean": 8.0}\n'),
    ):
        with pytest.raises(SystemExit) as left:
            main(arguments)
        assert (left.value.code or 0, capsys.readouterr().out) == (0, printed)
    with pytest.raises(SystemExit) as left:
        main(["predict", str(model_file), "four", "--horizon", "3"])
    assert left.value.code == 2
    assert "--horizon: got a model for length; expected one for forecast" in capsys.readouterr().err


def test_a_new_task_is_guessed(model_file: Path) -> None:
    assert guess_task(None, ["a.len"], {})[0].name == "length"


def test_the_server_answers_for_a_new_task(model_file: Path) -> None:
    app = create_app({"length": elman.load(model_file)})
    body = {"model": "length", "inputs": ["four", "a"]}

    async def predict() -> Any:
        transport = httpx.ASGITransport(app)
        url = "http://127.0.0.1:8765"
        async with httpx.AsyncClient(transport=transport, base_url=url) as client:
            return (await client.post("/v1/predict", json=body)).json()

    assert asyncio.run(predict()) == {"answers": [{"length": 8.0}, {"length": 2.0}]}
    app.served.close()
