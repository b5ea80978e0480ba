"""Four small grammars of sentences, with the true probability of every next word.

A grammar is a function from the words of a sentence so far to the probabilities of the next word, among them
`END`. `sentences` draws a text in which each beginning is continued as often as the grammar says, to within
one sentence, so that chance in the text hardly limits what a network can learn from it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator

import numpy as np

import elman

END = ""
"""The end of a sentence, as a next word."""

MOST_WORDS = 50
"""No grammar has more words."""

Words = tuple[str, ...]
Shares = dict[str, float]
"""The probability of each possible next word."""
Grammar = Callable[[Words], Shares]


@functools.cache
def _drawn(seed: int, *key: str) -> tuple[float, ...]:
    """Return probabilities of three outcomes, drawn once for each `key` and none below 0.1."""
    draw = np.random.default_rng([seed, *(ord(letter) for letter in "".join(key))])
    shares = 0.1 + 0.7 * draw.dirichlet(np.ones(3))
    return tuple(shares.tolist())


def chain(words: Words) -> Shares:
    """Ten words, sentences of seven: each word has three possible successors."""
    if len(words) == 7:
        return {END: 1.0}
    at = "abcdefghij".index(words[-1]) if words else 0
    return {
        "abcdefghij"[(3 * at + step) % 10]: share
        for step, share in zip((1, 4, 8), _drawn(1, *words[-1:]), strict=True)
    }


def interaction(words: Words) -> Shares:
    """The first and the fifth word, four steps apart, decide the sixth together."""
    if len(words) == 6:
        return {END: 1.0}
    choices = ("red green blue", "and", "or then", "and", "sun moon sea", "up down away")
    found = choices[len(words)].split()
    if len(words) == 5:
        return dict(zip(found, _drawn(2, words[0], words[4]), strict=True))
    return {word: 1 / len(found) for word in found}


def brackets(words: Words) -> Shares:
    """Brackets of two kinds that are nested at most three deep; the sentence ends when all are closed."""
    stack: list[str] = []
    for word in words:
        if word in "([":
            stack.append(word)
        else:
            stack.pop()
    if not words:
        return {"(": 0.6, "[": 0.4}
    if not stack:
        return {END: 1.0}
    closing = {"(": ")", "[": "]"}[stack[-1]]
    if len(stack) == 3:
        return {closing: 1.0}
    return {closing: 0.7, "(": 0.2, "[": 0.1}


def copied(words: Words) -> Shares:
    """The first of six words comes again at the end, in nine sentences of ten."""
    names = ("ann", "bob", "eve", "joe", "kim", "sam")
    if not words:
        return dict.fromkeys(names, 1 / 6)
    if len(words) == 4:
        return {name: 0.9 if name == words[0] else 0.02 for name in names}
    return [{"says": 0.6, "asks": 0.4}, {"that": 0.5, "if": 0.5}, {"not": 1.0}, {}, {END: 1.0}][
        len(words) - 1
    ]


GRAMMARS: dict[str, Grammar] = {
    "chain": chain,
    "interaction": interaction,
    "brackets": brackets,
    "copied": copied,
}


def sentences(grammar: Grammar, count: int, seed: int = 0) -> list[str]:
    """Return `count` sentences in random order."""
    draw = np.random.default_rng(seed)
    made: list[str] = []

    def extend(words: Words, number: int) -> None:
        shares = grammar(words)
        # Systematic sampling: the cumulated shares are rounded with the same random offset.
        borders = np.floor(number * np.cumsum([0.0, *shares.values()]) + draw.random()).astype(int)
        borders[0], borders[-1] = 0, number
        for word, part in zip(shares, np.diff(borders).tolist(), strict=True):
            if word == END:
                made.extend([" ".join(words)] * part)
            elif part:
                extend((*words, word), part)

    extend((), count)
    return [made[index] for index in draw.permutation(len(made))]


def contexts(grammar: Grammar, least: float) -> Iterator[tuple[Words, Shares]]:
    """Yield each beginning of a sentence whose probability is at least `least`, with its next words."""
    waiting: list[tuple[Words, float]] = [((), 1.0)]
    while waiting:
        words, probability = waiting.pop()
        shares = grammar(words)
        yield words, shares
        waiting += [
            ((*words, word), probability * share)
            for word, share in shares.items()
            if word != END and probability * share >= least
        ]


def largest_error(model: elman.LanguageModel, grammar: Grammar, least: float = 0.01) -> float:
    """Return the largest difference between a probability of `model` and the true one.

    Compared are the probabilities of all words after each of the grammar's `contexts`.
    """
    worst = 0.0
    for words, shares in contexts(grammar, least):
        if not words:
            continue
        found = dict(model.predict_next(" ".join(words), MOST_WORDS))
        truth = {word or "<end>": share for word, share in shares.items()}
        worst = max([worst, *(abs(found[word] - truth.get(word, 0.0)) for word in found)])
    return worst
