"""Models answer over HTTP, on this machine: the API of ``docs/serve.md`` and the page; torch is never loaded.

Raises MissingDependencyError where the extra `serve` is not installed.
"""

from __future__ import annotations

from elman._errors import MissingDependencyError

try:
    import fastapi as _fastapi
    import httptools as _httptools
    import prometheus_client as _prometheus_client
    import uvicorn as _uvicorn
except ImportError as error:
    raise MissingDependencyError(
        "serving", got=error, remedy='pip install "elman[serve]"'
    ) from error

__all__ = ["REQUIRED"]

REQUIRED = (_fastapi, _httptools, _prometheus_client, _uvicorn)
"""The packages that every part of it needs."""
