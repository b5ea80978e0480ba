"""Long short-term memory.

    input, forget, output = sigmoid(gx + gh)      candidate = tanh(gx + gh)
    c' = forget · c + input · candidate
    h' = output · tanh(c')

Source: S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997),
with the forget gate of F. Gers et al. (2000); no peepholes; gates in PyTorch's order i f g o
(``torch.nn.LSTM``).
"""

from __future__ import annotations

from elman.cells._cell import Array, Cell, Ops, State

__all__ = ["lstm"]


def _step(ops: Ops, gx: Array, gh: Array | None, state: State) -> State:
    _, c = state
    input_sum, forget_sum, candidate_sum, output_sum = lstm.split(gx + gh)
    c = ops.sigmoid(forget_sum) * c + ops.sigmoid(input_sum) * ops.tanh(candidate_sum)
    return (ops.sigmoid(output_sum) * ops.tanh(c), c)


lstm = Cell(
    name="lstm",
    gates=("input", "forget", "candidate", "output"),
    states=("hidden", "cell"),
    step=_step,
    source="Hochreiter and Schmidhuber 1997; forget gate Gers et al. 2000",
)
