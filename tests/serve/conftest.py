from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

import elman
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.serve.app import create_app
from elman.serve.settings import Settings
from elman.tasks import open_model
from elman.text.vocabulary import TextCodec
from servers import SECONDS, started

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
BASE = "http://127.0.0.1:8765"
WORDS = ("<unk>", "\n", "I", "like", "pizza", "!", "(", "tea", "my", "<b>&</b>", "\u202eabc")


def _make(
    cell: str = "lstm",
    *,
    level: str = "char",
    documents: str = "file",
    seed: int = 0,
    size: int = 6,
) -> Model:
    tokens = ["<unk>", *"\n abcdefgh"] if level == "char" else [*WORDS]
    if documents == "line":
        tokens = ["<end>" if token == "\n" else token for token in tokens]
    codec = TextCodec(level, tuple(tokens), "words", documents)
    config = NetworkConfig(
        task="language",
        cell=cell,
        activation="tanh",
        vocabulary_size=len(tokens),
        embedding_size=5,
        hidden_size=size,
        num_layers=2,
    )
    random = np.random.default_rng(seed)
    arrays = {
        name: random.standard_normal(shape).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    return Model(config, arrays, codec, {"note": "random", "not a number": float("nan")})


@pytest.fixture(scope="session")
def make() -> Callable[..., Model]:
    """Function that makes small language models with random weights, equal for equal arguments."""
    return _make


@pytest.fixture(scope="session")
def models() -> dict[str, Any]:
    """Predictors of all tasks by name."""
    tasks = {task: elman.load(GOLDEN / f"{task}-1.safetensors") for task in GOLDEN_TASKS}
    words = _make("gru", level="word", seed=1)
    lines = _make("mingru", documents="line", seed=2)
    language = {"letters": _make(), "words": words, "lines": lines}
    return {name: open_model(model) for name, model in language.items()} | tasks


GOLDEN_TASKS = ("classify", "regress", "tag", "forecast")


@contextlib.asynccontextmanager
async def asked(models: dict[str, Any], **settings: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an application in this process."""
    app = create_app(models, Settings(**settings))
    transport = httpx.ASGITransport(app)
    try:
        async with httpx.AsyncClient(transport=transport, base_url=BASE, timeout=SECONDS) as client:
            yield client
    finally:
        app.served.close()


@pytest.fixture(scope="session")
def ask() -> Any:
    """The function `asked`, for tests that need an application with other settings."""
    return asked


@pytest.fixture(scope="session")
def start() -> Any:
    """The function `started`, for tests that need a server with other settings."""
    return started


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The file of a small character model."""
    path = tmp_path_factory.mktemp("models") / "letters.safetensors"
    model = _make()
    Model(model.config, model.arrays, model.codec, {}).save(path)
    return path
