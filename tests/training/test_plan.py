"""The plan of a language model: given options are used, the others come from the table."""

from __future__ import annotations

from typing import Any

import pytest

from elman.language.options import LanguageOptions
from elman.language.plan import TABLE, resolve
from elman.training.options import seconds


@pytest.mark.parametrize("level", ["char", "word"])
@pytest.mark.parametrize("tokens", [10, 10**5, 10**6, 10**9])
@pytest.mark.parametrize("time", ["1s", "1m", "10m", "24h"])
def test_every_text_and_budget_has_a_row(level: Any, tokens: int, time: str) -> None:
    plan = resolve(LanguageOptions(level=level, time=time), tokens, 100)
    assert plan.hidden_size in {row.hidden_size for row in TABLE[level]}
    assert plan.time == seconds(time)
    assert plan.steps is None
    assert plan.tied


def test_given_options_are_used() -> None:
    options = LanguageOptions(
        steps=7, hidden_size=3, embedding_size=5, num_layers=4, dropout=0.0, learning_rate=0.0
    )
    plan = resolve(options, 1000, 100)
    assert (plan.time, plan.steps) == (None, 7)
    assert (plan.hidden_size, plan.embedding_size, plan.num_layers) == (3, 5, 4)
    assert (plan.dropout, plan.learning_rate) == (0.0, 0.0)
    assert not plan.tied


def test_the_default_budget_is_three_minutes() -> None:
    assert resolve(LanguageOptions(), 1000, 100).time == 180


def test_larger_budgets_never_get_smaller_networks() -> None:
    level: Any
    for level in TABLE:
        sizes = [
            resolve(LanguageOptions(level=level, time=time), 2_000_000, 100)
            for time in ("20s", "1m", "3m", "10m", "1h")
        ]
        units = [plan.hidden_size * plan.num_layers for plan in sizes]
        assert units == sorted(units)


def test_a_large_vocabulary_is_trained_with_sampled_softmax() -> None:
    assert resolve(LanguageOptions(), 1000, 8191).sampled_softmax == 0
    assert resolve(LanguageOptions(), 1000, 8192).sampled_softmax > 0
    assert resolve(LanguageOptions(sampled_softmax=0), 1000, 10**6).sampled_softmax == 0
    assert resolve(LanguageOptions(sampled_softmax=5), 1000, 100).sampled_softmax == 5


def test_the_default_budget_does_not_depend_on_the_text() -> None:
    for tokens in (10, 10_000, 10_000_000):
        plan = resolve(LanguageOptions(), tokens, 100)
        assert (plan.time, plan.epochs, plan.steps) == (180.0, None, None)
    small = resolve(LanguageOptions(), 20, 100, small=True)
    assert (small.time, small.steps) == (None, 500)
    asked = resolve(LanguageOptions(time="10s"), 20, 100, small=True)
    assert (asked.time, asked.steps) == (10.0, None)
