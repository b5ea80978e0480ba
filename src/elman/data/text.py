"""Text corpora: files, folders and texts to token numbers, in bounded memory."""

from __future__ import annotations

import functools
import hashlib
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain, compress
from pathlib import Path
from typing import IO, Any

import numpy as np

from elman._errors import DataError, OptionError, OutputError
from elman.data.sources import Document, Source, cut, part, read_sources
from elman.data.vocabulary import TextCodec, count_vocabulary
from elman.data.words import LINE_END, UNKNOWN, UNKNOWN_ID, whole_words

__all__ = ["Corpus", "CorpusFacts", "load_corpora", "load_corpus"]

# Longer texts are kept in a file that is mapped into memory.
_IN_MEMORY = 32 << 20
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


class _Spool:
    """An array that grows at its end: in memory, or in a nameless file that goes with its map."""

    def __init__(self, dtype: np.dtype[Any], workspace: Path | None, large: bool) -> None:
        self.dtype = dtype
        self.length = 0
        self._arrays: list[np.ndarray] = []
        self._workspace = workspace
        self._file: IO[bytes] | None = None
        if large:
            try:
                if workspace is not None:
                    workspace.mkdir(parents=True, exist_ok=True)
                # nothing to clean up, however the process ends
                self._file = tempfile.TemporaryFile(dir=workspace)  # noqa: SIM115
            except OSError as error:
                raise self._fault(error) from None

    def _fault(self, error: OSError) -> OutputError:
        return OutputError(
            f"cannot keep the encoded text in {self._workspace or tempfile.gettempdir()}",
            got=error.strerror or error,
        )

    def append(self, array: np.ndarray) -> None:
        self.length += len(array)
        if self._file is None:
            self._arrays.append(array.astype(self.dtype))
            return
        try:
            self._file.write(array.astype(self.dtype).data)
        except OSError as error:
            raise self._fault(error) from None

    def finish(self) -> np.ndarray:
        """Return all that was appended, not to be written to."""
        if self._file is None or not self.length:
            whole = np.concatenate([np.zeros(0, self.dtype), *self._arrays])
            whole.flags.writeable = False
            return whole
        try:
            with self._file as file:
                file.flush()
                return np.memmap(file, self.dtype, "r", shape=(self.length,))
        except OSError as error:
            raise self._fault(error) from None


@dataclass
class _Reading:
    """What is known of a part of the text while it is encoded."""

    codec: TextCodec
    ids: _Spool
    starts: _Spool
    unknown: int = 0
    examples: Counter[str] = field(default_factory=Counter)

    def count_unknown(self, text: str, numbers: np.ndarray) -> None:
        strange = numbers == UNKNOWN_ID
        count = int(np.count_nonzero(strange))
        # the examples need not be the commonest of a text of any length
        if count and self.unknown < _EXAMPLES_FROM:
            tokens = compress(self.codec.tokenise(text), strange.tolist())
            self.examples.update(token for token in tokens if token != UNKNOWN)
        self.unknown += count

    def add_document(self, blocks: Iterable[str]) -> None:
        start = self.ids.length
        for block in blocks:
            numbers = self.codec.encode(block)
            self.count_unknown(block, numbers)
            self.ids.append(numbers)
        if self.ids.length > start:
            self.starts.append(np.array([start]))

    def add_lines(self, blocks: Iterable[str], end_id: int) -> None:
        last = end_id
        for block in blocks:
            numbers = self.codec.encode(block)
            self.count_unknown(block, numbers)
            before = np.concatenate([[last], numbers[:-1]])[: len(numbers)]
            kept = (numbers != end_id) | (before != end_id)
            self.starts.append(
                self.ids.length + np.cumsum(kept)[(before == end_id) & (numbers != end_id)] - 1
            )
            self.ids.append(numbers[kept])
            last = int(numbers[-1]) if len(numbers) else last
        if last != end_id:
            self.ids.append(np.array([end_id]))


def _blocks(document: Document, level: str, split: str) -> Iterator[str]:
    return whole_words(document.blocks(), split) if level == "word" else document.blocks()


def _watched(blocks: Iterable[str], digest: Any, seen: list[int]) -> Iterator[str]:
    for block in blocks:
        encoded = block.encode("utf-8", "surrogatepass")
        digest.update(encoded)
        seen[0] += len(encoded)
        seen[1] += len(block)
        yield block


def _encode(
    documents: Sequence[Document],
    codec: TextCodec,
    workspace: Path | None,
    *,
    pruned: bool = False,
    warnings: Sequence[str] = (),
) -> Corpus:
    size = len(codec)
    dtype = np.dtype(np.uint8 if size <= 1 << 8 else np.uint16 if size <= 1 << 16 else np.uint32)
    large = sum(document.stop - document.start for document in documents) > _IN_MEMORY
    reading = _Reading(
        codec,
        _Spool(dtype, workspace, large),
        _Spool(np.dtype(np.int64), workspace, large),
    )
    digest, seen = hashlib.sha256(), [0, 0]

    def blocks(document: Document) -> Iterator[str]:
        return _watched(_blocks(document, codec.level, codec.split), digest, seen)

    if codec.end_id is None:
        for document in documents:
            reading.add_document(blocks(document))
    else:
        reading.add_lines(chain.from_iterable(map(blocks, documents)), codec.end_id)
    ids, starts = reading.ids.finish(), reading.starts.finish()
    common = sorted(reading.examples.items(), key=lambda pair: (-pair[1], pair[0]))[:_EXAMPLES]
    notes = list(warnings)
    if codec.level == "word" and reading.unknown > _UNKNOWN_SHARE * len(ids):
        notes.append(
            f"{reading.unknown / len(ids):.0%} of the words are outside the vocabulary;"
            " level='char' may fit this text better"
        )
    encodings = Counter(document.encoding.name for document in documents if document.encoding)
    facts = CorpusFacts(
        files=len(documents),
        bytes=seen[0],
        characters=seen[1],
        tokens=len(ids),
        unknown=reading.unknown,
        unknown_examples=tuple(token for token, _ in common),
        encodings=dict(sorted(encodings.items())),
        sha256=digest.hexdigest(),
        vocabulary_pruned=pruned,
        warnings=tuple(notes),
    )
    return Corpus(codec, ids, starts, facts)


def _demand(corpus: Corpus, which: str, remedy: str) -> Corpus:
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

    >>> codec, _ = count_vocabulary(["a bad cab\n"])
    >>> corpus = load_corpus("abc, a bad cab", codec)
    >>> corpus.facts.unknown, corpus.facts.unknown_examples, corpus.tokens_predicted
    (1, (',',), 13)
    """
    documents, warnings = read_sources(text, encoding, lines=codec.end_id is not None)
    corpus = _encode(documents, codec, workspace, warnings=warnings)
    return _demand(corpus, "the text", "pass a longer text")


def load_corpora(
    text: Source,
    *,
    level: str = "char",
    split: str = "words",
    documents: str = "file",
    max_vocabulary: int | None = None,
    min_count: int | None = None,
    encoding: str | None = None,
    held_out: float = 0.1,
    valid: Source | None = None,
    workspace: Path | None = None,
) -> tuple[Corpus, Corpus]:
    """Return the training part and the held-out part of `text`, the vocabulary of the first alone.

    Held out is the last share `held_out` of the characters, from the next white space on at level
    "word" and from the next line on where documents are lines; with a text `valid`, all of that.
    Long texts are kept as a nameless file in the folder `workspace`, and mapped into memory.
    Raises DataError for a text that is missing, empty, no text or too short, OptionError for an
    option's value, OutputError where the workspace cannot be written.

    >>> training, held_out = load_corpora("to be or not to be " * 10)
    >>> len(training.ids), len(held_out.ids), len(training.codec)
    (171, 19, 8)
    """
    count = functools.partial(
        count_vocabulary,
        level=level,
        split=split,
        documents=documents,
        max_vocabulary=max_vocabulary,
        min_count=min_count,
    )
    # an option's fault is told before a long text is read
    count(())
    if valid is None and not 0.0 < held_out < 1.0:
        raise OptionError("held_out", got=held_out, expected="a share between 0 and 1")
    read = functools.partial(read_sources, encoding=encoding, lines=documents == "line")
    training, warnings = read(text)
    later: list[str] = []
    if valid is not None:
        held, later = read(valid)
    else:
        total = sum(document.characters for document in training)
        place = int((1 - held_out) * total)
        if documents == "line" or level == "word":
            place = cut(training, place, LINE_END if documents == "line" else r"\s")
        training, held = part(training, 0, place), part(training, place, total)
    blocks = (_blocks(document, level, split) for document in training)
    codec, pruned = count(chain.from_iterable(blocks))
    if pruned:
        warnings.append("more than a million kinds of words: the rarest were dropped in counting")
    remedy = "pass a longer text" if valid is not None else "pass a longer text, or one to hold out"
    return (
        _demand(
            _encode(training, codec, workspace, pruned=pruned, warnings=warnings),
            "the part to train on",
            remedy,
        ),
        _demand(
            _encode(held, codec, workspace, pruned=pruned, warnings=later),
            "the held-out part",
            remedy,
        ),
    )
