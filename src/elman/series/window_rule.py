"""Which windows series need: their season, the segments and length that follow from it, logarithms or not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from elman.errors import OptionError
from elman.series.calendar import season_candidates
from elman.series.calendar_choice import calendar_tells
from elman.series.naive import find_season, is_seasonal
from elman.series.options import ForecasterOptions
from elman.series.series import SeriesSet
from elman.series.windows import WindowRule

__all__ = ["choose_rule", "usual_change"]

LOOKED_AT = 40
"""Series that are looked at for their season, spread over all of them."""
LONGEST_SEGMENT = 48
TOGETHER = 0.3
"""Correlation of changes a season apart from which the season is repeated."""
CLEARLY = 0.7
"""Share of the error of a season repeated below which a longer season is repeated in its place."""
LONGEST_SEASON = 1000
"""Steps of a season that series need not be as long as."""


def _share(series: Sequence[np.ndarray], season: int) -> float:
    fits = [values for values in series if len(values) >= 3 * season]
    return sum(find_season(values, (season,)) == season for values in fits) / max(1, len(fits))


def _weak(series: Sequence[np.ndarray], season: int) -> float:
    fits = [values for values in series if np.isfinite(values).sum() >= 3 * season]
    return sum(is_seasonal(values, season) for values in fits) / max(1, len(fits))


def _places(series: SeriesSet) -> np.ndarray:
    return np.unique(np.linspace(0, len(series) - 1, min(LOOKED_AT, len(series))).astype(int))


def _sample(series: SeriesSet) -> list[np.ndarray]:
    return [series.values[place] for place in _places(series)]


def _still(values: np.ndarray) -> bool:
    """Return whether most known values are as the one before."""
    changes = np.diff(values[np.isfinite(values)])
    return bool(len(changes) and np.mean(changes == 0) > 0.5)


def _seasons(series: SeriesSet) -> tuple[int, ...]:
    """Return the seasons that most of the series have, the shortest first."""
    some = [values for values in _sample(series) if np.isfinite(values).sum() >= 4]
    calendar = season_candidates(series.frequency)
    periods = [find_season(values, calendar) for values in some]
    if calendar:
        # rare events come back after any period now and then
        pairs = zip(periods, some, strict=True)
        periods = [1 if one not in calendar and _still(values) else one for one, values in pairs]
    found = Counter(periods)
    common = found.most_common(1)[0][0] if found else 1
    tried = {*calendar, common}
    if series.frequency.unit == "steps":
        # days in weeks and hours in days, where no date says so
        tried |= {common // 7 if common % 7 == 0 else 1, common * 7}
    seasons = {one for one in tried if one > 1 and _share(some, one) > 0.5} | {common}
    seasons.discard(1)
    # what is a season of a season needs less to be one
    seasons |= {
        longer
        for longer in tried
        if any(longer % one == 0 and longer > one for one in seasons) and _weak(some, longer) > 0.5
    }
    return tuple(sorted(seasons))


def _repeats(series: Sequence[np.ndarray], season: int, horizon: int) -> bool:
    """Return whether the last season repeated is the better naive forecast.

    It is where changes a season apart go together, or where over the horizon it comes nearer than the last
    value does.
    """
    if np.median([_together(values, season) for values in series]) >= TOGETHER:
        return True
    naive = repeated = 0.0
    for values in series:
        scale = np.nanmax(abs(values), initial=0.0) or 1.0
        known = values / scale
        for ahead in np.unique(np.linspace(1, horizon, 12).astype(int)).tolist():
            back = season * -(-ahead // season)
            if len(known) > back:
                naive += _distance(known, ahead)
                repeated += _distance(known, back)
    return repeated < naive


def _apart(series: Sequence[np.ndarray], season: int, horizon: int) -> float:
    """Return the median mean distance of values from their season's last ones, over the horizon."""
    steps = [season * -(-ahead // season) for ahead in (1, (1 + horizon) // 2, horizon)]
    scaled = [values / (np.nanmax(abs(values), initial=0.0) or 1.0) for values in series]
    fits = [values for values in scaled if len(values) > max(steps)]
    found = [np.mean([_distance(values, back) for back in steps]) for values in fits]
    return float(np.median(found)) if found else np.inf


def _together(values: np.ndarray, season: int) -> float:
    """Return the correlation of changes with those a season before."""
    changes = np.diff(values / (np.nanmax(abs(values), initial=0.0) or 1.0))
    later, earlier = changes[season:], changes[:-season]
    known = np.isfinite(later) & np.isfinite(earlier)
    later, earlier = later[known], earlier[known]
    if len(later) < 3 or not later.std() or not earlier.std():
        return 0.0
    return float(np.corrcoef(later, earlier)[0, 1])


def _distance(values: np.ndarray, steps: int) -> float:
    apart = abs(values[steps:] - values[:-steps])
    apart = apart[np.isfinite(apart)]
    return float(apart.mean()) if len(apart) else 0.0


def _calendar_tells(series: SeriesSet, season: int, horizon: int, log: bool) -> bool:
    if series.starts.dtype.kind != "M":
        return False
    pairs = []
    for place in _places(series):
        values, times = series.values[place], series.times[place]
        known = np.log(np.where(values > 0, values, np.nan)) if log else values
        pairs.append((times[: len(values)], known))
    return calendar_tells(pairs, series.frequency, season, horizon)


def choose_rule(series: SeriesSet, options: ForecasterOptions) -> tuple[WindowRule, bool]:
    """Return how windows of `series` are cut and scaled, and whether stamps are read; raises OptionError.

    The season is the shortest one that most series have (`elman.metrics.find_season`) and whose repetition
    comes nearer over the horizon than the last value, or a longer one that comes clearly nearer than this;
    a longer one that it divides, or where there is no shorter one, is read too. A segment is a season, or the
    largest part of it up to 48 steps. Logarithms are taken where every value is above 0 and the spread of a
    stretch grows with its level. Stamps are read where the options ask for it, where most values are equal
    to the one before, and where the calendar explains errors of the naive forecast.
    """
    horizon, longest = options.horizon, max(map(len, series.values))
    some = [values for values in _sample(series) if np.isfinite(values).sum() > 1]
    seasons = _seasons(series) if options.season is None else (options.season,)
    bases = [one for one in seasons if options.season or _repeats(some, one, horizon)]
    season = bases[0] if bases else 1
    for other in bases[1:]:
        # a week repeated may come much nearer than a day repeated
        if _apart(some, other, horizon) < CLEARLY * _apart(some, season, horizon):
            season = other
    if season > max(LONGEST_SEASON, longest):
        raise OptionError(
            "season", got=season, expected=f"at most {longest}, the steps of the longest series"
        )
    longer = [other for other in seasons if other > season and other % season == 0]
    long_season = longer[-1] if longer and 2 * longer[-1] <= longest - horizon else 0
    segment = max(size for size in range(1, min(season, LONGEST_SEGMENT) + 1) if season % size == 0)
    shortest = next(iter(season_candidates(series.frequency)), 1)
    if season == 1 and shortest <= min(horizon, LONGEST_SEGMENT):
        segment = shortest
    # some seasons of the past for every season ahead
    repeats = 4 if season <= LONGEST_SEGMENT else 2
    wanted = max(2 * long_season, repeats * season, horizon + season)
    if season == 1:
        wanted = max(2 * long_season, 4 * horizon, 24 * segment)
    room = max(2 * season, long_season, (longest - horizon) // 2)
    window = options.window or min(wanted, room)
    window = max(segment, -(-window // segment) * segment, season, long_season)
    low = min((float(np.nanmin(v)) for v in series.values if np.isfinite(v).any()), default=0.0)
    if options.transform == "log" and not low > 0:
        raise OptionError("transform", got="log", expected=f"none: there is a value of {low:g}")
    log = options.transform == "log" or (
        options.transform == "auto" and low > 0 and _grows(series, season)
    )
    calendar = options.calendar == "yes"
    if options.calendar == "auto":
        # Days that differ from all others, as those of rare events, are seen in the calendar first.
        still = bool(some) and float(np.mean([_still(values) for values in some])) > 0.5
        calendar = still or _calendar_tells(series, season, horizon, log)
    calendar = calendar and series.starts.dtype.kind == "M"
    # forecasts are compared with a repeated season wherever there may be one
    compared = 0 if season > 1 else next(iter(seasons), shortest)
    rule = WindowRule(
        horizon,
        season,
        long_season,
        segment,
        window,
        log,
        naive_season=compared,
        nonnegative=low >= 0 and not log,
        floor=True,
    )
    return rule, calendar


def usual_change(series: Sequence[np.ndarray], rule: WindowRule) -> float:
    """Return how much values change from season to season: of the logarithms, or as a share of the level."""
    found = []
    for values in series:
        scale = 1.0 if rule.log else np.nanmax(abs(values), initial=0.0) or 1.0
        known = rule.transform(values) if rule.log else values / scale
        known = np.where(np.isfinite(known), known, np.nan)
        level = (
            1.0 if rule.log else float(np.nanmean(abs(known))) if np.isfinite(known).any() else 0.0
        )
        if len(known) > rule.season and level > 0:
            found.append(_distance(known, rule.season) / level)
    return float(np.median(found)) if found else 0.0


def _grows(series: SeriesSet, season: int) -> bool:
    """Return whether stretches at a higher level spread more, of values above 0."""
    if len(series) >= 10:
        return True
    slopes = []
    for values in series.values:
        known = values[np.isfinite(values)]
        known = known / known.max(initial=0.0)  # squares of great numbers would leave the range
        size = max(season, 8)
        stretches = known[: len(known) // size * size].reshape(-1, size)
        if len(stretches) < 4:
            continue
        level, spread = np.log(stretches.mean(axis=1)), np.log(stretches.std(axis=1) + 1e-12)
        if np.ptp(level) > 0.05:
            slopes.append(float(np.polyfit(level, spread, 1)[0]))
    return bool(slopes) and float(np.median(slopes)) > 0.5
