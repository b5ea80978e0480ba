"""A text as token numbers, encoded in bounded memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np

from elman.errors import DataError
from elman.language.tokens import Tokens
from elman.text.growing_array import GrowingArray
from elman.text.sources import Document, Source, read_sources
from elman.text.vocabulary import TextCodec, unknown_warning
from elman.text.words import UNKNOWN, UNKNOWN_ID, blocks_of_whole_words

_MAX_UNKNOWN_EXAMPLES = 10
# After this many unknown tokens, no more examples are counted: they need not be exactly the commonest.
_MAX_UNKNOWN_COUNTED = 100_000
_UNKNOWN_SHARE_TO_WARN = 0.2


@dataclass(frozen=True)
class CorpusFacts:
    """Facts about the text of a corpus, for the model's card."""

    files: int
    """Number of files and strings from which the corpus has text."""
    bytes: int
    """Length of the text as UTF-8."""
    characters: int
    tokens: int
    unknown: int
    """Number of tokens outside the vocabulary."""
    unknown_examples: tuple[str, ...]
    """At most ten tokens outside the vocabulary, the commonest first."""
    encodings: dict[str, int]
    """Number of files with each encoding."""
    sha256: str
    """Digest of the text as UTF-8."""
    vocabulary_pruned: bool
    """Whether rare words were dropped while the vocabulary was counted."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as token numbers."""

    codec: TextCodec
    ids: np.ndarray
    """``[N]`` unsigned: all tokens in a row; where documents are lines, `<end>` follows each line."""
    starts: np.ndarray
    """``[D]`` int64: the index in `ids` at which each document starts."""
    facts: CorpusFacts

    @property
    def tokens(self) -> Tokens:
        """The tokens, ready to be cut into chunks; raises ShapeError for an empty text."""
        return Tokens(self.ids, self.starts, self.codec.end_id)

    @property
    def tokens_predicted(self) -> int:
        """Number of tokens to predict: without `<end>`, the first token of a document is not predicted."""
        return len(self.ids) - (len(self.starts) if self.codec.end_id is None else 0)


def token_blocks(document: Document, level: str, split: str) -> Iterator[str]:
    """Return the text of `document` in blocks that end where a token ends."""
    blocks = document.blocks()
    return blocks_of_whole_words(blocks, split) if level == "word" else blocks


class _TextStatistics:
    """Counts what `CorpusFacts` says of a text, block by block."""

    def __init__(self, codec: TextCodec) -> None:
        self.bytes = self.characters = self.unknown = 0
        self._codec = codec
        self._digest = hashlib.sha256()
        self._examples = Counter[str]()

    def add(self, block: str, numbers: np.ndarray) -> None:
        """Count a block of text and its token numbers."""
        # A lone surrogate is a character of a text like any other.
        encoded = block.encode("utf-8", "surrogatepass")
        self._digest.update(encoded)
        self.bytes += len(encoded)
        self.characters += len(block)
        is_unknown = numbers == UNKNOWN_ID
        # Tokenising again costs time, so it is done only for blocks with unknown tokens, and not for
        # ever.
        if is_unknown.any() and self.unknown < _MAX_UNKNOWN_COUNTED:
            tokens = compress(self._codec.tokenise(block), is_unknown.tolist())
            self._examples.update(token for token in tokens if token != UNKNOWN)
        self.unknown += int(np.count_nonzero(is_unknown))

    def facts(
        self, documents: Sequence[Document], tokens: int, pruned: bool, warnings: Sequence[str]
    ) -> CorpusFacts:
        """Return the facts about a text of `documents` that was encoded as so many `tokens`."""
        notes = list(warnings)
        if self._codec.level == "word" and self.unknown > _UNKNOWN_SHARE_TO_WARN * tokens:
            notes.append(
                f"{self.unknown / tokens:.0%} of the words are outside the vocabulary;"
                " level char may fit this text better"
            )
        examples = sorted(self._examples.items(), key=lambda pair: (-pair[1], pair[0]))
        # Several stretches of a file are documents of their own.
        files = {(doc.name, doc.path, id(doc.text)): doc.encoding for doc in documents}
        encodings = Counter(encoding.name for encoding in files.values() if encoding)
        return CorpusFacts(
            files=len(files),
            bytes=self.bytes,
            characters=self.characters,
            tokens=tokens,
            unknown=self.unknown,
            unknown_examples=tuple(token for token, _ in examples[:_MAX_UNKNOWN_EXAMPLES]),
            encodings=dict(sorted(encodings.items())),
            sha256=self._digest.hexdigest(),
            vocabulary_pruned=pruned,
            warnings=tuple(notes),
        )


def encode(
    documents: Sequence[Document],
    codec: TextCodec,
    workspace: Path | None,
    pruned: bool,
    warnings: Sequence[str],
) -> Corpus:
    """Return `documents` as numbers of the vocabulary of `codec`.

    `pruned` and `warnings` become part of the corpus's facts. Raises OutputError if the workspace, in which
    the numbers of a long text are kept, cannot be written to.
    """
    # The smallest type that holds every token number: a long text takes one or two bytes a token.
    size = len(codec)
    dtype = np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.uint32
    ids, starts = GrowingArray(dtype, workspace), GrowingArray(np.int64, workspace)
    statistics = _TextStatistics(codec)
    end_id = codec.end_id
    # The start of the text counts as the end of a line, so that empty lines at the start are dropped.
    last = end_id
    for document in documents:
        begin = ids.length
        for block in token_blocks(document, codec.level, codec.split):
            numbers = codec.encode(block)
            statistics.add(block, numbers)
            if end_id is not None and len(numbers):
                # Empty lines are dropped: one of several line ends in a row stays, none at the start.
                after_end = np.concatenate([[last], numbers[:-1]]) == end_id
                last = int(numbers[-1])
                inside_line = numbers != end_id
                kept = inside_line | ~after_end
                starts.append(ids.length + np.cumsum(kept)[after_end & inside_line] - 1)
                numbers = numbers[kept]
            ids.append(numbers)
        # An empty document has no start, because it has no token.
        if end_id is None and ids.length > begin:
            starts.append(np.array([begin]))
    if last != end_id:
        ids.append(np.array([end_id]))
    facts = statistics.facts(documents, ids.length, pruned, warnings)
    return Corpus(codec, ids.finish(), starts.finish(), facts)


def check_long_enough(corpus: Corpus, name: str) -> None:
    """Raise DataError if the corpus, which messages call `name`, has no token to predict."""
    if corpus.tokens_predicted < 1 or len(corpus.codec) < 2:
        raise DataError(
            f"{name} is too short",
            got=f"{corpus.facts.characters} characters, {len(corpus.ids)} tokens",
            expected="at least 2 tokens, not all of them <unk>",
            remedy="pass a longer text",
        )


def load_corpus(
    text: Source, codec: TextCodec, *, encoding: str | None = None, workspace: Path | None = None
) -> Corpus:
    r"""Return `text` as numbers of the vocabulary of `codec`.

    Args:
        text: A string, which is a path if a file or folder has that name, a Path, or several of these. A
            folder stands for all its files.
        codec: The codec of a trained model.
        encoding: The encoding of the files; None detects it.
        workspace: The folder in which the numbers of a long text are kept.

    Raises:
        DataError: The text is missing, empty, too short or not text.
        OutputError: The workspace cannot be written to.

    >>> from elman.text.counting import count_vocabulary
    >>> codec, _ = count_vocabulary(["a bad cab\n"])
    >>> corpus = load_corpus("abc, a bad cab", codec)
    >>> corpus.facts.unknown, corpus.facts.unknown_examples, corpus.tokens_predicted
    (1, (',',), 13)
    """
    documents, warnings = read_sources(text, encoding, lines=codec.end_id is not None)
    corpus = encode(documents, codec, workspace, False, warnings)
    check_long_enough(corpus, "the text")
    if mostly_unknown := unknown_warning(corpus.facts.unknown, corpus.facts.tokens):
        facts = replace(corpus.facts, warnings=(*warnings, *mostly_unknown))
        corpus = replace(corpus, facts=facts)
    return corpus
