"""A forecaster that answers: the next values of every series, moved on by new ones, and how good it is."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from numbers import Real
from os import PathLike
from typing import Any

import numpy as np

from elman._errors import DataError, OptionError
from elman._shapes import whole_number
from elman.config import ForecastConfig
from elman.data.calendar import advance
from elman.data.dates import to_local
from elman.data.forecast import ForecastCodec
from elman.data.layout import quoted
from elman.data.series import SeriesOptions, SeriesSet, load_series
from elman.metrics import ForecastReport, Window, forecast_report
from elman.model import Model
from elman.runtime.forecast import Forecast
from elman.runtime.inspectable import Inspectable
from elman.runtime.packed import PackedLayer, member
from elman.runtime.sequence import bounded

__all__ = ["ForecastPredictor", "SeriesStream"]

DAY = 86_400_000_000
"""Microseconds."""


class ForecastPredictor(Inspectable):
    """A trained forecaster with the end of its series, ready to answer; what `elman.load` returns.

    `update` gives another one that has read on; nothing here changes after it is made.
    """

    def __init__(self, model: Model, storage: str = "float32") -> None:
        if storage != "float32":
            raise OptionError("storage", got=storage, expected="float32 for forecast")
        self.model = model
        config: ForecastConfig = model.config
        self.codec: ForecastCodec = model.codec
        self._members = [_Member(config, model.arrays, m) for m in range(config.members)]

    @property
    def card(self) -> Mapping[str, Any]:
        """How the model was trained, on what, and how good it is."""
        return self.model.card

    @property
    def history(self) -> SeriesSet:
        """The end of every series, after which is forecast."""
        return self.codec.history

    @property
    def horizon(self) -> int:
        """Steps that it forecasts at most."""
        return self.codec.rule.horizon

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model, with the series as far as they were read; raises OutputError."""
        self.model.save(path)

    def read(self, source: Any, *, future_only: bool = False, **options: Any) -> SeriesSet:
        """Return the series in `source`, its columns, step, clocks and policies as those of training.

        `options` are those of `SeriesOptions` that are to be others. Raises DataError, OptionError.
        """
        history = self.history
        if isinstance(source, SeriesSet):
            # raises where its columns or its step are others
            return history.select([]).append(source)
        named = {role: history.names[role] for role in ("id", "time", "target", "past", "future")}
        own: dict[str, Any] = {
            "id_column": next(iter(named["id"]), None),
            "time_column": next(iter(named["time"]), None),
            "target": named["target"]
            if len(named["target"]) > 1
            else next(iter(named["target"]), None),
            "past": named["past"],
            "future": named["future"],
            # of series that are known, it is known
            "static": () if future_only else self._static_columns(),
            "frequency": str(history.frequency) if named["time"] else None,
        }
        own |= {name: value for name, value in self.codec.reading.items() if value is not None}
        found = load_series(
            source,
            SeriesOptions(**own | options),
            categories=history.categories,
            future_only=future_only,
        )
        if not future_only:
            return found
        static = np.zeros((len(found), len(history.names["static"])))
        names = {**found.names, "static": history.names["static"]}
        return replace(found, static=static, names=names, categories=history.categories)

    def _static_columns(self) -> tuple[str, ...]:
        categories = self.history.categories
        encoded = {f"{name}={kind}" for name, kinds in categories.items() for kind in kinds}
        return (*(n for n in self.history.names["static"] if n not in encoded), *categories)

    def update(self, source: Any, **options: Any) -> ForecastPredictor:
        """Return the forecaster after new rows: its series have moved on, its weights stay.

        New ids are new series. `options` are policies of `SeriesOptions`, and ``overlap="replace"`` for
        rows that correct earlier ones. Raises DataError, OptionError.
        """
        overlap = options.pop("overlap", "error")
        gaps = options.get("gaps") or self.codec.reading.get("gaps") or "mask"
        rows = self.read(source, **options)
        return self._on(self.codec.append(rows, gaps=gaps, overlap=overlap))

    def _on(self, codec: ForecastCodec) -> ForecastPredictor:
        other = ForecastPredictor.__new__(ForecastPredictor)
        other.model = replace(self.model, codec=codec)
        other.codec, other._members = codec, self._members
        return other

    def stream(self, series: str | None = None) -> SeriesStream:
        """Return a stream over one series (the only one, where none is named); raises DataError."""
        if series is None and len(self.history) != 1:
            raise DataError("which series?", got=f"{len(self.history)} of them", remedy="name one")
        return SeriesStream(self, self.history.ids[0] if series is None else series)

    def predict(
        self, horizon: int | None = None, *, series: Any = None, future: Any = None
    ) -> Forecast:
        """Return the next `horizon` steps (those of training) after the end of every series.

        `series` are others to forecast in place of those it knows, read as in training; `future` has the
        known-future columns of the steps to come, of which a target is not read. Raises DataError,
        OptionError.
        """
        history = self.history if series is None else self.read(series)
        if future is not None:
            if not history.names["future"]:
                raise DataError(
                    "future",
                    expected="no such rows: the model was trained without columns for them",
                )
            known = self.read(future, future_only=True)
            history = history.append(known.before(max(map(len, known.values))))
        return self.forecast(history, horizon)

    def forecast(self, history: SeriesSet, horizon: int | None = None) -> Forecast:
        """Return `horizon` steps (those of training) after the end of each series of `history`.

        Raises DataError, OptionError.
        """
        horizon = self.horizon if horizon is None else whole_number("horizon", horizon, 1)
        if horizon > self.horizon:
            expected = f"at most {self.horizon}, the steps it was trained for"
            raise OptionError("horizon", got=horizon, expected=expected, remedy="or train for more")
        ends = np.array([len(values) for values in history.values])
        for name, values in zip(history.ids, history.values, strict=True):
            if not self._known(values):
                what = "value above 0" if self.codec.rule.log else "value"
                raise DataError(f"series {quoted(name)} has no {what} to forecast from")
        quantiles = self._quantiles(history, np.arange(len(history)), ends)
        times = tuple(
            advance(start, history.frequency, np.arange(end, end + horizon))
            for start, end in zip(history.starts, ends.tolist(), strict=True)
        )
        zone = self.codec.reading.get("timezone")
        if zone is not None and 0 < history.frequency.step < DAY:
            # kept in UTC, told as the clocks there show it
            times = tuple(to_local(one, zone) for one in times)
            local = tuple(to_local(one, zone) for one in history.times)
            history = replace(history, times=local)
        names = tuple(
            next(iter(history.names[role]), default)
            for role, default in (("id", "unique_id"), ("time", "ds"))
        )
        return Forecast(
            history.ids,
            times,
            self.codec.levels,
            quantiles[:, :horizon],
            history,
            (names[0], names[1]),
            self._intervals(),
        )

    def _intervals(self) -> tuple[float, ...]:
        """Return the intervals that the card says were asked for, in percent, those that there are."""
        known = [round(100 * (1 - 2 * level), 6) for level in self.codec.levels if level < 0.5]
        settings = self.card.get("settings")
        asked = settings.get("intervals") if isinstance(settings, Mapping) else None
        kept = [share for share in known if isinstance(asked, list) and share in asked]
        return tuple(sorted(kept or known))

    def _known(self, values: np.ndarray) -> bool:
        """Return whether there is a value that a forecast can start from."""
        return bool(np.isfinite(self.codec.rule.transform(values)).any())

    def _quantiles(self, series: SeriesSet, which: np.ndarray, origins: np.ndarray) -> np.ndarray:
        """Return the calibrated quantiles ``[N, h, Q]`` after each of the origins, finite."""
        rule, codec = self.codec.rule, self.codec
        windows, found = codec.windows(series), []
        for first in range(0, len(which), rule.at_once):
            some = slice(first, first + rule.at_once)
            prepared, _ = windows.prepare(which[some], origins[some])
            with np.errstate(over="ignore", invalid="ignore"):
                answers = [member.answer(prepared.inputs, rule.ahead) for member in self._members]
            mean = np.stack(answers).mean(axis=0, dtype=np.float64)
            scaled = np.sort(mean[:, : rule.horizon], axis=2)
            scaled = np.sort(scaled + codec.corrections, axis=2)
            found.append(rule.forecast(prepared, scaled))
        return np.concatenate(found)

    def evaluate(
        self,
        source: Any = None,
        *,
        windows: int | None = None,
        step: int | None = None,
        naive2_too: bool = False,
        **options: Any,
    ) -> ForecastReport:
        """Return how good the forecasts of new rows are, beside naive, seasonal naive and drift.

        The rows of `source` go on where the series it knows end; each origin reads all that came before it,
        as after an `update`. Origins are `step` (the horizon) apart, at most `windows` of a series, the
        last ones. Raises DataError, OptionError.
        """
        rows = self.read(source, **options)
        before = {
            name: len(values)
            for name, values in zip(self.history.ids, self.history.values, strict=True)
        }
        whole = self.history.append(rows)
        if windows is not None:
            windows = whole_number("windows", windows, 1)
        step = self.horizon if step is None else whole_number("step", step, 1)
        found = self.windows(whole.select(rows.ids), before, windows, step)
        return self.report(found, naive2_too=naive2_too)

    def report(self, windows: Sequence[Window], *, naive2_too: bool = False) -> ForecastReport:
        """Return how good the forecasts of `windows` are; raises DataError where none has a truth."""
        return forecast_report(windows, self.codec.levels, naive2_too=naive2_too)

    def windows(
        self, series: SeriesSet, before: Mapping[str, int], count: int | None, step: int
    ) -> list[Window]:
        """Return the forecasts of `series` and what came, from origins at or after their first values.

        `before` tells how many those are by id; origins are `step` apart, the last `count` of a series.
        """
        which, origins = [], []
        for place, values in enumerate(series.values):
            first = max(1, before.get(series.ids[place], 1))
            last = max(first, len(values) - self.horizon)
            some = np.arange(last, first - 1, -step)[:count][::-1]
            some = some[[self._known(values[:at]) for at in some]]
            which.append(np.full(len(some), place))
            origins.append(some)
        who, at = np.concatenate(which), np.concatenate(origins)
        quantiles = self._quantiles(series, who, at)
        found = []
        for place, origin, forecast in zip(who.tolist(), at.tolist(), quantiles, strict=True):
            name, values = series.ids[place], series.values[place]
            found.append(Window.of(name, values, origin, forecast.T, self.codec.rule.compared))
        return found


class SeriesStream:
    """One series that is read value by value, and forecast after any of them."""

    def __init__(self, predictor: ForecastPredictor, series: str) -> None:
        self._predictor = predictor
        self._history = predictor.history.select([series])

    def feed(self, value: float) -> SeriesStream:
        """Read the next value, NaN where it is missing; return self. Raises DataError for an infinite one."""
        if not isinstance(value, Real) or math.isinf(value):
            raise DataError(
                "value", got=value, expected="a finite number, or NaN where it is missing"
            )
        history = self._history
        values = np.append(history.values[0], float(value))
        stamp = advance(history.starts[0], history.frequency, np.array([len(values) - 1]))
        past = np.concatenate([history.past[0], np.full((1, history.past[0].shape[1]), np.nan)])
        moved = replace(
            history,
            values=(values,),
            times=(np.append(history.times[0], stamp),),
            past=(past,),
        )
        self._history = self._predictor.codec.trimmed(moved)
        return self

    def predict(self, horizon: int | None = None) -> Forecast:
        """Return the next steps, as `ForecastPredictor.predict`."""
        return self._predictor.forecast(self._history, horizon)


class _Member:
    def __init__(self, config: ForecastConfig, arrays: Mapping[str, np.ndarray], m: int) -> None:
        own = member(arrays, m)
        self.arrays, self.config = own, config
        self.layers = [
            PackedLayer(config.cell, config.activation, own, f"layers.{k}")
            for k in range(config.num_layers)
        ]

    def answer(self, inputs: np.ndarray, ahead: int) -> np.ndarray:
        """Return ``[B, h, Q]`` in units of the window for ``inputs [S, B, F]``."""
        own, (S, B, F) = self.arrays, inputs.shape
        rows = inputs.reshape(S * B, F)
        read = np.maximum(rows @ own["input.weight"].T + own["input.bias"], 0)
        y, sizes = read, np.full(S, B)
        for layer in self.layers:
            y, _ = layer.run(y, sizes)
        last = slice((S - ahead) * B, None)
        mixed = np.concatenate([y[last], read[last]], axis=1) @ own["middle.weight"].T
        mixed = np.maximum(mixed + own["middle.bias"], 0)
        found: np.ndarray = mixed @ own["output.weight"].T + own["output.bias"]
        found = found.reshape(ahead, B, self.config.segment, -1)
        found = found + (rows[last] @ own["skip.weight"].T).reshape(ahead, B, -1, 1)
        whole = found.transpose(1, 0, 2, 3).reshape(B, -1, found.shape[3])
        return bounded(whole)
