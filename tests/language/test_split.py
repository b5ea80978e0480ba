"""The split of a text: the held-out sets, lines that are neither cut nor in two sets, and the warnings."""

from __future__ import annotations

import random
import re
from collections import Counter
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import OptionError
from elman.language import split
from elman.language.dataset import Dataset
from elman.language.split import line_keys
from elman.text import sources
from elman.text.sources import read_sources
from factories import load_language_dataset

SETS = ("training", "validation", "test")


def names(count: int, seed: int = 0) -> list[str]:
    draw = random.Random(seed)
    return [
        "".join(draw.choices("abcdefghijkl", k=2 + number * 8 // count)) for number in range(count)
    ]


def lines_of(dataset: Dataset, name: str) -> list[str]:
    corpus = getattr(dataset, name)
    return list(corpus.codec.decode(corpus.ids).split("\n")[:-1])


def by_lines(text: str, **options: object) -> Dataset:
    return load_language_dataset(text, **{"level": "char", "documents": "line", **options})


def test_lines_are_drawn_whatever_their_order() -> None:
    given = names(3000)
    dataset = by_lines("\n".join(given))
    sets = {name: lines_of(dataset, name) for name in SETS}
    assert sorted(chain(*sets.values())) == sorted(given)
    sizes = {name: sum(map(len, lines)) / sum(map(len, given)) for name, lines in sets.items()}
    assert sizes == pytest.approx({"training": 0.9, "validation": 0.05, "test": 0.05}, abs=0.003)
    # the names are sorted by length; the sets are not taken from the end, so their mean lengths agree
    assert dataset.warnings == ()
    mean = {name: np.mean([len(line) for line in lines]) for name, lines in sets.items()}
    assert mean["test"] == pytest.approx(mean["training"], rel=0.1)
    shuffled = random.Random(1).sample(given, len(given))
    again = by_lines("\n".join(shuffled) + "\n")
    assert {name: {*lines_of(again, name)} for name in SETS} == {
        name: {*lines} for name, lines in sets.items()
    }
    other = by_lines("\n".join(given), seed=1)
    assert {*lines_of(other, "test")} != {*sets["test"]}
    assert dataset.split == "10 % of the lines, drawn at random"


def test_identical_lines_are_in_the_same_set() -> None:
    given = names(600) * 3
    sets = [{*lines_of(by_lines("\n".join(given)), name)} for name in SETS]
    assert not sets[0] & sets[1] | sets[0] & sets[2] | sets[1] & sets[2]


def test_very_frequent_lines_are_drawn_independently() -> None:
    # if all copies of one of three sentences were held out, the network could not learn that sentence
    dataset = by_lines("\n".join(random.Random(0).choices(["ab", "cd", "ef"], k=900)))
    counts = {name: Counter(lines_of(dataset, name)) for name in SETS}
    assert all(len(count) == 3 for count in counts.values())
    assert counts["training"].total() == pytest.approx(810, abs=3)


@given(st.lists(st.text("ab\n", max_size=9), min_size=1, max_size=8))
def test_the_key_of_a_line_does_not_depend_on_blocks(pieces: list[str]) -> None:
    text = "".join(pieces)
    pairs = [
        pair for found in line_keys(filter(None, pieces), 3) for pair in zip(*found, strict=True)
    ]
    lines = (text + "\n" if text and not text.endswith("\n") else text).split("\n")[:-1]
    assert [length for _, length in pairs] == [len(line) + 1 for line in lines]
    known: dict[str, int] = {}
    for line, (key, _) in zip(lines, pairs, strict=True):
        assert known.setdefault(line, key) == key
    assert len({*known.values()}) == len(known)


def test_the_draw_of_lines_does_not_depend_on_blocks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    text = "\n".join(names(400))
    sets = [lines_of(by_lines(text), name) for name in SETS]
    monkeypatch.setattr(sources, "_BLOCK_CHARACTERS", 7)
    assert [lines_of(by_lines(text), name) for name in SETS] == sets


def test_the_end_is_held_out_of_logs_and_on_request() -> None:
    given = [f"{name} x" for name in names(300)]
    for options in ({"held_out_from": "end"}, {"level": "word", "split": "log"}):
        dataset = by_lines("\n".join(given), **options, min_count=1)
        ends = [len(getattr(dataset, name).starts) for name in SETS]
        assert sum(ends) == 300
        assert lines_of(dataset, "training") == given[: ends[0]]
        assert "the last 10 % of the text" in dataset.split
        # the names are sorted by length, so the validation set at the end has fewer lines than 5 %
        assert ends[1] < 0.05 * 300
    assert "characters" not in dataset.warnings
    drawn = by_lines("\n".join(given), level="word", split="log", held_out_from="random")
    assert "drawn at random" in drawn.split


def test_whole_files_are_drawn_if_there_are_many(tmp_path: Path) -> None:
    draw = random.Random(0)
    for number in range(60):
        words = draw.choices(["river", "stone", "apple", "cloud"], k=80)
        (tmp_path / f"{number:02}.txt").write_text(f"file{number} " + " ".join(words))
    dataset = load_language_dataset(tmp_path, level="char", documents="file")
    assert dataset.split == "10 % of the files, drawn at random"
    counts = [getattr(dataset, name).facts.files for name in SETS]
    assert sum(counts) == 60
    assert counts[0] == pytest.approx(54, abs=2)
    assert dataset.test is not None
    begins = {text[:6] for text in dataset.test.codec.decode(dataset.test.ids).split("file")}
    assert len(begins) - 1 == counts[2]
    few = [tmp_path / f"{number:02}.txt" for number in range(3)]
    assert (
        load_language_dataset(few, level="char", documents="file").split
        == "the last 10 % of the text"
    )
    with pytest.raises(OptionError, match="random for 3 files; expected documents of a line each"):
        load_language_dataset(few, level="char", documents="file", held_out_from="random")


def test_a_set_unlike_the_training_set_gives_a_warning() -> None:
    given = sorted(names(2000), key=len)
    said = by_lines("\n".join(given), held_out_from="end").warnings
    assert [
        warning.split(" is unlike the training set: its documents have ")[0] for warning in said
    ] == [
        "the validation set",
        "the test set",
    ]
    text = "a b " * 2000 + "c d " * 222
    (first, second) = load_language_dataset(text, level="word", documents="file").warnings
    assert first == (
        "the validation set is unlike the training set: 100% of its tokens are unknown"
        " (training set 0%)"
    )
    assert second.startswith("the test set is unlike")


def test_a_file_given_twice_gives_a_warning(tmp_path: Path) -> None:
    path, copy = tmp_path / "a.txt", tmp_path / "copy.txt"
    for one in (path, copy):
        one.write_text("to be or not to be " * 100)
    for twice in (path, copy):
        (warning,) = load_language_dataset([path, twice], level="char").training.facts.warnings
        assert f"{twice} is given more than once" in warning
        for option, name in (("valid", "held-out text"), ("test", "test set")):
            given = load_language_dataset(path, level="char", documents="file", **{option: twice})
            assert given.warnings == (
                f"100% of the {name} is in the text to train on too, which makes its figures too good",
            )


def test_lines_in_two_sets_give_a_warning() -> None:
    drawn = names(800)
    text, valid, test = (
        "".join(f"{name}\n" for name in part) for part in (drawn[:400], drawn[400:600], drawn[600:])
    )

    def said(**given: str) -> list[str]:
        return [one for one in load_language_dataset(text, **given).warnings if "too good" in one]

    assert said() == said(valid=valid, test=test) == []
    whole = "is in the text to train on too, which makes its figures too good"
    assert said(valid=text) == [f"100% of the held-out text {whole}"]
    (warning,) = said(valid=valid, test=text[: len(text) // 2] + test)
    assert warning.endswith(f"of the test set {whole}")
    assert said(valid=valid, test=valid) == [
        "100% of the test set is in the held-out text too, which makes its figures too good"
    ]


def test_a_small_text_is_trained_on_as_a_whole() -> None:
    three = load_language_dataset(
        "I like to eat pizza\nI like to eat burgers\nI like to eat burgers\n"
    )
    codec = three.training.codec
    assert (codec.level, codec.documents) == ("word", "line")
    assert {*codec.tokens} == {"<unk>", "<end>", *["I", "like", "to", "eat", "pizza", "burgers"]}
    assert (three.validation, three.test) == (None, None)
    assert three.split == "nothing is held out of so small a text"
    one = load_language_dataset("I like to eat pizza")
    assert one.training.codec.decode(one.training.ids) == "I like to eat pizza"
    assert one.validation is None


@pytest.mark.parametrize(
    ("text", "options", "found", "why"),
    [
        ("\n".join(names(400)), {}, ("char", "line"), "100 % of the lines are one word"),
        ("\n".join(names(400)), {"level": "word"}, ("word", "file"), ""),
        ("\n".join(names(400)), {"documents": "file"}, ("char", "file"), ""),
        (
            " ".join(f"{number:x}" for number in range(9000)),
            {},
            ("char", "file"),
            "100 % of the words occur only once",
        ),
        (
            "he goes home\nshe goes out\n" * 200,
            {},
            ("word", "line"),
            "of the lines occurred before",
        ),
        ("he goes home, she goes out, " * 200, {}, ("word", "file"), ""),
        ("he goes home\nshe goes out\n" * 200, {"split": "log"}, ("word", "file"), ""),
    ],
)
def test_level_and_documents_are_chosen_with_a_reason(
    text: str, options: dict[str, str], found: tuple[str, str], why: str
) -> None:
    corpus = load_language_dataset(text, **options).training
    assert (corpus.codec.level, corpus.codec.documents) == found
    said = [note for note in corpus.facts.warnings if "level and documents choose" in note]
    assert any(why in note for note in said) if why else not said


FRAGMENTS = st.lists(st.text("ab \n", min_size=1, max_size=8), min_size=1, max_size=5)


@given(FRAGMENTS, st.integers(0, 45), st.integers(0, 45))
def test_the_stretches_of_documents_make_up_the_text(
    pieces: list[str], first: int, last: int
) -> None:
    documents, _ = read_sources(pieces, None, lines=True)
    whole = "".join("".join(document.blocks()) for document in documents)
    assert len(whole) == sum(document.characters for document in documents)
    stretches = ["".join(d.blocks()) for d in split._stretch(documents, first, last)]
    assert all(stretches)
    assert "".join(stretches) == whole[first:last]


@given(FRAGMENTS, st.integers(0, 45), st.sampled_from([r"\s", "\n"]))
def test_a_cut_is_directly_after_a_border(pieces: list[str], wanted: int, breaks: str) -> None:
    documents, _ = read_sources(pieces, None, lines=True)
    whole = "".join("".join(document.blocks()) for document in documents)
    wanted = min(wanted, len(whole))
    place = split._cut_position(documents, wanted, breaks)
    later = [found.end() for found in re.finditer(breaks, whole) if found.start() >= wanted]
    earlier = [found.end() for found in re.finditer(breaks, whole[:wanted])]
    if later and whole[later[0] :].strip():
        assert place == later[0]
    else:
        assert place == (earlier[-1] if earlier else len(whole))


@pytest.mark.parametrize("level", ["char", "word"])
@pytest.mark.parametrize("given_test", [False, True])
def test_a_long_text_is_validated_on_stretches_from_all_over_it(
    level: str, given_test: bool
) -> None:
    text = " ".join(f"{number % 700:05}" for number in range(20_400))
    test = text[-6000:] if given_test else None
    dataset = load_language_dataset(text, level=level, test=test, min_count=1, documents="file")
    assert dataset.validation is not None
    assert dataset.test is not None
    assert dataset.split == (
        "stretches from all over the text, 5 %" + ("" if given_test else ", and the last 5 %")
    )
    sizes = [len(getattr(dataset, name).starts) for name in SETS]
    characters = [getattr(dataset, name).facts.characters for name in SETS]
    # 122,400 characters: six stretches of more than 1,000 for validation
    assert sizes[:2] == [6, 6]
    assert dataset.training.facts.files == 1
    assert characters[1] == pytest.approx(0.05 * len(text), rel=0.02)
    if not given_test:
        assert sum(characters) == len(text)
        # Training reaches to the last stretch, which ends where the test set begins.
        assert text.endswith(dataset.test.codec.decode(dataset.test.ids).strip())
