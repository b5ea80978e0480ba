"""Sequences of every kind that people have, and the batches cut from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import DataError, ShapeError
from elman.labels.codec import SequenceCodec
from elman.labels.dataset import (
    SPELLED,
    Encoded,
    Sequences,
    Steps,
    bucketed,
    check_finite,
    learn_codec,
)
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec
from strategies import lengths as some_lengths

TEXTS = ["a b", "", "c"]
HOLES = ["a b", None, "c"]


def learned(given: Any, **how: Any) -> SequenceCodec:
    options = {
        "level": "both",
        "lowercase": True,
        "max_vocabulary": None,
        "min_count": 1,
        "missing": "error",
    }
    return learn_codec(Sequences.of(given), **options | how)


@pytest.mark.parametrize(
    "given",
    [
        TEXTS,
        tuple(TEXTS),
        iter(TEXTS),
        np.array(TEXTS),
        np.array(TEXTS, object),
        np.array(TEXTS, object)[:, None],
        HOLES,
        np.array(HOLES, object),
        ["a b", float("nan"), "c"],
        pd.Series(HOLES),
        pd.Series(HOLES, dtype=object),
        pd.Series(HOLES, dtype="string"),
        pd.DataFrame({"text": HOLES}),
        pl.Series(HOLES),
        pl.DataFrame({"text": HOLES}),
        pa.array(HOLES),
        pa.chunked_array([HOLES]),
    ],
)
def test_texts(given: Any) -> None:
    sequences = Sequences.of(given)
    assert (sequences.kind, sequences.items) == ("text", tuple(TEXTS))


@pytest.mark.parametrize("first", [None, float("nan"), pd.NA, pd.NaT, ""])
def test_an_empty_cell_at_the_start_is_a_text_too(first: Any) -> None:
    assert Sequences.of([first, "a"]).items == ("", "a")
    assert Sequences.of([first]).items == ("",)


@pytest.mark.parametrize(
    "given",
    [
        [["a", "b"], ["c"]],
        [("a", "b"), ("c",)],
        [np.array(["a", "b"]), np.array(["c"])],
        pl.Series([["a", "b"], ["c"]]),
        pd.Series([["a", "b"], ["c"]]),
        pa.array([["a", "b"], ["c"]]),
    ],
)
def test_tokens(given: Any) -> None:
    sequences = Sequences.of(given)
    assert (sequences.kind, sequences.items) == ("tokens", (("a", "b"), ("c",)))


def test_a_sentence_without_tokens_and_tokens_with_white_space() -> None:
    sequences = Sequences.of([[], ["New  York", "\n", "", "x" * 1000]])
    assert sequences.kind == "tokens"
    assert sequences.items == ((), ("New_York", "_", "_", "x" * 200))


def test_texts_are_cut_for_tags_and_nothing_else_is() -> None:
    assert Sequences.of(["I  go.", ""]).stepwise().items == (("I", "go."), ())
    for other in ([["a b"]], [[1.0]]):
        sequences = Sequences.of(other)
        assert sequences.stepwise() is sequences


@pytest.mark.parametrize(
    ("given", "shapes"),
    [
        ([[1, 2], [3]], [(2, 1), (1, 1)]),
        ([[[1, 2]], [[3, 4], [5, 6]]], [(1, 2), (2, 2)]),
        (np.zeros((2, 3)), [(3, 1), (3, 1)]),
        (np.zeros((2, 3, 4), np.float32), [(3, 4), (3, 4)]),
        (np.array([np.zeros(2), np.zeros((3, 1))], object), [(2, 1), (3, 1)]),
        (np.array([[1, None], [2, 3]], object), [(2, 1), (2, 1)]),
        (pl.Series([[1, 2], [3]]), [(2, 1), (1, 1)]),
        (pd.DataFrame({"a": [1, 2], "b": [3, 4]}), [(2, 1), (2, 1)]),
        ([np.array([True, False])], [(2, 1)]),
    ],
)
def test_numbers(given: Any, shapes: list[tuple[int, int]]) -> None:
    sequences = Sequences.of(given)
    assert sequences.kind == "numbers"
    assert [one.shape for one in sequences.items] == shapes
    assert all(one.dtype == np.float64 for one in sequences.items)


@pytest.mark.parametrize(
    ("error", "given", "words"),
    [
        (DataError, [], "sequences: got none"),
        (DataError, "one", "sequences: got one text; expected a list of sequences"),
        (DataError, {"text": ["a"]}, "sequences: got a dict"),
        (DataError, pd.DataFrame({"a": ["x"], "b": ["y"]}), "got a table of 2 columns"),
        (DataError, pl.DataFrame({"a": ["x"], "b": ["y"]}), "got a table of 2 columns"),
        (ShapeError, np.array(1.0), "sequences: got a number"),
        (ShapeError, np.zeros(3), "sequences: got [3]; expected [N, T] or [N, T, C]"),
        (ShapeError, np.zeros((1, 1, 1, 1)), "sequences: got [1, 1, 1, 1]"),
        (ShapeError, [[[[1.0]]]], "sequence 0: got [1, 1, 1]; expected [T] or [T, C]"),
        (ShapeError, [[1.0], 2.0], "sequence 1: got []"),
        (ShapeError, [np.zeros((2, 0))], "sequence 0: got [2, 0]"),
        (
            ShapeError,
            [np.zeros((2, 1)), np.zeros((2, 3))],
            "sequence 1: got 3 channels; expected 1",
        ),
        (DataError, [[1.0], []], "sequence 1: got no step; expected at least one"),
        (DataError, [[1.0], ["a"]], "sequence 1: got list; expected numbers, texts or tokens"),
        (DataError, [[1.0], [{}]], "sequence 1: got list"),
        (DataError, [[1.0], [1, [2]]], "sequence 1: got list"),
        (DataError, [np.array(["2020-01-01"], "M8[D]")], "sequence 0: got ndarray"),
        (DataError, [np.array([1j])], "Complex data not supported: got sequence 0"),
        (DataError, ["a", 3], "sequence 1: got int; expected a text"),
        (DataError, [["a"], "b"], "sequence 1: got str; expected a list of tokens"),
        (DataError, [["a"], None], "sequence 1: got nothing; expected a list of tokens"),
        (DataError, [["a"], ["b", 3]], "sequence 1: got int; expected tokens, as text"),
    ],
)
def test_what_is_no_sequence_is_refused(error: type[Exception], given: Any, words: str) -> None:
    with pytest.raises(error) as caught:
        Sequences.of(given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_numbers_that_are_missing_or_infinite_name_their_place() -> None:
    sequences = Sequences.of([[[1.0, 2.0]], [[1.0, 2.0], [3.0, np.nan]]])
    words = 'Input X contains NaN: sequence 1: got nan in step 1, channel 1; .*missing="mask"'
    with pytest.raises(DataError, match=words):
        check_finite(sequences, missing=False)
    check_finite(sequences, missing=True)
    with pytest.raises(
        DataError, match="Input X contains infinity: sequence 0: got -inf in step 0"
    ):
        check_finite(Sequences.of([[-np.inf]]), missing=True)


def test_the_digest_tells_sequences_apart() -> None:
    different: list[Any] = [
        ["a b"], ["a", "b"], ["ab"], ["a b", ""], [["a b"]], [["a", "b"]], [["a"], ["b"]], [["ab"]],
        [[1.0, 2.0]], [[1.0], [2.0]], [[[1.0, 2.0]]], [[1.0, np.nan]], ["\ud800"],
    ]  # fmt: skip
    digests = [Sequences.of(one).digest() for one in different]
    assert len({*digests}) == len(different)
    assert Sequences.of(["a b"]).digest() == Sequences.of(np.array(["a b"])).digest()
    assert Sequences.of([[1, 2]]).digest() == Sequences.of(np.array([[1.0, 2.0]])).digest()


@given(some_lengths, st.sampled_from([(), (2,)]))
def test_steps_lie_side_by_side_and_come_apart_again(
    lengths: list[int], channels: tuple[int, ...]
) -> None:
    draw = np.random.default_rng(len(lengths))
    sequences = [draw.normal(size=(length, *channels)) for length in lengths]
    steps = Steps.of(sequences)
    assert sorted(lengths, reverse=True) == [lengths[one] for one in steps.order]
    first = 0
    for time, size in enumerate(steps.sizes.tolist()):
        assert size == sum(length > time for length in lengths)
        expected = [sequences[one][time] for one in steps.order[:size]]
        np.testing.assert_array_equal(steps.rows[first : first + size], expected)
        np.testing.assert_array_equal(steps.columns[first : first + size], np.arange(size))
        first += size
    assert first == sum(lengths) == len(steps.rows)
    for one, again in zip(sequences, steps.apart(steps.rows), strict=True):
        np.testing.assert_array_equal(again, one)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 9), st.booleans())
def test_every_sequence_is_in_one_batch(lengths: list[int], size: int, drawn: bool) -> None:
    draw = np.random.default_rng(0) if drawn else None
    batches = bucketed(np.array(lengths), size, draw)
    assert sorted(np.concatenate(batches).tolist()) == [*range(len(lengths))]
    assert all(len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(lengths) // size)


def test_those_of_like_length_are_together_and_the_order_is_drawn() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 5000)
    batches = bucketed(lengths, 10, np.random.default_rng(1))
    # 32 batches of the 100 lengths lie between neighbours: some 3 lengths in each
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 6
    firsts = [int(lengths[batch[0]]) for batch in batches]
    assert firsts != sorted(firsts)
    again = bucketed(lengths, 10, np.random.default_rng(1))
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))


def test_words_are_counted_and_spelled() -> None:
    codec = learned(["To be", "or NOT to be"], min_count=2)
    assert codec.tokens is not None
    assert codec.alphabet is not None
    assert codec.tokens.tokens == ("<unk>", "be", "to")
    assert set("beo") <= set(codec.alphabet.tokens)
    encoded = Encoded.of(codec, Sequences.of(["to Be zebra", ""]))
    batch = encoded.batch([0, 1])
    assert batch.words is not None
    assert batch.letters is not None
    # rows are places among the distinct words: to, Be, zebra and <unk> of the empty text
    assert batch.words[batch.steps.rows].tolist() == [2, 0, 1, 0]
    assert len(batch.letters.order) == 4


def test_what_the_network_reads_of_a_level() -> None:
    words = learned(["a B"], level="word")
    assert words.alphabet is None
    assert Encoded.of(words, Sequences.of(["A b c"])).sequences[0].tolist() == [1, 2, 0]
    letters = learned(["aB"], level="char", lowercase=False)
    assert Encoded.of(letters, Sequences.of(["Ba?", ""])).sequences[0].tolist() == [1, 2, 0]
    assert Encoded.of(letters, Sequences.of([""])).sequences[0].tolist() == [0]


def test_tokens_stay_whole_and_texts_are_cut() -> None:
    tokens = learned([["don't.stop", "x"]])
    assert tokens.tokens is not None
    assert tokens.tokens.tokens == ("<unk>", "don't.stop", "x")
    texts = learned(["don't.stop x"])
    assert texts.tokens is not None
    assert texts.tokens.tokens == ("<unk>", ".", "don't", "stop", "x")


def test_only_the_beginning_and_the_end_of_a_word_are_spelled() -> None:
    codec = learned(["abcd"])
    numbers = [codec.alphabet.tokens.index(letter) for letter in "abcd"]  # type: ignore[union-attr]
    encoded = Encoded.of(codec, Sequences.of([f"{'a' * 30}{'b' * 30}"]))
    assert encoded.letters is not None
    a, b = numbers[:2]
    assert [one.tolist() for one in encoded.letters] == [[a] * SPELLED + [b] * SPELLED]


def test_other_sequences_than_in_training_are_refused() -> None:
    text, numbers = learned(["a"]), learned([[1.0, 2.0]])
    with pytest.raises(DataError, match="got numbers; expected texts, as in training"):
        Encoded.of(text, Sequences.of([[1.0]]))
    with pytest.raises(DataError, match="got text; expected numbers, as in training"):
        Encoded.of(numbers, Sequences.of(["a"]))
    with pytest.raises(ShapeError, match="got 2 channels; expected 1"):
        Encoded.of(numbers, Sequences.of([[[1.0, 2.0]]]))
    with pytest.raises(DataError, match="Input X contains NaN"):
        Encoded.of(numbers, Sequences.of([[np.nan]]))


def test_missing_numbers_by_the_stated_policy() -> None:
    codec = learned([[1.0, 3.0]], missing="mask")
    assert codec.scaler is not None
    assert codec.scaler.channels == 2
    encoded = Encoded.of(codec, Sequences.of([[np.nan, 3.0]]))
    np.testing.assert_array_equal(encoded.sequences[0], [[0, 1], [1, 0]])


def test_scaling_is_of_the_rows_that_are_learned_from() -> None:
    codec = learned([[1.0], [3.0, 5.0]])
    assert isinstance(codec.scaler, Scaler)
    assert codec.scaler.mean.tolist() == [3.0]
    assert codec.scaler.scale[0] == pytest.approx(np.std([1, 3, 5]))


def test_a_word_and_how_it_is_spelled_share_one_text() -> None:
    codec = SequenceCodec(
        tokens=TextCodec("word", ("<unk>", "été")),
        alphabet=TextCodec("char", ("<unk>", "É")),
        lowercase=True,
    )
    encoded = Encoded.of(codec, Sequences.of(["ÉTÉ"]))
    assert encoded.words is not None
    assert encoded.letters is not None
    assert encoded.words.tolist() == [1]  # the word in lower case
    assert encoded.letters[0].tolist() == [1, 0, 1]  # its letters as they are


@pytest.mark.parametrize(
    "item",
    [
        np.ma.array([1.0, 2.0, 3.0], mask=[0, 1, 0]),
        np.ma.array([[1], [2], [3]], mask=[[0], [1], [0]]),
        [1, None, 3],
        np.array([1, pd.NA, 3], object),
        pd.Series([1, None, 3], dtype="Int64"),
    ],
    ids=["masked", "masked whole numbers", "None", "NA", "Int64"],
)
def test_masked_numbers_are_missing(item: Any) -> None:
    (array,) = Sequences.of([item]).items
    np.testing.assert_array_equal(array, [[1], [np.nan], [3]])
    with pytest.raises(DataError, match="Input X contains NaN: sequence 0: got nan in step 1"):
        check_finite(Sequences.of([item]), missing=False)
