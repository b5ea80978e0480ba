"""The run of a language model in numbers: the options, and a table for the rest.

A row is chosen by the time that a run may take and by the amount of text. The rows for about three minutes of
characters and ten minutes of words were measured on two cores of an x86-64 server with AVX-512; the others
were estimated from them (benchmarks/recipe.py measures a row).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace

from elman.language.options import DEFAULT_TIME, LanguageOptions
from elman.training.options import seconds
from elman.training.plan import Schedule, is_unlimited, schedule

__all__ = ["SAMPLED", "SMALL_STEPS", "TABLE", "Plan", "Row", "resolve"]


SMALL_STEPS = 500
"""Steps on a text of which nothing is held out: some seconds."""


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


@dataclass(frozen=True, kw_only=True)
class Plan(Schedule):
    """A language model's run in numbers."""

    hidden_size: int
    num_layers: int
    embedding_size: int
    tied: bool
    dropout: float
    sequence_length: int
    sampled_softmax: int


def _row(level: str, tokens: int, budget: float) -> Row:
    return next(row for row in TABLE[level] if tokens <= row.tokens and budget <= row.seconds)


def resolve(
    options: LanguageOptions, tokens: int, vocabulary_size: int, *, small: bool = False
) -> Plan:
    """Return the run that `options` ask for on a training text of so many tokens.

    A text so `small` that nothing is held out is soon known by heart: its budget is `SMALL_STEPS`.

    >>> resolve(LanguageOptions(level="char", time="3m", num_layers=2), 1_000_000, 65).num_layers
    2
    """
    budget = seconds(DEFAULT_TIME if options.time is None else options.time)
    # a budget in steps or epochs says nothing about time: sizes as for a run of a few minutes
    row = _row(options.level or "word", tokens, budget)
    hidden_size = options.hidden_size or row.hidden_size
    embedding_size = options.embedding_size or hidden_size
    tied = embedding_size == hidden_size if options.tied is None else options.tied
    given = options
    if small and is_unlimited(options):
        given = replace(options, steps=SMALL_STEPS)
    how = schedule(given, batch_size=row.batch_size, learning_rate=row.learning_rate, time=budget)
    return Plan(
        **asdict(how),
        hidden_size=hidden_size,
        num_layers=options.num_layers or row.num_layers,
        embedding_size=embedding_size,
        tied=tied,
        dropout=row.dropout if options.dropout is None else options.dropout,
        sequence_length=options.sequence_length or row.sequence_length,
        sampled_softmax=(
            SAMPLED * (vocabulary_size >= 8 * SAMPLED)
            if options.sampled_softmax is None
            else options.sampled_softmax
        ),
    )
