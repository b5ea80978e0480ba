"""The schedule of a training run: its length, and the settings of its optimizer."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Self

from elman.training.journal import JsonObject
from elman.training.options import seconds
from elman.training.recurrent_options import BUDGETS, RecurrentOptions

DEFAULTS = {"weight_decay": 0.01, "precision": "float32"}
"""Values of open options for a task that has no rule of its own."""


@dataclass(frozen=True, kw_only=True)
class Schedule:
    """Length and optimizer settings of a run; one of `time` (seconds), `epochs` and `steps` is its budget.

    With both `time` and `epochs`, the one that comes first ends the run.
    """

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

    @classmethod
    def of(
        cls, options: RecurrentOptions, **defaults: float | str | tuple[float, ...] | None
    ) -> Self:
        """Return the plan of a run: the options of the user, and `defaults` for what these leave open.

        A field that is not an option has its value in `defaults`.
        """
        if not is_unlimited(options):
            # A budget of the user replaces the default of the task, whatever its unit.
            defaults |= dict.fromkeys(BUDGETS)
        plan: JsonObject = {}
        for name in (declared.name for declared in fields(cls)):
            # None where the option is open, and where there is no option of this name.
            chosen = getattr(options, name, None)
            plan[name] = defaults.get(name, DEFAULTS.get(name)) if chosen is None else chosen
        for name in ("time", "checkpoint_every"):
            plan[name] = None if plan[name] is None else seconds(plan[name])
        return cls(**plan)


def rounded_rate(rate: float) -> float:
    """Return a learning rate with two digits, so that a card shows a number that one can type.

    >>> rounded_rate(0.010543)
    0.011
    """
    return float(f"{rate:.2g}")


def is_unlimited(options: RecurrentOptions) -> bool:
    """Return whether the options set no budget of time, epochs or steps."""
    return all(getattr(options, name) is None for name in BUDGETS)
