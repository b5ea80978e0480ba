"""Labelled sequences: what a person has, as texts, tokens or numbers, and the batches cut from them.

Lengths may differ. A batch lies in memory as the rows of all steps below one another, the longest sequence
first, so that those that have ended drop out and nothing is ever padded.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import DataError, OptionError, ShapeError
from elman.labels.codec import SequenceCodec
from elman.tables.columns import column_of, is_missing
from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec, count_vocabulary
from elman.text.words import LONGEST, UNKNOWN, UNKNOWN_ID, plain_line_ends

__all__ = ["Batch", "Encoded", "Sequences", "Steps", "bucketed", "check_finite", "learn_codec"]

POOL_BATCHES = 32
"""Batches among whose sequences those of like length are put together."""
SPELLED = 8
"""Characters at a word's beginning and at its end that are spelled, where it is longer than both."""


@dataclass(frozen=True, eq=False)
class Sequences:
    """Sequences as they were given: texts, lists of tokens, or numbers ``[T_i, C]``.

    >>> Sequences.of([[1.0, 2.0], [3.0]]).lengths.tolist()
    [2, 1]
    """

    kind: str
    """"text", "tokens" or "numbers"."""
    items: tuple[Any, ...]
    """str; tuples of str; float64 ``[T_i, C]`` with NaN where a value is missing."""

    def __len__(self) -> int:
        return len(self.items)

    @classmethod
    def of(cls, given: Any) -> Sequences:
        """Return what `given` holds.

        A list, array or column of texts; a list of lists of tokens; a list of ``[T_i]`` or ``[T_i, C]``
        arrays; one array ``[N, T]`` or ``[N, T, C]``. A missing text is an empty one. Raises DataError,
        ShapeError.
        """
        if isinstance(given, Sequences):
            return given
        if isinstance(given, str | bytes | Mapping):
            got = "one text" if isinstance(given, str | bytes) else "a dict"
            raise DataError("sequences", got=got, expected="a list of sequences")
        columns = len(getattr(given, "columns", ()))
        if hasattr(given, "to_pylist"):  # pyarrow's
            given = given.to_pylist()
        elif hasattr(given, "to_numpy"):
            given = given.to_numpy()
            if columns > 1 and given.dtype.kind in "OUS":
                got, remedy = f"a table of {columns} columns", "pass the column of the texts"
                raise DataError("sequences", got=got, expected="one column", remedy=remedy)
        if isinstance(given, np.ndarray):
            if given.ndim == 0:
                raise ShapeError("sequences", got="a number", expected="[N, T] or [N, T, C]")
            if given.dtype.kind in "OUS" and given.ndim == 2 and given.shape[1] == 1:
                given = given[:, 0]
            elif given.dtype.kind not in "OUS" and given.ndim not in (2, 3):
                expected = "[N, T] or [N, T, C]"
                raise ShapeError("sequences", got=list(given.shape), expected=expected)
        items = list(given)
        if not items:
            raise DataError("sequences", got="none", expected="at least one")
        telling = (item for item in items if not _empty(item))
        first = next(telling, next((item for item in items if not is_missing(item)), ""))
        if isinstance(first, str):
            return cls("text", tuple(_text(item, row) for row, item in enumerate(items)))
        if isinstance(first, list | tuple | np.ndarray) and isinstance(next(iter(first), ""), str):
            return cls("tokens", tuple(_tokens(item, row) for row, item in enumerate(items)))
        numbers = tuple(_numbers(item, row) for row, item in enumerate(items))
        channels = {item.shape[1] for item in numbers}
        if len(channels) > 1:
            row = next(
                row for row, item in enumerate(numbers) if item.shape[1] != numbers[0].shape[1]
            )
            raise ShapeError(
                f"sequence {row}",
                got=f"{numbers[row].shape[1]} channels",
                expected=f"{numbers[0].shape[1]}, as in the first",
            )
        return cls("numbers", numbers)

    @property
    def lengths(self) -> np.ndarray:
        """Steps (characters of a text) of each, int64 ``[N]``."""
        return np.array([len(item) for item in self.items], np.int64)

    def stepwise(self) -> Sequences:
        """Return texts as the tokens between white space, each of which gets a tag; the rest as it is."""
        if self.kind != "text":
            return self
        return Sequences("tokens", tuple(_tokens(item.split(), 0) for item in self.items))

    def check_paired(self, targets: Sequence[Any]) -> None:
        """Raise DataError where there are more or fewer `targets` than sequences."""
        if len(targets) != len(self):
            raise DataError(
                "sequences and their labels",
                got=f"{len(self)} and {len(targets)}",
                expected="as many of the one as of the other",
            )

    def take(self, rows: Iterable[int]) -> Sequences:
        """Return those in `rows`, in that order."""
        return Sequences(self.kind, tuple(self.items[row] for row in rows))

    @property
    def texts(self) -> list[str]:
        """Each as one text: tokens with spaces between them."""
        return [item if self.kind == "text" else " ".join(item) for item in self.items]

    def digest(self) -> str:
        """Return the SHA-256 of all of them, in order."""
        whole = hashlib.sha256(self.kind.encode())
        for item in self.items:
            if self.kind == "numbers":
                whole.update(repr(item.shape).encode())
                whole.update(np.ascontiguousarray(item).data)
            else:
                for part in [item] if self.kind == "text" else item:
                    whole.update(part.encode("utf-8", "surrogatepass") + b"\xff")
                whole.update(b"\xfe")
        return whole.hexdigest()


def _empty(item: Any) -> bool:
    """Return whether `item` says nothing of what kind the sequences are."""
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
    # a vocabulary's tokens have no white space
    return tuple("_".join(token.split())[:LONGEST] or "_" for token in tokens)


def _numbers(item: Any, row: int) -> np.ndarray:
    try:
        array = np.ma.asanyarray(item) if np.ma.isMaskedArray(item) else np.asarray(item)
        if array.dtype.kind == "O" and array.size:  # None and pandas.NA are missing
            array = column_of(array.ravel())[0].reshape(array.shape)
        if array.dtype.kind == "c":
            raise DataError("Complex data not supported", got=f"sequence {row}")
        if array.dtype.kind not in "biufO":
            raise TypeError
        array = np.ma.filled(array.astype(np.float64), np.nan)
    except (TypeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        got = type(item).__name__
        raise DataError(f"sequence {row}", got=got, expected="numbers, texts or tokens") from None
    if array.ndim == 1:
        array = array[:, None]
    if array.ndim != 2 or not array.shape[1]:
        raise ShapeError(f"sequence {row}", got=list(array.shape), expected="[T] or [T, C]")
    if not len(array):
        raise DataError(f"sequence {row}", got="no step", expected="at least one")
    return np.ascontiguousarray(array)


def check_finite(sequences: Sequences, *, missing: bool) -> None:
    """Raise DataError for an infinite number, and for a `missing` one where that is not allowed."""
    for row, item in enumerate(sequences.items if sequences.kind == "numbers" else ()):
        bad = np.isinf(item) if missing else ~np.isfinite(item)
        if bad.any():
            step, channel = np.argwhere(bad)[0]
            nan = np.isnan(item[step, channel])
            raise DataError(
                f"Input X contains {'NaN' if nan else 'infinity'}: sequence {row}",
                got=f"{item[step, channel]} in step {step}, channel {channel}",
                expected="finite numbers",
                remedy='pass missing="mask" to read it as missing' if nan else "",
            )


def learn_codec(
    sequences: Sequences,
    *,
    level: str,
    lowercase: bool,
    max_vocabulary: int | None,
    min_count: int | None,
    missing: str,
) -> SequenceCodec:
    """Return the codec that the training part teaches, without labels; raises OptionError, DataError."""
    if sequences.kind == "numbers":
        return SequenceCodec(scaler=Scaler.of(sequences.items, indicator=missing == "mask"))

    def counted(at: str, lower: bool, maximum: int | None, minimum: int | None) -> TextCodec:
        codec, _ = count_vocabulary(
            (text.lower() if lower else text for text in sequences.texts),
            level=at,
            split="whitespace" if sequences.kind == "tokens" and at == "word" else "words",
            max_vocabulary=maximum,
            min_count=minimum,
        )
        return codec

    at = "char" if level == "char" else "word"
    tokens = counted(at, lowercase, max_vocabulary, min_count)
    if level != "both":
        return SequenceCodec(tokens=tokens, lowercase=lowercase)
    try:
        alphabet = counted("char", False, None, 2)  # one that is rare teaches what <unk> is
    except OptionError:
        alphabet = counted("char", False, None, 1)
    return SequenceCodec(tokens=tokens, alphabet=alphabet, lowercase=lowercase)


@dataclass(frozen=True, eq=False)
class Steps:
    """Sequences of unequal lengths side by side: the rows of all steps below one another.

    >>> steps = Steps.of([np.array([1]), np.array([2, 3])])
    >>> steps.order.tolist(), steps.sizes.tolist(), steps.rows.tolist()
    ([1, 0], [2, 1], [2, 1, 3])
    """

    order: np.ndarray
    """int64 ``[B]``: which of those given is in each column, the longest first."""
    sizes: np.ndarray
    """int64 ``[T]``: columns that still run at each step."""
    rows: np.ndarray
    """``[N]`` or ``[N, C]``."""

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray]) -> Steps:
        """Return `sequences`, none of them empty, side by side."""
        lengths = np.array([len(one) for one in sequences])
        order = np.argsort(-lengths, kind="stable")
        sizes = np.searchsorted(-lengths[order], -np.arange(lengths.max()), side="left")
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        ends = np.cumsum(lengths)
        times = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        rows = np.empty((ends[-1], *sequences[0].shape[1:]), sequences[0].dtype)
        rows[starts[times] + np.repeat(np.argsort(order), lengths)] = np.concatenate(sequences)
        return cls(order, sizes.astype(np.int64), rows)

    @property
    def columns(self) -> np.ndarray:
        """The column of every row, int64 ``[N]``."""
        return np.concatenate([np.arange(size) for size in self.sizes])

    def apart(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return ``rows [N, ..]`` as one ``[T_i, ..]`` a sequence, in the order they were given."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        lengths = (self.sizes[:, None] > np.arange(len(self.order))).sum(axis=0)
        parts = [rows[starts[:length] + column] for column, length in enumerate(lengths.tolist())]
        return [parts[column] for column in np.argsort(self.order)]


@dataclass(frozen=True, eq=False)
class Batch:
    """Some sequences as the network reads them."""

    steps: Steps
    """Rows of token numbers, of numbers ``[N, C]``, or where words are spelled of places in `words`."""
    words: np.ndarray | None = None
    """int64 ``[W]``: the token number of each distinct word."""
    letters: Steps | None = None
    """The characters of each distinct word."""


@dataclass(frozen=True, eq=False)
class Encoded:
    """Sequences as numbers, ready to be put into batches."""

    sequences: list[np.ndarray]
    words: np.ndarray | None = None
    letters: list[np.ndarray] | None = None

    @classmethod
    def of(cls, codec: SequenceCodec, given: Sequences) -> Encoded:
        """Return what the codec's network reads; raises DataError where it reads something else.

        An empty text reads as one `<unk>`.
        """
        tokens = codec.tokens
        if (tokens is None) != (given.kind == "numbers"):
            expected = "numbers" if tokens is None else "texts"
            raise DataError("sequences", got=given.kind, expected=f"{expected}, as in training")
        if tokens is None:
            scaler = codec.scaler
            if scaler is None or given.items[0].shape[1] != len(scaler.mean):
                got = f"{given.items[0].shape[1]} channels"
                expected = f"{0 if scaler is None else len(scaler.mean)}"
                raise ShapeError("sequences", got=got, expected=expected)
            check_finite(given, missing=scaler.indicator)
            return cls([scaler.apply(item) for item in given.items])
        if tokens.level == "char":
            texts = [text.lower() if codec.lowercase else text for text in given.texts]
            return cls([_some(tokens.encode(text)) for text in texts])
        table: dict[str, int] = {}
        places = [
            np.array([table.setdefault(word, len(table)) for word in words or [UNKNOWN]], np.int64)
            for words in (
                tokens.tokenise(item) if given.kind == "text" else item for item in given.items
            )
        ]
        distinct = [*table]
        lowered = [word.lower() for word in distinct] if codec.lowercase else distinct
        numbers = tokens.numbers(lowered)
        if codec.alphabet is None:
            return cls([numbers[place] for place in places])
        letters = [_some(codec.alphabet.encode(_ends(word))) for word in distinct]
        return cls(places, numbers, letters)

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def lengths(self) -> np.ndarray:
        """Steps of each, int64 ``[N]``."""
        return np.array([len(one) for one in self.sequences], np.int64)

    def batch(self, rows: Iterable[int]) -> Batch:
        """Return the sequences in `rows`, side by side."""
        steps = Steps.of([self.sequences[row] for row in rows])
        if self.words is None or self.letters is None:
            return Batch(steps)
        present, places = np.unique(steps.rows, return_inverse=True)
        steps = Steps(steps.order, steps.sizes, places.astype(np.int64))
        letters = Steps.of([self.letters[word] for word in present.tolist()])
        return Batch(steps, self.words[present], letters)


def _ends(word: str) -> str:
    return word if len(word) <= 2 * SPELLED else word[:SPELLED] + word[-SPELLED:]


def _some(numbers: np.ndarray) -> np.ndarray:
    return numbers if len(numbers) else np.array([UNKNOWN_ID], np.int64)


def bucketed(
    lengths: np.ndarray, batch_size: int, draw: np.random.Generator | None = None
) -> list[np.ndarray]:
    """Return the places ``[<= batch_size]`` of each batch: those of like length together.

    With `draw` the order is random and likeness is sought among some batches only; without it all are in
    the order of their length.
    """
    count = len(lengths)
    order = np.arange(count) if draw is None else draw.permutation(count)
    pool = count if draw is None else POOL_BATCHES * batch_size
    batches: list[np.ndarray] = []
    for first in range(0, count, max(1, pool)):
        places = order[first : first + pool]
        places = places[np.argsort(lengths[places], kind="stable")]
        batches += [
            places[start : start + batch_size] for start in range(0, len(places), batch_size)
        ]
    if draw is not None:
        batches = [batches[index] for index in draw.permutation(len(batches))]
    return batches
