"""The network forward in plain numpy: a layer over a sequence, the stack of layers, the head.

This is the specification, the fallback and the oracle of the compiled kernel. The input product of
a whole sequence is one matrix product; only the cell's step goes through time.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from elman.cells import Cell, State, find, numpy_ops, scan
from elman.engine.shapes import check
from elman.errors import InputError
from elman.files.model import Model

__all__ = ["TABLE_LIMIT", "Stack", "bounded", "layer_sequence", "log_softmax"]

# States and logits are held within ± LIMIT once one of them has left the finite range; the square of
# this is still a float32.
LIMIT = 1e18

# A first layer's input share is kept ready for every token up to this many numbers (8 MiB).
TABLE_LIMIT = 2**21


def bounded(x: np.ndarray) -> np.ndarray:
    """Return `x` with every number finite and its square too."""
    whole: np.ndarray = np.nan_to_num(x, nan=0.0, posinf=LIMIT, neginf=-LIMIT)
    return whole.clip(-LIMIT, LIMIT)


class _Layer:
    """One layer's weights, transposed and contiguous once, in one type."""

    def __init__(self, cell: Cell, parameters: Mapping[str, np.ndarray], dtype: Any) -> None:
        def ready(name: str) -> np.ndarray | None:
            return np.ascontiguousarray(parameters[name].T, dtype) if name in parameters else None

        weight_ih = ready("weight_ih")
        if weight_ih is None:
            raise InputError("parameters of a layer", got=sorted(parameters), expected="weight_ih")
        self.cell = cell
        self.weight_ih = weight_ih
        self.weight_hh = ready("weight_hh")
        self.bias_ih = ready("bias_ih")
        self.bias_hh = ready("bias_hh")
        self.hidden_size = weight_ih.shape[1] // cell.G
        check(weight_ih, "I G*H", "weight_ih transposed", G=cell.G, H=self.hidden_size)
        if cell.recurrent:
            if self.weight_hh is None:
                raise InputError(
                    "parameters of a layer", got=sorted(parameters), expected="weight_hh"
                )
            check(self.weight_hh, "H G*H", "weight_hh transposed", G=cell.G, H=self.hidden_size)

    def input_sums(self, x: np.ndarray) -> np.ndarray:
        """Return gx ``[..., G·H]`` of ``x [..., I]``: one product for the whole sequence."""
        gx: np.ndarray = (x.reshape(-1, x.shape[-1]) @ self.weight_ih).reshape(*x.shape[:-1], -1)
        if self.bias_ih is not None:
            gx += self.bias_ih
        return gx

    def run(self, gx: np.ndarray, state: State, limited: bool = False) -> tuple[np.ndarray, State]:
        """Return ``y [T, B, H]`` and the last state; `limited` keeps every state finite."""
        cell, ops = self.cell, numpy_ops()
        if cell.scan is not None and not limited:
            a, b = cell.scan(ops, gx)
            y = scan.sequential(ops, a, b, state[0]) if len(gx) > 1 else a * state[0] + b
            # a copy: a view would keep every step in memory as long as the state lives
            return y, (y[-1].copy(),)
        y = np.empty((*gx.shape[:-1], self.hidden_size), gx.dtype)
        gh = None
        for step in range(len(gx)):
            if self.weight_hh is not None:
                gh = state[0] @ self.weight_hh
                if self.bias_hh is not None:
                    gh += self.bias_hh
            state = cell.step(ops, gx[step], gh, state)
            if limited:
                state = tuple(bounded(part) for part in state)
            y[step] = state[0]
        return y, state


def layer_sequence(
    cell: Cell, parameters: Mapping[str, np.ndarray], x: np.ndarray, state: State | None = None
) -> tuple[np.ndarray, State]:
    """Return ``(y [T, B, H], state)`` of one layer over the whole sequence ``x [T, B, I]``.

    `parameters` has PyTorch's names without layer suffix (`Cell.parameters`); biases may be absent.
    The state is a tuple of ``[B, H]`` arrays, one for each of ``cell.states``; None starts from
    zeros. The calculation has the type of `x`: float64 in gives float64 out. Raises ShapeError.

    >>> from elman.cells import find
    >>> linear = find("rnn", "linear")
    >>> weights = {"weight_ih": np.array([[2.0]]), "weight_hh": np.array([[0.5]])}
    >>> y, _ = layer_sequence(linear, weights, np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1))
    >>> y.ravel().tolist()
    [2.0, 1.0, 0.5]
    """
    layer = _Layer(cell, parameters, x.dtype)
    T, B = x.shape[0], x.shape[1]
    check(x, "T B I", "x", I=layer.weight_ih.shape[0])
    if state is None:
        state = cell.initial_state(B, layer.hidden_size, x.dtype)
    for part in state:
        check(part, "B H", "state", B=B, H=layer.hidden_size)
    if T == 0:
        return np.empty((0, B, layer.hidden_size), x.dtype), state
    return layer.run(layer.input_sums(x), tuple(part.astype(x.dtype) for part in state))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the log probabilities ``[..., V]`` of finite ``logits [..., V]``.

    >>> log_softmax(np.array([0.0, 0.0])).round(4).tolist()
    [-0.6931, -0.6931]
    """
    result: np.ndarray = logits - logits.max(axis=-1, keepdims=True)
    result -= np.log(np.exp(result).sum(axis=-1, keepdims=True))
    return result


class Stack:
    """Embedding, layers and head of a model in contiguous arrays, in one type."""

    def __init__(self, model: Model, dtype: np.dtype) -> None:
        config, arrays = model.config, model.arrays
        self.residual = config.residual
        self.cell = find(config.cell, config.activation)
        names = self.cell.parameters(1, 1, config.bias)
        self.layers = [
            _Layer(self.cell, {name: arrays[f"layers.{k}.{name}"] for name in names}, dtype)
            for k in range(config.num_layers)
        ]
        embedding = np.ascontiguousarray(arrays["embedding.weight"], dtype)
        head = arrays["embedding.weight" if config.tied else "head.weight"]
        self._head = np.ascontiguousarray(head.T, dtype)
        self._head_bias = np.ascontiguousarray(arrays["head.bias"], dtype)
        first = self.layers[0]
        with np.errstate(over="ignore", invalid="ignore"):
            ready = len(embedding) * first.weight_ih.shape[1] <= TABLE_LIMIT
            self._table = first.input_sums(embedding) if ready else None
        self._embedding = embedding

    def forward(
        self, tokens: np.ndarray, state: np.ndarray, limited: bool = False
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return what `Network.forward` does; `limited` keeps every state finite."""
        first, *others = self.layers
        before = iter(self._layer_states(state))
        table = self._table
        gx = table[tokens] if table is not None else first.input_sums(self._embedding[tokens])
        y, parts = first.run(gx, next(before), limited)
        after = [*parts]
        for layer in others:
            x = y
            y, parts = layer.run(layer.input_sums(x), next(before), limited)
            after += parts
            if self.residual:
                y = y + x
        return y, np.concatenate([*after, y[-1]], axis=1)

    def _layer_states(self, state: np.ndarray) -> list[State]:
        count, H = len(self.cell.states), self.layers[0].hidden_size
        parts = np.split(state, range(H, state.shape[1], H), axis=1)
        return [
            tuple(parts[layer * count : (layer + 1) * count]) for layer in range(len(self.layers))
        ]

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        """Return the logits ``[..., V]`` of ``hidden [..., H]``."""
        result: np.ndarray = hidden @ self._head
        result += self._head_bias
        return result
