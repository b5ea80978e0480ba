from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.text import words
from elman.text.logs import mask
from elman.text.vocabulary import TextCodec
from elman.text.words import (
    LONGEST,
    LONGEST_TOKEN,
    pieces,
    plain_line_ends,
    separator,
    spans,
    tokenise,
    whole_words,
)

TEXTS = st.text(
    st.one_of(
        st.characters(),
        st.sampled_from("ab' ’\n\r.,<>-\u200d\u200c\u0301\u0941👩🏽🇩🇪\ufe0f1"),
    ),
    max_size=60,
)
SPLITS = st.sampled_from(["words", "whitespace"])


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("I like to eat", ["I", "like", "to", "eat"]),
        ("don't! ’tis o’clock", ["don't", "!", "’", "tis", "o’clock"]),
        ("dogs' 'x'", ["dogs", "'", "'", "x", "'"]),
        ("snake_case 3.14", ["snake_case", "3", ".", "14"]),
        ("a\r\nb\rc\n\nd", ["a", "\n", "b", "\n", "c", "\n", "\n", "d"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("สวัสดีครับ", ["สวัสดีครับ"]),
        ("cafe\u0301 naïve", ["cafe\u0301", "naïve"]),
        ("می\u200cخواهم", ["می\u200cخواهم"]),
        ("hi👩‍👩‍👧ho 👍🏽👍", ["hi", "👩‍👩‍👧", "ho", "👍🏽", "👍"]),
        ("❤️🇩🇪🇫🇷", ["❤️", "🇩🇪", "🇫🇷"]),
        ("a <unk> b<unk>", ["a", "<unk>", "b", "<unk>"]),
        ("<end>", ["<", "end", ">"]),
        ("吾輩は、猫。", ["吾輩は", "、", "猫", "。"]),
        ("a\u3000b\u2028c\t", ["a", "b", "c"]),
        ("co\u00adop no\u2060break", ["co\u00adop", "no\u2060break"]),
        ("", []),
        (" \t ", []),
        ("x" * (LONGEST + 1), ["x" * LONGEST, "x"]),
    ],
)
def test_words(text, tokens):
    assert tokenise(text) == tokens


@pytest.mark.parametrize("split", ["words", "whitespace"])
def test_no_token_is_longer_than_is_stated(split):
    word = "x" * LONGEST
    assert max(map(len, tokenise("’".join([word] * 20)))) == LONGEST_TOKEN
    for tail in ("\u0301", "\U0001f3fd", "\U000e0067"):
        text = "\u200d".join(["👩" + tail * LONGEST] * 30)
        tokens = tokenise(text, split)
        assert max(map(len, tokens)) <= LONGEST_TOKEN
        assert "".join(tokens) == text


def test_whitespace():
    assert tokenise("it 's , ok\n= <unk> =", "whitespace") == [
        "it", "'s", ",", "ok", "\n", "=", "<unk>", "=",
    ]  # fmt: skip


@given(TEXTS, SPLITS)
def test_no_visible_character_is_lost(text, split):
    assert "".join("".join(tokenise(text, split)).split()) == "".join(text.split())


@given(TEXTS, SPLITS)
def test_the_tokens_of_pieces_are_the_tokens_of_the_text(text, split):
    assert [t for piece in pieces(text) for t in tokenise(piece, split)] == tokenise(text, split)


@given(TEXTS, SPLITS)
def test_a_long_text_is_cut_as_a_short_one(text, split):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_SHORT", 0)
        counted = tokenise(text, split)
    assert counted == tokenise(text, split)


@pytest.mark.parametrize("filler", ["", "wort", "字、", " ", "👩‍👩‍👧", "it's"])
@given(text=st.lists(TEXTS, max_size=8), split=SPLITS)
def test_blocks_cut_anywhere_give_the_same_tokens(filler, text, split):
    # blocks come from a reader that has made every line end one character
    blocks = [(t + filler * 30).replace("\r", "\n") for t in text]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_BUFFER", 64)
        patch.setattr(words, "LONGEST", 6)
        patch.setattr(words, "LONGEST_TOKEN", 20)
        patch.setattr(words, "_TAIL", 2)
        patch.setattr(words, "_APOSTROPHES", 2)
        patch.setattr(words, "_JOINED_EMOJI", 2)
        words._pattern.cache_clear()
        anew = list(whole_words(blocks, split))
        whole = tokenise("".join(blocks), split)
        apart = [token for block in anew for token in tokenise(block, split)]
    words._pattern.cache_clear()
    assert "".join(anew) == "".join(blocks)
    assert apart == whole


def test_a_text_without_white_space_is_cut_all_the_same():
    blocks = ["字、" * (1 << 18)] * 5
    anew = list(whole_words(blocks, "words"))
    assert len(anew) > 1
    assert "".join(anew) == "".join(blocks)
    assert {t for block in anew for t in tokenise(block)} == {"字", "、"}


@pytest.mark.parametrize(
    "text",
    [
        "I like pizza, burgers (and more)!\nWhy? “Well,” he said; it's «fine».",
        "well-known and/or 5% of $3",
        "吾輩は猫である。名前はまだ「無い」。",
        "세계 인권 선언, 좋다.",
        "हिन्दी में है। और",
    ],
)
def test_separators_write_a_text_as_it_was(text):
    tokens = tokenise(text)
    pairs = zip([None, *tokens], tokens, strict=False)
    assert "".join(separator(a, b) + b for a, b in pairs) == text


def test_separators_of_white_space_are_spaces():
    tokens = ["=", "Title", "=", "\n", "it", "'s", "."]
    pairs = zip([None, *tokens], tokens, strict=False)
    assert "".join(separator(a, b, "whitespace") + b for a, b in pairs) == "= Title =\nit 's ."


@pytest.mark.parametrize("split", ["words", "whitespace", "log"])
@given(text=st.text(st.sampled_from("ab1 .,'\n\r\té-:0x<>_/"), max_size=60))
def test_spans_are_where_the_tokens_stand(split: str, text: str) -> None:
    tokens, found = tokenise(text, split), spans(text, split)
    assert len(found) == len(tokens)
    for token, (begin, end) in zip(tokens, found, strict=True):
        said = plain_line_ends(text[begin:end])
        assert said == token if split != "log" else mask(said) == token


def test_spans_of_a_log_line_and_of_line_ends() -> None:
    line = "1 for block blk_388650490641396\r\nok"
    assert [line[begin:end] for begin, end in spans(line, "log")] == [
        "1",
        "for",
        "block",
        "blk_388650490641396",
        "\r\n",
        "ok",
    ]
    codec = TextCodec("char", ("<unk>", "a", "\n"), documents="file")
    assert codec.spans("a\r\na\r") == [(0, 1), (1, 3), (3, 4), (4, 5)]
