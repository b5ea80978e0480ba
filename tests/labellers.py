"""Classifiers, regressors and taggers with random weights, for tests."""

from __future__ import annotations

import numpy as np

from elman.files.model import Model
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.label_values import Labels
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec


def make_labelled(seed: int, task: str, cell: str, activation: str) -> Model:
    """Make a random network for labelled sequences, of random kind and sizes."""
    draw = np.random.default_rng(seed)

    def some() -> bool:
        return bool(draw.random() < 0.5)

    numbers, spelled = some(), some()
    scaler = Scaler(draw.normal(size=2), draw.uniform(0.5, 2, 2), indicator=some())
    words = TextCodec("word", ("<unk>", "good", "bad", "tea"))
    codec = SequenceCodec(
        tokens=None if numbers else words,
        alphabet=TextCodec("char", ("<unk>", *"abcde")) if spelled and not numbers else None,
        scaler=scaler if numbers else None,
        target=Scaler(np.array([3.0]), np.array([2.5])) if task == "regress" else None,
        labels=None if task == "regress" else Labels.of(["B-x", "I-x", "O"]),
    )
    pools = draw.permutation(["last", "mean", "max", "attention"])[: draw.integers(1, 5)]
    config = SequenceConfig(
        task, cell, activation,
        vocabulary_size=0 if numbers else 4,
        embedding_size=0 if numbers else 3,
        alphabet_size=6 if codec.alphabet else 0,
        spelling_size=2 if codec.alphabet else 0,
        channels=scaler.channels if numbers else 0,
        hidden_size=int(draw.integers(1, 9)),
        num_layers=int(draw.integers(1, 4)),
        bidirectional=some(),
        bias=some(),
        pooling="" if task == "tag" else "+".join(pools),
        outputs=1 if task == "regress" else 3,
        members=int(draw.integers(1, 3)),
        transitions=task == "tag" and some(),
        affixes=16 if task == "tag" and codec.alphabet else 0,
    )  # fmt: skip
    arrays = {
        name: draw.normal(scale=0.5, size=shape).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    return Model(config, arrays, codec, {})
