"""The gated recurrent unit, in the reset-after variant of PyTorch and cuDNN.

    reset     = sigmoid(gx_r + gh_r)
    update    = sigmoid(gx_z + gh_z)
    candidate = tanh(gx_n + reset · gh_n)
    h'        = (1 - update) · candidate + update · h

Source: K. Cho et al., arXiv:1406.1078 (2014), equations 5 to 8. The reset gate multiplies the recurrent
product instead of h, as in cuDNN and ``torch.nn.GRU``. The gates stand in PyTorch's order r z n.
"""

from __future__ import annotations

import numpy as np

from elman.cells._cell import Array, Cell, CellGradients, Ops, Slopes, State, Step


def _activate(ops: Ops, gx: Array, gh: Array | None) -> tuple[Array, ...]:
    reset_x, update_x, candidate_x = gru.split(gx)
    reset_h, update_h, candidate_h = gru.split(gh)
    reset = ops.sigmoid(reset_x + reset_h)
    update = ops.sigmoid(update_x + update_h)
    return reset, update, ops.tanh(candidate_x + reset * candidate_h)


def _combine(_ops: Ops, gates: tuple[Array, ...], state: State) -> State:
    (h,), (_, update, candidate) = state, gates
    # the same as in the formula above, with one product less
    return (candidate + update * (h - candidate),)


def _backward(slopes: Slopes, step: Step, d_after: tuple[np.ndarray, ...]) -> CellGradients:
    (h,), (d_h,), (reset, update, candidate) = step.before, d_after, step.gates
    candidate_x, candidate_h = gru.split(step.gx)[2], gru.split(step.gh)[2]
    d_candidate = (1 - update) * d_h * slopes.tanh(candidate, candidate_x + reset * candidate_h)
    # The reset gate reaches the candidate through the recurrent product alone.
    d_reset = d_candidate * candidate_h * slopes.sigmoid(reset)
    d_update = d_h * (h - candidate) * slopes.sigmoid(update)
    d_gh = [d_reset, d_update, reset * d_candidate]
    return [d_reset, d_update, d_candidate], d_gh, (update * d_h,)


gru = Cell(
    name="gru",
    gates=("reset", "update", "candidate"),
    states=("hidden",),
    activate=_activate,
    combine=_combine,
    backward=_backward,
    source="Cho et al. 2014, arXiv:1406.1078, reset after the product",
)
