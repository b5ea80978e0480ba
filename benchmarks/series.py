"""Forecast the end of single series from rolling origins, and compare with three simple forecasts.

    python benchmarks/series.py FOLDER [--seed 0] [--threads 2] [NAME ...]

The simple forecasts are naive, seasonal naive and drift. FOLDER holds series/, ett/ and stocks/. All options
except columns and horizon keep their defaults, and no setting is chosen on the values that are measured.
AirPassengers: the last 36 months at once. Sunspots: 24 months ahead, once for each of the last twenty years.
ETTh1 OT: 96 hours ahead, once for each day of the official test part. Stocks: 10 days ahead, once for each
week of the last year.

The exit code is 1 if the network does not beat the seasonal naive forecast on a series of
`MUST_BEAT_SEASONAL_NAIVE`.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import elman

STOCK = {"horizon": 10, "time_column": "Date", "target": "Close"}
# name: file, options, how many of the first values to use (None: all), how many of the last of these to
# forecast, steps between origins
CASES: dict[str, tuple[str, dict[str, object], int | None, int, int]] = {
    "AirPassengers": ("series/AirPassengers.csv", {"horizon": 36}, None, 36, 36),
    "sunspots": ("series/monthly-sunspots.csv", {"horizon": 24}, None, 240, 12),
    "ETTh1": (
        "ett/ETTh1.csv",
        {"horizon": 96, "time_column": "date", "target": "OT"},
        14_400,
        2_880,
        24,
    ),
    "AAPL": ("stocks/AAPL.csv", STOCK, None, 250, 5),
    "KO": ("stocks/KO.csv", STOCK, None, 250, 5),
    "beer": ("series/ausbeer.csv", {"horizon": 8}, None, 40, 4),
    "temperatures": ("series/daily-min-temperatures.csv", {"horizon": 14}, None, 365, 7),
    "taylor": ("series/taylor.csv", {"horizon": 48}, None, 672, 48),
}
# The benchmark fails if the network does not beat the seasonal naive forecast on each of these series.
MUST_BEAT_SEASONAL_NAIVE = ("AirPassengers", "sunspots", "ETTh1")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=[*CASES])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    short = False
    for name in given.names:
        file, options, kept, measured, step = CASES[name]
        model = elman.Forecaster(seed=given.seed, threads=given.threads, **options)
        series = model.read(given.folder / file)
        if kept is not None:
            series = series.before(len(series.values[0]) - kept)
        begun = time.monotonic()
        predictor = model.fit(series.before(measured)).predictor_
        seconds = time.monotonic() - begun
        first = {series.ids[0]: len(series.values[0]) - measured}
        report = predictor.report(predictor.windows(series, first, None, step))
        print(f"== {name}, trained in {seconds:.0f} s\n{report}", flush=True)
        figures = {one.name: one.mae for one in report.methods}
        must_beat = name in MUST_BEAT_SEASONAL_NAIVE
        short |= must_beat and figures["the network"] >= figures["seasonal naive"]
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
