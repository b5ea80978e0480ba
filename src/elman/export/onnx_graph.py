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

from elman.engine.kernel import LayerWeights
from elman.engine.layers import Layer

OPSET = 17
# The version of the file format that came with opset 17; older runtimes refuse later ones.
IR_VERSION = 8
_TYPES = {"int64": TensorProto.INT64, "float32": TensorProto.FLOAT}
_RECURRENT = {
    # the operator, and the number of our gate at each place in the operator's order
    "rnn": ("RNN", (0,)),
    "gru": ("GRU", (1, 0, 2)),
    "lstm": ("LSTM", (0, 3, 1, 2)),
}
_ACTIVATIONS = {"tanh": "Tanh", "relu": "Relu", "linear": "Affine"}

Type: TypeAlias = Literal["int64", "float32"]
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

    def recurrent(self, layer: Layer, x: str, start: Sequence[str]) -> tuple[str, list[str]]:
        """Run a recurrent layer forward over ``x [T, B, I]``.

        Args:
            layer: The layer, in one direction.
            x: Name of the input.
            start: Names of the start states ``[1, B, H]``.

        Returns:
            Names of the outputs ``[T, B, H]`` and of each last state ``[1, B, H]``.
        """
        (weights,) = layer.directions
        if not layer.cell.recurrent:
            return self._scanned(weights, x, *start)
        operator, order = _RECURRENT[layer.cell.name]
        H = layer.hidden_size

        def rows(array: np.ndarray | None) -> np.ndarray:
            if array is None:
                return np.zeros(len(order) * H, np.float32)
            return np.concatenate([np.split(array, len(order))[gate] for gate in order])

        attributes: dict[str, Attribute] = {"hidden_size": H}
        if operator == "GRU":
            attributes["linear_before_reset"] = 1
        if operator == "RNN":
            attributes["activations"] = [_ACTIVATIONS[layer.cell.activation]]
            if layer.cell.activation == "linear":
                attributes |= {"activation_alpha": [1.0], "activation_beta": [0.0]}
        biases = np.concatenate([rows(weights.bias_ih), rows(weights.bias_hh)])
        arrays = [rows(weights.weight_ih), rows(weights.weight_hh), biases]
        # the operator's arrays have an axis of directions in front, and its empty input is for lengths
        inputs = [x, *(self.constant(array[None]) for array in arrays), "", *start]
        y, *ends = self.several(operator, 1 + len(layer.cell.states), *inputs, **attributes)
        # [T, 1, B, H] → [T, B, H]
        return self.op("Squeeze", y, self.constant([1])), ends

    def _scanned(self, weights: LayerWeights, x: str, start: str) -> tuple[str, list[str]]:
        """Run minGRU, for which ONNX has no operator: the loop computes h' = a · h + b."""
        sums = self.linear(x, weights.weight_ih, weights.bias_ih)
        update, candidate = self.several("Split", 2, sums, axis=2)
        update = self.op("Sigmoid", update)
        a = self.op("Sub", self.constant([1.0]), update)
        b = self.op("Mul", update, candidate)
        body, H = self.inside("mingru"), len(weights.weight_ih) // 2
        h, a_t, b_t = (body.input(body._new_name(), "float32", "batch", H) for _ in range(3))
        after = body.op("Add", body.op("Mul", a_t, h), b_t)
        for _ in range(2):
            body.output(body._new_name(), after, "float32", "batch", H)
        first = self.op("Squeeze", start, self.constant([0]))
        end, y = self.several("Scan", 2, first, a, b, body=body.proto(), num_scan_inputs=2)
        return y, [self.op("Unsqueeze", end, self.constant([0]))]

    def proto(self) -> onnx.GraphProto:
        """Return the graph as ONNX keeps it."""
        return helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, self._weights)

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
