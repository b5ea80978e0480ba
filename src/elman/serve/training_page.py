"""Page of a training run in progress, served by a thread beside the training and closed with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvicorn
from starlette.types import Receive, Scope, Send

from elman.serve.app import create_app
from elman.serve.server import bind_socket, page_url, uvicorn_config
from elman.serve.settings import Settings
from elman.serve.training_runs import modified_at, runs_router

OPEN_SECONDS = 5.0
"""A page that sent a request within this time is still open: it sends one every second."""
LAST_SECONDS = 2.5
"""Time for an open page to read the end of the run before the server stops."""


@contextmanager
def training_page(journal: Path, *, resume: bool = False) -> Iterator[str]:
    """Serve a page whose Training panel shows one journal, and yield its address.

    Args:
        journal: File in which the run records its events. If it exists, it belongs to an earlier run and is
            shown only once this run writes to it.
        resume: Whether the run continues the existing journal, which is then shown at once.

    Raises:
        OptionError: No port is free.
    """
    bound = bind_socket("127.0.0.1", 0)
    # Connections that arrive before the thread accepts them wait in this queue.
    bound.listen(128)
    settings = Settings(port=bound.getsockname()[1])
    earlier = None if resume else modified_at(journal)
    app = create_app({}, settings, runs_router(journal, earlier))
    last_request = 0.0

    async def note_request(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal last_request
        if scope["type"] == "http":
            last_request = time.monotonic()
        await app(scope, receive, send)

    config = uvicorn_config(note_request, settings, app.metrics)
    config.log_level, config.timeout_graceful_shutdown = "critical", 1
    server = uvicorn.Server(config)
    # A daemon thread: the end of the process does not wait for it.
    thread = threading.Thread(target=server.run, args=([bound],), name="elman-watch", daemon=True)
    thread.start()
    try:
        yield f"{page_url(settings)}/?panel=training"
        # An error of the training skips this: then nobody needs to read the end of the run.
        ended = time.monotonic()
        is_open = ended - last_request < OPEN_SECONDS
        while is_open and time.monotonic() < ended + LAST_SECONDS:
            time.sleep(0.05)
    finally:
        server.should_exit = True
        thread.join(2.0)
        bound.close()
