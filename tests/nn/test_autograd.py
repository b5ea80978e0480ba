"""The kernel as a node of torch's autograd gives torch's own results for every kind of call."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence

from cases import CELLS, Case, cell_id, close_by_name, like, plain, results, states_of
from elman import LanguageModel
from elman.cells import Cell, find
from elman.language.config import NetworkConfig
from elman.language.network_torch import Network
from elman.nn import GRU, stack

over_cells = pytest.mark.parametrize("cell", CELLS, ids=cell_id)


def small(cell: Cell) -> tuple[Case, torch.nn.Module, dict[str, torch.Tensor]]:
    """A case, its layer in float32, and the layer's inputs, start states and parameters by name."""
    case = Case(cell, 6, 3, 5, 9, num_layers=2, bidirectional=True)
    layer = case.layer(torch.float32)
    x, hx = case.batch(torch.float32)
    named = {"x": x, **dict(zip(cell.states, states_of(hx), strict=True))}
    return case, layer, named | dict(layer.named_parameters())


def outputs(layer: torch.nn.Module, given: dict[str, torch.Tensor], names: Any) -> Any:
    states = tuple(given[name] for name in names)
    return layer(given["x"], states if len(states) > 1 else states[0])


def arrays(named: dict[str, torch.Tensor]) -> dict[str, np.ndarray]:
    return {name: tensor.detach().numpy() for name, tensor in named.items()}


@over_cells
def test_repeated_runs_and_backwards_give_the_same_bits(cell: Cell, chosen: Any) -> None:
    case, layer, given = small(cell)
    found = []
    for _ in range(2):
        y, end = outputs(layer, given, cell.states)
        loss = y.square().sum() + sum(part.sum() for part in states_of(end))
        once, again = (
            torch.autograd.grad(loss, list(given.values()), retain_graph=True) for _ in range(2)
        )
        found += [once, again]
    # the first backward has overwritten what the second needs, so forward runs again
    assert chosen.calls == {"forward": 4 * case.rows, "backward": 4 * case.rows}
    for other in found[1:]:
        assert all(torch.equal(one, same) for one, same in zip(found[0], other, strict=True))


@over_cells
def test_second_backward_needs_retain_graph(cell: Cell) -> None:
    _, layer, given = small(cell)
    loss = outputs(layer, given, cell.states)[0].sum()
    loss.backward()
    with pytest.raises(RuntimeError, match="backward through the graph a second time"):
        loss.backward()


@over_cells
def test_second_derivatives(cell: Cell, chosen: Any) -> None:
    """Second derivatives equal those of plain torch in float64."""
    case = Case(cell, 6, 3, 5, 9, num_layers=2, bidirectional=True)
    found = []
    for dtype in (torch.float32, torch.float64):
        layer = case.layer(torch.float32).to(dtype)
        forward = layer if dtype == torch.float32 else functools.partial(plain, layer)
        x, hx = case.batch(dtype)
        given = {"x": x, **dict(zip(cell.states, states_of(hx), strict=True))}
        given |= dict(layer.named_parameters())
        y, end = forward(x, hx)
        loss = (y**3).sum() + sum((part**3).sum() for part in states_of(end))
        first = torch.autograd.grad(loss, list(given.values()), create_graph=True)
        torch.stack([part.square().sum() for part in first]).sum().backward()
        found.append({name: tensor.grad.numpy() for name, tensor in given.items()})
        found[-1] |= {f"{n} first": g.detach().numpy() for n, g in zip(given, first, strict=True)}
    # a second derivative runs through further kernel calls
    assert chosen.calls == {"forward": case.rows, "backward": case.rows}
    # one forward and one backward, then both once more
    close_by_name(found[0], found[1], 2 * case.scattered())


def both_ways(layer: torch.nn.Module, loss: Callable[..., Any]) -> None:
    """Compare the gradients of `loss`: the kernel's, with and without a graph, and plain torch's."""
    kernel = loss(layer, create_graph=True)
    once = loss(layer, create_graph=False)
    expected = loss(functools.partial(plain, layer), create_graph=True)
    for one, two, other in zip(kernel, once, expected, strict=True):
        np.testing.assert_allclose(one.detach(), other.detach(), rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(two.detach(), other.detach(), rtol=1e-4, atol=1e-5)


def test_second_derivative_where_one_input_comes_from_another() -> None:
    """A gradient that flows through the start state must not be counted twice."""
    layer = GRU(3, 3)
    sequences = [torch.randn(4, 3, requires_grad=True), torch.randn(2, 3, requires_grad=True)]

    def loss(forward: Callable[..., Any], create_graph: bool) -> Any:
        packed = pack_sequence(sequences)
        y, _ = forward(packed, packed.data[:2][None] / 2)
        return torch.autograd.grad(y.data.square().sum(), sequences, create_graph=create_graph)

    both_ways(layer, loss)


def test_second_derivative_of_a_tied_weight() -> None:
    layer = GRU(4, 4)
    layer.weight_hh_l0 = layer.weight_ih_l0
    x = torch.randn(5, 2, 4)

    def loss(forward: Callable[..., Any], create_graph: bool) -> Any:
        y, _ = forward(x)
        return torch.autograd.grad(
            y.square().sum(), list(layer.parameters()), create_graph=create_graph
        )

    both_ways(layer, loss)


@over_cells
def test_gradients_of_some_inputs_only(cell: Cell) -> None:
    """An input that needs no gradient gets none, and the other gradients do not change."""
    case, layer, given = small(cell)
    whole = results(layer, layer, *case.batch(torch.float32))
    names = {name: f"{name}.grad" if name in ("x", *cell.states) else name for name in given}
    draw = torch.Generator().manual_seed(2)
    for number, wanted in enumerate([["x"], [cell.states[-1]], ["weight_ih_l0"], [*given][4:], []]):
        for name, tensor in given.items():
            tensor.requires_grad_(name in wanted)
            tensor.grad = None
        y, end = outputs(layer, given, cell.states)
        assert y.requires_grad == bool(wanted), number
        if not wanted:
            continue
        draw.manual_seed(2)
        parts = (y, *states_of(end))
        sum((torch.randn(part.shape, generator=draw) * part).sum() for part in parts).backward()
        for name, tensor in given.items():
            if name in wanted:
                np.testing.assert_array_equal(tensor.grad.numpy(), whole[names[name]], err_msg=name)
            else:
                assert tensor.grad is None, name


def turned(tensor: torch.Tensor) -> torch.Tensor:
    """Return an equal tensor whose last axis is not contiguous in memory."""
    return tensor.detach().transpose(0, -1).contiguous().transpose(0, -1)


def shifted(tensor: torch.Tensor) -> torch.Tensor:
    """Return an equal tensor whose address is aligned to a float only, not to a vector."""
    memory = torch.zeros(tensor.numel() + 1)
    memory[1:] = tensor.detach().flatten()
    return memory[1:].view(tensor.shape)


def negated(tensor: torch.Tensor) -> torch.Tensor:
    """Return an equal tensor that torch stores with the opposite sign and negates lazily."""
    return torch.complex(torch.zeros_like(tensor), -tensor.detach()).conj().imag


@pytest.mark.parametrize("layout", [turned, shifted, negated])
@over_cells
def test_layouts(cell: Cell, layout: Callable[[torch.Tensor], torch.Tensor], chosen: Any) -> None:
    case, layer, _ = small(cell)
    x, hx = case.batch(torch.float32)
    expected = results(layer, layer, x, hx)
    other = case.layer(torch.float32)
    for name, weight in layer.named_parameters():
        if layout is not negated:  # a parameter cannot be lazily negated
            setattr(other, name, torch.nn.Parameter(layout(weight)))

    def forward(x: torch.Tensor, hx: Any) -> Any:
        y, end = other(x, hx)
        return layout_of_gradient(y), end

    def layout_of_gradient(y: torch.Tensor) -> torch.Tensor:
        return y.transpose(0, 2).contiguous().transpose(0, 2)

    parts = [layout(part).requires_grad_() for part in states_of(hx)]
    got = results(forward, other, layout(x).requires_grad_(), like(hx, parts))
    assert chosen.calls == {"forward": 2 * case.rows, "backward": 2 * case.rows}
    for name, array in expected.items():
        np.testing.assert_array_equal(got[name], array, err_msg=name)


@over_cells
def test_expanded_gradients_and_inputs(cell: Cell) -> None:
    case, layer, given = small(cell)
    found = []
    for ones in (None, torch.ones(case.T, case.B, 2 * case.H)):
        y, _ = outputs(layer, given, cell.states)
        # the gradient of y.sum() is a single number, expanded
        total = y.sum() if ones is None else (ones * y).sum()
        found.append(torch.autograd.grad(total, [given["x"], *layer.parameters()]))
    assert all(torch.equal(one, other) for one, other in zip(*found, strict=True))
    row = given["x"].detach()[:1]
    assert torch.equal(layer(row.expand(4, -1, -1))[0], layer(row.repeat(4, 1, 1))[0])


@over_cells
def test_without_gradients(cell: Cell, chosen: Any) -> None:
    case, layer, given = small(cell)
    y, end = outputs(layer, given, cell.states)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            other, last = outputs(layer, given, cell.states)
        assert not other.requires_grad
        assert torch.equal(other, y)
        assert all(torch.equal(*pair) for pair in zip(states_of(end), states_of(last), strict=True))
    assert chosen.calls == {"forward": 3 * case.rows}
    with torch.inference_mode():
        x = given["x"].clone()
    with pytest.raises(RuntimeError, match="Inference tensors cannot be saved for backward"):
        layer(x)


@over_cells
def test_changes_in_place_are_noticed(cell: Cell) -> None:
    _, layer, given = small(cell)
    y, _ = outputs(layer, given, cell.states)
    with torch.no_grad():
        layer.get_parameter("weight_ih_l1").add_(1)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()
    layer = Case(cell, 6, 3, 5, 9).layer(torch.float32)
    y, _ = layer(given["x"])
    y *= 2
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        y.sum().backward()


@pytest.mark.slow
@over_cells
def test_checkpoints_and_hooks(cell: Cell) -> None:
    """Saved tensor hooks and checkpoints give the same bits."""
    _, layer, given = small(cell)

    def call(x: torch.Tensor) -> torch.Tensor:
        return outputs(layer, given | {"x": x}, cell.states)[0]

    inputs = list(given.values())
    expected = torch.autograd.grad(call(given["x"]).square().sum(), inputs)
    y = torch.utils.checkpoint.checkpoint(call, given["x"], use_reentrant=False)
    found = [torch.autograd.grad(y.square().sum(), inputs)]
    with torch.autograd.graph.save_on_cpu():
        y = call(given["x"])
    found.append(torch.autograd.grad(y.square().sum(), inputs))
    for other in found:
        assert all(torch.equal(one, same) for one, same in zip(expected, other, strict=True))


@over_cells
def test_many_gradients_at_once(cell: Cell) -> None:
    case, layer, given = small(cell)
    y, _ = outputs(layer, given, cell.states)
    directions = torch.randn(4, *y.shape)
    inputs = list(given.values())
    got = torch.autograd.grad(y, inputs, directions, retain_graph=True, is_grads_batched=True)
    for number, direction in enumerate(directions):
        one = torch.autograd.grad(y, inputs, direction, retain_graph=True)
        close_by_name(
            arrays(dict(zip(given, (part[number] for part in got), strict=True))),
            arrays(dict(zip(given, one, strict=True))),
            2 * case.scattered(),  # both are in float32
        )


def test_two_threads_of_python_at_once() -> None:
    work = []
    for cell in CELLS:
        case = Case(cell, 40, 5, 17, 33)
        layer = case.layer(torch.float32)
        batch = functools.partial(case.batch, torch.float32)
        work.append((layer, batch, results(layer, layer, *batch())))
    failures: list[Any] = []

    def run(turn: int) -> None:
        try:
            for _ in range(5):
                for layer, batch, expected in work[::turn]:
                    x, hx = batch()
                    y, _ = layer(x, hx)
                    np.testing.assert_array_equal(y.detach().numpy(), expected["y"])
                    inputs = [x, *states_of(hx), *layer.parameters()]
                    once, again = (
                        torch.autograd.grad(y.sum(), inputs, retain_graph=True) for _ in range(2)
                    )
                    assert all(torch.equal(*pair) for pair in zip(once, again, strict=True))
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=run, args=(turn,)) for turn in (1, -1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
def test_training_enters_the_kernel(cell: str, chosen: Any) -> None:
    config = NetworkConfig("language", cell, "tanh", 11, 8, 12, 2)
    network = Network(config, dropout=0.1)
    optimiser = torch.optim.AdamW(network.parameters())
    before = network.arrays()
    tokens = torch.arange(40).reshape(8, 5) % 11
    hidden, _ = network(tokens)
    assert chosen.calls["forward"] == config.num_layers
    network.loss(hidden, tokens, -1).backward()
    assert chosen.calls["backward"] == config.num_layers
    optimiser.step()
    changed = [
        name for name, array in network.arrays().items() if not (array == before[name]).all()
    ]
    assert changed == list(before)


def test_fit_enters_the_kernel(chosen: Any) -> None:
    model = LanguageModel(
        level="char", hidden_size=8, num_layers=2, batch_size=2, sequence_length=10, steps=3
    )
    model.fit("the cat sat on the mat. " * 50)
    assert chosen.calls["backward"] == 3 * 2


def test_a_layer_is_one_node_whatever_the_length() -> None:
    def nodes(length: int) -> int:
        y, _ = stack.run(
            Case(find("gru"), 1, 1, 3, 4).layer(torch.float32), torch.zeros(length, 2, 3)
        )
        seen, open_ = set(), [y.grad_fn]
        while open_:
            node = open_.pop()
            if node is not None and node not in seen:
                seen.add(node)
                open_ += [before for before, _ in node.next_functions]
        return len(seen)

    assert nodes(500) == nodes(2)
