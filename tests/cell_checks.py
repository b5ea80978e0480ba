"""Checks of the contract of a cell, for every implementation of a layer over time.

    @pytest.mark.parametrize(("name", "check"), list(yield_checks(cell, layer)))
    def test_contract(name, check): check()

An implementation is a function ``layer(cell, parameters, x [T, B, I], state or None) -> (y [T, B, H],
state)`` of numpy arrays, such as `elman.engine.layers.layer_sequence`. A second function ``gradient``, with
the same arguments and weights for y and for the last states, returns the gradient of the weighted sum by
name; it is checked too.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping

import numpy as np

from elman.cells import Cell, numpy_ops
from elman.engine.layers import layer_sequence

T, B, I, H = 6, 3, 4, 5  # noqa: E741
EPS = float(np.finfo(np.float64).eps)

# Roundings by which two orders of the same calculation may differ, in eps of the type: sums of I + H products
# and some 8 roundings for each gate function, over T steps.
ROUNDINGS = T * (I + H + 8)

# A central difference has the errors STEP² f'''/6 and eps·f/STEP, which are equal for STEP = eps^(1/3).
# Here f sums some hundred numbers of order one, and its third derivative is of that order.
STEP = EPS ** (1 / 3)
DIFFERENCE = 100 * STEP**2

Parameters = Mapping[str, np.ndarray]
State = tuple[np.ndarray, ...]
Layer = Callable[[Cell, Parameters, np.ndarray, State | None], tuple[np.ndarray, State]]
Gradient = Callable[
    [Cell, Parameters, np.ndarray, State, np.ndarray, State], Mapping[str, np.ndarray]
]


def example(cell: Cell, dtype: type, bias: bool = True) -> tuple[Parameters, np.ndarray, State]:
    """Draw parameters, inputs and a start state with the sizes of the checks."""
    draw = np.random.default_rng(7)
    shapes = cell.parameters(I, H, bias)
    parameters: Parameters = {
        name: draw.normal(0, 0.5, shape).astype(dtype) for name, shape in shapes.items()
    }
    x: np.ndarray = draw.normal(size=(T, B, I)).astype(dtype)
    return parameters, x, tuple(draw.normal(size=(B, H)).astype(dtype) for _ in cell.states)


def rounding(dtype: np.dtype | type) -> float:
    return ROUNDINGS * float(np.finfo(dtype).eps)


def close(got: np.ndarray, expected: np.ndarray, tolerance: float | None = None) -> None:
    """Compare within `tolerance` times the largest number; None allows the rounding of the type of `got`."""
    tolerance = rounding(got.dtype) if tolerance is None else tolerance
    scale = max(1.0, float(np.abs(expected).max()))
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * scale)


def close_all(got: State, expected: State, tolerance: float | None = None) -> None:
    assert len(got) == len(expected)
    for one, other in zip(got, expected, strict=True):
        close(one, other, tolerance)


def check_declaration(cell: Cell, layer: Layer, dtype: type) -> None:
    shapes = cell.parameters(I, H)
    rows = len(cell.gates) * H
    assert shapes["weight_ih"] == (rows, I)
    assert shapes["bias_ih"] == (rows,)
    assert shapes.get("weight_hh") == ((rows, H) if cell.recurrent else None)
    assert shapes.get("bias_hh") == ((rows,) if cell.recurrent else None)
    assert not any("bias" in name for name in cell.parameters(I, H, bias=False))
    gates = cell.split(np.arange(2 * rows).reshape(2, rows))
    assert len(gates) == cell.G
    np.testing.assert_array_equal(np.concatenate(gates, 1).ravel(), np.arange(2 * rows))
    assert cell.source


def check_start_state_is_zero(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, _ = example(cell, dtype)
    start = cell.initial_state(B, H)
    assert [part.shape for part in start] == [(B, H)] * len(cell.states)
    assert not any(part.any() for part in start)
    assert {part.dtype for part in cell.initial_state(B, H, x.dtype)} == {x.dtype}
    y, end = layer(cell, parameters, x, None)
    same, last = layer(cell, parameters, x, tuple(part.astype(x.dtype) for part in start))
    np.testing.assert_array_equal(y, same)
    close_all(end, last, 0)


def check_length_one_is_the_step(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, state = example(cell, dtype)
    gx = x[0] @ parameters["weight_ih"].T + parameters["bias_ih"]
    gh = None
    if cell.recurrent:
        gh = state[0] @ parameters["weight_hh"].T + parameters["bias_hh"]
    expected = cell.step(numpy_ops(), gx, gh, state)
    y, end = layer(cell, parameters, x[:1], state)
    close(y[0], expected[0])
    close_all(end, expected)


def check_step_by_step_is_the_whole(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, state = example(cell, dtype)
    whole, end = layer(cell, parameters, x, state)
    for step in range(T):
        y, state = layer(cell, parameters, x[step : step + 1], state)
        close(y[0], whole[step])
    close_all(state, end)


def check_split_anywhere(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, state = example(cell, dtype)
    whole, end = layer(cell, parameters, x, state)
    for cut in range(1, T):
        first, between = layer(cell, parameters, x[:cut], state)
        second, last = layer(cell, parameters, x[cut:], between)
        close(np.concatenate([first, second]), whole)
        close_all(last, end)


def check_output_is_the_first_state(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, state = example(cell, dtype)
    y, end = layer(cell, parameters, x, state)
    assert y.shape == (T, B, H)
    np.testing.assert_array_equal(y[-1], end[0])


def check_batch_independence(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, state = example(cell, dtype)
    y, end = layer(cell, parameters, x, state)
    for column in range(B):
        lane = slice(column, column + 1)
        alone, last = layer(cell, parameters, x[:, lane], tuple(part[lane] for part in state))
        close(alone, y[:, lane])
        close_all(last, tuple(part[lane] for part in end))


def check_padding_independence(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, state = example(cell, dtype)
    y, _ = layer(cell, parameters, x, state)
    for length in range(1, T):
        padded = x.copy()
        padded[length:] = 100
        other, _ = layer(cell, parameters, padded, state)
        close(other[:length], y[:length])
        assert not np.allclose(other[length:], y[length:])


def check_no_bias_is_zero_bias(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, state = example(cell, dtype, bias=False)
    zeros = {
        name: parameters.get(name, np.zeros(shape, dtype))
        for name, shape in cell.parameters(I, H).items()
    }
    close(layer(cell, parameters, x, state)[0], layer(cell, zeros, x, state)[0])


def check_type_is_kept(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, state = example(cell, np.float32)
    y, end = layer(cell, parameters, x, state)
    assert {part.dtype for part in (y, *end)} == {np.dtype(np.float32)}
    double, _ = layer(cell, *_as(np.float64, parameters, x, state))
    close(y, double)


def check_large_input_stays_finite(cell: Cell, layer: Layer, dtype: type) -> None:
    parameters, x, state = example(cell, np.float32)
    y, end = layer(cell, parameters, 1e6 * x, state)
    assert all(np.isfinite(part).all() for part in (y, *end))


def check_gradient(cell: Cell, gradient: Gradient, dtype: type) -> None:
    """Compare every gradient with central differences of numpy's layer in float64."""
    given = example(cell, dtype)
    parameters, x, state = _as(np.float64, *given)
    draw = np.random.default_rng(8)
    weights = draw.normal(size=(T, B, H))
    state_weights = tuple(draw.normal(size=(B, H)) for _ in state)
    inputs = {**parameters, "x": x, **dict(zip(cell.states, state, strict=True))}

    def total() -> float:
        y, end = layer_sequence(cell, parameters, x, state)
        return float(
            (weights * y).sum()
            + sum((w * part).sum() for w, part in zip(state_weights, end, strict=True))
        )

    got = gradient(
        cell, *given, weights.astype(dtype), tuple(part.astype(dtype) for part in state_weights)
    )
    assert set(got) == set(inputs)
    for name, array in inputs.items():
        expected = np.empty_like(array)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + STEP
            above = total()
            array[index] = value - STEP
            expected[index] = (above - total()) / (2 * STEP)
            array[index] = value
        # a gradient sums T·B numbers, each with the rounding of an output
        close(got[name], expected, DIFFERENCE + (1 + T * B / ROUNDINGS) * rounding(dtype))


def _as(
    dtype: type, parameters: Parameters, x: np.ndarray, state: State
) -> tuple[Parameters, np.ndarray, State]:
    cast: Parameters = {name: array.astype(dtype) for name, array in parameters.items()}
    return cast, x.astype(dtype), tuple(part.astype(dtype) for part in state)


CHECKS = (
    check_declaration,
    check_start_state_is_zero,
    check_length_one_is_the_step,
    check_step_by_step_is_the_whole,
    check_split_anywhere,
    check_output_is_the_first_state,
    check_batch_independence,
    check_padding_independence,
    check_no_bias_is_zero_bias,
    check_type_is_kept,
    check_large_input_stays_finite,
)


def yield_checks(
    cell: Cell, layer: Layer, gradient: Gradient | None = None, dtype: type = np.float64
) -> Iterator[tuple[str, Callable[[], None]]]:
    """Yield the name of each check, and the check bound to a cell, an implementation and a type."""
    for check in CHECKS:
        yield check.__name__.removeprefix("check_"), functools.partial(check, cell, layer, dtype)
    if gradient is not None:
        yield "gradient", functools.partial(check_gradient, cell, gradient, dtype)
