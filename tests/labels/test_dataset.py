"""Sequences in every form in which users pass them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from elman.errors import DataError, ShapeError
from elman.labels.dataset import Sequences, check_finite

TEXTS = ["a b", "", "c"]
HOLES = ["a b", None, "c"]


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
def test_texts_in_every_form(given: Any) -> None:
    sequences = Sequences.of(given)
    assert (sequences.kind, sequences.items) == ("text", tuple(TEXTS))


@pytest.mark.parametrize("first", [None, float("nan"), pd.NA, pd.NaT, ""])
def test_a_missing_first_text_is_an_empty_text(first: Any) -> None:
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
def test_tokens_in_every_form(given: Any) -> None:
    sequences = Sequences.of(given)
    assert (sequences.kind, sequences.items) == ("tokens", (("a", "b"), ("c",)))


def test_a_sentence_without_tokens_and_tokens_with_white_space() -> None:
    sequences = Sequences.of([[], ["New  York", "\n", "", "x" * 1000]])
    assert sequences.kind == "tokens"
    assert sequences.items == ((), ("New_York", "_", "_", "x" * 200))


def test_only_texts_are_split_for_tags() -> None:
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
def test_numbers_in_every_form(given: Any, shapes: list[tuple[int, int]]) -> None:
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
def test_unusable_sequences_are_errors_of_one_line(
    error: type[Exception], given: Any, words: str
) -> None:
    with pytest.raises(error) as caught:
        Sequences.of(given)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_errors_name_the_step_of_a_missing_or_infinite_number() -> None:
    sequences = Sequences.of([[[1.0, 2.0]], [[1.0, 2.0], [3.0, np.nan]]])
    words = 'Input X contains NaN: sequence 1: got nan in step 1, channel 1; .*missing="mask"'
    with pytest.raises(DataError, match=words):
        check_finite(sequences, allow_missing=False)
    check_finite(sequences, allow_missing=True)
    with pytest.raises(
        DataError, match="Input X contains infinity: sequence 0: got -inf in step 0"
    ):
        check_finite(Sequences.of([[-np.inf]]), allow_missing=True)


def test_different_sequences_have_different_digests() -> None:
    different: list[Any] = [
        ["a b"], ["a", "b"], ["ab"], ["a b", ""], [["a b"]], [["a", "b"]], [["a"], ["b"]], [["ab"]],
        [[1.0, 2.0]], [[1.0], [2.0]], [[[1.0, 2.0]]], [[1.0, np.nan]], ["\ud800"],
    ]  # fmt: skip
    digests = [Sequences.of(one).digest() for one in different]
    assert len({*digests}) == len(different)
    assert Sequences.of(["a b"]).digest() == Sequences.of(np.array(["a b"])).digest()
    assert Sequences.of([[1, 2]]).digest() == Sequences.of(np.array([[1.0, 2.0]])).digest()
