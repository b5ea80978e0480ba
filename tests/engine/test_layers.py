from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from elman.cells import find
from elman.cells._cell import Cell
from elman.engine.layers import Layer, layer_sequence
from elman.errors import InputError, ShapeError
from elman.files.model import Model
from elman.language import network as network_module
from elman.language.network import Network
from factories import CELLS

pytestmark = pytest.mark.usefixtures("way")

NETWORKS = [pytest.param(cell, activation, id=f"{cell}-{activation}") for cell, activation in CELLS]

# float32 rounding of a sum of some 20 products of numbers around 1, carried over 40 steps
FLOAT32 = 2e-5
FLOAT64 = 1e-12


def parameters(
    cell: Cell,
    inputs: int,
    H: int,
    seed: int = 0,
    dtype: type[Any] = np.float64,
    scale: float = 0.5,
    bias: bool = True,
) -> dict[str, np.ndarray]:
    random = np.random.default_rng(seed)
    return {
        name: (scale * random.standard_normal(shape)).astype(dtype)
        for name, shape in cell.parameters(inputs, H, bias).items()
    }


def by_hand(
    cell: Cell, weights: dict[str, np.ndarray], x: np.ndarray, state: tuple[np.ndarray, ...]
) -> np.ndarray:
    """Run one step of one sequence at a time, directly from the contract of a cell."""
    from elman.cells import numpy_ops

    T, B, _ = x.shape
    y = []
    for b in range(B):
        now = tuple(part[b : b + 1] for part in state)
        for t in range(T):
            gx = x[t, b : b + 1] @ weights["weight_ih"].T + weights.get("bias_ih", 0)
            gh = None
            if cell.recurrent:
                gh = now[0] @ weights["weight_hh"].T + weights.get("bias_hh", 0)
            now = cell.step(numpy_ops(), gx, gh, now)
            y.append(now[0][0])
    return np.array(y).reshape(B, T, -1).swapaxes(0, 1)


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("name", "activation"), NETWORKS)
def test_layer_is_the_contract_step_by_step(name: str, activation: str, bias: bool) -> None:
    cell = find(name, activation)
    weights = parameters(cell, 3, 4, bias=bias)
    random = np.random.default_rng(1)
    x = random.standard_normal((7, 2, 3))
    state = tuple(random.standard_normal((2, 4)) for _ in cell.states)
    y, last = layer_sequence(cell, weights, x, state)
    np.testing.assert_allclose(y, by_hand(cell, weights, x, state), rtol=0, atol=FLOAT64)
    np.testing.assert_array_equal(last[0], y[-1])
    assert y.dtype == np.float64


@pytest.mark.parametrize("cut", [0, 1, 3, 9, 10])
@pytest.mark.parametrize(("name", "activation"), NETWORKS)
def test_split_anywhere_and_carry_the_state(name: str, activation: str, cut: int) -> None:
    cell = find(name, activation)
    weights = parameters(cell, 3, 4)
    x = np.random.default_rng(2).standard_normal((10, 2, 3))
    whole, last = layer_sequence(cell, weights, x)
    first, state = layer_sequence(cell, weights, x[:cut])
    second, end = layer_sequence(cell, weights, x[cut:], state)
    np.testing.assert_allclose(np.concatenate([first, second]), whole, rtol=0, atol=FLOAT64)
    for part, expected in zip(end, last, strict=True):
        np.testing.assert_allclose(part, expected, rtol=0, atol=FLOAT64)


@pytest.mark.parametrize(("name", "activation"), NETWORKS)
def test_unequal_lengths_are_each_sequence_alone(name: str, activation: str) -> None:
    cell = find(name, activation)
    forward = parameters(cell, 3, 4, dtype=np.float32)
    backward = parameters(cell, 3, 4, seed=1, dtype=np.float32)
    arrays = {f"layers.0.{name}": array for name, array in forward.items()}
    arrays |= {f"layers.0.{name}_reverse": array for name, array in backward.items()}
    sequences = np.random.default_rng(2).standard_normal((3, 5, 3)).astype(np.float32)
    lengths, sizes = (5, 4, 2), np.array([3, 3, 2, 2, 1])
    rows = [sequences[b, t] for t, size in enumerate(sizes) for b in range(size)]
    y, end = Layer(cell, arrays, "layers.0").run(np.stack(rows), sizes)
    places = [(b, t) for t, size in enumerate(sizes) for b in range(size)]
    for b, length in enumerate(lengths):
        x = sequences[b, :length, None]
        expected, last = layer_sequence(cell, forward, x)
        reverse, first = layer_sequence(cell, backward, x[::-1])
        alone = np.concatenate([expected, reverse[::-1]], axis=2)[:, 0]
        own = [row for row, place in enumerate(places) if place[0] == b]
        np.testing.assert_allclose(y[own], alone, rtol=0, atol=FLOAT32)
        for states, direction in ((last, 0), (first, 1)):
            np.testing.assert_allclose(end[direction, :, b], np.stack(states)[:, 0], atol=FLOAT32)


def test_linear_without_bias_is_the_plain_formula() -> None:
    cell = find("rnn", "linear")
    weights = parameters(cell, 1, 2, bias=False)
    x = np.array([3.0, 0.0, -2.0]).reshape(3, 1, 1)
    h, expected = np.zeros(2), []
    for value in x.ravel():
        h = weights["weight_hh"] @ h + weights["weight_ih"][:, 0] * value
        expected.append(h)
    y, _ = layer_sequence(cell, weights, x)
    np.testing.assert_allclose(y[:, 0], expected, rtol=0, atol=FLOAT64)


@pytest.mark.parametrize(("name", "activation"), NETWORKS)
def test_float32_stays_float32_and_is_near_float64(name: str, activation: str) -> None:
    cell = find(name, activation)
    weights = parameters(cell, 3, 4, dtype=np.float32, scale=0.3)
    x = np.random.default_rng(3).standard_normal((40, 2, 3)).astype(np.float32)
    y, last = layer_sequence(cell, weights, x)
    assert {y.dtype, *(part.dtype for part in last)} == {np.dtype(np.float32)}
    oracle, _ = layer_sequence(cell, weights, x.astype(np.float64))
    np.testing.assert_allclose(y, oracle, rtol=FLOAT32, atol=FLOAT32)


def test_wrong_shapes_are_refused() -> None:
    cell = find("gru")
    weights = parameters(cell, 3, 4)
    x = np.zeros((5, 2, 3))
    with pytest.raises(ShapeError, match="I = 3"):
        layer_sequence(cell, weights, np.zeros((5, 2, 2)))
    with pytest.raises(ShapeError, match="state"):
        layer_sequence(cell, weights, x, (np.zeros((3, 4)),))
    with pytest.raises(ShapeError, match="weight_hh"):
        layer_sequence(cell, {**weights, "weight_hh": np.zeros((11, 4))}, x)
    with pytest.raises(InputError, match="weight_hh"):
        layer_sequence(cell, {"weight_ih": weights["weight_ih"]}, x)


def plain_network(model: Model, tokens: np.ndarray) -> np.ndarray:
    """Compute the logits in float64, layer by layer from the arrays of the model."""
    arrays = {name: array.astype(np.float64) for name, array in model.arrays.items()}
    config = model.config
    cell = find(config.cell, config.activation)
    x = arrays["embedding.weight"][tokens]
    for k in range(config.num_layers):
        weights = {
            name: arrays[f"layers.{k}.{name}"] for name in cell.parameters(1, 1, config.bias)
        }
        state = tuple(np.zeros((tokens.shape[1], config.hidden_size)) for _ in cell.states)
        y = by_hand(cell, weights, x, state)
        x = y + x if config.residual and k else y
    head = arrays["embedding.weight"] if config.tied else arrays["head.weight"]
    return x @ head.T + arrays["head.bias"]


@pytest.mark.parametrize("settings", [{}, {"tied": True}, {"residual": True, "num_layers": 3}])
@pytest.mark.parametrize(("cell", "activation"), NETWORKS)
@pytest.mark.parametrize("table", [True, False])
def test_network_is_embedding_layers_head(
    make: Callable[..., Model],
    monkeypatch: pytest.MonkeyPatch,
    cell: str,
    activation: str,
    settings: dict[str, Any],
    table: bool,
) -> None:
    if not table:
        monkeypatch.setattr(network_module, "TABLE_LIMIT", 0)
    model = make(cell, activation=activation, scale=0.4, bias=cell != "gru", **settings)
    tokens = np.random.default_rng(0).integers(0, len(model.codec), (6, 3))
    network = Network(model, np.float64)
    hidden, _ = network.forward(tokens, network.initial_state(3))
    expected = plain_network(model, tokens)
    np.testing.assert_allclose(network.logits(hidden), expected, rtol=0, atol=FLOAT64)
    shares = np.exp(expected) / np.exp(expected).sum(axis=-1, keepdims=True)
    result = np.exp(network.log_probabilities(hidden))
    np.testing.assert_allclose(result, shares, rtol=0, atol=FLOAT64)
    single = Network(model)
    narrow, state = single.forward(tokens, single.initial_state(3))
    assert narrow.dtype == single.logits(narrow).dtype == np.float32
    assert single.log_probabilities(narrow).dtype == np.float32
    assert state.dtype == np.float32
    np.testing.assert_allclose(narrow, hidden, rtol=0, atol=FLOAT32)


def test_fresh_lanes_start_from_zero(make: Callable[..., Model]) -> None:
    network = Network(make("gru"))
    tokens = np.array([[1, 2], [3, 4]])
    _, state = network.forward(tokens, network.initial_state(2))
    mixed, _ = network.forward(tokens, state, np.array([True, False]))
    anew, _ = network.forward(tokens, network.initial_state(2))
    carried, _ = network.forward(tokens, state)
    np.testing.assert_array_equal(mixed[:, 0], anew[:, 0])
    np.testing.assert_array_equal(mixed[:, 1], carried[:, 1])
    assert not np.array_equal(anew[:, 1], carried[:, 1])


def test_targets_in_blocks_give_the_same(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    network = Network(make("lstm"))
    hidden = np.random.default_rng(0).standard_normal((23, 6)).astype(np.float32)
    targets = np.random.default_rng(1).integers(0, len(network.model.codec), 23)
    whole = network.log_probabilities(hidden)[np.arange(23), targets]
    monkeypatch.setattr(network_module, "MAX_LOGITS", 5 * len(network.model.codec))
    blocks = network.target_log_probabilities(hidden, targets)
    np.testing.assert_allclose(blocks, whole, rtol=0, atol=FLOAT32)


@pytest.mark.parametrize("scale", [1e4, 1e19, 1e37])
@pytest.mark.parametrize(("cell", "activation"), NETWORKS)
def test_huge_weights_never_give_nan(
    make: Callable[..., Model], cell: str, activation: str, scale: float
) -> None:
    model = make(cell, activation=activation, scale=scale, residual=True, num_layers=3)
    network = Network(model)
    state = network.initial_state(2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(4):
            tokens = np.random.default_rng(0).integers(0, len(model.codec), (9, 2))
            hidden, state = network.forward(tokens, state)
            assert np.isfinite(hidden).all()
            assert not np.isnan(state).any()
            log_probabilities = network.log_probabilities(hidden)
            assert np.isfinite(log_probabilities).all()
            total = np.exp(log_probabilities).sum(axis=-1)
            np.testing.assert_allclose(total, 1, rtol=0, atol=FLOAT32)


def test_bounds_do_not_touch_finite_numbers(make: Callable[..., Model]) -> None:
    network = Network(make("lstm", residual=True))
    tokens = np.random.default_rng(0).integers(0, len(network.model.codec), (9, 2))
    plain = network._forward_in_numpy(tokens, network.initial_state(2), limited=False)
    limited = network._forward_in_numpy(tokens, network.initial_state(2), limited=True)
    for part, bounded in zip(plain, limited, strict=True):
        np.testing.assert_array_equal(part, bounded)


def test_digest_tells_models_apart(make: Callable[..., Model]) -> None:
    same = Network(make("gru")).digest
    assert same == Network(make("gru")).digest
    assert same != Network(make("gru", seed=1)).digest
    assert same != Network(make("gru", documents="line")).digest
