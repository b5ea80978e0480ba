"""A language model split into embedding, recurrent layers and head, for explanations that go backwards."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from elman.engine.passage import Layers, Passage
from elman.errors import InputError
from elman.language.network import Network


class DifferentiableNetwork:
    """The embedding, layers and head of a language model; a state is a row ``[S]`` as in `Network`.

    Args:
        network: The network, with its weights as trained.
        dtype: The precision of the passages; None for the network's own.
        kernel: Whether the compiled kernel may run them, as in `Layers`.

    Raises:
        InputError: The network has rounded weights, whose gradients would not be those of the model.
    """

    def __init__(
        self, network: Network, dtype: npt.DTypeLike | None = None, *, kernel: bool = True
    ) -> None:
        model = network.model
        config, arrays = model.config, model.arrays
        if network.storage != "float32":
            what = "to look inside, the weights must be as trained"
            raise InputError(what, got=network.storage, remedy="load the model without storage")
        dtype = network.dtype if dtype is None else dtype
        self.layers = Layers(config, arrays, residual=config.residual, dtype=dtype, kernel=kernel)
        self.embedding: np.ndarray = arrays["embedding.weight"]
        self._weight: np.ndarray = arrays["embedding.weight" if config.tied else "head.weight"]
        self._bias: np.ndarray = arrays["head.bias"]

    def head(self, targets: Sequence[int] | slice) -> tuple[np.ndarray, np.ndarray]:
        """Return the head's weights ``[K, H]`` and float64 biases ``[K]`` for K target tokens."""
        rows = targets if isinstance(targets, slice) else list(targets)
        return self._weight[rows], self._bias[rows].astype(np.float64)

    def passage(self, x: np.ndarray, states: np.ndarray) -> Passage:
        """Run the layers on embeddings ``x [T, B, E]`` from ``states [B, S]`` and record every step.

        Raises InputError where the states overflow.
        """
        H, count = self.layers.hidden_size, len(self.layers.cell.states)
        # A row of states ends with the last output, which no layer reads.
        rows = states[:, :-H].reshape(len(states), -1, 1, count, H)
        return self.layers.read(x, [*rows.transpose(1, 2, 3, 0, 4)])
