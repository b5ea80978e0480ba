"""Long questions, in a few threads: at most so many at once, the others are told to come back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from time import monotonic
from typing import Any, TypeVar

from elman.serve.streams import BusyError

__all__ = ["Work"]

T = TypeVar("T")
# Seconds of pieces that are sent together.
TOGETHER = 0.02


class Work:
    """Threads for what takes long; beyond `room` questions at once BusyError is raised."""

    def __init__(self, threads: int, room: int) -> None:
        self._threads = ThreadPoolExecutor(threads, "elman-work")
        self._room = room
        self._at_work = 0

    async def run(self, question: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Return what `question` returns, asked in a thread."""
        with self:
            return await self._call(lambda: question(*arguments, **options))

    def __enter__(self) -> None:
        if self._at_work >= self._room:
            raise BusyError("busy", remedy="ask again in a second")
        self._at_work += 1

    def __exit__(self, *_: object) -> None:
        self._at_work -= 1

    async def pieces(self, made: Iterator[T]) -> AsyncIterator[list[T]]:
        """Yield what `made` yields, some at a time, as it is made in a thread; inside ``with work``."""

        def some() -> list[T]:
            end, found = monotonic() + TOGETHER, []
            for piece in made:
                found.append(piece)
                if monotonic() > end:
                    break
            return found

        while found := await self._call(some):
            yield found

    async def _call(self, question: Callable[[], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, question)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.shutdown(wait=False, cancel_futures=True)
