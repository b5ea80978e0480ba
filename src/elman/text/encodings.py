"""Encodings: the bytes of a file or of standard input as text, and one clear line where they are no text.

Every reader of text (corpora, tables, tag files, lines) goes through this module, so that the same bytes
are read alike from a file, from a pipe and from a file that gzip has compressed.
"""

from __future__ import annotations

import codecs
import contextlib
import gzip
import io
import os
import re
import shutil
import sys
import tempfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from elman.errors import DataError, OptionError, warn

__all__ = [
    "GUESS",
    "STDIN",
    "Encoding",
    "decoding_notes",
    "detect",
    "first_bytes",
    "first_of",
    "input_lines",
    "read_blocks",
    "read_text",
    "spool",
    "steady_file",
]

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
_GZIP = b"\x1f\x8b"

STDIN = "-"
"""The name by which every command and reader takes standard input."""
# tab, line ends, form feed, backspace, bell, escape and end of file stand in real texts
_CONTROLS = bytes(set(range(32)) - {7, 8, 9, 10, 11, 12, 13, 26, 27})
_CONTROL_SHARE = 0.02
# A file is damaged UTF-8 where at most one in so many characters beyond ASCII does not decode.
_ONE_IN = 20
_AROUND = 12
# The five bytes that cp1252 leaves open become the control characters of their number.
_GUESS_TABLE = "".join(bytes([byte]).decode(GUESS, "ignore") or chr(byte) for byte in range(256))
# Languages that cp1252 can write have their letters beyond ASCII alone or in pairs (Finnish "ää").
_HIGH_BYTES = re.compile(rb"[\x80-\xff]+")
_LONGEST_WESTERN_RUN = 2
_NO_GUESS = bytes(byte for byte in range(256) if not bytes([byte]).decode(GUESS, "ignore"))


@dataclass(frozen=True)
class Encoding:
    """How the bytes of a file are read: a codec's name, and whether that is a guess."""

    name: str
    guessed: bool = False
    note: str = ""  # what the reader should know: where it is not UTF-8, or that it breaks off
    damaged: bool = False  # what does not decode becomes U+FFFD
    implausible: bool = False  # the guess has no such byte, or high bytes stand in long runs


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
        with _open(path) as file:
            file.seek(start)
            while block := file.read(_BLOCK):
                yield block
    except (OSError, ValueError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise DataError(f"cannot read {path}", got=reason, remedy="check the name") from None


def first_bytes(path: str | os.PathLike[str]) -> bytes:
    """Return the first bytes of a file, a mebibyte at most; raises DataError where it cannot be read."""
    return next(_bytes(Path(path)), b"")


def _open(path: Path) -> IO[bytes]:
    """Open a file for its bytes, uncompressed where gzip has compressed them."""
    with path.open("rb") as file:
        compressed = file.read(len(_GZIP)) == _GZIP
    # gzip declares a narrower class than the file object that it returns
    return io.BufferedReader(gzip.GzipFile(path)) if compressed else path.open("rb")


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


def _check_controls(path: Path) -> str:
    """Return a note on zero bytes; raise DataError where the bytes are no text of one byte a character."""
    size = controls = zeros = 0
    first = first_zero = -1
    for block in _bytes(path):
        found = len(block) - len(block.translate(None, _CONTROLS))
        if found and first < 0:
            first = size + next(at for at, byte in enumerate(block) if byte in _CONTROLS)
        if (zero := block.find(0)) >= 0 and first_zero < 0:
            first_zero = size + zero
        controls += found
        zeros += block.count(0)
        size += len(block)
    if controls > _CONTROL_SHARE * size:
        if zeros:
            raise _not_text(path, "a zero byte", _place(path, first_zero))
        why = f"{controls} control characters, the first"
        raise _not_text(path, why, _place(path, first))
    return _zeros_note(zeros, _place(path, first_zero)) if zeros else ""


def _zeros_note(count: int, place: str) -> str:
    return f"zero bytes are left out ({count} in all, the first at {place})"


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


def _check_decodes(path: Path, encoding: Encoding, stated: str) -> Encoding:
    """Return `encoding` with a note; raise DataError where the file is not of the encoding stated."""
    line = character = 1
    zeros, place = 0, ""
    try:
        for text in _decode(path, encoding):
            if (zero := text.find("\0")) >= 0 and not zeros:
                at = line + text.count("\n", 0, zero)
                place = f"line {at}, character {character + zero}"
            zeros += text.count("\0")
            line += text.count("\n")
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
    if zeros > _CONTROL_SHARE * character:
        raise _not_text(path, "a zero character", place)
    return replace(encoding, note=_zeros_note(zeros, place)) if zeros else encoding


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
    runs = [run for block in _bytes(path) for run in _HIGH_BYTES.findall(block)]
    long = sum(len(run) for run in runs if len(run) > _LONGEST_WESTERN_RUN)
    implausible = 2 * long > sum(map(len, runs)) or any(
        len(run.translate(None, _NO_GUESS)) < len(run) for run in runs
    )
    return Encoding(GUESS, guessed=True, note=note, implausible=implausible)


def detect(path: str | os.PathLike[str], encoding: str | None = None) -> Encoding:
    """Return how the file is to be read: as `encoding` says, by its mark, as UTF-8, or by a guess.

    The whole file is looked at. Raises DataError for what is no text, with line and byte, and
    OptionError for an encoding that Python does not know.
    """
    path = Path(path)
    if encoding is not None:
        name = _normal_name(encoding)
        return _check_decodes(path, Encoding(name), name)
    head = first_bytes(path)
    for mark, name in _MARKS:
        if head.startswith(mark):
            return _check_decodes(path, Encoding(name), f"{name}, whose mark it bears")
    zeros = _check_controls(path)
    found = _detect_utf8(path)
    return replace(found, note="; ".join(filter(None, (found.note, zeros)))) if zeros else found


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
            if text := lines.decode(text).replace("\0", ""):
                yield text
    except UnicodeDecodeError as error:
        if not encoding.note:
            raise DataError(f"{path} changed while it was read", got=error.reason) from None
    if text := lines.decode("", final=True):
        yield text


def first_of(notes: Sequence[str]) -> str:
    """Return the first of several notes, and how many more there are.

    >>> first_of(["a.txt", "b.txt", "c.txt"])
    'a.txt (and 2 more)'
    """
    return notes[0] + (f" (and {len(notes) - 1} more)" if len(notes) > 1 else "")


def decoding_notes(files: Iterable[tuple[str, Encoding]]) -> list[str]:
    """Return what to say about how the named files were decoded: guesses first, then damage."""
    noted = [(found, f"{name}: {found.note}") for name, found in files if found.note]
    guesses = [note for found, note in noted if found.guessed]
    damage = [note for found, note in noted if not found.guessed]
    warnings = [first_of(damage)] if damage else []
    if guesses:
        doubt = any(found.implausible for found, _ in noted)
        warnings.insert(
            0,
            f"read as {GUESS}, a guess: {first_of(guesses)};"
            + (" no language that it writes looks so;" if doubt else "")
            + " if that reads wrong, pass encoding= (such as cp437, cp1250, gb18030 or shift_jis)",
        )
    return warnings


def _standard_input() -> IO[bytes]:
    """Return the bytes of standard input, also where a program has put a text stream in its place."""
    if sys.stdin is None:
        raise DataError("standard input is closed", remedy="pass a file")
    found: IO[bytes] | None = getattr(sys.stdin, "buffer", None)
    return found or io.BytesIO(sys.stdin.read().encode("utf-8", "surrogatepass"))


def spool(source: str) -> IO[bytes]:
    """Return a temporary file with all that standard input or a pipe yields; it goes when it is closed."""
    # The file outlives this function: its caller reads it by its name.
    file = tempfile.NamedTemporaryFile()  # noqa: SIM115
    if source == STDIN:
        shutil.copyfileobj(_standard_input(), file)
    else:
        with open(source, "rb") as pipe:
            shutil.copyfileobj(pipe, file)
    file.flush()
    return file


@contextlib.contextmanager
def steady_file(
    source: str | os.PathLike[str], name: str | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the path of a file that can be read twice, and the name that messages give it.

    That is `source` itself, or a copy of standard input ("-") or of a pipe.
    """
    path = os.fspath(source)
    name = name or ("standard input" if path == STDIN else path)
    once = path == STDIN or (os.path.exists(path) and not os.path.isfile(path))
    if not once or os.path.isdir(path):
        yield path, name
        return
    with spool(path) as file:
        try:
            yield file.name, name
        except DataError as error:
            raise DataError(str(error).replace(file.name, name)) from None


def read_text(
    source: str | os.PathLike[str], encoding: str | None = None, *, name: str | None = None
) -> tuple[str, list[str]]:
    """Return the whole text of a file or of standard input ("-"), and what to say about its encoding.

    Raises:
        DataError: it cannot be read, or is no text, or no encoding that can be guessed fits it.
        OptionError: Python knows no such encoding.
    """
    with steady_file(source, name) as (path, name):
        found = detect(path, encoding)
        if found.implausible:
            raise DataError(
                f"{name} is {found.note}, and no language that {GUESS} writes looks so",
                remedy="pass encoding= with the one it is written in (such as gb18030 or cp1251)",
            )
        return "".join(read_blocks(path, found)), decoding_notes([(name, found)])


def input_lines(encoding: str | None = None) -> Iterator[str]:
    """Yield the lines of standard input without their ends, ASCII lines as soon as they come.

    From the first other line on the rest is read at once, because all of it tells the encoding.
    """
    stream = _standard_input()
    with tempfile.NamedTemporaryFile() as file:
        given = 0
        for line in () if encoding else stream:
            file.write(line)
            if not line.isascii() or b"\0" in line or b"\r" in line.rstrip(b"\r\n"):
                break
            given += 1
            yield line.decode().rstrip("\r\n")
        shutil.copyfileobj(stream, file)
        file.flush()
        text, notes = read_text(file.name, encoding, name="standard input")
        warn(notes)
        if not text:
            raise DataError("standard input is empty")
        yield from text.removesuffix("\n").split("\n")[given:]
