"""Comparison of a trained network with plain models on the test set, for the card."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.labels.baselines import measure_label_baselines, measure_number_baselines
from elman.labels.codec import SequenceCodec
from elman.labels.examples import EncodedExamples, LabelledSequences
from elman.labels.metrics import compare_labels
from elman.labels.regression import RegressionFigures, compare_numbers


def compare_with_baselines(
    task: str,
    codec: SequenceCodec,
    training: LabelledSequences,
    test: LabelledSequences,
    encoded: EncodedExamples,
    logits: np.ndarray,
    *,
    metric: str,
    balanced: bool,
    seed: int,
) -> list[dict[str, Any]]:
    """Fit the plain models on the training set and compare the network with each of them.

    Args:
        task: "classify", "regress" or "tag".
        codec: The codec of the network.
        training: The training set.
        test: The test set.
        encoded: The same test set, encoded.
        logits: The network's logits ``[N, K]`` for it.
        metric: Metric of the comparison.
        balanced: Whether the network gave rare classes more weight, so that plain models do too.
        seed: Seed of the plain models.

    Returns:
        For each plain model its name, metrics, verdict, p-value and a sentence that says how it compares.
    """
    if codec.target is not None:
        truth = test.numbers()
        answers = logits[:, 0].astype(np.float64) * codec.target.scale[0] + codec.target.mean[0]
        network = RegressionFigures.of("the network", answers, truth)
        numbers = measure_number_baselines(training, test, seed=seed)
        figures = [model.figures() for model in numbers]
        comparisons = compare_numbers(truth, network, numbers)
    else:
        weight = "balanced" if balanced or metric == "macro_recall" else None
        labels = measure_label_baselines(
            task, training, test, codec.labels, weight, metric=metric, seed=seed
        )
        figures = [model.figures() for model in labels]
        targets = np.concatenate(encoded.targets)
        comparisons = compare_labels(targets, logits.argmax(axis=1), labels, metric, encoded.tags)
    return [
        values | {"verdict": result.verdict, "p_value": result.p_value, "sentence": str(result)}
        for values, result in zip(figures, comparisons, strict=True)
    ]
