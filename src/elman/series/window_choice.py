"""Choice of the window rule from the series: season, segment, window length, logarithms, calendar."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from elman.errors import OptionError
from elman.series.calendar import calendar_features, season_candidates
from elman.series.frequency import Frequency
from elman.series.naive import find_season, is_seasonal
from elman.series.options import ForecasterOptions
from elman.series.series import SeriesSet
from elman.series.window_rule import WindowRule

SAMPLE_SERIES = 40
"""Series that are examined for their season, spread evenly over all of them."""
MAX_SEGMENT = 48
"""Steps of a segment, at most."""
MIN_CHANGE_CORRELATION = 0.3
"""Correlation of changes a season apart from which the season is repeated."""
LONGER_SEASON_ERROR = 0.7
"""Share of a season's error below which a longer season is repeated instead."""
MAX_FREE_SEASON = 1000
"""Steps of a season that may be longer than every series."""
MIN_LEVEL_SERIES = 10
"""Series from which logarithms are taken without a test, because levels of many series differ."""

MIN_EXPLAINED_SHARE = 0.05
"""Share of the naive forecast's squared error that the calendar must explain."""
MIN_VALUES_PER_WEIGHT = 5
"""Values in each half of a series for every weight that is fitted to them."""


class _Seasons(NamedTuple):
    """The seasons that a rule uses, in steps."""

    repeated: int
    """The season of the naive forecast, 1 for none."""
    long: int
    """A longer season that is an input too, 0 for none."""
    reported: int
    """The season of the seasonal naive forecast in reports, if it is not `repeated`; otherwise 0."""


def choose_rule(series: SeriesSet, options: ForecasterOptions) -> tuple[WindowRule, bool]:
    """Choose the window rule, and whether calendar features are inputs.

    The season is the shortest one that most series have (`elman.series.naive.find_season`) and whose
    repetition is a better forecast than the last value, or a longer one with a clearly lower error. A
    longer season is an input too if the first divides it, or if there is no other. A segment is a season,
    or its largest divisor up to 48 steps. Logarithms are taken if every value is above 0 and the spread
    grows with the level.

    With ``calendar="auto"``, calendar features are inputs if they explain errors of the naive forecast, or if
    most values equal the one before.

    Raises:
        OptionError: the season is longer than every series, or a value has no logarithm.
    """
    horizon, longest = options.horizon, max(map(len, series.values))
    seasons = _choose_seasons(series, options, longest)
    segment = _choose_segment(series, seasons.repeated, horizon)
    window = options.window or _window_length(seasons, segment, horizon, longest)
    # Round up to whole segments, and read at least both seasons once.
    window = max(segment, -(-window // segment) * segment, seasons.repeated, seasons.long)
    lowest = series.lowest
    if options.transform == "log" and not lowest > 0:
        expected = f"none: there is a value of {lowest:g}"
        raise OptionError("transform", got="log", expected=expected)
    log = options.transform == "log" or (
        options.transform == "auto" and lowest > 0 and _spread_grows(series, seasons.repeated)
    )
    rule = WindowRule(
        horizon,
        seasons.repeated,
        seasons.long,
        segment,
        window,
        log,
        naive_season=seasons.reported,
        nonnegative=lowest >= 0 and not log,
        floor=True,
    )
    return rule, _reads_calendar(series, options, rule)


def usual_change(series: Sequence[np.ndarray], rule: WindowRule) -> float:
    """Return the usual change from season to season: of logarithms, or as a share of the level."""
    changes = []
    for values in series:
        scaled = rule.transform(values) if rule.log else _scaled(values)
        scaled = np.where(np.isfinite(scaled), scaled, np.nan)
        # A change of logarithms is relative already; other changes are divided by the level.
        level = 1.0
        if not rule.log:
            level = float(np.nanmean(abs(scaled))) if np.isfinite(scaled).any() else 0.0
        if len(scaled) > rule.season and level > 0:
            changes.append(_mean_change(scaled, rule.season) / level)
    return float(np.median(changes)) if changes else 0.0


def _scaled(values: np.ndarray) -> np.ndarray:
    """Return values divided by the largest absolute one, so that no square overflows."""
    return np.asarray(values / (np.nanmax(abs(values), initial=0.0) or 1.0))


def _sample_numbers(series: SeriesSet) -> list[int]:
    count = min(SAMPLE_SERIES, len(series))
    numbers: list[int] = np.unique(np.linspace(0, len(series) - 1, count).astype(int)).tolist()
    return numbers


def _sample(series: SeriesSet, known: int) -> list[np.ndarray]:
    """Return the values of some series, of those with at least so many known ones."""
    sample = (series.values[number] for number in _sample_numbers(series))
    return [values for values in sample if np.isfinite(values).sum() >= known]


def _mostly_unchanged(values: np.ndarray) -> bool:
    """Return whether most known values equal the one before, as counts of rare events do."""
    # Compare each known value with the known one before it, across gaps.
    changes = np.diff(values[np.isfinite(values)])
    return bool(len(changes) and np.mean(changes == 0) > 0.5)


def has_rare_events(series: SeriesSet) -> bool:
    """Return whether most values equal the one before, in most series."""
    sample = _sample(series, 2)
    return bool(sample) and float(np.mean([_mostly_unchanged(values) for values in sample])) > 0.5


def _mean_change(values: np.ndarray, steps: int) -> float:
    """Return the mean absolute change of the values after `steps`, 0 if none is known."""
    changes = abs(values[steps:] - values[:-steps])
    changes = changes[np.isfinite(changes)]
    return float(changes.mean()) if len(changes) else 0.0


def _choose_seasons(series: SeriesSet, options: ForecasterOptions, longest: int) -> _Seasons:
    horizon = options.horizon
    sample = _sample(series, 2)
    seasons = _plausible_seasons(series) if options.season is None else (options.season,)
    better = [s for s in seasons if options.season or _beats_last_value(sample, s, horizon)]
    season = better[0] if better else 1
    for other in better[1:]:
        # Repeating a week may be a much better forecast than repeating a day.
        error = _repetition_error(sample, season, horizon)
        if _repetition_error(sample, other, horizon) < LONGER_SEASON_ERROR * error:
            season = other
    if season > max(MAX_FREE_SEASON, longest):
        expected = f"at most {longest}, the steps of the longest series"
        raise OptionError("season", got=season, expected=expected)
    # A longer season of whole shorter ones, such as a week of days, is read as a further input.
    longer = [other for other in seasons if other > season and other % season == 0]
    long_season = longer[-1] if longer and 2 * longer[-1] <= longest - horizon else 0
    # Reports show a seasonal naive forecast even if the last value is the better one.
    shortest = next(iter(season_candidates(series.frequency)), 1)
    reported = 0 if season > 1 else next(iter(seasons), shortest)
    return _Seasons(season, long_season, reported)


def _plausible_seasons(series: SeriesSet) -> tuple[int, ...]:
    """Return the seasons that most of the series have, shortest first."""
    sample = _sample(series, 4)
    calendar = season_candidates(series.frequency)
    # One vote for each sampled series.
    periods = [find_season(values, calendar) for values in sample]
    if calendar:
        # Rare events repeat after any period by chance.
        periods = [
            1 if period not in calendar and _mostly_unchanged(values) else period
            for period, values in zip(periods, sample, strict=True)
        ]
    common = Counter(periods).most_common(1)[0][0] if periods else 1
    tried = {*calendar, common}
    if series.frequency.unit == "steps":
        # Without dates, try days within weeks and hours within days.
        tried |= {common // 7 if common % 7 == 0 else 1, common * 7}
    seasons = {s for s in tried if s > 1 and _found_share(sample, s) > 0.5} | {common}
    seasons.discard(1)
    # A multiple of a season needs only the weaker test of M4.
    seasons |= {
        longer
        for longer in tried
        if any(longer % season == 0 and longer > season for season in seasons)
        and _seasonal_share(sample, longer) > 0.5
    }
    return tuple(sorted(seasons))


def _found_share(series: Sequence[np.ndarray], season: int) -> float:
    """Return the share of the long enough series in which `find_season` finds this season."""
    fits = [values for values in series if len(values) >= 3 * season]
    return sum(find_season(values, (season,)) == season for values in fits) / max(1, len(fits))


def _seasonal_share(series: Sequence[np.ndarray], season: int) -> float:
    """Return the share of the long enough series that M4's test calls seasonal."""
    fits = [values for values in series if np.isfinite(values).sum() >= 3 * season]
    return sum(is_seasonal(values, season) for values in fits) / max(1, len(fits))


def _beats_last_value(series: Sequence[np.ndarray], season: int, horizon: int) -> bool:
    """Return whether the last season repeated is a better forecast than the last value.

    It is if changes a season apart correlate, or if its error over the horizon is lower.
    """
    if np.median([_change_correlation(v, season) for v in series]) >= MIN_CHANGE_CORRELATION:
        return True
    naive = repeated = 0.0
    for values in map(_scaled, series):
        # A dozen steps ahead are enough to compare both over the horizon.
        for ahead in np.unique(np.linspace(1, horizon, 12).astype(int)).tolist():
            # The seasonal naive forecast repeats the value whole seasons before.
            back = season * -(-ahead // season)
            if len(values) > back:
                naive += _mean_change(values, ahead)
                repeated += _mean_change(values, back)
    return repeated < naive


def _repetition_error(series: Sequence[np.ndarray], season: int, horizon: int) -> float:
    """Return the median over series of the mean error of the last season repeated over the horizon."""
    steps = [season * -(-ahead // season) for ahead in (1, (1 + horizon) // 2, horizon)]
    fits = [values for values in map(_scaled, series) if len(values) > max(steps)]
    errors = [np.mean([_mean_change(values, back) for back in steps]) for values in fits]
    return float(np.median(errors)) if errors else np.inf


def _change_correlation(values: np.ndarray, season: int) -> float:
    """Return the correlation of changes with those a season before."""
    changes = np.diff(_scaled(values))
    later, earlier = changes[season:], changes[:-season]
    known = np.isfinite(later) & np.isfinite(earlier)
    later, earlier = later[known], earlier[known]
    if len(later) < 3 or not later.std() or not earlier.std():
        return 0.0
    return float(np.corrcoef(later, earlier)[0, 1])


def _choose_segment(series: SeriesSet, season: int, horizon: int) -> int:
    shortest = next(iter(season_candidates(series.frequency)), 1)
    if season == 1 and shortest <= min(horizon, MAX_SEGMENT):
        return shortest
    return max(size for size in range(1, min(season, MAX_SEGMENT) + 1) if season % size == 0)


def _window_length(seasons: _Seasons, segment: int, horizon: int, longest: int) -> int:
    """Return how many steps of the past to read, before they are rounded up to whole segments."""
    season, long = seasons.repeated, seasons.long
    repeats = 4 if season <= MAX_SEGMENT else 2
    wanted = max(2 * long, repeats * season, horizon + season)
    if season == 1:
        wanted = max(2 * long, 4 * horizon, 24 * segment)
    # Leave half of the longest series for training windows at different origins.
    room = max(2 * season, long, (longest - horizon) // 2)
    return min(wanted, room)


def _spread_grows(series: SeriesSet, season: int) -> bool:
    """Return whether the spread of positive values grows with their level."""
    if len(series) >= MIN_LEVEL_SERIES:
        return True
    slopes = []
    for values in series.values:
        known = values[np.isfinite(values)]
        known = known / known.max(initial=0.0)  # squares of huge values would overflow
        # Compare stretches of a season, or of 8 values: shorter ones show no spread.
        size = max(season, 8)
        stretches = known[: len(known) // size * size].reshape(-1, size)
        if len(stretches) < 4:
            continue
        level, spread = np.log(stretches.mean(axis=1)), np.log(stretches.std(axis=1) + 1e-12)
        if np.ptp(level) > 0.05:
            # The slope is 1 if the spread is proportional to the level, and 0 if it does not depend on it.
            slopes.append(float(np.polyfit(level, spread, 1)[0]))
    return bool(slopes) and float(np.median(slopes)) > 0.5


def _reads_calendar(series: SeriesSet, options: ForecasterOptions, rule: WindowRule) -> bool:
    if options.calendar == "no" or series.starts.dtype.kind != "M":
        return False
    if options.calendar == "yes":
        return True
    if has_rare_events(series):
        # The errors of rare events hide their calendar from the test below.
        return True
    numbers = _sample_numbers(series)
    pairs = [(series.times[number], rule.transform(series.values[number])) for number in numbers]
    return calendar_explains_errors(pairs, series.frequency, rule.season, rule.horizon)


def calendar_explains_errors(
    series: Iterable[tuple[np.ndarray, np.ndarray]], frequency: Frequency, season: int, horizon: int
) -> bool:
    """Return whether the calendar explains errors of the seasonal naive forecast, in most series.

    A linear model of the calendar features is fitted to the errors in one half of a series and forecasts
    those in the other half. A series votes yes if this helps in both halves.

    Args:
        series: The stamps and the transformed values ``[T]`` of each series.
        frequency: The frequency of all series.
        season: Steps of the season that the naive forecast repeats, 1 for the last value.
        horizon: Steps to forecast; the error in the middle of them is used.
    """
    # Whole seasons back from the middle of the horizon.
    back = season * -(-max(1, horizon // 2) // season)
    votes = [
        _explains(values[back:] - values[:-back], calendar_features(times[back:], frequency))
        for times, values in series
        if len(values) > back
    ]
    return bool(votes) and float(np.mean(votes)) > 0.5


def _explains(errors: np.ndarray, features: np.ndarray) -> bool:
    known = np.isfinite(errors)
    errors, features = errors[known], features[known]
    half, width = len(errors) // 2, features.shape[1]
    if not width or half < MIN_VALUES_PER_WEIGHT * (width + 1):
        return False
    errors = errors / (abs(errors).max() or 1.0)  # squares of huge errors would overflow
    # [T, 1 + C]
    design = np.column_stack([np.ones(len(errors)), features])
    for own, other in ((slice(half), slice(half, None)), (slice(half, None), slice(half))):
        # Fit on one half, measure on the other: features that fit by chance do not pass.
        weights = np.linalg.lstsq(design[other], errors[other], rcond=None)[0]
        unexplained = errors[own] - design[own] @ weights
        around_mean = errors[own] - errors[other].mean()
        share = 1 - MIN_EXPLAINED_SHARE
        if (unexplained**2).sum() > share * (around_mean**2).sum() or not around_mean.any():
            return False
    return True
