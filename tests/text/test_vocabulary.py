from __future__ import annotations

import copy
import pickle
from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import ModelFileError, OptionError
from elman.text import counting, vocabulary
from elman.text.counting import TokenCounter, count_vocabulary
from elman.text.vocabulary import END, TextCodec
from elman.text.words import MAX_TOKEN_CHARACTERS, MAX_WORD_CHARACTERS, UNKNOWN, tokenise

ANY = st.text(st.characters(), max_size=80)
WORDS = st.text(st.one_of(st.characters(), st.sampled_from("ab ' \n.<>\r-")), max_size=80)


def counted(text: str, **options: Any) -> TextCodec:
    return count_vocabulary([text], min_count=1, **options)[0]


@pytest.mark.slow
@given(ANY)
def test_characters_round_trip_exactly(text: str) -> None:
    codec = counted(text)
    ids = codec.encode(text)
    assert ids.dtype == np.int64
    assert len(ids) == len(text)
    assert not (ids == 0).any()
    assert codec.decode(ids) == text


@pytest.mark.slow
@given(ANY.map(lambda text: text.replace("\r", "\n")))
def test_lines_of_characters_round_trip_exactly(text: str) -> None:
    codec = counted(text, documents="line")
    ids = codec.encode(text)
    assert codec.decode(ids) == text
    assert [bool(end) for end in ids == 1] == [character == "\n" for character in text]


@given(WORDS, st.sampled_from(["words", "whitespace"]), st.sampled_from(["file", "line"]))
def test_words_round_trip_up_to_white_space(text: str, split: str, documents: str) -> None:
    if split == "whitespace" and documents == "line":
        text = text.replace(END, "")
    codec = counted(text.replace("\r", "\n"), level="word", split=split, documents=documents)
    ids = codec.encode(text)
    assert len(ids) == len(tokenise(text, split))
    assert "".join(codec.decode(ids).split()) == "".join(text.split())
    again = codec.decode(codec.encode(codec.decode(ids)))
    assert "".join(again.split()) == "".join(text.split())


@given(WORDS, st.lists(st.integers(0, 5), max_size=20))
def test_pieces_make_the_decoded_text(text: str, ids: list[int]) -> None:
    codec = counted(text, level="word", documents="line")
    ids = [number % len(codec) for number in ids]
    pairs = zip([None, *ids], ids, strict=False)
    assert "".join(codec.piece(a, b) for a, b in pairs) == codec.decode(ids)


@given(st.lists(st.sampled_from(["a", "bb", "c", "é", "x.y", "<unk>"]), max_size=50))
def test_the_order_is_by_falling_count_then_text(words: list[str]) -> None:
    text = " ".join(words)
    codec = counted(text, level="word")
    counts = Counter(tokenise(text))
    del counts[UNKNOWN]
    assert list(codec.tokens[1:]) == sorted(counts, key=lambda word: (-counts[word], word))


def test_unknown_tokens_have_number_0() -> None:
    codec = counted("ab")
    assert codec.encode("axb\ud800\U0010ffff").tolist() == [1, 0, 2, 0, 0]
    assert codec.decode([1, 0]) == "a\ufffd"
    words = counted("ab cd", level="word")
    assert words.encode("ab <unk> ef").tolist() == [1, 0, 0]
    assert words.decode([1, 0]) == "ab <unk>"


def test_a_literal_end_never_ends_a_line() -> None:
    text = "a <end> b\n"
    for split in ("words", "whitespace"):
        codec = counted(text, level="word", split=split, documents="line")
        assert codec.tokens.count(END) == 1
        assert (codec.encode(text) == codec.end_id).tolist()[:-1].count(True) == 0
    # among whole files it is a word like another
    assert counted(text, level="word", split="whitespace").encode("<end>").tolist() != [0]


def test_the_start_token_is_end_or_line_end_or_the_commonest() -> None:
    assert counted("ab\n", documents="line").start_id == 1
    codec = counted("aab\n")
    assert codec.tokens[codec.start_id] == "\n"
    codec = counted("abb")
    assert codec.tokens[codec.start_id] == "b"
    assert TextCodec("char", (UNKNOWN,)).start_id == 0


def test_max_vocabulary_and_min_count() -> None:
    text = "a a a b b c c d"
    codec, _ = count_vocabulary([text], level="word")
    assert codec.tokens == (UNKNOWN, "a", "b", "c")
    assert counted(text, level="word", max_vocabulary=3).tokens == (UNKNOWN, "a", "b")
    codec, _ = count_vocabulary([text], level="word", min_count=3)
    assert codec.tokens == (UNKNOWN, "a")
    # no word twice: without a stated least count all stay, and a stated one is refused at once
    assert len(count_vocabulary(["to be or not"], level="word")[0]) == 5
    for options in ({"level": "word", "min_count": 2}, {"min_count": 1_000_000}):
        with pytest.raises(OptionError) as caught:
            count_vocabulary(["to be or not"], **options)
        assert str(caught.value) == (
            f"min_count: got {options['min_count']}; no token occurs that often; pass a smaller one"
        )


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "sentence"}, "level: got sentence; expected one of char, word"),
        ({"split": "x"}, "split: got x"),
        ({"documents": "page\n"}, "documents: got page"),
        ({"max_vocabulary": 1}, "max_vocabulary: got 1; expected a whole number from 2"),
        ({"max_vocabulary": 2, "documents": "line"}, "from 3"),
        ({"max_vocabulary": 2.5}, "max_vocabulary: got 2.5"),
        ({"min_count": 0}, "min_count: got 0; expected a whole number from 1"),
        ({"min_count": True}, "min_count: got True"),
        ({"min_count": "a"}, "min_count: got a; expected a whole number from 1"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], words: str) -> None:
    with pytest.raises(OptionError) as caught:
        count_vocabulary(["text"], **options)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("limit", [4, 10])
def test_the_rarest_words_are_dropped_beyond_the_limit(
    limit: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "_MAX_DISTINCT_WORDS", limit)
    monkeypatch.setattr(counting, "MAX_KNOWN_PIECES", 2)
    counter = TokenCounter("word")
    for number in range(200):
        counter.add(f"often often sometimes w{number} v{number}")
        assert len(counter._words) <= limit
    assert counter.pruned
    assert counter.common()[:2] == [("often", 400), ("sometimes", 200)]


def test_nothing_is_dropped_below_the_limit() -> None:
    counter = TokenCounter("word")
    counter.add("a b a")
    counter.add("b c")
    assert counter.common() == [("a", 2), ("b", 2), ("c", 1)]
    assert not counter.pruned


def test_long_words_are_bounded_by_their_characters(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counting, "_MAX_HELD_CHARACTERS", 1000)
    counter = TokenCounter("word")
    for number in range(400):
        counter.add(f"{number:0100d} again")
    counter.common()
    assert counter.pruned
    assert sum(map(len, counter._words)) <= 4000
    assert counter.common()[0] == ("again", 400)


@pytest.mark.slow
@given(st.lists(ANY, max_size=5))
def test_characters_are_counted_over_blocks(blocks: list[str]) -> None:
    counter = TokenCounter("char")
    for block in blocks:
        counter.add(block)
    assert dict(counter.common()) == Counter("".join(blocks))


def test_a_full_cache_of_pieces_is_emptied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vocabulary, "MAX_KNOWN_PIECES", 3)
    text = " ".join(f"w{number % 7}," for number in range(50))
    codec = counted(text, level="word")
    numbers = {token: number for number, token in enumerate(codec.tokens)}
    assert codec.encode(text).tolist() == [numbers[token] for token in tokenise(text)]
    assert len(codec._piece_numbers) <= 3


@pytest.mark.parametrize("number", [-1, 3])
def test_a_number_outside_the_vocabulary(number: int) -> None:
    with pytest.raises(OptionError, match=f"token: got {number}; expected 0 to 2"):
        counted("ab").decode([1, number])


@pytest.mark.slow
@given(WORDS, st.sampled_from(["char", "word"]), st.sampled_from(["file", "line"]))
def test_a_codec_round_trips_through_parts_and_pickle(
    text: str, level: str, documents: str
) -> None:
    codec = counted(text, level=level, documents=documents)
    codec.encode(text)
    assert TextCodec.from_parts(*codec.to_parts()) == codec
    assert pickle.loads(pickle.dumps(codec)) == codec
    assert copy.deepcopy(codec) == codec


def test_the_longest_tokens_round_trip() -> None:
    word, symbol = "𝒳" * MAX_WORD_CHARACTERS, "👩" + "\U000e0067" * MAX_WORD_CHARACTERS
    for text in ("’".join([word] * 9), "\u200d".join([symbol] * 17)):
        codec = counted(text, level="word")
        assert TextCodec.from_parts(*codec.to_parts()) == codec
    TextCodec("word", (UNKNOWN, "x" * MAX_TOKEN_CHARACTERS))
    with pytest.raises(OptionError, match="which no text gives"):
        TextCodec("word", (UNKNOWN, "x" * (MAX_TOKEN_CHARACTERS + 1)))


def parts() -> tuple[dict[str, str], dict[str, np.ndarray]]:
    return counted("ab cd", level="word").to_parts()


def row(payload: bytes, lengths: list[int]) -> dict[str, np.ndarray]:
    return {
        "codec.bytes": np.frombuffer(payload, np.uint8),
        "codec.lengths": np.array(lengths, np.uint32),
    }


@pytest.mark.parametrize(
    ("config", "arrays", "words"),
    [
        ({"level": "x"}, {}, "level: got x"),
        ({"level": 3}, {}, "level: got 3"),
        ({"level": ["char"]}, {}, "level: got"),
        ({"split": None}, {}, "split: expected one of words"),
        ({"documents": "line"}, {}, "does not begin with <unk> <end>"),
        ({"level": "char"}, {}, "which no text gives"),
        ({}, {"codec.bytes": None}, "codec.bytes: got nothing; expected a row of uint8"),
        ({}, {"codec.bytes": np.zeros(9, np.int8)}, "codec.bytes: got int8"),
        ({}, {"codec.lengths": np.zeros((3, 1), np.uint32)}, "codec.lengths: got uint32 [3, 1]"),
        ({}, {"codec.lengths": np.array([5, 2, 3], np.uint32)}, "do not fit together"),
        ({}, {"codec.lengths": np.array([5, 2**32 - 3, 5], np.uint32)}, "do not fit together"),
        ({}, {"codec.lengths": np.array([9, 0, 0], np.uint32)}, "does not begin with <unk>"),
        ({}, {"codec.lengths": np.array([5, 4, 0], np.uint32)}, "holds '', which no text gives"),
        ({}, {"codec.bytes": np.frombuffer(b"<unk>abab", np.uint8)}, "a token twice"),
        ({}, {"codec.bytes": np.frombuffer(b"<unk>a c ", np.uint8)}, "which no text gives"),
        ({}, {"codec.bytes": np.frombuffer(b"<unk>a\xffcd", np.uint8)}, "not UTF-8"),
        ({}, row(b"", []), "does not begin"),
        ({}, row(b"<unk>" + b"a" * 1809, [5, 1809]), "aaa…, which no text gives"),
    ],
)  # fmt: skip
def test_damaged_parts_are_refused(
    config: dict[str, Any], arrays: dict[str, Any], words: str
) -> None:
    good_config, good_arrays = parts()
    changed = {k: v for k, v in {**good_arrays, **arrays}.items() if v is not None}
    with pytest.raises(ModelFileError) as caught:
        TextCodec.from_parts({**good_config, **config}, changed)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
