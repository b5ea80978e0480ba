"""Cases for tests of values, gradients and speed: every cell with several sizes and options."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

import factories
from elman import nn
from elman.cells import Cell, find
from elman.nn import stack, unrolled

# every cell, and the rnn with every activation
CELLS: tuple[Cell, ...] = tuple(find(*names) for names in factories.CELLS)


def cell_id(cell: Cell) -> str:
    return f"rnn-{cell.activation}" if cell.name == "rnn" else cell.name


@dataclass(frozen=True)
class Case:
    """The sizes and options of stacked layers, and of a batch for them."""

    cell: Cell
    T: int
    B: int
    I: int  # noqa: E741
    H: int
    num_layers: int = 1
    bias: bool = True
    batch_first: bool = False
    bidirectional: bool = False

    @property
    def id(self) -> str:
        options = [f"x{self.num_layers}"] if self.num_layers > 1 else []
        options += ["nobias"] if not self.bias else []
        options += ["batchfirst"] if self.batch_first else []
        options += ["bidirectional"] if self.bidirectional else []
        sizes = f"T{self.T}B{self.B}I{self.I}H{self.H}"
        return "-".join([cell_id(self.cell), sizes, *options])

    @property
    def options(self) -> dict[str, int | bool]:
        """Keyword arguments that the constructors of Elman's and torch's layers share."""
        return {
            "input_size": self.I,
            "hidden_size": self.H,
            "num_layers": self.num_layers,
            "bias": self.bias,
            "batch_first": self.batch_first,
            "bidirectional": self.bidirectional,
        }

    @property
    def rows(self) -> int:
        return self.num_layers * (2 if self.bidirectional else 1)

    def layer(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> Any:
        """Layers of `elman.nn` with weights drawn from `seed`."""
        torch.manual_seed(seed)
        if self.cell.name == "rnn":
            return nn.RNN(**self.options, nonlinearity=self.cell.activation, dtype=dtype)
        return nn.layer_class(self.cell)(**self.options, dtype=dtype)

    def batch(
        self, dtype: torch.dtype = torch.float64, seed: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor | tuple[torch.Tensor, ...]]:
        """An input and a start state that require gradients; the same numbers in every type."""
        draw = torch.Generator().manual_seed(seed)
        shape = (self.B, self.T, self.I) if self.batch_first else (self.T, self.B, self.I)
        x = torch.randn(shape, generator=draw).to(dtype).requires_grad_()
        states = tuple(
            torch.randn(self.rows, self.B, self.H, generator=draw).to(dtype).requires_grad_()
            for _ in self.cell.states
        )
        return x, states if len(states) > 1 else states[0]

    def rounding(self, dtype: np.dtype | type = np.float64) -> float:
        """Largest difference between two orders of the same sums, relative to the largest number.

        A number is a sum of I + H products, handed on through T steps and the layers; a gradient
        sums T·B of these. Each of the roundings is at most half an eps, and each gate function (of
        some 8 roundings) counts with them; the states do not grow, so none is magnified.
        """
        return float(np.finfo(dtype).eps) * self.roundings

    def scattered(self, unit: float = 2.0**-24) -> float:
        """Largest difference if roundings, each at most `unit`, have independent signs.

        The sum of n of them has a standard deviation below unit·√n, of which six are allowed. The
        unit is float32's: this is the bound for a kernel, so much closer than `rounding` that a
        product in bfloat16 would show.
        """
        return 6 * unit * self.roundings**0.5

    @property
    def roundings(self) -> int:
        """The number of roundings that add up in an output or a gradient."""
        inputs = max(self.I, self.H * self.rows // self.num_layers if self.num_layers > 1 else 0)
        return self.T * self.num_layers * (inputs + self.H + 8) + self.T * self.B


def results(
    forward: Callable[..., Any], module: torch.nn.Module, x: torch.Tensor, hx: Any = None
) -> dict[str, np.ndarray]:
    """Outputs, last states and every gradient by name, of a weighted sum of outputs and last states.

    `forward` is called with `x` and, unless None, `hx`; `module` has the parameters.
    """
    y, end = forward(x) if hx is None else forward(x, hx)
    ends, starts = states_of(end), () if hx is None else states_of(hx)
    draw = torch.Generator().manual_seed(2)
    module.zero_grad()
    sum(
        (torch.randn(part.shape, generator=draw).to(part.dtype) * part).sum() for part in (y, *ends)
    ).backward()
    found = {"y": y, "x.grad": x.grad}
    found |= dict(zip(("hidden", "cell"), ends, strict=False))
    found |= {f"{name}.grad": s.grad for name, s in zip(("hidden", "cell"), starts, strict=False)}
    found |= {name: weight.grad for name, weight in module.named_parameters()}
    return {name: tensor.detach().numpy().copy() for name, tensor in found.items()}


def same_bits(got: dict[str, np.ndarray], expected: dict[str, np.ndarray]) -> None:
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


def close_by_name(
    got: dict[str, np.ndarray], expected: dict[str, np.ndarray], tolerance: float
) -> None:
    assert got.keys() == expected.keys()
    for name, array in expected.items():
        assert got[name].shape == array.shape, name
        scale = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(
            got[name], array, rtol=0, atol=tolerance * scale, err_msg=name, equal_nan=False
        )


def states_of(hx: Any) -> tuple[torch.Tensor, ...]:
    return hx if isinstance(hx, tuple) else (hx,)


def like(hx: Any, parts: Iterable[torch.Tensor]) -> Any:
    """Return `parts` in the form of `hx`: a tuple, or a single tensor."""
    return tuple(parts) if isinstance(hx, tuple) else next(iter(parts))


def plain(module: Any, x: Any, hx: Any = None) -> Any:
    """Run the module in plain torch, even if the kernel could run it."""
    return stack.run(module, x, hx, unrolled.direction)


def module_of(cell: Cell, parameters: Mapping[str, np.ndarray], dtype: np.dtype) -> torch.nn.Module:
    rows, inputs = parameters["weight_ih"].shape
    case = Case(cell, 1, 1, inputs, rows // cell.G, bias="bias_ih" in parameters)
    module = case.layer(torch.from_numpy(np.empty(0, dtype)).dtype)
    state = {f"{name}_l0": torch.tensor(array) for name, array in parameters.items()}
    module.load_state_dict(state)
    return module


def in_torch(
    cell: Cell,
    parameters: Mapping[str, np.ndarray],
    x: np.ndarray,
    state: tuple[np.ndarray, ...] | None,
    forward: Callable[..., Any],
) -> tuple[np.ndarray, tuple[np.ndarray, ...]]:
    """The layer of `cell_checks`, computed by a torch module; `forward` runs the module."""
    module = module_of(cell, parameters, x.dtype)
    hx = None if state is None else tuple(torch.tensor(part)[None] for part in state)
    with torch.no_grad():
        y, end = forward(module, torch.tensor(x), hx if hx is None or len(hx) > 1 else hx[0])
    ends = end if isinstance(end, tuple) else (end,)
    return y.numpy(), tuple(part[0].numpy() for part in ends)


def gradient_in_torch(
    cell: Cell,
    parameters: Mapping[str, np.ndarray],
    x: np.ndarray,
    state: tuple[np.ndarray, ...],
    weights: np.ndarray,
    state_weights: tuple[np.ndarray, ...],
    forward: Callable[..., Any],
) -> dict[str, np.ndarray]:
    module = module_of(cell, parameters, x.dtype)
    given = torch.tensor(x, requires_grad=True)
    hx = tuple(torch.tensor(part[None], requires_grad=True) for part in state)
    y, end = forward(module, given, hx if len(hx) > 1 else hx[0])
    ends = end if isinstance(end, tuple) else (end,)
    total = (torch.tensor(weights) * y).sum()
    for w, part in zip(state_weights, ends, strict=True):
        total = total + (torch.tensor(w) * part[0]).sum()
    total.backward()
    got = {name.removesuffix("_l0"): weight.grad for name, weight in module.named_parameters()}
    got["x"] = given.grad
    got.update(zip(cell.states, (part.grad for part in hx), strict=True))
    assert all(grad is not None for grad in got.values())
    return {
        name: (grad[0] if name in cell.states else grad).numpy()
        for name, grad in got.items()
        if grad is not None
    }


@dataclass(frozen=True)
class Packed:
    """A case with sequences of unequal lengths."""

    case: Case
    lengths: tuple[int, ...]
    ordered: bool

    @property
    def id(self) -> str:
        return f"{self.case.id}-{'ordered' if self.ordered else 'mixed'}"


def over_packed(forward: Callable[..., Any], packed: Packed) -> Callable[..., Any]:
    def run(x: torch.Tensor, hx: Any) -> Any:
        first = packed.case.batch_first
        rows = pack_padded_sequence(x, [*packed.lengths], first, enforce_sorted=packed.ordered)
        y, end = forward(rows, hx)
        return pad_packed_sequence(y, first)[0], end

    return run


SIZES = ((1, 1, 1, 1), (2, 5, 1, 8), (17, 2, 3, 9), (63, 1, 7, 16), (9, 3, 33, 31))
OPTIONS = (
    {"bias": False},
    {"batch_first": True},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False},
)
CASES: tuple[Case, ...] = tuple(
    [Case(cell, *sizes) for cell in CELLS for sizes in SIZES]
    + [Case(cell, 6, 4, 5, 7, **options) for cell in CELLS for options in OPTIONS]
)
