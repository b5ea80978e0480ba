"""The plain forecasts that every forecast stands beside, and the season of a series.

A series is ``[T]``, one value a step; a value that is missing or infinite is NaN or counts as such.
Every forecast is finite wherever one value is.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from elman.engine.shapes import whole_number
from elman.errors import DataError

__all__ = [
    "average",
    "drift",
    "find_season",
    "is_seasonal",
    "naive",
    "naive_quantiles",
    "seasonal_naive",
]

_MAX = np.finfo(np.float64).max
# The 90 % test of M4, two-sided; and 99 %, one-sided, where all periods are tried.
_LIMIT, _SEARCH_LIMIT = 1.645, 2.326
# A period that no calendar suggests must explain this much of what is left without the trend.
_SEARCH_SHARE = 0.3
# What is left of a series of largest value 1 below this is rounding of its sums.
_ROUNDING = 1e-10


def _known(values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the series as float64 with NaN where a value is not finite, and the places of the others."""
    series = np.asarray(values, np.float64)
    series = np.where(np.isfinite(series), series, np.nan)
    places = np.flatnonzero(np.isfinite(series))
    if series.ndim != 1 or not len(places):
        raise DataError(
            "a series", got=f"shape {series.shape}", expected="[T] with at least one finite value"
        )
    return series, places


def _unit(values: ArrayLike) -> np.ndarray:
    """Return the series over its largest absolute value, what is missing put between its neighbours."""
    series, places = _known(values)
    filled = np.interp(np.arange(len(series)), places, series[places])
    largest = np.abs(filled).max()
    return np.asarray(filled / largest if largest > 0 else filled)


def naive(values: ArrayLike, horizon: int) -> np.ndarray:
    """Return the last known value, `horizon` times ``[H]``; raises DataError, OptionError.

    >>> naive([1.0, 3.0, float("nan")], 2).tolist()
    [3.0, 3.0]
    """
    series, places = _known(values)
    return np.full(whole_number("horizon", horizon, 1), series[places[-1]])


def seasonal_naive(values: ArrayLike, horizon: int, season: int) -> np.ndarray:
    """Return for each step to come the last known value of its place in the season of `season` steps.

    A place that was never known has the last known value. Raises DataError, OptionError.

    >>> seasonal_naive([1.0, 2.0, 3.0, 4.0], 3, season=2).tolist()
    [3.0, 4.0, 3.0]
    """
    series, places = _known(values)
    season = whole_number("season", season, 1)
    ahead = len(series) + np.arange(whole_number("horizon", horizon, 1))
    at = np.full(min(season, len(series) + len(ahead)), places[-1])
    phases = places % season
    at[phases] = places  # of several the last stays
    return np.asarray(series[at[ahead % season]])


def drift(values: ArrayLike, horizon: int) -> np.ndarray:
    """Return the line through the first and the last known value, continued ``[H]``.

    Raises DataError, OptionError.

    >>> drift([1.0, 5.0, 4.0], 2).tolist()
    [5.5, 7.0]
    """
    series, places = _known(values)
    first, last = places[0], places[-1]
    ahead = len(series) - last + np.arange(whole_number("horizon", horizon, 1))
    with np.errstate(all="ignore"):
        slope = (series[last] - series[first]) / max(1, last - first)
        forecast = series[last] + slope * ahead
    return np.asarray(np.where(np.isfinite(forecast), forecast, series[last]))


def average(values: ArrayLike, horizon: int, steps: int) -> np.ndarray:
    """Return the mean of what is known of the last `steps` values, `horizon` times ``[H]``.

    Where nothing is known of these, the last known value. Raises DataError, OptionError.

    >>> average([9.0, 1.0, 3.0], 2, steps=2).tolist()
    [2.0, 2.0]
    """
    series, places = _known(values)
    recent = series[-whole_number("steps", steps, 1) :]
    recent = recent[np.isfinite(recent)] if np.isfinite(recent).any() else series[places[-1:]]
    # divided first, so that a mean of finite values is finite
    return np.full(whole_number("horizon", horizon, 1), (recent / len(recent)).sum())


def _autocorrelation(series: np.ndarray, lags: int) -> np.ndarray:
    """Return the autocorrelation of a part of a unit series at 0 to `lags`, 0 where it is constant."""
    centred = series - series.mean()
    size = 1 << (len(series) + lags).bit_length()
    spectrum = np.fft.rfft(centred, size)
    sums = np.fft.irfft(spectrum * spectrum.conj(), size)[: lags + 1]
    constant = sums[0] <= len(series) * _ROUNDING**2
    return np.zeros(lags + 1) if constant else np.asarray(sums / sums[0])


def _limit(correlation: np.ndarray, season: int, steps: int, quantile: float) -> float:
    """Return what the autocorrelation at `season` must exceed (Bartlett 1946)."""
    return float(quantile * np.sqrt((1 + 2 * (correlation[1:season] ** 2).sum()) / steps))


def is_seasonal(values: ArrayLike, season: int) -> bool:
    """Return whether M4's test finds the season: the autocorrelation beyond its 90 % limit.

    Below three whole seasons the answer is no. Source: Makridakis, Spiliotis, Assimakopoulos, "The M4
    Competition", 2020, and its published code. Raises DataError, OptionError.

    >>> is_seasonal([1.0, 5.0, 2.0, 0.0] * 5, 4)
    True
    """
    series = _unit(values)
    if whole_number("season", season, 1) < 2 or len(series) < 3 * season:
        return False
    correlation = _autocorrelation(series, season)
    return bool(abs(correlation[season]) > _limit(correlation, season, len(series), _LIMIT))


def _without_trend(series: np.ndarray, season: int) -> np.ndarray:
    """Return the series less its centred average over a season, whose two ends have half weight."""
    sums = np.append(0.0, series).cumsum()
    average = (sums[season:] - sums[:-season]) / season
    if season % 2 == 0:
        average = (average[1:] + average[:-1]) / 2
    half = season // 2
    return np.asarray(series[half : len(series) - half] - average)


def _strength(series: np.ndarray, season: int, quantile: float) -> float:
    """Return the autocorrelation at `season` without the trend, 0 where it is no season.

    The trend is the average over a season: it takes random walks away and leaves the season. A season
    stands out from all shorter lags down to its half, and comes back after two.
    """
    if season < 2 or len(series) < 3 * season:
        return 0.0
    near = season // 8
    rest = _without_trend(series, season)
    correlation = _autocorrelation(rest, min(2 * season + near, len(rest) - 1))
    here = float(correlation[season])
    before = correlation[season // 2 : season - near]
    again = correlation[2 * season - near :]
    if here <= _limit(correlation, season, len(rest), quantile) or here <= before.max():
        return 0.0
    return here if len(again) and again.max() >= here / 2 else 0.0


def _periods(series: np.ndarray) -> set[int]:
    """Return the periods that the series itself suggests, up to a third of its length."""
    steps = np.arange(len(series))
    slope = np.polyfit(steps, series, 1)
    correlation = _autocorrelation(series - np.polyval(slope, steps), len(series) // 3)
    found = set()
    for period in range(3, len(correlation)):
        width = max(1, period // 4)
        near = correlation[period - width : period + width + 1]
        if correlation[period] <= 0 or correlation[period] < near.max():
            continue
        # without the trend, which the straight line left in, the peak stands elsewhere
        for _ in range(3):
            width = max(1, period // 4)
            rest = _without_trend(series, period)
            around = _autocorrelation(rest, min(period + width, len(rest) - 1))
            low = max(3, period - width)
            better = low + int(around[low:].argmax())
            if better == period or 3 * better > len(series):
                break
            period = better
        found.add(period)
    return found


def find_season(values: ArrayLike, candidates: Iterable[int] = ()) -> int:
    """Return the season of a series in steps, 1 where there is none.

    Tried are the `candidates` (those of the calendar: 12 for months), then, if none of them is one, the
    peaks of the autocorrelation from 3 to T/3. A season is an autocorrelation beyond the limit of
    `is_seasonal` after the average over a season is taken away, higher than at shorter lags, and still
    half as high two seasons on; one that no calendar suggests passes at 99 % and is at least 0.3.
    Of several that are as high but for chance the shortest is returned. Raises DataError, OptionError.

    >>> wave = np.sin(np.arange(120) * 2 * np.pi / 12) + np.arange(120)
    >>> find_season(wave, [4, 12]), find_season(wave), find_season(np.arange(120.0))
    (12, 12, 1)
    """
    series = _unit(values)
    calendar = {whole_number("candidates", season, 1) for season in candidates}
    seasons = [season for season in sorted(calendar) if _strength(series, season, _LIMIT)]
    if not seasons and len(series) >= 9:
        seasons = [
            period
            for period in sorted(_periods(series))
            if _strength(series, period, _SEARCH_LIMIT) >= _SEARCH_SHARE
        ]
    if not seasons:
        return 1
    rest = _without_trend(series, seasons[-1])
    # at a long lag fewer pairs are summed
    pairs = 1 - np.array(seasons) / len(rest)
    correlation = _autocorrelation(rest, seasons[-1])[seasons] / pairs
    # twice a season is one too: the longer must be better by more than chance
    least = correlation.max() - _LIMIT * np.sqrt(2 / len(rest))
    return seasons[int(np.argmax(correlation >= least))]


def naive_quantiles(
    values: ArrayLike,
    horizon: int,
    season: int,
    levels: Sequence[float],
    *,
    seasons: Sequence[int] = (),
) -> dict[str, np.ndarray]:
    """Return the quantiles ``[Q, H]`` at `levels` of the simple forecasts, by name.

    These are naive, seasonal naive (where `season` is 2 or more; each of the other `seasons` is named
    by its steps), drift, and the average of the last values: of three seasons, three horizons or 30
    values, whichever is most. Around each forecast the quantiles are normal, with the errors of one step in
    the series and their growth with the horizon as in Hyndman, Athanasopoulos, "Forecasting: Principles and
    Practice", 3rd ed., 5.5.
    Raises DataError, OptionError.

    >>> naive_quantiles([0.0, 1.0, 0.0, 1.0], 1, 1, [0.5, 0.9])["naive"].round(3).tolist()
    [[1.0], [2.282]]
    >>> list(naive_quantiles(range(9), 1, 2, [0.5], seasons=(4,)))
    ['naive', 'seasonal naive', 'seasonal naive 4', 'drift', 'average']
    """
    series, places = _known(values)
    ahead = np.arange(1, horizon + 1)
    # by a power of two, which changes no digit: differences of great numbers would leave the finite range
    power = int(np.frexp(np.abs(series[places]).max())[1].clip(-1000))
    small = np.ldexp(series, -power)
    recent = max(3 * season, 3 * horizon, 30)
    line = (small[places[-1]] - small[places[0]]) / max(1, np.ptp(places))
    walk = np.sqrt(ahead)
    points = {"naive": (naive(series, horizon), small[1:] - small[:-1], walk)}
    for steps in (season, *seasons):
        if steps > 1:
            name = "seasonal naive" if steps == season else f"seasonal naive {steps}"
            point, errors = seasonal_naive(series, horizon, steps), small[steps:] - small[:-steps]
            points[name] = (point, errors, np.sqrt(1 + (ahead - 1) // steps))
    growth = np.sqrt(ahead * (1 + ahead / max(1, len(series) - 1)))
    points["drift"] = (drift(series, horizon), small[1:] - small[:-1] - line, growth)
    mean = average(series, horizon, recent)
    apart = small[-recent:] - np.ldexp(mean[0], -power)
    points["average"] = (mean, apart, np.full(horizon, np.sqrt(1 + 1 / recent)))
    normal = np.array([NormalDist().inv_cdf(level) for level in levels])
    found = {}
    with np.errstate(all="ignore"):
        for name, (point, errors, growth) in points.items():
            known = errors[np.isfinite(errors)]
            spread = np.abs(known).max(initial=0.0)
            if spread > 0:
                spread *= np.sqrt(np.mean((known / spread) ** 2))
            spread = np.ldexp(spread, power)
            found[name] = np.clip(point + normal[:, None] * spread * growth, -_MAX, _MAX)
    return found
