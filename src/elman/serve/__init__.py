"""HTTP server for trained models: the API that ``docs/serve.md`` describes, and the page, without torch.

Importing this package raises MissingDependencyError if the extra `serve` is not installed.
"""

from __future__ import annotations

from importlib import import_module

from elman.errors import MissingDependencyError, installing

try:
    for _name in ("fastapi", "httptools", "prometheus_client", "uvicorn"):
        import_module(_name)
except ImportError as error:
    raise MissingDependencyError("serving", got=error, remedy=installing("serve")) from error

__all__ = []
