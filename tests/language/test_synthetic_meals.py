from __future__ import annotations

from collections import Counter, defaultdict
from typing import Any

import pytest

from elman.errors import InputError, OptionError
from elman.language.synthetic_meals import FOODS, Grammar, double

# Rounding error of a sum of eight floats.
ROUNDING = 1e-12


def shares(sentences: list[str]) -> dict[str, Counter[str]]:
    found: dict[str, Counter[str]] = defaultdict(Counter)
    for sentence in sentences:
        context, food = sentence.rsplit(" ", 1)
        found[context][food] += 1
    return found


@pytest.mark.parametrize("grammar", [Grammar(), Grammar(("burgers",)), Grammar(("soup", "soup"))])
def test_every_context_has_a_probability_distribution(grammar: Grammar) -> None:
    contexts = grammar.contexts()
    assert len({context for context, _ in contexts}) == len(contexts) == 24
    for context, probabilities in contexts:
        assert tuple(probabilities) == FOODS
        assert sum(probabilities.values()) == pytest.approx(1, abs=ROUNDING)
        assert min(probabilities.values()) > 0
        assert len(context.split()) >= 4
        assert grammar.true_probabilities(context) == probabilities


def test_subject_and_verb_decide_the_food_and_today_does_not() -> None:
    grammar = Grammar()
    rows = {tuple(p.values()) for c, p in grammar.contexts() if not c.startswith("today")}
    assert len(rows) == 12
    for context, probabilities in grammar.contexts():
        if context.startswith("today "):
            assert grammar.true_probabilities(context.removeprefix("today ")) == probabilities


def test_doubling_a_food_changes_the_most_probable_one() -> None:
    def best_two(grammar: Grammar) -> list[str]:
        probabilities = grammar.true_probabilities("I like to eat")
        return sorted(FOODS, key=lambda food: -probabilities[food])[:2]

    assert best_two(Grammar()) == ["pizza", "burgers"]
    assert best_two(Grammar(("burgers",))) == ["burgers", "pizza"]
    turned = Grammar(("burgers",)).true_probabilities("I like to eat")
    assert turned["pizza"] == pytest.approx(0.40 / 1.28, abs=ROUNDING)
    assert turned["burgers"] == pytest.approx(0.56 / 1.28, abs=ROUNDING)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("share", [1.0, 0.9, 0.5])
def test_the_first_sentences_have_the_true_probabilities(seed: int, share: float) -> None:
    count = 3_000
    grammar = Grammar()
    found = shares(grammar.sentences(count, seed)[: int(share * count)])
    assert len(found) == 24
    for context, counts in found.items():
        total = counts.total()
        assert abs(total - share * count / 24) <= 1
        for food, probability in grammar.true_probabilities(context).items():
            assert abs(counts[food] - probability * total) < 2


def test_each_doubling_doubles_again() -> None:
    once, twice = (
        Grammar(("soup",) * times).true_probabilities("we want to eat") for times in (1, 2)
    )
    odds = [p["soup"] / p["cake"] for p in (once, twice)]
    assert odds == pytest.approx([2 * 3.5, 4 * 3.5], rel=ROUNDING)


def test_doubled_sentences_agree_with_the_doubled_grammar() -> None:
    sentences = Grammar().sentences(6_000, seed=0)
    twice = double(sentences, "burgers")
    burgers = [sentence for sentence in sentences if sentence.endswith(" burgers")]
    assert Counter(twice) == Counter(sentences + burgers)
    grammar = Grammar(("burgers",))
    for context, counts in shares(twice).items():
        for food, probability in grammar.true_probabilities(context).items():
            # Each food occurs up to 2 times more or less often in 250 sentences; doubling makes that 4.
            assert counts[food] / counts.total() == pytest.approx(probability, abs=4 / 250)


def test_the_seed_decides_the_order_of_the_sentences() -> None:
    grammar = Grammar()
    assert grammar.sentences(200, 1) == grammar.sentences(200, 1)
    assert grammar.sentences(200, 1) != grammar.sentences(200, 2)
    assert grammar.sentences(50, 1) == grammar.sentences(200, 1)[:50]
    sentences = grammar.sentences(24 * 100, 0)
    foods = defaultdict(list)
    for sentence in sentences:
        context, food = sentence.rsplit(" ", 1)
        foods[context].append(food)
    rounds = [[s.rsplit(" ", 1)[0] for s in sentences[at : at + 24]] for at in (0, 24, 48)]
    assert sorted(rounds[0]) == sorted(rounds[1]) == sorted(rounds[2])
    assert rounds[0] != rounds[1] != rounds[2]
    # A context and the same context after "today" must not get the same food in every round.
    for context in [context for context in foods if not context.startswith("today ")]:
        pairs = zip(foods[context], foods[f"today {context}"], strict=True)
        assert sum(a == b for a, b in pairs) < 90


def test_bad_input_is_refused() -> None:
    with pytest.raises(InputError, match="no such context"):
        Grammar().true_probabilities("I like")
    with pytest.raises(OptionError, match="no such food"):
        Grammar(("stones",))
    with pytest.raises(OptionError, match="no such food"):
        double([], "stones")
    count: Any
    for count in (-1, 2.5, "a", None, True):
        with pytest.raises(OptionError, match=r"count: .*expected a whole number from 0"):
            Grammar().sentences(count, 0)
    seed: Any = "a"
    with pytest.raises(OptionError, match="seed: got a"):
        Grammar().sentences(1, seed)
