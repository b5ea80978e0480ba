"""The baseline of a language model: what counting n-grams on the same text would do.

Interpolated Kneser-Ney smoothing with one discount an order, n1 / (n1 + 2 n2): S. F. Chen and
J. Goodman, "An Empirical Study of Smoothing Techniques for Language Modeling" (1998), equations
(10) to (16). The highest order counts occurrences; each lower one counts in how many different left
neighbours an n-gram was seen. Below order one stands the uniform distribution over the vocabulary.
An n-gram at a document's start has no left neighbour there: every such start counts as another one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from elman.engine.shapes import whole_number
from elman.errors import DataError

__all__ = ["NgramLoss", "ngram_loss", "ngram_probabilities"]

Ids = npt.NDArray[np.integer[Any]]
Places = npt.NDArray[np.int64]
Values = npt.NDArray[np.float64]
Tokens = tuple[Ids, npt.ArrayLike]
"""Token ids ``[N]``, and the place ``[D]`` at which each document starts."""

ABSENT = -1


@dataclass(frozen=True, eq=False)
class NgramLoss:
    """How well counting does on the test set."""

    loss: float
    """Nats a token at the best order."""
    order: int
    """The order of the lowest loss on the validation set, or else on the test set."""
    tokens_counted: int
    """Tokens of the training text that were counted."""
    predicted: int
    """Predictions that the loss is the mean of."""
    losses: tuple[float, ...]
    """Nats a token for order 1, 2, ..."""
    token_losses: Values
    """Nats ``[predicted]`` of each prediction at the best order, in the order of the text."""

    def to_dict(self) -> dict[str, Any]:
        """Return all but the losses of single predictions, for a card."""
        return {name: value for name, value in vars(self).items() if name != "token_losses"}


@dataclass(frozen=True, eq=False)
class _Text:
    """Tokens, and how many of them stand before each in its document (0: it is not predicted)."""

    tokens: Places
    before: npt.NDArray[np.int32]

    @classmethod
    def of(cls, text: Tokens, end_id: int | None) -> _Text:
        ids, starts = text
        tokens, begins = np.asarray(ids).astype(np.int64), np.asarray(starts, dtype=np.int64)
        lengths = np.diff(np.append(begins, len(tokens)))
        before = (np.arange(len(tokens)) - np.repeat(begins, lengths)).astype(np.int32)
        if end_id is not None:
            # A line is predicted from the end before it; only the first line has none there.
            tokens, before = np.append(end_id, tokens), np.append(np.int32(0), before + 1)
        return cls(tokens, before)

    def ends(self, order: int) -> Places:
        """Return the places at which an n-gram of `order` inside one document ends."""
        return np.flatnonzero(self.before >= max(1, order - 1))


@dataclass(frozen=True, eq=False)
class _Order:
    """The n-grams of one order in the training text, numbered; contexts are those one shorter."""

    context: Places
    count: Places
    at_start: Places
    """How often each stands at a document's start."""
    held_context: Places
    """Number of the context of each prediction, or ABSENT where it was never seen."""
    held_gram: Places

    def interpolate(self, count: Places, lower: Values) -> Values:
        """Return the probability of each prediction, given that of the order below."""
        ones, twos = np.count_nonzero(count == 1), np.count_nonzero(count == 2)
        # In a text too regular to have both, the estimate would be 0 or nothing at all.
        discount = ones / (ones + 2 * twos) if ones and twos else 0.5
        total = np.bincount(self.context, weights=count)
        kinds = np.bincount(self.context, weights=count > 0)
        known = np.flatnonzero((self.held_context >= 0) & (self.held_context < len(total)))
        known = known[total[self.held_context[known]] > 0]
        context, gram = self.held_context[known], self.held_gram[known]
        seen = np.where(gram >= 0, np.maximum(count[gram] - discount, 0.0), 0.0)
        result = lower.copy()
        result[known] = (seen + discount * kinds[context] * lower[known]) / total[context]
        return result


def ngram_probabilities(
    train_text: Tokens, held_text: Tokens, vocabulary_size: int, end_id: int | None, max_order: int
) -> Iterator[Values]:
    """Yield, for order 1, 2, ... `max_order`, the probability of every prediction of the held text.

    `end_id` and the predictions are those of `evaluation_chunks`, in the order of the text. No context
    reaches over its document's start.

    >>> train, held = np.array([1, 2, 1, 2, 1]), np.array([1, 2])
    >>> [p.round(3).tolist() for p in ngram_probabilities((train, [0]), (held, [0]), 3, None, 2)]
    [[0.458], [0.854]]
    """
    train, held = _Text.of(train_text, end_id), _Text.of(held_text, end_id)
    places, targets = train.ends(1), held.ends(1)
    if not len(places) or not len(targets):
        raise DataError("the text has nothing to predict", expected="two tokens in a document")
    count = np.bincount(train.tokens[places], minlength=vocabulary_size)
    nothing = np.zeros(vocabulary_size, np.int64)
    below = _Order(nothing, count, nothing, np.zeros_like(targets), held.tokens[targets])
    lower = np.full(len(targets), 1.0 / vocabulary_size)
    yield below.interpolate(count, lower)
    # gram[p] is the number of the n-gram, of the order before, that ends at place p.
    gram, held_gram = train.tokens, held.tokens
    for order in range(2, max_order + 1):
        place = train.ends(order)
        keys, number, count = np.unique(
            gram[place - 1] * vocabulary_size + train.tokens[place],
            return_inverse=True,
            return_counts=True,
        )
        suffix = np.empty(len(keys), np.int64)
        suffix[number] = gram[place]
        neighbours = np.bincount(suffix, minlength=len(below.count)) + below.at_start
        lower = below.interpolate(neighbours, lower)
        at_start = np.bincount(number[train.before[place] == order - 1], minlength=len(keys))
        gram = np.full(len(train.tokens), ABSENT)
        gram[place] = number

        # Nothing follows a line's end in the training text: no context reaches over a start.
        context = held_gram[targets - 1]
        found = _find(keys, context * vocabulary_size + held.tokens[targets])
        held_gram = np.full(len(held.tokens), ABSENT)
        held_gram[targets] = found
        below = _Order(keys // vocabulary_size, count, at_start, context, found)
        yield below.interpolate(count, lower)


def _find(keys: Places, wanted: Places) -> Places:
    """Return where each of `wanted` stands in the sorted `keys`, or ABSENT."""
    if not len(keys):
        return np.full(len(wanted), ABSENT)
    nearest = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    return np.where(keys[nearest] == wanted, nearest, ABSENT)


def _part(text: Tokens, begin: int, end: int) -> tuple[Ids, Places]:
    """Return tokens `begin` to `end`, a document that they cut counted as a whole one."""
    ids, starts = text
    places = np.asarray(starts, dtype=np.int64)
    inside = places[(places > begin) & (places < end)] - begin
    return ids[begin:end], np.append(0, inside)


def ngram_loss(
    train: Tokens,
    held: Tokens,
    vocabulary_size: int,
    end_id: int | None,
    max_order: int = 5,
    limit: int = 4_000_000,
    choosing: Tokens | None = None,
) -> NgramLoss:
    """Return the loss on the held text of the best of the n-gram models of order 1 to `max_order`.

    The order is the best on the text `choosing`, where that is given. Of a longer text the
    last `limit` tokens are counted, and the first ``limit // 4`` tokens of each other text predicted: some
    10 seconds and 1 GB at most. Arguments as `ngram_probabilities`.

    >>> text = np.array([1, 2, 3, 1, 2, 4] * 30)
    >>> best = ngram_loss((text, [0]), (text, [0]), 5, None, max_order=3)
    >>> best.order, round(best.loss, 2), best.predicted
    (3, 0.24, 179)
    """
    whole_number("max_order", max_order, 1)
    size, most = len(train[0]), max(2, limit // 4)
    texts = [_part(text, 0, min(len(text[0]), most)) for text in (choosing, held) if text]
    begins = np.cumsum([0, *(len(ids) for ids, _ in texts)])
    # the predictions of the text that chooses stand first: without `end_id` a document's first is none
    chosen, ends = texts[0]
    first = 0 if choosing is None else len(chosen) - (len(ends) if end_id is None else 0)
    ids = np.concatenate([ids for ids, _ in texts])
    starts = np.concatenate([one + begin for (_, one), begin in zip(texts, begins, strict=False)])
    orders = [
        -np.log(probability)
        for probability in ngram_probabilities(
            _part(train, size - min(size, limit), size),
            (ids, starts),
            vocabulary_size,
            end_id,
            max_order,
        )
    ]
    best = int(np.argmin([float(losses[: first or None].mean()) for losses in orders]))
    means = tuple(float(losses[first:].mean()) for losses in orders)
    token_losses = orders[best][first:]
    return NgramLoss(
        means[best], best + 1, min(size, limit), len(token_losses), means, token_losses
    )
