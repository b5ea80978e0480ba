"""The choice of next tokens: the k most probable ones, a random draw, or a beam search."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypedDict

import numpy as np

from elman.engine import kernel as native
from elman.engine.shapes import whole_number
from elman.errors import OptionError
from elman.language.network import DrawSettings, Network
from elman.tables.frames import frame_of
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN, UNKNOWN_ID

MAX_BEAM_WIDTH = 10_000
UNKNOWN_SHARE_TO_NOTE = 0.5
"""Predictions with at least this probability of `<unk>` say so."""

# With a factor between these two, differences of logits (at most 2e18) stay finite in float32, and -inf
# stays -inf.
MIN_FACTOR, MAX_FACTOR = 1e-30, 1e18


def _is_number(value: float) -> bool:
    is_real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return is_real and math.isfinite(value)


def generator(seed: int | None) -> np.random.Generator:
    """Return a random generator with this seed, or with a random one for None; raises OptionError."""
    if seed is not None:
        seed = whole_number("seed", seed, 0)
    return np.random.Generator(np.random.PCG64(seed))


def best(values: np.ndarray, k: int) -> np.ndarray:
    """Return the indices of the `k` largest of ``values [N]``, largest first, ties in order.

    >>> best(np.array([0.1, 0.5, 0.1, 0.3]), 3).tolist()
    [1, 3, 0]
    """
    if k >= len(values):
        return np.argsort(-values, kind="stable")
    # partition finds the k-th largest value in linear time; only the candidates are sorted.
    smallest = np.partition(values, len(values) - k)[len(values) - k]
    candidates = np.flatnonzero(values >= smallest)
    return candidates[np.argsort(-values[candidates], kind="stable")[:k]]


class Predictions(list[tuple[str, float]]):
    """The most probable next tokens with their probabilities, best first.

    >>> Predictions([("pizza", 0.01)], unknown_probability=0.99)
    [('pizza', 0.01)] (99 % of the probability is on tokens outside the vocabulary, <unk>)
    """

    unknown_probability: float
    """The probability of all tokens outside the vocabulary (`<unk>`, which is not in the list)."""

    def __init__(
        self, tokens: Iterable[tuple[str, float]] = (), unknown_probability: float = 0.0
    ) -> None:
        super().__init__(tokens)
        self.unknown_probability = unknown_probability

    def __reduce__(self) -> tuple[type[Predictions], tuple[list[tuple[str, float]], float]]:
        return type(self), (list(self), self.unknown_probability)

    @property
    def note(self) -> str:
        """A note if most of the probability is on `<unk>`, else an empty text."""
        share = self.unknown_probability
        if share < UNKNOWN_SHARE_TO_NOTE:
            return ""
        return (
            f"{100 * share:.0f} % of the probability is on tokens outside the vocabulary, {UNKNOWN}"
        )

    def to_frame(self) -> Any:
        """Return tokens and probabilities as a data frame, or as a dict of columns without polars."""
        return frame_of({"token": token, "probability": share} for token, share in self)

    def __repr__(self) -> str:
        return super().__repr__() + (f" ({self.note})" if self.note else "")


def ranked(codec: TextCodec, log_probabilities: np.ndarray, k: int) -> Predictions:
    """Return the `k` most probable tokens by ``log_probabilities [V]``, best first, without `<unk>`."""
    return ranked_rows(codec, log_probabilities[None], k)[0]


def ranked_rows(codec: TextCodec, log_probabilities: np.ndarray, k: int) -> list[Predictions]:
    """Return for each row of ``log_probabilities [N, V]`` the same as `ranked`."""
    # <unk> stands for many words, so it is never offered as a prediction.
    kernel = native.kernel() if log_probabilities.dtype == np.float32 else None
    if kernel is None:
        return [_ranked_in_numpy(codec, row, k) for row in log_probabilities]
    rank, names = kernel.rank, codec.tokens
    result = [Predictions() for _ in log_probabilities]
    for found, row in zip(result, np.ascontiguousarray(log_probabilities), strict=True):
        found.unknown_probability = rank(
            log_probabilities=row, k=k, never=UNKNOWN_ID, names=names, found=found
        )
    return result


def _ranked_in_numpy(codec: TextCodec, log_probabilities: np.ndarray, k: int) -> Predictions:
    without_unknown = log_probabilities.copy()
    without_unknown[UNKNOWN_ID] = -np.inf
    chosen = best(without_unknown, min(k, len(without_unknown) - 1))
    probabilities = np.exp(without_unknown[chosen]).tolist()
    return Predictions(
        zip((codec.tokens[token] for token in chosen.tolist()), probabilities, strict=True),
        float(np.exp(log_probabilities[UNKNOWN_ID])),
    )


class SamplingOptions(TypedDict, total=False):
    """The fields of `Sampling` as keyword arguments."""

    temperature: float
    top_k: int | None
    top_p: float | None


class GenerationOptions(SamplingOptions, total=False):
    """The keyword arguments of `Stream.generate_pieces`."""

    seed: int | None


@dataclass(frozen=True)
class Sampling:
    """Settings of a random draw: apply `temperature`, then keep `top_k` tokens, then `top_p` of those.

    Raises OptionError for a value that is out of range.
    """

    temperature: float = 1.0
    """Divisor of the logits; 0 takes the most probable token."""
    top_k: int | None = None
    """Draw only from this many most probable tokens."""
    top_p: float | None = None
    """Draw only from the fewest most probable tokens that together have this probability."""

    def __post_init__(self) -> None:
        if not (_is_number(self.temperature) and self.temperature >= 0):
            raise OptionError("temperature", got=self.temperature, expected="a number from 0")
        if self.top_k is not None:
            whole_number("top_k", self.top_k, 1)
        if self.top_p is not None and not (_is_number(self.top_p) and 0 < self.top_p <= 1):
            raise OptionError("top_p", got=self.top_p, expected="a number above 0, at most 1")

    def weights(self, logits: np.ndarray) -> np.ndarray:
        """Return the weight ``[V]`` of each token in the draw; that of `<unk>` is 0.

        >>> Sampling(top_k=1).weights(np.array([9.0, 0.0, 1.0])).tolist()
        [0.0, 0.0, 1.0]
        """
        scaled: np.ndarray = logits.copy()
        scaled[UNKNOWN_ID] = -np.inf
        if self.temperature == 0:
            most_probable: np.ndarray = np.zeros_like(scaled)
            most_probable[scaled.argmax()] = 1
            return most_probable
        # The largest logit becomes 0, so that exp cannot overflow.
        scaled -= scaled.max()
        scaled *= scaled.dtype.type(self._factor)
        weights: np.ndarray = np.exp(scaled)
        if self.top_k is None and self.top_p is None:
            return weights
        order = best(weights, self.top_k or len(weights))
        if self.top_p is not None:
            # From the most probable token on, the fewest tokens whose weights reach the share top_p.
            share = weights[order].cumsum(dtype=np.float64)
            order = order[: int(np.searchsorted(share, self.top_p * share[-1])) + 1]
        kept = np.zeros_like(weights)
        kept[order] = weights[order]
        return kept

    @cached_property
    def in_kernel(self) -> DrawSettings:
        """The settings as the kernel takes them."""
        return {
            "factor": self._factor if self.temperature else 0.0,
            "top_k": min(self.top_k or 0, 2**31),
            "top_p": self.top_p or 0.0,
            "never": UNKNOWN_ID,
        }

    @property
    def _factor(self) -> float:
        return min(max(1 / self.temperature, MIN_FACTOR), MAX_FACTOR)

    def draw(self, logits: np.ndarray, uniform: float) -> int:
        """Return the token that the random number `uniform` (0 to 1) draws; it is never `<unk>`."""
        kernel = native.kernel() if logits.dtype == np.float32 else None
        if kernel is not None:
            return kernel.draw(logits=logits, uniform=uniform, **self.in_kernel)
        # Draw by inverting the cumulated weights; a token of weight 0 is never met.
        cumulated = self.weights(logits).cumsum(dtype=np.float64)
        return int(cumulated.searchsorted(uniform * cumulated[-1], side="right"))


def beam_search(
    network: Network, state: np.ndarray, n: int, width: int
) -> list[tuple[list[int], float]]:
    """Return the `width` most probable continuations with their log probabilities, best first.

    A continuation of ``state [S]`` has `n` tokens, or fewer if it reaches `<end>`. None contains `<unk>`.
    """
    states, scores, paths = state[None], np.zeros(1), np.empty((1, 0), np.int64)
    finished: list[tuple[list[int], float]] = []
    for step in range(n):
        scores, rows, tokens = _extend(network, network.output(states), scores, width)
        paths = np.column_stack([paths[rows], tokens])
        # A path that reaches <end> is complete and competes with the others by its score alone.
        ended = tokens == network.model.codec.end_id
        finished += zip(paths[ended].tolist(), scores[ended].tolist(), strict=True)
        scores, rows, paths = scores[~ended], rows[~ended], paths[~ended]
        if step == n - 1 or not len(paths):
            break
        _, states = network.forward(tokens[~ended][None], states[rows])
    finished += zip(paths.tolist(), scores.tolist(), strict=True)
    finished.sort(key=lambda item: -item[1])
    return finished[:width]


def _extend(
    network: Network, hidden: np.ndarray, scores: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return score, row of `hidden` and token of the `width` best extensions of all rows by one token."""
    V = len(network.model.codec)
    totals, indices = [], []
    for block in network.blocks(len(hidden)):
        log_probabilities = network.log_probabilities(hidden[block])
        log_probabilities[:, UNKNOWN_ID] = -np.inf
        total = (scores[block, None] + log_probabilities).ravel()
        chosen = best(total, width)
        chosen = chosen[total[chosen] > -np.inf]
        totals.append(total[chosen])
        indices.append(chosen + block.start * V)
    total, index = np.concatenate(totals), np.concatenate(indices)
    chosen = best(total, width)
    return total[chosen], index[chosen] // V, index[chosen] % V
