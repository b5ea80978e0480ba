"""The numbers of one training run: what the options say, and for the rest a table.

The table goes by the time a run may take and by the amount of text. The rows for some three minutes of
characters and ten minutes of words were measured on two cores of an x86-64 server with AVX-512; the others
are by judgement from those (benchmarks/recipe.py measures a row).
"""

from __future__ import annotations

from dataclasses import dataclass

from elman.options import DEFAULT_TIME, LanguageOptions, seconds

__all__ = ["TABLE", "Plan", "Row", "resolve"]


SAMPLED = 1024
"""Tokens drawn a step for the softmax of a vocabulary of eight times as many or more."""


@dataclass(frozen=True)
class Row:
    """One row of the table: up to `tokens` of training text and `seconds` of budget, these sizes."""

    tokens: float
    seconds: float
    hidden_size: int
    num_layers: int
    batch_size: int
    sequence_length: int
    learning_rate: float
    dropout: float


_ANY = float("inf")

# The first row in which both the training tokens and the budget fit.
TABLE: dict[str, tuple[Row, ...]] = {
    "char": (
        Row(20_000, _ANY, 128, 1, 8, 64, 4e-3, 0.3),
        Row(200_000, _ANY, 256, 1, 16, 64, 3e-3, 0.3),
        Row(_ANY, 30, 256, 1, 32, 64, 8e-3, 0.0),
        Row(_ANY, 90, 384, 1, 32, 64, 8e-3, 0.0),
        Row(_ANY, 400, 512, 1, 32, 64, 7e-3, 0.1),
        Row(3_000_000, _ANY, 512, 2, 32, 128, 2e-3, 0.4),
        Row(_ANY, _ANY, 512, 2, 32, 128, 2e-3, 0.1),
    ),
    "word": (
        Row(20_000, _ANY, 64, 1, 16, 32, 4e-3, 0.3),
        Row(500_000, _ANY, 128, 1, 32, 32, 4e-3, 0.2),
        Row(_ANY, 1200, 256, 1, 32, 32, 4e-3, 0.2),
        Row(_ANY, _ANY, 400, 2, 32, 64, 2e-3, 0.4),
    ),
}


@dataclass(frozen=True)
class Plan:
    """A training run in numbers: one of `time` (seconds), `epochs` and `steps` is its budget."""

    hidden_size: int
    num_layers: int
    embedding_size: int
    tied: bool
    dropout: float
    batch_size: int
    sequence_length: int
    learning_rate: float
    sampled_softmax: int
    time: float | None
    epochs: float | None
    steps: int | None
    weight_decay: float
    warm_up: float
    clip: float
    evaluations: int
    patience: int
    checkpoint_every: float
    precision: str
    seed: int


def _row(level: str, tokens: int, budget: float) -> Row:
    return next(row for row in TABLE[level] if tokens <= row.tokens and budget <= row.seconds)


def resolve(options: LanguageOptions, tokens: int, vocabulary_size: int) -> Plan:
    """Return the run that `options` ask for on a training text of so many tokens.

    >>> resolve(LanguageOptions(level="char", time="3m", num_layers=2), 1_000_000, 65).num_layers
    2
    """
    unlimited = options.time is None and options.epochs is None and options.steps is None
    time = seconds(DEFAULT_TIME) if unlimited else None
    if options.time is not None:
        time = seconds(options.time)
    # a budget in steps or epochs says nothing about time: sizes as for a run of a few minutes
    row = _row(options.level, tokens, time if time is not None else seconds(DEFAULT_TIME))
    hidden_size = options.hidden_size or row.hidden_size
    embedding_size = options.embedding_size or hidden_size
    tied = embedding_size == hidden_size if options.tied is None else options.tied
    return Plan(
        hidden_size=hidden_size,
        num_layers=options.num_layers or row.num_layers,
        embedding_size=embedding_size,
        tied=tied,
        dropout=row.dropout if options.dropout is None else options.dropout,
        batch_size=options.batch_size or row.batch_size,
        sequence_length=options.sequence_length or row.sequence_length,
        learning_rate=(
            row.learning_rate if options.learning_rate is None else options.learning_rate
        ),
        sampled_softmax=(
            SAMPLED * (vocabulary_size >= 8 * SAMPLED)
            if options.sampled_softmax is None
            else options.sampled_softmax
        ),
        time=time,
        epochs=options.epochs,
        steps=options.steps,
        weight_decay=options.weight_decay,
        warm_up=options.warm_up,
        clip=options.clip,
        evaluations=options.evaluations,
        patience=options.patience,
        checkpoint_every=seconds(options.checkpoint_every),
        precision=options.precision,
        seed=options.seed,
    )
