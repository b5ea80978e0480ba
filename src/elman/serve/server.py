"""Server process: opens the port, runs uvicorn on it, and stops once every accepted request is answered."""

from __future__ import annotations

import signal
import socket
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from types import FrameType

import uvicorn
from starlette.types import ASGIApp

from elman.engine.pauses import one_thread
from elman.errors import OptionError
from elman.inspect.predictor import Predictor
from elman.serve.app import create_app
from elman.serve.protocol import bounded_protocol
from elman.serve.server_metrics import Metrics
from elman.serve.settings import Settings, bracketed, is_any

MAX_OPEN_FILES = 2**16
"""Limit of open files if the system has none."""
RESERVED_FILES = 64
"""Open files that are not connections."""
SWITCH_SECONDS = 0.0005
"""Time after which a thread that runs Python code lets another one run (Python's default is 0.005)."""


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


def bind_socket(host: str, port: int) -> socket.socket:
    """Return a socket bound to an address; raise OptionError if that is not possible."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host.strip("[]"), port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        bound = socket.socket(family, kind, protocol)
        # A server that restarts can take its port again at once.
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.bind(address)
    except (OSError, ValueError) as error:  # ValueError: the host cannot be a name
        is_host = isinstance(error, socket.gaierror | ValueError)
        raise OptionError(
            f"cannot listen on {host}:{port}",
            got=getattr(error, "strerror", None) or error,
            remedy="pass another --host" if is_host else "pass another --port, or 0 for any",
        ) from None
    return bound


def page_url(settings: Settings) -> str:
    """Return the address at which a browser on this machine finds the page.

    >>> page_url(Settings(host="::1", port=80))
    'http://[::1]:80'
    >>> page_url(Settings(host="0.0.0.0", port=80, token="a secret"))
    'http://127.0.0.1:80'
    """
    host = settings.host.strip("[]")
    if is_any(host):
        host = "::1" if ":" in host else "127.0.0.1"
    return f"http://{bracketed(host)}:{settings.port}"


def max_connections() -> int:
    """Raise the limit of open files as far as allowed, and return how many connections it permits."""
    if sys.platform == "win32":
        return MAX_OPEN_FILES
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    unlimited = resource.RLIM_INFINITY
    if soft != unlimited:
        limit = MAX_OPEN_FILES if hard == unlimited else hard
        with suppress(OSError, ValueError):  # a system may allow less than it says
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, limit), hard))
        soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(1, (MAX_OPEN_FILES if soft == unlimited else soft) - RESERVED_FILES)


def uvicorn_config(app: ASGIApp, settings: Settings, metrics: Metrics) -> uvicorn.Config:
    """Return uvicorn's configuration: with our bounds, without logs, and without trust in proxy headers."""
    return uvicorn.Config(
        app,
        interface="asgi3",
        # Not uvloop, even if it is installed: the limits are tested with asyncio.
        loop="asyncio",
        # Further connections are answered with 503 as long as the process can still open files.
        http=bounded_protocol(settings, max_connections(), metrics.count_refused),
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
    models: Mapping[str, Predictor],
    settings: Settings,
    ready: Callable[[Settings], None] = lambda _: None,
) -> None:
    """Serve models until SIGTERM or SIGINT.

    Args:
        models: Predictors, as `elman.load` returns them, by the names in requests.
        settings: The settings; port 0 takes any free port.
        ready: Called when the server accepts requests, with the settings and the actual port.

    Raises:
        OptionError: The address is not available.
        KeyboardInterrupt: The server has stopped after SIGINT.
    """
    bound = bind_socket(settings.host, settings.port)
    # Port 0 let the system choose; the middleware must know the port that Host names.
    settings = replace(settings, port=bound.getsockname()[1])
    app = create_app(models, settings)
    config = uvicorn_config(app, settings, app.metrics)
    # After it has stopped, uvicorn raises the signal again, which must not end the process.
    handler = signal.signal(signal.SIGTERM, lambda *_: None)
    switch_seconds = sys.getswitchinterval()
    # Without this a computing thread delays each answer of the event loop by up to 5 ms.
    sys.setswitchinterval(SWITCH_SECONDS)
    try:
        with one_thread():
            server = _Server(config, lambda: ready(settings))
            server.run([bound])
            # uvicorn raises SIGINT again while its event loop ends, where the signal may be lost.
            if server.interrupted:
                raise KeyboardInterrupt
    finally:
        sys.setswitchinterval(switch_seconds)
        signal.signal(signal.SIGTERM, handler)
        bound.close()
