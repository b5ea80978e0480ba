"""Long short-term memory.

    input, forget, output = sigmoid(gx + gh)      candidate = tanh(gx + gh)
    c' = forget · c + input · candidate
    h' = output · tanh(c')

Source: S. Hochreiter and J. Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997), with the
forget gate of F. Gers et al. (2000) and without peepholes. The gates stand in PyTorch's order i f g o.
"""

from __future__ import annotations

import numpy as np

from elman.cells._cell import Array, Cell, CellGradients, Ops, Slopes, State, Step


def _activate(ops: Ops, gx: Array, gh: Array | None) -> tuple[Array, ...]:
    input_sum, forget_sum, candidate_sum, output_sum = lstm.split(gx + gh)
    return (
        ops.sigmoid(input_sum),
        ops.sigmoid(forget_sum),
        ops.tanh(candidate_sum),
        ops.sigmoid(output_sum),
    )


def _combine(ops: Ops, gates: tuple[Array, ...], state: State) -> State:
    (_, c), (accept, forget, candidate, output) = state, gates
    c = forget * c + accept * candidate
    return (output * ops.tanh(c), c)


def _backward(slopes: Slopes, step: Step, d_after: tuple[np.ndarray, ...]) -> CellGradients:
    (_, before), (_, c), (d_h, d_c) = step.before, step.after, d_after
    accept, forget, candidate, output = step.gates
    # the forward pass did not record tanh(c')
    squashed = np.tanh(c)
    # c' reaches the next step directly, and the output through tanh
    d_c = d_c + d_h * output * slopes.tanh(squashed, c)
    d_sums = [
        d_c * candidate * slopes.sigmoid(accept),
        d_c * before * slopes.sigmoid(forget),
        d_c * accept * slopes.tanh(candidate, lstm.split(step.gx + step.gh)[2]),
        d_h * squashed * slopes.sigmoid(output),
    ]
    # gx and gh enter as a sum, so that both have the same gradient
    return d_sums, d_sums, (0.0, forget * d_c)


lstm = Cell(
    name="lstm",
    gates=("input", "forget", "candidate", "output"),
    states=("hidden", "cell"),
    activate=_activate,
    combine=_combine,
    backward=_backward,
    source="Hochreiter and Schmidhuber 1997; forget gate Gers et al. 2000",
)
