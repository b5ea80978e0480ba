"""The memory of language models, compared with known networks, plain streams, differences and torch."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from cell_checks import DIFFERENCE, STEP
from elman.cells import find
from elman.engine.layers import layer_sequence, log_softmax
from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.inspect import memory as report
from elman.inspect.memory import measure_memory
from elman.language import memory
from elman.language.network import Network
from elman.language.predictor import LanguagePredictor
from elman.language.stream import Stream
from elman.text.words import UNKNOWN_ID
from factories import CELLS

TEXT = "I like my pizza ( tea ! I my zebra"
LINES = "I like my pizza ! tea\nmy tea\n\n( I like my tea ! ( zebra"
# Rounding error of a sum of up to 300 products of numbers below 1, each rounded by 2**-24.
FLOAT32 = 300 * 2.0**-24
Make = Callable[..., Model]


def echoing(make: Make, weight: float, *, silent: bool = False) -> LanguagePredictor:
    """Make a linear rnn that multiplies its state by `weight` at each step; a silent one reads only zeros."""
    model = make("rnn", activation="linear", num_layers=1, bias=False, scale=0.3)
    arrays = {**model.arrays, "layers.0.weight_hh": np.eye(6, dtype=np.float32) * weight}
    if silent:
        arrays["embedding.weight"] = np.zeros_like(arrays["embedding.weight"])
    return LanguagePredictor(replace(model, arrays=arrays))


@pytest.mark.usefixtures("way")
def test_gradient_halves_where_the_state_halves(make: Make) -> None:
    predictor = echoing(make, 0.5)
    found = measure_memory(predictor, "abcdefgh ba" * 6, far=12)
    assert found.gradient is not None
    assert found.lags == (1, 2, 3, 4, 6, 8, 12)
    # multiplying a float by 0.5 is exact
    np.testing.assert_array_equal(
        found.gradient, found.gradient[0] * 0.5 ** (np.array(found.lags) - 1)
    )
    assert found.rate == pytest.approx(0.5)
    assert found.verdict.endswith(
        "The gradient vanishes: at lag 12 it is less than 0.001 times that at lag 1, "
        "a factor of 0.5 a token."
    )


@pytest.mark.slow
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("far", [32, 256])  # 1.5**256 is too large for float32
def test_gradient_explodes_where_the_state_grows(make: Make, far: int) -> None:
    found = measure_memory(echoing(make, 1.5, silent=True), "abcdefgh" * 80, far=far)
    assert found.gradient is not None
    assert found.lags[-1] == far
    wanted = found.gradient[0] * 1.5 ** (np.array(found.lags, np.float64) - 1)
    # each step back rounds once
    np.testing.assert_allclose(found.gradient, wanted, rtol=far * 2.0**-23)
    assert found.rate == pytest.approx(1.5)
    assert found.verdict.endswith(
        f"The gradient explodes: at lag {far} it is more than 1,000 times that at lag 1, "
        "a factor of 1.5 a token."
    )
    json.dumps(found.to_dict(), allow_nan=False)


@pytest.mark.slow
@pytest.mark.usefixtures("way")
def test_states_that_overflow_float32_are_no_error(make: Make) -> None:
    found = measure_memory(echoing(make, 1.5))
    assert found.gradient is not None
    assert np.isfinite(found.gradient).all()
    assert np.isfinite(found.change).all()


@pytest.mark.usefixtures("way")
def test_gradient_that_overflows_float64_is_an_error(make: Make) -> None:
    with pytest.raises(InputError, match="leaves the range of numbers: measure on a shorter text"):
        measure_memory(echoing(make, 1e30, silent=True), "abcdefgh" * 80)


@pytest.mark.usefixtures("way")
def test_without_recurrent_weights_only_the_last_token_counts(make: Make) -> None:
    found = measure_memory(echoing(make, 0.0), "abcdefgh ba" * 6)
    assert found.gradient is not None
    assert found.horizon == 1
    assert not found.change.any()
    assert found.gradient[0] > 0
    assert not found.gradient[1:].any()
    assert found.rate == 0
    assert found.verdict.startswith("The last token alone decides the prediction. ")
    assert "it is less than 0.001 times that at lag 1" in found.verdict


@pytest.mark.usefixtures("way")
def test_network_of_zeros_has_no_gradient(make: Make) -> None:
    model = make("gru")
    arrays = {name: np.zeros_like(array) for name, array in model.arrays.items()}
    found = measure_memory(LanguagePredictor(replace(model, arrays=arrays)), "abcd" * 9)
    assert found.gradient is not None
    assert not found.gradient.any()
    assert found.verdict.endswith("There is no gradient, even at lag 1.")


def after(predictor: Any, numbers: np.ndarray) -> np.ndarray:
    return Stream(predictor.network).feed(numbers).probabilities.astype(np.float64)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize(("documents", "text"), [("file", TEXT), ("line", LINES)])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
def test_change_equals_that_of_plain_streams(
    make: Make, cell: str, documents: str, text: str
) -> None:
    predictor = LanguagePredictor(make(cell, level="word", documents=documents, scale=0.7))
    codec = predictor.model.codec
    found = measure_memory(predictor, text)
    lines = text.split("\n") if documents == "line" else [text]
    contexts = [
        numbers[:end] for numbers in map(codec.encode, lines) for end in range(1, len(numbers) + 1)
    ]
    middle = np.median([*map(len, contexts)])
    contexts = [one for one in contexts if len(one) >= middle]
    assert found.positions == len(contexts)
    longest = max(map(len, contexts))
    assert found.lags == tuple(lag for lag in (1, 2, 3, 4, 6, 8) if lag < longest)
    for lag, change in zip(found.lags, found.change.tolist(), strict=True):
        moved = [
            np.abs(after(predictor, one) - after(predictor, one[-lag:])).sum() / 2
            for one in contexts
            if len(one) > lag
        ]
        assert change == pytest.approx(np.median(moved), abs=FLOAT32)


def log_probability(model: Model, x: np.ndarray) -> np.ndarray:
    """Return the log probabilities after embeddings ``x [T, E]``, layer by layer, from the zero state."""
    config, arrays = model.config, model.arrays
    cell, y = find(config.cell, config.activation), x[:, None]
    for k in range(config.num_layers):
        own = {
            name: arrays[f"layers.{k}.{name}"].astype(np.float64)
            for name in cell.parameters(1, 1, config.bias)
        }
        out, _ = layer_sequence(cell, own, y)
        y = out + y if config.residual and k else out
    head = arrays["embedding.weight" if config.tied else "head.weight"].astype(np.float64)
    return log_softmax(y[-1, 0] @ head.T + arrays["head.bias"])


@pytest.mark.slow
@pytest.mark.parametrize("settings", [{"residual": True}, {"tied": True}], ids=str)
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_gradient_equals_finite_differences(
    make: Make, cell: str, activation: str, settings: dict[str, bool]
) -> None:
    model = make(cell, activation=activation, level="word", scale=0.5, **settings)
    predictor = LanguagePredictor(model)
    predictor.network = Network(model, np.float64)
    numbers = model.codec.encode(TEXT)
    found = measure_memory(predictor, TEXT)
    assert found.gradient is not None
    contexts = [numbers[:end] for end in range((len(numbers) + 2) // 2, len(numbers) + 1)]
    for lag, gradient in zip(found.lags, found.gradient.tolist(), strict=True):
        norms = []
        for one in (one for one in contexts if len(one) >= lag):
            x = model.arrays["embedding.weight"][one].astype(np.float64)
            offered = log_probability(model, x)
            offered[UNKNOWN_ID] = -np.inf
            token = int(offered.argmax())
            slope = np.empty(x.shape[1])
            for place in range(x.shape[1]):
                step = np.zeros_like(x)
                step[-lag, place] = STEP
                up, down = (log_probability(model, x + side * step)[token] for side in (1, -1))
                slope[place] = (up - down) / (2 * STEP)
            norms.append(np.linalg.norm(slope))
        scale = np.sqrt(model.config.embedding_size) * max(1.0, max(norms))
        assert gradient == pytest.approx(np.median(norms), abs=scale * DIFFERENCE)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("documents", ["file", "line"])
def test_gradient_equals_that_of_torch(make: Make, documents: str) -> None:
    model = make("lstm", level="word", documents=documents, scale=0.5)
    predictor = LanguagePredictor(model)
    found = measure_memory(predictor, TEXT)
    assert found.gradient is not None
    layers = torch.nn.LSTM(5, 6, 2)
    weights = {name: torch.tensor(array) for name, array in model.arrays.items()}
    with torch.no_grad():
        for name, weight in layers.named_parameters():
            part, k = name.rsplit("_l", 1)
            weight.copy_(weights[f"layers.{k}.{part}"])
    start = torch.tensor(predictor.network.start[:-6].reshape(2, 2, 6))
    begin = tuple(part.contiguous() for part in start.swapaxes(0, 1))
    numbers = model.codec.encode(TEXT)
    norms: dict[int, list[float]] = {lag: [] for lag in found.lags}
    for end in range((len(numbers) + 2) // 2, len(numbers) + 1):
        x = weights["embedding.weight"][numbers[:end]].requires_grad_()
        y, _ = layers(x, begin)
        logs = torch.log_softmax(weights["head.weight"] @ y[-1] + weights["head.bias"], 0)
        offered = logs.detach().clone()
        offered[UNKNOWN_ID] = -torch.inf
        (slope,) = torch.autograd.grad(logs[offered.argmax()], x)
        for lag in (lag for lag in found.lags if lag <= end):
            norms[lag].append(float(slope[-lag].norm()))
    wanted = [np.median(some) for some in norms.values()]
    np.testing.assert_allclose(found.gradient, wanted, rtol=0, atol=max(1.0, *wanted) * FLOAT32)


@pytest.mark.slow
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_kernel_and_numpy_agree_with_float64(
    make: Make, cell: str, activation: str, documents: str
) -> None:
    model = make(cell, activation=activation, documents=documents, scale=0.4)
    predictor, oracle = LanguagePredictor(model), LanguagePredictor(model)
    oracle.network = Network(model, np.float64)
    text = "abcdefgh ba hg\nfedcba\n" * 9
    found, wanted = (measure_memory(one, text, far=16) for one in (predictor, oracle))
    assert found.gradient is not None
    assert wanted.gradient is not None
    assert (found.lags, found.positions) == (wanted.lags, wanted.positions)
    np.testing.assert_allclose(found.change, wanted.change, rtol=0, atol=FLOAT32)
    scale = max(1.0, float(wanted.gradient.max()))
    np.testing.assert_allclose(found.gradient, wanted.gradient, rtol=0, atol=scale * FLOAT32)


@pytest.mark.usefixtures("way")
def test_input_before_the_longest_lag_is_read_into_the_state(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    predictor = LanguagePredictor(make("lstm", scale=0.5))
    found = measure_memory(predictor, "abcdefgh" * 8, far=4)
    assert found.gradient is not None
    monkeypatch.setattr(
        memory, "_MAX_GATE_NUMBERS", 1
    )  # so that one position is computed at a time
    alone = measure_memory(predictor, "abcdefgh" * 8, far=4)
    assert alone.gradient is not None
    np.testing.assert_allclose(alone.gradient, found.gradient, rtol=0, atol=FLOAT32)
    numbers = predictor.model.codec.encode("abcdefgh" * 8)
    cut, whole = (
        memory._norms(predictor.network, numbers[:40, None], depth, np.float32) for depth in (4, 40)
    )
    np.testing.assert_allclose(cut, whole[-4:], rtol=0, atol=FLOAT32)


def test_measured_places_are_spread_over_the_longest_contexts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def ends(text: np.ndarray, far: int) -> list[int]:
        found = memory._contexts(text, None, far)
        assert all((np.diff(one) == 1).all() for one in found)
        return [int(one[-1]) + 1 for one in found]

    def known(numbers: np.ndarray, far: int) -> list[list[int]]:
        return [one.tolist() for one in memory._contexts(numbers, 0, far)]

    text = np.arange(1000)
    spread = ends(text, 16)
    assert (len(spread), spread[0], spread[-1]) == (report.MAX_WINDOWS, 17, 1000)
    steps = np.diff(spread)
    assert (steps.min(), steps.max()) == (15, 16)
    assert [*map(len, memory._contexts(text, None, 16))] == [17, *[32] * 63]
    assert ends(text[:9], 16) == [
        5,
        6,
        7,
        8,
        9,
    ]  # the half of the positions with the longest contexts
    for size in range(1, 300):
        spread = ends(text[:size], 256)
        assert len({*spread}) == len(spread) == min((size + 1) // 2, report.MAX_WINDOWS)
    assert known(np.array([1, 2, 0, 3, 4, 5, 6, 0, 0, 7]), 8) == [
        [1, 2],
        [3, 4],
        [3, 4, 5],
        [3, 4, 5, 6],
    ]
    assert known(np.array([1, 0, 2, 0, 3]), 8) == [[1], [2], [3]]
    assert known(np.array([0, 0]), 8) == known(np.array([], int), 8) == []
    monkeypatch.setattr(report, "MAX_WINDOWS", 1)
    assert known(np.array([1, 2, 3]), 8) == [[1, 2]]


def test_lags_are_shorter_than_the_lines(make: Make) -> None:
    predictor = LanguagePredictor(make("gru", level="word", documents="line"))
    found = measure_memory(predictor, "I like my tea\n" * 200)
    assert found.lags == (1, 2, 3)
    assert found.positions == report.MAX_WINDOWS
    # all lines are the same, so more of them change nothing as long as every position is measured
    many, few = (measure_memory(predictor, "I like my tea\n" * lines) for lines in (16, 2))
    assert (many.positions, few.positions) == (32, 4)
    np.testing.assert_allclose(many.change, few.change, rtol=0, atol=FLOAT32)


def test_without_a_text_the_model_writes_a_text(make: Make) -> None:
    predictor = LanguagePredictor(make("gru", scale=0.5))
    found, again = measure_memory(predictor), predictor.memory()
    assert found.to_dict() == again.to_dict()
    assert found.source == "1,000 tokens that the model wrote itself"
    assert found.lags[-1] == 256
    assert found.positions == 64
    given = measure_memory(predictor, predictor.generate("", 1000, seed=0))
    assert given.change.tolist() == found.change.tolist()
    assert given.source == "the text that was given"


def test_hostile_text_does_not_appear_in_the_report(make: Make) -> None:
    predictor = LanguagePredictor(make("gru"))
    found = measure_memory(predictor, "<script>\x1b[2J\u202e" * 9 + "x" * 10_000 + "\ud800")
    for shown in (str(found), found.to_svg(), found._repr_html_(), json.dumps(found.to_dict())):
        assert "<script" not in shown
        assert not {"\x1b", "\u202e"} & set(shown)


@pytest.mark.parametrize("text", ["", [], "\n\n\n", "I", "I\nlike\ntea"])
def test_text_too_short_to_cut_is_an_error(make: Make, text: Any) -> None:
    predictor = LanguagePredictor(make("gru", level="word", documents="line"))
    line = (
        r"^the text is too short to cut anything off: got .*tokens?; expected more than one token$"
    )
    with pytest.raises(InputError, match=line):
        measure_memory(predictor, text)


def test_two_tokens_are_enough(make: Make) -> None:
    predictor = LanguagePredictor(make("gru", scale=0.5))
    found = measure_memory(predictor, "ab")
    assert (found.lags, found.positions) == ((1,), 1)
    both, last = (after(predictor, predictor.model.codec.encode(text)) for text in ("ab", "b"))
    assert found.change[0] == pytest.approx(np.abs(both - last).sum() / 2, abs=FLOAT32)
    assert found.change[0] > 0
    with pytest.raises(InputError, match="got 1 token; expected more than one token"):
        measure_memory(predictor, "a")


def test_lag_out_of_range_is_refused(make: Make) -> None:
    with pytest.raises(OptionError, match="far"):
        measure_memory(LanguagePredictor(make("gru")), "abc", far=0)
    with pytest.raises(OptionError, match="from 1 to 256"):
        measure_memory(LanguagePredictor(make("gru")), "abc", far=257)
