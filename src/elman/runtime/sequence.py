"""The network forward in plain numpy: a layer over a sequence, the stack of layers, the head.

This is the specification, the fallback and the oracle of the compiled kernel. The input product of
a whole sequence is one matrix product; only the cell's step goes through time.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, TypeAlias

import numpy as np

from elman._errors import InputError
from elman._shapes import check
from elman.cells import Cell, State, find, numpy_ops, scan
from elman.model import Model

__all__ = ["BLOCK", "Network", "NetworkState", "layer_sequence", "log_softmax"]

NetworkState: TypeAlias = tuple[tuple[np.ndarray, ...], ...]  # layers of states [B, H]

# States and logits are held within ± LIMIT once one of them has left the finite range; the square of
# this is still a float32.
LIMIT = 1e18

# A first layer's input share is kept ready for every token up to this many numbers (8 MiB).
TABLE_LIMIT = 2**21

# Logits held at once where there are many rows of them (8 MiB).
BLOCK = 2**21


def _bounded(x: np.ndarray) -> np.ndarray:
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
                state = tuple(_bounded(part) for part in state)
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


class Network:
    """A model's network made ready to run: embedding, layers and head in contiguous arrays.

    `dtype` is float32, or float64 where an oracle is wanted. Nothing here changes after it is made,
    so any number of streams and threads may share one.
    """

    def __init__(self, model: Model, dtype: Any = np.float32) -> None:
        config, arrays = model.config, model.arrays
        self.model = model
        self.dtype = np.dtype(dtype)
        self.cell = find(config.cell, config.activation)
        names = self.cell.parameters(1, 1, config.bias)
        self.layers = [
            _Layer(self.cell, {name: arrays[f"layers.{k}.{name}"] for name in names}, self.dtype)
            for k in range(config.num_layers)
        ]
        embedding = np.ascontiguousarray(arrays["embedding.weight"], self.dtype)
        head = arrays["embedding.weight" if config.tied else "head.weight"]
        self._head = np.ascontiguousarray(head.T, self.dtype)
        self._head_bias = np.ascontiguousarray(arrays["head.bias"], self.dtype)
        first = self.layers[0]
        with np.errstate(over="ignore", invalid="ignore"):
            ready = len(embedding) * first.weight_ih.shape[1] <= TABLE_LIMIT
            self._table = first.input_sums(embedding) if ready else None
        self._embedding = embedding

    @functools.cached_property
    def digest(self) -> bytes:
        """The SHA-256 of configuration, vocabulary and weights: which model a state belongs to."""
        whole = hashlib.sha256(json.dumps(asdict(self.model.config), sort_keys=True).encode())
        codec = self.model.codec
        for token in (codec.level, codec.split, codec.documents, *codec.tokens):
            whole.update(token.encode("utf-8", "surrogatepass") + b"\xff")
        for name in sorted(self.model.arrays):
            whole.update(name.encode() + b"\xff")
            whole.update(np.ascontiguousarray(self.model.arrays[name]).data)
        return whole.digest()

    def initial_state(self, batch_size: int) -> NetworkState:
        """Return the start state of every layer: zeros ``[B, H]``."""
        return tuple(
            self.cell.initial_state(batch_size, layer.hidden_size, self.dtype)
            for layer in self.layers
        )

    @functools.cached_property
    def start(self) -> tuple[NetworkState, np.ndarray]:
        """The state and the output ``[1, H]`` from which the first token is predicted.

        The output is that after the codec's start token. Only `<end>`, which begins every line in
        training, is in the state too: a text that no document end precedes is read from zeros.
        """
        zeros, codec = self.initial_state(1), self.model.codec
        y, layers = self.forward(np.array([[codec.start_id]]), zeros)
        return (zeros if codec.end_id is None else layers), y[-1]

    def forward(
        self, tokens: np.ndarray, state: NetworkState, fresh: np.ndarray | None = None
    ) -> tuple[np.ndarray, NetworkState]:
        """Return the last layer's output ``[T, B, H]`` and the new state, for ``tokens [T, B]``.

        Lanes marked in ``fresh [B]`` start from zeros. Tokens are ids below V; T is at least 1.
        """
        if fresh is not None and fresh.any():
            start = fresh[:, None]
            zero = self.dtype.type(0)
            state = tuple(tuple(np.where(start, zero, part) for part in parts) for parts in state)
        with np.errstate(over="ignore", invalid="ignore"):
            y, after = self._run(tokens, state, limited=False)
            # a NaN anywhere below has reached y; the plain pass above is the common one
            if not math.isfinite(np.vdot(y, y)):
                y, after = self._run(tokens, state, limited=True)
        return y, after

    def _run(
        self, tokens: np.ndarray, state: NetworkState, limited: bool
    ) -> tuple[np.ndarray, NetworkState]:
        first, *others = self.layers
        table = self._table
        gx = table[tokens] if table is not None else first.input_sums(self._embedding[tokens])
        y, parts = first.run(gx, state[0], limited)
        after = [parts]
        for layer, before in zip(others, state[1:], strict=True):
            x = y
            y, parts = layer.run(layer.input_sums(x), before, limited)
            after.append(parts)
            if self.model.config.residual:
                y = y + x
        return y, tuple(after)

    def logits(self, hidden: np.ndarray) -> np.ndarray:
        """Return the logits ``[..., V]`` of ``hidden [..., H]``, finite whatever the weights."""
        with np.errstate(over="ignore", invalid="ignore"):
            result: np.ndarray = hidden @ self._head
            result += self._head_bias
            if not math.isfinite(np.vdot(result, result)):
                result = _bounded(result)
        return result

    def log_probabilities(self, hidden: np.ndarray) -> np.ndarray:
        """Return the log probabilities ``[..., V]`` after ``hidden [..., H]``."""
        return log_softmax(self.logits(hidden))

    def target_log_probabilities(self, hidden: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Return the log probability ``[N]`` of each of ``targets [N]`` after ``hidden [N, H]``.

        Works in blocks of rows, so that ``[N, V]`` is never held whole.
        """
        result = np.empty(len(targets), self.dtype)
        rows = max(1, BLOCK // len(self._head_bias))
        for start in range(0, len(targets), rows):
            block = self.log_probabilities(hidden[start : start + rows])
            wanted = targets[start : start + rows]
            result[start : start + rows] = block[np.arange(len(wanted)), wanted]
        return result
