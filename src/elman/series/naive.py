"""Simple forecasts to compare with (naive, seasonal naive, drift, average), and the season of a series.

A series is ``[T]``, a value for each time step; NaN and infinite values count as missing. Every forecast is
finite if the series has a finite value.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from elman.engine.shapes import whole_number
from elman.errors import DataError

_MAX = np.finfo(np.float64).max
# Normal quantiles: the two-sided 90 % test of M4, and a one-sided 99 % test when all periods are searched.
_M4_QUANTILE, _SEARCH_QUANTILE = 1.645, 2.326
# A period that no calendar suggests needs this autocorrelation, after the trend is removed.
_MIN_SEARCH_CORRELATION = 0.3
# Deviations below this, in a series of largest value 1, are rounding errors of its sums.
_ROUNDING = 1e-10


def _known(values: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Return the series as float64 with NaN for values that are not finite, and the indices of the others."""
    series = np.asarray(values, np.float64)
    series = np.where(np.isfinite(series), series, np.nan)
    known_at = np.flatnonzero(np.isfinite(series))
    if series.ndim != 1 or not len(known_at):
        raise DataError(
            "a series", got=f"shape {series.shape}", expected="[T] with at least one finite value"
        )
    return series, known_at


def _unit(values: ArrayLike) -> np.ndarray:
    """Divide the series by its largest absolute value, and interpolate missing values."""
    series, known_at = _known(values)
    filled = np.interp(np.arange(len(series)), known_at, series[known_at])
    largest = np.abs(filled).max()
    return np.asarray(filled / largest if largest > 0 else filled)


def naive(values: ArrayLike, horizon: int) -> np.ndarray:
    """Forecast the last known value for all steps, ``[H]``; raises DataError, OptionError.

    >>> naive([1.0, 3.0, float("nan")], 2).tolist()
    [3.0, 3.0]
    """
    series, known_at = _known(values)
    return np.full(whole_number("horizon", horizon, 1), series[known_at[-1]])


def seasonal_naive(values: ArrayLike, horizon: int, season: int) -> np.ndarray:
    """Forecast for each step the last known value at its phase of the season, ``[H]``.

    A phase without a known value gets the last known value. Raises DataError, OptionError.

    >>> seasonal_naive([1.0, 2.0, 3.0, 4.0], 3, season=2).tolist()
    [3.0, 4.0, 3.0]
    """
    series, known_at = _known(values)
    season = whole_number("season", season, 1)
    ahead = len(series) + np.arange(whole_number("horizon", horizon, 1))
    # [s]: the index of the value to repeat at each phase
    at = np.full(min(season, len(series) + len(ahead)), known_at[-1])
    phases = known_at % season
    at[phases] = known_at  # the last value of each phase wins
    return np.asarray(series[at[ahead % season]])


def drift(values: ArrayLike, horizon: int) -> np.ndarray:
    """Forecast the line through the first and the last known value, ``[H]``.

    Raises DataError, OptionError.

    >>> drift([1.0, 5.0, 4.0], 2).tolist()
    [5.5, 7.0]
    """
    series, known_at = _known(values)
    first, last = known_at[0], known_at[-1]
    ahead = len(series) - last + np.arange(whole_number("horizon", horizon, 1))
    with np.errstate(all="ignore"):
        # A slope of huge values may overflow; such a line falls back to the last value.
        slope = (series[last] - series[first]) / max(1, last - first)
        forecast = series[last] + slope * ahead
    return np.asarray(np.where(np.isfinite(forecast), forecast, series[last]))


def average(values: ArrayLike, horizon: int, steps: int) -> np.ndarray:
    """Forecast the mean of the known ones of the last `steps` values for all steps, ``[H]``.

    If none of them is known, this is the last known value. Raises DataError, OptionError.

    >>> average([9.0, 1.0, 3.0], 2, steps=2).tolist()
    [2.0, 2.0]
    """
    series, known_at = _known(values)
    recent = series[-whole_number("steps", steps, 1) :]
    recent = recent[np.isfinite(recent)] if np.isfinite(recent).any() else series[known_at[-1:]]
    # Divide before adding, so that a mean of finite values is finite.
    return np.full(whole_number("horizon", horizon, 1), (recent / len(recent)).sum())


def _autocorrelation(series: np.ndarray, lags: int) -> np.ndarray:
    """Return the autocorrelation of a scaled series at lags 0 to `lags`; zeros if it is constant."""
    centred = series - series.mean()
    # The Fourier transform is circular: padding to at least T + lags keeps both ends apart.
    size = 1 << (len(series) + lags).bit_length()
    spectrum = np.fft.rfft(centred, size)
    sums = np.fft.irfft(spectrum * spectrum.conj(), size)[: lags + 1]
    constant = sums[0] <= len(series) * _ROUNDING**2
    return np.zeros(lags + 1) if constant else np.asarray(sums / sums[0])


def _limit(correlation: np.ndarray, season: int, steps: int, quantile: float) -> float:
    """Return the limit that a significant autocorrelation at `season` exceeds (Bartlett 1946)."""
    return float(quantile * np.sqrt((1 + 2 * (correlation[1:season] ** 2).sum()) / steps))


def is_seasonal(values: ArrayLike, season: int) -> bool:
    """Return whether M4's test finds the season: the autocorrelation exceeds its 90 % limit.

    A series shorter than three seasons is not seasonal. Source: Makridakis, Spiliotis, Assimakopoulos,
    "The M4 Competition", 2020, and its published code. Raises DataError, OptionError.

    >>> is_seasonal([1.0, 5.0, 2.0, 0.0] * 5, 4)
    True
    """
    series = _unit(values)
    if whole_number("season", season, 1) < 2 or len(series) < 3 * season:
        return False
    correlation = _autocorrelation(series, season)
    return bool(abs(correlation[season]) > _limit(correlation, season, len(series), _M4_QUANTILE))


def _without_trend(series: np.ndarray, season: int) -> np.ndarray:
    """Subtract the centred moving average over a season; for even seasons its ends have half weight."""
    # Running sums give the sum of every season in one subtraction.
    sums = np.append(0.0, series).cumsum()
    average = (sums[season:] - sums[:-season]) / season
    if season % 2 == 0:
        average = (average[1:] + average[:-1]) / 2
    half = season // 2
    return np.asarray(series[half : len(series) - half] - average)


def _strength(series: np.ndarray, season: int, quantile: float) -> float:
    """Return the autocorrelation at `season` after the trend is removed, 0 if it is not a season.

    The trend is the moving average over a season; removing it also removes random walks. At a season the
    autocorrelation is higher than at all shorter lags down to half of it, and peaks again at twice the lag.
    """
    if season < 2 or len(series) < 3 * season:
        return 0.0
    # The peak of a season may be this many steps wide.
    near = season // 8
    detrended = _without_trend(series, season)
    correlation = _autocorrelation(detrended, min(2 * season + near, len(detrended) - 1))
    peak = float(correlation[season])
    shorter = correlation[season // 2 : season - near]
    twice = correlation[2 * season - near :]
    limit = _limit(correlation, season, len(detrended), quantile)
    if peak <= limit or peak <= shorter.max():
        return 0.0
    return peak if len(twice) and twice.max() >= peak / 2 else 0.0


def _periods(series: np.ndarray) -> set[int]:
    """Return the periods at which the autocorrelation of the series peaks, up to a third of its length."""
    steps = np.arange(len(series))
    # A trend alone has high autocorrelation at every lag.
    slope = np.polyfit(steps, series, 1)
    correlation = _autocorrelation(series - np.polyval(slope, steps), len(series) // 3)
    periods = set()
    for period in range(3, len(correlation)):
        width = max(1, period // 4)
        near = correlation[period - width : period + width + 1]
        if correlation[period] <= 0 or correlation[period] < near.max():
            continue
        # A straight line does not remove the whole trend: move to the peak without the moving average.
        for _ in range(3):
            width = max(1, period // 4)
            detrended = _without_trend(series, period)
            around = _autocorrelation(detrended, min(period + width, len(detrended) - 1))
            low = max(3, period - width)
            better = low + int(around[low:].argmax())
            if better == period or 3 * better > len(series):
                break
            period = better
        periods.add(period)
    return periods


def find_season(values: ArrayLike, candidates: Iterable[int] = ()) -> int:
    """Return the season of a series in steps, 1 if there is none.

    First the `candidates` are tried (those of the calendar, such as 12 for months). If none is a season, the
    peaks of the autocorrelation between 3 and T/3 are tried. At a season the autocorrelation, after the
    moving average over the season is subtracted, exceeds the limit of `is_seasonal`, is higher than at
    shorter lags, and is at least half as high two seasons later. A period that no calendar suggests must
    exceed the 99 % limit and 0.3. If several seasons do not differ significantly, the shortest is returned.
    Raises DataError, OptionError.

    >>> wave = np.sin(np.arange(120) * 2 * np.pi / 12) + np.arange(120)
    >>> find_season(wave, [4, 12]), find_season(wave), find_season(np.arange(120.0))
    (12, 12, 1)
    """
    series = _unit(values)
    calendar = {whole_number("candidates", season, 1) for season in candidates}
    seasons = [season for season in sorted(calendar) if _strength(series, season, _M4_QUANTILE)]
    if not seasons and len(series) >= 9:
        seasons = [
            period
            for period in sorted(_periods(series))
            if _strength(series, period, _SEARCH_QUANTILE) >= _MIN_SEARCH_CORRELATION
        ]
    if not seasons:
        return 1
    detrended = _without_trend(series, seasons[-1])
    # Fewer pairs are summed at a long lag.
    pair_share = 1 - np.array(seasons) / len(detrended)
    correlation = _autocorrelation(detrended, seasons[-1])[seasons] / pair_share
    # Twice a season is a season too, so a longer one must be significantly better.
    least = correlation.max() - _M4_QUANTILE * np.sqrt(2 / len(detrended))
    return seasons[int(np.argmax(correlation >= least))]


def naive_quantiles(
    values: ArrayLike,
    horizon: int,
    season: int,
    levels: Sequence[float],
    *,
    seasons: Sequence[int] = (),
) -> dict[str, np.ndarray]:
    """Return the quantiles ``[Q, H]`` of the simple forecasts, by name.

    The quantiles are normal around each forecast. Their spread is that of the one-step errors in the series,
    and grows with the horizon as in Hyndman, Athanasopoulos, "Forecasting: Principles and Practice", 3rd ed.,
    5.5.

    Args:
        values: ``[T]``.
        horizon: The number of steps H.
        season: Steps of the season of the seasonal naive forecast, 1 for none.
        levels: The quantile levels.
        seasons: Further seasons, each with a seasonal naive forecast named by its steps.

    Returns:
        naive, seasonal naive, drift, and average: the mean of the last three seasons, three horizons or 30
        values, whichever is most.

    Raises:
        DataError: there is no finite value.
        OptionError: a number is out of range.

    >>> naive_quantiles([0.0, 1.0, 0.0, 1.0], 1, 1, [0.5, 0.9])["naive"].round(3).tolist()
    [[1.0], [2.282]]
    >>> list(naive_quantiles(range(9), 1, 2, [0.5], seasons=(4,)))
    ['naive', 'seasonal naive', 'seasonal naive 4', 'drift', 'average']
    """
    normal = np.array([NormalDist().inv_cdf(level) for level in levels])
    with np.errstate(all="ignore"):
        return {
            # In this order, because 0 · spread is 0 even where the product of the others overflows.
            name: np.clip(point + normal[:, None] * spread * growth, -_MAX, _MAX)
            for name, (point, spread, growth) in _spreads(
                values, horizon, (season, *seasons)
            ).items()
        }


def _spreads(
    values: ArrayLike, horizon: int, seasons: Sequence[int]
) -> dict[str, tuple[np.ndarray, float, np.ndarray]]:
    """Return each simple forecast ``[H]`` by name, its spread after one step, and how that grows ``[H]``."""
    series, known_at = _known(values)
    ahead = np.arange(1, horizon + 1)
    # Divide by a power of two, which keeps all digits: differences of huge values would overflow.
    power = int(np.frexp(np.abs(series[known_at]).max())[1].clip(-1000))
    small = np.ldexp(series, -power)
    # The mean of too few values is noisy, the mean of too many is outdated.
    recent = max(3 * seasons[0], 3 * horizon, 30)
    line = (small[known_at[-1]] - small[known_at[0]]) / max(1, np.ptp(known_at))
    mean = average(series, horizon, recent)
    # For each name: the forecast, its errors of one step, and how they grow over the horizon.
    points = {"naive": (naive(series, horizon), small[1:] - small[:-1], np.sqrt(ahead))}
    for steps in seasons:
        if steps > 1:
            name = "seasonal naive" if steps == seasons[0] else f"seasonal naive {steps}"
            point, errors = seasonal_naive(series, horizon, steps), small[steps:] - small[:-steps]
            points[name] = (point, errors, np.sqrt(1 + (ahead - 1) // steps))
    growth = np.sqrt(ahead * (1 + ahead / max(1, len(series) - 1)))
    points["drift"] = (drift(series, horizon), small[1:] - small[:-1] - line, growth)
    deviations = small[-recent:] - np.ldexp(mean[0], -power)
    points["average"] = (mean, deviations, np.full(horizon, np.sqrt(1 + 1 / recent)))
    spreads = {}
    for name, (point, errors, growth) in points.items():
        known = errors[np.isfinite(errors)]
        # The root mean square, divided by the largest error so that no square overflows.
        spread = np.abs(known).max(initial=0.0)
        if spread > 0:
            spread *= np.sqrt(np.mean((known / spread) ** 2))
        # The spread of errors in both directions may lie above the largest float; 0 · inf is not a number.
        spreads[name] = (point, float(np.ldexp(spread, power).clip(max=_MAX)), growth)
    return spreads
