from __future__ import annotations

import errno
import hashlib
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman._errors import DataError, OptionError, OutputError
from elman.data import load_corpora, load_corpus, sources, text

SENTENCES = "".join(
    f"I like {food} number {n % 9}.\n" for n in range(60) for food in ("pizza", "tea")
)


def test_the_cut_is_at_the_share_of_the_characters():
    whole = "".join(random.Random(0).choices("abc \n", k=12_345))
    training, held_out = load_corpora(whole)
    cut = int(0.9 * len(whole))
    assert training.codec.decode(training.ids) == whole[:cut]
    assert held_out.codec.decode(held_out.ids) == whole[cut:]
    assert held_out.codec is training.codec
    training, held_out = load_corpora(whole, held_out=0.25)
    assert len(training.ids) == int(0.75 * len(whole))


def test_words_are_cut_at_white_space_and_lines_at_their_end():
    training, held_out = load_corpora(SENTENCES, level="word")
    together = training.codec.decode(training.ids) + " " + held_out.codec.decode(held_out.ids)
    assert "".join(together.split()) == "".join(SENTENCES.split())
    training, held_out = load_corpora(SENTENCES, documents="line")
    assert training.codec.decode(training.ids) + held_out.codec.decode(held_out.ids) == SENTENCES


def test_the_vocabulary_is_that_of_the_training_part():
    training, held_out = load_corpora("ab" * 45 + "abcddabcdd")
    assert set(training.codec.tokens) == {"<unk>", "a", "b"}
    assert (held_out.facts.unknown, held_out.facts.unknown_examples) == (6, ("d", "c"))
    training, held_out = load_corpora("abab", valid="abcab")
    assert training.codec.decode(training.ids) == "abab"
    assert held_out.codec.decode(held_out.ids) == "ab\ufffdab"


def test_facts(tmp_path):
    (tmp_path / "a.txt").write_bytes("Füße".encode("cp1252"))
    (tmp_path / "b.txt").write_bytes("Füße\r\n".encode("utf-8-sig"))
    training, held_out = load_corpora([tmp_path, "und 日本"], valid="xx Füße", level="char")
    characters = "FüßeFüße\nund 日本"
    facts = training.facts
    assert (facts.files, facts.characters, facts.tokens) == (3, len(characters), len(characters))
    assert facts.bytes == len(characters.encode())
    assert facts.sha256 == hashlib.sha256(characters.encode()).hexdigest()
    assert facts.encodings == {"cp1252": 1, "utf-8": 1}
    assert training.starts.tolist() == [0, 4, 9]
    assert training.tokens_predicted == len(characters) - 3
    assert len(facts.warnings) == 1
    assert held_out.facts.warnings == ()
    assert held_out.facts.unknown_examples == ("x",)


def test_no_token_reaches_from_one_file_into_the_next():
    training, _ = load_corpora(["ab", "cd", "ab cd"], valid="ab cd", level="word")
    assert training.codec.tokens == ("<unk>", "ab", "cd")
    assert training.ids.tolist() == [1, 2, 1, 2]
    assert training.starts.tolist() == [0, 1, 2]


def test_nobody_wrote_a_line_end_between_files():
    training, _ = load_corpora(["ab", "ba"], valid="ab")
    assert training.codec.tokens == ("<unk>", "a", "b")
    assert training.codec.decode(training.ids) == "abba"


def test_ids_are_as_small_as_the_vocabulary_allows():
    assert load_corpora("ab" * 50)[0].ids.dtype == np.uint8
    many = "".join(map(chr, range(0x4E00, 0x4E00 + 300)))
    assert load_corpora(many * 10)[0].ids.dtype == np.uint16
    assert load_corpora(many, valid="ab", max_vocabulary=256)[0].ids.dtype == np.uint8


def test_lines_are_documents():
    training, _ = load_corpora("ab\n\n\nb\r\nbab", valid="b", documents="line")
    assert training.codec.tokens == ("<unk>", "<end>", "b", "a")
    assert training.ids.tolist() == [3, 2, 1, 2, 1, 2, 3, 2, 1]
    assert training.starts.tolist() == [0, 3, 5]
    assert training.tokens_predicted == 9
    # lines of white space alone have no words
    words, _ = load_corpora(
        "a b\n  \n\t\n b", valid="b", documents="line", level="word", min_count=1
    )
    assert words.codec.decode(words.ids) == "a b\nb\n"


LINES = st.lists(st.text("ab \n\r", max_size=12), min_size=1, max_size=6)


@given(LINES, st.sampled_from(["char", "word"]))
def test_lines_are_the_same_however_they_are_cut_into_files_and_blocks(files, level):
    files.append("ab a\n")
    joined = "".join(
        file if file.endswith(("\n", "\r")) or not file else file + "\n" for file in files
    )
    joined = joined.replace("\r\n", "\n").replace("\r", "\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sources, "_BLOCK", 3)
        corpus, _ = load_corpora(files, valid="ab", documents="line", level=level, min_count=1)
    lines = [line if level == "char" else " ".join(line.split()) for line in joined.split("\n")]
    assert corpus.codec.decode(corpus.ids) == "".join(line + "\n" for line in lines if line)
    ends = np.flatnonzero(corpus.ids == 1) + 1
    assert corpus.starts.tolist() == [0, *ends[:-1]]


@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("level", ["char", "word"])
def test_a_long_text_is_mapped_and_the_same(tmp_path, monkeypatch, level, documents):
    path = tmp_path / "a.txt"
    path.write_text(SENTENCES)
    options = {"level": level, "documents": documents}
    small = load_corpora([path, SENTENCES], **options)
    monkeypatch.setattr(text, "_IN_MEMORY", 10)
    monkeypatch.setattr(sources, "_BLOCK", 1000)
    workspace = tmp_path / "not" / "there"
    large = load_corpora([path, SENTENCES], workspace=workspace, **options)
    for one, other in zip(small, large, strict=True):
        assert isinstance(other.ids, np.memmap)
        assert one.facts == other.facts
        assert one.ids.dtype == other.ids.dtype
        np.testing.assert_array_equal(one.ids, other.ids)
        np.testing.assert_array_equal(one.starts, other.starts)
        for array in (one.ids, one.starts, other.ids, other.starts):
            assert not array.flags.writeable
    # nothing is left to clean up
    assert list(workspace.iterdir()) == []


def test_a_workspace_that_cannot_be_written(tmp_path, monkeypatch):
    monkeypatch.setattr(text, "_IN_MEMORY", 10)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match=r"cannot keep the encoded text in .*file"):
        load_corpora(SENTENCES, workspace=tmp_path / "file")


@pytest.mark.parametrize("method", ["write", "flush"])
def test_a_full_disk_is_told_in_one_line(tmp_path, monkeypatch, method):
    monkeypatch.setattr(text, "_IN_MEMORY", 10)

    class Full:
        def __enter__(self):
            return self

        def __exit__(self, *reason):
            pass

        def write(self, data):
            if method == "write":
                raise OSError(errno.ENOSPC, "No space left on device")

        def flush(self):
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(text.tempfile, "TemporaryFile", lambda **where: Full())
    with pytest.raises(OutputError, match="got No space left on device"):
        load_corpora(SENTENCES, workspace=tmp_path)


@pytest.mark.parametrize(
    ("source", "options", "words"),
    [
        ("a", {}, "the part to train on is too short: got 0 characters"),
        ("ab", {}, "the part to train on is too short: got 1 characters"),
        ("a" * 11, {"held_out": 0.05}, "the held-out part is too short: got 1 characters"),
        ("\n" * 50, {"documents": "line"}, "is too short: got"),
        ("word " * 2, {"level": "word"}, "too short"),
        ("abc" * 9, {"valid": "a"}, "the held-out part is too short"),
        ("abc" * 9, {"valid": ""}, "the text is empty"),
        (
            "<unk> " * 9,
            {"level": "word", "valid": "a b"},
            "at least 2 tokens, not all of them <unk>",
        ),
        ("\u00a0 " * 9, {"level": "word"}, "too short: got 16 characters, 0 tokens"),
    ],
)
def test_texts_that_are_too_short(source, options, words):
    with pytest.raises(DataError) as caught:
        load_corpora(source, **options)
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
    ],
)
def test_options_are_told_before_the_text_is_read(options, words):
    with pytest.raises(OptionError, match=words):
        load_corpora(["missing.txt"], **options)


def test_one_kind_of_character_is_allowed():
    training, held_out = load_corpora("a" * 40)
    assert training.codec.tokens == ("<unk>", "a")
    assert held_out.ids.tolist() == [1] * 4


def test_a_text_that_words_do_not_fit_is_warned_of():
    strange = " ".join(f"w{number}" for number in range(100)) + " a a"
    (warning,) = load_corpora(strange, valid="a a", level="word")[0].facts.warnings
    assert warning.startswith("98% of the words are outside the vocabulary")


def test_words_dropped_in_counting_are_reported(monkeypatch):
    from elman.data import vocabulary

    monkeypatch.setattr(vocabulary, "_DISTINCT", 5)
    facts = load_corpora(" ".join(f"w{n}" for n in range(50)), level="word", min_count=1)[0].facts
    assert facts.vocabulary_pruned
    assert "the rarest were dropped" in facts.warnings[0]


def test_load_corpus_reads_with_a_vocabulary_that_exists(tmp_path):
    codec = load_corpora(SENTENCES, level="word")[0].codec
    (tmp_path / "a.txt").write_text("I like cold cold tea and pizza.")
    corpus = load_corpus(tmp_path / "a.txt", codec)
    assert corpus.codec.decode(corpus.ids) == "I like <unk> <unk> tea <unk> pizza."
    assert corpus.facts.unknown_examples == ("cold", "and")
    assert corpus.facts.tokens == corpus.tokens_predicted + 1
    with pytest.raises(DataError, match="the text is too short"):
        load_corpus("I", codec)


def test_importing_the_data_is_cheap():
    program = (
        "import elman.data, sys; print(*{'torch', 'rich', 'scipy', 'sklearn'} & set(sys.modules))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == ""
