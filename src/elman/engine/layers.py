"""A recurrent layer over time: in the compiled kernel, and in numpy as its specification and fallback.

The rows ``[N, I]`` of all time steps lie below one another, step by step and the longest sequence first,
and ``sizes [T]`` is the number of sequences that are still running at each step. A sequence that has ended
drops out, so nothing is padded. With equal lengths this is ``[T, B, I]`` with the first two axes joined.

`Layer.steps` is the only loop over time in numpy. Recorded passes (`elman.engine.passage`) keep what it
yields.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import DTypeLike

from elman.cells import Cell, State, Step, numpy_ops
from elman.engine import kernel
from elman.engine.kernel import LayerCall, LayerWeights
from elman.engine.pauses import one_thread, pause
from elman.engine.shapes import check
from elman.errors import InputError

if TYPE_CHECKING:
    from elman.engine.kernel import Saved


# Bound of states and logits once one of them has left the finite range. Its square is still a float32.
LIMIT = 1e18


def bounded(x: np.ndarray) -> np.ndarray:
    """Return `x` with NaN as 0 and every other number within ±1e18, so that its square is finite too."""
    # Exact for finite numbers within the bound, so that ordinary results keep their bits.
    numbers: np.ndarray = np.nan_to_num(x, nan=0.0, posinf=LIMIT, neginf=-LIMIT)
    return numbers.clip(-LIMIT, LIMIT)


def member_arrays(arrays: Mapping[str, np.ndarray], member: int) -> dict[str, np.ndarray]:
    """Return the arrays of one of several networks in a model, without the prefix ``members.{m}.``."""
    prefix = f"members.{member}."
    return {
        name.removeprefix(prefix): array
        for name, array in arrays.items()
        if name.startswith(prefix)
    }


class Layer:
    """One recurrent layer in one or two directions, ready to run.

    Args:
        cell: The cell of the layer.
        arrays: The parameters by PyTorch's names, those of the backward direction with suffix ``_reverse``.
        name: Prefix of these names, such as "layers.0" for "layers.0.weight_ih"; empty without prefix.
        dtype: Type of the calculation. The kernel runs float32; numpy runs float64 as the oracle of tests.

    Raises:
        InputError: the arrays lack a parameter that the cell needs.
        ShapeError: a parameter has the wrong shape.
    """

    def __init__(
        self,
        cell: Cell,
        arrays: Mapping[str, np.ndarray],
        name: str = "",
        dtype: DTypeLike = np.float32,
    ) -> None:
        prefix = f"{name}." if name else ""
        self.cell, self.dtype = cell, np.dtype(dtype)
        self.directions = [
            self._direction(arrays, prefix, suffix)
            for suffix in ("", "_reverse")
            if suffix == "" or f"{prefix}weight_ih{suffix}" in arrays
        ]
        self.hidden_size = len(self.directions[0].weight_ih) // cell.G

    def _direction(
        self, arrays: Mapping[str, np.ndarray], prefix: str, suffix: str
    ) -> LayerWeights:
        cell = self.cell
        weights = {
            name: np.ascontiguousarray(arrays[f"{prefix}{name}{suffix}"], self.dtype)
            for name in LayerWeights._fields
            if f"{prefix}{name}{suffix}" in arrays
        }
        for name in ("weight_ih", "weight_hh") if cell.recurrent else ("weight_ih",):
            if name not in weights:
                raise InputError("parameters of a layer", got=sorted(arrays), expected=name)
        # weight_ih is [G·H, I]
        hidden_size = len(weights["weight_ih"]) // cell.G
        check(weights["weight_ih"], "G*H I", "weight_ih", G=cell.G, H=hidden_size)
        if cell.recurrent:
            check(weights["weight_hh"], "G*H H", "weight_hh", G=cell.G, H=hidden_size)
        return LayerWeights(**weights)

    @property
    def runs_in_kernel(self) -> bool:
        """Whether there is a kernel that can run the cell, and the layer is in float32."""
        return (
            self.dtype == np.float32
            and kernel.kernel() is not None
            and kernel.cell_number(self.cell) is not None
        )

    def start(self, batch_size: int) -> np.ndarray:
        """Return the start state: zeros ``[directions, S, B, H]``."""
        shape = (len(self.directions), len(self.cell.states), batch_size, self.hidden_size)
        return np.zeros(shape, self.dtype)

    def run(
        self, x: np.ndarray, sizes: np.ndarray, start: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the outputs ``[N, directions·H]`` and the last states ``[directions, S, B, H]``.

        Every number is finite: where the kernel meets a number that is not,
        numpy computes the direction again with `bounded` states.

        Args:
            x: The rows of all steps, ``[N, I]``.
            sizes: The number of running sequences at each step, ``[T]``.
            start: The states to start from, shaped as the last states; None for zeros.
        """
        start = self.start(int(sizes[0])) if start is None else start
        outputs, ends = [], []
        for direction in range(len(self.directions)):
            pause()
            y = None
            if self.runs_in_kernel:
                y, end, _ = self.run_in_kernel(x, sizes, start[direction], direction)
            # A single overflow spoils all later steps, so compute the direction again from its start.
            if y is None or not np.isfinite(y).all():
                y, end = self._run_bounded(x, sizes, start[direction], direction)
            outputs.append(y)
            ends.append(end)
        # A single direction needs no copies, which would take as long as a small step.
        if len(outputs) == 1:
            return outputs[0], ends[0][None]
        return np.concatenate(outputs, axis=1), np.stack(ends)

    def run_in_kernel(
        self, x: np.ndarray, sizes: np.ndarray, start: np.ndarray, direction: int
    ) -> tuple[np.ndarray, np.ndarray, Saved]:
        """Return outputs ``[N, H]`` and last states ``[S, B, H]`` of a direction, and what backward needs."""
        y = np.empty((len(x), self.hidden_size), np.float32)
        end = np.empty(start.shape, np.float32)
        call = self.call(sizes, direction)
        rows, start = np.ascontiguousarray(x, np.float32), np.ascontiguousarray(start)
        return y, end, call.forward(rows, self.directions[direction], start, y, end)

    def call(self, sizes: np.ndarray, direction: int) -> LayerCall:
        """Return the kernel's call for a direction of a batch of these `sizes`."""
        return LayerCall(self.cell, np.ascontiguousarray(sizes, np.int64), direction == 1)

    @one_thread()
    def _run_bounded(
        self, x: np.ndarray, sizes: np.ndarray, start: np.ndarray, direction: int
    ) -> tuple[np.ndarray, np.ndarray]:
        with np.errstate(over="ignore", invalid="ignore"):
            gx = self.input_sums(x, direction)
            y, state = self.run_in_numpy(gx, sizes, tuple(start), direction, limited=True)
        return y, np.stack(state)

    def input_sums(self, x: np.ndarray, direction: int = 0) -> np.ndarray:
        """Return gx ``[N, G·H]`` of ``x [N, I]``: one matrix product for all steps."""
        weights = self.directions[direction]
        # One product for all steps is faster than a product for each.
        gx = self._times(x, weights.weight_ih)
        return gx if weights.bias_ih is None else gx + weights.bias_ih

    def _times(self, x: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Return the products ``[N, R]`` of ``x [N, I]`` with one of the layer's weights ``[R, I]``."""
        product: np.ndarray = x @ weight.T
        return product

    def run_in_numpy(
        self,
        gx: np.ndarray,
        sizes: np.ndarray,
        start: State,
        direction: int = 0,
        *,
        limited: bool = False,
    ) -> tuple[np.ndarray, State]:
        """Return the outputs ``[N, H]`` and the last state of a direction; arguments as in `steps`."""
        y, state = np.empty((len(gx), self.hidden_size), gx.dtype), start
        for rows, step, state in self.steps(gx, sizes, start, direction, limited=limited):  # noqa: B007
            y[rows] = step.after[0]
        return y, state

    def steps(
        self,
        gx: np.ndarray,
        sizes: np.ndarray,
        start: State,
        direction: int = 0,
        *,
        limited: bool = False,
    ) -> Iterator[tuple[slice, Step, State]]:
        """Yield each time step in running order: its rows, the step, and all states ``[B, H]`` after it.

        Args:
            gx: Gate sums from the input, ``[N, G·H]``; see `input_sums`.
            sizes: The number of running sequences at each step, ``[T]``.
            start: The start state, an array ``[B, H]`` for each state of the cell.
            direction: 0 runs from the first step to the last, 1 from the last to the first.
            limited: Whether to keep every state finite; finite states do not change.
        """
        weights, cell, ops, state = self.directions[direction], self.cell, numpy_ops(), start
        # the row behind the last one of each step
        ends = np.cumsum(sizes)
        for t in range(len(sizes))[:: -1 if direction else 1]:
            pause()
            size = int(sizes[t])
            rows, ended = slice(int(ends[t]) - size, int(ends[t])), size < len(state[0])
            before = tuple(values[:size] for values in state) if ended else state
            gh = None
            if weights.weight_hh is not None:
                # [B, G·H]; the first state of every cell is its hidden state
                gh = self._times(before[0], weights.weight_hh)
                if weights.bias_hh is not None:
                    gh += weights.bias_hh
            gates = cell.activate(ops, gx[rows], gh)
            after = cell.combine(ops, gates, before)
            if limited:
                after = tuple(bounded(values) for values in after)
            # sequences that have ended, or backwards have not begun, keep their states
            state = (
                tuple(
                    np.concatenate([new, old[size:]]) for new, old in zip(after, state, strict=True)
                )
                if ended
                else after
            )
            yield rows, Step(gx[rows], gh, gates, before, after), state


def layer_sequence(
    cell: Cell, parameters: Mapping[str, np.ndarray], x: np.ndarray, state: State | None = None
) -> tuple[np.ndarray, State]:
    """Run one layer in numpy over a whole batch of sequences with equal lengths.

    Args:
        cell: The cell of the layer.
        parameters: The parameters by PyTorch's names without suffix (see `Cell.parameters`); no biases is
            fine.
        x: The inputs ``[T, B, I]``. The calculation has the type of `x`: float64 in gives float64 out.
        state: The start state, an array ``[B, H]`` for each of ``cell.states``; zeros if None.

    Returns:
        The outputs ``[T, B, H]`` and the last state.

    Raises:
        InputError: a parameter is missing.
        ShapeError: a parameter, `x` or `state` has the wrong shape.

    >>> from elman.cells import find
    >>> linear = find("rnn", "linear")
    >>> weights = {"weight_ih": np.array([[2.0]]), "weight_hh": np.array([[0.5]])}
    >>> y, _ = layer_sequence(linear, weights, np.array([1.0, 0.0, 0.0]).reshape(3, 1, 1))
    >>> y.ravel().tolist()
    [2.0, 1.0, 0.5]
    """
    layer = Layer(cell, parameters, dtype=x.dtype)
    T, B = x.shape[:2]
    I, H = layer.directions[0].weight_ih.shape[1], layer.hidden_size  # noqa: E741
    check(x, "T B I", "x", I=I)
    if state is None:
        state = cell.initial_state(B, H, x.dtype)
    for values in state:
        check(values, "B H", "state", B=B, H=H)
    # one type for the whole calculation, as the docstring promises
    start = tuple(values.astype(x.dtype) for values in state)
    y, end = layer.run_in_numpy(layer.input_sums(x.reshape(T * B, I)), np.full(T, B), start)
    return y.reshape(T, B, H), end


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Return the log probabilities ``[..., V]`` of finite ``logits [..., V]``.

    >>> log_softmax(np.array([0.0, 0.0])).round(4).tolist()
    [-0.6931, -0.6931]
    """
    result: np.ndarray = logits - logits.max(axis=-1, keepdims=True)
    # The largest logit is 0 by now, so that exp cannot overflow.
    result -= np.log(np.exp(result).sum(axis=-1, keepdims=True))
    return result
