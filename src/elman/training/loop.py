"""The training loop, visible at once: truncated backpropagation through time to the end of a budget.

Source of the method: P. Werbos, "Backpropagation Through Time" (1990), truncated with the state carried
over (R. Williams and J. Peng 1990); AdamW (I. Loshchilov and F. Hutter, arXiv:1711.05101) with a linear
warm-up and cosine decay (arXiv:1608.03983), gradients clipped by norm (R. Pascanu et al., arXiv:1211.5063).
"""

from __future__ import annotations

import itertools
import math
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import FrameType
from typing import Any, TypeAlias

import numpy as np
import torch

from elman._errors import DivergedError
from elman.data import IGNORE, Batches, Chunk, shard
from elman.training.checkpoint import Best, Progress, Snapshot, Store, capture, restore
from elman.training.distributed import Group
from elman.training.network import LayerState, Network
from elman.training.optimizer import AdamW
from elman.training.plan import Plan

__all__ = ["Event", "Loop", "Watch", "held_out_loss", "interruptible", "rate_share"]

Event: TypeAlias = dict[str, Any]
Watch: TypeAlias = Callable[[Event], None]

SNAPSHOT_STEPS = 20
MAX_RECOVERIES = 3
REPORT_SECONDS = 0.25
EVALUATION_SHARE = 0.06
"""Largest share of a budget of time spent on measuring the held-out part before its end."""
MAX_RESERVE = 0.3
"""Largest share of a budget of time kept for the measurement at its end."""
PROBE_CHUNKS = 2


def rate_share(progress: float, warm_up: float) -> float:
    """Return the learning rate as a share of its highest, at `progress` (0 to 1) through the budget.

    >>> [round(rate_share(p, 0.1), 2) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / max(1e-9, 1 - warm_up)))


def _started(state: list[LayerState] | None, fresh: np.ndarray) -> list[LayerState] | None:
    """Return `state` without gradients, with the lanes that start anew at zero."""
    if state is None or fresh.all():
        return None
    new = torch.from_numpy(fresh)[None, :, None]

    def start(part: torch.Tensor) -> torch.Tensor:
        part = part.detach()
        return part.masked_fill(new.to(part.device), 0.0) if fresh.any() else part

    return [
        (start(layer[0]), start(layer[1])) if isinstance(layer, tuple) else start(layer)
        for layer in state
    ]


def held_out_loss(network: Network, chunks: Iterator[Chunk]) -> float:
    """Return the loss (nats a token) over `chunks`, the state carried from one to the next."""
    device = next(network.parameters()).device
    total, predicted, state = 0.0, 0, None
    network.eval()
    with torch.no_grad():
        for chunk in chunks:
            hidden, state = network(
                torch.from_numpy(chunk.inputs).to(device), _started(state, chunk.fresh)
            )
            targets = torch.from_numpy(chunk.targets).to(device)
            total += float(network.loss(hidden, targets, IGNORE))
            predicted += chunk.predicted
    network.train()
    return total / predicted


@contextmanager
def interruptible() -> Iterator[threading.Event]:
    """Turn the first Ctrl-C within the block into an event; the second one interrupts as ever."""
    asked = threading.Event()

    def handle(_signal: int, _frame: FrameType | None) -> None:
        if asked.is_set():
            raise KeyboardInterrupt
        asked.set()

    if threading.current_thread() is not threading.main_thread():
        yield asked
        return
    before = signal.signal(signal.SIGINT, handle)
    try:
        yield asked
    finally:
        signal.signal(signal.SIGINT, before)


@dataclass(frozen=True)
class _Step:
    """What one step measured; it left the weights alone where there is a `culprit` or a `stop`."""

    loss: float  # nats a token
    norm: float  # of the gradient before clipping
    rate: float
    tokens: int
    elapsed: float  # seconds of training, by the lead's clock
    stop: bool
    culprit: str  # what is not finite, if anything


@dataclass
class Loop:
    """One run: what it trains on, where it stands, and `run`, which goes to the end of the budget."""

    network: Network
    batches: Batches
    held_out: Callable[[], Iterator[Chunk]]
    plan: Plan
    group: Group
    watch: Watch
    sample: Callable[[Mapping[str, np.ndarray]], str]
    store: Store | None = None
    progress: Progress = field(default_factory=Progress)
    best: Best | None = None
    carried: list[LayerState] | None = None
    reserve: float = 0.0  # seconds of a budget of time kept for the last measurement
    last: Snapshot | None = None  # where an interrupted run goes on

    def __post_init__(self) -> None:
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
        epochs = self.plan.epochs
        self.total_steps = self.plan.steps or (
            max(1, round(epochs * self.batches.chunks(0))) if epochs is not None else None
        )

    def share_done(self) -> float:
        """Return how far through the budget the run is, from 0 to 1."""
        if self.total_steps is not None:
            return min(1.0, self.progress.step / self.total_steps)
        return min(1.0, self.progress.elapsed / ((self.plan.time or math.inf) - self.reserve))

    def _snapshot(self) -> Snapshot:
        return capture(
            self.network, self.optimizer, self.carried, self.best, self.progress, self.group
        )

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to `snapshot`."""
        self.carried, self.best, self.progress = restore(
            snapshot, self.network, self.optimizer, self.group
        )

    def run(self, asked: threading.Event) -> str:
        """Train until the budget ends or `asked` to stop; return why: budget, early or interrupted.

        Raises DivergedError when numbers that are not finite came back after three recoveries.
        """
        snapshot = pending = self._snapshot()
        # seconds that a measurement of the held-out part takes; the last one is part of the budget
        cost = self._probe() if self.plan.time is not None else 0.0
        self.reserve = min(cost, MAX_RESERVE * (self.plan.time or 0.0))
        saved = time.monotonic()
        before = time.monotonic() - self.progress.elapsed
        report = _Report(self)
        while True:
            if self._evaluation_due(cost):
                loss, cost = self._evaluate()
                if not math.isfinite(loss):
                    self._recover(snapshot, f"the held-out loss is {loss}")
                    continue
                if self.share_done() >= 1.0:
                    return "budget"
                if self.progress.waited >= self.plan.patience:
                    return "early"
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
        if self.progress.step == 0:
            raise KeyboardInterrupt
        if self.group.leads:
            self.watch({"event": "warning", "text": "interrupted: the best so far is kept"})
        if self.best is None:
            self._evaluate()
        self.last = snapshot
        return "interrupted"

    def save(self, snapshot: Snapshot | None) -> None:
        """Keep `snapshot` in the store; the lead alone does."""
        if self.store is not None and snapshot is not None and self.group.leads:
            self.store.save(snapshot)

    def _step(self, elapsed: float, asked: bool) -> _Step:
        """Read one chunk, update the weights and move on; return what was measured."""
        while self.progress.index >= self.batches.chunks(self.progress.epoch):
            self.progress.epoch, self.progress.index = self.progress.epoch + 1, 0
        chunk = self.batches.chunk(self.progress.epoch, self.progress.index)
        own = shard(chunk, self.group.rank, self.group.world_size)
        device = self.group.device
        hidden, carried = self.network(
            torch.from_numpy(own.inputs).to(device), _started(self.carried, own.fresh)
        )
        total = self.network.loss(hidden, torch.from_numpy(own.targets).to(device), IGNORE)
        self.optimizer.zero_grad()
        torch.autograd.backward(total / chunk.predicted)
        gradients = [weight.grad for weight in self.network.parameters() if weight.grad is not None]
        total_loss, elapsed, stop = self.group.all_reduce(
            gradients,
            [total.item(), elapsed if self.group.leads else 0.0, float(asked)],
        )
        loss = total_loss / chunk.predicted
        norm = self.optimizer.norm()
        culprit = self._culprit(loss, norm)
        rate = self._rate()
        if not culprit and not stop:
            for parameters in self.optimizer.param_groups:
                parameters["lr"] = rate
            self.optimizer.clipped_step(norm, self.plan.clip)
            self.carried = carried
            self.progress.step += 1
            self.progress.index += 1
        return _Step(loss, norm, rate, chunk.predicted, elapsed, bool(stop), culprit)

    def _rate(self) -> float:
        # the middle of the step: neither the first nor the only one has rate zero
        done = self.share_done()
        if self.total_steps is not None:
            done = (self.progress.step + 0.5) / self.total_steps
        share = rate_share(done, self.plan.warm_up)
        return self.plan.learning_rate * share * self.progress.rate_scale

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
        done = self.share_done()
        if done == self.progress.evaluated or self.progress.step == 0:
            return False
        apart = 1 / self.plan.evaluations
        if self.total_steps is None:
            apart = max(apart, cost / (EVALUATION_SHARE * (self.plan.time or math.inf)))
        # the last measurement is at the end: none shortly before it
        return done >= 1.0 or self.progress.evaluated + apart - 1e-9 <= done <= 1 - apart / 2

    def _probe(self) -> float:
        """Return the seconds that measuring the held-out part will take, from its first chunks."""
        chunks = self.held_out()
        first = list(itertools.islice(chunks, PROBE_CHUNKS))
        held_out_loss(self.network, iter(first[:1]))  # the first pass is slower than the others
        started = time.monotonic()
        held_out_loss(self.network, iter(first))
        passed = time.monotonic() - started
        every = len(first) + sum(1 for _ in chunks)
        return self.group.broadcast([passed * every / len(first)])[0]

    def _evaluate(self) -> tuple[float, float]:
        """Measure the held-out part, keep the best weights; return loss (nats a token) and seconds."""
        started = time.monotonic()
        loss = held_out_loss(self.network, self.held_out()) if self.group.leads else 0.0
        loss, cost = self.group.broadcast([loss, time.monotonic() - started])
        if not math.isfinite(loss):
            return loss, cost
        self.progress.evaluated = self.share_done()
        better = self.best is None or loss < self.best.loss
        self.progress.waited = 0 if better else self.progress.waited + 1
        arrays = self.network.arrays()
        if better:
            self.best = Best(loss, self.progress.step, arrays)
        if self.group.leads:
            self.watch(
                {
                    "event": "evaluation",
                    "step": self.progress.step,
                    "held_out_loss": loss,
                    "best": better,
                    "sample": self.sample(arrays),
                    "evaluation_seconds": round(cost, 3),
                }
            )
        return loss, cost

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
        if self.best is None or (best is not None and best.loss < self.best.loss):
            self.best = best
        self.progress.elapsed = now.elapsed
        self.progress.recoveries = now.recoveries + 1
        self.progress.rate_scale = now.rate_scale / 2
        if self.group.leads:
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
        self.tokens = 0

    def add(self, step: _Step) -> None:
        loop = self.loop
        self.losses.append(step.loss)
        self.tokens += step.tokens
        passed = time.monotonic() - self.since
        if passed < REPORT_SECONDS:
            return
        if not loop.group.leads:
            self._clear()
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
                "tokens_per_second": self.tokens / passed,
                "share_done": done,
                "seconds": step.elapsed,
                "seconds_left": step.elapsed * (1 - done) / done if done else None,
            }
        )
        self._clear()
