"""The mathematics of the cells: one file for each, with its pointwise step only.

There is no loop over time here and no matrix product. To add a cell, write its file, then add it to `CELLS`
below and its name to `CellName` in `elman.training.recurrent_options`; CONTRIBUTING.md has the whole guide.
"""

from __future__ import annotations

from elman.cells import scan
from elman.cells._cell import FROZEN, TRUE, Array, Cell, Ops, Slopes, State, Step, numpy_ops
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
    "Slopes",
    "State",
    "Step",
    "find",
    "numpy_ops",
    "scan",
]

CELLS: dict[str, Cell] = {cell.name: cell for cell in (rnn, gru, lstm, mingru)}


def find(name: str, activation: str = "tanh") -> Cell:
    """Return the cell of that name; `activation` is the f of the rnn, the others have their own.

    Raises OptionError for an unknown name or activation.

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
            remedy="only cell rnn takes another than tanh",
        )
    return ACTIVATIONS[activation] if name == "rnn" else CELLS[name]
