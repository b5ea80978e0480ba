"""A model as the runtime of the exported page reads it: sizes, vocabulary and weights."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.export.refusal import refusal
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.language.network import Network
from elman.tasks import open_model, task_of

MAX_FLOAT32_WEIGHTS = 500_000
"""Largest number of weights that are written as float32. More are written as the upper 24 bits of it, which
keeps the file of an LSTM with 512 units below 6 MB and moves probabilities by less than 0.0001."""

_SIZES = ("cell", "activation", "hidden_size", "num_layers")


class Weights:
    """Arrays one after the other, as base64 text."""

    def __init__(self) -> None:
        self._arrays: list[np.ndarray] = []
        self._shapes: list[tuple[str, int, int]] = []
        self._count = 0

    def add(self, name: str, array: np.ndarray) -> None:
        """Add an array; a matrix is written column by column, as the runtime multiplies with it."""
        flat = np.ascontiguousarray(array.T, np.float32).ravel()
        self._arrays.append(flat)
        self._shapes.append((name, self._count, self._count + flat.size))
        self._count += flat.size

    def packed(self) -> dict[str, Any]:
        """Return the arrays, their names and positions, and the number of bytes of a weight."""
        bits = np.concatenate(self._arrays).view(np.uint32).astype("<u4")
        width = 4
        if self._count > MAX_FLOAT32_WEIGHTS:
            # Round to the nearest; a float32 is far from the largest number here, so nothing overflows.
            bits, width = bits + np.uint32(0x80), 3
        bytes_ = bits.view(np.uint8).reshape(-1, 4)[:, 4 - width :]
        weights = base64.b64encode(np.ascontiguousarray(bytes_).tobytes()).decode()
        return {"weights": weights, "shapes": self._shapes, "width": width}


def described_model(model: Model, name: str) -> dict[str, Any]:
    """Return a model as JSON for the page; raises InputError for a model that the page cannot run."""
    config = model.config
    if not isinstance(config, NetworkConfig):
        raise refusal("html", f"a model for {config.task}")
    network = Network(model)
    replies = task_of(model).replies_type(open_model(model))
    # The card of the training is left out: it names files and holds samples.
    card = {
        **replies.details(),
        "id": name,
        "task": config.task,
        "answers": replies.answers,
        **{field: getattr(config, field) for field in _SIZES},
        "parameters": model.parameter_count,
        "measures_units": False,
        "panels": {
            panel: None if panel in replies.panels else "This file does not hold this panel."
            for panel in ("unrolled", "memory", "series", "training")
        },
    }
    return {"card": card, **_language(network)}


def _language(network: Network) -> dict[str, Any]:
    config, codec, arrays = network.model.config, network.model.codec, network.arrays
    if codec.split == "log":
        raise refusal("html", "a vocabulary of log lines (split log)")
    weights = Weights()
    layers = {key: array for key, array in arrays.items() if key.startswith("layers.")}
    # The first layer's sums of every token, where that is smaller than the embedding and its weights.
    first = layers["layers.0.weight_ih"]
    if len(codec) * len(first) <= network.embedding.size + first.size:
        bias = layers.pop("layers.0.bias_ih", np.float32(0))
        sums = network.embedding.astype(np.float64) @ layers.pop("layers.0.weight_ih").T + bias
        weights.add("table", sums.T)
    else:
        weights.add("table", network.embedding.T)
    for key, array in layers.items():
        weights.add(key, array)
    weights.add("head.weight", network.head_weight)
    weights.add("head.bias", network.head_bias)
    return {
        "config": {field: getattr(config, field) for field in ("task", *_SIZES, "residual")},
        "codec": {**codec.settings(), "tokens": codec.tokens},
        "layer_weights": sum(a.size for key, a in arrays.items() if key.startswith("layers.")),
        "seeds": {
            "test": _seed(0),
            "samples": [_seed([sample, *network.digest]) for sample in (0, 1)],
        },
        **weights.packed(),
    }


def _seed(seed: int | Sequence[int]) -> list[str]:
    """Return the state and increment of numpy's generator with a seed."""
    state = np.random.default_rng(seed).bit_generator.state["state"]
    return [str(state["state"]), str(state["inc"])]
