"""The schedule of a training run: how long it lasts and how it steps."""

from __future__ import annotations

from dataclasses import dataclass

from elman.training.options import seconds
from elman.training.recurrent_options import RecurrentOptions

__all__ = ["Schedule", "is_unlimited", "schedule"]


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
