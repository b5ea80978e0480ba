"""Parts of networks in graphs of ONNX: recurrent layers, standardised numbers, and lengths of sequences.

Shapes are those of ONNX's recurrent operators: T time steps, B sequences, I inputs and H units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from elman.engine.layers import Layer
from elman.export.onnx_graph import Attribute, Value
from elman.tables.scaler import MAX_STANDARDISED, Scaler

_RECURRENT = {
    # the operator, and the number of our gate at each place in the operator's order
    "rnn": ("RNN", (0,)),
    "gru": ("GRU", (1, 0, 2)),
    "lstm": ("LSTM", (0, 3, 1, 2)),
}
_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "linear": "Affine"}


def recurrent(
    layer: Layer, x: Value, lengths: Value | None = None, start: Sequence[Value] = ()
) -> tuple[Value, list[Value]]:
    """Run a recurrent layer over ``x [T, B, I]``.

    Args:
        layer: The layer, in one or two directions.
        x: The input.
        lengths: Lengths of the sequences, int64 ``[B]``; None if all have T steps.
        start: The start states ``[directions, B, H]``; none for zeros.

    Returns:
        The outputs ``[T, B, directions·H]`` and each last state ``[directions, B, H]``.
    """
    if not layer.cell.recurrent:
        return _scanned(layer, x, lengths, start)
    operator, order = _RECURRENT[layer.cell.name]
    H, D = layer.hidden_size, len(layer.directions)

    def rows(array: np.ndarray | None) -> np.ndarray:
        if array is None:
            return np.zeros(len(order) * H, np.float32)
        return np.concatenate([np.split(array, len(order))[gate] for gate in order])

    attributes: dict[str, Attribute] = {"hidden_size": H}
    if D == 2:
        attributes["direction"] = "bidirectional"
    if operator == "GRU":
        attributes["linear_before_reset"] = 1
    if operator == "RNN":
        attributes["activations"] = [_ACTIVATIONS[layer.cell.activation]] * D
        if layer.cell.activation == "linear":
            attributes |= {"activation_alpha": [1.0] * D, "activation_beta": [0.0] * D}
    # the operator's arrays have the axis of directions in front
    weights = [np.stack([rows(way.weight_ih) for way in layer.directions])]
    weights.append(np.stack([rows(way.weight_hh) for way in layer.directions]))
    biases = [np.concatenate([rows(way.bias_ih), rows(way.bias_hh)]) for way in layer.directions]
    steps = None if lengths is None else lengths.cast("int32")
    inputs = [*weights, np.stack(biases), steps, *start]
    y, *ends = x.several(operator, 1 + len(layer.cell.states), *inputs, **attributes)
    # [T, D, B, H] → [T, B, D·H]
    return y.transpose(0, 2, 1, 3).reshape(0, 0, D * H), ends


def _scanned(
    layer: Layer, x: Value, lengths: Value | None, start: Sequence[Value]
) -> tuple[Value, list[Value]]:
    """Run minGRU, for which ONNX has no operator: the loop computes h' = a · h + b."""
    outputs, ends = list[Value](), list[Value]()
    for number, weights in enumerate(layer.directions):
        sums = x.linear(weights.weight_ih, weights.bias_ih)
        update, candidate = sums.several("Split", 2, axis=2)
        update = update.op("Sigmoid")
        if lengths is not None:
            # with an update of 0, the state stays as it is beyond the end of a sequence
            update *= inside(x, lengths).cast("float32")
        a, b = update * -1 + 1, update * candidate
        body = x.graph.inside("mingru")
        # the rows of a layer that spells words are words, so the axis has a name of its own
        shape = (f"rows_{body.new_name()}", layer.hidden_size)
        h, a_t, b_t = (body.input(body.new_name(), "float32", *shape) for _ in range(3))
        after = a_t * h + b_t
        for _ in range(2):
            body.output(body.new_name(), after, *shape)
        # without start states, zeros of the batch's size
        first = start[0].squeeze(0) if start else x.graph.constant(np.zeros(1, np.float32))
        first = first.op("Expand", b.op("Shape", start=1))
        attributes: dict[str, Attribute] = {"body": body.proto(), "num_scan_inputs": 2}
        attributes["scan_input_directions"] = [number] * 2
        attributes["scan_output_directions"] = [number]
        end, y = first.several("Scan", 2, a, b, **attributes)
        outputs.append(y)
        ends.append(end.unsqueeze(0))
    return concatenated(outputs, axis=2), [concatenated(ends, axis=0)]


def concatenated(values: Sequence[Value], axis: int) -> Value:
    """Return values joined along an axis."""
    first, *others = values
    return first.op("Concat", *others, axis=axis)


def inside(x: Value, lengths: Value) -> Value:
    """Return which steps of ``x [T, B, ...]`` are within the lengths of the sequences, ``[T, B, 1]``."""
    return (x.steps(0).reshape(-1, 1) < lengths.reshape(1, -1)).unsqueeze(2)


def standardised(x: Value, scaler: Scaler) -> Value:
    """Return ``x [..., C]`` float64 as the network reads it, float32; NaN is a missing number."""
    missing = x.op("IsNaN")
    scaled = known_or(((x - scaler.mean) / scaler.scale), 0)
    scaled = scaled.op("Clip", -MAX_STANDARDISED, MAX_STANDARDISED).cast("float32")
    if not scaler.indicator:
        return scaled
    return scaled.op("Concat", missing.cast("float32"), axis=-1)


def known_or(value: Value, otherwise: Value | float) -> Value:
    """Return `value`, and `otherwise` where it is NaN."""
    return value.op("IsNaN").op("Not").where(value, otherwise)
