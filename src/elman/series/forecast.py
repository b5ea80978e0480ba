"""A forecast as a value: quantiles of the next values of every series, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import DataError, OptionError, printable
from elman.series.series import SeriesSet
from elman.series.zones import to_aware
from elman.tables.columns import several
from elman.tables.frames import frame

__all__ = ["POINTS", "Forecast"]

POINTS = ("median", "mean")
"""What a forecast can be as one number a step."""

MOST_HISTORY = 2_000
"""Values of a series that a picture shows at most."""
PRINTED_STEPS = 12
"""Steps of the first series that are printed."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """The next values of one or many series, as quantiles."""

    ids: tuple[str, ...]
    times: tuple[np.ndarray, ...]
    """``[h]`` each, datetime64[us] or int64."""
    levels: tuple[float, ...]
    quantiles: np.ndarray
    """float64 ``[N, h, Q]``, ascending in the last; NaN at steps on which a series never has a value."""
    mean: np.ndarray
    """float64 ``[N, h]``: the expected values, which add up over time and series as medians do not."""
    history: SeriesSet
    names: tuple[str, str]
    """Of the columns of series and time."""
    intervals: tuple[float, ...] = (80.0, 95.0)
    """In percent: those that were asked for in training."""
    point: str = "median"
    """What the column y_hat is: median or mean."""
    truth: np.ndarray | None = None
    """float64 ``[N, h]``: what came, where it is known, to be drawn beside the forecast."""

    def __repr__(self) -> str:
        N, h, _ = self.quantiles.shape
        what = f"{N:,} series, {h:,} step{'s' * (h != 1)} ahead"
        if not N:
            return what
        table, columns = [], self._columns(slice(0, 1))
        more = len(columns["y_hat"]) - PRINTED_STEPS
        for name, column in columns.items():
            if column.dtype.kind == "f":
                cells = [f"{value:.6g}" for value in column[:PRINTED_STEPS]]
            else:
                days = [str(one).removesuffix("T00:00:00.000000") for one in column[:PRINTED_STEPS]]
                cells = [printable(day) for day in days]
            cells = [printable(name), *cells]
            width = max(map(len, cells))
            table.append([cell.rjust(width) for cell in cells])
        lines = [what, *("  ".join(row).rstrip() for row in zip(*table, strict=True))]
        if more > 0:
            lines.append(f"... {more:,} more steps of {printable(self.ids[0])}")
        if N > 1:
            lines.append(f"... {N - 1:,} more series; to_columns() has all")
        return "\n".join(lines)

    @property
    def y_hat(self) -> np.ndarray:
        """The forecast as one number a step by `point`, float64 ``[N, h]``."""
        return self.mean if self.point == "mean" else self.median

    @property
    def median(self) -> np.ndarray:
        """The middle of the forecast: half of what comes is below it, float64 ``[N, h]``."""
        return np.asarray(self.quantiles[..., self.levels.index(0.5)])

    def to_frame(self, percents: Sequence[float] | None = None) -> Any:
        """Return `to_columns` as a data frame of polars where that is installed, else as it is."""
        return frame(self.to_columns(percents))

    def interval(self, percent: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper end ``[N, h]`` of an interval in percent; raises OptionError."""
        half = round((1 - percent / 100) / 2, 9)
        if half not in self.levels or half >= 0.5:
            shares = [f"{100 * (1 - 2 * level):g}" for level in self.levels if level < 0.5]
            raise OptionError("interval", got=percent, expected="one of " + ", ".join(shares))
        low = self.levels.index(half)
        return self.quantiles[..., low], self.quantiles[..., -1 - low]

    def to_columns(self, percents: Sequence[float] | None = None) -> dict[str, np.ndarray]:
        """Return a row for each series and step as columns: id, time, y_hat, mean, lo-80, hi-80, and so on.

        Ids and stamps are as they came, so that the columns can be joined with one's own table: whole numbers
        as whole numbers, and stamps that bore a time zone as datetimes that bear it.

        y_hat is the median; where the forecast was asked for with ``point="mean"``, y_hat is the mean and
        the median stands beside it. Steps on which a series never has a value have no row. `percents` are
        the intervals, those of training where they are not given. Raises OptionError.
        """
        return self._columns(slice(None), percents)

    def _columns(
        self, series: slice, percents: Sequence[float] | None = None
    ) -> dict[str, np.ndarray]:
        times, other = self.times[series], "median" if self.point == "mean" else "mean"
        columns: dict[str, np.ndarray] = {
            self.names[0]: np.repeat(self._ids()[series], self.quantiles.shape[1]),
            self.names[1]: np.concatenate([*map(self._stamps, times)]) if times else np.empty(0),
            "y_hat": self.y_hat[series].reshape(-1),
            other: getattr(self, other)[series].reshape(-1),
        }
        for percent in self.intervals if percents is None else percents:
            low, high = self.interval(percent)
            columns[f"lo-{percent:g}"] = low[series].reshape(-1)
            columns[f"hi-{percent:g}"] = high[series].reshape(-1)
        if np.isnan(columns["y_hat"]).any():
            there = ~np.isnan(columns["y_hat"])
            columns = {name: column[there] for name, column in columns.items()}
        return columns

    def _ids(self) -> np.ndarray:
        if self.history.reading.get("ids") == "whole":
            try:
                return np.array(self.ids, np.int64)
            except ValueError:  # of a later series it is no number
                pass
        return np.array(self.ids, object)

    def _stamps(self, times: np.ndarray) -> np.ndarray:
        zone = self.history.reading.get("zone")
        return times if zone is None or times.dtype.kind != "M" else to_aware(times, zone)

    def plot(self, series: str | None = None, percents: Sequence[float] | None = None) -> Any:
        """Return a matplotlib figure of one series' history and forecast, the first where none is named.

        Raises DataError for a series that is not there, MissingDependencyError.
        """
        from elman.draw import plots

        if series is not None and str(series) not in self.ids:
            raise DataError("no such series", got=series, expected=several(self.ids))
        place = 0 if series is None else self.ids.index(str(series))
        values, times = self.history.values[place], self.history.times[place]
        shown = min(MOST_HISTORY, max(6 * self.quantiles.shape[1], 50))
        ends = {}
        for percent in self.intervals if percents is None else percents:
            low, high = self.interval(percent)
            ends[percent / 100] = (low[place], high[place])
        return plots.forecast(
            times[-shown:],
            values[-shown:],
            self.times[place],
            self.median[place],
            ends,
            None if self.truth is None else self.truth[place],
            title=self.ids[place],
        )
