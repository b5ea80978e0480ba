"""A graph of ONNX under construction: its values are computed with the operators of numpy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import count
from typing import TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 17
# The version of the file format that came with opset 17; older runtimes refuse later ones.
IR_VERSION = 8
_TYPES = {
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "float16": TensorProto.FLOAT16,
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "bool": TensorProto.BOOL,
}
# Types of the results of operators whose inputs have another type.
_RESULTS = dict.fromkeys(("Less", "Greater", "LessOrEqual", "Equal", "IsNaN"), "bool")
_RESULTS |= {"Shape": "int64", "ArgMax": "int64"}
_LAST = np.iinfo(np.int64).max

Attribute: TypeAlias = (
    "int | float | str | Sequence[int] | Sequence[float] | Sequence[str] | onnx.GraphProto"
)
Operand: TypeAlias = "Value | np.ndarray | float | Sequence[int] | None"


class Value:
    """A value in a graph; calculations with it add nodes.

    Numbers and arrays in a calculation take the type of the value. A list of whole numbers is int64, as axes
    and shapes are. None is an optional input that is left out.
    """

    # numpy leaves operators between an array and a value to the value
    __array_ufunc__ = None

    def __init__(self, graph: Graph, name: str, dtype: str) -> None:
        self.graph, self.name, self.dtype = graph, name, dtype

    def op(self, operator: str, *others: Operand, **attributes: Attribute) -> Value:
        """Return the first output of an operator of ONNX, with this value as its first input."""
        return self.several(operator, 1, *others, **attributes)[0]

    def several(
        self, operator: str, outputs: int, *others: Operand, **attributes: Attribute
    ) -> list[Value]:
        """Return several outputs of an operator of ONNX."""
        return self.graph.node(operator, outputs, [self, *others], self.dtype, attributes)

    def __add__(self, other: Operand) -> Value:
        return self.op("Add", other)

    def __sub__(self, other: Operand) -> Value:
        return self.op("Sub", other)

    def __mul__(self, other: Operand) -> Value:
        return self.op("Mul", other)

    def __truediv__(self, other: Operand) -> Value:
        return self.op("Div", other)

    def __mod__(self, other: Operand) -> Value:
        return self.op("Mod", other)

    def __lt__(self, other: Operand) -> Value:
        return self.op("Less", other)

    def __gt__(self, other: Operand) -> Value:
        return self.op("Greater", other)

    def where(self, true: Value, false: Operand) -> Value:
        """Return `true` where this value is true, and `false` elsewhere."""
        return self.graph.node("Where", 1, [self, true, false], true.dtype, {})[0]

    def cast(self, dtype: str) -> Value:
        """Return the value as another type."""
        return self.graph.node("Cast", 1, [self], dtype, {"to": _TYPES[dtype]})[0]

    def reshape(self, *shape: int) -> Value:
        """Return the value in another shape; 0 keeps the size of an axis and -1 takes what remains."""
        return self.op("Reshape", shape)

    def transpose(self, *axes: int) -> Value:
        """Return the value with its axes in another order."""
        return self.op("Transpose", perm=axes)

    def squeeze(self, axis: int) -> Value:
        """Return the value without an axis of size 1."""
        return self.op("Squeeze", [axis])

    def unsqueeze(self, *axes: int) -> Value:
        """Return the value with more axes of size 1."""
        return self.op("Unsqueeze", axes)

    def sum(self, axis: int, *, keep: bool = False) -> Value:
        """Return the sums over an axis."""
        return self.op("ReduceSum", [axis], keepdims=int(keep))

    def part(self, first: int, end: int = _LAST, *, axis: int = 1) -> Value:
        """Return the entries of an axis from `first` up to `end`; negative numbers count from its end."""
        return self.op("Slice", [first], [end], [axis])

    def steps(self, axis: int) -> Value:
        """Return the numbers 0, 1, … of the entries of an axis, int64."""
        size = self.op("Shape", start=axis, end=axis + 1).squeeze(0)
        return self.graph.node("Range", 1, [0, size, 1], "int64", {})[0]

    def linear(self, weight: np.ndarray, bias: np.ndarray | None = None) -> Value:
        """Return ``x · weightᵀ + bias``, with ``weight [out, in]`` as in PyTorch."""
        product = self.op("MatMul", weight.T)
        return product if bias is None else product + bias


class Graph:
    """A graph under construction."""

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

    def new_name(self) -> str:
        """Return a name that no value of the graph has."""
        return f"v{next(self._numbers)}"

    def input(self, name: str, dtype: str, *shape: int | str) -> Value:
        """Add an input; a text in `shape` names an axis whose size is open."""
        self._inputs.append(helper.make_tensor_value_info(name, _TYPES[dtype], shape))
        return Value(self, name, dtype)

    def output(self, name: str, value: Value, *shape: int | str) -> None:
        """Give `value` to the user as the output `name`."""
        self._nodes.append(helper.make_node("Identity", [value.name], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, _TYPES[value.dtype], shape))

    def constant(self, values: np.ndarray) -> Value:
        """Add an array."""
        name, array = self.new_name(), np.ascontiguousarray(values).reshape(values.shape)
        self._weights.append(numpy_helper.from_array(array, name))
        return Value(self, name, array.dtype.name)

    def node(
        self,
        operator: str,
        outputs: int,
        inputs: Sequence[Operand],
        dtype: str,
        attributes: Mapping[str, Attribute],
    ) -> list[Value]:
        """Add a node; numbers and arrays among its inputs take the type `dtype`."""

        def name(operand: Operand) -> str:
            if operand is None or isinstance(operand, Value):
                return operand.name if operand else ""
            kind = np.int64 if isinstance(operand, list | tuple) else np.dtype(dtype)
            return self.constant(np.asarray(operand, kind)).name

        results = [self.new_name() for _ in range(outputs)]
        node = helper.make_node(operator, [name(operand) for operand in inputs], results)
        node.attribute.extend(helper.make_attribute(*named) for named in attributes.items())
        self._nodes.append(node)
        return [Value(self, result, _RESULTS.get(operator, dtype)) for result in results]

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
