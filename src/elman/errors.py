"""The errors Elman raises, each also the builtin that fits it.

    ElmanError
    ├── InputError (ValueError)           what a person passed cannot be used     exit code 2
    │   ├── OptionError                     an option's value
    │   ├── DataError                       a text, file or folder
    │   ├── ShapeError                      an array's shape or type
    │   └── ModelFileError                  a model file or checkpoint
    ├── OutputError (OSError)             a result cannot be written              exit code 2
    ├── MissingDependencyError (ImportError)  an extra is not installed           exit code 2
    ├── NotFittedError (ValueError, AttributeError)  asked before ``fit``         exit code 2
    └── DivergedError (ArithmeticError)   training ended in numbers not finite    exit code 3

`DataWarning` (UserWarning) says what was done about usable rows that are unlike what was expected,
`KernelWarning` (RuntimeWarning) that Elman runs without its compiled kernel.

Every message is one line: what, got, expected, remedy.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


def printable(value: object, limit: int = 80) -> str:
    r"""Return `value` on one line of at most `limit` characters, control characters escaped.

    >>> printable("a\nb")
    'a\\nb'
    """
    text = "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in str(value)[: limit + 1]
    )
    return text if len(text) <= limit else text[: limit - 1] + "…"


def message(what: str, *, got: object = None, expected: str = "", remedy: str = "") -> str:
    """Return the one line of an error: what, got, expected, remedy.

    >>> message("hidden_size", got=-3, expected="a whole number from 1", remedy="pass 128")
    'hidden_size: got -3; expected a whole number from 1; pass 128'
    """
    parts = []
    if got is not None:
        parts.append(f"got {printable(got)}")
    if expected:
        parts.append(f"expected {printable(expected, 400)}")
    if remedy:
        parts.append(printable(remedy, 400))
    return f"{printable(what, 400)}: {'; '.join(parts)}" if parts else printable(what, 400)


class ElmanError(Exception):
    """Base of every error that Elman raises on purpose."""

    exit_code = 2

    def __init__(
        self, what: str, *, got: object = None, expected: str = "", remedy: str = ""
    ) -> None:
        super().__init__(message(what, got=got, expected=expected, remedy=remedy))


class InputError(ElmanError, ValueError):
    """The user passed a value that cannot be used."""


class OptionError(InputError):
    """An option has a value it cannot take."""


class DataError(InputError):
    """A text, file or folder cannot be used as data."""


class ShapeError(InputError):
    """An array does not have the shape or type that is needed."""


class ModelFileError(InputError):
    """A file is not a whole and valid Elman file."""


class OutputError(ElmanError, OSError):
    """A result cannot be written where it was asked for."""


class MissingDependencyError(ElmanError, ImportError):
    """An optional part of Elman is not installed."""


class NotFittedError(ElmanError, ValueError, AttributeError):
    """An estimator was asked for a result before ``fit``."""


class DivergedError(ElmanError, ArithmeticError):
    """Training met numbers that are not finite and could not recover."""

    exit_code = 3


class DataWarning(UserWarning):
    """Elman used the data, but something about them was not as expected."""


class KernelWarning(RuntimeWarning):
    """Elman runs without its compiled kernel, many times slower."""


def installing(extra: str) -> str:
    """Return how the optional part `extra` of Elman is installed.

    >>> installing("train")
    'in the folder of Elman run pip install ".[train]"'
    """
    return f'in the folder of Elman run pip install ".[{extra}]"'


@contextmanager
def needs_torch() -> Iterator[None]:
    """Raise MissingDependencyError where an import within the block fails because torch is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "training needs torch", got=str(error), remedy=installing("train")
        ) from error


def warn(notes: Iterable[str], *, depth: int = 3) -> None:
    """Issue a DataWarning for each of the notes, as if it came from `depth` calls above."""
    for note in notes:
        warnings.warn(note, DataWarning, stacklevel=depth)
