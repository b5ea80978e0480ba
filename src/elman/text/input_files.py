"""Input from files, pipes and standard input, as a file that can be read twice, a text, or lines."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from elman.errors import DataError, warn
from elman.text.encodings import FALLBACK_ENCODING, decoding_notes, detect, read_blocks

STDIN = "-"
"""The name that stands for standard input in every command and reader."""


def _standard_input() -> IO[bytes]:
    """Return the bytes of standard input, also where a program has replaced it by a text stream."""
    if sys.stdin is None:
        raise DataError("standard input is closed", remedy="pass a file")
    buffer: IO[bytes] | None = getattr(sys.stdin, "buffer", None)
    return buffer or io.BytesIO(sys.stdin.read().encode("utf-8", "surrogatepass"))


def temporary_copy(source: str) -> IO[bytes]:
    """Copy standard input ("-") or a pipe into a temporary file, which is deleted when it is closed."""
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
def rereadable_file(
    source: str | os.PathLike[str], name: str | None = None
) -> Iterator[tuple[str, str]]:
    """Yield the path of a file that can be read more than once, and the name to use in messages.

    The path is `source` itself, or that of a temporary copy of standard input ("-") or of a pipe.
    """
    path = os.fspath(source)
    name = name or ("standard input" if path == STDIN else path)
    # A pipe, such as <(command) in a shell, exists but can be read only once.
    is_pipe = os.path.exists(path) and not os.path.isfile(path) and not os.path.isdir(path)
    if path != STDIN and not is_pipe:
        yield path, name
        return
    with temporary_copy(path) as file:
        try:
            yield file.name, name
        except DataError as error:
            raise DataError(str(error).replace(file.name, name)) from None


def read_text(
    source: str | os.PathLike[str], encoding: str | None = None, *, name: str | None = None
) -> tuple[str, list[str]]:
    """Return the text of a file or of standard input ("-"), and warnings about its encoding.

    Args:
        source: The path.
        encoding: The encoding of the file; None detects it.
        name: The name of the file in messages; None uses the path.

    Raises:
        DataError: The file cannot be read, is not text, or is in an encoding that cannot be guessed.
        OptionError: Python does not know the encoding.
    """
    with rereadable_file(source, name) as (path, shown_name):
        detected = detect(path, encoding)
        if detected.implausible:
            raise DataError(
                f"{shown_name} is {detected.note}, and no language that {FALLBACK_ENCODING} writes "
                "looks like this",
                remedy="pass encoding= with its encoding (such as gb18030 or cp1251)",
            )
        text = "".join(read_blocks(path, detected))
        return text, decoding_notes([(shown_name, detected)])


def split_lines(text: str) -> list[str]:
    r"""Return the lines of `text` without their ends, which are ``"\n"``.

    >>> split_lines("a\n\nb\n")
    ['a', '', 'b']
    """
    return text.removesuffix("\n").split("\n")


def read_lines(path: str, encoding: str | None = None, *, name: str | None = None) -> list[str]:
    """Return the lines of a text file or of standard input; raises DataError for an empty one."""
    name = name or ("standard input" if path == STDIN else path)
    text, notes = read_text(path, encoding, name=name)
    warn(notes)
    if not text:
        raise DataError(f"{name} is empty")
    return split_lines(text)


def input_lines(encoding: str | None = None) -> Iterator[str]:
    """Yield the lines of standard input without their ends, ASCII lines as soon as they arrive.

    From the first line with another character on, the rest is read before it is yielded, because its
    encoding can only be detected from the whole text.
    """
    stream = _standard_input()
    with tempfile.NamedTemporaryFile() as file:
        yielded = 0
        for line in () if encoding else stream:
            file.write(line)
            # A carriage return within a line and a zero byte are left to the reader of the whole text,
            # too.
            if not line.isascii() or b"\0" in line or b"\r" in line.rstrip(b"\r\n"):
                break
            yielded += 1
            yield line.decode().rstrip("\r\n")
        shutil.copyfileobj(stream, file)
        file.flush()
        # The lines that were already yielded are ASCII, so they are the same in the encoding that is
        # detected now.
        text, notes = read_text(file.name, encoding, name="standard input")
        warn(notes)
        if not text:
            raise DataError("standard input is empty")
        yield from split_lines(text)[yielded:]
