"""Fit of the wide part to training sequences: its features, its strength, and its weights."""

from __future__ import annotations

import numpy as np

from elman.labels.codec import SequenceCodec
from elman.labels.convolution_fit import fit_convolutions
from elman.labels.examples import EncodedExamples
from elman.labels.linear_models import DEFAULT_SETTINGS, FitSettings
from elman.labels.ngram_fit import fit_ngrams
from elman.labels.wide import WidePart


def fit_wide(
    codec: SequenceCodec, examples: EncodedExamples, settings: FitSettings = DEFAULT_SETTINGS
) -> tuple[WidePart, float] | None:
    """Fit the wide part that suits the sequences: n-grams of texts, or convolutions of numbers.

    Args:
        codec: The codec of the sequences.
        examples: The training set, with one label or number for each sequence.
        settings: How the linear model is fitted.

    Returns:
        The part and its regularisation, or None if there is nothing to learn.
    """
    targets = np.concatenate(examples.targets)
    if len(np.unique(targets)) < 2:
        return None
    if codec.tokens is not None:
        return fit_ngrams(codec, examples, settings)
    outputs = 1 if codec.labels is None else len(codec.labels)
    fitted = fit_convolutions(examples.encoded.sequences, targets, outputs, settings)
    return None if fitted is None else (fitted.part, fitted.strength)
