from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.language import adapted_network as module
from elman.language.adaptation import Adaptation
from elman.language.adapted_loss import adapted_losses, choose_strengths
from elman.language.adapted_network import AdaptedNetwork
from elman.language.network import Network
from elman.language.network_torch import Network as TorchNetwork
from elman.language.stream import Stream
from elman.language.tokens import Tokens
from factories import CELL_NAMES, make_model, open_language

pytestmark = pytest.mark.usefixtures("way")

# Largest difference of float32 log probabilities: a product of many steps may add its terms in another order.
FLOAT32 = 2e-5

TEXT = {"char": "abba cafe\nhead bag a cab\nfaded é", "word": "I like my tea!\nmy coffee ( tea my"}
SETTINGS = Adaptation(rate=0.02, decay=0.1, segment=4, cache_share=0.2, sharpness=0.3, cache_size=9)
# level, documents, and settings of the network
NETWORKS: dict[str, dict[str, Any]] = {
    "characters": {"num_layers": 1},
    "tied": {"tied": True, "num_layers": 2},
    "residual words": {"level": "word", "residual": True, "num_layers": 3},
    "lines": {"level": "word", "documents": "line"},
    "no bias": {"documents": "line", "bias": False},
}


def text_of(model: Model) -> np.ndarray:
    return model.codec.encode(TEXT[model.codec.level])


def learn_in_torch(model: Model, ids: np.ndarray, rules: Adaptation) -> np.ndarray:
    """Return the log probability of each target, by the definition of dynamic evaluation in float64."""
    network = TorchNetwork(model.config)
    network.load(model.arrays)
    network.double().eval()
    stored = {name: weight.detach().clone() for name, weight in network.named_parameters()}
    squares = {name: torch.zeros_like(weight) for name, weight in stored.items()}
    end, steps, scores = model.codec.end_id, 0, []
    lines = [ids] if end is None else np.split(ids, np.flatnonzero(ids == end) + 1)
    for line in lines:
        if not len(line):
            continue
        read = torch.tensor(line if end is None else np.append(end, line))
        state = None
        for begin in range(0, len(read) - 1, rules.segment):
            inputs, targets = read[:-1][begin : begin + rules.segment], read[1:][begin:]
            targets = targets[: len(inputs)]
            hidden, state = network(inputs[:, None], state)
            losses = network.token_losses(hidden[:, 0], targets)
            scores += (-losses.detach()).tolist()
            state = [
                layer.detach()
                if isinstance(layer, torch.Tensor)
                else tuple(map(torch.detach, layer))
                for layer in state
            ]
            # The last tokens of an unfinished segment teach nothing yet, unless a line ends.
            if len(inputs) < rules.segment and end is None:
                break
            network.zero_grad()
            (losses.sum() / rules.segment).backward()
            steps += 1
            with torch.no_grad():
                for name, weight in network.named_parameters():
                    assert weight.grad is not None
                    squares[name] += weight.grad**2
                    mean = squares[name].mean() / steps
                    rms = ((squares[name] + 300 * mean) / (steps + 300)).sqrt()
                    move = rules.decay * rms / mean.sqrt() * (weight - stored[name])
                    move += rules.rate * weight.grad / rms
                    # Tokens that are not read in this segment keep their embeddings.
                    moved = (
                        inputs if name.startswith("embedding") and not network.config.tied else ...
                    )
                    weight[moved] -= move[moved]
    return np.array(scores)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("kind", NETWORKS.values(), ids=NETWORKS)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_learning_equals_its_definition_in_torch(
    cell: str, kind: dict[str, Any], dtype: Any
) -> None:
    model = make_model(cell, **kind)
    rules, ids = SETTINGS.only("weights"), text_of(model)
    expected = learn_in_torch(model, ids, rules)
    adapted = AdaptedNetwork(Network(model, dtype=dtype), rules)
    scores, _ = adapted.learn(ids, adapted.start)
    got = scores[0, 0 if model.codec.end_id is not None else 1 :]
    plain, _ = AdaptedNetwork(Network(model, dtype=dtype), Adaptation()).learn(ids, adapted.start)
    assert np.abs(scores[0] - plain[0]).max() > 1e-2  # it has learned
    # Rounding of a gradient may be magnified by 1 / rms, and by the steps after it.
    tolerance = 1e-9 if dtype == np.float64 else 1e-3
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance)


def test_rare_tokens_of_a_large_vocabulary_are_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    model = make_model("gru", level="word")
    ids, rules = text_of(model), SETTINGS.only("weights")
    monkeypatch.setattr(module, "SMALL_VOCABULARY", 0)
    found = {}
    for limit in (0.0, 1e-4, 0.5):
        monkeypatch.setattr(module, "MIN_LEARNED_PROBABILITY", max(limit, 1e-300))
        adapted = AdaptedNetwork(Network(model), rules)
        found[limit] = adapted.learn(ids, adapted.start)[0][0]
    monkeypatch.setattr(module, "SMALL_VOCABULARY", 1000)
    adapted = AdaptedNetwork(Network(model), rules)
    every = adapted.learn(ids, adapted.start)[0][0]
    np.testing.assert_allclose(found[0.0], every, atol=FLOAT32)
    assert np.abs(found[0.5] - every).max() > 1e-4


@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("level", ["char", "word"])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_without_strengths_the_loss_is_the_plain_one(cell: str, level: str, documents: str) -> None:
    model = make_model(cell, level=level, documents=documents)
    end, ids = model.codec.end_id, text_of(model)
    if end is not None:
        ids = np.append(ids, end)
    starts = (
        np.zeros(1, np.int64) if end is None else np.append(0, np.flatnonzero(ids == end)[:-1] + 1)
    )
    losses = adapted_losses(Network(model), Tokens(ids, starts, end), Adaptation())
    plain = open_language(model).evaluate(TEXT[level]).loss
    np.testing.assert_allclose(losses, plain, rtol=0, atol=1e-6)


def test_cache_by_hand(make: Callable[..., Model]) -> None:
    model = make("lstm")
    network, ids = Network(model), model.codec.encode("abcabdab")
    hidden, _ = network.forward(ids[:, None], network.start[None])
    outputs = hidden[:, 0].astype(np.float64)
    # The output after token i is kept with token i + 1; only the last 3 of these pairs fit.
    pairs = [(outputs[i], ids[i + 1]) for i in range(len(ids) - 1)][-3:]
    weights = np.exp([0.7 * outputs[-1] @ output for output, _ in pairs])
    cached = np.zeros(len(model.codec))
    for weight, (_, token) in zip(weights / weights.sum(), pairs, strict=True):
        cached[token] += weight
    expected = 0.6 * Stream(model).feed(ids).probabilities + 0.4 * cached
    rules = Adaptation(cache_share=0.4, sharpness=0.7, cache_size=3)
    stream = Stream(model, rules).feed(ids)
    np.testing.assert_allclose(stream.probabilities, expected, atol=FLOAT32)
    np.testing.assert_allclose(
        stream.score("c").log_probabilities, np.log(expected[ids[2]]), atol=1e-4
    )


@settings(max_examples=20, deadline=None)
@given(
    text=st.text("ab cé\n", max_size=40),
    rate=st.floats(0, 0.1),
    cache_share=st.floats(0, 0.99),
    sharpness=st.floats(0, 50),
    cache_size=st.integers(1, 20),
    segment=st.integers(1, 9),
    documents=st.sampled_from(["file", "line"]),
)
def test_probabilities_add_up_to_one(text: str, documents: str, **rules: Any) -> None:
    stream = Stream(make_model("gru", documents=documents), Adaptation(**rules)).feed(text)
    probabilities = stream.probabilities.astype(np.float64)
    assert (probabilities >= 0).all()
    assert probabilities.sum() == pytest.approx(1, abs=FLOAT32)


@pytest.mark.parametrize("adapt", ["cache", "weights", "both"])
@pytest.mark.parametrize("kind", NETWORKS.values(), ids=NETWORKS)
def test_reading_in_pieces_teaches_the_same(kind: dict[str, Any], adapt: str) -> None:
    model = make_model("lstm", **kind)
    ids, rules = text_of(model), SETTINGS.only(adapt)
    whole, steps, pieces = (Stream(model, rules) for _ in range(3))
    whole.feed(ids)
    for token in ids.tolist():
        last = steps.step(token)
    for begin in range(0, len(ids), 3):
        pieces = pieces.feed(ids[begin : begin + 3]).fork()
    expected = whole.probabilities
    np.testing.assert_allclose(np.exp(last), expected, atol=1e-4)
    np.testing.assert_allclose(pieces.probabilities, expected, atol=1e-4)
    assert whole.unknown == steps.unknown == pieces.unknown > 0
    assert np.abs(Stream(model).feed(ids).probabilities - expected).max() > 1e-3


def test_the_adapted_weights_belong_to_the_stream(make: Callable[..., Model]) -> None:
    model = make("gru", documents="line")
    predictor, ids = open_language(model), text_of(model)
    arrays = {name: array.copy() for name, array in model.arrays.items()}
    plain = predictor.stream()
    before = plain.feed(ids).probabilities
    other = predictor.stream(SETTINGS)
    stream = predictor.stream(SETTINGS).feed(ids)
    adapted = stream.probabilities
    for name, array in model.arrays.items():
        np.testing.assert_array_equal(array, arrays[name])
    np.testing.assert_array_equal(plain.probabilities, before)
    np.testing.assert_array_equal(predictor.stream().feed(ids).probabilities, before)
    np.testing.assert_array_equal(other.feed(ids).probabilities, adapted)
    fork, clone = stream.fork(), copy.deepcopy(stream)
    thawed = pickle.loads(pickle.dumps(stream))
    fork.feed("abc\nbad")
    np.testing.assert_array_equal(stream.probabilities, adapted)
    stream.feed("abc\nbad")
    for same in (fork, clone.feed("abc\nbad"), thawed.feed("abc\nbad")):
        np.testing.assert_allclose(same.probabilities, stream.probabilities, atol=1e-6)
    np.testing.assert_array_equal(stream.reset().feed(ids).probabilities, adapted)


def test_drawing_and_scoring_teach_nothing(make: Callable[..., Model]) -> None:
    stream = Stream(make("lstm"), SETTINGS).feed("abba cafe")
    expected = stream.probabilities
    stream.score("bad cab head")
    stream.beam(3, width=2)
    np.testing.assert_array_equal(stream.probabilities, expected)
    text = stream.fork().generate(12, seed=0)
    assert stream.fork().generate(12, seed=0) == text
    drawn = stream.fork()
    assert "".join(drawn.generate_pieces(12, seed=0)) == text
    network, before = drawn.network, stream.network
    for name, array in before.arrays.items():
        np.testing.assert_array_equal(network.arrays[name], array)
    drawn.feed("bad cab")  # learns on after the drawn text
    assert np.isfinite(drawn.probabilities).all()


def test_a_text_shorter_than_a_segment_teaches_nothing(make: Callable[..., Model]) -> None:
    model = make("rnn")
    rules = Adaptation(rate=0.1, segment=20)
    for text in ("", "a", "abba cafe"):
        stream = Stream(model, rules).feed(text)
        expected = Stream(model).feed(text).probabilities
        np.testing.assert_allclose(stream.probabilities, expected, atol=FLOAT32)
    evaluation = open_language(model).evaluate("abba", adapt=rules)
    assert evaluation.weights_loss == pytest.approx(evaluation.loss, abs=FLOAT32)


def test_the_sharpest_cache_answers_with_finite_numbers(make: Callable[..., Model]) -> None:
    model = make("lstm", level="word", scale=0.3)
    rules = Adaptation(cache_share=0.99, sharpness=1e6)
    stream = Stream(model, rules).feed("I like my tea ! my tea ( pizza tea")
    assert np.isfinite(stream.probabilities).all()
    assert stream.probabilities.sum() == pytest.approx(1, abs=FLOAT32)
    with pytest.raises(OptionError, match="sharpness: got 1e\\+300; expected a number from 0"):
        Adaptation(sharpness=1e300)


def test_evaluation_shows_what_each_part_brings(make: Callable[..., Model]) -> None:
    predictor = open_language(make("lstm", level="word", scale=0.3))
    text = "I like my tea ! my tea ( pizza tea\n" * 30
    rules = Adaptation(rate=0.01, segment=5, cache_share=0.3, sharpness=0.5)
    evaluation = predictor.evaluate(text, adapt=rules)
    plain = predictor.evaluate(text)
    assert (plain.cache_loss, plain.weights_loss, plain.both_loss) == (None, None, None)
    assert evaluation.loss == plain.loss
    losses = (evaluation.both_loss, evaluation.weights_loss, evaluation.cache_loss)
    assert all(loss is not None and loss < plain.loss - 0.05 for loss in losses)
    assert evaluation.to_dict()["adaptation"]["cache_share"] == 0.3
    assert "with both" in str(evaluation)
    assert "with both" not in str(plain)
    only = predictor.evaluate(text, adapt=rules.only("cache"))
    assert only.cache_loss == evaluation.cache_loss
    assert only.both_loss is only.weights_loss is None


def test_strengths_are_chosen_on_the_validation_text(make: Callable[..., Model]) -> None:
    model = make("lstm", level="word", scale=0.3)
    predictor = open_language(model)
    repeated = "I like my tea ! my tea ( pizza tea\n" * 20
    start = Adaptation(rate=0.001, segment=5, cache_share=0.1, sharpness=0.5)
    chosen = predictor.evaluate(repeated, adapt=start, valid=repeated).adaptation
    assert chosen is not None
    assert chosen["rate"] == 4 * start.rate
    assert chosen["cache_share"] == 2.5 * start.cache_share
    # A rate that destroys the network is given up.
    ids = model.codec.encode(repeated)
    text = Tokens(ids, np.zeros(1, np.int64))
    network, wild = Network(model), Adaptation(rate=3.0, segment=5)
    tamed = choose_strengths(network, text, wild)
    assert tamed.rate < wild.rate
    assert adapted_losses(network, text, tamed)[0] < adapted_losses(network, text, wild)[0]
    assert choose_strengths(network, text, Adaptation()) == Adaptation()
    shares = Adaptation(rate=0.01, decay=0.9, cache_share=0.9)
    assert choose_strengths(network, text, shares).cache_share < 0.9


def test_a_network_that_diverges_is_an_error(make: Callable[..., Model]) -> None:
    model = make("rnn", activation="linear", level="word")
    rules, text = Adaptation(rate=1e3, segment=4), TEXT["word"] * 9
    with pytest.raises(InputError, match="overflow while the network adapts: got rate 1000"):
        Stream(model, rules).feed(text)
    tokens = Tokens(model.codec.encode(text), np.zeros(1, np.int64))
    assert choose_strengths(Network(model), tokens, rules).rate < rules.rate


def test_errors(make: Callable[..., Model]) -> None:
    model = make("gru")
    with pytest.raises(OptionError, match="adapt: got all; expected cache, weights, both"):
        Stream(model, "all")  # type: ignore[arg-type]
    with pytest.raises(OptionError, match='adapt: got cache; expected "weights" or "both"'):
        Stream(model, "cache")
    with pytest.raises(OptionError, match="rate: got -1"):
        Adaptation(rate=-1)
    with pytest.raises(OptionError, match="valid: got a text without adapt"):
        open_language(model).evaluate("abba", valid="abba")
    stream = Stream(model, "both").feed("abba")
    with pytest.raises(InputError, match="state of a stream: got one that adapts"):
        _ = stream.state
    stream.state = Stream(model).feed("abba").state
    np.testing.assert_array_equal(
        stream.probabilities, Stream(model, "both").feed("abba").probabilities
    )
