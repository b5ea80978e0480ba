"""Find what single units of a network stand for, and compare with an untrained network and the bare input.

    python benchmarks/units.py MODEL FILE [--steps 60000]

FILE is a text that the model was not trained on. It may also be the training text of a model that was trained
without --valid: the benchmark reads the last steps, which were held out if the held-out end is long enough.
The exit code is 1 unless some property has an area under the ROC curve of at least 0.95 on held-out text, at
least 0.05 above both baselines.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import elman

ACCEPTED, AHEAD = 0.95, 0.05


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model")
    parser.add_argument("file", type=Path)
    parser.add_argument("--steps", type=int, default=60_000)
    given = parser.parse_args()
    begun = time.monotonic()
    text = given.file.read_text(encoding="utf-8")
    found = elman.load(given.model).units(text, steps=given.steps)
    size = f"{len(found.reading.tokens):,} steps, {len(found.reading.units):,} units"
    print(f"{found}\n{size}, {time.monotonic() - begun:.0f} s")
    good = [one for one in found.scores if one.area > ACCEPTED and one.gain > AHEAD]
    for one in good:
        print(
            f"{one.meaning}: unit {one.place} has a held-out area of {one.area:.3f}; "
            f"untrained {one.baseline:.3f}, the input alone {one.token:.3f}"
        )
    if not good:
        print(f"no property reaches {ACCEPTED} and is {AHEAD} ahead of its baselines")
    return int(not good)


if __name__ == "__main__":
    sys.exit(main())
