"""Options of the commands that read series, beside those of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elman.task_types import ExplainOptions, PredictOptions, ReadingOptions
from elman.training.options import answering, picture, reading


@dataclass(frozen=True, kw_only=True)
class SeriesFileOptions(ReadingOptions):
    """Options of the commands that may read new rows of known series."""

    overlap: Literal["error", "replace", "keep"] = reading(
        "error",
        "rows of series that the model already knows with another value: an error, replace the known value, "
        "or keep it (rows with equal values always pass)",
        rare=True,
    )


@dataclass(frozen=True, kw_only=True)
class NewRowsOptions(SeriesFileOptions):
    """Options of the commands that ask a model and may read new rows before."""

    plot: str | None = picture("file to draw a picture to: .svg or .png", ".svg", ".png")


@dataclass(frozen=True, kw_only=True)
class ForecastPredictOptions(PredictOptions, NewRowsOptions):
    """Options of the command `predict`."""

    horizon: int | None = answering(None, "steps to forecast (default: as in training)", low=1)
    future: str | None = reading(None, "table of the columns that are known in advance")
    point: Literal["median", "mean"] = answering(
        "median", "column y_hat of a forecast: medians, or means, which can be added up"
    )


@dataclass(frozen=True, kw_only=True)
class ForecastEvaluateOptions(NewRowsOptions):
    """Options of the command `evaluate`."""

    windows: int | None = answering(
        None, "forecasts of each series to measure, the last ones (default: all)", low=1
    )
    step: int | None = answering(
        None, "steps between the starts of two forecasts (default: the horizon)", low=1
    )


@dataclass(frozen=True, kw_only=True)
class ForecastExplainOptions(ExplainOptions):
    """Options of the command `explain`."""

    series: str | None = reading(None, "which series to explain, where a file of rows has several")
