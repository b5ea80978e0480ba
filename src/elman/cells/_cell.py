"""The contract of a cell: one pointwise step of a recurrent layer, and what is declared of it.

The two gate sums arrive ready, ``[B, G·H]`` with the gates side by side in the declared order::

    gx = x·W_ihᵀ + b_ih        (the input's share; b_ih zero without bias)
    gh = h·W_hhᵀ + b_hh        (the state's share; None for a cell without recurrent weights)

``activate(ops, gx, gh)`` returns the gates' values and ``combine(ops, gates, state)`` from them the new
state: a tuple of ``[B, H]`` arrays, the first of which is the layer's output; ``step(ops, gx, gh, state)`` is
both. `ops` is the name space of functions (`numpy_ops` here, torch in the training wing), so the same lines
serve autograd, the numpy runtime and this documentation.

``backward(slopes, step, d_after)`` goes back through one step in numpy. With `TRUE` slopes it is the
derivative; with `FROZEN` ones the gates and the slopes ``f(z)/z`` of the other functions stay as they were,
so that the step is linear: the shares of ``gx``, ``gh`` and the state before sum to the state after.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

__all__ = [
    "FROZEN",
    "TRUE",
    "Activate",
    "Array",
    "Backward",
    "Cell",
    "Combine",
    "Ops",
    "Scan",
    "Slopes",
    "State",
    "Step",
    "numpy_ops",
]

# numpy.ndarray or torch.Tensor: the maths is the same lines for both.
Array: TypeAlias = Any
State: TypeAlias = tuple[Array, ...]


@dataclass(frozen=True)
class Ops:
    """The functions a cell may use, of numpy or of torch."""

    sigmoid: Callable[[Array], Array]
    tanh: Callable[[Array], Array]
    relu: Callable[[Array], Array]
    concatenate: Callable[[list[Array]], Array]


@dataclass(frozen=True)
class Slopes:
    """What a step's functions are multiplied by on the way back, from their value y and argument z."""

    sigmoid: Callable[[np.ndarray], Any]
    tanh: Callable[[np.ndarray, np.ndarray], Any]
    relu: Callable[[np.ndarray, np.ndarray], Any]
    linear: Callable[[np.ndarray, np.ndarray], Any]


@dataclass(frozen=True)
class Step:
    """One step that was taken: all ``[B, G·H]`` or, gate by gate and state by state, ``[B, H]``."""

    gx: np.ndarray
    gh: np.ndarray | None
    gates: tuple[np.ndarray, ...]
    before: tuple[np.ndarray, ...]
    after: tuple[np.ndarray, ...]


Activate: TypeAlias = Callable[[Ops, Array, Array | None], tuple[Array, ...]]
Combine: TypeAlias = Callable[[Ops, tuple[Array, ...], State], State]
# to the gates' sums of the input's and the state's share, and to the state before by any other way
Backward: TypeAlias = Callable[
    [Slopes, Step, tuple[np.ndarray, ...]],
    tuple[list[np.ndarray], list[np.ndarray], tuple[Any, ...]],
]
Scan: TypeAlias = Callable[[Ops, Array], tuple[Array, Array]]


@dataclass(frozen=True)
class Cell:
    """A recurrent layer's pointwise step with all that is declared about it, once."""

    name: str
    gates: tuple[str, ...]
    states: tuple[str, ...]
    activate: Activate
    combine: Combine
    backward: Backward
    source: str
    held: tuple[str, ...] = ("gates", "slopes")
    """What `FROZEN` slopes hold as they were: without "slopes" the step is linear itself, given its gates."""
    activation: str = "tanh"
    recurrent: bool = True
    scan: Scan | None = None  # (a, b) of h' = a·h + b from gx alone, where the cell has that form

    @property
    def G(self) -> int:
        """The number of gates."""
        return len(self.gates)

    @property
    def exact(self) -> bool:
        """Whether the step with `FROZEN` slopes is the step itself, given its gates."""
        return "slopes" not in self.held

    def step(self, ops: Ops, gx: Array, gh: Array | None, state: State) -> State:
        """Return the state after one step, from the two gate sums and the state before."""
        return self.combine(ops, self.activate(ops, gx, gh), state)

    def parameters(
        self, input_size: int, hidden_size: int, bias: bool = True
    ) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter of one layer, by PyTorch's names without suffix.

        >>> from elman.cells import find
        >>> find("gru").parameters(3, 5)["weight_ih"]
        (15, 3)
        """
        rows = self.G * hidden_size
        shapes: dict[str, tuple[int, ...]] = {"weight_ih": (rows, input_size)}
        if self.recurrent:
            shapes["weight_hh"] = (rows, hidden_size)
        if bias:
            shapes["bias_ih"] = (rows,)
            if self.recurrent:
                shapes["bias_hh"] = (rows,)
        return shapes

    def split(self, sums: Array) -> tuple[Array, ...]:
        """Return the gates' shares ``[..., H]`` of ``sums [..., G·H]``, in the declared order."""
        size = sums.shape[-1] // self.G
        return tuple(sums[..., gate * size : (gate + 1) * size] for gate in range(self.G))

    def initial_state(
        self, batch_size: int, hidden_size: int, dtype: Any = np.float32
    ) -> tuple[np.ndarray, ...]:
        """Return the start state: zeros ``[B, H]``, one array for each state."""
        return tuple(np.zeros((batch_size, hidden_size), dtype) for _ in self.states)


def _sigmoid(x: np.ndarray) -> np.ndarray:
    # tanh does not overflow, where 1 / (1 + exp(-x)) does
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
    """Return y/z of an odd function, 1 where z is 0: the slope there of tanh."""
    slopes: np.ndarray = np.divide(y, z, out=np.ones_like(y), where=z != 0)
    return slopes


def _is_positive(_y: np.ndarray, z: np.ndarray) -> np.ndarray:
    return z > 0


def _one(_y: np.ndarray, _z: np.ndarray) -> float:
    return 1.0


TRUE = Slopes(lambda y: y * (1 - y), lambda y, _z: 1 - y * y, _is_positive, _one)
"""The derivatives."""
FROZEN = Slopes(lambda _y: 0.0, _ratio, _is_positive, _one)
"""Gates are constants, every other function is the line through the origin and the point where it stands."""
