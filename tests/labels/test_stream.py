"""Streams of classifiers, regressors and taggers: after every step, the answer to the sequence so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman.errors import DataError, InputError, ShapeError
from elman.files.model import Model
from elman.labels.dataset import Sequences
from elman.labels.network import SequenceNetwork
from elman.labels.stream import SequenceStream
from factories import CELLS
from readers import KINDS, POOLINGS, open_labelled, reader_of, rounding, sequences_of

GOLDEN = Path(__file__).parents[1] / "golden"


def steps_of(kind: str, item: Any) -> list[Any]:
    """Return the steps of a sequence as a person feeds them."""
    return list(item) if kind in ("char", "numbers", "mask") else item.split()


def check(model: Model, kind: str, *, longest: int = 5) -> None:
    """Feed sequences step by step, then in pieces, and compare with the answers to their beginnings."""
    sequences, network = sequences_of(kind), SequenceNetwork(model)
    tolerance, tags = rounding(model, sequences), model.config.task == "tag"
    stream = open_labelled(model).stream()
    for item in sequences.items[:longest]:
        steps = steps_of(kind, item)
        join = (lambda part: np.array(part)) if kind in ("numbers", "mask") else "".join
        join = " ".join if kind in ("both", "word") else join
        stream.reset()
        for count, step in enumerate(steps, 1):
            so_far = network.sequences([join(steps[:count])])
            expected = network.step_logits(so_far)[0][-1] if tags else network.logits(so_far)[0]
            got = stream.feed(step).logits
            np.testing.assert_allclose(
                got, expected, rtol=0, atol=tolerance * max(1, abs(expected).max())
            )
            assert stream.steps == count
        half = len(steps) // 2
        stream.reset().feed(join(steps[:half])) if half else stream.reset()
        np.testing.assert_allclose(
            stream.feed(join(steps[half:])).logits, got, rtol=0, atol=tolerance
        )


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("task", ["classify", "regress", "tag"])
def test_every_kind_and_task(kind: str, task: str) -> None:
    # A tagger splits texts into words.
    if (kind, task) != ("char", "tag"):
        check(reader_of(kind, task, bidirectional=False), kind)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling(pooling: str) -> None:
    check(reader_of("numbers", pooling=pooling, bidirectional=False, members=1), "numbers")


@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_every_cell(cell: str, activation: str) -> None:
    check(
        reader_of("word", cell=cell, activation=activation, bidirectional=False), "word", longest=2
    )


def test_answers_of_each_task() -> None:
    text = "to be or not"
    classifier = open_labelled(reader_of("word", bidirectional=False))
    stream = classifier.stream().feed(text)
    np.testing.assert_allclose(stream.probabilities, classifier.predict_proba([text])[0], atol=1e-6)
    assert stream.predict() == classifier.predict([text])[0]
    regressor = open_labelled(reader_of("word", "regress", bidirectional=False))
    number = regressor.stream().feed(text)
    assert number.predict() == pytest.approx(regressor.predict([text])[0], rel=1e-5)
    with pytest.raises(InputError):
        _ = number.probabilities
    tagger = open_labelled(reader_of("word", "tag", bidirectional=False))
    tags = tagger.stream()
    assert [tags.feed(word).predict() for word in text.split()] == tagger.predict([text])[0]
    assert tags.reset().feed(["to", "be"]).predict() == tagger.predict([["to", "be"]])[0][-1]


def test_an_empty_text_is_no_step_and_a_reset_forgets() -> None:
    stream = open_labelled(reader_of("word", bidirectional=False)).stream()
    with pytest.raises(
        InputError, match="the answer of a stream: got no step; expected feed first"
    ):
        stream.feed("").feed("  ").predict()
    first = stream.feed("to").feed("").logits
    assert repr(stream) == "SequenceStream(classify; 1 steps read)"
    np.testing.assert_array_equal(stream.feed("be").reset().feed("to").logits, first)


def test_huge_numbers_have_finite_answers() -> None:
    how: dict[str, Any] = {"cell": "rnn", "activation": "linear", "pooling": "last+mean+max"}
    model = reader_of("numbers", bidirectional=False, scale=9.0, **how)
    stream = open_labelled(model).stream()
    for _ in range(60):
        stream.feed([1e30, 1e30, -1e30])
    assert np.isfinite(stream.logits).all()
    sequence = Sequences.of([np.tile([1e30, 1e30, -1e30], (60, 1))])
    assert stream.predict() == open_labelled(model).predict(sequence)[0]


def test_a_masked_number_is_missing() -> None:
    stream = open_labelled(reader_of("mask", bidirectional=False)).stream()
    missing = stream.feed([0.5, np.nan, 1.0]).logits
    step = np.ma.array([0.5, 9.0, 1.0], mask=[False, True, False])
    np.testing.assert_array_equal(stream.reset().feed(step).logits, missing)


@pytest.mark.parametrize("step", [["a", "b", "c"], [[1, 2, 3], [1, 2]], {}, object(), [1j, 0, 0]])
def test_steps_that_are_no_numbers(step: Any) -> None:
    stream = open_labelled(reader_of("numbers", bidirectional=False)).stream()
    with pytest.raises(DataError):
        stream.feed(step)
    assert not stream.steps


def test_refusals() -> None:
    with pytest.raises(ShapeError, match="got 2 channels; expected 3"):
        open_labelled(reader_of("numbers", bidirectional=False)).stream().feed([1.0, 2.0])
    for name, reason in [
        ("tag", "also reads backwards; train it with bidirectional=False"),
        ("convolutions", r"a wide part \(convolutions\)"),
    ]:
        predictor: Any = elman.load(GOLDEN / f"{name}-1.safetensors")
        with pytest.raises(InputError, match=f"a stream of this model: got .*{reason}"):
            predictor.stream()
    chained = reader_of("word", "tag", bidirectional=False, transitions=True)
    with pytest.raises(InputError, match="tags that depend on later ones"):
        SequenceStream(chained, SequenceNetwork(chained))
