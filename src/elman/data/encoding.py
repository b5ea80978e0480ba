"""Encodings: the bytes of a file to text, in blocks, and a plain word where a file is no text."""

from __future__ import annotations

import codecs
import io
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from elman._errors import DataError, OptionError

__all__ = ["GUESS", "Encoding", "detect", "read_blocks"]

GUESS = "cp1252"

_BLOCK = 1 << 20
# UTF-32's mark begins with UTF-16's
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_MARK = "\ufeff"
# tab, line ends, form feed, backspace, bell, escape and end of file stand in real texts
_CONTROLS = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 26, 27})
_CONTROL_SHARE = 0.02
# A file is damaged UTF-8 where at most one in so many characters beyond ASCII does not decode.
_ONE_IN = 20
_AROUND = 12
# The five bytes that cp1252 leaves open become the control characters of their number.
_GUESS_TABLE = "".join(bytes([byte]).decode(GUESS, "ignore") or chr(byte) for byte in range(256))


@dataclass(frozen=True)
class Encoding:
    """How the bytes of a file are read: a codec's name, and whether that is a guess."""

    name: str
    guessed: bool = False
    note: str = ""  # what the reader should know: where it is not UTF-8, or that it breaks off
    damaged: bool = False  # what does not decode becomes U+FFFD


class _GuessDecoder(codecs.IncrementalDecoder):
    def decode(self, data: bytes, final: bool = False) -> str:  # type: ignore[override] # noqa: ARG002
        return codecs.charmap_decode(data, "strict", _GUESS_TABLE)[0]


def _decoder(encoding: Encoding) -> codecs.IncrementalDecoder:
    if encoding.guessed:
        return _GuessDecoder()
    if encoding.damaged:
        return codecs.getincrementaldecoder(encoding.name)("replace")
    # A lone surrogate is a character like another; only Unicode's encodings know that handler.
    lenient = encoding.name.startswith("utf-") and encoding.name != "utf-7"
    return codecs.getincrementaldecoder(encoding.name)("surrogatepass" if lenient else "strict")


def _normal_name(encoding: str) -> str:
    try:
        # knows text encodings alone, where codecs.lookup would give zip and rot13 too
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
        return codecs.lookup(encoding).name
    except (LookupError, UnicodeError, ValueError, TypeError):
        raise OptionError(
            "encoding", got=encoding, expected="a name that Python knows, such as utf-8 or cp1252"
        ) from None


def _bytes(path: Path, start: int = 0) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            file.seek(start)
            while block := file.read(_BLOCK):
                yield block
    except OSError as error:
        raise DataError(f"cannot read {path}", got=error.strerror or error) from None


def _place(path: Path, offset: int) -> str:
    line, left = 1, offset
    for block in _bytes(path):
        line += block.count(b"\n", 0, left)
        left -= len(block)
        if left <= 0:
            break
    return f"line {line}, byte {offset}"


def _not_text(path: Path, why: str, place: str) -> DataError:
    return DataError(
        f"{path} is not text: {why} at {place}",
        remedy="pass a text file, or encoding= if it is one (such as utf-16-le)",
    )


def _check_controls(path: Path) -> None:
    """Raise DataError where the bytes are no text of one byte, or of UTF-8, a character."""
    size = controls = 0
    first = -1
    for block in _bytes(path):
        if (zero := block.find(0)) >= 0:
            raise _not_text(path, "a zero byte", _place(path, size + zero))
        found = len(block) - len(block.translate(None, _CONTROLS))
        if found and first < 0:
            first = size + next(at for at, byte in enumerate(block) if byte in _CONTROLS)
        controls += found
        size += len(block)
    if controls > _CONTROL_SHARE * size:
        why = f"{controls} control characters, the first"
        raise _not_text(path, why, _place(path, first))


def _decode(path: Path, encoding: Encoding) -> Iterator[str]:
    """Yield each block's text.

    Raises UnicodeDecodeError whose `start` is counted from the beginning of the file.
    """
    decoder = _decoder(encoding)
    before = 0
    data = b""
    try:
        for data in _bytes(path):
            held = len(decoder.getstate()[0])
            yield decoder.decode(data)
            before += len(data)
        held = len(decoder.getstate()[0])
        data = b""
        yield decoder.decode(b"", True)
    except UnicodeDecodeError as error:
        start = before - held + error.start
        raise UnicodeDecodeError(error.encoding, data, start, start + 1, error.reason) from None


def _check_decodes(path: Path, encoding: Encoding, stated: str) -> None:
    """Raise DataError where the file is not of the encoding that a person or its mark states."""
    line = character = 1
    try:
        for text in _decode(path, encoding):
            zero = text.find("\0")
            line += text.count("\n", 0, zero if zero >= 0 else None)
            if zero >= 0:
                place = f"line {line}, character {character + zero}"
                raise _not_text(path, "a zero character", place)
            character += len(text)
    except UnicodeDecodeError as error:
        # among characters of two or four bytes the byte of a line end is no line end
        wide = encoding.name.startswith(("utf-16", "utf-32"))
        place = f"byte {error.start}" if wide else _place(path, error.start)
        raise DataError(
            f"{path} is not {stated}: {error.reason} at {place}",
            remedy="pass encoding= with the one it is written in",
        ) from None
    except UnicodeError as error:
        raise DataError(f"{path} is not {stated}", got=error) from None


def _detect_utf8(path: Path) -> Encoding:
    ascii_so_far = True
    encoding = Encoding("utf-8")
    try:
        for text in _decode(path, encoding):
            ascii_so_far = ascii_so_far and text.isascii()
    except UnicodeDecodeError as error:
        # A file cut off within its last character is UTF-8, if it has shown another before.
        if error.reason == "unexpected end of data" and not ascii_so_far:
            return Encoding("utf-8", note=f"breaks off within a character at byte {error.start}")
        return _damaged_or_guess(path, error.start)
    return encoding


def _damaged_or_guess(path: Path, offset: int) -> Encoding:
    """Return how to read what is not UTF-8 at the byte `offset`, and first there."""
    damaged = Encoding("utf-8", damaged=True)
    beyond = bad = 0
    for text in _decode(path, damaged):
        bad += text.count("\ufffd")
        beyond += len(text) - len(text.encode("ascii", "ignore"))
    place = _place(path, offset)
    if beyond >= _ONE_IN * bad:
        note = f"damaged UTF-8, first at {place}: read as U+FFFD ({bad} in all)"
        return replace(damaged, note=note)
    around = next(_bytes(path, max(0, offset - _AROUND)), b"")[: 2 * _AROUND]
    note = f"not UTF-8 at {place}, which reads as {_GuessDecoder().decode(around)!r}"
    return Encoding(GUESS, guessed=True, note=note)


def detect(path: str | os.PathLike[str], encoding: str | None = None) -> Encoding:
    """Return how the file is to be read: as `encoding` says, by its mark, as UTF-8, or by a guess.

    The whole file is looked at. Raises DataError for what is no text, with line and byte, and
    OptionError for an encoding that Python does not know.
    """
    path = Path(path)
    if encoding is not None:
        name = _normal_name(encoding)
        _check_decodes(path, Encoding(name), name)
        return Encoding(name)
    head = next(_bytes(path), b"")[:4]
    for mark, name in _MARKS:
        if head.startswith(mark):
            _check_decodes(path, Encoding(name), f"{name}, whose mark it bears")
            return Encoding(name)
    _check_controls(path)
    return _detect_utf8(path)


def read_blocks(path: str | os.PathLike[str], encoding: Encoding) -> Iterator[str]:
    r"""Yield the text of the file in blocks of about a mebibyte, every line end as ``"\n"``.

    A byte order mark at the start is left out. Raises DataError where the file cannot be read.
    """
    path = Path(path)
    lines = io.IncrementalNewlineDecoder(None, translate=True)
    first = True
    try:
        for text in _decode(path, encoding):
            if first and text:
                text, first = text.removeprefix(_MARK), False
            if text := lines.decode(text):
                yield text
    except UnicodeDecodeError as error:
        if not encoding.note:
            raise DataError(f"{path} changed while it was read", got=error.reason) from None
    if text := lines.decode("", final=True):
        yield text
