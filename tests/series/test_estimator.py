"""The forecaster as an estimator: input from any table, honest reports, scikit-learn's interface."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone

import elman
from elman.errors import DataError, NotFittedError, OptionError
from elman.series.estimator import Forecaster
from elman.series.options import ForecasterOptions
from elman.series.predictor import ForecastPredictor
from elman.series.series import SeriesSet
from elman.tables.writer import write_table

SMALL: dict[str, Any] = {
    "horizon": 4, "hidden_size": 4, "members": 1, "steps": 4, "batch_size": 16, "threads": 1,
}  # fmt: skip


def stamps(first: int, count: int) -> list[str]:
    return (np.datetime64("2020-01-01") + np.arange(first, first + count)).astype(str).tolist()


def shop(first: int, count: int, ids: tuple[str, ...] = ("a", "b")) -> dict[str, list[Any]]:
    at = np.arange(first, first + count)
    frame: dict[str, list[Any]] = {"store": [], "day": [], "sold": [], "rain": [], "offer": []}
    for number, name in enumerate(ids):
        noise = np.random.default_rng(number).standard_normal(first + count)[first:]
        frame["store"] += [name] * count
        frame["day"] += stamps(first, count)
        frame["sold"] += (50 * (number + 1) + 9 * (at % 7) + noise).tolist()
        frame["rain"] += np.cos(at).tolist()
        frame["offer"] += (at % 3.0).tolist()
    return frame


ROLES: dict[str, Any] = {
    "id_column": "store", "time_column": "day", "target": "sold", "past": "rain", "future": "offer",
}  # fmt: skip


@pytest.fixture(scope="module")
def fitted() -> Forecaster:
    return Forecaster(**SMALL, **ROLES, calendar="yes").fit(shop(0, 60))


def bits(model: Forecaster) -> dict[str, bytes]:
    return {name: array.tobytes() for name, array in model.model_.arrays.items()}


def test_parameters_are_the_options() -> None:
    assert Forecaster().get_params() == ForecasterOptions.defaults()


def test_get_set_clone_pickle(fitted: Forecaster) -> None:
    copy = clone(fitted.set_params(seed=0))
    assert copy.get_params() == fitted.get_params()
    assert not hasattr(copy, "model_")
    with pytest.raises(TypeError, match="unexpected keyword argument 'horizn'"):
        Forecaster(horizn=3)  # type: ignore[call-arg]
    again = pickle.loads(pickle.dumps(fitted))
    assert again.predict().quantiles.tobytes() == fitted.predict().quantiles.tobytes()
    assert pickle.loads(pickle.dumps(copy)).get_params() == copy.get_params()


def test_before_fit_it_says_so() -> None:
    questions: tuple[Callable[[Forecaster], object], ...] = (
        lambda model: model.predict(),
        lambda model: model.update([1.0]),
        lambda model: model.evaluate([1.0]),
        lambda model: model.score([1.0]),
        lambda model: model.stream(),
        lambda model: model.save("x.safetensors"),
    )
    for ask in questions:
        with pytest.raises(NotFittedError, match="this Forecaster is not fitted: call fit first"):
            ask(Forecaster())


def test_init_stores_and_fit_validates() -> None:
    model = Forecaster(horizon=0)
    assert model.horizon == 0
    with pytest.raises(OptionError, match="horizon: got 0"):
        model.fit([1.0, 2.0, 3.0])


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow", "csv", "parquet", "jsonl"])
def test_the_same_data_give_the_same_weights(fitted: Forecaster, kind: str, tmp_path: Path) -> None:
    frame = shop(0, 60)
    path = tmp_path / f"shop.{kind}"
    if kind in ("csv", "parquet", "jsonl"):
        write_table(frame, path)
    makers = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}
    source = makers[kind](frame) if kind in makers else path
    other = clone(fitted).fit(source)
    assert bits(other) == bits(fitted)
    assert other.predict().quantiles.tobytes() == fitted.predict().quantiles.tobytes()


def test_a_vector_a_list_a_frame_and_a_file_of_one_series(tmp_path: Path) -> None:
    values = np.array(shop(0, 60)["sold"][:60])
    write_table({"y": values}, tmp_path / "y.csv")
    sources = [values, values.tolist(), pd.DataFrame({"y": values}), tmp_path / "y.csv", [values]]
    found = {tuple(bits(Forecaster(**SMALL).fit(source)).values()) for source in sources}
    assert len(found) == 1


def test_the_file_answers_as_the_estimator(fitted: Forecaster, tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    fitted.save(path)
    loaded = elman.load(path, kind=ForecastPredictor)
    assert loaded.predict().quantiles.tobytes() == fitted.predict().quantiles.tobytes()
    assert loaded.card == fitted.card_
    later = shop(60, 9)
    assert loaded.evaluate(later).to_dict() == fitted.evaluate(later).to_dict()
    for ask in (loaded.predict, fitted.predict):
        assert ask(future=later).quantiles.tobytes() != ask().quantiles.tobytes()


def test_an_update_goes_on(fitted: Forecaster) -> None:
    model = pickle.loads(pickle.dumps(fitted))
    assert model.update(shop(60, 9)) is model
    assert str(model.predict().times[0][0])[:10] == stamps(69, 1)[0]
    assert bits(model) == bits(fitted)
    expected = fitted.predict(series=shop(0, 69))
    assert model.predict().quantiles.tobytes() == expected.quantiles.tobytes()
    stream = model.stream("b").feed(100.0)
    assert str(stream.predict().times[0][0])[:10] == stamps(70, 1)[0]


def test_rows_are_read_as_they_were_for_training(tmp_path: Path) -> None:
    # a model file does not store date_format and duplicates, so update takes them from the estimator
    def rows(first: int, count: int) -> dict[str, list[Any]]:
        days = [f"{text[8:]}/{text[5:7]}/{text[:4]}" for text in stamps(first, count)]
        twice = [*days, days[-1]]
        return {"ds": twice, "y": [*map(float, range(first, first + count)), -1.0]}

    options: dict[str, Any] = {"date_format": "%d/%m/%Y", "duplicates": "first"}
    model = Forecaster(**SMALL, **options).fit(rows(0, 30))
    assert model.evaluate(rows(30, 8)).values == 8
    assert model.update(rows(30, 8)).predictor_.history.values[0].tolist() == [*range(38)]
    assert len(model.predict(series=rows(0, 9)).times[0]) == 4
    with pytest.raises(DataError, match="again"):
        model.update(rows(38, 6), duplicates="error")


def test_score_is_the_skill(fitted: Forecaster) -> None:
    later = shop(60, 12)
    assert fitted.score(later) == fitted.evaluate(later).skill.value


class Spy:
    """Record the series that cross validation trains on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        import elman.training

        self.given: list[SeriesSet] = []
        right = elman.series.train.train_forecaster

        def train(series: SeriesSet, *arguments: Any, **named: Any) -> Any:
            self.given.append(series)
            return right(series, *arguments, **named)

        monkeypatch.setattr(elman.series.train, "train_forecaster", train)


@pytest.mark.slow
@pytest.mark.parametrize("refit", [False, True])
def test_cross_validation_trains_before_the_first_origin(
    monkeypatch: pytest.MonkeyPatch, refit: bool
) -> None:
    spy = Spy(monkeypatch)
    frame = shop(0, 60)
    report = Forecaster(**SMALL, **ROLES).cross_validation(frame, windows=3, refit=refit)
    assert (report.series, report.windows, report.values) == (2, 6, 24)
    ends = [48, 52, 56] if refit else [48]
    assert [[len(values) for values in given.values] for given in spy.given] == [
        [end] * 2 for end in ends
    ]
    for given in spy.given:
        assert all(
            len(past) == len(values) for past, values in zip(given.past, given.values, strict=True)
        )
        assert not given.names["future"] or len(given.future[0]) == 60
    # values after the first origin do not change the network
    changed = {name: [*column] for name, column in frame.items()}
    for row in (*range(48, 60), *range(108, 120)):
        changed["sold"][row] = -1e6
        changed["rain"][row] = 1e6
    Forecaster(**SMALL, **ROLES).cross_validation(changed, windows=3)
    one, other = spy.given[0], spy.given[-1]
    for name in ("values", "past", "future", "times"):
        for mine, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
            np.testing.assert_array_equal(mine, theirs)


def test_cross_validation_is_what_it_forecasts() -> None:
    values = np.array(shop(0, 60)["sold"][:60])
    report = Forecaster(**SMALL).cross_validation(values, windows=2, step=3)
    model = Forecaster(**SMALL).fit(values[:53])
    errors = [abs(model.predict().median[0] - values[53:57]).mean()]
    model.update(values[53:56])
    errors.append(abs(model.predict().median[0] - values[56:]).mean())
    assert report.methods[0].mae == pytest.approx(np.mean(errors))


def test_cross_validation_of_unequal_series() -> None:
    series = {"long": np.sin(np.arange(60.0)), "short": np.arange(7.0), "one": np.ones(1)}
    for refit in (False, True):
        report = Forecaster(**SMALL).cross_validation(series, windows=3, refit=refit)
        assert report.windows >= 3
        assert np.isfinite([row.mae for row in report.methods]).all()


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"windows": 0}, "windows: got 0; expected a whole number from 1"),
        ({"windows": 2.5}, "windows: got 2.5"),
        ({"step": 0}, "step: got 0"),
        (
            {"windows": 15},
            "windows: got 15, which hold out 60 steps; expected at most 55 of the 60",
        ),
        ({"windows": 10, "step": 30}, "which hold out 274 steps"),
    ],
)
def test_impossible_cross_validations_are_refused(wrong: dict[str, Any], said: str) -> None:
    with pytest.raises(OptionError, match=said):
        Forecaster(**SMALL).cross_validation(np.arange(60.0), **wrong)


@pytest.mark.slow
def test_a_random_walk_is_reported_as_not_predictable() -> None:
    walk = 100 + np.cumsum(np.random.default_rng(3).standard_normal(400))
    model = Forecaster(horizon=5, hidden_size=4, members=1, steps=60, threads=1)
    report = model.cross_validation(walk, windows=30)
    text = str(report)
    assert report.skill.verdict in ("not better", "no difference")
    assert all(skill.verdict != "better" for skill in report.skills if skill.against == "naive")
    assert "NOT BETTER than the" in text or "NO DIFFERENCE that this test set can show" in text
    assert "THE LAST VALUE REPEATED" in text
    for words in ("the network", "naive", "drift", "80 %", "95 %", "MASE", "sMAPE", "CRPS"):
        assert words in text


@pytest.mark.slow
def test_a_predictable_series_is_reported_as_such() -> None:
    # every season has the opposite sign of the season before, so the naive forecasts are wrong
    at = np.arange(400)
    values = 5 * np.sin(at * 2 * np.pi / 12) + np.where(at // 6 % 2, 1, -1)
    model = Forecaster(
        horizon=6, season=6, hidden_size=8, members=1, steps=150, learning_rate=0.02, dropout=0.0,
        batch_size=32, threads=1,
    )  # fmt: skip
    report = model.cross_validation(values, windows=12)
    # A linear autoregression continues the series exactly.
    verdicts = {skill.against: skill.verdict for skill in report.skills}
    assert report.best == "ridge on lags"
    assert all(verdicts.pop(name) == "better" for name in ("naive", "seasonal naive", "drift"))
    assert "LAST VALUE REPEATED" not in str(report)
    assert "seasonal naive" in str(report)


def test_a_forecast_can_be_plotted(fitted: Forecaster, tmp_path: Path) -> None:
    from elman.draw import plots

    plots.save(fitted.predict().plot("b"), tmp_path / "forecast.png")
    assert (tmp_path / "forecast.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.slow
@pytest.mark.parametrize("count", [511, 512, 513, 1025])
def test_more_series_than_one_block_holds(count: int) -> None:
    draw = np.random.default_rng(0)
    values, later = 10 + draw.normal(size=(count, 40)), 10 + draw.normal(size=(count, 6))
    model = Forecaster(horizon=6, steps=1, members=1, hidden_size=4, refit=False, threads=1)
    model.fit(values)
    forecast = model.predict()
    assert forecast.median.shape == (count, 6)
    # each series gets the same forecast as if it were alone
    some = [0, count // 2, count - 1]
    alone = model.predict(series=[values[row] for row in some]).quantiles
    np.testing.assert_allclose(forecast.quantiles[some], alone, rtol=1e-6)
    assert model.evaluate(later).windows == count
    assert model.update(later).predict().times[-1][0] == 46
    if count == 513:
        report = model.cross_validation(values, windows=2)
        assert report.windows == 2 * count


@pytest.mark.parametrize("windows", [2, 3, 4, 7])
def test_the_block_size_does_not_change_the_measures(
    monkeypatch: pytest.MonkeyPatch, windows: int
) -> None:
    from elman.series import window_rule as module

    values = np.sin(np.arange(60.0))
    model = Forecaster(**SMALL).fit(values)
    before = model.evaluate(values, windows=windows).to_dict()
    rule = model.model_.codec.rule
    monkeypatch.setattr(module, "MAX_BATCH_NUMBERS", 3 * (rule.window + rule.reach) * 4)
    assert rule.batch_size == 3
    # with another block size, the rows are added in another order
    assert model.evaluate(values, windows=windows).to_dict()["methods"][0]["mae"] == pytest.approx(
        before["methods"][0]["mae"], rel=1e-6
    )
    again = Forecaster(**SMALL).fit(values).card_["held_out"]
    assert again["methods"][0]["mae"] == pytest.approx(
        model.card_["held_out"]["methods"][0]["mae"], rel=1e-6
    )


def test_columns_are_given_as_a_list_or_with_commas() -> None:
    frame = shop(0, 40) | {"wind": list(np.arange(80.0) % 5)}
    roles: dict[str, Any] = {"id_column": "store", "time_column": "day", "target": "sold"}
    lists: dict[str, Any] = {"past": ["rain", "wind"], "future": ("offer",)}
    one = Forecaster(**SMALL, **roles, **lists).fit(frame)
    two = Forecaster(**SMALL, **roles, past="rain,wind", future="offer").fit(frame)
    assert bits(one) == bits(two)
    assert one.model_.codec.history.names["past"] == ("rain", "wind")
    assert clone(one).get_params()["past"] == ["rain", "wind"]
    said = r"past: got \['rain', 3\]; expected names of columns, without commas in them"
    with pytest.raises(OptionError, match=said):
        Forecaster(**SMALL, **roles, **(lists | {"past": ["rain", 3]})).fit(frame)


@pytest.mark.slow
def test_counts_add_up_by_the_mean() -> None:
    draw = np.random.default_rng(0)
    values = draw.poisson(0.5, size=(30, 98)).astype(float)
    model = Forecaster(
        horizon=14, hidden_size=16, members=1, steps=300, learning_rate=0.005, batch_size=64, dropout=0.0,
        refit=False, threads=1,
    ).fit(values)  # fmt: skip
    forecast = model.predict(point="mean")
    expected = 30 * 14 * 0.5
    assert forecast.y_hat.sum() == pytest.approx(expected, rel=0.2)
    assert forecast.median.sum() < 0.6 * expected
    network = model.card_["held_out"]["methods"][0]
    assert network["crps"] > 0
    assert all(one["coverage"] >= one["level"] - 0.1 for one in network["intervals"])


@pytest.mark.slow
def test_the_interval_of_rare_values_is_as_wide_as_they_are() -> None:
    days = np.datetime64("2021-01-01") + np.arange(380)
    first_sunday = (days.astype("datetime64[D]").astype(int) + 4) % 7 == 0
    first_sunday &= (days - days.astype("datetime64[M]")).astype(int) < 7
    values = np.where(first_sunday, np.random.default_rng(0).integers(65, 95, 380), 0)
    model = Forecaster(
        horizon=15, hidden_size=16, members=1, steps=500, learning_rate=0.01, batch_size=32, dropout=0.0,
        threads=1,
    ).fit({"ds": days[:365], "y": values[:365]})  # fmt: skip
    forecast = model.predict()
    (spike,) = np.flatnonzero(values[365:])
    assert days[365 + spike] == np.datetime64("2022-01-02")
    low, high = (end[0] for end in forecast.interval(95))
    assert low[spike] == 0
    assert high[spike] > 40
    # on the other days the interval is narrow
    assert np.median(high - low) < 5


@pytest.mark.parametrize("at", [100, 150])
def test_a_constant_series_that_jumps(at: int) -> None:
    values = np.where(np.arange(160) < at, 10.0, 20.0)
    model = Forecaster(horizon=6, hidden_size=4, members=1, steps=10, threads=1).fit(values)
    quantiles = model.predict().quantiles
    assert abs(quantiles - 20).max() < 5
    assert all(len(said) < 200 for said in model.card_["held_out"]["sentences"])
