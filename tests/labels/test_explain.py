"""Explanations of labels, numbers and tags, compared with predictions for changed inputs and with captum."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from captum.attr import IntegratedGradients

from elman.engine.layers import member_arrays
from elman.errors import DataError, InputError
from elman.explain import gradients
from elman.explain.explanation import (
    DECOMPOSITION,
    INTEGRATED,
    LEFT_OUT,
    MAX_GAP,
    METHODS,
    REPLACEMENT,
    Explanation,
)
from elman.files.model import Model
from elman.labels.batches import EncodedSequences, PackedSteps, SequenceBatch
from elman.labels.dataset import Sequences
from elman.labels.explain import explain_labelled
from elman.labels.label_values import Labels
from elman.labels.network_torch import TorchSequenceNetwork
from elman.text.vocabulary import TextCodec
from factories import CELLS
from readers import KINDS, POOLINGS, open_labelled, reader_of, rounding, sequences_of

# a logit near 1 that two batches compute: some fifty independent roundings of 2**-24, six deviations
ROUNDING = 6 * 50**0.5 * 2.0**-24
TEXT = "to be or not to be zebra"
PAIRS = [
    (task, kind)
    for task in ("classify", "regress", "tag")
    for kind in KINDS
    if (task, kind) != ("tag", "char")
]
pytestmark = pytest.mark.usefixtures("way", "few_draws")


def opened(*given: Any, **how: Any) -> Any:
    return open_labelled(reader_of(*given, **how))


def item_of(kind: str) -> Any:
    """Return a sequence of `kind` with 5 to 40 steps."""
    return next(item for item in sequences_of(kind).items if 5 <= len(item) <= 40)


def tolerance(model: Model, told: Explanation) -> float:
    """Return the allowed difference of float32 sums in two orders, for as many steps as there are inputs."""
    given = Sequences("text", ("a" * 2 * len(told.inputs),))
    largest = np.abs(told.contributions).sum() + abs(told.bias) + abs(told.score)
    return rounding(model, given) * max(1.0, float(largest))


def adds_up(told: Explanation) -> bool:
    whole = told.contributions.sum() + told.start_state + told.bias + told.residual
    size = np.abs(told.contributions).sum() + abs(told.bias) + abs(told.residual)
    return bool(abs(whole - told.score) <= 4 * len(told.inputs) * 2.0**-53 * size)


def ways_of(kind: str, task: str) -> Iterator[str | int | None]:
    """Yield the values that the argument `of` of an explanation may have."""
    yield None
    if task != "tag":
        yield "channels" if kind in ("numbers", "mask") else "characters"
    else:
        yield 2


def score_of(predictor: Any, item: Any, number: int, step: int | None = None) -> float:
    """Return the prediction or logit that the predictor's network gives a sequence, or one of its steps."""
    if predictor.model.config.task == "regress":
        return float(predictor.predict([item])[0])
    if step is None:
        return float(predictor.network.logits(Sequences.of([item]))[0, number])
    given = Sequences.of([item]).stepwise()
    return float(predictor.network.step_logits(given)[0][step, number])


@pytest.mark.slow
@pytest.mark.parametrize(("task", "kind"), PAIRS)
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_terms_sum_to_the_score(task: str, kind: str, cell: str, activation: str) -> None:
    predictor = opened(kind, task, cell=cell, activation=activation)
    item = item_of(kind)
    for of in ways_of(kind, task):
        whole = of == "characters" and kind == "word"
        for method in (DECOMPOSITION, INTEGRATED):
            if whole:
                continue
            told = explain_labelled(predictor, item, method=method, of=of)
            assert adds_up(told)
            assert len(told.inputs) == len(told.contributions) == len(told.absence)  # type: ignore[arg-type]
            alone = not {"max", "attention"} & {*predictor.model.config.pools}
            linear = cell == "mingru" or activation == "linear"
            assert told.exact == (method == DECOMPOSITION and linear and alone)
            if method == DECOMPOSITION:
                assert abs(told.residual) <= tolerance(predictor.model, told)
            else:
                # relative to the mean score, which may be closer to 0 than the scores of the members
                assert told.gap is not None
                assert told.gap < 2 * MAX_GAP
        told = explain_labelled(predictor, item, of=of, quick=True)
        assert told.method == REPLACEMENT
        assert told.start_state == 0


@pytest.mark.parametrize("pooling", POOLINGS)
@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize("method", [DECOMPOSITION, INTEGRATED])
@pytest.mark.parametrize("cell", ["lstm", "mingru"])
def test_every_pooling(pooling: str, bidirectional: bool, method: str, cell: str) -> None:
    for kind in ("both", "numbers"):
        how = {"pooling": pooling, "bidirectional": bidirectional, "cell": cell}
        predictor = opened(kind, **how)
        told = explain_labelled(predictor, item_of(kind), method=method)
        if method == DECOMPOSITION:
            assert abs(told.residual) <= tolerance(predictor.model, told)
        # relative to the mean score, which may be closer to 0 than the scores of the members
        assert told.gap is not None
        assert told.gap < 2 * MAX_GAP


@pytest.mark.slow
@pytest.mark.parametrize("pooling", ["last", "mean", "last+mean"])
@pytest.mark.parametrize("each", [True, False])
def test_shares_of_a_linear_network_equal_leaving_out(pooling: str, each: bool) -> None:
    how: dict[str, Any] = {"cell": "rnn", "activation": "linear", "pooling": pooling}
    of = "channels" if each else "steps"
    for task in ("classify", "regress"):
        predictor = opened("numbers", task, **how)
        told = explain_labelled(predictor, item_of("numbers"), method=DECOMPOSITION, of=of)
        # the bias is the score of a sequence in which every step has the mean value
        item = item_of("numbers")
        number = 0 if task == "regress" else predictor.labels.names.index(told.target)
        flat = np.broadcast_to(item.mean(axis=0), item.shape)
        assert told.bias == pytest.approx(
            score_of(predictor, flat, number), abs=tolerance(predictor.model, told)
        )
        # the other two methods agree
        for method in (INTEGRATED, LEFT_OUT):
            other = explain_labelled(predictor, item, method=method, of=of)
            np.testing.assert_allclose(
                other.contributions,
                told.contributions,
                rtol=0,
                atol=2 * tolerance(predictor.model, told),
            )


@pytest.mark.parametrize("spelled", [True, False])
def test_the_share_of_a_word_in_a_linear_network(spelled: bool) -> None:
    """A word's contribution is the change of the score when the first layer gets zeros for the word."""
    kind = "both" if spelled else "word"
    how: dict[str, Any] = {"cell": "rnn", "activation": "linear", "members": 1, "pooling": "mean"}
    predictor = opened(kind, **how)
    told = explain_labelled(predictor, TEXT, "b", method=DECOMPOSITION)
    (one,) = predictor.network.members
    read = one.read

    def score(without: int | None) -> float:
        def cut(batch: SequenceBatch) -> Any:
            rows = read(batch).copy()
            if without is not None:
                rows[without] = 0
            return rows

        one.read = cut
        return float(predictor.network.logits(Sequences.of([TEXT]))[0, 1])

    whole = score(None)
    assert told.inputs == tuple(TEXT.split())
    expected = [whole - score(place) for place in range(len(told.inputs))]
    np.testing.assert_allclose(
        told.contributions, expected, rtol=0, atol=tolerance(predictor.model, told)
    )


class InTorch(torch.nn.Module):
    """Function from the input of the first layer, ``[B, T, I]``, to a logit of the training network."""

    def __init__(self, model: Model, number: int) -> None:
        super().__init__()
        reader = TorchSequenceNetwork(model.config).eval()
        reader.load(model.arrays)
        (self.member,) = reader.members
        self.number = number

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        B, T, _ = x.shape
        rows = x.transpose(0, 1).reshape(T * B, -1)
        self.member.read = lambda _: rows  # type: ignore[assignment]
        batch = SequenceBatch(PackedSteps(np.arange(B), np.full(T, B), np.empty(T * B)))
        found: torch.Tensor = self.member(batch)[:, self.number]
        return found


@pytest.mark.parametrize("bidirectional", [True, False])
@pytest.mark.parametrize(("cell", "activation"), CELLS)
def test_integrated_gradients_agree_with_captum(
    monkeypatch: pytest.MonkeyPatch, cell: str, activation: str, bidirectional: bool
) -> None:
    monkeypatch.setattr(gradients, "PATH_POINTS", (32,))
    how = {"cell": cell, "activation": activation, "bidirectional": bidirectional, "members": 1}
    for kind in ("both", "mask"):
        predictor = opened(kind, **how)
        item = item_of(kind)
        told = explain_labelled(predictor, item, "c", method=INTEGRATED)
        batch = EncodedSequences.of(predictor.model.codec, Sequences.of([item])).batch([0])
        x = predictor.network.members[0].read(batch)
        base = np.zeros_like(x)
        if kind == "mask":
            base[:] = predictor.model.codec.scaler.apply(np.nanmean(item, axis=0)[None])
        theirs = IntegratedGradients(InTorch(predictor.model, 2)).attribute(
            torch.tensor(x[None]),
            torch.tensor(base[None]),
            n_steps=32,
            method="gausslegendre",
        )
        np.testing.assert_allclose(
            told.contributions,
            theirs[0].sum(dim=1).numpy(),
            rtol=0,
            atol=tolerance(predictor.model, told),
        )


@pytest.mark.slow
def test_integrated_gradients_of_letters_agree_with_captum(monkeypatch: pytest.MonkeyPatch) -> None:
    """The contributions of letters equal those that captum computes through the network of the spelling."""
    monkeypatch.setattr(gradients, "PATH_POINTS", (32,))
    predictor = opened("both", members=1, cell="lstm")
    told = explain_labelled(predictor, TEXT, "c", method=INTEGRATED, of="characters")
    assert "".join(told.inputs) == TEXT.replace(" ", "")
    reader = TorchSequenceNetwork(predictor.model.config).eval()
    reader.load(predictor.model.arrays)
    one: Any
    (one,) = reader.members
    encoded = EncodedSequences.of(predictor.model.codec, Sequences.of([TEXT]))
    assert encoded.words is not None
    assert encoded.letters is not None
    places = encoded.sequences[0]
    # each occurrence of a word is an input of its own
    words, letters = encoded.words[places], [encoded.letters[place] for place in places]
    lengths = [len(some) for some in letters]

    def logits(rows: torch.Tensor) -> torch.Tensor:
        scores = []
        for lane in rows:  # [letters, S]
            x = []
            for number, some in zip(words, torch.split(lane, lengths), strict=True):
                _, states = one.spelling(some[:, None])
                x.append(torch.cat([one.embedding.weight[number], *states[0][:, 0]]))
            read = torch.stack(x)
            one.read = lambda _, read=read: read
            steps = PackedSteps(np.arange(1), np.ones(len(x), np.int64), np.empty(len(x)))
            scores.append(one(SequenceBatch(steps))[0, 2])
        return torch.stack(scores)

    rows = one.alphabet.weight.detach()[np.concatenate(letters)]
    theirs = IntegratedGradients(logits).attribute(
        rows[None], n_steps=32, method="gausslegendre", internal_batch_size=32
    )
    np.testing.assert_allclose(
        told.contributions,
        theirs[0].sum(dim=1).numpy(),
        rtol=0,
        atol=tolerance(predictor.model, told),
    )
    with torch.no_grad():
        nothing = float(logits(torch.zeros_like(rows)[None])[0])
    assert told.bias == pytest.approx(nothing, abs=tolerance(predictor.model, told))


def test_leaving_out_includes_interactions_of_inputs() -> None:
    predictor = opened("word")
    told = explain_labelled(predictor, TEXT, method=LEFT_OUT)
    assert told.absence is not None
    np.testing.assert_array_equal(told.contributions, told.absence)
    assert told.bias == 0
    assert told.score == told.contributions.sum() + told.residual
    assert told.moved is not None


@pytest.mark.slow
@pytest.mark.parametrize("method", [DECOMPOSITION, INTEGRATED])
def test_members_are_explained_by_their_mean(method: str) -> None:
    model, item = reader_of("both", members=3), item_of("both")
    whole = explain_labelled(open_labelled(model), item, "a", method=method)
    each = []
    for m in range(3):
        arrays = {
            f"members.0.{name}": array for name, array in member_arrays(model.arrays, m).items()
        }
        one = Model(replace(model.config, members=1), arrays, model.codec, {})
        each.append(explain_labelled(open_labelled(one), item, "a", method=method))
    for name in ("contributions", "bias", "score", "absence"):
        mean = np.mean([getattr(one, name) for one in each], axis=0)
        np.testing.assert_allclose(getattr(whole, name), mean, rtol=0, atol=tolerance(model, whole))


def test_the_most_probable_label_is_explained_by_default() -> None:
    predictor = opened("word")
    for text in ("to be", "or not", "not not not"):
        told = predictor.explain(text)
        assert told.target == predictor.predict([text])[0]
        assert told.score == pytest.approx(
            max(score_of(predictor, text, number) for number in range(3)), abs=ROUNDING
        )
        other = next(name for name in "abc" if name != told.target)
        assert predictor.explain(text, other).score < told.score


HOSTILE = ("\x1b[2J", "<script>alert(1)</script>", "\u202eevil", "a" * 10_000, "b\nc", "\ud800")


def test_hostile_words_labels_and_targets() -> None:
    labels = Labels.of([*HOSTILE, "plain"])
    model = reader_of("word")
    tokens = TextCodec("word", ("<unk>", "\x1b[2J", "<b>", "\u202ex"), "whitespace")
    config = replace(model.config, vocabulary_size=4, outputs=len(labels))
    draw = np.random.default_rng(0)
    arrays = {
        name: draw.standard_normal(shape).astype(np.float32)
        for name, shape in config.parameters().items()
    }
    codec = replace(model.codec, tokens=tokens, labels=labels)
    predictor = open_labelled(Model(config, arrays, codec, {}))
    words = ["\x1b[2J", "<b>", "\u202ex", "strange"]
    for name in labels.names:
        told = explain_labelled(predictor, words, name)
        assert (told.target, told.inputs) == (name, tuple(words))
        assert "\x1b" not in str(told)
    for wrong in ("\x1b[31mred", "x" * 10_000, "a\nb"):
        with pytest.raises(DataError, match=r"^no such label: got ") as caught:
            explain_labelled(predictor, words, wrong)
        assert str(caught.value).isprintable()
        assert len(str(caught.value)) < 1000


@pytest.mark.slow
@pytest.mark.parametrize("scale", [1e4, 1e20, 1e38])
@pytest.mark.parametrize("cell", ["lstm", "rnn", "mingru"])
@pytest.mark.parametrize("method", METHODS)
def test_huge_weights_give_finite_numbers_or_one_error(
    scale: float, cell: str, method: str
) -> None:
    how: dict[str, Any] = {"cell": cell, "activation": "relu" if cell == "rnn" else "tanh"}
    for task in ("classify", "regress", "tag"):
        model = reader_of("numbers", task, **how)
        arrays = {
            name: np.clip(array.astype(np.float64) * scale, -3e38, 3e38).astype(np.float32)
            for name, array in model.arrays.items()
        }
        predictor = open_labelled(replace(model, arrays=arrays))
        try:
            told = explain_labelled(predictor, item_of("numbers"), method=method)
        except InputError as error:
            assert "leave the range of numbers" in str(error)  # noqa: PT017
            continue
        told.to_json()  # raises an error if a number is not finite
