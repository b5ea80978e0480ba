"""What the demonstration shows is true, for every cell."""

from __future__ import annotations

import io
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import elman
from elman import demo
from elman.data import meals

# the bar; sampling has no part in it, sentences stand in the corpus as often as is probable
BAR = 0.03


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
def test_every_probability_of_the_grammar_is_learned(cell: str) -> None:
    grammar = meals.Grammar()
    model = demo.meals_model(cell, grammar.sentences(demo.SENTENCES, seed=0))
    assert demo.worst_error(model, grammar) < BAR


def test_the_demonstration_runs_and_the_answer_turns(tmp_path: Path) -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        result = demo.run(tmp_path, seconds=2.0, seed=0, to_stderr=False)
    assert result["meals"]["predictions"][0]["token"] == "pizza"
    assert result["burgers"]["predictions"][0]["token"] == "burgers"
    for name in ("meals", "burgers"):
        assert result[name]["worst_error"] < BAR
    assert "The answer turned from pizza to burgers." in printed.getvalue()
    assert (
        elman.load(tmp_path / "meals.safetensors").predict_next("I like to eat", 1)[0][0] == "pizza"
    )
    assert len(result["manual"]["text"]) == 404
