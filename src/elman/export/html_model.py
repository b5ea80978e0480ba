"""A model as the runtime of the exported page reads it: sizes, vocabulary and weights."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.export.html_forecast import described_forecaster, example_values
from elman.export.html_labels import described_labels
from elman.export.html_weights import Weights, seed_of
from elman.export.refusal import refusal
from elman.files.model import Model
from elman.labels.config import SequenceConfig
from elman.language.config import NetworkConfig
from elman.language.network import Network
from elman.series.config import ForecastConfig
from elman.tasks import open_model, task_of

_SIZES = ("cell", "activation", "hidden_size", "num_layers")


def described_model(model: Model, name: str) -> dict[str, Any]:
    """Return a model as JSON for the page; raises InputError for a model that the page cannot run."""
    config = model.config
    if isinstance(config, NetworkConfig):
        described = _language(Network(model))
    elif isinstance(config, SequenceConfig):
        described = described_labels(model)
    elif isinstance(config, ForecastConfig):
        described = described_forecaster(model)
    else:
        raise refusal("html", f"a model for {config.task}")
    replies = task_of(model).replies_type(open_model(model))
    # The card of the training is left out: it names files and holds samples.
    card = {
        **replies.details(),
        "id": name,
        "task": config.task,
        "answers": replies.answers,
        **{field: getattr(config, field) for field in _SIZES},
        "parameters": model.parameter_count,
        # the page reads the kind of the input here
        "card": {"data": {"kind": _kind(model)}},
        "measures_units": False,
        "panels": {
            panel: None if panel in replies.panels else "This file does not hold this panel."
            for panel in ("unrolled", "memory", "series", "training")
        },
    }
    if isinstance(config, ForecastConfig):
        # The file holds no value of a series and no name of one: the page begins with an invented series.
        card |= {"series": [], "example": example_values(model.codec)}
    return {"card": card, **described}


def _kind(model: Model) -> str:
    """Return what the page hands to the runtime: a text, tokens, rows of numbers, or a series."""
    config = model.config
    if isinstance(config, ForecastConfig):
        return "values"
    if not isinstance(config, SequenceConfig):
        return "text"
    return "numbers" if config.channels else "tokens" if config.kind.per_step else "text"


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
            "test": seed_of(0),
            "samples": [seed_of([sample, *network.digest]) for sample in (0, 1)],
        },
        **weights.packed(),
    }
