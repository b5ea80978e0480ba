"""Encoded sequences, and the batches that are cut from them.

Sequences of a batch differ in length and are never padded. A batch is packed like PyTorch's PackedSequence:
the rows of the first time step of all sequences, then those of the second, and so on, with the longest
sequence first, so that sequences that have ended drop out at the end of each step.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from elman.errors import DataError, ShapeError
from elman.labels.codec import SequenceCodec
from elman.labels.dataset import Sequences, check_finite
from elman.text.words import UNKNOWN, UNKNOWN_ID

BATCHES_PER_POOL = 32
"""In training, sequences are sorted by length within random pools of this many batches."""
MAX_SPELLED_CHARACTERS = 8
"""Of a word longer than twice this, only so many first and so many last characters are spelled."""


@dataclass(frozen=True, eq=False)
class PackedSteps:
    """Sequences of unequal lengths, packed step by step, the longest first.

    >>> steps = PackedSteps.of([np.array([1]), np.array([2, 3])])
    >>> steps.order.tolist(), steps.sizes.tolist(), steps.rows.tolist()
    ([1, 0], [2, 1], [2, 1, 3])
    """

    order: np.ndarray
    """int64 ``[B]``: index in the input of each packed sequence; the longest comes first."""
    sizes: np.ndarray
    """int64 ``[T]``: number of sequences that are still running at each step."""
    rows: np.ndarray
    """``[N]`` or ``[N, C]``: the values of all steps."""

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray]) -> PackedSteps:
        """Pack `sequences`, none of which may be empty."""
        lengths = np.array([len(sequence) for sequence in sequences])
        if len(lengths) == 1:  # nothing to sort: streams pack one sequence for every step
            return cls(np.zeros(1, np.int64), np.ones(lengths[0], np.int64), sequences[0])
        order = np.argsort(-lengths, kind="stable")
        # for each step, how many sequences are longer than it
        sizes = np.searchsorted(-lengths[order], -np.arange(lengths.max()), side="left")
        starts = np.concatenate([[0], np.cumsum(sizes)[:-1]])
        ends = np.cumsum(lengths)
        # for each value of the concatenated sequences, its step within its sequence
        times = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        rows = np.empty((ends[-1], *sequences[0].shape[1:]), sequences[0].dtype)
        # the row of a value: where its step begins, and the rank of its sequence by length
        rows[starts[times] + np.repeat(np.argsort(order), lengths)] = np.concatenate(sequences)
        return cls(order, sizes.astype(np.int64), rows)

    @property
    def columns(self) -> np.ndarray:
        """The packed sequence that each row belongs to, int64 ``[N]``."""
        return np.concatenate([np.arange(size) for size in self.sizes])

    def unpack(self, rows: np.ndarray) -> list[np.ndarray]:
        """Return packed `rows` ``[N, ...]`` as one ``[T_i, ...]`` for each sequence, in the input's order."""
        starts = np.concatenate([[0], np.cumsum(self.sizes)[:-1]])
        # a sequence runs at every step that has more running sequences than its rank
        lengths = (self.sizes[:, None] > np.arange(len(self.order))).sum(axis=0)
        packed = [rows[starts[:length] + column] for column, length in enumerate(lengths.tolist())]
        return [packed[column] for column in np.argsort(self.order)]


@dataclass(frozen=True, eq=False)
class SequenceBatch:
    """The input of the network for several sequences."""

    steps: PackedSteps
    """Rows of token ids, or of numbers ``[N, C]``; if words are spelled, rows of indices into `words`."""
    words: np.ndarray | None = None
    """int64 ``[W]``: the token id of each distinct word, if words are spelled."""
    letters: PackedSteps | None = None
    """The character ids of each distinct word, if words are spelled."""


@dataclass(frozen=True, eq=False)
class EncodedSequences:
    """Sequences as ids or scaled numbers, from which batches can be cut."""

    sequences: list[np.ndarray]
    words: np.ndarray | None = None
    letters: list[np.ndarray] | None = None

    @classmethod
    def of(cls, codec: SequenceCodec, sequences: Sequences) -> EncodedSequences:
        """Encode `sequences`; an empty text becomes a single `<unk>`.

        Raises:
            DataError: The kind is not the one of training, or a number is not finite.
            ShapeError: The number of channels is not the one of training.
        """
        tokens = codec.tokens
        if (tokens is None) != (sequences.kind == "numbers"):
            expected = "numbers" if tokens is None else "texts"
            raise DataError("sequences", got=sequences.kind, expected=f"{expected}, as in training")
        if tokens is None:
            return cls(_scaled(codec, sequences))
        if tokens.level == "char":
            texts = [text.lower() if codec.lowercase else text for text in sequences.texts]
            return cls([_not_empty(tokens.encode(text)) for text in texts])
        # each distinct word is looked up and spelled only once
        index_of: dict[str, int] = {}
        indices = [
            np.array(
                [index_of.setdefault(word, len(index_of)) for word in words or [UNKNOWN]], np.int64
            )
            for words in (
                tokens.tokenise(item) if sequences.kind == "text" else item
                for item in sequences.items
            )
        ]
        distinct = [*index_of]
        # only the lookup is in lower case; the spelling keeps upper case
        lowered = [word.lower() for word in distinct] if codec.lowercase else distinct
        ids = tokens.numbers(lowered)
        if codec.alphabet is None:
            return cls([ids[index] for index in indices])
        letters = [_not_empty(codec.alphabet.encode(_spelled(word))) for word in distinct]
        return cls(indices, ids, letters)

    def __len__(self) -> int:
        return len(self.sequences)

    @property
    def lengths(self) -> np.ndarray:
        """Number of time steps of each sequence, int64 ``[N]``."""
        return np.array([len(sequence) for sequence in self.sequences], np.int64)

    @property
    def token_ids(self) -> list[np.ndarray]:
        """Ids of the tokens of each text, int64 ``[T_i]``."""
        words = self.words
        return self.sequences if words is None else [words[index] for index in self.sequences]

    def batch(self, rows: Iterable[int]) -> SequenceBatch:
        """Return the batch of the sequences in `rows`."""
        steps = PackedSteps.of([self.sequences[row] for row in rows])
        if self.words is None or self.letters is None:
            return SequenceBatch(steps)
        # only the words of this batch are spelled; rows become indices into them
        present, indices = np.unique(steps.rows, return_inverse=True)
        steps = PackedSteps(steps.order, steps.sizes, indices.astype(np.int64))
        letters = PackedSteps.of([self.letters[word] for word in present.tolist()])
        return SequenceBatch(steps, self.words[present], letters)


def _scaled(codec: SequenceCodec, sequences: Sequences) -> list[np.ndarray]:
    channels = 0 if codec.scaler is None else len(codec.scaler.mean)
    if codec.scaler is None or sequences.items[0].shape[1] != channels:
        got = f"{sequences.items[0].shape[1]} channels"
        raise ShapeError("sequences", got=got, expected=f"{channels}")
    check_finite(sequences, allow_missing=codec.scaler.indicator)
    return [codec.scaler.apply(item) for item in sequences.items]


def _spelled(word: str) -> str:
    size = MAX_SPELLED_CHARACTERS
    return word if len(word) <= 2 * size else word[:size] + word[-size:]


def _not_empty(ids: np.ndarray) -> np.ndarray:
    return ids if len(ids) else np.array([UNKNOWN_ID], np.int64)


def length_buckets(
    lengths: np.ndarray, batch_size: int, draw: np.random.Generator | None = None
) -> list[np.ndarray]:
    """Return the indices ``[<= batch_size]`` of each batch; a batch holds sequences of similar length.

    Args:
        lengths: Length of each sequence ``[N]``.
        batch_size: Maximum number of sequences in a batch.
        draw: If given, batches come in random order and are formed within random pools, so that every epoch
            has other batches. Otherwise all sequences are sorted by length.
    """
    count = len(lengths)
    order = np.arange(count) if draw is None else draw.permutation(count)
    pool_size = count if draw is None else BATCHES_PER_POOL * batch_size
    batches: list[np.ndarray] = []
    for first in range(0, count, max(1, pool_size)):
        pool = order[first : first + pool_size]
        # with similar lengths, most sequences of a batch run to its last step, so that products stay large
        pool = pool[np.argsort(lengths[pool], kind="stable")]
        batches += [pool[start : start + batch_size] for start in range(0, len(pool), batch_size)]
    if draw is not None:
        # without this, short batches would always come before long ones
        batches = [batches[index] for index in draw.permutation(len(batches))]
    return batches


class EpochBatches:
    """The batches of each epoch, which depend on the seed and the number of the epoch alone."""

    def __init__(self, lengths: np.ndarray, batch_size: int, seed: int) -> None:
        """Begin with sequences of so many steps, ``lengths [N]``."""
        self.lengths, self.batch_size, self.seed = lengths, batch_size, seed
        self._drawn: tuple[int, list[np.ndarray]] | None = None

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return math.ceil(len(self.lengths) / self.batch_size)

    def of(self, epoch: int) -> list[np.ndarray]:
        """Return the indices ``[<= batch_size]`` of each batch of an epoch."""
        if self._drawn is None or self._drawn[0] != epoch:
            draw = np.random.default_rng([self.seed, epoch])
            self._drawn = epoch, length_buckets(self.lengths, self.batch_size, draw)
        return self._drawn[1]
