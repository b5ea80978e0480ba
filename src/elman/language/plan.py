"""The sizes and settings of a training run: from the options, and from a table for what they leave open.

The time budget and the amount of text choose a row of the table. The rows for about three minutes of
characters and ten minutes of words were measured on two cores of an x86-64 server with AVX-512; the other
rows are estimates from these (`benchmarks/recipe.py` measures a row).
"""

from __future__ import annotations

from dataclasses import dataclass

from elman.language.options import DEFAULT_TIME, LanguageOptions
from elman.training.options import seconds
from elman.training.plan import Schedule

SMALL_TEXT_STEPS = 500
"""Steps on a text that is too small to hold a part out; they take a few seconds."""

SAMPLED_TOKENS = 1024
"""Tokens drawn in each step of the sampled softmax, which is used for vocabularies of 8 times that size."""


@dataclass(frozen=True)
class Row:
    """Sizes and settings for at most `tokens` of training text and `seconds` of time budget."""

    tokens: float
    seconds: float
    hidden_size: int
    num_layers: int
    batch_size: int
    sequence_length: int
    learning_rate: float
    dropout: float


_ANY = float("inf")


# The first row that fits both the number of training tokens and the time budget is used.
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
    """The sizes and settings of a language model's training run."""

    hidden_size: int
    num_layers: int
    embedding_size: int
    tied: bool
    dropout: float
    sequence_length: int
    sampled_softmax: int


def resolve(
    options: LanguageOptions, tokens: int, vocabulary_size: int, *, small: bool = False
) -> Plan:
    """Return the sizes and settings of a training run.

    Args:
        options: The options of the user.
        tokens: The number of tokens in the training set.
        vocabulary_size: The number of tokens in the vocabulary.
        small: Whether the text is too small to hold a part out. The network soon knows such a text by heart,
            so without another limit it is trained for `SMALL_TEXT_STEPS`.

    >>> resolve(LanguageOptions(level="char", time="3m", num_layers=2), 1_000_000, 65).num_layers
    2
    """
    # With a limit in steps or epochs only, use the sizes for the default time.
    budget = seconds(DEFAULT_TIME if options.time is None else options.time)
    rows = TABLE[options.level or "word"]
    row = next(row for row in rows if tokens <= row.tokens and budget <= row.seconds)
    hidden_size = options.hidden_size or row.hidden_size
    return Plan.of(
        options,
        batch_size=row.batch_size,
        learning_rate=row.learning_rate,
        time=None if small else budget,
        steps=SMALL_TEXT_STEPS if small else None,
        average=0.0,
        hidden_size=hidden_size,
        num_layers=row.num_layers,
        embedding_size=hidden_size,
        tied=(options.embedding_size or hidden_size) == hidden_size,
        dropout=row.dropout,
        sequence_length=row.sequence_length,
        sampled_softmax=SAMPLED_TOKENS * (vocabulary_size >= 8 * SAMPLED_TOKENS),
    )
