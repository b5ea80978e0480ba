"""Split in time: the windows of the series for training, validation and test.

Each series ends in two held-out stretches: the earlier one is for validation (it chooses the length of
training and the width of intervals), the later one for the test (it is measured once, after all choices).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from elman.errors import DataError
from elman.series.codec import ForecastCodec
from elman.series.plan import ForecastPlan
from elman.series.series import SeriesSet
from elman.series.window_rule import Prepared
from elman.series.windows import Windows

MAX_ORIGINS = 200
"""Origins in the held-out stretch of one series, at most."""
VALIDATION_WINDOWS = 400
"""Validation windows of all series together, because validation is done often."""
TEST_WINDOWS = 4000
"""Test windows of all series together, because the test is done once."""
MIN_TEST_ORIGINS = 6
"""Origins of each tested series, if there are so many series that only some are tested."""
HELD_OUT_SHARE = 0.15
"""Share of a series that is held out, if that is more than two horizons."""
MAX_SCALED_TRUTH = 1e9
"""Bound of the truth, in units of the window from the naive forecast, so that it stays finite."""


@dataclass(frozen=True, eq=False)
class Origins:
    """Windows, given by their series and their origins; those of a series are neighbours."""

    windows: Windows
    series: np.ndarray
    """int64 ``[N]``: the series of each window."""
    origins: np.ndarray
    """int64 ``[N]``: the number of values before each window's first forecast step."""

    def __len__(self) -> int:
        return len(self.series)

    @cached_property
    def firsts(self) -> np.ndarray:
        """The first window of each series, and behind them the number of windows."""
        changes = np.flatnonzero(np.diff(self.series)) + 1
        return np.concatenate([[0], changes, [len(self)]])

    def prepare(
        self, which: np.ndarray, trends: np.ndarray | None = None
    ) -> tuple[Prepared, np.ndarray]:
        """Prepare the windows at `which`, as `Windows.prepare`.

        The truth ``[B, h]`` is the distance from the naive forecast, in units of the window.
        """
        prepared, truth = self.windows.prepare(self.series[which], self.origins[which], trends)
        with np.errstate(over="ignore"):
            scaled = (truth - prepared.base) / prepared.unit[:, None]
        return prepared, scaled.clip(-MAX_SCALED_TRUTH, MAX_SCALED_TRUTH)

    def separate(self, steps: int) -> int:
        """Return how many windows can be chosen so that their origins are at least `steps` apart."""
        return sum(
            1 + int(self.origins[last - 1] - self.origins[first]) // steps
            for first, last in pairwise(self.firsts.tolist())
        )


def _joined(per_series: Sequence[tuple[int, np.ndarray]], windows: Windows) -> Origins | None:
    """Return the origins of several series, given with their index; None if there are none."""
    if not sum(len(origins) for _, origins in per_series):
        return None
    series = [np.full(len(origins), number) for number, origins in per_series]
    origins = [origins for _, origins in per_series]
    return Origins(windows, np.concatenate(series), np.concatenate(origins))


def held_out_steps(series: SeriesSet, horizon: int, min_past: int) -> tuple[int, ...]:
    """Return how many steps to hold out at the end of each series, for validation and test together.

    They are two or more, or 0 if the series is too short to leave enough for training.

    Args:
        series: The series.
        horizon: Steps to forecast.
        min_past: Values that training needs before its first origin.
    """
    counts = []
    for values in series.values:
        wanted = max(2 * horizon, round(HELD_OUT_SHARE * len(values)))
        # What training can spare: it needs a past, and some future to learn from.
        room = len(values) - min_past - max(1, horizon // 3)
        steps = wanted if wanted <= room else min(wanted, room // 2)
        known = np.isfinite(values)
        # After a long gap, most values may stand in the held-out end.
        enough = steps >= 2 and known[:-steps].sum() >= max(2, known.sum() / 2)
        counts.append(steps if enough else 0)
    return tuple(counts)


def origins_for_training(
    series: SeriesSet, codec: ForecastCodec, plan: ForecastPlan, held_out: Sequence[int]
) -> Origins:
    """Return every window whose past and future lie before the held-out steps.

    Raises:
        DataError: no series is long enough.
    """
    rule = codec.rule
    shortened = series.before(held_out).values
    per_series = []
    for number, values in enumerate(shortened):
        known = np.flatnonzero(np.isfinite(values))
        if len(known) < 2:
            continue
        # Origins from the first with enough past to the last with enough future.
        first = min(plan.min_past, max(1, len(values) - plan.min_future))
        origins = np.arange(first, len(values) - plan.min_future + 1)
        # Keep origins with a known value before them, and one after them within the horizon.
        # `known` is sorted, so the search counts the known values before each origin.
        before = np.searchsorted(known, origins)
        after = np.searchsorted(known, origins + rule.horizon)
        per_series.append((number, origins[(before > 0) & (after > before)]))
    origins_of_all = _joined(per_series, _without_last(codec.windows(series), held_out))
    if origins_of_all is None:
        most = max(int(np.isfinite(values).sum()) for values in shortened)
        raise DataError(
            "the series are too short to train on",
            got=f"{most} known value{'s' * (most != 1)} at most",
            expected="two or more in one series",
        )
    return origins_of_all


def _without_last(windows: Windows, counts: Sequence[int]) -> Windows:
    """Return windows of series whose last values, as many as `counts`, are missing."""
    values = [padded.copy() for padded in windows.values]
    for padded, count in zip(values, counts, strict=True):
        padded[len(padded) - windows.rule.reach - count :] = np.nan
    return replace(windows, values=tuple(values))


def origins_for_validation(
    series: SeriesSet, codec: ForecastCodec, held_out: Sequence[int]
) -> Origins | None:
    """Return the windows in the earlier half of the held-out steps, None if there are none."""
    tested = [last // 2 for last in held_out]
    # Share the validation windows among the series, so that the cost does not grow with their number.
    count = max(1, min(MAX_ORIGINS, VALIDATION_WINDOWS // len(held_out)))
    origins = _origins_between(series, codec, held_out, tested, count)
    if origins is None:
        return None
    # Hide the test values: the future of a late validation window would reach into them.
    return replace(origins, windows=_without_last(origins.windows, tested))


def origins_for_test(
    series: SeriesSet, codec: ForecastCodec, held_out: Sequence[int]
) -> Origins | None:
    """Return the windows in the later half of the held-out steps, None if there are none.

    If there are very many series, only some of them are tested, at several origins each.
    """
    count = max(MIN_TEST_ORIGINS, min(MAX_ORIGINS, TEST_WINDOWS // len(held_out)))
    # Test every n-th series only, if all together would have too many windows.
    every = -(-len(held_out) * count // TEST_WINDOWS)
    tested = [last // 2 if number % every == 0 else 0 for number, last in enumerate(held_out)]
    return _origins_between(series, codec, tested, [0] * len(held_out), count)


def _origins_between(
    series: SeriesSet, codec: ForecastCodec, begins: Sequence[int], ends: Sequence[int], count: int
) -> Origins | None:
    """Return up to `count` windows of each series in a stretch; `begins` and `ends` count from its end."""
    horizon, per_series = codec.rule.horizon, []
    for number, values in enumerate(series.values):
        length, last = len(values) - ends[number], begins[number] - ends[number]
        if not last:
            continue
        # The last origin has a whole horizon behind it, or half of a short stretch.
        latest = max(length - last, length - max(1, min(horizon, last // 2 or 1)))
        first = length - last
        if count == 1:
            first = latest = max(first, length - horizon)
        # Spread over the stretch; short stretches have fewer origins than `count`.
        origins = np.unique(np.linspace(first, latest, count).astype(np.int64))
        known = [bool(np.isfinite(values[o : min(length, o + horizon)]).any()) for o in origins]
        per_series.append((number, origins[known]))
    return _joined(per_series, codec.windows(series))
