"""Measures of rows about series: a forecaster trains on their beginning, and the rest measures it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import elman
from elman import Forecaster
from elman.reproduce.row import Measured, Trial

RIDGE_LAGS, RIDGE_PENALTIES = 336, (1e-4, 1e-2, 1.0, 100.0)


def many_series(trial: Trial, horizon: int, naive2: Sequence[float]) -> Measured:
    """Return the OWA of many series, from the averages of sMAPE and MASE over all of them."""
    train, test = trial.files
    rows = [line.split(",") for line in test.read_text(encoding="utf-8").splitlines()[1:]]
    later = {
        row[0].strip('"'): np.array([float(cell.strip('"')) for cell in row[1:] if cell.strip('"')])
        for row in rows
    }
    model = Forecaster(horizon=horizon, **trial.settings).fit(train, **trial.run())
    trial.ended(model)
    network, *simple = model.evaluate(later).methods
    percent, scaled = naive2
    owa = {
        method.name: (method.smape / percent + method.mase / scaled) / 2
        for method in (network, *simple)
        if method.mase is not None
    }
    coverage = {f"coverage of {each.level:.0%}": each.coverage for each in network.intervals}
    return Measured(owa.pop(network.name), owa | coverage)


def columns_ahead(
    trial: Trial, columns: Sequence[str], horizon: int, train: int, valid: int, test: int
) -> Measured:
    """Return the squared error of all columns, from every step of the test part but the last horizon."""
    table = elman.read_table(trial.files[0])
    known, later = {}, {}
    for name in columns:
        values = table.numbers(name)[: train + valid + test]
        # standardised by the training part, as all published figures are
        values = (values - values[:train].mean()) / values[:train].std()
        known[name], later[name] = values[:-test], values[-test:]
    model = Forecaster(horizon=horizon, **trial.settings).fit(known, **trial.run())
    trial.ended(model)
    network, *simple = model.evaluate(later, step=1).methods
    return Measured(network.rmse**2, {method.name: method.rmse**2 for method in simple})


def next_value(trial: Trial, column: str) -> Measured:
    """Return the absolute error of the next value over that of a ridge regression on the last values.

    Every value of the last fifth of the series is forecast from those before it.
    """
    values = elman.read_table(trial.files[0]).numbers(column)
    start = len(values) * 4 // 5
    model = Forecaster(horizon=1, **trial.settings).fit(values[:start], **trial.run())
    trial.ended(model)
    network, *simple = model.evaluate(values[start:], step=1).methods
    ridge = float(np.abs(ridge_on_lags(values, start) - values[start:]).mean())
    beside = {method.name: method.mae / ridge for method in simple}
    return Measured(network.mae / ridge, beside | {"MAE of the ridge": ridge})


def ridge_on_lags(values: np.ndarray, start: int) -> np.ndarray:
    """Return the forecasts ``[T - start]`` of each value from `start` on by the values before it.

    A ridge regression on at most 336 lags is fitted on the values before `start`; the last fifth of them
    chooses its penalty.

    >>> ridge_on_lags(np.arange(40.0), 30).round(1).tolist()[:3]
    [30.0, 31.0, 32.0]
    """
    lags = min(RIDGE_LAGS, start // 4)
    windows = np.lib.stride_tricks.sliding_window_view(values, lags)[:-1]
    # differences from the last value, so that a level that drifts does not matter
    last, scale = windows[:, -1], values[:start].std() or 1.0
    inputs, targets = (windows - last[:, None]) / scale, (values[lags:] - last) / scale
    known, fitted = start - lags, (start - lags) * 4 // 5

    def forecast(rows: int, penalty: float) -> np.ndarray:
        x = inputs[:rows]
        weights = np.linalg.solve(x.T @ x + penalty * rows * np.eye(lags), x.T @ targets[:rows])
        return np.asarray(inputs @ weights)

    def error(penalty: float) -> float:
        differences = forecast(fitted, penalty) - targets
        return float(np.abs(differences[fitted:known]).mean())

    best = min(RIDGE_PENALTIES, key=error)
    return np.asarray(last[known:] + scale * forecast(known, best)[known:])
