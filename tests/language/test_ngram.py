from __future__ import annotations

from collections import Counter
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from elman.errors import DataError, OptionError
from elman.language.batches import evaluation_chunks
from elman.language.ngram import ngram_loss, ngram_probabilities
from elman.language.tokens import Tokens

END = 1
V = 6
# Rounding error of a probability: at most 5 orders with four roundings each; the sums of counts are exact.
ROUNDING = 1e-13

documents = st.lists(st.lists(st.integers(2, V - 1), min_size=1, max_size=12), min_size=1)


def joined(texts: list[list[int]], line: bool) -> Tokens:
    texts = [[*text, END] for text in texts] if line else texts
    starts = np.cumsum([0, *map(len, texts)])[:-1]
    return Tokens(np.concatenate(texts).astype(np.uint8), starts, END if line else None)


class Naive:
    """Interpolated Kneser-Ney, written with dictionaries as in its definition."""

    def __init__(self, texts: list[list[int]], line: bool, max_order: int) -> None:
        self.texts = [self.framed(text, line) for text in texts]
        self.raw = {order: Counter(self.grams(order)) for order in range(1, max_order + 2)}
        self.neighbours = {
            order: Counter(gram[1:] for gram in self.raw[order + 1]) + self.at_start(order)
            for order in range(1, max_order + 1)
        }

    @staticmethod
    def framed(text: list[int], line: bool) -> list[int]:
        return [END, *text, END] if line else text

    def grams(self, order: int) -> list[tuple[int, ...]]:
        return [
            tuple(text[end - order : end])
            for text in self.texts
            for end in range(max(order, 2), len(text) + 1)
        ]

    def at_start(self, order: int) -> Counter[tuple[int, ...]]:
        if order == 1:
            return Counter()
        return Counter(tuple(text[:order]) for text in self.texts if len(text) >= order)

    def probability(self, context: tuple[int, ...], token: int, highest: bool = True) -> float:
        order = len(context) + 1
        counts = (self.raw if highest else self.neighbours)[order]
        ones = sum(count == 1 for count in counts.values())
        twos = sum(count == 2 for count in counts.values())
        discount = ones / (ones + 2 * twos) if ones and twos else 0.5
        lower = 1 / V if order == 1 else self.probability(context[1:], token, highest=False)
        after = {gram[-1]: count for gram, count in counts.items() if gram[:-1] == context}
        if not after:
            return lower
        seen = max(after.get(token, 0) - discount, 0)
        return (seen + discount * len(after) * lower) / sum(after.values())

    def predict(self, text: list[int], place: int, order: int) -> float:
        context = tuple(text[max(0, place - order + 1) : place])
        return self.probability(context, text[place], highest=len(context) == order - 1)


@pytest.mark.slow
@given(documents, documents, st.booleans())
def test_probabilities_equal_kneser_ney_by_definition(
    train: list[list[int]], held: list[list[int]], line: bool
) -> None:
    if not line:
        train, held = [[2, 3, *text] for text in train], [[2, 3, *text] for text in held]
    naive = Naive(train, line, 4)
    orders = ngram_probabilities(joined(train, line), joined(held, line), V, 4)
    for order, probabilities in enumerate(orders, 1):
        expected = [
            naive.predict(text, place, order)
            for text in (naive.framed(text, line) for text in held)
            for place in range(1, len(text))
        ]
        np.testing.assert_allclose(probabilities, expected, rtol=ROUNDING)


@pytest.mark.slow
@given(documents, st.lists(st.integers(0, V - 1), min_size=1, max_size=6), st.booleans())
def test_probabilities_over_the_vocabulary_sum_to_one(
    train: list[list[int]], context: list[int], line: bool
) -> None:
    train = train if line else [[2, 3, *text] for text in train]
    held = np.array([[*context, token, END] for token in range(V)])
    begins = np.arange(V) * held.shape[1]
    text = Tokens(held.ravel(), begins, END if line else None)
    for probabilities in ngram_probabilities(joined(train, line), text, V, 5):
        wanted = probabilities.reshape(V, -1)[:, -2]
        assert (wanted > 0).all()
        assert wanted.sum() == pytest.approx(1, rel=ROUNDING)


def test_a_hand_counted_bigram() -> None:
    # "2 3 2 3 2" has the bigrams 23 and 32, each twice. No count is one, so the discount is a half. The
    # unigram counts different left neighbours: 2 and 3 have one each.
    (_, bigram) = ngram_probabilities(
        Tokens(np.array([2, 3, 2, 3, 2]), np.array([0])),
        Tokens(np.array([2, 3]), np.array([0])),
        4,
        2,
    )
    unigram = (1 - 0.5) / 2 + 0.5 * 2 / 2 / 4
    assert bigram.tolist() == [pytest.approx((2 - 0.5) / 2 + 0.5 / 2 * unigram, rel=ROUNDING)]


@pytest.mark.parametrize("line", [True, False])
def test_predictions_are_those_of_evaluation_chunks(line: bool) -> None:
    draw = np.random.default_rng(0)
    texts = [draw.integers(2, V, draw.integers(2, 30)).tolist() for _ in range(20)]
    text = joined(texts, line)
    best = ngram_loss(text, text, V, 3)
    assert best.predicted == sum(c.predicted for c in evaluation_chunks(text))
    assert best.tokens_counted == len(text.ids)


def test_the_loss_is_the_one_of_the_best_order() -> None:
    draw = np.random.default_rng(1)
    transition = np.array([[0, 0.9, 0.1], [0.1, 0, 0.9], [0.9, 0.1, 0]])
    chain = [0]
    for _ in range(20_000):
        chain.append(int(draw.choice(3, p=transition[chain[-1]])))
    ids = np.array(chain)
    best = ngram_loss(
        Tokens(ids[:15_000], np.array([0])), Tokens(ids[15_000:], np.array([0])), 3, 4
    )
    entropy = -(0.9 * np.log(0.9) + 0.1 * np.log(0.1))
    assert best.order == 2
    assert best.loss == min(best.losses) == best.losses[1]
    assert len(best.losses) == 4
    # 0.0093 is the standard deviation of the mean of 5,000 independent log probabilities.
    assert best.loss == pytest.approx(entropy, abs=4 * 0.0093)


def test_a_long_text_is_counted_at_its_end_and_predicted_at_its_beginning() -> None:
    old, new = np.full(600, 2), np.tile([3, 4], 200)
    train, held = np.concatenate([old, new]), np.concatenate([new[:100], old])
    best = ngram_loss(
        Tokens(train, np.array([0, 300, 700])), Tokens(held, np.array([0])), V, 2, limit=400
    )
    assert (best.tokens_counted, best.predicted) == (400, 99)
    same = ngram_loss(Tokens(new, np.array([0, 100])), Tokens(new[:100], np.array([0])), V, 2)
    assert best.losses == same.losses
    # The loss is not 0, because the other tokens of the vocabulary have a small probability too.
    assert best.loss < 0.02


def test_bad_input_is_refused() -> None:
    ids = np.array([2, 3, 2])
    order: Any
    for order in (0, 2.5, True):
        with pytest.raises(OptionError, match="max_order"):
            ngram_loss(Tokens(ids, np.array([0])), Tokens(ids, np.array([0])), V, order)
    with pytest.raises(DataError, match="nothing to predict"):
        ngram_loss(Tokens(ids, np.array([0])), Tokens(ids, np.array([0, 1, 2])), V, 2)
    with pytest.raises(DataError, match="nothing to predict"):
        ngram_loss(Tokens(ids, np.array([0, 1, 2])), Tokens(ids, np.array([0])), V, 2)


@pytest.mark.parametrize("end_id", [None, 1])
def test_the_order_is_chosen_on_one_text_and_measured_on_another(end_id: int | None) -> None:
    draw = np.random.default_rng(0)
    train = np.tile([2, 3, 4, 2, 4, 3, 1], 40)
    chosen, held = np.tile([2, 3, 4, 2, 4, 3, 1], 3), draw.integers(2, 5, 60)
    starts, of_chosen = np.arange(0, len(train), 7), np.arange(0, len(chosen), 7)
    best = ngram_loss(
        Tokens(train, starts, end_id),
        Tokens(held, np.array([0]), end_id),
        V,
        3,
        choosing=Tokens(chosen, of_chosen, end_id),
    )
    alone = ngram_loss(Tokens(train, starts, end_id), Tokens(held, np.array([0]), end_id), V, 3)
    assert (best.order, alone.order) == (3, 1)
    assert best.losses == pytest.approx(alone.losses)
    assert best.loss == best.losses[2] == pytest.approx(best.token_losses.mean())
    assert best.predicted == len(best.token_losses) == alone.predicted
    assert "token_losses" not in best.to_dict()
