"""The pace of a run without a budget: it ends when the measure stops improving, or with its time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from elman.labels.options import ClassifierOptions
from elman.training.checkpoint import Progress
from elman.training.pace import OpenPace
from elman.training.plan import schedule


def pace(**options: Any) -> OpenPace:
    plan = schedule(ClassifierOptions(**options), batch_size=16, learning_rate=1.0, epochs=1)
    return OpenPace(replace(plan, epochs=None, limit=100.0), 100.0, 50)


def run(
    losses: list[float], seconds_per_step: float, **options: Any
) -> tuple[Progress, list[float]]:
    """Run to the end; return the progress and the rates.

    Each evaluation takes the next of `losses`, and the last one repeatedly.
    """
    open_pace, progress, best = pace(**options), Progress(), float("inf")
    rates: list[float] = []
    for _ in range(100_000):
        if open_pace.is_evaluation_due(progress):
            loss = losses[min(progress.step // 50 - 1, len(losses) - 1)]
            progress.waited = 0 if loss < best else progress.waited + 1
            best, progress.measured = min(best, loss), progress.step
            if open_pace.end(progress) is not None:
                return progress, rates
        open_pace.before_step(progress)
        rates.append(open_pace.rate_share(progress))
        progress.step += 1
        progress.elapsed += seconds_per_step
    raise AssertionError("the run does not end")


def test_it_ends_when_the_measure_stops_improving() -> None:
    progress, rates = run([3.0, 2.0, 1.0], 1e-6, patience=4)
    # the best evaluation at step 150, four more evaluations, then a fifth of the whole run
    assert (progress.cooling, progress.cooling_steps) == (350, 88)
    assert progress.step == len(rates) == 438
    assert not progress.hurried
    assert rates[0] == pytest.approx(1 / 30)
    assert set(rates[30:350]) == {1.0}
    assert rates[350:] == sorted(rates[350:], reverse=True)
    assert 0 < rates[-1] < 0.01


def test_it_ends_within_its_time_while_the_measure_improves() -> None:
    better = [1 / n for n in range(1, 2000)]
    progress, rates = run(better, 0.1)
    assert progress.hurried
    assert progress.elapsed == pytest.approx(100, abs=1)
    assert rates[-1] < 0.02
    assert progress.step == pytest.approx(1000, abs=3)


def test_the_speed_changes_nothing_when_the_time_is_enough() -> None:
    quick, slow = (run([2.0, 1.0], seconds) for seconds in (1e-6, 0.1))
    assert quick[1] == slow[1]
