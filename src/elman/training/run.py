"""One run of training, from its data to its model: begin or resume, keep the best, leave nothing behind."""

from __future__ import annotations

import functools
import json
import math
import os
import sys
import tempfile
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from filelock import FileLock, Timeout

from elman._version import __version__
from elman.engine import kernel
from elman.engine.config import ModelConfig
from elman.errors import DataError, DivergedError, OptionError, OutputError
from elman.files.model import Model, check_output
from elman.training.allocator import freed_memory_kept
from elman.training.checkpoint import Best, Snapshot, Store
from elman.training.distributed import Group, join
from elman.training.journal import Journal
from elman.training.loop import Event, Loop, Watch, interruptible
from elman.training.objective import Objective
from elman.training.plan import Schedule
from elman.training.random import Randomness
from elman.training.recurrent_options import RecurrentOptions

__all__ = ["Outcome", "Run", "execute"]

FIRST_STAGE = sys.float_info.max
"""The measure, in a second stage, of the first one's best network."""


@dataclass(frozen=True)
class Outcome:
    """A finished or interrupted training run: the best model, and why the run ended."""

    model: Model
    stopped: str  # budget, early, interrupted, or complete: there was nothing left to resume


@dataclass
class Run(ABC):
    """One run of a task, with everything it was given and what follows from it."""

    options: RecurrentOptions
    plan: Schedule
    config: ModelConfig
    codec: Any
    group: Group
    output: Path | None

    @abstractmethod
    def data_identity(self) -> dict[str, str]:
        """Return what tells the data from others, by the name to say when it is not the same."""

    @abstractmethod
    def report(self) -> dict[str, Any]:
        """Return what was read and how it is split, for the event that starts a run."""

    @abstractmethod
    def stage(self, earlier: Sequence[Mapping[str, Any]]) -> tuple[Objective, Schedule]:
        """Return what the loop works on, its network as it starts, and for how long.

        `earlier` is what the stages before this one left, as `after` and `learned` told it.
        """

    def learned(
        self, earlier: Sequence[Mapping[str, Any]], objective: Objective, best: Best
    ) -> dict[str, Any]:
        """Return what the held-out data tells of the `best` network of a stage, as JSON.

        `earlier` is what the stages before this one left.
        """
        del earlier, objective, best  # for tasks that learn from held-out data
        return {}

    def after(
        self, earlier: Sequence[Mapping[str, Any]], best: Best, steps: int
    ) -> dict[str, Any] | None:
        """Return how long the stage after this one lasts, as JSON; None where this one is the last.

        `earlier` is what the stages before this one left; `steps` is the length of the schedule of which
        the `best` network was a part.
        """
        del earlier, best, steps  # for tasks of several stages
        return None

    @abstractmethod
    def facts(self, best: Best, learned: Mapping[str, Any], refit: bool) -> dict[str, Any]:
        """Return what the card says of the data and of how good the network is.

        `refit` is whether the `best` network is that of a second stage.
        """

    def config_of(self, best: Best) -> ModelConfig:  # noqa: ARG002 - for stages of other sizes
        """Return the configuration of the `best` network."""
        return self.config

    def finish(
        self, best: Best, learned: Mapping[str, Any]
    ) -> tuple[Mapping[str, np.ndarray], Any]:
        """Return arrays and codec of the model, from the `best` network."""
        del learned  # for tasks that learn from held-out data
        return best.arrays, self.codec

    @functools.cached_property
    def random(self) -> Randomness:
        """The random numbers of the run."""
        return Randomness(self.options.seed, self.group.device)

    @property
    def store(self) -> Store | None:
        """Where the run is kept until it ends."""
        return None if self.output is None else Store(self.output, self.identity())

    def identity(self) -> dict[str, Any]:
        """Return what must be the same for a run to be resumed, by the name to tell when it is not."""
        settings = asdict(self.options) | {"time": self.plan.time}
        for name in ("checkpoint_every", "threads"):
            settings.pop(name)
        return {
            **self.data_identity(),
            **settings,
            "processes": self.group.world_size,
            "version": __version__,
        }

    def is_unfinished(self) -> bool:
        """Return whether there is a checkpoint to resume, the same answer in every process."""
        there = self.store is not None and self.store.file.exists()
        (count,) = self.group.all_reduce([], [float(there)])
        if count not in (0.0, float(self.group.world_size)):
            raise OutputError(
                "every process needs the checkpoint",
                got=f"it in {count:.0f} of {self.group.world_size}",
                remedy="give all of them one shared folder",
            )
        return bool(count)

    def finished(self) -> Model | None:
        """Return the model in the output if it is the one that this very run ended in."""
        complete = False
        if self.group.leads and self.output is not None and self.output.exists():
            card = Model.load(self.output).card
            ended = card.get("training", {}).get("stopped") in ("budget", "early")
            if ended and card.get("identity") != self.identity():
                raise OutputError(
                    f"there is nothing to resume, and {self.output} is the model of another run",
                    remedy="train without --resume to replace it, or choose another -o",
                )
            complete = ended
        complete = bool(self.group.broadcast([float(complete)])[0])
        return Model.load(self.output) if complete and self.output is not None else None

    def parameters(self) -> int:
        """Return how many numbers are trained."""
        return sum(math.prod(shape) for shape in self.config.parameters().values())

    def start(self) -> Event:
        """Return the event that starts the run: what was read, what will be trained, and where."""
        return {
            "event": "start",
            "elman": __version__,
            "task": self.config.task,
            **self.report(),
            "network": asdict(self.config),
            "parameters": self.parameters(),
            "plan": asdict(self.plan),
            "device": str(self.group.device),
            "processes": self.group.world_size,
            "threads": torch.get_num_threads(),
        }

    def train(self, snapshot: Snapshot | None, tell: Callable[[Event], None]) -> Outcome:
        """Run the loop, from `snapshot` if there is one, and return its best model with a card.

        Raises DivergedError, after the best network so far was written.
        """
        earlier: list[dict[str, Any]] = [] if snapshot is None else snapshot.numbers["earlier"]
        before: Best | None = None
        diverged: DivergedError | None = None
        with interruptible() as asked:
            while True:
                loop = self._loop(earlier, tell)
                loop.best = before
                if snapshot is not None:
                    loop.restore(snapshot)
                    tell({"event": "resume", "step": loop.progress.step})
                    snapshot = None
                try:
                    stopped = loop.run(asked)
                except DivergedError as error:
                    stopped, diverged = "diverged", error
                if loop.best is None:
                    raise diverged or DataError("the held-out part could not be measured")
                learned = self.learned(earlier, loop.objective, loop.best)
                after = None
                if stopped in ("budget", "early"):
                    after = self.after(earlier, loop.best, loop.length())
                if after is None:
                    break
                earlier = [*earlier, {"improving": loop.is_improving(stopped)} | after | learned]
                # what is kept where the next stage is interrupted; any measure of its own is better
                before = replace(loop.best, value=FIRST_STAGE)
                tell({"event": "stage", "steps": after["steps"], "next": after.get("next")})
            model = self.keep(loop, loop.best, learned, stopped)
            loop.save(loop.last)
        tell({"event": "end", "stopped": stopped, "card": dict(model.card)})
        if diverged is not None:
            raise diverged
        return Outcome(model, stopped)

    def _loop(self, earlier: list[dict[str, Any]], tell: Callable[[Event], None]) -> Loop:
        with self.random.making():
            objective, plan = self.stage(earlier)
        objective.network.to(self.group.device)
        self.random.give(objective.network)
        if not self.group.leads:
            # the same network in every process, but dropout of its own
            self.random.seed(self.plan.seed + 1_000_003 * self.group.rank)
        return Loop(objective, plan, self.group, tell, self.store, self.random, earlier)

    def keep(self, loop: Loop, best: Best, learned: Mapping[str, Any], stopped: str) -> Model:
        """Return the best model with its card; the lead writes it to the output."""
        card = self.card(loop, best, learned, stopped) if self.group.leads else {}
        model = Model(self.config_of(best), *self.finish(best, learned), card)
        if self.output is not None and self.group.leads:
            _save(model, self.output)
        if stopped != "interrupted":
            self.end()
        return model

    def end(self) -> None:
        """Remove what only an unfinished run needs."""
        if self.store is not None and self.group.leads:
            self.store.clear()

    def card(
        self, loop: Loop, best: Best, learned: Mapping[str, Any], stopped: str
    ) -> dict[str, Any]:
        """Return how the model was trained, on what, and how good it is, as JSON reads it back."""
        progress = loop.progress
        chunks = max(1, loop.objective.chunks(progress.epoch))
        card = {
            "version": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **self.facts(best, learned, bool(loop.earlier) and best.value < FIRST_STAGE),
            "training": {
                "steps": progress.step,
                "best_step": best.step,
                "epochs": progress.epoch + progress.index / chunks,
                "seconds": round(progress.elapsed, 3),
                "recoveries": progress.recoveries,
                "stopped": stopped,
                # in the last stage that measured itself
                "improving": loop.is_improving(stopped)
                or any(stage["improving"] for stage in loop.earlier),
            },
            "settings": asdict(self.plan),
            "identity": self.identity(),
        }
        return dict(json.loads(json.dumps(card)))


def execute(
    load: Callable[[Group], Run],
    options: RecurrentOptions,
    *,
    output: Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Train what `load` returns to its end and return the best model by the held-out part.

    `output` is the model's file: beside it stand the journal and, until the run ends, the checkpoint
    that `resume` goes on from. `watch` is told every event.

    Raises DataError, OptionError, OutputError, ModelFileError, DivergedError.
    """
    device = _device(options.device)
    _check_precision(options.precision, device)
    threads = torch.get_num_threads()
    group = join(device)
    watchers: list[Watch] = [watch] if watch and group.leads else []

    journal: Journal | None = None

    def tell(event: Event) -> None:
        for watcher in [*watchers]:
            try:
                watcher(event)
            except OutputError as error:
                if watcher is not journal:
                    raise
                # training matters more than its journal
                watchers.remove(watcher)
                tell({"event": "warning", "text": f"{error}; training goes on without its journal"})

    try:
        torch.set_num_threads(options.threads or threads)
        with freed_memory_kept(), ExitStack() as held:
            if output is not None and group.leads:
                check_output(output)
                held.enter_context(_locked(output))
            run = load(group)
            unfinished = run.is_unfinished()
            if resume and not unfinished:
                model = run.finished()
                if model is None:
                    raise OptionError(
                        "resume",
                        got="no checkpoint"
                        + (f" beside {output}" if output else ", for no output"),
                        expected="that of an interrupted run",
                        remedy="train without it, from the beginning",
                    )
                run.end()
                return Outcome(model, "complete")
            snapshot = run.store.load() if resume and run.store is not None else None
            if output is not None and group.leads:
                journal = Journal(output, resume=snapshot is not None)
                watchers.append(journal)
            tell(run.start())
            if unfinished and not resume:
                said = "the unfinished run is replaced; --resume would have gone on with it"
                tell({"event": "warning", "text": said})
                run.end()
            return run.train(snapshot, tell)
    finally:
        torch.set_num_threads(threads)
        if journal is not None:
            journal.close()
        group.leave()


def _save(model: Model, output: Path) -> None:
    """Write the model; where the output cannot be written, write it to the folder of temporary files.

    Raises OutputError, which names the file that was written instead.
    """
    try:
        model.save(output)
    except OutputError as error:
        # a folder of its own, so that nobody else's file of that name is overwritten
        instead = Path(tempfile.mkdtemp(prefix="elman-")) / output.name
        try:
            model.save(instead)
        except OutputError:
            raise error from None
        raise OutputError(f"{error}; until then the model is {instead}") from error


@contextmanager
def _locked(output: Path) -> Iterator[None]:
    """Keep other trainings from the same output; raises OutputError where one is at work there."""
    lock = FileLock(output.with_suffix(".lock"), thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        raise OutputError(
            f"another training is writing {output}",
            remedy="wait until it ends, or choose another -o",
        ) from None
    except OSError as error:
        raise OutputError(f"cannot lock {lock.lock_file}", got=error.strerror) from error
    try:
        yield
    finally:
        # While this run holds it, so that the lock of the next run stays. Windows removes it at the release.
        with suppress(OSError):
            os.unlink(lock.lock_file)
        lock.release()


def _device(name: str) -> torch.device:
    cuda = torch.cuda.is_available()
    if name == "cuda" and not cuda:
        raise OptionError("device", got="cuda", expected="a CUDA device that torch can use")
    return torch.device("cuda" if cuda and name != "cpu" else "cpu")


def _check_precision(precision: str, device: torch.device) -> None:
    if precision == "bf16":
        if device.type != "cpu":
            raise OptionError("precision", got=f"bf16 on {device}", expected="float32 there")
        kernel.require_bfloat16()
