"""The windows of the series that a forecaster is trained on, validated and calibrated on, and tested on.

Each series ends in two held-out stretches of time: the earlier one validates (it chooses the length of
training and the width of intervals), the later one tests (it is measured once, after all choices).
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
from elman.series.windows import Prepared, Windows

__all__ = [
    "Origins",
    "held_out_steps",
    "origins_to_test",
    "origins_to_validate",
    "training_origins",
]

MAX_ORIGINS = 24
"""Origins of one series at which a held-out stretch is forecast at most."""
VALIDATION_WINDOWS = 400
"""Windows of all series together that are enough to validate on, for this is done often."""
TEST_WINDOWS = 4000
"""Windows of all series together that are enough to test on, for this is done once."""
TEST_ORIGINS = 6
"""Origins of each series in a test of so many series that only some are tested."""
HELD_OUT_SHARE = 0.15
"""Share of a series that is held out where it is more than two horizons."""
FINITE = 1e9
"""Truth farther from the naive forecast, in units of the window, is as far as that."""


@dataclass(frozen=True, eq=False)
class Origins:
    """Windows by series and origin, and how much each counts."""

    windows: Windows
    series: np.ndarray
    origins: np.ndarray

    def __len__(self) -> int:
        return len(self.series)

    @cached_property
    def firsts(self) -> np.ndarray:
        """Where the windows of each series begin, and the end."""
        changes = np.flatnonzero(np.diff(self.series)) + 1
        return np.concatenate([[0], changes, [len(self)]])

    def prepare(
        self, places: np.ndarray, trends: np.ndarray | None = None
    ) -> tuple[Prepared, np.ndarray]:
        """Return windows, and their truth ``[B, h]`` in units of each from its naive forecast."""
        prepared, truth = self.windows.prepare(self.series[places], self.origins[places], trends)
        with np.errstate(over="ignore"):
            scaled = (truth - prepared.base) / prepared.unit[:, None]
        return prepared, scaled.clip(-FINITE, FINITE)

    def apart(self, steps: int) -> int:
        """Return how many windows there are of which none begins within so many steps of another."""
        return sum(
            1 + int(self.origins[last - 1] - self.origins[first]) // steps
            for first, last in pairwise(self.firsts.tolist())
        )


def held_out_steps(series: SeriesSet, horizon: int, least_past: int) -> tuple[int, ...]:
    """Return how many steps of each series are held out at its end, as many as leave enough to train on.

    They are two or more, one stretch to validate and one to test; 0 where a series is too short for that.
    """
    found = []
    for values in series.values:
        wanted = max(2 * horizon, round(HELD_OUT_SHARE * len(values)))
        room = len(values) - least_past - max(1, horizon // 3)
        steps = wanted if wanted <= room else min(wanted, room // 2)
        known = np.isfinite(values)
        # after a long gap most values may stand at the end
        enough = steps >= 2 and known[:-steps].sum() >= max(2, known.sum() / 2)
        found.append(steps if enough else 0)
    return tuple(found)


def training_origins(
    series: SeriesSet, codec: ForecastCodec, plan: ForecastPlan, held: Sequence[int]
) -> Origins:
    """Return every window whose past and future lie before the steps `held` out; raises DataError."""
    rule, found = codec.rule, []
    values = [one[: len(one) - last] for one, last in zip(series.values, held, strict=True)]
    for place, one in enumerate(values):
        known = np.flatnonzero(np.isfinite(one))
        if len(known) < 2:
            continue
        first = min(plan.least_past, max(1, len(one) - plan.least_future))
        origins = np.arange(first, len(one) - plan.least_future + 1)
        # a value at least before it, and one after it within the horizon
        before = np.searchsorted(known, origins)
        after = np.searchsorted(known, origins + rule.horizon)
        origins = origins[(before > 0) & (after > before)]
        found.append((np.full(len(origins), place), origins))
    if not sum(len(origins) for _, origins in found):
        most = max(int(np.isfinite(one).sum()) for one in series.values)
        raise DataError(
            "the series are too short to train on",
            got=f"{most} known value{'s' * (most != 1)} at most",
            expected="two or more in one series",
        )
    who, origins = (np.concatenate(some) for some in zip(*found, strict=True))
    beside = codec.windows(series)
    cut = tuple(
        _without(whole, last + rule.reach) for whole, last in zip(beside.values, held, strict=True)
    )
    return Origins(replace(beside, values=cut), who, origins)


def _without(padded: np.ndarray, last: int) -> np.ndarray:
    """Return `padded` with its last values missing."""
    kept = padded.copy()
    kept[len(kept) - last :] = np.nan
    return kept


def origins_to_validate(
    series: SeriesSet, codec: ForecastCodec, held: Sequence[int]
) -> Origins | None:
    """Return windows in the earlier half of what is `held` out of each series, None where there is none."""
    tested = [last // 2 for last in held]
    count = max(1, min(MAX_ORIGINS, VALIDATION_WINDOWS // len(held)))
    found = _origins_between(series, codec, held, tested, count)
    if found is None:
        return None
    whole, reach = found.windows, codec.rule.reach
    # the truth of a late window would reach into the test
    cut = tuple(
        _without(values, last + reach) for values, last in zip(whole.values, tested, strict=True)
    )
    return replace(found, windows=replace(whole, values=cut))


def origins_to_test(series: SeriesSet, codec: ForecastCodec, held: Sequence[int]) -> Origins | None:
    """Return windows in the later half of what is `held` out of each series, None where there is none.

    Of very many series only some are tested, at several origins each.
    """
    count = max(TEST_ORIGINS, min(MAX_ORIGINS, TEST_WINDOWS // len(held)))
    apart = -(-len(held) * count // TEST_WINDOWS)
    tested = [last // 2 if place % apart == 0 else 0 for place, last in enumerate(held)]
    return _origins_between(series, codec, tested, [0] * len(held), count)


def _origins_between(
    series: SeriesSet, codec: ForecastCodec, begins: Sequence[int], ends: Sequence[int], count: int
) -> Origins | None:
    """Return `count` windows of each series in the stretch that `begins` and `ends` before its end."""
    horizon, found = codec.rule.horizon, []
    for place, values in enumerate(series.values):
        length, last = len(values) - ends[place], begins[place] - ends[place]
        if not last:
            continue
        latest = max(length - last, length - max(1, min(horizon, last // 2 or 1)))
        first = length - last
        if count == 1:
            first = latest = max(first, length - horizon)
        origins = np.unique(np.linspace(first, latest, count).astype(np.int64))
        known = [bool(np.isfinite(values[o : min(length, o + horizon)]).any()) for o in origins]
        found.append((np.full(sum(known), place), origins[known]))
    if not sum(len(origins) for _, origins in found):
        return None
    who, origins = (np.concatenate(some) for some in zip(*found, strict=True))
    return Origins(codec.windows(series), who, origins)
