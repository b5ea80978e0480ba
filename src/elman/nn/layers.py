"""The recurrent layers RNN, GRU, LSTM and MinGRU for torch.

RNN, GRU and LSTM are subclasses of the classes in torch.nn. A PyTorch user changes one import and keeps
constructors, parameter names, gate order, state_dicts, packed sequences and cuDNN. MinGRU, which torch does
not have, has the same interface. In float32 on a CPU the layers run in the compiled kernel, unless torch
compiles, traces or transforms the call.

Every layer has an attribute `precision`: "float32", or "bf16" for products in bfloat16 on a processor that
has them.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any, ClassVar, cast

import torch
from torch import Tensor
from torch.nn.parameter import Parameter
from torch.nn.utils.rnn import PackedSequence

from elman.cells import Cell, find
from elman.engine.shapes import whole_number
from elman.errors import OptionError, ShapeError
from elman.nn import autograd
from elman.nn.stack import Sequences, States, check_precision, run


def _forward(
    module: Any, forward: Callable[..., Any], x: Sequences, hx: States | None
) -> tuple[Sequences, Any]:
    """Run a layer of torch in the kernel if the kernel can take it, otherwise with torch's `forward`."""
    data = x.data if isinstance(x, PackedSequence) else x
    states = [] if hx is None else [hx] if isinstance(hx, Tensor) else [*hx]
    # proj_size adds a product that the kernel does not have.
    weights = [weight for layer in module.all_weights for weight in layer]
    tensors = [data, *states, *weights]
    if all(isinstance(tensor, Tensor) for tensor in tensors):
        check_precision(module, data)
        if not module.proj_size and autograd.takes(data, tensors[1:]):
            try:
                return run(module, x, hx)
            except ShapeError:
                forward(x, hx)  # raises torch's own error if torch refuses the shapes too
                raise
    return cast(tuple[Sequences, Any], forward(x, hx))


class RNN(torch.nn.RNN):
    """``torch.nn.RNN`` with one more nonlinearity: "linear", h' = W_ih·x + b_ih + W_hh·h + b_hh.

    Source: J. L. Elman, "Finding Structure in Time", Cognitive Science 14 (1990).

    >>> layer = RNN(1, 1, nonlinearity="linear", bias=False)
    >>> for weight in layer.parameters():
    ...     _ = torch.nn.init.constant_(weight, 0.5)
    >>> layer(torch.tensor([[2.0], [0.0], [0.0]]))[0].flatten().tolist()
    [1.0, 0.5, 0.25]
    """

    precision = "float32"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        nonlinearity: str = "tanh",
        *args: Any,
        **kwargs: Any,
    ) -> None:
        linear = nonlinearity == "linear"
        super().__init__(
            input_size, hidden_size, num_layers, "tanh" if linear else nonlinearity, *args, **kwargs
        )
        if linear:
            # torch has no such mode, so a function that reads the mode fails instead of computing tanh
            self.nonlinearity, self.mode = "linear", "RNN_LINEAR"

    @property
    def cell(self) -> Cell:
        """The cell of every layer."""
        return find("rnn", self.nonlinearity)

    def forward(  # type: ignore[override]
        self,
        input: Sequences,  # noqa: A002
        hx: Tensor | None = None,
    ) -> tuple[Sequences, Tensor]:
        """Return the outputs and the last state, as ``torch.nn.RNN`` does."""
        if self.nonlinearity != "linear":
            return _forward(self, super().forward, input, hx)
        return cast(tuple[Sequences, Tensor], run(self, input, hx))

    def flatten_parameters(self) -> None:
        """Lay the parameters out for cuDNN, except with "linear", which cuDNN does not have."""
        if self.nonlinearity != "linear":
            super().flatten_parameters()

    def extra_repr(self) -> str:
        """Return torch's options, and the nonlinearity if torch does not have it."""
        options: str = super().extra_repr()
        return f"{options}, nonlinearity=linear" if self.nonlinearity == "linear" else options


class GRU(torch.nn.GRU):
    """``torch.nn.GRU``; the reset gate multiplies the recurrent product, and gates stand in the order r z n.

    >>> output, state = GRU(3, 5, num_layers=2)(torch.zeros(7, 4, 3))
    >>> output.shape, state.shape
    (torch.Size([7, 4, 5]), torch.Size([2, 4, 5]))
    """

    cell: ClassVar[Cell] = find("gru")
    precision = "float32"

    def forward(  # type: ignore[override]
        self,
        input: Sequences,  # noqa: A002
        hx: Tensor | None = None,
    ) -> tuple[Sequences, Tensor]:
        """Return the outputs and the last state, as ``torch.nn.GRU`` does."""
        return _forward(self, super().forward, input, hx)


class LSTM(torch.nn.LSTM):
    """``torch.nn.LSTM``, including `proj_size`; gates stand in the order i f g o.

    >>> output, (hidden, cell) = LSTM(3, 5, bidirectional=True)(torch.zeros(7, 4, 3))
    >>> output.shape, cell.shape
    (torch.Size([7, 4, 10]), torch.Size([2, 4, 5]))
    """

    cell: ClassVar[Cell] = find("lstm")
    precision = "float32"

    def forward(  # type: ignore[override]
        self,
        input: Sequences,  # noqa: A002
        hx: tuple[Tensor, Tensor] | None = None,
    ) -> tuple[Sequences, tuple[Tensor, Tensor]]:
        """Return the outputs and the last states, as ``torch.nn.LSTM`` does."""
        return _forward(self, super().forward, input, hx)


class CellLayer(torch.nn.Module):
    """Layers of a cell that torch does not have, with the interface of ``torch.nn.GRU``.

    A subclass sets `cell`, which declares the parameters. A cell with several states takes and returns a
    tuple of them, as ``torch.nn.LSTM`` does.

    Raises:
        OptionError: an option has a wrong value.
        ShapeError: in `forward`, the input or the start state has a wrong shape.
    """

    cell: ClassVar[Cell]
    precision = "float32"

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        bias: bool = True,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        device: torch.device | str | int | None = None,
        dtype: torch.dtype | None = None,
    ) -> None:
        super().__init__()
        whole_number("input_size", input_size, 1)
        whole_number("hidden_size", hidden_size, 1)
        whole_number("num_layers", num_layers, 1)
        if not 0 <= dropout <= 1:
            raise OptionError("dropout", got=dropout, expected="a number from 0 to 1")
        if dropout and num_layers == 1:
            warnings.warn("dropout acts between layers and there is one layer", stacklevel=2)
        self.input_size, self.hidden_size, self.num_layers = input_size, hidden_size, num_layers
        self.bias, self.batch_first, self.bidirectional = bias, batch_first, bidirectional
        self.dropout = float(dropout)
        self._all_weights: list[list[str]] = []
        directions = ("", "_reverse") if bidirectional else ("",)
        for layer in range(num_layers):
            size = input_size if layer == 0 else hidden_size * len(directions)
            shapes = self.cell.parameters(size, hidden_size, bias)
            for direction in directions:
                # torch's names, so that tools which read them work here too
                suffix = f"_l{layer}{direction}"
                for name, shape in shapes.items():
                    weight = Parameter(torch.empty(shape, device=device, dtype=dtype))
                    self.register_parameter(name + suffix, weight)
                self._all_weights.append([name + suffix for name in shapes])
        self.reset_parameters()

    @property
    def all_weights(self) -> list[list[Parameter]]:
        """The parameters of each layer and direction."""
        return [[getattr(self, name) for name in names] for names in self._all_weights]

    def reset_parameters(self) -> None:
        """Draw every parameter uniformly from ±1/√H, as torch's recurrent layers do."""
        # the initial weights of torch.nn.GRU and torch.nn.LSTM
        bound = 1 / math.sqrt(self.hidden_size)
        for weight in self.parameters():
            torch.nn.init.uniform_(weight, -bound, bound)

    def flatten_parameters(self) -> None:
        """Do nothing; torch's layers use this method to lay out parameters for cuDNN."""

    def forward(
        self,
        input: Sequences,  # noqa: A002
        hx: States | None = None,
    ) -> tuple[Sequences, States]:
        """Return the outputs and the last states, as ``torch.nn.GRU`` and ``torch.nn.LSTM`` do."""
        return run(self, input, hx)

    def extra_repr(self) -> str:
        """Return the options that differ from their defaults, as torch's layers print them."""
        defaults = {
            "num_layers": 1,
            "bias": True,
            "batch_first": False,
            "dropout": 0.0,
            "bidirectional": False,
        }
        options = (f"{k}={getattr(self, k)}" for k, v in defaults.items() if getattr(self, k) != v)
        return ", ".join([str(self.input_size), str(self.hidden_size), *options])


class MinGRU(CellLayer):
    """The minimal gated recurrent unit, with the interface of ``torch.nn.GRU``.

    It computes all time steps at once. The gates see the input alone, so a layer has weight_ih_l0 ``[2·H,
    I]`` (update, candidate) and bias_ih_l0 ``[2·H]``, and no recurrent weights. Input, states and output
    have the shapes of ``torch.nn.GRU``.

    Raises:
        OptionError: an option has a wrong value.
        ShapeError: in `forward`, the input or the start state has a wrong shape.

    Source: L. Feng et al., "Were RNNs All We Needed?", arXiv:2410.01201 (2024).

    >>> output, state = MinGRU(3, 5, num_layers=2)(torch.zeros(7, 4, 3))
    >>> output.shape, state.shape
    (torch.Size([7, 4, 5]), torch.Size([2, 4, 5]))
    """

    cell: ClassVar[Cell] = find("mingru")


_CLASSES: dict[str, type[torch.nn.Module]] = {
    layer.__name__.lower(): layer for layer in (RNN, GRU, LSTM, MinGRU)
}


def layer_class(cell: Cell) -> type[torch.nn.Module]:
    """Return the layer class of a cell, or a new subclass of `CellLayer` if this module has none.

    >>> layer_class(find("lstm")).__name__
    'LSTM'
    """
    return _CLASSES.get(cell.name) or type(cell.name, (CellLayer,), {"cell": cell})
