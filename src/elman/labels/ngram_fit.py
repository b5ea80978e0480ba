"""Fit of the n-gram part: the n-grams of the training texts, their scales and their weights."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import numpy as np

from elman.labels.codec import SequenceCodec
from elman.labels.examples import EncodedExamples
from elman.labels.features import MANY_TEXTS, Features
from elman.labels.linear_models import (
    RIDGE_ALPHA,
    SUPPORT_VECTOR_C,
    FitSettings,
    fit_chosen,
    label_score,
    linear_weights,
    number_score,
    ridge,
    sample_rows,
    support_vectors,
)
from elman.labels.ngrams import (
    TEXTS_PER_BLOCK,
    NgramPart,
    NgramReader,
    Occurrences,
    Values,
    feature_values,
)

MAX_TEXTS = 100_000
MAX_WEIGHTS, MAX_NGRAMS = 4_000_000, 200_000
"""Limits of a model's file: of more n-grams those in the most texts are kept."""
NONE = np.empty(0, np.int64)
WORDS, LETTERS, CHARACTERS = 2, 5, 5
"""Longest n-grams of words, of letters inside a word, and of characters where those are the tokens."""


def ngram_reader(codec: SequenceCodec) -> NgramReader:
    """Return the reader of n-grams of texts with this codec."""
    alphabet, tokens = codec.alphabet, codec.vocabulary
    folded = np.empty(0, np.uint32)
    if alphabet is not None:
        lower = alphabet.numbers(token.lower() for token in alphabet.tokens)
        # a character whose lower case is not in the alphabet counts as itself
        folded = np.where(lower, lower, np.arange(len(alphabet))).astype(np.uint32)
    by_character = tokens.level == "char"
    return NgramReader(
        CHARACTERS if by_character else WORDS, LETTERS if alphabet is not None else 0, folded
    )


def fit_ngrams(
    codec: SequenceCodec, examples: EncodedExamples, settings: FitSettings
) -> tuple[NgramPart, float] | None:
    """Fit the n-gram part: a linear support vector machine for labels, a ridge regression for numbers.

    Args:
        codec: The codec of the texts.
        examples: The training set; of more than `MAX_TEXTS` a sample is used.
        settings: How the linear model is fitted.

    Returns:
        The part and its regularisation, or None if no n-gram occurs in enough texts.
    """
    reader, rows = ngram_reader(codec), sample_rows(len(examples), settings.seed, MAX_TEXTS)
    targets = np.concatenate(examples.targets)[rows]
    outputs = 1 if codec.labels is None else len(codec.labels)
    ends = range(TEXTS_PER_BLOCK, len(rows), TEXTS_PER_BLOCK)
    blocks = np.split(rows, ends)
    # only explanations ask what an n-gram covers; millions of such numbers would fill the memory
    found = [
        reader.read(examples.encoded, block.tolist())._replace(first=NONE, width=NONE)
        for block in blocks
    ]
    keys, texts = _frequent(found, len(rows), min(MAX_NGRAMS, MAX_WEIGHTS // outputs))
    if not len(keys):
        return None
    # the smoothed inverse document frequency
    scale = 1 + np.log((1 + len(rows)) / (1 + texts))
    make, strengths, score = ridge(), [*RIDGE_ALPHA], number_score(targets)
    if codec.labels is not None:
        of_blocks = [feature_values(part, keys, scale)[0] for part in found]
        labels = [targets[block] for block in np.split(np.arange(len(rows)), ends)]
        scale = _log_ratios(of_blocks, labels, outputs, len(keys))
        make = support_vectors(settings)
        strengths, score = [*SUPPORT_VECTOR_C], label_score(settings.metric, targets)
    scale = scale.astype(np.float32)
    features = _features(
        [feature_values(part, keys, scale)[0] for part in found], blocks, len(keys)
    )
    model, strength = fit_chosen(make, strengths, features, targets, score, settings)
    weights, bias = (part.astype(np.float32) for part in linear_weights(model, outputs))
    return NgramPart(reader, keys, scale, weights, bias), strength


def _frequent(
    found: Sequence[Occurrences], count: int, limit: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the keys, ascending, of at most `limit` n-grams of `count` texts, and the texts with each."""
    pairs = [np.unique(np.stack([part.row, part.key]), axis=1)[1] for part in found]
    keys, texts = np.unique(np.concatenate(pairs).astype(np.uint32), return_counts=True)
    kept = np.flatnonzero(texts >= (2 if count >= MANY_TEXTS else 1))
    # of equally frequent n-grams those with the smaller hash, which is as good as random
    kept = np.sort(kept[np.argsort(-texts[kept], kind="stable")[:limit]])
    return keys[kept], texts[kept]


def _features(values: Sequence[Values], blocks: Sequence[np.ndarray], count: int) -> Features:
    """Return the sparse matrix ``[N, F]`` of the values of `count` n-grams in blocks of texts."""
    sparse = import_module("scipy.sparse")
    matrices = [
        sparse.csr_matrix((part.value, (part.row, part.feature)), (len(block), count))
        for part, block in zip(values, blocks, strict=True)
    ]
    matrix: Features = sparse.vstack(matrices, "csr")
    return matrix


def _log_ratios(
    values: Sequence[Values], labels: Sequence[np.ndarray], outputs: int, count: int
) -> np.ndarray:
    """Return the scale of each n-gram: its largest log-count ratio between a label and all others.

    Source: S. Wang, C. Manning, "Baselines and Bigrams: Simple, Good Sentiment and Topic Classification"
    (2012), equation 2 with a smoothing of 1, here for any number of labels.
    """
    # [K, F]: the texts of each label that each n-gram occurs in
    texts = np.zeros(outputs * count)
    for part, numbers in zip(values, labels, strict=True):
        texts += np.bincount(numbers[part.row] * count + part.feature, minlength=len(texts))
    inside = texts.reshape(outputs, count)
    inside = inside[inside.any(axis=1)]
    others = 1 + inside.sum(axis=0) - inside
    inside = 1 + inside
    ratios = np.log(inside / inside.sum(axis=1, keepdims=True))
    ratios -= np.log(others / others.sum(axis=1, keepdims=True))
    return np.asarray(abs(ratios).max(axis=0))
