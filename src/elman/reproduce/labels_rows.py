"""Measures of rows about labelled sequences: official parts or folds train a network and measure it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import elman
from elman import SequenceClassifier, SequenceTagger
from elman.reproduce.row import SPLIT_SEED, Measured, Trial

Part: TypeAlias = tuple[Sequence[Any], list[Any]]
"""Sequences and their labels or tags."""


def official_labels(trial: Trial, metric: str = "accuracy", **options: str) -> Measured:
    """Train a classifier with official parts; return its figure for the test part."""
    model = SequenceClassifier(**trial.settings).set_params(**options)
    if metric != "accuracy":
        model.set_params(metric=metric)
    return _labelled(trial, model, _parts(trial.files), metric)


def official_tags(trial: Trial) -> Measured:
    """Train a tagger with official parts; return the entity F1 of the test part."""
    model = SequenceTagger(metric="entity_f1", **trial.settings)
    parts = [
        ([text.split() for text in texts], [str(tags).split() for tags in all_tags])
        for texts, all_tags in _parts(trial.files)
    ]
    return _labelled(trial, model, parts, "entity_f1")


def ten_folds(trial: Trial, count: int = 10) -> Measured:
    """Return the mean accuracy of stratified folds."""
    ((texts, labels),) = _parts(trial.files)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    # equal labels become neighbours, and neighbours go to the folds in turn
    order = order[np.argsort(np.array(labels)[order], kind="stable")]
    figures = []
    for fold in range(count):
        chosen = np.arange(len(order)) % count == fold
        train, test = (
            ([texts[row] for row in rows], [labels[row] for row in rows])
            for rows in (np.sort(order[~chosen]), np.sort(order[chosen]))
        )
        model = SequenceClassifier(**trial.settings)
        figures.append(_labelled(trial, model, [train, test], "accuracy", f"-{fold}"))
    beside = {name: _mean(figure.beside[name] for figure in figures) for name in figures[0].beside}
    return Measured(_mean(figure.value for figure in figures), beside)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean([*values]))


def _parts(files: Sequence[Path]) -> list[Part]:
    """Return the parts in a row: a `.ts` file or one with lines ``LABEL TEXT`` each, or a pair of files."""
    one_file = len(files) == 1 or files[0].suffix == ".ts"
    sources = [str(file) for file in files]
    if not one_file:
        sources = [f"{texts},{labels}" for texts, labels in zip(*[iter(sources)] * 2, strict=True)]
    parts: list[Part] = []
    for source in sources:
        sequences, labels = elman.read_sequences(source)
        parts.append((sequences, [*(labels or ())]))
    return parts


def _labelled(
    trial: Trial,
    model: SequenceClassifier | SequenceTagger,
    parts: Sequence[Part],
    metric: str,
    name: str = "",
) -> Measured:
    """Train on the first part, validate on a part between it and the last, and measure the last one."""
    (X, y), *valid, test = parts
    model.fit(X, y, valid=valid[0] if valid else None, test=test, **trial.run(name))
    trial.ended(model)
    beside = {plain["name"]: float(plain[metric]) for plain in model.card_["baselines"]}
    report = model.evaluate(*test)
    of = report.entities if metric == "entity_f1" else report
    return Measured(float(getattr(of, metric.removeprefix("entity_"))), beside)
