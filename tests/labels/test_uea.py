"""`.ts` files: every form that occurs in the archives is read, and other files are refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from elman import DataError
from elman.labels.uea import parse_ts, read_ts

HEAD = "# made by hand\n@problemName Vowels\n@timeStamps false\n@univariate false\n"


def refusal(text: str) -> str:
    with pytest.raises(DataError) as caught:
        parse_ts(text, "x.ts")
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_file_of_unequal_lengths_with_missing_values(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    path.write_text(
        HEAD + "@dimensions 2\n@equalLength false\n@classLabel true a e\n@data\n"
        "1.5,?,-3e2:0,1,NaN:a\n\n# between\n 7 : 8 : e \n",
        encoding="utf-8",
    )
    sequences, labels = read_ts(path)
    np.testing.assert_array_equal(sequences[0], [[1.5, 0], [np.nan, 1], [-300, np.nan]])
    np.testing.assert_array_equal(sequences[1], [[7.0, 8.0]])
    assert all(one.dtype == np.float64 for one in sequences)
    assert labels == ["a", "e"]


@pytest.mark.parametrize(
    ("head", "rows", "expected"),
    [
        ("@classLabel true 1 2\n@data", "5:2\n6:1", [2, 1]),
        ("@CLASSLABEL TRUE 1.0 2.0\n@DATA", "5:1\n6:2", [1, 2]),
        ("@classLabel true\n@data", "5:x\n6:y", ["x", "y"]),
        ("@classLabel true yes no\n@data", "5:?\n6:no", [None, "no"]),
        ("@targetLabel true\n@data", "5:0.25\n6:-1", [0.25, -1.0]),
        ("@classLabel false\n@data", "5\n6", None),
        ("@data", "5\n6", None),
        ("@frequency yearly\n@data", "5\n6", None),
    ],
)
def test_labels(head: str, rows: str, expected: object) -> None:
    sequences, labels = parse_ts(f"{head}\n{rows}\n", "x.ts")
    assert [one.tolist() for one in sequences] == [[[5.0]], [[6.0]]]
    assert labels == expected


def test_line_ends_and_byte_order_marks_are_read(tmp_path: Path) -> None:
    path = tmp_path / "x.ts"
    path.write_bytes("\ufeff@classLabel true ä b\r\n@data\r\n1,2:ä\r\n".encode())
    sequences, labels = read_ts(path)
    assert sequences[0].ravel().tolist() == [1.0, 2.0]
    assert labels == ["ä"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "x.ts has no line of data"),
        ("# nothing\n@data\n", "x.ts has no line of data"),
        ("@timeStamps true\n@data\n(0,1.5):a\n", "x.ts has time stamps"),
        ("@data\n1,2\n1,x\n", "x.ts, line 3: got 'x' in step 1; expected a number"),
        ("@data\n1,,2\n", "x.ts, line 2: got '' in step 1"),
        ("@data\n(0,1.5)\n", "x.ts, line 2: got '(0' in step 0"),
        ("@data\n1,2:3\n", "x.ts, line 2: got channels of the lengths 2, 1; expected one length"),
        ("@data\n1:2\n3\n", "x.ts, line 3: got 1 channels; expected 2"),
        ("@dimensions 3\n@data\n1:2\n", "x.ts, line 3: got 2 channels; expected 3"),
        ("@classLabel true a\n@data\na\n", "x.ts, line 3: got channels of the lengths no channel"),
        ("@classLabel true a b\n@data\n1,2:a\n3,4\n", "x.ts, line 4: got channels of the"),
        ("@classLabel true a b\n@data\n1,2:a\n3,4:c\n", "x.ts, line 4: got label 'c'"),
        ("1,2,3\n", "x.ts, line 1: got 1,2,3; expected a line that begins with @"),
    ],
)
def test_errors_in_a_ts_file_name_the_line(text: str, words: str) -> None:
    assert words in refusal(text)


def test_a_file_that_does_not_exist_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="absent"):
        read_ts(tmp_path / "absent.ts")
