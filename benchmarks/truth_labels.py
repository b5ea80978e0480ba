"""Measure how often each method names the deciding input of a label, number, tag or forecast.

    python benchmarks/truth_labels.py [--asked 200]

The data and the networks are those of `tests/deciding.py`; each network trains in a few seconds. For each
task and method the benchmark prints how many explanations are right, that is, give the deciding inputs the
largest contributions, how many right ones pass their self-test, and how many wrong ones do. The exit code
is 1 if the default method is right in less than 95 %, if less than 80 % of its right explanations pass, or
if more than 5 % of the wrong ones do.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from deciding import TRUTHS, is_right
from elman.explain.explanation import METHODS

RIGHT, WRONG_PASS, RIGHT_PASS = 0.95, 0.05, 0.8


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--asked", type=int, default=200)
    count = parser.parse_args().asked
    held = True
    print(f"of {count} answers: right, right ones that pass, wrong ones that pass")
    print(f"{'':18}" + "".join(f"{method:>22}" for method in METHODS))
    for name, truth in TRUTHS.items():
        predictor, draw, cells = truth.fit(), np.random.default_rng(1), []
        asked = [truth.ask(draw) for _ in range(count)]
        for method in METHODS:
            told = [truth.explained(predictor, one, method) for one in asked]
            right = np.array([is_right(*both) for both in zip(told, asked, strict=True)])
            passed = np.array([one.passed is True for one in told])
            good, bad = (passed & right).sum(), (passed & ~right).sum()
            cells.append(f"{right.sum()}, {good}, {bad}")
            if method == METHODS[0]:
                held &= right.mean() >= RIGHT and good >= RIGHT_PASS * right.sum()
                held &= bad <= WRONG_PASS * count
        print(f"{name:18}" + "".join(f"{cell:>22}" for cell in cells), flush=True)
    return int(not held)


if __name__ == "__main__":
    sys.exit(main())
