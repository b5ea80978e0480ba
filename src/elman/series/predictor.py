"""A forecaster that answers: the next values of every series, moved on by new ones, and how good it is."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from numbers import Real
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.cells import find
from elman.engine.layers import Layer, bounded, member_arrays
from elman.engine.pauses import one_thread
from elman.engine.shapes import whole_number
from elman.errors import DataError, OptionError, warn
from elman.files.model import Model
from elman.inspect.predictor import Predictor
from elman.metrics.forecast import mean_of_quantiles
from elman.series.calendar import advance
from elman.series.codec import ForecastCodec, closed
from elman.series.config import ForecastConfig
from elman.series.forecast import POINTS, Forecast
from elman.series.grid import stamp_name
from elman.series.report import ForecastReport, Window, forecast_report
from elman.series.series import READING, SeriesOptions, SeriesSet, load_series
from elman.tables.columns import quoted, several

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation

__all__ = ["ForecastPredictor", "SeriesStream"]


class ForecastPredictor(Predictor):
    """A trained forecaster with the end of its series, ready to answer; what `elman.load` returns.

    `save` writes the series too, as far as they were read.
    Only `update` changes it. Programs that share a predictor between threads use `updated`, which leaves it
    as it is and returns another one.
    """

    def __init__(self, model: Model, storage: str = "float32") -> None:
        if storage != "float32":
            raise OptionError("storage", got=storage, expected="float32 for forecast")
        self.model = model
        config: ForecastConfig = model.config
        self.codec: ForecastCodec = model.codec
        self._members = [_Member(config, model.arrays, m) for m in range(config.members)]

    @property
    def history(self) -> SeriesSet:
        """The end of every series, after which is forecast."""
        return self.codec.history

    @property
    def horizon(self) -> int:
        """Steps that it forecasts at most."""
        return self.codec.rule.horizon

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
            "static": () if future_only else history.static_columns,
            "frequency": str(history.frequency),
        }
        kept = {name: history.reading.get(name) for name in READING} | {"timezone": history.zone}
        own |= {name: value for name, value in kept.items() if value is not None}
        own |= {name: value for name, value in options.items() if value is not None}
        found = load_series(
            source, SeriesOptions(**own), categories=history.categories, future_only=future_only
        )
        if not future_only:
            return found
        static = np.zeros((len(found), len(history.names["static"])))
        names = {**found.names, "static": history.names["static"]}
        return replace(found, static=static, names=names, categories=history.categories)

    def explainer(self) -> Callable[..., Explanation]:
        """Return `explain_forecast`."""
        from elman.series.explain import explain_forecast

        return explain_forecast

    def update(self, source: Any, **options: Any) -> ForecastPredictor:
        """Read new rows, so that forecasts begin after them, and return self; the weights stay.

        New ids become new series. Rows that are known already change nothing where their values are equal.

        Args:
            source: the rows, read as those of training: a path, a data frame, arrays.
            options: policies of `SeriesOptions` that differ from training, and ``overlap`` for known rows
                with other values: "error", "replace" (by the new ones) or "keep" (the known ones).

        Raises:
            DataError: the rows cannot be read, or do not fit the series.
            OptionError: there is no such option or policy.

        Warns:
            DataWarning: steps are missing before the rows, or a series was not known before.
        """
        other = self._updated(source, options)
        self.model, self.codec = other.model, other.codec
        return self

    def updated(self, source: Any, **options: Any) -> ForecastPredictor:
        """Return another forecaster that has read new rows as `update` does; this one stays as it is."""
        return self._updated(source, options)

    def _updated(self, source: Any, options: dict[str, Any]) -> ForecastPredictor:
        _, history = self._continued(source, options)
        codec = self.codec.after(history)
        other = ForecastPredictor.__new__(ForecastPredictor)
        other.model = replace(self.model, codec=codec)
        other.codec, other._members = codec, self._members
        return other

    def _continued(self, source: Any, options: dict[str, Any]) -> tuple[SeriesSet, SeriesSet]:
        """Return new rows, and the series it knows continued by them."""
        overlap = options.pop("overlap", "error")
        gaps = options.get("gaps") or self.history.reading.get("gaps") or "mask"
        rows = self.read(source, **options)
        history = self.history.append(rows, gaps=gaps, overlap=overlap)
        known = {*self.history.warnings, *rows.warnings}
        warn((note for note in history.warnings if note not in known), depth=5)
        return rows, history

    def stream(self, series: str | None = None) -> SeriesStream:
        """Return a stream over one series (the only one, where none is named); raises DataError."""
        if series is None and len(self.history) != 1:
            raise DataError("which series?", got=f"{len(self.history)} of them", remedy="name one")
        return SeriesStream(self, self.history.ids[0] if series is None else series)

    def predict(
        self,
        horizon: int | None = None,
        *,
        series: Any = None,
        future: Any = None,
        point: str = "median",
    ) -> Forecast:
        """Return the next `horizon` steps (those of training) after the end of every series.

        `point` is what the column y_hat shall be: the median, or the mean, which adds up over days and
        series (of counts that are mostly 0 the median is 0). Steps on which a series never has a value,
        such as closed days, are NaN and have no row in the table.

        `series` are others to forecast in place of those it knows, read as in training; `future` has the
        known-future columns of the steps to come, of which a target is not read. Raises DataError,
        OptionError.
        """
        history = self.history if series is None else self.read(series)
        if future is not None:
            steps = self.horizon if horizon is None else whole_number("horizon", horizon, 1)
            history = self._with_future(history, future, steps)
        return self.forecast(history, horizon, point=point)

    def _with_future(self, history: SeriesSet, future: Any, horizon: int) -> SeriesSet:
        """Return `history` with the known-future rows of the next steps; raises DataError where none fits."""
        if not history.names["future"]:
            expected = "no such rows: the model was trained without columns for them"
            raise DataError("future", expected=expected)
        rows = self.read(future, future_only=True)
        strange = [key for key in rows.ids if key not in history.ids]
        rows = rows.select([key for key in rows.ids if key in history.ids])
        if not len(rows):
            got, expected = several(strange), several(history.ids)
            raise DataError("future has rows of no series to forecast", got=got, expected=expected)
        rows = rows.before(max(map(len, rows.values)))
        ends = [len(values) for values in history.values]
        cut = tuple(known[:end] for known, end in zip(history.future, ends, strict=True))
        if not any(_steps_ahead(replace(history, future=cut).append(rows), horizon)):
            ahead = ends[0] + np.array([0, horizon - 1])
            first, last = map(stamp_name, advance(history.starts[0], history.frequency, ahead))
            got, expected = f"rows from {stamp_name(rows.starts[0])} on", f"{first} to {last}"
            raise DataError("no row of future is of a step to forecast", got=got, expected=expected)
        given = history.append(rows)
        counts = _steps_ahead(given, horizon)
        few = [key for key, count in zip(given.ids, counts, strict=True) if count < horizon]
        notes = []
        if strange:
            notes.append(f"future has rows of series that are not forecast: {several(strange)}")
        if few:
            steps = f"{min(counts)} of {horizon} steps of series {several(few)}"
            notes.append(f"future has rows for {steps}; what is not given counts as missing")
        warn(notes, depth=4)
        return given

    def forecast(
        self,
        history: SeriesSet,
        horizon: int | None = None,
        *,
        point: str = "median",
        every_step: bool = False,
    ) -> Forecast:
        """Return `horizon` steps (those of training) after the end of each series of `history`.

        With `every_step` also those on which a series never has a value. Raises DataError, OptionError.
        """
        if point not in POINTS:
            raise OptionError("point", got=point, expected=" or ".join(POINTS))
        horizon = self.horizon if horizon is None else whole_number("horizon", horizon, 1)
        if horizon > self.horizon:
            expected = f"at most {self.horizon}, the steps it was trained for"
            raise OptionError("horizon", got=horizon, expected=expected, remedy="or train for more")
        ends = np.array([len(values) for values in history.values])
        for name, values in zip(history.ids, history.values, strict=True):
            if not self._known(values):
                what = "value above 0" if self.codec.rule.log else "value"
                raise DataError(f"series {quoted(name)} has no {what} to forecast from")
        quantiles, mean = self._quantiles(history, np.arange(len(history)), ends)
        quantiles, mean = quantiles[:, :horizon], mean[:, :horizon]
        if not every_step:
            for place, values in enumerate(history.values):
                never = closed(values, history.frequency, horizon)
                quantiles[place, never] = mean[place, never] = np.nan
        times = tuple(
            advance(start, history.frequency, np.arange(end, end + horizon))
            for start, end in zip(history.starts, ends.tolist(), strict=True)
        )
        times = tuple(map(history.clocks, times))
        history = replace(history, times=tuple(map(history.clocks, history.times)))
        names = tuple(
            next(iter(history.names[role]), default)
            for role, default in (("id", "unique_id"), ("time", "ds"))
        )
        return Forecast(
            history.ids,
            times,
            self.codec.levels,
            quantiles,
            mean,
            history,
            (names[0], names[1]),
            self._intervals(),
            point,
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

    def _quantiles(
        self, series: SeriesSet, which: np.ndarray, origins: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return the calibrated quantiles ``[N, h, Q]`` after each of the origins, and means, finite."""
        rule, codec = self.codec.rule, self.codec
        windows, found, means = codec.windows(series), [], []
        for first in range(0, len(which), rule.at_once):
            some = slice(first, first + rule.at_once)
            prepared, _ = windows.prepare(which[some], origins[some])
            with np.errstate(over="ignore", invalid="ignore"):
                answers = [member.answer(prepared.inputs, rule.ahead) for member in self._members]
            mean = np.stack(answers).mean(axis=0, dtype=np.float64)
            scaled = np.sort(mean[:, : rule.horizon], axis=2)
            # what widens intervals on both sides would move the mean where values end at 0
            expected = mean_of_quantiles(rule.forecast(prepared, scaled), codec.levels)
            means.append(np.minimum(expected * codec.mean_factor, np.finfo(np.float64).max))
            scaled = np.sort(scaled + codec.corrections, axis=2)
            found.append(rule.forecast(prepared, scaled))
        return np.concatenate(found), np.concatenate(means)

    def evaluate(
        self,
        source: Any = None,
        *,
        windows: int | None = None,
        step: int | None = None,
        **options: Any,
    ) -> ForecastReport:
        """Return how good the forecasts of new rows are, beside naive, seasonal naive and drift.

        The rows of `source` go on where the series it knows end; each origin reads all that came before it,
        as after an `update`. Origins are `step` (the horizon) apart, at most `windows` of a series, the
        last ones. Raises DataError, OptionError.
        """
        before = {
            name: len(values)
            for name, values in zip(self.history.ids, self.history.values, strict=True)
        }
        rows, whole = self._continued(source, options)
        if windows is not None:
            windows = whole_number("windows", windows, 1)
        step = self.horizon if step is None else whole_number("step", step, 1)
        found = self.windows(whole.select(rows.ids), before, windows, step)
        if not any(np.isfinite(window.truth).any() for window in found):
            what = "there is no true value to measure a forecast by"
            got = "no row with a value after those that the model knows"
            raise DataError(what, got=got, expected="later rows")
        return self.report(found)

    def backtest(self, source: Any, **options: Any) -> Forecast:
        """Return the forecast of the last horizon of new rows, with what came as its `truth`.

        `source` and `options` are as for `evaluate`. Raises DataError, OptionError.
        """
        rows, whole = self._continued(source, options)
        whole = whole.select(rows.ids)
        truth = [values[-self.horizon :] for values in whole.values]
        padded = [
            np.pad(one, (0, self.horizon - len(one)), constant_values=np.nan) for one in truth
        ]
        return replace(self.forecast(whole.before(self.horizon)), truth=np.stack(padded))

    def report(self, windows: Sequence[Window]) -> ForecastReport:
        """Return how good the forecasts of `windows` are; raises DataError where none has a truth."""
        return forecast_report(windows, self.codec.levels)

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
        quantiles, _ = self._quantiles(series, who, at)
        seasons, starts = self.codec.seasons, self.codec.clock(series).tolist()
        return [
            Window.of(
                series.ids[place], series.values[place], origin, forecast.T, seasons, starts[place]
            )
            for place, origin, forecast in zip(who.tolist(), at.tolist(), quantiles, strict=True)
        ]


def _steps_ahead(series: SeriesSet, horizon: int) -> list[int]:
    """Return how many of the next steps of each series have known-future values."""
    pairs = zip(series.values, series.future, strict=True)
    ahead = [known[len(values) :][:horizon] for values, known in pairs]
    return [int(np.isfinite(known).any(axis=1).sum()) for known in ahead]


class SeriesStream:
    """One series that is read value by value, and forecast after any of them."""

    def __init__(self, predictor: ForecastPredictor, series: str) -> None:
        self._predictor = predictor
        self._history = predictor.history.select([series])

    def __repr__(self) -> str:
        history = self._history
        return f"SeriesStream({history.ids[0]!r}, {len(history.values[0]):,} values read)"

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
            history, values=(values,), times=(np.append(history.times[0], stamp),), past=(past,)
        )
        self._history = self._predictor.codec.trimmed(moved)
        return self

    def predict(self, horizon: int | None = None) -> Forecast:
        """Return the next steps, as `ForecastPredictor.predict`."""
        return self._predictor.forecast(self._history, horizon)


class _Member:
    def __init__(self, config: ForecastConfig, arrays: Mapping[str, np.ndarray], m: int) -> None:
        own = member_arrays(arrays, m)
        self.arrays, self.config = own, config
        cell = find(config.cell, config.activation)
        self.layers = [Layer(cell, own, f"layers.{k}") for k in range(config.num_layers)]

    @one_thread()
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
