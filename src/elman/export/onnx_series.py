"""Graph of a forecaster: from the values of series to quantiles of the next ones.

The graph prepares the windows as `elman.series.window_rule` does, in float64, so a program only hands over
the values as they are. B series have W values in the window and `reach` steps ahead of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from elman.cells import find
from elman.engine.layers import Layer, member_arrays
from elman.export.onnx_graph import Graph
from elman.files.container import JsonObject
from elman.files.model import Model
from elman.series.autoregression import MAX_LAG_INPUT, Ridge
from elman.series.calendar import calendar_cycles
from elman.series.codec import ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.window_rule import MAX_INPUT, MIN_CHANGES, MIN_UNIT_SHARE
from elman.series.windows import LONG_PAST_STEPS
from elman.tables.scaler import Scaler

_NAN = float("nan")


def forecast_graph(model: Model[ForecastConfig, ForecastCodec]) -> Graph:
    """Return the graph of a forecaster, for series ``[batch, time]``."""
    config, builder = model.config, _Windows(model.codec)
    graph, codec = builder.graph, model.codec
    window = builder.prepared()
    members = [_member(graph, model, m, window.inputs) for m in range(config.members)]
    # [B, reach, Q], of which the horizon is kept
    answers = builder.columns(
        graph.cast(graph.op("Mean", *members), "float64"), 0, codec.rule.horizon
    )
    for correction in (None, codec.corrections):
        if correction is not None:
            answers = graph.op("Add", answers, graph.constant(correction))
        sizes = graph.constant([len(codec.levels)])
        answers, _ = graph.several("TopK", 2, answers, sizes, axis=2, largest=0)
    moved = graph.op("Mul", answers, graph.op("Unsqueeze", window.unit, graph.constant([2])))
    moved = graph.op("Add", graph.op("Unsqueeze", window.base, graph.constant([2])), moved)
    largest = codec.rule.largest
    least = 0.0 if codec.rule.nonnegative else -largest
    moved = graph.op("Clip", moved, builder.number(least), builder.number(largest))
    if codec.rule.log:
        moved = graph.op("Exp", moved)
    graph.output("quantiles", moved, "float64", "batch", codec.rule.horizon, len(codec.levels))
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


def _member(graph: Graph, model: Model[ForecastConfig, ForecastCodec], m: int, x: str) -> str:
    """Return the answers ``[B, reach, Q]`` of one member, as in `elman.series.network`."""
    config, arrays, ahead = model.config, member_arrays(model.arrays, m), model.codec.rule.ahead
    cell = find(config.cell, config.activation)

    def linear(value: str, name: str) -> str:
        return graph.linear(value, arrays[f"{name}.weight"], arrays.get(f"{name}.bias"))

    def future(value: str) -> str:
        ends = graph.constant([np.iinfo(np.int64).max])
        return graph.op("Slice", value, graph.constant([-ahead]), ends, graph.constant([0]))

    y = read = graph.op("Relu", linear(x, "input"))
    for k in range(config.num_layers):
        y, _ = graph.recurrent(Layer(cell, arrays, f"layers.{k}"), y)
    both = graph.op("Concat", future(y), future(read), axis=2)
    mixed = graph.op("Relu", linear(both, "middle"))
    # [ahead, B, s, Q]; the skip adds the same to all quantiles of a step
    skipped = graph.op("Unsqueeze", linear(future(x), "skip"), graph.constant([3]))
    answers = graph.reshape(linear(mixed, "output"), 0, 0, config.segment, config.quantiles)
    answers = graph.op("Transpose", graph.op("Add", answers, skipped), perm=[1, 0, 2, 3])
    return graph.reshape(answers, 0, ahead * config.segment, config.quantiles)


class _Prepared(NamedTuple):
    """The fields of `elman.series.window_rule.Prepared`, as names in the graph; `unit` is ``[B, 1]``."""

    inputs: str
    base: str
    unit: str


class _Scale(NamedTuple):
    """Names of the scale of each window, all ``[B, 1]``; values are divided by `power` before the others."""

    power: str
    location: str
    deviation: str
    unit: str


class _Windows:
    """The preparation of windows, step by step as in `elman.series.window_rule`."""

    def __init__(self, codec: ForecastCodec) -> None:
        self.codec, self.rule, self.graph = codec, codec.rule, Graph("series")

    def number(self, value: float) -> str:
        """Return a constant float64."""
        return self.graph.constant(np.array(value, np.float64))

    def columns(self, value: str, first: int, end: int = np.iinfo(np.int64).max) -> str:
        """Return the columns of ``value [B, N, ...]`` from `first` up to `end`."""
        parts = ([first], [end], [1])
        return self.graph.op("Slice", value, *map(self.graph.constant, parts))

    def like(self, value: str, columns: int, number: float) -> str:
        """Return ``[B, columns]`` filled with a number, for as many series as `value` has."""
        count = self.graph.op("Shape", value, start=0, end=1)
        shape = self.graph.op("Concat", count, self.graph.constant([columns]), axis=0)
        return self.graph.op("Expand", self.number(number), shape)

    def known_or(self, value: str, otherwise: str) -> str:
        """Return `value`, and `otherwise` where it is NaN."""
        return self.graph.op("Where", self.graph.op("IsNaN", value), otherwise, value)

    def known_mean(self, values: str) -> tuple[str, str]:
        """Return the mean of the known values of each row, 0 without any, and their count, ``[B, 1]``."""
        op, axis = self.graph.op, self.graph.constant([1])
        known = self.graph.cast(op("Not", op("IsNaN", values)), "float64")
        count = op("ReduceSum", known, axis)
        total = op("ReduceSum", self.known_or(values, self.number(0)), axis)
        return op("Div", total, op("Max", count, self.number(1))), count

    def gathered(self, values: str, places: np.ndarray) -> str:
        """Return the columns of ``values [B, N]`` at `places`, NaN where a place is below 0."""
        op, graph = self.graph.op, self.graph
        extended = op("Concat", self.like(values, 1, _NAN), values, axis=1)
        return op("Gather", extended, graph.constant(np.maximum(places + 1, 0)), axis=1)

    def prepared(self) -> _Prepared:
        """Return the inputs of the network, the forecast that it corrects, and the unit of its answers."""
        op, rule, ridge = self.graph.op, self.rule, self.codec.ridge
        history, past = self._past()
        scale = self._scale(history, past)
        known = op("Div", past, scale.power)
        recent = self.columns(known, -rule.window)
        forecast = self._repeated(recent, scale, rule.season)
        if ridge is not None:
            moved = op("Mul", self._correction(ridge, known, scale.unit), scale.unit)
            base = self.columns(self._repeated(recent, scale, rule.lag_season), 0, rule.horizon)
            rest = self.columns(forecast, rule.horizon)
            forecast = op("Concat", op("Add", base, moved), rest, axis=1)
        inputs = self._inputs(op("Concat", recent, forecast, axis=1), scale)
        base = op("Mul", self.columns(forecast, 0, rule.horizon), scale.power)
        spread = self.number(1.0 if ridge is None else ridge.spread)
        unit = op("Mul", op("Mul", scale.unit, spread), scale.power)
        return _Prepared(inputs, base, op("Clip", unit, self.number(1e-308), self.number(1e308)))

    def _past(self) -> tuple[str, str]:
        """Return all values, transformed, with NaN in front, and the last ``[B, steps_back]`` of them."""
        op, rule, graph = self.graph.op, self.rule, self.graph
        values = graph.input("values", "float64", "batch", "time")
        if rule.log:
            is_positive = op("Greater", values, self.number(0))
            values = op("Where", is_positive, op("Log", values), self.number(_NAN))
        front = self.like(values, max(rule.steps_back, LONG_PAST_STEPS * rule.floor), _NAN)
        history = op("Concat", front, values, axis=1)
        past = self.columns(history, -rule.steps_back)
        # after a gap as long as the window, the last value before it stands at its start
        steps = op("Range", graph.constant(0), op("Squeeze", op("Shape", history, start=1)),
                   graph.constant(1))  # fmt: skip
        at = op("Where", op("IsNaN", history), graph.constant(0), steps)
        at = op("ReduceMax", at, axes=[1], keepdims=1)
        last = op("GatherElements", history, at, axis=1)
        _, count = self.known_mean(past)
        is_gap = op("Equal", count, self.number(0))
        first = op("Where", is_gap, last, self.columns(past, 0, 1))
        return history, op("Concat", first, self.columns(past, 1), axis=1)

    def _scale(self, history: str, past: str) -> _Scale:
        op, rule, number = self.graph.op, self.rule, self.number
        power = number(1.0) if rule.log else self._power_of_two(past)
        past = op("Div", self.columns(past, -rule.window), power)
        recent, count = self.known_mean(self.columns(past, -rule.season))
        location = op("Where", op("Greater", count, number(0)), recent, self.known_mean(past)[0])
        difference = op("Sub", past, location)
        deviation = op("Sqrt", self.known_mean(op("Mul", difference, difference))[0])
        before = self.gathered(past, np.arange(rule.window) - rule.season)
        changes = op("Abs", op("Sub", past, before))
        unit, count = self.known_mean(changes)
        unit = op("Where", op("Greater", count, number(0)), unit, deviation)
        if rule.floor:
            least = self._least_unit(history, changes, count)
            unit = op("Max", unit, op("Div", least, power))
        usual = number(rule.usual)
        usual = usual if rule.log else op("Mul", op("Abs", location), usual)
        is_short = op("Less", count, number(MIN_CHANGES))
        unit = op("Where", is_short, op("Max", unit, usual), unit)
        unit = op(
            "Max", unit, op("Mul", deviation, number(MIN_UNIT_SHARE)), number(rule.rounding_unit)
        )
        return _Scale(power, location, op("Max", deviation, unit), unit)

    def _power_of_two(self, past: str) -> str:
        """Return the least power of two above the numbers of each row, ``[B, 1]``."""
        op, number = self.graph.op, self.number
        largest = op("ReduceMax", op("Abs", self.known_or(past, number(0))), axes=[1], keepdims=1)
        exponent = op("Floor", op("Div", op("Log", largest), number(np.log(2.0))))
        exponent = op("Clip", op("Add", exponent, number(1)), number(-1010), number(1020))
        power = op("Pow", number(2), exponent)
        # the logarithm is rounded, so the power may be half or twice as large
        power = op("Where", op("LessOrEqual", power, largest), op("Mul", power, number(2)), power)
        half = op("Mul", power, number(0.5))
        power = op("Where", op("Less", largest, half), half, power)
        return op("Where", op("Equal", largest, number(0)), number(1), power)

    def _least_unit(self, history: str, changes: str, count: str) -> str:
        """Return the root mean square of the seasonal changes of the long past where most values repeat."""
        op, number, axis = self.graph.op, self.number, self.graph.constant([1])
        moving = self.graph.cast(op("Greater", changes, number(0)), "float64")
        moving = op("Mul", op("ReduceSum", moving, axis), number(2))
        long = self.columns(history, -LONG_PAST_STEPS)
        before = self.gathered(long, np.arange(LONG_PAST_STEPS) - self.rule.season)
        change = op("Sub", long, before)
        mean, _ = self.known_mean(op("Mul", change, change))
        return op("Where", op("Less", moving, count), op("Sqrt", mean), number(0))

    def _repeated(self, past: str, scale: _Scale, season: int) -> str:
        """Return the last season repeated ``[B, reach]``, each phase by its last known value."""
        op, W = self.graph.op, self.rule.window
        # [n, s]: the places of each phase, the last one first
        count = -(-W // season)
        places = W - season + np.arange(season) - season * np.arange(count)[:, None]
        values = self.gathered(past, places)
        order = self.graph.constant(np.arange(count)[:, None])
        at = op("Where", op("IsNaN", values), self.graph.constant(count - 1), order)
        at = op("ReduceMin", at, axes=[1], keepdims=1)
        last = op("Squeeze", op("GatherElements", values, at, axis=1), self.graph.constant([1]))
        return self.gathered(
            self.known_or(last, scale.location), np.arange(self.rule.reach) % season
        )

    def _correction(self, ridge: Ridge, past: str, unit: str) -> str:
        """Return what the linear autoregression adds to the naive forecast, ``[B, h]``, in units."""
        op, number, graph = self.graph.op, self.number, self.graph
        L, K = ridge.weights.shape[1], ridge.bounded_lags
        recent = self.columns(past, -L)
        unknown = op("IsNaN", recent)
        # the place of the last known value up to each step, and of the first one before that
        places = graph.constant(np.arange(L, dtype=np.float32))
        at = op(
            "Unsqueeze", op("Where", unknown, graph.constant(-1.0), places), graph.constant([1])
        )
        at = op(
            "Squeeze", op("MaxPool", at, kernel_shape=[L], pads=[L - 1, 0]), graph.constant([1])
        )
        known = graph.cast(op("Not", unknown), "float32")
        at, first = graph.cast(at, "int64"), op("ArgMax", known, axis=1)
        at = op("Where", op("Less", at, graph.constant([0])), first, at)
        filled = op("GatherElements", recent, at, axis=1)
        inputs = op("Div", op("Sub", filled, self.columns(filled, -1)), unit)
        inputs = op(
            "Clip", self.known_or(inputs, number(0)), number(-MAX_LAG_INPUT), number(MAX_LAG_INPUT)
        )
        inputs = op("Concat", self.columns(inputs, 0, L - 1), self.like(inputs, 1, 1.0), axis=1)
        moved = op("MatMul", inputs, graph.constant(ridge.weights.T))
        if K:
            near = self.columns(inputs, L - 1 - K, L - 1)
            near = op("Clip", near, number(-ridge.bound), number(ridge.bound))
            moved = op("Add", moved, op("MatMul", near, graph.constant(ridge.bounded_weights.T)))
        return moved

    def _inputs(self, values: str, scale: _Scale) -> str:
        """Return the inputs of the network ``[S, B, F]`` from the window and the forecast behind it."""
        op, rule, graph = self.graph.op, self.rule, self.graph
        W, steps = rule.window, np.arange(rule.window + rule.reach)
        before = self.gathered(values, steps - rule.season)
        level = op("Div", op("Sub", values, scale.location), scale.deviation)
        change = op("Div", op("Sub", values, before), scale.unit)
        if self.codec.ridge is None:
            # the naive forecast repeats the season, so its changes carry no information
            past = graph.constant((steps < W).astype(np.float64))
            change = op("Mul", change, past)
            level = op("Mul", level, past) if rule.season == 1 else level
        channels = [level, change]
        if long := rule.long_season:
            # beyond a whole long season of the future, the last known one is repeated
            places = steps - long - long * np.maximum(0, (steps - W) // long)
            earlier = self.gathered(values, places)
            channels.append(op("Div", op("Sub", earlier, before), scale.unit))
        channels.append(graph.cast(op("IsNaN", values), "float64"))
        rows = [op("Unsqueeze", channel, graph.constant([2])) for channel in channels]
        if rule.covariates:
            rows.append(self._covariates())
        x = self.known_or(op("Concat", *rows, axis=2), self.number(0))
        x = op("Clip", x, self.number(-MAX_INPUT), self.number(MAX_INPUT))
        # [B, S·s, C] → [S, B, C·s]
        count = len(channels) + rule.covariates
        x = graph.reshape(x, 0, -1, rule.segment, count)
        x = op("Transpose", x, perm=[1, 0, 3, 2])
        x = graph.reshape(x, 0, 0, count * rule.segment)
        facts = self._facts(len(steps) // rule.segment, scale)
        return op("Concat", graph.cast(x, "float32"), graph.cast(facts, "float32"), axis=2)

    def _covariates(self) -> str:
        """Return the covariates of the window and the steps ahead ``[B, W + reach, C]``."""
        graph, rule, codec = self.graph, self.rule, self.codec
        steps = rule.window + rule.reach
        scaled = self._standardised(
            "covariates", (codec.past, codec.future), steps, rule.covariates
        )
        inside = np.ones((steps, rule.covariates))
        # past covariates are not known after the origin
        inside[rule.window :, : rule.past] = 0
        return graph.op("Mul", scaled, graph.constant(inside))

    def _standardised(self, name: str, scalers: Sequence[Scaler | None], *shape: int) -> str:
        """Add an input ``[B, *shape]`` and return it standardised; columns without a scaler stay."""
        mean, scale, known = np.zeros(shape[-1]), np.ones(shape[-1]), 0
        for scaler in scalers:
            if scaler is not None:
                part = slice(known, known := known + len(scaler.mean))
                mean[part], scale[part] = scaler.mean, scaler.scale
        value = self.graph.input(name, "float64", "batch", *shape)
        return self.graph.cast(self.graph.standardised(value, Scaler(mean, scale)), "float64")

    def _facts(self, segments: int, scale: _Scale) -> str:
        """Return the inputs beside the values, float64 ``[S, B, ahead + 2 + static]``."""
        op, rule, number = self.graph.op, self.rule, self.number
        parts = [self.like(scale.unit, rule.ahead, 0.0)]
        size = op("Div", op("Log", scale.unit), number(2 * np.log(10.0)))
        parts.append(op("Add", size, number(0.5)) if rule.log else self.like(scale.unit, 1, 0.0))
        parts.append(op("Div", op("Log", op("Div", scale.unit, scale.deviation)), number(3)))
        if rule.static:
            static = self._standardised("static", [self.codec.static], rule.static)
            parts.append(op("Clip", static, number(-MAX_INPUT), number(MAX_INPUT)))
        # a one-hot code of the future segment
        code = np.zeros((segments, 1, rule.ahead + 2 + rule.static))
        code[range(segments - rule.ahead, segments), 0, range(rule.ahead)] = 1
        return op("Add", op("Concat", *parts, axis=1), self.graph.constant(code))
