"""Fit of the n-gram part: the n-grams of the training texts, their scales and their weights."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

import numpy as np

from elman.labels.codec import SequenceCodec
from elman.labels.examples import EncodedExamples
from elman.labels.features import MANY_TEXTS, Features
from elman.labels.linear_models import LinearWeights, sample_rows
from elman.labels.ngrams import TEXTS_PER_BLOCK, NgramPart, NgramReader, feature_values

MAX_TEXTS = 100_000
MAX_WEIGHTS, MAX_NGRAMS = 4_000_000, 200_000
"""Limits of a model's file: of more n-grams those in the most texts are kept."""
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
    codec: SequenceCodec,
    examples: EncodedExamples,
    fit: Callable[[Features, np.ndarray], LinearWeights],
    *,
    outputs: int,
    seed: int,
) -> tuple[NgramPart, float] | None:
    """Fit the n-gram part.

    Args:
        codec: The codec of the texts.
        examples: The training set; of more than `MAX_TEXTS` a sample is used.
        fit: Fits a linear model to features and targets.
        outputs: Number of the network's outputs, K.
        seed: Seed of the sample.

    Returns:
        The part and its regularisation, or None if no n-gram occurs in enough texts.
    """
    reader, rows = ngram_reader(codec), sample_rows(len(examples), seed, MAX_TEXTS)
    blocks = np.split(rows, range(TEXTS_PER_BLOCK, len(rows), TEXTS_PER_BLOCK))
    found = [reader.read(examples.encoded, block.tolist()) for block in blocks]
    pairs = [np.unique(np.stack([part.row, part.key]), axis=1)[1] for part in found]
    # the number of texts that each n-gram occurs in
    keys, texts = np.unique(np.concatenate(pairs).astype(np.uint32), return_counts=True)
    kept = np.flatnonzero(texts >= (2 if len(rows) >= MANY_TEXTS else 1))
    limit = min(MAX_NGRAMS, MAX_WEIGHTS // outputs)
    # of equally frequent n-grams those with the smaller hash, which is as good as random
    kept = np.sort(kept[np.argsort(-texts[kept], kind="stable")[:limit]])
    if not len(kept):
        return None
    keys, scale = keys[kept], inverse_frequency(texts[kept], len(rows)).astype(np.float32)
    values = [feature_values(part, keys, scale)[0] for part in found]
    sparse = import_module("scipy.sparse")
    features = sparse.vstack(
        [
            sparse.csr_matrix((part.value, (part.row, part.feature)), (len(block), len(keys)))
            for part, block in zip(values, blocks, strict=True)
        ],
        "csr",
    )
    linear = fit(features, np.concatenate(examples.targets)[rows])
    weights, bias = linear.weights.astype(np.float32), linear.bias.astype(np.float32)
    return NgramPart(reader, keys, scale, weights, bias), linear.strength


def inverse_frequency(texts: np.ndarray, count: int) -> np.ndarray:
    """Return the smoothed inverse document frequency of n-grams in `texts` of `count` texts."""
    return np.asarray(1 + np.log((1 + count) / (1 + texts)))
