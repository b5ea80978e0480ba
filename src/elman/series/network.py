"""Forward pass of the forecaster without torch, shared by predictions and attributions.

Each member of the forecaster computes, from the segments ``x [S, B, F]`` of its windows::

    read   = relu(input · x + input_bias)                          [S, B, H]
    y      = the recurrent layers over read                        [S, B, H]
    mixed  = relu(middle · (y, read) + middle_bias)                [ahead, B, H], future segments only
    answer = output · mixed + output_bias + skip · x               [ahead, B, s, Q]

`skip` adds the same number to all quantiles of a time step. `elman.series.network_torch` trains this network.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np

from elman.cells import find
from elman.engine.layers import Layer, bounded, member_arrays
from elman.engine.pauses import one_thread
from elman.series.config import ForecastConfig


class Activations(NamedTuple):
    """The results of a forward pass that predictions and gradients need."""

    read: np.ndarray
    """``[S, B, H]``: the inputs of the recurrent layers."""
    mixed: np.ndarray
    """``[ahead, B, H]``."""
    answers: np.ndarray
    """``[ahead, B, s, Q]``: quantiles in units of the window, as distances from the naive forecast."""


def _linear(weights: Mapping[str, np.ndarray], name: str, x: np.ndarray) -> np.ndarray:
    # One product of all segments is faster than one for each segment.
    rows = x.reshape(-1, x.shape[-1]) @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]
    result: np.ndarray = rows.reshape(*x.shape[:-1], -1)
    return result


def recurrent_inputs(weights: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    """Return the inputs of the recurrent layers, ``[..., H]``, for segments ``x [..., F]``."""
    read: np.ndarray = np.maximum(_linear(weights, "input", x), 0)
    return read


def forward(
    weights: Mapping[str, np.ndarray],
    x: np.ndarray,
    ahead: int,
    recurrent: Callable[[np.ndarray], np.ndarray],
) -> Activations:
    """Run the network of this module's formula in the type of `x` and `weights`.

    Args:
        weights: The parameters of one member, by the names of `ForecastConfig.parameters`.
        x: ``[S, B, F]``.
        ahead: The number of future segments.
        recurrent: Maps the inputs of the recurrent layers to their outputs, both ``[S, B, H]``.
    """
    read = recurrent_inputs(weights, x)
    y = recurrent(read)
    future = slice(len(x) - ahead, None)
    # [ahead, B, 2·H]
    both = np.concatenate([y[future], read[future]], axis=2)
    mixed = np.maximum(_linear(weights, "middle", both), 0)
    # [ahead, B, s]
    skipped = x[future] @ weights["skip.weight"].T
    answers = _linear(weights, "output", mixed).reshape(*skipped.shape, -1)
    return Activations(read, mixed, answers + skipped[..., None])


class ForecastNetwork:
    """One member of a forecaster, ready to answer; its recurrent layers run in the kernel."""

    def __init__(self, config: ForecastConfig, arrays: Mapping[str, np.ndarray], m: int) -> None:
        self.arrays = member_arrays(arrays, m)
        cell = find(config.cell, config.activation)
        self.layers = [Layer(cell, self.arrays, f"layers.{k}") for k in range(config.num_layers)]

    def _recurrent(self, read: np.ndarray) -> np.ndarray:
        S, B, _ = read.shape
        # The kernel takes the time steps below one another, all with B rows.
        y, sizes = read.reshape(S * B, -1), np.full(S, B)
        for layer in self.layers:
            y, _ = layer.run(y, sizes)
        return y.reshape(S, B, -1)

    @one_thread()
    def answer(self, inputs: np.ndarray, ahead: int) -> np.ndarray:
        """Return finite quantiles ``[B, reach, Q]`` in units of the window for ``inputs [S, B, F]``."""
        # Windows of extreme values may overflow here; `bounded` makes their answers finite.
        with np.errstate(over="ignore", invalid="ignore"):
            answers = forward(self.arrays, inputs, ahead, self._recurrent).answers
        _, B, _, Q = answers.shape
        return bounded(answers.transpose(1, 0, 2, 3).reshape(B, -1, Q))
