from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

from elman import _native
from elman.config import NetworkConfig
from elman.data.vocabulary import TextCodec
from elman.model import Model

CHARACTERS = "\n abcdefgh"


def _codec(level: str, documents: str) -> TextCodec:
    tokens = CHARACTERS if level == "char" else ["\n", "I", "like", "pizza", "!", "(", "tea", "my"]
    special = ("<unk>",) if documents == "file" else ("<unk>", "<end>")
    kept = [token for token in tokens if token != "\n" or documents == "file"]
    return TextCodec(level, (*special, *kept), "words", documents)


def _make(
    cell: str = "lstm",
    *,
    level: str = "char",
    documents: str = "file",
    seed: int = 0,
    scale: float = 1.0,
    codec: TextCodec | None = None,
    card: dict[str, Any] | None = None,
    **settings: Any,
) -> Model:
    codec = codec or _codec(level, documents)
    tied = settings.get("tied", False)
    hidden_size = settings.pop("hidden_size", 6)
    embedding_size = settings.pop("embedding_size", 5)
    config = NetworkConfig(
        task="language",
        cell=cell,
        activation=settings.pop("activation", "tanh"),
        vocabulary_size=len(codec.tokens),
        embedding_size=hidden_size if tied else embedding_size,
        hidden_size=hidden_size,
        num_layers=settings.pop("num_layers", 2),
        **settings,
    )
    random = np.random.default_rng(seed)
    arrays = {
        name: (scale * random.standard_normal(shape)).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    return Model(config, arrays, codec, card or {})


@pytest.fixture(scope="session")
def make() -> Callable[..., Model]:
    """Makes small models with random weights, the same for the same arguments."""
    return _make


@pytest.fixture(scope="module", params=["numpy", *(["kernel"] if _native.kernels() else [])])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """How networks run: in numpy, as where no kernel was built, and in the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(_native, "_load", lambda: (None, "it was not built"))
            patch.setattr(_native, "kernel", lambda: None)
        yield request.param


@pytest.fixture(params=list(_native.kernels()))
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The kernel of every instruction set that this processor has, in turn the one that runs."""
    found = _native.kernels()[request.param]
    monkeypatch.setattr(_native, "kernel", lambda: found)
    return found


@pytest.fixture(params=list(_native.kernels())[:1])
def widest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The kernel of the widest instruction set alone, for what would take long in each."""
    found = _native.kernels()[request.param]
    monkeypatch.setattr(_native, "kernel", lambda: found)
    return found
