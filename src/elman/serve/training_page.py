"""Page of a training run in progress, served by a thread beside the training and closed with it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType

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


class TrainingPage:
    """Context in which the Training panel shows one journal; raises OptionError if no port is free.

    Args:
        journal: File in which the run records its events. If it exists, it belongs to an earlier run and is
            shown only once this run writes to it.
        resume: Whether the run continues the existing journal, which is then shown at once.
    """

    def __init__(self, journal: Path, *, resume: bool = False) -> None:
        bound = bind_socket("127.0.0.1", 0)
        # connections that arrive before the thread accepts them wait in this queue
        bound.listen(128)
        settings = Settings(port=bound.getsockname()[1])
        self.url = f"{page_url(settings)}/?panel=training"
        earlier = None if resume else modified_at(journal)
        self._app = create_app({}, settings, runs_router(journal, earlier))
        self._last_request = 0.0
        config = uvicorn_config(self._note_request, settings, self._app.metrics)
        config.log_level, config.timeout_graceful_shutdown = "critical", 1
        self._bound, self._server = bound, uvicorn.Server(config)
        # a daemon thread: training never waits for it
        self._thread = threading.Thread(
            target=lambda: self._server.run([bound]), name="elman-watch", daemon=True
        )

    def __enter__(self) -> TrainingPage:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        ended = time.monotonic()
        is_open = ended - self._last_request < OPEN_SECONDS
        # After an error of the training nobody needs to read the end of the run.
        while is_open and kind is None and time.monotonic() < ended + LAST_SECONDS:
            time.sleep(0.05)
        self._server.should_exit = True
        self._thread.join(2.0)
        self._bound.close()

    async def _note_request(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._last_request = time.monotonic()
        await self._app(scope, receive, send)
