from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from elman.data import TextCodec
from elman.model import Model, NetworkConfig

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
    config = NetworkConfig(
        task="language",
        cell=cell,
        activation=settings.pop("activation", "tanh"),
        vocabulary_size=len(codec.tokens),
        embedding_size=6 if tied else 5,
        hidden_size=6,
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
