"""A text as token numbers, in bounded memory."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from pathlib import Path

import numpy as np

from elman.errors import DataError
from elman.text.sources import Document, Source, read_sources
from elman.text.spool import Spool
from elman.text.vocabulary import TextCodec, unknown_warning
from elman.text.words import UNKNOWN, UNKNOWN_ID, whole_words

__all__ = ["Corpus", "CorpusFacts", "demand", "encode", "load_corpus", "token_blocks"]

_EXAMPLES = 10
_EXAMPLES_FROM = 100_000
_UNKNOWN_SHARE = 0.2


@dataclass(frozen=True)
class CorpusFacts:
    """What was read into a corpus."""

    files: int
    """Files and texts that it has a share of."""
    bytes: int
    """Bytes of its characters as UTF-8."""
    characters: int
    tokens: int
    unknown: int
    """Tokens outside the vocabulary."""
    unknown_examples: tuple[str, ...]
    """At most ten of them, the commonest first."""
    encodings: dict[str, int]
    """Number of files by encoding."""
    sha256: str
    """Of its characters as UTF-8."""
    vocabulary_pruned: bool
    """Whether rare words were dropped while the vocabulary was counted."""
    warnings: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Corpus:
    """A text as token numbers."""

    codec: TextCodec
    ids: np.ndarray
    """``[N]`` unsigned: all tokens in a row; a line is followed by its `<end>`."""
    starts: np.ndarray
    """``[D]`` int64: where each document begins in `ids`."""
    facts: CorpusFacts

    @property
    def tokens_predicted(self) -> int:
        """The number of tokens to predict: without `<end>` the first of a document is not."""
        return len(self.ids) - (len(self.starts) if self.codec.end_id is None else 0)


def token_blocks(document: Document, level: str, split: str) -> Iterator[str]:
    """Return the text of `document` in blocks that end where a token ends."""
    return whole_words(document.blocks(), split) if level == "word" else document.blocks()


def encode(
    documents: Sequence[Document],
    codec: TextCodec,
    workspace: Path | None,
    *,
    pruned: bool = False,
    warnings: Sequence[str] = (),
) -> Corpus:
    """Return `documents` as numbers of the vocabulary of `codec`; raises OutputError."""
    size = len(codec)
    dtype = np.dtype(np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.uint32)
    characters = sum(document.stop - document.start for document in documents)
    ids = Spool(dtype, workspace, characters)
    starts = Spool(np.dtype(np.int64), workspace, characters)
    digest, size_read = hashlib.sha256(), Counter[str]()
    unknown, examples = 0, Counter[str]()
    end_id = codec.end_id
    last = end_id
    for document in documents:
        begin = ids.length
        for block in token_blocks(document, codec.level, codec.split):
            encoded = block.encode("utf-8", "surrogatepass")
            digest.update(encoded)
            size_read.update(bytes=len(encoded), characters=len(block))
            numbers = codec.encode(block)
            strange = numbers == UNKNOWN_ID
            # the examples need not be the commonest of a text of any length
            if strange.any() and unknown < _EXAMPLES_FROM:
                tokens = compress(codec.tokenise(block), strange.tolist())
                examples.update(token for token in tokens if token != UNKNOWN)
            unknown += int(np.count_nonzero(strange))
            if end_id is not None and len(numbers):
                # of several line ends in a row one stays, and none stands at the start
                after_end = np.concatenate([[last], numbers[:-1]]) == end_id
                last = int(numbers[-1])
                is_word = numbers != end_id
                kept = is_word | ~after_end
                starts.append(ids.length + np.cumsum(kept)[after_end & is_word] - 1)
                numbers = numbers[kept]
            ids.append(numbers)
        if end_id is None and ids.length > begin:
            starts.append(np.array([begin]))
    if last != end_id:
        ids.append(np.array([end_id]))
    numbers = ids.finish()
    common = sorted(examples.items(), key=lambda pair: (-pair[1], pair[0]))[:_EXAMPLES]
    notes = list(warnings)
    if codec.level == "word" and unknown > _UNKNOWN_SHARE * len(numbers):
        notes.append(
            f"{unknown / len(numbers):.0%} of the words are outside the vocabulary;"
            " level char may fit this text better"
        )
    encodings = Counter(document.encoding.name for document in documents if document.encoding)
    facts = CorpusFacts(
        files=len(documents),
        bytes=size_read["bytes"],
        characters=size_read["characters"],
        tokens=len(numbers),
        unknown=unknown,
        unknown_examples=tuple(token for token, _ in common),
        encodings=dict(sorted(encodings.items())),
        sha256=digest.hexdigest(),
        vocabulary_pruned=pruned,
        warnings=tuple(notes),
    )
    return Corpus(codec, numbers, starts.finish(), facts)


def demand(corpus: Corpus, which: str, remedy: str) -> Corpus:
    """Return `corpus`; raises DataError where it has nothing to predict."""
    if corpus.tokens_predicted < 1 or len(corpus.codec) < 2:
        raise DataError(
            f"{which} is too short",
            got=f"{corpus.facts.characters} characters, {len(corpus.ids)} tokens",
            expected="at least 2 tokens, not all of them <unk>",
            remedy=remedy,
        )
    return corpus


def load_corpus(
    text: Source, codec: TextCodec, *, encoding: str | None = None, workspace: Path | None = None
) -> Corpus:
    r"""Return `text` as numbers of a vocabulary that exists.

    A str is a path where a file or folder has that name and else a text; a Path is always a path, a
    folder all its files. Raises DataError for what is missing, empty or no text.

    >>> from elman.text.vocabulary import count_vocabulary
    >>> codec, _ = count_vocabulary(["a bad cab\n"])
    >>> corpus = load_corpus("abc, a bad cab", codec)
    >>> corpus.facts.unknown, corpus.facts.unknown_examples, corpus.tokens_predicted
    (1, (',',), 13)
    """
    documents, warnings = read_sources(text, encoding, lines=codec.end_id is not None)
    corpus = encode(documents, codec, workspace, warnings=warnings)
    told = unknown_warning(corpus.facts.unknown, corpus.facts.tokens)
    if told:
        corpus = replace(corpus, facts=replace(corpus.facts, warnings=(*warnings, *told)))
    return demand(corpus, "the text", "pass a longer text")
