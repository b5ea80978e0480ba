"""Forecasting as a task of the registry: the commands' questions to a forecaster."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from elman.errors import DataError, OptionError, printable, warn
from elman.series.options import ForecasterOptions
from elman.task_types import (
    Answers,
    Evaluated,
    EvaluateRequest,
    ExplainRequest,
    PredictRequest,
    Reading,
    TrainingFiles,
)

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.files.model import Model
    from elman.files.model_types import ModelTypes
    from elman.series.forecast import Forecast
    from elman.series.predictor import ForecastPredictor
    from elman.series.replies import ForecastReplies
    from elman.series.series import SeriesSet
    from elman.tables.column_kinds import ColumnKinds
    from elman.training.journal import Run
    from elman.training.task_display import TaskDisplay
    from elman.training.trainer import Outcome


# Options that suggest a table of series, unless an option names labels.
_SERIES_OPTIONS = (
    "horizon",
    "target",
    "time_column",
    "season",
    "past",
    "future",
    "static",
    "id_column",
)

# Usual names of the column to forecast.
_TARGETS = ("y", "target", "value", "close", "sales", "count", "price")


class ForecastTask:
    """A forecaster: series in, quantiles of their next values out."""

    name = "forecast"
    panel = "Series (forecast)"
    options = ForecasterOptions
    column_options = ()
    trains_on_held_out_files = False
    predict_options = frozenset({"horizon", "future", "plot"})
    evaluate_options = frozenset({"windows", "step", "plot"})
    explain_options = frozenset({"series"})

    def model_types(self) -> ModelTypes:
        """Return the classes of the configuration and the codec in a model file."""
        from elman.series.codec import ForecastCodec
        from elman.series.config import ForecastConfig

        return ForecastConfig, ForecastCodec

    def predictor_type(self) -> type[ForecastPredictor]:
        """Return `ForecastPredictor`."""
        from elman.series.predictor import ForecastPredictor

        return ForecastPredictor

    def replies_type(self) -> type[ForecastReplies]:
        """Return `ForecastReplies`."""
        from elman.series.replies import ForecastReplies

        return ForecastReplies

    def display(self) -> TaskDisplay:
        """Return the words of the task about its training runs."""
        from elman.series.display import SeriesDisplay

        return SeriesDisplay()

    def open(self, model: Model, storage: str) -> ForecastPredictor:
        """Return a predictor; raises OptionError where `storage` is not "float32"."""
        return self.predictor_type()(model, storage)

    def guess(self, files: Sequence[str], options: Mapping[str, Any]) -> str:
        """Return the first option that describes series, or ""."""
        del files
        for name in _SERIES_OPTIONS:
            if name in options:
                return "--" + name.replace("_", "-")
        return ""

    def suggest(self, kinds: ColumnKinds) -> str:
        """Return options for a table with numbers and dates: the horizon, a column of ids, the target."""
        if not kinds.are_series:
            return ""
        ids = [name for name in kinds.texts if name in kinds.distinct]
        numbers = kinds.numbers
        target = next((name for name in numbers if name.casefold() in _TARGETS), numbers[-1])
        options = ["--horizon", "10", *(["--id-column", ids[0]] if ids else []), "--target", target]
        return shlex.join(options)

    def train(
        self,
        data: TrainingFiles,
        options: ForecasterOptions,
        run: Run,
    ) -> Outcome:
        """Train on one table of series; raises as `Forecaster.fit`."""
        from elman.tables.reader import read_table
        from elman.training.estimator import needs_torch

        if len(data.files) != 1:
            raise DataError("files of series", got=f"{len(data.files)}", expected="one")
        table = read_table(data.files[0], **data.reading)
        with needs_torch():
            from elman.series.estimator import Forecaster
            from elman.series.train import train_forecaster

        series = Forecaster(**asdict(options)).read(table)
        return train_forecaster(series, options, run)

    def read_input(self, predictor: ForecastPredictor, file: str, reading: Reading) -> SeriesSet:
        """Return the rows of a table, read as those of training."""
        from elman.tables.reader import read_table

        rows = predictor.read(read_table(file, **reading))
        warn(rows.warnings)
        return rows

    def predict(self, predictor: ForecastPredictor, request: PredictRequest) -> Answers:
        """Return the forecast of every series, after the new rows of the source where there is one."""
        if request.source is not None:
            rows = self.read_input(predictor, request.source, request.reading)
            predictor.update(rows, overlap=request.overlap)
        _warn_of_missing_future(predictor, request)
        forecast: Forecast = predictor.predict(
            request.horizon, future=request.future, point=request.point
        )
        return Answers(forecast.to_columns(), picture=forecast)

    def evaluate(self, predictor: ForecastPredictor, request: EvaluateRequest) -> Evaluated:
        """Return how good the forecasts of new rows are, beside naive forecasts."""
        if len(request.files) != 1:
            got = f"{len(request.files)} files"
            raise OptionError("FILE", got=got, expected="one table of new rows")
        rows = self.read_input(predictor, request.files[0], request.reading)
        report = predictor.evaluate(
            rows, windows=request.windows, step=request.step, overlap=request.overlap
        )
        pictures = {"plot": lambda: predictor.backtest(rows, overlap=request.overlap).plot()}
        return Evaluated(report, pictures)

    def explain(self, predictor: ForecastPredictor, request: ExplainRequest) -> Explanation:
        """Return the explanation of the forecast of a known series, or of one in a file of rows."""
        from elman.text.arguments import is_file

        source = request.source
        known = source is None or source in predictor.history.ids
        from_file = not known and is_file(source or "")
        if request.series is not None and not from_file:
            raise OptionError(
                "--series", got="no file", expected="a file of rows of several series"
            )
        what: Any = source
        if from_file:
            what = self.read_input(predictor, source or "", request.reading)
            what = what if request.series is None else what.select([request.series])
        return predictor.explain(what, request.target, **request.options)


def _warn_of_missing_future(predictor: ForecastPredictor, request: PredictRequest) -> None:
    """Warn of future covariates that end before the horizon and that no table of ``--future`` gives."""
    if request.future is not None or predictor.codec.future is None:
        return
    history, steps = predictor.history, request.horizon or predictor.horizon
    pairs = zip(history.values, history.future, strict=True)
    if any(len(future) - len(values) < steps for values, future in pairs):
        names = ", ".join(printable(name) for name in history.names["future"])
        warn([f"known in advance but not given: {names}; --future names their table"])
