"""The numbers of one training run: what the options say, and for the rest a table.

The table goes by the time a run may take and by the amount of text. The rows for some three minutes of
characters and ten minutes of words were measured on two cores of an x86-64 server with AVX-512; the others
are by judgement from those (benchmarks/recipe.py measures a row).
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, replace

import numpy as np

from elman._errors import OptionError
from elman.data.windows import WindowRule
from elman.options import (
    DEFAULT_TIME,
    ForecasterOptions,
    LabelledOptions,
    LanguageOptions,
    RecurrentOptions,
    seconds,
)

__all__ = [
    "TABLE",
    "UNMEASURED_STEPS",
    "ForecastPlan",
    "LabelledPlan",
    "Plan",
    "Row",
    "Schedule",
    "forecast_plan",
    "is_unlimited",
    "labelled_plan",
    "percents",
    "resolve",
    "schedule",
]


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
class Schedule:
    """How long a run lasts and how it steps: one of `time` (seconds), `epochs` and `steps` is its budget."""

    time: float | None
    epochs: float | None
    steps: int | None
    batch_size: int
    learning_rate: float
    weight_decay: float
    warm_up: float
    clip: float
    evaluations: int
    patience: int
    checkpoint_every: float
    precision: str
    seed: int
    average: float
    """Share of the running mean of the weights that a step keeps; 0 keeps the weights themselves."""
    stop: int | None = None
    """Step at which the run ends, where that is before the end of its budget in steps."""
    limit: float | None = None
    """Seconds that a run without a budget takes at most; it ends when the measure stops improving."""


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


_TAKEN = ("weight_decay", "warm_up", "clip", "evaluations", "patience", "precision", "seed")
"""Fields of a schedule that are as the options say."""


def is_unlimited(options: RecurrentOptions) -> bool:
    """Return whether the options give no budget."""
    return options.time is None and options.epochs is None and options.steps is None


def schedule(
    options: RecurrentOptions,
    *,
    batch_size: int,
    learning_rate: float,
    time: float | None = None,
    epochs: float | None = None,
    average: float = 0.0,
) -> Schedule:
    """Return the schedule that `options` ask for; what they leave out is as given here."""
    if not is_unlimited(options):
        time = None if options.time is None else seconds(options.time)
        epochs = options.epochs
    return Schedule(
        time=time,
        epochs=epochs,
        steps=options.steps,
        batch_size=options.batch_size or batch_size,
        learning_rate=learning_rate if options.learning_rate is None else options.learning_rate,
        checkpoint_every=seconds(options.checkpoint_every),
        average=average if options.average is None else options.average,
        **{name: getattr(options, name) for name in _TAKEN},
    )


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


MANY_WINDOWS = 20_000
"""Windows from which a forecaster is as large as there is room for."""
FORECAST_LIMIT = 170.0
"""Seconds that a forecaster trains at most without a budget; with the tests a run takes three minutes."""
UNMEASURED_STEPS = 400
"""Steps of a forecaster's run without a budget where no values can be held out to end it."""
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


@dataclass(frozen=True, kw_only=True)
class ForecastPlan(Schedule):
    """The run of a forecaster in numbers."""

    hidden_size: int
    num_layers: int
    dropout: float
    noise: float
    """Standard deviation of what is added to every input in training."""
    trend: float
    """Slope of the lines that are added to most windows in training, in seasonal changes a season."""
    members: int
    refit: bool
    least_past: int
    """Values before the first origin that is trained on."""
    least_future: int
    """Values after the last one."""
    intervals: tuple[float, ...]
    """Those that were asked for, in percent."""


def percents(intervals: str) -> tuple[float, ...]:
    """Return intervals as they are written in the option `levels`, in percent; raises OptionError.

    >>> percents("80, 95")
    (80.0, 95.0)
    """
    found = []
    for text in intervals.split(","):
        try:
            found.append(float(text))
        except ValueError:
            found.append(math.nan)
    if not all(1 <= share <= 99.99 for share in found):
        raise OptionError("levels", got=intervals, expected="percents such as 80,95")
    return tuple(found)


def forecast_plan(options: ForecasterOptions, rule: WindowRule, lengths: list[int]) -> ForecastPlan:
    """Return the run that `options` ask for on series of these lengths."""
    windows = sum(max(0, length - rule.horizon) for length in lengths)
    many = windows > MANY_WINDOWS
    least_past = min(rule.window, 2 * rule.season if rule.season > 1 else max(20, 2 * rule.segment))
    enough = min(lengths) >= 4 * rule.horizon + least_past
    how = schedule(
        options,
        batch_size=256 if windows > 5_000 else 128 if windows > 500 else 64,
        learning_rate=5e-3 if many else 2e-3,
        average=0.99,
    )
    if is_unlimited(options):
        how = replace(how, limit=FORECAST_LIMIT)
    return ForecastPlan(
        **asdict(how),
        hidden_size=options.hidden_size or (128 if many else 64),
        num_layers=options.num_layers or 1,
        dropout=(0.1 if many else 0.3) if options.dropout is None else options.dropout,
        noise=0.1,
        trend=0.5 if rule.season > 1 and windows < 5_000 else 0.0,
        members=options.members or (4 if many else 5),
        refit=options.refit,
        least_past=least_past,
        least_future=rule.horizon if enough else max(1, min(rule.horizon // 3, rule.segment)),
        intervals=percents(options.levels),
    )
