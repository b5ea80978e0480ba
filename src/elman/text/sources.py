"""Sources of text: files, folders and strings as documents that can be read repeatedly, in blocks."""

from __future__ import annotations

import io
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, TypeAlias, Union

import numpy as np

from elman.errors import DataError, warn
from elman.text.encodings import (
    Encoding,
    decoding_notes,
    detect,
    first_and_count,
    read_blocks,
)
from elman.text.input_files import STDIN, input_lines, read_lines, temporary_copy
from elman.text.words import LINE_END, code_points

Source: TypeAlias = Union[str, "os.PathLike[str]", Iterable["Source"]]

_BLOCK_CHARACTERS = 1 << 20
# Training writes these files beside its text. A network trained on them would learn its own journal.
_OWN_FOLDER = ".checkpoint"
_OWN_FILES = (".run.jsonl", ".safetensors")
_TEXT_SUFFIXES = (".txt", ".text", ".md", ".csv", ".tsv", ".log", ".jsonl", ".gz")


@dataclass(frozen=True, eq=False)
class LineSelection:
    """A selection of a document's lines: those with ``low <= key < high``, for ``keys [N]`` of N lines."""

    keys: np.ndarray
    low: int
    high: int

    def select(self, blocks: Iterable[str]) -> Iterator[str]:
        """Yield the selected lines, with their ends, from the `blocks` of the document."""
        line = 0  # the number of the line in which the block begins
        for block in blocks:
            # Positions just after each line end of the block, in characters.
            line_stops = np.flatnonzero(code_points(block) == ord(LINE_END)) + 1
            keys = self.keys[line : line + len(line_stops) + 1]
            line += len(line_stops)
            # False on both sides, so that a stretch at the edge of the block begins and ends there.
            kept = np.zeros(len(line_stops) + 3, bool)
            kept[1 : len(keys) + 1] = (keys >= self.low) & (keys < self.high)
            # A stretch of kept lines begins and ends where neighbouring lines differ in `kept`.
            changes = np.flatnonzero(kept[1:] != kept[:-1])
            bounds = np.concatenate([[0], line_stops, [len(block)]])[changes].tolist()
            if text := "".join(
                block[begin:end] for begin, end in zip(bounds[::2], bounds[1::2], strict=True)
            ):
                yield text


@dataclass(frozen=True)
class Document:
    """A file or string, or the stretch of it from character `start` to `stop`."""

    name: str
    path: Path | None
    text: str
    encoding: Encoding | None
    characters: int = 0
    """Length of the whole document, with the line break if one is added."""
    line_break: bool = False
    """Whether a line break is added at the end."""
    start: int = 0
    stop: int = 0
    copy: IO[bytes] | None = None
    """The temporary copy of standard input at `path`; it is deleted when no document refers to it."""
    lines: LineSelection | None = None
    """The lines that belong to this document; None for all."""

    def _all_blocks(self) -> Iterator[str]:
        if self.path is not None and self.encoding is not None:
            yield from read_blocks(self.path, self.encoding)
            return
        newlines = io.IncrementalNewlineDecoder(None, translate=True)
        for begin in range(0, len(self.text), _BLOCK_CHARACTERS):
            end = begin + _BLOCK_CHARACTERS
            yield newlines.decode(self.text[begin:end], end >= len(self.text))

    def measured(self) -> Document:
        """Return the document with the length of its text; `line_break` says whether it lacks a last one."""
        characters, last = 0, ""
        for block in self._all_blocks():
            characters += len(block)
            last = block[-1:] or last
        lacks_break = characters > 0 and last != LINE_END
        return replace(self, characters=characters, stop=characters, line_break=lacks_break)

    def blocks(self) -> Iterator[str]:
        """Yield the document's text; at most `characters`, even if the file has grown since."""
        yield from self._stretch() if self.lines is None else self.lines.select(self._stretch())

    def _stretch(self) -> Iterator[str]:
        # An added line break is not in the file; it is yielded at the end.
        length = self.characters - self.line_break
        at = 0
        for block in self._all_blocks():
            stretch = block[max(0, self.start - at) : max(0, min(self.stop, length) - at)]
            at += len(block)
            if stretch:
                yield stretch
            if at >= min(self.stop, length):
                break
        if self.line_break and self.start <= length < self.stop:
            yield LINE_END


def document_lines(document: Document) -> Iterator[str]:
    """Yield the lines of a document without their ends."""
    fragments: list[str] = []  # of a line that goes on in the next block
    for block in document.blocks():
        *ended, last = block.split(LINE_END)
        for line in ended:
            yield "".join([*fragments, line])
            fragments = []
        fragments.append(last)
    if any(fragments):
        yield "".join(fragments)


def _text_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder and its subfolders, except hidden ones and those that Elman writes."""

    def fail(error: OSError) -> None:
        raise DataError(f"cannot read {error.filename}", got=error.strerror)

    for parent, folders, names in os.walk(folder, onerror=fail):
        # os.walk descends only into the folders that stay in this list; sorted for the same order
        # everywhere.
        folders[:] = sorted(
            name for name in folders if not name.startswith(".") and not name.endswith(_OWN_FOLDER)
        )
        for name in sorted(names):
            path = Path(parent, name)
            skipped = name.startswith(".") or name.endswith(_OWN_FILES)
            if not skipped and os.path.isfile(path):
                yield path


def is_path(text: str) -> bool:
    """Return whether `text` names a file or folder, or looks like a mistyped file name.

    >>> is_path("mistyped.txt"), is_path("so it goes")
    (True, False)
    """
    if LINE_END in text or "\r" in text or not text:
        return False
    if os.path.exists(text):
        return True
    # Otherwise a mistyped name would be trained on as a text of a few letters.
    return text.lower().endswith(_TEXT_SUFFIXES) and not any(map(str.isspace, text))


def _document_of_file(path: Path, encoding: str | None, name: str | None = None) -> Document:
    try:
        detected = detect(path, encoding)
    except DataError as error:
        raise DataError(str(error).replace(str(path), name or str(path))) from None
    return Document(name or str(path), path, "", detected).measured()


def _documents(source: Source, encoding: str | None, warnings: list[str]) -> Iterator[Document]:
    """Yield every document of `source`; those that are texts have no name yet."""
    if isinstance(source, str | os.PathLike) and os.fspath(source) == STDIN:
        copy = temporary_copy(STDIN)
        document = _document_of_file(Path(copy.name), encoding, "standard input")
        yield replace(document, copy=copy)
    elif isinstance(source, str) and not is_path(source):
        yield Document("", None, source, None).measured()
    elif isinstance(source, str | os.PathLike):
        path = Path(source)
        if os.path.isdir(path):
            yield from _documents_of_folder(path, encoding, warnings)
        elif os.path.isfile(path):
            yield _document_of_file(path, encoding)
        elif os.path.exists(path):
            raise DataError(f"{path} is neither a file nor a folder", remedy="write it to a file")
        else:
            raise DataError(f"no such file: {path}", remedy="check the name")
    elif isinstance(source, Iterable) and not isinstance(source, bytes | bytearray | Mapping):
        for item in source:
            yield from _documents(item, encoding, warnings)
    else:
        raise DataError("text", got=repr(source), expected="a text, a path, or several of these")


def _documents_of_folder(
    folder: Path, encoding: str | None, warnings: list[str]
) -> Iterator[Document]:
    errors: list[str] = []
    readable = False
    # One unreadable file among many is a warning; a folder without a readable file is an error.
    for path in _text_files(folder):
        try:
            yield _document_of_file(path, encoding)
            readable = True
        except DataError as error:
            errors.append(str(error))
    if not readable:
        remedy = errors[0] if errors else "pass a folder with text files"
        raise DataError(f"folder {folder} has no text file", remedy=remedy)
    if errors:
        warnings.append(f"left out {first_and_count(errors)}")


def read_sources(
    source: Source, encoding: str | None, *, lines: bool | None
) -> tuple[list[Document], list[str]]:
    """Return the documents of `source` that are not empty, and warnings.

    Args:
        source: A text, a path of a file or folder, "-" for standard input, or several of these.
        encoding: The encoding of the files; None detects it.
        lines: Whether each line is a document, as in `end_lines`; None if the caller decides that later.

    Raises:
        DataError: A file is missing or not text, or there is no text at all.
        OptionError: Python does not know the encoding.
    """
    warnings: list[str] = []
    gathered = [
        replace(document, name=document.name or f"text {number}")
        for number, document in enumerate(_documents(source, encoding, warnings), 1)
    ]
    documents = [document for document in gathered if document.characters]
    if not documents:
        raise DataError("the text is empty", got=gathered[0].name if gathered else "no text")
    if empty := [document.name for document in gathered if not document.characters]:
        warnings.append(f"empty: {first_and_count(empty)}")
    if lines is not None:
        documents = end_lines(documents, lines=lines)
    warnings += decoding_notes(
        (document.name, document.encoding) for document in documents if document.encoding
    )
    return documents, warnings


def end_lines(documents: Sequence[Document], *, lines: bool) -> list[Document]:
    """Return `documents`; with `lines`, add a missing line break to all but the last one.

    Otherwise the last line of a document would go on in the next document.
    """
    ended = []
    for index, document in enumerate(documents):
        added = int(lines and document.line_break and index < len(documents) - 1)
        length = document.characters + added
        ended.append(replace(document, characters=length, stop=length, line_break=bool(added)))
    return ended


def is_file(argument: str) -> bool:
    """Return whether an argument is "-", a file, or looks like the name of a file, rather than a text.

    Raises DataError for a folder.
    """
    if os.path.isdir(argument):
        remedy = "to read this name as a text, pipe the text in and pass -"
        raise DataError(f"{argument} is a folder", expected="a text or a file", remedy=remedy)
    return argument == STDIN or is_path(argument)


def argument_lines(argument: str, encoding: str | None = None) -> Iterator[str]:
    """Yield the lines that an argument stands for: those of standard input, those of a file, or itself.

    Lines of standard input are yielded as they arrive. Raises DataError for a file that does not exist.
    """
    if argument == STDIN:
        yield from input_lines(encoding)
    elif is_file(argument):
        lines = read_lines(argument, encoding)
        warn([f"{argument} is a file: its text is read, not its name"])
        yield from lines
    else:
        yield argument
