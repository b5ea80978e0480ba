"""Check the simple forecasts on M4 hourly against the figures that the competition published.

    python benchmarks/m4_naive.py FOLDER

FOLDER holds Hourly-train.csv and Hourly-test.csv of https://github.com/Mcompetitions/M4-methods. The
published averages of the 414 series: Naive2 sMAPE 18.383, MASE 2.395; seasonal naive 13.912, 1.193. The
exit code is 1 if a figure differs.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

import numpy as np

from elman.metrics.forecast_errors import mase, smape
from elman.series.naive import drift, is_seasonal, naive, seasonal_naive

__all__ = ["PUBLISHED", "averages", "read"]


def naive2(values: np.ndarray, horizon: int, season: int) -> np.ndarray:
    """Return M4's Naive2 ``[H]``: the naive forecast of the deseasonalised series, times the season.

    If `is_seasonal` holds, the season comes from the classical multiplicative decomposition. Otherwise,
    and for a series with values of 0 or below, the result is the naive forecast.
    Source: the same as that of `is_seasonal`.
    """
    plain = naive(values, horizon)
    series = np.asarray(values)
    if series.min() <= 0 or not is_seasonal(series, season):
        return plain
    half = season // 2
    ends = [] if season % 2 else [0.5]
    weights = np.array([*ends, *np.ones(season - len(ends)), *ends]) / season
    ratios = np.full(len(series) + -len(series) % season, np.nan)
    with np.errstate(all="ignore"):
        ratios[half : len(series) - half] = 1 / (
            np.convolve(series, weights, "valid") / series[half : len(series) - half]
        )
        index = np.nanmean(ratios.reshape(-1, season), axis=0)
        ahead = len(series) + np.arange(horizon)
        forecast = plain * (index[ahead % season] / index[(len(series) - 1) % season])
    return np.where(np.isfinite(forecast), forecast, plain)


HORIZON, SEASON = 48, 24
PUBLISHED = {"Naive2": (18.383, 2.395), "seasonal naive": (13.912, 1.193)}
METHODS = {
    "Naive2": lambda values: naive2(values, HORIZON, SEASON),
    "seasonal naive": lambda values: seasonal_naive(values, HORIZON, SEASON),
    "naive": lambda values: naive(values, HORIZON),
    "drift": lambda values: drift(values, HORIZON),
}


def read(path: Path) -> list[np.ndarray]:
    """Return the series that a file of the competition holds."""
    with path.open(encoding="utf-8", newline="") as file:
        return [
            np.array([float(value) for value in row[1:] if value])
            for row in list(csv.reader(file))[1:]
        ]


def averages(folder: Path) -> dict[str, tuple[float, float]]:
    """Return the averages of sMAPE and MASE over all series, by method."""
    pairs = list(
        zip(read(folder / "Hourly-train.csv"), read(folder / "Hourly-test.csv"), strict=True)
    )
    found = {}
    for name, method in METHODS.items():
        figures = []
        for history, truth in pairs:
            forecast = method(history)
            scaled = mase(forecast, truth, history, SEASON)
            if scaled is None:
                raise SystemExit("a series of M4 hourly has no scale")
            figures.append((smape(forecast, truth), scaled))
        found[name] = (
            float(np.mean([figure[0] for figure in figures])),
            float(np.mean([figure[1] for figure in figures])),
        )
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    found = averages(parser.parse_args().folder)
    wrong = False
    for name, (percent, scaled) in found.items():
        other = name in PUBLISHED and PUBLISHED[name] != (round(percent, 3), round(scaled, 3))
        wrong |= other
        print(
            f"{name:15} sMAPE {percent:7.3f}  MASE {scaled:6.3f}"
            + (f"  published: {PUBLISHED[name]}" if other else "")
        )
    return int(wrong)


if __name__ == "__main__":
    sys.exit(main())
