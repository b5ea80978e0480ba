"""The wide part of texts: its features against scikit-learn, its shares, its file, and its training."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.sparse import csr_matrix
from sklearn.feature_extraction.text import TfidfVectorizer

import elman
from elman.errors import InputError, ModelFileError
from elman.explain.explanation import DECOMPOSITION, INTEGRATED
from elman.files.model import Model
from elman.labels.batches import EncodedSequences
from elman.labels.codec import SequenceCodec, fit_codec
from elman.labels.dataset import Sequences
from elman.labels.examples import EncodedExamples, LabelledSequences
from elman.labels.explain import explain_labelled
from elman.labels.label_values import Labels
from elman.labels.ngrams import NgramPart, feature_values
from elman.labels.options import ClassifierOptions
from elman.labels.wide_fit import fit_wide
from elman.tables.scaler import Scaler
from readers import config_of, open_labelled

WORDS = ["good", "bad", "Fine", "poor", "the", "a", "film", "plot", "naïve", "ending", "!"]
HOW: dict[str, Any] = {"steps": 30, "hidden_size": 4, "threads": 1, "evaluations": 2}
LEVELS = ["both", "word", "char"]


def texts_of(count: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return short texts, and labels that follow from the words that they contain."""
    draw = np.random.default_rng(seed)
    texts = [" ".join(draw.choice(WORDS, draw.integers(2, 8))) for _ in range(count)]
    return texts, ["up" if "good" in text or "Fine" in text else "down" for text in texts]


def fitted(level: Any = "both", *, numbers: bool = False) -> tuple[SequenceCodec, NgramPart]:
    """Return a codec and the wide part fitted on 120 texts."""
    texts, labels = texts_of(120)
    targets: Any = [float(text.count("good")) for text in texts] if numbers else labels
    examples = LabelledSequences(Sequences.of(texts), targets)
    codec = fit_codec(examples.sequences, ClassifierOptions(level=level, min_count=1))
    if numbers:
        codec = replace(codec, target=Scaler(np.zeros(1), np.ones(1)))
    else:
        codec = replace(codec, labels=Labels.of(labels))
    encoded = EncodedExamples.of(codec, examples)
    result = fit_wide(codec, encoded)
    assert result is not None
    part = result[0].scaled(1.0)
    assert isinstance(part, NgramPart)
    return codec, part


def opened(level: str, **how: Any) -> Any:
    """Return a predictor with random weights and a wide part."""
    codec, part = fitted(level)
    config = config_of(codec, "classify", **how)
    draw = np.random.default_rng(0)
    arrays = {
        name: (0.4 * draw.standard_normal(shape)).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    return open_labelled(Model(config, arrays, replace(codec, wide=part), {}))


def word_ngrams(words: list[str]) -> list[str]:
    return [" ".join(words[i : i + n]) for n in (1, 2) for i in range(len(words) - n + 1)]


def letter_ngrams(words: list[str]) -> list[str]:
    ends = [f"<{word}>" for word in words]
    return [w[i : i + n] for w in ends for n in range(2, 6) for i in range(len(w) - n + 1)]


def values_of(codec: SequenceCodec, part: NgramPart, texts: list[str]) -> csr_matrix:
    encoded = EncodedSequences.of(codec, Sequences.of(texts))
    found = part.reader.read(encoded, range(len(texts)))
    values, _ = feature_values(found, part.keys, part.scale)
    return csr_matrix((values.value, (values.row, values.feature)))


def test_features_of_a_regression_have_the_inner_products_of_scikit_learn() -> None:
    codec, part = fitted(numbers=True)
    texts, _ = texts_of(120)
    tokens = [codec.vocabulary.tokenise(text.lower()) for text in texts]
    kernel, features = np.zeros((120, 120)), 0
    for analyzer in (word_ngrams, letter_ngrams):
        theirs = TfidfVectorizer(analyzer=analyzer, sublinear_tf=True).fit_transform(tokens)
        kernel, features = kernel + (theirs @ theirs.T).toarray(), features + theirs.shape[1]
    ours = values_of(codec, part, texts)
    # the order of the features differs, but not the angles between texts
    assert features == len(part.keys)
    np.testing.assert_allclose((ours @ ours.T).toarray(), kernel, atol=1e-6)


def test_ngrams_of_labels_are_scaled_by_their_log_count_ratios() -> None:
    codec, part = fitted()
    texts, labels = texts_of(120)
    counts: dict[str, Counter[str]] = {"up": Counter(), "down": Counter()}
    for text, label in zip(texts, labels, strict=True):
        tokens = codec.vocabulary.tokenise(text.lower())
        counts[label].update({f"w{gram}" for gram in word_ngrams(tokens)})
        counts[label].update({f"l{gram}" for gram in letter_ngrams(tokens)})
    grams = {*counts["up"], *counts["down"]}
    up, down = (np.array([1 + counts[label][gram] for gram in grams]) for label in counts)
    ratios = abs(np.log(up / up.sum()) - np.log(down / down.sum()))
    np.testing.assert_allclose(np.sort(part.scale), np.sort(ratios), rtol=1e-5)


@pytest.mark.parametrize("level", LEVELS)
def test_it_learns_and_does_not_depend_on_the_other_texts(level: str) -> None:
    codec, part = fitted(level)
    texts, labels = texts_of(60, seed=1)
    encoded = EncodedSequences.of(codec, Sequences.of([*texts, "", "zzz zzz"]))
    logits = part.logits(encoded)
    assert np.mean(codec.known_labels.decode(logits[:60].argmax(axis=1)) == labels) > 0.9
    for row in (0, 7, 60):
        alone = EncodedSequences.of(codec, Sequences.of([(*texts, "")[row]]))
        assert (part.logits(alone)[0] == logits[row]).all()
    if level == "both":
        # the case of a letter makes no difference where both are in the alphabet
        both = part.logits(EncodedSequences.of(codec, Sequences.of(["Fine", "fine"])))
        assert (both[0] == both[1]).all()


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("text", ["good film, good good ending!", "naïve", "unheard of", ""])
def test_shares_sum_exactly_to_the_logit(level: str, text: str) -> None:
    codec, part = fitted(level)
    encoded = EncodedSequences.of(codec, Sequences.of([text]))
    for output in (0, 1):
        for letters in (False, True) if level == "both" else (False,):
            shares = part.shares(encoded, output, letters=letters)
            total = shares.elements.sum() + shares.bias
            assert total == pytest.approx(part.logits(encoded)[0, output], abs=1e-12)
            steps = encoded.sequences[0]
            if letters:
                assert encoded.letters is not None
                steps = np.concatenate([encoded.letters[word] for word in steps])
            assert len(shares.elements) == len(steps)


def test_an_ngram_is_divided_among_the_words_that_it_covers() -> None:
    codec, part = fitted("word")
    encoded = EncodedSequences.of(codec, Sequences.of(["good film"]))
    found = part.reader.read(encoded, [0])
    values, entry = feature_values(found, part.keys, part.scale)
    first, second, pair = (
        values.value[entry[i]] * part.weights[values.feature[entry[i]], 1] for i in range(3)
    )
    assert part.shares(encoded, 1).elements == pytest.approx([first + pair / 2, second + pair / 2])


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("method", [DECOMPOSITION, INTEGRATED])
def test_explanations_include_the_wide_part(level: str, method: str) -> None:
    both = opened(level)
    alone = open_labelled(replace(both.model, codec=replace(both.model.codec, wide=None)))
    text = "good film, bad plot"
    for of in (None, "characters") if level == "both" else (None,):
        told, without = (
            explain_labelled(predictor, text, target="up", method=method, of=of)
            for predictor in (both, alone)
        )
        encoded = EncodedSequences.of(both.network.codec, Sequences.of([text]))
        wide = both.model.codec.wide
        assert told.score - without.score == pytest.approx(wide.logits(encoded)[0, 1], abs=1e-5)
        shares = wide.shares(encoded, 1, letters=of is not None)
        np.testing.assert_allclose(
            told.contributions - without.contributions, shares.elements, atol=1e-12
        )
        assert told.bias - without.bias == pytest.approx(shares.bias)
        # the residual is the network's own rounding, or the error of its integral
        assert told.residual == pytest.approx(without.residual, abs=1e-5)


def test_the_file_keeps_the_part_and_damage_is_an_error(tmp_path: Path) -> None:
    predictor, path = opened("both"), tmp_path / "m.safetensors"
    predictor.save(path)
    again: Any = elman.load(path)
    texts, _ = texts_of(20, seed=3)
    assert (again.predict_proba(texts) == predictor.predict_proba(texts)).all()
    form, arrays = predictor.model.codec.wide.to_parts()
    damaged: list[tuple[dict[str, Any], dict[str, np.ndarray]]] = [
        ({"tokens": 99}, {}),
        ({"letters": True}, {}),
        ({}, {"keys": arrays["codec.wide.keys"][::-1]}),
        ({}, {"keys": arrays["codec.wide.keys"][1:]}),
        ({}, {"scale": -arrays["codec.wide.scale"]}),
        ({}, {"bias": arrays["codec.wide.bias"] * np.nan}),
        ({}, {"weights": arrays["codec.wide.weights"].astype(np.float32)}),
    ]
    for changed, replaced in damaged:
        given = arrays | {f"codec.wide.{name}": array for name, array in replaced.items()}
        with pytest.raises(ModelFileError, match="codec wide"):
            NgramPart.from_parts(form | changed, given)
    whole, arrays = predictor.model.codec.to_parts()
    with pytest.raises(ModelFileError, match="a kind: ngrams"):
        SequenceCodec.from_parts(whole | {"wide": {"kind": 3}}, arrays)


def test_a_part_of_other_sizes_is_an_error() -> None:
    model = opened("both").model
    for part in (fitted("word")[1], replace(model.codec.wide, bias=np.zeros(3, np.float32))):
        with pytest.raises(InputError, match="the codec's wide part"):
            replace(model, codec=replace(model.codec, wide=part))


def test_training_fuses_both_parts_and_the_card_measures_each() -> None:
    texts, labels = texts_of(300)
    model = elman.SequenceClassifier(**HOW).fit(texts, labels)
    card, wide = model.card_, model.model_.codec.wide
    assert isinstance(wide, NgramPart)
    assert card["wide"]["factor"] > 0
    assert card["held_out"]["parts"].keys() == {"network", "wide"}
    # the network learns little in thirty steps; the sum is not worse than the linear model
    assert card["held_out"]["parts"]["wide"] > 0.9
    assert card["held_out"]["accuracy"] >= card["held_out"]["parts"]["wide"] - 0.05
    alone = elman.SequenceClassifier(wide=False, **HOW).fit(texts, labels)
    assert alone.model_.codec.wide is None
    assert alone.card_["held_out"]["parts"] == {}


def test_numbers_of_texts_have_a_wide_part_too() -> None:
    texts, _ = texts_of(150)
    numbers = [100.0 + 5 * text.count("good") - 3 * text.count("bad") for text in texts]
    model = elman.SequenceRegressor(**HOW).fit(texts, numbers)
    assert isinstance(model.model_.codec.wide, NgramPart)
    told = model.explain("good bad film", method=DECOMPOSITION)
    total = told.contributions.sum() + told.bias + told.residual
    assert total == pytest.approx(model.predict(["good bad film"])[0], rel=1e-6)
