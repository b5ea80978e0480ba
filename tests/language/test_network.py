"""The network in the kernel agrees with the numpy network in float64, with every instruction set."""

from __future__ import annotations

import functools
import itertools
import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from elman.engine import kernel as native
from elman.engine.layers import LIMIT
from elman.engine.quantisation import IntegerMatrix, quantised
from elman.errors import OptionError
from elman.files.model import Model
from elman.language import network as module
from elman.language.network import Network
from elman.language.pool import StreamPool
from elman.language.stream import Stream
from elman.text.vocabulary import TextCodec
from factories import CELL_NAMES, CELLS

UNIT = 2.0**-24  # the largest error of rounding a number up to 1 to float32


def codec_of(size: int) -> TextCodec:
    return TextCodec("char", ("<unk>", *(chr(0x4E00 + i) for i in range(size - 1))))


@dataclass(frozen=True)
class Case:
    """Sizes and options of a network, and the shape ``[T, B]`` of the tokens it reads."""

    cell: str
    activation: str
    E: int
    H: int
    V: int
    T: int
    B: int
    num_layers: int = 1
    residual: bool = False
    tied: bool = False
    bias: bool = True
    table: bool = True

    @property
    def id(self) -> str:
        flags = [name for name in ("residual", "tied", "bias", "table") if getattr(self, name)]
        sizes = f"E{self.E}H{self.H}V{self.V}T{self.T}B{self.B}x{self.num_layers}"
        return "-".join([self.cell, self.activation, sizes, *flags])

    @property
    def tolerance(self) -> float:
        """Largest difference between float32 and float64, relative to the largest number.

        In each step and layer, the products of the input and the state round E + H times and the gates about
        8 times; then the output layer's product rounds H times and the sum of exponentials V times. No error
        grows, because the recurrent weights are small. The errors have random signs, so the tolerance is six
        standard deviations of their sum.
        """
        steps = self.T * self.num_layers * (max(self.E, self.H) + self.H + 8)
        return 6 * UNIT * math.sqrt(steps + self.H + self.V)


# E, H, V, T, B: sizes close to the widths of the kernel's vectors and panels (4 to 32 units), with one and
# several tiles of rows.
SIZES = [
    (1, 1, 2, 1, 1),
    (5, 7, 11, 2, 2),
    (15, 16, 17, 300, 1),
    (17, 15, 16, 2, 13),
    (16, 17, 65, 1, 40),
    (31, 33, 32, 1, 13),
    (9, 31, 33, 2, 40),
    (65, 65, 65, 2, 2),
    (33, 65, 15, 300, 13),
    (3, 32, 31, 300, 2),
]
OPTIONS: list[dict[str, Any]] = [
    {},
    {"num_layers": 2, "bias": False, "table": False},
    {"num_layers": 3, "residual": True},
    {"num_layers": 2, "residual": True, "tied": True, "table": False},
    {"num_layers": 3, "tied": True, "bias": False},
    {"table": False},
]
CASES = [
    Case(*cell, *(sizes[1:2] if option.get("tied") else sizes[:1]), *sizes[1:], **option)
    for i, cell in enumerate(CELLS)
    for k, sizes in enumerate(SIZES)
    for option in (OPTIONS[(i + k) % 6], OPTIONS[(i + k + 2) % 6])
]


@pytest.fixture(scope="module")
def model_of(make: Callable[..., Model]) -> Callable[[Case], Model]:
    """Function that makes a model with embeddings of size 1, whose states neither grow nor vanish."""

    @functools.cache
    def build(case: Case) -> Model:
        scale = 0.5 / math.sqrt(case.H)
        model = make(
            case.cell,
            activation=case.activation,
            codec=codec_of(case.V),
            scale=scale,
            embedding_size=case.E,
            hidden_size=case.H,
            num_layers=case.num_layers,
            residual=case.residual,
            tied=case.tied,
            bias=case.bias,
        )
        embedding = model.arrays["embedding.weight"] / np.float32(scale)
        return replace(model, arrays={**model.arrays, "embedding.weight": embedding})

    return build


def example(case: Case, state_size: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(7)
    tokens = random.integers(0, case.V, (case.T, case.B))
    return tokens, random.standard_normal((case.B, state_size)).astype(np.float32)


Results = dict[str, np.ndarray]


def plain(case: Case, model: Model) -> Results:
    """Return the results of the numpy network in float64."""
    oracle = Network(model, np.float64)
    tokens, state = example(case, oracle.state_size)
    y, after = oracle.forward(tokens, state.astype(np.float64))
    logits = oracle.logits(y)
    return {"y": y, "after": after, "logits": logits, "log": oracle.log_probabilities(y)}


def in_kernel(case: Case, network: Network) -> Results:
    tokens, state = example(case, network.state_size)
    before = state.copy()
    y, after = network.forward(tokens, state)
    found = {
        "y": y,
        "after": after,
        "logits": network.logits(y),
        "log": network.log_probabilities(y),
    }
    np.testing.assert_array_equal(state, before)
    assert {part.dtype for part in found.values()} == {np.dtype(np.float32)}
    # a silent fallback would hide a broken kernel
    assert network._kernel is not None
    assert "_numpy_layers" not in network.__dict__
    return found


def assert_close(found: Results, expected: Results, tolerance: float) -> None:
    for name, array in expected.items():
        assert found[name].shape == array.shape
        scale = max(1.0, float(np.abs(array).max()))
        np.testing.assert_allclose(
            found[name], array, rtol=0, atol=tolerance * scale, err_msg=name, equal_nan=False
        )


@pytest.fixture(scope="module")
def oracle(model_of: Callable[[Case], Model]) -> Callable[[Case], Results]:
    return functools.cache(lambda case: plain(case, model_of(case)))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_the_kernel_equals_the_plain_network(
    model_of: Callable[[Case], Model],
    oracle: Callable[[Case], Results],
    kernel: Any,
    monkeypatch: pytest.MonkeyPatch,
    case: Case,
) -> None:
    if not case.table:
        monkeypatch.setattr(module, "TABLE_LIMIT", 0)
    found = in_kernel(case, Network(model_of(case)))
    assert_close(found, oracle(case), case.tolerance)


def bfloat16(array: np.ndarray) -> np.ndarray:
    """Round float32 numbers to the nearest bfloat16, ties to even; the result is float32."""
    bits = array.view(np.uint32)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def rounded(model: Model) -> Model:
    """Round a model's weight matrices as bf16 storage does; it leaves embeddings and biases in float32."""
    arrays = {
        name: bfloat16(array) if "weight_" in name or name == "head.weight" else array
        for name, array in model.arrays.items()
    }
    arrays.setdefault("head.weight", bfloat16(arrays["embedding.weight"]))
    return replace(model, config=replace(model.config, tied=False), arrays=arrays)


@pytest.mark.parametrize("case", CASES[1::3], ids=lambda case: case.id)
def test_bf16_storage_equals_a_network_with_rounded_weights(
    model_of: Callable[[Case], Model], kernel: Any, monkeypatch: pytest.MonkeyPatch, case: Case
) -> None:
    if not case.table:
        monkeypatch.setattr(module, "TABLE_LIMIT", 0)
    model = model_of(case)
    found = in_kernel(case, Network(model, storage="bf16"))
    assert_close(found, plain(case, rounded(model)), case.tolerance)


def test_bf16_storage_rounds_the_weights(model_of: Callable[[Case], Model], kernel: Any) -> None:
    case = Case("lstm", "tanh", 9, 31, 33, 2, 3)
    full, half = (
        in_kernel(case, Network(model_of(case), storage=storage))["logits"]
        for storage in ("float32", "bf16")
    )
    # rounding to the 8 bits of bfloat16 changes the logits by far more than float32's errors, but not by much
    assert 100 * case.tolerance < np.abs(full - half).max() < 0.1


@pytest.mark.parametrize("cell", CELL_NAMES)
@pytest.mark.parametrize("isa", list(native.kernels()))
def test_int8_products_are_the_same_on_every_processor(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, cell: str, isa: str
) -> None:
    monkeypatch.setattr(native, "kernel", lambda: native.kernels()[isa])
    random = np.random.default_rng(0)
    for H in (5, 33, 130):
        network = Network(make(cell, hidden_size=H, num_layers=2), storage="int8")
        hidden = random.standard_normal((9, H)).astype(np.float32)
        hidden[0], hidden[1, 0] = 0, 1e10
        hidden[2] *= 1e-31 / np.abs(hidden[2]).max()
        exact = network._rows_in_numpy(hidden, log=False)
        np.testing.assert_array_equal(network.logits(hidden), exact)
        np.testing.assert_array_equal(network.logits(hidden[:1]), exact[:1])
        # The steps of the cells differ by rounding, so that few activations become another integer.
        tokens = random.integers(0, len(network.model.codec), (7, 3))
        y, _ = network.forward(tokens, network.initial_state(3))
        wanted, _ = network._in_numpy(tokens, network.initial_state(3))
        assert np.abs(y - wanted).max() < 1e-3


def test_int8_networks_multiply_what_their_models_store(make: Callable[..., Model]) -> None:
    model = make("gru", hidden_size=40).quantised()
    matrix = model.arrays["layers.0.weight_hh"]
    integers, scales = quantised(matrix)
    np.testing.assert_array_equal(integers * scales[:, None], matrix)
    x = np.random.default_rng(0).standard_normal((3, 40)).astype(np.float32)
    activations, x_scales = quantised(x)
    sums = activations.astype(int) @ integers.astype(int).T
    wanted = sums.astype(np.float32) * (x_scales[:, None] * scales)
    np.testing.assert_array_equal(IntegerMatrix(matrix).product(x), wanted)
    assert np.abs(wanted - x @ matrix.T).max() < 0.05 * np.abs(wanted).max()


def test_unknown_storages_are_refused(make: Callable[..., Model]) -> None:
    model = make("gru")
    with pytest.raises(
        OptionError, match=r"^storage: got int4; expected one of float32, bf16, int8$"
    ):
        Network(model, storage="int4")
    with pytest.raises(OptionError, match=r"^storage: got bf16 in float64; expected float32$"):
        Network(model, np.float64, "bf16")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(native, "why_not", lambda: "no compiler was found")
        patch.setattr(native, "kernel", lambda: None)
        why = "got bf16 without the compiled kernel: no compiler was found; expected float32"
        with pytest.raises(OptionError, match=f"^storage: {why}$"):
            Network(model, storage="bf16")
        assert Network(model)._kernel is None


@pytest.mark.parametrize("layout", ["float64", "columns", "every other"])
def test_states_of_any_memory_layout_are_read(
    make: Callable[..., Model], kernel: Any, layout: str
) -> None:
    network = Network(make("lstm"))
    tokens = np.array([[1, 2, 3], [4, 5, 6]])
    state = np.random.default_rng(0).standard_normal((3, network.state_size)).astype(np.float32)
    layouts: dict[str, np.ndarray] = {
        "float64": state.astype(np.float64),
        "columns": np.asfortranarray(state),
        "every other": np.repeat(state, 2, axis=0)[::2],
    }
    expected = network.forward(tokens, state)
    found = network.forward(np.asfortranarray(tokens).astype(np.int32), layouts[layout])
    for part, wanted in zip(found, expected, strict=True):
        np.testing.assert_array_equal(part, wanted)
    columns = np.asfortranarray(expected[0].astype(np.float64))
    np.testing.assert_array_equal(network.logits(columns), network.logits(expected[0]))


@pytest.mark.parametrize("storage", ["float32", "bf16", "int8"])
@pytest.mark.parametrize("scale", [1e4, 1e19, 1e37])
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_networks_that_overflow_go_on_with_limited_numbers(
    make: Callable[..., Model], kernel: Any, cell: str, activation: str, scale: float, storage: str
) -> None:
    model = make(cell, activation=activation, scale=scale, residual=True, num_layers=3)
    network = Network(model, storage=storage)
    state = network.initial_state(1)
    tokens = np.random.default_rng(0).integers(0, len(model.codec), (9, 1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for _ in range(3):
            before = state
            y, state = network.forward(tokens, before)
            log_probabilities = network.log_probabilities(y)
            assert np.isfinite(log_probabilities).all()
            assert np.isfinite(y).all()
            assert not np.isnan(state).any()
            if "_numpy_layers" not in network.__dict__:
                continue  # nothing overflowed, so the kernel's results stand
            with np.errstate(over="ignore", invalid="ignore"):
                limited = network._forward_in_numpy(tokens, before, limited=True)
            for part, expected in zip((y, state), limited, strict=True):
                np.testing.assert_array_equal(part, expected)
            assert np.abs(y).max() <= LIMIT * model.config.num_layers
    # the states of other cells stay within ±1 unless two infinities of opposite sign are added
    if (activation in ("linear", "relu") or cell == "mingru") and scale > 1e4:
        assert "_numpy_layers" in network.__dict__


def test_overflowing_logits_are_bounded(make: Callable[..., Model], kernel: Any) -> None:
    """The hidden states and the output layer's weights are finite, but their products are not."""
    model = make("lstm", hidden_size=33, scale=0.5)
    signs = np.where(np.arange(len(model.codec)) % 2, 1, -1)[:, None] * np.float32(3e38)
    for name, array in {
        "head.weight": np.broadcast_to(signs, (len(signs), 33)).astype(np.float32),
        "head.bias": signs[:, 0].astype(np.float32),
    }.items():
        stream = Stream(replace(model, arrays={**model.arrays, name: array}))
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            fed, stepped = stream.fork().feed([3]), stream.fork()
            log_probabilities = stepped.step(3)
            assert np.isfinite(log_probabilities).all(), name
            np.testing.assert_array_equal(fed._log_probabilities(), log_probabilities)
            assert fed.state == stepped.state
            assert np.isfinite(stream.score([1, 2, 3]).log_probabilities).all()
            assert len(stream.generate(5, seed=0)) == 5


@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_a_lane_with_nan_changes_no_other_lane(
    make: Callable[..., Model], kernel: Any, cell: str, activation: str
) -> None:
    network = Network(make(cell, activation=activation, scale=0.5))
    pool, alone = StreamPool(network, 3).feed(["abc"] * 3), Stream(network).feed("abc")
    broken = alone.fork()
    state = bytearray(broken.state)
    numbers = np.frombuffer(state, "<f4", offset=len(state) - 4 * network.state_size)
    numbers[:] = np.nan
    broken.state = bytes(state)
    pool.put(1, broken)
    assert np.isfinite(broken.probabilities).all()
    assert pool.predict()[0] == pool.predict()[2] == alone.predict()
    pool.feed(["hgfe"] * 3)
    alone.feed("hgfe")
    assert pool.stream(0).state == pool.stream(2).state == alone.state
    assert np.isfinite(pool.stream(1).probabilities).all()


def test_the_kernel_refuses_bad_arguments(make: Callable[..., Model], kernel: Any) -> None:
    """Otherwise it would read or write memory beyond the arrays."""
    network = Network(make("gru"))
    state, y = network.initial_state(2), np.empty((1, 2, 6), np.float32)
    packed = network._kernel
    assert packed is not None
    states: dict[str, Any] = {"before": state, "after": state.copy(), "y": y, "threads": 1}
    for tokens in itertools.product([-1, 0, 11], repeat=2):
        call = functools.partial(packed.forward, tokens=np.array([tokens]), **states)
        if tokens == (0, 0):
            assert call()
        else:
            with pytest.raises(ValueError, match="tokens: from 0 to V - 1"):
                call()
    with pytest.raises(ValueError, match="states"):
        packed.forward(tokens=np.array([[1]]), **states)
    position = network.position(state[0])
    assert position is not None
    with pytest.raises(ValueError, match="token: "):
        position.read(11)
    with pytest.raises(ValueError, match="log_probabilities"):
        position.predict(np.empty(10, np.float32))
    names = network.model.codec.tokens
    for k, never, known in ((0, 0, names), (1, 11, names), (1, 0, names[1:])):
        with pytest.raises(ValueError, match="names"):
            position.rank(k, never, known, [])
    with pytest.raises(ValueError, match="state"):
        network.position(np.empty(3, np.float32))
