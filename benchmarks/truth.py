"""Check explanations against the truth, on texts whose deciding words are known.

    python benchmarks/truth.py [--prompts 200] [--corpus moved ...] [--level word char] [--cell gru lstm] \
        [--models FOLDER]

For each corpus of `tests/truth.py`, and for models of words and of characters, gru and lstm, the benchmark
trains a small model and explains new prompts by every method. Models of characters read the same stories in
fewer words. With `--models` trained models are kept in a folder and used again. An explanation is right if
the deciding words, and no others, have the largest contributions; those of a character model are summed over
words. The benchmark counts

- the right ones by the default method, quick and refined;
- the wrong explanations that pass their self-test: those of the other methods, and contributions of the
  default method that are permuted among the words;
- the right ones that pass it, of all methods.

The exit code is 1 if fewer than 90 % of the default explanations are right (moved: 58 of 60), if more than
5 % of the wrong ones pass, or if fewer than 80 % of the right ones pass.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

import elman
from elman.explain.explanation import METHODS, Explanation
from elman.explain.selftest import self_test

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))
import truth

RIGHT, MOVED, WRONG_PASS, RIGHT_PASS = 0.9, 58 / 60, 0.05, 0.8
PERMUTED = 3
"""Permutations of each default explanation."""
SETTINGS: dict[str, dict[str, Any]] = {
    "word": {"hidden_size": 96, "steps": 2500, "learning_rate": 0.01},
    "char": {
        "hidden_size": 128,
        "steps": 3000,
        "learning_rate": 0.01,
        "warm_up": 0.1,
        "sequence_length": 64,
    },
}


def trained(corpus: str, level: str, cell: str, models: Path | None) -> Any:
    """Return a small model of a corpus: from the folder `models` if it is there, else newly trained."""
    file = models and models / f"{corpus}-{level}-{cell}.safetensors"
    if file and file.exists():
        return elman.load(file)
    model = elman.LanguageModel(
        level=level,
        documents="line",
        cell=cell,
        dropout=0,
        batch_size=32,
        evaluations=1,
        seed=0,
        **SETTINGS[level],
    ).fit(truth.lines(corpus, level))
    if file:
        file.parent.mkdir(parents=True, exist_ok=True)
        model.save(file)
    return model


def permuted(told: Explanation, falls: np.ndarray, draw: np.random.Generator) -> Explanation:
    """Return the explanation with its contributions permuted among the words, and self-tested again."""
    names, _ = told.by_word
    groups = np.array(told.groups or range(len(told.inputs)))
    sums = np.bincount(groups, told.contributions)
    words = np.flatnonzero([name != " " for name in names])
    sums[words] = sums[draw.permutation(words)]
    # each character carries an equal part of its word
    contributions = (sums / np.bincount(groups))[groups]
    return replace(
        told, contributions=contributions, test=self_test(sums, falls, min_change=told.min_change)
    )


def measure(corpus: str, level: str, cell: str, count: int, models: Path | None) -> bool:
    """Train, explain and print one row; return whether all limits are kept."""
    begun = time.process_time()
    model = trained(corpus, level, cell, models)
    took, rng, draw = time.process_time() - begun, random.Random(1), np.random.default_rng(1)
    top = quick = learned = 0
    passed: dict[bool, list[bool]] = {True: [], False: []}
    for _ in range(count):
        prompt = truth.drawn(corpus, level, rng)
        text, answer = truth.asked(prompt, level)
        learned += model.predict_next(text, 1)[0][0] == answer
        default = model.explain(text, answer)
        found = {
            method: model.explain(text, answer, method=method)
            for method in METHODS
            if method != default.method
        }
        top += truth.why(default, prompt)
        quick += truth.why(model.explain(text, answer, quick=True), prompt)
        other = found["decomposition"]
        falls = np.bincount(np.array(other.groups or range(len(other.inputs))), other.absence)
        others = [permuted(default, falls, draw) for _ in range(PERMUTED)]
        for told in (default, *found.values(), *others):
            passed[truth.why(told, prompt)].append(told.passed is True)
    shares = {right: float(np.mean(stood)) if stood else 0.0 for right, stood in passed.items()}
    print(
        f"{corpus:11} {level:4} {cell:4} trained in {took:3.0f} s, {learned} of {count} answered; on top by "
        f"default {top}, quick {quick}; wrong ones that pass {sum(passed[False])} of {len(passed[False])}, "
        f"right ones that pass {sum(passed[True])} of {len(passed[True])}",
        flush=True,
    )
    bar = MOVED if corpus == "moved" else RIGHT
    return top >= bar * count and shares[False] <= WRONG_PASS and shares[True] >= RIGHT_PASS


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--prompts", type=int, default=200)
    parser.add_argument("--corpus", nargs="+", default=[*truth.CORPORA], choices=[*truth.CORPORA])
    parser.add_argument("--level", nargs="+", default=["word", "char"], choices=["word", "char"])
    parser.add_argument("--cell", nargs="+", default=["gru", "lstm"])
    parser.add_argument("--models", type=Path, help="folder where trained models are kept")
    given = parser.parse_args()
    held = [
        measure(corpus, level, cell, given.prompts, given.models)
        for corpus in given.corpus
        for level in given.level
        for cell in given.cell
    ]
    sys.exit(0 if all(held) else 1)
