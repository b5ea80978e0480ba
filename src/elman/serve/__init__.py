"""HTTP server for trained models: the API that ``docs/serve.md`` describes, and the page, without torch."""

from __future__ import annotations

from importlib import import_module

from elman.errors import MissingDependencyError, installing

__all__ = ["check_installed"]


def check_installed() -> None:
    """Raise MissingDependencyError if the extra `serve` is not installed."""
    try:
        for name in ("fastapi", "httptools", "prometheus_client", "uvicorn"):
            import_module(name)
    except ImportError as error:
        raise MissingDependencyError("serving", got=error, remedy=installing("serve")) from error
