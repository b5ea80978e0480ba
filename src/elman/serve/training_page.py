"""The page of a run that goes on, served by a thread beside it, which ends with it."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import uvicorn
from fastapi import FastAPI

from elman.serve.app import create_app
from elman.serve.server import address, configured, listen
from elman.serve.settings import Settings
from elman.serve.training_runs import router, written_at

__all__ = ["Watched"]

OPEN_SECONDS = 5.0
"""A page that asked within it is open: it asks every second."""
LAST_SECONDS = 2.5
"""In which an open page can ask for the end of a run."""


class Watched:
    """The Training panel over one journal, from entering to leaving; raises OptionError without a port.

    A journal that is there already is a run before, which only one that resumes it goes on with.
    """

    def __init__(self, journal: Path, *, resume: bool = False) -> None:
        bound = listen("127.0.0.1", 0)
        # who asks before the thread is ready waits for it
        bound.listen(128)
        settings = Settings(port=bound.getsockname()[1])
        self.url = f"{address(settings)}/?panel=training"
        self._app = create_app({}, settings)
        past = None if resume else written_at(journal)
        cast(FastAPI, self._app.app).include_router(router(journal, past))
        self._asked = 0.0
        config = configured(self._seen, settings, self._app.metrics)
        config.log_level, config.timeout_graceful_shutdown = "critical", 1
        self._bound, self._server = bound, uvicorn.Server(config)
        # a daemon: whatever happens to it, training and its end do not wait
        self._thread = threading.Thread(
            target=lambda: self._server.run([bound]), name="elman-watch", daemon=True
        )

    def __enter__(self) -> Watched:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: BaseException | None, __: TracebackType | None
    ) -> None:
        ended = time.monotonic()
        is_open = ended - self._asked < OPEN_SECONDS
        while is_open and kind is None and time.monotonic() < ended + LAST_SECONDS:
            time.sleep(0.05)
        self._server.should_exit = True
        self._thread.join(2.0)
        self._bound.close()

    async def _seen(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            self._asked = time.monotonic()
        await self._app(scope, receive, send)
