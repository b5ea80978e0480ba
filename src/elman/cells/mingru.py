"""The minimal gated recurrent unit (minGRU), which trains in parallel over time.

Its gates see the input alone::

    update    = sigmoid(gx_z)
    candidate = gx_h
    h'        = (1 - update) · h + update · candidate

Source: L. Feng et al., "Were RNNs All We Needed?", arXiv:2410.01201 (2024), section 3.1, in the form without
logarithms. The gates stand in the order z h. There are no recurrent weights, so `gh` is None.
"""

from __future__ import annotations

import numpy as np

from elman.cells._cell import Array, Cell, CellGradients, Ops, Slopes, State, Step


def _activate(ops: Ops, gx: Array, _gh: Array | None) -> tuple[Array, ...]:
    update_x, candidate = mingru.split(gx)
    return ops.sigmoid(update_x), candidate


def _scan(ops: Ops, gx: Array) -> tuple[Array, Array]:
    update, candidate = _activate(ops, gx, None)
    # a and b of h' = a·h + b
    return 1 - update, update * candidate


def _combine(_ops: Ops, gates: tuple[Array, ...], state: State) -> State:
    (h,), (update, candidate) = state, gates
    return ((1 - update) * h + update * candidate,)


def _backward(slopes: Slopes, step: Step, d_after: tuple[np.ndarray, ...]) -> CellGradients:
    (h,), (d_h,), (update, candidate) = step.before, d_after, step.gates
    d_update = d_h * (candidate - h) * slopes.sigmoid(update)
    # nothing for gh: the gates do not see the hidden state
    return [d_update, update * d_h], [], ((1 - update) * d_h,)


mingru = Cell(
    name="mingru",
    gates=("update", "candidate"),
    states=("hidden",),
    activate=_activate,
    combine=_combine,
    backward=_backward,
    source="Feng et al. 2024, arXiv:2410.01201, section 3.1",
    held=("gates",),
    recurrent=False,
    scan=_scan,
)
