"""Measure readers of numbers with default options, beside plain models.

    python benchmarks/number_readers.py FOLDER [OPTION=VALUE ...] [--seeds 3] [--threads 2] [--only NAME ...]

The sets are those that the defaults were chosen on: the generators and the days of public series in
`number_sets.py`, and folds of training parts of the UCR archive; FOLDER holds ucr/, ett/ and series/. Options
such as steps=300 go to the estimator. Labels are measured by accuracy, numbers by RMSE over the standard
deviation of the truth. `elman reproduce` measures the official test sets.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from number_sets import GENERATORS, Part, folds, generated, real

import elman
from elman.labels.comparison import fit_baselines
from elman.labels.dataset import Sequences
from elman.labels.examples import LabelledSequences
from elman.labels.label_values import Labels


def sets(folder: Path, seed: int) -> Iterator[tuple[str, Part, Part]]:
    """Yield the name, the training part and the test part of each set."""
    for name in GENERATORS:
        yield (name, *generated(name, seed))
    for name, parts in real(folder, seed).items():
        yield (name, *parts)
    for name in ("GunPoint", "ItalyPowerDemand"):
        yield (f"{name}, a fold", *folds(folder / f"ucr/{name}_TRAIN.ts", seed)[0])


def score(answers: np.ndarray, part: Part) -> float:
    """Return the accuracy, or for numbers the RMSE over their standard deviation."""
    truth = np.asarray(part.targets)
    if isinstance(part.targets[0], float):
        return float(np.sqrt(np.mean((answers - truth) ** 2)) / truth.std())
    return float(np.mean(answers == truth))


def measure(train: Part, test: Part, options: dict[str, Any]) -> dict[str, float]:
    """Return the seconds of training, and the scores of Elman and of plain models, by name."""
    is_number = isinstance(train.targets[0], float)
    began = time.monotonic()
    model: Any = (elman.SequenceRegressor if is_number else elman.SequenceClassifier)(**options)
    model.fit(train.sequences, train.targets)
    seconds = time.monotonic() - began
    row = {"seconds": seconds, "elman": score(model.predict(test.sequences), test)}
    task = "regress" if is_number else "classify"
    data = LabelledSequences(Sequences.of(train.sequences), train.targets).of_task(task)
    labels = None if is_number else Labels.of(train.targets)
    for plain in fit_baselines(data, labels)[1:]:
        answers = plain.predict(Sequences.of(test.sequences).items)
        row[plain.name] = score(answers if labels is None else labels.decode(answers), test)
    return row | {"factor of the wide part": model.card_["wide"]["factor"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("options", nargs="*")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--threads", type=int)
    parser.add_argument("--only", nargs="*")
    given = parser.parse_args()
    extra = {name: int(value) for name, value in (one.split("=") for one in given.options)}
    rows: dict[str, list[dict[str, float]]] = {}
    for seed in range(given.seeds):
        for name, train, test in sets(given.folder, seed):
            if given.only and name not in given.only:
                continue
            row = measure(train, test, {"seed": seed, "threads": given.threads} | extra)
            rows.setdefault(name, []).append(row)
            print(f"{name}, seed {seed}: {_told(row)}", flush=True)
    for name, measured in rows.items():
        means = {key: statistics.mean(row[key] for row in measured) for key in measured[0]}
        print(f"{name}, mean: {_told(means)}")


def _told(row: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:.4f}" for name, value in row.items())


if __name__ == "__main__":
    main()
