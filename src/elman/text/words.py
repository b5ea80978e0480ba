"""Words: the division of a text into tokens, and the white space that is written between them again."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from elman.text.log_masking import mask

LINE_END = "\n"
UNKNOWN = "<unk>"
UNKNOWN_ID = 0
# A longer run of characters is cut into several words, which bounds the memory of one token.
MAX_WORD_CHARACTERS = 200
_MAX_APOSTROPHES = 8
_MAX_JOINED_EMOJI = 16
_MAX_MODIFIERS = 8
# A token may be several words joined by apostrophes. Joined emoji are far shorter than that.
MAX_TOKEN_CHARACTERS = MAX_WORD_CHARACTERS + _MAX_APOSTROPHES * (1 + MAX_WORD_CHARACTERS)
_MAX_BUFFERED_CHARACTERS = 1 << 21

_CLOSING = frozenset(".,;:!?…%‰°'’”»)]}。、，．：；！？·،؛؟۔।॥")
_OPENING = frozenset("([{¿¡«“‘„‚$£€¥#@")
_APOSTROPHES = frozenset("'’")
_JOINING = frozenset("-/‐‑—")


def code_points(text: str) -> np.ndarray:
    """Return the code points of `text` as uint32 ``[N]``, including lone surrogates.

    >>> code_points("aé").tolist()
    [97, 233]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _combining_marks(text: str) -> str:
    """Return the combining marks in `text`; a pattern with all Unicode marks would be four times slower."""
    return "".join(sorted(c for c in set(text) if unicodedata.category(c)[0] == "M"))


@functools.lru_cache(maxsize=256)
def _pattern(split: str, marks: str) -> re.Pattern[str]:
    if split != "words":
        return re.compile(rf"\S{{1,{MAX_WORD_CHARACTERS}}}|\n")
    # Python's \w lacks the combining marks, which words of Indian and Thai scripts contain.
    escaped = "".join(f"\\U{ord(mark):08x}" for mark in marks)
    inside = rf"[\w{escaped}\u00ad\u200c\u200d\u2060]"
    word = rf"[\w{escaped}]{inside}{{0,{MAX_WORD_CHARACTERS - 1}}}"
    # A symbol keeps its marks, its skin tone, and the tag characters that spell a flag.
    modifiers = rf"[{escaped}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]{{0,{_MAX_MODIFIERS}}}"
    joined = rf"(?:\u200d[^\s\w]{modifiers}){{0,{_MAX_JOINED_EMOJI}}}"
    return re.compile(
        rf"{word}(?:['’]{word}){{0,{_MAX_APOSTROPHES}}}|\n|{UNKNOWN}"
        rf"|[\U0001f1e6-\U0001f1ff]{{2}}|\S{modifiers}{joined}"
    )


def _pattern_for(text: str, split: str) -> re.Pattern[str]:
    return _pattern(split, "" if split != "words" or text.isascii() else _combining_marks(text))


def plain_line_ends(text: str) -> str:
    r"""Return `text` with every line end as ``"\n"``, the only line end in a corpus."""
    return text.replace("\r\n", LINE_END).replace("\r", LINE_END) if "\r" in text else text


def tokenise(text: str, split: str = "words") -> list[str]:
    r"""Return the tokens of `text`.

    Args:
        text: The text, with line ends of any kind.
        split: "words" makes tokens of words, of every other visible character and of line ends;
            "whitespace" makes a token of whatever stands between white space; "log" does the same after
            it has masked the numbers (`elman.text.log_masking.mask`).

    >>> tokenise("I don't like pizza,\r\nI love it!")
    ['I', "don't", 'like', 'pizza', ',', '\n', 'I', 'love', 'it', '!']
    >>> tokenise("it 's <unk> .", "whitespace")
    ['it', "'s", '<unk>', '.']
    >>> tokenise("blk_-1608 took 3.5ms", "log")
    ['blk_<num>', 'took', '<num>ms']
    """
    text = plain_line_ends(text)
    if split != "log":
        found: list[str] = _pattern_for(text, split).findall(text)
        return found
    return [token for token, _, _ in _matches(text, split)]


def tokens_with_spans(text: str, split: str = "words") -> list[tuple[str, int, int]]:
    r"""Return the tokens of `text` as `tokenise` does, each with its begin and end in characters.

    A token with a placeholder has the span of the text that was masked. All pieces of a word that is too
    long for one token have the span of the word.

    >>> tokens_with_spans("took 3.5ms,\r\nok", "log")
    [('took', 0, 4), ('<num>ms,', 5, 11), ('\n', 11, 13), ('ok', 13, 15)]
    """
    return spans_in_raw_text(text, _matches(plain_line_ends(text), split))


def _matches(text: str, split: str) -> Iterator[tuple[str, int, int]]:
    """Yield token, begin and end for a text with plain line ends."""
    if split != "log":
        for match in _pattern_for(text, split).finditer(text):
            yield match[0], *match.span()
        return
    # A mask never replaces white space, so each run of visible characters is masked by itself.
    for run in re.finditer(rf"\S+|{LINE_END}", text):
        masked = mask(run[0])
        for token in _pattern_for(masked, split).findall(masked):
            yield token, *run.span()


def spans_in_raw_text(
    text: str, tokens: Iterable[tuple[str, int, int]]
) -> list[tuple[str, int, int]]:
    """Return tokens of `text` after `plain_line_ends`, with their spans in `text` as it was."""
    if "\r" not in text:
        return list(tokens)
    # starts[i] is the position in `text` of character i of the text with plain line ends.
    starts = np.cumsum([0, *map(len, re.findall(r"(?s)\r\n|.", text))]).tolist()
    return [(token, starts[begin], starts[end]) for token, begin, end in tokens]


def pieces(text: str) -> list[str]:
    r"""Return `text` in pieces that no token crosses: most are one word, and many occur again.

    The tokens of the pieces in a row are the tokens of the text.

    >>> pieces("to be,\nto  be")
    ['to', 'be,', '\n', 'to', '', 'be']
    """
    return plain_line_ends(text).replace(LINE_END, f" {LINE_END} ").split(" ")


def blocks_of_whole_words(blocks: Iterable[str], split: str) -> Iterator[str]:
    """Yield the text of `blocks` in other blocks, at whose borders no token is cut.

    Memory stays bounded even for a text without white space.
    """
    buffer = ""
    for block in blocks:
        buffer += block
        # White space always ends a token, so a block may end after it.
        cut = max(buffer.rfind(" "), buffer.rfind(LINE_END)) + 1
        if not cut and len(buffer) >= _MAX_BUFFERED_CHARACTERS:
            for match in _pattern_for(buffer, split).finditer(buffer):
                # The next block may still lengthen a token that ends after this limit.
                if match.end() >= len(buffer) - MAX_TOKEN_CHARACTERS:
                    break
                cut = match.end()
        if cut:
            yield buffer[:cut]
            buffer = buffer[cut:]
    if buffer:
        yield buffer


def _written_without_spaces(character: str) -> bool:
    # Chinese and Japanese script and punctuation; Korean puts spaces between words.
    return (
        "\u2e80" <= character <= "\u9fff"
        or "\uf900" <= character <= "\ufaff"
        or "\uff00" <= character <= "\uffef"
    )


def _would_merge(previous: str, token: str) -> bool:
    """Return whether the two tokens, written without a space, would be read as one token."""
    # A mark or a modifier joins the character before it; so do an apostrophe and the letters after it.
    category = unicodedata.category(token[0])
    if category[0] == "M" or category in ("Cf", "Sk"):
        return True
    if token[0] in _APOSTROPHES and len(token) > 1:
        return True
    last = unicodedata.category(previous[-1])
    return (category[0] in "LMN" or category == "Pc") and (
        last[0] in "LMN" or last == "Pc" or previous[-1] in _APOSTROPHES
    )


def separator(previous: str | None, token: str, split: str = "words") -> str:
    r"""Return the white space between the tokens `previous` (None at the start) and `token`.

    >>> tokens = ["(", "I", "like", "pizza", ")", "!", "\n"]
    >>> "".join(separator(a, b) + b for a, b in zip([None, *tokens], tokens))
    '(I like pizza)!\n'
    """
    if previous is None or LINE_END in (previous, token):
        return ""
    if split != "words" or _would_merge(previous, token):
        return " "
    if (
        token in _CLOSING
        or previous in _OPENING
        or token in _JOINING
        or previous in _JOINING
        or _written_without_spaces(token[0])
        or _written_without_spaces(previous[-1])
    ):
        return ""
    return " "


def word_groups(tokens: Sequence[str]) -> tuple[int, ...]:
    """Return for each character the number of the word that it belongs to.

    A character that is neither a letter nor a digit is a word of its own.

    >>> word_groups("to be")
    (0, 0, 1, 2, 2)
    """
    letters = [token.isalnum() for token in tokens]
    same_word = [a and b for a, b in itertools.pairwise(letters)]
    return tuple(np.cumsum([0, *(not same for same in same_word)])[: len(tokens)].tolist())
