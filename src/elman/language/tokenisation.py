"""The choice of tokens and documents for a text whose user has left them open."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from elman.language.options import DocumentUnit, LanguageOptions, Level
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
    documents: Sequence[Document], options: LanguageOptions
) -> tuple[LanguageOptions, list[str]]:
    r"""Return the options with a level and a unit of documents, and a warning if the choice is unusual.

    What the options leave open is chosen from a sample at the beginning of the text.

    >>> from elman.text.sources import read_sources
    >>> names = read_sources("emma\nolivia\nava\n" * 20, None, lines=False)[0]
    >>> options, warnings = choose_tokenisation(names, LanguageOptions())
    >>> options.level, options.documents
    ('char', 'line')
    """
    if options.level and options.documents:
        return options, []
    likely_level, likely_unit, reason = _likely(_sample(documents), options)
    level, unit = options.level or likely_level, options.documents or likely_unit
    chosen = replace(options, level=level, documents=unit)
    if not reason or (level, unit) != (likely_level, likely_unit):
        return chosen, []
    tokens = "characters" if level == "char" else "words"
    alone = ", each line by itself" if unit == "line" else ""
    return chosen, [f"{reason}: read as {tokens}{alone}; level and documents choose otherwise"]


def _sample(documents: Sequence[Document]) -> str:
    text = ""
    for block in itertools.chain.from_iterable(document.blocks() for document in documents):
        text += block
        if len(text) >= SAMPLE_CHARACTERS:
            break
    return text[:SAMPLE_CHARACTERS]


def _likely(text: str, options: LanguageOptions) -> tuple[Level, DocumentUnit, str]:
    """Return level, unit, and the reason for an unusual choice, "" for the usual one."""
    tokenised = (tuple(tokenise(line, options.split)) for line in text.split(LINE_END))
    lines = [words for words in tokenised if words]
    may_be_characters = options.level is None and options.split == "words"
    level = options.level or "word"
    one_word = sum(len(words) == 1 for words in lines) / max(1, len(lines))
    # Names or words, one a line: what there is to learn is their spelling.
    if may_be_characters and len(lines) >= MIN_LINES and one_word >= WORD_LIST_SHARE:
        return "char", "line", f"{100 * one_word:.0f} % of the lines are one word"
    if options.split == "log":
        return level, "file", ""
    repeated = 1 - len(set(lines)) / max(1, len(lines))
    # Generated sentences and events: the order of the lines says nothing.
    if len(lines) >= MIN_LINES and repeated >= REPEATED_SHARE:
        return level, "line", f"{100 * repeated:.0f} % of the lines occurred before"
    # A few lines are an example to try the program with; each is a document.
    if len(lines) > 1 and len(text) < SMALL_TEXT_CHARACTERS:
        return level, "line", "the text is small"
    if not may_be_characters:
        return level, "file", ""
    counts = Counter(itertools.chain.from_iterable(lines))
    rare = sum(count == 1 for count in counts.values()) / max(1, counts.total())
    # A language without spaces, or a text full of numbers: most words are met only once.
    if counts.total() >= MIN_WORDS and rare > MAX_RARE_SHARE:
        return "char", "file", f"{100 * rare:.0f} % of the words occur only once"
    return level, "file", ""
