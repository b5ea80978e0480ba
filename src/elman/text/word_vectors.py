"""Reader of word vectors that others have trained, in the files of word2vec, GloVe and fastText.

A text file has a word and its numbers on each line, and word2vec and fastText write the number of words and
of numbers on the first line. A binary file of word2vec has that first line too; then follows each word, a
space, and its numbers as little-endian float32.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import IO

import numpy as np

from elman.errors import DataError

_MAX_HEADER_BYTES = 64
_FORMATS = "the text or binary format of word2vec, or that of GloVe or fastText"


def read_vectors(path: str, index: Mapping[str, int]) -> tuple[np.ndarray, np.ndarray]:
    """Return the vectors of those words of a file that a vocabulary has.

    Args:
        path: The file. A binary one is recognised by its content.
        index: The number of each word of the vocabulary.

    Returns:
        The numbers of the words found, int64 ``[W]``, ascending, and their vectors, float32 ``[W, E]``.
        If a word occurs more than once in the file, its first vector counts.

    Raises:
        DataError: The file cannot be read, has another format, or holds no word of the vocabulary.
    """
    found: dict[int, np.ndarray] = {}
    try:
        with open(path, "rb") as file:
            header = file.readline(_MAX_HEADER_BYTES).split()
            counted = len(header) == 2 and all(part.isdigit() for part in header)
            size = int(header[1]) if counted else 0
            if counted and _is_binary(file, size):
                _read_binary(file, path, int(header[0]), size, index, found)
            else:
                if not counted:
                    file.seek(0)
                _read_text(file, path, size, 1 + counted, index, found)
    except OSError as error:
        raise DataError(f"cannot read {path}", got=error.strerror or str(error)) from None
    if not found:
        remedy = "pass vectors of the language of the texts"
        raise DataError(f"{path} has no vector of a word in the texts", remedy=remedy)
    numbers = sorted(found)
    return np.array(numbers, np.int64), np.stack([found[number] for number in numbers])


def _is_binary(file: IO[bytes], size: int) -> bool:
    """Return whether what follows in `file` is a word and then `size` float32, not a line of text."""
    start = file.tell()
    sample = file.read(4 * size + 1000)
    file.seek(start)
    first_line = sample.split(b"\n", 1)[0].split()
    if len(first_line) != size + 1:
        return True
    try:
        np.array(first_line[1:], np.float32)
    except ValueError:
        return True
    return False


def _read_binary(
    file: IO[bytes],
    path: str,
    count: int,
    size: int,
    index: Mapping[str, int],
    found: dict[int, np.ndarray],
) -> None:
    for number in range(1, count + 1):
        word = bytearray()
        while (byte := file.read(1)) not in (b" ", b""):
            word += byte
        values = file.read(4 * size)
        if len(values) != 4 * size or not size:
            got = f"an end after {number - 1:,} of {count:,} words"
            raise DataError(path, got=got, expected=_FORMATS)
        vector = np.frombuffer(values, "<f4")
        _keep(bytes(word).strip(), vector, f"{path}, word {number}", index, found)


def _read_text(
    file: IO[bytes],
    path: str,
    size: int,
    first_line: int,
    index: Mapping[str, int],
    found: dict[int, np.ndarray],
) -> None:
    for number, line in enumerate(file, first_line):
        if not line.strip():
            continue
        fields = line.rstrip().split(b" ")
        size = size or len(fields) - 1
        # GloVe has words with spaces in them, so the last `size` fields are the numbers
        word, values = b" ".join(fields[: len(fields) - size]), fields[len(fields) - size :]
        try:
            with np.errstate(over="ignore"):  # `_keep` refuses infinite numbers
                vector = np.array(values, np.float32)
        except ValueError:
            vector = np.empty(0, np.float32)
        if len(vector) != size or not size or not word:
            got = f"{len(fields) - 1} numbers in line {number}" if size else f"line {number}"
            expected = f"a word and {size} numbers: {_FORMATS}" if size else _FORMATS
            raise DataError(path, got=got, expected=expected)
        _keep(word, vector, f"{path}, line {number}", index, found)


def _keep(
    word: bytes,
    vector: np.ndarray,
    place: str,
    index: Mapping[str, int],
    found: dict[int, np.ndarray],
) -> None:
    """Add the vector of a word in the vocabulary to `found`; raises DataError if it is not finite."""
    number = index.get(word.decode("utf-8", "replace"))
    if number is None or number in found:
        return
    if not np.isfinite(vector).all():
        raise DataError(place, got="a number that is not finite", expected="finite numbers")
    found[number] = vector
