"""Chained tags: probabilities and best sequences against all sequences, rules, training, and answers."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

import elman
from elman.labels.batches import PackedSteps
from elman.labels.network_torch import TorchTransitions
from elman.labels.tag_chain import FORBIDDEN, TagChain
from elman.labels.tags import entities

DRAW = np.random.default_rng(3)
GOLDEN = Path(__file__).parents[1] / "golden"


def random_chain(count: int) -> TagChain:
    start, end = DRAW.normal(size=(2, count))
    return TagChain(start, DRAW.normal(size=(count, count)), end)


def score(chain: TagChain, logits: np.ndarray, tags: tuple[int, ...]) -> float:
    pairs = sum(chain.weight[pair] for pair in itertools.pairwise(tags))
    steps = logits[np.arange(len(tags)), tags].sum()
    return float(chain.start[tags[0]] + pairs + steps + chain.end[tags[-1]])


def all_scores(chain: TagChain, logits: np.ndarray) -> dict[tuple[int, ...], float]:
    T, K = logits.shape
    return {tags: score(chain, logits, tags) for tags in itertools.product(range(K), repeat=T)}


def test_probabilities_and_best_tags_are_those_of_all_sequences() -> None:
    chain = random_chain(3)
    sequences = [DRAW.normal(size=(length, 3)) for length in (4, 1, 3, 4)]
    for logits, found in zip(sequences, chain.log_probabilities(sequences), strict=True):
        scores = all_scores(chain, logits)
        total = np.logaddexp.reduce([*scores.values()])
        expected = np.zeros(logits.shape)
        for tags, value in scores.items():
            expected[np.arange(len(tags)), tags] += np.exp(value - total)
        np.testing.assert_allclose(np.exp(found), expected, rtol=1e-12)
        assert tuple(chain.best(logits)) == max(scores, key=scores.__getitem__)


def test_the_loss_in_training_is_that_of_all_sequences() -> None:
    chain = random_chain(3)
    rules = TagChain(np.zeros(3), np.zeros((3, 3)), np.zeros(3))
    rules.weight[0, 2] = FORBIDDEN
    sequences = [DRAW.normal(size=(length, 3)) for length in (4, 1, 3)]
    tags = [np.array([0, 1, 1, 2]), np.array([2]), np.array([1, 0, 1])]
    expected = 0.0
    for logits, true in zip(sequences, tags, strict=True):
        scores = all_scores(chain + rules, logits)
        expected += np.logaddexp.reduce([*scores.values()]) - scores[tuple(true.tolist())]
    layer = TorchTransitions(3).double()
    with torch.no_grad():
        for name in ("start", "weight", "end"):
            getattr(layer, name).copy_(torch.from_numpy(getattr(chain, name)))
    packed = PackedSteps.of(sequences)
    targets = torch.from_numpy(PackedSteps.of(tags).rows)
    rows = torch.from_numpy(packed.rows).requires_grad_()
    loss = layer.losses(rows, targets, packed.sizes.tolist(), rules)
    assert loss.item() == pytest.approx(expected, rel=1e-9)
    loss.backward()
    assert layer.weight.grad is not None
    # the slope of a logit is its probability less 1 for the true tag
    assert rows.grad is not None
    (found,) = (chain + rules).log_probabilities([sequences[0]])
    slope = np.exp(found)
    slope[np.arange(4), tags[0]] -= 1
    np.testing.assert_allclose(PackedSteps.unpack(packed, rows.grad.numpy())[0], slope, atol=1e-9)
    # a forbidden pair is never learned
    assert layer.weight.grad[0, 2] == 0


def test_temperature_leaves_the_best_tags_and_huge_scores_stay_finite() -> None:
    chain, logits = random_chain(4), DRAW.normal(size=(9, 4))
    best = chain.best(logits)
    assert (chain.scaled(0.3).best(logits * 0.3) == best).all()
    huge = TagChain(chain.start, chain.weight * 1e38, chain.end * 1e38)
    (rows,) = huge.log_probabilities([logits * 1e30])
    np.testing.assert_allclose(np.exp(rows).sum(axis=1), 1.0)


@pytest.mark.parametrize(
    ("sequences", "allowed", "forbidden"),
    [
        ([["B-a", "I-a", "O", "B-b", "I-b"]], ("B-a", "I-a"), ("O", "I-a")),
        ([["B-a", "I-a", "O", "B-b", "I-b"]], ("I-a", "B-a"), ("B-a", "I-b")),
        ([["B-a", "I-a", "E-a", "S-b", "O"]], ("E-a", "O"), ("B-a", "O")),
        # an entity that the training set itself begins with I
        ([["B-a", "I-a", "O", "I-a", "B-b", "I-b"]], ("O", "I-a"), ("O", "I-b")),
    ],
)
def test_rules_follow_the_scheme_and_what_occurs(
    sequences: list[list[str]], allowed: tuple[str, str], forbidden: tuple[str, str]
) -> None:
    names = sorted({tag for tags in sequences for tag in tags} | {"O"})
    rules = TagChain.rules(names, sequences)
    first, second = (tuple(map(names.index, pair)) for pair in (allowed, forbidden))
    assert (rules.weight[first], rules.weight[second]) == (0, FORBIDDEN)


def test_iob1_has_no_rules() -> None:
    rules = TagChain.rules(["B-a", "I-a", "O"], [["I-a", "O", "I-a", "B-a"]])
    assert not rules.start.any()
    assert not rules.weight.any()
    assert not rules.end.any()


def sentences(count: int) -> tuple[list[list[str]], list[list[str]]]:
    """Sentences in which `new` begins a city of two words, and `york` alone is a name of a person."""
    X, y = [], []
    for _ in range(count):
        tokens, tags = [], []
        for piece in DRAW.integers(0, 4, 3):
            tokens += [["to"], ["new", "york"], ["york"], ["bonn"]][piece]
            tags += [["O"], ["B-city", "I-city"], ["B-name"], ["B-city"]][piece]
        X.append(tokens)
        y.append(tags)
    return X, y


@pytest.fixture(scope="module")
def tagger() -> elman.SequenceTagger:
    X, y = sentences(60)
    model = elman.SequenceTagger(
        hidden_size=4, embedding_size=6, spelling_size=2, steps=40, seed=1, refit=False, threads=1
    )
    return model.fit(X, y, test=sentences(20))


def test_answers_break_no_rule_and_probabilities_are_probabilities(
    tagger: elman.SequenceTagger, tmp_path: Path
) -> None:
    assert tagger.model_.config.transitions
    tokens = [[*DRAW.choice(["to", "new", "york", "bonn", "what"], 8)] for _ in range(40)]
    answers = tagger.predict(tokens)
    for sentence in ([*map(str, tags)] for tags in answers):
        for before, tag in itertools.pairwise(["O", *sentence]):
            assert not tag.startswith("I-") or before[2:] == tag[2:]
        assert all(end > first for _, first, end in entities(sentence))
    for shares in tagger.predict_proba(tokens):
        np.testing.assert_allclose(shares.sum(axis=1), 1.0)
        assert shares[0, list(tagger.classes_).index("I-city")] < 1e-12
    tagger.save(tmp_path / "tags.safetensors")
    loaded = elman.load(tmp_path / "tags.safetensors", kind=elman.TaggerPredictor)
    assert loaded.predict([*tokens, []]) == [*answers, []]


def test_the_card_has_the_figures_that_evaluate_measures() -> None:
    test = sentences(20)
    model = elman.SequenceTagger(
        hidden_size=4, embedding_size=6, spelling_size=2, steps=25, refit=False, threads=1
    )
    model.fit(*sentences(40), test=test)
    held_out, report = model.card_["held_out"], model.evaluate(*test)
    assert report.entities is not None
    assert held_out["entity_f1"] == pytest.approx(report.entities.f1)
    assert held_out["accuracy"] == pytest.approx(report.accuracy)
    assert held_out["held_out_loss"] == pytest.approx(report.log_loss, rel=1e-4)
    assert model.card_["temperature"] != 1.0


def test_the_explained_tag_is_the_predicted_one(tagger: elman.SequenceTagger) -> None:
    tokens = ["to", "new", "york", "york"]
    (tags,) = tagger.predict([tokens])
    for step, tag in enumerate(tags):
        explained = tagger.explain(tokens, of=step, method="integrated gradients", quick=True)
        assert explained.target == tag
        assert explained.score == pytest.approx(
            explained.bias + explained.contributions.sum(), rel=1e-3, abs=1e-3
        )
        assert "scores of neighbouring tags" in explained.note


def test_a_chained_tagger_learns_on_and_an_unchained_file_answers_as_before(
    tagger: elman.SequenceTagger,
) -> None:
    old = elman.load(GOLDEN / "tag-1.safetensors", kind=elman.TaggerPredictor)
    assert not old.model.config.transitions
    (shares,), (tags,) = old.predict_proba([["I", "like"]]), old.predict([["I", "like"]])
    assert tags == old.classes_[shares.argmax(axis=1)].tolist()
    weights = dict(tagger.model_.arrays)["members.0.transitions.weight"]
    assert weights.min() == FORBIDDEN
    model = tagger.partial_fit(*sentences(30))
    assert dict(model.model_.arrays)["members.0.transitions.weight"].min() == FORBIDDEN


def test_only_tags_of_entities_are_chained() -> None:
    X, y = sentences(30)
    plain = [["noun" if tag == "O" else "verb" for tag in tags] for tags in y]
    model = elman.SequenceTagger(hidden_size=4, steps=2, refit=False, threads=1).fit(X, plain)
    assert not model.model_.config.transitions
    with pytest.raises(elman.OptionError, match="transitions: got True for classify"):
        replace(model.model_.config, task="classify", pooling="max", transitions=True)
