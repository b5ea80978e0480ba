"""Work in blocks gives the same answers for one item less than a block, a full block, and one item more."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import elman

SMALL: dict[str, Any] = {
    "hidden_size": 8,
    "num_layers": 1,
    "steps": 4,
    "evaluations": 1,
    "threads": 1,
}
WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "the", "dog", "ran", "to", "it"]
TEXT = " ".join(WORDS * 20)
TEXTS = [" ".join(WORDS[n % 5 :][: 3 + n % 4]) for n in range(24)]
LABELS = ["+", "-", "+"] * 8
TOKENS = 9


@pytest.fixture(scope="module")
def language() -> Any:
    return elman.LanguageModel(level="word", min_count=1, **SMALL).fit(TEXT)


@pytest.fixture(scope="module")
def classifier() -> Any:
    return elman.SequenceClassifier(members=1, refit=False, **SMALL).fit(TEXTS, LABELS)


def scored(language: Any, classifier: Any) -> Any:
    return language.predictor_.evaluate(" ".join(WORDS[: TOKENS + 1])).loss


def answered(language: Any, classifier: Any) -> Any:
    return classifier.predict_proba(TEXTS[:TOKENS])


def explained(language: Any, classifier: Any) -> Any:
    found = classifier.predictor_.explain(" ".join(WORDS[:TOKENS]), method="leave-one-out")
    return np.array(found.contributions)


def replaced(language: Any, classifier: Any) -> Any:
    found = classifier.predictor_.explain(" ".join(WORDS[:TOKENS]), method="replacement")
    return np.isfinite(found.contributions)  # random inputs are drawn block by block


def numbers_in(card: Any) -> Iterator[float]:
    """Yield every number in a part of a card."""
    if isinstance(card, dict | list):
        for value in card.values() if isinstance(card, dict) else card:
            yield from numbers_in(value)
    elif isinstance(card, int | float):
        yield card


def measured_labels(language: Any, classifier: Any) -> Any:
    model = elman.SequenceClassifier(members=1, refit=False, **SMALL)
    model.fit(TEXTS, LABELS, test=(TEXTS[:TOKENS], LABELS[:TOKENS]))
    return [*numbers_in(model.card_["held_out"])]


def measured_text(language: Any, classifier: Any) -> Any:
    model = elman.LanguageModel(level="word", min_count=1, **SMALL)
    model.fit(TEXT, valid=" ".join(WORDS * 2), test=" ".join(WORDS[: TOKENS + 1]))
    return model.card_["held_out"]["loss"]


BLOCKS: dict[str, tuple[Callable[[Any, Any], Any], int]] = {
    "elman.language.network.MAX_LOGITS": (scored, len(set(WORDS)) + 2),
    "elman.labels.network.SEQUENCES_PER_BATCH": (answered, 1),
    "elman.labels.ablation.STEPS_PER_BLOCK": (replaced, 64),
    "elman.labels.objective.SEQUENCES_PER_BATCH": (measured_labels, 1),
    "elman.language.network_torch.MEASURED_LOGITS": (measured_text, len(set(WORDS)) + 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("constant", BLOCKS)
def test_an_answer_does_not_depend_on_the_size_of_a_block(
    language: Any, classifier: Any, monkeypatch: pytest.MonkeyPatch, constant: str
) -> None:
    answer, unit = BLOCKS[constant]
    expected = answer(language, classifier)
    assert np.isfinite(expected).all()
    for size in (1, TOKENS - 1, TOKENS, TOKENS + 1):
        monkeypatch.setattr(constant, size * unit)
        np.testing.assert_allclose(answer(language, classifier), expected, rtol=1e-5, atol=1e-6)
