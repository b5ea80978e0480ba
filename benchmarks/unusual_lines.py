"""Compare the measures of unusual lines: on HDFS events with labels, and on lines with made anomalies.

    python benchmarks/unusual_lines.py FOLDER [--steps 1500] [--seeds 1] [--only NAME ...]

FOLDER holds hdfs_events/, logs/, atis/ and names/. HDFS is measured on the labelled sequences of
robust_log_train.csv, not on those that `elman reproduce hdfs` measures. Of the other sets, every second
unseen line is damaged: a token is left out, doubled, replaced or exchanged with the next one, two are
replaced, or four are shuffled. Each measure gets the area under its ROC curve, and its F1 at a threshold
that 98 % of the normal lines of the validation set do not reach.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from elman import LanguageModel
from elman.language.detection import NORMAL_QUANTILE, detection_figures
from elman.language.surprise import MEASURES, score_lines

SETS = {
    "hdfs": "whitespace",
    "hdfs log": "log",
    "atis tags": "whitespace",
    "atis words": "whitespace",
    "names": "",
}
"""Names of the sets, and how their lines are split into tokens; "" is for characters."""
FILES = {
    "hdfs log": "logs/HDFS_2k.log",
    "atis tags": "atis/train.seq.out",
    "atis words": "atis/train.seq.in",
    "names": "names/names.txt",
}


def damaged(tokens: Sequence[str], known: Sequence[str], draw: np.random.Generator) -> list[str]:
    """Return the tokens of a line with one kind of damage, drawn at random."""
    line, at = [*tokens], int(draw.integers(len(tokens) - 1))
    kind = draw.choice(["delete", "double", "swap", "replace", "replace two", "shuffle"])
    if kind == "delete":
        del line[at]
    elif kind == "double":
        line.insert(at, line[at])
    elif kind == "swap":
        line[at], line[at + 1] = line[at + 1], line[at]
    elif kind == "shuffle":
        line[at : at + 4] = draw.permutation(line[at : at + 4]).tolist()
    else:
        for _ in range(1 + (kind == "replace two")):
            line[int(draw.integers(len(line)))] = str(draw.choice(known))
    return line


def parts(name: str, folder: Path) -> tuple[list[str], list[str], list[str], np.ndarray]:
    """Return lines to train on, normal lines for the threshold, and lines to judge with their truth."""
    if name == "hdfs":
        normal = (folder / "hdfs_events/hdfs_train").read_text().split("\n")
        normal = [line.strip() for line in normal if line.strip()]
        with (folder / "hdfs_events/robust_log_train.csv").open() as file:
            rows = [*csv.DictReader(file)]
        truth = np.array([row["label"] == "1" for row in rows])
        cut = len(normal) * 9 // 10
        return normal[:cut], normal[cut:], [row["Sequence"] for row in rows], truth
    separator = " " if SETS[name] else ""
    lines = (folder / FILES[name]).read_text(encoding="utf-8").split("\n")
    lines = [line.strip() for line in lines if len(line.strip()) > 3][:12_000]
    draw = np.random.default_rng(1)
    lines = [lines[row] for row in draw.permutation(len(lines))]
    first, second = len(lines) * 7 // 10, len(lines) * 8 // 10

    def split(line: str) -> list[str]:
        return line.split(separator) if separator else [*line]

    known = sorted({token for line in lines[:first] for token in split(line)})
    normal, others = lines[second::2], lines[second + 1 :: 2]
    changed = [
        separator.join(damaged(split(line), known, draw)) for line in others if len(split(line)) > 3
    ]
    changed = [line for line in changed if line not in {*others}]
    truth = np.repeat([False, True], [len(normal), len(changed)])
    return lines[:first], lines[first:second], normal + changed, truth


def area(scores: np.ndarray, truth: np.ndarray) -> float:
    """Return the area under the ROC curve: how often an anomaly scores higher; equal scores count half."""
    usual = np.sort(scores[~truth])
    below = np.searchsorted(usual, scores[truth], "left")
    not_above = np.searchsorted(usual, scores[truth], "right")
    return float((below + not_above).mean() / 2 / len(usual))


def measure(name: str, folder: Path, steps: int, seed: int) -> None:
    """Train on the normal lines of a set, and print the figures of every measure."""
    train, valid, judged, truth = parts(name, folder)
    text, known = ("".join(f"{line}\n" for line in lines) for lines in (train, valid))
    level, split = ("word", SETS[name]) if SETS[name] else ("char", "words")
    how = {"level": level, "split": split, "documents": "line", "min_count": 1}
    model = LanguageModel(**how, steps=steps, seed=seed).fit(text, valid=known, test=known)
    usual, others = ([*score_lines(model.predictor_, lines)] for lines in (valid, judged))
    for each in MEASURES:
        scores = np.array([line.score(each) for line in others])
        limit = np.quantile([line.score(each) for line in usual], NORMAL_QUANTILE)
        f1 = detection_figures(scores > limit, truth)["f1"]
        print(
            f"{name:<11} seed {seed}  {each:<6} area {area(scores, truth):.4f}  F1 {f1:.4f}",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--only", nargs="*", choices=SETS, default=[*SETS])
    given = parser.parse_args()
    for name in given.only:
        for seed in range(given.seeds):
            measure(name, given.folder, given.steps, seed)


if __name__ == "__main__":
    main()
