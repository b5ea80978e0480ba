"""The cross entropy of an output layer against torch in float64: the value and every gradient."""

from __future__ import annotations

import functools
import math
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch

from elman.engine import kernel as native
from elman.errors import OptionError
from elman.nn.functional import linear_cross_entropy

NAMES = ("input", "weight", "bias")


@dataclass(frozen=True)
class Case:
    """Sizes of a batch, and the properties of its numbers."""

    N: int
    H: int
    V: int
    scale: float = 1.0
    """Approximate standard deviation of the logits."""
    ignored: float = 0.0
    """Share of the rows that are ignored."""
    ignore: int = -100

    @property
    def id(self) -> str:
        ignored = f"-ignored{self.ignored}at{self.ignore}" if self.ignored else ""
        return f"N{self.N}H{self.H}V{self.V}x{self.scale:g}{ignored}"

    def arguments(self, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
        """Return input, weight and bias, which require gradients, and targets; equal for every `dtype`."""
        draw = torch.Generator().manual_seed(5)
        shapes = ((self.N, self.H), (self.V, self.H), (self.V,))
        parts = [torch.randn(shape, generator=draw) for shape in shapes]
        parts[1] *= self.scale / math.sqrt(self.H)
        target = torch.randint(0, self.V, (self.N,), generator=draw)
        target[torch.rand(self.N, generator=draw) < self.ignored] = self.ignore
        return *(part.to(dtype).requires_grad_() for part in parts), target


def in_torch(*given: torch.Tensor, **how: Any) -> torch.Tensor:
    """Return the cross entropy by its definition, computed with torch."""
    rows, weight, bias, target = given
    logits = torch.nn.functional.linear(rows, weight, bias)
    return torch.nn.functional.cross_entropy(
        logits.reshape(-1, len(weight)), target.reshape(-1), **how
    )


def results(
    loss: Any, given: tuple[torch.Tensor, ...], factor: float = 1.0, **how: Any
) -> dict[str, np.ndarray]:
    value = loss(*given, **how)
    (factor * value).backward()
    grads = {f"{name}.grad": part.grad for name, part in zip(NAMES, given, strict=False)}
    return {
        name: part.detach().numpy().copy()
        for name, part in {"loss": value, **grads}.items()
        if part is not None
    }


@functools.cache
def oracle(case: Case, **how: Any) -> dict[str, np.ndarray]:
    return results(in_torch, case.arguments(torch.float64), ignore_index=case.ignore, **how)


def assert_close(
    found: dict[str, np.ndarray],
    expected: dict[str, np.ndarray],
    case: Case,
    reduction: str = "mean",
    factor: float = 1.0,
) -> None:
    """Compare within six standard deviations of the rounding error of float32.

    A logit is a sum of H products, a loss and a probability add V exponentials, and a gradient adds N or V
    products. Each of these additions rounds by at most 2^-24 of the largest logit, with a random sign; an
    exponential turns the error of a logit into a relative error. The tolerance of a gradient is relative to
    its largest term, because terms may cancel.
    """
    hidden, weight, bias, target = case.arguments(torch.float64)
    with torch.no_grad():
        largest = torch.nn.functional.linear(hidden, weight, bias).abs().max().item()
    roundings = case.H + case.V + case.N + 8
    tolerance = 6 * 2.0**-24 * math.sqrt(roundings) * max(1.0, largest)
    count = max(1, int((target != case.ignore).sum()))
    step = factor / count if reduction == "mean" else factor
    terms = {
        "loss": 1.0 if reduction == "mean" else count,
        "input.grad": step * weight.abs().max().item(),
        "weight.grad": step * hidden.abs().max().item(),
        "bias.grad": step,
    }
    assert found.keys() == expected.keys()
    for name, array in expected.items():
        assert found[name].dtype == np.float32
        assert found[name].shape == array.shape
        scale = max(terms[name], float(np.abs(array).max()))
        np.testing.assert_allclose(found[name], array, rtol=0, atol=tolerance * scale, err_msg=name)


@pytest.fixture
def head(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the test with the kernel of every instruction set, and watch its calls."""
    return kernel


# Sizes close to the kernel's panels of 32 rows and chunks of 512 classes, and sizes that need several blocks.
CASES = [
    Case(1, 1, 1),
    Case(2, 1, 2),
    Case(1, 2, 31),
    Case(31, 33, 33),
    Case(33, 31, 65),
    Case(65, 65, 513),
    Case(33, 513, 31),
    Case(513, 2, 1111),
    Case(1111, 31, 2),
    Case(2, 1111, 65),
    Case(31, 65, 1111),
    Case(65, 1, 513),
    Case(1000, 33, 5000),
]


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_value_and_every_gradient(case: Case, reduction: str, head: Any) -> None:
    found = results(linear_cross_entropy, case.arguments(), reduction=reduction)
    assert head.calls["head"] == 1
    assert_close(found, oracle(case, reduction=reduction), case, reduction)


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("ignore", [-100, -1, 0, 3])
def test_ignored_rows_change_nothing(ignore: int, reduction: str, head: Any) -> None:
    for case in (Case(65, 9, 33, 1.0, 0.4, ignore), Case(600, 5, 700, 1.0, 0.9, ignore)):
        given = case.arguments()
        found = results(linear_cross_entropy, given, ignore_index=ignore, reduction=reduction)
        assert_close(found, oracle(case, reduction=reduction), case, reduction)
        ignored = (given[3] == ignore).numpy()
        assert ignored.any()
        assert not found["input.grad"][ignored].any()


def test_all_rows_ignored(head: Any) -> None:
    case = Case(33, 5, 7, 1.0, 1.1)
    for reduction, value in (("mean", np.nan), ("sum", 0.0)):
        found = results(linear_cross_entropy, case.arguments(), reduction=reduction)
        np.testing.assert_array_equal(found["loss"], np.float32(value))
        for name in NAMES:
            assert not found[f"{name}.grad"].any()
    assert head.calls["head"] == 2


@pytest.mark.parametrize("reduction", ["mean", "sum"])
@pytest.mark.parametrize("factor", [0.37, -2.0, 0.0, 1e3])
def test_gradients_are_scaled(factor: float, reduction: str, head: Any) -> None:
    case = Case(33, 17, 65)
    found = results(linear_cross_entropy, case.arguments(), factor, reduction=reduction)
    expected = results(in_torch, case.arguments(torch.float64), factor, reduction=reduction)
    assert_close(found, expected, case, reduction, abs(factor))


def test_repeated_backward_adds_the_same_gradients(head: Any) -> None:
    """Each backward adds the same gradient, even if the caller has changed the last gradients in place."""
    case = Case(31, 5, 9)
    given = case.arguments()
    once = results(linear_cross_entropy, case.arguments())
    value = linear_cross_entropy(*given)
    for count in (1, 2, 3):
        value.backward(retain_graph=True)
        for name, part in zip(NAMES, given, strict=False):
            # the tolerance is the rounding error of adding three equal gradients
            total = count * once[f"{name}.grad"]
            np.testing.assert_allclose(part.grad.numpy(), total, rtol=2.0**-22, atol=0)
    for part in given[:3]:
        part.grad.zero_()
    value.backward()
    for name, part in zip(NAMES, given, strict=False):
        np.testing.assert_array_equal(part.grad, once[f"{name}.grad"])
    assert head.calls["head"] >= 2


def test_weight_tied_to_the_embedding(head: Any) -> None:
    tokens = torch.arange(33) % 12
    found = []
    for loss, dtype in ((linear_cross_entropy, torch.float32), (in_torch, torch.float64)):
        _, weight, bias, _ = Case(33, 9, 12).arguments(dtype)
        hidden = torch.tanh(torch.nn.functional.embedding(tokens, weight))
        loss(hidden, weight, bias, tokens.roll(-1)).backward()
        found.append([weight.grad.numpy(), bias.grad.numpy()])
    for got, expected in zip(*found, strict=True):
        # rounding error of about 100 terms below 1
        np.testing.assert_allclose(got, expected, rtol=0, atol=6 * 2.0**-24 * 10)


def test_more_dimensions_and_other_layouts(head: Any) -> None:
    case = Case(60, 7, 33, 1.0, 0.2)
    hidden, weight, bias, target = case.arguments()
    expected = results(linear_cross_entropy, (hidden, weight, bias, target))
    layouts = {
        "3-D": (hidden.detach().view(5, 12, 7), weight, bias, target.view(5, 12)),
        "columns": (
            hidden.detach().T.contiguous().T,
            weight.detach().T.contiguous().T,
            bias,
            target,
        ),
        "strided": (
            torch.stack([hidden.detach()] * 2, 1)[:, 1],
            weight,
            bias.detach().repeat_interleave(2)[::2],
            target.repeat_interleave(3)[::3],
        ),
        "steps first": (
            hidden.detach().view(5, 12, 7).transpose(0, 1).contiguous().transpose(0, 1),
            weight,
            bias,
            target.view(5, 12).T.contiguous().T,
        ),
    }
    for name, parts in layouts.items():
        given = [part.detach().requires_grad_() for part in parts[:3]]
        if name in ("columns", "strided", "steps first"):
            assert not given[0].is_contiguous()
        found = results(linear_cross_entropy, (*given, parts[3]))
        assert found["input.grad"].shape == tuple(parts[0].shape)
        for key, array in expected.items():
            np.testing.assert_array_equal(found[key].reshape(array.shape), array, err_msg=name)
    assert head.calls["head"] == 1 + len(layouts)


def test_only_needed_gradients_are_computed(head: Any) -> None:
    case = Case(33, 7, 12)
    full = results(linear_cross_entropy, case.arguments())
    given = case.arguments()
    with torch.no_grad():
        value = linear_cross_entropy(*given)
    assert not value.requires_grad
    assert value.numpy() == full["loss"]
    assert all(head.last["head"][f"d{name}"] is None for name in ("hidden", "weight", "bias"))
    frozen = [part.detach() for part in given]
    assert not linear_cross_entropy(*frozen).requires_grad
    assert all(head.last["head"][f"d{name}"] is None for name in ("hidden", "weight", "bias"))
    for name, place in zip(NAMES, range(3), strict=True):
        parts = [part.detach() for part in given]
        parts[place].requires_grad_()
        found = results(linear_cross_entropy, tuple(parts))
        assert found.keys() == {"loss", f"{name}.grad"}
        for key, array in found.items():
            np.testing.assert_array_equal(array, full[key])


@pytest.mark.parametrize("scale", [100.0, 1e4, 1e8])
def test_huge_logits_do_not_overflow(scale: float, head: Any) -> None:
    case = Case(65, 33, 600, scale)
    found = results(linear_cross_entropy, case.arguments())
    assert all(np.isfinite(array).all() for array in found.values())
    assert_close({"loss": found["loss"]}, {"loss": oracle(case)["loss"]}, case)
    if scale <= 1e4:
        assert_close(found, oracle(case), case)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
@pytest.mark.parametrize("row", [0, 5, 16, 39])
def test_nan_and_infinity_stay_in_their_row(row: int, bad: float, head: Any) -> None:
    case = Case(40, 5, 11, 300.0)
    hidden, weight, bias, target = case.arguments()
    with torch.no_grad():
        hidden[row] = bad
    found = results(linear_cross_entropy, (hidden, weight, bias, target))
    assert np.isnan(found["loss"])
    assert np.isnan(found["input.grad"][row]).all()
    assert np.isnan(found["weight.grad"]).any()
    others = np.arange(40) != row
    expected = oracle(case)["input.grad"]
    assert_close(
        {"input.grad": found["input.grad"][others]}, {"input.grad": expected[others]}, case
    )


def test_nan_in_the_weight_reaches_the_loss(head: Any) -> None:
    for place in (1, 2):
        given = Case(33, 5, 600).arguments()
        with torch.no_grad():
            given[place].view(-1)[-1] = math.nan
        found = results(linear_cross_entropy, given)
        assert np.isnan(found["loss"])
        assert np.isnan(found["input.grad"]).any()


def test_targets_out_of_range_are_refused(head: Any) -> None:
    hidden, weight, bias, target = Case(33, 5, 11).arguments()
    for wrong in (11, -1, -100, 2**40):
        bad = target.clone()
        bad[32] = wrong
        with pytest.raises(ValueError, match="targets: classes from 0 to V - 1"):
            linear_cross_entropy(hidden, weight, bias, bad, ignore_index=-99)
    for parts in ((hidden, weight, bias, target[:-1]), (hidden, weight, bias[:-1], target)):
        with pytest.raises(ValueError, match="weight: "):
            linear_cross_entropy(*parts)


def test_unknown_reductions_are_refused() -> None:
    with pytest.raises(OptionError, match=r'^reduction: got none; expected "mean" or "sum"$'):
        linear_cross_entropy(*Case(3, 2, 4).arguments(), reduction="none")


@pytest.mark.parametrize("case", [CASES[3], CASES[7], CASES[12]], ids=lambda case: case.id)
def test_results_do_not_depend_on_the_threads(
    case: Case, head: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = []
    for count in (1, 1, 2, 3):
        monkeypatch.setattr(native, "threads", lambda default, count=count: count)
        runs.append(results(linear_cross_entropy, case.arguments()))
        assert head.last["head"]["threads"] == count
    for other in runs[1:]:
        for name, array in runs[0].items():
            np.testing.assert_array_equal(other[name], array)


def test_torch_computes_what_the_kernel_cannot(head: Any) -> None:
    case = Case(9, 5, 7)
    found = results(linear_cross_entropy, case.arguments(torch.float64))
    for name, array in oracle(case).items():
        assert found[name].dtype == np.float64
        np.testing.assert_array_equal(found[name], array)
    hidden, weight, bias, target = case.arguments()

    def loss(rows: torch.Tensor) -> torch.Tensor:
        return linear_cross_entropy(rows, weight, bias, target)

    grad = torch.func.grad(loss)(hidden.detach()).detach()
    assert_close({"input.grad": grad.numpy()}, {"input.grad": found["input.grad"]}, case)
    empty = linear_cross_entropy(hidden[:0], weight, bias, target[:0], reduction="sum")
    assert empty.item() == 0
    assert not head.calls


def test_torch_computes_without_the_kernel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "kernel", lambda: None)
    case = Case(9, 5, 7)
    found = results(linear_cross_entropy, case.arguments())
    for name, array in results(in_torch, case.arguments()).items():
        np.testing.assert_array_equal(found[name], array)


MEMORY = """
import re, resource, sys
from pathlib import Path
import torch
from elman.nn.functional import linear_cross_entropy

def most():
    if Path("/proc/self/status").exists():  # on Linux, getrusage also counts the parent process
        return 1024 * int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1])
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

def run(N, V, H):
    hidden = torch.randn(N, H, requires_grad=True)
    weight, bias = torch.randn(V, H, requires_grad=True), torch.zeros(V, requires_grad=True)
    target = torch.randint(0, V, (N,))
    before = most()
    linear_cross_entropy(hidden, weight, bias, target).backward()
    return (most() - before) / (4 * N * V)

run(9, 65, 8)
print(run(1120, 33278, 64))
"""


@pytest.mark.slow
def test_the_logits_are_never_stored_as_a_whole() -> None:
    """The peak memory is below half of the bytes of the logits; torch needs more than twice their bytes."""
    run = subprocess.run([sys.executable, "-c", MEMORY], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    assert 0 < float(run.stdout) < 0.5
