from __future__ import annotations

import datetime
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import DataError, OptionError
from elman.series.time_zones import to_local, to_utc
from elman.tables.columns import objects
from elman.tables.dates import looks_like_date, parse_times


def parse(*texts: str | None, **options: Any) -> tuple[np.ndarray, str | None]:
    return parse_times(objects(texts), **options)


def said(times: np.ndarray) -> list[str]:
    return [str(time) for time in times.astype("datetime64[s]")]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-01-31", "2020-01-31T00:00:00"),
        (" 2020-1-5 ", "2020-01-05T00:00:00"),
        ("2020/01/31", "2020-01-31T00:00:00"),
        ("2020-02", "2020-02-01T00:00:00"),
        ("2020Q3", "2020-07-01T00:00:00"),
        ("2020-Q4", "2020-10-01T00:00:00"),
        ("2020-01-31T14:05", "2020-01-31T14:05:00"),
        ("2020-01-31 9:05:06", "2020-01-31T09:05:06"),
        ("2020-01-31 14:05:06.999", "2020-01-31T14:05:06"),
        ("31.01.2020", "2020-01-31T00:00:00"),
        ("01.02.2020 14:00", "2020-02-01T14:00:00"),
        ("31/01/2020", "2020-01-31T00:00:00"),
        ("1/31/2020 2:05 PM", "2020-01-31T14:05:00"),
        ("1/31/2020 12:05am", "2020-01-31T00:05:00"),
        ("01-31-2020", "2020-01-31T00:00:00"),
        ("0001-01-01", "0001-01-01T00:00:00"),
        ("9999-12-31", "9999-12-31T00:00:00"),
    ],
)
def test_forms_of_dates(text: str, expected: str) -> None:
    times, utc = parse(text)
    assert times.dtype == "datetime64[us]"
    assert said(times) == [expected]
    assert not utc
    assert looks_like_date(text)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("2020-07-01T12:00Z", "2020-07-01T12:00:00"),
        ("2020-07-01 12:00:00 UTC", "2020-07-01T12:00:00"),
        ("2020-07-01T12:00+02:00", "2020-07-01T10:00:00"),
        ("2020-07-01T12:00-0330", "2020-07-01T15:30:00"),
    ],
)
def test_forms_of_time_zones(text: str, expected: str) -> None:
    times, utc = parse(text)
    assert said(times) == [expected]
    assert utc


@pytest.mark.parametrize(
    "text",
    [
        "2020-13-01", "2020-02-30", "2020-01-01 25:00", "2020-01-01 13:00 PM",
        "2020-01-01 0:30 AM", "yesterday", "20200101", "1577836800", "2020", "2020-W54",
        "2020-01/01", "2020-01-01x", "0000-01-01", "0001-01-01T00:00+10:00", "1.2", "2020-01-01 12:00:",
    ],
)  # fmt: skip
def test_texts_that_are_no_dates_are_errors(text: str) -> None:
    with pytest.raises(
        DataError, match=r"no date, row 2: got .*expected such as 2020-01-31; correct"
    ):
        parse("31.01.2020", text)


def test_the_column_decides_on_the_order_of_day_and_month() -> None:
    assert said(parse("01/02/2020", "13/02/2020")[0]) == [
        "2020-02-01T00:00:00",
        "2020-02-13T00:00:00",
    ]
    assert said(parse("01/02/2020", "02/13/2020")[0]) == [
        "2020-01-02T00:00:00",
        "2020-02-13T00:00:00",
    ]
    with pytest.raises(DataError, match=r'date_format="%d/%m/%Y", or date_format="%m/%d/%Y"'):
        parse("01/02/2020", "02/03/2020")
    for texts in (("13/02/2020", "02/13/2020"), ("13/13/2020",)):
        with pytest.raises(
            DataError, match=f"{texts[0]} and {texts[-1]}: write them as 2020-01-31"
        ):
            parse(*texts)
    assert said(parse("01/02/2020", date_format="%m/%d/%Y")[0]) == ["2020-01-02T00:00:00"]


def test_a_date_format_is_used() -> None:
    numbers = np.array([20200131, 20200201])
    assert said(parse_times(numbers, date_format="%Y%m%d")[0])[0] == "2020-01-31T00:00:00"
    times, utc = parse("31 Jan 2020 +0100", date_format="%d %b %Y %z")
    assert said(times) == ["2020-01-30T23:00:00"]
    assert utc
    with pytest.raises(DataError, match=r"expected the format %d %b %Y; correct it or the format$"):
        parse("2020-01-01", date_format="%d %b %Y")
    for column in (numbers, np.array([0.5]), np.array([True])):
        with pytest.raises(
            DataError, match=r"numbers in a column of dates, row 1: got .*date_format"
        ):
            parse_times(column)


def test_missing_dates_and_dates_of_frames() -> None:
    times, _ = parse("2020-01-01", None, "NA", "", "nan")
    assert np.isnat(times).tolist() == [False, True, True, True, True]
    column = np.array(["2020-01-01", "NaT"], "datetime64[us]")
    assert parse_times(column)[0] is not None
    assert len(parse()[0]) == 0


def test_dates_with_and_without_a_time_zone_are_an_error() -> None:
    with pytest.raises(DataError, match=r"with a time zone \(row 2\) and without one \(row 1\)"):
        parse("2020-01-01T00:00", "2020-01-01T00:00Z")
    with pytest.raises(DataError, match="no date, here 1"):
        parse("2020-01-01", "x", where=lambda row: f"here {row}")


@given(st.datetimes(min_value=datetime.datetime(1, 1, 1)))
def test_iso_is_read_exactly(stamp: datetime.datetime) -> None:
    assert parse(stamp.isoformat())[0].tolist() == [stamp]
    assert parse(str(stamp))[0].tolist() == [stamp]


def local_hours(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[us]")


def test_the_hour_that_occurs_twice() -> None:
    day = ["2020-10-25T01:00", "2020-10-25T02:00", "2020-10-25T02:00", "2020-10-25T03:00"]
    expected = np.array(
        ["2020-10-24T23", "2020-10-25T00", "2020-10-25T01", "2020-10-25T02"], "M8[us]"
    )
    np.testing.assert_array_equal(to_utc(local_hours(*day), "Europe/Berlin"), expected)
    # read from its end
    np.testing.assert_array_equal(to_utc(local_hours(*day[::-1]), "Europe/Berlin"), expected[::-1])
    # every quarter of an hour
    utc = np.arange("2020-10-24T23:00", "2020-10-25T03:00", 15, dtype="M8[m]").astype("M8[us]")
    np.testing.assert_array_equal(to_utc(to_local(utc, "Europe/Berlin"), "Europe/Berlin"), utc)


def test_the_hour_that_does_not_exist() -> None:
    with pytest.raises(
        DataError, match="clocks in Europe/Berlin never showed 2020-03-29 02:30:00, row 2"
    ):
        to_utc(local_hours("2020-03-29T01:30", "2020-03-29T02:30"), "Europe/Berlin")
    with pytest.raises(DataError, match="row 1"):
        to_utc(local_hours("2020-03-29T02:30", "2020-03-29T01:30"), "Europe/Berlin")


@pytest.mark.slow
@given(
    st.integers(0, 2000),
    st.sampled_from(
        ["Europe/Berlin", "America/New_York", "Australia/Sydney", "UTC", "Asia/Kolkata"]
    ),
)
def test_local_hours_and_back(start: int, zone: str) -> None:
    utc = np.datetime64("2019-01-01", "us") + (start + np.arange(2000)) * np.timedelta64(1, "h")
    np.testing.assert_array_equal(to_utc(to_local(utc, zone), zone), utc)


@pytest.mark.parametrize("name", ["Mars/Olympus", "", "../etc/passwd", "/etc/passwd", "a\0b", 3])
def test_unknown_time_zones_are_errors(name: Any) -> None:
    for call in (to_utc, to_local):
        with pytest.raises(OptionError, match=r"timezone: got .*such as Europe/Berlin"):
            call(local_hours("2020-01-01"), name)


def test_texts_that_look_like_dates() -> None:
    assert not any(map(looks_like_date, ("H1", "", "2020", "1.5", "12:30", "1-2-3", "store-1")))


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["Jan-2015", "February 2015"], ["2015-01-01", "2015-02-01"]),
        (["15-Jan-2015", "15 Feb. 2015"], ["2015-01-15", "2015-02-15"]),
        (["Jan 5, 2015 10:30", "2015 Sept"], ["2015-01-05T10:30", "2015-09-01"]),
        (["2015-W01", "2015W02", "2015-W02-3"], ["2014-12-29", "2015-01-05", "2015-01-07"]),
        (["Q1 1980", "1980-Q2", "1980Q3", "Q4/1980"], ["1980-01", "1980-04", "1980-07", "1980-10"]),
        (["07/04/21", "07/31/68", "07/01/69"], ["2021-07-04", "2068-07-31", "1969-07-01"]),
        (["31/07/21", "04/07/21"], ["2021-07-31", "2021-07-04"]),
        (["04.07.21", "05.07.21 06:30"], ["2021-07-04", "2021-07-05T06:30"]),
        (["2018-01-01/2018-01-07", "2018-01-08/2018-01-14"], ["2018-01-01", "2018-01-08"]),
        (["99-12-31", "00-01-01"], ["1999-12-31", "2000-01-01"]),
    ],
)
def test_forms_that_people_write(texts: list[str], expected: list[str]) -> None:
    found, _ = parse_times(np.array(texts, object))
    assert found.tolist() == np.array(expected, "datetime64[us]").tolist()
    assert all(map(looks_like_date, texts))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "07/04/21",
            "may begin with the day or the month.*pass date_format=.%d/%m/%y., or date_format=.%m/%d/%y. ",
        ),
        ("07-04-2021", "pass date_format=.%d-%m-%Y., or date_format=.%m-%d-%Y. "),
        ("21-04-07", "may begin or end with its year: pass date_format="),
        ("2015-W60", "no date, row 1"),
        ("Mai 2015", "no date, row 1"),
    ],
)
def test_ambiguous_dates_are_errors(text: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        parse_times(np.array([text], object))
