from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.text import words
from elman.text.log_masking import mask
from elman.text.vocabulary import TextCodec
from elman.text.words import (
    MAX_TOKEN_CHARACTERS,
    MAX_WORD_CHARACTERS,
    blocks_of_whole_words,
    pieces,
    plain_line_ends,
    separator,
    tokenise,
    tokens_with_spans,
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
        ("x" * (MAX_WORD_CHARACTERS + 1), ["x" * MAX_WORD_CHARACTERS, "x"]),
    ],
)
def test_a_text_is_split_into_words(text: str, tokens: list[str]) -> None:
    assert tokenise(text) == tokens


@pytest.mark.parametrize("split", ["words", "whitespace"])
def test_no_token_is_longer_than_the_limit(split: str) -> None:
    word = "x" * MAX_WORD_CHARACTERS
    assert max(map(len, tokenise("’".join([word] * 20)))) == MAX_TOKEN_CHARACTERS
    for tail in ("\u0301", "\U0001f3fd", "\U000e0067"):
        text = "\u200d".join(["👩" + tail * MAX_WORD_CHARACTERS] * 30)
        tokens = tokenise(text, split)
        assert max(map(len, tokens)) <= MAX_TOKEN_CHARACTERS
        assert "".join(tokens) == text


def test_a_text_is_split_at_white_space() -> None:
    assert tokenise("it 's , ok\n= <unk> =", "whitespace") == [
        "it", "'s", ",", "ok", "\n", "=", "<unk>", "=",
    ]  # fmt: skip


@given(TEXTS, SPLITS)
def test_no_visible_character_is_lost(text: str, split: str) -> None:
    assert "".join("".join(tokenise(text, split)).split()) == "".join(text.split())


@given(TEXTS, SPLITS)
def test_the_tokens_of_pieces_are_the_tokens_of_the_text(text: str, split: str) -> None:
    assert [t for piece in pieces(text) for t in tokenise(piece, split)] == tokenise(text, split)


@pytest.mark.slow
@pytest.mark.parametrize("filler", ["", "wort", "字、", " ", "👩‍👩‍👧", "it's"])
@given(text=st.lists(TEXTS, max_size=8), split=SPLITS)
def test_tokens_do_not_depend_on_blocks(filler: str, text: list[str], split: str) -> None:
    # blocks come from a reader that has made every line end one character
    blocks = [(t + filler * 30).replace("\r", "\n") for t in text]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(words, "_MAX_BUFFERED_CHARACTERS", 64)
        patch.setattr(words, "MAX_WORD_CHARACTERS", 6)
        patch.setattr(words, "MAX_TOKEN_CHARACTERS", 20)
        patch.setattr(words, "_MAX_MODIFIERS", 2)
        patch.setattr(words, "_MAX_APOSTROPHES", 2)
        patch.setattr(words, "_MAX_JOINED_EMOJI", 2)
        words._pattern.cache_clear()
        anew = list(blocks_of_whole_words(blocks, split))
        whole = tokenise("".join(blocks), split)
        apart = [token for block in anew for token in tokenise(block, split)]
    words._pattern.cache_clear()
    assert "".join(anew) == "".join(blocks)
    assert apart == whole


@pytest.mark.slow
def test_a_text_without_white_space_is_cut_into_blocks() -> None:
    blocks = ["字、" * (1 << 18)] * 5
    anew = list(blocks_of_whole_words(blocks, "words"))
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
def test_separators_restore_a_text(text: str) -> None:
    tokens = tokenise(text)
    pairs = zip([None, *tokens], tokens, strict=False)
    assert "".join(separator(a, b) + b for a, b in pairs) == text


def test_tokens_split_at_white_space_are_joined_by_spaces() -> None:
    tokens = ["=", "Title", "=", "\n", "it", "'s", "."]
    pairs = zip([None, *tokens], tokens, strict=False)
    assert "".join(separator(a, b, "whitespace") + b for a, b in pairs) == "= Title =\nit 's ."


@pytest.mark.slow
@pytest.mark.parametrize("split", ["words", "whitespace", "log"])
@given(text=st.text(st.sampled_from("ab1 .,'\n\r\té-:0x<>_/"), max_size=60))
def test_spans_contain_their_tokens(split: str, text: str) -> None:
    located = tokens_with_spans(text, split)
    assert [token for token, _, _ in located] == tokenise(text, split)
    for token, begin, end in located:
        piece = plain_line_ends(text[begin:end])
        assert piece == token if split != "log" else mask(piece) == token


def test_spans_of_a_log_line_and_of_line_ends() -> None:
    line = "1 for block blk_388650490641396\r\nok"
    assert [line[begin:end] for _, begin, end in tokens_with_spans(line, "log")] == [
        "1",
        "for",
        "block",
        "blk_388650490641396",
        "\r\n",
        "ok",
    ]
    codec = TextCodec("char", ("<unk>", "a", "\n"), documents="file")
    assert codec.tokens_with_spans("a\r\na\r") == [
        ("a", 0, 1),
        ("\n", 1, 3),
        ("a", 3, 4),
        ("\n", 4, 5),
    ]
