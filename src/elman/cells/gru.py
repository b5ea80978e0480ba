"""The gated recurrent unit, in the reset-after variant of PyTorch and cuDNN.

    reset     = sigmoid(gx_r + gh_r)
    update    = sigmoid(gx_z + gh_z)
    candidate = tanh(gx_n + reset · gh_n)
    h'        = (1 - update) · candidate + update · h

Source: K. Cho et al., arXiv:1406.1078 (2014), equations 5 to 8, with the reset gate applied after
the recurrent product (cuDNN, ``torch.nn.GRU``), gates in PyTorch's order r z n.
"""

from __future__ import annotations

from elman.cells._cell import Array, Cell, Ops, State

__all__ = ["gru"]


def _step(ops: Ops, gx: Array, gh: Array | None, state: State) -> State:
    (h,) = state
    reset_x, update_x, candidate_x = gru.split(gx)
    reset_h, update_h, candidate_h = gru.split(gh)
    reset = ops.sigmoid(reset_x + reset_h)
    update = ops.sigmoid(update_x + update_h)
    candidate = ops.tanh(candidate_x + reset * candidate_h)
    return (candidate + update * (h - candidate),)


gru = Cell(
    name="gru",
    gates=("reset", "update", "candidate"),
    states=("hidden",),
    step=_step,
    source="Cho et al. 2014, arXiv:1406.1078, reset after the product",
)
