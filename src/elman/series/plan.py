"""The run of a forecaster in numbers: the options, and defaults that follow from the series."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

from elman.errors import OptionError
from elman.series.options import ForecasterOptions
from elman.series.windows import WindowRule
from elman.training.plan import Schedule, is_unlimited, schedule

__all__ = [
    "FORECAST_LIMIT",
    "MANY_WINDOWS",
    "UNMEASURED_STEPS",
    "ForecastPlan",
    "forecast_plan",
    "percents",
]


MANY_WINDOWS = 20_000
"""Windows from which a forecaster is as large as there is room for."""


FORECAST_LIMIT = 170.0
"""Seconds that a forecaster trains at most without a budget; with the tests a run takes three minutes."""


UNMEASURED_STEPS = 400
"""Steps of a forecaster's run without a budget where no values can be held out to end it."""


@dataclass(frozen=True, kw_only=True)
class ForecastPlan(Schedule):
    """The run of a forecaster in numbers."""

    hidden_size: int
    num_layers: int
    dropout: float
    noise: float
    """Standard deviation of what is added to every input in training."""
    trend: float
    """Slope of the lines that are added to most windows in training, in seasonal changes a season."""
    members: int
    refit: bool
    least_past: int
    """Values before the first origin that is trained on."""
    least_future: int
    """Values after the last one."""
    intervals: tuple[float, ...]
    """Those that were asked for, in percent."""


def percents(intervals: str) -> tuple[float, ...]:
    """Return intervals as they are written in the option `levels`, in percent; raises OptionError.

    >>> percents("80, 95")
    (80.0, 95.0)
    """
    found = []
    for text in intervals.split(","):
        try:
            found.append(float(text))
        except ValueError:
            found.append(math.nan)
    if not all(1 <= share <= 99.99 for share in found):
        raise OptionError("levels", got=intervals, expected="percents such as 80,95")
    return tuple(found)


def forecast_plan(options: ForecasterOptions, rule: WindowRule, lengths: list[int]) -> ForecastPlan:
    """Return the run that `options` ask for on series of these lengths."""
    windows = sum(max(0, length - rule.horizon) for length in lengths)
    many = windows > MANY_WINDOWS
    least_past = min(rule.window, 2 * rule.season if rule.season > 1 else max(20, 2 * rule.segment))
    enough = min(lengths) >= 4 * rule.horizon + least_past
    how = schedule(
        options,
        batch_size=256 if windows > 5_000 else 128 if windows > 500 else 64,
        learning_rate=5e-3 if many else 2e-3,
        average=0.99,
    )
    if is_unlimited(options):
        how = replace(how, limit=FORECAST_LIMIT)
    return ForecastPlan(
        **asdict(how),
        hidden_size=options.hidden_size or (128 if many else 64),
        num_layers=options.num_layers or 1,
        dropout=(0.1 if many else 0.3) if options.dropout is None else options.dropout,
        noise=0.1,
        trend=0.5 if rule.season > 1 and windows < 5_000 else 0.0,
        members=options.members or (4 if many else 5),
        refit=options.refit,
        least_past=least_past,
        least_future=rule.horizon if enough else max(1, min(rule.horizon // 3, rule.segment)),
        intervals=percents(options.levels),
    )
