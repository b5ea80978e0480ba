from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from elman.errors import DataError, OptionError
from elman.series.naive import (
    drift,
    find_season,
    is_seasonal,
    naive,
    naive_quantiles,
    seasonal_naive,
)

NAN = float("nan")

series = st.lists(
    st.one_of(st.floats(width=64), st.floats(1, 10), st.just(NAN)), min_size=1, max_size=40
).filter(lambda values: bool(np.isfinite(values).any()))


@given(series, st.integers(1, 9), st.integers(1, 50))
@example([1.3482698511467367e308, 0.0, 1.348269851146737e308, 0.0], 1, 1)
@example([float("inf"), float("inf"), 0.0], 1, 1)
@example([1.7440185123494264e308, 0.0, 1.7440185123494264e308, float("nan"), 0.0], 1, 1)
def test_any_series_has_finite_forecasts(values: list[float], horizon: int, season: int) -> None:
    found = [
        naive(values, horizon),
        seasonal_naive(values, horizon, season),
        drift(values, horizon),
    ]
    for forecast in found:
        assert forecast.shape == (horizon,)
        assert np.isfinite(forecast).all()
    for rows in naive_quantiles(values, horizon, season, [0.1, 0.5, 0.9]).values():
        assert rows.shape == (3, horizon)
        assert np.isfinite(rows).all()
        assert (rows[:-1] <= rows[1:]).all()
    assert 1 <= find_season(values, [season]) <= max(1, len(values) // 3)


def test_missing_values_are_skipped() -> None:
    assert naive([1.0, 2.0, NAN, np.inf], 2).tolist() == [2.0, 2.0]
    # the last value of each phase of the season; a phase without a value gets the last known value
    assert seasonal_naive([1.0, 2.0, NAN, 4.0, NAN, NAN], 4, 3).tolist() == [4.0, 2.0, 4.0, 4.0]
    # the line rises from 2 to 8 in three steps; the first forecast is two steps later
    assert drift([NAN, 2.0, NAN, NAN, 8.0, NAN], 2).tolist() == [12.0, 14.0]
    assert drift([5.0], 3).tolist() == [5.0, 5.0, 5.0]


def test_a_season_longer_than_the_series() -> None:
    assert seasonal_naive([1.0, 2.0], 3, 1_000_000).tolist() == [2.0, 2.0, 2.0]
    assert seasonal_naive([1.0, 2.0], 3, 4).tolist() == [2.0, 2.0, 1.0]


def test_what_is_no_series_is_refused() -> None:
    for values in ([], [NAN], [[1.0, 2.0]]):
        with pytest.raises(DataError, match="at least one finite value"):
            naive(values, 1)
    with pytest.raises(OptionError, match="horizon"):
        drift([1.0], 0)
    with pytest.raises(OptionError, match="season"):
        seasonal_naive([1.0], 1, 0)


def by_definition(values: np.ndarray, m: int) -> bool:
    """Return whether the season passes the test of the M4 competition, written as plain sums."""
    n, centred = len(values), values - values.mean()
    r = [sum(centred[k:] * centred[: n - k]) / sum(centred**2) for k in range(m + 1)]
    return n >= 3 * m and abs(r[m]) > 1.645 * np.sqrt((1 + 2 * sum(x**2 for x in r[1:m])) / n)


@pytest.mark.parametrize("m", [2, 4, 7, 12, 24])
@pytest.mark.parametrize("strength", [0.0, 0.3, 1.0])
def test_a_season_is_one_by_the_definition(m: int, strength: float) -> None:
    draw = np.random.default_rng([m, int(10 * strength)])
    wave = draw.normal(size=m) * strength
    values = np.exp(wave[np.arange(6 * m + 3) % m] + draw.normal(size=6 * m + 3) * 0.3)
    assert is_seasonal(values, m) == by_definition(values, m)


def months(years: int, seed: int = 0) -> np.ndarray:
    draw = np.random.default_rng(seed)
    t = np.arange(12 * years)
    return 100 * np.exp(0.01 * t + 0.2 * np.sin(t * np.pi / 6) + 0.02 * draw.normal(size=len(t)))


def test_the_season_of_the_calendar_is_found() -> None:
    assert find_season(months(6), [4, 12]) == 12
    assert find_season(-months(6) * 1e-200, [12]) == 12
    gaps = months(6)
    gaps[[3, 17, 18, 40]] = NAN
    assert find_season(gaps, [12]) == 12


def test_the_week_is_found_if_it_explains_more_than_the_day() -> None:
    draw = np.random.default_rng(0)
    hours = np.arange(24 * 7 * 6)
    day, weekend = np.sin(hours * 2 * np.pi / 24), (hours // 24 % 7 >= 5) * 1.0
    noise = 0.1 * draw.normal(size=len(hours))
    assert find_season(day + noise, [24, 168]) == 24
    assert find_season(day + weekend + noise, [24, 168]) == 168
    assert find_season(day + weekend + noise) == 168


def test_a_season_that_no_calendar_knows_is_found_in_the_data() -> None:
    # monthly values with cycles of 9 to 13 years, like the number of sunspots
    draw = np.random.default_rng(4)
    phase = np.cumsum(2 * np.pi / np.repeat(draw.uniform(9, 13, 20), 120) / 12)
    cycle = (1 + np.sin(phase)) * 50 + draw.normal(size=len(phase)) * 15
    assert 9 * 12 <= find_season(cycle, [12]) <= 13 * 12


def walk(draw: np.random.Generator, n: int) -> np.ndarray:
    return draw.normal(size=n).cumsum()


def white(draw: np.random.Generator, n: int) -> np.ndarray:
    return draw.normal(size=n)


def sluggish(draw: np.random.Generator, n: int) -> np.ndarray:
    values = draw.normal(size=n)
    for t in range(1, n):
        values[t] += 0.9 * values[t - 1]
    return values


@pytest.mark.slow
@pytest.mark.parametrize("kind", [walk, white, sluggish])
@pytest.mark.parametrize("n", [60, 300])
def test_noise_has_no_season(kind: Callable[..., Any], n: int) -> None:
    # by chance, a given season is found in 5 % of the series and a search finds one in 1 %: 10 and 2 of 200,
    # plus three standard deviations
    draw = np.random.default_rng(n)
    found = [
        (find_season(values, [12]), find_season(values))
        for values in (kind(draw, n) for _ in range(200))
    ]
    assert sum(season == 12 for season, _ in found) <= 10 + 3 * np.sqrt(10)
    assert sum(season > 1 for _, season in found) <= 2 + 3 * np.sqrt(2)


def test_lines_and_constants_have_no_season() -> None:
    for values in (np.arange(300.0), np.full(300, 0.1), 1e9 + 0.1 * np.arange(50), [1.0, 2.0]):
        assert find_season(values, [2, 7, 12]) == 1


def test_a_long_series_is_searched_in_a_moment() -> None:
    draw = np.random.default_rng(0)
    values = np.sin(np.arange(100_000) * 2 * np.pi / 144) + 0.1 * draw.normal(size=100_000)
    before = time.process_time()
    assert find_season(values) == 144
    # the search needs a few Fourier transforms of 2^18 numbers and 33,000 lags, not all 10^9 pairs
    assert time.process_time() - before < 30


@pytest.mark.parametrize("method", ["naive", "seasonal naive", "drift"])
def test_the_intervals_cover_what_they_promise(method: str) -> None:
    # for each method, draw from the process for which it is exact, with errors of size 1
    draw = np.random.default_rng(5)
    inside = np.zeros(6)
    for _ in range(400):
        errors = draw.normal(size=126)
        if method == "seasonal naive":
            values = errors.reshape(-1, 3).cumsum(axis=0).ravel()
        else:
            values = errors.cumsum() + (0.5 * np.arange(126) if method == "drift" else 0.0)
        low, high = naive_quantiles(values[:120], 6, 3, [0.1, 0.9])[method]
        inside += (low <= values[120:]) & (values[120:] <= high)
    # 80 % of the 400 series, within four standard deviations
    assert inside / 400 == pytest.approx(np.full(6, 0.8), abs=4 * np.sqrt(0.8 * 0.2 / 400))
