"""A recorded forward pass through a stack of layers, and two backward passes through it.

The first computes the true gradient, in the kernel or, without a kernel, in numpy. The second goes through
the frozen network, whose gates and slopes are held at their values in the recorded pass (see `elman.cells`).
The frozen network is linear in the inputs, the start state and the biases, so its backward pass gives each of
them its exact contribution to any sum of the outputs.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import DTypeLike

from elman.cells import FROZEN, TRUE, Slopes, Step, find
from elman.engine.config import ModelConfig
from elman.engine.kernel import LayerWeights
from elman.engine.layers import Layer
from elman.engine.pauses import pause
from elman.errors import InputError

if TYPE_CHECKING:
    from elman.engine.kernel import Saved


class Back(NamedTuple):
    """The result of a backward pass: gradients of a weighted sum of outputs and last states."""

    dx: np.ndarray
    """Gradient with respect to the inputs, ``[T, B, I]``."""
    dstart: list[np.ndarray]
    """Gradient with respect to the start state, ``[directions, S, B, H]`` for each layer."""
    bias: np.ndarray
    """Sum of the contributions of all biases in the frozen network, ``[B]``; zeros if it is not frozen."""
    dweights: list[list[LayerWeights]]
    """Gradients of the parameters, for each direction of each layer; zeros if they were not asked for."""


class Layers:
    """The recurrent layers of a model, ready to record a pass.

    Args:
        config: Names the cell and the number of layers.
        arrays: The parameters by the names of the model file.
        names: Prefix of each layer's parameters (default: "layers.0", "layers.1" and so on).
        residual: Whether each layer but the first adds its input to its output.
        dtype: Float32 runs in the kernel if there is one; float64 runs in numpy.
        kernel: False runs float32 in numpy too. Steps, states, gates and the frozen backward pass need a
            pass in numpy anyway, so a caller that wants only these avoids a pass in the kernel.
    """

    def __init__(
        self,
        config: ModelConfig,
        arrays: Mapping[str, np.ndarray],
        names: Sequence[str] | None = None,
        *,
        residual: bool = False,
        dtype: DTypeLike = np.float32,
        kernel: bool = True,
    ) -> None:
        if names is None:
            names = [f"layers.{k}" for k in range(config.num_layers)]
        self.cell = find(config.cell, config.activation)
        self.dtype = np.dtype(dtype)
        self.residual = residual
        self.layers = [Layer(self.cell, arrays, name, dtype) for name in names]
        self.hidden_size = self.layers[0].hidden_size
        self.runs_in_kernel = kernel and self.layers[0].runs_in_kernel

    def start(self, batch_size: int) -> list[np.ndarray]:
        """Return the start state: zeros ``[directions, S, B, H]`` for each layer."""
        return [layer.start(batch_size) for layer in self.layers]

    def read(self, x: np.ndarray, start: Sequence[np.ndarray] | None = None) -> Passage:
        """Run the layers and record the pass.

        Args:
            x: The inputs ``[T, B, I]``, with T and B at least 1.
            start: The start state ``[directions, S, B, H]`` of each layer; zeros if None.

        Raises:
            InputError: a hidden state overflows.
        """
        begin = self.start(x.shape[1]) if start is None else start
        return Passage(self, x.astype(self.dtype), [state.astype(self.dtype) for state in begin])


class Passage:
    """A recorded pass: the outputs, states and gates of every step, and the backward passes."""

    def __init__(self, layers: Layers, x: np.ndarray, start: list[np.ndarray]) -> None:
        self.layers, self.start = layers, start
        self.inputs: list[np.ndarray] = []
        """Inputs of each layer, ``[T, B, I]``."""
        self.end: list[np.ndarray] = []
        """Last states of each layer, ``[directions, S, B, H]``."""
        # All sequences have the same length: T times B.
        self._sizes = np.full(x.shape[0], x.shape[1])
        self._kept: list[list[tuple[np.ndarray, Saved | None]]] = []
        self._steps: dict[int, list[list[Step]]] = {}
        with np.errstate(over="ignore", invalid="ignore"):
            for k in range(len(layers.layers)):
                self.inputs.append(x)
                y, end = self._in_kernel(k) if layers.runs_in_kernel else self._in_numpy(k)
                # Contributions of infinite states would be NaN, so refuse the input.
                if not np.isfinite(y).all():
                    what = "the states of this network leave the range of numbers here"
                    raise InputError(what, remedy="explain a shorter sequence")
                self.end.append(end)
                # The first layer's input can have another size than its output.
                x = y + x if layers.residual and k else y
        self.y = x
        """The outputs ``[T, B, directions·H]``."""

    def _rows(self, k: int) -> np.ndarray:
        """Return the inputs of a layer as rows, ``[T·B, I]``."""
        x = self.inputs[k]
        return np.ascontiguousarray(x).reshape(-1, x.shape[2])

    def _in_kernel(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        layer, start = self.layers.layers[k], self.start[k]
        outputs, ends = [], []
        self._kept.append([])
        for direction in range(len(layer.directions)):
            pause()
            y, end, saved = layer.run_in_kernel(
                self._rows(k), self._sizes, start[direction], direction
            )
            self._kept[k].append((y, saved))
            outputs.append(y.reshape(*self.inputs[k].shape[:2], -1))
            ends.append(end)
        return np.concatenate(outputs, axis=2), np.stack(ends)

    def _in_numpy(self, k: int) -> tuple[np.ndarray, np.ndarray]:
        # the hidden state of each step is its output
        outputs = self._recorded(k, lambda step: step.after[:1])[:, 0]  # [directions, T, B, H]
        end = np.stack([np.stack(steps[-1].after) for steps in self.steps(k)])
        return np.concatenate(outputs, axis=2), end

    def _recorded(self, k: int, arrays: Callable[[Step], Sequence[np.ndarray]]) -> np.ndarray:
        """Return what `arrays` takes from each step: n arrays, stacked to ``[directions, n, T, B, H]``."""
        by_direction = []
        for direction, steps in enumerate(self.steps(k)):
            # A backward direction recorded its last time step first.
            ordered = steps[::-1] if direction else steps
            by_direction.append(np.stack([arrays(step) for step in ordered], axis=1))
        return np.stack(by_direction)

    def steps(self, k: int) -> list[list[Step]]:
        """Return the steps of a layer: a list for each direction, in the order in which the steps ran."""
        if k not in self._steps:
            layer, rows = self.layers.layers[k], self._rows(k)
            self._steps[k] = [
                [
                    step
                    for _, step, _ in layer.steps(
                        layer.input_sums(rows, direction), self._sizes, tuple(start), direction
                    )
                ]
                for direction, start in enumerate(self.start[k])
            ]
        return self._steps[k]

    @property
    def states(self) -> list[np.ndarray]:
        """Every state after every step, ``[directions, S, T, B, H]`` for each layer."""
        return [self._recorded(k, lambda step: step.after) for k in range(len(self.inputs))]

    @property
    def gates(self) -> list[dict[str, np.ndarray]]:
        """The gates at every step by name, ``[directions, T, B, H]``, for each layer."""
        names = self.layers.cell.gates
        values = [self._recorded(k, lambda step: step.gates) for k in range(len(self.inputs))]
        return [dict(zip(names, layer.swapaxes(0, 1), strict=True)) for layer in values]

    def back(
        self,
        dy: np.ndarray,
        *,
        frozen: bool = False,
        dend: np.ndarray | None = None,
        weights: bool = False,
    ) -> Back:
        """Return the gradients of ``sum(dy · y) + sum(dend · end)``.

        In the frozen network ``sum(dx · x) + sum(dstart · start) + bias`` equals that sum up to rounding.

        Args:
            dy: Weights of the outputs, ``[T, B, directions·H]``.
            frozen: Whether to go back through the frozen network instead of the true one.
            dend: Weights of the last layer's last states, ``[directions, S, B, H]``; zeros if None.
            weights: Whether to compute the gradients of the parameters, which takes longer in numpy.
        """
        layers = self.layers
        dy = dy.astype(layers.dtype)
        bias = np.zeros(dy.shape[1], layers.dtype)
        dstarts: list[np.ndarray] = []
        dweights: list[list[LayerWeights]] = []
        for k in range(len(layers.layers) - 1, -1, -1):
            dx = dy.copy() if layers.residual and k else np.zeros_like(self.inputs[k])
            starts = []
            dweights.append([])
            # The two directions share the columns of the outputs.
            halves = np.split(dy, len(layers.layers[k].directions), axis=2)
            for direction, d_half in enumerate(halves):
                # Only the last layer's states have weights of their own.
                d_last = None if dend is None else dend[direction].astype(layers.dtype)
                if frozen or not layers.runs_in_kernel:
                    slopes = FROZEN if frozen else TRUE
                    moved, start, d_layer, constant = self._numpy_back(
                        k, direction, slopes, d_half, d_last, weights
                    )
                    bias += constant if frozen else 0
                else:
                    moved, start, d_layer = self._kernel_back(k, direction, d_half, d_last)
                dx += moved
                dweights[-1].append(d_layer)
                starts.append(start)
            dstarts.append(np.stack(starts))
            # The input of this layer is the output of the layer below.
            dy, dend = dx, None
        return Back(dy, dstarts[::-1], bias, dweights[::-1])

    def _numpy_back(
        self,
        k: int,
        direction: int,
        slopes: Slopes,
        dy: np.ndarray,
        dend: np.ndarray | None,
        weighted: bool,
    ) -> tuple[np.ndarray, np.ndarray, LayerWeights, np.ndarray]:
        """Return the gradients of inputs, start state and weights, and the biases' contribution ``[B]``."""
        weights, cell = self.layers.layers[k].directions[direction], self.layers.cell
        # [T, B, G·H]
        d_gx = np.empty((*dy.shape[:2], len(weights.weight_ih)), dy.dtype)
        constant = np.zeros(dy.shape[1], dy.dtype)
        d_weights = LayerWeights._make(None if w is None else np.zeros_like(w) for w in weights)
        shape = self.start[k][direction].shape
        d_state = tuple(np.zeros(shape, dy.dtype) if dend is None else dend)
        # against the running order: from the last recorded step to the first
        times = range(len(dy)) if direction else range(len(dy) - 1, -1, -1)
        for t, step in zip(times, reversed(self.steps(k)[direction]), strict=True):
            pause()
            # The hidden state goes to the output and to the next step.
            d_after = (d_state[0] + dy[t], *d_state[1:])
            to_input, to_hidden, to_before = cell.backward(slopes, step, d_after)
            # the gates side by side, as in gx
            d_gx[t] = np.concatenate(to_input, axis=1)
            d_state = tuple(
                np.broadcast_to(np.asarray(values, dy.dtype), shape[1:]) for values in to_before
            )
            if weights.weight_hh is not None:
                d_gh = np.concatenate(to_hidden, axis=1)
                d_state = (d_state[0] + d_gh @ weights.weight_hh, *d_state[1:])
                if weighted:
                    _add(d_weights.weight_hh, d_gh.T @ step.before[0])
                    _add(d_weights.bias_hh, d_gh.sum(axis=0))
                if weights.bias_hh is not None:
                    # In the frozen, linear network a bias contributes like an input of 1.
                    constant += d_gh @ weights.bias_hh
        if weighted:
            _add(d_weights.weight_ih, d_gx.reshape(-1, d_gx.shape[2]).T @ self._rows(k))
            _add(d_weights.bias_ih, d_gx.sum(axis=(0, 1)))
        if weights.bias_ih is not None:
            constant += (d_gx @ weights.bias_ih).sum(axis=0)
        return d_gx @ weights.weight_ih, np.stack(d_state), d_weights, constant

    def _kernel_back(
        self, k: int, direction: int, dy: np.ndarray, dend: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray, LayerWeights]:
        """Return the gradients of inputs, start state and weights."""
        layer, rows = self.layers.layers[k], self._rows(k)
        start = np.ascontiguousarray(self.start[k][direction])
        y, saved = self._kept[k][direction]
        if saved is None:  # an earlier backward has overwritten what the forward pass kept
            y, _, saved = layer.run_in_kernel(rows, self._sizes, start, direction)
        self._kept[k][direction] = (y, None)
        weights = layer.directions[direction]
        dx, dstart = np.empty_like(rows), np.empty_like(start)
        d_weights = LayerWeights._make(None if w is None else np.empty_like(w) for w in weights)
        d_output = (
            np.ascontiguousarray(dy).reshape(y.shape),
            None if dend is None else np.ascontiguousarray(dend),
        )
        call = layer.call(self._sizes, direction)
        call.backward(saved, rows, weights, start, y, d_output, (dx, dstart), d_weights)
        return dx.reshape(self.inputs[k].shape), dstart, d_weights


def _add(total: np.ndarray | None, gradient: np.ndarray) -> None:
    """Add a gradient to `total` in place; a parameter that the layer does not have is None."""
    if total is not None:
        total += gradient
