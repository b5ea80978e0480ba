"""The sampled softmax: exact with the whole vocabulary, right on average with a sample."""

from __future__ import annotations

import itertools
import math

import pytest
import torch

from elman.nn.sampled_softmax import sampled_cross_entropy

V, H, N = 40, 6, 24
SUMS = 1e-12  # largest difference in float64 between two orders of adding 40 terms


def problem() -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
    torch.manual_seed(0)
    hidden, weight = torch.randn(N, H).double(), torch.randn(V, H).double()
    bias, targets = torch.randn(V).double(), torch.randint(0, V, (N,))
    for tensor in (hidden, weight, bias):
        tensor.requires_grad_()
    return hidden, weight, bias, targets


def exact(
    hidden: torch.Tensor, weight: torch.Tensor, bias: torch.Tensor, targets: torch.Tensor
) -> torch.Tensor:
    return torch.nn.functional.cross_entropy(hidden @ weight.T + bias, targets, reduction="sum")


@pytest.mark.parametrize("common", [0, 1, 15, V])
def test_the_whole_vocabulary_gives_the_exact_loss(common: int) -> None:
    hidden, weight, bias, targets = problem()
    whole = exact(hidden, weight, bias, targets)
    expected = torch.autograd.grad(whole, [hidden, weight, bias])
    part = sampled_cross_entropy(hidden, weight, bias, targets, common, V - common)
    found = torch.autograd.grad(part, [hidden, weight, bias])
    assert part.item() == pytest.approx(whole.item(), rel=SUMS)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-10)


@pytest.mark.parametrize("target", [0, 3, 4, 6])
def test_the_denominator_is_right_on_average(target: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean of the denominator over every draw of one rare token is the softmax's denominator."""
    torch.manual_seed(1)
    hidden, weight, bias = (
        torch.randn(1, H).double(),
        torch.randn(7, H).double(),
        torch.randn(7).double(),
    )
    logits = (hidden @ weight.T + bias)[0]
    common, drawn = 4, 1
    denominators = []
    for order in map(torch.tensor, itertools.permutations(range(7 - common))):
        monkeypatch.setattr(torch, "randperm", lambda *_, order=order, **__: order)
        loss = sampled_cross_entropy(hidden, weight, bias, torch.tensor([target]), common, drawn)
        denominators.append(math.exp(loss.item() + logits[target].item()))
    mean = sum(denominators) / len(denominators)
    assert mean == pytest.approx(logits.exp().sum().item(), rel=1e-9)


def test_the_loss_is_near_the_exact_one() -> None:
    hidden, weight, bias, targets = problem()
    losses = [
        sampled_cross_entropy(hidden, weight, bias, targets, 10, 15).item() for _ in range(400)
    ]
    # the loss is a little too small: the log of an unbiased estimate is too low by half its relative variance
    assert sum(losses) / len(losses) == pytest.approx(
        exact(hidden, weight, bias, targets).item(), rel=0.05
    )


def test_draws_use_torchs_random_numbers() -> None:
    hidden, weight, bias, targets = problem()
    torch.manual_seed(5)
    first = sampled_cross_entropy(hidden, weight, bias, targets, 5, 5)
    torch.manual_seed(5)
    again = sampled_cross_entropy(hidden, weight, bias, targets, 5, 5)
    other = sampled_cross_entropy(hidden, weight, bias, targets, 5, 5)
    assert first.item() == again.item() != other.item()


def test_bfloat16_changes_the_loss_and_its_gradients_by_rounding_only() -> None:
    expected, *gradients = _loss_and_gradients("float32")
    found, *rounded = _loss_and_gradients("bf16")
    # a number in bfloat16 has 8 bits, and a logit is a sum of few numbers
    assert found.item() == pytest.approx(expected.item(), rel=2**-7)
    for one, other in zip(rounded, gradients, strict=True):
        assert one.dtype == torch.float32
        assert (one - other).norm() < 2**-5 * other.norm()


def _loss_and_gradients(precision: str) -> tuple[torch.Tensor, ...]:
    *inputs, targets = problem()
    hidden, weight, bias = (tensor.detach().float().requires_grad_() for tensor in inputs)
    loss = sampled_cross_entropy(hidden, weight, bias, targets, 10, V, precision=precision)
    return loss, *torch.autograd.grad(loss, [hidden, weight, bias])
