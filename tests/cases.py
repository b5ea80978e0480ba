"""The one table of cases for values, gradients and speed: every cell, and its sizes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from elman import nn
from elman.cells import Cell, find
from elman.nn import stack, unrolled

CELLS: tuple[Cell, ...] = (
    find("rnn", "linear"),
    find("rnn", "tanh"),
    find("rnn", "relu"),
    find("gru"),
    find("lstm"),
    find("mingru"),
)


def cell_id(cell: Cell) -> str:
    return f"rnn-{cell.activation}" if cell.name == "rnn" else cell.name


@dataclass(frozen=True)
class Case:
    """One layer stack and the batch it is given."""

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
        """What every constructor takes by the same names, torch's too."""
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

    def layer(self, dtype: torch.dtype = torch.float64, seed: int = 0) -> torch.nn.Module:
        """The layers of `elman.nn`, their weights drawn from `seed`."""
        torch.manual_seed(seed)
        if self.cell.name == "rnn":
            return nn.RNN(**self.options, nonlinearity=self.cell.activation, dtype=dtype)
        kind = {"gru": nn.GRU, "lstm": nn.LSTM, "mingru": nn.MinGRU}[self.cell.name]
        return kind(**self.options, dtype=dtype)

    def batch(
        self, dtype: torch.dtype = torch.float64, seed: int = 1
    ) -> tuple[torch.Tensor, torch.Tensor | tuple[torch.Tensor, ...]]:
        """An input and a start state, both asking for gradients."""
        draw = torch.Generator().manual_seed(seed)
        shape = (self.B, self.T, self.I) if self.batch_first else (self.T, self.B, self.I)
        x = torch.randn(shape, generator=draw, dtype=dtype).requires_grad_()
        states = tuple(
            torch.randn(self.rows, self.B, self.H, generator=draw, dtype=dtype).requires_grad_()
            for _ in self.cell.states
        )
        return x, states if len(states) > 1 else states[0]

    def rounding(self, dtype: np.dtype | type = np.float64) -> float:
        """How far two orders of the same sums may lie apart, relative to the largest number.

        A number is a sum of I + H products, handed on through T steps and the layers; a gradient
        sums T·B of these. Each of the roundings is at most half an eps, and each gate function (of
        some 8 roundings) counts with them; the states do not grow, so none is magnified.
        """
        chain = self.T * self.num_layers * (self.I + self.H + 8)
        return float(np.finfo(dtype).eps) * (chain + self.T * self.B)


def plain(module: torch.nn.Module, x: Any, hx: Any = None) -> Any:
    """The module in plain torch, whatever could run it faster."""
    return stack.run(module, x, hx, unrolled.direction)


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
