"""A forecast as a value: quantiles of the next values of every series, as a table and as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman._errors import DataError, OptionError
from elman.data.layout import several
from elman.data.series import SeriesSet
from elman.data.zones import to_aware

__all__ = ["Forecast"]

MOST_HISTORY = 2_000
"""Values of a series that a picture shows at most."""


@dataclass(frozen=True, eq=False)
class Forecast:
    """The next values of one or many series, as quantiles."""

    ids: tuple[str, ...]
    times: tuple[np.ndarray, ...]
    """``[h]`` each, datetime64[us] or int64."""
    levels: tuple[float, ...]
    quantiles: np.ndarray
    """float64 ``[N, h, Q]``, ascending in the last, finite."""
    history: SeriesSet
    names: tuple[str, str]
    """Of the columns of series and time."""
    intervals: tuple[float, ...] = (80.0, 95.0)
    """In percent: those that were asked for in training."""

    @property
    def median(self) -> np.ndarray:
        """The forecast as one number a step, float64 ``[N, h]``."""
        return np.asarray(self.quantiles[..., self.levels.index(0.5)])

    def interval(self, percent: float) -> tuple[np.ndarray, np.ndarray]:
        """Return the lower and upper end ``[N, h]`` of an interval in percent; raises OptionError."""
        half = round((1 - percent / 100) / 2, 9)
        if half not in self.levels or half >= 0.5:
            shares = [f"{100 * (1 - 2 * level):g}" for level in self.levels if level < 0.5]
            raise OptionError("interval", got=percent, expected="one of " + ", ".join(shares))
        low = self.levels.index(half)
        return self.quantiles[..., low], self.quantiles[..., -1 - low]

    def to_columns(self, percents: Sequence[float] | None = None) -> dict[str, np.ndarray]:
        """Return a row for each series and step as columns: id, time, y_hat, lo-80, hi-80, and so on.

        Ids and stamps are as they came, so that the columns can be joined with one's own table: whole numbers
        as whole numbers, and stamps that bore a time zone as datetimes that bear it.

        `percents` are the intervals, those of training where they are not given. Raises OptionError.
        """
        N, h, _ = self.quantiles.shape
        columns: dict[str, np.ndarray] = {
            self.names[0]: np.repeat(self._ids(), h),
            self.names[1]: np.concatenate([*map(self._stamps, self.times)]) if N else np.empty(0),
            "y_hat": self.median.reshape(-1),
        }
        for percent in self.intervals if percents is None else percents:
            low, high = self.interval(percent)
            columns[f"lo-{percent:g}"] = low.reshape(-1)
            columns[f"hi-{percent:g}"] = high.reshape(-1)
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
        from elman import plots

        if series is not None and series not in self.ids:
            raise DataError("no such series", got=series, expected=several(self.ids))
        place = 0 if series is None else self.ids.index(series)
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
            title=self.ids[place],
        )
