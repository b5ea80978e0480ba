"""Encoded sequences and the batches cut from them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import DataError, ShapeError
from elman.labels.batches import (
    MAX_SPELLED_CHARACTERS,
    EncodedSequences,
    PackedSteps,
    length_buckets,
)
from elman.labels.codec import SequenceCodec, fit_codec
from elman.labels.dataset import Sequences, check_finite
from elman.labels.options import ClassifierOptions
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec
from strategies import lengths as some_lengths


def fitted(given: Any, **how: Any) -> SequenceCodec:
    return fit_codec(Sequences.of(given), ClassifierOptions(**{"min_count": 1} | how))


@given(some_lengths, st.sampled_from([(), (2,)]))
def test_packed_steps_can_be_unpacked(lengths: list[int], channels: tuple[int, ...]) -> None:
    draw = np.random.default_rng(len(lengths))
    sequences = [draw.normal(size=(length, *channels)) for length in lengths]
    steps = PackedSteps.of(sequences)
    assert sorted(lengths, reverse=True) == [lengths[one] for one in steps.order]
    first = 0
    for time, size in enumerate(steps.sizes.tolist()):
        assert size == sum(length > time for length in lengths)
        expected = [sequences[one][time] for one in steps.order[:size]]
        np.testing.assert_array_equal(steps.rows[first : first + size], expected)
        np.testing.assert_array_equal(steps.columns[first : first + size], np.arange(size))
        first += size
    assert first == sum(lengths) == len(steps.rows)
    for one, again in zip(sequences, steps.unpack(steps.rows), strict=True):
        np.testing.assert_array_equal(again, one)


@given(st.lists(st.integers(1, 50), min_size=1, max_size=300), st.integers(1, 9), st.booleans())
def test_every_sequence_is_in_one_batch(lengths: list[int], size: int, drawn: bool) -> None:
    draw = np.random.default_rng(0) if drawn else None
    batches = length_buckets(np.array(lengths), size, draw)
    assert sorted(np.concatenate(batches).tolist()) == [*range(len(lengths))]
    assert all(len(batch) <= size for batch in batches)
    assert len(batches) == -(-len(lengths) // size)


def test_a_batch_holds_similar_lengths_in_random_order() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 5000)
    batches = length_buckets(lengths, 10, np.random.default_rng(1))
    # a pool of 32 batches holds the 100 lengths in order, so that a batch spans about 3 lengths
    assert np.mean([np.ptp(lengths[batch]) for batch in batches]) < 6
    firsts = [int(lengths[batch[0]]) for batch in batches]
    assert firsts != sorted(firsts)
    again = length_buckets(lengths, 10, np.random.default_rng(1))
    assert all(np.array_equal(one, other) for one, other in zip(batches, again, strict=True))


def test_words_are_counted_and_spelled() -> None:
    codec = fitted(["To be", "or NOT to be"], min_count=2)
    assert codec.tokens is not None
    assert codec.alphabet is not None
    assert codec.tokens.tokens == ("<unk>", "be", "to")
    assert set("beo") <= set(codec.alphabet.tokens)
    encoded = EncodedSequences.of(codec, Sequences.of(["to Be zebra", ""]))
    batch = encoded.batch([0, 1])
    assert batch.words is not None
    assert batch.letters is not None
    # rows are indices of distinct words: to, Be, zebra, and the <unk> of the empty text
    assert batch.words[batch.steps.rows].tolist() == [2, 0, 1, 0]
    assert len(batch.letters.order) == 4


def test_ids_at_each_level() -> None:
    words = fitted(["a B"], level="word")
    assert words.alphabet is None
    assert EncodedSequences.of(words, Sequences.of(["A b c"])).sequences[0].tolist() == [1, 2, 0]
    letters = fitted(["aB"], level="char", lowercase=False)
    assert EncodedSequences.of(letters, Sequences.of(["Ba?", ""])).sequences[0].tolist() == [
        1,
        2,
        0,
    ]
    assert EncodedSequences.of(letters, Sequences.of([""])).sequences[0].tolist() == [0]


def test_tokens_are_kept_and_texts_are_split() -> None:
    tokens = fitted([["don't.stop", "x"]])
    assert tokens.tokens is not None
    assert tokens.tokens.tokens == ("<unk>", "don't.stop", "x")
    texts = fitted(["don't.stop x"])
    assert texts.tokens is not None
    assert texts.tokens.tokens == ("<unk>", ".", "don't", "stop", "x")


def test_only_beginning_and_end_of_a_long_word_are_spelled() -> None:
    codec = fitted(["abcd"])
    numbers = [codec.alphabet.tokens.index(letter) for letter in "abcd"]  # type: ignore[union-attr]
    encoded = EncodedSequences.of(codec, Sequences.of([f"{'a' * 30}{'b' * 30}"]))
    assert encoded.letters is not None
    a, b = numbers[:2]
    assert [one.tolist() for one in encoded.letters] == [
        [a] * MAX_SPELLED_CHARACTERS + [b] * MAX_SPELLED_CHARACTERS
    ]


def test_sequences_unlike_those_of_training_are_errors() -> None:
    text, numbers = fitted(["a"]), fitted([[1.0, 2.0]])
    with pytest.raises(DataError, match="got numbers; expected texts, as in training"):
        EncodedSequences.of(text, Sequences.of([[1.0]]))
    with pytest.raises(DataError, match="got text; expected numbers, as in training"):
        EncodedSequences.of(numbers, Sequences.of(["a"]))
    with pytest.raises(ShapeError, match="got 2 channels; expected 1"):
        EncodedSequences.of(numbers, Sequences.of([[[1.0, 2.0]]]))
    with pytest.raises(DataError, match="Input X contains NaN"):
        EncodedSequences.of(numbers, Sequences.of([[np.nan]]))


def test_missing_numbers_are_masked() -> None:
    codec = fitted([[1.0, 3.0]], missing="mask")
    assert codec.scaler is not None
    assert codec.scaler.channels == 2
    encoded = EncodedSequences.of(codec, Sequences.of([[np.nan, 3.0]]))
    np.testing.assert_array_equal(encoded.sequences[0], [[0, 1], [1, 0]])


def test_the_scaler_is_fitted_on_all_steps() -> None:
    codec = fitted([[1.0], [3.0, 5.0]])
    assert isinstance(codec.scaler, Scaler)
    assert codec.scaler.mean.tolist() == [3.0]
    assert codec.scaler.scale[0] == pytest.approx(np.std([1, 3, 5]))


def test_a_word_is_lowercased_but_its_spelling_is_not() -> None:
    codec = SequenceCodec(
        tokens=TextCodec("word", ("<unk>", "été")),
        alphabet=TextCodec("char", ("<unk>", "É")),
        lowercase=True,
    )
    encoded = EncodedSequences.of(codec, Sequences.of(["ÉTÉ"]))
    assert encoded.words is not None
    assert encoded.letters is not None
    assert encoded.words.tolist() == [1]  # the word is looked up in lower case
    assert encoded.letters[0].tolist() == [1, 0, 1]  # its letters are looked up unchanged


@pytest.mark.parametrize(
    "item",
    [
        np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False]),
        np.ma.array([[1], [2], [3]], mask=[[False], [True], [False]]),
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
        check_finite(Sequences.of([item]), allow_missing=False)
