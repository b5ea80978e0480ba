"""Graph of a forecaster: from the values of series to quantiles of the next ones.

The graph prepares the windows as `elman.series.window_rule` does, in float64, so a program only hands over
the values as they are. B series have W values in the window and `reach` steps ahead of it.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.cells import find
from elman.engine.layers import Layer, member_arrays
from elman.export.onnx_graph import Graph, Value
from elman.export.onnx_layers import concatenated, known_or, recurrent, standardised
from elman.files.container import JsonObject
from elman.files.model import Model
from elman.series.autoregression import MAX_LAG_INPUT, Ridge
from elman.series.calendar import calendar_cycles
from elman.series.codec import ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.window_rule import MAX_INPUT, MIN_CHANGES, MIN_UNIT_SHARE, WindowRule
from elman.series.windows import LONG_PAST_STEPS
from elman.tables.scaler import Scaler

_NAN = float("nan")


def forecast_graph(model: Model[ForecastConfig, ForecastCodec]) -> Graph:
    """Return the graph of a forecaster, for series ``[batch, time]``."""
    codec, rule, graph = model.codec, model.codec.rule, Graph("series")
    history, past = _past(graph, rule)
    scale = _scale(rule, history, past)
    known, ridge = past / scale.power, codec.ridge
    recent = known.part(-rule.window)
    forecast = _repeated(rule, recent, scale, rule.season)
    if ridge is not None:
        moved = _correction(ridge, known, scale.unit) * scale.unit
        base = _repeated(rule, recent, scale, rule.lag_season).part(0, rule.horizon) + moved
        forecast = base.op("Concat", forecast.part(rule.horizon), axis=1)
    inputs = _inputs(graph, codec, recent.op("Concat", forecast, axis=1), scale)
    base = (forecast.part(0, rule.horizon) * scale.power).unsqueeze(2)
    unit = scale.unit * (1.0 if ridge is None else ridge.spread) * scale.power
    unit = unit.op("Clip", 1e-308, 1e308).unsqueeze(2)
    members = [_member(model, m, inputs) for m in range(model.config.members)]
    # [B, h, Q]
    answers = members[0].op("Mean", *members[1:]).cast("float64").part(0, rule.horizon)
    for corrections in (np.zeros(1), codec.corrections):
        answers = (answers + corrections).several(
            "TopK", 2, [len(codec.levels)], axis=2, largest=0
        )[0]
    quantiles = base + answers * unit
    quantiles = quantiles.op("Clip", 0.0 if rule.nonnegative else -rule.largest, rule.largest)
    quantiles = quantiles.op("Exp") if rule.log else quantiles
    graph.output("quantiles", quantiles, "batch", rule.horizon, len(codec.levels))
    return graph


def forecast_facts(model: Model[ForecastConfig, ForecastCodec]) -> JsonObject:
    """Return the levels of the quantiles, and what the inputs stand for; no value of a series."""
    codec = model.codec
    names, frequency = codec.history.names, codec.history.frequency
    return {
        "levels": [*codec.levels],
        "horizon": codec.rule.horizon,
        "window": codec.rule.window,
        "reach": codec.rule.reach,
        "frequency": str(frequency),
        "covariates": [*names["past"], *names["future"]],
        "calendar": calendar_cycles(frequency) if codec.calendar else [],
        "static": [*names["static"]],
    }


def _member(model: Model[ForecastConfig, ForecastCodec], m: int, x: Value) -> Value:
    """Return the answers ``[B, reach, Q]`` of one member, as in `elman.series.network`."""
    config, arrays, ahead = model.config, member_arrays(model.arrays, m), model.codec.rule.ahead
    cell = find(config.cell, config.activation)

    def linear(value: Value, name: str) -> Value:
        return value.linear(arrays[f"{name}.weight"], arrays.get(f"{name}.bias"))

    y = read = linear(x, "input").op("Relu")
    for k in range(config.num_layers):
        y, _ = recurrent(Layer(cell, arrays, f"layers.{k}"), y)
    both = y.op("Concat", read, axis=2).part(-ahead, axis=0)
    mixed = linear(both, "middle").op("Relu")
    answers = linear(mixed, "output").reshape(0, 0, config.segment, config.quantiles)
    # [ahead, B, s, Q]; the skip adds the same to all quantiles of a step
    answers += linear(x.part(-ahead, axis=0), "skip").unsqueeze(3)
    shape = (0, ahead * config.segment, config.quantiles)
    return answers.transpose(1, 0, 2, 3).reshape(*shape)


class _Scale(NamedTuple):
    """The scale of each window, all ``[B, 1]``; values are divided by `power` before the others."""

    power: Value
    location: Value
    deviation: Value
    unit: Value


def _like(value: Value, columns: int, number: float) -> Value:
    """Return ``[B, columns]`` filled with a number, for as many series as `value` has."""
    shape = value.op("Shape", start=0, end=1).op("Concat", [columns], axis=0)
    return value.graph.constant(np.array(number)).op("Expand", shape)


def _known_mean(values: Value) -> tuple[Value, Value]:
    """Return the mean of the known values of each row, 0 without any, and their count, ``[B, 1]``."""
    count = values.op("IsNaN").op("Not").cast("float64").sum(1, keep=True)
    return known_or(values, 0).sum(1, keep=True) / count.op("Max", 1), count


def _gathered(values: Value, places: np.ndarray) -> Value:
    """Return the columns of ``values [B, N]`` at `places`, NaN where a place is below 0."""
    extended = _like(values, 1, _NAN).op("Concat", values, axis=1)
    return extended.op("Gather", values.graph.constant(np.maximum(places + 1, 0)), axis=1)


def _past(graph: Graph, rule: WindowRule) -> tuple[Value, Value]:
    """Return all values, transformed, with NaN in front, and the last ``[B, steps_back]`` of them."""
    values = graph.input("values", "float64", "batch", "time")
    if rule.log:
        values = (values > 0).where(values.op("Log"), _NAN)
    front = _like(values, max(rule.steps_back, LONG_PAST_STEPS * rule.floor), _NAN)
    history = front.op("Concat", values, axis=1)
    past = history.part(-rule.steps_back)
    # after a gap as long as the window, the last value before it stands at its start
    at = history.op("IsNaN").op("Not").cast("int64") * history.steps(1)
    last = history.op("GatherElements", at.op("ReduceMax", axes=[1]), axis=1)
    first = (_known_mean(past)[1] > 0).where(past.part(0, 1), last)
    return history, first.op("Concat", past.part(1), axis=1)


def _scale(rule: WindowRule, history: Value, past: Value) -> _Scale:
    power = _like(past, 1, 1.0) if rule.log else _power_of_two(past)
    past = past.part(-rule.window) / power
    recent, count = _known_mean(past.part(-rule.season))
    location = (count > 0).where(recent, _known_mean(past)[0])
    difference = past - location
    deviation = _known_mean(difference * difference)[0].op("Sqrt")
    changes = (past - _gathered(past, np.arange(rule.window) - rule.season)).op("Abs")
    unit, count = _known_mean(changes)
    unit = (count > 0).where(unit, deviation)
    if rule.floor:
        # where most values repeat, the long past shows how large changes are
        moving = (changes > 0).cast("float64").sum(1, keep=True)
        long, steps = history.part(-LONG_PAST_STEPS), np.arange(LONG_PAST_STEPS)
        change = long - _gathered(long, steps - rule.season)
        least = _known_mean(change * change)[0].op("Sqrt") / power
        unit = (moving * 2 < count).where(unit.op("Max", least), unit)
    usual = _like(unit, 1, rule.usual) if rule.log else location.op("Abs") * rule.usual
    unit = (count < MIN_CHANGES).where(unit.op("Max", usual), unit)
    unit = unit.op("Max", deviation * MIN_UNIT_SHARE, rule.rounding_unit)
    return _Scale(power, location, deviation.op("Max", unit), unit)


def _power_of_two(past: Value) -> Value:
    """Return the least power of two above the numbers of each row, ``[B, 1]``."""
    largest = known_or(past, 0).op("Abs").op("ReduceMax", axes=[1])
    exponent = ((largest.op("Log") / np.log(2.0)).op("Floor") + 1).op("Clip", -1010, 1020)
    power = _like(past, 1, 2.0).op("Pow", exponent)
    # a rounded logarithm may give the next power: it only decides what counts as a rounding error
    return (largest > 0).where(power, 1)


def _repeated(rule: WindowRule, past: Value, scale: _Scale, season: int) -> Value:
    """Return the last season repeated ``[B, reach]``, each phase by its last known value."""
    # [n, s]: the places of each phase, the last one first
    count = -(-rule.window // season)
    order = np.arange(count)[:, None]
    values = _gathered(past, rule.window - season + np.arange(season) - season * order)
    places = past.graph.constant(order).op("Expand", values.op("Shape"))
    at = values.op("IsNaN").op("Not").where(places, count - 1).op("ReduceMin", axes=[1])
    last = known_or(values.op("GatherElements", at, axis=1).squeeze(1), scale.location)
    return _gathered(last, np.arange(rule.reach) % season)


def _correction(ridge: Ridge, past: Value, unit: Value) -> Value:
    """Return what the linear autoregression adds to the naive forecast, ``[B, h]``, in units."""
    L, K = ridge.weights.shape[1], ridge.bounded_lags
    recent = past.part(-L)
    known = recent.op("IsNaN").op("Not").cast("float32")
    # the place of the last known value up to each step, and of the first one before that
    at = (known * np.arange(1, L + 1)).unsqueeze(1)
    at = at.op("MaxPool", kernel_shape=[L], pads=[L - 1, 0]).squeeze(1).cast("int64") + -1
    at = (at < 0).where(known.op("ArgMax", axis=1), at)
    filled = recent.op("GatherElements", at, axis=1)
    inputs = known_or((filled - filled.part(-1)) / unit, 0)
    inputs = inputs.op("Clip", -MAX_LAG_INPUT, MAX_LAG_INPUT)
    near = inputs.part(L - 1 - K, L - 1).op("Clip", -ridge.bound, ridge.bound)
    inputs = inputs.part(0, L - 1).op("Concat", _like(inputs, 1, 1.0), axis=1)
    moved = inputs.linear(ridge.weights)
    return moved + near.linear(ridge.bounded_weights) if K else moved


def _inputs(graph: Graph, codec: ForecastCodec, values: Value, scale: _Scale) -> Value:
    """Return the inputs of the network ``[S, B, F]`` from the window and the forecast behind it."""
    rule, W, steps = codec.rule, codec.rule.window, np.arange(codec.rule.window + codec.rule.reach)
    before = _gathered(values, steps - rule.season)
    level = (values - scale.location) / scale.deviation
    change = (values - before) / scale.unit
    if codec.ridge is None:
        # the naive forecast repeats the season, so its changes carry no information
        change *= steps < W
        level = level * (steps < W) if rule.season == 1 else level
    channels = [level, change]
    if long := rule.long_season:
        # beyond a whole long season of the future, the last known one is repeated
        places = steps - long - long * np.maximum(0, (steps - W) // long)
        channels.append((_gathered(values, places) - before) / scale.unit)
    channels.append(values.op("IsNaN").cast("float64"))
    rows = [channel.unsqueeze(2) for channel in channels]
    if C := rule.covariates:
        given = _given(graph, "covariates", (codec.past, codec.future), len(steps), C)
        # past covariates are not known after the origin
        rows.append(given * ((steps[:, None] < W) | (np.arange(C) >= rule.past)))
    x = known_or(concatenated(rows, axis=2), 0).op("Clip", -MAX_INPUT, MAX_INPUT)
    # [B, S·s, C] → [S, B, C·s]
    count = len(channels) + C
    x = x.reshape(0, -1, rule.segment, count).transpose(1, 0, 3, 2)
    x = x.reshape(0, 0, count * rule.segment)
    return x.op("Concat", _facts(graph, codec, scale), axis=2).cast("float32")


def _given(graph: Graph, name: str, scalers: tuple[Scaler | None, ...], *shape: int) -> Value:
    """Add an input ``[B, *shape]`` and return it standardised; columns without a scaler stay."""
    known = [scaler for scaler in scalers if scaler is not None]
    rest = shape[-1] - sum(len(scaler.mean) for scaler in known)
    mean = np.concatenate([*(scaler.mean for scaler in known), np.zeros(rest)])
    scale = np.concatenate([*(scaler.scale for scaler in known), np.ones(rest)])
    value = graph.input(name, "float64", "batch", *shape)
    return standardised(value, Scaler(mean, scale)).cast("float64")


def _facts(graph: Graph, codec: ForecastCodec, scale: _Scale) -> Value:
    """Return the inputs beside the values, float64 ``[S, B, ahead + 2 + static]``."""
    rule, unit = codec.rule, scale.unit
    size = unit.op("Log") / (2 * np.log(10.0)) + 0.5 if rule.log else _like(unit, 1, 0.0)
    parts = [_like(unit, rule.ahead, 0.0), size, (unit / scale.deviation).op("Log") / 3]
    if rule.static:
        static = _given(graph, "static", (codec.static,), rule.static)
        parts.append(static.op("Clip", -MAX_INPUT, MAX_INPUT))
    # a one-hot code of the future segment
    past = rule.window // rule.segment
    code = np.eye(past + rule.ahead, rule.ahead + 2 + rule.static, -past)[:, None]
    return concatenated(parts, axis=1) + code
