"""Attributions by replacement: how far a prediction falls if a token is replaced by other plausible tokens.

For each token, the prediction's probability is averaged over the tokens that could stand there: the token
itself, with the probability that the model gave it, and others drawn from the model's prediction at that
position. The text after it stays the same, and each replacement is weighted by how probable the model then
finds that text. A token that the model was sure of has no plausible replacement and gets 0. This is the
prediction difference of L. Zintgraf et al., "Visualizing Deep Neural Network Decisions" (2017), after
M. Robnik-Šikonja and I. Kononenko, "Explaining Classifications For Individual Instances" (2008).

A character is replaced together with the rest of its word, which the model generates: another single letter
would make a word that does not exist. The attributions of a word's characters sum to the word's attribution.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from elman.language.context import MAX_EXPLAINED_TOKENS, Context
from elman.text.vocabulary import TextCodec


class _Effort(NamedTuple):
    """Limits on the work for one answer."""

    multiplications: float
    """The number of replacements is chosen to stay near this, within the next two limits."""
    min_draws: int
    max_draws: int
    """Replacements for one token."""
    max_following: int
    """Tokens after a replacement that weight it, if predicting all of them is too expensive."""
    max_head_share: float
    """It is too expensive if the head has more than this share of the layers' weights."""


_QUICK = _Effort(3e9, 1, 8, 3, 0.25)
_REFINED = _Effort(1e10, 4, 32, 8, 1.0)

_MIN_PROBABILITY_OF_OTHERS = 1e-4
"""A token is not replaced if the model gave less than this to all other tokens together."""
_MAX_REPLACED_WORD_CHARACTERS = 24


class Replacements:
    """Copies of a text that are read side by side, each with a replacement at one position.

    Args:
        context: The text before the prediction, N tokens.
        groups: The number of the word of each token if tokens are characters, else an empty tuple.
        sample: The seed of the replacements, together with the model's digest.
        quick: Whether to use fewer replacements, for a first answer.

    Attributes:
        steps: Number of recurrent steps that were run for the replacements.
        draws: Number of replacements for each token that has any.
    """

    def __init__(
        self, context: Context, groups: tuple[int, ...], *, sample: int, quick: bool
    ) -> None:
        self.network, self.numbers, self.start = context.network, context.numbers, context.start
        self.codec: TextCodec = self.network.model.codec
        self._random = np.random.default_rng([sample, *self.network.digest])
        self._effort = _QUICK if quick else _REFINED
        self._layer_weights = sum(
            array.size
            for name, array in self.network.model.arrays.items()
            if name.startswith("layers.")
        )
        self._head_weights = self.network.hidden_size * len(self.codec)
        # Predicting a token costs the whole head; for a large vocabulary that is most of the work.
        cheap_head = self._head_weights <= self._effort.max_head_share * self._layer_weights
        self._following = len(self.numbers) if cheap_head else self._effort.max_following
        self.steps = self.draws = 0
        # The replacement that begins at token i ends before token `ends[i]`: the next one, or the end of
        # the word.
        self._ends = np.arange(1, len(self.numbers) + 1)
        if groups:
            self._ends = np.searchsorted(groups, groups, side="right")
        # log probability of each token of the text
        self._log_probabilities = np.empty(0)
        # for each lane: position and token of the replacement, log weight, state
        self._positions, self._tokens = np.empty((2, 0), np.int64)
        self._weights = np.empty(0)
        self._states = np.empty((0, self.network.state_size), self.network.dtype)

    def effects(self, target: int) -> np.ndarray:
        """Return how far the log probability of `target` falls if each token is replaced, ``[N]`` nats."""
        N, ends = len(self.numbers), self._ends
        states = np.empty((N + 1, len(self.start)), self.start.dtype)
        states[0] = self.start
        for i in range(N):
            _, states[i + 1] = self.network.forward(self.numbers[i : i + 1, None], states[i][None])
        # From here on, lanes read the text side by side, each from its own replacement on.
        others = self._draw_replacements(states[:N])
        if (ends > np.arange(1, N + 1)).any():
            self._finish_words()
        for i in range(N):
            self._read(i)
        predictions = self.network.target_log_probabilities(
            self.network.output(np.concatenate([self._states, states[N:]])),
            np.full(len(self._positions) + 1, target),
        ).astype(np.float64)
        # For each position, log sums over its replacements: of the weights, and of weight times probability.
        sums = np.full((2, N), -np.inf)
        np.logaddexp.at(sums[0], self._positions, self._weights)
        np.logaddexp.at(sums[1], self._positions, self._weights + predictions[:-1])
        # Backwards through each word: `after` holds the log sums over all replacements at later
        # characters of it, `before` includes those at this one.
        effects = np.zeros(N)
        after = unchanged = np.array([0.0, predictions[-1]])
        for i in range(N - 1, -1, -1):
            if i + 1 == ends[i]:
                after = unchanged
            # the token itself, and whatever may follow it in its word
            kept = after + (np.log1p(-others[i]) if others[i] < 1 else -np.inf)
            before = np.logaddexp(kept, sums[:, i])
            effects[i], after = (after[1] - after[0]) - (before[1] - before[0]), before
        return effects

    def _draw_replacements(self, states: np.ndarray) -> np.ndarray:
        """Draw and read the replacements; return the probability of all others than each token ``[N]``."""
        N, V = len(self.numbers), len(self.codec)
        sums = list[np.ndarray]()  # for each token, cumulated probabilities [V] of all other tokens
        for block in self.network.blocks(N):
            expected = self.network.log_probabilities(self.network.output(states[block]))
            text_tokens = np.arange(len(expected)), self.numbers[block]
            self._log_probabilities = np.append(self._log_probabilities, expected[text_tokens])
            probabilities = self._within_line(expected)
            # The token itself is no replacement; its share enters by 1 - others in `effects`.
            probabilities[text_tokens] = 0.0
            sums += [*np.cumsum(probabilities, axis=1)]
        others = np.array([cumulated[-1] for cumulated in sums])
        others[others < _MIN_PROBABILITY_OF_OTHERS] = 0.0
        (replaced,) = np.nonzero(others)
        self.draws = self._number_of_draws(N + 1 - self._ends[replaced])
        # Stratified random numbers: one in each of `draws` equal parts of [0, 1).
        uniforms = self._random.random((MAX_EXPLAINED_TOKENS, self.draws))
        uniforms = (np.arange(self.draws) + uniforms) / self.draws
        for i in replaced.tolist():
            # Inverting the cumulated probabilities turns uniform numbers into tokens.
            drawn = np.searchsorted(sums[i], uniforms[i] * others[i], side="right")
            tokens = np.minimum(drawn, V - 1)
            weights = np.full(self.draws, others[i] / self.draws)
            if i + 1 == self._ends[i] and self.draws >= V:
                # use every token, with its exact probability
                probabilities = np.diff(sums[i], prepend=0.0)
                tokens = np.flatnonzero(probabilities)
                weights = probabilities[tokens]
            elif i + 1 == self._ends[i]:
                # A token that is drawn several times is read once, with the sum of the weights. Draws
                # within a word stay separate, because each goes on with other letters.
                tokens, counts = np.unique(tokens, return_counts=True)
                weights = weights[: len(tokens)] * counts
            self._positions = np.append(self._positions, np.full(len(tokens), i))
            self._tokens = np.append(self._tokens, tokens)
            self._weights = np.append(self._weights, np.log(weights))
        self._states = states[self._positions]
        self._step(self._tokens, np.ones(len(self._positions), bool))
        return others

    def _number_of_draws(self, following: np.ndarray) -> int:
        """Return how many replacements a token gets; `following` counts the tokens read after each."""
        effort = self._effort
        predicted = following.clip(max=self._following).sum()
        # Multiplications of one draw for every token: all layers at each later token, the head where it
        # is predicted.
        cost = float(self._layer_weights * following.sum() + self._head_weights * predicted)
        draws = effort.multiplications / max(cost, 1.0)
        return int(np.clip(draws, effort.min_draws, effort.max_draws))

    def _finish_words(self) -> None:
        """Let the model generate the rest of each word in which a character was replaced."""
        is_letter = np.array([token.isalnum() for token in self.codec.tokens])
        unfinished = self._ends[self._positions] > self._positions + 1
        unfinished &= is_letter[self._tokens]
        for _ in range(_MAX_REPLACED_WORD_CHARACTERS):
            (lanes,) = np.nonzero(unfinished)
            if not len(lanes):
                return
            output = self.network.output(self._states[lanes])
            sums = np.cumsum(self._within_line(self.network.log_probabilities(output)), axis=1)
            # One draw for each unfinished word, by the same inversion as for the first letter.
            heights = self._random.random(len(lanes)) * sums[:, -1]
            drawn = np.minimum((sums <= heights[:, None]).sum(axis=1), sums.shape[1] - 1)
            unfinished[lanes] = is_letter[drawn]
            tokens = np.zeros(len(unfinished), np.int64)
            tokens[lanes] = drawn
            self._step(tokens, unfinished)

    def _read(self, position: int) -> None:
        """Read the text's token in the lanes whose replacement has ended, and update their weights by it."""
        token, ends = self.numbers[position], self._ends[self._positions]
        # A lane reads its own tokens up to its end. From there on it is weighted by how well it predicts
        # the text, for a limited number of tokens.
        (near,) = np.nonzero((ends <= position) & (position < ends + self._following))
        log_probabilities = self.network.target_log_probabilities(
            self.network.output(self._states[near]), np.full(len(near), token)
        )
        self._weights[near] += log_probabilities - self._log_probabilities[position]
        self._step(np.full(len(ends), token), ends <= position)

    def _step(self, tokens: np.ndarray, lanes: np.ndarray) -> None:
        """Read one token in each lane that the mask `lanes` marks."""
        if lanes.any():
            _, self._states[lanes] = self.network.forward(tokens[lanes][None], self._states[lanes])
            self.steps += int(lanes.sum())

    def _within_line(self, log_probabilities: np.ndarray) -> np.ndarray:
        """Return the probabilities ``[B, V]`` of the next token, given that the line does not end."""
        probabilities = np.exp(log_probabilities.astype(np.float64))
        if (end := self.codec.end_id) is not None:
            probabilities[:, end] = 0.0
        # If the line end had all the probability, nothing is left, and the tiny divisor avoids 0 / 0.
        total = probabilities.sum(axis=1, keepdims=True)
        return np.asarray(probabilities / np.maximum(total, 1e-300))
