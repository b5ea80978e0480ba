from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
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

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
# starting and stopping a server takes far less
SECONDS = 60
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


class Server:
    """A server that runs in its own process."""

    def __init__(self, process: subprocess.Popen[str], url: str) -> None:
        self.process, self.url = process, url
        self.host, self.port = "127.0.0.1", int(url.rpartition(":")[2])

    def stop(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(SECONDS)


CODE = """
import sys
from pathlib import PosixPath
import elman
from elman.serve import server
from elman.serve.settings import Settings
models = {path.rpartition("/")[2].partition(".")[0]: elman.load(path) for path in sys.argv[2:]}
server.serve(models, Settings(port=0, **eval(sys.argv[1])), lambda s: print(server.page_url(s), flush=True))
"""


@contextlib.contextmanager
def started(*paths: Path, **settings: Any) -> Iterator[Server]:
    """Start a server of model files, and stop it at the end."""
    arguments = [sys.executable, "-c", CODE, repr(settings), *map(str, paths)]
    environment = os.environ | {"OMP_NUM_THREADS": "1", "ELMAN_THREADS": "1"}
    with subprocess.Popen(
        arguments, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        try:
            line = process.stdout.readline()
            found = re.search(r"http://\S+", line)
            assert found, process.stderr.read()
            yield Server(process, found[0])
            if process.poll() is None:
                process.send_signal(signal.SIGTERM)
            process.wait(SECONDS)
        finally:
            process.kill()


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
