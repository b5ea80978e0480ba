"""The length and the learning rate of a run that goes on until its validation measure stops improving.

The rate stays at its highest value while the measure improves, then falls in a straight line to zero over the
last part of the run. So the length need not be known in advance, as it must be for a cosine.

Source: A. Hägele et al., "Scaling Laws and Compute-Optimal Training Beyond Fixed Training Durations" (2024,
arXiv:2405.18392), where this schedule ends as well as a cosine of the same length.
"""

from __future__ import annotations

from elman.training.checkpoint import Progress
from elman.training.plan import Schedule

__all__ = ["COOLING", "OpenPace", "trapezoid"]

COOLING = 0.2
"""Share of the run's steps over which the learning rate falls to zero."""
WARM_UP_STEPS = 1000
"""Steps of which the option `warm_up` is a share, as the length of the run is not known yet."""


def trapezoid(step: int, progress: float, warm_up: float) -> float:
    """Return the learning rate as a share of its highest, at `progress` (0 to 1) through a run.

    It rises over the first steps, `warm_up` thousand of them, and falls over the last fifth of the run.

    >>> [trapezoid(500, progress, 0.03) for progress in (0.0, 0.8, 0.9, 1.0)]
    [1.0, 1.0, 0.5, 0.0]
    """
    rising = (step + 1) / max(1.0, warm_up * WARM_UP_STEPS)
    return min(1.0, rising, max(0.0, round((1 - progress) / COOLING, 9)))


class OpenPace:
    """Decides from the `progress` of a run of at most `plan.limit` seconds when it slows down and ends.

    All decisions but the one of the clock depend on steps and measurements alone, so that a run which
    ends within its limit gives the same network on every machine.
    """

    def __init__(self, plan: Schedule, limit: float, every: int) -> None:
        self.limit = limit
        self.every = every
        """Steps between two measurements."""
        self.patience = plan.patience
        self.warm_up = plan.warm_up

    def share_done(self, progress: Progress) -> float:
        """Return how far through the run is, from 0 to 1; by the clock before the rate falls."""
        if progress.cooling:
            done = (progress.step - progress.cooling) / progress.cooling_steps
            return min(1.0, 1 - COOLING + COOLING * done)
        return min(1.0, progress.elapsed / self.limit) * (1 - COOLING)

    def rate_share(self, progress: Progress) -> float:
        """Return the learning rate of the next step as a share of its highest."""
        done = 0.0
        if progress.cooling:
            done = (progress.step + 0.5 - progress.cooling) / progress.cooling_steps
            done = 1 - COOLING + COOLING * done
        return trapezoid(progress.step, done, self.warm_up)

    def is_evaluation_due(self, progress: Progress) -> bool:
        """Return whether the network is to be measured before the next step."""
        if progress.step == progress.measured:
            return False
        return progress.step % self.every == 0 or self.share_done(progress) >= 1.0

    def advance(self, progress: Progress) -> None:
        """Let the rate begin to fall where the measure no longer improves, or the time is nearly over."""
        late = progress.elapsed >= (1 - COOLING) * self.limit
        if not progress.cooling and progress.step and (late or progress.waited >= self.patience):
            progress.cooling = progress.step
            progress.cooling_steps = max(1, round(progress.step * COOLING / (1 - COOLING)))
            progress.hurried = progress.waited < self.patience
