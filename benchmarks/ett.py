"""Forecast all seven columns of ETTh1 96 hours ahead with one network, and print the error as published.

    python benchmarks/ett.py FOLDER [--seed 1] [--threads 2] [--horizon 96] [--options OPTION=VALUE ...]

FOLDER holds ett/ETTh1.csv. The first 16 of 20 months are for training (Elman takes its validation set out of
them), the last 4 for the test: every window of them counts, none is dropped. Errors are in standard
deviations of each column in the first 12 months. All options have their defaults, but for those given. The
error of the mean is squared, that of the median is absolute. The ridge regression beside it is the one that
the network corrects.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

import elman
from elman.metrics.forecast_errors import mean_of_quantiles

COLUMNS = ("HUFL", "HULL", "MUFL", "MULL", "LUFL", "LULL", "OT")
# Hours in 12 and in 16 months of 30 days, and in the whole.
SCALED, TRAINED, LAST = 8_640, 11_520, 14_400


def measure(path: Path, horizon: int, options: dict[str, object]) -> dict[str, tuple[float, float]]:
    """Return mean squared and mean absolute error of the network and of the ridge regression."""
    model = elman.Forecaster(
        horizon=horizon, time_column="date", target=",".join(COLUMNS), **options
    )
    series = model.read(path)
    series = series.before(len(series.values[0]) - LAST)
    deviation = {
        name: values[:SCALED].std() for name, values in zip(series.ids, series.values, strict=True)
    }
    predictor = model.fit(series.before(LAST - TRAINED)).predictor_
    first = dict.fromkeys(series.ids, TRAINED)
    errors: dict[str, list[tuple[float, float]]] = {"the network": [], "ridge on lags": []}
    for window in predictor.windows(series, first, None, 1):
        for name, quantiles in (("the network", window.quantiles), ("ridge on lags", window.ridge)):
            if quantiles is not None:
                mean = mean_of_quantiles(quantiles.T, predictor.codec.levels)
                median = quantiles[predictor.codec.levels.index(0.5)]
                scale = deviation[window.series]
                squared = (((mean - window.truth) / scale) ** 2).mean()
                errors[name].append((squared, np.abs((median - window.truth) / scale).mean()))
    means = {name: np.mean(rows, axis=0) for name, rows in errors.items() if rows}
    return {name: (float(mse), float(mae)) for name, (mse, mae) in means.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--horizon", type=int, default=96)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--options", nargs="+", default=[], help="such as steps=500")
    given = parser.parse_args()
    options: dict[str, object] = {"seed": given.seed, "threads": given.threads}
    for pair in given.options:
        name, value = pair.split("=")
        options[name] = value == "True" if value in ("True", "False") else int(value)
    begun = time.monotonic()
    for name, (mse, mae) in measure(given.folder / "ett/ETTh1.csv", given.horizon, options).items():
        print(f"{name:14} MSE {mse:.4f}  MAE {mae:.4f}")
    print(f"{time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()
