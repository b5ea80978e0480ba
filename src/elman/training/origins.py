"""Which windows of the series a forecaster is trained on, and which it is measured and calibrated on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from elman._errors import DataError
from elman.data.forecast import ForecastCodec
from elman.data.series import SeriesSet
from elman.data.windows import Prepared, Windows
from elman.training.plan import ForecastPlan

__all__ = ["Origins", "held_out_origins", "held_out_steps", "training_origins"]

MOST_ORIGINS = 24
"""Origins of one series at which the held-out part is forecast."""
HELD_OUT_WINDOWS = 400
"""Windows of all series together that are enough to measure on."""
HELD_OUT_SHARE = 0.15
"""Share of a series that is held out where it is more than the horizon, and series are few."""
FEW_SERIES = 50
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

    @property
    def halves(self) -> np.ndarray:
        """Which windows are of the first half: of the series, or of a single one's time; bool ``[N]``."""
        if len(self.firsts) > 2:
            return np.asarray(self.series % 2 == 0)
        return np.arange(len(self)) < len(self) / 2

    def apart(self, steps: int) -> int:
        """Return how many windows there are of which none begins within so many steps of another."""
        return sum(
            1 + int(self.origins[last - 1] - self.origins[first]) // steps
            for first, last in pairwise(self.firsts.tolist())
        )


def held_out_steps(series: SeriesSet, horizon: int, least_past: int) -> tuple[int, ...]:
    """Return how many steps of each series are held out at its end, as many as leave enough to train on."""
    found = []
    for values in series.values:
        wanted = horizon
        if len(series) < FEW_SERIES:
            wanted = max(horizon, round(HELD_OUT_SHARE * len(values)))
        room = len(values) - least_past - max(1, horizon // 3)
        found.append(wanted if wanted <= room else max(0, min(wanted, room // 2)))
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
        raise DataError(
            "the series are too short to train on",
            got=f"at most {max(map(len, series.values))} values",
            expected="at least 3",
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


def held_out_origins(
    series: SeriesSet, codec: ForecastCodec, held: Sequence[int]
) -> Origins | None:
    """Return the windows in the held-out end of each series, None where none has one."""
    rule, found = codec.rule, []
    count = max(1, min(MOST_ORIGINS, HELD_OUT_WINDOWS // len(held)))
    for place, (values, last) in enumerate(zip(series.values, held, strict=True)):
        if not last:
            continue
        length = len(values)
        latest = max(length - last, length - max(1, min(rule.horizon, last // 2 or 1)))
        latest = length - rule.horizon if last >= rule.horizon and count == 1 else latest
        origins = np.unique(np.linspace(length - last, latest, count).astype(np.int64))
        origins = origins[[bool(np.isfinite(values[o : o + rule.horizon]).any()) for o in origins]]
        found.append((np.full(len(origins), place), origins))
    if not sum(len(origins) for _, origins in found):
        return None
    who, origins = (np.concatenate(some) for some in zip(*found, strict=True))
    return Origins(codec.windows(series), who, origins)
