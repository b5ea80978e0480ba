"""The trace of a forecaster: states and gates at every segment of the last window of one series."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from elman.engine.layers import member_arrays
from elman.engine.passage import Layers
from elman.inspect.trace import Trace, check_trace_size
from elman.series.explain import one_series, span
from elman.series.network import recurrent_inputs

if TYPE_CHECKING:
    from elman.series.predictor import ForecastPredictor


def record_trace(predictor: ForecastPredictor, source: Any) -> Trace:
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
