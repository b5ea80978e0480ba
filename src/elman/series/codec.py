"""Codec of a forecaster: between series and the network's windows, with the end of every known series.

The end of the series is the forecaster's state: `ForecastCodec.after` moves it on, without training.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from statistics import NormalDist
from typing import Any

import numpy as np

from elman.errors import InputError, ModelFileError
from elman.series.autoregression import Ridge
from elman.series.calendar import advance, calendar_features, season_candidates
from elman.series.config import ForecastConfig
from elman.series.frequency import DAY, Frequency
from elman.series.read_options import KEPT_OPTIONS, SeriesOptions
from elman.series.rows import ROLES
from elman.series.series import SeriesSet
from elman.series.time_zones import known_zone
from elman.series.window_rule import WindowRule
from elman.series.windows import Windows
from elman.tables.scaler import Scaler
from elman.text.packed_texts import pack_texts, unpack_texts
from elman.training.journal import JsonObject

MIN_KEPT_VALUES = 1000
"""Values of each series that the codec keeps at least, for windows and for the scale of errors."""
YEAR_STEPS = {"D": 364, "B": 260}
"""Steps of a year in whole weeks, so that the same weekdays are compared."""
MAX_STAMP = 1 << 62
"""Bound of a stamp in a file, in microseconds from 1970 (or in steps from 0)."""
OPTIONAL_READING = ("zone", "ids")
"""Keys for the form of the source's stamps and ids; a file has them next to `KEPT_OPTIONS` only if known."""
LATER_RULE_FIELDS = {"floor", "lags", "lag_season"}
"""Fields of the window rule that the first files do not have."""
MIN_CLOSED_CYCLES = {7 * DAY: 4, DAY: 7}
"""Weeks and days for which a time of the week or day must have had no value, before it counts as closed."""
MIN_OPEN_SHARE = 0.5
"""Share of the open steps that must have a value; otherwise the series is merely sparse."""

_RAGGED = ("values", "past", "future")
_SCALED = ("past", "future", "static")


@dataclass(frozen=True, eq=False)
class ForecastCodec:
    """The window rule, the quantile levels with their calibration, and the end of every series."""

    rule: WindowRule
    levels: tuple[float, ...]
    """Quantile levels, ascending and symmetric around 0.5."""
    corrections: np.ndarray
    """float64 ``[Q]``: correction added to each quantile, in units of the window (conformal calibration)."""
    calendar: bool
    """Whether calendar features (phase of the day, week and year) are inputs."""
    past: Scaler | None
    future: Scaler | None
    static: Scaler | None
    history: SeriesSet
    """The end of every series; its `reading` says how later rows are read."""
    mean_factor: float = 1.0
    """Factor of the forecast mean that removes its bias, for series without values below 0."""
    ridge: Ridge | None = None
    """The linear autoregression that the network corrects; None in the first files."""

    def check(self, config: ForecastConfig) -> None:
        """Raise InputError if the network has other sizes than this codec."""
        sizes = {
            "input_size": self.rule.input_size,
            "segment": self.rule.segment,
            "quantiles": len(self.levels),
        }
        for name, size in sizes.items():
            if getattr(config, name) != size:
                raise InputError(f"the codec's {name}", got=size, expected=getattr(config, name))

    @property
    def seasons(self) -> tuple[int, ...]:
        """Seasons of the seasonal naive forecasts in reports: first the one of MASE, then the others."""
        frequency, rule, first = self.history.frequency, self.rule, self.rule.report_season
        yearly = YEAR_STEPS.get(frequency.unit, 0) // frequency.count
        # A report shows every plausible season, because the best naive forecast is the fair comparison.
        others = {*season_candidates(frequency), rule.season, rule.long_season, yearly}
        return (first, *sorted(others - {0, 1, first}))

    @property
    def covariates(self) -> int:
        """Covariates of each time step: past, known-future, and calendar features."""
        scalers = [scaler for scaler in (self.past, self.future) if scaler is not None]
        count = sum(len(scaler.mean) for scaler in scalers)
        if self.calendar:
            # The number of features depends on the frequency alone, so any stamp shows it.
            stamp = np.zeros(1, "datetime64[us]")
            count += calendar_features(stamp, self.history.frequency).shape[1]
        return count

    def windows(self, series: SeriesSet) -> Windows:
        """Return the windows over `series`, which must have the columns of the history."""
        static = None if self.static is None else self.static.apply(series.static)
        covariates = [self._covariates_of(series, number) for number in range(len(series))]
        return Windows.of(self.rule, series.values, covariates, static, self.ridge)

    def ridge_quantiles(
        self, series: SeriesSet, which: np.ndarray, origins: np.ndarray
    ) -> list[np.ndarray] | list[None]:
        """Return quantiles ``[h, Q]`` of the linear autoregression before each origin, normal around it."""
        if self.ridge is None:
            return [None] * len(which)
        normal = np.array([NormalDist().inv_cdf(level) for level in self.levels])
        # [h, Q], in units of the network's answers
        spread = self.ridge.deviation[:, None] * normal / self.ridge.spread
        windows, size, quantiles = self.windows(series), self.rule.batch_size, list[np.ndarray]()
        for first in range(0, len(which), size):
            batch = slice(first, first + size)
            prepared, _ = windows.prepare(which[batch], origins[batch])
            quantiles += list(
                self.rule.forecast(prepared, np.tile(spread, (len(prepared.unit), 1, 1)))
            )
        return quantiles

    def _covariates_of(self, series: SeriesSet, number: int) -> np.ndarray:
        """Return the scaled covariates ``[T + reach, C]`` of one series, 0 where they are missing."""
        # [T + reach, C]: past columns first, then known-future ones, then the calendar
        length = len(series.values[number]) + self.rule.reach
        columns = [np.zeros((length, 0))]
        for scaler, covariates in ((self.past, series.past), (self.future, series.future)):
            if scaler is not None:
                scaled = np.zeros((length, len(scaler.mean)))
                known = covariates[number][:length]
                scaled[: len(known)] = scaler.apply(known)
                columns.append(scaled)
        if self.calendar:
            stamps = advance(series.starts[number], series.frequency, np.arange(length))
            columns.append(calendar_features(stamps, series.frequency))
        return np.concatenate(columns, axis=1)

    def after(self, series: SeriesSet) -> ForecastCodec:
        """Return the codec with the end of `series` as its history."""
        return replace(self, history=self.trimmed(series))

    def trimmed(self, series: SeriesSet) -> SeriesSet:
        """Return the end of every series, as far as the codec keeps it."""
        # A model file must not grow with the length of its series.
        keep = max(MIN_KEPT_VALUES, self.rule.steps_back)
        firsts = [max(0, len(values) - keep) for values in series.values]
        return replace(series.at(range(len(series)), firsts), warnings=())

    def settings(self) -> dict[str, str | int | None]:
        """Return the options of training that this codec fixes, by their names."""
        names = self.history.names
        columns = {role: ",".join(names[role]) or None for role in ("target", "past", "future")}
        return {
            "horizon": self.rule.horizon,
            "season": self.rule.season,
            "window": self.rule.window,
            "transform": "log" if self.rule.log else "none",
            "calendar": "yes" if self.calendar else "no",
            "id_column": next(iter(names["id"]), None),
            "time_column": next(iter(names["time"]), None),
            "static": ",".join(self.history.static_columns) or None,
            **columns,
        }

    def to_parts(self) -> tuple[JsonObject, dict[str, np.ndarray]]:
        """Return the codec as a JSON object and arrays named ``codec.…``, for a model file."""
        series = self.history
        # Leave out later fields at their defaults, so that a model of an earlier version is saved unchanged.
        rule = asdict(self.rule)
        rule = {name: rule[name] for name in rule if rule[name] or name not in LATER_RULE_FIELDS}
        written = {
            name: series.reading[name] for name in OPTIONAL_READING if series.reading.get(name)
        }
        form: JsonObject = {
            "rule": rule,
            "levels": list(self.levels),
            "calendar": self.calendar,
            "frequency": str(series.frequency),
            "dated": series.starts.dtype.kind == "M",
            "names": {role: list(series.names[role]) for role in ROLES},
            "categories": {name: list(kinds) for name, kinds in series.categories.items()},
            "reading": {name: series.reading.get(name) for name in KEPT_OPTIONS} | written,
        }
        if self.mean_factor != 1.0:
            form["mean_factor"] = self.mean_factor
        arrays = pack_texts("codec.ids", series.ids)
        arrays["codec.starts"] = series.starts.astype(np.int64)
        arrays["codec.static"], arrays["codec.corrections"] = series.static, self.corrections
        for name in _RAGGED:
            columns = getattr(series, name)
            arrays[f"codec.{name}"] = np.concatenate(columns)
            arrays[f"codec.{name}.lengths"] = np.array([*map(len, columns)], np.int64)
        for name in _SCALED:
            if (scaler := getattr(self, name)) is not None:
                arrays |= scaler.to_arrays(name)
        if self.ridge is not None:
            arrays["codec.ridge.weights"] = self.ridge.weights
            arrays["codec.ridge.deviation"] = self.ridge.deviation
            if self.ridge.bounded_lags:
                arrays["codec.ridge.bounded"] = self.ridge.bounded_weights
                arrays["codec.ridge.bound"] = np.array([self.ridge.bound])
        return form, arrays

    @classmethod
    def from_parts(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> ForecastCodec:
        """Return the codec that `to_parts` wrote; raises ModelFileError for anything else."""
        try:
            return cls._read(dict(config), arrays)
        except ModelFileError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"its codec: {error}") from None

    @classmethod
    def _read(cls, config: JsonObject, arrays: Mapping[str, np.ndarray]) -> ForecastCodec:
        rule = _read_rule(config["rule"])
        series = _read_history(config, arrays)
        levels, corrections = tuple(config["levels"]), arrays["codec.corrections"]
        # Conformal corrections and intervals pair each level with the one as far above the median.
        valid = 0.5 in levels and all(0 < low < high < 1 for low, high in pairwise(levels))
        pairs = zip(levels, levels[::-1], strict=True)
        valid = valid and all(abs(low + high - 1) < 1e-8 for low, high in pairs)
        _require(valid, "levels", "ascending around 0.5", levels)
        _check_numbers(arrays, "corrections", (len(levels),))
        scalers: dict[str, Scaler | None] = dict.fromkeys(_SCALED)
        for name in _SCALED:
            if size := len(series.names[name]):
                scalers[name] = scaler = Scaler.from_arrays(name, arrays)
                _require(len(scaler.mean) == size, name, f"{size} means and scales")
        calendar, factor = config["calendar"], config.get("mean_factor", 1.0)
        _require(type(calendar) is bool, "calendar", "true or false", calendar)
        valid = type(factor) is float and 0 < factor < math.inf
        _require(valid, "mean_factor", "a number above 0", factor)
        codec = cls(
            rule,
            levels,
            corrections,
            calendar,
            scalers["past"],
            scalers["future"],
            scalers["static"],
            history=series,
            mean_factor=factor,
            ridge=_read_ridge(rule, arrays),
        )
        sizes = (codec.covariates, len(series.names["past"]), len(series.names["static"]))
        fits = sizes == (rule.covariates, rule.past, rule.static)
        _require(fits, "rule", "as many columns as it names", sizes)
        return codec


def closed_steps(values: np.ndarray, frequency: Frequency, steps: int) -> np.ndarray:
    """Return which of the next `steps` will have no value, bool ``[steps]``, as a shop closes on Sundays.

    These are the days of the week, and for steps under a day the times of day, that never had a value.

    >>> week = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, float("nan")]
    >>> closed_steps(np.array(week * 5), Frequency(1, "D"), 8).nonzero()[0].tolist()
    [6]
    """
    T, closed = len(values), np.zeros(steps, bool)
    for cycle, min_cycles in MIN_CLOSED_CYCLES.items():
        if frequency.unit == "steps" or not frequency.step or cycle % frequency.step:
            continue
        # Steps of a week or a day; each phase of it is open or closed.
        period = cycle // frequency.step
        if period < 2 or min_cycles * period > T:
            continue
        known, phases = np.isfinite(values), np.arange(T + steps) % period
        # [period]: whether any step at this phase of the cycle had a value
        is_open = np.bincount(phases[:T], known, period) > 0
        if known[is_open[phases[:T]]].mean() >= MIN_OPEN_SHARE:
            closed |= ~is_open[phases[T:]]
    return closed


def _read_rule(form: JsonObject) -> WindowRule:
    kinds = {declared.name: str(declared.type) for declared in fields(WindowRule)}
    complete = kinds.keys() - LATER_RULE_FIELDS <= form.keys() <= kinds.keys()
    _require(complete, "rule", "the fields of WindowRule", sorted(form))
    # Compare exact types, because True is an int in Python.
    for name, value in form.items():
        _require(type(value).__name__ == kinds[name], f"rule {name}", f"type {kinds[name]}", value)
    return WindowRule(**form)


def _read_ridge(rule: WindowRule, arrays: Mapping[str, np.ndarray]) -> Ridge | None:
    if not rule.lags:
        return None
    _check_numbers(arrays, "ridge.weights", (rule.horizon, rule.lags))
    _check_numbers(arrays, "ridge.deviation", (rule.horizon,))
    deviation = arrays["codec.ridge.deviation"]
    _require((deviation > 0).all(), "ridge.deviation", "numbers above 0")
    ridge = Ridge(arrays["codec.ridge.weights"], deviation)
    if "codec.ridge.bounded" not in arrays:
        return ridge
    weights, bound = arrays["codec.ridge.bounded"], arrays["codec.ridge.bound"]
    K = weights.shape[-1] if weights.ndim else 0
    _check_numbers(arrays, "ridge.bounded", (rule.horizon, min(K, rule.lags - 1)))
    _check_numbers(arrays, "ridge.bound", (1,))
    _require(bound[0] > 0, "ridge.bound", "a number above 0", bound[0])
    return replace(ridge, bounded_weights=weights, bound=float(bound[0]))


def _require(is_valid: bool | np.bool_, name: str, expected: str, got: object = None) -> None:
    if not is_valid:
        raise ModelFileError(f"codec {name}", got=got, expected=expected)


def _check_numbers(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], *, missing: bool = False
) -> None:
    """Raise ModelFileError unless an array is finite float64 of this shape; NaN is allowed if `missing`."""
    array = arrays[f"codec.{name}"]
    got = f"{array.dtype} {list(array.shape)}"
    _require(array.dtype == np.float64 and array.shape == shape, name, f"float64 {shape}", got)
    finite = np.isfinite(array) | (np.isnan(array) & missing)
    _require(finite.all(), name, "finite numbers")


def _check_reading(reading: JsonObject) -> dict[str, str | None]:
    """Return a file's `reading` if it is valid; raises ModelFileError, OptionError."""
    texts: JsonObject = {name: value for name, value in reading.items() if value is not None}
    names = [*KEPT_OPTIONS, *(name for name in OPTIONAL_READING if name in reading)]
    valid = [*reading] == names and all(type(value) is str for value in texts.values())
    _require(valid, "reading", ", ".join(KEPT_OPTIONS), reading)
    SeriesOptions(**{name: value for name, value in texts.items() if name in KEPT_OPTIONS})
    if (zone := reading.get("timezone") or reading.get("zone")) is not None:
        known_zone(zone)
    return reading


def _read_history(config: JsonObject, arrays: Mapping[str, np.ndarray]) -> SeriesSet:
    ids, starts = unpack_texts("codec.ids", arrays), arrays["codec.starts"]
    names = {role: tuple(map(str, config["names"][role])) for role in ROLES}
    categories = {str(name): tuple(map(str, kinds)) for name, kinds in config["categories"].items()}
    frequency = Frequency.parse(config["frequency"])
    valid = starts.dtype == np.int64 and starts.shape == (len(ids),)
    _require(valid and 0 < len(set(ids)) == len(ids), "starts", "one for each series")
    is_dated = frequency.unit != "steps"
    # Stamps near the limits of int64 would overflow when steps are added.
    in_range = ((starts <= MAX_STAMP) & (starts >= -MAX_STAMP)).all()
    _require(in_range and config["dated"] == is_dated, "starts", "stamps of its frequency")
    values, past, future = (
        _read_ragged(arrays, name, len(ids), names.get(name)) for name in _RAGGED
    )
    lengths = zip(map(len, values), map(len, past), map(len, future), strict=True)
    complete = all(known == rows <= more for known, rows, more in lengths)
    _require(complete, "past and future", "rows for every value")
    _check_numbers(arrays, "static", (len(ids), len(names["static"])), missing=True)
    history = SeriesSet(
        ids,
        starts.astype("datetime64[us]") if is_dated else starts,
        values,
        past,
        future,
        static=arrays["codec.static"],
        names=names,
        frequency=frequency,
        categories=categories,
        warnings=(),
        reading=_check_reading(dict(config["reading"])),
    )
    _require(len(history.times) == len(ids), "starts", "stamps of its frequency")  # may overflow
    return history


def _read_ragged(
    arrays: Mapping[str, np.ndarray], name: str, series: int, columns: tuple[str, ...] | None
) -> tuple[np.ndarray, ...]:
    """Split an array that holds all series one after another; the values have no `columns`."""
    lengths, total = arrays[f"codec.{name}.lengths"], len(arrays[f"codec.{name}"])
    valid = lengths.dtype == np.int64 and lengths.shape == (series,)
    _require(valid, f"{name}.lengths", "one for each series")
    # Check each length before the sum, which could overflow.
    in_range = (lengths >= 0).all() and (lengths <= total).all()
    _require(in_range and lengths.sum() == total, f"{name}.lengths", f"{total} in all")
    shape = (total,) if columns is None else (total, len(columns))
    _check_numbers(arrays, name, shape, missing=True)
    return tuple(np.split(arrays[f"codec.{name}"], np.cumsum(lengths)[:-1]))
