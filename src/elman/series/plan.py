"""Plan of a forecaster's training: the options, with defaults that follow from the series."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from elman.errors import OptionError
from elman.series.options import ForecasterOptions
from elman.series.window_rule import WindowRule
from elman.training.plan import Schedule, is_unlimited

MANY_WINDOWS = 20_000
"""Training windows above which the network is large and needs little regularisation."""
FORECAST_LIMIT = 170.0
"""Seconds of training at most if no budget is given; with its tests, a run takes three minutes."""
MANY_WINDOWS_EPOCHS = 10.0
"""Most epochs of a training run with many windows and a limit or budget of time."""
UNMEASURED_STEPS = 400
"""Training steps if no budget is given and no values can be held out to stop early."""

LAST_STAGE_SHARE = 0.8
"""Share of the remaining time that the networks of the last stage are planned to take."""


@dataclass(frozen=True, kw_only=True)
class ForecastPlan(Schedule):
    """Sizes, regularisation and length of a forecaster's training."""

    hidden_size: int
    num_layers: int
    dropout: float
    noise: float
    """Standard deviation of the noise that training adds to every input."""
    trend: float
    """Standard deviation of the slope of the lines that training adds to windows, in mean seasonal changes
    for each season."""
    members: int
    """Networks whose answers are averaged."""
    refit: bool
    """Whether a second stage trains on all values."""
    min_past: int
    """Values before the first training origin."""
    min_future: int
    """Values after the last training origin."""
    intervals: tuple[float, ...]
    """The intervals that the user asked for, in percent."""

    @property
    def is_open(self) -> bool:
        """Whether training ends when the validation measure stops improving, and time is only a limit.

        With many windows it is False: training reads each window too few times to overfit, and a run of
        known length, whose learning rate falls from the start, gives better forecasts (docs/recipes.md).
        """
        return self.epochs is None and (self.limit is not None or self.time is not None)


def percents(intervals: str) -> tuple[float, ...]:
    """Parse the intervals of the option `levels`, in percent; raises OptionError.

    >>> percents("80, 95")
    (80.0, 95.0)
    """
    try:
        shares = tuple(map(float, intervals.split(",")))
    except ValueError:
        shares = (math.nan,)
    if not all(1 <= share <= 99.99 for share in shares):
        raise OptionError("levels", got=intervals, expected="percents such as 80,95")
    return shares


def first_stage_share(members: float) -> float:
    """Return the share of the time for the first network, if `members` more then train as long each.

    >>> round(first_stage_share(4), 3)
    0.167
    """
    return 1 / (1 + members / LAST_STAGE_SHARE)


def members_in_time(members: int, seconds: float, remaining: float) -> int:
    """Return how many members to train again on all values; 0 to keep the first network.

    A network that is trained again for fewer steps than validation found best would be worse than the first.

    Args:
        members: The number of members that are wanted.
        seconds: The time in which the first network took its best number of steps.
        remaining: The seconds until the time limit.

    >>> members_in_time(4, 10.0, 60.0), members_in_time(4, 50.0, 60.0)
    (4, 0)
    """
    return min(members, int(LAST_STAGE_SHARE * remaining / max(1e-9, seconds)))


def forecast_plan(options: ForecasterOptions, rule: WindowRule, lengths: list[int]) -> ForecastPlan:
    """Return the plan that the options ask for, on series of these lengths."""
    # Every value with a whole horizon after it is a training origin.
    windows = sum(max(0, length - rule.horizon) for length in lengths)
    many = windows > MANY_WINDOWS
    # Windows may reach back before their series, so training can begin before a whole window is known.
    min_past = min(rule.window, 2 * rule.season if rule.season > 1 else max(20, 2 * rule.segment))
    # In short series, origins near the end are used too, although part of their future is unknown.
    enough = min(lengths) >= 4 * rule.horizon + min_past
    plan = ForecastPlan.of(
        options,
        batch_size=256 if windows > 5_000 else 128 if windows > 500 else 64,
        learning_rate=5e-3 if many else 2e-3,
        average=0.99,
        limit=FORECAST_LIMIT if is_unlimited(options) else None,
        hidden_size=128 if many else 64,
        num_layers=1,
        dropout=0.1 if many else 0.3,
        noise=0.1,
        trend=0.5 if rule.season > 1 and windows < 5_000 else 0.0,
        members=4 if many else 5,
        min_past=min_past,
        min_future=rule.horizon if enough else max(1, min(rule.horizon // 3, rule.segment)),
        intervals=percents(options.levels),
    )
    if not (many and plan.is_open):
        return plan
    return replace(plan, time=plan.limit or plan.time, limit=None, epochs=MANY_WINDOWS_EPOCHS)
