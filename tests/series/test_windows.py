"""Windows: no value after the origin influences them, and all their numbers are finite."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from elman.errors import OptionError
from elman.series.naive import seasonal_naive
from elman.series.window_rule import MAX_INPUT, Prepared, WindowRule
from elman.series.windows import Windows

NAN = float("nan")


def rule(**settings: Any) -> WindowRule:
    own = {"horizon": 5, "season": 3, "long_season": 6, "segment": 3, "window": 12, "log": False}
    return WindowRule(**own | settings)


def one(values: Any, origin: int, of: WindowRule, **others: Any) -> Prepared:
    windows = Windows.of(of, [np.array(values, np.float64)], **others)
    return windows.prepare(np.array([0]), np.array([origin]))[0]


def same(one: Prepared, other: Prepared) -> bool:
    return all(a.tobytes() == b.tobytes() for a, b in zip(one, other, strict=True))


@pytest.fixture
def draw() -> np.random.Generator:
    return np.random.default_rng(0)


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("origin", [1, 7, 12, 25, 30])
def test_values_after_the_origin_change_nothing(
    draw: np.random.Generator, origin: int, log: bool
) -> None:
    of = rule(log=log, covariates=3, past=2)
    values, beside = 5 + draw.random(30), draw.standard_normal((40, 3))
    before = one(values, origin, of, covariates=[beside])
    for garbage in (NAN, 1e9, 1e-9):
        after, known = values.copy(), beside.copy()
        after[origin:] = garbage
        known[origin:, :2] = np.nan_to_num(garbage)
        assert same(one(after, origin, of, covariates=[known]), before)
        # cutting the later values off gives the same window as values that are unknown
        assert same(one(values[:origin], origin, of, covariates=[known]), before)


def test_covariates_are_inputs_as_far_as_they_are_known(draw: np.random.Generator) -> None:
    of, values = rule(covariates=3, past=2), draw.random(30)
    beside = draw.standard_normal((40, 3))
    before = one(values, 20, of, covariates=[beside])
    for step, column in ((22, 2), (19, 0)):
        other = beside.copy()
        other[step, column] += 1
        assert not same(one(values, 20, of, covariates=[other]), before)
    beyond = beside.copy()
    beyond[20 + of.reach :] += 1
    assert same(one(values, 20, of, covariates=[beyond]), before)


def test_other_series_and_later_windows_change_nothing(draw: np.random.Generator) -> None:
    of, values = rule(), [draw.random(30), 1e6 * draw.random(25)]
    alone = one(values[0], 20, of)
    together = Windows.of(of, values).prepare(np.array([1, 0, 1]), np.array([25, 20, 7]))[0]
    assert alone.inputs.tobytes() == together.inputs[:, 1:2].tobytes()
    assert alone.base.tobytes() == together.base[1:2].tobytes()


def test_a_window_by_hand() -> None:
    of = WindowRule(horizon=3, season=2, long_season=4, segment=2, window=4, log=False)
    found = one([1.0, 2.0, 3.0, NAN], 4, of)
    # the last known value of each phase of the season: 3, then 2
    assert found.base.tolist() == [[3.0, 2.0, 3.0]]
    # 2 is the only known change over a season; `deviation` is that of 1, 2, 3 from the base value 3
    assert found.unit.tolist() == [2.0]
    deviation = np.float64(np.sqrt(5 / 3)).clip(min=2.0)
    assert found.inputs.shape == (4, 1, of.input_size) == (4, 1, 4 * 2 + 2 + 2)
    level, change, longer, missing = found.inputs[:, 0, :8].reshape(4, 4, 2).transpose(1, 0, 2)
    expected = (np.array([[1, 2], [3, 3], [3, 2], [3, 2]]) - 3) / deviation
    np.testing.assert_allclose(level, expected, atol=1e-7)
    assert change.tolist() == [[0, 0], [1, 0], [0, 0], [0, 0]]
    # the value four steps before, minus the value a season before
    assert longer.tolist() == [[0, 0], [0, 0], [-1, 0], [0, 0]]
    assert missing.tolist() == [[0, 0], [0, 1], [0, 0], [0, 0]]
    assert found.inputs[2:, 0, 8:10].tolist() == [[1, 0], [0, 1]]


@pytest.mark.parametrize("missing", [[], [10], [9, 10, 11, 7], [11, 8, 5, 9]])
def test_the_base_is_the_seasonal_naive_forecast(
    draw: np.random.Generator, missing: list[int]
) -> None:
    of, values = rule(long_season=0), draw.random(12)
    values[missing] = NAN
    np.testing.assert_array_equal(one(values, 12, of).base[0], seasonal_naive(values, 5, 3))


def test_after_a_gap_as_long_as_the_window_the_last_value_is_used() -> None:
    values = [1.0, 7.0, *[NAN] * 12]
    for log in (False, True):
        of = rule(log=log)
        prepared = one(values, 14, of)
        nothing = np.zeros((1, 5, 1))
        np.testing.assert_allclose(of.forecast(prepared, nothing)[..., 0], 7.0, rtol=1e-12)
        assert np.isfinite(prepared.inputs).all()


@pytest.mark.parametrize("exponent", [-1000, -60, 60, 1000])
def test_scaling_by_a_power_of_two_changes_no_digit(
    draw: np.random.Generator, exponent: int
) -> None:
    values = draw.standard_normal(20)
    prepared, scaled = one(values, 20, rule()), one(np.ldexp(values, exponent), 20, rule())
    assert scaled.inputs.tobytes() == prepared.inputs.tobytes()
    assert scaled.base.tobytes() == np.ldexp(prepared.base, exponent).tobytes()
    assert scaled.unit.tobytes() == np.ldexp(prepared.unit, exponent).tobytes()


def test_adding_a_constant_changes_only_the_base(draw: np.random.Generator) -> None:
    values = draw.standard_normal(20)
    prepared, moved = one(values, 20, rule()), one(values + 100.0, 20, rule())
    # float64 differences of numbers close to 100 have an error of 100 · 2^-52, and the inputs are float32
    np.testing.assert_allclose(moved.inputs, prepared.inputs, atol=1e-5)
    np.testing.assert_allclose(moved.base, prepared.base + 100, rtol=1e-12)
    np.testing.assert_allclose(moved.unit, prepared.unit, rtol=1e-10)


def test_with_logarithms_a_factor_acts_like_a_constant(draw: np.random.Generator) -> None:
    of, values = rule(log=True), 1 + draw.random(20)
    prepared, scaled = one(values, 20, of), one(1000 * values, 20, of)
    np.testing.assert_allclose(scaled.inputs, prepared.inputs, atol=1e-5)
    answers = draw.standard_normal((1, 5, 3))
    np.testing.assert_allclose(
        of.forecast(scaled, answers), 1000 * of.forecast(prepared, answers), rtol=1e-9
    )


def test_values_without_a_logarithm_are_missing() -> None:
    of = rule(log=True)
    gone = one([3.0, 0.0, 4.0, -1.0, 5.0], 5, of)
    assert same(gone, one([3.0, NAN, 4.0, NAN, 5.0], 5, of))


@pytest.mark.slow
@pytest.mark.parametrize("log", [False, True])
@given(
    values=st.lists(
        st.one_of(
            st.floats(allow_infinity=False),
            st.sampled_from([NAN, 0.0, 5e-324, 1e-300, -1e300, 1.7976931348623157e308]),
        ),
        min_size=1,
        max_size=20,
    )
)
@settings(max_examples=150)
def test_windows_of_anything_are_finite(values: list[float], log: bool) -> None:
    of = rule(log=log, static=1)
    prepared = one(values, len(values), of, static=np.array([[1e6]]))
    assert np.isfinite(prepared.inputs).all()
    assert (abs(prepared.inputs) <= max(MAX_INPUT, 1000)).all()
    assert np.isfinite(prepared.base).all()
    assert (prepared.unit > 0).all()
    for size in (0.0, 1.0, 1e18):
        answers = np.array([-size, 0.0, size])[None, None].repeat(5, 1)
        found = of.forecast(prepared, answers)
        assert np.isfinite(found).all()
        assert (found[..., 1:] >= found[..., :-1]).all()


def test_the_truth_is_what_follows() -> None:
    windows = Windows.of(rule(), [np.arange(20.0)])
    _, truth = windows.prepare(np.array([0, 0]), np.array([3, 17]))
    np.testing.assert_array_equal(truth, [[3, 4, 5, 6, 7], [17, 18, 19, NAN, NAN]])


def test_memory_is_bounded() -> None:
    assert rule().batch_size == 512
    long = rule(window=1 << 20, segment=1 << 4, long_season=0, season=1 << 4)
    assert long.batch_size * long.window < 1 << 23


@pytest.mark.parametrize(
    "wrong",
    [
        {"horizon": 0},
        {"season": 0},
        {"season": 13},
        {"long_season": -1},
        {"long_season": 13},
        {"segment": 0},
        {"segment": 5},
        {"window": 1 << 21, "segment": 1},
        {"covariates": -1},
        {"covariates": 1, "past": 2},
        {"static": -1},
    ],
)
def test_an_impossible_rule_is_refused(wrong: dict[str, int]) -> None:
    name = "past" if "past" in wrong else next(iter(wrong))
    with pytest.raises(OptionError, match=f"^{name}: got"):
        rule(**wrong)


@pytest.mark.parametrize("log", [False, True])
def test_a_window_of_few_values_has_the_usual_unit(log: bool) -> None:
    usual = rule(season=1, long_season=0, log=log, usual=0.05)
    alone = one([100.0], 1, usual)
    assert alone.unit[0] == pytest.approx(0.05 if log else 5.0)
    # with many equal values, the usual unit is not needed
    assert one([100.0] * 12, 12, usual).unit[0] < 0.01


def test_a_window_that_is_too_large_is_refused() -> None:
    with pytest.raises(OptionError, match="window"):
        rule(window=3 * 2**18, covariates=4000, past=4000)


def test_a_window_of_mostly_equal_values_takes_its_unit_from_the_long_past() -> None:
    of = rule(season=1, long_season=0, segment=1, horizon=2, floor=True)
    values = np.zeros(60)
    values[[5, 20]] = 80.0
    # four of the 39 changes are 80, but none of these is within the window of 12
    assert one(values[:40], 40, of).unit[0] == pytest.approx(80 * np.sqrt(4 / 39))
    assert one(values[:40], 40, rule(season=1, long_season=0, segment=1)).unit[0] < 1e-5
    # neither later values nor a trend that training adds change the unit
    windows = Windows.of(of, [np.where(np.arange(60) < 40, values, 1e6)])
    for trends in (None, np.array([5.0])):
        prepared, _ = windows.prepare(np.array([0]), np.array([40]), trends)
        assert prepared.unit[0] == pytest.approx(80 * np.sqrt(4 / 39))
    # a window with changes is scaled by its own values only
    moving = np.concatenate([1000 * np.arange(30.0) % 7000, np.sin(np.arange(30.0))])
    assert one(moving, 60, of).unit[0] == one(moving, 60, replace(of, floor=False)).unit[0]


@pytest.mark.parametrize("season", [1, 3])
def test_the_long_past_is_limited(season: int) -> None:
    of = rule(season=season, long_season=0, segment=1, floor=True)
    values = np.zeros(3000)
    values[:1500] = 7.0 * np.arange(1500)
    assert one(values, 3000, of).unit[0] < 1e-5
    assert one(values, 2300, of).unit[0] > 1.0
