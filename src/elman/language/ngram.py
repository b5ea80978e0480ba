"""An n-gram model, with which the network is compared on the same text.

The model uses interpolated Kneser-Ney smoothing with one discount per order, n1 / (n1 + 2 n2): S. F. Chen and
J. Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1998), equations (10) to (16).
The highest order counts how often an n-gram occurs; each lower order counts after how many different left
neighbours it occurs. Order zero is the uniform distribution over the vocabulary. An n-gram at the start of a
document has no left neighbour there, so every such start counts as a different neighbour.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.engine.shapes import whole_number
from elman.errors import DataError
from elman.language.tokens import Places, Tokens

Values = npt.NDArray[np.float64]

ABSENT = -1


@dataclass(frozen=True, eq=False)
class NgramLoss:
    """The losses of the n-gram model on the test set."""

    loss: float
    """Mean loss (nats per token) at the best order."""
    order: int
    """The best order: the one with the lowest loss on the validation set, or else on the test set."""
    tokens_counted: int
    """Number of tokens of the training text that were counted."""
    predicted: int
    """Number of predictions."""
    losses: tuple[float, ...]
    """Mean loss at order 1, 2, ..."""
    token_losses: Values
    """``[predicted]``: the loss of each prediction at the best order, in the order of the text."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields but the losses of single predictions, for the model's card."""
        return {name: value for name, value in vars(self).items() if name != "token_losses"}


@dataclass(frozen=True, eq=False)
class _Text:
    """Tokens, and how many tokens come before each one in its document; with none, it is not predicted."""

    tokens: Places
    before: npt.NDArray[np.int32]

    @classmethod
    def of(cls, text: Tokens) -> _Text:
        tokens = text.ids.astype(np.int64)
        lengths = np.diff(np.append(text.starts, len(tokens)))
        before = (np.arange(len(tokens)) - np.repeat(text.starts, lengths)).astype(np.int32)
        if text.end_id is not None:
            # Each line is predicted from the <end> before it; the first line has none, so add one.
            tokens, before = np.append(text.end_id, tokens), np.append(np.int32(0), before + 1)
        return cls(tokens, before)

    def ends(self, order: int) -> Places:
        """Return the indices at which n-grams of `order` end that lie within one document."""
        return np.flatnonzero(self.before >= max(1, order - 1))


@dataclass(frozen=True, eq=False)
class _Order:
    """The numbered n-grams of one order in the training text; contexts are n-grams of the order below."""

    context: Places
    """Number of the context of each n-gram."""
    count: Places
    at_start: Places
    """Number of documents that start with each n-gram."""
    held_context: Places
    """Number of the context of each prediction, or ABSENT if training has no such context."""
    held_gram: Places
    """Number of the n-gram of each prediction, or ABSENT."""

    def interpolate(self, count: Places, lower: Values) -> Values:
        """Return the probability of each prediction, given n-gram counts and the order below."""
        ones, twos = np.count_nonzero(count == 1), np.count_nonzero(count == 2)
        # The formula for the discount fails in a very regular text, which lacks counts of 1 or 2.
        discount = ones / (ones + 2 * twos) if ones and twos else 0.5
        # By context: how often any token follows it, and how many different tokens do.
        total = np.bincount(self.context, weights=count)
        distinct = np.bincount(self.context, weights=count > 0)
        # A prediction whose context never occurs in training keeps the probability of the lower order.
        known = np.flatnonzero((self.held_context >= 0) & (self.held_context < len(total)))
        known = known[total[self.held_context[known]] > 0]
        context, gram = self.held_context[known], self.held_gram[known]
        # The discount that is taken from every n-gram that occurs is given to the lower order.
        seen = np.where(gram >= 0, np.maximum(count[gram] - discount, 0.0), 0.0)
        result = lower.copy()
        result[known] = (seen + discount * distinct[context] * lower[known]) / total[context]
        return result


def ngram_probabilities(
    train_text: Tokens, held_text: Tokens, vocabulary_size: int, max_order: int
) -> Iterator[Values]:
    """Yield the probabilities of all predictions of a text, for order 1, 2, ... `max_order`.

    No context crosses the start of its document. Raises DataError where there is nothing to predict.

    Args:
        train_text: The tokens to count.
        held_text: The tokens to predict.
        vocabulary_size: The number of different tokens.
        max_order: The highest order.

    >>> train, held = Tokens(np.array([1, 2, 1, 2, 1]), [0]), Tokens(np.array([1, 2]), [0])
    >>> [p.round(3).tolist() for p in ngram_probabilities(train, held, 3, 2)]
    [[0.458], [0.854]]
    """
    train, held = _Text.of(train_text), _Text.of(held_text)
    if not len(train.ends(1)) or not len(held.ends(1)):
        raise DataError("the text has nothing to predict", expected="two tokens in a document")
    below = _unigrams(train, held, vocabulary_size)
    lower = np.full(len(below.held_gram), 1.0 / vocabulary_size)
    yield below.interpolate(below.count, lower)
    # gram[i] is the number of the n-gram of the previous order that ends at index i.
    gram, held_gram, targets = train.tokens, held.tokens, held.ends(1)
    for order in range(2, max_order + 1):
        ends = train.ends(order)
        keys, number, count = np.unique(
            gram[ends - 1] * vocabulary_size + train.tokens[ends],
            return_inverse=True,
            return_counts=True,
        )
        # The lower order counts left neighbours: the n-grams of this order that end in its n-gram.
        suffix = np.empty(len(keys), np.int64)
        suffix[number] = gram[ends]
        neighbours = np.bincount(suffix, minlength=len(below.count)) + below.at_start
        lower = below.interpolate(neighbours, lower)
        at_start = np.bincount(number[train.before[ends] == order - 1], minlength=len(keys))
        gram = np.full(len(train.tokens), ABSENT)
        gram[ends] = number

        # No context crosses a start, because in the training text no n-gram goes on after a line's end.
        context = held_gram[targets - 1]
        held_number = _index_of(keys, context * vocabulary_size + held.tokens[targets])
        held_gram = np.full(len(held.tokens), ABSENT)
        held_gram[targets] = held_number
        below = _Order(keys // vocabulary_size, count, at_start, context, held_number)
        yield below.interpolate(count, lower)


def _unigrams(train: _Text, held: _Text, vocabulary_size: int) -> _Order:
    """Return the order of single tokens, which all have the same empty context."""
    count = np.bincount(train.tokens[train.ends(1)], minlength=vocabulary_size)
    targets, zeros = held.tokens[held.ends(1)], np.zeros(vocabulary_size, np.int64)
    return _Order(zeros, count, zeros, np.zeros_like(targets), targets)


def _index_of(keys: Places, wanted: Places) -> Places:
    """Return the index of each of `wanted` in the sorted `keys`, or ABSENT."""
    if not len(keys):
        return np.full(len(wanted), ABSENT)
    # searchsorted returns the index at which a missing key would be inserted, so compare the keys.
    nearest = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[nearest] == wanted, nearest, ABSENT)


def _section(text: Tokens, begin: int, end: int) -> Tokens:
    """Return tokens `begin` to `end`; a document that this cuts counts as a whole one."""
    inside = text.starts[(text.starts > begin) & (text.starts < end)] - begin
    return Tokens(text.ids[begin:end], np.append(0, inside), text.end_id)


def ngram_loss(
    train: Tokens,
    held: Tokens,
    vocabulary_size: int,
    max_order: int = 5,
    limit: int = 4_000_000,
    choosing: Tokens | None = None,
) -> NgramLoss:
    """Return the loss of the best n-gram model of order 1 to `max_order` on a text.

    Args:
        train: The tokens to count; only the last `limit` tokens are used.
        held: The tokens to predict; only the first ``limit // 4`` are used.
        vocabulary_size: As in `ngram_probabilities`.
        max_order: The highest order.
        limit: With the default, counting takes at most about 10 seconds and 1 GB.
        choosing: The text on which the order is chosen (default: `held`); limited as `held` is.

    Raises:
        DataError: One of the texts has nothing to predict.

    >>> text = Tokens(np.array([1, 2, 3, 1, 2, 4] * 30), [0])
    >>> best = ngram_loss(text, text, 5, max_order=3)
    >>> best.order, round(best.loss, 2), best.predicted
    (3, 0.24, 179)
    """
    whole_number("max_order", max_order, 1)
    size = len(train.ids)
    counted = _section(train, max(0, size - limit), size)
    measured, *chosen = (
        _section(text, 0, min(len(text.ids), max(2, limit // 4)))
        for text in (held, choosing)
        if text
    )
    # Both texts are predicted in one pass, the measured text first.
    both = measured
    if chosen:
        starts = np.append(measured.starts, chosen[0].starts + len(measured.ids))
        both = Tokens(np.append(measured.ids, chosen[0].ids), starts, measured.end_id)
    predicted = int(measured.runs()[1].sum())
    orders = [
        -np.log(probability)
        for probability in ngram_probabilities(counted, both, vocabulary_size, max_order)
    ]
    best = int(np.argmin([losses[predicted if chosen else 0 :].mean() for losses in orders]))
    means = tuple(float(losses[:predicted].mean()) for losses in orders)
    return NgramLoss(
        means[best], best + 1, len(counted.ids), predicted, means, orders[best][:predicted]
    )
