"""Explanations that leave out or replace parts of a sequence, compared with predictions for the rest."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from elman.errors import DataError, ElmanError, InputError, OptionError
from elman.explain.explanation import DECOMPOSITION, LEFT_OUT, METHODS
from elman.labels.ablation import MAX_EXPLAINED_INPUTS
from elman.labels.explain import explain_labelled
from labels.test_explain import (
    PAIRS,
    ROUNDING,
    TEXT,
    adds_up,
    item_of,
    opened,
    score_of,
    tolerance,
)
from readers import open_labelled, reader_of

pytestmark = pytest.mark.usefixtures("way", "few_draws")


@pytest.mark.parametrize("kind", ["both", "word"])
def test_leaving_a_word_out_equals_the_text_without_it(kind: str) -> None:
    predictor = opened(kind)
    words = TEXT.split()
    told = explain_labelled(predictor, TEXT, "b", method=LEFT_OUT, quick=True)
    assert told.inputs == tuple(words)
    assert told.absence is not None
    for place in range(len(words)):
        rest = " ".join(words[:place] + words[place + 1 :])
        without = score_of(predictor, rest, 1)
        assert told.score - told.absence[place] == pytest.approx(
            without, abs=tolerance(predictor.model, told)
        )
    assert told.steps == len(words) * (len(words) - 1)
    assert told.score == pytest.approx(score_of(predictor, TEXT, 1), abs=ROUNDING)


def test_leaving_a_character_out_equals_the_text_without_it() -> None:
    text = "be not zebra"
    for kind in ("char", "word"):
        predictor = opened(kind)
        told = explain_labelled(predictor, text, "a", method=LEFT_OUT, of="characters")
        assert told.inputs == (*text,)
        assert told.absence is not None
        for place in range(len(text)):
            without = score_of(predictor, text[:place] + text[place + 1 :], 0)
            assert told.score - told.absence[place] == pytest.approx(
                without, abs=tolerance(predictor.model, told)
            )
    with pytest.raises(OptionError, match="method: got decomposition; expected replacement"):
        explain_labelled(opened("word"), text, method=DECOMPOSITION, of="characters")


def test_an_unknown_word_without_a_letter_is_another_unknown_word() -> None:
    predictor = opened("both")
    told = explain_labelled(predictor, "to zebra not", "a", method=LEFT_OUT, of="characters")
    assert told.absence is not None
    for place, other in enumerate(("to ebra not", "to zbra not", "to zera not"), 2):
        without = score_of(predictor, other, 0)
        assert told.score - told.absence[place] == pytest.approx(
            without, abs=tolerance(predictor.model, told)
        )
    told = explain_labelled(predictor, "to zebra not", "a", method=DECOMPOSITION, of="characters")
    assert told.note.startswith("The share of the words' own embeddings is part of the bias.")


@pytest.mark.parametrize("each", [True, False])
def test_numbers_left_out_become_their_mean(each: bool) -> None:
    predictor, item = opened("mask", "regress"), item_of("mask")
    told = explain_labelled(predictor, item, of="channels" if each else None, method=LEFT_OUT)
    assert told.absence is not None
    T, C = item.shape
    mean = np.nanmean(item, axis=0)
    names = [f"channel {c}, step {t}" for c in range(C) for t in range(T)]
    assert told.inputs == tuple(names if each else [f"step {t}" for t in range(T)])
    for place in range(len(told.inputs)):
        other = item.copy()
        if each:
            other[place % T, place // T] = mean[place // T]
        else:
            other[place] = mean
        without = score_of(predictor, other, 0)
        assert told.score - told.absence[place] == pytest.approx(
            without, abs=3 * tolerance(predictor.model, told)
        )
    assert (told.target, told.score_name, told.task) == ("value", "value", "regress")


@pytest.mark.parametrize("step", [None, 0, 3, 6])
def test_a_tag_is_explained_at_its_step(step: int | None) -> None:
    predictor, words = opened("both", "tag"), TEXT.split()
    told = explain_labelled(predictor, TEXT, of=step, method=LEFT_OUT)
    at = len(words) - 1 if step is None else step
    assert told.score_name == f"logit at step {at}"
    assert told.target == predictor.predict([TEXT])[0][at]
    number = predictor.labels.names.index(told.target)
    assert told.absence is not None
    for place in range(len(words)):
        rest = words[:place] + (["<unk>"] if place == at else []) + words[place + 1 :]
        without = score_of(predictor, rest, number, at - (place < at))
        assert told.score - told.absence[place] == pytest.approx(
            without, abs=tolerance(predictor.model, told)
        )
    listed = explain_labelled(predictor, words, of=step, method=LEFT_OUT)
    np.testing.assert_array_equal(listed.contributions, told.contributions)


def test_later_steps_do_not_move_a_tag_of_a_forward_network() -> None:
    predictor = opened("numbers", "tag", bidirectional=False)
    told = explain_labelled(predictor, item_of("numbers"), of=2)
    assert told.absence is not None
    assert abs(told.absence[3:]).max() <= tolerance(predictor.model, told)
    assert told.contributions[:3].all()
    later = explain_labelled(predictor, item_of("numbers"), of=2, method=DECOMPOSITION)
    assert not later.contributions[3:].any()


@pytest.mark.parametrize(("task", "kind"), PAIRS)
def test_sequences_of_no_word_one_word_and_one_step(task: str, kind: str) -> None:
    predictor = opened(kind, task)
    if kind in ("numbers", "mask"):
        told = explain_labelled(predictor, np.array([[0.3, -1.0, 2.0]]))
        assert told.inputs == ("step 0",)
        assert told.absence is not None
        alone = explain_labelled(predictor, np.array([[0.3, -1.0, 2.0]]), method=LEFT_OUT)
        # leaving the only step out puts its own value in its place; replacing it moves the answer
        assert abs(alone.contributions[0]) <= ROUNDING < abs(told.contributions[0])
        with pytest.raises(DataError, match="expected numbers, as in training"):
            explain_labelled(predictor, np.empty((0, 3)))
    else:
        told = explain_labelled(predictor, "t" if kind == "char" else "to")
        assert len(told.inputs) == 1
        if task == "tag":
            with pytest.raises(DataError, match=r"^a text without a word has no tag$"):
                explain_labelled(predictor, " ")
        else:
            empty = explain_labelled(predictor, "")
            assert (empty.inputs, empty.bias, empty.residual) == ((), 0, empty.score)
            number = 0 if task == "regress" else predictor.labels.names.index(empty.target)
            assert empty.score == pytest.approx(
                score_of(predictor, "", number), rel=ROUNDING, abs=ROUNDING
            )
    assert told.moved is None
    assert adds_up(told)


def test_an_empty_text_by_character() -> None:
    told = explain_labelled(opened("word"), "", of="characters")
    assert (told.inputs, told.passed) == ((), None)
    for of in (None, "words", "characters"):
        for method in METHODS:
            told = explain_labelled(opened("both"), "", of=of, method=method)
            assert (told.inputs, told.passed) == ((), None)
            assert (told.bias, told.residual) == (
                (told.score, 0) if told.additive else (0, told.score)
            )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["char", "word", "numbers"])
def test_neighbours_in_a_long_sequence_are_merged(kind: str) -> None:
    predictor = opened(kind, members=1, num_layers=1, cell="mingru")
    count = 4 * MAX_EXPLAINED_INPUTS - 1
    if kind == "numbers":
        item: Any = np.random.default_rng(0).normal(size=(count, 3))
        told = explain_labelled(predictor, item, method=DECOMPOSITION)
        assert (told.inputs[0], told.inputs[-1]) == ("steps 0-3", f"steps {count - 3}-{count - 1}")
        each = explain_labelled(predictor, item, of="channels")
        assert len(each.inputs) <= MAX_EXPLAINED_INPUTS
        assert each.inputs[-1].startswith("channel 2, steps ")
    else:
        space = "" if kind == "char" else " "
        item = space.join(np.random.default_rng(0).choice([*"tober"], count))
        told = explain_labelled(predictor, item, method=DECOMPOSITION)
        assert space.join(told.inputs) == item
    assert len(told.inputs) == MAX_EXPLAINED_INPUTS
    assert abs(told.residual) <= tolerance(predictor.model, told)


def test_only_the_ends_of_a_long_word_are_explained() -> None:
    told = explain_labelled(opened("both"), "to " + "e" * 10 + "o" * 12, of="characters")
    assert "".join(told.inputs) == "to" + "e" * 8 + "o" * 8


def test_a_character_whose_lower_case_is_longer() -> None:
    told = explain_labelled(opened("char"), "İ TO")
    assert len(told.inputs) == len(told.contributions)
    codec = reader_of("char").codec
    predictor = open_labelled(replace(reader_of("char"), codec=replace(codec, lowercase=True)))
    told = explain_labelled(predictor, "İ TO")
    assert told.inputs == (*"i\u0307 to",)


@pytest.mark.parametrize(
    ("kind", "task", "given", "error"),
    [
        ("word", "classify", {"target": "d"}, r"^no such label: got d; expected 'a', 'b', 'c'$"),
        ("word", "classify", {"target": ["a"]}, "^no such label"),
        ("word", "classify", {"target": 3}, "^no such label"),
        ("word", "regress", {"target": "a"}, "^target: got a; expected none"),
        ("word", "classify", {"method": "shap"}, r"^method: got shap; expected replacement \|"),
        ("word", "classify", {"of": "steps"}, r"^of: got steps; expected words \| characters$"),
        ("char", "classify", {"of": "words"}, "^of: got words; expected characters$"),
        ("numbers", "classify", {"of": "words"}, r"^of: got words; expected steps \| channels$"),
        ("numbers", "classify", {"of": 2}, "^of: got 2"),
        ("word", "tag", {"of": 7}, "^of: got 7; expected a whole number from 0 to 6$"),
        ("word", "tag", {"of": "words"}, "^of: got words; expected a whole number"),
    ],
)
def test_unusable_arguments_are_errors_of_one_line(
    kind: str, task: str, given: dict[str, Any], error: str
) -> None:
    item = TEXT if kind != "numbers" else np.zeros((4, 3))
    with pytest.raises(ElmanError, match=error) as caught:
        explain_labelled(opened(kind, task), item, **given)
    assert "\n" not in str(caught.value)


def test_sequences_unlike_those_of_training_are_errors() -> None:
    with pytest.raises(DataError, match="got text; expected numbers"):
        explain_labelled(opened("numbers"), "a text")
    with pytest.raises(InputError, match="2 channels"):
        explain_labelled(opened("numbers"), np.zeros((4, 2)))
    with pytest.raises(DataError, match="got numbers; expected texts"):
        explain_labelled(opened("word"), [1.0, 2.0])
