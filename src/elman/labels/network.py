"""The network of a classifier, regressor or tagger, run without torch."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from elman.cells import find
from elman.engine.layers import Layer, bounded, log_softmax, member_arrays
from elman.engine.pauses import one_thread
from elman.engine.pooling import pool
from elman.files.model import Model
from elman.labels.affixes import affix_rows
from elman.labels.batches import EncodedSequences, SequenceBatch, length_buckets
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.dataset import Sequences, SequenceSource
from elman.labels.tag_chain import TagChain

SEQUENCES_PER_BATCH = 64


def probabilities(logits: np.ndarray) -> np.ndarray:
    """Return the probabilities of labels from their logits ``[..., K]``, float64."""
    return np.asarray(np.exp(log_softmax(logits.astype(np.float64))))


class SequenceNetwork:
    """The members of a model, which answer by the mean of their logits, and its wide part; immutable."""

    def __init__(self, model: Model[SequenceConfig, SequenceCodec]) -> None:
        self.config, self.codec = model.config, model.codec
        self.members = [
            NetworkMember(self.config, model.arrays, m) for m in range(self.config.members)
        ]
        self.chain: TagChain | None = None
        if self.config.transitions:
            self.chain = TagChain.of_members([member.arrays for member in self.members])

    def sequences(self, source: SequenceSource) -> Sequences:
        """Return sequences as the network reads them: texts to tag are split at white space."""
        sequences = Sequences.of(source)
        return sequences.stepwise() if self.config.kind.per_step else sequences

    def logits(self, sequences: Sequences) -> np.ndarray:
        """Return the finite logits ``[N, K]`` of each sequence; for regression ``K`` is 1.

        Raises DataError, ShapeError for sequences unlike those of training.
        """
        return self.encoded_logits(EncodedSequences.of(self.codec, sequences))

    def step_logits(self, sequences: Sequences) -> list[np.ndarray]:
        """Return the finite logits ``[T_i, K]`` of each time step of each sequence.

        The logits of chained tags are the logarithms of their probabilities. Raises the same errors as
        `logits`.
        """
        return self.encoded_step_logits(EncodedSequences.of(self.codec, sequences))

    def encoded_step_logits(self, encoded: EncodedSequences) -> list[np.ndarray]:
        """Return the logits of `step_logits` for encoded sequences."""
        logits = self._step_logits(encoded)
        return logits if self.chain is None else self.chain.log_probabilities(logits)

    def tags(self, sequences: Sequences) -> list[np.ndarray]:
        """Return the numbers ``[T_i]`` of the tags of each sequence, if chained the best sequence of tags."""
        return self.encoded_tags(EncodedSequences.of(self.codec, sequences))

    def encoded_tags(self, encoded: EncodedSequences) -> list[np.ndarray]:
        """Return the numbers ``[T_i]`` of the tags of encoded sequences."""
        logits = self._step_logits(encoded)
        if self.chain is not None:
            return [self.chain.best(rows) for rows in logits]
        return [rows.argmax(axis=1) for rows in logits]

    def _step_logits(self, encoded: EncodedSequences) -> list[np.ndarray]:
        logits: list[np.ndarray] = [np.empty(0)] * len(encoded)
        for rows, batch, answers in self._answers(encoded):
            for row, answer in zip(rows.tolist(), batch.steps.unpack(answers), strict=True):
                logits[row] = answer
        return logits

    def encoded_logits(
        self, encoded: EncodedSequences, steps: Sequence[int] | None = None
    ) -> np.ndarray:
        """Return the logits ``[N, K]`` of encoded sequences; with `steps`, those at one step of each."""
        logits = np.empty((len(encoded), self.config.outputs), np.float32)
        for rows, batch, answers in self._answers(encoded):
            if steps is None:
                # the answers of a batch come with the longest sequence first
                logits[rows[batch.steps.order]] = answers
                continue
            for row, answer in zip(rows.tolist(), batch.steps.unpack(answers), strict=True):
                logits[row] = answer[steps[row]]
        if self.codec.wide is not None:
            logits = bounded(logits + self.codec.wide.logits(encoded)).astype(np.float32)
        return logits

    def _answers(
        self, encoded: EncodedSequences
    ) -> Iterator[tuple[np.ndarray, SequenceBatch, np.ndarray]]:
        """Yield batches: the rows of the sequences, the batch, and the mean of the members' logits."""
        for rows in length_buckets(encoded.lengths, SEQUENCES_PER_BATCH):
            batch = encoded.batch(rows)
            with one_thread(), np.errstate(over="ignore", invalid="ignore"):
                answers = bounded(
                    np.mean([member.answer(batch) for member in self.members], axis=0)
                )
            yield rows, batch, answers


class NetworkMember:
    """One network: embedding and spelling of words, recurrent layers, pooling and head."""

    def __init__(self, config: SequenceConfig, arrays: Mapping[str, np.ndarray], m: int) -> None:
        arrays = self.arrays = member_arrays(arrays, m)
        cell = find(config.cell, config.activation)

        def layer(name: str) -> Layer:
            return Layer(cell, arrays, name)

        self.config = config
        self.spelling = layer("spelling") if config.alphabet_size else None
        self.layers = [layer(f"layers.{k}") for k in range(config.num_layers)]
        # [K, P·D], for P pools of D numbers
        self.head = arrays["head.weight"].astype(np.float64)

    def read(self, batch: SequenceBatch) -> np.ndarray:
        """Return the inputs of the first layer, ``[N, I]``."""
        rows, arrays = batch.steps.rows, self.arrays
        if self.config.channels:
            return rows
        embedding = arrays["embedding.weight"]
        if batch.words is None or batch.letters is None or self.spelling is None:
            return np.asarray(embedding[rows])
        letters = batch.letters
        # [directions, states, W, S]; the hidden state is the first of the states
        _, end = self.spelling.run(arrays["alphabet.weight"][letters.rows], letters.sizes)
        spelled = np.empty((len(batch.words), 2 * self.config.spelling_size), np.float32)
        # from the packed order of the words back to their own
        spelled[letters.order] = np.concatenate([*end[:, 0]], axis=1)
        known = embedding[batch.words]
        if self.config.affixes:
            affixes = affix_rows(letters, self.config.affixes)
            known[letters.order] += arrays["affixes.weight"][affixes].sum(axis=1)
        # [W, E + 2·S]
        vectors = np.concatenate([known, spelled], axis=1)
        return np.asarray(vectors[rows])

    def answer(self, batch: SequenceBatch) -> np.ndarray:
        """Return the logits of each sequence, in the packed order, or for a tagger of each row."""
        y, sizes = self.read(batch), batch.steps.sizes
        end = np.empty(0)
        for layer in self.layers:
            y, end = layer.run(y, sizes)
        ways, arrays = self.config.pools, self.arrays
        if ways:
            y = pool(ways, y, end, sizes, arrays.get("attention.weight"))
        return self.logits(y)

    def logits(self, rows: np.ndarray) -> np.ndarray:
        """Return the logits ``[N, K]`` of pooled ``rows [N, P·D]``, or of the outputs of a tagger."""
        # BLAS sums in an order that depends on the batch; in float64 that does not show in the answer
        logits: np.ndarray = rows.astype(np.float64) @ self.head.T + self.arrays["head.bias"]
        return logits.astype(np.float32)
