"""Linear autoregression: its inputs, its fit, and its part in forecasts, explanations, files and reports."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from elman import load
from elman.errors import ModelFileError
from elman.series.autoregression import Ridge, lag_inputs
from elman.series.autoregression_fit import fit_ridge
from elman.series.calibration import network_share, with_share
from elman.series.codec import ForecastCodec
from elman.series.explain import explain_forecast
from elman.series.options import ForecasterOptions
from elman.series.plan import forecast_plan
from elman.series.predictor import ForecastPredictor
from elman.series.read_options import SeriesOptions
from elman.series.series import load_series
from elman.series.window_rule import WindowRule
from forecasters import make_forecaster

NAN = float("nan")
LEVELS = (0.1, 0.5, 0.9)


def fitted(
    values: np.ndarray, *, season: int = 1, horizon: int = 1, window: int = 24
) -> ForecastCodec:
    """Fit the regression to all values of one series."""
    series = load_series([values], SeriesOptions())
    rule = WindowRule(horizon, season, 0, 1, window, log=False)
    codec = ForecastCodec(rule, LEVELS, np.zeros(3), False, None, None, None, series)
    plan = forecast_plan(ForecasterOptions(horizon=horizon), rule, [len(values)])
    return fit_ridge(series, codec, plan, [0])


def forecast(codec: ForecastCodec, values: np.ndarray) -> np.ndarray:
    """Return the regression's forecast after the last value."""
    windows = codec.windows(load_series([values], SeriesOptions()))
    return windows.prepare(np.array([0]), np.array([len(values)]))[0].base[0]


def test_missing_lags_repeat_the_value_before() -> None:
    past = np.array([[9.0, NAN, 2.0, NAN, 4.0, NAN]])
    # the last known value is 4; in units of 2
    assert lag_inputs(past, np.array([2.0]), 4).tolist() == [[-1.0, -1.0, 0.0, 1.0]]


def test_an_autoregression_is_found() -> None:
    draw, values = np.random.default_rng(0), [0.0, 0.0]
    for _ in range(3000):
        values.append(1.6 * values[-1] - 0.8 * values[-2] + draw.standard_normal())
    codec = fitted(np.array(values))
    wanted = 1.6 * values[-1] - 0.8 * values[-2]
    # Shrinkage, and the standard error of the two coefficients, each about 0.01 times the deviation of 4.
    assert forecast(codec, np.array(values))[0] == pytest.approx(wanted, abs=0.3)


def test_both_the_season_and_the_last_values_are_used() -> None:
    at = np.arange(1500)
    noise, slow = np.random.default_rng(1).standard_normal(1500), np.zeros(1500)
    for step in at[1:]:
        slow[step] = 0.95 * slow[step - 1] + noise[step]
    season = 20 * np.array([0, 5, 1, 3, -4, 2, -7])[at % 7]
    values = season + slow
    codec = fitted(values[:1400], season=7, window=28)
    errors = [forecast(codec, values[:end])[0] - values[end] for end in range(1400, 1499)]
    seasonal = np.abs(values[1400:1499] - values[1393:1492]).mean()
    # The noise of the step cannot be foreseen, and the value a season before has noise of its own.
    best = np.abs(noise[1400:1499]).mean()
    assert np.abs(errors).mean() < 2**0.5 * best < 2 * best < seasonal


@pytest.mark.parametrize("seed", range(5))
def test_a_random_walk_keeps_the_last_value(seed: int) -> None:
    walk = np.random.default_rng(seed).standard_normal(1000).cumsum()
    codec = fitted(walk, horizon=10)
    units = np.abs(np.diff(walk)).mean()
    assert np.abs(forecast(codec, walk) - walk[-1]).max() < units


def test_a_short_series_keeps_the_naive_forecast() -> None:
    codec = fitted(np.array([1.0, 3.0, 2.0, 5.0]), window=2)
    assert codec.ridge is not None
    assert not codec.ridge.weights.any()
    assert forecast(codec, np.array([1.0, 3.0, 2.0, 5.0])).tolist() == [5.0]


def test_bounded_lags_forecast_a_series_that_jumps(monkeypatch: pytest.MonkeyPatch) -> None:
    # a change is taken back up to 2, so that most of a jump stays
    draw, values = np.random.default_rng(0), [0.0, 0.0]
    for _ in range(1500):
        noise = draw.standard_normal() * (0.3 if draw.random() < 0.9 else 6)
        back = 0.9 * np.clip(values[-1] - values[-2], -2, 2) + 0.3 * values[-1]
        values.append(values[-1] - back + noise)
    series, at = load_series([np.array(values)], SeriesOptions()), np.arange(100, 1500)

    def error() -> float:
        windows = fitted(np.array(values)).windows(series)
        prepared, truth = windows.prepare(np.zeros(len(at), np.int64), at)
        return float(np.abs(prepared.base - truth).mean())

    bounded = error()
    monkeypatch.setattr("elman.series.autoregression_fit.MIN_LATER_GAIN_ERRORS", np.inf)
    assert bounded < 0.9 * error()


def test_the_latest_values_can_prefer_the_naive_forecast() -> None:
    # a line forecasts noise around a mean, and harms the random walk that follows
    draw = np.random.default_rng(0)
    values = np.append(draw.standard_normal(2000), draw.standard_normal(400).cumsum())
    series = load_series([values], SeriesOptions())
    rule = WindowRule(1, 1, 0, 1, 24, log=False)
    codec = ForecastCodec(rule, LEVELS, np.zeros(3), False, None, None, None, series)
    plan = forecast_plan(ForecasterOptions(horizon=1), rule, [len(values)])
    for held_out, is_linear in ((400, False), (800, True)):
        ridge = fit_ridge(series, codec, plan, [held_out]).ridge
        assert ridge is not None
        assert ridge.weights.any() == is_linear


def lagged(**settings: Any) -> ForecastPredictor:
    """Make a forecaster with an autoregression on more values than its window."""
    at = np.arange(60)
    series = load_series([9 * (at % 7) + np.sin(3.7 * at)], SeriesOptions())
    model = make_forecaster(series, **settings)
    rule = replace(model.codec.rule, lags=20, lag_season=1)
    weights = np.random.default_rng(0).standard_normal((5, 20)) / 10
    again = np.random.default_rng(1).standard_normal((5, 3)) / 10
    ridge = Ridge(weights, np.linspace(0.3, 0.7, 5), again, 0.5)
    return ForecastPredictor(replace(model, codec=replace(model.codec, rule=rule, ridge=ridge)))


def test_the_forecast_is_the_autoregression_plus_the_network() -> None:
    predictor = lagged()
    arrays = {name: np.zeros_like(array) for name, array in predictor.model.arrays.items()}
    silent = ForecastPredictor(replace(predictor.model, arrays=arrays))
    values, rule = predictor.history.values[0], predictor.codec.rule
    unit = np.abs(values[-14:][7:] - values[-14:][:-7]).mean()
    ridge = predictor.codec.ridge
    assert ridge is not None
    lags = np.append(values[-20:-1] - values[-1], unit)
    expected = values[-1] + ridge.weights @ lags
    expected += ridge.bounded_weights @ lags[-4:-1].clip(-0.5 * unit, 0.5 * unit)
    np.testing.assert_allclose(silent.predict().median[0], expected, rtol=1e-9)
    assert not np.allclose(predictor.predict().median[0], expected)
    assert rule.steps_back == 20


def test_older_values_than_the_lags_change_nothing() -> None:
    predictor = lagged()
    values = predictor.history.values[0]
    changed = np.append(values[:-20] + 100, values[-20:])
    np.testing.assert_array_equal(
        predictor.predict(series=[changed]).median, predictor.predict(series=[values]).median
    )
    changed[-20] += 5
    assert (predictor.predict(series=[changed]).median != predictor.predict().median).all()


def test_lags_outside_the_window_are_explained() -> None:
    predictor = lagged()
    arrays = {name: np.zeros_like(array) for name, array in predictor.model.arrays.items()}
    silent = ForecastPredictor(replace(predictor.model, arrays=arrays))
    explained = explain_forecast(silent, target=2, method="decomposition")
    assert explained.inputs[0] == "lag 20"
    ridge, values = silent.codec.ridge, silent.history.values[0]
    assert ridge is not None
    # The share of a lag is its weight times its distance from the level, the mean of the last season.
    level = values[-7:].mean()
    expected = ridge.weights[1, 0] * (values[-20] - level)
    assert explained.contributions[0] == pytest.approx(expected, rel=1e-9)
    score = explained.contributions.sum() + explained.bias
    assert score == pytest.approx(silent.predict().median[0, 1], rel=1e-9)


def test_a_file_keeps_it(tmp_path: Any) -> None:
    predictor = lagged()
    predictor.save(tmp_path / "model.safetensors")
    loaded = load(tmp_path / "model.safetensors")
    assert isinstance(loaded, ForecastPredictor)
    np.testing.assert_array_equal(loaded.predict().quantiles, predictor.predict().quantiles)


@pytest.mark.parametrize(
    "name",
    [f"codec.ridge.{name}" for name in ("weights", "deviation", "bounded", "bound")],
)
def test_a_file_with_wrong_arrays_is_refused(name: str) -> None:
    form, arrays = lagged().codec.to_parts()
    arrays[name] = arrays[name][..., :-1] if name != "codec.ridge.bounded" else np.zeros((4, 3))
    with pytest.raises(ModelFileError, match=name.removeprefix("codec.")):
        ForecastCodec.from_parts(form, arrays)


def test_a_report_shows_it_and_compares_with_it() -> None:
    predictor = lagged()
    series = predictor.read([np.append(predictor.history.values[0], np.arange(20.0))])
    windows = predictor.windows(series, {"0": 60}, None, 1)
    report = predictor.report(windows)
    assert [row.name for row in report.methods][-1] == "ridge on lags"
    assert "ridge on lags" in [skill.against for skill in report.skills]
    # Each interval is symmetric around the autoregression, wider for a larger deviation.
    ridge = windows[0].ridge
    assert ridge is not None
    np.testing.assert_allclose(ridge[2], forecast(predictor.codec, predictor.history.values[0]))
    widths = ridge[4] - ridge[0]
    np.testing.assert_allclose(widths / widths[0], np.linspace(0.3, 0.7, 5) / 0.3)


def test_a_network_that_corrects_wrongly_is_switched_off() -> None:
    draw = np.random.default_rng(0)
    truth = draw.standard_normal((50, 3, 1))
    right, wrong = 0.9 * truth + [-0.5, 0.0, 0.5], -0.9 * truth + [-0.5, 0.0, 0.5]
    assert network_share(right, truth[..., 0], LEVELS) == 1.0
    assert network_share(wrong, truth[..., 0], LEVELS) == 0.0


def test_a_share_multiplies_the_medians_and_keeps_the_distances() -> None:
    predictor = lagged(members=1)
    arrays, levels = predictor.model.arrays, predictor.codec.levels
    halved = ForecastPredictor(replace(predictor.model, arrays=with_share(arrays, 0.5, levels)))
    inputs = np.random.default_rng(0).standard_normal((3, 2, predictor.model.config.input_size))
    before, after = (
        one._members[0].answer(inputs.astype(np.float32), 1) for one in (predictor, halved)
    )
    median = levels.index(0.5)
    np.testing.assert_allclose(after[..., median], before[..., median] / 2, atol=1e-6)
    distances = [answers - answers[..., [median]] for answers in (before, after)]
    np.testing.assert_allclose(distances[0], distances[1], atol=1e-6)
