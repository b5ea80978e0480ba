"""Calibration of a forecaster on its validation windows: quantile levels, intervals, and the mean."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from elman.metrics.forecast_errors import mean_of_quantiles
from elman.series.plan import percents
from elman.series.window_rule import Prepared, WindowRule

MAX_DISTANCE = 60.0
"""Bound of the distance of the truth from the naive forecast, in units of the window."""
HALF_TRUST_VALUES = 100
"""Validation values from which half of their correction of the mean is taken."""
SHARES = (1.0, 0.75, 0.5, 0.25, 0.0)
"""Shares of the network's correction that are tried."""
LEARNED_SHARES = {0.5, 0.8, 0.9, 0.95}
"""Intervals whose quantiles are always learned, because a network learns well from them."""


def quantile_levels(intervals: str) -> tuple[float, ...]:
    """Return the quantile levels of the intervals in percent, as the option `levels` writes them.

    >>> quantile_levels("80")
    (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
    """
    # Both quantiles of an interval are as far from the median: 80 % needs 0.1 and 0.9.
    shares = LEARNED_SHARES | {percent / 100 for percent in percents(intervals)}
    lower = sorted({round((1 - share) / 2, 9) for share in shares})
    return (*lower, 0.5, *(round(1 - level, 9) for level in reversed(lower)))


def mean_factor(
    rule: WindowRule,
    windows: Prepared,
    quantiles: np.ndarray,
    truth: np.ndarray,
    levels: Sequence[float],
) -> float:
    """Return the factor that makes the forecast means add up to the truth; 1 if values may be below 0.

    Each window counts alike, whatever the size of its series, and few values are trusted less.

    Args:
        rule: The window rule.
        windows: The N windows.
        quantiles: ``[N, h, Q]``, in units of the windows.
        truth: ``[N, h]``, in units of the windows, NaN where missing.
        levels: The quantile levels.
    """
    known = np.isfinite(truth)
    if not (rule.log or rule.nonnegative) or not known.any():
        return 1.0
    # Missing truth counts as 0 on both sides, so that it changes no sum.
    means = np.where(known, mean_of_quantiles(rule.forecast(windows, quantiles), levels), 0.0)
    actual = np.where(known, rule.forecast(windows, truth[..., None])[..., 0], 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        # [N]: dividing by the size of both makes windows of large series count no more than others.
        size = (means + actual).sum(axis=1)
        shares = [float((values.sum(axis=1) / size)[size > 0].sum()) for values in (actual, means)]
    if not all(0 < share < math.inf for share in shares):
        return 1.0
    # Shrinks the correction towards 1 if there are few values.
    trust = known.sum() / (known.sum() + HALF_TRUST_VALUES)
    return float(np.clip(shares[0] / shares[1], 0.5, 2.0) ** trust)


def network_share(quantiles: np.ndarray, truth: np.ndarray, levels: Sequence[float]) -> float:
    """Return by which of `SHARES` to multiply the network's medians, so that the quantile loss is lowest.

    The medians are corrections of the linear autoregression, so that a network which found nothing to
    correct gets the share 0. The other quantiles keep their distance from the median.

    Args:
        quantiles: ``[N, h, Q]``, in units of the windows.
        truth: ``[N, h]``, in units of the windows, NaN where missing.
        levels: The quantile levels, 0.5 among them.
    """
    median = quantiles[..., [levels.index(0.5)]]
    distance = truth.clip(-MAX_DISTANCE, MAX_DISTANCE)[..., None] - quantiles

    def loss(share: float) -> float:
        moved = (distance + (1 - share) * median)[np.isfinite(truth)]
        return float(np.maximum(np.array(levels) * moved, (np.array(levels) - 1) * moved).mean())

    return min(SHARES, key=loss) if np.isfinite(truth).any() else 1.0


def with_share(
    arrays: Mapping[str, np.ndarray], share: float, levels: Sequence[float]
) -> dict[str, np.ndarray]:
    """Return the parameters of a network whose medians are `share` of those of `arrays`."""
    changed = dict(arrays)
    for name in arrays:
        if name.endswith(("output.weight", "output.bias")) and share < 1:
            # [s·Q, ...] → [s, Q, ...]: take the same part of the median away from all quantiles
            by_level = arrays[name].reshape(-1, len(levels), *arrays[name].shape[1:])
            median = by_level[:, [levels.index(0.5)]]
            changed[name] = (by_level - np.float32(1 - share) * median).reshape(arrays[name].shape)
        elif name.endswith("skip.weight") and share < 1:
            changed[name] = arrays[name] * np.float32(share)
    return changed


def conformal_corrections(
    quantiles: np.ndarray, truth: np.ndarray, levels: Sequence[float], only_widen: bool = False
) -> np.ndarray:
    """Return the corrections ``[Q]`` that make each interval hold its share of the truth.

    Source: Y. Romano, E. Patterson and E. Candès, "Conformalized Quantile Regression" (2019), with the same
    correction for all steps of the horizon.

    Args:
        quantiles: ``[N, h, Q]``, in units of the windows.
        truth: ``[N, h]``, in units of the windows, NaN where missing.
        levels: The quantile levels, symmetric around 0.5.
        only_widen: Whether intervals may not become narrower, because few windows show too little.
    """
    corrections = np.zeros(len(levels))
    known, truth = np.isfinite(truth), truth.clip(-MAX_DISTANCE, MAX_DISTANCE)
    if not known.any():
        return corrections
    for low in range(len(levels) // 2):
        high = len(levels) - 1 - low
        # Above 0 outside the interval, below 0 inside: the conformity score of the source.
        outside = np.maximum(quantiles[..., low] - truth, truth - quantiles[..., high])[known]
        share = levels[high] - levels[low]
        # The factor 1 + 1/n makes the coverage hold for finite samples.
        distance = float(np.quantile(outside, min(1.0, share * (1 + 1 / len(outside)))))
        distance = max(0.0, distance) if only_widen else distance
        corrections[low], corrections[high] = -distance, distance
    return corrections
