"""Table of commands, in the order in which ``elman --help`` lists them, each imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import typer

from elman.cli.app import app
from elman.cli.task_options import TrainCommand

# The options of all commands together take longer to make than most predictions.
_NAMES = (
    *("train", "tune", "predict", "generate", "evaluate", "explain", "units", "score", "serve"),
    *("export", "quantize", "info", "demo", "bench", "reproduce"),
)
COMMANDS = {name: f"elman.cli.{name}" for name in _NAMES}
COMMANDS |= dict.fromkeys(("demo", "bench"), "elman.cli.info")
"""The module in which the function of each command is; the function has the command's name."""


def command_of(arguments: Sequence[str]) -> str | None:
    """Return the command that the arguments run, None where the first argument names none.

    >>> command_of(["predict", "model.safetensors", "I like"]), command_of(["--help", "predict"])
    ('predict', None)
    """
    return arguments[0] if arguments and arguments[0] in COMMANDS else None


def application(name: str | None = None) -> typer.Typer:
    """Return the application with the command `name`, or with all commands."""
    app.registered_commands = []
    for command in COMMANDS if name is None else (name,):
        function = getattr(import_module(COMMANDS[command]), command)
        kind = TrainCommand if command in ("train", "tune") else None
        app.command(command, cls=kind)(function)
    return app
