"""Single series: forecasts of the last part from rolling origins, beside naive, seasonal naive and drift.

    python benchmarks/series.py FOLDER [--seed 0] [--threads 2] [NAME ...]

FOLDER holds series/, ett/ and stocks/. The options are those by default but for columns and horizon; what is
measured on chooses nothing. AirPassengers: the last 36 months at once. Sunspots: 24 months ahead, every year
of the last twenty. ETTh1 OT: 96 hours ahead, every day of the official test part. Stocks: 10 days ahead,
every week of the last year.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import elman

STOCK = {"horizon": 10, "time_column": "Date", "target": "Close"}
# name: file, options, values kept, values measured on, steps between origins
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
# where the seasonal naive forecast must be beaten
ASKED = ("AirPassengers", "sunspots", "ETTh1")


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
        short |= name in ASKED and figures["the network"] >= figures["seasonal naive"]
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
