"""Windows of a series as the forecaster reads them: each scaled by itself alone, a segment a step.

A window is the last values before an origin and as many steps after it as are forecast. Its location, scale
and seasonal naive forecast come from its own past, so nothing of what follows can leak. The network adds to
that naive forecast; its input is the window in segments (as SegRNN: S. Lin et al., arXiv:2308.11200), the
future's filled with the naive forecast.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from elman.errors import OptionError

__all__ = ["Prepared", "WindowRule", "Windows"]

FEW = 3
"""Changes in a window below which its unit is at least the usual one."""
LARGEST = 1 << 26
"""Numbers of one window at most."""
LIMIT = 12.0
"""Scaled inputs beyond this are as far as that."""
LONGER_PAST = 900
"""Steps before an origin whose changes are the longer past."""
NUMBERS = 1 << 22
"""Of windows that are prepared at once."""


class Prepared(NamedTuple):
    """Some windows, ready for the network."""

    inputs: np.ndarray
    """float32 ``[S, B, F]``: segments in time, the last ones those of the future."""
    base: np.ndarray
    """float64 ``[B, h]``: the naive forecast, in the transformed space."""
    unit: np.ndarray
    """float64 ``[B]``, above 0: what an output of 1 is worth there."""


@dataclass(frozen=True)
class WindowRule:
    """How long windows are and how they are scaled.

    >>> rule = WindowRule(horizon=4, season=2, long_season=0, segment=2, window=4, log=False)
    >>> found = rule.prepare(np.array([[1.0, 2.0, 3.0, 4.0]]))
    >>> found.base.tolist(), found.unit.tolist(), found.inputs.shape
    ([[3.0, 4.0, 3.0, 4.0]], [2.0], (4, 1, 10))
    """

    horizon: int
    season: int
    """Steps of the season whose values are repeated; 1 where there is none."""
    long_season: int
    """Steps of a longer season, 0 where there is none."""
    segment: int
    """Steps that one recurrent step reads."""
    window: int
    """Steps of the past, whole segments and seasons."""
    log: bool
    """Whether the values' logarithms are forecast."""
    covariates: int = 0
    """Numbers beside every value of past and future."""
    past: int = 0
    """The first of these that are known up to the origin alone."""
    static: int = 0
    """Numbers beside every series."""
    naive_season: int = 0
    """Steps of the season whose repetition forecasts are compared with; 0 where it is `season`."""
    nonnegative: bool = False
    """Whether no forecast is below 0, as no value was."""
    floor: bool = False
    """Whether a window most of whose changes are 0 has those of the longer past for its unit."""
    usual: float = 0.0
    """What windows of few values take for their unit: of the logarithms, or as a share of the level."""

    def __post_init__(self) -> None:
        wrong = {
            "horizon": not 1 <= self.horizon <= 1 << 16,
            "season": not 1 <= self.season <= self.window,
            "long_season": not 0 <= self.long_season <= self.window,
            "segment": not 1 <= self.segment <= self.window or self.window % self.segment != 0,
            "window": not 1 <= self.window <= 1 << 20,
            "covariates": not 0 <= self.covariates <= 1 << 16,
            "past": not 0 <= self.past <= self.covariates,
            "static": not 0 <= self.static <= 1 << 16,
            "naive_season": not 0 <= self.naive_season <= 1 << 20,
        }
        wrong["usual"] = not 0 <= self.usual < math.inf
        steps = self.window + self.horizon + self.segment
        wrong["window"] |= steps * (4 + self.covariates) > LARGEST
        for name, is_wrong in wrong.items():
            if is_wrong:
                raise OptionError(name, got=getattr(self, name), expected="what fits the window")

    @property
    def compared(self) -> int:
        """Steps of the season in reports: that of the seasonal naive forecast and of MASE."""
        return self.naive_season or self.season

    @property
    def ahead(self) -> int:
        """Segments of the future."""
        return math.ceil(self.horizon / self.segment)

    @property
    def reach(self) -> int:
        """Steps of the future, whole segments."""
        return self.ahead * self.segment

    @property
    def input_size(self) -> int:
        """Numbers that one recurrent step reads, F."""
        kinds = 3 + bool(self.long_season) + self.covariates
        return kinds * self.segment + self.ahead + 2 + self.static

    @property
    def at_once(self) -> int:
        """Windows that memory holds side by side."""
        return max(1, min(512, NUMBERS // ((self.window + self.reach) * (4 + self.covariates))))

    def transform(self, values: np.ndarray) -> np.ndarray:
        """Return values in the space in which they are forecast; what has no logarithm is missing."""
        return np.log(np.where(values > 0, values, np.nan)) if self.log else values

    def forecast(self, prepared: Prepared, answers: np.ndarray) -> np.ndarray:
        """Return the values that a network's answers ``[B, h, Q]`` stand for, finite whatever came."""
        most = 709.0 if self.log else float(np.finfo(np.float64).max)
        with np.errstate(over="ignore", invalid="ignore"):
            moved = prepared.base[..., None] + answers * prepared.unit[:, None, None]
        bounded: np.ndarray = np.nan_to_num(moved).clip(0.0 if self.nonnegative else -most, most)
        return np.exp(bounded) if self.log else bounded

    def prepare(
        self,
        past: np.ndarray,
        covariates: np.ndarray | None = None,
        static: np.ndarray | None = None,
        longer: np.ndarray | None = None,
    ) -> Prepared:
        """Return windows whose ``past [B, W]`` is transformed, NaN where a value is missing.

        ``covariates [B, W + reach, C]`` and ``static [B, S]`` are scaled already and finite; a unit is at
        least ``longer [B]``, where it is given.
        """
        B, W = past.shape
        s = self.season
        # by a power of two, which changes no digit: squares of great numbers would leave the finite range
        power = np.zeros((B, 1), np.int64) if self.log else _power(past)
        past = np.ldexp(past, -power)
        recent, count = _mean(past[:, -s:])
        location = np.where(count > 0, recent, _mean(past)[0])
        deviation = np.sqrt(_mean((past - location[:, None]) ** 2)[0])
        unit, count = _mean(abs(past[:, s:] - past[:, :-s]))
        unit = np.where(count > 0, unit, deviation)
        if longer is not None:
            unit = np.maximum(unit, np.ldexp(longer, -power[:, 0]))
        # two or three values say little of how much the next ones change
        typical = self.usual if self.log else self.usual * abs(location)
        unit = np.where(count < FEW, np.maximum(unit, typical), unit)
        # what rounding leaves of a constant is no unit
        least = 1e-5 if self.log else 1e-6
        unit = np.maximum(unit, np.maximum(0.02 * deviation, least))
        deviation = np.maximum(deviation, unit)
        last = self._last(past, location)
        repeated = np.tile(last, (1, math.ceil(self.reach / s)))[:, : self.reach]
        whole = np.concatenate([past, repeated], axis=1)
        before = _shifted(whole, s)
        level, change = (
            (whole - location[:, None]) / deviation[:, None],
            (whole - before) / unit[:, None],
        )
        change[:, W:] = 0
        if s == 1:
            level[:, W:] = 0
        kinds = [level, change]
        if self.long_season:
            longer = _shifted(whole, self.long_season)
            # where the horizon is longer than the season, the season before it again
            for first in range(W + self.long_season, W + self.reach, self.long_season):
                some = longer[:, first : first + self.long_season]
                some[:] = longer[:, first - self.long_season :][:, : some.shape[1]]
            kinds.append((longer - before) / unit[:, None])
        kinds.append(np.isnan(whole).astype(np.float64))
        rows = np.stack(kinds, axis=2)
        if covariates is not None and self.covariates:
            rows = np.concatenate([rows, covariates], axis=2)
            rows[:, W:, len(kinds) : len(kinds) + self.past] = 0
        rows = np.nan_to_num(rows, nan=0.0).clip(-LIMIT, LIMIT)
        steps = rows.reshape(B, -1, self.segment, rows.shape[2]).transpose(1, 0, 3, 2)
        S = len(steps)
        facts = np.zeros((S, B, self.ahead + 2 + self.static), np.float32)
        for segment in range(self.ahead):
            facts[S - self.ahead + segment, :, segment] = 1
        if self.log:
            facts[:, :, self.ahead] = np.log10(unit) / 2 + 0.5
        facts[:, :, self.ahead + 1] = np.log(unit / deviation) / 3
        if static is not None and self.static:
            facts[:, :, self.ahead + 2 :] = static.clip(-LIMIT, LIMIT)
        inputs = np.concatenate([steps.reshape(S, B, -1), facts], axis=2, dtype=np.float32)
        with np.errstate(over="ignore"):
            base = np.ldexp(repeated[:, : self.horizon], power)
            unit = np.ldexp(unit, power[:, 0]).clip(max=1e308)
        return Prepared(inputs, base, unit)

    def _last(self, past: np.ndarray, location: np.ndarray) -> np.ndarray:
        """Return the last known value at each place of the season, ``[B, s]``."""
        s = self.season
        last = past[:, -s:].copy()
        for first in range(past.shape[1] - 2 * s, -s, -s):
            missing = np.isnan(last)
            if not missing.any():
                break
            older = past[:, max(0, first) : first + s]
            older = np.pad(older, ((0, 0), (s - older.shape[1], 0)), constant_values=np.nan)
            last = np.where(missing, older, last)
        return np.where(np.isnan(last), location[:, None], last)


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the mean of the present numbers of each row, 0 where there is none, and how many."""
    present = np.isfinite(values)
    count = present.sum(axis=1)
    return np.where(present, values, 0.0).sum(axis=1) / np.maximum(count, 1), count


def _power(values: np.ndarray) -> np.ndarray:
    """Return the exponents ``[B, 1]`` of the least powers of two beyond the numbers of each row."""
    largest = np.where(np.isfinite(values), abs(values), 0.0).max(axis=1, keepdims=True)
    exponents = np.frexp(largest)[1].astype(np.int64)
    return np.asarray(exponents.clip(-1010, 1020))


def _shifted(whole: np.ndarray, steps: int) -> np.ndarray:
    earlier = np.full_like(whole, np.nan)
    earlier[:, steps:] = whole[:, :-steps]
    return earlier


@dataclass(frozen=True, eq=False)
class Windows:
    """Transformed series with room before and after, from which windows are cut at any origin."""

    rule: WindowRule
    values: tuple[np.ndarray, ...]
    """``[W + T + reach]`` each: NaN where there is nothing."""
    covariates: tuple[np.ndarray, ...] | None
    """``[W + T + reach, C]`` each, scaled, 0 where there is nothing."""
    static: np.ndarray | None
    """``[N, S]``, scaled."""
    changes: tuple[np.ndarray, ...] | None = None
    """``[2, W + T + reach + 1]`` each: number and sum of squares of the seasonal changes before a step."""

    @classmethod
    def of(
        cls,
        rule: WindowRule,
        values: Sequence[np.ndarray],
        covariates: Sequence[np.ndarray] | None = None,
        static: np.ndarray | None = None,
    ) -> Windows:
        """Return windows over ``values [T_i]`` and ``covariates [T_i + more, C]``."""
        room = (rule.window, rule.reach)
        padded = tuple(np.pad(rule.transform(one), room, constant_values=np.nan) for one in values)
        beside = None
        if covariates is not None and rule.covariates:
            beside = tuple(
                _fitted(one, rule.window, len(whole))
                for one, whole in zip(covariates, padded, strict=True)
            )
        changes = tuple(_summed(one, rule.season) for one in padded) if rule.floor else None
        return cls(rule, padded, beside, static, changes)

    def prepare(
        self, series: np.ndarray, origins: np.ndarray, trends: np.ndarray | None = None
    ) -> tuple[Prepared, np.ndarray]:
        """Return the windows before ``origins [B]`` of ``series [B]``, and the truth ``[B, h]`` after.

        An origin is the number of values before it. The truth is transformed, NaN where it is missing.
        With ``trends [B]`` a line is added to past and truth, so many seasonal changes of the window a
        season.
        """
        rule = self.rule
        W, length = rule.window, rule.window + rule.reach
        places = list(zip(series.tolist(), origins.tolist(), strict=True))
        whole = np.stack([self.values[n][at : at + length] for n, at in places])
        for row in np.flatnonzero(~np.isfinite(whole[:, :W]).any(axis=1)).tolist():
            # after a gap as long as the window: the last value before it
            n, at = places[row]
            known = self.values[n][:at]
            known = known[np.isfinite(known)][-1:]
            whole[row, : len(known)] = known
        s, longer = rule.season, None
        if self.changes is not None:
            # where most values are equal, a window without the others says nothing of their size
            with np.errstate(over="ignore", invalid="ignore"):
                changes = abs(whole[:, s:W] - whole[:, : W - s])
            still = 2 * (changes > 0).sum(axis=1) < np.isfinite(changes).sum(axis=1)
            past = [_change(self.changes[n], at + W, s) for n, at in places]
            longer = np.where(still, past, 0.0)
            trends = None if trends is None else np.where(still, 0.0, trends)
        if trends is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                change, _ = _mean(abs(whole[:, s:W] - whole[:, : W - s]))
                whole = whole + (trends * change / s)[:, None] * np.arange(-W, rule.reach)
        covariates = None
        if self.covariates is not None:
            covariates = np.stack([self.covariates[n][at : at + length] for n, at in places])
        static = None if self.static is None else self.static[series]
        prepared = rule.prepare(whole[:, :W], covariates, static, longer)
        return prepared, whole[:, W : W + rule.horizon]


def _summed(padded: np.ndarray, season: int) -> np.ndarray:
    """Return number and sum of squares of the known seasonal changes before each step, ``[2, T + 1]``."""
    with np.errstate(over="ignore", invalid="ignore"):
        changes = (padded[season:] - padded[:-season]) ** 2
    known = np.isfinite(changes)
    both = np.stack([known.astype(np.float64), np.where(known, changes, 0.0)])
    with np.errstate(over="ignore"):
        return np.pad(both, ((0, 0), (season + 1, 0))).cumsum(axis=1)


def _change(summed: np.ndarray, origin: int, season: int) -> float:
    """Return the root mean square seasonal change of an origin's longer past, 0 where none is known."""
    first = max(0, origin - LONGER_PAST + season)
    count, total = summed[:, origin] - summed[:, min(first, origin)]
    return math.sqrt(total / count) if count > 0 and 0 < total < math.inf else 0.0


def _fitted(covariates: np.ndarray, before: int, length: int) -> np.ndarray:
    """Return ``[T, C]`` with zeros `before` it and behind, `length` in all."""
    kept = covariates[: length - before]
    return np.pad(kept, ((before, length - before - len(kept)), (0, 0)))
