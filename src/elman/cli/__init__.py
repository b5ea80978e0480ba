"""The command ``elman``.

A command imports numpy, torch and the rest of the package inside its function, so that help appears at once.
"""

from __future__ import annotations

from elman.cli.app import main
from elman.cli.commands import app

__all__ = ["app", "main"]
