"""Questions in a few threads: at most so many at once, the others are told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from queue import SimpleQueue
from threading import Thread
from time import monotonic
from typing import Any, TypeVar

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from elman.serve.streams import BusyError

__all__ = ["WhileWanted", "Work"]

T = TypeVar("T")
# Seconds of pieces that are sent together.
TOGETHER = 0.02
# Characters, or steps, below which an input is short.
SHORT = 2_000
# Seconds of work after which it is watched whether the client is still there.
PATIENCE = 0.05


class _Lane:
    """Threads that take questions in turn; beyond `room` at once BusyError is raised.

    The threads are daemons, so that a process which is told to end does not wait for them.
    """

    def __init__(self, threads: int, room: int) -> None:
        self._asked: SimpleQueue[tuple[Future[Any], Callable[[], Any]] | None] = SimpleQueue()
        self._threads = [
            Thread(target=self._work, name="elman-work", daemon=True) for _ in range(threads)
        ]
        self._room = room
        self._at_work = 0
        for thread in self._threads:
            thread.start()

    def __enter__(self) -> _Lane:
        if self._at_work >= self._room:
            raise BusyError("busy", remedy="ask again in a second")
        self._at_work += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._at_work -= 1

    async def call(self, question: Callable[[], T]) -> T:
        """Return what `question` returns; it is not asked where nobody waits for it any more."""
        future: Future[T] = Future()
        self._asked.put((future, question))
        return await asyncio.wrap_future(future)

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            future, question = asked
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(question())
                except BaseException as error:
                    future.set_exception(error)
            # what was asked is not held until the next question
            del asked, future, question

    def close(self) -> None:
        for _ in self._threads:
            self._asked.put(None)


class Work:
    """Threads for what takes long, and one more for short questions, which never wait for the others.

    Each of the two has `room` for so many questions at once; beyond it BusyError is raised.
    """

    def __init__(self, threads: int, room: int) -> None:
        self._long, self._short = _Lane(threads, room), _Lane(1, room)

    async def run(self, question: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Return what `question` returns, asked in a thread."""
        with self._long as lane:
            return await lane.call(lambda: question(*arguments, **options))

    async def quick(self, given: Any, question: Callable[..., T], *arguments: Any) -> T:
        """Return the same of what a person who types waits for, where the input `given` is short."""
        short = given is not None and len(given) < SHORT
        with self._short if short else self._long as lane:
            return await lane.call(lambda: question(*arguments))

    def __enter__(self) -> None:
        self._long.__enter__()

    def __exit__(self, *_: object) -> None:
        self._long.__exit__()

    async def whole(self, made: Iterator[T]) -> list[T]:
        """Return all that `made` yields; no more of it is made when nobody waits for it any more."""
        with self:
            return [piece async for some in self.pieces(made) for piece in some]

    async def pieces(self, made: Iterator[T]) -> AsyncIterator[list[T]]:
        """Yield what `made` yields, some at a time, as it is made in a thread; inside ``with work``."""

        def some() -> list[T]:
            end, found = monotonic() + TOGETHER, []
            for piece in made:
                found.append(piece)
                if monotonic() > end:
                    break
            return found

        while found := await self._long.call(some):
            yield found

    def close(self) -> None:
        """Let the threads end."""
        self._long.close()
        self._short.close()


class WhileWanted:
    """An application whose work on a request ends when the client has gone; uvicorn only tells of it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, as long as somebody waits for the answer."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        loop, answering = asyncio.get_running_loop(), asyncio.current_task()
        handle: asyncio.Handle | None = None
        watching: asyncio.Task[None] | None = None
        gone = False

        async def watch() -> None:
            nonlocal gone
            while (await receive())["type"] != "http.disconnect":
                pass
            gone = True
            if answering is not None:
                answering.cancel()

        def begin() -> None:
            nonlocal watching
            watching = loop.create_task(watch())

        async def received() -> Message:
            nonlocal handle
            event = await receive()
            if handle is None and not event.get("more_body", False):
                # most are answered before anybody could have gone
                handle = loop.call_later(PATIENCE, begin)
            return event

        try:
            await self.app(scope, received, send)
        except asyncio.CancelledError:
            if not gone or answering is None or answering.uncancel():
                raise
        finally:
            if handle is not None:
                handle.cancel()
            if watching is not None:
                watching.cancel()
