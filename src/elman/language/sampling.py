"""The choice of next tokens: the k most probable ones, a random draw, or a beam search."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias, TypedDict

import numpy as np

from elman.engine import kernel as native
from elman.engine.shapes import whole_number
from elman.errors import OptionError
from elman.language.network import Network
from elman.tables.frames import frame_of
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN, UNKNOWN_ID

MAX_BEAM_WIDTH = 10_000
UNKNOWN_SHARE_TO_NOTE = 0.5
"""Predictions with at least this probability of `<unk>` say so."""

# With a factor between these two, differences of logits (at most 2e18) stay finite in float32, and -inf
# stays -inf.
MIN_FACTOR, MAX_FACTOR = 1e-30, 1e18

# The tokens of a continuation, last first, as a linked list: (token, tokens before it).
LinkedTokens: TypeAlias = tuple[int, "LinkedTokens"] | tuple[()]


def _number(name: str, value: object, expected: str) -> float:
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise OptionError(name, got=value, expected=expected)


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

    def __init__(self, tokens: Iterable[tuple[str, float]], unknown_probability: float) -> None:
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
        expected = "a number from 0"
        if _number("temperature", self.temperature, expected) < 0:
            raise OptionError("temperature", got=self.temperature, expected=expected)
        if self.top_k is not None:
            whole_number("top_k", self.top_k, 1)
        if self.top_p is not None:
            expected = "a number above 0, at most 1"
            if not 0 < _number("top_p", self.top_p, expected) <= 1:
                raise OptionError("top_p", got=self.top_p, expected=expected)

    def weights(self, logits: np.ndarray) -> np.ndarray:
        """Return the weight ``[V]`` of each token in the draw; that of `<unk>` is 0.

        >>> Sampling(top_k=1).weights(np.array([9.0, 0.0, 1.0])).tolist()
        [0.0, 0.0, 1.0]
        """
        scaled: np.ndarray = logits.copy()
        scaled[UNKNOWN_ID] = -np.inf
        if self.temperature == 0:
            weights = np.zeros_like(scaled)
            weights[scaled.argmax()] = 1
            return weights
        scaled -= scaled.max()
        scaled *= scaled.dtype.type(self._factor)
        weights = scaled
        np.exp(scaled, out=weights)
        if self.top_k is not None:
            kept = np.zeros_like(weights)
            chosen = best(weights, self.top_k)
            kept[chosen] = weights[chosen]
            weights = kept
        if self.top_p is not None:
            order = best(weights, len(weights))
            share = weights[order].cumsum(dtype=np.float64)
            count = int(np.searchsorted(share, self.top_p * share[-1])) + 1
            weights[order[count:]] = 0
        return weights

    @property
    def in_kernel(self) -> tuple[float, int, float]:
        """The settings as the kernel takes them: a factor of the logits, top_k and top_p, 0 for none."""
        return (
            self._factor if self.temperature else 0.0,
            min(self.top_k or 0, 2**31),
            self.top_p or 0.0,
        )

    @property
    def _factor(self) -> float:
        return min(max(1 / self.temperature, MIN_FACTOR), MAX_FACTOR)

    def draw(self, logits: np.ndarray, uniform: float) -> int:
        """Return the token that the random number `uniform` (0 to 1) draws; it is never `<unk>`."""
        kernel = native.kernel() if logits.dtype == np.float32 else None
        if kernel is not None:
            factor, top_k, top_p = self.in_kernel
            return kernel.draw(
                logits=logits,
                uniform=uniform,
                factor=factor,
                top_k=top_k,
                top_p=top_p,
                never=UNKNOWN_ID,
            )
        cumulated = self.weights(logits).cumsum(dtype=np.float64)
        return int(cumulated.searchsorted(uniform * cumulated[-1], side="right"))


def beam_search(
    network: Network, state: np.ndarray, n: int, width: int
) -> list[tuple[list[int], float]]:
    """Return the `width` most probable continuations with their log probabilities, best first.

    A continuation of ``state [S]`` has `n` tokens, or fewer if it reaches `<end>`. None contains `<unk>`.
    """
    states = state[None]
    end_id = network.model.codec.end_id
    finished: list[tuple[float, LinkedTokens]] = []
    paths: list[LinkedTokens] = [()]
    scores = np.zeros(1)
    for step in range(n):
        scores, rows, tokens = _extend(network, network.output(states), scores, width)
        longer: list[LinkedTokens] = [
            (int(token), paths[row]) for row, token in zip(rows, tokens, strict=True)
        ]
        finished += [(float(scores[i]), longer[i]) for i in np.flatnonzero(tokens == end_id)]
        unfinished = np.flatnonzero(tokens != end_id)
        paths, scores = [longer[i] for i in unfinished], scores[unfinished]
        if step == n - 1 or not len(unfinished):
            break
        _, states = network.forward(tokens[unfinished][None], states[rows[unfinished]])
    finished += zip(scores.tolist(), paths, strict=True)
    finished.sort(key=lambda item: -item[0])
    return [(_tokens(path), score) for score, path in finished[:width]]


def _extend(
    network: Network, hidden: np.ndarray, scores: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return score, row of `hidden` and token of the `width` best extensions of all rows by one token."""
    V, count = len(network.model.codec), network.rows_per_block
    totals, places = [], []
    for start in range(0, len(hidden), count):
        log_probabilities = network.log_probabilities(hidden[start : start + count])
        log_probabilities[:, UNKNOWN_ID] = -np.inf
        block = (scores[start : start + count, None] + log_probabilities).ravel()
        chosen = best(block, width)
        chosen = chosen[block[chosen] > -np.inf]
        totals.append(block[chosen])
        places.append(chosen + start * V)
    total, place = np.concatenate(totals), np.concatenate(places)
    chosen = best(total, width)
    return total[chosen], place[chosen] // V, place[chosen] % V


def _tokens(path: LinkedTokens) -> list[int]:
    """Return the tokens of a linked list, first one first."""
    tokens: list[int] = []
    while path:
        token, path = path
        tokens.append(token)
    return tokens[::-1]
