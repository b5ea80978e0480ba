"""One direction of one layer over time in plain torch: specification, fallback and oracle of tests.

The rows ``[N, I]`` of all time steps stand below one another, with the number of sequences that are still
running at each step, as in a PackedSequence.

A cell with a scan needs no autograd node for each step: the whole sequence is one node, whose backward is the
same recurrence from the last step to the first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.autograd.function import FunctionCtx
from torch.nn import functional
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence, pad_packed_sequence

from elman.cells import Cell, Ops, Scan, scan

# Below this many numbers B·H of a step, the parallel scan is faster on a CPU than the loop over steps. The
# loop costs about 2 us a step, the scan log2(T) passes over [T, B, H]; measured for T from 64 to 100,000.
_PARALLEL_BELOW_NUMBERS = 256


_OPS = Ops(
    sigmoid=torch.sigmoid,
    tanh=torch.tanh,
    relu=torch.relu,
    concatenate=lambda tensors: torch.cat(tensors),
)


def torch_ops() -> Ops:
    """Return the functions of torch.

    >>> torch_ops().sigmoid(torch.zeros(1)).item()
    0.5
    """
    return _OPS


def transformed() -> bool:
    """Return whether torch compiles or transforms the call; only plain operations of torch work then."""
    return (
        torch.compiler.is_compiling()
        or torch._C._are_functorch_transforms_active()
        or torch.autograd.forward_ad._current_level >= 0
    )


def direction(
    cell: Cell,
    parameters: Mapping[str, Tensor],
    data: Tensor,
    batch_sizes: list[int],
    start: tuple[Tensor, ...],
    backward: bool,
    tokens: Tensor | None = None,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the outputs ``[N, H]`` and the last states ``[B, H]`` of one direction.

    Args:
        cell: The cell of the layer.
        parameters: The parameters of the direction by PyTorch's names without suffix.
        data: The inputs ``[N, I]``; with `tokens` a table ``[V, I]``.
        batch_sizes: The number of running sequences at each step.
        start: The start state, ``[B, H]`` for each state of the cell.
        backward: Whether to run from the last step to the first.
        tokens: The row of `data` that each step reads, ``[N]``.
    """
    if tokens is not None:
        data = functional.embedding(tokens, data)
    if cell.scan is not None:
        return _scanned(cell.scan, parameters, data, batch_sizes, start, backward)
    return _stepped(cell, parameters, data, batch_sizes, start, backward)


def _stepped(
    cell: Cell,
    parameters: Mapping[str, Tensor],
    data: Tensor,
    batch_sizes: list[int],
    start: tuple[Tensor, ...],
    backward: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the result of `direction`, computed in a loop over the time steps."""
    ops = torch_ops()
    # one product for the inputs of all steps, [N, G·H]
    gx = functional.linear(data, parameters["weight_ih"], parameters.get("bias_ih"))
    steps = torch.split(gx, batch_sizes)
    # Backward in time, only the longest sequences run at first.
    running = batch_sizes[-1 if backward else 0]
    state = tuple(part[:running] for part in start)
    outputs: list[Tensor] = []
    ended: list[tuple[Tensor, ...]] = []
    order = range(len(batch_sizes))
    for step in reversed(order) if backward else order:
        size = batch_sizes[step]
        if size > running:  # backward in time: the shorter sequences begin at this step
            state = tuple(
                torch.cat([part, first[running:size]])
                for part, first in zip(state, start, strict=True)
            )
        elif size < running:  # forward in time: the shorter sequences have ended
            ended.append(tuple(part[size:] for part in state))
            state = tuple(part[:size] for part in state)
        running = size
        gh = functional.linear(state[0], parameters["weight_hh"], parameters.get("bias_hh"))
        state = cell.step(ops, steps[step], gh, state)
        outputs.append(state[0])
    if backward:
        outputs.reverse()
    # the longest sequences first, as in the batch
    ends = [state, *reversed(ended)]
    return torch.cat(outputs), tuple(torch.cat(parts) for parts in zip(*ends, strict=True))


def _scanned(
    gates: Scan,
    parameters: Mapping[str, Tensor],
    data: Tensor,
    batch_sizes: list[int],
    start: tuple[Tensor, ...],
    backward: bool,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return the result of `direction` for a cell with a scan; its recurrence is a single autograd node."""
    gx = functional.linear(data, parameters["weight_ih"], parameters.get("bias_ih"))
    a, b = gates(torch_ops(), gx)
    lengths = None
    if batch_sizes[-1] == batch_sizes[0]:
        a, b = (part.reshape(len(batch_sizes), -1, part.shape[-1]) for part in (a, b))
    else:
        # padding with a = 1 and b = 0 passes the state on unchanged
        sizes = torch.tensor(batch_sizes)
        a, lengths = pad_packed_sequence(PackedSequence(a, sizes), padding_value=1.0)
        b, _ = pad_packed_sequence(PackedSequence(b, sizes))
    # Backward is the same recurrence over the steps in reversed order.
    h = recurrence(a.flip(0), b.flip(0), start[0]) if backward else recurrence(a, b, start[0])
    end, h = h[-1], h.flip(0) if backward else h
    return h.flatten(0, 1) if lengths is None else pack_padded_sequence(h, lengths).data, (end,)


def recurrence(a: Tensor, b: Tensor, start: Tensor) -> Tensor:
    """Return every h[t] = a[t]·h[t-1] + b[t] ``[T, B, H]`` from ``start [B, H]``, as one autograd node.

    >>> one = torch.ones(2, 1, 1)
    >>> recurrence(one / 2, one, 2 * one[0]).flatten().tolist()
    [2.0, 2.0]
    """
    # under autocast the gates have a lower precision than the start state
    kind = torch.promote_types(torch.promote_types(a.dtype, b.dtype), start.dtype)
    a, b, start = a.to(kind), b.to(kind), start.to(kind)
    if transformed():
        return cast(Tensor, scan.parallel(torch_ops(), a, b, start))
    return cast(Tensor, _Recurrence.apply(a, b, start))  # type: ignore[no-untyped-call]


class Context(FunctionCtx):
    """The object that torch hands from a forward pass to its backward pass, as type checkers see it."""

    saved_tensors: tuple[Tensor, ...]
    needs_input_grad: tuple[bool, ...]


class _Recurrence(torch.autograd.Function):
    """h[t] = a[t]·h[t-1] + b[t]. The gradient of h[t] is s[t] = grad[t] + a[t+1]·s[t+1]."""

    @staticmethod
    def forward(ctx: Context, a: Tensor, b: Tensor, start: Tensor) -> Tensor:
        if _in_parallel(a):
            h = cast(Tensor, scan.parallel(torch_ops(), a, b, start))
        else:
            h = torch.empty_like(b, memory_format=torch.contiguous_format)
            _in_order(a.unbind(), b.unbind(), start, h.unbind())
        ctx.save_for_backward(a, h, start)
        return h

    @staticmethod
    def backward(ctx: Context, *grads: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        a, h, start = ctx.saved_tensors
        (grad,) = grads
        # gradients are enabled in here when a second derivative is computed
        if torch.is_grad_enabled() or _in_parallel(a):
            # a[t+1] for the steps in reversed order; nothing follows the last step
            following = torch.cat([torch.zeros_like(a[:1]), a[1:].flip(0)])
            zero = torch.zeros_like(start)
            total = scan.parallel(torch_ops(), following, grad.flip(0), zero).flip(0)
        else:
            total = torch.empty_like(h)
            total[-1] = grad[-1]
            steps = total.unbind()
            _in_order(a.unbind()[:0:-1], grad.unbind()[-2::-1], steps[-1], steps[-2::-1])
        # gradients of a, b and start: the derivative of h[t] by a[t] is h[t-1]
        return total * torch.cat([start[None], h[:-1]]), total, a[0] * total[0]


def _in_parallel(a: Tensor) -> bool:
    return a.device.type != "cpu" or a[0].numel() < _PARALLEL_BELOW_NUMBERS


def _in_order(
    a: Sequence[Tensor], b: Sequence[Tensor], start: Tensor, out: Sequence[Tensor]
) -> None:
    """Write h[t] = a[t]·h[t-1] + b[t] into ``out[t]`` for every step, without allocating memory."""
    # h[t-1], ``[B, H]``
    h = start
    for a_t, b_t, out_t in zip(a, b, out, strict=True):
        h = torch.addcmul(b_t, a_t, h, out=out_t)
