"""The result of forecasting: quantiles of the next values of every series, as a table or a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypedDict

import numpy as np

from elman.errors import DataError, OptionError, printable
from elman.series.series import SeriesSet
from elman.series.time_zones import to_aware
from elman.tables.columns import several
from elman.tables.frames import frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

POINTS = ("median", "mean")
"""Possible contents of the column y_hat."""
MAX_SHOWN_VALUES = 2_000
"""The largest number of values of the history that a picture shows."""
MAX_PRINTED_STEPS = 12
"""The largest number of steps of the first series that are printed."""


class ChartColumns(TypedDict):
    """History and forecast of one series, as `elman.draw` takes them: arrays ``[T]`` and ``[h]``."""

    history_times: np.ndarray
    history: np.ndarray
    times: np.ndarray
    median: np.ndarray
    intervals: dict[float, tuple[np.ndarray, np.ndarray]]
    """Lower and upper ends of each interval, by its share of the truth."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """The next values of one or many series, as quantiles."""

    ids: tuple[str, ...]
    times: tuple[np.ndarray, ...]
    """datetime64[us] or int64 ``[h]`` for each series."""
    levels: tuple[float, ...]
    """The quantile levels."""
    quantiles: np.ndarray
    """float64 ``[N, h, Q]``, ascending; NaN at steps on which a series never has a value."""
    mean: np.ndarray
    """float64 ``[N, h]``: the expected values, which add up over time and series, unlike medians."""
    history: SeriesSet
    """The series that were forecast."""
    names: tuple[str, str]
    """The names of the columns of ids and of time stamps."""
    intervals: tuple[float, ...] = (80.0, 95.0)
    """The intervals that training asked for, in percent."""
    point: str = "median"
    """Content of the column y_hat: one of `POINTS`."""
    truth: np.ndarray | None = None
    """float64 ``[N, h]``: the true values, if they are known, to draw beside the forecast."""

    def __repr__(self) -> str:
        N, h, _ = self.quantiles.shape
        title = f"{N:,} series, {h:,} step{'s' * (h != 1)} ahead"
        if not N:
            return title
        # Print the first series only; the last lines count the rest.
        table, columns = [], self._columns(slice(0, 1))
        more = len(columns["y_hat"]) - MAX_PRINTED_STEPS
        for name, column in columns.items():
            shown = column[:MAX_PRINTED_STEPS]
            if column.dtype.kind == "f":
                cells = [f"{value:.6g}" for value in shown]
            else:
                cells = [printable(str(cell).removesuffix("T00:00:00.000000")) for cell in shown]
            cells = [printable(name), *cells]
            width = max(map(len, cells))
            table.append([cell.rjust(width) for cell in cells])
        lines = [title, *("  ".join(row).rstrip() for row in zip(*table, strict=True))]
        if more > 0:
            lines.append(f"... {more:,} more steps of {printable(self.ids[0])}")
        if N > 1:
            lines.append(f"... {N - 1:,} more series; to_columns() has all")
        return "\n".join(lines)

    @property
    def y_hat(self) -> np.ndarray:
        """The median or the mean, as `point` says: float64 ``[N, h]``."""
        return self.mean if self.point == "mean" else self.median

    @property
    def median(self) -> np.ndarray:
        """The median: half of the true values lie below it, float64 ``[N, h]``."""
        return np.asarray(self.quantiles[..., self.levels.index(0.5)])

    @property
    def shown_values(self) -> int:
        """Number of the history's last values that a picture shows."""
        horizon: int = self.quantiles.shape[1]
        return min(MAX_SHOWN_VALUES, max(6 * horizon, 50))

    def to_frame(self, percents: Sequence[float] | None = None) -> Any:
        """Return `to_columns` as a polars data frame, or as it is if polars is not installed."""
        return frame(self.to_columns(percents))

    def interval(self, percent: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper ends ``[N, h]`` of an interval in percent; raises OptionError."""
        # 80 % lies between the quantiles 0.1 and 0.9; rounding removes the error of the division.
        half = round((1 - percent / 100) / 2, 9)
        if half not in self.levels or half >= 0.5:
            shares = [f"{100 * (1 - 2 * level):g}" for level in self.levels if level < 0.5]
            raise OptionError("interval", got=percent, expected="one of " + ", ".join(shares))
        low = self.levels.index(half)
        return self.quantiles[..., low], self.quantiles[..., -1 - low]

    def to_columns(self, percents: Sequence[float] | None = None) -> dict[str, np.ndarray]:
        """Return columns with a row for each series and step: id, time, y_hat, mean, lo-80, hi-80, and so on.

        Ids and stamps come back as they were read, so that the columns can be joined with the user's table:
        whole numbers as whole numbers, and stamps with a time zone as datetime objects with that zone.

        y_hat is the median, beside the column mean; after ``predict(point="mean")`` y_hat is the mean, beside
        the column median. Steps on which a series never has a value have no row.

        Args:
            percents: The intervals (default: those of training).

        Raises:
            OptionError: there is no such interval.
        """
        return self._columns(slice(None), percents)

    def _columns(
        self, series: slice, percents: Sequence[float] | None = None
    ) -> dict[str, np.ndarray]:
        times, other = self.times[series], "median" if self.point == "mean" else "mean"
        # Stamps that came with a zone go back with it, to join the user's table.
        zone = self.history.reading.get("zone")
        if zone is not None:
            times = tuple(
                to_aware(each, zone) if each.dtype.kind == "M" else each for each in times
            )
        columns: dict[str, np.ndarray] = {
            self.names[0]: np.repeat(self._ids()[series], self.quantiles.shape[1]),
            self.names[1]: np.concatenate(times) if times else np.empty(0),
            "y_hat": self.y_hat[series].reshape(-1),
            other: getattr(self, other)[series].reshape(-1),
        }
        for percent in self.intervals if percents is None else percents:
            low, high = self.interval(percent)
            columns[f"lo-{percent:g}"] = low[series].reshape(-1)
            columns[f"hi-{percent:g}"] = high[series].reshape(-1)
        if np.isnan(columns["y_hat"]).any():
            # Steps on which the series is closed have no row.
            has_value = ~np.isnan(columns["y_hat"])
            columns = {name: column[has_value] for name, column in columns.items()}
        return columns

    def _ids(self) -> np.ndarray:
        if self.history.reading.get("ids") == "whole":
            try:
                return np.array(self.ids, np.int64)
            except ValueError:  # a series that was added later has another id
                pass
        return np.array(self.ids, object)

    def chart_columns(self, index: int, percents: Sequence[float] | None = None) -> ChartColumns:
        """Return the columns of a chart of one series, with these intervals (default: those of training)."""
        history, ends = self.history, {}
        for percent in self.intervals if percents is None else percents:
            low, high = self.interval(percent)
            ends[percent / 100] = (low[index], high[index])
        return {
            "history_times": history.clocks(history.times[index]),
            "history": history.values[index],
            "times": self.times[index],
            "median": self.median[index],
            "intervals": ends,
        }

    def plot(self, series: str | None = None, percents: Sequence[float] | None = None) -> Figure:
        """Draw the history and the forecast of one series as a matplotlib figure.

        Args:
            series: Its id (default: the first series).
            percents: The intervals (default: those of training).

        Raises:
            DataError: there is no such series.
            MissingDependencyError: matplotlib is not installed.
        """
        from elman.draw import plots

        if series is not None and str(series) not in self.ids:
            raise DataError("no such series", got=series, expected=several(self.ids))
        index = 0 if series is None else self.ids.index(str(series))
        truth = None if self.truth is None else self.truth[index]
        columns = self.chart_columns(index, percents)
        return plots.forecast(**columns, truth=truth, title=self.ids[index])
