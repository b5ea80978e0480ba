"""Arguments of a command that are a text, the name of a file, or "-" for standard input."""

from __future__ import annotations

import os
from collections.abc import Iterator

from elman.errors import DataError, warn
from elman.text.input_files import STDIN, input_lines
from elman.text.labelled_lines import read_lines
from elman.text.sources import is_path


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
