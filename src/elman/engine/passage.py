"""A sequence read through a stack of layers, all of it kept, to go back through.

Two ways lead back. The true gradient comes from the kernel's own backward, or from numpy where there is none.
The frozen network (gates and slopes as they were, see `elman.cells`) is linear in what it read, so its way
back gives every input, the start state and the biases their exact share of any number read off the outputs:
"the equations written from backwards".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.cells import FROZEN, TRUE, Cell, Slopes, Step, find, numpy_ops
from elman.engine import kernel as native
from elman.engine.pauses import pause
from elman.errors import InputError

__all__ = ["Back", "Layers", "Passage"]


class Back(NamedTuple):
    """What the outputs' weights ``dy`` are worth at everything the layers read."""

    dx: np.ndarray
    """``[T, B, I]``."""
    dstart: list[np.ndarray]
    """``[D, S, B, H]`` a layer."""
    bias: np.ndarray
    """``[B]``: the share of all biases; of the frozen network alone, else zeros."""


class _Weights(NamedTuple):
    weight_ih: np.ndarray
    weight_hh: np.ndarray | None = None
    bias_ih: np.ndarray | None = None
    bias_hh: np.ndarray | None = None


class Layers:
    """The recurrent layers of a model, those of `names` (``layers.0`` and so on), each way.

    `config` tells cell and number, `arrays` are the parameters by name. float32 runs in the kernel where
    there is one; float64 is the oracle. Steps, states, gates and the frozen way back are numpy's: who wants
    these alone needs no `kernel` beside. With `residual` each layer but the first adds its input.
    """

    def __init__(
        self,
        config: Any,
        arrays: Mapping[str, np.ndarray],
        names: Sequence[str] | None = None,
        *,
        residual: bool = False,
        dtype: Any = np.float32,
        kernel: bool = True,
    ) -> None:
        def ready(name: str) -> np.ndarray:
            return np.ascontiguousarray(arrays[name], dtype)

        def weights(layer: str, way: str) -> _Weights:
            names = {part: f"{layer}.{part}{way}" for part in _Weights._fields}
            return _Weights(**{part: ready(name) for part, name in names.items() if name in arrays})

        if names is None:
            names = [f"layers.{k}" for k in range(config.num_layers)]
        self.cell: Cell = find(config.cell, config.activation)
        self.dtype = np.dtype(dtype)
        self.residual = residual
        self.weights = [
            [weights(name, way) for way in ("", "_reverse") if f"{name}.weight_ih{way}" in arrays]
            for name in names
        ]
        self.hidden_size = len(self.weights[0][0].weight_ih) // self.cell.G
        self.number = native.cell_number(config.cell, config.activation)
        able = kernel and self.dtype == np.float32 and self.number is not None
        self.kernel: Any = native.kernel() if able else None

    def start(self, batch_size: int) -> list[np.ndarray]:
        """Return the start state: zeros ``[D, S, B, H]`` a layer."""
        states = len(self.cell.states)
        return [
            np.zeros((len(ways), states, batch_size, self.hidden_size), self.dtype)
            for ways in self.weights
        ]

    def read(self, x: np.ndarray, start: Sequence[np.ndarray] | None = None) -> Passage:
        """Return the passage of ``x [T, B, I]``, T and B from 1, from `start`, zeros where it is not given.

        Raises InputError where a state leaves the range of numbers.
        """
        begin = self.start(x.shape[1]) if start is None else [*start]
        return Passage(self, x.astype(self.dtype), [part.astype(self.dtype) for part in begin])


class Passage:
    """What `Layers.read` returns: outputs, states and gates of every step, and the way back."""

    def __init__(self, layers: Layers, x: np.ndarray, start: list[np.ndarray]) -> None:
        self.layers, self.start = layers, start
        self.inputs: list[np.ndarray] = []
        """``[T, B, I]`` of each layer."""
        self.end: list[np.ndarray] = []
        """The last states, ``[D, S, B, H]`` a layer."""
        self._saved: list[list[Any]] = []
        self._steps: dict[int, list[list[Step]]] = {}
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(len(layers.weights)):
                self.inputs.append(x)
                y = self._layer(k, x)
                if not np.isfinite(y).all():
                    what = "the states of this network leave the range of numbers here"
                    raise InputError(what, remedy="explain a shorter sequence")
                x = y + x if layers.residual and k else y
        self.y = x
        """The outputs ``[T, B, D·H]``."""

    def _layer(self, k: int, x: np.ndarray) -> np.ndarray:
        """Return the layer's outputs, and keep its last states and what goes back."""
        layers = self.layers
        if layers.kernel is None:
            taken = self.taken(k)
            self.end.append(np.stack([[*steps[-1].after] for steps in taken]))
            outputs = [
                _in_time(way, [[step.after[0]] for step in steps])[0]
                for way, steps in enumerate(taken)
            ]
            return np.concatenate(outputs, axis=2)
        outputs, ends, saved = [], [], []
        for way in range(len(layers.weights[k])):
            y, end, kept = self._in_kernel(k, way, x)
            outputs.append(y.reshape(*x.shape[:2], -1))
            ends.append(end)
            saved.append((y, kept))
        self.end.append(np.stack(ends))
        self._saved.append(saved)
        return np.concatenate(outputs, axis=2) if len(outputs) > 1 else outputs[0]

    def _how(self, way: int, x: np.ndarray) -> tuple[Any, ...]:
        sizes = np.full(x.shape[0], x.shape[1], np.int64)
        return self.layers.number, sizes, way == 1, False, native.threads()

    def _in_kernel(self, k: int, way: int, x: np.ndarray) -> tuple[np.ndarray, np.ndarray, Any]:
        pause()
        layers = self.layers
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[2])
        y = np.empty((len(rows), layers.hidden_size), np.float32)
        start = np.ascontiguousarray(self.start[k][way])
        end = np.empty_like(start)
        kept = layers.kernel.forward(
            *self._how(way, x), rows, None, *layers.weights[k][way], start, y, end
        )
        return y, end, kept

    def taken(self, k: int) -> list[list[Step]]:
        """Return every step of a layer, a list for each direction, in the order in which it was taken."""
        if k not in self._steps:
            self._steps[k] = [_steps(self, k, way) for way in range(len(self.layers.weights[k]))]
        return self._steps[k]

    @property
    def states(self) -> list[np.ndarray]:
        """Every state after every step: ``[D, S, T, B, H]`` a layer."""
        return [
            np.stack(
                [
                    _in_time(way, [[*step.after] for step in steps])
                    for way, steps in enumerate(taken)
                ]
            )
            for taken in map(self.taken, range(len(self.inputs)))
        ]

    @property
    def gates(self) -> list[dict[str, np.ndarray]]:
        """The gates' values at every step: ``[D, T, B, H]`` by name, a layer."""
        found = []
        for taken in map(self.taken, range(len(self.inputs))):
            ways = [
                _in_time(way, [[*step.gates] for step in steps]) for way, steps in enumerate(taken)
            ]
            found.append(dict(zip(self.layers.cell.gates, np.stack(ways, axis=1), strict=True)))
        return found

    def back(self, dy: np.ndarray, *, frozen: bool = False, dend: np.ndarray | None = None) -> Back:
        """Return what ``sum(dy · y)`` is worth at what was read: its gradient, or the frozen shares.

        `dend` ``[D, S, B, H]`` weighs the last layer's last states too. Of the frozen network
        ``sum(dx · x) + sum(dstart · start) + bias`` is ``sum(dy · y) + sum(dend · end)`` to rounding.
        """
        layers = self.layers
        dy = dy.astype(layers.dtype)
        bias = np.zeros(dy.shape[1], layers.dtype)
        dstarts: list[np.ndarray] = []
        for k in range(len(layers.weights) - 1, -1, -1):
            dx = dy.copy() if layers.residual and k else np.zeros_like(self.inputs[k])
            starts = []
            for way, part in enumerate(np.split(dy, len(layers.weights[k]), axis=2)):
                last = None if dend is None else dend[way].astype(layers.dtype)
                if frozen or layers.kernel is None:
                    slopes = FROZEN if frozen else TRUE
                    moved, start, constant = self._step_back(k, way, slopes, part, last)
                    bias += constant if frozen else 0
                else:
                    moved, start = self._kernel_back(k, way, part, last)
                dx += moved
                starts.append(start)
            dstarts.append(np.stack(starts))
            dy, dend = dx, None
        return Back(dy, dstarts[::-1], bias)

    def _step_back(
        self, k: int, way: int, slopes: Slopes, dy: np.ndarray, dend: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        weights, cell = self.layers.weights[k][way], self.layers.cell
        steps = self.taken(k)[way]
        d_gx = np.empty((*dy.shape[:2], len(weights.weight_ih)), dy.dtype)
        constant = np.zeros(dy.shape[1], dy.dtype)
        d_state: tuple[Any, ...] = (0.0,) * len(cell.states) if dend is None else tuple(dend)
        order = range(len(dy)) if way else range(len(dy) - 1, -1, -1)
        for place, step in zip(order, reversed(steps), strict=True):
            pause()
            d_after = (d_state[0] + dy[place], *d_state[1:])
            to_input, to_hidden, d_state = cell.backward(slopes, step, d_after)
            d_gx[place] = np.concatenate(to_input, axis=1)
            if weights.weight_hh is not None:
                d_gh = np.concatenate(to_hidden, axis=1)
                d_state = (d_state[0] + d_gh @ weights.weight_hh, *d_state[1:])
                if weights.bias_hh is not None:
                    constant += d_gh @ weights.bias_hh
        if weights.bias_ih is not None:
            constant += (d_gx @ weights.bias_ih).sum(axis=0)
        shape = self.start[k][way].shape[1:]
        d_start = np.stack([np.broadcast_to(part, shape) for part in d_state])
        return d_gx @ weights.weight_ih, d_start, constant

    def _kernel_back(
        self, k: int, way: int, dy: np.ndarray, dend: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray]:
        x, weights = self.inputs[k], self.layers.weights[k][way]
        y, kept = self._saved[k][way]
        if kept is None:  # a way back overwrites what its forward kept
            y, _, kept = self._in_kernel(k, way, x)
        self._saved[k][way] = (y, None)
        rows = np.ascontiguousarray(x).reshape(-1, x.shape[2])
        dx = np.empty_like(rows)
        start = np.ascontiguousarray(self.start[k][way])
        d_start = np.empty_like(start)
        d_weights = [None if weight is None else np.empty_like(weight) for weight in weights]
        self.layers.kernel.backward(
            kept,
            *self._how(way, x),
            rows,
            None,
            *weights[:2],
            start,
            y,
            np.ascontiguousarray(dy).reshape(y.shape),
            None if dend is None else np.ascontiguousarray(dend),
            dx,
            *d_weights,
            d_start,
        )
        return dx.reshape(x.shape), d_start


def _steps(passage: Passage, k: int, way: int) -> list[Step]:
    layers, x = passage.layers, passage.inputs[k]
    cell, ops, weights = layers.cell, numpy_ops(), layers.weights[k][way]
    gx = x @ weights.weight_ih.T
    if weights.bias_ih is not None:
        gx += weights.bias_ih
    state = tuple(passage.start[k][way])
    steps = []
    for place in range(len(x) - 1, -1, -1) if way else range(len(x)):
        pause()
        gh = None
        if weights.weight_hh is not None:
            gh = state[0] @ weights.weight_hh.T
            if weights.bias_hh is not None:
                gh += weights.bias_hh
        gates = cell.activate(ops, gx[place], gh)
        after = cell.combine(ops, gates, state)
        steps.append(Step(gx[place], gh, gates, state, after))
        state = after
    return steps


def _in_time(way: int, steps: list[Any]) -> np.ndarray:
    """Return ``[n, T, B, H]`` of n arrays a step, in the order of time."""
    return np.stack(steps[::-1] if way else steps, axis=1)
