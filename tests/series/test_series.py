from __future__ import annotations

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

from elman.errors import DataError, ElmanError, OptionError
from elman.series.append import append_series
from elman.series.frequency import Frequency
from elman.series.read_options import SeriesOptions
from elman.series.series import SeriesSet, load_series
from elman.tables.writer import write_table

FRAMES = {"dict": dict, "pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
NAN = float("nan")
INF = float("inf")


def days(count: int, start: str = "2020-01-01") -> list[str]:
    return [str(day) for day in np.datetime64(start) + np.arange(count)]


def hours(start: str, count: int) -> list[str]:
    first = datetime.datetime.fromisoformat(start)
    return [str(first + datetime.timedelta(hours=hour)) for hour in range(count)]


def frame(ds: Sequence[int | str | None], y: Any, **others: Any) -> dict[str, Any]:
    return {"ds": ds, "y": y, **others}


def two(
    one: list[str], other: list[str], y: list[int | None] | None = None
) -> dict[str, list[int | None] | list[int] | list[str]]:
    """Make a table of the series a and b with their stamps."""
    stamps = [*one, *other]
    ids = ["a"] * len(one) + ["b"] * len(other)
    return {"unique_id": ids, "ds": stamps, "y": y or list(range(len(stamps)))}


WEEK = days(7)
GAP = [*days(2), *days(2, "2020-01-05")]
SHUFFLED = [WEEK[2], WEEK[0], WEEK[1]]
TWICE = [WEEK[0], WEEK[1], WEEK[1], WEEK[2]]
OCTOBER = ["2020-10-25 01:00", "2020-10-25 02:00", "2020-10-25 02:00", "2020-10-25 03:00"]
MARCH = ["2020-03-29 00:00", "2020-03-29 01:00", "2020-03-29 03:00", "2020-03-29 04:00"]
ALREADY = "2020-01-02 again, as in row 2, with"

# of each case: the table and the options; then the values of each series and a part of the warning, or a part
# of the error and ""
Outcome = tuple[dict[str, Any], dict[str, Any], "list[list[float]] | str", str]
HAZARDS: dict[str, Outcome] = {
    "a missing date": (
        frame(GAP, [1, 2, 5, 6]), {}, [[1, 2, NAN, NAN, 5, 6]], "2 steps without a row: left",
    ),
    "a missing date, filled": (frame(GAP, [1, 2, 5, 6]), {"gaps": "fill"}, [[1, 2, 2, 2, 5, 6]], "filled"),
    "a missing date, refused": (
        frame(GAP, [1, 2, 5, 6]), {"gaps": "error"}, "series 'y', row 2: no row for 2020-01-03", "",
    ),
    "a missing month": (
        frame(["2020-01", "2020-02", "2020-04"], [1, 2, 4]), {}, [[1, 2, NAN, 4]], "monthly",
    ),
    "rows out of order": (
        frame(SHUFFLED, [3, 1, 2]), {}, [[1, 2, 3]], "rows out of order in time: sorted (series 'y')",
    ),
    "one stamp twice, one value": (frame(TWICE, [1, 2, 2, 3]), {}, f"{ALREADY} the same value", ""),
    "one stamp twice, two values": (
        frame(TWICE, [1, 2, 4, 3]), {}, f"{ALREADY} another value: pass duplicates=", "",
    ),
    "one stamp twice, with ids": (
        two(days(2), [*days(2), "2020-01-02"]),
        {},
        "series 'b', row 5: 2020-01-02 again, as in row 4, with another value: pass duplicates= (",
        "",
    ),
    "the first of two": (
        frame(TWICE, [1, 2, 4, 3]), {"duplicates": "first"}, [[1, 2, 3]], "1 rows with the stamp of another",
    ),
    "the last of two": (frame(TWICE, [1, 2, 4, 3]), {"duplicates": "last"}, [[1, 4, 3]], ""),
    "the mean of two": (frame(TWICE, [1, 2, 4, 3]), {"duplicates": "mean"}, [[1, 3, 3]], ""),
    "the mean of one and none": (frame(TWICE, [1, None, 4, 3]), {"duplicates": "mean"}, [[1, 4, 3]], ""),
    "the sum of two": (frame(TWICE, [1, 2, 4, 3]), {"duplicates": "sum"}, [[1, 6, 3]], ""),
    "a sum that is too large": (
        frame(TWICE, [1.0, 1e308, 1e308, 3.0]), {"duplicates": "sum"}, "row 2: the sum", "",
    ),
    "the mean of two large": (
        frame(TWICE, [1.0, 1e308, 1e308, 3.0]), {"duplicates": "mean"}, [[1, 1e308, 3]], "",
    ),
    "NaN": (
        frame(days(3), [1.0, NAN, 3.0]), {}, [[1, NAN, 3]],
        "1 rows without a value: left missing (series 'y')",
    ),
    "None": (frame(days(3), [1, None, 3]), {}, [[1, NAN, 3]], "1 rows without a value"),
    "empty text": (frame(days(3), ["1", "", "3"]), {}, [[1, NAN, 3]], "1 rows without a value"),
    "NA": (frame(days(3), ["1", "NA", "3"]), {}, [[1, NAN, 3]], "1 rows without a value"),
    "NaN, filled": (
        frame(days(4), [1.0, NAN, NAN, 4.0]), {"missing": "fill"}, [[1, 1, 1, 4]],
        "filled with the value",
    ),
    "NaN, refused": (
        frame(days(3), [1.0, NAN, 3.0]), {"missing": "error"}, "series 'y', row 2: 'y' is missing", "",
    ),
    "a gap filled, NaN not": (frame(GAP, [1, None, 5, 6]), {"gaps": "fill"}, [[1, NAN, 1, 1, 5, 6]], ""),
    "inf": (frame(days(3), [1.0, INF, 3.0]), {}, "series 'y', row 2: 'y' is infinite", ""),
    "inf as text": (frame(days(3), ["1", "-inf", "3"]), {}, "row 2: 'y' is infinite", ""),
    "constant": (frame(days(3), [5, 5, 5]), {}, [[5, 5, 5]], ""),
    "1e300": (frame(days(3), [1.0, 1e300, 2.0]), {}, [[1, 1e300, 2]], ""),
    "one row": (frame(days(1), [1]), {}, "one stamp shows no frequency: pass frequency=", ""),
    "one row, its frequency given": (frame(days(1), [1]), {"frequency": "D"}, [[1]], ""),
    "one row beside others": (two(WEEK[:3], WEEK[:1]), {}, [[0, 1, 2], [3]], ""),
    "all NaN": (
        frame(days(2), [NAN, NAN]), {}, "no series has a value: got only missing ones in 2 rows of", "",
    ),
    "one of two all NaN": (
        two(days(2), days(2), [1, 2, None, None]), {}, [[1, 2]], "series 'b' without a value: left out",
    ),
    "all NaN, refused": (
        two(days(2), days(2), [1, 2, None, None]), {"missing": "error"}, "series 'b', row 3: 'y' is", "",
    ),
    "NaN first": (frame(days(3), [None, 2, 3]), {}, [[2, 3]], "1 rows before the first value: left out"),
    "NaN first, refused": (frame(days(3), [None, 2, 3]), {"missing": "error"}, "row 1: 'y' is missing", ""),
    "NaN last": (
        frame(days(3), [1, 2, None]), {}, [[1, 2]],
        "1 rows behind the last value: left out, the forecast",
    ),
    "NaN last, refused": (frame(days(3), [1, 2, None]), {"missing": "error"}, "row 3: 'y' is missing", ""),
    "two frequencies": (
        two(WEEK, days(3)[::2] + days(3, "2020-01-05")[::2]), {}, "'a' is daily, 'b' every 2 days", "",
    ),
    "two frequencies, one given": (
        two(days(3), ["2020-01-01", "2020-01-03"]), {"frequency": "D"}, [[0, 1, 2], [3, NAN, 4]], "",
    ),
    "business days beside days": (
        two(days(2, "2020-01-06"), [*days(2, "2020-01-02"), "2020-01-06"]), {}, [[0, 1], [2, 3, 4]],
        "business",
    ),
    "a week beside business days": (
        two(days(4, "2020-01-06"), [*days(2, "2020-01-02"), *days(2, "2020-01-06")]), {},
        [[0, 1, 2, 3], [4, 5, 6, 7]], "business days",
    ),
    "week-ends beside business days": (
        two(days(9), [*days(2, "2020-01-02"), *days(2, "2020-01-06")]), {},
        "series of several frequencies: 'a' is daily, 'b' business days", "",
    ),
    "stamps between the steps": (
        frame([*hours("2020-01-01", 4), "2020-01-01 03:20"], [1, 2, 3, 4, 5]), {},
        "series 'y', row 5: 2020-01-01T03:20:00 is between the steps of a series that is hourly", "",
    ),
    "a year mistyped": (
        frame([*hours("2020-01-01", 4), "2202-01-01"], [1, 2, 3, 4, 5]), {},
        "row 5: 2202-01-01 is 1595373 steps after the row before: correct", "",
    ),
    "aware stamps": (
        frame(["2020-01-01T00:00Z", "2020-01-01T02:00+01:00"], [1, 2]), {}, [[1, 2]], "hourly",
    ),
    "aware and naive": (
        frame(["2020-01-01T00:00Z", "2020-01-01T02:00"], [1, 2]), {},
        r"with a time zone (series 'y', row 1) and without one (series 'y', row 2)", "",
    ),
    "the hour leapt over": (
        frame(MARCH, [1, 2, 3, 4]), {"timezone": "Europe/Berlin"}, [[1, 2, 3, 4]], "hourly",
    ),
    "the same without a zone": (
        frame(MARCH, [1, 2, 3, 4]), {}, [[1, 2, NAN, 3, 4]], "1 steps without a row",
    ),
    "an hour that is not": (
        frame(["2020-03-29 01:30", "2020-03-29 02:30"], [1, 2]), {"timezone": "Europe/Berlin"},
        "never showed 2020-03-29 02:30:00, series 'y', row 2", "",
    ),
    "the hour that comes twice": (
        frame(OCTOBER, [1, 2, 3, 4]), {"timezone": "Europe/Berlin"}, [[1, 2, 3, 4]], "hourly",
    ),
    "the same, no zone": (frame(OCTOBER, [1, 2, 3, 4]), {}, "row 3: 2020-10-25T02:00:00 again", ""),
    "no time zone": (frame(days(2), [1, 2]), {"timezone": "Mars"}, "timezone: got Mars", ""),
    "days, the day first": (frame(["30.01.2020", "31.01.2020"], [1, 2]), {}, [[1, 2]], "daily"),
    "days, the month first": (frame(["01/30/2020", "01/31/2020"], [1, 2]), {}, [[1, 2]], "daily"),
    "days, ISO with time": (
        frame(["2020-01-30T00:00:00", "2020-01-31T00:00:00"], [1, 2]), {}, [[1, 2]], "daily",
    ),
    "days that cannot be told": (
        frame(["01/02/2020", "01/03/2020"], [1, 2]), {}, 'pass date_format="%d/%m/%Y"', "",
    ),
    "days told": (
        frame(["01/02/2020", "01/03/2020"], [1, 2]), {"date_format": "%d/%m/%Y"}, [[1, 2]],
        "monthly (start",
    ),
    "no date": (frame(["2020-01-01", "soon"], [1, 2]), {}, "no date, series 'y', row 2: got 'soon'", ""),
    "a date that is missing": (
        frame(["2020-01-01", None], [1, 2]), {}, "no date, series 'y', row 2: drop the row", "",
    ),
    "dates as whole numbers": (
        frame([20200131, 20200201, 20200202], [1, 2, 3]), {"date_format": "%Y%m%d"}, [[1, 2, 3]], "daily",
    ),
    "steps as whole numbers": (frame([10, 20, 40], [1, 2, 4]), {}, [[1, 2, NAN, 4]], "every 10 steps"),
    "thousands separators": (
        frame(days(2), ["1,234.5", "3"]), {}, [[1234.5, 3]], "column 'y' 1,234.5 is read as 1234.5",
    ),
    "a thousand or a fraction": (
        frame(days(2), ["1,234", "3"]), {}, "row 1: got '1,234'; expected a number; pass decimal", "",
    ),
    "a text that is no number": (frame(days(2), ["1", "x"]), {}, "series 'y', row 2: got 'x'", ""),
    "no such target": (frame(days(2), [1, 2]), {"target": "yy"}, "no column 'yy'; did you mean 'y'?", ""),
    "no such id": (frame(days(2), [1, 2]), {"id_column": "store"}, "no column 'store'", ""),
    "whole numbers as ids": (
        {"unique_id": [1, 2], "ds": days(1) * 2, "y": [1, 2]}, {"frequency": "D"}, [[1], [2]], "",
    ),
    "an id that is missing": (
        {"unique_id": ["a", None], "ds": days(2), "y": [1, 2]}, {}, "no id in column 'unique_id', row 2",
        "",
    ),
    "an id that is NaN": (
        {"unique_id": [1.0, NAN], "ds": days(2), "y": [1, 2]}, {}, "no id in column 'unique_id', row 2",
        "",
    ),
    "ids and white space": (
        {"unique_id": ["a", "a "], "ds": days(2), "y": [1, 2]}, {},
        "ids 'a' and 'a ' of column 'unique_id' differ only in white space", "",
    ),
    "whole numbers beyond 2^53": (
        frame(days(2), [2**53 + 1, 1]), {}, [[2.0**53, 1]], "whole numbers beyond 2^53",
    ),
    "true and false": (frame(days(2), [True, False]), {}, [[1, 0]], "is true or false: read as 1 and 0"),
    "no rows": (frame([], []), {}, "has no rows", ""),
    "infinite covariate": (
        frame(days(2), [1, 2], p=[0.5, INF]), {"past": ("p",)}, "row 2: 'p' is infinite", "",
    ),
    "missing covariate, refused": (
        frame(days(2), [1, 2], p=[0.5, NAN]), {"past": ("p",), "missing": "error"},
        "row 2: 'p' is missing", "",
    ),
    "two static values": (
        frame(days(2), [1, 2], s=["n", "w"]), {"static": ("s",)},
        "row 2: static column 's' is 'w', and 'n' in row 1", "",
    ),
    "frequency without dates": (
        {"y": [1, 2]}, {"frequency": "h"}, "frequency: got h; expected steps, for there are no dates", "",
    ),
    "steps with dates": (
        frame([*days(2), "2020-01-09", "2020-01-05"], [1, 2, 4, 3]), {"frequency": "steps"}, [[1, 2, 3, 4]],
        "dates only order the rows",
    ),
    "another frequency than given": (
        frame(days(3), [1, 2, 3]), {"frequency": "MS"}, "row 2: 2020-01-02 is between the steps", "",
    ),
    "no frequency": (frame(days(2), [1, 2]), {"frequency": "soon"}, "frequency: got soon", ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("hazard", HAZARDS)
def test_hazards(hazard: str, kind: str) -> None:
    data, options, expected, warning = HAZARDS[hazard]
    source = FRAMES[kind](data)
    if isinstance(expected, str):
        with pytest.raises(ElmanError) as caught:
            load_series(source, SeriesOptions(**options))
        assert expected in str(caught.value)
        assert "\n" not in str(caught.value)
        return
    series = load_series(source, SeriesOptions(**options))
    for values, wanted, times in zip(series.values, expected, series.times, strict=True):
        assert values.dtype == np.float64
        np.testing.assert_array_equal(values, wanted)
        assert len(times) == len(values)
    assert any(warning in said for said in series.warnings) or not warning


def test_two_columns_of_the_same_name_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.csv").write_text("ds,y,y\n2020-01-01,1,2\n")
    for source in (tmp_path / "x.csv", pd.DataFrame([["2020", 1, 2]], columns=["ds", "y", "y"])):
        with pytest.raises(DataError, match="two columns of the name 'y'"):
            load_series(source)


def equal(one: SeriesSet, other: SeriesSet) -> None:
    assert one.ids == other.ids
    assert one.frequency == other.frequency
    assert one.names == other.names
    assert one.categories == other.categories
    assert one.static.tobytes() == other.static.tobytes()
    assert one.starts.tobytes() == other.starts.tobytes()
    for name in ("times", "values", "past", "future"):
        for mine, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
            assert mine.dtype == theirs.dtype
            assert mine.shape == theirs.shape
            assert mine.tobytes() == theirs.tobytes()


PANEL = {
    "store": ["n1", "n1", "s 1", "n1", "s 1", "s 1", "n1"],
    "day": ["2020-01-01", "2020-01-02", "2020-01-01", "2020-01-04", "2020-01-02", "2020-01-03", "2020-01-05"],
    "sold": [0.1, 1 / 3, 5.0, None, 1e300, 7.0, 2.0],
    "rain": [1.5, None, 2.0, 3.0, 4.0, 5.0, 6.0],
    "offer": [1, 0, 0, 1, 0, 1, 1],
    "area": [10.5, None, 20.0, 10.5, 20.0, None, 10.5],
    "side": ["north", "north", "south", "north", None, "south", "north"],
}  # fmt: skip
ROLES = SeriesOptions(
    id_column="store",
    time_column="day",
    target="sold",
    past=("rain",),
    future=("offer",),
    static=("area", "side"),
)


@pytest.mark.parametrize(
    "kind", [*FRAMES, "records", "lazy", "csv", "jsonl", "parquet", "index", "dates"]
)
def test_the_same_data_are_the_same_series(kind: str, tmp_path: Path) -> None:
    path = tmp_path / f"panel.{kind}"
    pandas = pd.DataFrame(PANEL)
    dated = pandas.assign(day=pd.to_datetime(pandas["day"]))
    if path.suffix in (".csv", ".jsonl", ".parquet"):
        write_table(PANEL, path)
    source = {
        "records": pandas.to_dict("records"),
        "lazy": pl.LazyFrame(PANEL),
        "index": pandas.set_index("day"),
        "dates": dated,
    }.get(kind, path if kind not in FRAMES else FRAMES[kind](PANEL) if kind in FRAMES else None)
    series = load_series(source, ROLES)
    equal(series, load_series(PANEL, ROLES))
    assert series.ids == ("n1", "s 1")
    assert series.names["static"] == ("area", "side=north", "side=south")
    np.testing.assert_array_equal(series.values[0], [0.1, 1 / 3, NAN, NAN, 2])
    np.testing.assert_array_equal(series.past[0], [[1.5], [NAN], [NAN], [3], [6]])
    np.testing.assert_array_equal(series.future[1], [[0], [0], [1]])
    np.testing.assert_array_equal(series.static, [[10.5, 1, 0], [20, 0, 1]])
    assert series.times[1].tolist()[0] == datetime.datetime(2020, 1, 1)


WIDE = {"when": days(3), "a": [1.5, 2.0, None], "b": [None, 5, 6]}


def test_layouts_of_tables(tmp_path: Path) -> None:
    wide = load_series(WIDE)
    for make in FRAMES.values():
        equal(load_series(make(WIDE)), wide)
    assert wide.ids == ("a", "b")
    assert [values.tolist() for values in wide.values] == [[1.5, 2.0], [5.0, 6.0]]
    assert wide.starts.astype("M8[D]").astype(str).tolist() == ["2020-01-01", "2020-01-02"]
    assert "each of the 2 columns of numbers is a series" in wide.warnings
    assert load_series(WIDE, SeriesOptions(target=("b", "a"))).ids == ("b", "a")
    one = load_series(WIDE, SeriesOptions(target="b"))
    assert (one.ids, one.values[0].tolist()) == (("b",), [5.0, 6.0])
    assert "columns not used: 'a'" in one.warnings

    # dates in the second column, unusual names, a capital letter
    (tmp_path / "beer.csv").write_text('"Beer","date"\n284,1956-01-01\n213,1956-04-01\n')
    beer = load_series(tmp_path / "beer.csv")
    assert (beer.ids, beer.frequency) == (("Beer",), Frequency(1, "QS"))
    assert "column 'date' is taken as the time" in beer.warnings
    assert load_series({"DS": days(2), "Y": [1, 2], "Unique_ID": ["q", "q"]}).ids == ("q",)

    # an explicit date format; texts in other forms are ids
    own = {"who": ["a", "b"], "on": ["1 Jan 20", "1 Jan 20"], "n": [1, 2]}
    options = SeriesOptions(date_format="%d %b %y", frequency="D")
    assert load_series(own, options).names["time"] == ("on",)

    # texts, dates and numbers
    guessed = load_series(
        {
            "shop": ["a", "b", "a", "b"],
            "d": days(1) * 2 + days(1, "2020-01-02") * 2,
            "n": [1, 2, 3, 4],
        }
    )
    assert guessed.ids == ("a", "b")
    assert "'shop' is taken as the id, 'n' as the target" in guessed.warnings

    # one column, no header, no dates
    (tmp_path / "heart.csv").write_text("84.5\n85.5\n\n86.0\n")
    heart = load_series(tmp_path / "heart.csv")
    assert (heart.ids, heart.frequency) == (("0",), Frequency(1, "steps"))
    np.testing.assert_array_equal(heart.values[0], [84.5, 85.5, NAN, 86])
    assert heart.times[0].tolist() == [0, 1, 2, 3]
    equal(heart, load_series(np.array([84.5, 85.5, NAN, 86])))
    equal(heart, load_series([84.5, 85.5, None, 86]))

    # a series for each row
    m4 = tmp_path / "m4.csv"
    m4.write_text('"V1","V2","V3","V4"\n"H1","6","5",""\n"H2","1","","3.5"\n"H10","2","",""\n')
    rows = load_series(m4)
    assert rows.ids == ("H1", "H2", "H10")
    assert [values.tolist() for values in rows.values] == [
        [6, 5],
        pytest.approx([1, NAN, 3.5], nan_ok=True),
        [2],
    ]
    assert rows.warnings[0] == "each row is a series, named by column 'V1'"
    equal(load_series(m4, SeriesOptions(id_column="V1")), rows)
    equal(load_series({"H1": [6, 5], "H2": [1, None, 3.5], "H10": [2]}), rows)
    numbered = {"key": [1, 2], "p": [1.5, 2], "q": [3, 4]}
    assert load_series(numbered, SeriesOptions(id_column="key")).ids == ("1", "2")
    assert load_series(numbered).ids == ("key", "p", "q")


def test_layouts_of_arrays() -> None:
    matrix = np.array([[1.0, 2.0], [3.0, NAN]])
    expected = load_series([[1, 2], [3]])
    equal(load_series(matrix), expected)
    equal(load_series([np.array([1.0, 2.0]), (3,)]), expected)
    assert expected.ids == ("0", "1")
    equal(load_series({"0": np.array([1.0, 2.0]), "1": [3]}), expected)
    equal(
        load_series({"a": [1, 2], "b": [3, 4]}),
        load_series(pl.DataFrame({"a": [1, 2], "b": [3, 4]})),
    )
    dated = pd.Series([1.0, 2.0], pd.date_range("2020-01-01", periods=2, freq="h"), name="kW")
    assert (load_series(dated).ids, load_series(dated).frequency) == (("kW",), Frequency(1, "h"))
    with pytest.raises(DataError, match=r"shape \(5, 1\) is one series or 5"):
        load_series(np.zeros((5, 1)))
    with pytest.raises(DataError, match="series 'b', value 2: got 'x'"):
        load_series({"a": [1], "b": [1, "x"]})
    with pytest.raises(DataError, match="series '1', value 2: 'the value' is infinite"):
        load_series([[1], [1, INF]])
    with pytest.raises(DataError, match="differ in length"):
        load_series({"ds": days(3), "y": [1, 2]})
    with pytest.raises(DataError, match="no column of numbers"):
        load_series([[[1], [2, 3]]])
    short = load_series([[1, 2], [], [3]])
    assert short.ids == ("0", "2")
    assert short.warnings == ("series '1' without a value: left out",)
    with pytest.raises(DataError, match="series '1' has no value: leave it out"):
        load_series([[1, 2], []], SeriesOptions(missing="error"))
    empty: list[Any] = [[], {}, np.zeros(0), np.zeros((0, 3)), [[]], pd.DataFrame()]
    for nothing in empty:
        with pytest.raises(DataError, match=r"no rows|no series"):
            load_series(nothing)


@pytest.mark.parametrize(
    ("data", "options", "message"),
    [
        ({"Year": [1, 2], "n": [1, 2]}, {}, "column 'Year' may be the time: pass time_column="),
        ({"time": [1, 2], "n": [1, 2]}, {"target": "n"}, "column 'time' may be the time"),
        ({"a": days(2), "b": days(2), "y": [1, 2]}, {}, "dates in 'a', 'b': pass time_column="),
        (
            {"d": days(2), "s": ["x", "x"], "n": [1, 2], "m": [1, 2]}, {},
            "'n', 'm' and texts in 's': pass target=",
        ),
        ({"d": days(2), "n": [1, 2], "m": [1, 2], "p": [1, 2]}, {"past": ("p",)}, "numbers in 'n', 'm'"),
        ({"unique_id": [1, 1], "d": days(2), "n": [1, 2], "m": [1, 2]}, {}, "numbers in 'n', 'm'"),
        ({"s": ["x", "x"], "n": [1, 2], "m": [1, 2]}, {}, "can be read in several ways"),
        ({"s": ["x", "y"], "n": [1, 2]}, {}, "can be read in several ways"),
        ({"Y": [1, 2], "y ": [1, 2], "D": days(2), "ds": days(2)}, {"target": "z"}, "no column 'z'"),
        ({"DS": days(2), "Ds": days(2), "y": [1, 2]}, {}, "columns 'DS', 'Ds': pass time_column="),
        ({"d": days(2), "s": ["x", "x"]}, {}, "no column of numbers: pass target="),
        (
            {"d": days(2) * 2, "store": [1, 1, 2, 2], "n": [1, 2, 3, 4]}, {"target": "n"},
            "or id_column= if a column names",
        ),
        (
            {"d": days(2), "n": [1, 2]}, {"time_column": "n", "target": "d"},
            "column 'd' of the table, series 'd', row 1",
        ),
        ({"d": [0.5, 1.5], "n": [1, 2]}, {"time_column": "d"}, "numbers in a column of dates"),
        ({"d": days(2), "n": ["1,210", "1,215"]}, {}, "'1,210'; expected a number; pass decimal="),
        (
            {"d": ["07/04/21", "07/05/21"], "n": [1, 2]}, {"date_format": "%d/%m/%Y"},
            "got '07/04/21'; expected the format %d/%m/%Y; correct it or the format",
        ),
    ],
)  # fmt: skip
def test_an_ambiguous_table_is_refused(
    data: dict[str, Any], options: dict[str, Any], message: str
) -> None:
    with pytest.raises(DataError) as caught:
        load_series(data, SeriesOptions(**options))
    assert message in str(caught.value)


def test_options_are_checked() -> None:
    for name in ("missing", "gaps", "duplicates"):
        with pytest.raises(OptionError, match=rf"{name}: got drop; expected .*error"):
            SeriesOptions(**dict[str, Any]({name: "drop"}))
    plain: dict[str, Any] = {"past": "p", "target": ["a", "b"]}
    assert SeriesOptions(**plain) == SeriesOptions(past=("p",), target=("a", "b"))


def test_known_future_columns_may_be_longer_than_the_values() -> None:
    data = frame(
        days(5), [1, 2, 3, None, None], offer=[0, 1, 0, 1, None], rain=[1, 2, 3, None, None]
    )
    series = load_series(data, SeriesOptions(past=("rain",), future=("offer",)))
    assert series.values[0].tolist() == [1, 2, 3]
    assert series.past[0].ravel().tolist() == [1, 2, 3]
    assert series.future[0].ravel().tolist() == [0, 1, 0, 1]
    assert (
        "1 rows behind the last value: left out, the forecast begins there (series 'y')"
        in series.warnings
    )
    # rows of the known future need no target, and their missing covariates are not filled
    strict = SeriesOptions(past=("rain",), future=("offer",), missing="error")
    with pytest.raises(DataError, match="row 5: 'offer' is missing"):
        load_series(data, strict)
    assert (
        len(load_series({key: column[:4] for key, column in data.items()}, strict).future[0]) == 4
    )
    filled = load_series(data, SeriesOptions(past=("rain",), future=("offer",), missing="fill"))
    equal(filled, series)


def test_missing_covariates_follow_their_policy() -> None:
    data = frame(GAP, [1, 2, 5, 6], p=[None, 4, None, 6], f=[1, None, 3, 4])
    options: dict[str, Any] = {"past": ("p",), "future": ("f",)}
    masked = load_series(data, SeriesOptions(**options))
    np.testing.assert_array_equal(masked.past[0].ravel(), [NAN, 4, NAN, NAN, NAN, 6])
    filled = load_series(data, SeriesOptions(**options, missing="fill", gaps="fill"))
    assert filled.past[0].ravel().tolist() == [4, 4, 4, 4, 4, 6]
    assert filled.future[0].ravel().tolist() == [1, 1, 1, 1, 3, 4]
    averaged = load_series(
        frame(TWICE, [1, 2, 4, 3], p=[1, 2, 4, 3]), SeriesOptions(past=("p",), duplicates="sum")
    )
    assert averaged.past[0].ravel().tolist() == [1, 3, 3]


def test_static_columns_of_an_earlier_set() -> None:
    data = {
        "unique_id": ["a", "b", "c"],
        "ds": days(1) * 3,
        "y": [1, 2, 3],
        "s": ["u", None, "v"],
        "n": [1, 2, 3],
    }
    options = SeriesOptions(static=("s", "n"), frequency="D")
    first = load_series(data, options)
    assert first.names["static"] == ("s=u", "s=v", "n")
    assert first.static.tolist() == [[1, 0, 1], [0, 0, 2], [0, 1, 3]]
    assert first.categories == {"s": ("u", "v")}
    again = load_series(data | {"s": ["v", "w", "w"]}, options, categories=first.categories)
    assert again.names["static"] == first.names["static"]
    assert again.static.tolist() == [[0, 1, 1], [0, 0, 2], [0, 0, 3]]
    assert any(
        "column 's' has categories that the model does not know: 'w'" in said
        for said in again.warnings
    )
    # categories that look like numbers stay categories, and numbers stay numbers
    digits = load_series(data | {"s": [1, 2, 1]}, options, categories={"s": ("1", "x")})
    assert digits.static[:, 0].tolist() == [1, 0, 1]
    with pytest.raises(DataError, match="static column 'n', series 'a': got 'x'"):
        load_series(data | {"n": ["x", "x", "x"]}, options, categories=first.categories)


def test_days_of_a_time_zone_stay_days() -> None:
    frames = pd.DataFrame(
        {"ds": pd.date_range("2020-03-27", periods=5, tz="Europe/Berlin"), "y": range(5)}
    )
    series = load_series(frames, SeriesOptions(timezone="Europe/Berlin"))
    assert series.frequency == Frequency(1, "D")
    assert series.starts[0] == np.datetime64("2020-03-27")
    # a data frame states its time zone
    equal(load_series(frames), series)
    texts = frame([str(day) for day in frames["ds"]], list(range(5)))
    with pytest.raises(
        DataError, match=r"row 4: 2020-03-29T22:00:00 is between.*timezone= where days"
    ):
        load_series(texts)
    naive = frame(days(5, "2020-03-27"), list(range(5)))
    equal(load_series(naive, SeriesOptions(timezone="Europe/Berlin")), series)


def test_select() -> None:
    series = load_series(two(days(2), days(3)))
    equal(series.select(["b", "a"]), series.select(["b", "a"]))
    assert series.select(["b", "a"]).ids == ("b", "a")
    assert [len(values) for values in series.select(["b", "a"]).values] == [3, 2]
    assert len(series.select([])) == 0
    with pytest.raises(DataError, match="no series 'c': expected 'a', 'b'"):
        series.select(["a", "c"])


def test_before_removes_the_last_values() -> None:
    data = frame(days(5), [1, 2, 3, 4, 5], p=[1, 2, 3, 4, 5], f=[6, 7, 8, 9, 0])
    series = load_series(data, SeriesOptions(past=("p",), future=("f",)))
    cut = series.before(2)
    assert cut.values[0].tolist() == cut.past[0].ravel().tolist() == [1, 2, 3]
    assert len(cut.times[0]) == 3
    assert cut.future[0].ravel().tolist() == [6, 7, 8, 9, 0]
    assert len(series.before(9).values[0]) == 0
    plain = load_series(frame(days(5), [1, 2, 3, 4, 5])).before(2)
    assert plain.future[0].shape == (3, 0)
    equal(plain, load_series(frame(days(3), [1, 2, 3])))


def part(data: dict[str, Any], rows: range | list[int], options: SeriesOptions) -> SeriesSet:
    taken = {key: [column[row] for row in rows] for key, column in data.items()}
    return load_series(taken, options)


def test_append_continues_the_series() -> None:
    data = frame(
        days(6), [1, 2, 3, 4, 5, 6], p=[1, 2, 3, 4, 5, 6], f=[6, 7, 8, 9, 0, 1], unique_id=["a"] * 6
    )
    options = SeriesOptions(past=("p",), future=("f",), frequency="D")
    whole = part(data, range(6), options)
    equal(append_series(part(data, range(4), options), part(data, [4, 5], options)), whole)
    equal(append_series(part(data, range(5), options), part(data, [5], options)), whole)
    gap = append_series(part(data, range(3), options), part(data, [5], options))
    np.testing.assert_array_equal(gap.values[0], [1, 2, 3, NAN, NAN, 6])
    np.testing.assert_array_equal(gap.past[0].ravel(), [1, 2, 3, NAN, NAN, 6])
    np.testing.assert_array_equal(gap.future[0].ravel(), [6, 7, 8, NAN, NAN, 1])
    filled = append_series(part(data, range(3), options), part(data, [5], options), gaps="fill")
    assert filled.values[0].tolist() == [1, 2, 3, 3, 3, 6]
    with pytest.raises(DataError, match="series 'a' at 2020-01-06: 2 steps are missing before it"):
        append_series(part(data, range(3), options), part(data, [5], options), gaps="error")


def test_append_of_known_steps_follows_its_policy() -> None:
    series = load_series(two(days(4), days(4)))
    later = load_series(
        {
            "unique_id": ["b", "b", "c"],
            "ds": ["2020-01-04", "2020-01-05", "2020-01-01"],
            "y": [70, 80, 90],
        },
        SeriesOptions(frequency="D"),
    )
    said = "series 'b' at 2020-01-04: the value is known already: got 70; expected 7; pass overlap="
    with pytest.raises(DataError, match=said):
        append_series(series, later)
    assert append_series(series, later, overlap="keep").values[1].tolist() == [4, 5, 6, 7, 80]
    joined = append_series(series, later, overlap="replace")
    assert joined.ids == ("a", "b", "c")
    assert [values.tolist() for values in joined.values] == [[0, 1, 2, 3], [4, 5, 6, 70, 80], [90]]
    assert [len(times) for times in joined.times] == [4, 5, 1]
    assert joined.future[1].shape == (5, 0)
    before = load_series(
        frame(days(1, "2019-12-31"), [1], unique_id=["a"]), SeriesOptions(frequency="D")
    )
    older = append_series(series, before)
    equal(older, series)
    assert older.warnings[-1] == (
        "1 rows before the first step that is kept: left out (series 'a')"
    )
    empty = replace(later.select(["b"]).before(2), frequency=Frequency(1, "D"))
    equal(append_series(series, empty), series)
    noon = load_series(
        frame(["2020-01-05 12:00"], [1], unique_id=["a"]), SeriesOptions(frequency="D")
    )
    with pytest.raises(DataError, match="series 'a' at 2020-01-05T12:00:00 is between its steps"):
        append_series(series, noon)


def test_append_refuses_rows_that_do_not_fit() -> None:
    series = load_series(frame(days(3), [1, 2, 3]))
    with pytest.raises(
        DataError, match="have another frequency: got hourly; expected daily; pass frequency='D'"
    ):
        append_series(series, load_series(frame(hours("2020-01-04", 2), [1, 2])))
    with pytest.raises(DataError, match="the past columns differ: got p; expected none"):
        append_series(
            series, load_series(frame(days(2), [1, 2], p=[1, 2]), SeriesOptions(past=("p",)))
        )
    with pytest.raises(DataError, match="have another frequency"):
        append_series(load_series([1, 2]), load_series(frame([3, 4], [1, 2])))
    for options in ({"gaps": "drop"}, {"overlap": "drop"}):
        with pytest.raises(OptionError, match=f"{next(iter(options))}: got drop"):
            append_series(series, series, **options)
    joined = append_series(
        load_series({"a": [1, 2], "b": [3, 4]}), load_series({"b": [5], "c": [6, 7]})
    )
    equal(joined, load_series({"a": [1, 2], "b": [3, 4, 5], "c": [6, 7]}))
    steps = append_series(
        load_series(frame([10, 20], [1, 2])), load_series(frame([30, 40], [3, 4]))
    )
    assert steps.values[0].tolist() == [1, 2, 3, 4]
    assert steps.times[0].tolist() == [10, 20, 30, 40]


def test_append_of_known_future_rows_only() -> None:
    options = SeriesOptions(past=("p",), future=("f",), frequency="D")
    series = load_series(frame(days(3), [1, 2, 3], p=[1, 2, 3], f=[1, 0, 1]), options)
    coming = load_series(
        frame(days(2, "2020-01-04"), [None] * 2, f=[5, 6]), options, future_only=True
    )
    without = load_series({"ds": days(2, "2020-01-04"), "f": [5, 6]}, options, future_only=True)
    equal(coming, without)
    known = append_series(series, without)
    assert known.values[0].tolist() == [1, 2, 3]
    assert known.past[0].shape == (3, 1)
    assert known.future[0].ravel().tolist() == [1, 0, 1, 5, 6]
    assert len(known.times[0]) == 3


def test_nothing_can_be_written_into_the_values() -> None:
    series = load_series([1, 2, 3])
    with pytest.raises(ValueError, match="read-only"):
        series.values[0][0] = 5


def test_many_series_of_unequal_lengths_are_separated() -> None:
    generator = np.random.default_rng(0)
    lengths = generator.integers(2, 30, 200)
    parts = {f"id {n}": generator.normal(size=length) for n, length in enumerate(lengths)}
    table = pd.concat(
        [
            pd.DataFrame(
                {"unique_id": key, "ds": pd.date_range("2020", periods=len(y), freq="h"), "y": y}
            )
            for key, y in parts.items()
        ]
    ).sample(frac=1, random_state=0)
    series = load_series(table)
    for key, values in zip(series.ids, series.values, strict=True):
        np.testing.assert_array_equal(values, parts[key])
    assert len(series) == 200


PD_NA = pd.array([1, pd.NA, 3], dtype="Int64")


@pytest.mark.parametrize(
    "values",
    [
        np.ma.array([1.0, 2.0, 3.0], mask=[False, True, False]),
        np.ma.array([1, 2, 3], mask=[False, True, False]),
        np.ma.array(["1", "2", "3"], mask=[False, True, False]),
        PD_NA,
        np.array([1, pd.NA, 3], object),
        np.array([1, None, 3], object),
        np.array([1, np.ma.masked, 3], object),
        pd.Series(PD_NA),
        pl.Series([1, None, 3]),
    ],
    ids=["float", "int", "text", "Int64", "NA", "None", "masked", "pandas", "polars"],
)
def test_masked_values_are_missing(values: Any) -> None:
    sources: list[Any] = [frame(days(3), values)]
    if isinstance(values, np.ndarray):
        sources.append(values)
    if isinstance(values, np.ma.MaskedArray):
        sources += [np.ma.stack([values, values]), [values, values]]
    for source in sources:
        for found in load_series(source).values:
            np.testing.assert_array_equal(found, [1, NAN, 3])


def test_the_index_of_a_frame_is_a_column() -> None:
    ahead = [3, 1, 2]
    texts = pd.Series(ahead, index=["2020-01-03", "2020-01-01", "2020-01-02"])
    for source in (texts, texts.to_frame("y"), [texts], {"y": texts}):
        series = load_series(source)
        assert series.values[0].tolist() == [1, 2, 3]
        assert series.starts[0] == np.datetime64("2020-01-01")
    series = load_series(pd.Series(ahead, index=[30, 10, 20]))
    assert (series.values[0].tolist(), series.starts[0]) == ([1, 2, 3], 10)
    assert "its numbers count the steps" in series.warnings[0]
    assert load_series(pd.Series(ahead, index=[5, 3, 6])).values[0][2:].tolist() == [3, 2]
    numbers = load_series(pd.Series(ahead, index=[20200103, 20200101, 20200102]))
    assert (numbers.values[0].tolist(), numbers.frequency.unit) == ([1, 2, 3], "D")
    # an index that only counts the rows, or belongs to a table with dates, is ignored
    assert load_series(pd.Series(ahead)).values[0].tolist() == ahead
    dated = pd.DataFrame(frame(days(3), ahead), index=[7, 9, 2])
    assert load_series(dated).values[0].tolist() == ahead
    # an index with repeated numbers is no time of a single series, but it can be the time of several
    again = load_series(pd.concat([pd.Series(ahead), pd.Series(ahead)]))
    assert again.values[0].tolist() == ahead * 2
    assert "columns not used: 'index'" in again.warnings
    ids = pd.DataFrame({"unique_id": list("aaabbb"), "y": ahead * 2}, index=[2, 0, 1] * 2)
    assert [found.tolist() for found in load_series(ids).values] == [[1, 2, 3]] * 2
    with pytest.raises(
        DataError, match="the index of the frame holds durations: expected dates; add"
    ):
        load_series(pd.Series(ahead, index=pd.to_timedelta(ahead, unit="h")))
    weeks = pd.Series(range(9), index=pd.period_range("2021-01", periods=9, freq="W-SUN"))
    for source in (weeks, weeks.rename_axis("week").reset_index(name="y")):
        assert load_series(source).frequency == Frequency(1, "W")
        assert load_series(source).starts[0] == np.datetime64("2020-12-28")
    months = pd.Series(range(9), index=pd.period_range("2021-01", periods=9, freq="M"))
    assert load_series(months).frequency == Frequency(1, "MS")


def test_pandas_series_with_different_dates_are_aligned() -> None:
    one = pd.Series([1.0, 2.0], index=pd.to_datetime(["2020-01-02", "2020-01-01"]))
    other = pd.Series([3.0, 4.0], index=pd.to_datetime(["2020-01-02", "2020-01-03"]))
    series = load_series({"a": one, "b": other})
    assert [values.tolist() for values in series.values] == [[2, 1], [3, 4]]
    assert series.starts.astype("M8[D]").astype(str).tolist() == ["2020-01-01", "2020-01-02"]


@pytest.mark.parametrize(
    ("roles", "said"),
    [
        ({"target": "y", "future": ("y",)}, "named as future and as target"),
        ({"future": ("y",)}, "named as future and as target"),
        ({"target": ("y", "z"), "past": ("z",)}, "named as past and as target"),
        ({"past": ("z",), "future": ("z",)}, "named as future and as past"),
        ({"target": "ds"}, "named as target and as time"),
        ({"static": ("z",), "future": ("z",)}, "named as future and as static"),
    ],
)
def test_a_column_has_one_role(roles: dict[str, Any], said: str) -> None:
    rows = frame(days(9), list(range(9)), z=list(range(9)))
    with pytest.raises(DataError, match=said):
        load_series(rows, SeriesOptions(**roles))


def test_a_copy_of_the_target_is_noted() -> None:
    rows = frame(days(9), [*range(8), None], z=list(range(9)), w=[1] * 9)
    noted = load_series(rows, SeriesOptions(target="y", future=("z", "w"))).warnings
    assert [note for note in noted if "is equal to the target" in note] == [
        "column 'z', known in advance, is equal to the target in every row: it only helps if the next"
        " values are really known"
    ]


@pytest.mark.parametrize("kind", FRAMES)
def test_a_day_and_a_time_of_day_in_two_columns_are_one_time(kind: str) -> None:
    data = {
        "day": ["2020-01-01", "2020-01-01", "2020-01-02"],
        "at": ["06:00", "18:00", "06:00"],
        "y": [1, 2, 3],
    }
    for options in (SeriesOptions(), SeriesOptions(time_column="day", target="y")):
        series = load_series(FRAMES[kind](data), options)
        stamps = ["2020-01-01T06", "2020-01-01T18", "2020-01-02T06"]
        np.testing.assert_array_equal(series.times[0], np.array(stamps, "datetime64[us]"))
        assert "columns 'day' and 'at' are read as one time" in series.warnings


def test_a_note_shows_how_dates_were_read() -> None:
    told = load_series({"ds": ["07/04/21", "07/31/21"], "y": [1, 2]}).warnings
    assert "dates such as 07/04/21 are read as 2021-07-04" in told
    assert not any(
        "dates such" in one for one in load_series({"ds": days(2), "y": [1, 2]}).warnings
    )
