"""The command: a table of commands, each a few lines over what the package does.

Nothing heavy is imported before a command needs it, so that help comes at once.
"""

from __future__ import annotations

from elman.cli import answer, explain, house, serve, train, units
from elman.cli._app import app, main

__all__ = ["answer", "app", "explain", "house", "main", "serve", "train", "units"]
