"""`elman demo`: the networks learn the true probabilities, with every cell."""

from __future__ import annotations

import io
import shutil
import subprocess
from contextlib import redirect_stdout
from pathlib import Path

import pytest

import elman
from elman.cli import demo, main
from elman.language import synthetic_meals

pytestmark = pytest.mark.slow

# Each sentence occurs in the corpus in proportion to its probability, so there is no sampling error.
MAX_PROBABILITY_ERROR = 0.03


@pytest.mark.parametrize("cell", ["rnn", "gru", "lstm", "mingru"])
def test_every_probability_of_the_grammar_is_learned(cell: str) -> None:
    grammar = synthetic_meals.Grammar()
    model = demo.meals_model(cell, grammar.sentences(demo.SENTENCES, seed=0))
    assert demo.worst_error(model, grammar) < MAX_PROBABILITY_ERROR


def test_doubling_a_food_in_the_corpus_changes_the_answer(tmp_path: Path) -> None:
    printed = io.StringIO()
    with redirect_stdout(printed):
        result = demo.run(tmp_path / "own", seconds=2.0, seed=0, to_stderr=False)
    assert result["meals"]["predictions"][0]["token"] == "pizza"
    assert result["burgers"]["predictions"][0]["token"] == "burgers"
    for name in ("meals", "burgers"):
        assert result[name]["worst_error"] < MAX_PROBABILITY_ERROR
    shown = printed.getvalue()
    assert "The answer turned from pizza to burgers." in shown
    meals_file = tmp_path / "own" / "meals.safetensors"
    assert (
        elman.load(meals_file, kind=elman.LanguagePredictor).predict_next("I like to eat", 1)[0][0]
        == "pizza"
    )
    # The deciding word is further back than an n-gram model reads.
    moved = result["moved"]
    assert moved["right"] >= 0.95 * moved["prompts"]
    assert moved["loss"] < moved["ngram_loss"] - 0.1
    assert moved["verdict"] == "better"
    assert "the network beats it by" in shown
    assert [path.name for path in tmp_path.iterdir()] == ["own"]
    assert len(result["manual"]["text"]) == 404


def test_the_command_reads_a_time_as_train_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        main(["demo", "--folder", str(tmp_path / "own"), "--time", "3 parsecs"])
    assert left.value.code == 2
    said = capsys.readouterr().err
    assert said.startswith("elman: --time: got 3 parsecs; expected a span of time such as")
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(shutil.which("make") is None, reason="needs make")
def test_the_demonstration_installs_no_tools_of_the_tests() -> None:
    root = Path(__file__).parents[2]

    def steps(goal: str) -> str:
        make = ["make", "--dry-run", "VENV=none-yet", goal]
        return subprocess.run(make, cwd=root, capture_output=True, text=True, check=True).stdout

    assert '--editable ".[train,plot,serve]"' in steps("demo")
    assert ",test]" not in steps("demo")
    assert ",test]" in steps("test")
