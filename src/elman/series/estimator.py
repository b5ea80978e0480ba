"""Forecaster as a scikit-learn estimator: fit, predict, update, evaluate and cross-validation."""

from __future__ import annotations

from functools import partial
from os import PathLike
from typing import Any, Literal, Unpack

from elman.engine.shapes import whole_number
from elman.errors import OptionError, needs_torch
from elman.series.display import SeriesDisplay
from elman.series.forecast import Forecast
from elman.series.options import ForecasterOptions
from elman.series.predictor import ForecastPredictor
from elman.series.read_options import ReadOptions, SeriesOptions, SeriesSource
from elman.series.report import ForecastReport
from elman.series.series import SeriesSet, load_series
from elman.series.stream import SeriesStream
from elman.training.estimator import Estimator
from elman.training.journal import Run, Watch
from elman.training.recurrent_options import CellName

MIN_TRAINING_VALUES = 3
"""Values that training needs, besides at least one more than the horizon."""


class Forecaster(Estimator[ForecastPredictor, ForecasterOptions]):
    """A recurrent network that forecasts one series or thousands, with intervals.

    The parameters are those of `elman.series.options.ForecasterOptions`, all by name; None lets Elman choose.
    After `fit`, `model_` is the model, `predictor_` is what `elman.load` returns, `card_` describes the
    training and the accuracy beside naive forecasts, and `stopped_` tells why training ended.

    >>> import numpy as np
    >>> values = 10 + np.sin(np.arange(96) * 2 * np.pi / 12)
    >>> model = Forecaster(horizon=3, steps=5, hidden_size=4, members=1, refit=False).fit(values)
    >>> model.predict().median.shape
    (1, 3)
    """

    task = "forecast"
    options = ForecasterOptions
    predictor_type = ForecastPredictor
    display_type = SeriesDisplay

    # attributes of ForecasterOptions, written by tools/signatures
    horizon: int
    id_column: str | None
    time_column: str | None
    target: str | None
    past: str | None
    future: str | None
    static: str | None
    frequency: str | None
    timezone: str | None
    date_format: str | None
    missing: Literal["mask", "fill", "error"]
    gaps: Literal["mask", "fill", "error"]
    duplicates: Literal["error", "first", "last", "mean", "sum"]
    season: int | None
    transform: Literal["auto", "none", "log"]
    calendar: Literal["auto", "yes", "no"]
    window: int | None
    levels: str
    members: int | None
    refit: bool
    # end of attributes
    # parameters of ForecasterOptions, written by tools/signatures

    def __init__(
        self,
        *,
        horizon: int = 10,
        id_column: str | None = None,
        time_column: str | None = None,
        target: str | None = None,
        past: str | None = None,
        future: str | None = None,
        static: str | None = None,
        frequency: str | None = None,
        timezone: str | None = None,
        date_format: str | None = None,
        missing: Literal["mask", "fill", "error"] = "mask",
        gaps: Literal["mask", "fill", "error"] = "mask",
        duplicates: Literal["error", "first", "last", "mean", "sum"] = "error",
        season: int | None = None,
        transform: Literal["auto", "none", "log"] = "auto",
        calendar: Literal["auto", "yes", "no"] = "auto",
        window: int | None = None,
        levels: str = "80,95",
        cell: CellName = "gru",
        activation: Literal["linear", "tanh", "relu"] = "tanh",
        hidden_size: int | None = None,
        num_layers: int | None = None,
        bias: bool = True,
        dropout: float | None = None,
        members: int | None = None,
        time: str | float | None = None,
        epochs: float | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        warm_up: float = 0.03,
        clip: float = 1.0,
        average: float | None = None,
        evaluations: int = 20,
        patience: int = 5,
        checkpoint_every: str | float = "30s",
        precision: Literal["float32", "bf16"] | None = None,
        seed: int = 0,
        random_state: int | None = None,
        threads: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        refit: bool = True,
    ) -> None:
        self._set_parameters(locals())

    # end of parameters

    def read(self, X: SeriesSource) -> SeriesSet:
        """Read series with the columns and policies of the parameters.

        Raises DataError, OptionError, MissingDependencyError.
        """
        options = self._checked_options()
        if isinstance(X, SeriesSet):
            return X
        return load_series(X, SeriesOptions.of_training(options))

    def fit(
        self,
        X: SeriesSource,
        y: None = None,  # noqa: ARG002 - scikit-learn's signature
        *,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Watch | None = None,
        verbose: bool = False,
    ) -> Forecaster:
        """Train on series and return self.

        Args:
            X: A path, a data frame (long or wide), or arrays.
            y: Ignored; scikit-learn passes it.
            output: The model file to write.
            resume: Whether to continue an interrupted run.
            watch: Is called with every event of the run.
            verbose: Whether to print the progress.

        Raises:
            DataError: the series cannot be read, or are too short.
            OptionError: a parameter is out of range, or does not fit the series.
            OutputError, ModelFileError: a file cannot be written or resumed.
            DivergedError: the loss became infinite.
        """
        # A wrong output is refused before the data is read.
        run = Run.of(output, resume, watch)
        return self._learn(self.read(X), run, verbose)

    def partial_fit(
        self,
        X: SeriesSource,
        y: None = None,  # noqa: ARG002 - scikit-learn's signature
        *,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Watch | None = None,
        verbose: bool = False,
        overlap: str = "error",
        **options: Unpack[ReadOptions],
    ) -> Forecaster:
        """Read new rows as `update` does, and train the network further on them and on the rows before.

        By default it trains for 5 epochs at a quarter of the learning rate. Only new rows are held out. The
        first call trains a new network.

        Args:
            X: The new rows.
            y: Ignored; scikit-learn passes it.
            output: As for `fit`.
            resume: As for `fit`.
            watch: As for `fit`.
            verbose: As for `fit`.
            overlap: As for `ForecastPredictor.update`.
            options: As for `ForecastPredictor.update`.

        Returns:
            The estimator itself.

        Raises:
            DataError: the rows cannot be read, or do not fit the known series.
            OptionError: a parameter contradicts the model, or there is no such option.
            OutputError, ModelFileError, DivergedError: as `fit`.
        """
        run = Run.of(output, resume, watch, self._trained)
        known = None if run.before is None else ForecastPredictor(run.before)
        series = self.read(X) if known is None else known.continued(X, overlap=overlap, **options)
        return self._learn(series, run, verbose)

    def _learn(self, series: SeriesSet, run: Run, verbose: bool) -> Forecaster:
        options = self._adopted(run.before)
        with needs_torch():
            from elman.series.train import train_forecaster
        return self._train(partial(train_forecaster, series, options), run, verbose)

    def predict(
        self,
        horizon: int | None = None,
        *,
        series: SeriesSource | None = None,
        future: SeriesSource | None = None,
        point: str = "median",
    ) -> Forecast:
        """Forecast the next steps of every series, as `ForecastPredictor.predict`."""
        return self._fitted().predict(horizon, series=series, future=future, point=point)

    def update(
        self, X: SeriesSource, *, overlap: str = "error", **options: Unpack[ReadOptions]
    ) -> Forecaster:
        """Read new rows, so that forecasts begin after them; return self. See `ForecastPredictor.update`."""
        self.model_ = self._fitted().update(X, overlap=overlap, **options).model
        return self

    def stream(self, series: str | None = None) -> SeriesStream:
        """Return a stream over one series (default: the only one), to feed value by value."""
        return self._fitted().stream(series)

    def evaluate(self, X: SeriesSource, **how: Any) -> ForecastReport:
        """Measure the forecasts of new rows, as `ForecastPredictor.evaluate`."""
        return self._fitted().evaluate(X, **how)

    def score(self, X: SeriesSource, y: None = None) -> float:  # noqa: ARG002 - scikit-learn's signature
        """Return the skill on new rows against the best simple forecast; above 0 the network is better."""
        return self.evaluate(X).skill.value

    def cross_validation(
        self, X: SeriesSource, *, windows: int = 5, step: int | None = None, refit: bool = False
    ) -> ForecastReport:
        """Measure forecasts of the end of `X` from rolling origins; this estimator itself is not fitted.

        The last origin is a horizon before the end.

        Args:
            X: The series, as for `fit`.
            windows: The number of origins of each series.
            step: Time steps between two origins (default: the horizon).
            refit: Whether to train at each origin; otherwise the network is trained before the first origin,
                and reads the values up to each later one.

        Raises:
            OptionError: the origins leave too few values for training.
            DataError, MissingDependencyError: as `fit`.
        """
        series, options = self.read(X), self._checked_options()
        h = options.horizon
        windows = whole_number("windows", windows, 1)
        step = h if step is None else whole_number("step", step, 1)
        ends = [h + step * (windows - 1 - n) for n in range(windows)]
        longest, needed = max(map(len, series.values)), max(MIN_TRAINING_VALUES, h + 1)
        if longest - ends[0] < needed:
            raise OptionError(
                "windows",
                got=f"{windows}, which hold out {ends[0]} steps",
                expected=f"at most {longest - needed} of the {longest} that the longest series has",
            )
        with needs_torch():
            from elman.series.train import train_forecaster
        forecasts = []
        for end in ends if refit else ends[:1]:
            predictor = ForecastPredictor(
                train_forecaster(series.before(end), options, Run()).model
            )
            before = {
                name: max(1, len(values) - end)
                for name, values in zip(series.ids, series.values, strict=True)
            }
            read = series.before(end - h) if refit else series
            forecasts += predictor.windows(read, before, 1 if refit else windows, step)
        # Put the windows of each series side by side, as the comparison in the report expects.
        return predictor.report(sorted(forecasts, key=lambda window: window.series))
