"""Counting of the tokens of a text in bounded memory, and the choice of a vocabulary from the counts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import OptionError
from elman.text.vocabulary import (
    MAX_KNOWN_PIECES,
    UNICODE_SIZE,
    TextCodec,
    codec_problem,
    special_tokens,
)
from elman.text.words import LINE_END, code_points, pieces, tokenise

_DEFAULT_MAX_VOCABULARY = {"char": 20_000, "word": 50_000}
_DEFAULT_MIN_COUNT = {"char": 1, "word": 2}
_MAX_DISTINCT_WORDS = 1_000_000
# A limit on characters too: a text without white space is one long piece, and all its words can be long.
_MAX_HELD_CHARACTERS = 32 << 20


class TokenCounter:
    """Counts tokens in bounded memory: beyond a million distinct words it drops the rarest.

    Args:
        level: "char" or "word".
        split: The way to find words, as in `tokenise`.

    Attributes:
        pruned: Whether words were dropped.
    """

    def __init__(self, level: str, split: str = "words") -> None:
        self.level, self.split = level, split
        self.pruned = False
        # One count for each code point: 9 MB for any length of text.
        self._character_counts = np.zeros(UNICODE_SIZE, np.int64)
        self._words: Counter[str] = Counter()
        self._pieces: Counter[str] = Counter()
        self._held_characters = 0

    def add(self, text: str) -> None:
        """Count the tokens of `text`, which must end where a token ends."""
        if self.level == "char":
            np.add.at(self._character_counts, code_points(text), 1)
            return
        # Counting pieces first tokenises each distinct piece only once.
        self._pieces.update(pieces(text))
        self._held_characters += len(text)
        if len(self._pieces) > MAX_KNOWN_PIECES or self._held_characters > _MAX_HELD_CHARACTERS:
            self._count_words_of_pieces()

    def _count_words_of_pieces(self) -> None:
        for piece, count in self._pieces.items():
            for word in tokenise(piece, self.split):
                self._words[word] += count
            if len(self._words) > _MAX_DISTINCT_WORDS:
                self._prune()
        self._pieces.clear()
        self._held_characters = 0
        if sum(map(len, self._words)) > 2 * _MAX_HELD_CHARACTERS:
            self._prune()

    def _prune(self) -> None:
        # Dropping half of the words keeps the average work for each new word constant. Among equally
        # rare words, those that were met first stay.
        half = min(_MAX_DISTINCT_WORDS, len(self._words)) // 2
        kept = {word for word, _ in self._words.most_common(half)}
        self._words = Counter({word: n for word, n in self._words.items() if word in kept})
        self.pruned = True

    def common(self) -> list[tuple[str, int]]:
        """Return (token, count) by falling count, ties by text."""
        self._count_words_of_pieces()
        codes = np.flatnonzero(self._character_counts)
        characters = map(chr, codes.tolist())
        counts = dict(zip(characters, self._character_counts[codes].tolist(), strict=True))
        return sorted((counts | self._words).items(), key=lambda pair: (-pair[1], pair[0]))


def count_vocabulary(
    blocks: Iterable[str],
    *,
    level: str = "char",
    split: str = "words",
    documents: str = "file",
    max_vocabulary: int | None = None,
    min_count: int | None = None,
) -> tuple[TextCodec, bool]:
    r"""Count the tokens of a text in one pass and return its codec; raises OptionError.

    Args:
        blocks: The text in order, in blocks that end where tokens end, with line ends ``"\n"``.
        level: "char" or "word".
        split: The way to find words, as in `tokenise`.
        documents: "file" or "line", as in `TextCodec`.
        max_vocabulary: The largest number of tokens in the codec, including `<unk>` and `<end>`
            (default: 20,000 characters, 50,000 words).
        min_count: Rarer tokens become `<unk>` (default: 1 for characters, 2 for words).

    Returns:
        The codec, and whether rare words were dropped in counting to save memory.

    >>> codec, pruned = count_vocabulary(["to be or not to be\n"], level="word")
    >>> codec.tokens
    ('<unk>', 'be', 'to')
    """
    special = special_tokens(documents)
    if problem := codec_problem(level, split, documents, special):
        raise OptionError(problem)
    maximum = _DEFAULT_MAX_VOCABULARY[level] if max_vocabulary is None else max_vocabulary
    maximum = whole_number("max_vocabulary", maximum, len(special) + 1)
    minimum = _DEFAULT_MIN_COUNT[level] if min_count is None else min_count
    minimum = whole_number("min_count", minimum, 1)
    counter = TokenCounter(level, split)
    for block in blocks:
        counter.add(block)
    # Where documents are lines, a line end is read as <end> and needs no token of its own.
    reserved = {*special, LINE_END} if documents == "line" else {*special}
    counts = [(token, count) for token, count in counter.common() if token not in reserved]
    # If no word of a short text occurs twice, keep all of them.
    tokens = [token for token, count in counts if count >= minimum] or [
        token for token, _ in counts
    ]
    if counts and min_count is not None and counts[0][1] < minimum:
        remedy = "no token occurs that often; pass a smaller one"
        raise OptionError("min_count", got=min_count, remedy=remedy)
    tokens = tokens[: maximum - len(special)]
    return TextCodec(level, (*special, *tokens), split, documents), counter.pruned
