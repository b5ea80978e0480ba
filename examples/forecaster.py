"""Train a forecaster on two seasonal series, forecast, and update the forecaster with new values.

python examples/forecaster.py
"""

from __future__ import annotations

import numpy as np

import elman


def main() -> None:
    draw = np.random.default_rng(0)
    steps = np.arange(240)
    series = {
        name: 100 + steps / 10 + 20 * np.sin(2 * np.pi * steps / 12) + draw.normal(size=240)
        for name in ("north", "south")
    }
    model = elman.Forecaster(horizon=12, steps=200, members=1, seed=0)
    model.fit({name: values[:228] for name, values in series.items()})
    print(model.predict())
    print(model.explain("north"))

    # read the last year of the data, then forecast the year after it
    model.update({name: values[228:] for name, values in series.items()})
    print(model.predict().to_frame())


if __name__ == "__main__":
    main()
