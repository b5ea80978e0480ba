"""Windows of series as the forecaster reads them, cut out of padded series at any origin.

`elman.series.window_rule` scales them and arranges them as inputs of the network. It names the shapes, too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from elman.series.autoregression import Ridge
from elman.series.window_rule import Prepared, WindowRule, known_mean

LONG_PAST_STEPS = 900
"""Steps before an origin that determine the least unit of a window whose values mostly do not change."""


class CutWindows(NamedTuple):
    """Windows as they are cut out of their series, before they are scaled."""

    values: np.ndarray
    """``[B, W + reach]``, transformed, NaN where missing."""
    covariates: np.ndarray | None
    """``[B, W + reach, C]``, scaled."""
    static: np.ndarray | None
    """``[B, S]``, scaled."""
    least_unit: np.ndarray | None
    """``[B]``: a lower bound of each window's unit."""


@dataclass(frozen=True, eq=False)
class Windows:
    """Transformed and padded series, from which windows are cut at any origin."""

    rule: WindowRule
    values: tuple[np.ndarray, ...]
    """``[W + T + reach]`` for each series, padded with NaN."""
    covariates: tuple[np.ndarray, ...] | None
    """``[W + T + reach, C]`` for each series, scaled, padded with 0."""
    static: np.ndarray | None
    """``[N, S]``, scaled."""
    change_sums: tuple[np.ndarray, ...] | None = None
    """``[2, W + T + reach + 1]`` for each series: number and sum of squares of earlier seasonal changes."""
    ridge: Ridge | None = None
    """The linear autoregression that the network corrects."""

    @classmethod
    def of(
        cls,
        rule: WindowRule,
        values: Sequence[np.ndarray],
        covariates: Sequence[np.ndarray] | None = None,
        static: np.ndarray | None = None,
        ridge: Ridge | None = None,
    ) -> Windows:
        """Return windows over ``values [T_i]`` and ``covariates [T_i + more, C]`` of each series."""
        padding = (rule.steps_back, rule.reach)
        # Padding lets windows begin before a series and reach beyond its end.
        padded = tuple(
            np.pad(rule.transform(series), padding, constant_values=np.nan) for series in values
        )
        padded_covariates = None
        if covariates is not None and rule.covariates:
            padded_covariates = tuple(
                _zero_padded(series, rule.steps_back, len(whole))
                for series, whole in zip(covariates, padded, strict=True)
            )
        sums = tuple(_change_sums(series, rule.season) for series in padded) if rule.floor else None
        return cls(rule, padded, padded_covariates, static, sums, ridge)

    def prepare(
        self, series: np.ndarray, origins: np.ndarray, trends: np.ndarray | None = None
    ) -> tuple[Prepared, np.ndarray]:
        """Prepare the windows before ``origins [B]`` of ``series [B]``.

        Args:
            series: The index of each window's series.
            origins: The number of values before each window's first forecast step.
            trends: ``[B]`` slope of a line that training adds to each window and its truth, in mean
                seasonal changes for each season.

        Returns:
            The windows, and the values ``[B, h]`` after them, transformed, NaN where missing.
        """
        W, horizon = self.rule.steps_back, self.rule.horizon
        cut = self.cut(series, origins, trends)
        facts = (cut.covariates, cut.static, cut.least_unit, self.ridge)
        prepared = self.rule.prepare(cut.values[:, :W], *facts)
        return prepared, cut.values[:, W : W + horizon]

    def cut(
        self, series: np.ndarray, origins: np.ndarray, trends: np.ndarray | None = None
    ) -> CutWindows:
        """Cut the windows out of the series; the arguments are as for `prepare`."""
        rule = self.rule
        W, length = rule.steps_back, rule.steps_back + rule.reach
        # In padded coordinates, the window before origin n begins at index n.
        places = list(zip(series.tolist(), origins.tolist(), strict=True))
        values = np.stack([self.values[n][at : at + length] for n, at in places])
        for row in np.flatnonzero(~np.isfinite(values[:, :W]).any(axis=1)).tolist():
            # After a gap as long as the window, the last value before it stands at its start.
            n, at = places[row]
            known = self.values[n][:at]
            known = known[np.isfinite(known)][-1:]
            values[row, : len(known)] = known
        with np.errstate(over="ignore", invalid="ignore"):
            recent = values[:, W - rule.window : W]
            changes = abs(recent[:, rule.season :] - recent[:, : -rule.season])
        least_unit = None
        if self.change_sums is not None:
            # Where most values repeat, a window with few changes does not show how large changes are.
            still = 2 * (changes > 0).sum(axis=1) < np.isfinite(changes).sum(axis=1)
            sums = [_root_mean_square(self.change_sums[n], at + W, rule.season) for n, at in places]
            least_unit = np.where(still, sums, 0.0)
            trends = None if trends is None else np.where(still, 0.0, trends)
        if trends is not None:
            with np.errstate(over="ignore", invalid="ignore"):
                slope = trends * known_mean(changes)[0] / rule.season
                values = values + slope[:, None] * np.arange(-W, rule.reach)
        covariates = None
        if self.covariates is not None:
            covariates = np.stack([self.covariates[n][at : at + length] for n, at in places])
        static = None if self.static is None else self.static[series]
        return CutWindows(values, covariates, static, least_unit)


def _change_sums(padded: np.ndarray, season: int) -> np.ndarray:
    """Return number and sum of squares of the known seasonal changes before each step, ``[2, T + 1]``."""
    with np.errstate(over="ignore", invalid="ignore"):
        squares = (padded[season:] - padded[:-season]) ** 2
    # The first row counts the changes, the second sums their squares.
    known = np.isfinite(squares)
    both = np.stack([known.astype(np.float64), np.where(known, squares, 0.0)])
    with np.errstate(over="ignore"):
        return np.pad(both, ((0, 0), (season + 1, 0))).cumsum(axis=1)


def _root_mean_square(sums: np.ndarray, origin: int, season: int) -> float:
    """Return the root mean square of the seasonal changes in the long past of an origin, 0 if unknown."""
    # The difference of two running sums is the sum between both steps.
    first = max(0, origin - LONG_PAST_STEPS + season)
    count, total = sums[:, origin] - sums[:, min(first, origin)]
    return math.sqrt(total / count) if count > 0 and 0 < total < math.inf else 0.0


def _zero_padded(covariates: np.ndarray, before: int, length: int) -> np.ndarray:
    """Return ``[T, C]`` with `before` rows of zeros in front and zeros behind, `length` rows in all."""
    kept = covariates[: length - before]
    return np.pad(kept, ((before, length - before - len(kept)), (0, 0)))
