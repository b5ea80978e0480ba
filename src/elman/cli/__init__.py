"""The command: a table of commands, each a few lines over what the package does.

Nothing heavy is imported before a command needs it, so that help comes at once.
"""

from __future__ import annotations

from elman.cli import explain, info, predict, serve, train, units
from elman.cli.app import app, main

__all__ = ["app", "explain", "info", "main", "predict", "serve", "train", "units"]
