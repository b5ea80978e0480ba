"""The pace of a stage: its learning rate, when it is evaluated, and when it ends.

`Pace` follows a budget of time, epochs or steps, with a cosine schedule. `OpenPace` is for a run
without a budget: the rate stays at its highest value while the validation measure improves, then falls in a
straight line to zero over the last fifth of the run. So the length need not be known in advance, as a cosine
requires.

Sources: I. Loshchilov and F. Hutter, "SGDR" (arXiv:1608.03983) for the cosine; A. Hägele et al., "Scaling
Laws and Compute-Optimal Training Beyond Fixed Training Durations" (arXiv:2405.18392), where the open schedule
ends as well as a cosine of the same length.
"""

from __future__ import annotations

import math

from elman.training.checkpoint import Progress
from elman.training.objective import Objective
from elman.training.plan import Schedule

COOLING = 0.2
"""Share of the run's steps over which the learning rate of an open run falls to zero."""
WARM_UP_STEPS = 1000
"""Steps of which the option `warm_up` is a share while the length of the run is not known."""
EVALUATION_SHARE = 0.06
"""Largest share of a budget of time spent on evaluations before its end."""
MAX_RESERVE = 0.3
"""Largest share of a budget of time kept for the evaluation at its end."""


def cosine(progress: float, warm_up: float) -> float:
    """Return the learning rate as a share of its highest, at `progress` (0 to 1) through the budget.

    >>> [round(cosine(p, 0.1), 2) for p in (0.0, 0.05, 0.1, 0.55, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    if progress < warm_up:
        return progress / warm_up
    return 0.5 * (1 + math.cos(math.pi * (progress - warm_up) / max(1e-9, 1 - warm_up)))


def trapezoid(step: int, progress: float, warm_up: float) -> float:
    """Return the learning rate as a share of its highest, at `progress` (0 to 1) through a run.

    It rises over the first ``1000 * warm_up`` steps and falls over the last fifth of the run.

    >>> [trapezoid(500, progress, 0.03) for progress in (0.0, 0.8, 0.9, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    """
    rising = (step + 1) / max(1.0, warm_up * WARM_UP_STEPS)
    return min(1.0, rising, max(0.0, round((1 - progress) / COOLING, 9)))


class Pace:
    """The rate, the evaluations and the end of a stage with a budget, as functions of its `Progress`."""

    def __init__(self, schedule: Schedule, steps: int | None) -> None:
        """Begin a stage of so many `steps`, None where time ends it."""
        self.schedule, self.steps = schedule, steps
        self.evaluation_seconds = 0.0
        """Duration of the last evaluation."""
        self.reserve = 0.0
        """Seconds of a budget of time kept for the last evaluation."""

    def expect_evaluation(self, seconds: float) -> None:
        """Reserve time for the last evaluation, which a probe says takes so many seconds."""
        self.evaluation_seconds = seconds
        self.reserve = min(seconds, MAX_RESERVE * (self.schedule.time or 0.0))

    def share_done(self, progress: Progress) -> float:
        """Return how far through the stage it is, from 0 to 1."""
        schedule = self.schedule
        # A refit takes the steps that were best before, at the rates of the whole schedule.
        if schedule.stop is not None and progress.step >= schedule.stop:
            return 1.0
        if self.steps is not None:
            done = progress.step / self.steps
            if schedule.time is not None:
                # Steps and time are both limits; the one that comes first ends the run.
                done = max(done, progress.elapsed / (schedule.time - self.reserve))
            # The clock counts only on a slow machine, so that all others train the same network.
            if schedule.limit is not None and 2 * progress.elapsed > schedule.limit:
                done = max(done, progress.elapsed / schedule.limit)
            return min(1.0, done)
        # seconds; the evaluation at the end belongs to the budget
        return min(1.0, progress.elapsed / ((schedule.time or math.inf) - self.reserve))

    def rate_share(self, progress: Progress) -> float:
        """Return the learning rate of the next step as a share of its highest."""
        # Take the rate in the middle of the step: then neither the first nor a single step has rate zero.
        done = self.share_done(progress)
        if self.steps is not None:
            done = max(done, (progress.step + 0.5) / self.steps)
        if self.schedule.limit is not None:
            return trapezoid(progress.step, done, self.schedule.warm_up)
        return cosine(done, self.schedule.warm_up)

    def is_evaluation_due(self, progress: Progress) -> bool:
        """Return whether the network is to be evaluated before the next step."""
        done = self.share_done(progress)
        if done == progress.evaluated or progress.step == 0:
            return False
        apart = 1 / self.schedule.evaluations
        if self.steps is None or self.schedule.time is not None:
            budget = self.schedule.time or math.inf
            # Slow evaluations are further apart, so that most of the time goes into training.
            apart = max(apart, self.evaluation_seconds / (EVALUATION_SHARE * budget))
        # The last evaluation is at the end, so there is none shortly before it.
        return done >= 1.0 or progress.evaluated + apart - 1e-9 <= done <= 1 - apart / 2

    def end(self, progress: Progress) -> str | None:
        """Return why the stage ends after an evaluation, None where it goes on.

        It is "budget", or "early" after `patience` evaluations without a better one.
        """
        if self.share_done(progress) >= 1.0:
            return "budget"
        return "early" if progress.waited >= self.schedule.patience else None

    def total_steps(self, progress: Progress) -> int:
        """Return the number of steps of the whole stage, estimated where the clock ends it."""
        if self.steps is not None and self.schedule.time is None:
            return self.steps
        # steps so far over the share of the time that they took
        return max(1, round(progress.step / max(1e-9, self.share_done(progress))))

    def before_step(self, progress: Progress) -> None:
        """Decide what only the evaluations so far can tell; a budget has nothing to decide."""


class OpenPace(Pace):
    """Slows down and ends a stage without a budget, of at most `limit` seconds.

    All decisions but the one of the clock depend on steps and evaluations alone, so that a run which ends
    within its limit gives the same network on every machine.
    """

    def __init__(self, schedule: Schedule, limit: float, evaluate_every: int) -> None:
        """Begin a stage that is evaluated after every `evaluate_every` steps."""
        super().__init__(schedule, None)
        self.limit, self.evaluate_every = limit, evaluate_every

    def share_done(self, progress: Progress, ahead: float = 0.0) -> float:
        """Return how far through the stage it is `ahead` steps later; by the clock before the rate falls."""
        if progress.cooling:
            done = (progress.step + ahead - progress.cooling) / progress.cooling_steps
            return min(1.0, 1 - COOLING + COOLING * done)
        return min(1.0, progress.elapsed / self.limit) * (1 - COOLING)

    def rate_share(self, progress: Progress) -> float:
        """Return the learning rate of the next step as a share of its highest."""
        return trapezoid(progress.step, self.share_done(progress, 0.5), self.schedule.warm_up)

    def is_evaluation_due(self, progress: Progress) -> bool:
        """Return whether `evaluate_every` steps, or the whole stage, are over."""
        if progress.step == progress.measured:
            return False
        return progress.step % self.evaluate_every == 0 or self.share_done(progress) >= 1.0

    def end(self, progress: Progress) -> str | None:
        """Return "budget" where the clock ended the stage, "early" where the measure stopped improving."""
        if self.share_done(progress) < 1.0:
            return None
        return "budget" if progress.hurried else "early"

    def before_step(self, progress: Progress) -> None:
        """Begin to lower the rate where the measure stopped improving, or the time is nearly over."""
        # The last fifth of the time is needed for the fall of the rate.
        late = progress.elapsed >= (1 - COOLING) * self.limit
        exhausted = progress.waited >= self.schedule.patience
        if not progress.cooling and progress.step and (late or exhausted):
            progress.cooling = progress.step
            # so many steps that the fall takes the share COOLING of the whole run
            progress.cooling_steps = max(1, round(progress.step * COOLING / (1 - COOLING)))
            progress.hurried = not exhausted


def pace_of(schedule: Schedule, objective: Objective) -> Pace:
    """Return the pace that `schedule` asks for: open where it has a limit of time but no other budget."""
    steps = schedule.steps
    if not steps and schedule.epochs is not None:
        steps = max(1, round(schedule.epochs * objective.steps_in_epoch(0)))
    if schedule.limit is not None and steps is None:
        return OpenPace(schedule, schedule.limit, objective.steps_between_evaluations())
    return Pace(schedule, steps)
