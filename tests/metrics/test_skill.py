from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from elman.errors import DataError, ShapeError
from elman.metrics.skill import _standard_error, is_repeated_last, paired_skill

TRIALS = 300
# The expected share of trials, 5 %, plus three of its standard deviations.
FIVE_PERCENT = 0.05 + 3 * np.sqrt(0.05 * 0.95 / TRIALS)


def test_the_standard_error_by_its_definition() -> None:
    draw = np.random.default_rng(0)
    values, times = draw.normal(size=30), np.arange(30)
    error, count = _standard_error(values, times, 1)
    assert error == pytest.approx(values.std(ddof=1) / np.sqrt(30))
    assert count == 30
    # two series at 24 times with a horizon of 3: times less than 3 apart are correlated
    values, times = draw.normal(size=48), np.tile(np.arange(24), 2)
    centred, variance = values - values.mean(), 0.0
    for i in range(48):
        for j in range(48):
            variance += max(0, 1 - abs(times[i] - times[j]) / 3) * centred[i] * centred[j]
    few = (24 + 1 - 6 + 6 / 24) / 24
    error, count = _standard_error(values, times, 3)
    assert error == pytest.approx(np.sqrt(variance / few) / 48)
    assert count == 8
    # with fewer than eight origins a horizon apart, there is no standard error
    assert _standard_error(values[:22], times[:22], 3)[0] is not None
    assert _standard_error(values[:21], times[:21], 3) == (None, 7)


def test_series_that_move_together_count_as_one() -> None:
    draw = np.random.default_rng(0)
    other = 1 + draw.random(12)
    ours = other - draw.normal(0.03, 0.1, 12)
    alone = paired_skill(ours, other)
    # eight copies of one series, in any order of rows, add no evidence
    order = draw.permutation(96)
    times = np.tile(np.arange(12), 8)[order]
    together = paired_skill(np.tile(ours, 8)[order], np.tile(other, 8)[order], times=times)
    assert alone.standard_error is not None
    assert together.standard_error == pytest.approx(alone.standard_error)
    assert (together.origins, together.verdict) == (12, alone.verdict) == (12, "no difference")
    # many series at a single time say nothing about chance
    assert paired_skill(0.8 * other, other, times=np.zeros(12)).standard_error is None


def test_the_three_verdicts() -> None:
    draw = np.random.default_rng(1)
    other = 1 + draw.random(40)
    better = paired_skill(0.8 * other, other, against="drift")
    assert better.verdict == "better"
    assert better.value == pytest.approx(0.2)
    assert str(better).startswith(
        "the error is 20.0 % below that of the drift forecast (standard error "
    )
    for factor, size in ((0.999, "below"), (1.001, "above")):
        chance = paired_skill(other[::-1] * factor, other, against="seasonal naive 336")
        assert chance.verdict == "no difference"
        assert f"{size} that of the seasonal naive forecast (336 steps back)" in str(chance)
        assert str(chance).endswith("NO DIFFERENCE that this test set can show")
    untested = paired_skill(0.8 * other[:3], other[:3])
    assert (untested.verdict, untested.standard_error) == ("no difference", None)
    assert str(untested).endswith("; 3 origins in time cannot tell how much of that is chance")
    worse = paired_skill(1.1 * other, other)
    assert worse.verdict == "not better"
    assert worse.value == pytest.approx(-0.1)
    assert (
        str(worse)
        == "NOT BETTER than the naive forecast: the error is 10.0 % above that forecast's"
    )
    same = paired_skill(other, other)
    assert (same.verdict, same.value) == ("not better", 0.0)
    assert str(same) == "NOT BETTER than the naive forecast: the error is the same"


@pytest.mark.parametrize(
    ("factor", "said"),
    [(80, "80 times that forecast's"), (1e12, "over a million times that forecast's")],
)
def test_the_sentence_on_a_much_larger_error(factor: float, said: str) -> None:
    other = np.arange(1.0, 9)
    assert str(paired_skill(factor * other, other)).endswith(f"the error is {said}")


def test_a_perfect_other_forecast() -> None:
    assert paired_skill([0.0, 0.0], [0.0, 0.0]).value == 0.0
    worse = paired_skill([0.0, 1.0], [0.0, 0.0])
    assert (worse.value, worse.verdict) == (-1e9, "not better")
    assert str(worse).endswith("the error is over a million times that forecast's")
    assert paired_skill([1e308, 1e308], [1e308, 1e308]).value == 0.0


@pytest.mark.parametrize(("origins", "spacing"), [(5, 10), (20, 10), (60, 2)])
def test_chance_is_called_skill_in_at_most_one_of_twenty_trials(origins: int, spacing: int) -> None:
    # two forecasts of a random walk with independent errors of equal size
    draw = np.random.default_rng([origins, spacing])
    horizon, called = 10, 0
    for _ in range(TRIALS):
        values = draw.normal(size=origins * spacing + horizon).cumsum()
        rows = np.arange(origins)[:, None] * spacing
        truth = values[rows + np.arange(horizon)] - values[rows]
        one, two = np.abs(truth[:, None] - draw.normal(size=(origins, 2, 1))).mean(axis=2).T
        found = paired_skill(one, two, times=rows[:, 0], horizon=horizon)
        called += found.verdict == "better"
    assert called / TRIALS <= FIVE_PERCENT


Walk = tuple[np.ndarray, Callable[[int, int], float]]
Make = Callable[[np.random.Generator, int], Walk]


def walk_repeated(draw: np.random.Generator, n: int) -> Walk:
    values = draw.normal(size=n).cumsum()
    return values, lambda origin, step: values[origin] + 0.1 * draw.normal()


def walk_shrunk(draw: np.random.Generator, n: int) -> Walk:
    values = draw.normal(size=n).cumsum()
    return values, lambda origin, step: 0.995**step * values[origin]


def white_mean(draw: np.random.Generator, n: int) -> Walk:
    return draw.normal(size=n), lambda origin, step: 0.0


def season_known(draw: np.random.Generator, n: int) -> Walk:
    wave = 3 * np.sin(np.arange(n) * 2 * np.pi / 12)
    return wave + draw.normal(size=n), lambda origin, step: wave[origin + step]


def sluggish_known(draw: np.random.Generator, n: int) -> Walk:
    values = draw.normal(size=n)
    for t in range(1, n):
        values[t] += 0.5 * values[t - 1]
    return values, lambda origin, step: 0.5**step * values[origin]


def share_repeated(make: Make, origins: int, horizon: int, spacing: int) -> float:
    draw = np.random.default_rng([origins, horizon, spacing])
    said = 0
    for _ in range(TRIALS):
        values, predict = make(draw, origins * spacing + horizon + 1)
        rows = np.arange(origins) * spacing
        steps = range(1, horizon + 1)
        truth = np.array([[values[row + step] for step in steps] for row in rows])
        found = np.array([[predict(int(row), step) for step in steps] for row in rows])
        said += is_repeated_last(found, values[rows], truth, times=rows, horizon=horizon)
    return said / TRIALS


@pytest.mark.slow
@pytest.mark.parametrize(
    ("origins", "horizon", "spacing"), [(20, 1, 1), (20, 10, 10), (200, 10, 2)]
)
@pytest.mark.parametrize("make", [walk_repeated, walk_shrunk])
def test_a_repeated_last_value_is_recognised(
    make: Make, origins: int, horizon: int, spacing: int
) -> None:
    # the test errs in 5 % of trials; the level of a shrunken walk predicts its moves a little
    least = 1 - FIVE_PERCENT if make is walk_repeated else 0.75
    assert share_repeated(make, origins, horizon, spacing) >= least


@pytest.mark.slow
@pytest.mark.parametrize(
    ("origins", "horizon", "spacing"),
    [(1, 10, 1), (8, 1, 1), (20, 1, 1), (20, 10, 10), (200, 10, 2)],
)
@pytest.mark.parametrize("make", [white_mean, season_known, sluggish_known])
def test_an_informative_forecast_is_not_a_repetition(
    make: Make, origins: int, horizon: int, spacing: int
) -> None:
    assert share_repeated(make, origins, horizon, spacing) <= FIVE_PERCENT


def test_few_origins_show_only_an_exact_repetition() -> None:
    truth = np.array([[1.0, 2.0, 3.0]])
    assert is_repeated_last([[0.0, 0.0, 0.0]], [0.0], truth)
    assert is_repeated_last([[0.1, 0.1, 0.1]], [0.0], truth)
    assert not is_repeated_last([[0.1, 0.2, 0.3]], [0.0], truth)


def test_a_constant_truth_is_no_repetition() -> None:
    assert not is_repeated_last([[5.0, 5.0]] * 9, [5.0] * 9, [[5.0, 5.0]] * 9)


def test_positions_without_truth_are_ignored() -> None:
    nan = float("nan")
    forecasts = np.array([[0.0, 50.0]] * 10)
    truth = np.array([[1.0, nan], [-1.0, nan]] * 5)
    assert is_repeated_last(forecasts, np.zeros(10), truth)
    truth[3] = nan
    assert is_repeated_last(forecasts, np.zeros(10), truth)


def test_huge_numbers_do_not_overflow() -> None:
    draw = np.random.default_rng(0)
    last = draw.choice([-1e308, 1e308], 20)
    assert is_repeated_last(last[:, None], last, draw.choice([-1e308, 1e308], (20, 1)))


def test_arrays_that_do_not_fit_are_errors() -> None:
    with pytest.raises(ShapeError, match=r"\[N, H\], \[N\], \[N, H\]"):
        is_repeated_last([1.0], [1.0], [1.0])
    with pytest.raises(DataError, match="not finite"):
        is_repeated_last([[np.nan]], [1.0], [[1.0]])
    with pytest.raises(ShapeError, match="do not pair"):
        paired_skill([1.0], [1.0, 2.0])
