"""AdamW that clips the gradients in the same pass over the parameters, and Muon for recurrent matrices.

Sources: I. Loshchilov and F. Hutter, "Decoupled Weight Decay Regularization", arXiv:1711.05101 (2019);
the clipping is by the norm of all gradients together (R. Pascanu et al., arXiv:1211.5063); K. Jordan et al.,
"Muon: An optimizer for hidden layers in neural networks" (2024).
"""

from __future__ import annotations

import inspect
import math

import numpy as np
import torch
from torch import Tensor
from torch.optim.optimizer import ParamsT

from elman.engine import kernel as native
from elman.nn.autograd import takes, threads
from elman.training.plan import Schedule

MUON_RATE = 14.0
"""Learning rate of Muon as a multiple of that of AdamW, which moves each number by at most its rate."""
MOMENTUM = 0.95
ITERATIONS, COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)
"""Iterations of `orthogonalised`, and the coefficients of its polynomial, as K. Jordan et al. chose them."""


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


class Muon(AdamW):
    """AdamW whose last group holds recurrent matrices ``[G·H, H]``, which take orthogonal steps.

    AdamW changes a matrix mostly in the few directions with the largest gradients. Muon changes it equally in
    all directions: a step is the momentum of the gradients with every singular value near one.

    >>> matrix = torch.nn.Parameter(torch.zeros(2, 2))
    >>> optimizer = Muon([{"params": [matrix]}], lr=0.01, weight_decay=0.0)
    >>> matrix.grad = torch.tensor([[3.0, 0.0], [0.0, 1.0]])
    >>> optimizer.clipped_step(optimizer.norm(), 1.0)
    >>> bool((matrix.diagonal() < -0.09).all())
    True
    """

    dtype = torch.float32
    """Number format of the products of `orthogonalised`."""

    @torch.no_grad()
    def clipped_step(self, norm: float, max_norm: float) -> None:
        """Take one step as `AdamW.clipped_step` does."""
        group = self.param_groups[-1]
        gradients: dict[Tensor, Tensor] = {}
        for matrix in group["params"]:
            if matrix.grad is not None:
                # AdamW skips weights without a gradient.
                gradients[matrix], matrix.grad = matrix.grad, None
        super().clipped_step(norm, max_norm)
        share = min(1.0, max_norm / (norm + 1e-6)) * (1 - MOMENTUM)
        rate = MUON_RATE * group["lr"]
        for matrix, gradient in gradients.items():
            state = self.state[matrix]
            if not state:
                state["momentum"] = torch.zeros_like(matrix)
            momentum = state["momentum"].mul_(MOMENTUM).add_(gradient, alpha=share)
            # Nesterov's momentum, which looks one step ahead
            ahead = torch.add(MOMENTUM * momentum, gradient, alpha=share)
            step = orthogonalised(ahead.to(self.dtype)).to(matrix.dtype)
            # as large a step for each gate as if it were a matrix of its own
            size = math.sqrt(max(1.0, matrix.shape[0] / matrix.shape[1]))
            matrix.mul_(1 - rate * group["weight_decay"]).sub_(step, alpha=rate * size)


def orthogonalised(matrix: Tensor) -> Tensor:
    """Return ``matrix [M, H]``, M at least H, with its singular values moved to about 0.7 to 1.2.

    >>> singular = torch.linalg.svdvals(orthogonalised(torch.diag(torch.tensor([5.0, 1.0, 0.2]))))
    >>> bool(((singular > 0.6) & (singular < 1.3)).all())
    True
    """
    first, third, fifth = COEFFICIENTS
    # The smaller side first: products [H, M]·[M, H] are [H, H]. The norm bounds the largest singular value.
    x: Tensor = (matrix / (matrix.norm() + 1e-7)).T
    for _ in range(ITERATIONS):
        square = x @ x.T
        x = first * x + (third * square + fifth * (square @ square)) @ x
    return x.T


def optimizer_of(network: torch.nn.Module, schedule: Schedule) -> AdamW:
    """Return the optimizer of a network as `schedule` sets it; only its matrices decay."""
    named = dict(network.named_parameters())
    muon = schedule.optimizer == "muon"
    recurrent = [weight for name, weight in named.items() if muon and "weight_hh" in name]
    others = [weight for weight in named.values() if all(weight is not one for one in recurrent)]
    decay = schedule.weight_decay
    groups = [
        {"params": [weight for weight in others if weight.ndim > 1], "weight_decay": decay},
        # Decay would pull biases to zero without any gain.
        {"params": [weight for weight in others if weight.ndim <= 1], "weight_decay": 0.0},
        {"params": recurrent, "weight_decay": decay},
    ]
    # a shorter memory than 0.999 for the squares, because runs are short
    betas = (0.9, 0.98)
    if not recurrent:
        return AdamW(groups[:2], schedule.learning_rate, betas)
    optimizer = Muon(groups, schedule.learning_rate, betas)
    optimizer.dtype = torch.bfloat16 if schedule.precision == "bf16" else torch.float32
    return optimizer


def _gradients(weights: list[Tensor]) -> list[Tensor]:
    return [weight.grad for weight in weights if weight.grad is not None]


def _flat(tensor: Tensor) -> np.ndarray:
    # shares its memory with the tensor, so that the kernel updates it in place
    return tensor.detach().view(-1).numpy()
