"""The run of a network for labelled sequences in numbers: the options, and defaults by the data."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

import numpy as np

from elman.labels.options import LabelledOptions
from elman.training.plan import Schedule, is_unlimited, schedule

__all__ = ["LABELLED_LIMIT", "REFIT_BELOW", "LabelledPlan", "labelled_plan"]


LABELLED_LIMIT = 150.0
"""Seconds that a network for labelled sequences trains at most without a budget; with the plain models
beside it a run takes three minutes."""


REFIT_BELOW = 2000
"""Sequences below which a reader is trained anew on all of them."""


@dataclass(frozen=True, kw_only=True)
class LabelledPlan(Schedule):
    """The run of a reader of labelled sequences in numbers."""

    hidden_size: int
    num_layers: int
    embedding_size: int
    spelling_size: int
    pooling: str
    members: int
    dropout: float
    word_dropout: float
    label_smoothing: float
    refit: bool


def labelled_plan(
    options: LabelledOptions, lengths: np.ndarray, text: bool, validates: bool = True
) -> LabelledPlan:
    """Return the run that `options` ask for on sequences of these lengths.

    Without a budget it goes on until what it `validates` on no longer improves, or for a number of steps.
    """
    count = len(lengths)
    small = count < REFIT_BELOW
    batch = 16 if small else 64
    # small sets need about as many steps as others, not as many passes
    passes = min(20.0, max(3.0, 150_000 / count)), max(5.0, 1000 * batch / count)
    smoothing = getattr(options, "label_smoothing", None)
    hidden_size = options.hidden_size or 64
    how = schedule(
        options,
        batch_size=batch,
        learning_rate=4e-3 if small else 2e-3,
        epochs=passes[0] if text else passes[1],
        average=0.99 if small else 0.995,
    )
    if validates and is_unlimited(options):
        how = replace(how, epochs=None, limit=LABELLED_LIMIT)
    return LabelledPlan(
        **asdict(how),
        hidden_size=hidden_size,
        num_layers=options.num_layers or 1,
        embedding_size=options.embedding_size or 100,
        spelling_size=options.spelling_size or 32,
        pooling=getattr(options, "pooling", None) or ("attention+max" if text else "mean+max"),
        members=options.members or (3 if small and not text else 1),
        dropout=(0.5 if text else 0.2) if options.dropout is None else options.dropout,
        word_dropout=(0.1 if text else 0.0)
        if options.word_dropout is None
        else options.word_dropout,
        label_smoothing=(0.1 if text else 0.0) if smoothing is None else smoothing,
        refit=small if options.refit is None else options.refit,
    )
