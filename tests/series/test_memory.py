"""The memory of forecasters, on a network whose memory is known."""

from __future__ import annotations

import numpy as np

from elman.series.series import load_series
from forecasters import shop, skipping


def test_seasonal_naive_forecast_needs_one_season() -> None:
    values = 50 + np.random.default_rng(0).normal(size=80)
    found = skipping(load_series(values), {}).memory()
    assert (found.lags, found.unit) == ((1, 2, 3, 4, 6, 8, 12), "value")
    assert found.horizon == 8  # the first measured lag that covers the season of 7
    assert found.verdict.endswith("forecasts need at most the last 8 values.")
    assert shop().memory().source == "the series that it knows"
