from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cases import CELLS, cell_id
from cell_checks import DIFFERENCE, STEP, rounding
from elman.cells import Cell
from elman.engine import kernel
from elman.engine.kernel import LayerWeights
from elman.engine.layers import layer_sequence
from elman.engine.passage import Layers, Passage
from elman.errors import InputError

T, B, H = 6, 3, 5
# directions, layers, residual
STACKS = {"plain": (1, 1, False), "both ways": (2, 2, False), "residual": (1, 3, True)}
EACH = pytest.mark.parametrize("cell", CELLS, ids=cell_id)
STACK = pytest.mark.parametrize("stack", STACKS.values(), ids=STACKS)


def _make(cell: Cell, stack: tuple[int, int, bool]) -> tuple[Any, dict[str, np.ndarray], bool]:
    ways, depth, residual = stack
    draw = np.random.default_rng(3)
    arrays = {
        f"layers.{k}.{name}{way}": draw.normal(0, 0.5, shape).astype(np.float32)
        for k in range(depth)
        for way in ("", "_reverse")[:ways]
        for name, shape in cell.parameters(ways * H if k else H, H).items()
    }
    config = SimpleNamespace(cell=cell.name, activation=cell.activation, num_layers=depth)
    return config, arrays, residual


def _read(cell: Cell, stack: tuple[int, int, bool], dtype: Any = np.float64) -> Passage:
    config, arrays, residual = _make(cell, stack)
    layers = Layers(config, arrays, residual=residual, dtype=dtype)
    draw = np.random.default_rng(4)
    start = [draw.normal(size=part.shape) for part in layers.start(B)]
    return layers.read(draw.normal(size=(T, B, H)), start)


def _weights(passage: Passage) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(5)
    return draw.normal(size=passage.y.shape), draw.normal(size=passage.end[-1].shape)


def _arrays(layers: list[list[LayerWeights]]) -> list[np.ndarray]:
    """Return the arrays of all directions of all layers, without those that the cell does not have."""
    return [array for layer in layers for way in layer for array in way if array is not None]


def _total(passage: Passage, dy: np.ndarray, dend: np.ndarray) -> np.ndarray:
    whole: np.ndarray = (dy * passage.y).sum((0, 2)) + (dend * passage.end[-1]).sum((0, 1, 3))
    return whole


@EACH
def test_a_pass_equals_the_layers(cell: Cell) -> None:
    passage = _read(cell, STACKS["residual"])
    config, arrays, _ = _make(cell, STACKS["residual"])
    x = passage.inputs[0]
    for k in range(config.num_layers):
        own = {
            name.removeprefix(f"layers.{k}."): array.astype(np.float64)
            for name, array in arrays.items()
            if name.startswith(f"layers.{k}.")
        }
        y, end = layer_sequence(cell, own, x, tuple(passage.start[k][0]))
        np.testing.assert_allclose(passage.end[k][0], np.stack(end), atol=rounding(np.float64))
        np.testing.assert_allclose(passage.states[k][0, 0], y, atol=rounding(np.float64))
        x = y + x if k else y
    np.testing.assert_allclose(passage.y, x, atol=rounding(np.float64))


@EACH
@STACK
def test_frozen_contributions_sum_to_the_weighted_outputs(
    cell: Cell, stack: tuple[int, int, bool]
) -> None:
    passage = _read(cell, stack)
    dy, dend = _weights(passage)
    back = passage.back(dy, frozen=True, dend=dend)
    starts = zip(back.dstart, passage.start, strict=True)
    shares = (back.dx * passage.inputs[0]).sum((0, 2)) + back.bias
    shares += sum((d * part).sum((0, 1, 3)) for d, part in starts)
    wanted = _total(passage, dy, dend)
    # each layer and each of the T·H weighted outputs adds its own roundings
    largest = np.abs(passage.y).max() * len(passage.start) * T * H
    np.testing.assert_allclose(shares, wanted, atol=largest * rounding(np.float64))


@EACH
@STACK
def test_true_gradient_is_the_central_difference(cell: Cell, stack: tuple[int, int, bool]) -> None:
    passage = _read(cell, stack)
    dy, dend = _weights(passage)
    back = passage.back(dy, dend=dend, weights=True)
    assert not back.bias.any()
    assert not any(array.any() for array in _arrays(passage.back(dy).dweights))
    draw = np.random.default_rng(6)
    ways = [draw.normal(size=passage.inputs[0].shape)]
    ways += [draw.normal(size=part.shape) for part in passage.start]
    weights = _arrays([layer.directions for layer in passage.layers.layers])
    weight_ways = [draw.normal(size=weight.shape) for weight in weights]

    def moved(by: float) -> float:
        x = passage.inputs[0] + by * ways[0]
        start = [part + by * way for part, way in zip(passage.start, ways[1:], strict=True)]
        for weight, way in zip(weights, weight_ways, strict=True):
            weight += by * way
        total = float(_total(passage.layers.read(x, start), dy, dend).sum())
        for weight, way in zip(weights, weight_ways, strict=True):
            weight -= by * way
        return total

    wanted = (moved(STEP) - moved(-STEP)) / (2 * STEP)
    gradients = [back.dx, *back.dstart, *_arrays(back.dweights)]
    ways += weight_ways
    got = sum((d * way).sum() for d, way in zip(gradients, ways, strict=True))
    # the third derivative along a direction of some hundred numbers is some hundred times that of one number
    scale = float(sum(np.square(way).sum() for way in ways)) * max(1.0, np.abs(passage.y).max())
    assert abs(got - wanted) <= scale * DIFFERENCE


@pytest.mark.skipif(not kernel.kernels(), reason="no kernel on this machine")
@EACH
@STACK
def test_kernel_and_numpy_give_the_same_gradients(cell: Cell, stack: tuple[int, int, bool]) -> None:
    oracle, passage = _read(cell, stack), _read(cell, stack, np.float32)
    assert passage.layers.runs_in_kernel
    dy, dend = _weights(oracle)
    wanted, got, again = (
        one.back(dy, dend=dend, weights=True) for one in (oracle, passage, passage)
    )
    pairs = [
        (passage.y, oracle.y),
        (got.dx, wanted.dx),
        *zip(got.dstart, wanted.dstart, strict=True),
        *zip(_arrays(got.dweights), _arrays(wanted.dweights), strict=True),
    ]
    pairs += list(zip(passage.end, oracle.end, strict=True))
    for one, other in pairs:
        scale = max(1.0, float(np.abs(other).max())) * len(passage.start)
        np.testing.assert_allclose(one, other, rtol=0, atol=scale * rounding(np.float32))
    np.testing.assert_array_equal(again.dx, got.dx)


def test_overflow_is_an_error() -> None:
    config: Any = SimpleNamespace(cell="rnn", activation="linear", num_layers=1)
    arrays = {name: np.full((1, 1), 1e30, np.float32) for name in ("w", "u")}
    named = {"layers.0.weight_ih": arrays["w"], "layers.0.weight_hh": arrays["u"]}
    with pytest.raises(InputError, match="leave the range"):
        Layers(config, named).read(np.ones((3, 1, 1)))
