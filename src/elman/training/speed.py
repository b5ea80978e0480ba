"""The events that report the progress of training a few times a second."""

from __future__ import annotations

import time
from dataclasses import dataclass

from elman.training.checkpoint import Progress
from elman.training.output import Watch

__all__ = ["SpeedReport", "Step"]

REPORT_EVERY_SECONDS = 0.25


@dataclass(frozen=True)
class Step:
    """The measurements of one step, which left the weights alone where there is a `culprit` or a `stop`."""

    loss: float  # per unit of the objective
    norm: float  # of the gradient before clipping
    rate: float
    count: int  # units of the batch
    elapsed: float  # seconds of training, by the clock of the lead process
    stop: bool
    culprit: str  # a sentence about a number that is not finite, or ""


class SpeedReport:
    """Averages the losses of the steps since the last event, and emits the next one when it is due."""

    def __init__(self, unit: str, emit: Watch) -> None:
        """Report the speed in `unit`, the noun of the objective, and pass events to `emit`."""
        self.unit, self.emit = unit, emit
        self._clear()

    def _clear(self) -> None:
        self.since = time.monotonic()
        self.losses: list[float] = []
        self.count = 0

    def add(self, step: Step, progress: Progress, share_done: float) -> None:
        """Add a step that was taken; `share_done` is how far through the stage it was, from 0 to 1."""
        self.losses.append(step.loss)
        self.count += step.count
        seconds = time.monotonic() - self.since
        if seconds < REPORT_EVERY_SECONDS:
            return
        left = step.elapsed * (1 - share_done) / share_done if share_done else None
        self.emit(
            {
                "event": "steps",
                "step": progress.step,
                "epoch": progress.epoch,
                "loss": sum(self.losses) / len(self.losses),
                "gradient_norm": step.norm,
                "learning_rate": step.rate,
                f"{self.unit}s_per_second": self.count / seconds,
                "share_done": share_done,
                "seconds": step.elapsed,
                "seconds_left": left,
            }
        )
        self._clear()
