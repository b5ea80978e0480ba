"""The recurrent cells: one file for each cell, which holds its pointwise step.

Matrix products and the loop over time are in `elman.engine.layers`, because every cell shares them. To add a
cell, write its file, add it to `CELLS` below and add its name to `CellName` in
`elman.training.recurrent_options`. CONTRIBUTING.md describes all the steps.
"""

from __future__ import annotations

from elman.cells import scan
from elman.cells._cell import FROZEN, TRUE, Array, Cell, Ops, Scan, Slopes, State, Step, numpy_ops
from elman.cells.gru import gru
from elman.cells.lstm import lstm
from elman.cells.mingru import mingru
from elman.cells.rnn import ACTIVATIONS, rnn
from elman.errors import OptionError

__all__ = [
    "ACTIVATIONS",
    "CELLS",
    "FROZEN",
    "TRUE",
    "Array",
    "Cell",
    "Ops",
    "Scan",
    "Slopes",
    "State",
    "Step",
    "find",
    "numpy_ops",
    "scan",
]

CELLS: dict[str, Cell] = {cell.name: cell for cell in (rnn, gru, lstm, mingru)}


def find(name: str, activation: str = "tanh") -> Cell:
    """Return a cell by its name.

    Args:
        name: One of `CELLS`.
        activation: The function f of cell "rnn"; every other cell accepts "tanh" alone.

    Raises:
        OptionError: the cell or the activation is unknown, or they do not go together.

    >>> find("lstm").states
    ('hidden', 'cell')
    >>> find("rnn", "relu").activation
    'relu'
    """
    if name not in CELLS:
        raise OptionError("cell", got=name, expected="one of " + ", ".join(CELLS))
    if activation not in ACTIVATIONS:
        raise OptionError("activation", got=activation, expected="one of " + ", ".join(ACTIVATIONS))
    if name != "rnn" and activation != "tanh":
        raise OptionError(
            f"activation with cell {name}",
            got=activation,
            expected="tanh",
            remedy="only cell rnn has a choice of activations",
        )
    return ACTIVATIONS[activation] if name == "rnn" else CELLS[name]
