"""AdamW that clips the gradients in the same pass over the parameters.

Source: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101 (2019); the
clipping is by the norm of all gradients together (R. Pascanu et al., arXiv:1211.5063).
"""

from __future__ import annotations

import inspect

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from elman.engine import kernel as native
from elman.nn.autograd import takes, threads
from elman.training.plan import Schedule


class AdamW(torch.optim.AdamW):
    """``torch.optim.AdamW`` with the same state, and `clipped_step` beside its `step`.

    >>> weight = torch.nn.Parameter(torch.ones(2))
    >>> optimizer = AdamW([weight], lr=0.5, weight_decay=0.0)
    >>> weight.grad = torch.tensor([3.0, 4.0])
    >>> norm = optimizer.norm()
    >>> optimizer.clipped_step(norm, 1.0)
    >>> norm, weight.tolist()
    (5.0, [0.5, 0.5])
    """

    # Torch wraps these methods for its compiler; the first call would import that, which takes a second.
    add_param_group = inspect.unwrap(torch.optim.AdamW.add_param_group)
    zero_grad = inspect.unwrap(torch.optim.AdamW.zero_grad)

    def __init__(
        self,
        parameters: ParamsT,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(parameters, lr, betas, eps, weight_decay, fused=True)

    def _with_gradients(self) -> list[Tensor]:
        groups = self.param_groups
        return [weight for group in groups for weight in group["params"] if weight.grad is not None]

    def _kernel(self) -> native.Kernel | None:
        """Return the kernel if it can take all weights and gradients: float32 on a CPU."""
        weights = self._with_gradients()
        tensors = (*weights, *_gradients(weights))
        fit = all(tensor.is_contiguous() and takes(tensor.detach(), []) for tensor in tensors)
        return native.kernel() if weights and fit else None

    def norm(self) -> float:
        """Return the L2 norm of all gradients together."""
        gradients = _gradients(self._with_gradients())
        if (kernel := self._kernel()) is None:
            return float(torch.nn.utils.get_total_norm(gradients))
        return kernel.norm(gradients=[*map(_flat, gradients)], threads=threads())

    @torch.no_grad()
    def clipped_step(self, norm: float, max_norm: float) -> None:
        """Take one step with gradients that have this `norm`, scaled down to a norm of at most `max_norm`."""
        if (kernel := self._kernel()) is None:
            weights = self._with_gradients()
            torch.nn.utils.clip_grads_with_norm_(weights, max_norm, torch.tensor(norm))
            self.step()
            return
        # the same formula as torch.nn.utils.clip_grad_norm_
        scale = min(1.0, max_norm / (norm + 1e-6))
        for group in self.param_groups:
            weights = [weight for weight in group["params"] if weight.grad is not None]
            # Weights can differ in their number of steps, which Adam's bias correction depends on.
            weights_by_step: dict[int, list[Tensor]] = {}
            for weight in weights:
                self._prepare(weight)
                self.state[weight]["step"] += 1
                weights_by_step.setdefault(int(self.state[weight]["step"]), []).append(weight)
            beta_mean, beta_square = group["betas"]
            for step, group_weights in weights_by_step.items():
                kernel.adamw(
                    parameters=[*map(_flat, group_weights)],
                    gradients=[*map(_flat, _gradients(group_weights))],
                    means=[_flat(self.state[weight]["exp_avg"]) for weight in group_weights],
                    squares=[_flat(self.state[weight]["exp_avg_sq"]) for weight in group_weights],
                    time=step,
                    scale=scale,
                    rate=group["lr"],
                    decay=group["weight_decay"],
                    beta_mean=beta_mean,
                    beta_square=beta_square,
                    epsilon=group["eps"],
                    threads=threads(),
                )
                # The kernel wrote behind torch's back: mark graphs that need the old values as outdated.
                torch.autograd.graph.increment_version(group_weights)

    def _prepare(self, weight: Tensor) -> None:
        state = self.state[weight]
        if not state:
            # the same entries as torch's own, so that either can continue the other's state
            state["step"] = torch.zeros((), dtype=torch.float32)
            state["exp_avg"] = torch.zeros_like(weight, memory_format=torch.preserve_format)
            state["exp_avg_sq"] = torch.zeros_like(weight, memory_format=torch.preserve_format)


def optimizer_of(network: torch.nn.Module, schedule: Schedule) -> AdamW:
    """Return the optimizer of a network as `schedule` sets it; only its matrices decay."""
    weights = [*network.parameters()]
    groups = [
        {
            "params": [weight for weight in weights if weight.ndim > 1],
            "weight_decay": schedule.weight_decay,
        },
        # Decay would pull biases to zero without any gain.
        {"params": [weight for weight in weights if weight.ndim <= 1], "weight_decay": 0.0},
    ]
    # a shorter memory than 0.999 for the squares, because runs are short
    return AdamW(groups, schedule.learning_rate, (0.9, 0.98))


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]


def _flat(tensor: Tensor) -> np.ndarray:
    # shares its memory with the tensor, so that the kernel updates it in place
    return tensor.detach().view(-1).numpy()
