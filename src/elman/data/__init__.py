"""Files to numbers: text, its vocabulary, and the batches cut from it; numpy only."""

from __future__ import annotations

from elman.data import meals
from elman.data.batches import (
    IGNORE,
    Batches,
    Chunk,
    Documents,
    Lanes,
    batches_for,
    evaluation_chunks,
    shard,
)
from elman.data.corpora import Corpora, load_corpora
from elman.data.ngram import NgramLoss, ngram_loss
from elman.data.sources import Source
from elman.data.text import Corpus, CorpusFacts, load_corpus
from elman.data.vocabulary import DOCUMENTS, END, LEVELS, SPLITS, UNKNOWN, TextCodec

__all__ = [
    "DOCUMENTS",
    "END",
    "IGNORE",
    "LEVELS",
    "SPLITS",
    "UNKNOWN",
    "Batches",
    "Chunk",
    "Corpora",
    "Corpus",
    "CorpusFacts",
    "Documents",
    "Lanes",
    "NgramLoss",
    "Source",
    "TextCodec",
    "batches_for",
    "evaluation_chunks",
    "load_corpora",
    "load_corpus",
    "meals",
    "ngram_loss",
    "shard",
]
