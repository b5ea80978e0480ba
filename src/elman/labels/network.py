"""A reader of labelled sequences made ready to run: from sequences to the numbers behind its answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from elman.cells import find
from elman.engine.layers import Layer, bounded, member_arrays
from elman.engine.pauses import one_thread
from elman.engine.pooling import pool
from elman.files.model import Model
from elman.labels.config import SequenceConfig
from elman.labels.dataset import Batch, Encoded, Sequences, bucketed

__all__ = ["Reader"]

BATCH = 64


class Reader:
    """A model of the tasks classify, regress or tag; nothing here changes after it is made."""

    def __init__(self, model: Model) -> None:
        self.model = model
        config: SequenceConfig = model.config
        self.members = [_Member(config, model.arrays, m) for m in range(config.members)]

    def logits(self, sequences: Sequences) -> np.ndarray:
        """Return the head's numbers ``[N, K]`` for each sequence, the mean of the members', finite.

        Raises DataError, ShapeError for sequences that are not as in training.
        """
        found = np.empty((len(sequences), self.model.config.outputs), np.float32)
        for places, batch in self._batches(sequences):
            found[places[batch.steps.order]] = self._answer(batch)
        return found

    def step_logits(self, sequences: Sequences) -> list[np.ndarray]:
        """Return the head's numbers ``[T_i, K]`` for each step of each sequence, as `logits` does."""
        found: list[np.ndarray] = [np.empty(0)] * len(sequences)
        for places, batch in self._batches(sequences):
            parts = batch.steps.apart(self._answer(batch))
            for place, part in zip(places.tolist(), parts, strict=True):
                found[place] = part
        return found

    @one_thread()
    def _answer(self, batch: Batch) -> np.ndarray:
        with np.errstate(over="ignore", invalid="ignore"):
            return bounded(np.mean([one.answer(batch) for one in self.members], axis=0))

    def _batches(self, sequences: Sequences) -> Iterator[tuple[np.ndarray, Batch]]:
        encoded = Encoded.of(self.model.codec, sequences)
        for places in bucketed(encoded.lengths, BATCH):
            yield places, encoded.batch(places)


class _Member:
    def __init__(self, config: SequenceConfig, arrays: Mapping[str, np.ndarray], m: int) -> None:
        own = member_arrays(arrays, m)
        cell = find(config.cell, config.activation)

        def layer(name: str) -> Layer:
            return Layer(cell, own, name)

        self.config = config
        self.arrays = own
        self.spelling = layer("spelling") if config.alphabet_size else None
        self.layers = [layer(f"layers.{k}") for k in range(config.num_layers)]
        self.head = own["head.weight"].astype(np.float64)

    def read(self, batch: Batch) -> Any:
        """Return what the first layer reads, ``[N, I]``."""
        rows, own = batch.steps.rows, self.arrays
        if self.config.channels:
            return rows
        embedding = own["embedding.weight"]
        if batch.words is None or batch.letters is None or self.spelling is None:
            return embedding[rows]
        letters = batch.letters
        _, end = self.spelling.run(own["alphabet.weight"][letters.rows], letters.sizes)
        spelled = np.empty((len(batch.words), 2 * self.config.spelling_size), np.float32)
        spelled[letters.order] = np.concatenate([*end[:, 0]], axis=1)
        return np.concatenate([embedding[batch.words], spelled], axis=1)[rows]

    def answer(self, batch: Batch) -> np.ndarray:
        """Return the logits: of each sequence, in the batch's order of columns, or of each row."""
        y, sizes = self.read(batch), batch.steps.sizes
        end = np.empty(0)
        for layer in self.layers:
            y, end = layer.run(y, sizes)
        ways, own = self.config.pools, self.arrays
        if ways:
            y = pool(ways, y, end, sizes, own.get("attention.weight"))
        # in float64, for BLAS sums in another order where there are other sequences beside
        logits: np.ndarray = y.astype(np.float64) @ self.head.T + own["head.bias"]
        return logits.astype(np.float32)
