"""Forecast all 414 hourly series of M4 48 steps ahead, and compare with the naive forecasts.

    python benchmarks/m4.py FOLDER [--members 4] [--threads 2] [--seed 0]

FOLDER holds Hourly-train.csv and Hourly-test.csv, with one series in each row. All options have their
defaults; no setting is chosen on the test values. OWA is computed from the averages of sMAPE and MASE over
all series, relative to Naive2 (18.383 and 2.395). The exit code is 1 if OWA is above 0.60, or if less than
75 % or more than 85 % of the test values lie in the 80 % interval.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np

import elman

ACCEPTED, LEAST, MOST = 0.60, 0.75, 0.85
NAIVE2 = (18.383, 2.395)  # the mean sMAPE and MASE that the competition published for Naive2


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--members", type=int)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    begun = time.monotonic()

    def watch(event: dict[str, object]) -> None:
        if event["event"] in ("evaluation", "stage", "start"):
            shown = {
                name: event[name]
                for name in ("step", "held_out_loss", "steps", "windows")
                if name in event
            }
            print(f"{time.monotonic() - begun:6.0f} s {event['event']} {shown}", flush=True)

    model = elman.Forecaster(
        horizon=48, members=given.members, threads=given.threads, seed=given.seed
    )
    model.fit(str(given.folder / "Hourly-train.csv"), watch=watch)
    seconds = time.monotonic() - begun
    with (given.folder / "Hourly-test.csv").open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))[1:]
    test = {row[0]: np.array([float(value) for value in row[1:] if value]) for row in rows}
    report = model.evaluate(test)
    print(report)
    network = report.methods[0]
    assert network.mase is not None
    percent, scaled = NAIVE2
    owa = (network.smape / percent + network.mase / scaled) / 2
    eighty = next(one for one in network.intervals if abs(one.level - 0.8) < 1e-9)
    print(f"OWA {owa:.4f}, 80 % interval holds {eighty.coverage:.4f}, trained in {seconds:.0f} s")
    return int(owa > ACCEPTED or not LEAST <= eighty.coverage <= MOST)


if __name__ == "__main__":
    sys.exit(main())
