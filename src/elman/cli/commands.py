"""Table of commands, in the order in which ``elman --help`` lists them, each imported when it runs."""

from __future__ import annotations

from collections.abc import Sequence
from importlib import import_module

import typer

from elman.cli.app import app
from elman.cli.task_options import TrainCommand

# The options of all commands together take longer to make than most predictions.
COMMANDS = {
    command: f"elman.cli.{command}"
    for command in (
        *("train", "tune", "predict", "generate", "evaluate", "explain", "units", "score"),
        *("serve", "export", "quantize", "info"),
    )
} | {
    "demo": "elman.cli.info",
    "bench": "elman.cli.info",
    "reproduce": "elman.cli.reproduce",
}
"""The module of each command, in which the function of this name is."""


def command_of(arguments: Sequence[str]) -> str | None:
    """Return the command among the arguments, None where they name none.

    >>> command_of(["predict", "model.safetensors", "I like"]), command_of(["--help"])
    ('predict', None)
    """
    return next((argument for argument in arguments if argument in COMMANDS), None)


def application(name: str | None = None) -> typer.Typer:
    """Return the application with the command `name`, or with all commands."""
    app.registered_commands = []
    for command in COMMANDS if name is None else (name,):
        function = getattr(import_module(COMMANDS[command]), command)
        kind = TrainCommand if command in ("train", "tune") else None
        app.command(command, cls=kind)(function)
    return app
