"""The synthetic corpus `meals`: sentences such as "I like to eat pizza" with known probabilities.

The subject and the verb (like, hate or want) decide the probability of each food; "today" at the beginning
changes nothing. A network that has learned the corpus predicts the probabilities of this grammar.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError

FOODS = ("pizza", "burgers", "cake", "rice", "soup", "apples", "fish", "salad")
"""The last word of a sentence."""

# Probability of each food in per cent, in the order of FOODS.
TASTES = {
    "I like": (40, 28, 10, 7, 5, 5, 3, 2),
    "I hate": (2, 3, 5, 6, 14, 10, 38, 22),
    "I want": (20, 15, 35, 10, 10, 5, 3, 2),
    "we like": (25, 10, 5, 30, 15, 5, 5, 5),
    "we hate": (5, 30, 10, 5, 5, 5, 20, 20),
    "we want": (30, 5, 10, 10, 35, 4, 3, 3),
    "my sister likes": (5, 2, 20, 10, 8, 30, 5, 20),
    "my sister hates": (10, 45, 3, 5, 12, 3, 20, 2),
    "my sister wants": (10, 3, 40, 7, 5, 20, 5, 10),
    "my brothers like": (30, 40, 10, 5, 2, 3, 8, 2),
    "my brothers hate": (2, 2, 4, 12, 20, 15, 10, 35),
    "my brothers want": (15, 30, 8, 12, 5, 5, 20, 5),
}
TIMES = ("", "today ")


@dataclass(frozen=True)
class Grammar:
    """A grammar of sentences: subject and verb, "to eat", and a food whose probability they decide.

    >>> pizza, burgers, *_ = Grammar().true_probabilities("I like to eat").items()
    >>> pizza, burgers
    (('pizza', 0.4), ('burgers', 0.28))
    >>> Grammar(("burgers",)).true_probabilities("I like to eat")["burgers"]
    0.4375
    """

    doubled: tuple[str, ...] = ()
    """Foods whose sentences occur twice as often; a food that is named n times, 2**n times as often."""

    def __post_init__(self) -> None:
        for food in self.doubled:
            _check_food(food)

    def contexts(self) -> list[tuple[str, dict[str, float]]]:
        """Return every beginning of a sentence with the probability of each food after it."""
        shares = []
        for who, tastes in TASTES.items():
            weights = {
                food: taste * 2 ** self.doubled.count(food)
                for food, taste in zip(FOODS, tastes, strict=True)
            }
            total = sum(weights.values())
            foods = {food: weight / total for food, weight in weights.items()}
            shares += [(f"{time}{who} to eat", foods) for time in TIMES]
        return shares

    def true_probabilities(self, context: str) -> dict[str, float]:
        """Return the probability of each food after `context`, such as "I like to eat".

        Raises InputError for a text with which no sentence begins.
        """
        known = dict(self.contexts())
        if context not in known:
            raise InputError("no such context", got=context, expected='such as "I like to eat"')
        return known[context]

    def true_effects(self, context: str, food: str) -> list[float]:
        """Return for each word of `context` how far log P(food) falls, in nats, if that word is unknown.

        An unknown word can be any word with which a context remains, and all contexts are equally probable.
        Raises InputError, OptionError.

        >>> [round(effect, 2) for effect in Grammar().true_effects("I like to eat", "pizza")]
        [0.21, 0.66, 0.0, 0.0]
        """
        _check_food(food)
        probability, words = self.true_probabilities(context)[food], context.split()
        contexts = [(other.split(), foods[food]) for other, foods in self.contexts()]
        effects = []
        for i in range(len(words)):
            rest = words[:i], words[i + 1 :]
            possible = [share for other, share in contexts if (other[:i], other[i + 1 :]) == rest]
            effects.append(float(np.log(probability / np.mean(possible))))
        return effects

    def sentences(self, count: int, seed: int) -> list[str]:
        """Return `count` random sentences in which every context occurs equally often.

        In any number of first sentences, each food follows a context as often as its probability says, to
        within two sentences.

        >>> Grammar().sentences(3, seed=0)[0].split()[-3:-1]
        ['to', 'eat']
        """
        count = whole_number("count", count, 0)
        draw = np.random.default_rng(whole_number("seed", seed, 0))
        contexts = self.contexts()
        shares = np.array([list(foods.values()) for _, foods in contexts])
        # For each context and food, the sentences that are due minus those that were made. In each round,
        # every context gets the food with the most sentences due.
        due = draw.uniform(-0.5, 0.5, shares.shape)
        sentences: list[str] = []
        while len(sentences) < count:
            due += shares
            foods = due.argmax(axis=1)
            due[np.arange(len(foods)), foods] -= 1
            order = draw.permutation(len(contexts))[: count - len(sentences)]
            sentences += [f"{contexts[i][0]} {FOODS[foods[i]]}" for i in order]
        return sentences


def double(sentences: Iterable[str], food: str) -> list[str]:
    """Return `sentences`, with every sentence that ends in `food` twice.

    >>> double(["I like to eat pizza", "we want to eat soup"], "soup")
    ['I like to eat pizza', 'we want to eat soup', 'we want to eat soup']
    """
    _check_food(food)
    repeated = ([sentence] * (1 + (sentence.split()[-1:] == [food])) for sentence in sentences)
    return [*itertools.chain.from_iterable(repeated)]


def _check_food(food: str) -> None:
    if food not in FOODS:
        raise OptionError("no such food", got=food, expected=f"one of {', '.join(FOODS)}")
