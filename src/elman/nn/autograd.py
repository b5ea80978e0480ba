"""One direction of one layer in the compiled kernel, as one node of torch's autograd.

The kernel runs plain calls in float32 on a CPU. For everything else (other devices and types, second
derivatives, tracing and functorch) the layers use `elman.nn.unrolled` or torch's own layers.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Iterable, Mapping
from typing import overload

import numpy as np
import torch
from torch import Tensor
from torch._C._functorch import is_legacy_batchedtensor

from elman.cells import Cell
from elman.engine import kernel
from elman.engine.kernel import LayerCall, LayerWeights
from elman.nn import unrolled


def takes(data: Tensor, parameters: list[Tensor], cell: Cell | None = None) -> bool:
    """Return whether the kernel can run layers of `cell` with `parameters` over `data`.

    It needs float32 tensors on a CPU and a plain call: not compiled, traced, transformed or intercepted.
    Without `cell` only the tensors are checked.
    """
    return (
        not unrolled.transformed()
        and data.is_cpu
        and data.dtype == torch.float32
        # Empty inputs are left to torch, which has rules of its own for them.
        and data.numel() > 0
        and kernel.kernel() is not None
        and (cell is None or kernel.cell_number(cell) is not None)
        and all(weight.is_cpu and weight.dtype == torch.float32 for weight in parameters)
        and type(data) in (Tensor, torch.nn.Parameter)
        and not torch._C._get_tracing_state()
        and not torch.is_autocast_enabled("cpu")
        # A dispatch mode wants to see every operation, also those inside the layer.
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
    """Compute the same as `elman.nn.unrolled.direction` in the kernel; `bfloat16` rounds its products."""
    call = LayerCall(cell, np.array(batch_sizes, np.int64), backward, bfloat16, threads())
    weights = [parameters.get(name) for name in LayerWeights._fields]
    # start [S, B, H]: one tensor for all states of the cell
    output, end = _Direction.apply(call, tokens, data, torch.stack(start), *weights)  # type: ignore[no-untyped-call]
    return output, end.unbind()


@overload
def array(tensor: Tensor) -> np.ndarray: ...
@overload
def array(tensor: None) -> None: ...
@overload
def array(tensor: Tensor | None) -> np.ndarray | None: ...
def array(tensor: Tensor | None) -> np.ndarray | None:
    """Return a tensor as an array for the kernel; a contiguous tensor shares its memory with the array."""
    return None if tensor is None else tensor.detach().contiguous().numpy()


def _weights(tensors: Iterable[Tensor | None]) -> LayerWeights:
    return LayerWeights._make(map(array, tensors))


class _Context(unrolled.Context):
    call: LayerCall
    saved: kernel.Saved | None

    def save_for_backward(self, *tensors: Tensor | None) -> None: ...


class _Direction(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: _Context,
        call: LayerCall,
        tokens: Tensor | None,
        data: Tensor,
        start: Tensor,
        *weights: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        # [N, H], a row for each step of each sequence
        output = data.new_empty(int(call.sizes.sum()), start.shape[-1])
        end = empty_like(start)
        ctx.call = call
        ctx.saved = _forward(call, tokens, data, start, weights, output, end)
        ctx.save_for_backward(tokens, data, start, output, *weights)
        # An output that nobody used has no gradient, which the kernel takes as zeros.
        ctx.set_materialize_grads(False)
        return output, end

    @staticmethod
    def backward(ctx: _Context, *gradients: Tensor | None) -> tuple[Tensor | None, ...]:
        tokens, data, start, output, *saved_weights = ctx.saved_tensors
        weights: list[Tensor | None] = [*saved_weights]
        call = ctx.call
        batched = any(grad is not None and is_legacy_batchedtensor(grad) for grad in gradients)
        if torch.is_grad_enabled() or batched or unrolled.transformed():
            # a second derivative is needed, or many gradients at once: the kernel computes neither
            needed = ctx.needs_input_grad[2:]
            return None, None, *_in_torch(call, tokens, data, start, weights, gradients, needed)
        saved, ctx.saved = ctx.saved, None
        if saved is None:  # an earlier backward has overwritten it
            outputs = output.clone(), empty_like(start)
            saved = _forward(call, tokens, data, start, weights, *outputs)
        d_output, d_end = gradients
        if d_output is None:
            d_output = torch.zeros_like(output)
        # The gradient of the input costs a matrix product, so compute it only on demand.
        d_data = empty_like(data) if ctx.needs_input_grad[2] else None
        d_start = empty_like(start)
        d_weights = [None if weight is None else empty_like(weight) for weight in weights]
        call.backward(
            saved,
            array(data),
            _weights(weights),
            array(start),
            array(output),
            (array(d_output), array(d_end)),
            (array(d_data), array(d_start)),
            _weights(d_weights),
            array(tokens),
        )
        return None, None, d_data, d_start, *d_weights


def empty_like(tensor: Tensor) -> Tensor:
    """Return a new contiguous tensor of the shape of `tensor`, for the kernel to write."""
    return torch.empty_like(tensor, memory_format=torch.contiguous_format)


def _forward(
    call: LayerCall,
    tokens: Tensor | None,
    data: Tensor,
    start: Tensor,
    weights: Iterable[Tensor | None],
    output: Tensor,
    end: Tensor,
) -> kernel.Saved:
    """Write `output` and `end`, both contiguous; return what the kernel's backward needs."""
    inputs = array(data), _weights(weights), array(start)
    return call.forward(*inputs, array(output), array(end), array(tokens))


def _in_torch(
    call: LayerCall,
    tokens: Tensor | None,
    data: Tensor,
    start: Tensor,
    weights: list[Tensor | None],
    gradients: tuple[Tensor | None, ...],
    needed: tuple[bool, ...],
) -> list[Tensor | None]:
    """Return the gradients of data, start and weights by torch's own operations."""
    # True where a gradient of this gradient will be needed
    again = torch.is_grad_enabled()
    with torch.enable_grad():
        # views, because gradients must not flow between the inputs if one was computed from another
        data, start = data.view_as(data), start.view_as(start)
        weights = [None if weight is None else weight.view_as(weight) for weight in weights]
        parameters = {
            name: weight
            for name, weight in zip(LayerWeights._fields, weights, strict=True)
            if weight is not None
        }
        output, end = unrolled.direction(
            call.cell, parameters, data, call.sizes.tolist(), start.unbind(), call.reverse, tokens
        )
        outputs, d_outputs = zip(
            *(
                (result, gradient)
                for result, gradient in zip((output, torch.stack(end)), gradients, strict=True)
                if gradient is not None
            ),
            strict=True,
        )
    inputs = zip((data, start, *weights), needed, strict=True)
    wanted = [tensor for tensor, need in inputs if need and tensor is not None]
    computed = iter(
        torch.autograd.grad(outputs, wanted, d_outputs, create_graph=again, allow_unused=True)
    )
    return [next(computed) if need else None for need in needed]


def threads() -> int:
    """Return the largest number of threads for a call of the kernel, which shares them with torch."""
    _share_threads()
    return kernel.threads(torch.get_num_threads())


@functools.cache
def _share_threads() -> None:
    """Make the kernel run on torch's threads from now on: two thread pools would wait for each other.

    A forked child has none of these threads, and torch would wait for them forever. There torch computes on
    one thread, as in the workers of its data loaders, and the kernel starts threads of its own.
    """
    kernel.share_threads()
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))
