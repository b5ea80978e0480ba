"""A server as a process: it listens, says where, and ends when it is told to, with every request answered."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import FrameType
from typing import Any

import uvicorn

from elman.engine.pauses import one_thread
from elman.errors import OptionError
from elman.serve.app import create_app
from elman.serve.metrics import Metrics
from elman.serve.protocol import bounded
from elman.serve.settings import Settings, bracketed, is_any

__all__ = ["address", "configured", "listen", "most_connections", "serve"]

MOST_FILES = 2**16
"""Open at once, where the system names no limit."""
SWITCH_SECONDS = 0.0005
"""For which a thread that computes in Python keeps the interpreter from others; 0.005 by default."""
OTHER_FILES = 64
"""That are open beside connections."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, ready: Callable[[], None]) -> None:
        super().__init__(config)
        self._ready = ready
        self.interrupted = False

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self.interrupted |= sig == signal.SIGINT
        super().handle_exit(sig, frame)

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._ready()


def listen(host: str, port: int) -> socket.socket:
    """Return a socket that is bound there; raises OptionError where that cannot be."""
    try:
        family, kind, number, _, place = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, number)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(place)
    except (OSError, ValueError) as error:  # ValueError: a name that cannot be one
        got = getattr(error, "strerror", None) or error
        what, remedy = f"cannot listen on {host}:{port}", "pass another --port, or 0 for any"
        if isinstance(error, socket.gaierror | ValueError):
            remedy = "pass another --host"
        raise OptionError(what, got=got, remedy=remedy) from None
    return bound


def address(settings: Settings) -> str:
    """Return the address of the page, on this machine where the server listens on every address.

    >>> address(Settings(host="::1", port=80))
    'http://[::1]:80'
    >>> address(Settings(host="0.0.0.0", port=80, token="a secret"))
    'http://127.0.0.1:80'
    """
    host = settings.host.strip("[]")
    if is_any(host):
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://{bracketed(host)}:{settings.port}"


def most_connections() -> int:
    """Let the process open as many files as it may, and return how many connections that leaves."""
    if sys.platform == "win32":
        return MOST_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY:
        most = MOST_FILES if hard == resource.RLIM_INFINITY else hard
        with suppress(OSError, ValueError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (MOST_FILES if soft == resource.RLIM_INFINITY else soft) - OTHER_FILES)


def configured(app: Any, settings: Settings, metrics: Metrics) -> uvicorn.Config:
    """Return how uvicorn is to run an application: bounded, quiet, and trusting no header."""
    return uvicorn.Config(
        app,
        interface="asgi3",
        # whatever else is installed
        loop="asyncio",
        # one connection more is answered 503, where accepting it could fail
        http=bounded(settings, most_connections(), metrics.refused),
        ws="none",
        lifespan="on",
        log_config=None,
        log_level="error",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=int(settings.keep_alive_seconds),
        timeout_graceful_shutdown=int(settings.grace_seconds),
    )


def serve(
    models: Mapping[str, Any],
    settings: Settings,
    ready: Callable[[Settings], None] = lambda _: None,
) -> None:
    """Serve predictors by name until SIGTERM or SIGINT; `ready` is told the settings with the true port.

    Raises OptionError where it cannot listen, KeyboardInterrupt after SIGINT.
    """
    bound = listen(settings.host, settings.port)
    settings = replace(settings, port=bound.getsockname()[1])
    app = create_app(models, settings)
    config = configured(app, settings, app.metrics)
    # uvicorn ends well, and then lets the signal do what it did before
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with one_thread():
            server = _Server(config, lambda: ready(settings))
            server.run([bound])
            # uvicorn raises the signal again as its loop ends, where it may be lost
            if server.interrupted:
                raise KeyboardInterrupt
    finally:
        sys.setswitchinterval(interval)
        signal.signal(signal.SIGTERM, before)
        bound.close()
