"""Sequences as the user passes them: texts, lists of tokens, or arrays of numbers, of any lengths."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sized
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, ShapeError
from elman.tables.columns import column_of, is_missing
from elman.text.words import MAX_WORD_CHARACTERS, plain_line_ends

Kind: TypeAlias = Literal["text", "tokens", "numbers"]
SequenceSource: TypeAlias = "Sequences | Iterable[ArrayLike | None]"
"""Sequences as users pass them: texts, lists of tokens or arrays, in a list, array, column or frame."""


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences of one kind, before they are encoded.

    >>> Sequences.of([[1.0, 2.0], [3.0]]).lengths.tolist()
    [2, 1]
    """

    kind: Kind
    items: tuple[Any, ...]
    """Sequences: str for "text", tuples of str for "tokens", float64 ``[T_i, C]`` with NaN for "numbers"."""

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, source: SequenceSource) -> Sequences:
        """Return the sequences in `source`.

        Args:
            source: A list, array or column of texts; a list of lists of tokens; a list of arrays ``[T_i]`` or
                ``[T_i, C]``; or one array ``[N, T]`` or ``[N, T, C]``. A missing text is read as empty.

        Raises:
            DataError: The source is empty, or its items are of different kinds.
            ShapeError: An array has the wrong number of dimensions, or channels differ between sequences.
        """
        if isinstance(source, Sequences):
            return source
        items = _listed(source)
        if not items:
            raise DataError("sequences", got="none", expected="at least one")
        # the first item that is not empty shows the kind of all
        first = next(
            (item for item in items if not _is_empty(item)),
            next((item for item in items if not is_missing(item)), ""),
        )
        if isinstance(first, str):
            return cls("text", tuple(_text(item, row) for row, item in enumerate(items)))
        if isinstance(first, list | tuple | np.ndarray) and isinstance(next(iter(first), ""), str):
            return cls("tokens", tuple(_tokens(item, row) for row, item in enumerate(items)))
        numbers = tuple(_numbers(item, row) for row, item in enumerate(items))
        channels = numbers[0].shape[1]
        for row, item in enumerate(numbers):
            if item.shape[1] != channels:
                expected = f"{channels}, as in the first"
                got = f"{item.shape[1]} channels"
                raise ShapeError(f"sequence {row}", got=got, expected=expected)
        return cls("numbers", numbers)

    @property
    def lengths(self) -> np.ndarray:
        """Number of time steps (for a text: characters) of each sequence, int64 ``[N]``."""
        return np.array([len(item) for item in self.items], np.int64)

    def stepwise(self) -> Sequences:
        """Return texts split at white space, so that each token can get a tag; other kinds unchanged."""
        if self.kind != "text":
            return self
        return Sequences("tokens", tuple(_tokens(item.split(), 0) for item in self.items))

    def check_paired(self, targets: Sized) -> None:
        """Raise DataError unless there are as many `targets` as sequences."""
        if len(targets) != len(self):
            raise DataError(
                "sequences and their labels",
                got=f"{len(self)} and {len(targets)}",
                expected="as many labels as sequences",
            )

    def take(self, rows: Iterable[int]) -> Sequences:
        """Return the sequences in `rows`, in that order."""
        return Sequences(self.kind, tuple(self.items[row] for row in rows))

    def joined(self, others: Sequences | None) -> Sequences:
        """Return these sequences and then the `others`, which are of the same kind."""
        return self if others is None else Sequences(self.kind, self.items + others.items)

    @property
    def texts(self) -> list[str]:
        """Each sequence as one text; tokens are joined by spaces."""
        return [item if self.kind == "text" else " ".join(item) for item in self.items]

    def digest(self) -> str:
        """Return a SHA-256 over all sequences, in order."""
        sha = hashlib.sha256(self.kind.encode())
        for item in self.items:
            if self.kind == "numbers":
                # the shape too: [2, 3] and [3, 2] may hold the same bytes
                sha.update(repr(item.shape).encode())
                sha.update(np.ascontiguousarray(item).data)
            else:
                # 0xff and 0xfe never occur in UTF-8, so the ends of tokens and sequences cannot be confused
                for token in [item] if self.kind == "text" else item:
                    sha.update(token.encode("utf-8", "surrogatepass") + b"\xff")
                sha.update(b"\xfe")
        return sha.hexdigest()


def _listed(source: Any) -> list[Any]:
    """Return the items of a list, array, column or one-column table."""
    # a text or a dict can be iterated too, but its items are no sequences
    if isinstance(source, str | bytes | Mapping):
        got = "one text" if isinstance(source, str | bytes) else "a dict"
        raise DataError("sequences", got=got, expected="a list of sequences")
    columns = len(getattr(source, "columns", ()))
    if hasattr(source, "to_pylist"):  # a pyarrow array
        source = source.to_pylist()
    elif hasattr(source, "to_numpy"):  # a column or frame of pandas or polars
        source = source.to_numpy()
        if columns > 1 and source.dtype.kind in "OUS":
            got, remedy = f"a table of {columns} columns", "pass the column of the texts"
            raise DataError("sequences", got=got, expected="one column", remedy=remedy)
    if isinstance(source, np.ndarray):
        expected, holds_text = "[N, T] or [N, T, C]", source.dtype.kind in "OUS"
        if source.ndim == 0:
            raise ShapeError("sequences", got="a number", expected=expected)
        # a table with a single column of texts
        if holds_text and source.ndim == 2 and source.shape[1] == 1:
            source = source[:, 0]
        elif not holds_text and source.ndim not in (2, 3):
            raise ShapeError("sequences", got=list(source.shape), expected=expected)
    return list(source)


def _is_empty(item: Any) -> bool:
    """Return whether `item` does not show of which kind the sequences are."""
    return is_missing(item) or (isinstance(item, list | tuple | np.ndarray) and len(item) == 0)


def _text(item: Any, row: int) -> str:
    if is_missing(item):
        return ""
    if not isinstance(item, str):
        raise DataError(f"sequence {row}", got=type(item).__name__, expected="a text")
    return plain_line_ends(item)


def _tokens(item: Any, row: int) -> tuple[str, ...]:
    if isinstance(item, str) or not isinstance(item, Iterable):
        got = "nothing" if is_missing(item) else type(item).__name__
        raise DataError(f"sequence {row}", got=got, expected="a list of tokens")
    tokens = tuple(item)
    for token in tokens:
        if not isinstance(token, str):
            raise DataError(f"sequence {row}", got=type(token).__name__, expected="tokens, as text")
    # tokens of a vocabulary contain no white space and have a maximum length
    return tuple("_".join(token.split())[:MAX_WORD_CHARACTERS] or "_" for token in tokens)


def _numbers(item: Any, row: int) -> np.ndarray:
    try:
        array = np.ma.asanyarray(item) if np.ma.isMaskedArray(item) else np.asarray(item)
        if array.dtype.kind == "O" and array.size:  # may hold None and pandas.NA
            array = column_of(array.ravel())[0].reshape(array.shape)
        if array.dtype.kind == "c":
            # scikit-learn's wording, which its checks of estimators expect
            raise DataError("Complex data not supported", got=f"sequence {row}")
        if array.dtype.kind not in "biufO":
            raise TypeError
        # masked numbers are missing ones
        array = np.ma.filled(array.astype(np.float64), np.nan)
    except DataError:
        raise
    except (TypeError, ValueError):
        got = type(item).__name__
        raise DataError(f"sequence {row}", got=got, expected="numbers, texts or tokens") from None
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.shape[1]:
        raise ShapeError(f"sequence {row}", got=list(array.shape), expected="[T] or [T, C]")
    if not len(array):
        raise DataError(f"sequence {row}", got="no step", expected="at least one")
    # in one memory layout, so that equal sequences have equal bytes
    return np.ascontiguousarray(array)


def check_finite(sequences: Sequences, *, allow_missing: bool) -> None:
    """Raise DataError for an infinite number, and for a missing one unless `allow_missing`."""
    for row, item in enumerate(sequences.items if sequences.kind == "numbers" else ()):
        # NaN may stand for a missing number, but infinity never does
        bad = np.isinf(item) if allow_missing else ~np.isfinite(item)
        if bad.any():
            step, channel = np.argwhere(bad)[0]
            is_nan = np.isnan(item[step, channel])
            raise DataError(
                f"Input X contains {'NaN' if is_nan else 'infinity'}: sequence {row}",
                got=f"{item[step, channel]} in step {step}, channel {channel}",
                expected="finite numbers",
                remedy='pass missing="mask" to read it as missing' if is_nan else "",
            )
