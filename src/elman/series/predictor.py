"""Forecaster without torch: forecasts of all known series, updates by new rows, and evaluation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Unpack

import numpy as np

from elman.engine.pauses import one_thread
from elman.engine.shapes import whole_number
from elman.errors import DataError, OptionError, warn
from elman.files.model import Model
from elman.inspect.predictor import InitialWeights, Predictor
from elman.metrics.forecast_errors import mean_of_quantiles
from elman.series.append import append_series, read_like, with_future_rows
from elman.series.calendar import advance
from elman.series.codec import ForecastCodec, closed_steps
from elman.series.config import ForecastConfig
from elman.series.forecast import POINTS, Forecast
from elman.series.network import ForecastNetwork
from elman.series.read_options import ReadOptions, SeriesSource
from elman.series.report import ForecastReport, Window, forecast_report, report_windows
from elman.series.series import SeriesSet
from elman.tables.columns import quoted

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.inspect.memory import Cuts
    from elman.inspect.states import RecordedStates
    from elman.inspect.trace import Trace
    from elman.series.stream import SeriesStream


class ForecastPredictor(Predictor):
    """A trained forecaster with the end of its series; what `elman.load` returns.

    Only `update` changes it. Programs that share a predictor between threads use `updated`, which returns
    another one. `save` also writes the series, with all rows that were read.
    """

    model: Model[ForecastConfig, ForecastCodec]
    # the network answers with the naive forecast until it has learned a correction
    initial_weights = InitialWeights(zero=("output.", "skip."), open_forget_gates=False)
    holds_input = True

    def __init__(
        self, model: Model[ForecastConfig, ForecastCodec], storage: str | None = None
    ) -> None:
        super().__init__(model, storage)
        model = self.model
        config, self.codec = model.config, model.codec
        self._members = [ForecastNetwork(config, model.arrays, m) for m in range(config.members)]

    @property
    def history(self) -> SeriesSet:
        """The end of every known series; forecasts begin after it."""
        return self.codec.history

    @property
    def horizon(self) -> int:
        """The longest horizon of a forecast, in steps."""
        return self.codec.rule.horizon

    def read(
        self,
        source: SeriesSource | None,
        *,
        future_only: bool = False,
        **options: Unpack[ReadOptions],
    ) -> SeriesSet:
        """Read series with the columns, frequency, clocks and policies of training.

        Args:
            source: A path, a data frame or arrays; a `SeriesSet` is only checked.
            future_only: Whether the rows hold only known-future covariates.
            options: Fields of `SeriesOptions` that differ from training.

        Raises:
            DataError: the rows cannot be read, or have other columns or another frequency.
            OptionError: there is no such option or policy.
        """
        return read_like(self.history, source, options, future_only=future_only)

    def explainer(self) -> Callable[..., Explanation]:
        """Return `explain_forecast`."""
        from elman.series.explain import explain_forecast

        return explain_forecast

    def record_trace(self, sequence: SeriesSource | None, k: int) -> Trace:  # noqa: ARG002 - no step has predictions
        """Return the trace of the last window of one series; raises InputError, DataError."""
        from elman.series.states import record_trace

        return record_trace(self, sequence)

    def record_states(self, source: SeriesSource | None, steps: int) -> RecordedStates:
        """Return the states after the last segments of series, by default its own; raises DataError."""
        from elman.series.states import record_states

        series = self.history if source is None else self.read(source)
        return record_states(self._members[0], self.codec, series, steps)

    def memory_cuts(self, source: SeriesSource | None, far: int) -> Cuts:  # noqa: ARG002 - windows have one length
        """Return windows of series, by default of its own ones; raises DataError."""
        from elman.series.memory import memory_cuts

        return memory_cuts(self, source)

    def update(
        self, source: SeriesSource, *, overlap: str = "error", **options: Unpack[ReadOptions]
    ) -> ForecastPredictor:
        """Read new rows, so that forecasts begin after them, and return self; the weights do not change.

        New ids become new series. Rows that are known already change nothing if their values are equal.

        Args:
            source: The rows, read as those of training: a path, a data frame, arrays.
            overlap: What to do with known rows that have other values: "error", "replace" (the new values
                win) or "keep" (the known ones win).
            options: Fields of `SeriesOptions` that differ from training.

        Raises:
            DataError: the rows cannot be read, or do not fit the known series.
            OptionError: there is no such option or policy.

        Warns:
            DataWarning: steps are missing before the rows, or a series was not known before.
        """
        other = self._updated(source, overlap, options)
        self.model, self.codec = other.model, other.codec
        return self

    def updated(
        self, source: SeriesSource, *, overlap: str = "error", **options: Unpack[ReadOptions]
    ) -> ForecastPredictor:
        """Return another forecaster that has read new rows as `update` does; this one does not change."""
        return self._updated(source, overlap, options)

    def _updated(
        self, source: SeriesSource | None, overlap: str, options: ReadOptions
    ) -> ForecastPredictor:
        _, history = self._continued(source, overlap, options)
        codec = self.codec.after(history)
        # Share the networks, which do not change, instead of building them again.
        other = ForecastPredictor.__new__(ForecastPredictor)
        other.model = replace(self.model, codec=codec)
        other.codec, other._members = codec, self._members
        return other

    def continued(
        self, source: SeriesSource, *, overlap: str = "error", **options: Unpack[ReadOptions]
    ) -> SeriesSet:
        """Return the known series continued by new rows, read as by `update`; nothing changes."""
        return self._continued(source, overlap, options)[1]

    def _continued(
        self, source: SeriesSource | None, overlap: str, options: ReadOptions
    ) -> tuple[SeriesSet, SeriesSet]:
        """Return the new rows, and all series continued by them; warn about new kinds of changes."""
        gaps = options.get("gaps") or self.history.reading.get("gaps") or "mask"
        rows = self.read(source, **options)
        history = append_series(self.history, rows, gaps=gaps, overlap=overlap)
        # Warn of what joining the rows changed; notes about reading them are in `rows.warnings`.
        known = {*self.history.warnings, *rows.warnings}
        warn((note for note in history.warnings if note not in known), depth=5)
        return rows, history

    def stream(self, series: str | None = None) -> SeriesStream:
        """Return a stream over one series (default: the only one); raises DataError."""
        if series is None and len(self.history) != 1:
            raise DataError("which series?", got=f"{len(self.history)} of them", remedy="name one")
        from elman.series.stream import SeriesStream

        return SeriesStream(self, self.history.ids[0] if series is None else series)

    def predict(
        self,
        horizon: int | None = None,
        *,
        series: SeriesSource | None = None,
        future: SeriesSource | None = None,
        point: str = "median",
    ) -> Forecast:
        """Forecast the next steps of every series.

        Steps on which a series never has a value, such as closed days, are NaN and have no row in the table.

        Args:
            horizon: The number of steps (default: that of training, which is also the most).
            series: Other series to forecast instead of the known ones, read as those of training.
            future: A table with the known-future covariates of the next steps; its target is ignored.
            point: The content of the column y_hat, "median" or "mean". Means add up over time and series;
                for counts that are mostly 0 the median is 0.

        Raises:
            DataError: a series or its known-future rows cannot be read, or there is nothing to start from.
            OptionError: the horizon is too long, or there is no such point.

        Warns:
            DataWarning: `future` lacks steps, or has series that are not forecast.
        """
        history = self.history if series is None else self.read(series)
        if future is not None:
            steps = self._checked_horizon(horizon)
            if not history.names["future"]:
                expected = "no such rows: the model was trained without columns for them"
                raise DataError("future", expected=expected)
            rows = self.read(future, future_only=True)
            history, notes = with_future_rows(history, rows, steps)
            warn(notes)
        return self.forecast(history, horizon, point=point)

    def forecast(
        self,
        history: SeriesSet,
        horizon: int | None = None,
        *,
        point: str = "median",
        every_step: bool = False,
    ) -> Forecast:
        """Forecast `horizon` steps (default: those of training) after the end of each series of `history`.

        `every_step` includes the steps on which a series never has a value. Raises DataError, OptionError.
        """
        if point not in POINTS:
            raise OptionError("point", got=point, expected=" or ".join(POINTS))
        horizon = self._checked_horizon(horizon)
        ends = np.array([len(values) for values in history.values])
        for name, values in zip(history.ids, history.values, strict=True):
            if not self._has_start(values):
                what = "value above 0" if self.codec.rule.log else "value"
                raise DataError(f"series {quoted(name)} has no {what} to forecast from")
        quantiles, mean = self._quantiles(history, np.arange(len(history)), ends)
        quantiles, mean = quantiles[:, :horizon], mean[:, :horizon]
        if not every_step:
            for number, values in enumerate(history.values):
                closed = closed_steps(values, history.frequency, horizon)
                quantiles[number, closed] = mean[number, closed] = np.nan
        times = tuple(
            history.clocks(advance(start, history.frequency, np.arange(end, end + horizon)))
            for start, end in zip(history.starts, ends.tolist(), strict=True)
        )
        names = history.names
        return Forecast(
            ids=history.ids,
            times=times,
            levels=self.codec.levels,
            quantiles=quantiles,
            mean=mean,
            history=history,
            names=(next(iter(names["id"]), "unique_id"), next(iter(names["time"]), "ds")),
            intervals=self._intervals(),
            point=point,
        )

    def _checked_horizon(self, horizon: int | None) -> int:
        """Return the number of steps to forecast (default: those of training); raises OptionError."""
        horizon = self.horizon if horizon is None else whole_number("horizon", horizon, 1)
        if horizon > self.horizon:
            expected = f"at most {self.horizon}, the steps it was trained for"
            raise OptionError("horizon", got=horizon, expected=expected, remedy="or train for more")
        return horizon

    def _intervals(self) -> tuple[float, ...]:
        """Return the available intervals that training asked for, in percent; all of them by default."""
        # The file may hold intervals of any kind in its card, so keep only those with quantiles.
        known = [round(100 * (1 - 2 * level), 6) for level in self.codec.levels if level < 0.5]
        settings = self.card.get("settings")
        asked = settings.get("intervals") if isinstance(settings, Mapping) else None
        kept = [percent for percent in known if isinstance(asked, list) and percent in asked]
        return tuple(sorted(kept or known))

    def _has_start(self, values: np.ndarray) -> bool:
        """Return whether there is a value that a forecast can start from."""
        return bool(np.isfinite(self.codec.rule.transform(values)).any())

    def _quantiles(
        self, series: SeriesSet, which: np.ndarray, origins: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return calibrated quantiles ``[N, h, Q]`` after each origin ``[N]``, and means, all finite."""
        rule, codec = self.codec.rule, self.codec
        windows = codec.windows(series)
        quantiles: list[np.ndarray] = []
        means: list[np.ndarray] = []
        for first in range(0, len(which), rule.batch_size):
            batch = slice(first, first + rule.batch_size)
            prepared, _ = windows.prepare(which[batch], origins[batch])
            # Members are averaged in units of the window, before calibration, as in validation.
            # One limit for all members, because setting it takes longer than a small network.
            with one_thread():
                answers = [member.answer(prepared.inputs, rule.ahead) for member in self._members]
            scaled = np.stack(answers).mean(axis=0, dtype=np.float64)[:, : rule.horizon]
            scaled = np.sort(scaled, axis=2)
            # Take the mean before calibration: where values end at 0, wider intervals would move it.
            mean = mean_of_quantiles(rule.forecast(prepared, scaled), codec.levels)
            # A factor above 1 must not turn the largest float into infinity.
            means.append(np.minimum(mean * codec.mean_factor, np.finfo(np.float64).max))
            scaled = np.sort(scaled + codec.corrections, axis=2)
            quantiles.append(rule.forecast(prepared, scaled))
        return np.concatenate(quantiles), np.concatenate(means)

    def evaluate(
        self,
        source: SeriesSource | None = None,
        *,
        windows: int | None = None,
        step: int | None = None,
        overlap: str = "error",
        **options: Unpack[ReadOptions],
    ) -> ForecastReport:
        """Measure the forecasts of new rows, beside naive, seasonal naive, drift and average.

        The rows continue the known series; the forecast at each origin reads all values before it.

        Args:
            source: Rows that follow the known series, read as by `update`.
            windows: The number of origins of each series at most, the last ones (default: all).
            step: Time steps between two origins (default: the horizon).
            overlap: As for `update`.
            options: As for `update`.

        Raises:
            DataError: the rows cannot be read, or have no value after the known ones.
            OptionError: a number is out of range, or there is no such policy.
        """
        lengths = map(len, self.history.values)
        before = dict(zip(self.history.ids, lengths, strict=True))
        rows, series = self._continued(source, overlap, options)
        if windows is not None:
            windows = whole_number("windows", windows, 1)
        step = self.horizon if step is None else whole_number("step", step, 1)
        forecasts = self.windows(series.select(rows.ids), before, windows, step)
        if not any(np.isfinite(window.truth).any() for window in forecasts):
            what = "there is no true value to measure a forecast by"
            got = "no row with a value after those that the model knows"
            raise DataError(what, got=got, expected="later rows")
        return self.report(forecasts)

    def backtest(
        self, source: SeriesSource, *, overlap: str = "error", **options: Unpack[ReadOptions]
    ) -> Forecast:
        """Forecast the last horizon of new rows, with the rows themselves as its `truth`.

        The arguments are as for `evaluate`. Raises DataError, OptionError.
        """
        rows, series = self._continued(source, overlap, options)
        series = series.select(rows.ids)
        truth = np.full((len(series), self.horizon), np.nan)
        for row, values in zip(truth, series.values, strict=True):
            row[: len(values)] = values[-self.horizon :]
        return replace(self.forecast(series.before(self.horizon)), truth=truth)

    def report(self, windows: Sequence[Window]) -> ForecastReport:
        """Return the report of these forecasts; raises DataError if none has a true value."""
        return forecast_report(windows, self.codec.levels)

    def windows(
        self, series: SeriesSet, before: Mapping[str, int], count: int | None, step: int
    ) -> list[Window]:
        """Forecast `series` from rolling origins, for a report.

        Args:
            series: The series with the values to compare.
            before: The number of values before the first origin, by id.
            count: The number of origins of each series at most, the last ones; None for all.
            step: Time steps between two origins.
        """
        which, origins = [], []
        for number, values in enumerate(series.values):
            first = max(1, before.get(series.ids[number], 1))
            last = max(first, len(values) - self.horizon)
            # Count origins back from the last one, then put them in order of time.
            chosen = np.arange(last, first - 1, -step)[:count][::-1]
            chosen = chosen[[self._has_start(values[:at]) for at in chosen]]
            which.append(np.full(len(chosen), number))
            origins.append(chosen)
        numbers, at = np.concatenate(which), np.concatenate(origins)
        quantiles, _ = self._quantiles(series, numbers, at)
        return report_windows(self.codec, series, numbers, at, quantiles)
