"""Files of word vectors: text with and without a first line, binary, and files that are something else."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elman.errors import DataError
from elman.text.word_vectors import read_vectors

WORDS = {"good": 1, "né": 2, "New York": 3, "rare": 4}
VECTORS = {"né": [0.5, -1.0, 2.0], "the": [0.0, 1.0, 1.0], "good": [1.5, 0.25, -3.0]}


def text(vectors: dict[str, list[float]]) -> bytes:
    lines = [" ".join([word, *map(str, numbers)]) for word, numbers in vectors.items()]
    return ("\n".join(lines) + "\n").encode()


def binary(vectors: dict[str, list[float]], end: bytes) -> bytes:
    rows = [word.encode() + b" " + np.array(v, "<f4").tobytes() for word, v in vectors.items()]
    return f"{len(vectors)} 3\n".encode() + end.join(rows) + end


FILES = {
    "glove": text(VECTORS),
    "fasttext": b"3 3\n" + text(VECTORS),
    "spaces at the ends": b"3 3\n" + text(VECTORS).replace(b"\n", b" \n"),
    "word2vec": binary(VECTORS, b"\n"),
    "word2vec without line ends": binary(VECTORS, b""),
    "words twice": text(VECTORS) + text({"good": [9.0, 9.0, 9.0]}),
}


@pytest.mark.parametrize("name", FILES)
def test_every_format_gives_the_same_vectors(tmp_path: Path, name: str) -> None:
    path = tmp_path / "v"
    path.write_bytes(FILES[name])
    numbers, vectors = read_vectors(str(path), WORDS)
    assert numbers.tolist() == [1, 2]
    assert vectors.tolist() == [VECTORS["good"], VECTORS["né"]]
    assert vectors.dtype == np.float32


def test_a_word_may_hold_a_space(tmp_path: Path) -> None:
    path = tmp_path / "v"
    path.write_bytes(text({"a": [1.0, 2.0], "New York": [3.0, 4.0]}))
    assert read_vectors(str(path), WORDS)[1].tolist() == [[3.0, 4.0]]


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"good 1 2\nbad 1\n", "1 numbers in line 2; expected a word and 2 numbers"),
        (b"good 1 x\n", "2 numbers in line 1"),
        (b"good\n", "line 1"),
        (b"good 1 nan\n", "line 1: got a number that is not finite"),
        (b"good 1 1e300\n", "line 1: got a number that is not finite"),
        (b"zebra 1 2\n", "no vector of a word in the texts"),
        (b"", "no vector of a word in the texts"),
        (binary(VECTORS, b"\n")[:-6], "an end after 2 of 3 words"),
    ],
)
def test_other_files_are_one_error(tmp_path: Path, content: bytes, words: str) -> None:
    path = tmp_path / "v"
    path.write_bytes(content)
    with pytest.raises(DataError, match=words) as caught:
        read_vectors(str(path), WORDS)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_an_error() -> None:
    with pytest.raises(DataError, match="cannot read nowhere"):
        read_vectors("nowhere", WORDS)
