"""Train on tweets by the command, and compare macro recall on the official test set with plain models.

    python benchmarks/tweets.py FOLDER [--seeds 3] [--out FOLDER] [-- more options of elman train]

FOLDER holds {train,val,test}_text.txt and _labels.txt (0 negative, 1 neutral, 2 positive). The benchmark
writes them as CSV files; `elman train` validates on val, and `elman evaluate` measures on test. The training
text is rebuilt from the SemEval files and is not byte-identical to TweetEval's. The exit code is 1 if the
mean macro recall over the seeds is below 0.61.
"""

from __future__ import annotations

import argparse
import csv
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

NAMES = ("negative", "neutral", "positive")
ACCEPTED = 0.61
TRAIN = [
    *("--text", "text", "--label", "label"),
    *("--class-weight", "balanced", "--metric", "macro_recall"),
]


def convert(folder: Path, part: str, out: Path) -> Path:
    """Write the training, validation or test set as a CSV of texts and labels; return its path."""
    labels = (folder / f"{part}_labels.txt").read_text(encoding="utf-8").split()
    texts = (folder / f"{part}_text.txt").read_text(encoding="utf-8").split("\n")[: len(labels)]
    path = out / f"{part}.csv"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["text", "label"])
        writer.writerows(
            (text, NAMES[int(label)]) for text, label in zip(texts, labels, strict=True)
        )
    return path


def elman(*arguments: str) -> dict[str, object]:
    """Run the command and return its JSON."""
    command = [sys.executable, "-m", "elman", *arguments, "--json"]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, check=True)
    found: dict[str, object] = json.loads(done.stdout)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path)
    parser.add_argument("more", nargs="*")
    given = parser.parse_args()
    scores = []
    with tempfile.TemporaryDirectory() as temporary:
        out = given.out or Path(temporary)
        train, val, test = (convert(given.folder, part, out) for part in ("train", "val", "test"))
        for seed in range(given.seeds):
            begun = time.monotonic()
            model = str(out / f"tweets-{seed}.safetensors")
            where = [str(train), "--valid", str(val), "--test", str(test)]
            where += ["-o", model, "--seed", str(seed)]
            elman("train", *where, *TRAIN, *given.more)
            seconds = time.monotonic() - begun
            beside = ["--train", str(train)] if seed == 0 else []
            report = elman("evaluate", model, str(test), "--metric", "macro_recall", *beside)
            scores.append(float(str(report["macro_recall"])))
            print(
                f"seed {seed}: macro recall {scores[-1]:.4f}, accuracy {report['accuracy']:.4f}, "
                f"calibration error {report['calibration_error']:.4f}, trained in {seconds:.0f} s",
                flush=True,
            )
            for sentence in report["sentences"]:  # type: ignore[attr-defined]
                print(f"  {sentence}", flush=True)
    spread = statistics.stdev(scores) if len(scores) > 1 else 0.0
    mean = statistics.mean(scores)
    print(f"macro recall {mean:.4f}, standard deviation {spread:.4f}, {len(scores)} seeds")
    return int(mean < ACCEPTED)


if __name__ == "__main__":
    sys.exit(main())
