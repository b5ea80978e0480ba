from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.strategies._internal.core import DataObject

from elman.errors import DataError, OptionError
from elman.series.calendar import (
    advance,
    calendar_features,
    infer_frequency,
    positions,
    season_candidates,
    without_jitter,
)
from elman.series.frequency import Frequency

# our name for a step, pandas' name, and the words for it
STEPS = [
    ("s", "s", "every second"),
    ("5s", "5s", "every 5 seconds"),
    ("min", "min", "every minute"),
    ("30min", "30min", "every 30 minutes"),
    ("h", "h", "hourly"),
    ("6h", "6h", "every 6 hours"),
    ("D", "D", "daily"),
    ("3D", "3D", "every 3 days"),
    ("W", "W", "weekly"),
    ("2W", "2W", "every 2 weeks"),
    ("B", "B", "business days (Monday to Friday)"),
    ("MS", "MS", "monthly (start of month)"),
    ("ME", "ME", "monthly (end of month)"),
    ("2MS", "2MS", "every 2 months (start of month)"),
    ("QS", "QS", "quarterly (start of month)"),
    ("QE", "QE", "quarterly (end of month)"),
    ("YS", "YS", "yearly (start of month)"),
    ("YE", "YE", "yearly (end of month)"),
]


def stamps(*texts: str) -> np.ndarray:
    return np.array(texts, "datetime64[us]")


def pandas_range(word: str, start: str = "2019-02-04 00:00", periods: int = 60) -> np.ndarray:
    return pd.date_range(start, periods=periods, freq=word).to_numpy().astype("datetime64[us]")


@pytest.mark.parametrize(("word", "theirs", "words"), STEPS)
def test_steps_are_inferred_said_and_counted_as_by_pandas(
    word: str, theirs: str, words: str
) -> None:
    times = pandas_range(theirs)
    frequency = infer_frequency(times)
    assert str(frequency) == word
    assert frequency.words == words
    assert Frequency.parse(word) == Frequency.parse(theirs) == frequency
    np.testing.assert_array_equal(advance(times[9], frequency, 50), times[10:])
    counted, exact = positions(times, frequency)
    np.testing.assert_array_equal(counted, np.arange(60))
    assert exact.all()
    backwards, exact = positions(times, frequency, times[20])
    np.testing.assert_array_equal(backwards, np.arange(60) - 20)
    assert exact.all()


@pytest.mark.slow
@pytest.mark.parametrize(("word", "theirs", "words"), STEPS)
@given(data=st.data())
def test_a_frequency_is_seen_through_gaps(
    word: str, theirs: str, words: str, data: DataObject
) -> None:
    times = pandas_range(theirs)
    dropped = data.draw(st.sets(st.integers(1, 58), max_size=10))
    kept = np.delete(times, sorted(dropped))
    assert str(infer_frequency(kept)) == word
    counted, exact = positions(kept, Frequency.parse(word))
    np.testing.assert_array_equal(counted, np.delete(np.arange(60), sorted(dropped)))
    assert exact.all()


def test_other_steps() -> None:
    assert infer_frequency(stamps("2020-01-15", "2020-02-15", "2020-03-15")) == Frequency(1, "M")
    assert infer_frequency(stamps("2020-01-15", "2020-04-15")) == Frequency(1, "Q")
    assert infer_frequency(stamps("2019-06-30", "2020-06-30")).words == "yearly (end of month)"
    # steps of 28 or 30 days are not months
    assert infer_frequency(stamps("2021-02-01", "2021-03-01")) == Frequency(1, "MS")
    assert infer_frequency(stamps("2021-02-02", "2021-03-02", "2021-03-30")).unit == "W"
    assert infer_frequency(pandas_range("30D")) == Frequency(30, "D")
    assert infer_frequency(stamps("2020-01-01", "2020-01-01T00:00:00.04")) == Frequency(
        40_000, "us"
    )
    uneven = stamps("2020-01-01", "2020-01-01T00:00:00.981448")
    assert infer_frequency(uneven).words == "every 0.981448 seconds"
    assert infer_frequency(np.array([1949, 1950, 1951, 1953])) == Frequency(1, "steps")
    assert infer_frequency(np.array([0, 10, 20])).words == "every 10 steps"
    # five days in a row are too few for business days, and days with a Saturday are no business days
    assert infer_frequency(pandas_range("D", periods=5)) == Frequency(1, "D")
    assert infer_frequency(pandas_range("D", periods=6)) == Frequency(1, "D")
    assert infer_frequency(pandas_range("B", periods=6)) == Frequency(1, "B")
    for times in (stamps("2020-01-01"), stamps()):
        with pytest.raises(DataError, match="one stamp shows no frequency: pass frequency="):
            infer_frequency(times)


def test_a_day_beyond_the_end_of_a_month_is_its_last() -> None:
    frequency = Frequency(1, "M")
    after = advance(np.datetime64("2020-01-31T06:00"), frequency, 3).astype("M8[h]").astype(str)
    assert after.tolist() == ["2020-02-29T06", "2020-03-31T06", "2020-04-30T06"]


def test_stamps_that_are_off_the_grid() -> None:
    times = stamps("2020-01-01", "2020-01-01T01:00", "2020-01-01T01:30")
    assert positions(times, Frequency(1, "h"))[1].tolist() == [True, True, False]
    assert positions(stamps("2020-01-03", "2020-01-04"), Frequency(1, "B"))[1].tolist() == [
        True,
        False,
    ]
    assert positions(stamps("2020-01-01", "2020-02-02"), Frequency(1, "MS"))[1].tolist() == [
        True,
        False,
    ]
    assert positions(stamps("2020-01-30", "2020-02-29"), Frequency(1, "ME"))[1].tolist() == [
        False,
        True,
    ]
    steps, exact = positions(stamps(), Frequency(1, "h"))
    assert len(steps) == len(exact) == 0


@pytest.mark.parametrize(
    "word", ["", "fortnight", "0h", "-1h", "h h", "1.5h", "MX", "Bs", "steps1"]
)
def test_unknown_frequencies_are_refused(word: str) -> None:
    with pytest.raises(OptionError, match=r"frequency: got .*expected a step such as h, 30min"):
        Frequency.parse(word)


def test_words_of_others() -> None:
    for word, own in {"1H": "h", "15T": "15min", "W-SUN": "W", "QS-OCT": "QS", "d": "D"}.items():
        assert str(Frequency.parse(word)) == own
    assert Frequency.parse(Frequency(1, "h")) == Frequency(1, "h")


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("us", (60_000_000, 3_600_000_000)),
        ("s", (60, 3600)),
        ("10s", (6, 360)),
        ("7s", ()),
        ("min", (1440, 10080)),
        ("30min", (48, 336)),
        ("h", (24, 168)),
        ("5h", ()),
        ("D", (7,)),
        ("2D", ()),
        ("B", (5,)),
        ("W", (52,)),
        ("MS", (12,)),
        ("2ME", (6,)),
        ("QE", (4,)),
        ("YS", ()),
        ("steps", ()),
    ],
)
def test_seasons(word: str, expected: tuple[int, ...]) -> None:
    assert season_candidates(Frequency.parse(word)) == expected


@pytest.mark.parametrize(
    ("word", "cycles"),
    [
        ("30min", 2),
        ("h", 2),
        ("D", 1),
        ("B", 1),
        ("W", 1),
        ("MS", 1),
        ("QS", 1),
        ("YS", 0),
        ("M", 1),
    ],
)
def test_features_are_points_of_circles(word: str, cycles: int) -> None:
    times = pandas_range(word if word != "M" else "MS")
    features = calendar_features(times, Frequency.parse(word))
    assert features.shape == (60, 2 * cycles)
    assert features.dtype == np.float64
    # rounding error of sine and cosine in float64
    np.testing.assert_allclose(np.hypot(features[:, ::2], features[:, 1::2]), 1, atol=1e-15)


def angle(text: str, word: str, cycle: int = 0) -> np.float64:
    sine, cosine = calendar_features(stamps(text), Frequency.parse(word))[0, 2 * cycle :][:2]
    return np.arctan2(sine, cosine) % (2 * np.pi) / (2 * np.pi)


def test_what_the_features_say() -> None:
    rounding = 1e-12
    assert angle("2020-01-06T06:00", "h") == pytest.approx(0.25, abs=rounding)
    assert angle("2020-01-06T00:30", "30min") == pytest.approx(1 / 48, abs=rounding)
    assert angle("2020-01-06", "D") == pytest.approx(0, abs=rounding)  # a Monday
    assert angle("2020-01-12", "D") == pytest.approx(6 / 7, abs=rounding)
    assert angle("1969-12-31", "D") == pytest.approx(2 / 7, abs=rounding)  # a Wednesday
    assert angle("2020-01-08T12:00", "h", 1) == pytest.approx(2 / 7, abs=rounding)
    assert angle("2020-07-01", "MS") == pytest.approx(0.5, abs=rounding)
    assert angle("1960-10-01", "QS") == pytest.approx(0.75, abs=rounding)
    assert angle("2021-01-11", "W") == pytest.approx(10 / 365.2425, abs=rounding)
    assert calendar_features(np.arange(5), Frequency(1, "steps")).shape == (5, 0)


# pandas' name for a step on certain days, our name, the words for it, and the possible seasons in steps
DAYS = [
    ("BME", "BME", "monthly (last business day)", (12,)),
    ("BMS", "BMS", "monthly (first business day)", (12,)),
    ("BQE", "BQE", "quarterly (last business day)", (4,)),
    ("BYS", "BYS", "yearly (first business day)", ()),
    ("SMS", "SM-1-15", "twice a month (days 1 and 15)", (24,)),
    ("SME", "SM-15-31", "twice a month (days 15 and last)", (24,)),
    ("Mon-Sat", "C-1111110", "daily (Monday to Saturday)", (6,)),
    ("Sun-Thu", "C-1111001", "daily (Sunday to Thursday)", (5,)),
    ("Tue,Fri", "C-0100100", "daily (Tuesday, Friday)", (2,)),
    ("30th", "M-30", "monthly (day 30)", (12,)),
    ("4-4-5", "4-4-5-65", "retail months of 4, 4 and 5 weeks", (12,)),
]


def days_of(word: str, periods: int = 60) -> np.ndarray:
    if word == "30th":
        months = np.datetime64("2020-01") + np.arange(periods)
        last = (months + 1).astype("M8[D]") - 1
        return np.minimum(months.astype("M8[D]") + 29, last).astype("M8[us]")
    if word == "4-4-5":
        weeks = np.cumsum([0, *[4, 5, 4] * (periods // 3)])[:periods]
        return (np.datetime64("2021-01-30") + 7 * weeks).astype("M8[us]")
    closed = {"Mon-Sat": (6,), "Sun-Thu": (4, 5), "Tue,Fri": (0, 2, 3, 5, 6)}.get(word)
    if closed is None:
        return pandas_range(word, periods=periods)
    days = np.datetime64("2021-03-02") + np.arange(7 * periods)
    return days[~np.isin((days.astype(int) + 3) % 7, closed)][:periods].astype("M8[us]")


@pytest.mark.parametrize(("word", "own", "words", "season"), DAYS, ids=[row[0] for row in DAYS])
def test_steps_on_certain_days(word: str, own: str, words: str, season: tuple[int, ...]) -> None:
    times = days_of(word)
    for kept in (times, np.delete(times, [7, 8, 30])):  # also if some rows are missing
        frequency = infer_frequency(kept)
        assert str(frequency) == own
    assert frequency.words == words
    assert Frequency.parse(own) == frequency
    assert season_candidates(frequency) == season
    counted, exact = positions(times, frequency)
    np.testing.assert_array_equal(counted, np.arange(60))
    assert exact.all()
    backwards, _ = positions(times, frequency, times[20])
    np.testing.assert_array_equal(backwards, np.arange(60) - 20)
    for first in range(14):  # also from the 28th of February
        np.testing.assert_array_equal(advance(times[first], frequency, 40), times[first + 1 :][:40])
    assert not positions(times + np.timedelta64(1, "D"), frequency, times[0])[1].all()
    assert np.isfinite(calendar_features(times, frequency)).all()


def test_words_of_open_days() -> None:
    assert str(Frequency.parse("Mon-Fri")) == "B"
    assert str(Frequency.parse("Sun-Sat")) == "D"
    assert Frequency.parse("SMS") == Frequency.parse("SM-1-15")
    for word in (
        "C",
        "C-0000000",
        "C-11111",
        "Mon-Foo",
        "M-31",
        "ME-30",
        "SM-9-3",
        "4-4-5-91",
        "BM",
    ):
        with pytest.raises(OptionError, match=r"frequency: got .*Mon-Sat"):
            Frequency.parse(word)
    # two weeks are too short to infer a closed day
    assert infer_frequency(days_of("Mon-Sat", 12)) == Frequency(1, "D")


@pytest.mark.parametrize(
    ("word", "jitter"), [("s", "30ms"), ("20ms", "1ms"), ("h", "2min"), ("5min", "9s")]
)
@pytest.mark.parametrize("phase", [0, 0.37])
def test_clocks_that_jitter(word: str, jitter: str, phase: float) -> None:
    exact = pandas_range(word) + np.timedelta64(int(phase * 1e4), "us")
    most = int(pd.Timedelta(jitter) / pd.Timedelta(1, "us"))
    noise = np.random.default_rng(0).integers(-most, most, len(exact))
    moved = without_jitter(exact + noise)
    assert str(infer_frequency(moved)) == ("20000us" if word == "20ms" else word)
    assert abs(moved - exact).max() <= np.timedelta64(most, "us")
    np.testing.assert_array_equal(without_jitter(exact), exact)
    later = without_jitter(exact[-1:] + noise[:1], infer_frequency(moved).step, moved[0])
    assert positions(later, infer_frequency(moved), moved[0])[1].all()


def test_stamps_that_do_not_jitter_stay() -> None:
    wild = pandas_range("s") + np.random.default_rng(0).integers(-300_000, 300_000, 60)
    for times in (wild, pandas_range("7s"), pandas_range("h", "2020-01-01 00:07"), stamps()):
        np.testing.assert_array_equal(without_jitter(times), times)
