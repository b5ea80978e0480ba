"""The simple recurrent network: h' = f(gx + gh), f linear, tanh or relu.

Source: J. L. Elman, "Finding Structure in Time", Cognitive Science 14 (1990), the copy of the
hidden units as context; written as in PyTorch's ``torch.nn.RNN``. With f linear and no bias it is
the plain formula ``h[i] = h[i-1]·W_h + x[i]·W_x``.
"""

from __future__ import annotations

from elman.cells._cell import Array, Cell, Ops, State, Step

__all__ = ["ACTIVATIONS", "rnn"]


def _step(activation: str) -> Step:
    def step(ops: Ops, gx: Array, gh: Array | None, _state: State) -> State:
        total = gx + gh
        return (total if activation == "linear" else getattr(ops, activation)(total),)

    return step


ACTIVATIONS: dict[str, Cell] = {
    activation: Cell(
        name="rnn",
        gates=("hidden",),
        states=("hidden",),
        step=_step(activation),
        source="Elman 1990, Finding Structure in Time",
        activation=activation,
    )
    for activation in ("linear", "tanh", "relu")
}
rnn = ACTIVATIONS["tanh"]
