"""Chain of tags: which tags may follow each other, their probabilities in a sequence, and the best sequence.

The score of a sequence of tags is the sum of the network's logits for its tags and of learned scores for its
start, its pairs of neighbours and its end: a linear-chain conditional random field (J. Lafferty, A. McCallum,
F. Pereira 2001; on a recurrent network Z. Huang, W. Xu, K. Yu 2015).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np

from elman.labels.batches import PackedSteps, length_buckets
from elman.labels.tags import scheme, split_tag

FORBIDDEN = -1e4
"""Score of two neighbours that the scheme of the tags rules out; its exponential is 0."""
MAX_CHAINED_TAGS = 500
"""With more tags, the scores of all pairs would take too much time; each step then has its own tag."""
SEQUENCES_PER_BLOCK = 64
_TINY = 1e-300


@dataclass(frozen=True, eq=False)
class TagChain:
    """Scores of neighbouring tags, float64; the logits of the tags come from the network."""

    start: np.ndarray
    """``[K]``: the score of each tag at the first step."""
    weight: np.ndarray
    """``[K, K]``: the score of a tag (row) and the tag after it (column)."""
    end: np.ndarray
    """``[K]``: the score of each tag at the last step."""

    @classmethod
    def of_members(cls, members: Sequence[Mapping[str, np.ndarray]]) -> TagChain:
        """Return the mean of the chains in the arrays of the members."""
        parts = [
            np.mean([arrays[f"transitions.{name}"] for arrays in members], axis=0, dtype=np.float64)
            for name in ("start", "weight", "end")
        ]
        return cls(*map(np.asarray, parts))

    @classmethod
    def rules(cls, names: Sequence[str], sequences: Sequence[Sequence[str]]) -> TagChain:
        """Return 0 for every pair that may occur, and `FORBIDDEN` for the others.

        In IOB2 and the schemes with an end, ``I-x`` and ``E-x`` continue an entity of type x, and in the
        latter an entity must end. Pairs that occur in `sequences` are allowed in any case.

        >>> rules = TagChain.rules(["B-a", "I-a", "O"], [["B-a", "I-a", "O"]])
        >>> (rules.weight == 0).tolist(), (rules.start == 0).tolist()
        ([[True, True, True], [True, True, True], [True, False, True]], [True, False, True])
        """
        kept = scheme(sequences)
        # O stands for what is before the first step and after the last one
        tags = [split_tag(name) for name in (*names, "O")]
        seen = {pair for sequence in sequences for pair in pairwise(("O", *sequence, "O"))}
        scores = np.zeros((len(tags), len(tags)))
        for row, (letter, kind) in enumerate(tags):
            for column, (next_letter, next_kind) in enumerate(tags):
                is_open, continues = letter in "BI", next_letter in "IE"
                together = is_open and continues and kind == next_kind
                begins_inside = continues and not together and kept != "IOB1"
                stays_open = is_open and not together and kept in ("BIOES", "BILOU")
                pair = ((*names, "O")[row], (*names, "O")[column])
                if (begins_inside or stays_open) and pair not in seen:
                    scores[row, column] = FORBIDDEN
        return cls(scores[-1, :-1], scores[:-1, :-1], scores[:-1, -1])

    def __add__(self, other: TagChain) -> TagChain:
        return replace(
            self,
            start=self.start + other.start,
            weight=self.weight + other.weight,
            end=self.end + other.end,
        )

    def scaled(self, factor: float) -> TagChain:
        """Return the chain for logits that are multiplied by `factor`."""
        return TagChain(self.start * factor, self.weight * factor, self.end * factor)

    def log_probabilities(self, sequences: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Return for logits ``[T_i, K]`` the logarithm of each tag's probability at each step ``[T_i, K]``.

        A tag's probability is the share of all sequences of tags that have it at the step, by the
        forward-backward algorithm.

        >>> chain = TagChain(np.zeros(2), np.array([[0.0, FORBIDDEN], [0.0, 0.0]]), np.zeros(2))
        >>> (rows,) = chain.log_probabilities([np.zeros((2, 2))])
        >>> np.exp(rows).round(3).tolist()  # 00, 10 and 11 remain
        [[0.333, 0.667], [0.667, 0.333]]
        """
        found: list[np.ndarray] = [np.empty(0)] * len(sequences)
        lengths = np.array([len(rows) for rows in sequences])
        for block in length_buckets(lengths, SEQUENCES_PER_BLOCK):
            steps = PackedSteps.of([sequences[row].astype(np.float64) for row in block])
            for row, answer in zip(block, steps.unpack(self._packed(steps)), strict=True):
                found[row] = answer
        return found

    def _packed(self, steps: PackedSteps) -> np.ndarray:
        """Return the logarithms of the probabilities of packed logits ``[N, K]``."""
        # the same number less for all pairs changes no probability, and keeps the exponentials finite
        follows = np.exp(self.weight - self.weight.max())
        parts = np.split(steps.rows, np.cumsum(steps.sizes)[:-1])
        forward = [self.start + parts[0]]
        for rows in parts[1:]:
            forward.append(_log_product(forward[-1][: len(rows)], follows) + rows)
        backward = [np.broadcast_to(self.end, parts[-1].shape)]
        for before, rows in zip(parts[-2::-1], parts[:0:-1], strict=True):
            later = np.array(np.broadcast_to(self.end, before.shape))
            # sequences that end here keep the score of their end
            later[: len(rows)] = _log_product(backward[-1] + rows, follows.T)
            backward.append(later)
        scores = np.concatenate(forward) + np.concatenate(backward[::-1])
        scores -= scores.max(axis=1, keepdims=True)
        return np.asarray(scores - np.log(np.exp(scores).sum(axis=1, keepdims=True)))

    def best(self, logits: np.ndarray) -> np.ndarray:
        """Return the numbers of the best sequence of tags ``[T]`` by Viterbi's algorithm.

        >>> chain = TagChain(np.zeros(2), np.array([[0.0, FORBIDDEN], [0.0, 0.0]]), np.zeros(2))
        >>> chain.best(np.array([[1.0, 0.0], [0.0, 3.0]])).tolist()  # 01 is forbidden
        [1, 1]
        """
        if not len(logits):
            return np.empty(0, np.int64)
        score, pointers = self.start + logits[0], []
        for row in logits[1:]:
            scores = score[:, None] + self.weight
            pointers.append(scores.argmax(axis=0))
            score = scores.max(axis=0) + row
        tags = [int((score + self.end).argmax())]
        for pointer in pointers[::-1]:
            tags.append(int(pointer[tags[-1]]))
        return np.array(tags[::-1], np.int64)


def _log_product(scores: np.ndarray, factors: np.ndarray) -> np.ndarray:
    """Return ``ln(exp(scores [B, K]) @ factors [K, K])``."""
    largest = scores.max(axis=1, keepdims=True)
    return np.asarray(np.log(np.exp(scores - largest) @ factors + _TINY) + largest)
