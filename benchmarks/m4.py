"""M4 hourly, all 414 series, 48 steps ahead: OWA, sMAPE, MASE and coverage beside the naive forecasts.

    python benchmarks/m4.py FOLDER [--members 4] [--threads 2] [--seed 0]

FOLDER holds Hourly-train.csv and Hourly-test.csv, one series a row. The options are those by default; the
test values choose nothing. OWA is computed once, on the averages (Naive2: 18.383 and 2.395). Leaves with
exit code 1 where it is above .60, or where the 80 % interval holds less than 75 % or more than 85 % of the
test values.
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
NAIVE2 = (18.383, 2.395)  # its published mean sMAPE and MASE


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
