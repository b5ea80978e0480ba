"""One direction of one layer over time in the compiled kernel, as one node of autograd.

What the kernel cannot take (other devices and types, second derivatives, tracing and functorch) runs
in plain torch, by `elman.nn.unrolled` or by torch's own layers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from elman.cells import Cell, find
from elman.engine import kernel
from elman.nn import unrolled

__all__ = ["array", "direction", "share_threads", "takes"]


def takes(data: Tensor, parameters: list[Tensor], cell: Cell | None = None) -> bool:
    """Return whether the kernel can run layers of `cell` with `parameters` over `data`.

    It can where it has the cell, on a CPU in float32, called plainly: not compiled, traced, transformed or
    intercepted. Without a `cell` the question is about the data and the parameters alone.
    """
    return (
        not unrolled.transformed()
        and data.is_cpu
        and data.dtype == torch.float32
        and data.numel() > 0
        and kernel.kernel() is not None
        and (cell is None or kernel.cell_number(cell.name, cell.activation) is not None)
        and all(weight.is_cpu and weight.dtype == torch.float32 for weight in parameters)
        and type(data) in (Tensor, torch.nn.Parameter)
        and not torch._C._get_tracing_state()
        and not torch.is_autocast_enabled("cpu")
        and torch._C._len_torch_dispatch_stack() == 0
    )


def direction(
    cell: Cell,
    parameters: Mapping[str, Tensor],
    data: Tensor,
    batch_sizes: list[int],
    start: tuple[Tensor, ...],
    backward: bool,
    tokens: Tensor | None = None,
    bfloat16: bool = False,
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return what `unrolled.direction` does, from the kernel; with `bfloat16` its products are so."""
    how = (cell.name, cell.activation, np.array(batch_sizes, np.int64), backward, bfloat16)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    weights = [parameters.get(name) for name in names]
    output, end = _Direction.apply(how, tokens, data, torch.stack(start), *weights)  # type: ignore[no-untyped-call]
    return output, end.unbind()


def array(tensor: Tensor | None) -> Any:
    """Return a tensor as an array for the kernel: the same memory where that is contiguous."""
    return None if tensor is None else tensor.detach().contiguous().numpy()


class _Direction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        how: tuple[Any, ...],
        tokens: Tensor | None,
        data: Tensor,
        start: Tensor,
        *weights: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        share_threads()
        output = data.new_empty(how[2].sum(), start.shape[-1])
        end = torch.empty_like(start, memory_format=torch.contiguous_format)
        ctx.how = how
        ctx.kept = _forward(how, tokens, data, start, weights, output, end)
        ctx.save_for_backward(tokens, data, start, output, *weights)
        ctx.set_materialize_grads(False)
        return output, end

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        tokens, data, start, output, *weights = ctx.saved_tensors
        many = any(one is not None and is_legacy_batchedtensor(one) for one in gradients)
        if torch.is_grad_enabled() or many or unrolled.transformed():
            # a second derivative is asked for, or many gradients at once
            inputs = (data, start, *weights)
            needed = ctx.needs_input_grad[2:]
            return None, None, *_in_torch(ctx.how, tokens, inputs, gradients, needed)
        kept, ctx.kept = ctx.kept, None
        if kept is None:  # it was overwritten by a backward before this one
            outputs = output.clone(), torch.empty_like(start)
            kept = _forward(ctx.how, tokens, data, start, weights, *outputs)
        d_output, d_end = gradients
        if d_output is None:
            d_output = torch.zeros_like(output)
        d_data = None
        if ctx.needs_input_grad[2]:
            d_data = torch.empty_like(data, memory_format=torch.contiguous_format)
        d_start = torch.empty_like(start, memory_format=torch.contiguous_format)
        d_weights = [
            None
            if weight is None
            else torch.empty_like(weight, memory_format=torch.contiguous_format)
            for weight in weights
        ]
        name, activation, sizes, backward, bfloat16 = ctx.how
        cast(Any, kernel.kernel()).backward(
            kept,
            kernel.cell_number(name, activation),
            sizes,
            backward,
            bfloat16,
            kernel.threads(torch.get_num_threads()),
            array(data),
            array(tokens),
            *map(array, weights[:2]),
            array(start),
            array(output),
            array(d_output),
            array(d_end),
            array(d_data),
            *map(array, d_weights),
            array(d_start),
        )
        return None, None, d_data, d_start, *d_weights


def _forward(
    how: tuple[Any, ...],
    tokens: Tensor | None,
    data: Tensor,
    start: Tensor,
    weights: Any,
    output: Tensor,
    end: Tensor,
) -> Any:
    """Write output and end, both contiguous; return what the kernel keeps for backward."""
    name, activation, sizes, backward, bfloat16 = how
    return cast(Any, kernel.kernel()).forward(
        kernel.cell_number(name, activation),
        sizes,
        backward,
        bfloat16,
        kernel.threads(torch.get_num_threads()),
        array(data),
        array(tokens),
        *map(array, weights),
        array(start),
        array(output),
        array(end),
    )


def _in_torch(
    how: tuple[Any, ...],
    tokens: Tensor | None,
    inputs: tuple[Tensor | None, ...],
    gradients: tuple[Tensor | None, ...],
    needed: tuple[bool, ...],
) -> list[Tensor | None]:
    """Return the gradients of data, start and weights by torch's own operations."""
    name, activation, sizes, backward, _ = how
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # one may be computed from another: behind a name of its own each has only its own gradient
        own = [tensor if tensor is None else tensor.view_as(tensor) for tensor in inputs]
        data, start, *weights = own
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        parameters = {
            key: weight for key, weight in zip(names, weights, strict=True) if weight is not None
        }
        states = cast(Tensor, start).unbind()
        batch_sizes = sizes.tolist()
        output, end = unrolled.direction(
            find(name, activation),
            parameters,
            cast(Tensor, data),
            batch_sizes,
            states,
            backward,
            tokens,
        )
        pairs = zip((output, torch.stack(end)), gradients, strict=True)
        outputs, given = zip(
            *((one, gradient) for one, gradient in pairs if gradient is not None), strict=True
        )
    wanted = [tensor for tensor, need in zip(own, needed, strict=True) if need]
    found = iter(
        torch.autograd.grad(
            outputs, cast(Any, wanted), given, create_graph=again, allow_unused=True
        )
    )
    return [next(found) if need else None for need in needed]


@functools.cache
def share_threads() -> None:
    """Let the kernel run on torch's own threads from now on: two pools would wait for each other.

    A forked child has none of these threads, and torch would wait for them for ever. There torch computes on
    one thread, as in the workers of its data loaders, and the kernel starts threads of its own.
    """
    kernel.share_threads()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
