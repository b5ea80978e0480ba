"""Functions around recurrent layers: embedded tokens as input, and the cross entropy of the outputs."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from elman.engine import kernel
from elman.errors import OptionError
from elman.nn import autograd
from elman.nn.stack import Recurrent, States, run_tokens
from elman.nn.unrolled import Context


def embedded(
    layer: torch.nn.Module, tokens: Tensor, weight: Tensor, hx: States | None = None
) -> tuple[Tensor, States]:
    """Return ``layer(embedding(tokens, weight), hx)`` for ``tokens [T, B]`` and ``weight [V, I]``.

    If the batch has more steps than the vocabulary has tokens, as with characters, the kernel multiplies each
    row of `weight` once instead of once a step, forward and backward.

    >>> layer, weight = torch.nn.GRU(3, 5), torch.zeros(7, 3)
    >>> embedded(layer, torch.zeros(4, 2, dtype=torch.long), weight)[0].shape
    torch.Size([4, 2, 5])
    """
    plain = (
        tokens.dim() == 2
        and not getattr(layer, "batch_first", False)
        and not getattr(layer, "proj_size", 0)
    )
    if hasattr(layer, "precision") and plain and len(weight) < tokens.numel():
        recurrent = cast(Recurrent, layer)  # Elman's layers alone have a precision
        parameters = [parameter for parameters in recurrent.all_weights for parameter in parameters]
        if autograd.takes(weight, parameters, recurrent.cell):
            return run_tokens(recurrent, weight, tokens, hx)
    return cast(tuple[Tensor, States], layer(torch.nn.functional.embedding(tokens, weight), hx))


def linear_cross_entropy(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor,
    target: Tensor,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross entropy (nats) of ``softmax(input·weightᵀ + bias)`` at `target`.

    The kernel computes blocks of rows, forward and backward together, and never stores the logits ``[..,
    V]``. Without the kernel, torch stores them.

    Args:
        input: Hidden states ``[.., H]``.
        weight: ``[V, H]``.
        bias: ``[V]``.
        target: Class numbers ``[..]``.
        ignore_index: Rows with this target are left out.
        reduction: "mean" over the rows that are not left out, or "sum".

    Raises:
        OptionError: `reduction` is neither "mean" nor "sum".

    >>> one = torch.ones(1, 1)
    >>> zeros = torch.zeros(2)
    >>> round(linear_cross_entropy(one, zeros[:, None], zeros, torch.tensor([1])).item(), 4)
    0.6931
    """
    if reduction not in ("mean", "sum"):
        raise OptionError("reduction", got=reduction, expected='"mean" or "sum"')
    # rows [N, H] and their classes [N]
    rows, wanted = input.reshape(-1, input.shape[-1]), target.reshape(-1)
    if not autograd.takes(rows, [weight, bias]):
        logits = torch.nn.functional.linear(rows, weight, bias)
        return torch.nn.functional.cross_entropy(
            logits, wanted, ignore_index=ignore_index, reduction=reduction
        )
    mean, gradient = reduction == "mean", torch.is_grad_enabled()
    apply = cast(Any, _LinearCrossEntropy.apply)
    return cast(Tensor, apply(rows, weight, bias, wanted, ignore_index, mean, gradient))


class _Context(Context):
    ignore: int
    scale: float
    """The kernel's factor of the gradients: 1 over the number of rows for the mean, else 1."""
    gradients: list[Tensor]
    """Gradients of rows, weight and bias; empty once `backward` has returned them."""


class _LinearCrossEntropy(torch.autograd.Function):
    """Cross entropy whose forward also computes the gradients, for a gradient of 1 of the loss."""

    @staticmethod
    def forward(
        ctx: _Context,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor,
        target: Tensor,
        ignore: int,
        mean: bool,
        gradient: bool,
    ) -> Tensor:
        # rows that count, which the mean divides by
        count = int((target != ignore).sum()) if mean else 1
        ctx.ignore, ctx.scale = ignore, 1.0 / max(1, count)
        needed = gradient and any(ctx.needs_input_grad[:3])
        ctx.save_for_backward(rows, weight, bias, target)
        total, ctx.gradients = _head(ctx, (rows, weight, bias, target), needed)
        # the mean over no rows is NaN, as in torch
        return rows.new_tensor(total / count if count else float("nan"))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: _Context, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        # a number, since the loss is a number
        factor = grad.item()
        gradients, ctx.gradients = ctx.gradients, []
        if not gradients:  # an earlier backward has given them away
            _, gradients = _head(ctx, ctx.saved_tensors, True)
        # loss.backward(), the common case, comes with a factor of 1 and needs no pass over the gradients
        scaled = gradients if factor == 1.0 else [gradient * factor for gradient in gradients]
        return *scaled, None, None, None, None


def _head(ctx: _Context, tensors: tuple[Tensor, ...], needed: bool) -> tuple[float, list[Tensor]]:
    """Return the summed loss and, if they are needed, the gradients of rows, weight and bias."""
    *inputs, target = tensors
    gradients = [autograd.empty_like(tensor) for tensor in inputs] if needed else []
    hidden, weight, bias = map(autograd.array, inputs)
    dhidden, dweight, dbias = map(autograd.array, gradients or (None, None, None))
    total, _ = kernel.running().head(
        hidden=hidden,
        weight=weight,
        bias=bias,
        targets=target.contiguous().numpy(),
        ignore=ctx.ignore,
        scale=ctx.scale,
        dhidden=dhidden,
        dweight=dweight,
        dbias=dbias,
        threads=autograd.threads(),
    )
    return total, gradients
