"""What stands before and behind the layers: embedded tokens read at once, an output layer's cross entropy."""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from elman.engine import kernel
from elman.errors import OptionError
from elman.nn import autograd
from elman.nn.stack import States, run_tokens

__all__ = ["embedded", "linear_cross_entropy"]


def embedded(
    layer: Any, tokens: Tensor, weight: Tensor, hx: States | None = None
) -> tuple[Tensor, States]:
    """Return ``layer(embedding(tokens, weight), hx)`` for ``tokens [T, B]`` and ``weight [V, I]``.

    Where there are more steps than tokens in the vocabulary (characters), the kernel multiplies every
    row of `weight` once, not every step's, forward and backward.

    >>> layer, weight = torch.nn.GRU(3, 5), torch.zeros(7, 3)
    >>> embedded(layer, torch.zeros(4, 2, dtype=torch.long), weight)[0].shape
    torch.Size([4, 2, 5])
    """
    fits = isinstance(layer, torch.nn.Module) and hasattr(layer, "precision")
    plain = (
        tokens.dim() == 2
        and not getattr(layer, "batch_first", False)
        and not getattr(layer, "proj_size", 0)
    )
    if fits and plain and len(weight) < tokens.numel():
        recurrent = cast(Any, layer)
        if autograd.takes(weight, _weights(layer), recurrent.cell):
            return run_tokens(recurrent, weight, tokens, hx)
    return cast(tuple[Tensor, States], layer(torch.nn.functional.embedding(tokens, weight), hx))


def _weights(layer: Any) -> list[Tensor]:
    return [weight for weights in layer.all_weights for weight in weights]


def linear_cross_entropy(
    input: Tensor,  # noqa: A002
    weight: Tensor,
    bias: Tensor,
    target: Tensor,
    *,
    ignore_index: int = -100,
    reduction: str = "mean",
) -> Tensor:
    """Return the cross entropy (nats) of ``softmax(input·weightᵀ + bias)`` at `target`, as one node.

    ``input [.., H]``, ``weight [V, H]``, ``bias [V]``, ``target [..]`` of class numbers; those equal to
    `ignore_index` count for nothing. The kernel goes through the rows block by block, forward and
    backward at once, so that the logits ``[.., V]`` are never stored; without it, torch stores them.
    `reduction` is "mean" (over what counts) or "sum".

    Raises OptionError for another reduction.

    >>> one = torch.ones(1, 1)
    >>> zeros = torch.zeros(2)
    >>> round(linear_cross_entropy(one, zeros[:, None], zeros, torch.tensor([1])).item(), 4)
    0.6931
    """
    if reduction not in ("mean", "sum"):
        raise OptionError("reduction", got=reduction, expected='"mean" or "sum"')
    rows, wanted = input.reshape(-1, input.shape[-1]), target.reshape(-1)
    if not autograd.takes(rows, [weight, bias]):
        logits = torch.nn.functional.linear(rows, weight, bias)
        return torch.nn.functional.cross_entropy(
            logits, wanted, ignore_index=ignore_index, reduction=reduction
        )
    mean, gradient = reduction == "mean", torch.is_grad_enabled()
    apply = cast(Any, _LinearCrossEntropy.apply)
    return cast(Tensor, apply(rows, weight, bias, wanted, ignore_index, mean, gradient))


class _LinearCrossEntropy(torch.autograd.Function):
    """The gradients are there after forward, for a gradient of one of the loss."""

    @staticmethod
    def forward(
        ctx: Any,
        rows: Tensor,
        weight: Tensor,
        bias: Tensor,
        target: Tensor,
        ignore: int,
        mean: bool,
        gradient: bool,
    ) -> Tensor:
        count = int((target != ignore).sum()) if mean else 1
        ctx.how = ignore, 1.0 / max(1, count)
        ctx.needed = gradient and any(ctx.needs_input_grad[:3])
        ctx.save_for_backward(rows, weight, bias, target)
        total, ctx.gradients = _head(ctx.how, (rows, weight, bias, target), ctx.needed)
        # as torch: the mean over nothing is not a number
        return rows.new_tensor(total / count if count else float("nan"))

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        (grad,) = grads
        factor = grad.item()
        found, ctx.gradients = ctx.gradients, None
        if found is None:  # the backward before this one gave them away
            _, found = _head(ctx.how, ctx.saved_tensors, True)
        # the common case, a loss that backward() is called on, needs no pass over the gradients
        scaled = found if factor == 1.0 else [part * factor for part in found]
        return *scaled, None, None, None, None


def _head(
    how: tuple[int, float], given: tuple[Tensor, ...], needed: bool
) -> tuple[float, list[Tensor] | None]:
    """Return the summed loss and, where needed, the gradients of rows, weight and bias."""
    autograd.share_threads()
    *parameters, target = given
    gradients = None
    if needed:
        gradients = [
            torch.empty_like(part, memory_format=torch.contiguous_format) for part in parameters
        ]
    ignore, scale = how
    total, _ = cast(Any, kernel.kernel()).head(
        kernel.threads(torch.get_num_threads()),
        *map(autograd.array, parameters),
        target.contiguous().numpy(),
        ignore,
        scale,
        *map(autograd.array, gradients or (None, None, None)),
    )
    return total, gradients
