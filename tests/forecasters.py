"""Tables of series, and forecasters of them with random or known weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from elman.files.model import Model
from elman.series.codec import ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.predictor import ForecastPredictor
from elman.series.read_options import SeriesOptions
from elman.series.series import SeriesSet, load_series
from elman.series.window_rule import WindowRule
from elman.tables.scaler import Scaler

LEVELS = (0.025, 0.1, 0.5, 0.9, 0.975)
OFFERS = SeriesOptions(past=("rain",), future=("offer",), static=("side",))


def stamps(first: int, count: int) -> list[str]:
    return (np.datetime64("2020-01-01") + np.arange(first, first + count)).astype(str).tolist()


def sales(
    first: int, count: int, ids: tuple[str, ...] = ("a", "b"), more: int = 0
) -> dict[str, Any]:
    """Make rows of each id with covariates; the last `more` rows have only known-future ones."""
    at = np.arange(first, first + count + more)
    frame: dict[str, Any] = {
        "unique_id": [],
        "ds": [],
        "y": [],
        "rain": [],
        "offer": [],
        "side": [],
    }
    for number, name in enumerate(ids):
        y = 50 * (number + 1) + 9 * (at % 7) + np.sin(3.7 * at)
        frame["unique_id"] += [name] * len(at)
        frame["ds"] += stamps(first, len(at))
        frame["y"] += [*y[:count].tolist(), *[None] * more]
        frame["rain"] += [*np.cos(at[:count]).tolist(), *[None] * more]
        frame["offer"] += (at % 3).tolist()
        frame["side"] += ["north" if name == "a" else "south"] * len(at)
    return frame


def make_forecaster(
    series: SeriesSet, *, cell: str = "gru", log: bool = False, **settings: Any
) -> Model:
    """Make a forecaster of `series` with random weights."""
    columns = [len(series.names[role]) for role in ("past", "future", "static")]
    dated = settings.pop("calendar", series.starts.dtype.kind == "M")
    count = columns[0] + columns[1] + 2 * dated
    rule = WindowRule(5, 7, 0, 7, 14, log, count, columns[0], columns[2])
    codec = ForecastCodec(
        rule,
        LEVELS,
        np.array([-0.4, -0.2, 0.0, 0.2, 0.4]),
        dated,
        Scaler.of(series.past) if columns[0] else None,
        Scaler.of(series.future) if columns[1] else None,
        Scaler.of((series.static,)) if columns[2] else None,
        series,
    )
    sizes = {"hidden_size": 6, "num_layers": 2, "bias": True, "members": 2} | settings
    config = ForecastConfig(
        "forecast", cell, "tanh", rule.input_size, segment=7, quantiles=len(LEVELS), **sizes
    )
    random = np.random.default_rng(0)
    arrays = {
        name: (0.3 * random.standard_normal(shape)).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    return Model(config, arrays, codec, {})


def shop(cell: str = "gru", activation: str = "tanh", **settings: Any) -> ForecastPredictor:
    model = make_forecaster(load_series(sales(0, 30, more=5), OFFERS), cell=cell, **settings)
    return ForecastPredictor(replace(model, config=replace(model.config, activation=activation)))


def skipping(
    series: SeriesSet, weights: dict[int, float], *, window: int = 14, long_season: int = 0
) -> ForecastPredictor:
    """Make a forecaster whose network is only ``skip``, with a weight for each channel of a step."""
    model = make_forecaster(series, members=1, num_layers=1)
    codec = model.codec
    rule = replace(codec.rule, window=window, long_season=long_season)
    codec = replace(codec, rule=rule, corrections=np.array([-2.0, -1.0, 0.0, 1.0, 2.0]))
    config = replace(model.config, input_size=rule.input_size)
    arrays = {name: np.zeros(shape, np.float32) for name, shape in config.parameters().items()}
    for kind, weight in weights.items():
        for step in range(rule.segment):
            arrays["members.0.skip.weight"][step, kind * rule.segment + step] = weight
    return ForecastPredictor(Model(config, arrays, codec, {}))
