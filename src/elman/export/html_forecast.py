"""A forecaster as the runtime of the exported page reads it."""

from __future__ import annotations

from dataclasses import asdict

import numpy as np

from elman.engine.layers import member_arrays
from elman.export.html_weights import Weights
from elman.files.container import JsonObject
from elman.files.model import Model
from elman.series.autoregression import MAX_LAG_INPUT
from elman.series.calendar import advance, calendar_features
from elman.series.codec import ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.predictor import ForecastPredictor
from elman.series.window_rule import MAX_INPUT, MIN_CHANGES, MIN_UNIT_SHARE
from elman.series.windows import LONG_PAST_STEPS
from elman.tables.json_values import json_value

_SIZES = ("task", "cell", "activation", "hidden_size", "num_layers", "segment", "quantiles")
_MAX_EXAMPLE_VALUES = 400


def described_forecaster(model: Model[ForecastConfig, ForecastCodec]) -> JsonObject:
    """Return the rule of the windows, the calibration and the weights, but no value of a series.

    The page has no covariates but those of the calendar: it counts them as missing, as Python does.
    """
    config, codec, weights = model.config, model.codec, Weights()
    rule, ridge = codec.rule, codec.ridge
    for m in range(config.members):
        for name, array in member_arrays(model.arrays, m).items():
            weights.add(f"{m}.{name}", array)
    described = JsonObject(config={name: getattr(config, name) for name in (*_SIZES, "members")})
    described["rule"] = {
        **asdict(rule),
        "steps_back": rule.steps_back,
        "ahead": rule.ahead,
        "reach": rule.reach,
        "rounding": rule.rounding_unit,
        "largest": rule.largest,
    }
    described["limits"] = {
        "changes": MIN_CHANGES,
        "unit": MIN_UNIT_SHARE,
        "input": MAX_INPUT,
        "lag": MAX_LAG_INPUT,
        "past": LONG_PAST_STEPS,
    }
    described["levels"], described["corrections"] = [*codec.levels], codec.corrections.tolist()
    described["mean_factor"] = codec.mean_factor
    predictor = ForecastPredictor(model)
    first = codec.history.select(codec.history.ids[:1])
    described["intervals"] = [*predictor.forecast(first, every_step=True).intervals]
    if ridge is not None:
        sizes = {"lags": ridge.weights.shape[1], "bounded": ridge.bounded_lags}
        described["ridge"] = {**sizes, "bound": ridge.bound, "spread": ridge.spread}
        weights.add("ridge.weights", ridge.weights)
        weights.add("ridge.bounded", ridge.bounded_weights)
    if codec.calendar:
        # The values on the page stand at the last steps of the first series.
        steps = np.arange(-rule.window, rule.reach) + len(first.values[0])
        times = advance(first.starts[0], first.frequency, steps)
        waves = calendar_features(times, first.frequency)
        described["calendar"] = np.pad(
            waves, ((0, 0), (rule.covariates - waves.shape[1], 0))
        ).tolist()
        described["times"] = json_value(times[rule.window :][: rule.horizon])
    names = codec.history.names
    missing = [*names["past"], *names["future"], *names["static"]]
    described["missing"] = sorted({name.split("=")[0] for name in missing})
    return described | weights.packed()


def example_values(codec: ForecastCodec) -> str:
    """Return an invented series with the model's season as text, with a value for each step of a window."""
    season = codec.rule.season if codec.rule.season > 1 else 12
    steps = np.arange(min(_MAX_EXAMPLE_VALUES, codec.rule.window))
    values = 100 + 20 * np.sin(2 * np.pi * steps / season) + 3 * (steps % 3)
    return ", ".join(f"{value:.0f}" for value in values)
