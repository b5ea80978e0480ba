"""Recurrent layers of `elman.nn`, made from a configuration."""

from __future__ import annotations

from typing import Any

import torch

from elman import nn
from elman.cells import find
from elman.engine.config import ModelConfig


def recurrent(
    config: ModelConfig,
    input_size: int,
    hidden_size: int,
    precision: str,
    *,
    bidirectional: bool = False,
) -> torch.nn.Module:
    """Return one recurrent layer with the cell of `config`; `precision` is "float32" or "bf16"."""
    # The classes of torch and ours have no common base that declares `precision`.
    layer_class: Any = nn.layer_class(find(config.cell))
    # Only torch's plain RNN has a choice of activations.
    activation = {"nonlinearity": config.activation} if config.cell == "rnn" else {}
    layer = layer_class(
        input_size, hidden_size, bias=config.bias, bidirectional=bidirectional, **activation
    )
    layer.precision = precision
    network: torch.nn.Module = layer
    return network
