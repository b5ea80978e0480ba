"""The plan of a language model: given options are used, the others follow from budget and text."""

from __future__ import annotations

from typing import Any

import pytest

from elman.language.options import LanguageOptions
from elman.language.plan import Plan, default_dropout, resolve, token_seconds
from elman.training.options import seconds

LEVELS = ["char", "word"]
TOKENS = [10, 10**4, 80_000, 10**6, 10**8]
TIMES = ["1s", "10s", "30s", "3m", "15m", "60m", "120m"]


def _plan(level: str, tokens: int, time: str, vocabulary: int = 100, **options: Any) -> Plan:
    asked: Any = {"level": level, "time": time, **options}
    return resolve(LanguageOptions(**asked), tokens, vocabulary)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("time", [*TIMES, "24h"])
def test_every_text_and_budget_has_a_sane_plan(level: str, tokens: int, time: str) -> None:
    plan = _plan(level, tokens, time)
    assert 64 <= plan.hidden_size <= 4096
    assert plan.hidden_size % 64 == 0
    assert plan.num_layers in (1, 2)
    assert 0.002 <= plan.learning_rate <= 0.015
    assert 0.0 <= plan.dropout <= 0.5
    assert (plan.time, plan.steps) == (seconds(time), None)
    # a budget of time ends early where more passes would only overfit
    assert plan.epochs == 30 or (tokens <= 80_000 and plan.epochs is not None and plan.epochs > 30)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("tokens", TOKENS)
def test_more_time_gives_larger_networks_lower_rates_and_more_dropout(
    level: str, tokens: int
) -> None:
    plans = [_plan(level, tokens, time) for time in TIMES]
    units = [plan.hidden_size * plan.num_layers for plan in plans]
    assert units == sorted(units)
    dropout = [plan.dropout for plan in plans]
    assert dropout == sorted(dropout)
    rates = [plan.learning_rate for plan in plans]
    assert rates == sorted(rates, reverse=True)


@pytest.mark.parametrize("level", LEVELS)
def test_a_longer_text_never_needs_a_smaller_network_or_more_dropout(level: str) -> None:
    plans = [_plan(level, tokens, "3m") for tokens in TOKENS]
    sizes = [plan.hidden_size for plan in plans]
    assert sizes == sorted(sizes)
    # A network that is much larger may need more dropout, so compare networks of one size.
    dropout = [_plan(level, tokens, "3m", hidden_size=256).dropout for tokens in TOKENS]
    assert dropout == sorted(dropout, reverse=True)


def test_a_text_that_is_read_less_than_twice_needs_no_dropout() -> None:
    assert _plan("char", 10**8, "60m").dropout == 0.0
    assert _plan("char", 10**6, "10s").dropout == 0.0
    assert _plan("char", 10**6, "3m").dropout > 0.0


def test_a_network_without_the_parameters_to_overfit_needs_no_dropout() -> None:
    # A grammar of ten words, 24,000 sentences of seven words, 32 units: 8,000 weights for 170,000 tokens.
    options = LanguageOptions(level="word", hidden_size=32, num_layers=1, epochs=4)
    plan = resolve(options, 172_800, 12, documents=21_600)
    assert plan.dropout == 0.0
    assert plan.weight_decay == 0.01
    # the same text and as many tokens, counted in steps of 32 sentences
    options = LanguageOptions(level="word", hidden_size=32, num_layers=1, steps=2700)
    assert resolve(options, 172_800, 12, documents=21_600).learning_rate == plan.learning_rate


@pytest.mark.parametrize("growth", [5.7, 340.0])
def test_dropout_grows_with_overfitting_between_its_limits(growth: float) -> None:
    shares = [default_dropout(2.0**power, growth) for power in range(-80, 80)]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 0.5)
    assert default_dropout(0.0, growth) == 0.0


@pytest.mark.parametrize(
    ("hidden_size", "vocabulary", "outputs", "step", "measured"),
    [(512, 65, 65, 2048, 28.5e-6), (768, 65, 65, 4096, 58.5e-6), (256, 33278, 2048, 1024, 40.8e-6)],
    ids=["characters, 512", "characters, 768", "words, 256"],
)
def test_the_estimated_time_of_a_token_is_near_the_measured_time(
    hidden_size: int, vocabulary: int, outputs: int, step: int, measured: float
) -> None:
    recurrent, embeddings = 8 * hidden_size**2, vocabulary * hidden_size
    estimate = token_seconds(recurrent, embeddings, hidden_size, outputs, step)
    assert estimate == pytest.approx(measured, rel=0.1)


def test_a_second_layer_needs_a_long_budget_in_which_it_reads_the_text_often() -> None:
    layers = {time: _plan("char", 10**6, time, vocabulary=65).num_layers for time in TIMES}
    assert layers == {time: 2 if time in ("60m", "120m") else 1 for time in TIMES}
    assert _plan("char", 10**7, "60m", vocabulary=65).num_layers == 1
    one, two = (_plan("char", 10**6, "60m", num_layers=layers) for layers in (1, 2))
    assert two.learning_rate < one.learning_rate


def test_given_options_are_used() -> None:
    options = LanguageOptions(
        steps=7,
        hidden_size=3,
        embedding_size=5,
        num_layers=4,
        dropout=0.0,
        learning_rate=0.0,
        weight_decay=0.3,
        precision="float32",
        batch_size=9,
        sequence_length=11,
    )
    plan = resolve(options, 1000, 100, bfloat16=True)
    assert (plan.time, plan.steps) == (None, 7)
    assert (plan.hidden_size, plan.embedding_size, plan.num_layers) == (3, 5, 4)
    assert (plan.dropout, plan.learning_rate, plan.weight_decay) == (0.0, 0.0, 0.3)
    assert (plan.batch_size, plan.sequence_length, plan.precision) == (9, 11, "float32")
    assert not plan.tied


def test_the_default_budget_is_three_minutes() -> None:
    assert resolve(LanguageOptions(), 1000, 100).time == 180


def test_large_vocabularies_and_large_networks_share_embeddings_with_the_output() -> None:
    assert _plan("word", 10**6, "3m", vocabulary=30_000).tied
    assert _plan("char", 10**6, "3m", vocabulary=65).tied
    small: dict[str, Any] = {"vocabulary": 60, "hidden_size": 64}
    assert not _plan("char", 10**6, "3m", **small).tied
    assert _plan("char", 10**6, "3m", **small, tied=True).tied
    assert not _plan("word", 10**6, "3m", vocabulary=30_000, embedding_size=7).tied


def test_bfloat16_is_chosen_for_networks_that_it_makes_faster() -> None:
    for size, expected in ((64, "float32"), (512, "bf16")):
        options = LanguageOptions(level="char", hidden_size=size)
        assert resolve(options, 10**6, 65, bfloat16=True).precision == expected
        assert resolve(options, 10**6, 65, bfloat16=False).precision == "float32"


def test_a_large_vocabulary_is_trained_with_sampled_softmax() -> None:
    assert resolve(LanguageOptions(), 1000, 8191).sampled_softmax == 0
    assert resolve(LanguageOptions(), 1000, 8192).sampled_softmax > 0
    assert resolve(LanguageOptions(sampled_softmax=0), 1000, 10**6).sampled_softmax == 0
    assert resolve(LanguageOptions(sampled_softmax=5), 1000, 100).sampled_softmax == 5


def test_the_default_budget_does_not_depend_on_the_text() -> None:
    for tokens in (10, 10_000, 10_000_000):
        plan = resolve(LanguageOptions(), tokens, 100)
        assert (plan.time, plan.steps) == (180.0, None)
    small = resolve(LanguageOptions(), 20, 100, small=True)
    assert (small.time, small.steps) == (None, 500)
    asked = resolve(LanguageOptions(time="10s"), 20, 100, small=True)
    assert (asked.time, asked.steps) == (10.0, None)
