"""Rank unusual event sequences and log lines by surprise, and measure the ranking against labels.

    python benchmarks/hdfs.py FOLDER [--bgl BGL_2k.log] [--steps 3000] [--threads 1]

FOLDER holds hdfs_train (normal sequences of event ids, one a line) and robust_log_train.csv and
robust_log_valid.csv (columns Sequence and label, 1 an anomaly). The ids mean the same in all three:
5 is E5 of HDFS_templates.csv. The network is trained on hdfs_train alone. Its size has the smallest loss on
the last tenth of hdfs_train. The default measure was chosen on robust_log_train.csv, whose figures are in
the table's first column. No setting was chosen on robust_log_valid.csv. The exit code is 1 if the area under
the ROC curve on this file, averaged over three seeds, is below 0.95.

BGL has raw lines whose first field is `-` or the name of an alert. The six fields before the message (label,
times, nodes) are removed, and numbers are masked (split "log"). A network is trained on the normal lines
among every second line, or in the first half; the other lines are ranked. No setting was chosen on them.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from pathlib import Path

import numpy as np
from sklearn.metrics import roc_auc_score

import elman
from elman.language.ranking import rank_lines
from elman.language.surprise import MEASURES

SIZES = (32, 64, 128, 256)
SEEDS = (0, 1, 2)
ACCEPTED = 0.95
DEFAULT = "max"


def labelled(path: Path) -> tuple[str, np.ndarray]:
    """Return the sequences as one text with a line for each sequence, and their labels ``[N]``."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    lines = [row["Sequence"].strip() + "\n" for row in rows]
    return "".join(lines), np.array([int(row["label"]) for row in rows])


def trained(text: str | Path, **settings: object) -> elman.LanguageModel:
    """Train a language model on the lines of `text`, print its loss, and return it."""
    begun = time.monotonic()
    model = elman.LanguageModel(documents="line", min_count=1, **settings).fit(text)
    print(
        f"  {settings['hidden_size']:>4} units, seed {settings['seed']}: held out "
        f"{model.card_['held_out']['loss']:.4f} nats a token, n-gram {model.card_['ngram']['loss']:.4f} "
        f"({time.monotonic() - begun:.0f} s)"
    )
    return model


def areas(model: elman.LanguageModel, text: str, labels: np.ndarray) -> dict[str, float]:
    """Return the area under the ROC curve by measure."""
    return {
        measure: float(
            roc_auc_score(labels, rank_lines(model.predictor_, text, measure=measure, top=1).scores)
        )
        for measure in MEASURES
    }


def hdfs(folder: Path, settings: dict[str, object]) -> float:
    """Print the rankings of the event sequences; return the mean area of the default measure."""
    print("HDFS, trained on hdfs_train alone")
    settings |= {"split": "whitespace"}
    models = {
        size: trained(folder / "hdfs_train", hidden_size=size, seed=SEEDS[0], **settings)
        for size in SIZES
    }
    size = min(models, key=lambda size: models[size].card_["held_out"]["loss"])
    print(f"  chosen by held-out loss: {size} units")
    chosen = [models[size]]
    chosen += [
        trained(folder / "hdfs_train", hidden_size=size, seed=seed, **settings)
        for seed in SEEDS[1:]
    ]
    found = []
    for name in ("robust_log_train.csv", "robust_log_valid.csv"):
        text, labels = labelled(folder / name)
        found.append([areas(model, text, labels) for model in chosen])
    print(f"  area under the ROC curve, mean of {len(SEEDS)} seeds (least to greatest)")
    print(f"  {'measure':<8} {'robust_log_train':>26} {'robust_log_valid':>26}")
    for measure in MEASURES:
        cells = []
        for seeds in found:
            values = [seed[measure] for seed in seeds]
            cells.append(f"{np.mean(values):.4f} ({min(values):.4f} to {max(values):.4f})")
        mark = "  the default" if measure == DEFAULT else ""
        print(f"  {measure:<8} {cells[0]:>26} {cells[1]:>26}{mark}")
    return float(np.mean([seed[DEFAULT] for seed in found[1]]))


def bgl(path: Path, settings: dict[str, object]) -> None:
    """Print how well alerts among raw log lines are ranked."""
    with path.open(encoding="utf-8", errors="replace") as file:
        lines = [line.rstrip("\r\n").split(" ", 6) for line in file]
    alert = np.array([fields[0] != "-" for fields in lines])
    text = [fields[-1] + "\n" for fields in lines]
    settings |= {"split": "log", "hidden_size": 128, "seed": SEEDS[0]}
    number = np.arange(len(lines))
    for name, training in (
        ("every second line", number % 2 == 0),
        ("the first half", number < len(lines) // 2),
    ):
        print(f"BGL, trained on what is normal in {name}")
        model = trained("".join(text[n] for n in number[training & ~alert].tolist()), **settings)
        others = "".join(text[n] for n in number[~training].tolist())
        found = areas(model, others, alert[~training])
        share = f"{alert[~training].sum()} alerts among {np.count_nonzero(~training):,} lines"
        print("  " + ", ".join(f"{key} {value:.4f}" for key, value in found.items()) + f"; {share}")


def main() -> None:
    """Run."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--bgl", type=Path)
    parser.add_argument("--steps", type=int, default=3000)
    parser.add_argument("--threads", type=int, default=1)
    given = parser.parse_args()
    settings: dict[str, object] = {"level": "word", "steps": given.steps, "threads": given.threads}
    area = hdfs(given.folder, dict(settings))
    if given.bgl:
        bgl(given.bgl, dict(settings))
    print(f"HDFS valid {area:.4f}, accepted from {ACCEPTED}")
    sys.exit(area < ACCEPTED)


if __name__ == "__main__":
    main()
