"""Makes the golden model files of this folder: a tiny model of each cell, from a formula.

Run ``python tests/golden/make.py`` once for a new format version; the files of the old one stay.
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np

from elman import cells
from elman.config import NetworkConfig
from elman.data.vocabulary import TextCodec
from elman.model import FORMAT, Model

HERE = Path(__file__).parent


def golden_models() -> dict[str, Model]:
    """Return the models by the names of their files."""
    models = {}
    for number, cell in enumerate(cells.CELLS):
        letters, words = ("a", "é", "\n"), ("pizza", "like", "I", "\n")
        codec = (
            TextCodec("char", ("<unk>", "<end>", *letters[:2]), "words", "line")
            if number % 2
            else TextCodec("word", ("<unk>", *words), "words", "file")
        )
        config = NetworkConfig(
            task="language",
            cell=cell,
            activation="relu" if cell == "rnn" else "tanh",
            vocabulary_size=len(codec.tokens),
            embedding_size=3 if number < 2 else 2,
            hidden_size=3,
            num_layers=1 + number % 2,
            residual=number % 2 == 1,
            tied=number < 2,
            bias=cell != "lstm",
        )
        arrays, start = {}, 0
        for name, shape in config.parameters().items():
            size = math.prod(shape)
            # Multiples of 1/64 are exact in float32: the bytes depend on no rounding.
            values = (np.arange(start, start + size) * 37 % 129 - 64) / 64
            arrays[name] = values.astype(np.float32).reshape(shape)
            start += size
        card = {"version": "0.1.0", "held_out": {"loss": 1.25, "tokens": 8}, "file": "pizzería.txt"}
        models[f"{cell}-{FORMAT}.safetensors"] = Model(config, arrays, codec, card)
    return models


def main() -> None:
    """Write every file, none over an older one."""
    for name, model in golden_models().items():
        if not (HERE / name).exists():
            model.save(HERE / name)


if __name__ == "__main__":
    main()
