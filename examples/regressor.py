"""Train a regressor that reads sequences of numbers of any length, and ask which steps decided.

python examples/regressor.py
"""

from __future__ import annotations

import numpy as np

import elman


def main() -> None:
    draw = np.random.default_rng(0)
    sequences = [draw.normal(size=(draw.integers(5, 15), 1)) for _ in range(400)]
    # the target depends on the last step alone
    targets = np.array([2.0 * sequence[-1, 0] + 1.0 for sequence in sequences])

    model = elman.SequenceRegressor(pooling="last", steps=400, members=1, seed=0)
    model.fit(sequences, targets)
    print(model.evaluate(sequences, targets))
    print(model.explain(sequences[0]))


if __name__ == "__main__":
    main()
