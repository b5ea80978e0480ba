"""Replies of a forecaster to the server: the next values of its series, with intervals and recent history."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from typing_extensions import TypedDict

from elman.draw import charts
from elman.errors import InputError
from elman.explain.explanation import Explanation
from elman.inspect.replies import NO_DETAILS, ModelDetails, Replies, Reply, SequenceInput
from elman.tables.json_values import json_value

if TYPE_CHECKING:
    from elman.series.forecast import Forecast
    from elman.series.predictor import ForecastPredictor


MAX_SERIES = 100
"""Series that are forecast when a request names none."""
MAX_LISTED_SERIES = 1_000


class HistoryReply(TypedDict):
    """The latest known values of a series."""

    time: list[Any]
    value: list[float | None]


class IntervalReply(TypedDict):
    """Bounds between which a value lies with a probability of ``percent``, for each step."""

    percent: float
    low: list[float | None]
    high: list[float | None]


class SeriesReply(TypedDict):
    """The forecast of one series."""

    id: str
    history: HistoryReply
    time: list[Any]
    median: list[float | None]
    mean: list[float | None]
    intervals: list[IntervalReply]


class ForecastReply(TypedDict):
    """The forecasts of one or several series."""

    series: list[SeriesReply]


class ForecastReplies(Replies):
    """Answers of a forecaster to the server's requests."""

    predictor: ForecastPredictor
    reply_type = ForecastReply
    answers = "forecast"
    reads = "series"
    panels = frozenset({"series"})
    forecasts = True

    def details(self) -> ModelDetails:
        """Return the horizon, and the names of the series that the model knows."""
        names = [*self.predictor.history.ids][:MAX_LISTED_SERIES]
        return {**NO_DETAILS, "horizon": self.predictor.horizon, "series": names}

    def forecast(
        self, values: SequenceInput | None, series: str | None, horizon: int | None
    ) -> Reply:
        """Return the forecast of a series after its new `values`; without a name the first known series."""
        predictor = self.predictor
        if values is not None:
            if isinstance(values, str | list) or values.ndim != 1:
                raise InputError("input", got="not a list of numbers", expected="the next values")
            # A stream leaves the predictor unchanged, which other requests share.
            stream = predictor.stream(series)
            for value in values.tolist():
                stream.feed(value)
            forecast = stream.predict(horizon)
        else:
            # A request that names no series must not compute thousands.
            ids = predictor.history.ids[:MAX_SERIES] if series is None else [series]
            forecast = predictor.forecast(predictor.history.select(ids), horizon)
        return {"series": [_series_reply(forecast, index) for index in range(len(forecast.ids))]}

    def pictures(
        self,
        explained: SequenceInput | None,
        explanation: Explanation,
        target: str | int | None,
        width: int,
    ) -> dict[str, str]:
        """Return the picture of the forecast with what moved it, as ``forecast``."""
        from elman.series.explain import forecast_picture

        picture = forecast_picture(self.predictor, explained, explanation)
        chosen = None if target is None else int(target)
        svg = charts.forecast(**picture, chosen=chosen, width=width, standalone=False)
        return {"forecast": svg}


def _series_reply(forecast: Forecast, index: int) -> SeriesReply:
    columns, shown = forecast.chart_columns(index), forecast.shown_values
    history, values = columns["history_times"][-shown:], columns["history"][-shown:]
    ends = zip(forecast.intervals, columns["intervals"].values(), strict=True)
    return {
        "id": forecast.ids[index],
        "history": {"time": json_value(history), "value": json_value(values)},
        "time": json_value(columns["times"]),
        "median": json_value(columns["median"]),
        "mean": json_value(forecast.mean[index]),
        "intervals": [
            {"percent": percent, "low": json_value(low), "high": json_value(high)}
            for percent, (low, high) in ends
        ],
    }
