"""Messages of the command: they name options as they are typed in the shell."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from elman._version import __version__
from elman.cli.commands import COMMANDS
from elman.language.predictor import LanguagePredictor
from factories import make_model as _make


def test_version(run: Any) -> None:
    ran = run("--version")
    assert (ran.code, ran.out) == (0, f"elman {__version__}\n")


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (
            ["train", "x.txt", "--hidden-size", -3],
            "elman: --hidden-size: got -3; expected a whole number from 1 to 16384",
        ),
        (
            ["train", "x.txt", "--time", "3m", "--steps", 5],
            "elman: budget: got --time and --steps; expected one of --time, --epochs, --steps",
        ),
        (
            ["generate", "{model}", "--temperature", -1],
            "elman: --temperature: got -1.0; expected a number from 0",
        ),
        (["bogus"], "elman: No such command 'bogus': `elman --help` lists commands and options"),
        (
            ["serve", "m.safetensors", "--host", "127.0.0.l"],
            "elman: --host: got 127.0.0.l; expected an address that only this machine can reach, "
            "such as 127.0.0.1; to let other machines send requests, give --token-file FILE "
            "or set ELMAN_TOKEN",
        ),
    ],
)
def test_an_error_is_one_line_that_names_options_as_typed(
    run: Any, tmp_path: Path, arguments: list[object], line: str
) -> None:
    model = tmp_path / "m.safetensors"
    LanguagePredictor(_make("gru")).save(model)
    ran = run(*[model if argument == "{model}" else argument for argument in arguments])
    assert (ran.code, ran.out, ran.err) == (2, "", line + "\n")


def test_a_wrong_option_names_the_help_of_its_command(run: Any) -> None:
    ran = run("train", "x.txt", "--levle", "char")
    assert ran.code == 2
    assert ran.err.startswith("elman: No such option: --levle")
    assert "--level" in ran.err
    assert ran.err.endswith("`elman train --help` lists commands and options\n")


def test_a_table_that_needs_an_option_names_it_as_typed(run: Any, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("day,a,b\n" + "2024-01-01,1,2\n2024-01-02,2,3\n2024-01-03,3,4\n" * 3)
    ran = run("train", table, "--horizon", 2, "--target", "a", "-o", tmp_path / "m.safetensors")
    assert ran.code == 2
    assert "pass --duplicates" in ran.err
    assert "duplicates=" not in ran.err
    table.write_text("day;y\n2024-01-01;1,200\n2024-01-02;1,250\n")
    ran = run("train", table, "--horizon", 1)
    assert "pass --decimal . or --decimal ,: the comma of 1,200 is ambiguous" in ran.err


@pytest.mark.parametrize("command", ["predict", "evaluate", "explain"])
def test_an_unknown_kind_of_picture_is_refused_before_any_work(run: Any, command: str) -> None:
    # The model does not exist, so the error shows that the name of the picture is checked first.
    ran = run(command, "none.safetensors", "x", "--plot", "x.xyz")
    assert ran.code == 2
    assert "got x.xyz; expected a name that ends in .svg or .png" in ran.err


@pytest.mark.slow
def test_every_command_has_json(run: Any) -> None:
    for command in COMMANDS:
        assert "--json" in run(command, "--help").out, command
