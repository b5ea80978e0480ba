"""Choosing tokens from log probabilities: the best k, a draw, the best whole continuations."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from elman.engine import kernel as native
from elman.engine.shapes import whole_number
from elman.errors import OptionError
from elman.language.network import BLOCK, Network
from elman.tables.frames import frame_of
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN, UNKNOWN_ID

__all__ = ["MAX_WIDTH", "Predictions", "Sampling", "beam_search", "best", "generator", "ranked"]

MAX_WIDTH = 10_000
MOSTLY = 0.5
"""Probability of `<unk>` from which a prediction says so: the offered tokens are the lesser part."""

# Between these factors differences of logits (at most 2e18) stay in float32, and -inf stays -inf.
FLATTEST, STEEPEST = 1e-30, 1e18

# Tokens chosen so far, last first: (token, tokens before it).
Path: TypeAlias = tuple[int, Any] | tuple[()]


def _number(name: str, value: object, expected: str) -> float:
    if isinstance(value, numbers.Real) and not isinstance(value, bool) and math.isfinite(value):
        return float(value)
    raise OptionError(name, got=value, expected=expected)


def generator(seed: int | None) -> np.random.Generator:
    """Return the random numbers of `seed`, or of the system's choice; raises OptionError."""
    if seed is not None:
        seed = whole_number("seed", seed, 0)
    return np.random.Generator(np.random.PCG64(seed))


def best(values: np.ndarray, k: int) -> np.ndarray:
    """Return where the `k` largest of ``values [N]`` are, largest first, ties in order of place.

    >>> best(np.array([0.1, 0.5, 0.1, 0.3]), 3).tolist()
    [1, 3, 0]
    """
    if k >= len(values):
        return np.argsort(-values, kind="stable")
    least = np.partition(values, len(values) - k)[len(values) - k]
    candidates = np.flatnonzero(values >= least)
    return candidates[np.argsort(-values[candidates], kind="stable")[:k]]


class Predictions(list[tuple[str, float]]):
    """Tokens that may come next with their probability, best first.

    >>> Predictions([("pizza", 0.01)], unknown_probability=0.99)
    [('pizza', 0.01)] (99 % of the probability is on what is outside the vocabulary, <unk>)
    """

    unknown_probability: float
    """Probability of `<unk>`, which is never offered: of all tokens outside the vocabulary together."""

    def __init__(self, tokens: Iterable[tuple[str, float]], unknown_probability: float) -> None:
        super().__init__(tokens)
        self.unknown_probability = unknown_probability

    def __reduce__(self) -> tuple[type[Predictions], tuple[list[tuple[str, float]], float]]:
        return type(self), (list(self), self.unknown_probability)

    @property
    def note(self) -> str:
        """What to say where most of the probability is on `<unk>`, else an empty text."""
        share = self.unknown_probability
        if share < MOSTLY:
            return ""
        return f"{100 * share:.0f} % of the probability is on what is outside the vocabulary, {UNKNOWN}"

    def to_frame(self) -> Any:
        """Return the tokens and their probabilities as a data frame, or as columns without polars."""
        return frame_of({"token": token, "probability": one} for token, one in self)

    def __repr__(self) -> str:
        return super().__repr__() + (f" ({self.note})" if self.note else "")


def ranked(codec: TextCodec, log_probabilities: np.ndarray, k: int) -> Predictions:
    """Return the `k` most probable tokens of ``[V]`` with probability, best first, no `<unk>`."""
    offered = log_probabilities.copy()
    offered[UNKNOWN_ID] = -np.inf
    chosen = best(offered, min(k, len(offered) - 1))
    probabilities = np.exp(offered[chosen]).tolist()
    return Predictions(
        zip((codec.tokens[token] for token in chosen.tolist()), probabilities, strict=True),
        float(np.exp(log_probabilities[UNKNOWN_ID])),
    )


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn: `temperature` first, then `top_k`, then `top_p` of what is left.

    Raises OptionError for a value that cannot be.
    """

    temperature: float = 1.0
    """Logits are divided by it; 0 takes the most probable token."""
    top_k: int | None = None
    """Only this many most probable tokens are drawn from."""
    top_p: float | None = None
    """Only the fewest most probable tokens that together have this probability are drawn from."""

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
        """Return the weight ``[V]`` of each token in the draw; `<unk>` is never drawn.

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
            weights[_others(weights, best(weights, self.top_k))] = 0
        if self.top_p is not None:
            order = best(weights, len(weights))
            share = weights[order].cumsum(dtype=np.float64)
            count = int(np.searchsorted(share, self.top_p * share[-1])) + 1
            weights[order[count:]] = 0
        return weights

    @property
    def in_kernel(self) -> tuple[float, int, float]:
        """What the kernel's `draw` and `generate` take: factor of the logits, top_k, top_p, 0 for none."""
        return (
            self._factor if self.temperature else 0.0,
            min(self.top_k or 0, 2**31),
            self.top_p or 0.0,
        )

    @property
    def _factor(self) -> float:
        return min(max(1 / self.temperature, FLATTEST), STEEPEST)

    def draw(self, logits: np.ndarray, uniform: float) -> int:
        """Return the token drawn from ``logits [V]`` by a number from 0 to 1; `<unk>` is never drawn."""
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
        reach = self.weights(logits).cumsum(dtype=np.float64)
        return int(reach.searchsorted(uniform * reach[-1], side="right"))


def _others(values: np.ndarray, places: np.ndarray) -> np.ndarray:
    mask = np.ones(len(values), np.bool_)
    mask[places] = False
    return mask


def beam_search(
    network: Network, state: np.ndarray, n: int, width: int
) -> list[tuple[list[int], float]]:
    """Return up to `width` most probable continuations of `n` tokens with log probability.

    The start is one stream's ``state [S]``. A continuation that reaches `<end>` is whole, however
    short. Best first; `<unk>` is in none of them.
    """
    states = state[None]
    end_id = network.model.codec.end_id
    whole: list[tuple[float, Path]] = []
    paths: list[Path] = [()]
    scores = np.zeros(1)
    for step in range(n):
        scores, rows, tokens = _extend(network, network.output(states), scores, width)
        longer: list[Path] = [
            (int(token), paths[row]) for row, token in zip(rows, tokens, strict=True)
        ]
        whole += [(float(scores[i]), longer[i]) for i in np.flatnonzero(tokens == end_id)]
        going = np.flatnonzero(tokens != end_id)
        paths, scores = [longer[i] for i in going], scores[going]
        if step == n - 1 or not len(going):
            break
        parents = rows[going]
        _, states = network.forward(tokens[going][None], states[parents])
    whole += zip(scores.tolist(), paths, strict=True)
    whole.sort(key=lambda item: -item[0])
    return [(_tokens(path), score) for score, path in whole[:width]]


def _extend(
    network: Network, hidden: np.ndarray, scores: np.ndarray, width: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    V = len(network.model.codec)
    count = max(1, BLOCK // V)
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


def _tokens(path: Path) -> list[int]:
    tokens: list[int] = []
    while path:
        token, path = path
        tokens.append(token)
    return tokens[::-1]
