"""The simple recurrent network: h' = f(gx + gh), where f is linear, tanh or relu.

Source: J. L. Elman, "Finding Structure in Time", Cognitive Science 14 (1990); the context units hold a copy
of the hidden units. The form is that of ``torch.nn.RNN``. With linear f and without bias the step is the
plain formula ``h[i] = h[i-1]·W_h + x[i]·W_x``.
"""

from __future__ import annotations

import numpy as np

from elman.cells._cell import (
    Activate,
    Array,
    Backward,
    Cell,
    CellGradients,
    Ops,
    Slopes,
    State,
    Step,
)


def _activate(activation: str) -> Activate:
    def activate(ops: Ops, gx: Array, gh: Array | None) -> tuple[Array, ...]:
        total = gx + gh
        return (total if activation == "linear" else getattr(ops, activation)(total),)

    return activate


def _combine(_ops: Ops, gates: tuple[Array, ...], _state: State) -> State:
    # The only gate is the new hidden state itself.
    return gates


def _backward(activation: str) -> Backward:
    def backward(slopes: Slopes, step: Step, d_after: tuple[np.ndarray, ...]) -> CellGradients:
        d_total = d_after[0] * getattr(slopes, activation)(step.gates[0], step.gx + step.gh)
        return [d_total], [d_total], (0.0,)

    return backward


ACTIVATIONS: dict[str, Cell] = {
    activation: Cell(
        name="rnn",
        gates=("hidden",),
        states=("hidden",),
        activate=_activate(activation),
        combine=_combine,
        backward=_backward(activation),
        source="Elman 1990, Finding Structure in Time",
        held=() if activation == "linear" else ("slopes",),
        activation=activation,
    )
    for activation in ("linear", "tanh", "relu")
}
rnn = ACTIVATIONS["tanh"]
