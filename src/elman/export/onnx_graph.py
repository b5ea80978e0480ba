"""A graph of ONNX under construction: inputs, nodes, weights and outputs, with recurrent layers as nodes.

Shapes inside are those of ONNX's recurrent operators: T time steps, B sequences, I inputs and H units.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import Literal, TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from elman.engine.layers import Layer
from elman.tables.scaler import MAX_STANDARDISED, Scaler

OPSET = 17
# The version of the file format that came with opset 17; older runtimes refuse later ones.
IR_VERSION = 8
_TYPES = {
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "bool": TensorProto.BOOL,
}
_RECURRENT = {
    # the operator, and the number of our gate at each place in the operator's order
    "rnn": ("RNN", (0,)),
    "gru": ("GRU", (1, 0, 2)),
    "lstm": ("LSTM", (0, 3, 1, 2)),
}
_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "linear": "Affine"}

Type: TypeAlias = Literal["int64", "int32", "float32", "float64", "bool"]
Attribute: TypeAlias = (
    "int | float | str | Sequence[int] | Sequence[float] | Sequence[str] | onnx.GraphProto"
)


class Graph:
    """A graph under construction; values are known by their names."""

    def __init__(self, name: str, names: count[int] | None = None) -> None:
        self.name = name
        # The body of a loop shares the numbers of the graph around it, because it sees that graph's values.
        self._numbers = count() if names is None else names
        self._nodes: list[onnx.NodeProto] = []
        self._weights: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def inside(self, name: str) -> Graph:
        """Return an empty graph for the body of a loop."""
        return Graph(name, self._numbers)

    def _new_name(self) -> str:
        return f"v{next(self._numbers)}"

    def input(self, name: str, dtype: Type, *shape: int | str) -> str:
        """Add an input; a text in `shape` names an axis whose size is open."""
        self._inputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))
        return name

    def output(self, name: str, value: str, dtype: Type, *shape: int | str) -> None:
        """Give `value` to the user as the output `name`."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))

    def constant(self, values: np.ndarray | Sequence[int] | Sequence[float] | float) -> str:
        """Add an array; Python's whole numbers become int64 and others float32."""
        array = np.asarray(values)
        if not isinstance(values, np.ndarray) and array.dtype == np.float64:
            array = array.astype(np.float32)
        name = self._new_name()
        self._weights.append(
            numpy_helper.from_array(np.ascontiguousarray(array).reshape(array.shape), name)
        )
        return name

    def several(
        self, operator: str, outputs: int, *inputs: str, **attributes: Attribute
    ) -> list[str]:
        """Add a node with several outputs and return their names."""
        names = [self._new_name() for _ in range(outputs)]
        node = helper.make_node(operator, inputs, names)
        node.attribute.extend(helper.make_attribute(*named) for named in attributes.items())
        self._nodes.append(node)
        return names

    def op(self, operator: str, *inputs: str, **attributes: Attribute) -> str:
        """Add a node with one output and return its name."""
        return self.several(operator, 1, *inputs, **attributes)[0]

    def reshape(self, value: str, *shape: int) -> str:
        """Return `value` in another shape; 0 keeps the size of an axis and -1 takes what remains."""
        return self.op("Reshape", value, self.constant(shape))

    def linear(self, x: str, weight: np.ndarray, bias: np.ndarray | None = None) -> str:
        """Return ``x · weightᵀ + bias``, with ``weight [out, in]`` as in PyTorch."""
        product = self.op("MatMul", x, self.constant(weight.T))
        return product if bias is None else self.op("Add", product, self.constant(bias))

    def cast(self, value: str, dtype: Type) -> str:
        """Return `value` as another type."""
        return self.op("Cast", value, to=_TYPES[dtype])

    def standardised(self, x: str, scaler: Scaler) -> str:
        """Return ``x [..., C]`` float64 as the network reads it, float32; NaN is a missing number."""
        missing = self.op("IsNaN", x)
        x = self.op("Sub", x, self.constant(scaler.mean))
        x = self.op("Div", x, self.constant(scaler.scale))
        x = self.op("Where", missing, self.constant(np.array(0.0)), x)
        bounds = [self.constant(np.array(bound)) for bound in (-MAX_STANDARDISED, MAX_STANDARDISED)]
        x = self.cast(self.op("Clip", x, *bounds), "float32")
        if not scaler.indicator:
            return x
        return self.op("Concat", x, self.cast(missing, "float32"), axis=-1)

    def mask(self, x: str, lengths: str) -> str:
        """Return which steps of ``x [T, B, ...]`` are within the lengths of the sequences, ``[T, B, 1]``."""
        T = self.op("Squeeze", self.op("Shape", x, start=0, end=1))
        steps = self.op("Range", self.constant(0), T, self.constant(1))
        is_inside = self.op("Less", self.reshape(steps, -1, 1), self.reshape(lengths, 1, -1))
        return self.op("Unsqueeze", is_inside, self.constant([2]))

    def recurrent(
        self, layer: Layer, x: str, lengths: str = "", start: Sequence[str] = ()
    ) -> tuple[str, list[str]]:
        """Run a recurrent layer over ``x [T, B, I]``.

        Args:
            layer: The layer, in one or two directions.
            x: Name of the input.
            lengths: Name of the lengths of the sequences, int64 ``[B]``; empty if all have T steps.
            start: Names of the start states ``[directions, B, H]``; none for zeros.

        Returns:
            Names of the outputs ``[T, B, directions·H]`` and of each last state ``[directions, B, H]``.
        """
        if not layer.cell.recurrent:
            return self._scanned(layer, x, lengths, start)
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
        biases = [
            np.concatenate([rows(way.bias_ih), rows(way.bias_hh)]) for way in layer.directions
        ]
        steps = self.cast(lengths, "int32") if lengths else ""
        inputs = [x, *map(self.constant, [*weights, np.stack(biases)]), steps, *start]
        y, *ends = self.several(operator, 1 + len(layer.cell.states), *inputs, **attributes)
        # [T, D, B, H] → [T, B, D·H]
        return self.reshape(self.op("Transpose", y, perm=[0, 2, 1, 3]), 0, 0, D * H), ends

    def _scanned(
        self, layer: Layer, x: str, lengths: str, start: Sequence[str]
    ) -> tuple[str, list[str]]:
        """Run minGRU, for which ONNX has no operator: the loop computes h' = a · h + b."""
        H, outputs, ends = layer.hidden_size, list[str](), list[str]()
        axis = self.constant([0])
        for number, weights in enumerate(layer.directions):
            sums = self.linear(x, weights.weight_ih, weights.bias_ih)
            update, candidate = self.several("Split", 2, sums, axis=2)
            update = self.op("Sigmoid", update)
            if lengths:
                # with an update of 0, the state stays as it is beyond the end of a sequence
                inside = self.cast(self.mask(x, lengths), "float32")
                update = self.op("Mul", update, inside)
            a = self.op("Sub", self.constant([1.0]), update)
            b = self.op("Mul", update, candidate)
            # the rows of a layer that spells words are words, so the axis has a name of its own
            body, shape = self.inside("mingru"), (f"rows_{self._new_name()}", H)
            h, a_t, b_t = (body.input(body._new_name(), "float32", *shape) for _ in range(3))
            after = body.op("Add", body.op("Mul", a_t, h), b_t)
            for _ in range(2):
                body.output(body._new_name(), after, "float32", *shape)
            if start:
                first = self.op("Squeeze", start[0], axis)
            else:
                # zeros of the batch's size
                first = self.op("Expand", self.constant([0.0]), self.op("Shape", b, start=1))
            attributes: dict[str, Attribute] = {"body": body.proto(), "num_scan_inputs": 2}
            attributes["scan_input_directions"] = [number] * 2
            attributes["scan_output_directions"] = [number]
            end, y = self.several("Scan", 2, first, a, b, **attributes)
            outputs.append(y)
            ends.append(self.op("Unsqueeze", end, axis))
        return self.op("Concat", *outputs, axis=2), [self.op("Concat", *ends, axis=0)]

    def proto(self) -> onnx.GraphProto:
        """Return the graph as ONNX keeps it, with the nodes and arrays that its outputs depend on."""
        needed, nodes = {output.name for output in self._outputs}, list[onnx.NodeProto]()
        for node in self._nodes[::-1]:
            if not needed.isdisjoint(node.output):
                nodes.insert(0, node)
                needed.update(node.input)
        weights = [weight for weight in self._weights if weight.name in needed]
        return helper.make_graph(nodes, self.name, self._inputs, self._outputs, weights)

    def model(self, metadata: Mapping[str, str]) -> onnx.ModelProto:
        """Return the checked model with texts about it by name."""
        model = helper.make_model(
            self.proto(),
            producer_name="elman",
            opset_imports=[helper.make_opsetid("", OPSET)],
            ir_version=IR_VERSION,
        )
        helper.set_model_props(model, dict(metadata))
        onnx.checker.check_model(model)
        return model
