from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman.errors import DataError, InputError, OptionError
from elman.files.model import Model
from elman.language.evaluation import Evaluation, NgramComparison
from elman.language.pool import StreamPool
from elman.language.predictor import LanguagePredictor
from elman.language.stream import Stream
from elman.text.vocabulary import TextCodec
from factories import open_language

pytestmark = pytest.mark.usefixtures("way")

# Largest difference of float32 log probabilities: a product of many rows may add its terms in another order.
FLOAT32 = 2e-5

TEXT = "abba cafe\nhead bag\n\nface é decade\n"


def exact_loss(model: Model, documents: list[str]) -> tuple[float, int]:
    """Return the mean loss of a stream that reads each document from state zero, and the number of tokens."""
    values = []
    for text in documents:
        ids = model.codec.encode(text)
        stream = Stream(model)
        if model.codec.end_id is None:
            stream.feed(ids[:1])
            ids = ids[1:]
        values += stream.score(ids).log_probabilities.astype(np.float64).tolist()
    return -sum(values) / len(values), len(values)


@pytest.mark.parametrize("lanes", [1, 32])
@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
def test_evaluate_equals_a_plain_stream(
    make: Callable[..., Model], tmp_path: Path, cell: str, lanes: int
) -> None:
    model = make(cell)
    second = "bad cab\n"
    (tmp_path / "one.txt").write_text(TEXT, encoding="utf-8")
    (tmp_path / "two.txt").write_text(second, encoding="utf-8")
    predictor = open_language(model)
    loss, count = exact_loss(model, [TEXT])
    for source in (TEXT, tmp_path / "one.txt", str(tmp_path / "one.txt")):
        evaluation = predictor.evaluate(source, lanes=lanes)
        assert evaluation.tokens == count == len(TEXT) - 1
        assert evaluation.loss == pytest.approx(loss, abs=FLOAT32)
    both = predictor.evaluate([tmp_path / "one.txt", tmp_path / "two.txt"], lanes=lanes)
    loss, count = exact_loss(model, [TEXT, second])
    assert (both.tokens, both.characters) == (count, len(TEXT + second))
    assert both.loss == pytest.approx(loss, abs=FLOAT32)
    assert both.unknown_share == pytest.approx(1 / len(TEXT + second))


def test_evaluate_reads_each_line_from_state_zero(make: Callable[..., Model]) -> None:
    model = make("lstm", documents="line")
    lines = [line + "\n" for line in TEXT.split("\n") if line]
    loss, count = exact_loss(model, lines)
    for lanes in (1, 2, 32):
        evaluation = open_language(model).evaluate(TEXT, lanes=lanes)
        assert evaluation.tokens == count
        assert evaluation.loss == pytest.approx(loss, abs=FLOAT32)


@pytest.mark.slow
def test_evaluate_in_lanes_is_close_to_one_stream(make: Callable[..., Model]) -> None:
    # a network with small recurrent weights forgets its start within the 1,000 steps of the warm-up
    model = make("gru", scale=0.5)
    text = "".join(np.random.default_rng(0).choice(list("abcdefgh \n"), 9000))
    exact = open_language(model).evaluate(text, lanes=1)
    lanes = open_language(model).evaluate(text, lanes=4)
    assert lanes.tokens == exact.tokens == 8999
    assert lanes.loss == pytest.approx(exact.loss, abs=FLOAT32)


def test_the_predictor_answers_as_a_stream(make: Callable[..., Model]) -> None:
    model = make("lstm", level="word")
    predictor = open_language(model)
    assert isinstance(predictor, LanguagePredictor)
    stream = Stream(model).feed("I like")
    assert predictor.predict_next("I like", 3) == stream.predict(3)
    assert len(predictor.predict_next("I like")) == 5
    options: dict[str, Any] = {"temperature": 0.7, "top_k": 5, "top_p": 0.9, "seed": 2}
    text = stream.fork().generate(9, **options)
    assert predictor.generate("I like", 9, **options) == text
    assert "".join(predictor.generate_pieces("I like", 9, **options)) == text
    assert predictor.generate(n=9, seed=2) == Stream(model).generate(9, seed=2)
    assert predictor.beam("I like", 3, 4) == stream.beam(3, 4)
    assert predictor.score("I like tea").total == Stream(model).score("I like tea").total
    assert predictor.stream().predict() == Stream(model).predict()
    assert isinstance(predictor.streams(2), StreamPool)
    assert len(predictor.streams(2)) == 2


def test_calls_do_not_change_the_predictor(make: Callable[..., Model]) -> None:
    predictor = open_language(make("gru"))
    first = predictor.predict_next("ab")
    predictor.generate("cd", 20)
    assert predictor.predict_next("ab") == first


@pytest.mark.parametrize("documents", ["file", "line"])
def test_unknown_tokens_are_distinct_and_in_order(
    make: Callable[..., Model], documents: str
) -> None:
    words = open_language(make("rnn", level="word", documents=documents))
    assert words.unknown_tokens("my zebra, my tea\r\nand zebra!") == ("zebra", ",", "and")
    characters = open_language(make("rnn", documents=documents))
    assert characters.unknown_tokens("ab\n\U0001f600 éé\ud800") == ("\U0001f600", "é", "\ud800")
    assert characters.unknown_tokens("") == ()


def test_unknown_share_counts_tokens_outside_the_vocabulary(make: Callable[..., Model]) -> None:
    evaluation = open_language(make("rnn")).evaluate("abXYab\nZ")
    assert evaluation.unknown_share == pytest.approx(3 / 8)


def card(network: float, ngram: float | str, order: int | None = 4) -> dict[str, Any]:
    return {"held_out": {"loss": network}, "ngram": {"loss": ngram, "order": order}}


@pytest.mark.parametrize(
    ("given", "beats", "words"),
    [
        (card(1.5, 1.7), True, "a 4-gram model of the same training text has 1.7000 held out"),
        (card(1.5, 1.7), True, "the network beats it by 0.2000"),
        (card(1.7, 1.5), False, "has 1.5000 held out: the network, with 1.7000, DOES NOT BEAT IT"),
        (card(1.5, 1.5), False, "DOES NOT BEAT IT"),
        (card(1.5, 1.7, None), True, "an n-gram model of the same training text"),
        ({}, None, None),
        (card(math.nan, 1.0), None, None),
        (card(1.0, "low"), None, None),
        ({"held_out": 3, "ngram": [1]}, None, None),
        ({"held_out": {"loss": True}, "ngram": {"loss": 2.0}}, None, None),
    ],
)
def test_evaluation_compares_with_the_ngram_model_of_the_card(
    make: Callable[..., Model], given: dict[str, Any], beats: bool | None, words: str | None
) -> None:
    evaluation = open_language(make("rnn", card=given)).evaluate(TEXT)
    assert evaluation.beats_ngram is beats
    assert (words in str(evaluation)) if words else ("gram" not in str(evaluation))
    told = evaluation.to_dict()
    assert told["beats_ngram"] is beats
    json.dumps(told, allow_nan=False)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            0.02,
            "shows NO DIFFERENCE that this test set can tell from chance (standard error 0.0200)",
        ),
        (None, "and so short a test set cannot tell how much of the difference is chance"),
    ],
)
def test_an_insignificant_difference_is_no_verdict(
    make: Callable[..., Model], error: float | None, words: str
) -> None:
    given = card(1.51, 1.5)
    given["ngram"]["difference"] = {"verdict": "no difference", "standard_error": error}
    evaluation = open_language(make("rnn", card=given)).evaluate(TEXT)
    assert evaluation.beats_ngram is False
    assert str(evaluation).endswith(f"has 1.5000 on the test set: the network has 1.5100, {words}")


def test_evaluation_has_the_warnings_about_the_text(
    make: Callable[..., Model], tmp_path: Path
) -> None:
    path = tmp_path / "old.txt"
    path.write_bytes(b"abc \x93cafe\x94\n" * 9)
    predictor = open_language(make("rnn"))
    evaluation = predictor.evaluate(path)
    (warning,) = evaluation.warnings
    assert "cp1252" in warning
    assert str(evaluation).endswith(f"\nwarning: {warning}")
    assert json.loads(json.dumps(evaluation.to_dict()))["warnings"] == [warning]
    assert predictor.evaluate(path, encoding="cp1252").warnings == ()


def test_evaluation_in_other_units() -> None:
    evaluation = Evaluation(tokens=50, characters=200, loss=math.log(8), unknown_share=0.1)
    assert evaluation.bits_per_token == pytest.approx(3)
    assert evaluation.bits_per_character == pytest.approx(0.75)
    assert evaluation.perplexity == pytest.approx(8)
    told = evaluation.to_dict()
    assert {"tokens", "loss", "bits_per_token", "perplexity", "unknown_share"} < set(told)
    assert math.isfinite(Evaluation(1, 1, 1e6, 0.0).perplexity)


def test_evaluate_with_huge_weights_is_finite(make: Callable[..., Model]) -> None:
    told = open_language(make("lstm", scale=1e37)).evaluate(TEXT).to_dict()
    json.dumps(told, allow_nan=False)


def test_a_loaded_file_answers_as_its_model(make: Callable[..., Model], tmp_path: Path) -> None:
    model = make("mingru", tied=True, card=card(1.0, 2.0))
    path = tmp_path / "model.safetensors"
    open_language(model).save(path)
    loaded = elman.load(path, kind=LanguagePredictor)
    assert loaded.predict_next("abc") == open_language(model).predict_next("abc")
    assert loaded.card["ngram"]["order"] == 4
    stream = loaded.stream()
    stream.state = Stream(model).feed("abc").state
    assert stream.predict() == Stream(model).feed("abc").predict()


def test_bad_arguments_are_refused(make: Callable[..., Model], tmp_path: Path) -> None:
    predictor = open_language(make("rnn"))
    with pytest.raises(DataError):
        predictor.evaluate(tmp_path / "missing.txt")
    with pytest.raises(DataError):
        predictor.evaluate("")
    with pytest.raises(OptionError, match="lanes"):
        predictor.evaluate(TEXT, lanes=0)
    with pytest.raises(OptionError, match="k: got 0"):
        predictor.predict_next("a", 0)
    with pytest.raises(OptionError, match="n: got -1"):
        predictor.generate_pieces("a", -1)
    with pytest.raises(OptionError, match="width: got 0"):
        predictor.beam("a", 2, 0)
    with pytest.raises(InputError, match="tokens: got 99"):
        predictor.predict_next([99])


def test_a_text_of_one_known_symbol(make: Callable[..., Model]) -> None:
    model = make("gru", codec=TextCodec("char", ("<unk>", "a")))
    predictor = open_language(model)
    assert [token for token, _ in predictor.predict_next("aa")] == ["a"]
    assert predictor.generate("a", 4, seed=0) == "aaaa"
    assert predictor.beam("a", 4, 9)[0][0] == "aaaa"


@pytest.mark.parametrize(
    ("counted", "said"), [(4_000_000, "the last 4,000,000 tokens of "), (9_000_000, "")]
)
def test_the_verdict_says_how_many_tokens_the_ngram_model_counted(counted: int, said: str) -> None:
    card: dict[str, Any] = {"ngram": {"tokens_counted": counted}, "data": {"tokens": 9_000_000}}
    card |= {"held_out": {"loss": 1.0}}
    card["ngram"] |= {"loss": 2.0, "order": 6}
    comparison = NgramComparison(**NgramComparison.fields_of(card))
    assert f"a 6-gram model of {said}the same training text" in comparison.verdict
