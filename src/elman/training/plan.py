"""The schedule of a training run: its length, and the settings of its optimizer."""

from __future__ import annotations

from dataclasses import dataclass

from elman.training.options import seconds
from elman.training.recurrent_options import RecurrentOptions


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Length and optimizer settings of a run; one of `time` (seconds), `epochs` and `steps` is its budget."""

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
    """Decay of the moving average of the weights; 0 for no average."""
    stop: int | None = None
    """Step at which the run ends before its budget of steps does; the learning rate follows the budget."""
    limit: float | None = None
    """Most seconds of a run without a budget, which ends when the validation measure stops improving."""


_COPIED = ("weight_decay", "warm_up", "clip", "evaluations", "patience", "precision", "seed")
"""Fields of a schedule that are copied from the options of the same names."""


def is_unlimited(options: RecurrentOptions) -> bool:
    """Return whether the options set no budget of time, epochs or steps."""
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
    """Return the schedule of `options`; the other arguments are the task's defaults for open options."""
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
        **{name: getattr(options, name) for name in _COPIED},
    )
