"""A language model's network in numpy: embedding, recurrent layers and head.

It is the specification and the fallback of the compiled kernel's network (`elman.engine.kernel.network`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import numpy as np
from numpy.typing import DTypeLike

from elman.cells import State, find
from elman.engine.layers import Layer

TABLE_LIMIT = 2**21
"""Largest table of the first layer's input sums of every token, in numbers (8 MiB)."""


class _LanguageConfig(Protocol):
    @property
    def cell(self) -> str: ...
    @property
    def activation(self) -> str: ...
    @property
    def num_layers(self) -> int: ...
    @property
    def residual(self) -> bool: ...
    @property
    def tied(self) -> bool: ...


class NumpyNetwork:
    """A language model's network, ready to run in numpy.

    Args:
        config: cell, number of layers, and whether layers are residual and the head is tied to the embedding.
        arrays: the parameters by the names of the model file.
        dtype: type of the calculation.
    """

    def __init__(
        self, config: _LanguageConfig, arrays: Mapping[str, np.ndarray], dtype: DTypeLike
    ) -> None:
        self.residual = config.residual
        self.cell = find(config.cell, config.activation)
        self.layers = [
            Layer(self.cell, arrays, f"layers.{k}", dtype) for k in range(config.num_layers)
        ]
        self._embedding = np.ascontiguousarray(arrays["embedding.weight"], dtype)
        head = arrays["embedding.weight" if config.tied else "head.weight"]
        self._head = np.ascontiguousarray(head.T, dtype)
        self._head_bias = np.ascontiguousarray(arrays["head.bias"], dtype)
        first = self.layers[0]
        numbers = len(self._embedding) * len(first.directions[0].weight_ih)
        with np.errstate(over="ignore", invalid="ignore"):
            self._table = first.input_sums(self._embedding) if numbers <= TABLE_LIMIT else None

    def forward(
        self, tokens: np.ndarray, state: np.ndarray, *, limited: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the last layer's outputs ``[T, B, H]`` and the new state ``[B, ...]``.

        Args:
            tokens: token numbers ``[T, B]``.
            state: for each stream the states of every layer, then the last output.
            limited: whether to keep every state finite; finite numbers do not change.
        """
        T, B = tokens.shape
        sizes, ids = np.full(T, B), tokens.reshape(-1)
        table = self._table
        after: list[np.ndarray] = []
        x = self._embedding[ids] if table is None else np.empty(0)
        for k, (layer, start) in enumerate(zip(self.layers, self._states(state), strict=True)):
            gx = table[ids] if k == 0 and table is not None else layer.input_sums(x)
            y, end = layer.run_in_numpy(gx, sizes, start, limited=limited)
            after += end
            x = y + x if self.residual and k else y
        y = x.reshape(T, B, -1)
        return y, np.concatenate([*after, y[-1]], axis=1)

    def _states(self, state: np.ndarray) -> list[State]:
        """Return the state of each layer, a tuple of ``[B, H]``."""
        count, H = len(self.cell.states), self.layers[0].hidden_size
        columns = np.split(state, range(H, state.shape[1], H), axis=1)
        return [tuple(columns[k * count : (k + 1) * count]) for k in range(len(self.layers))]

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        """Return the logits ``[..., V]`` of ``hidden [..., H]``."""
        result: np.ndarray = hidden @ self._head
        result += self._head_bias
        return result
