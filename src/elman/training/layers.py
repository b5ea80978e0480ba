"""Recurrent layers of `elman.nn`, made from a configuration."""

from __future__ import annotations

from collections.abc import Callable

import torch

from elman import nn
from elman.cells import find
from elman.engine.config import ModelConfig

__all__ = ["recurrent"]


def recurrent(
    config: ModelConfig,
    input_size: int,
    hidden_size: int,
    precision: str,
    *,
    bidirectional: bool = False,
) -> torch.nn.Module:
    """Return one recurrent layer with the cell of `config`; `precision` is "float32" or "bf16"."""
    layer_class: Callable[..., torch.nn.Module] = nn.layer_class(find(config.cell))
    options = {"bias": config.bias, "bidirectional": bidirectional}
    if config.cell == "rnn":
        options["nonlinearity"] = config.activation
    layer = layer_class(input_size, hidden_size, **options)
    layer.precision = precision
    return layer
