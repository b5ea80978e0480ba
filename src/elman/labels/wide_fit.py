"""Fit of the wide part to training sequences: its features, its strength, and its weights."""

from __future__ import annotations

import numpy as np

from elman.labels.codec import SequenceCodec
from elman.labels.convolution_fit import fit_convolutions
from elman.labels.examples import EncodedExamples
from elman.labels.ngram_fit import fit_ngrams
from elman.labels.wide import WidePart


def fit_wide(
    codec: SequenceCodec,
    examples: EncodedExamples,
    *,
    metric: str,
    balanced: bool,
    strength: float | None,
    seed: int,
) -> tuple[WidePart, float] | None:
    """Fit the wide part that suits the sequences.

    Args:
        codec: The codec of the sequences.
        examples: The training set, with one label or number for each sequence.
        metric: Metric of labels by which cross-validation chooses the regularisation.
        balanced: Whether rare classes weigh more.
        strength: The regularisation, if it was chosen before.
        seed: Seed of the samples and folds.

    Returns:
        The part and its regularisation, or None if there is nothing to learn.
    """
    targets = np.concatenate(examples.targets)
    if len(np.unique(targets)) < 2:
        return None
    outputs = 1 if codec.labels is None else len(codec.labels)
    if codec.tokens is None:
        fitted = fit_convolutions(
            examples.encoded.sequences,
            targets,
            outputs,
            balanced=balanced,
            strength=strength,
            seed=seed,
        )
        return None if fitted is None else (fitted.part, fitted.strength)

    return fit_ngrams(
        codec, examples, metric=metric, balanced=balanced, strength=strength, seed=seed
    )
