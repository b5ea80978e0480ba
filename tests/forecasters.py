"""Tables of series, and forecasters of them with random or known weights."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from elman.files.model import Model
from elman.series.autoregression import Ridge
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


def make_random_forecaster(seed: int, cell: str, activation: str, *, plain: bool = False) -> Model:
    """Make a forecaster of two series with random weights and rule; a `plain` one reads only values."""
    draw = np.random.default_rng(seed)

    def some(number: int) -> int:
        return number if draw.random() < 0.5 else 0

    options = OFFERS if some(1) and not plain else SeriesOptions()
    frame = sales(0, int(draw.integers(4, 60)), more=7 if options is OFFERS else 0)
    for column in {*frame} - {
        "unique_id",
        "ds",
        "y",
        *options.past,
        *options.future,
        *options.static,
    }:
        del frame[column]
    series = load_series(frame, options)
    log, segment = bool(some(1)), int(draw.integers(1, 5))
    window = segment * int(draw.integers(2, 9))
    season = int(draw.integers(1, window + 1)) if some(1) else 1
    values = []
    for scale in 10.0 ** draw.integers(-6, 9, 2):
        noise = draw.normal(size=len(series.values[0]))
        row = {
            "walk": scale * np.cumsum(noise),
            "level": scale * (3 + 1e-9 * noise),
            "rounded": np.round(noise),
            "seasonal": scale * (np.arange(len(noise)) % season + 1e-4 * noise),
        }[draw.choice(["walk", "level", "rounded", "seasonal"])]
        row[draw.random(len(row)) < 0.2 * some(1)] = np.nan
        if draw.random() < 0.15 and len(row) > window:
            row[-window:] = np.nan
        row[0] = scale
        values.append(abs(row) if log else row)
    series = replace(series, values=tuple(values))
    model = make_forecaster(
        series,
        cell=cell,
        log=log,
        **({"calendar": False} if plain else {}),
        num_layers=int(draw.integers(1, 3)),
        members=int(draw.integers(1, 3)),
    )
    lags = some(int(draw.integers(1, 13)))
    rule = replace(
        model.codec.rule,
        horizon=int(draw.integers(1, 7)), segment=segment, window=window,
        season=season, long_season=some(int(draw.integers(1, window + 1))),
        nonnegative=bool(some(1)) and not log, floor=bool(some(1)), usual=draw.random() * some(1) * 1.0,
        lags=lags, lag_season=int(draw.integers(1, window + 1)) if lags else 0,
    )  # fmt: skip
    ridge = None
    if lags:
        bounded = draw.normal(size=(rule.horizon, some(lags // 2)))
        weights = draw.normal(scale=0.2, size=(rule.horizon, lags))
        ridge = Ridge(weights, draw.uniform(0.5, 1, rule.horizon), bounded, 1.25)
    codec = replace(model.codec, rule=rule, ridge=ridge)
    config = replace(
        model.config, activation=activation, input_size=rule.input_size, segment=segment
    )
    arrays = {
        name: draw.normal(scale=0.3, size=shape).astype(np.float32)
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
