"""A continuous cache: tokens that followed similar outputs of the network become more probable.

The cache keeps the network's last outputs with the token after each of them. Its probability of a token is
the sum of the weights of this token's entries, where the weights are a softmax over the products of the
present output with the kept ones (E. Grave et al., arXiv:1612.04426, equations 3 and 5).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from elman.language.adaptation import Adaptation


class Cache:
    """The last outputs of a network with the tokens after them.

    Args:
        settings: Size of the cache, its share in the prediction, and the factor of the products.
        hidden_size: Size of the outputs.
        dtype: Type of the outputs.
    """

    def __init__(self, settings: Adaptation, hidden_size: int, dtype: npt.DTypeLike) -> None:
        self._settings = settings
        # Entries move to the front only when the arrays are full, so their room is twice the size.
        self._keys = np.empty((2 * settings.cache_size, hidden_size), dtype)
        self._values = np.empty(len(self._keys), np.int64)
        self._count = 0

    def __len__(self) -> int:
        """Return the number of entries in the arrays; only the last `cache_size` of them are used."""
        return self._count

    def score(
        self, hidden: np.ndarray, targets: np.ndarray, own: np.ndarray, *, keep: bool
    ) -> np.ndarray:
        """Return the log probabilities ``[N]`` of ``targets [N]`` after outputs ``hidden [N, H]``.

        Args:
            hidden: The outputs.
            targets: The tokens after them.
            own: The network's own log probabilities of the targets.
            keep: Whether each output and its target enter the cache before the next output is scored.
        """
        result = np.empty_like(own)
        # No more entries at once than there is room for.
        size = self._settings.cache_size
        for rows in (slice(begin, begin + size) for begin in range(0, len(targets), size)):
            positions = np.full(len(targets[rows]), self._count)
            if keep:
                positions = self._append(hidden[rows], targets[rows])
            weights, values = self._attend(hidden[rows], positions)
            cached = (weights * (values == targets[rows, None])).sum(axis=1)
            result[rows] = self._mix(own[rows], cached, positions)
        return result

    def mixed(self, hidden: np.ndarray, own: np.ndarray) -> np.ndarray:
        """Return the log probabilities ``[N, V]`` of all tokens; `own` holds the network's own."""
        positions = np.full(len(hidden), self._count)
        weights, values = self._attend(hidden, positions)
        cached = np.zeros_like(own)
        np.add.at(cached, (np.arange(len(hidden))[:, None], values), weights)
        return self._mix(own, cached, positions[:, None])

    def _append(self, hidden: np.ndarray, targets: np.ndarray) -> np.ndarray:
        """Append entries; return their indices ``[N]``, which are the numbers of entries before them."""
        if self._count + len(targets) > len(self._keys):
            size = self._settings.cache_size
            for array in (self._keys, self._values):
                array[:size] = array[self._count - size : self._count]
            self._count = size
        indices = self._count + np.arange(len(targets))
        self._keys[indices], self._values[indices] = hidden, targets
        self._count += len(targets)
        return indices

    def _attend(self, hidden: np.ndarray, positions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return weights ``[N, M]`` of M entries for ``hidden [N, H]``, and their tokens ``[M]``.

        Row n sees the entries at most `cache_size` before index ``positions[n]``, and its weights add up to
        1; they are 0 if there are none.
        """
        size, last = self._settings.cache_size, int(positions[-1])
        first = max(0, int(positions[0]) - size)
        index, end = np.arange(first, last), positions[:, None]
        similarity = self._settings.sharpness * (hidden @ self._keys[first:last].T)
        seen = (index < end) & (index >= end - size)
        similarity = np.where(seen, similarity, -np.inf)
        highest = similarity.max(axis=1, initial=np.finfo(hidden.dtype).min, keepdims=True)
        weights = np.exp(similarity - highest)
        weights /= np.maximum(weights.sum(axis=1, keepdims=True), np.finfo(hidden.dtype).tiny)
        return weights, self._values[first:last]

    def _mix(self, own: np.ndarray, cached: np.ndarray, positions: np.ndarray) -> np.ndarray:
        """Return the log of the mixture of probabilities; an empty cache has no share in it."""
        share = np.where(positions > 0, self._settings.cache_share, 0.0).astype(own.dtype)
        with np.errstate(divide="ignore"):
            mixed: np.ndarray = np.logaddexp(np.log1p(-share) + own, np.log(share * cached))
        return mixed
