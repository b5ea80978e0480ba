"""Builders of small models and data that several folders of tests use."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman import cells, tasks
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.language.dataset import Dataset, load_dataset
from elman.language.options import LanguageOptions
from elman.language.predictor import LanguagePredictor
from elman.text.vocabulary import TextCodec

# Every cell with each of its activations, by name.
CELLS = [
    *(("rnn", activation) for activation in cells.ACTIVATIONS),
    *((name, "tanh") for name in cells.CELLS if name != "rnn"),
]
CELL_NAMES = [*cells.CELLS]
CHARACTERS = "\n abcdefgh"


def _codec(level: str, documents: str) -> TextCodec:
    tokens = CHARACTERS if level == "char" else ["\n", "I", "like", "pizza", "!", "(", "tea", "my"]
    special = ("<unk>",) if documents == "file" else ("<unk>", "<end>")
    kept = [token for token in tokens if token != "\n" or documents == "file"]
    return TextCodec(level, (*special, *kept), "words", documents)


def make_model(
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


def open_language(model: Model) -> LanguagePredictor:
    """Return the predictor of a language model."""
    predictor = tasks.open_model(model)
    assert isinstance(predictor, LanguagePredictor)
    return predictor


def load_language_dataset(
    text: Any, *, valid: Any = None, test: Any = None, workspace: Any = None, **options: Any
) -> Dataset:
    return load_dataset(
        text, LanguageOptions(**options), valid=valid, test=test, workspace=workspace
    )


TOKENS = ("<unk>", "\n", " ", *"abcdef()“”.")


def bracketed(length: int, seed: int = 0) -> str:
    """Return random letters, some of them in brackets."""
    draw = np.random.default_rng(seed)
    pieces: list[str] = []
    while sum(map(len, pieces)) < length:
        words = "".join(draw.choice([*"abcdef "], draw.integers(5, 30)))
        pieces.append(f"({words})" if draw.random() < 0.4 else words)
    return "".join(pieces)[:length]


def latch(sign: int = 1) -> LanguagePredictor:
    """Return a relu network whose unit 3 is 1 inside brackets, or only outside; the other units are noise."""
    codec = TextCodec("char", TOKENS)
    V, H = len(TOKENS), 8
    config = NetworkConfig("language", "rnn", "relu", V, V, H, 1)
    draw = np.random.default_rng(1)
    arrays = {
        name: (0.1 * draw.standard_normal(shape)).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    arrays["embedding.weight"] = np.eye(V, dtype=np.float32)
    for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
        arrays[f"layers.0.{name}"][3] = 0
    arrays["layers.0.weight_hh"][3, 3] = 1
    arrays["layers.0.weight_ih"][3, TOKENS.index("(")] = sign
    arrays["layers.0.weight_ih"][3, TOKENS.index(")")] = -sign
    return LanguagePredictor(Model(config, arrays, codec, {}))
