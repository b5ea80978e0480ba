"""Tables and tag files as labelled sequences: each layout is read as documented, or refused with a reason."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from elman import DataError, OptionError
from elman.labels.conll import read_tags
from elman.labels.read import read_sequences
from elman.tables.reader import read_table

TWEETS = {"text": ["good day", None, "bad"], "label": [" yes", "no", "yes "], "n": [1, 2, 3]}
STEPS: dict[str, list[Any]] = {
    "id": ["b", "b", "a", "a", "a"],
    "t": [2, 1, 7, 9, 8],
    "x": [1.0, 2.0, 3.0, None, 5.0],
    "y": [0, 0, 1, 1, 1],
    "kind": ["up", "up", "down", "down", "down"],
}


def refusal(error: type[Exception], given: Any, /, **how: Any) -> str:
    with pytest.raises(error) as caught:
        read_sequences(read_table(given), **how)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_column_of_texts() -> None:
    sequences, labels = read_sequences(read_table(TWEETS), text="text", label="label")
    assert sequences == ["good day", "", "bad"]  # an empty cell is an empty text
    assert labels == ["yes", "no", "yes"]  # white space around a label is ignored


@pytest.mark.parametrize(
    "input_", [{"text": "label"}, {"columns": "n, label"}, {"columns": ["label"]}]
)
def test_the_label_column_cannot_be_an_input(input_: dict[str, Any]) -> None:
    line = "label: got label, which is read as input too; expected a column of its own"
    assert refusal(OptionError, TWEETS, label="label", **input_) == line


def test_the_only_column_of_texts_is_found() -> None:
    table = read_table(TWEETS)
    assert read_sequences(table, label="label")[0] == ["good day", "", "bad"]
    assert read_sequences(table, label="label", labelled=False)[1] is None
    assert read_sequences(table, text="text")[1] is None
    words = refusal(OptionError, TWEETS | {"place": ["a", "b", "c"]}, label="label")
    assert "got several: text, place; say which: --text" in words


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        ([1, 2, 1], [1, 2, 1]),
        ([1.0, 2.0, 1.0], [1, 2, 1]),
        ([True, False, True], [True, False, True]),
        (["true", "false", "true"], [True, False, True]),
        (["1", "2", "1"], [1, 2, 1]),
        (["01", "02", "01"], ["01", "02", "01"]),
        ([0.5, 1.0, 2.0], [0.5, 1.0, 2.0]),
    ],
)
def test_labels_have_the_type_of_their_column(labels: list[Any], expected: list[Any]) -> None:
    _, found = read_sequences(read_table(TWEETS | {"label": labels}), text="text", label="label")
    assert found == expected
    assert [type(one) for one in found or ()] == [type(one) for one in expected]


def test_regression_targets_are_numbers() -> None:
    table = read_table(TWEETS)
    assert read_sequences(table, task="regress", text="text", label="n")[1] == [1.0, 2.0, 3.0]
    words = refusal(DataError, TWEETS, task="regress", text="text", label="label")
    assert "column 'label' of the table, row 1: got ' yes'; expected a number" in words


@pytest.mark.parametrize("missing", [None, "", "  ", float("nan")])
def test_the_error_for_a_missing_label_names_its_row(missing: object) -> None:
    columns = TWEETS | {"label": ["yes", missing, "no"]}
    words = refusal(DataError, columns, text="text", label="label")
    assert "column 'label' of the table: got nothing in row 2; expected a label" in words
    assert (
        read_sequences(read_table(columns), text="text", label="label", labelled=False)[1] is None
    )


def test_the_error_for_an_unknown_column_lists_similar_ones() -> None:
    for name in ("text", "label"):
        words = refusal(
            DataError, TWEETS, **{"text": "text", name: "Lable" if name == "label" else "Text"}
        )
        assert f"did you mean '{name}'?" in words


def test_rows_of_an_id_are_sorted_by_time() -> None:
    table = read_table(STEPS)
    sequences, labels = read_sequences(table, id_column="id", time_column="t", label="kind")
    np.testing.assert_array_equal(sequences[0], [[2, 0], [1, 0]])
    np.testing.assert_array_equal(sequences[1], [[3, 1], [5, 1], [np.nan, 1]])
    assert labels == ["up", "down"]
    sequences, _ = read_sequences(table, id_column="id", columns="x", label="kind")
    np.testing.assert_array_equal(sequences[1], [[3], [np.nan], [5]])
    sequences, _ = read_sequences(table, id_column="id", columns=["y", "x"])
    np.testing.assert_array_equal(sequences[0], [[0, 1], [0, 2]])


def test_scattered_rows_of_an_id_need_a_time_column() -> None:
    apart = {"id": [1, 2, 1], "t": [2, 1, 1], "x": [1, 2, 3]}
    assert "id 1 occurs again in row 3, after other ids" in refusal(
        DataError, apart, id_column="id", columns="x"
    )
    sequences, _ = read_sequences(read_table(apart), id_column="id", time_column="t", columns="x")
    assert [one.ravel().tolist() for one in sequences] == [[3.0, 1.0], [2.0]]


def test_dates_in_text_sort_the_rows() -> None:
    columns = {"id": [1, 1], "t": ["10.02.2020", "9.02.2020"], "x": [1, 2]}
    sequences, _ = read_sequences(read_table(columns), id_column="id", time_column="t", columns="x")
    assert sequences[0].ravel().tolist() == [2.0, 1.0]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            {"kind": ["up", "down", "a", "a", "a"]},
            "the label of id 'b': got 'down' in row 2 and 'up' in row 1",
        ),
        ({"kind": [None, None, "a", "a", "a"]}, "the label of id 'b': got none; expected one"),
        ({"id": ["b", None, "a", "a", "a"]}, "column 'id' of the table: got nothing in row 2"),
        ({"t": [1, None, 1, 2, 3]}, "column 't': got nothing in row 2; expected a time"),
        ({"t": [1, 1, 1, 2, 3]}, "id 'b' has one time twice: got row 1 and row 2"),
        (
            {"x": [1, "one", 3, 4, 5]},
            "column 'x' of the table, row 2: got 'one'; expected a number",
        ),
    ],
)
def test_errors_of_an_id_name_its_rows(change: dict[str, Any], words: str) -> None:
    how: dict[str, Any] = {"id_column": "id", "time_column": "t", "label": "kind", "columns": "x,y"}
    assert words in refusal(DataError, STEPS | change, **how)


def test_a_label_may_stand_in_one_row_of_its_id() -> None:
    columns = STEPS | {"kind": [None, "up", "down", None, None]}
    assert read_sequences(read_table(columns), id_column="id", label="kind", columns="x")[1] == [
        "up",
        "down",
    ]


def test_texts_of_an_id_are_joined_or_are_its_tokens() -> None:
    table = read_table({"id": [1, 1, 2], "token": ["I", "go", "no"], "tag": ["P", "V", "X"]})
    how: dict[str, Any] = {"id_column": "id", "text": "token"}
    assert read_sequences(table, **how)[0] == ["I go", "no"]
    assert read_sequences(table, task="tag", label="tag", **how) == (
        [["I", "go"], ["no"]],
        [["P", "V"], ["X"]],
    )
    assert read_sequences(table, task="tag", label="tag", id_column="id")[0] == [
        ["I", "go"],
        ["no"],
    ]


def test_a_row_of_numbers_is_a_sequence() -> None:
    table = read_table({"a": [1, 2], "b": [3.5, None], "label": ["x", "y"]})
    sequences, labels = read_sequences(table, label="label")
    np.testing.assert_array_equal(sequences, [[1, 3.5], [2, np.nan]])
    assert labels == ["x", "y"]
    assert read_sequences(table, columns="b, a")[0][0].tolist() == [3.5, 1.0]


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ({"text": "text", "columns": "n"}, "text and columns: got both"),
        ({"text": "text", "time_column": "n"}, "id_column: got nothing"),
        ({"task": "tag", "text": "text"}, "id_column: got nothing"),
    ],
)
def test_columns_that_exclude_each_other_are_errors(how: dict[str, Any], words: str) -> None:
    assert words in refusal(OptionError, TWEETS, **how)


def test_a_table_without_rows_or_columns_is_an_error() -> None:
    assert "has no rows" in refusal(DataError, {"text": [], "label": []}, text="text")
    assert "no column of texts or numbers" in refusal(DataError, {"label": [1]}, label="label")


@pytest.mark.parametrize("between", ["\t", " ", "  \t "])
def test_tag_files(tmp_path: Path, between: str) -> None:
    path = tmp_path / "x.tsv"
    lines = ["", "I go", "you go", "", "", "no X", ""]
    path.write_text("\r\n".join(line.replace(" ", between) for line in lines), encoding="utf-8")
    expected = ([["I", "you"], ["no"]], [["go", "go"], ["X"]])
    assert read_tags(path) == expected
    assert read_tags(io.StringIO(path.read_text())) == expected


def test_the_first_and_last_of_many_columns_are_read() -> None:
    sentences, tags = read_tags(["EU NNP B-NP B-ORG", "rejects VBZ B-VP O"])
    assert (sentences, tags) == ([["EU", "rejects"]], [["B-ORG", "O"]])


def test_tokens_with_spaces_between_tabs() -> None:
    assert read_tags(["New York\tB-LOC"]) == ([["New York"]], [["B-LOC"]])


def test_a_file_of_tokens_has_no_tags() -> None:
    assert read_tags(["I", "go", "", "no"]) == ([["I", "go"], ["no"]], None)


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ([], "has no tokens"),
        (["", "  "], "has no tokens"),
        (["I P", "go"], "line 2: got 1 columns; expected 2, as in the first line"),
        (["I", "go V"], "line 2: got 2 columns; expected a token alone, as before"),
        (["I\tP", "\tV"], "line 2: got an empty column"),
        (["I\tP", "go\t"], "line 2: got an empty column"),
    ],
)
def test_errors_in_a_tag_file_name_the_line(lines: list[str], words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_tags(lines)
    assert words in str(caught.value)


def test_read_sequences_reads_every_kind_of_file(tmp_path: Path) -> None:
    (tmp_path / "a.ts").write_text("@classLabel true a b\n@data\n1,2:3,4:b\n")
    sequences, labels = read_sequences(tmp_path / "a.ts")
    assert [one.tolist() for one in sequences] == [[[1.0, 3.0], [2.0, 4.0]]]
    assert labels == ["b"]
    (tmp_path / "tags").write_text("I\tWHO\n\ntea\tWHAT\n")
    assert read_sequences(tmp_path / "tags", task="tag") == ([["I"], ["tea"]], [["WHO"], ["WHAT"]])
    (tmp_path / "a.csv").write_text("id,x,y\n1,2,0.5\n1,3,0.5\n2,4,1.5\n")
    for source in (tmp_path / "a.csv", str(tmp_path / "a.csv"), read_table(tmp_path / "a.csv")):
        sequences, labels = read_sequences(source, task="regress", label="y", id_column="id")
        assert [one.tolist() for one in sequences] == [[[2.0], [3.0]], [[4.0]]]
        assert labels == [0.5, 1.5]
    assert read_sequences(TWEETS | {"label": ["a", "b", "c"]}, text="text")[1] is None
