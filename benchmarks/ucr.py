"""Measure accuracy on the official test sets of the UCR and UEA archives, over several seeds.

    python benchmarks/ucr.py FOLDER [--seeds 3] [--threads 2]

FOLDER holds files NAME_TRAIN.ts and NAME_TEST.ts at any depth. All options have their defaults; no setting is
chosen on the test sets. For comparison, a linear model of summary statistics is fitted on the same training
set. The exit code is 1 if a mean accuracy is below the required one.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from pathlib import Path

import elman
from elman.labels.baselines import measure_label_baselines
from elman.labels.dataset import Sequences
from elman.labels.examples import LabelledSequences
from elman.labels.uea import read_ts

ASKED = {"JapaneseVowels": 0.97, "GunPoint": 0.93, "ItalyPowerDemand": 0.95}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    given = parser.parse_args()
    short = False
    for name, asked in ASKED.items():
        (train,) = given.folder.rglob(f"{name}_TRAIN.ts")
        (test,) = given.folder.rglob(f"{name}_TEST.ts")
        data, other = (read_ts(path) for path in (train, test))
        parts = [LabelledSequences(Sequences.of(part[0]), part[1]) for part in (data, other)]
        plain = measure_label_baselines(*parts)[-1]
        scores = []
        for seed in range(given.seeds):
            begun = time.monotonic()
            model = elman.SequenceClassifier(seed=seed, threads=given.threads)
            model.fit(*data)
            report = model.evaluate(*other)
            scores.append(report.accuracy)
            print(
                f"{name}, seed {seed}: accuracy {report.accuracy:.4f}, macro F1 "
                f"{report.macro_f1:.4f}, calibration error {report.calibration_error:.4f}, "
                f"{time.monotonic() - begun:.0f} s",
                flush=True,
            )
        mean = statistics.mean(scores)
        spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
        short |= mean < asked
        print(
            f"{name}: {mean:.4f}, standard deviation {spread:.4f}, asked {asked}; "
            f"{plain.name} {plain.accuracy:.4f}",
            flush=True,
        )
    return int(short)


if __name__ == "__main__":
    sys.exit(main())
