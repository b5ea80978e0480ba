"""Explanations of language models, compared with plain re-runs, brute force, captum and a known grammar."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients
from scipy.stats import spearmanr

from elman import LanguageModel, nn
from elman.cli import demo
from elman.errors import InputError, OptionError
from elman.explain import gradients
from elman.explain.explanation import (
    ADDITIVE,
    DECOMPOSITION,
    INTEGRATED,
    LEFT_OUT,
    MAX_GAP,
    METHODS,
    REPLACEMENT,
    Explanation,
)
from elman.files.model import Model
from elman.language import replacement, synthetic_meals
from elman.language.context import MAX_EXPLAINED_TOKENS
from elman.language.explain import explain_language, replace
from elman.language.network import Network
from elman.language.stream import Stream
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID
from factories import CELLS, open_language

TEXT = "I like my pizza ( tea ! I zebra"
# Rounding error of a sum of up to 300 products of numbers below 1, each rounded by 2**-24.
FLOAT32 = 300 * 2.0**-24
FLOAT64 = 300 * 2.0**-53
# captum rounds the weights of its quadrature points to float32.
CAPTUM = 2.0**-24
STACKS: list[dict[str, Any]] = [
    {"num_layers": 1},
    {"num_layers": 3, "residual": True, "documents": "line"},
    {"num_layers": 2, "tied": True},
    {"num_layers": 2, "bias": False, "documents": "line"},
]
Make = Callable[..., Model]


def small(make: Make, cell: str = "lstm", activation: str = "tanh", **settings: Any) -> Any:
    settings = {"level": "word", "scale": 0.5} | settings
    return open_language(make(cell, activation=activation, **settings))


def size(told: Explanation) -> float:
    whole = np.abs(told.contributions).sum() + abs(told.start_state) + abs(told.bias)
    return float(max(1.0, whole))


def logit(predictor: Any, numbers: Any, target: str) -> float:
    """Return the logit of the token `target` after a stream has read the token numbers."""
    stream = Stream(predictor.network).feed(numbers)
    values = predictor.network.logits(predictor.network.output(stream._state))
    return float(values[predictor.model.codec.tokens.index(target)])


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("stack", STACKS, ids=str)
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_the_terms_sum_to_the_logit(
    make: Make, cell: str, activation: str, stack: dict[str, Any]
) -> None:
    predictor = small(make, cell, activation, **stack)
    told = explain_language(predictor, TEXT, "pizza", method=DECOMPOSITION)
    assert abs(told.residual) < FLOAT32 * size(told)
    assert told.score == pytest.approx(logit(predictor, TEXT, "pizza"), abs=FLOAT32 * size(told))
    assert told.exact is ((cell, activation) in (CELLS[0], CELLS[-1]))
    assert told.gap is not None
    assert told.gap < MAX_GAP
    assert (told.start_state == 0) is ("documents" not in stack)
    predictor.network = Network(predictor.model, np.float64)
    told = explain_language(predictor, TEXT, "pizza", method=DECOMPOSITION)
    assert abs(told.residual) < FLOAT64 * size(told)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("stack", STACKS[:2], ids=str)
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_integrated_gradients_sum_to_the_logit(
    make: Make, cell: str, activation: str, stack: dict[str, Any]
) -> None:
    told = explain_language(small(make, cell, activation, **stack), TEXT, method=INTEGRATED)
    assert told.gap is not None
    assert told.gap < MAX_GAP
    total = told.contributions.sum() + told.start_state + told.bias + told.residual
    assert total == pytest.approx(told.score)
    assert told.exact is False


class Torch(torch.nn.Module):
    """A model's network in torch, which maps embeddings and start states ``[B, ...]`` to one logit."""

    def __init__(self, model: Model, target: int) -> None:
        super().__init__()
        config = model.config
        kinds = {"rnn": torch.nn.RNN, "gru": torch.nn.GRU, "lstm": torch.nn.LSTM}
        kind = kinds.get(config.cell, nn.MinGRU)
        how = {"nonlinearity": config.activation} if config.cell == "rnn" else {}
        self.layers = kind(
            config.embedding_size,
            config.hidden_size,
            config.num_layers,
            dtype=torch.float64,
            batch_first=True,
            **how,
        )
        with torch.no_grad():
            for name, weight in self.layers.named_parameters():
                part, k = name.rsplit("_l", 1)
                weight.copy_(torch.tensor(model.arrays[f"layers.{k}.{part}"]))
        head = model.arrays["head.weight"][target]
        self.head = torch.tensor(head, dtype=torch.float64)
        self.bias = float(model.arrays["head.bias"][target])

    def forward(self, x: torch.Tensor, *states: torch.Tensor) -> torch.Tensor:
        start = tuple(state.swapaxes(0, 1).contiguous() for state in states)
        y, _ = self.layers(x, start if len(start) > 1 else start[0])
        return y[:, -1] @ self.head + self.bias


@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize(("cell", "activation"), CELLS[1:])
def test_integrated_gradients_equal_those_of_captum(
    make: Make, monkeypatch: pytest.MonkeyPatch, cell: str, activation: str, documents: str
) -> None:
    points = 32
    monkeypatch.setattr(gradients, "PATH_POINTS", (points,))
    predictor = small(make, cell, activation, documents=documents)
    model = predictor.model
    network = predictor.network = Network(model, np.float64)
    target = model.codec.tokens.index("pizza")
    told = explain_language(predictor, TEXT, "pizza", method=INTEGRATED)

    numbers = model.codec.encode(TEXT)
    x = torch.tensor(model.arrays["embedding.weight"][numbers][None], dtype=torch.float64)
    parts = network.start[: -network.hidden_size].reshape(2, len(network.cell.states), -1)
    states = [torch.tensor(part[None]) for part in parts.swapaxes(0, 1)]
    theirs = Torch(model, target)
    found = IntegratedGradients(theirs).attribute(
        (x, *states), n_steps=points, method="gausslegendre"
    )
    expected = found[0][0].sum(dim=1).numpy()
    np.testing.assert_allclose(told.contributions, expected, rtol=0, atol=CAPTUM * size(told))
    start = sum(float(part.sum()) for part in found[1:])
    assert told.start_state == pytest.approx(start, rel=0, abs=CAPTUM * size(told))
    assert told.score == pytest.approx(theirs(x, *states).item(), abs=FLOAT64 * size(told))
    nothing = theirs(torch.zeros_like(x), *map(torch.zeros_like, states)).item()
    assert told.bias == pytest.approx(nothing, abs=FLOAT64 * size(told))


def log_probability(predictor: Any, numbers: Any, target: str) -> float:
    """Return the log probability of the token `target` after a stream has read the token numbers."""
    share = Stream(predictor.network).feed(numbers).probabilities
    return float(np.log(share[predictor.model.codec.tokens.index(target)]))


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
def test_leave_one_out_equals_reading_the_text_without_the_token(
    make: Make, cell: str, documents: str
) -> None:
    predictor = small(make, cell, documents=documents)
    numbers = predictor.model.codec.encode(TEXT)
    N = len(numbers)
    told = explain_language(predictor, TEXT, "tea", method=LEFT_OUT, quick=True)
    assert told.score == pytest.approx(log_probability(predictor, numbers, "tea"), abs=FLOAT32)
    for i in range(N):
        without = log_probability(predictor, np.delete(numbers, i), "tea")
        assert told.score - told.contributions[i] == pytest.approx(without, abs=FLOAT32)
    assert told.steps == sum(N - 1 - i for i in range(N))
    np.testing.assert_array_equal(told.contributions, told.absence)


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("documents", ["file", "line"])
def test_replace_equals_reading_the_changed_text(make: Make, documents: str) -> None:
    predictor = small(make, "gru", documents=documents)
    found = replace(predictor, "I like my zebra", 1, "pizza", 3)
    for (token, p), (same, q) in zip(
        found, predictor.predict_next("I pizza my zebra", 3), strict=True
    ):
        assert token == same
        assert p == pytest.approx(q, abs=FLOAT32)
    line = "tea my\nI like" if documents == "line" else "I like"
    assert dict(replace(predictor, line, 1, "my", 9)) == pytest.approx(
        dict(predictor.predict_next("I my", 9)), abs=FLOAT32
    )


def replaced_by_brute_force(predictor: Any, numbers: np.ndarray, target: int) -> list[float]:
    """Return log p(target) − log Σ p(w | rest) p(target | w, rest) for each token.

    The sum is over the words w that could replace the token; every changed text is read from its start.
    """
    codec = predictor.model.codec
    found = []
    for i in range(len(numbers)):
        expected = Stream(predictor.network).feed(numbers[:i]).probabilities.astype(np.float64)
        if codec.end_id is not None:
            expected[codec.end_id] = 0
        words = np.flatnonzero(expected)
        texts = [[*numbers[:i], word, *numbers[i + 1 :]] for word in words]
        shares = [Stream(predictor.network).feed(text).probabilities[target] for text in texts]
        rest = [predictor.score(text).log_probabilities[i + 1 :].sum() for text in texts]
        weights = expected[words] * np.exp(rest)
        found.append(np.log(weights @ shares / weights.sum()))
    whole = np.log(Stream(predictor.network).feed(numbers).probabilities[target])
    return [float(whole - one) for one in found]


@pytest.mark.slow
@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("documents", ["file", "line"])
def test_replacement_equals_the_mean_over_all_words(make: Make, documents: str) -> None:
    predictor = small(make, "lstm", documents=documents)
    text = "I like my zebra tea"
    numbers = predictor.model.codec.encode(text)
    target = predictor.model.codec.tokens.index("pizza")
    for how in ({}, {"unknown": True}, {"method": REPLACEMENT}):
        told = explain_language(predictor, text, "pizza", **how)
        expected = replaced_by_brute_force(predictor, numbers, target)
        np.testing.assert_allclose(told.contributions, expected, atol=FLOAT32)
        assert (told.method, told.score_name) == (REPLACEMENT, "log probability")
        assert told.score == pytest.approx(log_probability(predictor, text, "pizza"), abs=FLOAT32)
    others = explain_language(predictor, text, "pizza", method=DECOMPOSITION)
    assert others.absence is not None
    np.testing.assert_allclose(others.absence, expected, atol=FLOAT32)
    with pytest.raises(OptionError, match="method: got decomposition; expected replacement"):
        explain_language(predictor, "I", method=DECOMPOSITION, unknown=True)


def test_a_quick_answer_has_no_self_test_and_fewer_steps(make: Make) -> None:
    codec = TextCodec("word", ("<unk>", *(f"w{i}" for i in range(99))), "words", "file")
    predictor = small(make, "lstm", codec=codec)
    text = "w1 w2 w3 w4 w5 w6"
    quick, full = (explain_language(predictor, text, quick=quick) for quick in (True, False))
    assert (quick.test, quick.passed) == (None, None)
    assert full.test is not None
    assert 2 * quick.steps < full.steps
    # the random numbers depend on nothing but the model
    again = explain_language(predictor, text)
    np.testing.assert_array_equal(full.contributions, again.contributions)
    assert full.test == again.test


@pytest.mark.slow
def test_a_character_is_replaced_with_the_rest_of_its_word(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    effort = replacement._REFINED._replace(min_draws=3000, max_draws=3000)
    monkeypatch.setattr(replacement, "_REFINED", effort)
    predictor = open_language(make("gru", scale=0.5))
    text = "ab cad ef"
    told = explain_language(predictor, text, "a")
    assert told.groups == (0, 0, 1, 2, 2, 2, 3, 4, 4)
    names, sums = told.by_word
    assert names == ("ab", " ", "cad", " ", "ef")
    # replace "cad" by a word that the model writes: letters until one is drawn that ends the word
    codec, draw = predictor.model.codec, np.random.default_rng(0)
    shares, weights = [], []
    for _ in range(1500):
        stream, count, going = predictor.stream().feed("ab "), 0, True
        while going and count < 25:
            number = int(draw.choice(len(codec), p=as_shares(stream.probabilities)))
            going = codec.tokens[number].isalnum()
            if going or not count:
                stream.feed([number])
            count += 1
        weight = 1.0
        for letter in " ef":
            weight *= float(stream.probabilities[codec.tokens.index(letter)])
            stream.feed(letter)
        weights.append(weight)
        shares.append(float(stream.probabilities[codec.tokens.index("a")]))
    expected = told.score - np.log(np.average(shares, weights=weights))
    assert sums[2] == pytest.approx(expected, abs=float(0.1 * np.std(shares) / np.mean(shares)))


def as_shares(probabilities: np.ndarray) -> np.ndarray:
    shares = probabilities.astype(np.float64)
    return np.asarray(shares / shares.sum())


def test_the_target_is_the_most_probable_token(make: Make) -> None:
    for seed in range(4):
        predictor = small(make, "gru", seed=seed)
        told = explain_language(predictor, "I like")
        assert told.target == predictor.predict_next("I like", 1)[0][0]
    line = small(make, "gru", documents="line")
    assert explain_language(line, "I", "\n").target == "<end>"
    assert explain_language(line, "I", "<end>").score == explain_language(line, "I", "\n").score


@pytest.mark.usefixtures("way")
@pytest.mark.parametrize("documents", ["file", "line"])
@pytest.mark.parametrize("method", METHODS)
def test_short_texts(make: Make, method: str, documents: str) -> None:
    predictor = small(make, "lstm", documents=documents)
    nothing = explain_language(predictor, "", "tea", method=method)
    assert (nothing.inputs, nothing.steps, nothing.test) == ((), 0, None)
    scored = logit if method in ADDITIVE else log_probability
    assert nothing.score == pytest.approx(scored(predictor, "", "tea"))
    one = explain_language(predictor, "pizza", "tea", method=method)
    assert (one.inputs, one.test) == (("pizza",), None)
    if method == LEFT_OUT:
        assert one.score - one.contributions[0] == pytest.approx(nothing.score, abs=FLOAT32)
    for told in (nothing, one):
        assert told.passed is None
        json.loads(told.to_json())
        assert "<svg" in told._repr_html_()
    if documents == "line":
        again = explain_language(predictor, "I like\npizza", "tea", method=method)
        np.testing.assert_array_equal(again.contributions, one.contributions)
        assert explain_language(predictor, "I like\n", method=method).inputs == ()


def test_unknown_tokens_keep_their_names(make: Make) -> None:
    told = explain_language(small(make), "I zebra\u202e my zebra zebra")
    assert told.inputs[1].startswith("zebra")
    assert "Not in the vocabulary, read as <unk>: zebra" in told.note
    assert "\u202e" not in told.note
    numbers = explain_language(small(make), [2, UNKNOWN_ID])
    assert numbers.inputs[1] == "<unk>"


@pytest.mark.slow
@pytest.mark.usefixtures("way")
def test_only_the_last_tokens_of_a_long_text_are_explained(make: Make) -> None:
    predictor = open_language(make("lstm", scale=0.5))
    text = "".join(np.random.default_rng(0).choice(list("abcdefgh"), 2 * MAX_EXPLAINED_TOKENS + 9))
    told = explain_language(predictor, text, method=LEFT_OUT)
    assert told.inputs == tuple(text[-MAX_EXPLAINED_TOKENS:])
    assert "The 265 tokens before these are in the start state." in told.note
    place = len(text) - MAX_EXPLAINED_TOKENS
    without = log_probability(predictor, text[:place] + text[place + 1 :], told.target)
    assert told.score - told.contributions[0] == pytest.approx(without, abs=FLOAT32)
    assert explain_language(predictor, text, method=DECOMPOSITION).start_state != 0
    assert replace(predictor, text, 0, "a", 9)[0][1] == pytest.approx(
        predictor.predict_next(text[:place] + "a" + text[place + 1 :], 9)[0][1], abs=FLOAT32
    )


def test_a_failed_explanation_is_shown_as_failed(make: Make) -> None:
    # over a long text, a random network with its gates held constant is a bad model of the network
    predictor = open_language(make("lstm"))
    text = "".join(np.random.default_rng(0).choice(list("abcdefgh    "), 60))
    told = explain_language(predictor, text, method=DECOMPOSITION)
    assert told.passed is False
    for shown in (str(told), told._repr_html_(), told.to_json()):
        assert "FAILS ITS OWN TEST" in shown
    truth = explain_language(predictor, text)
    assert (truth.method, truth.passed) == (REPLACEMENT, True)


def test_bad_arguments_are_refused(make: Make) -> None:
    predictor = small(make)
    with pytest.raises(OptionError, match="target: got pie; expected one token of the vocabulary"):
        explain_language(predictor, "I like", "pie")
    with pytest.raises(OptionError, match="the most probable ones here: ") as refused:
        explain_language(predictor, "I", "\x1b[2J\n" * 99)
    assert str(refused.value).isprintable()
    with pytest.raises(OptionError, match="method: got magic"):
        explain_language(predictor, "I", method="magic")
    with pytest.raises(OptionError, match="position: got 2; expected a whole number from 0 to 1"):
        replace(predictor, "I like", 2, "my")
    with pytest.raises(OptionError, match="word: got pie"):
        replace(predictor, "I like", 1, "pie")
    with pytest.raises(InputError, match="a text with a word to replace"):
        replace(predictor, "", 0, "my")
    with pytest.raises(OptionError, match="word: got a line end"):
        replace(small(make, documents="line"), "I like", 0, "\n")
    with pytest.raises(InputError, match="tokens: got 99"):
        explain_language(predictor, [99])


def test_terms_far_larger_than_the_score_fail_the_self_test(make: Make) -> None:
    predictor = small(make, "rnn", "linear", scale=1e30)
    told = explain_language(predictor, "I like my tea", method=DECOMPOSITION)
    assert told.passed is False
    assert "cancel each other" in told.verdict


def test_hostile_tokens_stay_text(make: Make) -> None:
    words = ("<script>x</script>", "\u202eevil", "\x1b[2J", "y" * 200, "&amp;")
    codec = TextCodec("word", ("<unk>", "\n", *words), "whitespace")
    predictor = open_language(make("gru", codec=codec))
    told = explain_language(predictor, " ".join(words), words[0])
    assert told.inputs == words
    assert told.target == words[0]
    assert all(one.isprintable() or one == "\n" for one in str(told))
    assert "<script" not in told._repr_html_()
    found = json.loads(told.to_json())["contributions"]
    assert [row["token"] for row in found] == [*words]


def test_predictor_explain_equals_explain_language(make: Make) -> None:
    predictor = small(make, "gru")
    told = predictor.explain("I like", "tea", method=LEFT_OUT)
    again = explain_language(predictor, "I like", "tea", method=LEFT_OUT)
    assert told.to_dict() == again.to_dict()


@pytest.fixture(scope="module")
def sentences() -> list[str]:
    return synthetic_meals.Grammar().sentences(demo.SENTENCES, seed=0)


@pytest.mark.slow
@pytest.mark.parametrize("cell", ["rnn", "mingru"])
def test_terms_sum_to_every_logit_of_every_context(cell: str, sentences: list[str]) -> None:
    settings = demo.MEALS | {"cell": cell, "epochs": 3, "evaluations": 1}
    if cell == "rnn":
        settings["activation"] = "linear"
    model = LanguageModel(**settings).fit("\n".join(sentences) + "\n")
    predictor = open_language(model.model_)
    codec = predictor.model.codec
    for context, _ in synthetic_meals.Grammar().contexts():
        explanations = [
            explain_language(predictor, context, token, method=DECOMPOSITION, quick=True)
            for token in codec.tokens
        ]
        stream = predictor.stream().feed(context)
        logits = predictor.network.logits(predictor.network.output(stream._state))
        sums = [e.contributions.sum() + e.start_state + e.bias for e in explanations]
        np.testing.assert_allclose(sums, logits, atol=1e-4)
        assert all(len(e.contributions) == len(context.split()) for e in explanations)


# Three quarters of the words have no effect on the answer, and the network ranks effects near zero at random.
# So the test rounds all effects to a tenth of a nat, but compares the effects of deciding words unrounded.
TENTH, BAR = 1, 0.9


@pytest.mark.slow
def test_replacement_agrees_with_the_grammar(sentences: list[str]) -> None:
    predictor = open_language(demo.meals_model("gru", sentences).model_)
    grammar = synthetic_meals.Grammar()
    contexts = [context for context, _ in grammar.contexts()]
    draw = np.random.default_rng(0)
    truth: list[float] = []
    measured: list[float] = []
    for _ in range(200):
        context, food = draw.choice(contexts), draw.choice(synthetic_meals.FOODS)
        truth += grammar.true_effects(context, food)
        told = explain_language(predictor, context, food)
        measured += told.contributions.tolist()
    true, found = np.array(truth), np.array(measured)
    matters = np.abs(true) > 1e-9
    assert spearmanr(true[matters], found[matters]).statistic > BAR
    assert spearmanr(true.round(TENTH), found.round(TENTH)).statistic > BAR
    assert np.abs(found[~matters]).max() < 0.15
