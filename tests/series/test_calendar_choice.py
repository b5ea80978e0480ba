"""Choice of the calendar features with calendar="auto", "yes" and "no"."""

from __future__ import annotations

from typing import Literal

import numpy as np
import pandas as pd
import pytest

from elman.series.options import ForecasterOptions
from elman.series.series import load_series
from elman.series.window_choice import choose_rule

HOURS = np.arange(24 * 7 * 8)
WEEKEND = np.where(HOURS // 24 % 7 >= 5, -8.0, 0.0)
DAY = 5 * np.sin(HOURS * 2 * np.pi / 24)


def noise(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=count)


def chosen(
    values: np.ndarray, step: str, horizon: int, calendar: Literal["auto", "yes", "no"] = "auto"
) -> bool:
    days = pd.date_range("2018-01-01", periods=len(values), freq=step)
    series = load_series({"ds": days.to_numpy(), "y": values})
    return choose_rule(series, ForecasterOptions(horizon=horizon, calendar=calendar))[1]


@pytest.mark.parametrize(
    ("values", "step", "horizon", "expected"),
    [
        (
            20 + DAY + WEEKEND + noise(1344),
            "h",
            24,
            False,
        ),  # the naive forecast repeats a week, so it has the weekends already
        (20 + DAY + noise(1344), "h", 24, False),
        (20 + 5 * np.sin(np.arange(300) * 6 * np.pi / 365) + noise(300) / 2, "3D", 8, True),
        (20 + np.arange(700) % 7 + noise(700), "D", 14, False),
        (20 + noise(12), "D", 3, False),
        (np.full(300, 1e300), "D", 3, True),  # a constant series
    ],
    ids=["weekends", "days alone", "a year", "weeks alone", "few", "constant"],
)
def test_auto_reads_the_calendar_if_it_explains_errors(
    values: np.ndarray, step: str, horizon: int, expected: bool
) -> None:
    assert chosen(values, step, horizon) is expected
    assert chosen(values, step, horizon, "yes")
    assert not chosen(values, step, horizon, "no")


def test_chance_is_not_taken_for_a_calendar() -> None:
    walks = [100 + np.cumsum(noise(600, seed)) for seed in range(20)]
    assert sum(chosen(walk, "D", 10) for walk in walks) <= 1
    assert not choose_rule(load_series(walks[0]), ForecasterOptions(horizon=10))[1]
