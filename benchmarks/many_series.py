"""Train, predict, evaluate, cross-validate and update on thousands of short series, and time each of these.

    python benchmarks/many_series.py [--series 10000] [--values 40] [--steps 20]

The values are noise around 10, so no forecast can beat the average: only shapes, finite values and time are
checked.
"""

from __future__ import annotations

import argparse
import time

import numpy as np

import elman


def main() -> None:
    """Run every method once and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--series", type=int, default=10_000)
    parser.add_argument("--values", type=int, default=40)
    parser.add_argument("--steps", type=int, default=20)
    asked = parser.parse_args()
    draw = np.random.default_rng(0)
    values = 10 + draw.normal(size=(asked.series, asked.values))
    later = 10 + draw.normal(size=(asked.series, 6))
    model = elman.Forecaster(horizon=6, hidden_size=8, members=1, steps=asked.steps)
    for name, work in (
        ("train", lambda: model.fit(values)),
        ("predict", lambda: model.predict()),
        ("evaluate", lambda: model.evaluate(np.hstack([values, later]), windows=1)),
        ("cross-validate", lambda: model.cross_validation(values, windows=1)),
        ("update", lambda: model.update(later)),
    ):
        begun = time.perf_counter()
        work()
        print(f"{name:15} {time.perf_counter() - begun:8.1f} s", flush=True)
    forecast = model.predict()
    assert forecast.median.shape == (asked.series, 6)
    assert np.isfinite(forecast.quantiles).all()


if __name__ == "__main__":
    main()
