"""Sources: files, folders and texts as documents that can be read again and again in blocks."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeAlias, Union

import numpy as np

from elman.errors import DataError
from elman.text.encodings import (
    STDIN,
    Encoding,
    decoding_notes,
    detect,
    first_of,
    read_blocks,
    spool,
)
from elman.text.vocabulary import code_points
from elman.text.words import LINE_END

__all__ = ["Document", "Lot", "Source", "cut", "end_lines", "is_path", "part", "read_sources"]

Source: TypeAlias = Union[str, "os.PathLike[str]", Iterable["Source"]]

_BLOCK = 1 << 20
# What a run writes beside its text: trained on, it would teach the network its own journal.
_OWN_FOLDER = ".checkpoint"
_OWN_FILES = (".run.jsonl", ".safetensors")
_TEXT_SUFFIXES = (".txt", ".text", ".md", ".csv", ".tsv", ".log", ".jsonl", ".gz")


@dataclass(frozen=True, eq=False)
class Lot:
    """The lines of a document whose ``keys [N]`` are at least `low` and below `high`."""

    keys: np.ndarray
    low: int
    high: int

    def lines_of(self, blocks: Iterable[str]) -> Iterator[str]:
        """Yield those lines of a document's `blocks`, each with its line end."""
        line = 0  # the number of the line that goes on from block to block
        for block in blocks:
            stops = np.flatnonzero(code_points(block) == ord(LINE_END)) + 1
            keys = self.keys[line : line + len(stops) + 1]
            line += len(stops)
            kept = np.zeros(len(stops) + 3, bool)
            kept[1 : len(keys) + 1] = (keys >= self.low) & (keys < self.high)
            # a stretch of lines that stay begins and ends where the line after is unlike the one before
            turns = np.flatnonzero(kept[1:] != kept[:-1])
            places = np.concatenate([[0], stops, [len(block)]])[turns].tolist()
            if text := "".join(
                block[begin:end] for begin, end in zip(places[::2], places[1::2], strict=True)
            ):
                yield text


@dataclass(frozen=True)
class Document:
    """One file or text, or the stretch of it from character `start` to `stop`."""

    name: str
    path: Path | None
    text: str
    encoding: Encoding | None
    characters: int = 0
    line_break: bool = False  # one to add behind it, counted in `characters`
    start: int = 0
    stop: int = 0
    copy: IO[bytes] | None = None  # of standard input: the file at `path` lives as long as this
    lot: Lot | None = None  # which lines of it, where not all

    def _whole(self) -> Iterator[str]:
        if self.path is not None and self.encoding is not None:
            yield from read_blocks(self.path, self.encoding)
            return
        lines = io.IncrementalNewlineDecoder(None, translate=True)
        for at in range(0, len(self.text), _BLOCK):
            yield lines.decode(self.text[at : at + _BLOCK], at + _BLOCK >= len(self.text))

    def measured(self) -> Document:
        """Return it with the length of its text; no line break behind it yet."""
        characters, last = 0, ""
        for block in self._whole():
            characters += len(block)
            last = block[-1:] or last
        return replace(
            self,
            characters=characters,
            stop=characters,
            line_break=characters > 0 and last != LINE_END,
        )

    def blocks(self) -> Iterator[str]:
        """Yield the stretch; never more than was measured, should the file have grown since."""
        yield from self._stretch() if self.lot is None else self.lot.lines_of(self._stretch())

    def _stretch(self) -> Iterator[str]:
        length = self.characters - self.line_break
        at = 0
        for block in self._whole():
            stretch = block[max(0, self.start - at) : max(0, min(self.stop, length) - at)]
            at += len(block)
            if stretch:
                yield stretch
            if at >= min(self.stop, length):
                break
        if self.line_break and self.start <= length < self.stop:
            yield LINE_END


def _files(folder: Path) -> Iterator[Path]:
    def fail(error: OSError) -> None:
        raise DataError(f"cannot read {error.filename}", got=error.strerror)

    for where, folders, names in os.walk(folder, onerror=fail):
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not name.endswith(_OWN_FOLDER)
        )
        for name in sorted(names):
            path = Path(where, name)
            own = name.startswith(".") or name.endswith(_OWN_FILES)
            if not own and os.path.isfile(path):
                yield path


def is_path(text: str) -> bool:
    """Return whether `text` is the name of a file or folder, or looks like one that is mistyped.

    >>> is_path("mistyped.txt"), is_path("so it goes")
    (True, False)
    """
    if LINE_END in text or "\r" in text or not text:
        return False
    if os.path.exists(text):
        return True
    # A mistyped name would otherwise become a text of a few letters.
    return text.lower().endswith(_TEXT_SUFFIXES) and not any(map(str.isspace, text))


def _file(path: Path, encoding: str | None, name: str | None = None) -> Document:
    try:
        found = detect(path, encoding)
    except DataError as error:
        raise DataError(str(error).replace(str(path), name or str(path))) from None
    return Document(name or str(path), path, "", found).measured()


def _gather(
    source: Source, encoding: str | None, documents: list[Document], warnings: list[str]
) -> None:
    """Append every document of `source` to `documents`."""
    if isinstance(source, (str, os.PathLike)) and os.fspath(source) == STDIN:
        copy = spool(STDIN)
        document = replace(_file(Path(copy.name), encoding, "standard input"), copy=copy)
        documents.append(document)
    elif isinstance(source, str) and not is_path(source):
        documents.append(Document(f"text {len(documents) + 1}", None, source, None).measured())
    elif isinstance(source, (str, os.PathLike)):
        path = Path(source)
        if os.path.isdir(path):
            _gather_folder(path, encoding, documents, warnings)
        elif os.path.isfile(path):
            documents.append(_file(path, encoding))
        elif os.path.exists(path):
            raise DataError(f"{path} is neither a file nor a folder", remedy="write it to a file")
        else:
            raise DataError(f"no such file: {path}", remedy="check the name")
    elif isinstance(source, Iterable) and not isinstance(source, (bytes, bytearray, Mapping)):
        for item in source:
            _gather(item, encoding, documents, warnings)
    else:
        raise DataError("text", got=repr(source), expected="a text, a path, or several of these")


def _gather_folder(
    folder: Path, encoding: str | None, documents: list[Document], warnings: list[str]
) -> None:
    skipped: list[str] = []
    before = len(documents)
    for path in _files(folder):
        try:
            documents.append(_file(path, encoding))
        except DataError as error:
            skipped.append(str(error))
    if len(documents) == before:
        remedy = skipped[0] if skipped else "pass one that has"
        raise DataError(f"folder {folder} has no text file", remedy=remedy)
    if skipped:
        warnings.append(f"left out {first_of(skipped)}")


def read_sources(
    source: Source, encoding: str | None, *, lines: bool | None
) -> tuple[list[Document], list[str]]:
    """Return the documents of `source` that have text, and what to warn of.

    `lines` is as in `end_lines`; None leaves that to its caller.
    """
    gathered: list[Document] = []
    warnings: list[str] = []
    _gather(source, encoding, gathered, warnings)
    documents = [document for document in gathered if document.characters]
    if not documents:
        raise DataError("the text is empty", got=gathered[0].name if gathered else "no text")
    if empty := [document.name for document in gathered if not document.characters]:
        warnings.append(f"empty: {first_of(empty)}")
    if lines is not None:
        documents = end_lines(documents, lines=lines)
    warnings += decoding_notes(
        (document.name, document.encoding) for document in documents if document.encoding
    )
    return documents, warnings


def end_lines(documents: Sequence[Document], *, lines: bool) -> list[Document]:
    """Return `documents`; where they are `lines`, with a line break behind each that lacks its last one."""
    ended = []
    for at, document in enumerate(documents):
        added = int(lines and document.line_break and at < len(documents) - 1)
        length = document.characters + added
        ended.append(replace(document, characters=length, stop=length, line_break=bool(added)))
    return ended


def part(documents: Sequence[Document], first: int, last: int) -> list[Document]:
    """Return the documents' stretches between two places of the text they make together."""
    stretches, at = [], 0
    for document in documents:
        start, stop = max(first - at, 0), min(last - at, document.characters)
        if start < stop:
            stretches.append(replace(document, start=start, stop=stop))
        at += document.characters
    return stretches


def cut(documents: Sequence[Document], wanted: int, breaks: str) -> int:
    """Return the place behind the first match of the expression `breaks` that lies at `wanted` or later.

    Where no text follows it, the place behind the last match before `wanted`; where there is none either,
    the end of the text.
    """
    total = sum(document.characters for document in documents)
    search = re.compile(breaks).search
    at, place = wanted, -1
    for document in part(documents, wanted, total):
        for block in document.blocks():
            if place < 0 and (found := search(block)):
                place = at + found.end()
            if place >= 0 and block[max(0, place - at) :].strip():
                return place
            at += len(block)
    at, place = 0, -1
    for document in part(documents, 0, wanted):
        for block in document.blocks():
            for match in re.finditer(breaks, block):
                place = at + match.end()
            at += len(block)
    return place if place > 0 else total
