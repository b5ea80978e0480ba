"""Forecasting as a task of the registry: the commands' questions to a forecaster."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar

from elman.errors import DataError, OptionError, needs_torch, printable, warn
from elman.series.command_options import (
    ForecastEvaluateOptions,
    ForecastExplainOptions,
    ForecastPredictOptions,
    SeriesFileOptions,
)
from elman.task_types import Answers, Reading, ReadingOptions, Result, Task
from elman.training.options import Options, Values

if TYPE_CHECKING:
    from elman.series.predictor import ForecastPredictor
    from elman.series.series import SeriesSet
    from elman.tables.column_kinds import ColumnKinds
    from elman.training.journal import Run
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


class ForecastTask(Task):
    """A forecaster: series in, quantiles of their next values out."""

    name = "forecast"
    panel = "Series (forecast)"
    command_options: ClassVar[dict[str, type[Options]]] = {
        "train": SeriesFileOptions,
        "predict": ForecastPredictOptions,
        "evaluate": ForecastEvaluateOptions,
        "explain": ForecastExplainOptions,
    }
    classes: ClassVar[dict[str, str]] = {
        "options": "elman.series.options:ForecasterOptions",
        "config": "elman.series.config:ForecastConfig",
        "codec": "elman.series.codec:ForecastCodec",
        "predictor": "elman.series.predictor:ForecastPredictor",
        "replies": "elman.series.replies:ForecastReplies",
        "display": "elman.series.display:SeriesDisplay",
    }

    predictor: ForecastPredictor

    @classmethod
    def guess(cls, files: Sequence[str], values: Values) -> str:
        """Return the first option that describes series, or ""."""
        del files
        names = (name for name in _SERIES_OPTIONS if name in values)
        return next(("--" + name.replace("_", "-") for name in names), "")

    @classmethod
    def suggest(cls, kinds: ColumnKinds) -> str:
        """Return options for a table with numbers and dates: the horizon, a column of ids, the target."""
        if not kinds.are_series:
            return ""
        ids = [name for name in kinds.texts if name in kinds.distinct]
        numbers = kinds.numbers
        target = next((name for name in numbers if name.casefold() in _TARGETS), numbers[-1])
        options = ["--horizon", "10", *(["--id-column", ids[0]] if ids else []), "--target", target]
        return shlex.join(options)

    @classmethod
    def train(cls, files: Sequence[str], values: Values, run: Run) -> Outcome:
        """Train on one table of series; raises the same errors as `Forecaster.fit`."""
        from elman.tables.reader import read_table

        if len(files) != 1:
            raise DataError("files of series", got=f"{len(files)}", expected="one")
        table = read_table(files[0], **ReadingOptions.from_values(values).how)
        with needs_torch():
            from elman.series.train import train_forecaster

        from elman.series.options import ForecasterOptions
        from elman.series.predictor import ForecastPredictor
        from elman.series.read_options import ReadOptions, SeriesOptions
        from elman.series.series import load_series

        options = ForecasterOptions.from_values(values)
        if run.before is not None:
            # Options that are not given are those of the model that is trained further.
            reading = ReadOptions(
                frequency=_text(values, "frequency"),
                timezone=_text(values, "timezone"),
                date_format=_text(values, "date_format"),
                missing=_text(values, "missing"),
                gaps=_text(values, "gaps"),
                duplicates=_text(values, "duplicates"),
            )
            overlap = _text(values, "overlap") or "error"
            series = ForecastPredictor(run.before).continued(table, overlap=overlap, **reading)
        else:
            series = load_series(table, SeriesOptions.of_training(options))
        return train_forecaster(series, options, run)

    def read_input(self, file: str, how: Reading) -> SeriesSet:
        """Return the rows of a table, read as those of training."""
        from elman.tables.reader import read_table

        rows = self.predictor.read(read_table(file, **how))
        warn(rows.warnings)
        return rows

    def predict(self, source: str | None, values: Values, *, as_table: bool) -> Answers:
        """Return the forecast of every series, after the new rows of the source where there is one."""
        del as_table
        options, predictor = ForecastPredictOptions.from_values(values), self.predictor
        if source is not None:
            predictor.update(self.read_input(source, options.how), overlap=options.overlap)
        if options.future is None:
            _warn_of_missing_future(predictor, options.horizon or predictor.horizon)
        forecast = predictor.predict(options.horizon, future=options.future, point=options.point)
        return Answers(forecast.to_columns(), pictures={"plot": forecast.plot})

    def evaluate(self, files: Sequence[str], values: Values) -> Result:
        """Return how good the forecasts of new rows are, beside naive forecasts."""
        options, predictor = ForecastEvaluateOptions.from_values(values), self.predictor
        if len(files) != 1:
            raise OptionError("FILE", got=f"{len(files)} files", expected="one table of new rows")
        rows = self.read_input(files[0], options.how)
        report = predictor.evaluate(
            rows, windows=options.windows, step=options.step, overlap=options.overlap
        )
        # The picture shows the last forecast whose true values are all known.
        pictures = {"plot": lambda: predictor.backtest(rows, overlap=options.overlap).plot()}
        return Result(report, pictures)

    def explain(self, source: str | None, values: Values) -> Result:
        """Return the explanation of the forecast of a known series, or of one in a file of rows."""
        from elman.text.sources import is_file

        options, predictor = ForecastExplainOptions.from_values(values), self.predictor
        # The name of a known series wins over a file of the same name.
        explained: str | SeriesSet | None = source
        if source is not None and source not in predictor.history.ids and is_file(source):
            rows = self.read_input(source, options.how)
            explained = rows if options.series is None else rows.select([options.series])
        elif options.series is not None:
            expected = "a file of rows of several series"
            raise OptionError("--series", got="no file", expected=expected)
        return Result.of(
            predictor.explain(explained, options.target, method=options.method, quick=options.quick)
        )


def _text(values: Values, name: str) -> str | None:
    """Return a text that the user gave, None without it."""
    value = values.get(name)
    return None if value is None else str(value)


def _warn_of_missing_future(predictor: ForecastPredictor, steps: int) -> None:
    """Warn of future covariates that end before the next `steps`, where no table gives them."""
    if predictor.codec.future is None:
        return
    history = predictor.history
    # The covariates of a series hold future steps too, so they must be longer than its values by `steps`.
    pairs = zip(history.values, history.future, strict=True)
    if any(len(future) - len(values) < steps for values, future in pairs):
        names = ", ".join(printable(name) for name in history.names["future"])
        warn([f"known in advance but not given: {names}; --future names their table"])
