"""How a text is best read where a person has not said: by words or characters, by file or line."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Sequence

from elman.text.sources import Document
from elman.text.words import LINE_END, tokenise

__all__ = ["guess_reading"]

SAMPLE_CHARACTERS = 1 << 20
SMALL_TEXT = 1000
"""Characters below which nothing is held out of a text, and its lines are read each by itself."""
MIN_LINES = 20
"""Lines from which it says something how many of them are one word, or occur again."""
LIST_SHARE = 0.9
"""Share of the lines that are one word, from which a text is a list of words."""
REPEATED_SHARE = 0.5
"""Share of the lines that occurred before, from which the lines do not go on from one another."""
MIN_WORDS = 5000
"""Words from which it says something how many of them occur once."""
RARE_SHARE = 1 / 3
"""Share of the words that occur once, above which words are no good tokens: no spaces, ids, numbers."""


def guess_reading(
    documents: Sequence[Document], level: str | None, split: str
) -> tuple[str, str, str]:
    r"""Return the level and the kind of documents that suit a text, and why, "" where it is as usual.

    A `level` that is given stays; words that are not found by "words", the usual `split`, stay words.

    >>> from elman.text.sources import read_sources
    >>> guess_reading(read_sources("emma\nolivia\nava\n" * 20, None, lines=False)[0], None, "words")
    ('char', 'line', '100 % of the lines are one word')
    """
    sample, room = [], SAMPLE_CHARACTERS
    for block in itertools.chain.from_iterable(document.blocks() for document in documents):
        sample.append(block[:room])
        room -= len(block)
        if room <= 0:
            break
    text = "".join(sample)
    lines = [words for line in text.split(LINE_END) if (words := tuple(tokenise(line, split)))]
    free = level is None and split == "words"
    level = level or "word"
    alone = sum(len(words) == 1 for words in lines) / max(1, len(lines))
    if free and len(lines) >= MIN_LINES and alone >= LIST_SHARE:
        return "char", "line", f"{100 * alone:.0f} % of the lines are one word"
    again = 1 - len(set(lines)) / max(1, len(lines))
    if split == "log":
        return level, "file", ""
    if len(lines) >= MIN_LINES and again >= REPEATED_SHARE:
        return level, "line", f"{100 * again:.0f} % of the lines occurred before"
    if len(lines) > 1 and len(text) < SMALL_TEXT:
        return level, "line", "the text is small"
    counts = Counter(itertools.chain.from_iterable(lines))
    once = sum(count == 1 for count in counts.values()) / max(1, counts.total())
    if free and counts.total() >= MIN_WORDS and once > RARE_SHARE:
        return "char", "file", f"{100 * once:.0f} % of the words occur only once"
    return level, "file", ""
