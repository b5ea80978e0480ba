"""Forecasts equal those of the torch network, are finite, and are the same after an update as after a fit."""

from __future__ import annotations

import json
import re
import tracemalloc
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy import stats

from elman import Forecaster as Estimator
from elman import load
from elman.errors import DataError, DataWarning, ModelFileError, OptionError
from elman.files import container
from elman.files.model import Model
from elman.metrics.forecast_errors import mean_of_quantiles
from elman.series import codec
from elman.series import stream as series_stream
from elman.series.codec import closed_steps
from elman.series.explain import explain_forecast
from elman.series.frequency import Frequency
from elman.series.network_torch import Forecaster
from elman.series.predictor import ForecastPredictor
from elman.series.read_options import SeriesOptions
from elman.series.series import load_series
from elman.tables.reader import read_table
from elman.tables.writer import write_table
from forecasters import LEVELS, OFFERS, make_forecaster, sales, stamps

NAN = float("nan")
# Rounding error of two float32 sums of a few hundred terms of size 1.
TOLERANCE = 2e-5


@pytest.fixture(scope="module")
def plain() -> ForecastPredictor:
    return ForecastPredictor(make_forecaster(load_series(20 + np.sin(np.arange(40.0)))))


@pytest.fixture(scope="module")
def shop() -> ForecastPredictor:
    return ForecastPredictor(make_forecaster(load_series(sales(0, 30, more=5), OFFERS)))


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"members": 1, "num_layers": 1, "bias": False},
        {"log": True, "calendar": False, "members": 3},
    ],
    ids=["covariates", "small", "log"],
)
def test_answers_are_those_of_the_torch_network(way: str, cell: str, settings: Any) -> None:
    series = load_series(sales(0, 30, more=5), OFFERS)
    model = make_forecaster(series, cell=cell, **settings)
    codec, rule = model.codec, model.codec.rule
    network = Forecaster(model.config, rule.horizon).eval()
    network.load(model.arrays)
    prepared, _ = codec.windows(series).prepare(np.arange(2), np.array([30, 30]))
    with torch.no_grad():
        answers = network(torch.from_numpy(prepared.inputs))
    assert answers.shape == (model.config.members, 2, 5, len(LEVELS))
    calibrated = np.sort(answers.mean(0).double().numpy(), axis=2) + codec.corrections
    expected = rule.forecast(prepared, np.sort(calibrated, axis=2))
    quantiles = ForecastPredictor(model).predict().quantiles
    unit = prepared.unit[:, None, None] * (expected if rule.log else 1)
    assert (abs(quantiles - expected) <= TOLERANCE * unit).all()
    # the answers differ from the naive forecast
    assert (abs(answers.numpy()) > 0.01).any()


def test_a_forecast_has_stamps_and_intervals(shop: ForecastPredictor) -> None:
    forecast = shop.predict(3)
    assert forecast.ids == ("a", "b")
    assert forecast.quantiles.shape == (2, 3, 5)
    assert [str(time)[:10] for time in forecast.times[0]] == stamps(30, 3)
    np.testing.assert_array_equal(forecast.median, forecast.quantiles[..., 2])
    low, high = forecast.interval(80)
    assert (low <= forecast.median).all()
    assert (forecast.median <= high).all()
    np.testing.assert_array_equal(forecast.interval(95)[0], forecast.quantiles[..., 0])
    for wrong in (50, 0, 100, NAN, -80):
        with pytest.raises(OptionError, match=r"interval: got .*; expected one of 95, 80"):
            forecast.interval(wrong)
    np.testing.assert_array_equal(shop.predict().quantiles[:, :3], forecast.quantiles)


@pytest.mark.parametrize("horizon", [0, 6, -1, 2.5, "3", True, NAN])
def test_an_impossible_horizon_is_refused(shop: ForecastPredictor, horizon: Any) -> None:
    for ask in (shop.predict, shop.stream("a").predict):
        with pytest.raises(OptionError, match=r"^horizon: got"):
            ask(horizon)
    with pytest.raises(
        OptionError, match="got 6; expected at most 5, the steps it was trained for"
    ):
        shop.predict(6)


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".jsonl", ".parquet"])
def test_columns_go_to_a_file_and_back(
    shop: ForecastPredictor, suffix: str, tmp_path: Path
) -> None:
    columns = shop.predict().to_columns()
    assert [*columns] == [
        *("unique_id", "ds", "y_hat", "mean", "lo-80", "hi-80", "lo-95", "hi-95"),
    ]
    path = tmp_path / f"forecast{suffix}"
    write_table(columns, path)
    table = read_table(path)
    assert table.column("unique_id").tolist() == columns["unique_id"].tolist()
    assert [str(day)[:10] for day in table.column("ds")] == 2 * stamps(30, 5)
    for name in [*columns][2:]:
        np.testing.assert_array_equal(table.numbers(name), columns[name])


def test_columns_of_steps_are_numbers(plain: ForecastPredictor) -> None:
    columns = plain.predict(2).to_columns([80])
    assert [*columns] == ["unique_id", "ds", "y_hat", "mean", "lo-80", "hi-80"]
    assert columns["ds"].tolist() == [40, 41]


def bits(predictor: ForecastPredictor, **others: Any) -> bytes:
    return predictor.predict(**others).quantiles.tobytes()


@pytest.mark.parametrize("apart", [[36], [31, 36], [30, 32, 33, 36]])
def test_an_update_equals_a_history_with_those_rows(
    shop: ForecastPredictor, apart: list[int], tmp_path: Path
) -> None:
    moved, first = shop, 30
    for last in apart:
        if last > first:
            moved, first = moved.updated(sales(first, last - first)), last
    whole = sales(0, 36)
    assert bits(moved) == bits(shop, series=whole)
    assert bits(moved) != bits(shop)
    assert all(np.shares_memory(moved.model.arrays[n], a) for n, a in shop.model.arrays.items())
    moved.save(tmp_path / "m.safetensors")
    loaded = load(tmp_path / "m.safetensors", kind=ForecastPredictor)
    assert bits(loaded) == bits(moved)
    assert (
        loaded.predict().to_columns()["ds"].tolist() == moved.predict().to_columns()["ds"].tolist()
    )


def test_an_update_with_gaps_corrections_and_new_series(shop: ForecastPredictor) -> None:
    with pytest.warns(DataWarning, match="6 steps without a row before the new rows: left"):
        gap = shop.updated(sales(33, 2))
    with pytest.warns(DataWarning, match="6 steps without a row before the new rows: filled"):
        filled = shop.updated(sales(33, 2), gaps="fill")
    late = sales(0, 35)
    for row in (30, 31, 32, 65, 66, 67):
        late["y"][row] = late["rain"][row] = None
    assert bits(gap) == bits(shop, series=late)
    assert bits(filled) != bits(gap)
    with pytest.raises(DataError, match="3 steps are missing"):
        shop.updated(sales(33, 2), gaps="error")
    # known rows pass if they are equal
    assert bits(shop.updated(sales(2, 30))) == bits(shop.updated(sales(30, 2)))
    corrected = sales(0, 32, more=3)
    corrected["y"][29] += 5
    rows = {name: column[28:35] + column[63:] for name, column in corrected.items()}
    said = "'a' at 2020-01-30: the value is known already: got .*; pass overlap="
    with pytest.raises(DataError, match=said):
        shop.updated(rows)
    replaced = shop.updated(rows, overlap="replace")
    assert bits(replaced) == bits(shop, series=corrected)
    corrected["y"][29] -= 5
    assert bits(shop.updated(rows, overlap="keep")) == bits(shop, series=corrected)
    with pytest.warns(DataWarning, match="series not known before: 'new'"):
        new = shop.updated(sales(0, 9, ("new",)))
    assert new.predict().ids == ("a", "b", "new")
    alone = shop.predict(series=sales(0, 9, ("new",))).quantiles
    np.testing.assert_allclose(new.predict().quantiles[2:], alone, rtol=TOLERANCE)


@pytest.mark.parametrize("log", [False, True])
def test_a_stream_equals_an_update(log: bool) -> None:
    values = 20 + 3 * np.sin(np.arange(40.0))
    later = [21.0, NAN, 19.0, 25.0, *[NAN] * 16, 30.0]
    predictor = ForecastPredictor(make_forecaster(load_series(values), log=log))
    stream = predictor.stream()
    for value in later:
        stream.feed(value)
    forecast = stream.predict()
    updated = predictor.updated(later).predict()
    assert forecast.quantiles.tobytes() == updated.quantiles.tobytes()
    np.testing.assert_array_equal(forecast.times[0], updated.times[0])
    # the predictor itself does not change
    assert predictor.predict().times[0][0] == 40
    # after a gap longer than any window, the last known value is still kept
    for _ in range(20):
        stream.feed(NAN)
    assert np.isfinite(stream.predict().quantiles).all()
    assert abs(stream.predict(1).median - 30.0).max() < 10


def test_a_stream_drops_values_that_no_forecast_reads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Values wait until a forecast or their number asks for them; both give the same history."""
    monkeypatch.setattr(codec, "MIN_KEPT_VALUES", 30)
    predictor = ForecastPredictor(make_forecaster(load_series(20 + 3 * np.sin(np.arange(40.0)))))
    often, once = predictor.stream(), predictor.stream()
    for value in (20 + 3 * np.cos(np.arange(60.0))).tolist():
        monkeypatch.setattr(series_stream, "MAX_NEW_VALUES", 7)
        often.feed(value)
        monkeypatch.setattr(series_stream, "MAX_NEW_VALUES", 1000)
        once.feed(value)
    assert repr(often) == repr(once)
    assert often.predict().quantiles.tobytes() == once.predict().quantiles.tobytes()
    np.testing.assert_array_equal(often.predict().times[0], once.predict().times[0])


def test_a_stream_among_several_series(shop: ForecastPredictor) -> None:
    with pytest.raises(DataError, match=r"which series.*2 of them"):
        shop.stream()
    with pytest.raises(DataError, match="no series 'c': expected 'a', 'b'"):
        shop.stream("c")
    stream = shop.stream("b").feed(120.0).feed(130.0)
    forecast = stream.predict()
    assert forecast.ids == ("b",)
    rows = sales(30, 2, ("b",))
    rows["y"], rows["rain"] = [120.0, 130.0], [None, None]
    np.testing.assert_allclose(
        forecast.quantiles, shop.updated(rows).predict().quantiles[1:], rtol=TOLERANCE
    )
    for wrong in (float("inf"), 10**400, "7", None):
        with pytest.raises(DataError, match=r"^value: .*expected a finite number, or NaN"):
            stream.feed(wrong)  # type: ignore[arg-type]


def test_known_future_rows_change_the_forecast(
    shop: ForecastPredictor, plain: ForecastPredictor
) -> None:
    rows = sales(0, 30, more=5)
    without = ForecastPredictor(make_forecaster(load_series(rows, OFFERS))).predict(
        series=sales(0, 30)
    )
    told = {name: column for name, column in sales(30, 5).items() if name not in ("y", "rain")}
    assert bits(shop) == bits(shop, series=sales(0, 30), future=told)
    # a target in the future rows is not read
    assert bits(shop) == bits(shop, series=sales(0, 30), future=sales(30, 5))
    with pytest.raises(DataError, match="trained without columns for them"):
        plain.predict(future=told)
    assert without.quantiles.tobytes() != bits(shop)
    other = {**told, "offer": [2] * 10}
    assert bits(shop, series=sales(0, 30), future=other) != bits(shop)
    # absent steps count as missing, and a warning says so
    with pytest.warns(DataWarning, match="future has rows for 2 of 5 steps of series 'a', 'b'"):
        short = shop.predict(series=sales(0, 30), future=sales(30, 2))
    assert np.isfinite(short.quantiles).all()
    with pytest.warns(DataWarning, match="future has rows for 0 of 5 steps of series 'b'"):
        shop.predict(series=sales(0, 30), future=sales(30, 5, ("a",)))
    strange = sales(30, 5, ("a", "b", "c"))
    with pytest.warns(DataWarning, match="rows of series that are not forecast: 'c'"):
        found = shop.predict(series=sales(0, 30), future=strange)
    assert found.quantiles.tobytes() == bits(shop)
    said = "no row of future is of a step to forecast: got rows from 2021-12-01 on; expected 2020-01-31 to"
    with pytest.raises(DataError, match=said):
        shop.predict(future=sales(700, 5))
    with pytest.raises(DataError, match="future has rows of no series to forecast: got 'c'"):
        shop.predict(
            future=told | {"unique_id": ["c"] * 10, "ds": stamps(0, 10), "side": ["south"] * 10}
        )


def test_missing_covariates_read_as_their_mean(shop: ForecastPredictor) -> None:
    rows = sales(0, 30)
    rows["rain"], rows["offer"] = [None] * 60, [None] * 60
    assert np.isfinite(shop.predict(series=rows).quantiles).all()
    extreme = sales(0, 30)
    extreme["rain"] = [1e300, -1e300] * 30
    assert np.isfinite(shop.predict(series=extreme).quantiles).all()


@pytest.mark.parametrize("lacking", ["rain", "offer", "side", "unique_id", "ds", "y"])
def test_a_missing_column_is_named(shop: ForecastPredictor, lacking: str) -> None:
    rows = sales(30, 5)
    del rows[lacking]
    for ask in (shop.updated, lambda rows: shop.predict(series=rows)):
        with pytest.raises(DataError, match=f"no column '{lacking}'"):
            ask(rows)


def test_series_with_other_columns_are_refused(
    shop: ForecastPredictor, plain: ForecastPredictor
) -> None:
    other = load_series({"ds": stamps(0, 9), "y": list(range(9))})
    with pytest.raises(DataError, match="the past columns differ"):
        shop.predict(series=other)
    with pytest.raises(DataError, match="frequency"):
        plain.predict(series=other)
    with pytest.raises(DataError, match="have another frequency: got without dates"):
        shop.updated(sales(30, 5), frequency="steps")


def test_a_series_without_positive_values_has_no_logarithms() -> None:
    predictor = ForecastPredictor(make_forecaster(load_series(np.arange(1.0, 41)), log=True))
    assert np.isfinite(predictor.updated([0.0, -3.0]).predict().quantiles).all()
    assert (predictor.updated([0.0, -3.0]).predict().quantiles > 0).all()
    with pytest.raises(DataError, match="series 'z' has no value above 0 to forecast from"):
        predictor.predict(series={"z": [0.0, -1.0], "y2": [1.0, 2.0, 3.0]})


def test_weights_of_any_size_give_finite_forecasts() -> None:
    model = make_forecaster(load_series([1.0, 2.0, 1e9] * 20))
    huge = {name: np.sign(array) * np.float32(3e38) for name, array in model.arrays.items()}
    predictor = ForecastPredictor(Model(model.config, huge, model.codec, {}))
    assert np.isfinite(predictor.predict().quantiles).all()


def forged(path: Path, form: dict[str, Any], given: dict[str, np.ndarray]) -> str:
    """Return the error message for a model file with a forged codec, and check that it comes quickly."""
    arrays, metadata = container.read(path)
    for name, value in form.items():
        *outer, last = name.split(".")
        inner = metadata["codec"]
        for key in outer:
            inner = inner[key]
        inner[last] = value
    other = path.with_name("forged.safetensors")
    container.write(other, {**arrays, **given}, metadata)
    tracemalloc.start()
    with pytest.raises(ModelFileError) as caught:
        load(other)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16 << 20
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 600
    return str(caught.value)


@pytest.mark.parametrize(
    ("form", "arrays", "said"),
    [
        ({"rule.window": 7 << 40}, {}, "window"),
        ({"rule.horizon": 1 << 16}, {}, "input_size"),
        ({"rule.covariates": 1 << 16}, {}, "as many columns as it names"),
        ({"levels": [0.5]}, {}, "corrections"),
        ({"frequency": "2h"}, {}, "as many columns as it names"),
        ({"frequency": "1D"}, {}, "the form that save gives"),
        ({"names.id": "unique_id"}, {}, "the form that save gives"),
        ({"categories": {"side": ["north", 3]}}, {}, "the form that save gives"),
        ({"calendar": False}, {}, "as many columns as it names"),
        ({}, {"codec.values.lengths": np.array([1 << 27, 1 << 27])}, "values.lengths"),
        ({}, {"codec.values.lengths": np.array([1 << 63, 60], np.uint64).view(np.int64)}, "values"),
        ({}, {"codec.more": np.zeros(3)}, "the form that save gives"),
    ],
)  # fmt: skip
def test_forged_files_are_refused_at_little_cost(
    shop: ForecastPredictor, tmp_path: Path, form: Any, arrays: Any, said: str
) -> None:
    shop.save(tmp_path / "m.safetensors")
    assert re.search(said, forged(tmp_path / "m.safetensors", form, arrays))


def test_evaluate_reads_on_from_origin_to_origin(shop: ForecastPredictor) -> None:
    report = shop.evaluate(sales(30, 15))
    assert (report.series, report.windows, report.horizon, report.values) == (2, 6, 5, 30)
    text = str(report)
    for words in ("the network", "naive", "seasonal naive", "drift", "80 %", "95 %"):
        assert words in text
    assert json.loads(json.dumps(report.to_dict()))["windows"] == 6
    assert shop.evaluate(sales(30, 15), windows=1).windows == 2
    assert shop.evaluate(sales(30, 15), step=2).windows == 12
    assert shop.evaluate(sales(30, 4)).values == 8
    # evaluation at an origin measures the forecast that the model makes there
    moved = shop.updated(sales(30, 10))
    later = sales(40, 5)
    mine = np.array(later["y"]).reshape(2, 5)
    expected = abs(moved.predict(future=later).median - mine).mean()
    assert shop.evaluate(sales(30, 15), windows=1).methods[0].mae == pytest.approx(expected)


def test_evaluate_counts_undated_rows_once() -> None:
    rows = {"y": np.arange(30.0), "offer": np.arange(30) % 3}
    options = SeriesOptions(target="y", future=("offer",))
    predictor = ForecastPredictor(make_forecaster(load_series(rows, options)))
    more = {"y": np.arange(30.0, 40), "offer": np.arange(10) % 3}
    assert predictor.evaluate(more).windows == 2
    assert predictor.updated(more).predict().times[0][0] == 40


@pytest.mark.parametrize("how", [{"windows": 0}, {"windows": 1.5}, {"step": 0}, {"step": -2}])
def test_evaluate_refuses_invalid_numbers(shop: ForecastPredictor, how: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"^{next(iter(how))}: got"):
        shop.evaluate(sales(30, 15), **how)


def test_evaluate_needs_later_values(shop: ForecastPredictor) -> None:
    with pytest.raises(DataError, match="no true value"):
        shop.evaluate(sales(30, 1) | {"y": [None, None], "rain": [1, 1]})
    with pytest.raises(DataError, match=r"no row with a value after those .* expected later"):
        shop.evaluate(sales(10, 20))
    with pytest.raises(OptionError, match="storage"):
        ForecastPredictor(shop.model, "bf16")


def test_plots_of_a_series(shop: ForecastPredictor) -> None:
    pytest.importorskip("matplotlib")
    forecast = shop.predict()
    assert forecast.plot().axes[0].get_title(loc="left") or forecast.plot().get_suptitle()
    lines = forecast.plot("b").axes[0].get_lines()
    np.testing.assert_array_equal(np.asarray(lines[1].get_ydata())[1:], forecast.median[1])
    with pytest.raises(DataError, match="no such series: got c; expected 'a', 'b'"):
        forecast.plot("c")


SMALL: dict[str, Any] = {"hidden_size": 4, "steps": 4, "members": 1, "refit": False, "threads": 1}


def test_new_rows_are_read_in_the_time_zone_of_training(tmp_path: Path) -> None:
    at = np.datetime64("2020-01-01T00") + np.arange(24 * 14)
    values = 10 + np.sin(np.arange(len(at)) * 2 * np.pi / 24)
    frame = {"ds": at.astype(str), "y": values}
    first = {name: column[: 24 * 10] for name, column in frame.items()}
    later = {name: column[24 * 10 : 24 * 12] for name, column in frame.items()}
    model = Estimator(horizon=24, timezone="America/New_York", **SMALL).fit(first)
    model.save(tmp_path / "m.safetensors")
    predictor = load(tmp_path / "m.safetensors", kind=ForecastPredictor)
    assert predictor.predict().times[0][0] == np.datetime64("2020-01-11T00")
    moved = predictor.updated(later)
    assert len(moved.history.values[0]) == 24 * 12
    assert not np.isnan(moved.history.values[0]).any()
    assert moved.predict().times[0][0] == np.datetime64("2020-01-13T00")


def test_new_rows_are_read_in_the_date_format_of_training(tmp_path: Path) -> None:
    days = np.datetime64("2020-01-01") + np.arange(40)
    texts = [str(day).replace("-", "") for day in days]
    frame: dict[str, Any] = {"day": texts, "v": np.arange(40.0) % 7}
    first = {name: column[:30] for name, column in frame.items()}
    model = Estimator(horizon=3, time_column="day", target="v", date_format="%Y%m%d", **SMALL).fit(
        first
    )
    model.save(tmp_path / "m.safetensors")
    moved = load(tmp_path / "m.safetensors", kind=ForecastPredictor).update(
        {n: c[30:] for n, c in frame.items()}
    )
    assert moved.predict().times[0][0] == np.datetime64("2020-02-10")


def test_a_series_of_one_value_has_a_wide_interval() -> None:
    draw = np.random.default_rng(0)
    model = Estimator(horizon=3, season=1, **SMALL).fit(100 + np.cumsum(draw.normal(size=80)))
    low, high = model.predict(series=[np.array([100.0])]).interval(95)
    assert (high - low).min() > 0.1


def test_the_mean_of_quantiles_is_that_of_the_distribution() -> None:
    levels = (0.025, 0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975)
    for distribution, tolerance in (
        (stats.norm(3, 2), 1e-9),
        (stats.lognorm(1), 0.05),
        (stats.poisson(0.5), 0.08),
        (stats.expon(), 0.03),
    ):
        found = mean_of_quantiles(distribution.ppf(levels), levels)
        assert found == pytest.approx(distribution.mean(), abs=tolerance * distribution.std())
    # events of size 80 that are too rare for all quantiles but the last
    rare = np.array([0, 0, 0, 0, 0, 0, 0, 0, 80.0])
    assert 0 < mean_of_quantiles(rare, levels) < 4
    assert mean_of_quantiles(np.array([[4.0], [5.0]]), (0.5,)).tolist() == [4.0, 5.0]
    assert np.isfinite(mean_of_quantiles(np.array([-1e308] * 4 + [1e308] * 5), levels))


def test_the_point_is_the_median_or_the_mean(shop: ForecastPredictor) -> None:
    median, mean = shop.predict(), shop.predict(point="mean")
    assert (mean.mean != mean.median).any()
    columns = mean.to_columns()
    assert [*columns][2:4] == ["y_hat", "median"]
    np.testing.assert_array_equal(columns["y_hat"], median.to_columns()["mean"])
    np.testing.assert_array_equal(columns["median"], median.to_columns()["y_hat"])
    np.testing.assert_array_equal(mean.y_hat, mean.mean)
    with pytest.raises(OptionError, match="point: got mode; expected median or mean"):
        shop.predict(point="mode")


CLOSED = {"six days": [6], "Sunday to Thursday": [4, 5]}


@pytest.mark.slow
@pytest.mark.parametrize("days", CLOSED.values(), ids=CLOSED)
def test_closed_days_are_not_forecast(days: list[int]) -> None:
    # 6 January 2020 is a Monday
    at = np.arange(70)
    frame = {"ds": np.datetime64("2020-01-06") + at, "y": 20 + np.sin(at)}
    kept = ~np.isin(at % 7, days)
    rows = {name: column[kept] for name, column in frame.items()}
    predictor = ForecastPredictor(make_forecaster(load_series(rows, SeriesOptions(frequency="D"))))
    forecast = predictor.predict()
    ahead = (np.arange(5) + int(at[kept][-1]) + 1) % 7
    np.testing.assert_array_equal(np.isnan(forecast.median[0]), np.isin(ahead, days))
    np.testing.assert_array_equal(np.isnan(forecast.mean), np.isnan(forecast.median))
    stamps = forecast.to_columns()["ds"].astype("datetime64[D]")
    assert len(stamps) == (~np.isin(ahead, days)).sum()
    assert not np.isin((stamps - np.datetime64("2020-01-06")).astype(int) % 7, days).any()
    assert "nan" not in repr(forecast)
    # an explanation still has a finite score
    assert np.isfinite(explain_forecast(predictor).score)


def test_days_that_are_missing_by_chance_are_forecast() -> None:
    at = np.arange(70)
    draw = np.random.default_rng(0)
    for gone in (draw.random(70) < 0.3, (at % 7 == 6) & (at < 63)):
        values = np.where(gone, NAN, 20 + np.sin(at))
        assert not closed_steps(values, Frequency(1, "D"), 14).any()
    # three weeks are too short to infer closed days, and steps without dates have no weekdays
    week = np.tile([1.0, 1, 1, 1, 1, 1, NAN], 3)
    assert not closed_steps(week, Frequency(1, "D"), 14).any()
    assert not closed_steps(np.tile(week, 3), Frequency(1, "steps"), 14).any()
    # a shop that is open from 8 to 18 h
    hours = np.tile(np.where((np.arange(24) >= 8) & (np.arange(24) < 18), 1.0, NAN), 40)
    assert closed_steps(hours, Frequency(1, "h"), 24).sum() == 14


def test_a_forecast_is_printed_in_short() -> None:
    many = {f"s{n}": 20 + np.sin(np.arange(40.0) + n) for n in range(10_000)}
    forecast = ForecastPredictor(
        make_forecaster(load_series(dict(list(many.items())[:50])))
    ).predict()
    lines = repr(forecast).splitlines()
    assert lines[0] == "50 series, 5 steps ahead"
    assert lines[1].split() == [
        "unique_id",
        "ds",
        "y_hat",
        "mean",
        *("lo-80", "hi-80", "lo-95", "hi-95"),
    ]
    assert len(lines) == 1 + 1 + 5 + 1
    assert lines[2].split()[:2] == ["s0", "40"]
    assert all(len(number) <= 9 for number in lines[2].split())
    assert lines[-1] == "... 49 more series; to_columns() has all"
    steering = replace(forecast, ids=("\x1b[2J\n", *forecast.ids[1:]), names=("\x07id", "ds"))
    lines = repr(steering).splitlines()
    assert lines[1].split()[0] == "\\x07id"
    assert lines[2].split()[0] == "\\x1b[2J\\n"


def test_only_the_first_steps_of_a_long_forecast_are_printed(shop: ForecastPredictor) -> None:
    found = shop.predict(series=sales(0, 30, ("a",)))
    long = replace(
        found,
        times=(np.arange(40),),
        quantiles=np.repeat(found.quantiles[:, :1], 40, 1),
        mean=np.repeat(found.mean[:, :1], 40, 1),
    )
    assert str(long).splitlines()[-1] == "... 28 more steps of a"
    assert len(str(long).splitlines()) == 15


def test_a_backtest_has_the_truth(shop: ForecastPredictor) -> None:
    found = shop.backtest(sales(30, 7))
    assert found.truth is not None
    rows = sales(32, 5)
    assert found.truth.tolist() == [rows["y"][:5], rows["y"][5:]]
    before = shop.predict(series=sales(0, 32, more=5)).quantiles
    np.testing.assert_allclose(found.quantiles, before, rtol=TOLERANCE)
    labels = [line.get_label() for line in found.plot().axes[0].lines]
    assert "true values" in labels
    assert "true values" not in [line.get_label() for line in shop.predict().plot().axes[0].lines]


def test_a_later_rule_field_is_saved_only_if_it_is_set(tmp_path: Path) -> None:
    # a file of an earlier version is loaded and saved without changes
    model = make_forecaster(load_series(20 + np.sin(np.arange(40.0))))
    for floor in (False, True):
        codec = replace(model.codec, rule=replace(model.codec.rule, floor=floor))
        path = tmp_path / f"{floor}.safetensors"
        Model(model.config, model.arrays, codec, {}).save(path)
        assert ("floor" in container.read(path)[1]["codec"]["rule"]) is floor
        assert load(path, kind=ForecastPredictor).codec.rule.floor is floor
