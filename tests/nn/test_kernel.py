"""The kernel of every instruction set, compared with the layers in plain torch in float64."""

from __future__ import annotations

import functools
import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pad_sequence

from cases import (
    CELLS,
    Case,
    Packed,
    cell_id,
    close_by_name,
    gradient_in_torch,
    in_torch,
    like,
    over_packed,
    plain,
    results,
    same_bits,
    states_of,
)
from cell_checks import yield_checks
from elman.cells import Cell
from elman.engine import kernel as native
from elman.errors import OptionError

# Sizes close to the widths of vectors, of pairs of vectors and of panels.
SIZES = (1, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 97)
STEPS = (
    *((T, B) for T in (1, 2, 63) for B in (1, 2, 5)),
    *((1, 50), (2, 32), (63, 13), (63, 32), (63, 50)),
)
WAYS: tuple[dict[str, Any], ...] = (
    {"bias": False},
    {"batch_first": True},
    {"num_layers": 3},
    {"bidirectional": True},
    {"num_layers": 2, "bidirectional": True, "batch_first": True, "bias": False},
)
# T and B of batches that the kernel cuts into several stretches of steps (128 rows forward, 256 backward),
# some with a remainder, and of steps with more rows than a stretch.
STRETCHES = ((300, 1), (101, 3), (27, 19), (2, 300))


def cases() -> Iterator[Case]:
    """Yield for every cell each size as H and as I, each of `STEPS`, `WAYS` and `STRETCHES`."""
    for seed, cell in enumerate(CELLS):
        draw = random.Random(seed)
        shuffled = zip(
            draw.sample(STEPS, len(STEPS)), draw.sample(SIZES, len(SIZES)), SIZES, strict=True
        )
        for (T, B), I, H in shuffled:  # noqa: E741
            yield Case(cell, T, B, I, H)
        for way in WAYS:
            T, B = draw.choice(STEPS[3:])
            yield Case(cell, T, B, draw.choice(SIZES), draw.choice(SIZES), **way)
        for T, B in STRETCHES:
            yield Case(cell, T, B, 9, 17, bidirectional=True)


def packed_cases() -> Iterator[Packed]:
    for seed, cell in enumerate(CELLS):
        draw = random.Random(seed)
        for ordered, (T, B) in (
            (True, (7, 5)),
            (False, (7, 5)),
            (True, (63, 13)),
            (False, (40, 32)),
        ):
            lengths = [draw.randint(1, T) for _ in range(B - 1)] + [T]
            lengths = sorted(lengths, reverse=True) if ordered else lengths
            way: dict[str, Any] = {
                "num_layers": draw.choice((1, 2)),
                "bidirectional": True,
                "batch_first": ordered,
            }
            case = Case(cell, T, B, draw.choice(SIZES), draw.choice(SIZES), **way)
            yield Packed(case, tuple(lengths), ordered)


CASES = tuple(cases())
PACKED = tuple(packed_cases())
by_id = functools.partial(pytest.mark.parametrize, ids=lambda case: case.id)


def in_float32(case: Case) -> Any:
    return case.layer(torch.float32)


def in_double(case: Case) -> tuple[torch.nn.Module, Callable[..., Any]]:
    """Return the reference: a float32 layer with its weights in float64, and the plain code that runs it."""
    module = in_float32(case).double()
    return module, functools.partial(plain, module)


@functools.cache
def expected_of(case: Case) -> dict[str, np.ndarray]:
    module, forward = in_double(case)
    return results(forward, module, *case.batch())


@by_id("case", CASES)
def test_values_and_every_gradient(case: Case, kernel: Any) -> None:
    layer = in_float32(case)
    got = results(layer, layer, *case.batch(torch.float32))
    assert kernel.calls == {"forward": case.rows, "backward": case.rows}
    close_by_name(got, expected_of(case), case.scattered())


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_a_missing_start_state_means_zeros(cell: Cell, kernel: Any) -> None:
    case = Case(cell, 6, 3, 9, 17, num_layers=2)
    layer = in_float32(case)
    x, hx = case.batch(torch.float32)
    zeros = like(hx, (torch.zeros_like(part).requires_grad_() for part in states_of(hx)))
    expected = results(layer, layer, x, zeros)
    x.grad = None
    got = results(layer, layer, x)
    assert got.keys() == {name for name in expected if name not in ("hidden.grad", "cell.grad")}
    same_bits(got, {name: expected[name] for name in got})


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_dropout_between_layers(cell: Cell, kernel: Any) -> None:
    """The same seed drops the same numbers as in plain torch."""
    case = Case(cell, 6, 3, 9, 17, num_layers=3, bidirectional=True)
    layer = in_float32(case)
    layer.dropout = 0.5
    found: list[dict[str, np.ndarray]] = []
    for forward in (layer, functools.partial(plain, layer), layer.eval()):
        layer.train(forward is not layer or not found)
        torch.manual_seed(3)
        found.append(results(forward, layer, *case.batch(torch.float32)))
    close_by_name(found[0], found[1], 2 * case.scattered())  # both are in float32
    assert np.abs(found[2]["y"] - found[0]["y"]).max() > 0.01


@pytest.mark.parametrize("wanted", ["y", "hidden", "cell"])
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_gradient_of_one_result(cell: Cell, wanted: str, kernel: Any) -> None:
    if wanted not in ("y", *cell.states):
        wanted = cell.states[-1]
    case = Case(cell, 6, 3, 9, 17, num_layers=2, bidirectional=True)

    def gradients(module: torch.nn.Module, forward: Callable[..., Any], dtype: Any) -> list[Any]:
        x, hx = case.batch(dtype)
        y, end = forward(x, hx)
        one = dict(zip(("y", *cell.states), (y, *states_of(end)), strict=True))[wanted]
        inputs = [x, *states_of(hx), *module.parameters()]
        return list(torch.autograd.grad(one.square().sum(), inputs, materialize_grads=True))

    layer = in_float32(case)
    got = gradients(layer, layer, torch.float32)
    # the loss does not contain every last state, but its gradient reaches all layers and directions
    assert kernel.calls == {"forward": case.rows, "backward": case.rows}
    expected = gradients(*in_double(case), torch.float64)
    names = [str(number) for number in range(len(got))]
    close_by_name(
        {name: part.numpy() for name, part in zip(names, got, strict=True)},
        {name: part.numpy() for name, part in zip(names, expected, strict=True)},
        case.scattered(),
    )


def over_each_alone(forward: Callable[..., Any], packed: Packed) -> Callable[..., Any]:
    def run(x: torch.Tensor, hx: Any) -> Any:
        first = packed.case.batch_first
        outputs, ends = [], []
        for column, length in enumerate(packed.lengths):
            sequence = (x[column] if first else x[:, column])[:length]
            y, end = forward(sequence, like(hx, (part[:, column] for part in states_of(hx))))
            outputs.append(y)
            ends.append(states_of(end))
        states = (torch.stack(parts, 1) for parts in zip(*ends, strict=True))
        return pad_sequence(outputs, first), like(hx, states)

    return run


@functools.cache
def expected_of_packed(packed: Packed) -> dict[str, np.ndarray]:
    module, forward = in_double(packed.case)
    return results(over_each_alone(forward, packed), module, *packed.case.batch())


@pytest.mark.slow
@by_id("packed", PACKED)
def test_packed_equals_each_sequence_alone(packed: Packed, kernel: Any) -> None:
    """All bits are equal except in gradients of weights, which add up over the sequences in another order."""
    layer, batch = in_float32(packed.case), functools.partial(packed.case.batch, torch.float32)
    got = results(over_packed(layer, packed), layer, *batch())
    assert kernel.calls == {"forward": packed.case.rows, "backward": packed.case.rows}
    alone = results(over_each_alone(layer, packed), layer, *batch())
    close_by_name(got, expected_of_packed(packed), packed.case.scattered())
    states = packed.case.cell.states
    exact = ("y", "x.grad", *states, *(f"{name}.grad" for name in states))
    same_bits(got, {name: alone[name] for name in exact})


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_a_row_does_not_depend_on_the_rest_of_the_batch(cell: Cell, kernel: Any) -> None:
    case = Case(cell, 40, 13, 17, 33)
    layer = in_float32(case)
    x, hx = case.batch(torch.float32)
    y, end = layer(x, hx)
    for lanes, length in ((slice(4, 5), 40), (slice(3, 11), 40), (slice(0, 13), 7)):
        some = like(hx, (part[:, lanes] for part in states_of(hx)))
        other, last = layer(x[:length, lanes], some)
        assert torch.equal(other, y[:length, lanes])
        if length == case.T:
            for part, whole in zip(states_of(last), states_of(end), strict=True):
                assert torch.equal(part, whole[:, lanes])


BROKEN = [
    *((name, float("nan")) for name in ("x", "hidden", "weight_ih_l0", "bias_ih_l0")),
    *((name, sign * float("inf")) for name in ("x", "weight_ih_l0") for sign in (1, -1)),
]


@pytest.mark.parametrize(("broken", "value"), BROKEN)
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_nan_and_infinity_reach_the_results(
    cell: Cell, broken: str, value: float, kernel: Any
) -> None:
    """Exactly the outputs that are not finite in torch are not finite here, and at least those gradients."""
    case = Case(cell, 6, 3, 9, 17)

    def run(module: torch.nn.Module, forward: Callable[..., Any], dtype: Any) -> Any:
        x, hx = case.batch(dtype)
        given = {"x": x, "hidden": states_of(hx)[0], **dict(module.named_parameters())}
        with torch.no_grad():
            tensor = given[broken]
            tensor[(2, 1, 3)[-tensor.dim() :] if broken != "hidden" else (0, 1, 3)] = value
        return results(forward, module, x, hx)

    layer = in_float32(case)
    got = run(layer, layer, torch.float32)
    assert kernel.calls == {"forward": 1, "backward": 1}
    expected = run(*in_double(case), torch.float64)
    np.testing.assert_array_equal(np.isfinite(got["y"]), np.isfinite(expected["y"]))
    if np.isnan(value):
        assert np.isnan(got["y"]).any()
        np.testing.assert_array_equal(np.isnan(got["y"]), np.isnan(expected["y"]))
    for name in ("weight_ih_l0", "bias_ih_l0"):
        assert not np.isfinite(got[name][~np.isfinite(expected[name])]).any(), name


@pytest.mark.parametrize("H", [1, 7, 15, 17, 33])
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_earlier_contents_of_memory_do_not_matter(cell: Cell, H: int, kernel: Any) -> None:
    """The kernel reuses its memory; here the call before has filled that memory with NaN."""
    case = Case(cell, 5, 3, 9, H)
    full = replace(case, H=-(-H // 32) * 32)
    for precision in ("float32", "bf16")[: 1 + kernel.bfloat16]:
        layer, broken = in_float32(case), in_float32(full)
        layer.precision = broken.precision = precision
        with torch.no_grad():
            for weight in broken.parameters():
                weight.fill_(float("nan"))
        expected = results(layer, layer, *case.batch(torch.float32))
        assert all(np.isfinite(array).all() for array in expected.values())
        results(broken, broken, *full.batch(torch.float32))
        same_bits(results(layer, layer, *case.batch(torch.float32)), expected)


CONTRACT = [
    pytest.param(check, id=f"{cell_id(cell)}-{name}")
    for cell in CELLS
    for name, check in yield_checks(
        cell,
        functools.partial(in_torch, forward=lambda module, *given: module(*given)),
        functools.partial(gradient_in_torch, forward=lambda module, *given: module(*given)),
        np.float32,
    )
]


@pytest.mark.parametrize("check", CONTRACT)
def test_contract(check: Callable[[], None], request: pytest.FixtureRequest, kernel: Any) -> None:
    check()
    assert kernel.calls or "declaration" in request.node.name


def clear_of_the_kink(case: Case, module: torch.nn.Module) -> None:
    """Set half of a relu's units far above zero and half far below, so that no unit crosses zero."""
    with torch.no_grad():
        for name, weight in module.named_parameters():
            if "weight_hh" in name:
                weight.div_(4)
            elif "bias" in name:
                # a sum of I products has a standard deviation of at most √(I / 3H)
                weight[::2] = 4 + 4 * (case.I / case.H) ** 0.5
                weight[1::2] = -4 - 4 * (case.I / case.H) ** 0.5


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_finite_differences(cell: Cell, kernel: Any) -> None:
    """The gradient along random directions equals the central difference of the kernel's own outputs."""
    case = Case(cell, 5, 2, 7, 9, num_layers=2, bidirectional=True)
    layer = in_float32(case)
    if cell.activation == "relu":
        clear_of_the_kink(case, layer)
    x, hx = case.batch(torch.float32)
    inputs = {"x": x, **dict(zip(cell.states, states_of(hx), strict=True))}
    inputs |= dict(layer.named_parameters())
    draw = torch.Generator().manual_seed(3)
    weights = torch.randn(case.T, case.B, 2 * case.H, generator=draw, dtype=torch.float64)

    def total() -> torch.Tensor:
        return (weights * layer(x, hx)[0].double()).sum()

    total().backward()
    # A central difference has the error step² f'''/6 and the rounding error of the outputs over the step.
    # With step = eps^(1/3) they are similar. f adds T·B·2H numbers of size 1 with random signs.
    step = float(np.finfo(np.float32).eps) ** (1 / 3)
    numbers = weights.numel() ** 0.5
    tolerance = numbers * (step**2 + case.scattered() / step)
    for name, tensor in inputs.items():
        along = torch.randn(tensor.shape, generator=draw)
        along /= along.norm()
        values = []
        with torch.no_grad():
            for sign in (1, -2, 1):  # one step up, two down, and back
                tensor += sign * step * along
                values.append(total().item())
        difference = (values[0] - values[1]) / (2 * step)
        assert tensor.grad is not None
        assert abs(difference - (tensor.grad * along).sum().item()) < tolerance, name


# Only cases with few steps, because each step carries the error of 2^-9 on to the next.
ROUNDED = tuple(case for case in CASES if case.T <= 27)


def rounded(case: Case) -> float:
    """Return the allowed error of products in bfloat16, relative to the largest number.

    Each factor has an error of at most 2^-9. A sum of I + H products of numbers of size 1 with weights up to
    1/√H then has a standard deviation of 2^-9·√((I + H)/H), because the errors have random signs. The errors
    of all steps and layers add up in the same way. Six standard deviations are allowed.
    """
    inputs = max(case.I, case.H * case.rows // case.num_layers if case.num_layers > 1 else 0)
    return 6 * 2**-9 * (case.T * case.num_layers * (inputs + case.H) / case.H) ** 0.5


with_bf16 = pytest.mark.parametrize(
    "kernel",
    [name for name, kernel in native.kernels().items() if kernel.bfloat16],
    indirect=True,
)


def twice(
    case: Case, wrap: Callable[[Callable[..., Any]], Callable[..., Any]] = lambda forward: forward
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Return the results of a case with precision "bf16", and its results in float64."""
    layer, (double, forward) = in_float32(case), in_double(case)
    if case.cell.activation == "relu":
        for module in (layer, double):
            clear_of_the_kink(case, module)
    layer.precision = "bf16"
    got = results(wrap(layer), layer, *case.batch(torch.float32))
    return got, results(wrap(forward), double, *case.batch())


@with_bf16
@by_id("case", ROUNDED)
def test_bf16(case: Case, kernel: Any) -> None:
    if case.cell.activation == "relu" and not case.bias:
        case = replace(case, bias=True)
    got, expected = twice(case)
    assert kernel.calls == {"forward": case.rows, "backward": case.rows}
    close_by_name(got, expected, rounded(case))
    # the error is larger than that of float32, so the products were in bfloat16
    assert any(
        np.abs(got[name] - expected[name]).max() > case.scattered() for name in ("y", "x.grad")
    )


@with_bf16
@by_id("packed", [packed for packed in PACKED if packed.case.T < 40])
def test_bf16_packed(packed: Packed, kernel: Any) -> None:
    got, expected = twice(packed.case, functools.partial(over_packed, packed=packed))
    close_by_name(got, expected, rounded(packed.case))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_bf16_is_refused(cell: Cell, dtype: torch.dtype, kernel: Any) -> None:
    layer = Case(cell, 5, 2, 3, 4).layer(dtype)
    layer.precision = "bf16"
    x = torch.zeros(5, 2, 3, dtype=dtype)
    if dtype == torch.float64:
        expected = "got bf16 for torch.float64 on cpu; expected float32 there"
    elif kernel.bfloat16:
        assert layer(x)[0].dtype == dtype
        return
    else:
        expected = f"got bf16 on {kernel.name}; expected a processor with"
    with pytest.raises(OptionError, match=expected):
        layer(x)
    assert not kernel.calls
