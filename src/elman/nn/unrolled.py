"""Any cell over time in plain torch, with autograd: the specification, the fallback and the oracle.

Every input becomes one layout first: the rows ``[N, I]`` of all time steps below one another, and
the number of sequences still running at each step, as in a PackedSequence (for a padded batch B
throughout). So a packed, a padded and a single sequence run through the same lines.

A cell with a scan needs no loop of autograd nodes: the whole sequence is one node, whose backward
is the same recurrence run from the end.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias, cast

import torch
from torch import Tensor
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman._errors import ShapeError
from elman.cells import Cell, Ops, scan

__all__ = ["Recurrent", "Sequences", "States", "recurrence", "run", "torch_ops"]

Sequences: TypeAlias = Tensor | PackedSequence
States: TypeAlias = Tensor | tuple[Tensor, ...]

# The step loop costs about 2 us a step on a CPU, the doubling log2(T) passes over all of [T, B, H];
# measured at T 64 to 100,000 they cross where a step has a few hundred numbers.
_NARROW = 256


class Recurrent(Protocol):
    """What `run` reads of a module, beside its parameters by PyTorch's names."""

    @property
    def cell(self) -> Cell:
        """The cell of every layer."""

    input_size: int
    hidden_size: int
    num_layers: int
    bias: bool
    batch_first: bool
    dropout: float
    bidirectional: bool
    training: bool


@functools.cache
def torch_ops() -> Ops:
    """Return the functions of torch.

    >>> torch_ops().sigmoid(torch.zeros(1)).item()
    0.5
    """
    return Ops(
        sigmoid=torch.sigmoid,
        tanh=torch.tanh,
        relu=torch.relu,
        concatenate=lambda tensors: torch.cat(tensors),
    )


def run(module: Recurrent, x: Sequences, hx: States | None = None) -> tuple[Sequences, States]:
    """Return a recurrent module's output and last states, by its cell's step alone.

    Args:
        module: its cell, sizes and parameters; in training its dropout acts between the layers.
        x: ``[T, B, I]``, ``[B, T, I]`` with batch_first, ``[T, I]`` for one sequence, or packed.
        hx: the start state ``[layers·directions, B, H]`` (no B for one sequence), a tuple of these
            for a cell with several states; zeros when None.

    Returns:
        The last layer's hidden states ``[.., directions·H]`` in the layout of `x`, and every
        layer's last states in the layout of `hx`.

    Raises:
        ShapeError: `x` or `hx` does not fit the module.
    """
    cell, packed = module.cell, isinstance(x, PackedSequence)
    data = x.data if isinstance(x, PackedSequence) else x
    single = not packed and data.dim() == 2
    time_first = packed or single or not module.batch_first
    layout = "[B, T, I] or [T, I]" if module.batch_first else "[T, B, I] or [T, I]"
    layout = "packed rows [N, I]" if packed else layout
    if data.shape[-1] != module.input_size or data.dim() not in ((2,) if packed else (2, 3)):
        raise ShapeError(
            "input of the recurrent layer",
            got=tuple(data.shape),
            expected=f"{layout} with I = {module.input_size}",
        )
    weight = cast(Tensor, cast(Any, module).weight_ih_l0)
    if data.dtype != weight.dtype and not torch.is_autocast_enabled(data.device.type):
        raise ShapeError(
            "input of the recurrent layer", got=data.dtype, expected=f"the weights' {weight.dtype}"
        )
    if isinstance(x, PackedSequence):
        batch_sizes, order, back = x.batch_sizes.tolist(), x.sorted_indices, x.unsorted_indices
    else:
        order = back = None
        data = data.unsqueeze(1) if single else data if time_first else data.transpose(0, 1)
        if len(data) == 0:
            raise ShapeError("input of the recurrent layer", got="length 0", expected="from 1 step")
        batch_sizes = [data.shape[1]] * len(data)
        data = data.reshape(-1, module.input_size)
    states = _start(module, hx, data, batch_sizes[0], single)
    if order is not None:
        states = tuple(state.index_select(1, order) for state in states)

    data, states = _layers(module, data, batch_sizes, states)

    if back is not None:
        states = tuple(state.index_select(1, back) for state in states)
    if single:
        states = tuple(state.squeeze(1) for state in states)
    final = states[0] if len(cell.states) == 1 else states
    if isinstance(x, PackedSequence):
        return PackedSequence(data, x.batch_sizes, order, back), final
    if single:
        return data, final
    y = data.reshape(len(batch_sizes), -1, data.shape[-1])
    return (y if time_first else y.transpose(0, 1)), final


def _start(
    module: Recurrent, hx: States | None, data: Tensor, batch_size: int, single: bool
) -> tuple[Tensor, ...]:
    """Return the start states ``[layers·directions, B, H]`` that were given, checked, or zeros."""
    rows = module.num_layers * (2 if module.bidirectional else 1)
    names = module.cell.states
    if hx is None:
        return (data.new_zeros(rows, batch_size, module.hidden_size),) * len(names)
    given = (hx,) if isinstance(hx, Tensor) else tuple(hx)
    shape = (rows, module.hidden_size) if single else (rows, batch_size, module.hidden_size)
    if [tuple(state.shape) for state in given] != [shape] * len(names):
        raise ShapeError(
            f"start state of cell {module.cell.name}",
            got=", ".join(str(tuple(state.shape)) for state in given),
            expected=f"{shape} for {' and '.join(names)}",
        )
    return tuple(state.unsqueeze(1) for state in given) if single else given


def _layers(
    module: Recurrent, data: Tensor, batch_sizes: list[int], states: tuple[Tensor, ...]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the last layer's rows ``[N, directions·H]`` and every layer's last states."""
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
            start = tuple(state[len(last)] for state in states)
            direction = _scanned if module.cell.scan else _stepped
            output, end = direction(module.cell, parameters, data, batch_sizes, start, backward)
            outputs.append(output)
            last.append(end)
        data = torch.cat(outputs, -1) if len(outputs) > 1 else outputs[0]
    return data, tuple(torch.stack(ends) for ends in zip(*last, strict=True))


def _stepped(
    cell: Cell,
    parameters: dict[str, Any],
    data: Tensor,
    batch_sizes: list[int],
    start: tuple[Tensor, ...],
    backward: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return one direction's outputs ``[N, H]`` and last states ``[B, H]``, step by step."""
    ops = torch_ops()
    gx = functional.linear(data, parameters["weight_ih"], parameters.get("bias_ih"))
    steps = torch.split(gx, batch_sizes)
    running = batch_sizes[-1 if backward else 0]
    state = tuple(part[:running] for part in start)
    outputs: list[Tensor] = []
    ended: list[tuple[Tensor, ...]] = []
    order = range(len(batch_sizes))
    for step in reversed(order) if backward else order:
        size = batch_sizes[step]
        if size > running:  # backward in time the shorter sequences join
            state = tuple(
                torch.cat([part, first[running:size]])
                for part, first in zip(state, start, strict=True)
            )
        elif size < running:  # forward they drop out, with their last state
            ended.append(tuple(part[size:] for part in state))
            state = tuple(part[:size] for part in state)
        running = size
        gh = functional.linear(state[0], parameters["weight_hh"], parameters.get("bias_hh"))
        state = cell.step(ops, steps[step], gh, state)
        outputs.append(state[0])
    if backward:
        outputs.reverse()
    ends = [state, *reversed(ended)]
    return torch.cat(outputs), tuple(torch.cat(parts) for parts in zip(*ends, strict=True))


def _scanned(
    cell: Cell,
    parameters: dict[str, Any],
    data: Tensor,
    batch_sizes: list[int],
    start: tuple[Tensor, ...],
    backward: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the same as `_stepped` for a cell with a scan, all time steps in one node."""
    gates = cast(Any, cell.scan)
    gx = functional.linear(data, parameters["weight_ih"], parameters.get("bias_ih"))
    a, b = gates(torch_ops(), gx)
    lengths = None
    if batch_sizes[-1] == batch_sizes[0]:
        a, b = (part.reshape(len(batch_sizes), -1, part.shape[-1]) for part in (a, b))
    else:
        # a = 1, b = 0 hands the state on unchanged, so that padding neither adds nor forgets
        sizes = torch.tensor(batch_sizes)
        a, lengths = pad_packed_sequence(PackedSequence(a, sizes), padding_value=1.0)
        b, _ = pad_packed_sequence(PackedSequence(b, sizes))
    h = recurrence(a.flip(0), b.flip(0), start[0]) if backward else recurrence(a, b, start[0])
    end, h = h[-1], h.flip(0) if backward else h
    return h.flatten(0, 1) if lengths is None else pack_padded_sequence(h, lengths).data, (end,)


def recurrence(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """Return every h ``[T, B, H]`` of h[t] = a[t]·h[t-1] + b[t], ``start [B, H]``, as one node.

    >>> one = torch.ones(2, 1, 1)
    >>> recurrence(one / 2, one, 2 * one[0]).flatten().tolist()
    [2.0, 2.0]
    """
    # under autocast the gates come in the lower precision and the start state does not
    kind = torch.promote_types(torch.promote_types(a.dtype, b.dtype), start.dtype)
    return cast(Tensor, _Recurrence.apply(a.to(kind), b.to(kind), start.to(kind)))  # type: ignore[no-untyped-call]


class _Recurrence(torch.autograd.Function):
    """h[t] = a[t]·h[t-1] + b[t]; the gradient of h[t] is s[t] = grad[t] + a[t+1]·s[t+1]."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        if _in_parallel(a):
            h = cast(Tensor, scan.parallel(torch_ops(), a, b, start))
        else:
            h = torch.empty_like(b, memory_format=torch.contiguous_format)
            _in_order(a.unbind(), b.unbind(), start, h.unbind())
        ctx.save_for_backward(a, h, start)
        return h

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, start = ctx.saved_tensors
        (grad,) = grads
        # gradients are on here where a second derivative is asked for
        if torch.is_grad_enabled() or _in_parallel(a):
            following = torch.cat([torch.zeros_like(a[:1]), a[1:].flip(0)])
            zero = torch.zeros_like(start)
            total = scan.parallel(torch_ops(), following, grad.flip(0), zero).flip(0)
        else:
            total = torch.empty_like(h)
            total[-1] = grad[-1]
            steps = total.unbind()
            _in_order(a.unbind()[:0:-1], grad.unbind()[-2::-1], steps[-1], steps[-2::-1])
        return total * torch.cat([start[None], h[:-1]]), total, a[0] * total[0]


def _in_parallel(a: Tensor) -> bool:
    return a.device.type != "cpu" or a[0].numel() < _NARROW


def _in_order(
    a: Sequence[Tensor], b: Sequence[Tensor], start: Tensor, out: Sequence[Tensor]
) -> None:
    """Write every h of h[t] = a[t]·h[t-1] + b[t] into ``out[t]``, with no new memory a step."""
    h = start
    for a_t, b_t, out_t in zip(a, b, out, strict=True):
        h = torch.addcmul(b_t, a_t, h, out=out_t)
