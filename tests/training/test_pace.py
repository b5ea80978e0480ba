"""The pace of runs with a budget and without: rates, evaluations, and when a run ends."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from elman.labels.options import ClassifierOptions
from elman.training.checkpoint import Progress
from elman.training.pace import OpenPace, Pace
from elman.training.plan import Schedule


def pace(**options: Any) -> OpenPace:
    plan = Schedule.of(ClassifierOptions(**options), batch_size=16, learning_rate=1.0, average=0.0)
    return OpenPace(replace(plan, limit=100.0), 100.0, 50)


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


def budget(steps: int | None, **options: Any) -> Pace:
    options |= {"steps": steps} if steps else {}
    plan = Schedule.of(ClassifierOptions(**options), batch_size=16, learning_rate=1.0, average=0.0)
    return Pace(plan, steps)


def test_evaluations_of_a_budget_of_steps_are_evenly_spaced() -> None:
    steps_pace, progress, evaluated = budget(100, evaluations=4), Progress(), []
    while True:
        if steps_pace.is_evaluation_due(progress):
            evaluated.append(progress.step)
            progress.evaluated = steps_pace.share_done(progress)
            if steps_pace.end(progress) == "budget":
                break
        progress.step += 1
    assert evaluated == [25, 50, 75, 100]
    assert steps_pace.total_steps(progress) == 100


def test_a_budget_ends_early_without_better_evaluations() -> None:
    steps_pace = budget(100, patience=3)
    assert steps_pace.end(Progress(step=50, waited=2)) is None
    assert steps_pace.end(Progress(step=50, waited=3)) == "early"
    # the end of the budget counts first
    assert steps_pace.end(Progress(step=100, waited=3)) == "budget"


def test_a_budget_of_time_reserves_the_last_evaluation() -> None:
    time_pace = budget(None, time=100, evaluations=1000)
    time_pace.expect_evaluation(20.0)
    assert time_pace.share_done(Progress(elapsed=40.0)) == 0.5
    # slow evaluations take at most 6 % of the time: they are 20 / 6 of the budget apart
    assert not time_pace.is_evaluation_due(Progress(step=9, elapsed=70.0))
    time_pace.evaluation_seconds = 1.0
    assert time_pace.is_evaluation_due(Progress(step=9, elapsed=14.0))
    assert not time_pace.is_evaluation_due(Progress(step=9, elapsed=13.0))
    # a probe of more than 30 s does not take more than 30 % of the budget
    time_pace.expect_evaluation(50.0)
    assert time_pace.share_done(Progress(elapsed=70.0)) == 1.0
    assert time_pace.total_steps(Progress(step=10, elapsed=35.0)) == 20


def test_a_stage_can_stop_before_the_end_of_its_schedule() -> None:
    plan = Schedule.of(ClassifierOptions(steps=100), batch_size=16, learning_rate=1.0, average=0.0)
    short = Pace(replace(plan, stop=40), 100)
    whole = Pace(plan, 100)
    assert short.end(Progress(step=39)) is None
    assert short.end(Progress(step=40)) == "budget"
    # the learning rate follows the whole schedule
    assert short.rate_share(Progress(step=39)) == whole.rate_share(Progress(step=39)) > 0.5


def test_of_steps_and_time_the_one_that_comes_first_ends_the_run() -> None:
    plan = Schedule.of(ClassifierOptions(), batch_size=16, learning_rate=1.0, average=0.0)
    pace = Pace(replace(plan, time=100.0, epochs=2.0), 10)
    assert pace.share_done(Progress(step=5, elapsed=20.0)) == 0.5
    assert pace.share_done(Progress(step=5, elapsed=80.0)) == 0.8
    assert pace.share_done(Progress(step=10, elapsed=20.0)) == 1.0
    assert pace.rate_share(Progress(step=5, elapsed=80.0)) < pace.rate_share(
        Progress(step=5, elapsed=20.0)
    )
