"""The command ``elman``.

A command imports numpy, torch and the rest of the package inside its function, so that help appears at once.
"""

from __future__ import annotations

from elman.cli.main import main

__all__ = ["main"]
