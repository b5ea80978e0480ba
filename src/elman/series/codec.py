"""What a forecaster knows of its series: how windows are read, and the last values of each.

The last values are the state: `ForecastCodec.after` moves it on, without a refit.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np

from elman.errors import InputError, ModelFileError
from elman.series.calendar import (
    Frequency,
    advance,
    calendar_features,
    positions,
    season_candidates,
)
from elman.series.series import READING, SeriesOptions, SeriesSet, stamps_from
from elman.series.windows import WindowRule, Windows
from elman.series.zones import known_zone
from elman.tables.scaler import Scaler
from elman.text.vocabulary import pack_texts, unpack_texts

__all__ = ["KEPT", "ForecastCodec", "closed"]

KEPT = 1000
"""Least values that are kept of a series, for windows and for the scale of errors."""

YEARS = {"D": 364, "B": 260}
"""Steps of a year in whole weeks, so that days of the week meet."""

LATEST = 1 << 62
"""Farthest stamp of a series, in microseconds from 1970 (or steps from 0)."""

FOUND = ("zone", "ids")
"""What is kept of how rows were written, beside READING, where it was found."""

LATER = {"floor"}
"""Fields of the rule that the first files did not have."""

CLOSED_AFTER = {7 * 86_400_000_000: 4, 86_400_000_000: 7}
"""Weeks and days (microseconds) that a place in them must have been without a value to count as closed."""
MOSTLY = 0.5
"""Share of the other steps that must have a value, or the series is just sparse."""

_ROLES = ("id", "time", "target", "past", "future", "static")
_RAGGED = ("values", "past", "future")


@dataclass(frozen=True, eq=False)
class ForecastCodec:
    """Windows, the levels of the quantiles with their corrections, and the end of every series."""

    rule: WindowRule
    levels: tuple[float, ...]
    """Ascending, around 0.5 in pairs."""
    corrections: np.ndarray
    """float64 ``[Q]``: what is added to each quantile, in units of the window (conformal calibration)."""
    calendar: bool
    """Whether the network reads where a stamp stands in day, week and year."""
    past: Scaler | None
    future: Scaler | None
    static: Scaler | None
    history: SeriesSet
    """The end of every series, and in its `reading` how rows are read."""
    mean_factor: float = 1.0
    """What the mean of the quantiles is multiplied by, where no value is below 0."""

    def check(self, config: Any) -> None:
        """Raise InputError where the network has other sizes than this codec."""
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
        """Seasons whose repetition forecasts are compared with: that of MASE, then the others."""
        unit = self.history.frequency
        yearly = YEARS.get(unit.unit, 0) // unit.count
        rule = self.rule
        others = {*season_candidates(unit), rule.season, rule.long_season, yearly}
        return (rule.compared, *sorted(others - {0, 1, rule.compared}))

    def clock(self, series: SeriesSet) -> np.ndarray:
        """Return the step ``[N]`` at which each series starts, on one clock for all."""
        return positions(series.starts, series.frequency, series.starts.min())[0]

    @property
    def covariates(self) -> int:
        """Numbers beside every value of past and future."""
        scalers = [scaler for scaler in (self.past, self.future) if scaler is not None]
        return sum(len(scaler.mean) for scaler in scalers) + self.cycles

    @property
    def cycles(self) -> int:
        """Numbers that tell where a stamp stands."""
        if not self.calendar:
            return 0
        stamp = np.zeros(1, "datetime64[us]")
        return int(calendar_features(stamp, self.history.frequency).shape[1])

    def windows(self, series: SeriesSet) -> Windows:
        """Return the windows over `series`, whose columns are those of the history."""
        static = None if self.static is None else self.static.apply(series.static)
        beside = [self._beside(series, place) for place in range(len(series))]
        return Windows.of(self.rule, series.values, beside, static)

    def _beside(self, series: SeriesSet, place: int) -> np.ndarray:
        """Return the scaled covariates ``[T + reach, C]`` of one series, 0 where they are missing."""
        length = len(series.values[place]) + self.rule.reach
        parts = [np.zeros((length, 0))]
        for scaler, given in ((self.past, series.past), (self.future, series.future)):
            if scaler is not None:
                scaled = np.zeros((length, len(scaler.mean)))
                some = given[place][:length]
                scaled[: len(some)] = scaler.apply(some)
                parts.append(scaled)
        if self.calendar:
            stamps = advance(series.starts[place], series.frequency, np.arange(length))
            parts.append(calendar_features(stamps, series.frequency))
        return np.concatenate(parts, axis=1)

    def after(self, series: SeriesSet) -> ForecastCodec:
        """Return the codec with the end of `series` as its history."""
        return replace(self, history=self.trimmed(series))

    def trimmed(self, series: SeriesSet) -> SeriesSet:
        """Return the end of every series, as much as is kept."""
        keep = max(KEPT, self.rule.window)
        firsts = [max(0, len(values) - keep) for values in series.values]
        parts: dict[str, Any] = {
            name: tuple(
                part[first:] for part, first in zip(getattr(series, name), firsts, strict=True)
            )
            for name in ("times", *_RAGGED)
        }
        starts = series.starts.copy()
        for place, first in enumerate(firsts):
            if first:
                starts[place] = series.times[place][first]
        return replace(series, starts=starts, warnings=(), **parts)

    def to_parts(self) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the codec as a JSON object and arrays named ``codec.…``, for a model file."""
        series = self.history
        # a file of an earlier version is saved as it was
        rule = {n: v for n, v in asdict(self.rule).items() if v is not False or n not in LATER}
        form: dict[str, Any] = {
            "rule": rule,
            "levels": list(self.levels),
            "calendar": self.calendar,
            "frequency": str(series.frequency),
            "dated": series.starts.dtype.kind == "M",
            "names": {role: list(series.names[role]) for role in _ROLES},
            "categories": {name: list(kinds) for name, kinds in series.categories.items()},
            "reading": {name: series.reading.get(name) for name in READING}
            | {name: series.reading[name] for name in FOUND if series.reading.get(name)},
        }
        if self.mean_factor != 1.0:
            form["mean_factor"] = self.mean_factor
        arrays = pack_texts("codec.ids", series.ids)
        arrays["codec.starts"] = series.starts.astype(np.int64)
        for name in _RAGGED:
            parts = getattr(series, name)
            arrays[f"codec.{name}"] = np.concatenate(parts)
            arrays[f"codec.{name}.lengths"] = np.array([len(part) for part in parts], np.int64)
        arrays["codec.static"] = series.static
        for name in ("past", "future", "static"):
            scaler: Scaler | None = getattr(self, name)
            if scaler is not None:
                arrays |= scaler.to_arrays(name)
        arrays["codec.corrections"] = self.corrections
        return form, arrays

    @classmethod
    def from_parts(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]
    ) -> ForecastCodec:
        """Return the codec that `to_parts` took apart; raises ModelFileError for anything else."""
        try:
            return cls._read(config, arrays)
        except ModelFileError:
            raise
        except (LookupError, TypeError, ValueError, AttributeError, OverflowError) as error:
            raise ModelFileError(f"its codec: {error}") from None

    @classmethod
    def _read(cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> ForecastCodec:
        known = {declared.name for declared in fields(WindowRule)}
        # files of earlier versions lack the later fields
        if not known - LATER <= config["rule"].keys() <= known:
            raise ModelFileError("codec rule", got=sorted(config["rule"]))
        rule = WindowRule(**config["rule"])
        for declared in fields(WindowRule):
            kind = {"bool": bool, "float": float}.get(str(declared.type), int)
            if type(value := getattr(rule, declared.name)) is not kind:
                raise ModelFileError(f"codec rule {declared.name}", got=value)
        ids = unpack_texts("codec.ids", arrays)
        series = _history(config, arrays, ids)
        levels, corrections = tuple(config["levels"]), arrays["codec.corrections"]
        ascending = all(0 < low < high < 1 for low, high in itertools.pairwise(levels))
        paired = all(
            abs(low + high - 1) < 1e-8 for low, high in zip(levels, levels[::-1], strict=True)
        )
        if 0.5 not in levels or not ascending or not paired:
            raise ModelFileError("codec levels", got=levels, expected="ascending around 0.5")
        _check_numbers(arrays, "corrections", (len(levels),))
        scalers: dict[str, Scaler | None] = dict.fromkeys(("past", "future", "static"))
        for name in scalers:
            if size := len(series.names[name]):
                scalers[name] = scaler = Scaler.from_arrays(name, arrays)
                if len(scaler.mean) != size:
                    raise ModelFileError(f"codec {name}", expected=f"{size} means and scales")
        if type(config["calendar"]) is not bool:
            raise ModelFileError("codec calendar", got=config["calendar"])
        factor = config.get("mean_factor", 1.0)
        if type(factor) is not float or not 0 < factor < math.inf:
            raise ModelFileError("codec mean_factor", got=factor, expected="a number above 0")
        calendar = config["calendar"]
        codec = cls(
            rule, levels, corrections, calendar, **scalers, history=series, mean_factor=factor
        )
        sizes = (codec.covariates, len(series.names["past"]), len(series.names["static"]))
        if sizes != (rule.covariates, rule.past, rule.static):
            raise ModelFileError("codec rule", got=sizes, expected="as many columns as it names")
        return codec


def closed(values: np.ndarray, frequency: Frequency, steps: int) -> np.ndarray:
    """Return on which of the next `steps` there will be no value, as a shop is closed on Sundays.

    These are the days of the week, and under a day the times of day, that never had a value before.

    >>> week = [1.0, 1.0, 1.0, 1.0, 1.0, 1.0, float("nan")]
    >>> closed(np.array(week * 5), Frequency(1, "D"), 8).nonzero()[0].tolist()
    [6]
    """
    T, found = len(values), np.zeros(steps, bool)
    for cycle, least in CLOSED_AFTER.items():
        if frequency.unit == "steps" or not frequency.step or cycle % frequency.step:
            continue
        period = cycle // frequency.step
        if period < 2 or least * period > T:
            continue
        known = np.isfinite(values)
        there = np.bincount(np.arange(T) % period, known, period) > 0
        if known[there[np.arange(T) % period]].mean() >= MOSTLY:
            found |= ~there[np.arange(T, T + steps) % period]
    return found


def _check_numbers(
    arrays: Mapping[str, np.ndarray], name: str, shape: tuple[int, ...], *, missing: bool = False
) -> None:
    """Raise ModelFileError where an array of numbers is another one; NaN may be `missing`."""
    array = arrays[f"codec.{name}"]
    if array.dtype != np.float64 or array.shape != shape:
        raise ModelFileError(
            f"codec {name}", got=f"{array.dtype} {list(array.shape)}", expected=f"float64 {shape}"
        )
    if not (np.isfinite(array) | (np.isnan(array) & missing)).all():
        raise ModelFileError(f"codec {name}", got="a number that is not finite")


def _reading(reading: dict[str, Any]) -> dict[str, str | None]:
    """Return how rows are read, as a file says it; raises ModelFileError."""
    given = {name: value for name, value in reading.items() if value is not None}
    names = [*READING, *(name for name in FOUND if name in reading)]
    if [*reading] != names or not all(type(value) is str for value in given.values()):
        raise ModelFileError("codec reading", got=reading, expected=", ".join(READING))
    SeriesOptions(**{name: value for name, value in given.items() if name in READING})
    if (zone := reading.get("timezone") or reading.get("zone")) is not None:
        known_zone(zone)
    return reading


def _history(
    config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], ids: tuple[str, ...]
) -> SeriesSet:
    names = {role: tuple(map(str, config["names"][role])) for role in _ROLES}
    categories = {str(name): tuple(map(str, kinds)) for name, kinds in config["categories"].items()}
    frequency = Frequency.parse(config["frequency"])
    starts = arrays["codec.starts"]
    if starts.dtype != np.int64 or starts.shape != (len(ids),) or not 0 < len(set(ids)) == len(ids):
        raise ModelFileError("codec starts", expected="one a series")
    if ((starts > LATEST) | (starts < -LATEST)).any() or config["dated"] != (
        frequency.unit != "steps"
    ):
        raise ModelFileError("codec starts", expected="stamps of its frequency")
    if config["dated"]:
        starts = starts.astype("datetime64[us]")
    lengths = {name: arrays[f"codec.{name}.lengths"] for name in _RAGGED}
    ragged: dict[str, tuple[np.ndarray, ...]] = {}
    for name, counts in lengths.items():
        total = len(arrays[f"codec.{name}"])
        if counts.dtype != np.int64 or counts.shape != starts.shape:
            raise ModelFileError(f"codec {name}.lengths", expected="one a series")
        # before they are added, which could leave the range
        if (counts < 0).any() or (counts > total).any() or counts.sum() != total:
            raise ModelFileError(f"codec {name}.lengths", expected=f"{total} in all")
        columns = () if name == "values" else (len(names[name]),)
        _check_numbers(arrays, name, (total, *columns), missing=True)
        ragged[name] = tuple(np.split(arrays[f"codec.{name}"], np.cumsum(counts)[:-1]))
    if (lengths["past"] != lengths["values"]).any() or (
        lengths["future"] < lengths["values"]
    ).any():
        raise ModelFileError("codec past and future", expected="rows for every value")
    _check_numbers(arrays, "static", (len(ids), len(names["static"])), missing=True)
    return SeriesSet(
        ids=ids,
        starts=starts,
        times=stamps_from(starts, ragged["values"], frequency),
        **ragged,
        static=arrays["codec.static"],
        names=names,
        frequency=frequency,
        categories=categories,
        warnings=(),
        reading=_reading(dict(config["reading"])),
    )
