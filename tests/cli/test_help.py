"""`elman --help`, the help of `train` for all tasks and for one task, and completion in the shell."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

import pytest

from elman.task_types import ReadingOptions
from elman.tasks import TASKS

OPTIONS = {name: set(task.options.defaults()) for name, task in TASKS.items()}
EVERY = {
    name: {*task.options.defaults(), *task.command_options["train"].defaults()}
    for name, task in TASKS.items()
}
SHARED = set.intersection(*OPTIONS.values())


@pytest.fixture(autouse=True)
def wide_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the help from breaking names of options over two lines."""
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 400)


def has_option(text: str, name: str) -> bool:
    flag = "--" + name.replace("_", "-")
    return any(flag in line.replace(",", " ").split() for line in text.splitlines())


def test_commands_are_listed_in_the_order_of_their_use(run: Any) -> None:
    ran = run("--help")
    commands = ran.out[ran.out.index("Commands") :]
    names = [
        "train",
        "tune",
        "predict",
        "generate",
        "evaluate",
        "explain",
        "units",
        "score",
        "serve",
        "export",
    ]
    names += ["quantize", "info", "demo", "bench", "reproduce"]
    assert [line.split()[1] for line in commands.splitlines()[1 : len(names) + 1]] == names


def test_the_help_of_train_has_a_panel_for_each_kind_of_data(run: Any) -> None:
    text = run("train", "--help-all").out
    for task in TASKS.values():
        assert task.panel in text
    for name in set.union(*OPTIONS.values()):
        assert has_option(text, name), name
    shared, rest = text.split(TASKS["language"].panel)
    for name in SHARED:
        assert has_option(shared, name)
        assert not has_option(rest, name)


def test_the_help_of_train_fits_on_two_screens(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 100)
    text = run("train", "--help").out
    assert text.count("\n") <= 100
    explained, named = text.split("Further options, explained by --help-all:")
    for task in TASKS.values():
        assert task.panel in explained
        for field in task.options.declared():
            rare = field.metadata["details"].get("rare", False)
            # An option that is rare for one task may be usual for another.
            assert has_option(explained, field.name) or (rare and has_option(named, field.name))


@pytest.mark.slow
@pytest.mark.parametrize("name", TASKS)
def test_the_help_of_a_task_shows_only_its_options(run: Any, name: str) -> None:
    text = run("train", "--task", name, "--help").out
    for option in EVERY[name]:
        assert has_option(text, option), option
    for option in set.union(*EVERY.values()) - EVERY[name]:
        assert not has_option(text, option), option


@pytest.mark.slow
def test_the_shell_completes_commands_and_options() -> None:
    environment = os.environ | {"_ELMAN_COMPLETE": "complete_bash", "COMP_CWORD": "1"}
    command = [sys.executable, "-c", "from elman.cli import main; main([])"]
    for words, completed in (("elman tra", "train"), ("elman expl", "explain")):
        environment["COMP_WORDS"] = words
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, check=True, timeout=60
        )
        assert done.stdout.split() == [completed]


@pytest.mark.slow
def test_the_help_shows_the_default_of_each_task(run: Any) -> None:
    text = " ".join(run("train", "--help-all").out.split())
    assert "recurrent cell (default: lstm for text, labels; gru for series)" in text
    for name, task in TASKS.items():
        text = " ".join(run("train", "--task", name, "--help").out.split())
        assert f"recurrent cell (default: {task.options.defaults()['cell']})" in text
        for field in task.options.declared():
            if field.name not in (*ReadingOptions.defaults(), "id_column", "time_column"):
                assert field.metadata["help"] in text, field.name
