"""minGRU: gates from the input alone, so that training runs in parallel over time.

    update    = sigmoid(gx_z)
    candidate = gx_h
    h'        = (1 - update) · h + update · candidate

Source: L. Feng et al., "Were RNNs All We Needed?", arXiv:2410.01201 (2024), section 3.1 (minGRU),
in the plain form; gates in the order z h. There are no recurrent weights: `gh` is None.
"""

from __future__ import annotations

from elman.cells._cell import Array, Cell, Ops, State

__all__ = ["mingru"]


def _scan(ops: Ops, gx: Array) -> tuple[Array, Array]:
    update_x, candidate = mingru.split(gx)
    update = ops.sigmoid(update_x)
    return 1 - update, update * candidate


def _step(ops: Ops, gx: Array, _gh: Array | None, state: State) -> State:
    (h,) = state
    a, b = _scan(ops, gx)
    return (a * h + b,)


mingru = Cell(
    name="mingru",
    gates=("update", "candidate"),
    states=("hidden",),
    step=_step,
    source="Feng et al. 2024, arXiv:2410.01201, section 3.1",
    recurrent=False,
    scan=_scan,
)
