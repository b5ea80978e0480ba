"""Words: how a text is cut into them, and which white space is written between them again."""

from __future__ import annotations

import functools
import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from elman.text.logs import mask

__all__ = [
    "LINE_END",
    "LONGEST",
    "LONGEST_TOKEN",
    "UNKNOWN",
    "UNKNOWN_ID",
    "in_raw",
    "pieces",
    "plain_line_ends",
    "separator",
    "spans",
    "tokenise",
    "whole_words",
    "word_groups",
]

LINE_END = "\n"
UNKNOWN = "<unk>"
UNKNOWN_ID = 0
# A longer run is cut into pieces: what one token may cost in memory has a bound.
LONGEST = 200
_APOSTROPHES = 8
_JOINED_EMOJI = 16
_TAIL = 8
# Characters: of a word with all its parts. A symbol with all that it joins is far shorter.
LONGEST_TOKEN = LONGEST + _APOSTROPHES * (1 + LONGEST)
_BUFFER = 1 << 21
_SHORT = 1 << 12

_CLOSING = frozenset(".,;:!?…%‰°'’”»)]}。、，．：；！？·،؛؟۔।॥")
_OPENING = frozenset("([{¿¡«“‘„‚$£€¥#@")
# these hold a word together
_INSIDE = frozenset("'’")
_JOINING = frozenset("-/‐‑—")


def _marks(text: str) -> str:
    # The pattern knows the marks that stand in the text and no other: all of Unicode's would make
    # it four times as slow.
    if len(text) < _SHORT:
        letters = set(text)
    else:
        codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")
        letters = set(map(chr, np.flatnonzero(np.bincount(codes)).tolist()))
    return "".join(sorted(filter(lambda letter: unicodedata.category(letter)[0] == "M", letters)))


@functools.lru_cache(maxsize=256)
def _pattern(split: str, marks: str) -> re.Pattern[str]:
    if split != "words":
        return re.compile(rf"\S{{1,{LONGEST}}}|\n")
    # re's \w has no marks, without which the scripts of India and Thailand fall to pieces
    escaped = "".join(f"\\U{ord(mark):08x}" for mark in marks)
    word = rf"[\w{escaped}][\w{escaped}\u00ad\u200c\u200d\u2060]{{0,{LONGEST - 1}}}"
    # modifiers of skin tone, the tags that spell a flag, and every mark stay with their symbol
    tail = rf"[{escaped}\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f]{{0,{_TAIL}}}"
    joined = rf"(?:\u200d[^\s\w]{tail}){{0,{_JOINED_EMOJI}}}"
    return re.compile(
        rf"{word}(?:['’]{word}){{0,{_APOSTROPHES}}}|\n|{UNKNOWN}"
        rf"|[\U0001f1e6-\U0001f1ff]{{2}}|\S{tail}{joined}"
    )


def _pattern_for(text: str, split: str) -> re.Pattern[str]:
    return _pattern(split, "" if split != "words" or text.isascii() else _marks(text))


def plain_line_ends(text: str) -> str:
    r"""Return `text` with each of its line ends as ``"\n"``, the only one that corpora hold."""
    return text.replace("\r\n", LINE_END).replace("\r", LINE_END) if "\r" in text else text


def tokenise(text: str, split: str = "words") -> list[str]:
    r"""Return the words of `text`, each other visible character and each line end as tokens.

    With split "whitespace" a token is whatever stands between white space, with split "log" the same
    of the text whose numbers are masked (`elman.text.logs.mask`).

    >>> tokenise("I don't like pizza,\r\nI love it!")
    ['I', "don't", 'like', 'pizza', ',', '\n', 'I', 'love', 'it', '!']
    >>> tokenise("it 's <unk> .", "whitespace")
    ['it', "'s", '<unk>', '.']
    >>> tokenise("blk_-1608 took 3.5ms", "log")
    ['blk_<num>', 'took', '<num>ms']
    """
    text = plain_line_ends(text)
    if split == "log":
        text = mask(text)
    return _pattern_for(text, split).findall(text)


def spans(text: str, split: str = "words") -> list[tuple[int, int]]:
    r"""Return where each of the tokens that `tokenise` finds stands in `text`, as (begin, end).

    A placeholder of masked numbers stands where they do; the pieces of a word that is too long for one token
    stand where the word does.

    >>> spans("took 3.5ms,\r\nok", "log")
    [(0, 4), (5, 11), (11, 13), (13, 15)]
    """
    if split != "log":
        plain = plain_line_ends(text)
        found = [match.span() for match in _pattern_for(plain, split).finditer(plain)]
    else:
        plain, found = plain_line_ends(text), []
        # no match of a mask holds white space: each run of other characters is masked by itself
        for run in re.finditer(rf"\S+|{LINE_END}", plain):
            masked = mask(run[0])
            found += [run.span()] * len(_pattern_for(masked, split).findall(masked))
    return in_raw(text, found)


def in_raw(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """Return spans of `text` with plain line ends as spans of `text` itself."""
    if "\r" not in text:
        return spans
    starts = np.cumsum([0, *map(len, re.findall(r"(?s)\r\n|.", text))])
    return [(int(starts[begin]), int(starts[end])) for begin, end in spans]


def pieces(text: str) -> list[str]:
    r"""Return `text` in pieces over whose ends no token reaches: most are a word, many come again.

    The tokens of the pieces in a row are the tokens of the text.

    >>> pieces("to be,\nto  be")
    ['to', 'be,', '\n', 'to', '', 'be']
    """
    return plain_line_ends(text).replace(LINE_END, f" {LINE_END} ").split(" ")


def whole_words(blocks: Iterable[str], split: str) -> Iterator[str]:
    """Yield the text of `blocks` cut anew, so that no token stands in two of them.

    Memory stays bounded in a text without any white space.
    """
    held = ""
    for block in blocks:
        held += block
        cut = max(held.rfind(" "), held.rfind(LINE_END)) + 1
        if not cut and len(held) >= _BUFFER:
            for match in _pattern_for(held, split).finditer(held):
                if match.end() >= len(held) - LONGEST_TOKEN:
                    break
                cut = match.end()
        if cut:
            yield held[:cut]
            held = held[cut:]
    if held:
        yield held


def _unspaced(character: str) -> bool:
    # Chinese and Japanese writing, with its punctuation; Korean puts spaces
    return (
        "\u2e80" <= character <= "\u9fff"
        or "\uf900" <= character <= "\ufaff"
        or ("\uff00" <= character <= "\uffef")
    )


def _would_grow(previous: str, token: str) -> bool:
    # written together, a word behind a word, or a mark or joiner behind anything, were one token
    kind = unicodedata.category(token[0])
    if kind[0] == "M" or kind in ("Cf", "Sk") or (token[0] in _INSIDE and len(token) > 1):
        return True
    kinds = ("L", "M", "N")
    last = unicodedata.category(previous[-1])
    return (kind[0] in kinds or kind == "Pc") and (
        last[0] in kinds or last == "Pc" or previous[-1] in _INSIDE
    )


def separator(previous: str | None, token: str, split: str = "words") -> str:
    r"""Return the white space between the tokens `previous` (None at the start) and `token`.

    >>> tokens = ["(", "I", "like", "pizza", ")", "!", "\n"]
    >>> "".join(separator(a, b) + b for a, b in zip([None, *tokens], tokens))
    '(I like pizza)!\n'
    """
    if previous is None or LINE_END in (previous, token):
        return ""
    if split != "words" or _would_grow(previous, token):
        return " "
    if (
        token in _CLOSING
        or previous in _OPENING
        or token in _JOINING
        or previous in _JOINING
        or _unspaced(token[0])
        or _unspaced(previous[-1])
    ):
        return ""
    return " "


def word_groups(tokens: Sequence[str]) -> tuple[int, ...]:
    """Return the number of each character's word.

    A character that is neither letter nor digit is a group of its own.

    >>> word_groups("to be")
    (0, 0, 1, 2, 2)
    """
    letters = [token.isalnum() for token in tokens]
    joined = [a and b for a, b in itertools.pairwise(letters)]
    return tuple(np.cumsum([0, *(not one for one in joined)])[: len(tokens)].tolist())
