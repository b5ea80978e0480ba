"""States of a forecaster at every segment of its windows: over whole series, or traced in one window."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from elman.engine.layers import member_arrays
from elman.engine.passage import Layers
from elman.inspect.properties import SeriesSteps, mark_series
from elman.inspect.states import (
    RecordedStates,
    check_step_count,
    layer_outputs,
    max_recorded_steps,
    units_of,
)
from elman.inspect.trace import Trace, check_trace_size
from elman.series.codec import ForecastCodec
from elman.series.explain import one_series, span
from elman.series.network import ForecastNetwork, recurrent_inputs
from elman.series.read_options import SeriesSource
from elman.series.series import SeriesSet

if TYPE_CHECKING:
    from elman.series.predictor import ForecastPredictor


class _Window(NamedTuple):
    """The segments of one window that lie inside its series, S of them."""

    inputs: np.ndarray
    """``[S, F]``."""
    states: np.ndarray
    """``[S, U]``."""
    steps: SeriesSteps


def record_states(
    network: ForecastNetwork, codec: ForecastCodec, series: SeriesSet, steps: int
) -> RecordedStates:
    """Return the states of a member after the last `steps` segments; raises DataError."""
    units = units_of(network.layers)
    steps = max_recorded_steps(units, steps)
    windows: list[_Window] = []
    count = 0
    for inputs, row, origin in _windows(codec, series):
        # [S, H], one window at a time: every step has one row
        x = recurrent_inputs(network.arrays, inputs)
        states = layer_outputs(network.layers, x, np.ones(len(inputs), np.int64))
        # index of each segment's last value; below 0 where the first window begins before the series
        ends = origin - codec.rule.segment * np.arange(len(inputs) - 1, -1, -1) - 1
        inside = ends >= 0
        facts = _facts(codec, series, row, origin, ends[inside])
        windows.append(_Window(inputs[inside], states[inside], facts))
        count += len(facts.values)
        if count >= steps:
            break
    check_step_count(count, codec.rule.segment)
    # The windows were read from the end backwards.
    windows.reverse()
    facts = SeriesSteps(
        *map(np.concatenate, zip(*(window.steps for window in windows), strict=True))
    )
    values_at = zip(facts.times, facts.values, strict=True)
    return RecordedStates(
        tuple(f"\n{time}: {value:.6g}" for time, value in values_at),
        np.concatenate([window.inputs for window in windows]).T,
        mark_series(facts),
        units,
        np.ascontiguousarray(np.concatenate([window.states for window in windows]).T),
    )


def _windows(codec: ForecastCodec, series: SeriesSet) -> Iterator[tuple[np.ndarray, int, int]]:
    """Yield windows that do not overlap ``[S, F]``, with row and origin of each, from the end backwards."""
    windows = codec.windows(series)
    for row in range(len(series) - 1, -1, -1):
        # A window before another ends where that begins, so that no value is read twice.
        for origin in range(len(series.values[row]), 0, -codec.rule.window):
            if np.isfinite(codec.rule.transform(series.values[row][:origin])).any():
                prepared, _ = windows.prepare(np.array([row]), np.array([origin]))
                yield prepared.inputs[: len(prepared.inputs) - codec.rule.ahead, 0], row, origin


def _facts(
    codec: ForecastCodec, series: SeriesSet, row: int, origin: int, ends: np.ndarray
) -> SeriesSteps:
    """Return the time, the value, the value before, and the window's mean for each index in `ends`."""
    values, times = series.values[row], series.times[row]
    # The mean of the values that the window shows.
    known = values[max(0, origin - codec.rule.window) : origin]
    mean = np.nanmean(known) if np.isfinite(known).any() else np.nan
    before = np.where(ends > 0, values[ends - 1], np.nan)
    return SeriesSteps(series.clocks(times[ends]), values[ends], before, np.full(len(ends), mean))


def record_trace(predictor: ForecastPredictor, source: SeriesSource | None) -> Trace:
    """Return the trace, without predictions: a forecast is made after the last step alone.

    Raises InputError, DataError.
    """
    config, codec = predictor.model.config, predictor.codec
    weights, rule = member_arrays(predictor.model.arrays, 0), codec.rule
    series = one_series(predictor, source)
    origin = np.array([len(series.values[0])])
    prepared, _ = codec.windows(series).prepare(np.array([0]), origin)
    x = recurrent_inputs(weights, prepared.inputs)
    layers = Layers(config, weights, kernel=False)
    check_trace_size(layers, len(x))
    past, size = len(x) - rule.ahead, rule.segment
    # lags count back from the forecast, so the oldest segment has the largest
    tokens = [f"{span(size * (k + 1), size * k + 1)} before" for k in range(past - 1, -1, -1)]
    tokens += [f"{span(size * k + 1, size * (k + 1))} ahead" for k in range(rule.ahead)]
    return Trace.of(config.task, tokens, layers, [layers.read(x)], [0], [()] * len(x))
