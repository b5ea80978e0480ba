"""The forecaster of series, in the manner of a scikit-learn estimator."""

from __future__ import annotations

from os import PathLike
from pathlib import Path
from typing import Any, cast

from elman.engine.shapes import whole_number
from elman.errors import OptionError
from elman.series.forecast import Forecast
from elman.series.options import ForecasterOptions
from elman.series.predictor import ForecastPredictor, SeriesStream
from elman.series.report import ForecastReport
from elman.series.series import READING, SeriesOptions, SeriesSet, load_series
from elman.training.estimator import Estimator, needs_torch

__all__ = ["Forecaster"]

LEAST = 3
"""Values that there must be to train on, and one more than the horizon."""


def _names(text: str | None) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


class Forecaster(Estimator):
    """A recurrent network that forecasts one series or thousands, with intervals.

    Its parameters are `elman.series.options.ForecasterOptions`, all by name; None lets Elman choose.
    After `fit`: `model_` (the value that the file holds), `predictor_` (what `elman.load` returns),
    `card_` (how it was trained and how good it is, beside naive forecasts) and `stopped_`.

    >>> import numpy as np
    >>> values = 10 + np.sin(np.arange(96) * 2 * np.pi / 12)
    >>> model = Forecaster(horizon=3, steps=5, hidden_size=4, members=1, refit=False).fit(values)
    >>> model.predict().median.shape
    (1, 3)
    """

    options = ForecasterOptions
    predictor_type = ForecastPredictor

    def _fitted(self) -> ForecastPredictor:
        return cast(ForecastPredictor, super()._fitted())

    def read(self, X: Any) -> SeriesSet:
        """Return the series in `X` by the columns and policies among the parameters.

        Raises DataError, OptionError, MissingDependencyError.
        """
        options: ForecasterOptions = self._checked_options()
        if isinstance(X, SeriesSet):
            return X
        target = _names(options.target)
        return load_series(
            X,
            SeriesOptions(
                id_column=options.id_column,
                time_column=options.time_column,
                target=target if len(target) > 1 else options.target,
                past=_names(options.past),
                future=_names(options.future),
                static=_names(options.static),
                frequency=options.frequency,
                **{name: getattr(options, name) for name in READING},
            ),
        )

    def fit(
        self,
        X: Any,
        y: None = None,  # noqa: ARG002 - scikit-learn's signature
        *,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Any = None,
        verbose: bool = False,
    ) -> Forecaster:
        """Train on the series in `X`: a path, a data frame long or wide, arrays; return self.

        `output`, `resume`, `watch` and `verbose` are as for `LanguageModel.fit`.
        Raises DataError, OptionError, OutputError, ModelFileError, DivergedError.
        """
        with needs_torch():
            from elman.series.train import train_forecaster
        with self._shown(verbose, watch, output) as watching:
            outcome = train_forecaster(
                self.read(X),
                self._checked_options(),
                output=None if output is None else Path(output),
                resume=resume,
                watch=watching,
            )
        return self._keep(outcome)

    def predict(
        self,
        horizon: int | None = None,
        *,
        series: Any = None,
        future: Any = None,
        point: str = "median",
    ) -> Forecast:
        """Return the next steps of every series, as `ForecastPredictor.predict`."""
        return self._fitted().predict(horizon, series=series, future=future, point=point)

    def update(self, X: Any, **options: Any) -> Forecaster:
        """Read new rows, so that forecasts begin after them; return self. As `ForecastPredictor.update`."""
        self.model_ = self._fitted().update(X, **options).model
        return self

    def stream(self, series: str | None = None) -> SeriesStream:
        """Return a stream over one series, to feed value by value."""
        return self._fitted().stream(series)

    def evaluate(self, X: Any, **how: Any) -> ForecastReport:
        """Return how good the forecasts of new rows are, as `ForecastPredictor.evaluate`."""
        return self._fitted().evaluate(X, **how)

    def score(self, X: Any, y: None = None) -> float:  # noqa: ARG002 - scikit-learn's signature
        """Return the skill on new rows against the best of the naive forecasts; above 0 is better."""
        return self.evaluate(X).skill.value

    def cross_validation(
        self, X: Any, *, windows: int = 5, step: int | None = None, refit: bool = False
    ) -> ForecastReport:
        """Return how good forecasts of the last part of `X` are, from `windows` rolling origins.

        Origins are `step` (the horizon) apart, the last one a horizon before the end. The network is
        trained before the first of them, and reads on to the others; with `refit` it is trained anew at
        each. This estimator stays as it was. Raises as `fit`.
        """
        series, options = self.read(X), self._checked_options()
        h = options.horizon
        windows = whole_number("windows", windows, 1)
        apart = h if step is None else whole_number("step", step, 1)
        ends = [h + apart * (windows - 1 - n) for n in range(windows)]
        longest, least = max(map(len, series.values)), max(LEAST, h + 1)
        if longest - ends[0] < least:
            raise OptionError(
                "windows",
                got=f"{windows}, which hold out {ends[0]} steps",
                expected=f"at most {longest - least} of the {longest} that the longest series has",
            )
        with needs_torch():
            from elman.series.train import train_forecaster
        found = []
        for end in ends if refit else ends[:1]:
            outcome = train_forecaster(series.before(end), options)
            predictor = ForecastPredictor(outcome.model)
            before = {
                name: max(1, len(values) - end)
                for name, values in zip(series.ids, series.values, strict=True)
            }
            part = series.before(end - h) if refit else series
            found += predictor.windows(part, before, 1 if refit else windows, apart)
        # those of a series side by side
        return predictor.report(sorted(found, key=lambda window: window.series))
