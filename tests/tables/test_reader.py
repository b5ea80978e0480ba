from __future__ import annotations

import csv as csv_module
import datetime
import gzip
import io
import json
import os
import struct
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import DataError, MissingDependencyError, OptionError, OutputError
from elman.tables.columns import column_of
from elman.tables.delimited import parse_delimited
from elman.tables.reader import Table, read_table
from elman.tables.writer import write_table

DATA = {
    "name": ["a", None, 'with "quotes", a comma', "line\nbreak"],
    "whole": [1, -2, 3, 4],
    "some missing": [1, None, 3, 4],
    "float": [0.1, 1 / 3, 1e300, -5e-324],
    "whole floats": [1.0, 2.0, 3.0, 4.0],
    "yes": [True, False, True, True],
    "yes?": [True, None, False, True],
    "text of numbers": ["1", "2", "NA", ""],
    "nothing": [None, None, None, None],
    "#large": [9007199254740993, 2, 3, 4],
}
KINDS = {
    "name": "O",
    "whole": "i",
    "some missing": "f",
    "float": "f",
    "whole floats": "i",
    "yes": "b",
    "yes?": "f",
    "text of numbers": "f",
    "nothing": "f",
    "#large": "i",
}
SOURCES = ["dict", "records", "pandas", "polars", "lazy", "pyarrow", "nullable"]
FILES = ["csv", "tsv", "jsonl", "json", "parquet"]


def make(kind: str, data: dict[str, Any], folder: Path) -> Any:
    frame = pl.DataFrame(data)
    records = [dict(zip(data, row, strict=True)) for row in zip(*data.values(), strict=True)]
    path = folder / f"table.{kind}"
    match kind:
        case "dict":
            return data
        case "records":
            return records
        case "pandas":
            return pd.DataFrame(data)
        case "nullable":
            return pd.DataFrame(data).convert_dtypes()
        case "polars":
            return frame
        case "lazy":
            return frame.lazy()
        case "pyarrow":
            return pa.table(data)
        case "csv":
            frame.write_csv(path)
        case "tsv":
            frame.write_csv(path, separator="\t")
        case "jsonl":
            path.write_text("".join(json.dumps(record) + "\n" for record in records))
        case "json":
            path.write_text(json.dumps(records))
        case "parquet":
            frame.write_parquet(path)
    return path


def same(one: Table, other: Table) -> None:
    assert list(one.columns) == list(other.columns)
    for name, column in one.columns.items():
        twin = other.columns[name]
        assert column.dtype == twin.dtype, name
        if column.dtype == object:
            assert column.tolist() == twin.tolist(), name
        else:
            assert column.tobytes() == twin.tobytes(), name


@pytest.mark.parametrize("kind", SOURCES + FILES)
def test_the_same_data_are_the_same_columns(kind: str, tmp_path: Path) -> None:
    table = read_table(make(kind, DATA, tmp_path))
    same(table, read_table(DATA))
    assert {name: column.dtype.kind for name, column in table.columns.items()} == KINDS
    assert table.rows == 4


def test_values_of_each_kind() -> None:
    columns = read_table(DATA).columns
    assert columns["name"].tolist() == ["a", None, 'with "quotes", a comma', "line\nbreak"]
    np.testing.assert_array_equal(columns["yes?"], [1, np.nan, 0, 1])
    np.testing.assert_array_equal(columns["text of numbers"], [1, 2, np.nan, np.nan])
    assert columns["#large"][0] == 9007199254740993


@pytest.mark.slow
@given(st.lists(st.floats(allow_nan=False) | st.none(), min_size=1))
def test_numbers_are_the_same_bits_from_text_and_frame(values: list[float | None]) -> None:
    texts = [None if value is None else repr(value) for value in values]
    expected, _ = column_of(values)
    for column in (column_of(texts)[0], read_table(pl.DataFrame({"y": values})).columns["y"]):
        assert column.dtype == expected.dtype
        assert column.tobytes() == expected.tobytes()


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (["007", "012"], ["007", "012"]),  # ids
        (["1_000", "2_000"], ["1_000", "2_000"]),
        (["NA", "None"], ["NA", "None"]),
        (["NA", "", "x"], ["NA", None, "x"]),
        (["NA", "true"], [np.nan, 1.0]),
        ([" ", "", None], [np.nan] * 3),
        (["1e5", "2"], [100000, 2]),
        ([1, "a", None, 1.5], ["1", "a", None, "1.5"]),
        ([-0.0, 1.0], [-0.0, 1.0]),
        ([2**70, 1], [float(2**70), 1.0]),
        ([10**400, 1], [np.inf, 1.0]),
        (["1" + "0" * 400, "1"], [np.inf, 1.0]),
        (["inf", "-inf"], [np.inf, -np.inf]),
        ([b"ab", b"c"], ["ab", "c"]),
        (np.array([1, 2], np.uint64), [1, 2]),
        (np.array([2**64 - 1], np.uint64), [float(2**64)]),
        (np.array([1.5, 2], np.float32), [1.5, 2.0]),
        (np.array(["a", "b"]), ["a", "b"]),
        (np.array([], np.float64), []),
        ([1j], ["1j"]),
        (["2020-01-01"], ["2020-01-01"]),
    ],
)
def test_types_of_unusual_values(
    values: list[Any] | np.ndarray, expected: list[float | str | None]
) -> None:
    column, zone = column_of(values)
    assert zone is None
    assert repr(column.tolist()) == repr(expected)


FIRST_DATE = datetime.datetime(2020, 1, 1, 5)
DATES = [FIRST_DATE, None, datetime.datetime(2021, 2, 3)]


@pytest.mark.parametrize("kind", ["dict", "pandas", "polars", "pyarrow", "parquet"])
def test_dates_of_frames(kind: str, tmp_path: Path) -> None:
    data = {"t": DATES, "d": [datetime.date(2020, 1, 2), None, None]}
    table = read_table(make(kind, data, tmp_path))
    assert table.columns["t"].dtype == "datetime64[us]"
    assert table.columns["t"].tolist() == DATES
    assert table.columns["d"].tolist() == [datetime.datetime(2020, 1, 2), None, None]
    assert table.zones == {}


def test_dates_with_a_time_zone_are_utc() -> None:
    frame = pd.DataFrame({"t": pd.date_range("2020-07-01", periods=2, tz="Europe/Berlin")})
    for source in (
        frame,
        pl.from_pandas(frame),
        pa.Table.from_pandas(frame),
        frame.to_dict("list"),
    ):
        table = read_table(source)
        assert table.columns["t"][0] == np.datetime64("2020-06-30T22:00")
        assert table.zones["t"]
    mixed = [FIRST_DATE, None, FIRST_DATE.replace(tzinfo=datetime.UTC)]
    with pytest.raises(DataError, match=r"with a time zone \(row 3\) and without one \(row 1\)"):
        read_table({"t": mixed})


def test_pandas_index() -> None:
    dates = pd.date_range("2020-01-01", periods=2, name="ds")
    assert list(read_table(pd.DataFrame({"y": [1, 2]}, index=dates)).columns) == ["ds", "y"]
    series = read_table(pd.Series([1, 2], index=dates, name="y"))
    assert list(series.columns) == ["ds", "y"]
    # a number of the row is no column
    assert list(read_table(pd.DataFrame({"y": [1, 2, 3]})[1:]).columns) == ["y"]
    named = pd.DataFrame({"y": [1, 2]}, index=pd.Index([3, 4], name="n"))
    assert list(read_table(named).columns) == ["n", "y"]
    assert list(read_table(pd.DataFrame({"n": [1, 2]}, index=named.index)).columns) == ["n"]
    assert list(read_table(pd.DataFrame({0: [1], 1: [2]})).columns) == ["0", "1"]
    assert list(read_table(pl.Series("y", [1, 2])).columns) == ["y"]


def test_other_columns_of_frames() -> None:
    frame = pl.DataFrame(
        {"c": ["u", "v"], "d": ["1.10", "2.3"], "l": [[1], [2]], "b": ["x", "y"]}
    ).with_columns(pl.col("c").cast(pl.Categorical), pl.col("d").cast(pl.Decimal(10, 2)))
    columns = read_table(frame).columns
    assert columns["c"].tolist() == ["u", "v"]
    assert columns["d"].tolist() == [1.1, 2.3]
    assert columns["l"].tolist() == ["[1]", "[2]"]
    wide = pl.Series("y", [10**30, 1], dtype=pl.Int128)
    assert read_table(wide).columns["y"].tolist() == [1e30, 1.0]
    assert read_table({"y": pa.array([1, None])}).columns["y"].dtype == np.float64
    assert read_table({"y": pd.Series([1, 2])}).columns["y"].tolist() == [1, 2]


def test_numpy() -> None:
    assert read_table(np.array([1.5, 2])).columns["0"].tolist() == [1.5, 2.0]
    table = read_table(np.array([[1, 2], [3, 4], [5, 6]]))
    assert {key: column.tolist() for key, column in table.columns.items()} == {
        "0": [1, 3, 5],
        "1": [2, 4, 6],
    }
    structured = np.array([(1, 2.5), (2, 3.5)], [("id", "i4"), ("y", "f4")])
    assert list(read_table(structured).columns) == ["id", "y"]
    with pytest.raises(DataError, match=r"shape \(1, 1, 1\)"):
        read_table(np.zeros((1, 1, 1)))


@pytest.fixture
def csv(tmp_path: Path) -> Callable[..., Path]:
    def write(data: str | bytes, name: str = "table.csv") -> Path:
        path = tmp_path / name
        path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return path

    return write


HOSTILE = {
    "byte order mark": (b"\xef\xbb\xbfa,b\n1,2\n", {"a": [1], "b": [2]}),
    "CRLF": (b"a,b\r\n1,2\r\n3,4", {"a": [1, 3], "b": [2, 4]}),
    "old line ends": (b"a,b\r1,2\r", {"a": [1], "b": [2]}),
    "Latin-1": ("città,b\nTorinò,2\n".encode("latin-1"), {"città": ["Torinò"], "b": [2]}),
    "UTF-16": ("a;b\nx;2\n".encode("utf-16"), {"a": ["x"], "b": [2]}),
    "quotes": (
        b'a,b\n"x, ""y""","1"\n"two\nlines",2\n',
        {"a": ['x, "y"', "two\nlines"], "b": [1, 2]},
    ),
    "spaces before quotes": (b'"a", "b"\n"x", "1"\n', {"a": ["x"], "b": [1]}),
    "hash in a name": (b"Month,#Passengers\n1949-01,112\n", {"Month": ["1949-01"], "#Passengers": [112]}),
    "an empty name": (b",b\nx,2\n", {"": ["x"], "b": [2]}),
    "spaces in names": (b" a , b\n1,2\n", {"a": [1], "b": [2]}),
    "no header": (b"84.1\n84.2\n", {"0": [84.1, 84.2]}),
    "no header, wide": (b"1,2\n3,4\n", {"0": [1, 3], "1": [2, 4]}),
    "header only": (b"a,b\n", {"a": [], "b": []}),
    "semicolons": (b"a;b\n1,5;2\n", {"a": [1.5], "b": [2]}),
    "bars": (b"a|b\n1|2\n", {"a": [1], "b": [2]}),
    "empty lines": (b"\n\na,b\n\n1,2\n\n", {"a": [1], "b": [2]}),
    "empty lines in one column": (b"a\n1\n\n3\n\n\n", {"a": [1.0, np.nan, 3.0]}),
    "a field of 200,000 letters": (b"a,b\n" + b"x" * 200_000 + b",1\n", {"a": ["x" * 200_000], "b": [1]}),
    "a name of 10,000 letters": (b"x" * 10_000 + b",b\n1,2\n", {"x" * 10_000: [1], "b": [2]}),
    "comma in a text, a tab between": (b"a\tb\n1, 2\t3\n", {"a": ["1, 2"], "b": [3]}),
    "quotes that are letters": (b'a\tb\n"so it goes\t3\nx\t4\n', {"a": ['"so it goes', "x"], "b": [3, 4]}),
}  # fmt: skip


@pytest.mark.parametrize("case", HOSTILE)
def test_hostile_files_are_read_or_one_error(case: str, csv: Callable[..., Path]) -> None:
    data, expected = HOSTILE[case]
    columns = read_table(csv(data)).columns
    assert repr({name: column.tolist() for name, column in columns.items()}) == repr(expected)


AS_PEOPLE_HAVE_THEM = {
    "the index of a frame": (
        b",date,y\n0,2024-01-01,5\n1,2024-01-02,6\n",
        {"date": ["2024-01-01", "2024-01-02"], "y": [5, 6]},
        "only numbers the rows",
    ),
    "the index of joined frames": (
        b",y\n0,5\n1,6\n0,7\n",
        {"y": [5, 6, 7]},
        "only numbers the rows",
    ),
    "an index of years stays": (b",y\n1949,5\n1950,6\n", {"": [1949, 1950], "y": [5, 6]}, None),
    "a series written by pandas": (b",0\n0,5\n1,0\n", {"0": [5, 0]}, "only numbers the rows"),
    "no header, dates": (
        b"2024-01-01,10.0\n2024-01-02,11.5\n",
        {"0": ["2024-01-01", "2024-01-02"], "1": [10.0, 11.5]},
        "has no header; its columns are called 0 to 1",
    ),
    "no header, labels": (
        b"good,1\nbad,0\nfine,1\n",
        {"0": ["good", "bad", "fine"], "1": [1, 0, 1]},
        "has no header",
    ),
    "a header of years": (
        b"country,2019,2020\nBern,1,2\nLima,3,4\n",
        {"country": ["Bern", "Lima"], "2019": [1, 3], "2020": [2, 4]},
        None,
    ),
    "decimal commas": (
        b"datum;umsatz\n01.02.2024;1.234,50\n02.02.2024;7,00\n",
        {"datum": ["01.02.2024", "02.02.2024"], "umsatz": [1234.5, 7.0]},
        "column 'umsatz' 1.234,50 is read as 1234.5",
    ),
    "a point of thousands": (
        b"a;b\n1,5;12.345\n2;1.000\n",
        {"a": [1.5, 2.0], "b": [12345, 1000]},
        "'b' 12.345 is read as 12345",
    ),
    "thousands": (
        b'a,b\n1,"1,234.50"\n2,"1,234"\n',
        {"a": [1, 2], "b": [1234.5, 1234.0]},
        "1,234.50 is read as 1234.5",
    ),
    "Swiss thousands": ("a\n1’234.50\n7\n".encode(), {"a": [1234.5, 7.0]}, "is read as 1234.5"),
    "dollars": (
        b"a,b\n1,$12.50\n2,-$3\n",
        {"a": [1, 2], "b": [12.5, -3.0]},
        "$12.50 is read as 12.5",
    ),
    "per cent": (b"a,b\n1,12 %\n2,NA\n", {"a": [1, 2], "b": [12.0, np.nan]}, "12 % is read as 12"),
    "two units": (b"a,b\n1,$12\n2,12 %\n", {"a": [1, 2], "b": ["$12", "12 %"]}, None),
    "a thousand or a fraction": (b'a,b\n1,"1,234"\n', {"a": [1], "b": ["1,234"]}, None),
    "three decimals": (b"a,b\n1,1.234\n", {"a": [1], "b": [1.234]}, None),
    "a declared delimiter": (
        b"sep=;\na;b\n1;2,5\n",
        {"a": [1], "b": [2.5]},
        "separated by semicolons",
    ),
    "comments": (
        b"# made by hand, in May\n#\na,b\n1,2\n# the end\n",
        {"a": [1], "b": [2]},
        "line 5: begins with # and is left out",
    ),
    "hashes in texts": (
        b'a,b\n#one,2\n"#two, too",3\n',
        {"a": ["#one", "#two, too"], "b": [2, 3]},
        None,
    ),
    "no header, counted": (
        b"1,good\n2,bad\n",
        {"0": [1, 2], "1": ["good", "bad"]},
        "has no header",
    ),
    "a header written as a comment": (
        b"# made by a tool\n# a,b\n1,2\n",
        {"a": [1], "b": [2]},
        "begin with # are comments",
    ),
    "empty rows at the end": (b"a,b\n1,2\n,\n,\n", {"a": [1], "b": [2]}, None),
    "delimiters at the end of rows": (b"a,b\n1,2,,\n3,4,,\n", {"a": [1, 3], "b": [2, 4]}, None),
    "nameless empty columns": (b"a,b,,\n1,2,,\n3,4,,\n", {"a": [1, 3], "b": [2, 4]}, None),
}


@pytest.mark.parametrize("case", AS_PEOPLE_HAVE_THEM)
def test_files_of_every_form_are_read_with_notes(case: str, csv: Callable[..., Path]) -> None:
    data, expected, note = AS_PEOPLE_HAVE_THEM[case]
    table = read_table(csv(data))
    found = {name: column.tolist() for name, column in table.columns.items()}
    assert repr(found) == repr(expected)
    others = [one for one in table.notes if "separated by" not in one]
    assert (note in " ".join(table.notes)) if note else not others


def test_options_of_reading_a_table(csv: Callable[..., Path]) -> None:
    path = csv(b'a,b\n1,"1,234"\n')
    assert read_table(path, decimal=".").columns["b"].tolist() == [1234]
    assert read_table(path, decimal=",").columns["b"].tolist() == [1.234]
    assert read_table({"b": ["1,234"]}, decimal=",").columns["b"].tolist() == [1.234]
    assert [*read_table(path, header=False).columns] == ["0", "1"]
    assert [*read_table(csv(b"1,2\n3,4\n"), header=True).columns] == ["1", "2"]
    with pytest.raises(
        DataError, match=r"column 'a', row 1: got 1\.5; expected a number with decimal ','"
    ):
        read_table({"a": ["1.5"]}, decimal=",")
    with pytest.raises(OptionError, match="decimal: got :"):
        read_table(path, decimal=":")


def test_line_numbers_in_errors_count_skipped_lines(csv: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match="line 5: got 1 fields; expected 2"):
        read_table(csv(b"# made by hand\n\na,b\n1,2\n3\n"))


def test_a_compressed_table(csv: Callable[..., Path]) -> None:
    assert read_table(csv(gzip.compress(b"a;b\n1;2\n"), "t.csv.gz")).columns["b"].tolist() == [2]
    with pytest.raises(DataError, match=r"cannot read .*t\.csv\.gz"):
        read_table(csv(gzip.compress(b"a;b\n1;2\n" * 99)[:-9], "t.csv.gz"))


def test_tables_in_other_encodings(
    csv: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = "text,label\n这部电影很好看,正面\n这部电影不好看,负面\n"
    path = csv(text.encode("gb18030"))
    with pytest.raises(DataError, match=r"no language that cp1252 writes.*pass encoding="):
        read_table(path)
    assert read_table(path, encoding="gb18030").columns["label"].tolist() == ["正面", "负面"]
    with pytest.raises(DataError, match="no language that cp1252 writes"):
        read_table(csv(b"a\nx\x81y\n"))  # cp1252 has no such byte
    latin = "a,b\nSchön,2\n".encode("cp1252")
    feed(monkeypatch, latin)
    piped = read_table("-")
    assert piped.columns["a"].tolist() == read_table(csv(latin)).columns["a"].tolist() == ["Schön"]
    assert "standard input: not UTF-8 at line 2" in piped.notes[0]


def test_a_long_file(csv: Callable[..., Path]) -> None:
    lines = [f"{n},{n / 7!r}\n" for n in range(10_000)]
    columns = read_table(csv("a,b\n" + "".join(lines))).columns
    assert columns["a"].tolist() == list(range(10_000))
    assert columns["b"].tolist() == [n / 7 for n in range(10_000)]
    with pytest.raises(DataError, match="line 9002: got 1 fields"):
        read_table(csv("a,b\n" + "".join(lines[:9000]) + "1\n"))


def test_guesses_are_noted(csv: Callable[..., Path]) -> None:
    assert read_table(csv("a,b\n1,2\n")).notes == ()
    path = csv("a;b\n1;2\n")
    assert read_table(path).notes == (f"{path}: fields are separated by semicolons",)
    assert "has no header" in read_table(csv("1\n2\n")).notes[0]
    assert "quotes are read as ordinary characters" in read_table(csv('a\tb\n"x\t1\n')).notes[1]
    guessed = read_table(csv("a\nFüße\n".encode("cp1252"))).notes[0]
    assert guessed.startswith("read as cp1252, a guess: ")
    assert "not UTF-8 at line 2" in guessed


FAULTS = {
    "ragged": (b'a,b\n"x\ny",1\n1,2,3\n', "line 4: got 3 fields; expected 2"),
    "short": (b"a,b,c\n1,2\n", "line 2: got 2 fields; expected 3"),
    "a text that begins with #": (b"a,b\n#one, two,3\n", "line 2: got 3 fields; expected 2"),
    "open quote": (b'a,b\n1,2\n"x,3\n4,5\n', "line 3: a quote is not closed"),
    "twice": (b"a,b,a\n1,2,3\n", "two columns of the name 'a'"),
    "twice, with spaces": (b"a, a\n1,2\n", "two columns of the name 'a'"),
    "empty": (b"", "is empty"),
    "blank": (b" \n\n", "is empty"),
    "only comments": (b"# nothing\n#\n", "is empty"),
    "zero byte": (b"a,b\n1,\0\n", "is not text: a zero byte at line 2"),
}


@pytest.mark.parametrize("case", FAULTS)
def test_errors_are_one_line_with_the_file(case: str, csv: Callable[..., Path]) -> None:
    data, message = FAULTS[case]
    path = csv(data)
    with pytest.raises(DataError) as caught:
        read_table(path)
    assert message in str(caught.value)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"a": 1}\n{"a": ', "line 2 is not JSON"),
        ('{"a": 1}\n\n[1]', "line 3 is no JSON object"),
        ("[1]", "is no JSON object"),
        ('{"a": 1, "a": 2}', "a name occurs twice"),
        ("[" * 100_000, "is not JSON"),
        ("1" * 5000, "is not JSON"),
    ],
)
def test_errors_of_json(text: str, message: str, csv: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=message):
        read_table(csv(text, "table.jsonl"))


def test_json_lines_may_lack_names(csv: Callable[..., Path]) -> None:
    table = read_table(csv('{"a": 1}\n{"b": "x", "a": 2}\n', "table.ndjson"))
    assert table.columns["a"].tolist() == [1, 2]
    assert table.columns["b"].tolist() == [None, "x"]


def test_errors_of_files_and_values(tmp_path: Path, csv: Callable[..., Path]) -> None:
    with pytest.raises(DataError, match=r"cannot read .*none.csv: got No such file"):
        read_table(tmp_path / "none.csv")
    with pytest.raises(DataError, match=r"cannot read .*: got Is a directory"):
        read_table(str(tmp_path))
    with pytest.raises(DataError, match="cannot read"):
        read_table("a\0b")
    with pytest.raises(DataError, match="as Parquet"):
        read_table(csv("PAR1 but not quite", "table.parquet"))
    with pytest.raises(DataError, match="the data: got int"):
        read_table(3)
    with pytest.raises(DataError, match="column 'a' of the table is no list"):
        read_table({"a": 3})
    with pytest.raises(DataError, match="differ in length: got 2 in 'a', 1 in 'b'"):
        read_table({"a": [1, 2], "b": [1]})
    with pytest.raises(DataError, match="two columns of the name 'a'"):
        read_table(pd.DataFrame([[1, 2]], columns=["a", "a"]))
    with pytest.raises(DataError, match="sales has two columns of the name '1'"):
        read_table({1: [1], "1": [2]}, name="sales")


def test_columns_by_name() -> None:
    table = read_table({"Close": [1, 2], "Adj Close": [3, 4], "note": ["x", None]})
    assert table.column("Close").tolist() == [1, 2]
    assert read_table(table) is table
    with pytest.raises(DataError, match="no column 'close'; did you mean 'Close' or 'Adj Close'"):
        table.column("close")
    with pytest.raises(DataError, match=r"it has 'Close', 'Adj Close', 'note'$"):
        table.column("zzz")
    many = read_table({f"column{n}": [n] for n in range(20)})
    with pytest.raises(DataError, match=r"'column7', …$"):
        many.column("zzz")
    with pytest.raises(DataError) as caught:
        table.column("\x1b[2J" + "x" * 1000)
    assert len(str(caught.value)) < 200
    assert str(caught.value).isprintable()


def test_columns_of_numbers() -> None:
    table = read_table({"b": [True, False], "t": DATES[::2], "NA": ["NA", "-"], "x": ["1", "x\n"]})
    assert table.numbers("b").tolist() == [1.0, 0.0]
    assert np.isnan(table.numbers("NA")).all()
    with pytest.raises(DataError, match="holds dates"):
        table.numbers("t")
    with pytest.raises(DataError, match=r"column 'x' of the table, row 2: got 'x\\n'; expected a"):
        table.numbers("x")
    with pytest.raises(DataError, match=r"row 1: got '1,234'.*pass decimal="):
        read_table({"y": ["1,234", "3"]}).numbers("y")
    with pytest.raises(DataError, match="place 1"):
        read_table({"y": ["1", "x"]}).numbers("y", lambda row: f"place {row}")


def feed(monkeypatch: pytest.MonkeyPatch, data: bytes) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))


@pytest.mark.parametrize("kind", FILES)
def test_standard_input(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    feed(monkeypatch, make(kind, DATA, tmp_path).read_bytes())
    same(read_table("-"), read_table(DATA))


def test_errors_of_standard_input_name_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for data, message in (
        (b"", "standard input is empty"),
        (b"a,b\n1\n", "standard input, line 2"),
        (b"a\0b", "standard input is not text"),
    ):
        feed(monkeypatch, data)
        with pytest.raises(DataError, match=message):
            read_table("-")


def test_a_pipe_is_read_once(tmp_path: Path) -> None:
    path = tmp_path / "pipe"
    os.mkfifo(path)
    thread = threading.Thread(target=lambda: path.write_text("a,b\n1,2\n"))
    thread.start()
    assert read_table(path).columns["b"].tolist() == [2]
    thread.join()


ANY_FLOAT = st.floats(allow_nan=False, allow_infinity=False)


@pytest.mark.slow
@pytest.mark.parametrize("suffix", FILES)
@given(st.lists(ANY_FLOAT | st.none(), min_size=1, max_size=20))
def test_written_tables_read_back_exactly(
    tmp_path_factory: pytest.TempPathFactory, suffix: str, values: list[float | None]
) -> None:
    path = tmp_path_factory.getbasetemp() / f"back.{suffix}"
    columns = {"n": [f"row {n}" for n in range(len(values))], "y": values}
    write_table(columns, path)
    same(read_table(path), read_table(columns))


@pytest.mark.parametrize("suffix", FILES)
def test_all_kinds_are_written(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"back.{suffix}"
    write_table(read_table(DATA).columns, path)
    same(read_table(path), read_table(DATA))


def test_how_values_are_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    columns = {
        "t": np.array(["2020-01-01T05:00:00.25", "NaT"], "datetime64[us]"),
        "d": np.array(["2020-01-01", "2020-01-31"], "datetime64[us]"),
        "yes": [True, False],
        "y": [1e22, 0.1],
        "s": ["a,b", None],
    }
    write_table(columns, "-")
    assert capsys.readouterr().out == (
        't,d,yes,y,s\n2020-01-01T05:00:00.25,2020-01-01,true,1e+22,"a,b"\n,2020-01-31,false,0.1,\n'
    )
    write_table({"y": [0.5, None]}, tmp_path / "one.csv")
    assert read_table(tmp_path / "one.csv").rows == 2
    write_table({"s": ["é\ud800"]}, tmp_path / "s.jsonl")
    assert read_table(tmp_path / "s.jsonl").columns["s"].tolist() == ["é\ud800"]
    with pytest.raises(OptionError, match=r"the file to write: got .*back.svg"):
        write_table(columns, tmp_path / "back.svg")
    with pytest.raises(OutputError, match="make the folder first"):
        write_table(columns, tmp_path / "none" / "back.csv")
    (tmp_path / "kept.csv").write_text("before")
    with pytest.raises(ValueError, match="zip"):
        write_table({"a": [1, 2], "b": [1]}, tmp_path / "kept.csv")
    assert (tmp_path / "kept.csv").read_text() == "before"


def test_without_narwhals_and_polars(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    frame = pl.DataFrame({"a": [1]})
    path = make("parquet", {"a": [1]}, tmp_path)
    monkeypatch.setitem(sys.modules, "narwhals", None)
    for source in (frame, {"a": frame["a"]}):
        with pytest.raises(MissingDependencyError, match="data frames need narwhals"):
            read_table(source)
    monkeypatch.setitem(sys.modules, "polars", None)
    for call in (lambda: read_table(path), lambda: write_table({"a": [1]}, path)):
        with pytest.raises(MissingDependencyError, match="Parquet files need polars"):
            call()
    with pytest.raises(MissingDependencyError, match="need polars: run pip install polars"):
        read_table(make("csv", {"a": [1]}, tmp_path))
    assert read_table({"a": [1]}).rows == 1


def test_polars_is_imported_when_a_table_is_read(csv: Callable[..., Path]) -> None:
    code = (
        "import sys\nfrom elman.tables.reader import read_table\n"
        "read_table({'text': ['good', 'bad'], 'n': [1, 2]})\n"
        "def loaded(): return sorted({'polars', 'narwhals', 'pandas'} & set(sys.modules))\n"
        f"print(loaded())\nread_table({str(csv('a,b' + chr(10) + '1,2'))!r})\nprint(loaded())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["[]", "['polars']"]


@given(st.lists(st.sampled_from(["a", "1", "#", " ", ",", '"', "\n", '","', '"\n'])).map("".join))
def test_fields_are_those_of_the_csv_module(text: str) -> None:
    text = f"x,y\n{text}\n"
    try:
        rows = [row for row in csv_module.reader(io.StringIO(text, newline=""), strict=True) if row]
        rows = [row[:2] if not any(row[2:]) else row for row in rows]
        rows = [row for row in rows if len(row) > 1 or not row[0].startswith("#")]
    except csv_module.Error:
        rows = []
    while rows and rows[-1] == ["", ""]:
        rows.pop()
    if {*map(len, rows)} == {2}:
        columns, _ = parse_delimited(text, "it", header=True)
        assert [*zip(*(column.to_list() for _, column in columns), strict=True)] == [
            tuple(row) for row in rows[1:]
        ]
    else:
        with pytest.raises(DataError, match="it, line"):
            parse_delimited(text, "it", header=True)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_text_is_rounded_correctly(value: float) -> None:
    # more digits than needed, as some programs write
    column, _ = column_of([f"{value:.25e}", "x"[:0]])
    assert struct.pack("<d", column[0]) == struct.pack("<d", float(f"{value:.25e}"))
