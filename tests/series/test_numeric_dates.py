"""Numbers that are dates, and time zones of stamps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from elman.errors import DataError
from elman.series.read_options import SeriesOptions
from elman.series.series import SeriesSet, load_series
from elman.series.time_column import number_format, times_of_numbers
from elman.series.time_zones import local_days, to_aware

DAYS = pd.date_range("2024-01-01", periods=60)
MONTHS = pd.date_range("2018-01-01", periods=36, freq="MS")
SECONDS = (DAYS.to_numpy().astype("M8[s]")).astype(np.int64)
SERIAL = (DAYS - pd.Timestamp("1899-12-30")).days.to_numpy()


def read(name: str, numbers: pd.Index | list[int] | np.ndarray, **options: Any) -> SeriesSet:
    rows = {name: np.asarray(numbers), "y": np.arange(len(numbers), dtype=float)}
    return load_series(rows, SeriesOptions(**options))


@pytest.mark.parametrize(
    ("name", "numbers", "form", "word"),
    [
        ("date", DAYS.strftime("%Y%m%d").astype(int), "%Y%m%d", "D"),
        ("ds", DAYS.strftime("%Y%m%d").astype(int), "%Y%m%d", "D"),
        ("month", MONTHS.strftime("%Y%m").astype(int), "%Y%m", "MS"),
        ("week", 202401 + np.arange(50), "%G%V", "W"),
        ("date", SERIAL, "excel", "D"),
        ("timestamp", SECONDS, "epoch_s", "D"),
        ("timestamp", SECONDS * 1000, "epoch_ms", "D"),
        ("timestamp", SECONDS * 1_000_000, "epoch_us", "D"),
        ("timestamp", SECONDS * 1_000_000_000, "epoch_ns", "D"),
        ("ds", SECONDS + 0.5, "epoch_s", "D"),
    ],
)
def test_numbers_that_can_only_be_dates(
    name: str, numbers: pd.Index | np.ndarray, form: str, word: str
) -> None:
    series = read(name, numbers)
    assert str(series.frequency) == word
    assert series.times[0][0].astype("M8[D]") == np.datetime64(
        "2018-01-01" if word == "MS" else DAYS[0]
    )
    assert series.reading["date_format"] == form
    assert any(f"are read as dates ({form})" in note for note in series.warnings)
    # frequency="steps" reads them as counted steps
    if form in ("%Y%m%d", "%Y%m", "excel"):
        assert read(name, numbers[:9], frequency="steps", time_column=name).starts[0] == numbers[0]


def test_numbers_that_may_count() -> None:
    for numbers in ([1949, 1950, 1951], [3, 4], range(45292, 45299), range(200000, 200040)):
        assert read("ds", list(numbers)).starts.dtype == np.int64
    days = read("t", SERIAL, time_column="t")
    assert days.starts[0] == 45292
    assert days.warnings[0].endswith(
        'such as 45292 count the steps; date_format="excel" reads them as days'
    )
    # an explicit option is followed
    assert read("t", SERIAL, time_column="t", date_format="excel").frequency.unit == "D"
    assert (
        str(read("t", SECONDS // 60, time_column="t", date_format="epoch_s").frequency) == "24min"
    )
    half = times_of_numbers(np.array([45292.25, np.nan]), "excel")
    assert half.astype("M8[s]").astype(str).tolist() == ["2024-01-01T06:00:00", "NaT"]
    assert number_format(np.full(3, np.nan), "date", str) is None


@pytest.mark.parametrize(
    ("good", "bad"), [(DAYS.strftime("%Y%m%d"), 20240230), (MONTHS.strftime("%Y%m"), 201813)]
)
def test_a_number_that_is_no_date_among_dates(good: pd.Index, bad: int) -> None:
    numbers = good.astype(int).to_numpy().copy()
    numbers[20] = bad
    with pytest.raises(
        DataError, match=rf"series 'y', row 21: {bad} is not a date, but most of .*correct it"
    ):
        read("ds", numbers)


@pytest.mark.parametrize(
    ("year", "said"),
    [("2201", "65694 steps after the row before"), ("1202", "299084 steps before the next row")],
)
def test_a_mistyped_year_is_named(year: str, said: str) -> None:
    days = [str(day)[:10] for day in pd.date_range("2021-01-01", periods=100)]
    days[50] = year + days[50][4:]
    with pytest.raises(
        DataError, match=f"series 'y', row 51: {year}-02-20 is {said}: correct the stamp"
    ):
        load_series({"ds": days, "y": list(range(100))})


def test_a_mistyped_year_in_a_long_series_is_named() -> None:
    days = [str(day)[:10] for day in pd.date_range("1995-01-01", periods=9000)]
    days[-1] = "2201-08-22"
    with pytest.raises(DataError, match="row 9000: 2201-08-22 is"):
        load_series({"ds": days, "y": list(range(9000))})


def test_plain_dates_and_a_zone_without_a_midnight() -> None:
    days = pd.date_range("2023-01-01", periods=700)
    zone = "America/Santiago"
    rows = {"ds": [str(day)[:10] for day in days], "y": np.arange(700.0)}
    series = load_series(rows, SeriesOptions(timezone=zone))
    assert str(series.frequency) == "D"
    np.testing.assert_array_equal(series.times[0], days.to_numpy().astype("M8[us]"))
    # stamps with a time zone whose clocks skip midnight once a year, so that this day begins at 1 o'clock
    aware = days.tz_localize(zone, nonexistent="shift_forward")
    series = load_series(pd.DataFrame({"ds": aware, "y": np.arange(700.0)}))
    np.testing.assert_array_equal(series.times[0], days.to_numpy().astype("M8[us]"))
    assert (pd.DatetimeIndex(to_aware(series.times[0], zone)) == aware).all()
    assert local_days(np.array(["2020-01-01T00", "2020-01-01T01"], "M8[us]"), zone) is None


def test_a_single_row_keeps_its_hour() -> None:
    hours = pd.date_range("2021-06-01", periods=30, freq="h", tz="Europe/Berlin")
    series = load_series(pd.DataFrame({"ds": hours, "y": np.arange(30.0)}))
    one = load_series(pd.DataFrame({"ds": hours[-1:], "y": [29.0]}), SeriesOptions(frequency="h"))
    assert one.starts[0] == series.times[0][-1]
