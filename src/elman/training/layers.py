"""Recurrent layers of `elman.nn`, made from a configuration."""

from __future__ import annotations

from typing import Any

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
) -> Any:
    """Return one recurrent layer with the cell of `config`; `precision` is "float32" or "bf16"."""
    kind: Any = nn.layer_class(find(config.cell))
    how = {"nonlinearity": config.activation} if config.cell == "rnn" else {}
    layer = kind(input_size, hidden_size, bias=config.bias, bidirectional=bidirectional, **how)
    layer.precision = precision
    return layer
