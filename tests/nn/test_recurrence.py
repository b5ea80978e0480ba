from __future__ import annotations

import numpy as np
import pytest
import torch

from cell_checks import close
from elman.cells import Ops, scan
from elman.nn import unrolled
from elman.nn.unrolled import recurrence, torch_ops

# Shapes of a step. On a CPU, WIDE steps run one after the other, NARROW steps in a parallel scan.
WIDE, NARROW = (4, 64), (1, 8)


def example(length: int, step: tuple[int, int], seed: int = 0) -> tuple[torch.Tensor, ...]:
    draw = torch.Generator().manual_seed(seed)
    a = torch.rand(length, *step, generator=draw, dtype=torch.float64)
    b = torch.randn(length, *step, generator=draw, dtype=torch.float64)
    start = torch.randn(step, generator=draw, dtype=torch.float64)
    return tuple(part.requires_grad_() for part in (a, b, start))


@pytest.fixture
def parallel_runs(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Record the lengths of the scans that run in parallel."""
    lengths: list[int] = []
    parallel = scan.parallel

    def spy(ops: Ops, a: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        lengths.append(len(a))
        return parallel(ops, a, *rest)

    monkeypatch.setattr(scan, "parallel", spy)
    return lengths


@pytest.mark.parametrize(("step", "forced"), [(WIDE, []), (NARROW, [9, 9])])
def test_which_form_runs(
    step: tuple[int, int], forced: list[int], parallel_runs: list[int]
) -> None:
    recurrence(*example(9, step)).sum().backward()
    assert parallel_runs == forced


@pytest.mark.parametrize("length", [1, 2, 3, 64, 65])
@pytest.mark.parametrize("step", [WIDE, NARROW])
def test_both_forms_give_one_value_and_gradient(
    length: int, step: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    weights = torch.randn(length, *step, dtype=torch.float64)
    found = []
    for in_parallel in (True, False):
        monkeypatch.setattr(unrolled, "_in_parallel", lambda a, chosen=in_parallel: chosen)
        arguments = example(length, step)
        h = recurrence(*arguments)
        (weights * h).sum().backward()
        found.append([h.detach(), *(part.grad for part in arguments)])
    arguments = example(length, step)
    h = scan.sequential(torch_ops(), *arguments)  # differentiated by torch, step by step
    (weights * h).sum().backward()
    oracle = [h.detach(), *(part.grad for part in arguments)]
    for parallel, in_order, expected in zip(*found, oracle, strict=True):
        # factors 0 <= a <= 1 do not magnify errors; each step, or each round of the scan, adds two roundings
        tolerance = 2 * length * float(np.finfo(np.float64).eps)
        close(parallel.numpy(), expected.numpy(), tolerance)
        close(in_order.numpy(), expected.numpy(), tolerance)


@pytest.mark.slow
@pytest.mark.parametrize("in_parallel", [True, False])
@pytest.mark.parametrize("length", [1, 2, 5])
def test_first_and_second_derivative(
    length: int, in_parallel: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unrolled, "_in_parallel", lambda a: in_parallel)
    assert torch.autograd.gradcheck(recurrence, example(length, (2, 2)))
    assert torch.autograd.gradgradcheck(recurrence, example(length, (2, 2)))


@pytest.mark.parametrize("step", [WIDE, NARROW])
def test_layouts_and_unwanted_gradients(step: tuple[int, int]) -> None:
    a, b, start = (part.detach() for part in example(7, step))
    expected = recurrence(a, b, start)
    turned = b.transpose(1, 2).contiguous().transpose(1, 2).requires_grad_()
    h = recurrence(a, turned, start[:1].expand_as(start) * 0 + start)
    assert torch.equal(h, expected)
    h.sum().backward()  # the gradient of a sum is a single number, expanded
    last = torch.ones_like(start)
    for t in reversed(range(7)):
        assert turned.grad is not None
        close(turned.grad[t].numpy(), last.numpy(), 14 * float(np.finfo(np.float64).eps))
        last = 1 + a[t] * last


def test_mixed_types_take_the_wider() -> None:
    a, b, start = (part.detach() for part in example(3, NARROW))
    assert recurrence(a.bfloat16(), b.bfloat16(), start.float()).dtype == torch.float32
