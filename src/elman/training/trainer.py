"""The trainer: one training run from its data to its model, from top to bottom.

`train` prepares a run and resumes or begins it; `Trainer.run` trains its stages one after the other and
writes the model; `Trainer._train_stage` is the loop of steps, evaluations, checkpoints and recoveries. The
task's side is its `Recipe`: data, network, loss and measure.

Sources of the method: P. Werbos, "Backpropagation Through Time" (1990), truncated with the state carried over
(R. Williams and J. Peng 1990); AdamW (I. Loshchilov and F. Hutter, arXiv:1711.05101); gradients clipped by
their norm (R. Pascanu et al., arXiv:1211.5063).
"""

from __future__ import annotations

import math
import sys
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from typing import Generic, NoReturn, TypeVar

import numpy as np
import torch

from elman.errors import DataError, DivergedError
from elman.files.model import Model
from elman.training.allocator import freed_memory_kept
from elman.training.averaging import Average
from elman.training.checkpoint import Best, Snapshot, StageResult, TrainingState
from elman.training.distributed import Group, choose_device, join
from elman.training.journal import JsonObject, Run
from elman.training.objective import Measure, Objective
from elman.training.optimizer import optimizer_of
from elman.training.output import Output
from elman.training.pace import pace_of
from elman.training.random import Randomness
from elman.training.recipe import Recipe
from elman.training.recurrent_options import RecurrentOptions
from elman.training.signals import stop_requests
from elman.training.steps import SpeedReport, Step, find_culprit
from elman.training.store import Store

ObjectiveT = TypeVar("ObjectiveT", bound=Objective)

SNAPSHOT_EVERY_STEPS = 20
MAX_RECOVERIES = 3
WORST_MEASURE = sys.float_info.max
"""Measure of an earlier stage's best network, so that every measure of a later stage is better."""
RANK_SEED = 1_000_003
"""Distance between the seeds of two processes, a prime."""


@dataclass(frozen=True)
class Outcome:
    """A finished or interrupted run: its best model, and why it ended."""

    model: Model
    stopped: str
    """"budget", "early", "interrupted", or "complete" where the run to resume had finished before."""


class PausedRunError(Exception):
    """The run has paused, as `Run.pause` asked; its checkpoint is written, and no model."""


def train(
    prepare: Callable[[Group, Randomness], Recipe[ObjectiveT]],
    options: RecurrentOptions,
    run: Run,
) -> Outcome:
    """Train the recipe that `prepare` returns and return the best model by its validation measure.

    Args:
        prepare: Reads the data and plans the run.
        options: The options of the task.
        run: The files of the run, and the function that watches it.

    Raises DataError, OptionError, OutputError, ModelFileError, DivergedError; PausedRunError for a pause.
    """
    # A device that cannot be used is an error before any data is read.
    device = choose_device(options.device, options.precision)
    with ExitStack() as stack:
        group = join(device)
        stack.callback(group.leave)
        # torch has one number of threads for the whole process, so it is set back at the end.
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        torch.set_num_threads(options.threads or torch.get_num_threads())
        stack.enter_context(freed_memory_kept())
        output = stack.enter_context(Output(run, leads=group.leads))
        recipe = prepare(group, Randomness(options.seed, group.device))
        # The data must be read by now: their digests are part of the identity.
        store = Store(run.output, recipe.identity(), group)
        unfinished = store.is_unfinished()
        if run.resume and not unfinished:
            model = store.finished_model()
            store.clear()
            return Outcome(model, "complete")
        # From here on the run writes files; every reason to refuse it has been checked.
        snapshot = store.load() if run.resume else None
        output.open_journal(resume=snapshot is not None)
        output.emit(recipe.start_event())
        if unfinished and not run.resume:
            output.warn("the unfinished run is replaced; --resume would have gone on with it")
            store.clear()
        return Trainer(recipe, store, output, run.pause).run(snapshot)


class Trainer(Generic[ObjectiveT]):
    """Trains the stages of a recipe one after the other and writes the model."""

    def __init__(
        self,
        recipe: Recipe[ObjectiveT],
        store: Store,
        output: Output,
        pause: float | None = None,
    ) -> None:
        """Prepare a run that keeps its checkpoints in `store` and its model and events in `output`.

        With `pause`, its first stage is interrupted after so many seconds.
        """
        self.pause = math.inf if pause is None else pause
        self.recipe, self.store, self.output = recipe, store, output
        self.group, self.random = recipe.group, recipe.random
        self.earlier: list[StageResult] = []

    def run(self, snapshot: Snapshot | None) -> Outcome:
        """Train all stages, from `snapshot` if there is one, and return the best network as a model.

        Before it raises DivergedError, it writes the best network so far, except in pre-training.
        """
        self.earlier = [] if snapshot is None else snapshot.numbers["earlier"]
        # best network of the stage before, for a stage that ends before its first evaluation
        previous: Best | None = None
        start: Mapping[str, np.ndarray] = {}
        diverged: DivergedError | None = None
        with stop_requests() as stop_requested:
            while True:
                self._begin_stage(previous, start)
                if snapshot is not None:
                    self.state.restore(snapshot, self.group, self.random)
                    self.output.emit({"event": "resume", "step": self.state.progress.step})
                    snapshot = None
                try:
                    stopped = self._train_stage(stop_requested)
                except DivergedError as error:
                    if self.objective.pretrains:
                        raise
                    stopped, diverged = "diverged", error
                best = self.state.best
                if best is None:
                    raise diverged or DataError("the held-out part could not be measured")
                result = self.recipe.evaluate(self.earlier, self.objective, best)
                following = self._next_stage(stopped, best)
                if following is None:
                    break
                facts = {
                    "improving": self._is_improving(stopped),
                    "before": self.state.progress.before,
                }
                self.earlier = [*self.earlier, facts | following | result]
                # The model keeps this network if the next stage is interrupted before its first evaluation.
                previous, start = replace(best, value=WORST_MEASURE), self.state.start
                if self.objective.pretrains:
                    previous, start = None, best.arrays
            model = self._finish(best, result, stopped)
        self.output.emit({"event": "end", "stopped": stopped, "card": dict(model.card)})
        if diverged is not None:
            raise diverged
        return Outcome(model, stopped)

    def _begin_stage(self, previous: Best | None, start: Mapping[str, np.ndarray]) -> None:
        """Make the network of the next stage, its optimizer and its pace; `start` gives weights."""
        # The initial weights come from the run's own generator, in every process the same.
        with self.random.making():
            self.objective, self.schedule = self.recipe.stage(self.earlier)
        network, schedule = self.objective.network, self.schedule
        if self.recipe.before is not None:
            network.load(self.recipe.before.arrays)
        if start:
            network.load_known(start)
        network.to(self.group.device)
        self.random.give(network)
        if not self.group.leads:
            # Every process has the same network, but draws dropout of its own.
            self.random.seed(self.recipe.plan.seed + RANK_SEED * self.group.rank)
        optimizer = optimizer_of(network, schedule)
        average = Average(network, schedule.average)
        self.state = TrainingState(
            self.objective, optimizer, average, self.earlier, best=previous, start=start
        )
        self.pace = pace_of(schedule, self.objective)
        self.resume_from: Snapshot | None = None

    def _train_stage(self, stop_requested: threading.Event) -> str:
        """Take steps until the stage ends; return why: "budget", "early" or "interrupted".

        Raises DivergedError where numbers that are not finite come back after three recoveries.
        """
        # Measure a trained network before it learns on: if learning on makes it worse, the run keeps it.
        if self.recipe.before is not None and self.state.progress.step == 0:
            self._evaluate()
        # A snapshot is good when a step from it came out finite; until then `pending` waits.
        good = pending = self.state.capture(self.group, self.random)
        if self.schedule.time is not None:
            # A budget of time includes its last evaluation, so measure how long one takes.
            seconds = self.objective.seconds_to_measure() if self.group.leads else 0.0
            self.pace.expect_evaluation(*self.group.broadcast([seconds]))
        saved = time.monotonic()
        # A resumed run counts its seconds from where the interrupted one stopped.
        began = time.monotonic() - self.state.progress.elapsed
        report = SpeedReport(self.objective.unit, self.output.emit)
        while True:
            progress = self.state.progress
            # The order matters: evaluate, then end or go on, then take the snapshot, then step.
            if self.pace.is_evaluation_due(progress):
                value = self._evaluate()
                if not math.isfinite(value):
                    self._recover(good, f"the held-out loss is {value}")
                    continue
                if (ended := self.pace.end(progress)) is not None:
                    if self._pauses:
                        self._pause(good)
                    return ended
            if self._pauses and progress.elapsed >= self.pause:
                # The event tells the measure; later the run goes on as if it had not been taken.
                self._evaluate()
                self._pause(good)
            self.pace.before_step(progress)
            if progress.step % SNAPSHOT_EVERY_STEPS == 0:
                pending = self.state.capture(self.group, self.random)
            # A checkpoint is written by the clock, but what it holds was taken at a fixed step.
            if time.monotonic() - saved > self.schedule.checkpoint_every:
                self.store.save_or_warn(good, self.output.warn)
                saved = time.monotonic()
            step = self._step(time.monotonic() - began, stop_requested.is_set())
            progress.elapsed = step.elapsed
            if step.stop:
                break
            if step.culprit:
                self._recover(good, step.culprit)
                continue
            # The step came out finite, so the snapshot from before it can be trusted.
            good = pending
            report.add(step, progress, self.pace.share_done(progress))
        return self._interrupt(good)

    @property
    def _pauses(self) -> bool:
        """Return whether training should pause now; the end of a stage is the latest moment."""
        return self.pause < math.inf and not self.earlier

    def _pause(self, good: Snapshot) -> NoReturn:
        self.store.save(good)
        raise PausedRunError

    def _interrupt(self, good: Snapshot) -> str:
        """End the stage at once; `good` is the snapshot that a later run goes on from."""
        if self.state.progress.step == 0 and self.state.best is None:
            # There is nothing to keep: not a single step was taken.
            raise KeyboardInterrupt
        if self.objective.pretrains:
            self.store.save_or_warn(good, self.output.warn)
            self.output.warn(
                "interrupted in pre-training: there is no model yet, but --resume goes on"
            )
            raise KeyboardInterrupt
        self.output.warn("interrupted: the best so far is kept")
        if self.state.best is None:
            self._evaluate()
        self.resume_from = good
        return "interrupted"

    def _step(self, elapsed: float, stop: bool) -> Step:
        """Compute the gradient of one batch and update the weights.

        The weights stay as they are where a number is not finite or any process is to `stop`.
        """
        objective, progress, optimizer = self.objective, self.state.progress, self.state.optimizer
        # An epoch can have fewer steps than the one before, so look again after each.
        while progress.index >= objective.steps_in_epoch(progress.epoch):
            progress.epoch, progress.index = progress.epoch + 1, 0
        summed, count = objective.loss(progress.epoch, progress.index)
        optimizer.zero_grad()
        # The mean over the whole batch: each process adds its share of the sum.
        torch.autograd.backward(summed / count)
        weights = objective.network.parameters()
        gradients = [weight.grad for weight in weights if weight.grad is not None]
        # Sum the gradients, the loss, the lead's clock and the requests to stop in one message.
        numbers = [summed.item(), elapsed if self.group.leads else 0.0, float(stop)]
        total_loss, elapsed, stops = self.group.all_reduce(gradients, numbers)
        # nats per unit, and the norm of the summed gradient before clipping
        loss, norm = total_loss / count, optimizer.norm()
        culprit = find_culprit(objective.network, loss, norm)
        highest = self.schedule.learning_rate * progress.rate_scale
        rate = highest * self.pace.rate_share(progress)
        if not culprit and not stops:
            for parameters in optimizer.param_groups:
                parameters["lr"] = rate
            optimizer.clipped_step(norm, self.schedule.clip)
            self.state.average.follow(progress.step)
            objective.advance()
            progress.step += 1
            progress.index += 1
        return Step(loss, norm, rate, count, elapsed, bool(stops), culprit)

    def _evaluate(self) -> float:
        """Measure the averaged weights on the validation set, keep the best, and return the measure."""
        state, progress = self.state, self.state.progress
        started = time.monotonic()
        # The averaged weights are evaluated and kept, not those of the last step.
        with state.average.applied():
            measure = self.objective.measure() if self.group.leads else Measure(0.0)
            held_out = measure.facts.get("held_out_loss")
            held_out = math.nan if held_out is None else held_out
            numbers = [measure.value, time.monotonic() - started, held_out]
            value, seconds, held_out = self.group.broadcast(numbers)
            self.pace.evaluation_seconds = seconds
            if not math.isfinite(value):
                return value
            # Compared in every process alike, because the lead's value was broadcast.
            better = state.best is None or value < state.best.value
            if progress.step == 0:
                progress.before = held_out if math.isfinite(held_out) else None
                # Without a validation set, the measure cannot say that the first weights are the best.
                better = better and progress.before is not None
            if better:
                state.best = Best(value, progress.step, self.objective.network.arrays())
        progress.evaluated, progress.measured = self.pace.share_done(progress), progress.step
        progress.waited = 0 if better or progress.step == 0 else progress.waited + 1
        self.output.emit(
            {
                "event": "evaluation",
                "step": progress.step,
                "best": better,
                "measure": value,
                **measure.facts,
                "evaluation_seconds": round(seconds, 3),
            }
        )
        return value

    def _recover(self, snapshot: Snapshot, culprit: str) -> None:
        """Go back to `snapshot` at half the learning rate; raises DivergedError after three times."""
        progress = self.state.progress
        if progress.recoveries >= MAX_RECOVERIES:
            raise DivergedError(
                f"training diverged at step {progress.step} after {progress.recoveries} recoveries",
                got=culprit,
                remedy="lower --learning-rate or --clip",
            )
        self.state.recover(snapshot, self.group, self.random)
        self.output.emit(
            {
                "event": "recovery",
                "step": progress.step,
                "culprit": culprit,
                "back_to_step": self.state.progress.step,
                "rate_scale": self.state.progress.rate_scale,
            }
        )

    def _is_improving(self, stopped: str) -> bool:
        """Return whether the budget ended while the last of several evaluations was the best."""
        best, progress = self.state.best, self.state.progress
        # Only then would more steps probably have helped, which the card tells the user.
        last_is_best = best is not None and best.step == progress.step
        return stopped == "budget" and last_is_best and self.schedule.evaluations > 1

    def _next_stage(self, stopped: str, best: Best) -> StageResult | None:
        """Return what the recipe says about the stage after this one, None where the run ends."""
        # An interrupted or diverged run ends with the network that it has, and so does one that kept the
        # network of before, because learning on made it worse.
        if stopped not in ("budget", "early") or best.step == 0:
            return None
        steps = self.pace.total_steps(self.state.progress)
        following = self.recipe.next_stage(self.earlier, best, steps)
        if following is not None:
            facts = {"steps": following["steps"], "next": following.get("next")}
            self.output.emit({"event": "stage", **facts})
        return following

    def _finish(self, best: Best, result: StageResult, stopped: str) -> Model:
        """Return the best network as a model with its card, written to the output."""
        card: JsonObject = {}
        if self.group.leads:
            # a network that was never measured in its own stage keeps the worst measure
            refit = bool(self.earlier) and best.value < WORST_MEASURE
            facts = self.recipe.card_facts(best, result, refit)
            card = self.recipe.card(facts, self._training_facts(best, stopped), self.store.identity)
        model = Model(*self.recipe.finish(best, result), card)
        self.output.save(model)
        if stopped != "interrupted":
            self.store.clear()
        # After the model, so that a kill between the two loses steps, but no model.
        if self.resume_from is not None:
            self.store.save_or_warn(self.resume_from, self.output.warn)
        return model

    def _training_facts(self, best: Best, stopped: str) -> JsonObject:
        """Return how training went, for the card."""
        progress = self.state.progress
        return {
            **progress.facts(self.objective.steps_in_epoch(progress.epoch)),
            "best_step": best.step,
            "stopped": stopped,
            **self._facts_before(),
            # A last stage without evaluations cannot tell, so the earlier ones count too.
            "improving": self._is_improving(stopped)
            or any(stage["improving"] for stage in self.earlier),
        }

    def _facts_before(self) -> JsonObject:
        """Return the validation loss of a trained network before it learned on; nothing for a new one."""
        first = self.earlier[0]["before"] if self.earlier else self.state.progress.before
        return {} if first is None else {"held_out_loss_before": first}
