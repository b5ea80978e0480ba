"""Recurrent layers of `elman.nn` made from a configuration, and the initial weights of a network."""

from __future__ import annotations

from typing import Any

import torch

from elman import nn
from elman.cells import find
from elman.engine.config import ModelConfig
from elman.inspect.predictor import InitialWeights


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


def initialise(network: torch.nn.Module, config: ModelConfig, weights: InitialWeights) -> None:
    """Set the initial weights of `network` that differ from those that torch has drawn."""
    with torch.no_grad():
        # The order of the parameters decides which random numbers each of them gets.
        parameters = dict(network.named_parameters())
        for name, parameter in parameters.items():
            if name in ("embedding.weight", "alphabet.weight"):
                std = weights.embeddings(parameter.shape[1], parameters)
                torch.nn.init.normal_(parameter, std=std)
            elif name.startswith(weights.zero):
                torch.nn.init.zeros_(parameter)
            elif weights.open_forget_gates and config.cell == "lstm" and "bias_ih" in name:
                # The forget gate starts open: R. Jozefowicz et al. (2015), section 2.2. The order is i f g o.
                size = len(parameter) // 4
                parameter[size : 2 * size] = 1.0
