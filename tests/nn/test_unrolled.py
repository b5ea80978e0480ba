from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from cases import (
    CASES,
    CELLS,
    Case,
    cell_id,
    close_by_name,
    gradient_in_torch,
    in_torch,
    like,
    plain,
    results,
    states_of,
)
from cell_checks import close, yield_checks
from elman import nn
from elman.cells import Cell, find
from elman.engine.layers import layer_sequence
from elman.errors import ShapeError

TORCH = {"gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
WITH_ORACLE = [case for case in CASES if case.cell.name != "mingru"]


def own_forward(module: torch.nn.Module, *given: Any) -> Any:
    return module(*given)


WAYS = {"unrolled": plain, "module": own_forward}
CONTRACT = [
    pytest.param(check, id=f"{way}-{cell_id(cell)}-{name}")
    for way, forward in WAYS.items()
    for cell in CELLS
    for name, check in yield_checks(
        cell,
        functools.partial(in_torch, forward=forward),
        functools.partial(gradient_in_torch, forward=forward),
    )
]


@pytest.mark.parametrize("check", CONTRACT)
def test_contract_in_torch(check: Callable[[], None]) -> None:
    check()


def positive(case: Case) -> tuple[torch.Tensor, Any]:
    x, hx = case.batch()
    return x.detach().abs().requires_grad_(), like(
        hx, (part.detach().abs().requires_grad_() for part in states_of(hx))
    )


def torch_formula(case: Case) -> torch.nn.Module:
    if case.cell.name == "rnn":
        # torch has no linear cell, but relu is linear as long as no number is negative
        activation = "tanh" if case.cell.activation == "tanh" else "relu"
        return torch.nn.RNN(**case.options, nonlinearity=activation, dtype=torch.float64)
    return TORCH[case.cell.name](**case.options, dtype=torch.float64)


@pytest.mark.parametrize("case", WITH_ORACLE, ids=lambda case: case.id)
def test_values_and_gradients_equal_those_of_torch(case: Case) -> None:
    module, oracle = case.layer(), torch_formula(case)
    linear = case.cell.activation == "linear"
    if linear:
        with torch.no_grad():
            for weight in module.parameters():
                weight.abs_().div_(
                    case.H**0.5
                )  # no row of W_hh sums to more than 1, so states do not grow
    oracle.load_state_dict(module.state_dict())
    batch = positive if linear else Case.batch
    got = results(functools.partial(plain, module), module, *batch(case))
    close_by_name(got, results(oracle, oracle, *batch(case)), case.rounding())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_module_equals_the_plain_code(case: Case) -> None:
    module = case.layer()
    got = results(module, module, *case.batch())
    expected = results(functools.partial(plain, module), module, *case.batch())
    close_by_name(got, expected, case.rounding())


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_layers_equal_the_numpy_code(case: Case) -> None:
    """Layers, directions and layouts equal single layers of the numpy code, put together by hand."""
    module = case.layer()
    x, hx = case.batch()
    y, end = plain(module, x, hx)
    starts = hx if isinstance(hx, tuple) else (hx,)
    current = x.detach().numpy()
    current = current.swapaxes(0, 1) if case.batch_first else current
    ends: list[tuple[np.ndarray, ...]] = []
    for layer in range(case.num_layers):
        outputs = []
        for reverse in (False, True)[: 2 if case.bidirectional else 1]:
            suffix = f"_l{layer}" + ("_reverse" if reverse else "")
            names = case.cell.parameters(1, 1, case.bias)
            weights = {name: getattr(module, name + suffix).detach().numpy() for name in names}
            start = tuple(part.detach().numpy()[len(ends)] for part in starts)
            turn = slice(None, None, -1 if reverse else 1)
            output, last = layer_sequence(case.cell, weights, current[turn], start)
            outputs.append(output[turn])
            ends.append(last)
        current = np.concatenate(outputs, -1)
    current = current.swapaxes(0, 1) if case.batch_first else current
    close(y.detach().numpy(), current, case.rounding())
    got = end if isinstance(end, tuple) else (end,)
    for part, expected in zip(got, zip(*ends, strict=True), strict=True):
        close(part.detach().numpy(), np.stack(expected), case.rounding())


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_one_sequence_without_batch(cell: Cell) -> None:
    case = Case(cell, 5, 1, 3, 4, num_layers=2, bidirectional=True, batch_first=True)
    module = case.layer()
    x, hx = case.batch()
    single = tuple(part[:, 0] for part in hx) if isinstance(hx, tuple) else hx[:, 0]
    for forward in (module, functools.partial(plain, module)):
        y, end = forward(x[0], single)
        whole, last = plain(module, x, hx)
        assert y.shape == (5, 8)
        close(y.detach().numpy(), whole[0].detach().numpy(), case.rounding())
        pairs = zip(end, last, strict=True) if isinstance(end, tuple) else ((end, last),)
        for part, expected in pairs:
            close(part.detach().numpy(), expected[:, 0].detach().numpy(), case.rounding())


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_a_missing_start_state_means_zeros(cell: Cell) -> None:
    case = Case(cell, 5, 2, 3, 4, num_layers=2)
    module = case.layer()
    x, hx = case.batch()
    zeros = (
        tuple(torch.zeros_like(part) for part in hx)
        if isinstance(hx, tuple)
        else torch.zeros_like(hx)
    )
    assert torch.equal(plain(module, x)[0], plain(module, x, zeros)[0])


@pytest.mark.parametrize("name", ["rnn", "gru", "lstm"])
def test_dropout_equals_that_of_torch(name: str) -> None:
    """With the same seed, dropout in the plain code drops the numbers that torch drops, in training only."""
    options: dict[str, Any] = {"num_layers": 3, "dropout": 0.5, "dtype": torch.float64}
    module = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}[name](4, 6, **options)
    x = torch.randn(5, 3, 4, dtype=torch.float64)
    case = Case(module.cell, 5, 3, 4, 6, num_layers=3)
    outputs = []
    for forward in (module, functools.partial(plain, module)):
        torch.manual_seed(3)
        outputs.append(forward(x)[0].detach().numpy())
    close(outputs[1], outputs[0], case.rounding())
    module.eval()
    still = plain(module, x)[0].detach().numpy()
    assert np.abs(still - outputs[0]).max() > 0.01
    close(still, module(x)[0].detach().numpy(), case.rounding())


def test_dropout_of_mingru() -> None:
    module = nn.MinGRU(4, 64, num_layers=2, dropout=0.5)
    with torch.no_grad():
        for name, weight in module.named_parameters():
            weight.zero_()
            if name == "bias_ih_l0":
                weight[64:] = 1.0  # candidate 1, update 1/2: the first layer's output tends to 1
            if name == "weight_ih_l1":
                weight[64:] = torch.eye(64)  # the second layer's candidate is its input
    x = torch.zeros(1, 2000, 4)
    y, _ = module(x)
    # each layer halves, and dropout doubles the numbers that it keeps: 2·(1/2)·(1/2)
    assert set(y.unique().tolist()) == {0.0, 0.5}
    # six standard deviations of the mean of 128,000 fair coins: 6·0.5/sqrt(128,000)
    assert abs((y == 0).double().mean().item() - 0.5) < 0.0084
    assert module.eval()(x)[0].unique().tolist() == [0.25]


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (torch.zeros(5, 2, 4), r"got \(5, 2, 4\); expected \[T, B, I\] or \[T, I\] with I = 3"),
        (torch.zeros(3), "input of the recurrent layer"),
        (torch.zeros(0, 2, 3), "got length 0; expected at least 1 step"),
        (torch.zeros(5, 2, 3, dtype=torch.float64), "got torch.float64; expected the weights'"),
    ],
)
def test_input_that_does_not_fit(given: torch.Tensor, said: str) -> None:
    with pytest.raises(ShapeError, match=said):
        nn.MinGRU(3, 4)(given)


def test_error_names_the_layout_of_the_input() -> None:
    with pytest.raises(ShapeError, match=r"expected \[B, T, I\] or \[T, I\] with I = 3"):
        nn.MinGRU(3, 4, batch_first=True)(torch.zeros(5, 2, 4))
    packed = torch.nn.utils.rnn.pack_sequence([torch.zeros(5, 4)])
    with pytest.raises(ShapeError, match=r"expected packed rows \[N, I\] with I = 3"):
        nn.MinGRU(3, 4)(packed)


@pytest.mark.parametrize(
    "hx", [torch.zeros(1, 3, 4), torch.zeros(2, 4), (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))]
)
def test_start_state_that_does_not_fit(hx: Any) -> None:
    with pytest.raises(ShapeError, match=r"expected \(1, 2, 4\) for hidden"):
        nn.MinGRU(3, 4)(torch.zeros(5, 2, 3), hx)


def test_a_scan_is_one_node_whatever_the_length() -> None:
    def nodes(length: int) -> int:
        y, _ = nn.MinGRU(3, 4)(torch.zeros(length, 2, 3))
        seen, open_ = set(), [y.grad_fn]
        while open_:
            node = open_.pop()
            if node is not None and node not in seen:
                seen.add(node)
                open_ += [before for before, _ in node.next_functions]
        return len(seen)

    assert nodes(500) == nodes(2)


@pytest.mark.parametrize("cell", [find("rnn", "linear"), find("mingru")], ids=cell_id)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast_stays_near(cell: Cell, dtype: torch.dtype) -> None:
    case = Case(cell, 6, 3, 5, 7, num_layers=2)
    module = case.layer(torch.float32)
    x, hx = case.batch(torch.float32)
    whole, _ = module(x, hx)
    with torch.autocast("cpu", dtype=dtype, enabled=dtype == torch.bfloat16):
        y, _ = module(x, hx)
    y.float().sum().backward()
    # every term is rounded to the 8 bits of bfloat16, and the outputs have a size of about 1
    tolerance = 2**-8 * 2 * case.T if dtype == torch.bfloat16 else 0
    close(y.detach().float().numpy(), whole.detach().numpy(), tolerance)
    assert all(torch.isfinite(weight.grad).all() for weight in module.parameters())


@pytest.mark.parametrize("cell", [find("rnn", "linear"), find("mingru")], ids=cell_id)
def test_empty_batch_as_torch(cell: Cell) -> None:
    y, state = Case(cell, 5, 1, 3, 4).layer(torch.float32)(torch.zeros(5, 0, 3))
    assert y.shape == (5, 0, 4)
    assert state.shape == (1, 0, 4)
