"""Stacked recurrent layers in one or two directions, over padded, packed or single sequences.

Every input is first brought into one layout, that of a PackedSequence: the rows ``[N, I]`` of all time steps
below one another, and the number of sequences that are still running at each step (always B for a padded
batch). Packed, padded and single sequences then run through the same lines.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, TypeAlias

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence

from elman.cells import Cell
from elman.engine import kernel
from elman.errors import OptionError, ShapeError
from elman.nn import autograd, unrolled

PRECISIONS = ("float32", "bf16")

Sequences: TypeAlias = Tensor | PackedSequence
States: TypeAlias = Tensor | tuple[Tensor, ...]
Direction: TypeAlias = Callable[
    [Cell, Mapping[str, Tensor], Tensor, list[int], tuple[Tensor, ...], bool, Tensor | None],
    tuple[Tensor, tuple[Tensor, ...]],
]


class Recurrent(Protocol):
    """The attributes of a module that `run` reads, apart from parameters with PyTorch's names."""

    @property
    def cell(self) -> Cell:
        """The cell of every layer."""

    @property
    def all_weights(self) -> Sequence[Sequence[Tensor]]:
        """The parameters of each layer and direction, weight_ih first."""

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    training: bool
    precision: str


def check_precision(module: Recurrent, data: Tensor) -> None:
    """Raise OptionError if the module's precision is unknown, or cannot run on this data or processor."""
    if module.precision not in PRECISIONS:
        expected = " or ".join(PRECISIONS)
        raise OptionError("precision", got=module.precision, expected=expected)
    if module.precision == "bf16" and not torch.compiler.is_compiling():
        # bfloat16 products exist in the compiled kernel alone
        if not data.is_cpu or data.dtype != torch.float32 or getattr(module, "proj_size", False):
            raise OptionError(
                "precision",
                got=f"bf16 for {data.dtype} on {data.device.type}",
                expected="float32 there, or float32 numbers on a CPU and no proj_size",
            )
        kernel.require_bfloat16()


def run(
    module: Recurrent,
    x: Sequences,
    hx: States | None = None,
    direction: Direction | None = None,
) -> tuple[Sequences, States]:
    """Run a recurrent module over a batch.

    Args:
        module: The module; in training mode its dropout acts between the layers.
        x: ``[T, B, I]``, ``[B, T, I]`` with batch_first, ``[T, I]`` for one sequence, or packed.
        hx: The start state ``[layers·directions, B, H]`` (without B for one sequence), or a tuple of these
            for a cell with several states; zeros if None.
        direction: The function that runs one direction of one layer (default: the kernel's if the kernel can
            take the module, otherwise torch's).

    Returns:
        The last layer's hidden states ``[.., directions·H]`` in the layout of `x`, and the last states of
        every layer in the layout of `hx`.

    Raises:
        ShapeError: `x` or `hx` does not fit the module.
        OptionError: the module's precision cannot run here.
    """
    if isinstance(x, PackedSequence):
        return _run_packed(module, x, hx, direction)
    _check_input(module, x, packed=False)
    single = x.dim() == 2
    time_first = single or not module.batch_first
    steps = x.unsqueeze(1) if single else x if time_first else x.transpose(0, 1)  # [T, B, I]
    T, B = steps.shape[:2]
    if T == 0:
        raise ShapeError("input of the recurrent layer", got="length 0", expected="at least 1 step")
    states = _start(module, hx, steps, B, single)
    rows = steps.reshape(-1, module.input_size)
    rows, states = _layers(module, rows, [B] * T, states, direction)
    y = rows.reshape(T, B, rows.shape[-1])
    if single:
        y, states = y.squeeze(1), tuple(state.squeeze(1) for state in states)
    # As torch's layers: a tuple of states only for a cell with several.
    final = states[0] if len(states) == 1 else states
    return (y if time_first else y.transpose(0, 1)), final


def _run_packed(
    module: Recurrent, x: PackedSequence, hx: States | None, direction: Direction | None
) -> tuple[PackedSequence, States]:
    """Return the result of `run` for a PackedSequence, whose rows have the layout of `_layers` already."""
    _check_input(module, x.data, packed=True)
    batch_sizes, order, back = x.batch_sizes.tolist(), x.sorted_indices, x.unsorted_indices
    states = _start(module, hx, x.data, batch_sizes[0], single=False)
    if order is not None:
        states = tuple(state.index_select(1, order) for state in states)
    rows, states = _layers(module, x.data, batch_sizes, states, direction)
    if back is not None:
        states = tuple(state.index_select(1, back) for state in states)
    final = states[0] if len(states) == 1 else states
    return PackedSequence(rows, x.batch_sizes, order, back), final


def _check_input(module: Recurrent, data: Tensor, packed: bool) -> None:
    layout = "[B, T, I] or [T, I]" if module.batch_first else "[T, B, I] or [T, I]"
    layout = "packed rows [N, I]" if packed else layout
    if data.shape[-1] != module.input_size or data.dim() not in ((2,) if packed else (2, 3)):
        raise ShapeError(
            "input of the recurrent layer",
            got=tuple(data.shape),
            expected=f"{layout} with I = {module.input_size}",
        )
    # Mixed types are an error unless autocast converts them.
    weight = module.all_weights[0][0]
    if data.dtype != weight.dtype and not torch.is_autocast_enabled(data.device.type):
        raise ShapeError(
            "input of the recurrent layer", got=data.dtype, expected=f"the weights' {weight.dtype}"
        )


def _start(
    module: Recurrent, hx: States | None, data: Tensor, batch_size: int, single: bool
) -> tuple[Tensor, ...]:
    """Return `hx` as a checked tuple of ``[layers·directions, B, H]``, or zeros for None."""
    rows = module.num_layers * (2 if module.bidirectional else 1)
    names = module.cell.states
    if hx is None:
        # One tensor may stand for all states: nobody writes into it.
        return (data.new_zeros(rows, batch_size, module.hidden_size),) * len(names)
    states = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    shape = (rows, module.hidden_size) if single else (rows, batch_size, module.hidden_size)
    if [tuple(state.shape) for state in states] != [shape] * len(names):
        raise ShapeError(
            f"start state of cell {module.cell.name}",
            got=", ".join(str(tuple(state.shape)) for state in states),
            expected=f"{shape} for {' and '.join(names)}",
        )
    return tuple(state.unsqueeze(1) for state in states) if single else states


def run_tokens(
    module: Recurrent,
    table: Tensor,
    tokens: Tensor,
    hx: States | None = None,
    direction: Direction | None = None,
) -> tuple[Tensor, States]:
    """Return `run` of the rows of ``table [V, I]`` whose numbers are ``tokens [T, B]``.

    The kernel computes the input product once for each row of the table instead of once a step.
    """
    T, B = tokens.shape
    states = _start(module, hx, table, B, single=False)
    rows, states = _layers(module, table, [B] * T, states, direction, tokens.reshape(-1))
    return rows.reshape(T, B, -1), states[0] if len(states) == 1 else states


def _direction(module: Recurrent, data: Tensor, states: tuple[Tensor, ...]) -> Direction:
    """Return the kernel's `direction` if the kernel can take the module, else torch's; raises OptionError."""
    check_precision(module, data)
    weights = [weight for layer in module.all_weights for weight in layer]
    if autograd.takes(data, [*weights, *states], module.cell):
        return functools.partial(autograd.direction, bfloat16=module.precision == "bf16")
    return unrolled.direction


def _layers(
    module: Recurrent,
    data: Tensor,
    batch_sizes: list[int],
    states: tuple[Tensor, ...],
    direction: Direction | None = None,
    tokens: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the last layer's rows ``[N, directions·H]`` and the last states of every layer."""
    run_direction = direction or _direction(module, data, states)
    last: list[tuple[Tensor, ...]] = []
    directions = (False, True) if module.bidirectional else (False,)
    for layer in range(module.num_layers):
        if layer and module.dropout:
            data = functional.dropout(data, module.dropout, module.training)
        outputs = []
        for backward in directions:
            names = module.cell.parameters(module.input_size, module.hidden_size, module.bias)
            suffix = f"_l{layer}" + ("_reverse" if backward else "")
            parameters = {name: getattr(module, name + suffix) for name in names}
            # The states of all layers and directions lie behind one another, in running order.
            start = tuple(state[len(last)] for state in states)
            output, end = run_direction(
                module.cell, parameters, data, batch_sizes, start, backward, tokens
            )
            outputs.append(output)
            last.append(end)
        # [N, directions·H], the input of the next layer
        data = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
        # only the first layer reads tokens
        tokens = None
    return data, tuple(torch.stack(ends) for ends in zip(*last, strict=True))
