"""Forecast the next value of single series, and compare with a ridge regression on the last 336 values.

    python benchmarks/next_value.py FOLDER [--seeds 1 2 3] [--threads 2] [--choose] [--only NAME ...]
        [--options OPTION=VALUE ...]

FOLDER holds series/ and nab/. The last fifth of each series is forecast one step ahead from the true values
before it. All options have their defaults, but for those given, such as steps=500. The ridge regression
reads the values as they are; its strength is chosen on the last fifth of the training part, and then it is
fitted to all of it. With --choose, the last fifth is left out and the fifth before it is forecast, so that
settings can be chosen. The exit code is 1 if the network's mean absolute error is above the ridge's.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np

import elman

# name: file, column
CASES = {
    "taylor": ("series/taylor.csv", 0),
    "GOOG volume": ("nab/Twitter_volume_GOOG.csv", 1),
    "speed_7578": ("nab/speed_7578.csv", 1),
    "heart rate": ("series/heart_rate.csv", 0),
    "latency": ("nab/ec2_request_latency_system_failure.csv", 1),
    "processor": ("nab/ec2_cpu_utilization_5f5533.csv", 1),
    "room": ("nab/ambient_temperature_system_failure.csv", 1),
}
MAIN = ("taylor", "GOOG volume", "speed_7578")
LAGS = 336


def read(path: Path, column: int) -> np.ndarray:
    """Return a column of numbers as ``[T]``."""
    with path.open(encoding="utf-8", newline="") as file:
        return np.array([float(row[column]) for row in list(csv.reader(file))[1:] if row])


def ridge_errors(values: np.ndarray, first: int, lags: int = LAGS) -> np.ndarray:
    """Return the absolute errors of a ridge regression on the steps from `first` on."""
    lags = min(lags, first // 3)
    windows = np.lib.stride_tricks.sliding_window_view(values, lags + 1)
    inputs, targets = windows[:, :-1], windows[:, -1]
    end, middle = first - lags, first - lags - first // 5

    def fit(count: int, penalty: float) -> tuple[np.ndarray, float, np.ndarray]:
        mean, level = inputs[:count].mean(axis=0), targets[:count].mean()
        centred = inputs[:count] - mean
        square = centred.T @ centred
        square[np.diag_indices(lags)] += penalty * np.trace(square) / lags
        return mean, level, np.linalg.solve(square, centred.T @ (targets[:count] - level))

    def errors(count: int, penalty: float, last: int | None) -> np.ndarray:
        mean, level, weights = fit(count, penalty)
        return np.abs(targets[count:last] - level - (inputs[count:last] - mean) @ weights)

    penalties = [10.0**power for power in range(-6, 3)]
    best = min(penalties, key=lambda one: errors(middle, one, end).mean())
    return errors(end, best, None)


def measure(
    values: np.ndarray, options: dict[str, object]
) -> tuple[float, float, float, float, str]:
    """Return the errors of network, own ridge, ridge and naive forecast on the last fifth, and a note."""
    first = len(values) - len(values) // 5
    begun = time.monotonic()
    model = elman.Forecaster(horizon=1, **options).fit([values[:first]])
    seconds = time.monotonic() - begun
    predictor = model.predictor_
    series = predictor.read([values])
    windows = predictor.windows(series, {series.ids[0]: first}, None, 1)
    report = predictor.report(windows)
    named = {one.name: one.mae for one in report.methods}
    own = named.get("ridge on lags", float("nan"))
    steps = model.card_["training"].get("steps")
    ridge = float(ridge_errors(values, first).mean())
    note = f"{seconds:.0f} s, {steps} steps"
    return named["the network"], own, ridge, named["naive"], note


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--options", nargs="+", default=[], help="such as steps=500")
    parser.add_argument("--only", nargs="+", default=[*MAIN])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--choose", action="store_true")
    given = parser.parse_args()
    options: dict[str, object] = {"threads": given.threads}
    for pair in given.options:
        name, value = pair.split("=")
        options[name] = value == "True" if value in ("True", "False") else int(value)
    worse = False
    print(
        f"{'':12}{'seed':>5}{'naive':>10}{'ridge':>10}{'own ridge':>10}{'network':>10}{'ratio':>7}"
    )
    for name in given.only:
        file, column = CASES[name]
        values = read(given.folder / file, column)
        values = values[: len(values) - len(values) // 5] if given.choose else values
        for seed in given.seeds:
            network, own, ridge, naive, note = measure(values, {**options, "seed": seed})
            worse |= network > ridge
            print(
                f"{name:12}{seed:>5}{naive:>10.4g}{ridge:>10.4g}{own:>10.4g}{network:>10.4g}"
                f"{network / ridge:>7.3f}  {note}",
                flush=True,
            )
    return int(worse)


if __name__ == "__main__":
    sys.exit(main())
