from __future__ import annotations

import errno
import hashlib
import random
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import DataError, OptionError, OutputError
from elman.language.corpus import Corpus, load_corpus
from elman.language.dataset import Dataset
from elman.text import growing_array, sources
from factories import load_language_dataset

SENTENCES = "".join(
    f"I like {food} number {n % 9}.\n" for n in range(60) for food in ("pizza", "tea")
)


def decoded(corpus: Corpus) -> str:
    return corpus.codec.decode(corpus.ids)


def sets_of(dataset: Dataset) -> tuple[Corpus, Corpus, Corpus]:
    assert dataset.validation is not None
    assert dataset.test is not None
    return dataset.training, dataset.validation, dataset.test


def test_the_text_is_cut_at_the_shares_of_its_characters() -> None:
    whole = "".join(random.Random(0).choices("abc \n", k=12_340))
    dataset = load_language_dataset(whole, level="char", documents="file")
    sets = sets_of(dataset)
    assert [len(one.ids) for one in sets] == [11_106, 617, 617]
    assert "".join(map(decoded, sets)) == whole
    assert sets[1].codec is sets[2].codec is sets[0].codec
    dataset = load_language_dataset(
        whole, level="char", documents="file", held_out=0.25, test="abab"
    )
    training, validation, test = sets_of(dataset)
    # one half of the held-out share validates; the given test set takes the place of the other half
    assert [len(training.ids), len(validation.ids)] == [10_797, 1543]
    assert decoded(test) == "abab"


def test_words_are_cut_at_white_space_and_lines_at_their_end() -> None:
    dataset = load_language_dataset(SENTENCES, level="word", documents="file")
    sets = sets_of(dataset)
    assert "".join(" ".join(map(decoded, sets)).split()) == "".join(SENTENCES.split())
    dataset = load_language_dataset(SENTENCES, level="char", documents="line", held_out_from="end")
    sets = sets_of(dataset)
    assert "".join(map(decoded, sets)) == SENTENCES
    assert all(decoded(one).endswith(".\n") for one in sets)


def test_words_without_white_space_are_not_cut() -> None:
    text = "名前はまだ無い、" * 300
    dataset = load_language_dataset(text, level="word", documents="file")
    sets = sets_of(dataset)
    assert all({*decoded(one).strip()} == {*text} for one in sets)
    assert dataset.training.codec.tokens == ("<unk>", "、", "名前はまだ無い")
    whole = load_language_dataset("名前はまだ無い" * 300, level="word")
    assert (whole.validation, whole.test) == (None, None)
    assert whole.split.startswith("nothing is held out")


def test_the_vocabulary_comes_from_the_training_set() -> None:
    dataset = load_language_dataset("ab" * 450 + "abcdd" * 20, level="char")
    assert {*dataset.training.codec.tokens} == {"<unk>", "a", "b"}
    assert dataset.test is not None
    assert (dataset.test.facts.unknown, dataset.test.facts.unknown_examples) == (30, ("d", "c"))
    assert "60% of its tokens are unknown (training set 0%)" in dataset.warnings[0]
    dataset = load_language_dataset("abab", level="char", valid="ab", test="abcab")
    assert dataset.test is not None
    assert decoded(dataset.training) == "abab"
    assert decoded(dataset.test) == "ab\ufffdab"


def test_facts_describe_the_text(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_bytes("Füße".encode("cp1252"))
    (tmp_path / "b.txt").write_bytes("Füße\r\n".encode("utf-8-sig"))
    dataset = load_language_dataset(
        [tmp_path, "und 日本"], test="xx Füße", level="char", documents="file"
    )
    training, test = dataset.training, dataset.test
    characters = "FüßeFüße\nund 日本"
    facts = training.facts
    assert (facts.files, facts.characters, facts.tokens) == (3, len(characters), len(characters))
    assert facts.bytes == len(characters.encode())
    assert facts.sha256 == hashlib.sha256(characters.encode()).hexdigest()
    assert facts.encodings == {"cp1252": 1, "utf-8": 1}
    assert training.starts.tolist() == [0, 4, 9]
    assert training.tokens_predicted == len(characters) - 3
    assert len(facts.warnings) == 1
    assert test is not None
    assert test.facts.warnings == ()
    assert test.facts.unknown_examples == ("x",)


def test_no_token_crosses_from_one_file_to_the_next() -> None:
    training = load_language_dataset(
        ["ab", "cd", "ab cd"], valid="ab cd", level="word", documents="file"
    ).training
    assert training.codec.tokens == ("<unk>", "ab", "cd")
    assert training.ids.tolist() == [1, 2, 1, 2]
    assert training.starts.tolist() == [0, 1, 2]


def test_files_are_joined_without_a_line_end() -> None:
    training = load_language_dataset(["ab", "ba"], level="char", documents="file").training
    assert training.codec.tokens == ("<unk>", "a", "b")
    assert training.codec.decode(training.ids) == "abba"


def test_ids_have_the_smallest_type_for_the_vocabulary() -> None:
    assert load_language_dataset("ab" * 50, level="char").training.ids.dtype == np.uint8
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    assert load_language_dataset(many * 10, level="char").training.ids.dtype == np.uint16
    assert (
        load_language_dataset(many, level="char", valid="ab", max_vocabulary=256).training.ids.dtype
        == np.uint8
    )


def test_lines_are_documents() -> None:
    training = load_language_dataset("ab\n\n\nb\r\nbab", level="char", documents="line").training
    assert training.codec.tokens == ("<unk>", "<end>", "b", "a")
    assert training.ids.tolist() == [3, 2, 1, 2, 1, 2, 3, 2, 1]
    assert training.starts.tolist() == [0, 3, 5]
    assert training.tokens_predicted == 9
    # a line of nothing but white space has no words, so it is no document
    words = load_language_dataset("a b\n  \n\t\n b", documents="line", level="word").training
    assert words.codec.decode(words.ids) == "a b\nb\n"


LINES = st.lists(st.text("ab \n\r", max_size=12), min_size=1, max_size=6)


@pytest.mark.slow
@given(LINES, st.sampled_from(["char", "word"]))
def test_lines_do_not_depend_on_files_and_blocks(files: list[str], level: str) -> None:
    files.append("ab a\n")
    joined = "".join(
        file if file.endswith(("\n", "\r")) or not file else file + "\n" for file in files
    )
    joined = joined.replace("\r\n", "\n").replace("\r", "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_BLOCK_CHARACTERS", 3)
        corpus = load_language_dataset(files, documents="line", level=level, min_count=1).training
    lines = [line if level == "char" else " ".join(line.split()) for line in joined.split("\n")]
    assert corpus.codec.decode(corpus.ids) == "".join(line + "\n" for line in lines if line)
    ends = np.flatnonzero(corpus.ids == 1) + 1
    assert corpus.starts.tolist() == [0, *ends[:-1]]


@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("level", ["char", "word"])
def test_a_long_text_is_mapped_from_a_file_with_the_same_ids(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, level: str, documents: str
) -> None:
    path = tmp_path / "a.txt"
    path.write_text(SENTENCES)
    options = {"level": level, "documents": documents}
    small = load_language_dataset([path, SENTENCES * 2], **options)
    monkeypatch.setattr(growing_array, "MAX_BYTES_IN_MEMORY", 10)
    monkeypatch.setattr(sources, "_BLOCK_CHARACTERS", 1000)
    workspace = tmp_path / "not" / "there"
    large = load_language_dataset([path, SENTENCES * 2], workspace=workspace, **options)
    assert small.split == large.split
    for name in ("training", "validation", "test"):
        one, other = getattr(small, name), getattr(large, name)
        assert isinstance(other.ids, np.memmap)
        assert one.facts == other.facts
        assert one.ids.dtype == other.ids.dtype
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.starts, other.starts)
        for array in (one.ids, one.starts, other.ids, other.starts):
            assert not array.flags.writeable
    # no temporary file is left in the workspace
    assert list(workspace.iterdir()) == []


def test_a_workspace_that_cannot_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_array, "MAX_BYTES_IN_MEMORY", 10)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot keep the encoded text in .*file"):
        load_language_dataset(SENTENCES, workspace=tmp_path / "file")


@pytest.mark.parametrize("method", ["write", "flush"])
def test_a_full_disk_is_one_clear_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    monkeypatch.setattr(growing_array, "MAX_BYTES_IN_MEMORY", 10)

    class Full:
        def __enter__(self) -> Any:
            return self

        def __exit__(self, *reason: object) -> None:
            pass

        def write(self, data: memoryview) -> None:
            if method == "write":
                raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tempfile, "TemporaryFile", lambda **where: Full())
    with pytest.raises(OutputError, match="got No space left on device"):
        load_language_dataset(SENTENCES, workspace=tmp_path)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("a", {}, "the text to train on is too short: got 1 characters"),
        ("\n" * 50, {"documents": "line"}, "is too short: got"),
        ("word", {"level": "word"}, "too short"),
        ("abc" * 9, {"valid": "a"}, "the validation set is too short"),
        ("abc" * 9, {"test": "a"}, "the test set is too short"),
        ("abc" * 9, {"valid": ""}, "the text is empty"),
        ("<unk> " * 9, {"level": "word"}, "at least 2 tokens, not all of them <unk>"),
        ("\u00a0 " * 9, {"level": "word"}, "too short: got 18 characters, 0 tokens"),
    ],
)
def test_texts_that_are_too_short(source: str, options: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError) as caught:
        load_language_dataset(source, **{"level": "char"} | options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"held_out": 0.0}, "held_out: got 0.0"),
        ({"held_out": 1}, "held_out: got 1"),
        ({"held_out": float("nan")}, "held_out: got nan"),
        ({"level": "byte"}, "level: got byte"),
        ({"max_vocabulary": 0}, "max_vocabulary"),
        ({"min_count": "2"}, "min_count"),
        ({"held_out_from": "start"}, "held_out_from: got start"),
    ],
)
def test_options_are_checked_before_the_text_is_read(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError, match=words):
        load_language_dataset(["missing.txt"], **options)


def test_one_kind_of_character_is_allowed() -> None:
    dataset = load_language_dataset("a" * 1000, level="char")
    assert dataset.training.codec.tokens == ("<unk>", "a")
    assert dataset.test is not None
    assert dataset.test.ids.tolist() == [1] * 50


def test_many_unknown_words_give_a_warning() -> None:
    strange = " ".join(f"w{number}" for number in range(100)) + " a a"
    (warning,) = load_language_dataset(strange, level="word", min_count=2).training.facts.warnings
    assert warning.startswith("98% of the words are outside the vocabulary")


def test_words_dropped_in_counting_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    from elman.text import counting

    monkeypatch.setattr(counting, "_MAX_DISTINCT_WORDS", 5)
    facts = load_language_dataset(" ".join(f"w{n}" for n in range(50)), level="word").training.facts
    assert facts.vocabulary_pruned
    assert "the rarest were dropped" in facts.warnings[0]


def test_load_corpus_uses_an_existing_vocabulary(tmp_path: Path) -> None:
    codec = load_language_dataset(
        SENTENCES, level="word", min_count=2, documents="file"
    ).training.codec
    (tmp_path / "a.txt").write_text("I like cold cold tea and pizza.")
    corpus = load_corpus(tmp_path / "a.txt", codec)
    assert corpus.codec.decode(corpus.ids) == "I like <unk> <unk> tea <unk> pizza."
    assert corpus.facts.unknown_examples == ("cold", "and")
    assert corpus.facts.tokens == corpus.tokens_predicted + 1
    with pytest.raises(DataError, match="the text is too short"):
        load_corpus("I", codec)


def test_importing_the_dataset_is_cheap() -> None:
    program = (
        "import elman.language.corpus, sys\n"
        "print(*{'torch', 'rich', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == ""
