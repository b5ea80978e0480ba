"""New rows of known series: columns in any order, policies for known rows, notes and errors."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

import elman
from elman import DataError, DataWarning
from elman.series.predictor import ForecastPredictor
from elman.tables.dates import parse_times
from elman.tables.reader import read_table
from elman.tables.writer import write_table

SMALL: dict[str, Any] = {
    "horizon": 7, "hidden_size": 2, "members": 1, "steps": 1, "refit": False, "threads": 1,
}  # fmt: skip


def shops(first: int, count: int) -> pd.DataFrame:
    """Return `count` days of two shops, with covariates, and static columns of texts and numbers."""
    day = range(first, first + count)
    stamps = pd.date_range("2021-01-01", periods=first + count)[first:]
    parts = []
    for shop, city, size, owner in (("a", "Bern", 1, "Eva"), ("b", "Lima", 2, "Jon")):
        rows = {"shop": shop, "date": stamps, "y": [50.0 + n % 7 for n in day], "city": city}
        rows |= {"size": size, "owner": owner, "rain": [n % 3 for n in day]}
        parts.append(
            pd.DataFrame(rows | {"offer": [n % 5 for n in day], "wind": [n % 4 for n in day]})
        )
    return pd.concat(parts)


ROLES: dict[str, Any] = {"id_column": "shop", "time_column": "date", "target": "y"}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("series") / "shops.safetensors"
    elman.Forecaster(**SMALL, **ROLES, static="city,size").fit(shops(0, 60)).save(path)
    return path


@pytest.fixture
def model(saved: Path) -> ForecastPredictor:
    predictor = elman.load(saved)
    assert isinstance(predictor, ForecastPredictor)
    return predictor


ORDERS = [
    *itertools.permutations(("city", "size", "owner")),
    *itertools.permutations(("city", "size"), 2),
]


@pytest.mark.slow
@pytest.mark.parametrize("static", ORDERS, ids=",".join)
def test_new_rows_find_the_columns_in_any_order(static: tuple[str, ...], tmp_path: Path) -> None:
    names: dict[str, Any] = {"past": "wind,rain", "future": "offer"}
    series = elman.Forecaster(**SMALL, **ROLES, **names, static=",".join(static))
    path = tmp_path / "m.safetensors"
    series.fit(shops(0, 40)).save(path)
    predictor = elman.load(path, kind=ForecastPredictor)
    later = shops(40, 14)
    # the columns of a table may come in any order
    turned = later[[*reversed(later.columns)]]
    assert predictor.evaluate(turned).windows == 4
    assert predictor.history.static_columns == static
    forecast = predictor.predict(series=pd.concat([shops(0, 40), turned]))
    predictor.update(turned.iloc[::-1])
    assert predictor.predict().quantiles.tobytes() == forecast.quantiles.tobytes()
    # series that another estimator read, with columns in another order and only one category of each text
    other = elman.Forecaster(
        **SMALL, **ROLES, past="rain,wind", future="offer", static=",".join(reversed(static))
    ).read(later[later["shop"] == "b"])
    moved = elman.load(path, kind=ForecastPredictor).update(other)
    assert moved.history.values[1].tolist() == predictor.history.values[1].tolist()
    assert moved.history.past[1].tolist() == predictor.history.past[1].tolist()


def test_kinds_of_digits_are_found_in_rows_without_other_kinds() -> None:
    rows = shops(0, 50).replace({"city": {"Bern": "12", "Lima": "x"}})
    model = elman.Forecaster(**SMALL, **ROLES, static="city").fit(rows.groupby("shop").head(40))
    for kind in (12, 12.0, "12"):
        later = rows[rows["shop"] == "a"].tail(10).assign(city=kind)
        series = model.predictor_.read(later)
        assert series.static.tolist() == [[1.0, 0.0]]
        assert not any("had not before" in note for note in series.warnings)


def test_static_columns_of_one_name_are_refused() -> None:
    rows = shops(0, 40).assign(**{"city=Bern": 3.0})
    with pytest.raises(DataError, match="two static columns are called 'city=Bern': rename one"):
        elman.Forecaster(**SMALL, **ROLES, static="city,city=Bern").read(rows)


def test_an_update_changes_the_forecaster_itself(model: ForecastPredictor) -> None:
    before = model.predict()
    other = model.updated(shops(60, 9))
    assert model.predict().quantiles.tobytes() == before.quantiles.tobytes()
    assert str(other.predict().times[0][0])[:10] == "2021-03-11"
    assert model.update(shops(60, 9)) is model
    assert str(model.predict().times[0][0])[:10] == "2021-03-11"
    assert model.predict().quantiles.tobytes() == other.predict().quantiles.tobytes()


def test_new_rows_without_any_value_are_refused_in_one_line(model: ForecastPredictor) -> None:
    before = model.predict()
    empty = shops(60, 9).assign(y=np.nan)
    expected = "no series has a value: got only missing ones in 18 rows of 2 series: 'a', 'b'"
    with pytest.raises(DataError, match=expected):
        model.update(empty)
    assert model.predict().quantiles.tobytes() == before.quantiles.tobytes()
    empty.loc[empty["shop"].eq("a"), "y"] = 50.0
    assert [len(one) for one in model.update(empty).history.values] == [69, 60]


def test_rows_that_are_known_already(model: ForecastPredictor) -> None:
    # a nightly job may send the last 30 days every time
    for night in range(60, 63):
        model.update(shops(night - 30, 31))
    assert [len(values) for values in model.history.values] == [63, 63]
    wrong = shops(50, 20)
    wrong["y"] += wrong["date"].eq("2021-02-25") * 5.0
    with pytest.raises(
        DataError, match="'a' at 2021-02-25: the value is known already: got 61; expected 56"
    ):
        model.update(wrong)
    assert model.updated(wrong, overlap="replace").history.values[0][55] == 61
    assert model.updated(wrong, overlap="keep").history.values[0][55] == 56
    old = shops(60, 30)
    old["date"] -= pd.Timedelta(days=80)
    with pytest.warns(DataWarning, match="40 rows before the first step that is kept: left out"):
        model.update(old, overlap="keep")


@pytest.mark.parametrize(("known", "new"), [("007", 7), ("007", "7"), ("7", "7 "), ("7", "07")])
def test_an_id_that_is_spelled_differently_is_no_new_series(known: str, new: object) -> None:
    model = elman.Forecaster(**SMALL, **ROLES).fit(shops(0, 30).replace({"shop": {"a": known}}))
    with pytest.raises(DataError, match=rf"series '{new}' is not known, but '{known}' is"):
        model.update(shops(30, 5).replace({"shop": {"a": new}}))
    with pytest.warns(DataWarning, match="series not known before: 'c'"):
        model.update(shops(30, 5).replace({"shop": {"a": "c"}}))


def test_rows_long_after_the_last_value(model: ForecastPredictor) -> None:
    with pytest.warns(
        DataWarning, match="80 steps without a row before the new rows: left missing"
    ):
        assert len(model.updated(shops(100, 5)).history.values[0]) == 105
    with pytest.raises(
        DataError, match="series 'a' at 2201-01-01: 65683 steps after its last value"
    ):
        model.update(shops(60, 1).assign(date=pd.Timestamp("2201-01-01")))


def test_a_forecast_joins_the_table_it_came_from(tmp_path: Path) -> None:
    parts = []
    for shop in (3, 7):
        hours = pd.date_range("2021-10-29", periods=90, freq="h", tz="Europe/Berlin")
        parts.append(pd.DataFrame({"shop": shop, "at": hours, "y": range(90), "fee": range(90)}))
    own = pd.concat(parts)
    known = own.groupby("shop").head(60)
    series = elman.Forecaster(**SMALL, id_column="shop", time_column="at", target="y").fit(known)
    series.save(tmp_path / "m.safetensors")
    loaded = elman.load(tmp_path / "m.safetensors", kind=ForecastPredictor)
    models: tuple[elman.Forecaster | ForecastPredictor, ...] = (series, loaded)
    number: Any = 7  # the id as a number, as in the table
    for model in models:
        joined = own.merge(pd.DataFrame(model.predict().to_columns()), on=["shop", "at"])
        assert joined["y"].tolist() == [60, 61, 62, 63, 64, 65, 66] * 2
        assert model.stream(number).predict().ids == ("7",)
    # the forecast includes the hour that clocks show twice at the end of summer time
    model.update(own.groupby("shop").head(72))
    joined = own.merge(pd.DataFrame(model.predict().to_columns()), on=["shop", "at"])
    assert joined["y"].tolist() == [72, 73, 74, 75, 76, 77, 78] * 2
    path = tmp_path / "next.csv"
    for ending in (".csv", ".jsonl", ".parquet"):
        write_table(model.predict().to_columns(), path.with_suffix(ending))
        read = read_table(path.with_suffix(ending))
        assert read.column("shop").tolist() == [3] * 7 + [7] * 7
        times = read.column("at")
        times = times if times.dtype.kind == "M" else parse_times(times)[0]
        assert times[0] == np.datetime64("2021-10-31T22:00")  # in UTC
    assert "2021-10-31T23:00:00+01:00" in path.read_text()


@pytest.mark.parametrize("kind", ["days", "texts", "naive"])
def test_days_come_back_as_they_went_in(kind: str) -> None:
    days = pd.date_range("2021-03-01", periods=50, tz="Europe/Berlin")  # clocks change on the 28th
    rows = pd.DataFrame({"ds": days, "y": range(50)})
    options: dict[str, Any] = {"timezone": "Europe/Berlin"} if kind == "texts" else {}
    if kind != "days":
        rows["ds"] = [str(day)[:10] for day in days] if kind == "texts" else days.tz_localize(None)
    model = elman.Forecaster(**SMALL, **options).fit(rows.head(20))
    forecast = pd.DataFrame(model.predict().to_columns())
    forecast["ds"] = forecast["ds"].astype(str).str[:10] if kind == "texts" else forecast["ds"]
    assert rows.merge(forecast, on="ds")["y"].tolist() == [*range(20, 27)]
    model.update(rows)
    assert str(model.predict().to_columns()["ds"][0])[:10] == "2021-04-20"


def test_closed_days_are_not_forecast(tmp_path: Path) -> None:
    days = pd.date_range("2021-01-01", periods=90)
    for name, closed in (("Monday to Saturday", [6]), ("Sunday to Thursday", [4, 5])):
        is_open = ~days.day_of_week.isin(closed)
        rows = pd.DataFrame({"ds": days[is_open], "y": np.arange(is_open.sum()) % 5})
        model = elman.Forecaster(**SMALL).fit(rows.head(40))
        assert name in model.card_["data"]["frequency"]
        model.save(tmp_path / "m.safetensors")
        ahead = (
            elman.load(tmp_path / "m.safetensors", kind=ForecastPredictor)
            .update(rows.head(45))
            .predict()
            .times[0]
        )
        np.testing.assert_array_equal(ahead, rows["ds"][45:52].to_numpy().astype("M8[us]"))


def test_numbers_as_dates_are_forecast_as_dates(tmp_path: Path) -> None:
    days = pd.date_range("2024-01-01", periods=67).strftime("%Y%m%d").astype(int)
    rows = pd.DataFrame({"date": days, "y": np.arange(67) % 7})
    model = elman.Forecaster(**SMALL, target="y").fit(rows.head(58))
    model.save(tmp_path / "m.safetensors")
    loaded = elman.load(tmp_path / "m.safetensors", kind=ForecastPredictor).update(rows.iloc[58:60])
    assert loaded.predict().times[0].astype("M8[D]").astype(str).tolist() == [
        f"{day}"[:4] + "-" + f"{day}"[4:6] + "-" + f"{day}"[6:] for day in days[60:]
    ]
