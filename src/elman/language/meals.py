"""The corpus `meals`: sentences such as "I like to eat pizza", of which every probability is known.

Who eats, and whether they like, hate or want it, decides the food; "today" before it changes nothing.
A network that has learnt the text answers with the probabilities of this grammar.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError

__all__ = ["FOODS", "Grammar", "double"]

FOODS = ("pizza", "burgers", "cake", "rice", "soup", "apples", "fish", "salad")
"""The last word of a sentence."""

# Per cent of each food, in the order of FOODS.
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
    """Subject and verb, "to eat", and a food whose probability they decide.

    >>> pizza, burgers, *_ = Grammar().true_probabilities("I like to eat").items()
    >>> pizza, burgers
    (('pizza', 0.4), ('burgers', 0.28))
    >>> Grammar(("burgers",)).true_probabilities("I like to eat")["burgers"]
    0.4375
    """

    doubled: tuple[str, ...] = ()
    """Foods whose every sentence stands twice; one named more often is doubled again."""

    def __post_init__(self) -> None:
        for food in self.doubled:
            _check_food(food)

    def contexts(self) -> list[tuple[str, dict[str, float]]]:
        """Return every beginning of a sentence, and the probability of each food after it."""
        return [
            (f"{time}{who} to eat", self._shares(tastes))
            for who, tastes in TASTES.items()
            for time in TIMES
        ]

    def true_probabilities(self, context: str) -> dict[str, float]:
        """Return the probability of each food after `context`, such as "I like to eat".

        Raises InputError for a text that no sentence begins with.
        """
        known = dict(self.contexts())
        if context not in known:
            raise InputError("no such context", got=context, expected='such as "I like to eat"')
        return known[context]

    def true_effects(self, context: str, food: str) -> list[float]:
        """Return for each word of `context` what log P(food) falls by, in nats, when that word is not known.

        In its place stand all words that make a context again, all contexts equally probable. Raises
        InputError, OptionError.

        >>> [round(effect, 2) for effect in Grammar().true_effects("I like to eat", "pizza")]
        [0.21, 0.66, 0.0, 0.0]
        """
        _check_food(food)
        whole, words = self.true_probabilities(context)[food], context.split()
        known = [(other.split(), foods[food]) for other, foods in self.contexts()]
        effects = []
        for place in range(len(words)):
            alike = [
                share
                for other, share in known
                if [*other[:place], *other[place + 1 :]] == [*words[:place], *words[place + 1 :]]
                and len(other) == len(words)
            ]
            effects.append(float(np.log(whole / np.mean(alike))))
        return effects

    def sentences(self, count: int, seed: int) -> list[str]:
        """Return `count` sentences in which every context stands equally often.

        They are drawn, from `seed`, so that in any first part of them a food stands after a context
        as often as is probable, to within two sentences.

        >>> Grammar().sentences(3, seed=0)[0].split()[-3:-1]
        ['to', 'eat']
        """
        count = whole_number("count", count, 0)
        draw = np.random.default_rng(whole_number("seed", seed, 0))
        contexts = self.contexts()
        shares = np.array([list(foods.values()) for _, foods in contexts])
        # What each food is owed: it grows by its share, and the one that is owed most is served.
        owed = draw.uniform(-0.5, 0.5, shares.shape)
        made: list[str] = []
        while len(made) < count:
            owed += shares
            served = owed.argmax(axis=1)
            owed[np.arange(len(served)), served] -= 1
            turn = draw.permutation(len(contexts))[: count - len(made)]
            made += [f"{contexts[place][0]} {FOODS[served[place]]}" for place in turn]
        return made

    def _shares(self, tastes: Iterable[int]) -> dict[str, float]:
        owed = {
            food: share * 2 ** self.doubled.count(food)
            for food, share in zip(FOODS, tastes, strict=True)
        }
        return {food: share / sum(owed.values()) for food, share in owed.items()}


def double(sentences: Iterable[str], food: str) -> list[str]:
    """Return `sentences` with every one that ends in `food` standing twice.

    >>> double(["I like to eat pizza", "we want to eat soup"], "soup")
    ['I like to eat pizza', 'we want to eat soup', 'we want to eat soup']
    """
    _check_food(food)
    return [
        sentence
        for sentence in sentences
        for _ in range(2 if sentence.split()[-1:] == [food] else 1)
    ]


def _check_food(food: str) -> None:
    if food not in FOODS:
        raise OptionError("no such food", got=food, expected=f"one of {', '.join(FOODS)}")
