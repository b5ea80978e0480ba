"""Options of the network beside the n-grams: what each brings to the fused answer, without any test set.

``python benchmarks/text_readers.py DATA --sets mr atis --options members=3 dropout=.6`` trains in fixed steps
and prints accuracy and log loss of the network, of the n-grams, and of both fused, on held-out *training*
texts. The factors of the fusion are fitted on one half of the held-out texts and measured on the other one,
for both halves. With ``--unlabelled`` three quarters of the training texts lose their labels and are written
to a file that the network can be pre-trained on (``--options pretrain=1``). ``--save FOLDER`` keeps the
logits, from which the means of several seeds can be computed.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from text_features import Sets, of_files, of_lines

from elman.files.model import Model
from elman.labels.dataset import Sequences
from elman.labels.examples import EncodedExamples, LabelledSequences, RunInputs
from elman.labels.fusion import Factors, fit_factors
from elman.labels.objective import LabelledObjective
from elman.labels.options import ClassifierOptions
from elman.labels.train import LabelledRecipe, StageObjective
from elman.labels.wide_fit import fit_wide
from elman.training.checkpoint import Best, StageResult
from elman.training.journal import Run
from elman.training.trainer import train

STEPS = {"mr": 600, "subj": 600, "atis": 600, "tweets": 600}
TWEETS = 12_000


def loaded(data: Path, name: str) -> Sets:
    """Return texts and labels to train on, and texts and labels held out of the training part."""
    if name in ("mr", "subj"):
        return of_lines(data / f"sentences/{name}.txt", 0)
    folder = data / name
    if name == "atis":
        return of_files(folder, ("train.seq.in", "train.label", "valid.seq.in", "valid.label"))
    files = ("train_text.txt", "train_labels.txt", "val_text.txt", "val_labels.txt")
    texts, labels, held, truth = of_files(folder, files)
    order = np.random.default_rng(0).permutation(len(texts))[:TWEETS]
    return [texts[row] for row in order], labels[order], held, truth


class Logits(LabelledRecipe):
    """The recipe of a classifier, which keeps the logits of its networks instead of comparing models."""

    kept: dict[str, np.ndarray]

    def evaluate(
        self, earlier: Sequence[StageResult], objective: StageObjective, best: Best
    ) -> StageResult:
        """Keep the logits of the held-out texts at the best step."""
        if not isinstance(objective, LabelledObjective) or objective.held is None:
            return super().evaluate(earlier, objective, best)
        objective.network.load(best.arrays)
        Logits.kept = {"network": objective.logits(objective.held)[0], "best": np.array(best.step)}
        factors = {"temperature": 1.0, "wide_factor": 0.0, "strength": None, "validation": None}
        return factors | {
            "stage": self.stages.kinds[len(earlier)],
            "held_out": None,
            "baselines": [],
        }


def train_one(given: Sets, options: dict[str, Any], folder: Path) -> dict[str, np.ndarray]:
    """Train one network and return its logits ``[N, K]``, those of the n-grams, and the true labels."""
    texts, labels, held, truth = given
    data = LabelledSequences(Sequences.of(texts), labels.tolist())
    valid = LabelledSequences(Sequences.of(held), truth.tolist())
    if options.get("pretrain"):
        options = options | {"pretrain": str(folder / "unlabelled.txt")}
    chosen = ClassifierOptions(**options, refit=False, patience=10, threads=1)
    inputs = RunInputs(valid, valid)
    began = time.process_time()
    prepare = partial(Logits.load, "classify", data, chosen, inputs, None)
    model: Model[Any, Any] = train(prepare, chosen, Run()).model
    seconds = time.process_time() - began
    kept = Logits.kept
    codec = replace(model.codec, wide=None)
    examples, measured = (EncodedExamples.of(codec, part) for part in (data, valid))
    fitted = fit_wide(codec, examples)
    assert fitted is not None
    wide = fitted[0].logits(measured.encoded)
    targets = np.concatenate(measured.targets)
    return kept | {"wide": wide, "targets": targets, "seconds": np.array(seconds)}


def crossed(network: np.ndarray, wide: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Return the fused logits ``[N, K]``, each half with the factors of the other half."""
    half = np.random.default_rng(0).permutation(len(targets)) % 2 == 0
    fused = np.empty(network.shape)
    for inside in (half, ~half):
        factors: Factors = fit_factors(
            network[~inside], wide[~inside], targets[~inside], is_number=False
        )
        fused[inside] = factors.fuse(network[inside], wide[inside])
    return fused


def figures(logits: np.ndarray, targets: np.ndarray) -> str:
    """Return accuracy and log loss (nats) of logits; labels that training lacks count as wrong."""
    known = targets >= 0
    shifted = logits - logits.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1))[known]
    losses -= shifted[known, targets[known]]
    return f"{(logits.argmax(axis=1) == targets).mean():.4f} {losses.mean():.4f}"


def main() -> None:
    """Print a row for each data set and seed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("--sets", nargs="+", default=[*STEPS], choices=STEPS)
    parser.add_argument("--options", nargs="*", default=[], help="such as dropout=.6 members=3")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0])
    parser.add_argument("--unlabelled", action="store_true")
    parser.add_argument("--save", type=Path)
    given = parser.parse_args()
    for name in given.sets:
        sets = loaded(given.data, name)
        with tempfile.TemporaryDirectory() as folder:
            if given.unlabelled:
                texts, labels, *held = sets
                Path(folder, "unlabelled.txt").write_text("\n".join(texts[len(texts) // 4 :]))
                sets = (texts[: len(texts) // 4], labels[: len(texts) // 4], *held)
            for seed in given.seeds:
                options: dict[str, Any] = {"seed": seed, "steps": STEPS[name]}
                for pair in given.options:
                    key, value = pair.split("=")
                    options[key] = float(value) if "." in value else value
                    if value.isdecimal():
                        options[key] = int(value)
                row = train_one(sets, options, Path(folder))
                fused = crossed(row["network"], row["wide"], row["targets"])
                shown = {"network": row["network"], "n-grams": row["wide"], "fused": fused}
                columns = [f"{key} {figures(part, row['targets'])}" for key, part in shown.items()]
                label = " ".join([*given.options, "unlabelled" * given.unlabelled])
                facts = f"best step {row['best']}, {row['seconds']:.0f} s"
                print(f"{name:7} seed {seed} {label:30}", *columns, facts, sep=" | ", flush=True)
                if given.save:
                    given.save.mkdir(exist_ok=True, parents=True)
                    np.savez(given.save / f"{name}-{label.replace(' ', '_')}-{seed}.npz", **row)


if __name__ == "__main__":
    main()
