"""Explanations of texts whose deciding word is known: the last day in a text that names several days."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import truth
from elman import LanguageModel
from elman.cli import main
from elman.explain.explanation import DECOMPOSITION, LEFT_OUT, REPLACEMENT
from elman.explain.selftest import self_test

pytestmark = pytest.mark.slow

PROMPTS = 60


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return LanguageModel(
        level="word",
        documents="line",
        cell="lstm",
        hidden_size=64,
        dropout=0,
        learning_rate=0.01,
        batch_size=32,
        steps=1400,
        evaluations=1,
        seed=0,
    ).fit(truth.lines("moved"))


@pytest.fixture(scope="module")
def prompts() -> list[truth.Prompt]:
    rng = random.Random(1)
    return [truth.moved(rng) for _ in range(PROMPTS)]


@pytest.mark.parametrize("quick", [False, True])
def test_the_deciding_word_has_the_largest_attribution(
    model: LanguageModel, prompts: list[truth.Prompt], quick: bool
) -> None:
    found = [model.explain(one.text, one.answer, quick=quick) for one in prompts]
    right = [truth.why(told, one) for told, one in zip(found, prompts, strict=True)]
    assert sum(right) >= 58
    if not quick:
        passed = [told.passed is True for told in found]
        assert sum(stood and not top for stood, top in zip(passed, right, strict=True)) <= 1
        assert sum(passed) >= 0.8 * PROMPTS


def test_wrong_explanations_fail_the_self_test(
    model: LanguageModel, prompts: list[truth.Prompt]
) -> None:
    draw, passed = np.random.default_rng(0), list[bool]()
    for one in prompts[:20]:
        methods = (REPLACEMENT, DECOMPOSITION, LEFT_OUT)
        found = [model.explain(one.text, one.answer, method=method) for method in methods]
        told, falls = found[0], found[1].absence
        assert told.method == REPLACEMENT
        assert falls is not None
        for _ in range(11):
            named = draw.permutation(told.contributions)
            tested = self_test(named, falls, min_change=told.min_change)
            found.append(replace(told, contributions=named, test=tested))
        passed += [other.passed is True for other in found if not truth.why(other, one)]
    assert len(passed) >= 200
    assert sum(passed) <= 0.05 * len(passed)


def test_the_command_agrees_with_python(
    model: LanguageModel,
    prompts: list[truth.Prompt],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "moved.safetensors"
    model.save(file)
    for one in prompts[:3]:
        with pytest.raises(SystemExit) as left:
            main(["explain", str(file), one.text, "--json"])
        assert not left.value.code
        found: dict[str, Any] = json.loads(capsys.readouterr().out)
        rows = found["contributions"]
        top = max(rows, key=lambda row: row["contribution"])
        assert {top["position"]} == one.deciding
        assert found["passed"] is True
        with pytest.raises(SystemExit):
            main(["explain", str(file), one.text])
        shown = capsys.readouterr().out
        assert "how far the log probability falls when each input is replaced" in shown
        assert "random rankings" in shown


@pytest.mark.parametrize("corpus", truth.CORPORA)
def test_the_synthetic_corpora_are_as_described(corpus: str, model: LanguageModel) -> None:
    rng = random.Random(0)
    for _ in range(50):
        one = truth.CORPORA[corpus](rng)
        words = one.text.split()
        assert all(0 <= place < len(words) for place in one.deciding)
        short = truth.brief(corpus, one)
        assert len(short.text) < len(one.text)
        kept, shortened = short.text.split(), truth.BRIEF[corpus]
        expected = sorted(shortened.get(words[i], words[i]) for i in one.deciding)
        assert sorted(kept[i] for i in short.deciding) == expected
        text, answer = truth.asked(short, "char")
        assert text.endswith(" ")
        assert one.answer.startswith(answer)
    assert truth.lines(corpus, count=5) == truth.lines(corpus, count=5)
    # a model of words does not group its tokens into words
    assert model.predictor_.explain("test", quick=True).groups == ()
