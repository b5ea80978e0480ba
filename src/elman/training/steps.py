"""The measurements of a training step, and the events that report them a few times a second."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass

import torch

from elman.training.checkpoint import Progress
from elman.training.journal import Watch

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


def find_culprit(network: torch.nn.Module, loss: float, norm: float) -> str:
    """Return a sentence about the first number of a step that is not finite, "" where all are finite."""
    if not math.isfinite(loss):
        return f"the loss is {loss}"
    if math.isfinite(norm):
        return ""
    # Look at single weights only now, because the norm has already said that something is wrong.
    for name, weight in network.named_parameters():
        if weight.grad is not None and not bool(torch.isfinite(weight.grad).all()):
            return f"the gradient of {name} is not finite"
    return f"the norm of the gradient is {norm}"


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
        # seconds, as if the rest took as long for each share as the part before
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
