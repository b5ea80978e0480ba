"""``elman tune``: a race whose survivors train on, for every task; its resumption and refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import elman
from elman.files.model import Model
from elman.training import tuning
from elman.training.journal import Run
from elman.training.trainer import Outcome, PausedRunError

SMALL = ("--hidden-size", 6, "--num-layers", 1, "--threads", 1, "--time", "4s")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with data, where short races have several configurations."""
    monkeypatch.setattr(tuning, "MIN_RUNG_SECONDS", 0.2)
    draw = np.random.default_rng(0)
    words = draw.choice(["tea", "rice", "pizza", "I", "you", "like", "hate"], (300, 4))
    (tmp_path / "text.txt").write_text("\n".join(map(" ".join, words)) + "\n")
    rows = [
        f"{word} {draw.choice(['a', 'b'])},{word}" for word in draw.choice(["good", "bad"], 200)
    ]
    (tmp_path / "texts.csv").write_text("\n".join(["text,label", *rows]) + "\n")
    values = 10 + np.sin(np.arange(150) / 2) + 0.1 * draw.normal(size=150)
    days = np.datetime64("2024-01-01") + np.arange(150)
    lines = [f"{day},{value}" for day, value in zip(days, values, strict=True)]
    (tmp_path / "series.csv").write_text("\n".join(["day,sales", *lines]) + "\n")
    return tmp_path


@pytest.mark.parametrize(
    ("file", "options"),
    [
        ("text.txt", ("--level", "word")),
        ("texts.csv", ("--text", "text", "--label", "label")),
        ("series.csv", ("--horizon", 3, "--members", 1)),
    ],
)
def test_every_task_is_tuned(
    run: Any, folder: Path, file: str, options: tuple[object, ...]
) -> None:
    output = folder / "m.safetensors"
    ran = run("tune", folder / file, *options, *SMALL, "-o", output, "--json")
    assert not ran.code, ran.err
    table = ran.json["tuning"]
    assert ran.json["card"]["tuning"] == table
    assert [len(one["measures"]) for one in table].count(2) == 2
    assert len(table) == 4
    assert table[0]["changes"] == {}
    assert all("hidden_size" not in one["changes"] for one in table)
    best = min(
        (one for one in table if len(one["measures"]) == 2), key=lambda one: one["measures"][-1]
    )
    model = elman.load(output).model
    for name, value in best["changes"].items():
        assert model.card["settings"][name] == value
    # The winner took three quarters of the time, and nothing is left beside the model.
    assert sorted(path.name for path in folder.glob("m.*")) == ["m.safetensors"]
    assert "rung 1: " in ran.err
    assert "the defaults" in ran.err


def test_budgets_that_do_not_fit_are_refused(run: Any, folder: Path) -> None:
    ran = run("tune", folder / "text.txt", "--steps", 5)
    assert (ran.code, ran.err) == (2, "elman: --steps: got it in a tuning; expected --time\n")
    ran = run("tune", folder / "text.txt", "-o", folder / "m.safetensors", "--resume")
    assert "--resume: got no" in ran.err


class StoppedError(Exception):
    """Stands for a kill."""


def test_an_interrupted_tuning_resumes(folder: Path) -> None:
    calls: list[tuple[str, bool]] = []
    fails = {"3.safetensors"}

    def train(values: Any, run: Run) -> Outcome:
        """Train a linear configuration: the measure is its rate, and each rung improves it."""
        assert run.output is not None
        assert run.watch is not None
        name = run.output.name
        calls.append((name, run.resume))
        if name in fails:
            fails.remove(name)
            raise StoppedError
        rate = float(values.get("learning_rate", 1.0))
        run.watch({"event": "start", "plan": {"learning_rate": 1.0}, "network": {}})
        run.watch({"event": "evaluation", "measure": rate / (2 if run.resume else 1)})
        if run.pause is not None:
            run.output.with_suffix(".checkpoint").mkdir(exist_ok=True)
            raise PausedRunError
        model = Model.load(Path(__file__).parent.parent / "golden" / "gru-1.safetensors")
        return Outcome(model, "budget")

    said: list[str] = []
    variations = [{"learning_rate": factor} for factor in (2, 0.5, 4)]

    def tuned(seconds: float = 40.0, file: str = "a.txt", **values: float) -> tuning.Tuning:
        data, output = {"files": [file]}, folder / "m.safetensors"
        return tuning.Tuning(train, values, variations, seconds, output, data)

    with pytest.raises(StoppedError):
        tuned().run(resume=False, say=said.append, watch=lambda event: None)
    state = json.loads((folder / "m.tuning" / "race.json").read_text())
    assert [one["measures"] for one in state["candidates"]] == [[1.0], [2.0], [0.5], []]
    others = [
        (
            tuned(80.0),
            "another time than the interrupted tuning: got 80.0; expected 40.0; or remove",
        ),
        (tuned(batch_size=8), "another batch_size than .*: got 8; expected nothing; or remove"),
        (
            tuned(file="b.txt"),
            "another files than .*: got .'b.txt'.; expected .'a.txt'.; or remove",
        ),
    ]
    for other, message in others:
        with pytest.raises(elman.InputError, match=rf"^--resume with {message} .*m.tuning$"):
            other.run(resume=True, say=said.append, watch=lambda event: None)
    calls.clear()
    outcome = tuned().run(resume=True, say=said.append, watch=lambda event: None)
    # Only the interrupted configuration is trained again; the better half goes on, then the best one.
    assert calls == [
        ("3.safetensors", False),
        ("2.safetensors", True),
        ("0.safetensors", True),
        ("2.safetensors", True),
    ]
    assert outcome.model.card["tuning"][2] == {
        "changes": {"learning_rate": 0.5},
        "measures": [0.5, 0.25],
    }
    assert "training to the end: learning_rate 0.5" in said
    assert not (folder / "m.tuning").exists()


def test_a_tuning_that_measured_nothing_yet_resumes_with_the_same_options(folder: Path) -> None:
    def stopped(values: Any, run: Run) -> Outcome:
        raise StoppedError

    def run(seconds: float, resume: bool) -> None:
        race = tuning.Tuning(stopped, {}, [{"dropout": 2}], seconds, folder / "m.safetensors")
        race.run(resume=resume, say=lambda line: None, watch=lambda event: None)

    for resume in (False, True):
        with pytest.raises(StoppedError):
            run(40, resume)
    with pytest.raises(elman.InputError, match=r"another time .*: got 50; expected 40"):
        run(50, True)


def test_a_paused_run_goes_on_as_if_it_had_not_paused(folder: Path) -> None:
    text = folder / "text.txt"
    how: dict[str, Any] = {
        "level": "word",
        "hidden_size": 6,
        "steps": 120,
        "threads": 1,
        "dropout": 0.3,
    }
    whole = elman.LanguageModel(**how).fit(text)
    model = elman.LanguageModel(**how)
    output = folder / "m.safetensors"
    run = Run(output, pause=0.05)
    with pytest.raises(PausedRunError):
        model._learn(text, None, None, run, False)
    assert not output.exists()
    model.fit(text, output=output, resume=True)
    assert model.model_.digest() == whole.model_.digest()
