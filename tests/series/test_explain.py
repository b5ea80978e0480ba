"""Explanations of forecasts, compared with forecasts for changed values and with known networks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from elman import Forecaster
from elman.draw import charts
from elman.errors import DataError, ElmanError, OptionError
from elman.explain.explanation import (
    ADDITIVE,
    DECOMPOSITION,
    INTEGRATED,
    LEFT_OUT,
    MAX_GAP,
    METHODS,
    Explanation,
)
from elman.files.model import Model
from elman.series.config import ForecastConfig
from elman.series.explain import MAX_EXPLAINED_INPUTS, explain_forecast, forecast_picture
from elman.series.predictor import ForecastPredictor
from elman.series.series import load_series
from factories import CELLS
from forecasters import OFFERS, make_forecaster, sales, shop, skipping

# Rounding error of a forecast: a few float32 sums, one after the other, of a few hundred terms of size 1.
FLOAT32 = 300 * 2.0**-24
NAN = float("nan")
pytestmark = pytest.mark.usefixtures("way", "few_draws")


def adds_up(told: Explanation) -> bool:
    whole = told.contributions.sum() + told.start_state + told.bias + told.residual
    size = np.abs(told.contributions).sum() + abs(told.bias) + abs(told.residual)
    return bool(abs(whole - told.score) <= 4 * len(told.inputs) * 2.0**-53 * size)


def tolerance(told: Explanation) -> float:
    return FLOAT32 * float(np.abs(told.contributions).sum() + abs(told.bias))


def named(told: Explanation) -> dict[str, float]:
    return dict(zip(told.inputs, told.contributions.tolist(), strict=True))


@pytest.mark.slow
@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_terms_sum_to_the_forecast(cell: str, activation: str, log: bool) -> None:
    predictor = shop(cell, activation, log=log, calendar=not log)
    median = predictor.predict().median[0]
    for target in (None, 1, 5):
        steps = slice(None) if target is None else slice(target - 1, target)
        for method in METHODS:
            told = explain_forecast(predictor, "a", target, method=method)
            assert adds_up(told)
            logarithm = log and method in ADDITIVE
            shown = (np.log(median) if logarithm else median)[steps].mean()
            assert told.score == pytest.approx(shown, rel=FLOAT32)
            name = "logarithm of the forecast" if logarithm else "forecast"
            name = f"mean {name}" if target is None else name
            assert told.score_name == name
            # not exact, because the decomposition holds the rectifiers open or closed as they are
            assert not told.exact
            if method == DECOMPOSITION:
                assert abs(told.residual) <= tolerance(told)
            if method == INTEGRATED:
                assert told.gap is not None
                assert told.gap < MAX_GAP
            place = "1-5" if target is None else target
            assert (told.task, told.target) == ("forecast", f"a, {place} ahead")
            assert told.steps % (14 // 7 + 1) == 0


def test_inputs_are_named_by_lag() -> None:
    told = explain_forecast(shop(), "b")
    lags = [f"lag {lag}" for lag in range(14, 0, -1)]
    assert told.inputs[:14] == tuple(lags)
    ahead = [f"offer, {step} ahead" for step in range(1, 6)]
    assert told.inputs[14:] == (
        *(f"rain, {lag}" for lag in lags),
        *(f"offer, {lag}" for lag in lags),
        *ahead,
        "side=north",
        "side=south",
    )


def test_left_out_is_a_plain_re_run() -> None:
    predictor, T = shop(), 30
    told = explain_forecast(predictor, "a", 3, method=LEFT_OUT)
    history = predictor.history.select(["a"])
    values = history.values[0]
    assert told.absence is not None
    np.testing.assert_array_equal(told.absence, told.contributions)

    def forecast(**parts: Any) -> float:
        return float(predictor.forecast(replace(history, **parts)).median[0, 2])

    whole = forecast()
    found = named(told)
    for lag in range(1, 15):
        other = values.copy()
        # replace a value by that of a season before, or by the mean of those a season before and after
        other[T - lag] = values[T - lag - 7]
        if lag > 7:
            other[T - lag] = (values[T - lag - 7] + values[T - lag + 7]) / 2
        change = whole - forecast(values=(other,))
        assert found[f"lag {lag}"] == pytest.approx(change, abs=FLOAT32 * whole)
        rain = history.past[0].copy()
        rain[T - lag] = NAN
        change = whole - forecast(past=(rain,))
        assert found[f"rain, lag {lag}"] == pytest.approx(change, abs=FLOAT32 * whole)
    for step in range(1, 6):
        offer = history.future[0].copy()
        offer[T + step - 1] = NAN
        change = whole - forecast(future=(offer,))
        assert found[f"offer, {step} ahead"] == pytest.approx(change, abs=FLOAT32 * whole)
    static = history.static.copy()
    static[0, 0] = NAN
    change = whole - forecast(static=static)
    assert found["side=north"] == pytest.approx(change, abs=FLOAT32 * whole)


def test_only_the_repeated_values_explain_a_naive_forecast() -> None:
    values = 50 + np.random.default_rng(0).normal(size=40)
    predictor = skipping(load_series(values), {})
    for target in range(1, 6):
        lag = 8 - target
        told = explain_forecast(predictor, target=target, method=LEFT_OUT)
        found = named(told)
        expected = values[-lag] - values[-lag - 7]
        assert found.pop(f"lag {lag}") == pytest.approx(expected, rel=1e-9)
        assert not any(found.values())
        # values that the naive forecast does not repeat have no contribution by any method
        told = explain_forecast(predictor, target=target)
        found = named(told)
        assert found.pop(f"lag {lag}") != 0
        assert not any(found.values())
        # the contribution by the decomposition is the value's distance from the level of the window
        told = explain_forecast(predictor, target=target, method=DECOMPOSITION)
        found = named(told)
        level = values[-7:].mean()
        assert found.pop(f"lag {lag}") == pytest.approx(values[-lag] - level, rel=0, abs=1e-5)
        assert not any(found.values())
        assert told.bias == pytest.approx(level, rel=FLOAT32)
        assert told.score == pytest.approx(values[-lag], rel=1e-9)


@pytest.mark.slow
def test_a_known_weight_gives_a_known_share() -> None:
    """The network has a single weight, from a known-future column, so the column's contribution is known."""
    series = load_series(sales(0, 30, more=5), OFFERS)
    weight, kind = 0.7, 3 + 1  # its input follows those of level, change, missing and rain
    predictor = skipping(series, {kind: weight})
    prepared, _ = predictor.codec.windows(series).prepare(np.arange(2), np.array([30, 30]))
    scaler = predictor.codec.future
    assert scaler is not None
    for row, name in enumerate("ab"):
        scaled = (series.future[row][30:, 0] - scaler.mean[0]) / scaler.scale[0]
        expected = prepared.unit[row] * weight * scaled
        for target in (None, 2):
            steps = range(5) if target is None else [target - 1]
            for method in (DECOMPOSITION, INTEGRATED, LEFT_OUT):
                told = explain_forecast(predictor, name, target, method=method)
                found = named(told)
                for step in range(5):
                    share = expected[step] / len(steps) if step in steps else 0
                    assert found[f"offer, {step + 1} ahead"] == pytest.approx(
                        share, abs=FLOAT32 * 100
                    )
                silent = [found[one] for one in found if "rain" in one or "side" in one]
                assert not np.abs(silent).max() > FLOAT32 * 100


@pytest.mark.parametrize("method", [DECOMPOSITION, INTEGRATED])
def test_a_static_covariate_has_its_share(method: str) -> None:
    model = skipping(load_series(sales(0, 30, more=5), OFFERS), {}).model
    weights = np.zeros_like(model.arrays["members.0.skip.weight"])
    weights[:, -1] = 0.7  # the last input is the last static column, side=south
    arrays = {**model.arrays, "members.0.skip.weight": weights}
    predictor = ForecastPredictor(replace(model, arrays=arrays))
    series, codec = predictor.history, predictor.codec
    prepared, _ = codec.windows(series).prepare(np.arange(2), np.array([30, 30]))
    assert codec.static is not None
    scaled = codec.static.apply(series.static)
    for row, name in enumerate("ab"):
        shares = named(explain_forecast(predictor, name, method=method))
        expected = prepared.unit[row] * 0.7 * scaled[row, -1]
        assert shares["side=south"] == pytest.approx(expected, abs=FLOAT32 * 100)
        assert abs(shares["side=north"]) < FLOAT32 * 100


@pytest.mark.slow
@pytest.mark.parametrize("method", [DECOMPOSITION, INTEGRATED])
@pytest.mark.parametrize("long_season", [0, 14])
@pytest.mark.parametrize("cell", ["rnn", "mingru", "gru"])
def test_a_value_that_stands_alone_has_the_whole_share(
    method: str, long_season: int, cell: str
) -> None:
    """All values but one equal the level, so only that value can change the forecast of a random network."""
    for lag in range(8, 29):
        values = np.full(60, 20.0)
        values[-lag] += 5
        model = make_forecaster(load_series(values), cell=cell)
        rule = replace(model.codec.rule, window=28, long_season=long_season)
        config: ForecastConfig = replace(model.config, input_size=rule.input_size)
        draw_from = np.random.default_rng(lag)
        arrays = {
            name: (0.3 * draw_from.standard_normal(shape)).astype(np.float32)
            for name, shape in config.parameters().items()
        }
        predictor = ForecastPredictor(Model(config, arrays, replace(model.codec, rule=rule), {}))
        told = explain_forecast(predictor, method=method)
        found = named(told)
        assert found.pop(f"lag {lag}") != 0
        assert not any(found.values())
        # the residual comes from rectifiers that the value switches, and is small
        assert abs(told.residual) < 1e-3 * 5
        # the bias is the forecast for a window in which every value equals the level
        assert abs(told.bias - 20) < 5


def test_a_mirrored_series_has_mirrored_shares() -> None:
    """A series and its mirror image around the last season's mean have the same level, unit and scale."""
    values = np.random.default_rng(1).normal(size=21) + 4
    mirrored = 2 * values[-7:].mean() - values
    told, other = (
        explain_forecast(skipping(load_series(one), {0: 0.4}), method=DECOMPOSITION)
        for one in (values, mirrored)
    )
    np.testing.assert_allclose(told.contributions, -other.contributions, rtol=0, atol=1e-5)
    assert told.bias == pytest.approx(other.bias, abs=1e-5)


def test_quantiles_that_change_places_are_explained_in_their_order() -> None:
    series = load_series(20 + 3 * np.sin(np.arange(40.0)))
    model = make_forecaster(series, members=3)
    # these corrections change the order of quantiles that are close to each other
    codec = replace(model.codec, corrections=np.array([0.3, -0.2, 0.1, -0.3, 0.2]))
    predictor = ForecastPredictor(Model(model.config, model.arrays, codec, {}))
    for target in (None, 1, 2, 3, 4, 5):
        told = explain_forecast(predictor, target=target, method=DECOMPOSITION)
        assert abs(told.residual) <= tolerance(told)


def test_a_forecast_bounded_by_0_leaves_a_residual() -> None:
    values = np.tile([5.0, 0.1, 4.0, 0.2, 3.0, 0.0, 6.0], 5)
    predictor = skipping(load_series(values), {})
    rule = replace(predictor.codec.rule, nonnegative=True)
    codec = replace(predictor.codec, rule=rule, corrections=np.array([-9.0, -8, -7, -6, -5]))
    predictor = ForecastPredictor(replace(predictor.model, codec=codec))
    told = explain_forecast(predictor, target=2, method=DECOMPOSITION)
    assert told.score == 0
    assert told.residual > 0.1
    assert told.passed is False


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_neighbours_in_a_long_window_are_one_input(method: str) -> None:
    values = np.random.default_rng(0).normal(size=900)
    predictor = skipping(load_series(values), {0: 0.5}, window=840)
    told = explain_forecast(predictor, method=method)
    assert len(told.inputs) == 120
    assert (told.inputs[0], told.inputs[-1]) == ("lags 834-840", "lags 1-7")
    assert adds_up(told)
    rows = sales(0, 400, ("a",), more=5)
    told = explain_forecast(
        skipping(load_series(rows, OFFERS), {0: 0.5}, window=350), method=method
    )
    assert 100 < len(told.inputs) <= MAX_EXPLAINED_INPUTS
    assert told.inputs[-2] == "offer, 1-5 ahead"
    lags = [name for name in told.inputs if name.startswith("lags")]
    assert lags[-1] == "lags 1-9"


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    "values",
    [
        [3.0],
        [3.0, 4.0],
        [3.0] * 40,
        [*np.arange(30.0), *[NAN] * 5, 7.0],
        [*np.arange(30.0), *[NAN] * 20],
        [1e300, -1e300] * 20,
        [1e-300] * 9,
    ],
)
def test_hazards_of_series(method: str, values: list[float]) -> None:
    predictor = ForecastPredictor(make_forecaster(load_series(20 + np.sin(np.arange(40.0)))))
    history = load_series(np.nan_to_num(values, nan=1.0))
    history = replace(history, values=(np.array(values),))
    told = explain_forecast(predictor, history, method=method)
    assert adds_up(told) or abs(told.score) > 1e200
    told.to_json()  # raises an error if a number is not finite
    missing = np.isnan(history.values[0])[::-1]
    assert not any(missing[int(name.removeprefix("lag ")) - 1] for name in told.inputs)
    if method == DECOMPOSITION:
        assert abs(told.residual) <= FLOAT32 * (np.abs(told.contributions).sum() + abs(told.bias))


def test_one_series_must_be_named() -> None:
    predictor = shop()
    with pytest.raises(DataError, match=r"^which series\?: got 2 of them; name one$"):
        explain_forecast(predictor)
    with pytest.raises(DataError, match="no series 'c': expected 'a', 'b'"):
        explain_forecast(predictor, "c")
    with pytest.raises(DataError, match="got 2 of them"):
        explain_forecast(predictor, sales(0, 30))
    one = explain_forecast(predictor, "b").to_dict()
    rows = {name: column[35:] for name, column in sales(0, 30, more=5).items()}
    assert explain_forecast(predictor, rows).to_dict() == one
    assert predictor.explain(predictor.history.select(["b"])).to_dict() == one


@pytest.mark.parametrize("target", [0, 6, "6", "x", "", "²", 1.5, True, "9" * 30])
def test_an_unknown_step_is_refused(target: Any) -> None:
    with pytest.raises(OptionError, match=r"^target: got .*; expected a whole number from 1 to 5"):
        explain_forecast(shop(), "a", target)


def test_a_step_may_be_text_and_a_method_must_be_one() -> None:
    predictor = shop()
    assert explain_forecast(predictor, "a", "2").to_dict() == (
        explain_forecast(predictor, "a", 2).to_dict()
    )
    with pytest.raises(OptionError, match=r"^method: got shap"):
        explain_forecast(predictor, "a", method="shap")


@pytest.mark.parametrize(
    "name", ["\x1b[2J", "<script>alert(1)</script>", "\u202eevil", "a" * 10_000]
)
def test_hostile_ids_and_columns(name: str) -> None:
    rows = sales(0, 30, (name,), more=5)
    rows[name] = rows.pop("rain")
    series = load_series(rows, replace(OFFERS, past=(name,)))
    predictor = ForecastPredictor(make_forecaster(series))
    told = explain_forecast(predictor, name)
    assert f"{name}, lag 1" in told.inputs
    assert told.target == f"{name}, 1-5 ahead"
    assert "\x1b" not in str(told)
    with pytest.raises(ElmanError) as caught:
        explain_forecast(predictor, f"{name}!")
    assert str(caught.value).isprintable()


def test_a_constant_series_says_so_and_no_value_moves_its_forecast() -> None:
    explained = explain_forecast(ForecastPredictor(make_forecaster(load_series(np.full(40, 5.0)))))
    assert not explained.contributions.any()
    assert explained.full_bar == np.inf
    assert explained.verdict == "Its own test cannot tell: no input moves the score."
    assert "The series is constant, so that no value can be told from another." in explained.note
    varied = explain_forecast(
        ForecastPredictor(make_forecaster(load_series(np.arange(40) % 7 + 5.0)))
    )
    assert "constant" not in varied.note


def test_a_high_level_does_not_hide_small_changes() -> None:
    values = np.random.default_rng(0).normal(size=60)
    plain, high = (
        explain_forecast(ForecastPredictor(make_forecaster(load_series(values + level))))
        for level in (0.0, 1e6)
    )
    assert high.full_bar == pytest.approx(plain.full_bar, rel=0.1)
    assert np.abs(high.contributions).argmax() == np.abs(plain.contributions).argmax()


def test_a_picture_has_all_that_is_drawn() -> None:
    predictor = shop()
    told = explain_forecast(predictor, "b", 2)
    picture = forecast_picture(predictor, "b", told)
    found = named(told)
    assert picture["contributions"] == {lag: found[f"lag {lag}"] for lag in range(1, 15)}
    forecast = predictor.predict()
    np.testing.assert_allclose(picture["median"], forecast.median[1], rtol=FLOAT32)
    assert picture["times"].tolist() == forecast.times[1].tolist()
    low, high = picture["intervals"][0.8]
    assert (low <= picture["median"]).all()
    assert (high >= picture["median"]).all()
    assert len(picture["history"]) == len(picture["history_times"]) == 30
    assert charts.forecast(**picture).startswith("<svg")
    whole = forecast_picture(predictor, "b")
    assert whole["contributions"] != picture["contributions"]


def test_a_block_has_its_share_in_equal_parts() -> None:
    values = np.random.default_rng(0).normal(size=900)
    predictor = skipping(load_series(values), {}, window=840)
    told = explain_forecast(predictor, target=1)
    shares = forecast_picture(predictor, explanation=told)["contributions"]
    assert len(shares) == 840
    assert sum(shares.values()) == pytest.approx(told.contributions.sum(), rel=1e-9)
    assert shares[1] == shares[7] == told.contributions[-1] / 7


@pytest.mark.slow
def test_the_season_explains_a_trained_forecaster() -> None:
    """In a noisy weekly series, the last weeks explain the forecast, and the shares add up."""
    draw_from = np.random.default_rng(0)
    values = 100 + 30 * (np.arange(280) % 7 == 5) + draw_from.normal(size=280)
    forecaster = Forecaster(
        horizon=7, season=7, hidden_size=8, num_layers=1, cell="mingru", members=1, steps=60, seed=0
    ).fit(values)
    predictor = ForecastPredictor(forecaster.model_)
    told = explain_forecast(predictor, target=1, method=DECOMPOSITION)
    assert told.gap is not None
    assert told.gap < MAX_GAP
    found = named(explain_forecast(predictor, target=1))
    largest = max(found, key=lambda name: abs(found[name]))
    assert int(largest.split()[1].split("-")[0]) % 7 in (0, 1)
