"""The training loop, visible at once: truncated backpropagation through time to the end of a budget.

Source of the method: P. Werbos, "Backpropagation Through Time" (1990), truncated with the state carried
over (R. Williams and J. Peng 1990); AdamW (I. Loshchilov and F. Hutter, arXiv:1711.05101) with a linear
warm-up and cosine decay (arXiv:1608.03983), gradients clipped by norm (R. Pascanu et al., arXiv:1211.5063).
"""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeAlias

import torch

from elman.errors import DivergedError, OutputError
from elman.training.averaging import Average
from elman.training.checkpoint import Best, Progress, Snapshot, Store, capture, part, restore
from elman.training.distributed import Group
from elman.training.objective import Measure, Objective
from elman.training.optimizer import AdamW
from elman.training.pace import OpenPace, trapezoid
from elman.training.plan import Schedule
from elman.training.random import Randomness

__all__ = ["Event", "Loop", "Watch", "interruptible", "rate_share"]

Event: TypeAlias = dict[str, Any]
Watch: TypeAlias = Callable[[Event], None]

SNAPSHOT_STEPS = 20
MAX_RECOVERIES = 3
REPORT_SECONDS = 0.25
EVALUATION_SHARE = 0.06
"""Largest share of a budget of time spent on measuring the held-out part before its end."""
MAX_RESERVE = 0.3
"""Largest share of a budget of time kept for the measurement at its end."""


def rate_share(progress: float, warm_up: float) -> float:
    """Return the learning rate as a share of its highest, at `progress` (0 to 1) through the budget.

    >>> [round(rate_share(p, 0.1), 2) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / max(1e-9, 1 - warm_up)))


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C or SIGTERM within the block into an event; the second one interrupts at once."""
    asked = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield asked
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@dataclass(frozen=True)
class _Step:
    """What one step measured; it left the weights alone where there is a `culprit` or a `stop`."""

    loss: float  # a unit of the objective
    norm: float  # of the gradient before clipping
    rate: float
    count: int  # of those units
    elapsed: float  # seconds of training, by the lead's clock
    stop: bool
    culprit: str  # what is not finite, if anything


@dataclass
class Loop:
    """One run: what it trains on, where it stands, and `run`, which goes to the end of the budget."""

    objective: Objective
    plan: Schedule
    group: Group
    watch: Watch
    """Is told every event; in a process that does not lead it tells nobody."""
    store: Store | None = None
    random: Randomness = field(default_factory=Randomness)
    earlier: list[dict[str, Any]] = field(default_factory=list)
    """What the stages of the run before this one left."""
    progress: Progress = field(default_factory=Progress)
    best: Best | None = None
    reserve: float = 0.0  # seconds of a budget of time kept for the last measurement
    last: Snapshot | None = None  # where an interrupted run goes on
    unsaved: bool = False  # whether the last checkpoint could not be written

    def __post_init__(self) -> None:
        self.network = self.objective.network
        decayed = [weight for weight in self.network.parameters() if weight.ndim > 1]
        others = [weight for weight in self.network.parameters() if weight.ndim <= 1]
        self.optimizer = AdamW(
            [
                {"params": decayed, "weight_decay": self.plan.weight_decay},
                {"params": others, "weight_decay": 0.0},
            ],
            lr=self.plan.learning_rate,
            betas=(0.9, 0.98),
        )
        self.average = Average(self.network, self.plan.average)
        epochs = self.plan.epochs
        self.total_steps = self.plan.steps or (
            max(1, round(epochs * self.objective.chunks(0))) if epochs is not None else None
        )
        self.open: OpenPace | None = None
        if self.plan.limit is not None and self.total_steps is None:
            self.open = OpenPace(
                self.plan, self.plan.limit, self.objective.steps_between_measures()
            )

    def share_done(self) -> float:
        """Return how far through the budget the run is, from 0 to 1."""
        if self.open is not None:
            return self.open.share_done(self.progress)
        if self.plan.stop is not None and self.progress.step >= self.plan.stop:
            return 1.0
        if self.total_steps is not None:
            done = self.progress.step / self.total_steps
            # the clock has a say only where the run is slow: else the same network comes everywhere
            if self.plan.limit is not None and 2 * self.progress.elapsed > self.plan.limit:
                done = max(done, self.progress.elapsed / self.plan.limit)
            return min(1.0, done)
        return min(1.0, self.progress.elapsed / ((self.plan.time or math.inf) - self.reserve))

    def length(self) -> int:
        """Return how many steps the whole schedule has, as far as that is known."""
        if self.total_steps is not None:
            return self.total_steps
        return max(1, round(self.progress.step / max(1e-9, self.share_done())))

    def _snapshot(self) -> Snapshot:
        carried, best, progress = self.objective.carried, self.best, self.progress
        snapshot = capture(
            self.network, self.optimizer, carried, best, progress, self.group, self.random
        )
        snapshot.numbers["earlier"] = self.earlier
        means = self.average.arrays().items()
        snapshot.arrays.update({f"average.{name}": array for name, array in means})
        return snapshot

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to `snapshot`."""
        self.objective.carried, self.best, self.progress = restore(
            snapshot, self.network, self.optimizer, self.group, self.random
        )
        self.average.restore(part(snapshot, "average."))

    def run(self, asked: threading.Event) -> str:
        """Train until the budget ends or `asked` to stop; return why: budget, early or interrupted.

        Raises DivergedError when numbers that are not finite came back after three recoveries.
        """
        snapshot = pending = self._snapshot()
        # seconds that a measurement of the held-out part takes; the last one is part of the budget
        cost = 0.0
        if self.plan.time is not None:
            (cost,) = self.group.broadcast([self.objective.probe() if self.group.leads else 0.0])
        self.reserve = min(cost, MAX_RESERVE * (self.plan.time or 0.0))
        saved = time.monotonic()
        before = time.monotonic() - self.progress.elapsed
        report = _Report(self)
        while True:
            if self._evaluation_due(cost):
                value, cost = self._evaluate()
                if not math.isfinite(value):
                    self._recover(snapshot, f"the held-out loss is {value}")
                    continue
                if self.share_done() >= 1.0:
                    return "budget" if self.open is None or self.progress.hurried else "early"
                if self.open is None and self.progress.waited >= self.plan.patience:
                    return "early"
            if self.open is not None:
                self.open.advance(self.progress)
            if self.progress.step % SNAPSHOT_STEPS == 0:
                pending = self._snapshot()
            if time.monotonic() - saved > self.plan.checkpoint_every:
                self.save(snapshot)
                saved = time.monotonic()
            step = self._step(time.monotonic() - before, asked.is_set())
            self.progress.elapsed = step.elapsed
            if step.stop:
                break
            if step.culprit:
                self._recover(snapshot, step.culprit)
                continue
            # a snapshot is good when a step from it came out finite
            snapshot = pending
            report.add(step)
        if self.progress.step == 0 and self.best is None:
            raise KeyboardInterrupt
        self.watch({"event": "warning", "text": "interrupted: the best so far is kept"})
        if self.best is None:
            self._evaluate()
        self.last = snapshot
        return "interrupted"

    def is_improving(self, stopped: str) -> bool:
        """Return whether the last of several measurements was the best when the budget ended."""
        last = self.best is not None and self.best.step == self.progress.step
        return stopped == "budget" and last and self.plan.evaluations > 1

    def save(self, snapshot: Snapshot | None) -> None:
        """Keep `snapshot` in the store; only the lead does.

        Where it cannot be written, training goes on. The earlier checkpoint stays, and one warning says so.
        """
        if self.store is None or snapshot is None or not self.group.leads:
            return
        try:
            self.store.save(snapshot)
            self.unsaved = False
        except OutputError as error:
            if not self.unsaved:
                text = f"{error}; training goes on without a new checkpoint"
                self.watch({"event": "warning", "text": text})
            self.unsaved = True

    def _step(self, elapsed: float, asked: bool) -> _Step:
        """Take one batch, update the weights and move on; return what was measured."""
        while self.progress.index >= self.objective.chunks(self.progress.epoch):
            self.progress.epoch, self.progress.index = self.progress.epoch + 1, 0
        total, count = self.objective.loss(self.progress.epoch, self.progress.index)
        self.optimizer.zero_grad()
        torch.autograd.backward(total / count)
        gradients = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        total_loss, elapsed, stop = self.group.all_reduce(
            gradients, [total.item(), elapsed if self.group.leads else 0.0, float(asked)]
        )
        loss = total_loss / count
        norm = self.optimizer.norm()
        culprit = self._culprit(loss, norm)
        rate = self._rate()
        if not culprit and not stop:
            for parameters in self.optimizer.param_groups:
                parameters["lr"] = rate
            self.optimizer.clipped_step(norm, self.plan.clip)
            self.average.follow(self.progress.step)
            self.objective.advance()
            self.progress.step += 1
            self.progress.index += 1
        return _Step(loss, norm, rate, count, elapsed, bool(stop), culprit)

    def _rate(self) -> float:
        highest = self.plan.learning_rate * self.progress.rate_scale
        if self.open is not None:
            return highest * self.open.rate_share(self.progress)
        # the middle of the step: neither the first nor the only one has rate zero
        done = self.share_done()
        if self.total_steps is not None:
            done = max(done, (self.progress.step + 0.5) / self.total_steps)
        if self.plan.limit is not None:
            return highest * trapezoid(self.progress.step, done, self.plan.warm_up)
        return highest * rate_share(done, self.plan.warm_up)

    def _culprit(self, loss: float, norm: float) -> str:
        """Return in words what is not finite, nothing where all is."""
        if not math.isfinite(loss):
            return f"the loss is {loss}"
        if math.isfinite(norm):
            return ""
        for name, weight in self.network.named_parameters():
            if weight.grad is not None and not bool(torch.isfinite(weight.grad).all()):
                return f"the gradient of {name} is not finite"
        return f"the norm of the gradient is {norm}"

    def _evaluation_due(self, cost: float) -> bool:
        if self.open is not None:
            return self.open.is_evaluation_due(self.progress)
        done = self.share_done()
        if done == self.progress.evaluated or self.progress.step == 0:
            return False
        apart = 1 / self.plan.evaluations
        if self.total_steps is None:
            apart = max(apart, cost / (EVALUATION_SHARE * (self.plan.time or math.inf)))
        # the last measurement is at the end: none shortly before it
        return done >= 1.0 or self.progress.evaluated + apart - 1e-9 <= done <= 1 - apart / 2

    def _evaluate(self) -> tuple[float, float]:
        """Measure the held-out part, keep the best weights; return the measure and its seconds."""
        started = time.monotonic()
        with self.average.applied():
            measure = self.objective.measure() if self.group.leads else Measure(0.0)
            value, cost = self.group.broadcast([measure.value, time.monotonic() - started])
            if not math.isfinite(value):
                return value, cost
            better = self.best is None or value < self.best.value
            if better:
                self.best = Best(value, self.progress.step, self.network.arrays())
        self.progress.evaluated, self.progress.measured = self.share_done(), self.progress.step
        self.progress.waited = 0 if better else self.progress.waited + 1
        self.watch(
            {
                "event": "evaluation",
                "step": self.progress.step,
                "best": better,
                **measure.facts,
                "evaluation_seconds": round(cost, 3),
            }
        )
        return value, cost

    def _recover(self, snapshot: Snapshot, culprit: str) -> None:
        """Go back to `snapshot` at half the rate, or give up after three times."""
        now, best = self.progress, self.best
        if now.recoveries >= MAX_RECOVERIES:
            raise DivergedError(
                f"training diverged at step {now.step} after {now.recoveries} recoveries",
                got=culprit,
                remedy="lower --learning-rate or --clip",
            )
        self.restore(snapshot)
        if self.best is None or (best is not None and best.value < self.best.value):
            self.best = best
        self.progress.elapsed = now.elapsed
        self.progress.recoveries = now.recoveries + 1
        self.progress.rate_scale = now.rate_scale / 2
        self.watch(
            {
                "event": "recovery",
                "step": now.step,
                "culprit": culprit,
                "back_to_step": self.progress.step,
                "rate_scale": self.progress.rate_scale,
            }
        )


class _Report:
    """Sums what the steps measured and reports it a few times a second."""

    def __init__(self, loop: Loop) -> None:
        self.loop = loop
        self._clear()

    def _clear(self) -> None:
        self.since = time.monotonic()
        self.losses: list[float] = []
        self.count = 0

    def add(self, step: _Step) -> None:
        loop = self.loop
        self.losses.append(step.loss)
        self.count += step.count
        passed = time.monotonic() - self.since
        if passed < REPORT_SECONDS:
            return
        done = loop.share_done()
        loop.watch(
            {
                "event": "steps",
                "step": loop.progress.step,
                "epoch": loop.progress.epoch,
                "loss": sum(self.losses) / len(self.losses),
                "gradient_norm": step.norm,
                "learning_rate": step.rate,
                f"{loop.objective.unit}s_per_second": self.count / passed,
                "share_done": done,
                "seconds": step.elapsed,
                "seconds_left": step.elapsed * (1 - done) / done if done else None,
            }
        )
        self._clear()
