from __future__ import annotations

import copy
import itertools
import pickle
import struct
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.language import network as module
from elman.language.network import Network
from elman.language.pool import StreamPool
from elman.language.stream import Stream
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID
from factories import CELL_NAMES

pytestmark = pytest.mark.usefixtures("way")

# Largest difference of float32 log probabilities: a product of many steps may add its terms in another order.
FLOAT32 = 2e-5

KINDS = [(level, documents) for level in ("char", "word") for documents in ("file", "line")]
TEXT = {"char": "abba cafe\nhead", "word": "I like my tea!\nmy pizza (tea"}


def with_head_bias(model: Model, token: int, value: float) -> Model:
    bias = np.zeros(len(model.codec), np.float32)
    bias[token] = value
    return replace(model, arrays={**model.arrays, "head.bias": bias})


def probabilities(stream: Stream) -> np.ndarray:
    return stream.probabilities.astype(np.float64)


@pytest.mark.parametrize(("level", "documents"), KINDS)
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_reading_step_by_step_equals_reading_at_once(
    make: Callable[..., Model],
    monkeypatch: pytest.MonkeyPatch,
    cell: str,
    level: str,
    documents: str,
) -> None:
    model = make(cell, level=level, documents=documents)
    network = Network(model)
    whole = Stream(network).feed(TEXT[level])
    tokens = model.codec.encode(TEXT[level])
    steps = Stream(network)
    for token in tokens:
        steps.feed([int(token)])
    monkeypatch.setattr(module, "STEPS_PER_CALL", 3)
    blocks = Stream(network).feed(tokens)
    for other in (steps, blocks):
        np.testing.assert_allclose(probabilities(other), probabilities(whole), atol=FLOAT32)
    assert whole.probabilities.dtype == np.float32
    np.testing.assert_allclose(probabilities(whole).sum(), 1, atol=FLOAT32)


def test_predictions_are_those_of_the_network(make: Callable[..., Model]) -> None:
    """Compare with the last row of a forward pass over the whole text."""
    model = make("lstm")
    network = Network(model)
    ids = model.codec.encode("abc cab")
    hidden, _ = network.forward(ids[:, None], network.initial_state(1))
    expected = np.exp(network.log_probabilities(hidden[-1, 0]))
    stream = Stream(model).feed("abc cab")
    np.testing.assert_allclose(stream.probabilities, expected, atol=FLOAT32)
    best_first = sorted(range(1, len(expected)), key=lambda i: -expected[i])
    predicted = stream.predict(3)
    assert [token for token, _ in predicted] == [model.codec.tokens[i] for i in best_first[:3]]
    np.testing.assert_allclose([p for _, p in predicted], expected[best_first[:3]], atol=FLOAT32)
    assert all(type(probability) is float for _, probability in predicted)


def test_every_line_starts_from_state_zero(make: Callable[..., Model]) -> None:
    model = make("gru", documents="line")
    one = Stream(model).feed("abc\r\nde\rfa")
    same = Stream(model).feed("fa")
    np.testing.assert_array_equal(one.probabilities, same.probabilities)
    hand = Network(model)
    ids = np.concatenate([[model.codec.end_id], model.codec.encode("fa")])
    hidden, _ = hand.forward(ids[:, None], hand.initial_state(1))
    np.testing.assert_allclose(
        one.probabilities, np.exp(hand.log_probabilities(hidden[-1, 0])), atol=FLOAT32
    )
    # a stream that has just read the end of a document is in its initial state
    ended = Stream(model).feed("abc\n")
    np.testing.assert_array_equal(ended.probabilities, Stream(model).probabilities)


@pytest.mark.parametrize("documents", ["file", "line"])
def test_first_prediction_follows_the_start_token(
    make: Callable[..., Model], documents: str
) -> None:
    model = make("gru", documents=documents)
    start = Stream(model).feed([model.codec.start_id])
    np.testing.assert_array_equal(Stream(model).probabilities, start.probabilities)
    assert Stream(model).feed("").predict(2) == start.predict(2)


@pytest.mark.parametrize("text", ["", "ab", "ab\n"])
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_predictions_do_not_move_the_stream(
    make: Callable[..., Model], cell: str, documents: str, text: str
) -> None:
    """The next tokens give the same state whether or not a prediction was made, also in a new stream."""
    model = make(cell, documents=documents)
    asked, quiet = Stream(model).feed(text), Stream(model).feed(text)
    for ask in (
        asked.predict,
        lambda: asked.probabilities,
        lambda: asked.score("cab\nfa"),
        lambda: asked.beam(3, 4),
    ):
        ask()
        assert asked.state == quiet.state
    asked.feed("de")
    quiet.feed("de")
    assert asked.state == quiet.state


def test_all_kinds_of_line_ends_are_read_alike(make: Callable[..., Model]) -> None:
    for level, documents in KINDS:
        model = make("rnn", level=level, documents=documents)
        plain = Stream(model).feed(TEXT[level])
        for end in ("\r\n", "\r"):
            other = TEXT[level].replace("\n", end)
            assert Stream(model).feed(other).state == plain.state
            assert Stream(model).score(other).tokens == Stream(model).score(TEXT[level]).tokens


@pytest.mark.slow
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_an_idle_stream_holds_only_its_state(make: Callable[..., Model], cell: str) -> None:
    stream = Stream(make(cell))
    text = "abcd efg" * (module.STEPS_PER_CALL // 8)
    stream.feed(text)
    tracemalloc.start()
    try:
        held = [stream.fork().reset().feed(text) for _ in range(20)]
        size, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # A block of outputs has STEPS_PER_CALL·H numbers; a stream of 2 layers should hold 5·H and some objects.
    assert size / len(held) < module.STEPS_PER_CALL * 6 * 4 / 2


@pytest.mark.parametrize(("level", "documents"), KINDS)
def test_score_agrees_with_predict(make: Callable[..., Model], level: str, documents: str) -> None:
    model = make("lstm", level=level, documents=documents)
    text = TEXT[level] + "\n"
    score = Stream(model).score(text)
    stream, expected = Stream(model), []
    for token in model.codec.encode(text).tolist():
        offered = dict(stream.predict(len(model.codec)))
        expected.append(np.log(offered[model.codec.tokens[token]]))
        stream.feed([token])
    np.testing.assert_allclose(score.log_probabilities, expected, atol=FLOAT32)
    assert score.total == pytest.approx(sum(expected), abs=FLOAT32 * len(expected))
    assert score.loss == pytest.approx(-sum(expected) / len(expected), abs=FLOAT32)
    assert len(score.tokens) == len(expected)
    assert len(str(score).splitlines()) == len(expected) + 2


def test_score_starts_from_the_stream_and_does_not_move_it(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make("gru")
    stream = Stream(model).feed("abc")
    before = stream.state
    first = stream.score("defab")
    assert stream.state == before
    monkeypatch.setattr(module, "STEPS_PER_CALL", 2)
    blocks = stream.score("defab")
    np.testing.assert_allclose(first.log_probabilities, blocks.log_probabilities, atol=FLOAT32)
    whole = Stream(model).score("abcdefab")
    np.testing.assert_allclose(first.log_probabilities, whole.log_probabilities[3:], atol=FLOAT32)


def test_the_score_of_an_empty_text_is_zero(make: Callable[..., Model]) -> None:
    score = Stream(make("rnn")).score("")
    assert (score.tokens, score.total, score.loss) == ((), 0.0, 0.0)


@pytest.mark.parametrize(("level", "documents"), KINDS)
def test_unknown_tokens_are_read_and_counted_but_never_predicted(
    make: Callable[..., Model], level: str, documents: str
) -> None:
    model = make("lstm", level=level, documents=documents)
    stream = Stream(model).feed("\u00e9 \U0001f600 \x00 \ud800 Zebra")
    assert stream.unknown >= 4
    fed = stream.unknown
    assert stream.feed([0, 0]).unknown == fed + 2
    offered = [token for token, _ in stream.predict(1000)]
    assert len(offered) == len(set(offered)) == len(model.codec) - 1
    assert "<unk>" not in offered
    text = stream.generate(300, temperature=50.0, seed=0)
    assert "\ufffd" not in text
    assert "<unk>" not in text
    assert all("<unk>" not in found for found, _ in stream.beam(2, 100))
    assert stream.reset().unknown == 0


def test_a_model_certain_of_unknown_still_predicts(make: Callable[..., Model]) -> None:
    stream = Stream(with_head_bias(make("rnn"), 0, 1e30))
    assert [p for _, p in stream.predict(2)] == [0.0, 0.0]
    assert len(stream.generate(5, seed=0)) == 5
    assert stream.generate(5, temperature=0)


@pytest.mark.parametrize(("level", "documents"), KINDS)
def test_a_seed_gives_the_same_text(make: Callable[..., Model], level: str, documents: str) -> None:
    model = make("gru", level=level, documents=documents, scale=0.3)
    texts = [Stream(model).generate(40, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert Stream(model).generate(40) != Stream(model).generate(40)


@pytest.mark.parametrize("options", [{"temperature": 0}, {"top_k": 1}, {"top_p": 1e-9}])
def test_temperature_zero_takes_the_best_prediction_at_each_step(
    make: Callable[..., Model], options: dict[str, Any]
) -> None:
    model = make("lstm")
    text = Stream(model).feed("ab").generate(12, seed=3, **options)
    stream = Stream(model).feed("ab")
    for character in text:
        assert stream.predict(1)[0][0] == character
        stream.feed(character)


@pytest.mark.parametrize(("level", "documents"), KINDS)
def test_generated_pieces_make_the_text_and_are_read(
    make: Callable[..., Model], level: str, documents: str
) -> None:
    model = make("lstm", level=level, documents=documents)
    stream = Stream(model).feed("my" if level == "word" else "ab")
    copy = stream.fork()
    pieces = list(stream.generate_pieces(30, seed=5))
    assert len(pieces) == 30
    text = "".join(pieces)
    assert text == copy.fork().generate(30, seed=5)
    copy.feed(text)
    np.testing.assert_allclose(stream.probabilities, copy.probabilities, atol=FLOAT32)
    # if the caller stops early, the stream has read up to the last piece that the caller got
    half = Stream(model)
    first = "".join(itertools.islice(half.generate_pieces(30, seed=5), 9))
    again = Stream(model)
    assert again.generate(9, seed=5) == first
    np.testing.assert_array_equal(half.probabilities, again.probabilities)


def test_generated_words_are_spaced_from_the_prompt(make: Callable[..., Model]) -> None:
    model = make("gru", level="word")
    for token in ("tea", "!", "my"):
        sure = with_head_bias(model, model.codec.tokens.index(token), 1e4)
        other = Stream(sure).feed("I like")
        expected = "!" if token == "!" else " " + token
        assert other.generate(1, temperature=0) == expected
        assert other.fork().beam(1, 1)[0][0][-len(token) :] == token
        assert other.reset().generate(1, temperature=0) == token


@pytest.mark.slow
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_beam_as_wide_as_all_texts_is_an_exhaustive_search(
    make: Callable[..., Model], cell: str, documents: str
) -> None:
    model = make(cell, documents=documents, scale=0.5)
    stream = Stream(model).feed("ab")
    offered = range(1, len(model.codec))
    end = model.codec.end_id
    expected = {}
    for tokens in itertools.product(offered, repeat=3):
        line = list(tokens[: tokens.index(end) + 1] if end in tokens else tokens)
        expected[model.codec.decode(line)] = stream.score(line).total
    best_first = sorted(expected.values(), reverse=True)
    found = stream.beam(3, len(offered) ** 3)
    assert len(found) == len(expected)
    assert {text for text, _ in found} == set(expected)
    np.testing.assert_allclose([score for _, score in found], best_first, atol=3 * FLOAT32)
    for text, score in found:
        assert score == pytest.approx(expected[text], abs=3 * FLOAT32)
    scores = [score for _, score in found]
    assert scores == sorted(scores, reverse=True)


Beam = list[tuple[tuple[int, ...], float]]


def plain_beam(stream: Stream, n: int, width: int) -> Beam:
    going: Beam = [((), 0.0)]
    whole: Beam = []
    for _ in range(n):
        longer: Beam = []
        for tokens, score in going:
            shares = np.log(stream.fork().feed(tokens).probabilities.astype(np.float64))
            longer += [((*tokens, i), score + shares[i]) for i in range(1, len(shares))]
        longer = sorted(longer, key=lambda item: -item[1])[:width]
        whole += [item for item in longer if item[0][-1] == stream.codec.end_id]
        going = [item for item in longer if item[0][-1] != stream.codec.end_id]
    return sorted(whole + going, key=lambda item: -item[1])[:width]


@pytest.mark.parametrize("width", [1, 3, 20])
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("seed", range(3))
def test_beam_equals_a_plain_beam_search(
    make: Callable[..., Model], documents: str, width: int, seed: int
) -> None:
    stream = Stream(make("gru", documents=documents, seed=seed, scale=0.5)).feed("ab")
    found, expected = stream.beam(5, width), plain_beam(stream, 5, width)
    assert [text for text, _ in found] == [stream.codec.decode(ids) for ids, _ in expected]
    np.testing.assert_allclose(
        [score for _, score in found], [score for _, score in expected], atol=5 * FLOAT32
    )


def test_narrow_beams_keep_the_best_beginnings(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = make("lstm", scale=0.5)
    stream = Stream(model).feed("ab")
    assert stream.beam(6, 1)[0][0] == stream.fork().generate(6, temperature=0)
    assert [token for token, _ in stream.predict(4)] == [text for text, _ in stream.beam(1, 4)]
    before = stream.state
    wide = stream.beam(5, 7)
    assert stream.state == before
    assert len(wide) == 7
    monkeypatch.setattr(module, "MAX_LOGITS", 2 * len(model.codec))
    assert [text for text, _ in stream.beam(5, 7)] == [text for text, _ in wide]


def test_a_fork_is_independent(make: Callable[..., Model]) -> None:
    stream = Stream(make("lstm")).feed("abc")
    fork, before = stream.fork(), stream.probabilities
    fork.feed("de")
    np.testing.assert_array_equal(stream.probabilities, before)
    assert not np.array_equal(fork.probabilities, before)
    stream.feed("de")
    np.testing.assert_array_equal(stream.probabilities, fork.probabilities)
    stream.reset()
    assert not np.array_equal(stream.probabilities, fork.probabilities)


@pytest.mark.parametrize("text", ["", "a", "abc de\nf"])
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_state_round_trips(
    make: Callable[..., Model], cell: str, documents: str, text: str
) -> None:
    model = make(cell, documents=documents)
    stream = Stream(model).feed(text)
    state = stream.state
    assert type(state) is bytes
    other = Stream(make(cell, documents=documents)).feed("hgf")
    array: Any = bytearray(state)
    other.state = array
    assert other.state == state
    assert other.generate(20, seed=1) == stream.generate(20, seed=1)
    assert other.state == stream.state


def test_foreign_and_damaged_states_are_refused(make: Callable[..., Model]) -> None:
    model = make("lstm")
    stream = Stream(model).feed("abc")
    good = stream.state
    for other in (make("lstm", seed=1), make("gru"), make("lstm", documents="line")):
        with pytest.raises(InputError, match="another model"):
            stream.state = Stream(other).feed("abc").state
    wide = Stream(Network(model, np.float64)).feed("abc").state
    version = bytearray(good)
    version[4] = 9
    last = bytearray(good)
    last[5:9] = struct.pack("<i", len(model.codec))
    bad = [b"", b"x" * len(good), good[:-1], good + b"0", good[:20], version, last, wide]
    wrong: list[Any] = [*bad, "text", None, 5]
    for state in wrong:
        with pytest.raises(InputError, match=r"^state: got .*; expected"):
            stream.state = state
    assert stream.state == good


@given(payload=st.binary(max_size=200), seed=st.integers(0, 2**16))
@settings(max_examples=60)
def test_a_state_with_any_numbers_gives_finite_answers(
    make: Callable[..., Model], payload: bytes, seed: int
) -> None:
    cell, states = [("lstm", 5), ("mingru", 3), ("rnn", 3)][seed % 3]
    activation = "linear" if cell == "rnn" else "tanh"
    stream = Stream(make(cell, activation=activation)).feed("abc")
    state = bytearray(stream.state)
    random = np.random.default_rng(seed)
    header = len(state) - states * 6 * 4
    for place, byte in zip(random.integers(header, len(state), len(payload)), payload, strict=True):
        state[place] = byte
    stream.state = bytes(state)
    assert np.isfinite(stream.probabilities).all()
    assert np.isfinite(stream.feed("ab").probabilities).all()
    state[header:] = struct.pack("<f", float("nan")) * ((len(state) - header) // 4)
    stream.state = bytes(state)
    assert np.isfinite(stream.feed("ab").probabilities).all()


def test_one_token_is_read_as_in_a_longer_text(make: Callable[..., Model]) -> None:
    model = make("lstm")
    tokens = model.codec.tokens
    names = [name for name in tokens if len(name) == 1]
    whole = Stream(model).feed("".join(names))
    by_text, by_number, by_array = (Stream(model) for _ in range(3))
    for name in names * 2:  # the second time it is remembered
        if name == names[0]:
            for stream in (by_text, by_number, by_array):
                stream.reset()
        by_text.feed(name)
        by_number.feed(tokens.index(name))
        by_array.feed(np.array([tokens.index(name)]))
    for stream in (by_text, by_number, by_array):
        np.testing.assert_allclose(stream.probabilities, whole.probabilities, rtol=1e-6)
        assert stream.predict(3) == by_text.predict(3)
        assert repr(stream) == repr(whole)
    # tokens outside the vocabulary are counted, however they are named
    for unknown in (UNKNOWN_ID, np.int64(UNKNOWN_ID), "☃", [UNKNOWN_ID]):
        by_text.feed(unknown)
    assert by_text.unknown == 4


def test_short_texts_of_one_token_are_remembered(make: Callable[..., Model]) -> None:
    model = make("lstm", level="word")
    codec = model.codec
    word = codec.tokens[-1]
    long, several = " " * 100 + word, f"{word} {word}"
    assert codec.ordinary_token(word) is None
    StreamPool(model, 2).feed([word, word])
    for text in (long, several, "☃", f" {word}"):
        Stream(model).feed(text)
    number = codec.tokens.index(word)
    assert [codec.ordinary_token(text) for text in (word, f" {word}", number)] == [number] * 3
    # a long text would fill the memory, and the others are not one ordinary token
    for other in (long, several, "☃", UNKNOWN_ID, len(codec), True, float(number), [number]):
        assert codec.ordinary_token(other) is None


def test_predictions_are_the_largest_probabilities(make: Callable[..., Model]) -> None:
    codec = TextCodec("char", ("<unk>", *map(chr, range(33, 80))))
    stream = Stream(make("lstm", codec=codec)).feed([3, 4])
    probabilities = stream.probabilities
    order = np.argsort(-probabilities, kind="stable")
    expected = [int(number) for number in order if number != UNKNOWN_ID]
    assert len(expected) > 40  # more than the kernel ranks in one pass
    for k in (1, 2, 32, 33, len(expected), len(expected) + 5):
        found = stream.predict(k)
        assert [name for name, _ in found] == [stream.codec.tokens[n] for n in expected[:k]]
        np.testing.assert_allclose([p for _, p in found], probabilities[expected[:k]], rtol=1e-6)
        assert found.unknown_probability == pytest.approx(probabilities[UNKNOWN_ID], rel=1e-6)
    with pytest.raises(OptionError):
        stream.predict(0)
    assert stream.predict(int(np.int64(2))) == stream.predict(2)


@pytest.mark.parametrize(
    "tokens", [[-1], [99], [1.5], ["a"], [[1, 2]], [True], [1, [2]], [2**70], 5.0, 99, True, None]
)
def test_bad_tokens_are_refused(make: Callable[..., Model], tokens: Any) -> None:
    stream = Stream(make("rnn")).feed("ab")
    before = stream.state
    for ask in (stream.feed, stream.score):
        with pytest.raises(InputError, match=r"^tokens: got .*; expected"):
            ask(tokens)
    assert stream.state == before


@pytest.mark.parametrize(
    ("tokens", "said"),
    [
        (b"abc", r"got bytes; .*; decode bytes first"),
        (bytearray(b"abc"), r"got bytearray; .*; decode bytes first"),
        (None, "got NoneType; expected text, or token numbers from 0 to 10"),
        ({1, 2}, "got set; expected text"),
    ],
)
def test_the_error_names_the_type_of_an_input_that_is_not_text(
    make: Callable[..., Model], tokens: Any, said: str
) -> None:
    with pytest.raises(InputError, match=f"^tokens: {said}"):
        Stream(make("rnn")).feed(tokens)


@pytest.mark.parametrize("value", [0, -1, 1.5, "3", True, None])
def test_bad_numbers_are_refused(make: Callable[..., Model], value: Any) -> None:
    stream = Stream(make("rnn"))
    asks: dict[str, Callable[[Any], Any]] = {
        "k": stream.predict,
        "n": stream.generate,
        "width": lambda width: stream.beam(2, width),
    }
    for name, ask in asks.items():
        with pytest.raises(OptionError, match=f"^{name}: got .*|^{name}: expected"):
            ask(value)
    with pytest.raises(OptionError, match=r"^n: "):
        stream.generate_pieces(value)
    with pytest.raises(OptionError, match=r"^n: "):
        stream.beam(value)


def test_generation_options_are_checked_before_anything_is_read(make: Callable[..., Model]) -> None:
    stream = Stream(make("rnn")).feed("ab")
    before = stream.state
    for options in ({"temperature": -1}, {"top_k": 0}, {"top_p": 2}, {"seed": -1}):
        with pytest.raises(OptionError):
            stream.generate_pieces(5, **options)
    assert stream.state == before


def test_a_prediction_that_is_mostly_unknown_has_a_note(make: Callable[..., Model]) -> None:
    model = make("rnn", level="word")
    sure = Stream(with_head_bias(model, 0, 30.0)).predict(2)
    assert sure.unknown_probability > 0.99
    assert sure.note == "100 % of the probability is on tokens outside the vocabulary, <unk>"
    assert repr(sure).endswith(f"] ({sure.note})")
    again = pickle.loads(pickle.dumps(sure))
    assert (again, again.unknown_probability) == (sure, sure.unknown_probability)
    usual = Stream(with_head_bias(model, 0, -30.0)).predict(1000)
    assert usual.note == ""
    assert repr(usual) == repr(list(usual))
    assert sum(p for _, p in usual) + usual.unknown_probability == pytest.approx(1, abs=1e-5)


def test_a_pickled_or_copied_stream_keeps_its_position(make: Callable[..., Model]) -> None:
    stream = Stream(make("gru")).feed("abba")
    for other in (pickle.loads(pickle.dumps(stream)), copy.deepcopy(stream)):
        assert other.predict(3) == stream.predict(3)
        assert other.feed("c").predict(3) != stream.predict(3)
