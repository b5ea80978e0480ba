"""Print the verdicts of training on series that nothing predicts, and on series that a network predicts.

    python benchmarks/verdicts.py FOLDER [--seeds 1 2 3] [--threads 2] [--first-stage] [NAME ...]

FOLDER holds series/ and stocks/. All options except columns and horizon have their defaults. For AAPL's
closing price and for four correlated random walks, no run may claim to beat the drift forecast, the last
value or the ridge regression on lags. For half-hourly demand (taylor, five hours and a day ahead) and for
sunspots, every run must claim to beat the best forecast that repeats or extends values; the verdict against
the ridge regression, which is a part of the model, is only printed. With --first-stage only the network that
is tested is trained, not those of the model that is kept. The exit code is 1 if a verdict differs.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

import elman

# name: file, options, whether the network should win
CASES: dict[str, tuple[str, dict[str, object], bool]] = {
    "AAPL": (
        "stocks/AAPL.csv",
        {"horizon": 10, "time_column": "Date", "target": "Close"},
        False,
    ),
    "walks": ("", {"horizon": 10}, False),
    # the default horizon, 10, was chosen after taylor had won 0 of 3 runs at 48 steps and 2 of 3 at 12
    "taylor": ("series/taylor.csv", {}, True),
    "taylor48": ("series/taylor.csv", {"horizon": 48}, True),
    "sunspots": ("series/monthly-sunspots.csv", {}, True),
}


def walks(seed: int) -> dict[str, np.ndarray]:
    """Return four correlated random walks of 1,000 steps."""
    draw = np.random.default_rng(seed)
    common = draw.normal(size=1000)
    return {name: 100 + (0.7 * common + 0.7 * draw.normal(size=1000)).cumsum() for name in "abcd"}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("names", nargs="*", default=[*CASES])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--threads", type=int)
    parser.add_argument("--first-stage", action="store_true")
    given = parser.parse_args()
    stage = {"refit": False, "members": 1} if given.first_stage else {}
    wrong = 0
    print(f"{'':10}{'seed':>5}{'against':>22}{'saves':>9}{'error':>8}  verdict")
    for name in given.names:
        file, options, wins = CASES[name]
        for seed in given.seeds:
            model = elman.Forecaster(seed=seed, threads=given.threads, **options, **stage)
            begun = time.monotonic()
            model.fit(given.folder / file if file else walks(seed))
            seconds, report = time.monotonic() - begun, model.card_["held_out"]
            simple = [row for row in report["methods"][1:] if row["name"] != "ridge on lags"]
            lowest = min(simple, key=lambda row: row["mase"])["name"]
            for skill in report["skills"]:
                best = skill["against"] == lowest
                if not best and skill["against"] not in ("naive", "drift", "ridge on lags"):
                    continue
                better = skill["verdict"] == "better"
                missed = better != wins if best else better and not wins
                wrong += missed
                error = skill["standard_error"]
                print(
                    f"{name:10}{seed:5}{skill['against']:>22}{100 * skill['value']:>7.1f} %"
                    f"{'-' if error is None else f'{100 * error:.1f} %':>8}  {skill['verdict']}"
                    f"{', the best of the simple' if best else ''}{' WRONG' if missed else ''}",
                    flush=True,
                )
            print(f"{name:10}{seed:5} trained in {seconds:.0f} s", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
