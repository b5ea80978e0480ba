"""Detection and decoding of text encodings: the bytes of a file as text, or one clear error.

Every reader of text (corpora, tables, tag files, lines) decodes through this module, so that the same bytes
give the same text from a file, from a pipe and from a file compressed by gzip.
"""

from __future__ import annotations

import codecs
import gzip
import io
import os
import re
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from elman.errors import DataError, OptionError

FALLBACK_ENCODING = "cp1252"
"""The encoding that is guessed for text that is not UTF-8."""

_BLOCK_BYTES = 1 << 20
# The mark of UTF-32 begins with the bytes of UTF-16's mark, so it is compared first.
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DECODED_MARK = "\ufeff"
_GZIP_MAGIC = b"\x1f\x8b"

# Real texts contain tab, line ends, form feed, backspace, bell, escape and end of file.
_CONTROL_BYTES = re.compile(rb"[\x00-\x06\x0e-\x19\x1c-\x1f]")
_MAX_CONTROL_SHARE = 0.02
# A file is damaged UTF-8 if at most one in this many characters beyond ASCII does not decode.
_CHARACTERS_PER_DAMAGE = 20
_EXCERPT_BYTES = 12
# The bytes that cp1252 leaves undefined become the control characters of the same number.
_FALLBACK_UNDEFINED = b"\x81\x8d\x8f\x90\x9d"
_FALLBACK_ERRORS = "elman.undefined-as-control"


def _undefined_as_control(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeDecodeError):
        raise error
    return error.object[error.start : error.end].decode("latin-1"), error.end


codecs.register_error(_FALLBACK_ERRORS, _undefined_as_control)

# In languages that cp1252 can write, letters beyond ASCII stand alone or in pairs (Finnish "ää").
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_MAX_WESTERN_RUN = 2


@dataclass(frozen=True)
class Encoding:
    """The encoding of a file: the name of Python's codec, and how sure we are of it."""

    name: str
    errors: str = "strict"
    """The handler of bytes that do not decode, as in `bytes.decode`."""
    note: str = ""
    """Warning to the user if the file is not UTF-8, is damaged, or breaks off; else empty."""
    implausible: bool = False
    """The guess is probably wrong: it has undefined bytes, or long runs of high bytes."""

    @property
    def guessed(self) -> bool:
        """Whether the encoding is a guess, because the file is not UTF-8."""
        return self.errors == _FALLBACK_ERRORS


def _decoder(encoding: Encoding) -> codecs.IncrementalDecoder:
    errors = encoding.errors
    # A lone surrogate counts as a character; only the Unicode encodings know that error handler.
    if errors == "strict" and encoding.name.startswith("utf-") and encoding.name != "utf-7":
        errors = "surrogatepass"
    return codecs.getincrementaldecoder(encoding.name)(errors)


def _normal_name(encoding: str) -> str:
    try:
        # encode() accepts text encodings only; codecs.lookup would also accept zip and rot13.
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
        return codecs.lookup(encoding).name
    except (LookupError, UnicodeError, ValueError, TypeError):
        raise OptionError(
            "encoding", got=encoding, expected="a name that Python knows, such as utf-8 or cp1252"
        ) from None


def _byte_blocks(path: Path, start: int = 0) -> Iterator[bytes]:
    try:
        with _open(path) as file:
            file.seek(start)
            while block := file.read(_BLOCK_BYTES):
                yield block
    except (OSError, ValueError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}", got=reason, remedy="check the name") from None


def first_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the first mebibyte of a file; raises DataError for a file that cannot be read."""
    return next(_byte_blocks(Path(path)), b"")


def _open(path: Path) -> IO[bytes]:
    """Open a file for reading bytes, and decompress it if gzip has compressed it."""
    # The content decides, not the name: a compressed file need not end in .gz.
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
    # gzip's type stubs declare a narrower class than the file object that it returns
    return io.BufferedReader(gzip.GzipFile(path)) if compressed else path.open("rb")


def _position(path: Path, offset: int) -> str:
    """Return line and byte of a byte offset in words, for messages."""
    line, remaining = 1, offset
    for block in _byte_blocks(path):
        line += block.count(b"\n", 0, remaining)
        remaining -= len(block)
        if remaining <= 0:
            break
    return f"line {line}, byte {offset}"


def _not_text(path: Path, reason: str, position: str) -> DataError:
    return DataError(
        f"{path} is not text: {reason} at {position}",
        remedy="pass a text file, or encoding= if it is one (such as utf-16-le)",
    )


def _check_controls(path: Path) -> str:
    """Return a note about zero bytes, or ""; raise DataError if the file is binary."""
    size = controls = zeros = 0
    first_control = first_zero = -1
    for block in _byte_blocks(path):
        if first_control < 0 and (match := _CONTROL_BYTES.search(block)):
            first_control = size + match.start()
        if first_zero < 0 and (zero := block.find(0)) >= 0:
            first_zero = size + zero
        controls += len(block) - len(_CONTROL_BYTES.sub(b"", block))
        zeros += block.count(0)
        size += len(block)
    # A few control characters occur in real logs; many of them mean a binary file.
    if controls > _MAX_CONTROL_SHARE * size:
        reason, first = f"{controls} control characters, the first", first_control
        if zeros:
            reason, first = "a zero byte", first_zero
        raise _not_text(path, reason, _position(path, first))
    return _zeros_note(zeros, _position(path, first_zero)) if zeros else ""


def _zeros_note(count: int, position: str) -> str:
    return f"zero bytes are left out ({count} in all, the first at {position})"


def _decode(path: Path, encoding: Encoding) -> Iterator[str]:
    """Yield the decoded text of each block of bytes.

    Raises UnicodeDecodeError with a `start` that counts from the beginning of the file.
    """
    decoder = _decoder(encoding)
    before = pending = 0
    data = b""
    try:
        for data in _byte_blocks(path):
            pending = len(decoder.getstate()[0])
            yield decoder.decode(data)
            before += len(data)
        pending = len(decoder.getstate()[0])
        data = b""
        yield decoder.decode(b"", True)
    except UnicodeDecodeError as error:
        start = before - pending + error.start
        raise UnicodeDecodeError(error.encoding, data, start, start + 1, error.reason) from None


def _check_decodes(path: Path, encoding: Encoding, described: str) -> Encoding:
    """Return `encoding`, with a note about zeros; raise DataError if the file does not decode.

    `described` names the encoding in the message.
    """
    line = characters = 1
    zeros, position = 0, ""
    try:
        for text in _decode(path, encoding):
            if (zero := text.find("\0")) >= 0 and not zeros:
                zero_line = line + text.count("\n", 0, zero)
                position = f"line {zero_line}, character {characters + zero}"
            zeros += text.count("\0")
            line += text.count("\n")
            characters += len(text)
    except UnicodeDecodeError as error:
        # In characters of two or four bytes, the byte 10 need not be a line end.
        wide = encoding.name.startswith(("utf-16", "utf-32"))
        position = f"byte {error.start}" if wide else _position(path, error.start)
        raise DataError(
            f"{path} is not {described}: {error.reason} at {position}",
            remedy="pass encoding= with the encoding of the file",
        ) from None
    except UnicodeError as error:
        raise DataError(f"{path} is not {described}", got=error) from None
    if zeros > _MAX_CONTROL_SHARE * characters:
        raise _not_text(path, "a zero character", position)
    return replace(encoding, note=_zeros_note(zeros, position)) if zeros else encoding


def _detect_utf8(path: Path) -> Encoding:
    # A file in ASCII alone is UTF-8 too; its encoding is not a guess.
    only_ascii = True
    encoding = Encoding("utf-8")
    try:
        for text in _decode(path, encoding):
            only_ascii = only_ascii and text.isascii()
    except UnicodeDecodeError as error:
        # A file that ends inside a character is UTF-8 if it has another such character before.
        if error.reason == "unexpected end of data" and not only_ascii:
            return Encoding("utf-8", note=f"breaks off within a character at byte {error.start}")
        return _damaged_or_guessed(path, error.start)
    return encoding


def _damaged_or_guessed(path: Path, offset: int) -> Encoding:
    """Return the encoding of a file whose first byte that is not UTF-8 is at `offset`."""
    damaged = Encoding("utf-8", errors="replace")
    # Decode with replacements and count: a damaged text has few of them, a text in another encoding many.
    beyond_ascii = bad = 0
    for text in _decode(path, damaged):
        bad += text.count("\ufffd")
        beyond_ascii += len(text) - len(text.encode("ascii", "ignore"))
    position = _position(path, offset)
    if beyond_ascii >= _CHARACTERS_PER_DAMAGE * bad:
        note = f"damaged UTF-8, first at {position}: read as U+FFFD ({bad} in all)"
        return replace(damaged, note=note)
    # Some text around the first wrong byte lets the user judge the guess.
    excerpt = next(_byte_blocks(path, max(0, offset - _EXCERPT_BYTES)), b"")[: 2 * _EXCERPT_BYTES]
    note = f"not UTF-8 at {position}, which reads as {excerpt.decode(FALLBACK_ENCODING, _FALLBACK_ERRORS)!r}"
    runs = [run for block in _byte_blocks(path) for run in _HIGH_BYTES.findall(block)]
    in_long_runs = sum(len(run) for run in runs if len(run) > _MAX_WESTERN_RUN)
    implausible = 2 * in_long_runs > sum(map(len, runs)) or any(
        len(run.translate(None, _FALLBACK_UNDEFINED)) < len(run) for run in runs
    )
    return Encoding(FALLBACK_ENCODING, _FALLBACK_ERRORS, note, implausible)


def detect(path: str | os.PathLike[str], encoding: str | None = None) -> Encoding:
    """Return the encoding of a file after reading it whole.

    Without `encoding` a byte order mark decides; else the file is read as UTF-8, or by a guess if it is
    not UTF-8.

    Args:
        path: The file, which gzip may have compressed.
        encoding: The name of the encoding, if the user has given it.

    Raises:
        DataError: The file is not text, or not in that encoding; the message names line and byte.
        OptionError: Python does not know the encoding.
    """
    path = Path(path)
    if encoding is not None:
        name = _normal_name(encoding)
        return _check_decodes(path, Encoding(name), name)
    # A byte order mark is certain, so it is asked before any guess.
    head = first_bytes(path)
    for mark, name in _BYTE_ORDER_MARKS:
        if head.startswith(mark):
            return _check_decodes(path, Encoding(name), f"{name}, although it has its mark")
    zeros = _check_controls(path)
    detected = _detect_utf8(path)
    return replace(detected, note="; ".join(filter(None, (detected.note, zeros))))


def read_blocks(path: str | os.PathLike[str], encoding: Encoding) -> Iterator[str]:
    r"""Yield the text of a file in blocks of about a mebibyte, with every line end as ``"\n"``.

    A byte order mark at the start and zero characters are dropped. Raises DataError for a file that cannot
    be read.
    """
    path = Path(path)
    # A carriage return at the end of a block may belong to a line feed in the next one; the decoder waits
    # for it.
    newlines = io.IncrementalNewlineDecoder(None, translate=True)
    first = True
    try:
        for text in _decode(path, encoding):
            if first and text:
                text, first = text.removeprefix(_DECODED_MARK), False
            if text := newlines.decode(text).replace("\0", ""):
                yield text
    except UnicodeDecodeError as error:
        if not encoding.note:
            raise DataError(f"{path} changed while it was read", got=error.reason) from None
    if text := newlines.decode("", final=True):
        yield text


def first_and_count(notes: Sequence[str]) -> str:
    """Return the first of several notes, and how many more there are.

    >>> first_and_count(["a.txt", "b.txt", "c.txt"])
    'a.txt (and 2 more)'
    """
    return notes[0] + (f" (and {len(notes) - 1} more)" if len(notes) > 1 else "")


def decoding_notes(files: Iterable[tuple[str, Encoding]]) -> list[str]:
    """Return warnings about how the named files were decoded: guesses first, then damage."""
    noted = [(encoding, f"{name}: {encoding.note}") for name, encoding in files if encoding.note]
    guesses = [note for encoding, note in noted if encoding.guessed]
    damage = [note for encoding, note in noted if not encoding.guessed]
    warnings = []
    if guesses:
        implausible = any(encoding.implausible for encoding, _ in noted)
        warnings.append(
            f"read as {FALLBACK_ENCODING}, a guess: {first_and_count(guesses)};"
            + (f" no language that {FALLBACK_ENCODING} writes looks like this;" * implausible)
            + " if that reads wrong, pass encoding= (such as cp437, cp1250, gb18030 or shift_jis)"
        )
    if damage:
        warnings.append(first_and_count(damage))
    return warnings
