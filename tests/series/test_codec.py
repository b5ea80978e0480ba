"""The forecaster's codec: saving, moving on with new rows, and refusal of forged files."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from elman.errors import DataError, InputError, ModelFileError
from elman.series.append import append_series
from elman.series.codec import MIN_KEPT_VALUES, ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.read_options import SeriesOptions
from elman.series.series import SeriesSet, load_series
from elman.series.window_rule import WindowRule
from elman.tables.scaler import Scaler

NAN = float("nan")
LEVELS = (0.1, 0.5, 0.9)
ROLES = SeriesOptions(past=("rain",), future=("offer", "price"), static=("size", "side"))


def rows(count: int, first: int = 0, ids: tuple[str, ...] = ("a", "b"), more: int = 0) -> Any:
    """Return a table with `count` days of each id, and `more` days of known future without a target."""
    at = np.arange(first, first + count + more)
    days = (np.datetime64("2020-01-01") + at).astype(str).tolist()
    target = [*(at[:count] % 7 + 1.0), *[NAN] * more]
    frame: dict[str, list[Any]] = {"unique_id": [], "ds": [], "y": []}
    for number, name in enumerate(ids):
        frame["unique_id"] += [name] * len(at)
        frame["ds"] += days
        frame["y"] += [value * (number + 1) for value in target]
        for column, values in (("rain", at % 3), ("offer", at % 5), ("price", at / 10)):
            frame.setdefault(column, []).extend(values.tolist())
        frame.setdefault("size", []).extend([10.0 * number] * len(at))
        frame.setdefault("side", []).extend(["north" if number else "south"] * len(at))
    return frame


def codec_of(series: SeriesSet, **others: Any) -> ForecastCodec:
    def scaler(parts: Any, role: str) -> Scaler | None:
        return Scaler.of(parts) if series.names[role] else None

    dated = series.starts.dtype.kind == "M"
    columns = [len(series.names[role]) for role in ("past", "future", "static")]
    rule = WindowRule(
        3, 7, 0, 7, 14, False, columns[0] + columns[1] + 2 * dated, columns[0], columns[2]
    )
    made = ForecastCodec(
        rule,
        LEVELS,
        np.array([-0.5, 0.0, 0.5]),
        dated,
        scaler(series.past, "past"),
        scaler(series.future, "future"),
        scaler((series.static,), "static"),
        series,
    )
    return ForecastCodec(**{name: getattr(made, name) for name in vars(made)} | others)


@pytest.fixture
def series() -> SeriesSet:
    return load_series(rows(30, more=3), ROLES)


@pytest.fixture
def codec(series: SeriesSet) -> ForecastCodec:
    return codec_of(series)


def alike(one: SeriesSet, other: SeriesSet) -> None:
    assert (one.ids, one.names, one.frequency) == (other.ids, other.names, other.frequency)
    assert dict(one.categories) == dict(other.categories)
    np.testing.assert_array_equal(one.starts, other.starts)
    np.testing.assert_array_equal(one.static, other.static)
    for name in ("times", "values", "past", "future"):
        for mine, theirs in zip(getattr(one, name), getattr(other, name), strict=True):
            np.testing.assert_array_equal(mine, theirs)


@pytest.mark.parametrize(
    "source",
    [
        rows(30, more=3),
        {"a": [1.0, NAN, 3.0], "b\n\ud800é": [5.0]},
        {"ds": [10, 20, 40], "y": [1.0, 2.0, 3.0]},
        {"ds": ["2020-01-31", "2020-02-29", "2020-04-30"], "y": [1.0, 2.0, 3.0]},
    ],
    ids=["all columns", "lists", "steps", "months"],
)
def test_a_saved_codec_is_read_back(source: Any) -> None:
    made = codec_of(load_series(source, ROLES if "rain" in source else None))
    form, arrays = made.to_parts()
    again = ForecastCodec.from_parts(copy.deepcopy(form), dict(arrays))
    alike(again.history, made.history)
    assert (again.rule, again.levels, again.calendar) == (made.rule, made.levels, made.calendar)
    form_again, arrays_again = again.to_parts()
    assert form_again == form
    assert {name: array.tobytes() for name, array in arrays.items()} == {
        name: array.tobytes() for name, array in arrays_again.items()
    }


def test_windows_have_the_scaled_covariates(codec: ForecastCodec, series: SeriesSet) -> None:
    windows = codec.windows(series)
    assert windows.covariates is not None
    W = codec.rule.window
    beside = windows.covariates[0][W:]
    assert codec.covariates == codec.rule.covariates == beside.shape[1] == 5
    for column, (scaler, given) in enumerate(
        [(codec.past, series.past[0][:, 0]), *((codec.future, f) for f in series.future[0].T)]
    ):
        assert scaler is not None
        place = max(0, column - 1)
        scaled = (given - scaler.mean[place]) / scaler.scale[place]
        np.testing.assert_allclose(beside[: len(given), column], scaled, rtol=1e-6)
        assert not beside[len(given) :, column].any()
    # a Wednesday, two days after the week began
    assert beside[0, 3:] == pytest.approx([np.sin(4 * np.pi / 7), np.cos(4 * np.pi / 7)])
    assert not windows.covariates[0][:W].any()


def test_the_target_alone_needs_no_covariates() -> None:
    codec = codec_of(load_series([1.0, 2.0, 3.0]))
    assert codec.windows(codec.history).covariates is None


def test_appended_rows_move_the_history_on(codec: ForecastCodec) -> None:
    kinds = {"side": ("north", "south")}
    more = load_series(rows(5, 30, ("c", "b")), ROLES, categories=kinds)
    moved = codec.after(append_series(codec.history, more))
    assert moved.history.ids == ("a", "b", "c")
    assert [len(values) for values in moved.history.values] == [30, 35, 5]
    assert [len(values) for values in codec.history.values] == [30, 30]
    np.testing.assert_array_equal(moved.history.values[1], 2 * (np.arange(35) % 7 + 1.0))


def test_gaps_and_overlaps_follow_their_policies(codec: ForecastCodec) -> None:
    later = load_series(rows(2, 32), ROLES)
    assert np.isnan(append_series(codec.history, later).values[0][30:32]).all()
    filled = append_series(codec.history, later, gaps="fill").values[0]
    assert (filled[30:32] == filled[29]).all()
    with pytest.raises(DataError, match="2 steps are missing"):
        append_series(codec.history, later, gaps="error")
    before = load_series(rows(2, 29), ROLES)
    assert len(append_series(codec.history, before).values[0]) == 31
    assert len(append_series(codec.history, before, overlap="replace").values[0]) == 31


def test_only_the_end_of_long_series_is_kept() -> None:
    values = np.arange(MIN_KEPT_VALUES + 500.0)
    days = (np.datetime64("2020-01-01") + np.arange(len(values))).astype(str)
    long = load_series({"ds": days, "y": values})
    codec = codec_of(long)
    kept = codec.trimmed(long)
    assert len(kept.values[0]) == MIN_KEPT_VALUES
    np.testing.assert_array_equal(kept.values[0], values[500:])
    np.testing.assert_array_equal(kept.times[0], long.times[0][500:])
    assert kept.starts[0] == long.times[0][500]
    # windows at the end are the same
    end = np.array([len(values)]), np.array([MIN_KEPT_VALUES])
    one, other = (
        codec.windows(s).prepare(np.zeros(1, int), at)[0]
        for s, at in zip((long, kept), end, strict=True)
    )
    assert one.inputs.tobytes() == other.inputs.tobytes()
    wide = codec_of(long, rule=WindowRule(3, 7, 0, 7, 7 * 200, False, 2))
    assert len(wide.trimmed(long).values[0]) == 1400


def config(**sizes: int) -> ForecastConfig:
    own: dict[str, Any] = {
        "hidden_size": 4,
        "num_layers": 1,
        "bias": True,
        "segment": 7,
        "quantiles": 3,
        "members": 1,
    }
    return ForecastConfig("forecast", "gru", "tanh", **own | sizes)


@pytest.mark.parametrize("name", ["input_size", "segment", "quantiles"])
def test_a_network_of_other_sizes_is_refused(codec: ForecastCodec, name: str) -> None:
    right = {"input_size": codec.rule.input_size}
    codec.check(config(**right))
    wrong = {**right, name: getattr(config(**right), name) + 1}
    with pytest.raises(InputError, match=f"the codec's {name}"):
        codec.check(config(**wrong))


def put(name: str, value: Any) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    """Return a change of a codec: set the field `name`, as in "rule.horizon", or an array."""

    def change(form: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        if name.startswith("codec."):
            arrays[name] = value(arrays[name].copy()) if callable(value) else value
            return
        *outer, last = name.split(".")
        for key in outer:
            form = form[key]
        form[last] = value

    return change


def drop(name: str) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    def change(form: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        (arrays if name.startswith("codec.") else form).pop(name)

    return change


def at(place: Any, value: Any) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[place] = value
        return array

    return change


WRONG: tuple[object, ...] = (None, 3.5, "x", [[]], {"a": 1})
FORM = ("rule", "levels", "calendar", "frequency", "dated", "names", "categories")
COLUMNS = ("values", "past", "future")
FORGED = {
    **{f"no {name}": drop(name) for name in FORM},
    **{f"{name} is {value!r}": put(name, value) for name in FORM for value in WRONG},
    **{
        f"rule.{name} is {value!r}": put(f"rule.{name}", value)
        for name in ("horizon", "season", "window", "segment", "covariates", "past", "static")
        for value in (-1, None, "3", 2.0, 1 << 40, NAN, True)
    },
    "the rule has more": put("rule.more", 1),
    "log is a number": put("rule.log", 1),
    "levels descend": put("levels", [0.9, 0.5, 0.1]),
    "no median": put("levels", [0.1, 0.4, 0.9]),
    "levels beyond": put("levels", [0.0, 0.5, 1.0]),
    "a level is NaN": put("levels", [NAN, 0.5, 0.9]),
    "levels in no pairs": put("levels", [0.2, 0.5, 0.9]),
    "more levels than corrections": put("levels", [0.1, 0.2, 0.5, 0.8, 0.9]),
    "a frequency that is none": put("frequency", "soon"),
    "a frequency beyond numbers": put("frequency", "9" * 30 + "D"),
    "a frequency without dates": put("frequency", "steps"),
    "dates that are none": put("dated", False),
    "no name of a column": put("names", {"id": []}),
    "a column more": put("names.past", ["rain", "snow"]),
    "a column less": put("names.static", ["size"]),
    "no array of ids": drop("codec.ids.bytes"),
    "ids that are not UTF-8": put("codec.ids.bytes", np.array([255, 255], np.uint8)),
    "one id twice": put("codec.ids.bytes", np.frombuffer(b"aa", np.uint8)),
    "no id": put("codec.ids.bytes", np.zeros(0, np.uint8)),
    "no starts": drop("codec.starts"),
    "starts of floats": put("codec.starts", np.zeros(2)),
    "a start too few": put("codec.starts", np.zeros(1, np.int64)),
    "a start that is no time": put("codec.starts", at(0, np.iinfo(np.int64).min)),
    "a start beyond time": put("codec.starts", at(0, np.iinfo(np.int64).max)),
    **{f"no {name}": drop(f"codec.{name}") for name in (*COLUMNS, "static", "corrections")},
    **{f"no lengths of {name}": drop(f"codec.{name}.lengths") for name in COLUMNS},
    **{
        f"lengths {lengths} of {name}": put(f"codec.{name}.lengths", np.array(lengths))
        for name in COLUMNS
        for lengths in ([-1, 61], [30, 31], [60], [30.0, 30.0], [1 << 62, 1 << 62], [[30], [30]])
    },
    "fewer past rows than values": put("codec.past.lengths", np.array([29, 31])),
    "fewer future rows than values": put("codec.future.lengths", np.array([29, 37])),
    "an infinite value": put("codec.values", at(3, np.inf)),
    "values of half the width": put("codec.values", lambda values: values.astype(np.float32)),
    "an infinite covariate": put("codec.past", at((3, 0), -np.inf)),
    "a matrix of values": put("codec.values", lambda values: values[:, None]),
    "a row of covariates": put("codec.past", lambda values: values[:, 0]),
    "static of another size": put("codec.static", np.zeros((2, 2))),
    "an infinite static number": put("codec.static", at((0, 0), np.inf)),
    **{
        f"{name}.{part} is {value}": put(f"codec.{name}.{part}", at(0, value))
        for name in ("past", "future", "static")
        for part, wrong in {"mean": (NAN, np.inf), "scale": (0.0, -1.0, np.inf)}.items()
        for value in wrong
    },
    "no scale": drop("codec.past.scale"),
    "a scale too few": put("codec.future.scale", np.ones(1)),
    "a correction that is NaN": put("codec.corrections", at(0, NAN)),
    "a correction too few": put("codec.corrections", np.zeros(2)),
}  # fmt: skip


@pytest.mark.parametrize("forged", FORGED)
def test_a_forged_codec_is_refused(codec: ForecastCodec, forged: str) -> None:
    form, arrays = codec.to_parts()
    form, arrays = copy.deepcopy(form), dict(arrays)
    FORGED[forged](form, arrays)
    with pytest.raises(ModelFileError) as caught:
        ForecastCodec.from_parts(form, arrays)
    assert len(str(caught.value)) < 500
    assert "\n" not in str(caught.value)
