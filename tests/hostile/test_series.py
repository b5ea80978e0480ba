"""Faulty and extreme series, from the table to the forecast: finite numbers, or a one-line error."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
import polars as pl
import pytest

from elman.errors import DataWarning, ElmanError
from elman.series.estimator import Forecaster
from elman.series.forecast import Forecast

FRAMES: dict[str, Callable[[Any], Any]] = {
    "dict": dict,
    "pandas": pd.DataFrame,
    "polars": pl.DataFrame,
}
TINY: dict[str, Any] = {
    "horizon": 3, "hidden_size": 4, "members": 1, "steps": 2, "batch_size": 8, "threads": 1,
}  # fmt: skip
NAN, INF, LARGEST = float("nan"), float("inf"), 1.7976931348623157e308
WAVE = [10 + (step % 7) + 0.1 * (step * step % 11) for step in range(40)]


def days(count: int, first: int = 0) -> list[str]:
    return (np.datetime64("2020-01-01") + np.arange(first, first + count)).astype(str).tolist()


def one(values: Any, **columns: Any) -> dict[str, Any]:
    return {"ds": days(len(values)), "y": list(values), **columns}


def several(**series: Any) -> dict[str, Any]:
    frame: dict[str, Any] = {"unique_id": [], "ds": [], "y": []}
    for name, values in series.items():
        frame["unique_id"] += [name] * len(values)
        frame["ds"] += days(len(values))
        frame["y"] += list(values)
    return frame


def without(*rows: int) -> dict[str, Any]:
    return {
        name: [value for row, value in enumerate(column) if row not in rows]
        for name, column in one(WAVE).items()
    }


def hours(zone: str) -> list[str]:
    first = np.datetime64("2020-10-24T00:00")
    return [f"{stamp}{zone}" for stamp in first + np.arange(40) * np.timedelta64(1, "h")]


holes = [NAN if step % 3 else value for step, value in enumerate(WAVE)]
moving = [*WAVE[:20], *[value * 50 for value in WAVE[20:]]]

# what stands in the rows, the options, and the words of the error where it is not trained on
HAZARDS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "a clean series": (one(WAVE), {}, ""),
    "a constant": (one([5.0] * 40), {}, ""),
    "a constant of logarithms": (one([5.0] * 40), {"transform": "log"}, ""),
    "zeros": (one([0.0] * 40), {}, ""),
    "zeros and logarithms": (one([0.0, *WAVE]), {"transform": "log"}, "transform: got log; expected none"),
    "zeros that are rare": (several(**{f"s{n}": [*WAVE, 0.0] for n in range(10)}), {}, ""),
    "negative values": (one([-value for value in WAVE]), {}, ""),
    "of both signs": (one([value - 13 for value in WAVE]), {}, ""),
    "1e300": (one([value * 1e299 for value in WAVE]), {}, ""),
    "near the largest float": (one([(-1) ** n * LARGEST / 16 for n in range(40)]), {}, ""),
    "1e-300": (one([value * 1e-301 for value in WAVE]), {}, ""),
    "numbers below the normal": (one([step % 5 * 5e-324 for step in range(40)]), {}, ""),
    "one huge value": (one([*WAVE[:30], 1e300, *WAVE[30:]]), {}, ""),
    "tiny and huge in turn": (one([1e-300, 1e300] * 20), {}, ""),
    "tiny and huge, logarithms": (one([1e-300, 1e300] * 20), {"transform": "log"}, ""),
    "a jump of the level": (one(moving), {}, ""),
    "infinite": (one([*WAVE, INF]), {}, "'y' is infinite"),
    "a missing day": (without(17), {}, ""),
    "a missing day, refused": (without(17), {"gaps": "error"}, "no row for 2020-01-18"),
    "a gap longer than the window": (without(*range(8, 30)), {"window": 7, "season": 7}, ""),
    "most values missing": (one(holes), {}, ""),
    "missing, filled": (one(holes), {"missing": "fill"}, ""),
    "missing, refused": (one(holes), {"missing": "error"}, "row 2: 'y' is missing"),
    "a long missing tail": (one([*WAVE, *[NAN] * 30]), {}, ""),
    "a long missing head": (one([*[NAN] * 30, *WAVE]), {}, ""),
    "nothing but missing": (one([NAN] * 40), {}, "no series has a value"),
    "one value among missing": (one([NAN, 5.0, *[NAN] * 9]), {}, "too short to train on"),
    "one value": (one([5.0]), {"frequency": "D"}, "too short to train on"),
    "two values": (one([5.0, 6.0]), {"horizon": 1}, ""),
    "three values": (one([5.0, 6.0, 5.0]), {"horizon": 2}, ""),
    "a horizon as long as the series": (one([5.0, 6.0, 5.0]), {}, "horizon: got 3; expected at most 2"),
    "a horizon beyond the series": (one(WAVE[:9]), {"horizon": 30}, "horizon: got 30; expected at most 8"),
    "a season beyond the series": (one(WAVE[:9]), {"season": 24}, ""),
    "a season beyond reason": (one(WAVE), {"season": 2000}, "season: got 2000; expected at most 40"),
    "one value among long series": (several(a=WAVE, b=[3.0], c=WAVE[:12]), {}, ""),
    "no value among long series": (several(a=WAVE, b=[NAN] * 5), {}, ""),
    "sizes far apart": (several(a=WAVE, b=[v * 1e200 for v in WAVE], c=[v * 1e-200 for v in WAVE]), {}, ""),
    "a constant among others": (several(a=WAVE, b=[7.0] * 40), {}, ""),
    "rows out of order": ({name: column[::-1] for name, column in one(WAVE).items()}, {}, ""),
    "a day twice": ({"ds": [*days(39), days(39)[7]], "y": WAVE}, {}, "2020-01-08 again"),
    "a day twice, the mean": ({"ds": [*days(39), days(39)[7]], "y": WAVE}, {"duplicates": "mean"}, ""),
    "two frequencies": (
        {"unique_id": ["a"] * 20 + ["b"] * 20, "ds": [*days(20), *days(60)[::3]], "y": WAVE}, {},
        "series of several frequencies",
    ),
    "clocks go back": (
        {"ds": hours(""), "y": WAVE}, {"timezone": "Europe/Berlin", "calendar": "yes"}, "",
    ),
    "aware stamps": ({"ds": hours("+02:00"), "y": WAVE}, {"calendar": "yes"}, ""),
    "a mistyped year": ({"ds": [*days(39), "2920-01-01"], "y": WAVE}, {}, "correct the stamp"),
    "ends of months": (
        {"ds": (np.arange("2015-01", "2018-05", dtype="M8[M]").astype("M8[D]") + 27).astype(str).tolist(),
         "y": WAVE},
        {"calendar": "yes"}, "",
    ),
    "true and false": (one([step % 3 == 0 for step in range(40)]), {}, ""),
    "texts that are numbers": (one([f"{value}" for value in WAVE]), {}, ""),
    "texts that are none": (one([*map(str, WAVE[:39]), "many"]), {}, "got 'many'"),
    "thousands separators": (one([f"1,{int(value)}0" for value in WAVE]), {}, "expected a number"),
    "a covariate that is missing": (
        one(WAVE, rain=[None, 1.0] * 20), {"past": "rain"}, "",
    ),
    "a covariate without a value": (one(WAVE, rain=[NAN] * 40), {"past": "rain"}, ""),
    "a covariate of 1e300": (one(WAVE, rain=[1e300, -1e300] * 20), {"past": "rain"}, ""),
    "a known future that is missing": (one(WAVE, offer=[1.0, NAN] * 20), {"future": "offer"}, ""),
    "a covariate that is infinite": (one(WAVE, rain=[INF] * 40), {"past": "rain"}, "'rain' is infinite"),
    "a covariate that is not there": (one(WAVE), {"past": "rain"}, "no column 'rain'"),
    "a static number of 1e300": (
        several(a=WAVE, b=WAVE) | {"size": [1.0] * 40 + [1e300] * 40}, {"static": "size"}, "",
    ),
    "a static text": (
        several(a=WAVE, b=WAVE) | {"kind": ["x"] * 40 + [None] * 40}, {"static": "kind"}, "",
    ),
    "an id that is missing": (
        {"unique_id": ["a"] * 39 + [None], "ds": days(40), "y": WAVE}, {}, "no id in column",
    ),
    "no rows": (one([]), {}, "has no rows"),
}  # fmt: skip


def check(forecast: Forecast, horizon: int) -> None:
    assert forecast.quantiles.shape[1] == horizon
    assert len(forecast.quantiles) == len(forecast.ids) == len(forecast.times)
    assert np.isfinite(forecast.quantiles).all()
    assert (forecast.quantiles[..., 1:] >= forecast.quantiles[..., :-1]).all()
    columns = forecast.to_columns()
    assert len({len(column) for column in columns.values()}) == 1
    assert all(not np.isnat(times).any() for times in forecast.times if times.dtype.kind == "M")


def refused(words: str, ask: Callable[[], object]) -> None:
    with pytest.raises(ElmanError) as caught:
        ask()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("hazard", HAZARDS)
def test_hazards_of_training(hazard: str, kind: str) -> None:
    rows, options, words = HAZARDS[hazard]
    model = Forecaster(**TINY | options)
    if words:
        refused(words, lambda: model.fit(FRAMES[kind](rows)))
        return
    model.fit(FRAMES[kind](rows))
    horizon = options.get("horizon", 3)
    check(model.predict(), horizon)
    check(model.predict(series=FRAMES[kind](rows)), horizon)
    name = model.predictor_.history.ids[0]
    check(model.stream(name).feed(NAN).feed(12.5).predict(), horizon)


@pytest.fixture(scope="module", params=[False, True], ids=["values", "logarithms"])
def trained(request: pytest.FixtureRequest) -> Forecaster:
    return Forecaster(**TINY, season=7, transform="log" if request.param else "none").fit(
        several(a=WAVE, b=WAVE[:30])
    )


# what comes after training: rows to forecast, or to update with
LATER: dict[str, tuple[Any, str]] = {
    "one value": (several(z=[5.0]), ""),
    "a constant": (several(z=[5.0] * 30), ""),
    "1e300": (several(z=[1e300, 2e299, 3e299]), ""),
    "1e-300": (several(z=[1e-300, 2e-299, 3e-300]), ""),
    "the largest float": (several(z=[LARGEST, 1.0, LARGEST]), ""),
    "holes": (several(z=holes), ""),
    "a gap longer than the window": (several(z=[5.0, *[NAN] * 50, 6.0]), ""),
    "no value": (several(z=[NAN, NAN]), "no series has a value"),
    "infinite": (several(z=[1.0, INF]), "is infinite"),
    "another frequency": (
        {"unique_id": ["z"] * 3, "ds": ["2020-01-01 00:00", "2020-01-01 01:00", "2020-01-01 02:00"],
         "y": [1.0, 2.0, 3.0]},
        "between the steps",
    ),
    "no dates": ({"unique_id": ["z"] * 3, "y": [1.0, 2.0, 3.0]}, "no column 'ds'"),
    "no rows": (several(z=[]), "has no rows"),
    "many new ids": (several(**{f"z{n}": WAVE[n : n + 5] for n in range(30)}), ""),
    "an id of strange letters": (several(**{"z\u202e\x1b\n": WAVE}), ""),
}  # fmt: skip


@pytest.mark.parametrize("kind", FRAMES)
@pytest.mark.parametrize("hazard", LATER)
def test_hazards_after_training(trained: Forecaster, hazard: str, kind: str) -> None:
    rows, words = LATER[hazard]
    source, predictor = FRAMES[kind](rows), trained.predictor_
    if words:
        refused(words, lambda: predictor.predict(series=source))
        refused(words, lambda: predictor.updated(source))
        return
    check(predictor.predict(series=source), 3)
    with pytest.warns(DataWarning, match="series not known before: "):
        updated = predictor.updated(source)
    assert updated.history.ids[:2] == ("a", "b")
    check(updated.predict(), 3)


@pytest.mark.parametrize("values", [[0.0], [-5.0, -6.0], [0.0, 5.0]])
def test_values_without_a_logarithm(trained: Forecaster, values: list[float]) -> None:
    rows = several(z=values)
    if trained.model_.codec.rule.log and max(values) <= 0:
        refused("series 'z' has no value above 0", lambda: trained.predict(series=rows))
    else:
        check(trained.predict(series=rows), 3)
