from __future__ import annotations

from collections.abc import Callable
from typing import get_args

import numpy as np
import pytest

from cases import CELLS, cell_id
from cell_checks import B, H, close, example, rounding, yield_checks
from elman.cells import ACTIVATIONS, FROZEN, Cell, Slopes, Step, find, numpy_ops
from elman.cells import CELLS as REGISTRY
from elman.engine.layers import layer_sequence
from elman.errors import OptionError
from elman.training.recurrent_options import CellName

OPS = numpy_ops()
CONTRACT = [
    pytest.param(check, id=f"{cell_id(cell)}-{name}")
    for cell in CELLS
    for name, check in yield_checks(cell, layer_sequence)
]


@pytest.mark.parametrize("check", CONTRACT)
def test_contract_in_numpy(check: Callable[[], None]) -> None:
    check()


def sigmoid(x: float) -> float:
    return 1 / (1 + np.exp(-x))


def test_table_has_every_cell() -> None:
    assert get_args(CellName) == tuple(REGISTRY)
    assert {cell.name for cell in CELLS} == set(REGISTRY)
    assert {cell.activation for cell in CELLS if cell.name == "rnn"} == set(ACTIVATIONS)


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_frozen_contributions_sum_to_the_new_state(cell: Cell) -> None:
    """With frozen slopes, contributions of gx, gh and the old state sum to any weighted sum of the new
    state."""
    parameters, x, state = example(cell, np.float64)
    gx = x[0] @ parameters["weight_ih"].T + parameters["bias_ih"]
    gh = None
    if cell.recurrent:
        gh = state[0] @ parameters["weight_hh"].T + parameters["bias_hh"]
    gates = cell.activate(OPS, gx, gh)
    assert len(gates) == cell.G
    after = cell.combine(OPS, gates, state)
    draw = np.random.default_rng(9)
    d_after = tuple(draw.normal(size=(B, H)) for _ in after)
    to_input, to_hidden, d_before = cell.backward(
        FROZEN, Step(gx, gh, gates, state, after), d_after
    )
    got = (np.concatenate([part + np.zeros((B, H)) for part in to_input], 1) * gx).sum()
    if gh is not None:
        got += (np.concatenate([part + np.zeros((B, H)) for part in to_hidden], 1) * gh).sum()
    got += sum((d * part).sum() for d, part in zip(d_before, state, strict=True))
    expected = sum((d * part).sum() for d, part in zip(d_after, after, strict=True))
    close(np.asarray(got), np.asarray(expected), B * H * rounding(np.float64))


@pytest.mark.parametrize("cell", CELLS, ids=cell_id)
def test_held_names_the_slopes_that_backward_uses(cell: Cell) -> None:
    """Slopes of sigmoids count as "gates", those of tanh and relu as "slopes"; a linear function has
    neither."""
    asked = set[str]()

    def slope(name: str) -> Callable[..., float]:
        def ask(*_: object) -> float:
            asked.add(name)
            return 1.0

        return ask

    slopes = Slopes(slope("gates"), slope("slopes"), slope("slopes"), slope("nothing"))
    gates, ones = (tuple(np.ones((B, H)) for _ in names) for names in (cell.gates, cell.states))
    sums = np.ones((B, cell.G * H))
    cell.backward(slopes, Step(sums, sums if cell.recurrent else None, gates, ones, ones), ones)
    assert asked - {"nothing"} == {*cell.held}
    assert cell.exact is ("slopes" not in asked)


def test_linear_rnn_is_the_plain_formula_exactly() -> None:
    """With whole numbers there is no rounding, so the formula holds to the last bit."""
    draw = np.random.default_rng(0)
    x, w_x, w_h = (draw.integers(-2, 3, shape) for shape in ((9, 4), (4, 3), (3, 3)))
    h = np.zeros((10, 3), np.int64)
    for i in range(9):
        h[i + 1] = h[i] @ w_h + x[i] @ w_x
    weights = {"weight_ih": w_x.T.astype(float), "weight_hh": w_h.T.astype(float)}
    y, _ = layer_sequence(find("rnn", "linear"), weights, x[:, None].astype(float))
    assert np.abs(h).max() < 2**53
    np.testing.assert_array_equal(y[:, 0], h[1:])


@pytest.mark.parametrize(
    ("activation", "expected"), [("linear", -0.5), ("tanh", np.tanh(-0.5)), ("relu", 0.0)]
)
def test_rnn_by_hand(activation: str, expected: float) -> None:
    (h,) = find("rnn", activation).step(
        OPS, np.array([[1.5]]), np.array([[-2.0]]), (np.array([[9.0]]),)
    )
    assert h.item() == pytest.approx(expected, rel=1e-15)


def test_gru_by_hand() -> None:
    """Cho et al. 2014, with the reset gate after the recurrent product; gates r z n."""
    gx, gh = np.array([[0.3, -0.7, 0.2]]), np.array([[-1.1, 0.4, 0.9]])
    (h,) = find("gru").step(OPS, gx, gh, (np.array([[0.6]]),))
    reset, update = sigmoid(0.3 - 1.1), sigmoid(-0.7 + 0.4)
    candidate = np.tanh(0.2 + reset * 0.9)
    assert h.item() == pytest.approx((1 - update) * candidate + update * 0.6, rel=1e-14)


def test_lstm_by_hand() -> None:
    """Hochreiter and Schmidhuber 1997 with a forget gate; gates i f g o."""
    gx, gh = np.array([[0.3, -0.7, 0.2, 1.0]]), np.array([[-1.1, 0.4, 0.9, -0.3]])
    h, c = find("lstm").step(OPS, gx, gh, (np.array([[0.6]]), np.array([[-0.8]])))
    expected = sigmoid(-0.3) * -0.8 + sigmoid(-0.8) * np.tanh(1.1)
    assert c.item() == pytest.approx(expected, rel=1e-14)
    assert h.item() == pytest.approx(sigmoid(0.7) * np.tanh(expected), rel=1e-14)


def test_mingru_by_hand() -> None:
    """Feng et al. 2024, section 3.1; the candidate has no tanh."""
    (h,) = find("mingru").step(OPS, np.array([[0.3, -2.0]]), None, (np.array([[0.6]]),))
    update = sigmoid(0.3)
    assert h.item() == pytest.approx((1 - update) * 0.6 + update * -2.0, rel=1e-14)


def test_gru_update_gate_at_one_keeps_the_state() -> None:
    gx = np.array([[0.0, 1000.0, 5.0]])
    (h,) = find("gru").step(OPS, gx, np.zeros((1, 3)), (np.array([[0.6]]),))
    assert h.item() == pytest.approx(0.6, rel=1e-15)


@pytest.mark.parametrize(
    ("name", "activation", "said"),
    [
        ("grü", "tanh", "cell: got grü; expected one of rnn, gru, lstm, mingru"),
        ("rnn", "gelu", "activation: got gelu; expected one of linear, tanh, relu"),
        ("lstm", "relu", "only cell rnn has a choice of activations"),
    ],
)
def test_unknown_cell_or_activation(name: str, activation: str, said: str) -> None:
    with pytest.raises(OptionError, match=said):
        find(name, activation)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_numpy_sigmoid(dtype: type) -> None:
    x: np.ndarray = np.array([-1e30, -100, -1, 0, 1, 100, 1e30], dtype)
    got = OPS.sigmoid(x)
    assert got.dtype == dtype
    exact = 1 / (1 + np.exp(-np.clip(x, -700, 700).astype(np.float64)))
    # half of (tanh + 1): the sum of about one is rounded once, tanh once
    np.testing.assert_allclose(got, exact, rtol=0, atol=2 * float(np.finfo(dtype).eps))
    assert got[0] == 0
    assert got[-1] == 1
