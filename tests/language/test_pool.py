from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.language import network
from elman.language import pool as module
from elman.language.pool import StreamPool
from elman.language.sampling import Predictions
from elman.language.stream import Stream
from elman.text.vocabulary import TextCodec
from factories import CELL_NAMES

pytestmark = pytest.mark.usefixtures("way")

# Largest difference in float32: a product of many rows may add its terms in another order.
FLOAT32 = 2e-5

TEXTS = ["abcde", "", "a", "cafe babe face", "bad\nhead", "\u00e9 unseen!", "ab\n"]


def as_rows(predictions: list[Predictions]) -> list[list[tuple[str, float]]]:
    return [sorted(row) for row in predictions]


def assert_same(pool: StreamPool, streams: list[Stream]) -> None:
    k = len(pool.codec)
    for ours, stream in zip(as_rows(pool.predict(k)), streams, strict=True):
        theirs = sorted(stream.predict(k))
        assert [token for token, _ in ours] == [token for token, _ in theirs]
        np.testing.assert_allclose([p for _, p in ours], [p for _, p in theirs], atol=FLOAT32)


@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("cell", CELL_NAMES)
def test_a_pool_equals_its_single_streams(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, cell: str, documents: str
) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS_PER_CALL", 3)
    monkeypatch.setattr(network, "MAX_LOGITS", 30)
    model = make(cell, documents=documents)
    pool = StreamPool(model, len(TEXTS)).feed(TEXTS)
    streams = [Stream(model).feed(text) for text in TEXTS]
    assert_same(pool, streams)
    more = TEXTS[::-1]
    pool.feed(more)
    for stream, text in zip(streams, more, strict=True):
        stream.feed(text)
    assert_same(pool, streams)
    assert len(pool) == len(TEXTS)
    pool.reset()
    assert pool.stream(3).state == Stream(model).state
    assert_same(pool, [Stream(model) for _ in TEXTS])


@pytest.mark.parametrize("level", ["char", "word"])
@pytest.mark.parametrize("documents", ["file", "line"])
def test_a_pool_generates_as_its_streams_do(
    make: Callable[..., Model], level: str, documents: str
) -> None:
    model = make("lstm", level=level, documents=documents)
    prompts = ["", "I like", "my"]
    pool = StreamPool(model, 3).feed(prompts)
    texts = pool.generate(25, temperature=0.8, top_k=7, top_p=0.95, seed=4)
    streams = [Stream(model).feed(prompt) for prompt in prompts]
    expected = [
        stream.generate(25, temperature=0.8, top_k=7, top_p=0.95, seed=4 + i)
        for i, stream in enumerate(streams)
    ]
    assert texts == expected
    assert_same(pool, streams)


def test_a_pool_generates_no_space_at_the_start(make: Callable[..., Model]) -> None:
    """A model without line ends reads the most frequent word first, but the text does not contain it."""
    codec = TextCodec("word", ("<unk>", "tea", "milk"))
    model = make("gru", codec=codec)
    texts = StreamPool(model, 2).generate(3, seed=0)
    assert texts == [Stream(model).generate(3, seed=seed) for seed in (0, 1)]
    assert all(text == text.strip() for text in texts)


def test_a_stream_can_leave_the_pool_and_return(make: Callable[..., Model]) -> None:
    model = make("gru")
    pool = StreamPool(model, 3).feed(["abc", "", "de"])
    alone = pool.stream(0)
    assert alone.state == pool.stream(0).state
    untouched = pool.stream(0).probabilities
    alone.feed("fa")
    np.testing.assert_array_equal(pool.stream(0).probabilities, untouched)
    pool.put(2, alone)
    np.testing.assert_array_equal(pool.stream(2).probabilities, alone.probabilities)
    np.testing.assert_array_equal(pool.stream(0).probabilities, untouched)
    pool.put(2, Stream(model))
    assert pool.stream(2).state == Stream(model).state
    left, before = pool.stream(2), pool.stream(2).state
    pool.feed(["", "", "de"])
    assert left.state == before
    assert_same(pool, [Stream(model).feed("abc"), Stream(model), Stream(model).feed("de")])


@pytest.mark.parametrize("documents", ["file", "line"])
def test_predict_does_not_move_the_pool(make: Callable[..., Model], documents: str) -> None:
    model = make("gru", documents=documents)
    asked, quiet = (StreamPool(model, 3).feed(["", "ab", "ab\n"]) for _ in range(2))
    asked.predict()
    for fed in (["", "", ""], ["de", "", "fa"]):
        asked.feed(fed)
        quiet.feed(fed)
        assert [asked.stream(i).state for i in range(3)] == [
            quiet.stream(i).state for i in range(3)
        ]


@pytest.mark.parametrize("documents", ["file", "line"])
def test_unknown_is_counted_for_each_stream(make: Callable[..., Model], documents: str) -> None:
    model = make("gru", documents=documents)
    fed, more = ["a\u00e9", "ab", "\u00e9\n\u00e9"], ["", "\u00e9", "a"]
    pool = StreamPool(model, 3).feed(fed).feed(more)
    streams = [Stream(model).feed(a).feed(b) for a, b in zip(fed, more, strict=True)]
    assert pool.unknown.tolist() == [stream.unknown for stream in streams] == [1, 1, 2]
    assert [pool.stream(i).unknown for i in range(3)] == [1, 1, 2]
    assert pool.put(1, streams[2]).unknown.tolist() == [1, 2, 2]
    assert pool.reset().unknown.tolist() == [0, 0, 0]


def test_other_streams_of_the_pool_do_not_matter(make: Callable[..., Model]) -> None:
    model = make("lstm")
    quiet = StreamPool(model, 2).feed(["abc", ""]).predict(3)[0]
    busy = StreamPool(model, 2).feed(["abc", "hhhh"]).predict(3)[0]
    assert [token for token, _ in quiet] == [token for token, _ in busy]
    np.testing.assert_allclose([p for _, p in quiet], [p for _, p in busy], atol=FLOAT32)


def test_bad_arguments_are_refused(make: Callable[..., Model]) -> None:
    pool = StreamPool(make("rnn"), 2)
    with pytest.raises(InputError, match="texts for the pool: got 1; expected a list of 2"):
        pool.feed(["a"])
    wrong: Any
    for wrong, name in (("ab", "str"), (5, "int"), ({"a", "b"}, "set"), (None, "NoneType")):
        with pytest.raises(InputError, match=f"texts for the pool: got {name}; expected a list"):
            pool.feed(wrong)
    with pytest.raises(InputError, match="tokens: got 99"):
        pool.feed([[1], [99]])
    i: Any
    for i in (-1, 2, "a"):
        with pytest.raises(OptionError, match="stream: got"):
            pool.stream(i)
        with pytest.raises(OptionError, match="stream: got"):
            pool.put(i, Stream(make("rnn")))
    with pytest.raises(InputError, match="another model"):
        pool.put(0, Stream(make("gru")))
    with pytest.raises(OptionError, match="n: got 0"):
        StreamPool(make("rnn"), 0)
    for ask, name in ((pool.predict, "k"), (pool.generate, "n")):
        with pytest.raises(OptionError, match=f"{name}: got 0"):
            ask(0)
    with pytest.raises(OptionError, match="temperature"):
        pool.generate(1, temperature=-1)


@pytest.mark.parametrize("documents", ["file", "line"])
def test_feeding_some_streams_leaves_the_others(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch, way: str, documents: str
) -> None:
    monkeypatch.setattr(module, "MAX_TOKENS_PER_CALL", 3)
    model = make("gru", documents=documents)
    pool = StreamPool(model, 5)
    streams = [Stream(model) for _ in range(5)]
    for which, texts in (
        ([3, 0], ["abc", "d"]),
        ([1], ["ab\nc\u00e9"]),
        ([4, 3, 1], TEXTS[3:6]),
        ([], []),
    ):
        pool.feed(texts, which)
        for i, text in zip(which, texts, strict=True):
            streams[i].feed(text)
    assert_same(pool, streams)
    if way == "kernel":
        assert [pool.stream(i).state for i in range(5)] == [stream.state for stream in streams]
    assert pool.unknown.tolist() == [stream.unknown for stream in streams]
    assert pool.predict(4, [3, 1]) == [pool.predict(4)[3], pool.predict(4)[1]]
    assert pool.predict(4, []) == []
    pool.reset([3, 1])
    for i in (3, 1):
        streams[i].reset()
    assert_same(pool, streams)
    assert pool.unknown.tolist() == [stream.unknown for stream in streams]


def test_streams_are_added(make: Callable[..., Model]) -> None:
    model = make("lstm")
    pool = StreamPool(model, 2).feed(["abc", "d"])
    assert len(pool.add(3)) == 5
    assert pool.unknown.tolist() == [0] * 5
    pool.feed(["ab"], [4])
    assert_same(pool, [Stream(model).feed(text) for text in ("abc", "d", "", "", "ab")])


def test_bad_stream_numbers_are_refused(make: Callable[..., Model]) -> None:
    pool = StreamPool(make("rnn"), 2)
    with pytest.raises(InputError, match="texts for the pool: got 1; expected a list of 2"):
        pool.feed(["a"], [0, 1])
    which: Any
    for which in ([2], [-1], ["a"]):
        with pytest.raises(OptionError, match="stream: got"):
            pool.feed(["a"], which)
    with pytest.raises(OptionError, match=r"streams: got .*; expected each once"):
        pool.feed(["a", "b"], [1, 1])
    with pytest.raises(OptionError, match="n: got 0"):
        pool.add(0)


def test_after_an_error_no_stream_has_read(
    make: Callable[..., Model], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Reading these texts needs three calls of `forward`; the third fails after two have succeeded."""
    monkeypatch.setattr(module, "MAX_TOKENS_PER_CALL", 1)
    pool = StreamPool(make("gru", documents="line"), 3).feed(["ab", "c", ""])
    before = [pool.stream(i).state for i in range(3)]
    unknown = pool.unknown.tolist()
    real, calls = pool.network.forward, []

    def forward(*given: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        calls.append(given)
        if len(calls) == 3:
            raise MemoryError
        return real(*given)

    monkeypatch.setattr(pool.network, "forward", forward)
    with pytest.raises(MemoryError):
        pool.feed(["a\u00e9b", "d", "a\nb"])
    assert len(calls) == 3
    assert [pool.stream(i).state for i in range(3)] == before
    assert pool.unknown.tolist() == unknown
