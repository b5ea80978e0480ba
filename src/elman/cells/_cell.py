"""Contract of a cell: the pointwise step of a recurrent layer, and the facts that the cell declares.

The caller computes two gate sums, each ``[B, G·H]`` with the gates side by side in the declared order::

    gx = x·W_ihᵀ + b_ih        (from the input; without bias, b_ih is zero)
    gh = h·W_hhᵀ + b_hh        (from the hidden state; None for a cell without recurrent weights)

``activate(ops, gx, gh)`` returns the values of the gates. ``combine(ops, gates, state)`` returns the new
state, a tuple of ``[B, H]`` arrays; the first of them is the output of the layer. ``step`` calls both.
`ops` holds the functions of numpy (`numpy_ops`) or of torch (`elman.nn.unrolled.torch_ops`), so that
torch's autograd and the numpy fallback run the same lines.

``backward(slopes, step, d_after)`` goes back through one step in numpy. With `TRUE` slopes it returns the
derivative. With `FROZEN` slopes the gates keep the values of this step, and tanh and relu become the line
``z · f(z)/z`` with the ratio of this step. The step is then linear: the contributions of ``gx``, ``gh`` and
the previous state sum exactly to the new state. The decomposition of an explanation relies on this.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import DTypeLike

# numpy.ndarray or torch.Tensor: the same lines compute with both, and the two libraries share no typed
# protocol.
Array: TypeAlias = Any
State: TypeAlias = tuple[Array, ...]


@dataclass(frozen=True)
class Ops:
    """The functions that a cell may call, from numpy or from torch."""

    sigmoid: Callable[[Array], Array]
    tanh: Callable[[Array], Array]
    relu: Callable[[Array], Array]
    concatenate: Callable[[list[Array]], Array]


@dataclass(frozen=True)
class Slopes:
    """Slopes of the functions in a step, computed from a function's value y and its argument z.

    `backward` multiplies by them. A sigmoid is always a gate, so its slope needs the value alone.
    """

    sigmoid: Callable[[np.ndarray], np.ndarray | float]
    tanh: Callable[[np.ndarray, np.ndarray], np.ndarray | float]
    relu: Callable[[np.ndarray, np.ndarray], np.ndarray | float]
    linear: Callable[[np.ndarray, np.ndarray], np.ndarray | float]


class Step(NamedTuple):
    """A recorded time step of a layer."""

    gx: np.ndarray
    """Gate sums from the input, ``[B, G·H]``."""
    gh: np.ndarray | None
    """Gate sums from the hidden state, ``[B, G·H]``; None without recurrent weights."""
    gates: tuple[np.ndarray, ...]
    """Value of each gate, ``[B, H]``."""
    before: tuple[np.ndarray, ...]
    """Each state before the step, ``[B, H]``."""
    after: tuple[np.ndarray, ...]
    """Each state after the step, ``[B, H]``."""


Activate: TypeAlias = Callable[[Ops, Array, Array | None], tuple[Array, ...]]
Combine: TypeAlias = Callable[[Ops, tuple[Array, ...], State], State]
# Gradients of each gate's part of gx, of each gate's part of gh, and of the previous states on all other
# paths (0.0 where no other path leads to a state).
CellGradients: TypeAlias = tuple[list[np.ndarray], list[np.ndarray], tuple[np.ndarray | float, ...]]
Backward: TypeAlias = Callable[[Slopes, Step, tuple[np.ndarray, ...]], CellGradients]
Scan: TypeAlias = Callable[[Ops, Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Cell:
    """The pointwise step of a recurrent layer, and everything that the rest of Elman knows about it."""

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    activate: Activate
    combine: Combine
    backward: Backward
    source: str
    held: tuple[str, ...] = ("gates", "slopes")
    """Values of a step that are constant in the frozen network: "gates", "slopes" or both.

    A cell without "slopes" is linear once its gates are constant.
    """
    activation: str = "tanh"
    recurrent: bool = True
    """Whether the cell has recurrent weights."""
    scan: Scan | None = None
    """Returns (a, b) of h' = a·h + b from gx alone; None for a cell that does not have this form."""

    @property
    def G(self) -> int:
        """The number of gates."""
        return len(self.gates)

    @property
    def exact(self) -> bool:
        """Whether the cell is linear once its gates are constant, so that `FROZEN` slopes change nothing."""
        return "slopes" not in self.held

    def step(self, ops: Ops, gx: Array, gh: Array | None, state: State) -> State:
        """Return the state after one step.

        It follows from the gate sums of the input `gx`, those of the hidden state `gh`, and the last state.
        """
        return self.combine(ops, self.activate(ops, gx, gh), state)

    def parameters(
        self, input_size: int, hidden_size: int, bias: bool = True
    ) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter of one layer, by PyTorch's names without the layer's suffix.

        >>> from elman.cells import find
        >>> find("gru").parameters(3, 5)["weight_ih"]
        (15, 3)
        """
        # the weights of all gates below one another, as in torch
        rows = self.G * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, input_size)}
        if self.recurrent:
            # multiplies the hidden state, the first of the states
            shapes["weight_hh"] = (rows, hidden_size)
        if bias:
            shapes["bias_ih"] = (rows,)
            if self.recurrent:
                shapes["bias_hh"] = (rows,)
        return shapes

    def split(self, sums: Array) -> tuple[Array, ...]:
        """Return the part ``[..., H]`` of each gate in ``sums [..., G·H]``, in the declared order."""
        # H: the sums are [.., G·H]
        size = sums.shape[-1] // self.G
        return tuple(sums[..., gate * size : (gate + 1) * size] for gate in range(self.G))

    def initial_state(
        self, batch_size: int, hidden_size: int, dtype: DTypeLike = np.float32
    ) -> tuple[np.ndarray, ...]:
        """Return the start state: zeros ``[B, H]``, one array for each state."""
        return tuple(np.zeros((batch_size, hidden_size), dtype) for _ in self.states)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    # 1 / (1 + exp(-x)) would overflow for large negative x, tanh does not
    half = x.dtype.type(0.5)
    return np.asarray(half * (np.tanh(half * x) + 1))


@functools.cache
def numpy_ops() -> Ops:
    """Return the functions of numpy.

    >>> float(numpy_ops().sigmoid(np.float32([0.0]))[0])
    0.5
    """
    return Ops(
        sigmoid=_sigmoid,
        tanh=np.tanh,
        relu=lambda x: np.maximum(x, x.dtype.type(0)),
        concatenate=np.concatenate,
    )


def _ratio(y: np.ndarray, z: np.ndarray) -> np.ndarray:
    """Return y/z for y = tanh(z); at z = 0 it is 1, the slope of tanh there."""
    ratio: np.ndarray = np.divide(y, z, out=np.ones_like(y), where=z != 0)
    return ratio


def _is_positive(_y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return z > 0


def _one(_y: np.ndarray, _z: np.ndarray) -> float:
    return 1.0


TRUE = Slopes(lambda y: y * (1 - y), lambda y, _z: 1 - y * y, _is_positive, _one)
"""The derivatives of the functions."""
FROZEN = Slopes(lambda _y: 0.0, _ratio, _is_positive, _one)
"""Gates are constants; every other function f is the line through the origin and (z, f(z))."""
