"""How far a prediction falls when a word is replaced by others that the model expects in its place.

The prediction's probability is averaged over what could stand in the place of one token: the token itself
with the probability that the model gave it, and other tokens that are drawn from the model's prediction in
that place. The text after it stays as it was, and each token weighs as much as the model then expects that
text. A token that is certain from the others tells nothing, and gets 0. This is the prediction difference of
L. Zintgraf et al., "Visualizing Deep Neural Network Decisions" (2017), after M. Robnik-Šikonja and
I. Kononenko, "Explaining Classifications For Individual Instances" (2008).

A character is replaced together with what follows it in its word, which the model goes on to write: other
letters alone would make words that do not exist. The numbers of a word's characters sum to the word's.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.language.network import BLOCK, Network
from elman.language.recorded import MOST, Read
from elman.text.vocabulary import TextCodec
from elman.text.words import word_groups

__all__ = ["Falls", "falls", "groups_of"]

_QUICK, _REFINED = (3e9, 1, 8), (1e10, 4, 32)
"""For a first and a refined answer: the multiplications that it may take in so far as the fewest replacements
for one token allow it, these, and the most replacements."""
_CERTAIN = 1e-4
"""A token is not replaced where the model gave less than this to all others."""
_LONGEST_WORD = 24  # characters of a word that replaces another
_QUICK_FOLLOWING, _FOLLOWING = 3, 8
"""Tokens that weigh the one before them, where it costs too much to predict all that follow."""
_QUICK_HEAD, _HEAD = 0.25, 1.0
"""It costs too much where the weights of the head are more than this share of the layers'."""


class Falls(NamedTuple):
    """How far a log probability falls when each token is replaced."""

    each: np.ndarray
    """float64 ``[N]``"""
    steps: int
    """Recurrent steps that were run for the replacements."""
    draws: int
    """Replacements for each token that was not certain."""


def groups_of(codec: TextCodec, tokens: tuple[str, ...]) -> tuple[int, ...]:
    """Return the number of each character's word, where the model reads characters; else nothing."""
    return word_groups(tokens) if codec.level == "char" else ()


def falls(
    network: Network,
    read: Read,
    target: int,
    groups: tuple[int, ...],
    *,
    sample: int,
    quick: bool,
) -> Falls:
    """Return how far the log probability of `target` falls when each token is replaced.

    Args:
        network: The network that reads.
        read: The text, N tokens.
        target: The number of the token that is predicted.
        groups: What `groups_of` returns.
        sample: Which sample of replacements is drawn: the model and this number alone are the seed.
        quick: Whether fewer replacements are wanted, for a first answer.
    """
    numbers, N = read.numbers, len(read.numbers)
    states = np.empty((N + 1, len(read.start)), read.start.dtype)
    states[0] = read.start
    for place in range(N):
        _, states[place + 1] = network.forward(
            numbers[place : place + 1, None], states[place][None]
        )
    ends = np.arange(1, N + 1)
    if groups:
        ends = np.searchsorted(groups, groups, side="right")
    draw = np.random.default_rng([sample, *network.digest])
    lanes = _Lanes(network, numbers, draw, quick=quick)
    others = lanes.begin(states[:N], ends)
    lanes.finish_words(groups, ends)
    for place in range(N):
        lanes.read(place, ends[lanes.places])
    found = network.target_log_probabilities(
        network.output(np.concatenate([lanes.states, states[N:]])),
        np.full(len(lanes.places) + 1, target),
    ).astype(np.float64)
    # sums over the replacements at each place: of their weights, and of these times the probability
    sums = np.full((2, N), -np.inf)
    np.logaddexp.at(sums[0], lanes.places, lanes.weights)
    np.logaddexp.at(sums[1], lanes.places, lanes.weights + found[:-1])
    each = np.zeros(N)
    after = known = np.array([0.0, found[-1]])
    for place in range(N - 1, -1, -1):
        if place + 1 == ends[place]:
            after = known
        # the token itself, and what may follow it in its word
        kept = after + (np.log1p(-others[place]) if others[place] < 1 else -np.inf)
        before = np.logaddexp(kept, sums[:, place])
        each[place], after = (after[1] - after[0]) - (before[1] - before[0]), before
    return Falls(each, lanes.steps, lanes.draws)


class _Lanes:
    """Texts that are read side by side, each with another token at one place."""

    def __init__(
        self, network: Network, numbers: np.ndarray, draw: np.random.Generator, *, quick: bool
    ) -> None:
        self.network, self.numbers, self.draw = network, numbers, draw
        self.codec: TextCodec = network.model.codec
        arrays = network.model.arrays
        self._size = sum(array.size for name, array in arrays.items() if name.startswith("layers."))
        self._head = network.hidden_size * len(self.codec)
        few, share = (_QUICK_FOLLOWING, _QUICK_HEAD) if quick else (_FOLLOWING, _HEAD)
        self._following = len(numbers) if self._head <= share * self._size else few
        self._quick = quick
        self._own = np.empty(0)
        self.steps = self.draws = 0
        self.places = np.empty(0, np.int64)
        self.tokens = np.empty(0, np.int64)
        self.weights = np.empty(0)
        self.states = np.empty((0, network.state_size), network.dtype)

    def begin(self, states: np.ndarray, ends: np.ndarray) -> np.ndarray:
        """Draw tokens, read them, and return what the model gave to all others than each token ``[N]``."""
        N, sums = len(self.numbers), list[np.ndarray]()
        rows = max(1, BLOCK // len(self.codec))
        for at in range(0, N, rows):
            expected = self.network.log_probabilities(self.network.output(states[at : at + rows]))
            here = np.arange(len(expected)), self.numbers[at : at + rows]
            self._own = np.append(self._own, expected[here])
            shares = self._within_line(expected)
            shares[here] = 0.0
            sums += [*np.cumsum(shares, axis=1)]
        others = np.array([each[-1] for each in sums])
        others[others < _CERTAIN] = 0.0
        (which,) = np.nonzero(others)
        rest = N + 1 - ends[which]
        cost = float(self._size * rest.sum() + self._head * rest.clip(max=self._following).sum())
        work, least, most = _QUICK if self._quick else _REFINED
        self.draws = int(np.clip(work / max(cost, 1.0), least, most))
        heights = (np.arange(self.draws) + self.draw.random((MOST, self.draws))) / self.draws
        for place in which.tolist():
            drawn = np.searchsorted(sums[place], heights[place] * others[place], side="right")
            tokens = np.minimum(drawn, len(self.codec) - 1)
            weights = np.full(self.draws, others[place] / self.draws)
            if place + 1 == ends[place]:
                if len(self.codec) <= self.draws:  # none need be drawn
                    tokens = np.flatnonzero(np.diff(sums[place], prepend=0.0))
                    weights = np.diff(sums[place], prepend=0.0)[tokens]
                else:
                    tokens, counts = np.unique(tokens, return_counts=True)
                    weights = weights[: len(tokens)] * counts
            self.places = np.append(self.places, np.full(len(tokens), place))
            self.tokens = np.append(self.tokens, tokens)
            self.weights = np.append(self.weights, np.log(weights))
        self.states = states[self.places]
        self._step(self.tokens, np.ones(len(self.places), bool))
        return others

    def finish_words(self, groups: tuple[int, ...], ends: np.ndarray) -> None:
        """Let the model write the rest of each word of which a character was replaced."""
        if not groups:
            return
        letters = np.array([token.isalnum() for token in self.codec.tokens])
        open_ = (ends[self.places] > self.places + 1) & letters[self.tokens]
        for _ in range(_LONGEST_WORD):
            (which,) = np.nonzero(open_)
            if not len(which):
                return
            output = self.network.output(self.states[which])
            sums = np.cumsum(self._within_line(self.network.log_probabilities(output)), axis=1)
            heights = self.draw.random(len(which)) * sums[:, -1]
            drawn = np.minimum((sums <= heights[:, None]).sum(axis=1), sums.shape[1] - 1)
            open_[which] = letters[drawn]
            tokens = np.zeros(len(open_), np.int64)
            tokens[which] = drawn
            self._step(tokens, open_)

    def read(self, place: int, ends: np.ndarray) -> None:
        """Read the text's token in the lanes whose replaced word ended before, and weigh them by it."""
        token = self.numbers[place]
        (near,) = np.nonzero((ends <= place) & (place < ends + self._following))
        expected = self.network.target_log_probabilities(
            self.network.output(self.states[near]), np.full(len(near), token)
        )
        self.weights[near] += expected - self._own[place]
        self._step(np.full(len(ends), token), ends <= place)

    def _step(self, tokens: np.ndarray, which: np.ndarray) -> None:
        if which.any():
            _, self.states[which] = self.network.forward(tokens[which][None], self.states[which])
            self.steps += int(which.sum())

    def _within_line(self, log_probabilities: np.ndarray) -> np.ndarray:
        """Return the probabilities ``[B, V]`` of the next token within the line."""
        shares = np.exp(log_probabilities.astype(np.float64))
        if (end := self.codec.end_id) is not None:
            shares[:, end] = 0.0
        return np.asarray(shares / np.maximum(shares.sum(axis=1, keepdims=True), 1e-300))
