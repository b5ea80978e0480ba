"""The choice of tokens and documents for a text whose user has left them open."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from elman.text.sources import Document
from elman.text.words import LINE_END, tokenise

SAMPLE_CHARACTERS = 1 << 20
SMALL_TEXT_CHARACTERS = 1000
"""In a shorter text each line is a document, and no part of it is held out."""
MIN_LINES = 20
"""Statistics of the lines count only if there are this many lines."""
WORD_LIST_SHARE = 0.9
"""A text with this share of lines of one word is a list of words."""
REPEATED_SHARE = 0.5
"""With this share of lines that occurred before, a line does not continue the line before it."""
MIN_WORDS = 5000
"""Statistics of the words count only if there are this many words."""
MAX_RARE_SHARE = 1 / 3
"""With a larger share of words that occur once, words are bad tokens: the text has no spaces, or ids."""


def choose_tokenisation(
    documents: Sequence[Document], level: str | None, unit: str | None, split: str
) -> tuple[str, str, list[str]]:
    r"""Return the level, the unit of a document, and a warning if the choice is an unusual one.

    The choice is made from a sample at the beginning of the text.

    Args:
        documents: The text.
        level: "char" or "word" if the user has said so, or None.
        unit: "file" or "line" if the user has said so, or None.
        split: The way to find words; only for the usual way, "words", characters may be chosen.

    >>> from elman.text.sources import read_sources
    >>> names = read_sources("emma\nolivia\nava\n" * 20, None, lines=False)[0]
    >>> choose_tokenisation(names, None, None, "words")[:2]
    ('char', 'line')
    """
    if level is not None and unit is not None:
        return level, unit, []
    likely_level, likely_unit, reason = _likely(_sample(documents), level, split)
    level, unit = level or likely_level, unit or likely_unit
    if not reason or (level, unit) != (likely_level, likely_unit):
        return level, unit, []
    tokens = "characters" if level == "char" else "words"
    alone = ", each line by itself" if unit == "line" else ""
    return level, unit, [f"{reason}: read as {tokens}{alone}; level and documents choose otherwise"]


def _sample(documents: Sequence[Document]) -> str:
    blocks, missing = [], SAMPLE_CHARACTERS
    for block in itertools.chain.from_iterable(document.blocks() for document in documents):
        blocks.append(block[:missing])
        missing -= len(block)
        if missing <= 0:
            break
    return "".join(blocks)


def _likely(text: str, level: str | None, split: str) -> tuple[str, str, str]:
    """Return level, unit, and the reason for an unusual choice, "" for the usual one."""
    lines = [words for line in text.split(LINE_END) if (words := tuple(tokenise(line, split)))]
    may_be_characters = level is None and split == "words"
    level = level or "word"
    one_word = sum(len(words) == 1 for words in lines) / max(1, len(lines))
    if may_be_characters and len(lines) >= MIN_LINES and one_word >= WORD_LIST_SHARE:
        return "char", "line", f"{100 * one_word:.0f} % of the lines are one word"
    if split == "log":
        return level, "file", ""
    repeated = 1 - len(set(lines)) / max(1, len(lines))
    if len(lines) >= MIN_LINES and repeated >= REPEATED_SHARE:
        return level, "line", f"{100 * repeated:.0f} % of the lines occurred before"
    if len(lines) > 1 and len(text) < SMALL_TEXT_CHARACTERS:
        return level, "line", "the text is small"
    counts = Counter(itertools.chain.from_iterable(lines))
    rare = sum(count == 1 for count in counts.values()) / max(1, counts.total())
    if may_be_characters and counts.total() >= MIN_WORDS and rare > MAX_RARE_SHARE:
        return "char", "file", f"{100 * rare:.0f} % of the words occur only once"
    return level, "file", ""
