"""Worker threads in which models compute: they take turns, and accept a limited number of computations.

Python runs one thread at a time, so a computation that takes seconds would delay every other request. A
computation therefore gives up its turn when the code that computes calls `elman.engine.pauses.pause`
(decision record 0024).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from operator import attrgetter
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from time import monotonic
from typing import TypeVar

from elman.engine.pauses import paced
from elman.serve.http_errors import BusyError

T = TypeVar("T")
SEND_EVERY_SECONDS = 0.02
"""Items that a computation yields within this time are sent together."""
SHORT_SECONDS = 0.05
"""Once a short computation has taken this long, it is ranked like a long one."""
TURN_SECONDS = 0.02
"""Time that a computation keeps its turn before others may compute."""
MAX_HANDICAP_SECONDS = 1.0
"""A computation is ranked as if it had come later by the time that it has computed, at most by this time."""


class _AbandonedError(Exception):
    """The client has gone, so the computation ends."""


class _Computation:
    """A computation in a worker thread, its rank in the queue for turns, and the time it has taken."""

    def __init__(self, turns: _Turns, *, is_short: bool = False) -> None:
        self.is_short, self.is_abandoned, self.turn = is_short, False, Semaphore(0)
        self.rank = (False, 0.0)
        self._turns, self._seconds, self._began = turns, 0.0, 0.0

    def begin_turn(self) -> None:
        """Wait until this computation has the turn."""
        is_slow = not self.is_short or self._seconds > SHORT_SECONDS
        # The smallest rank computes first: short computations before long ones, then the earliest request,
        # as if it had come later by the time that it has computed already.
        self.rank = (is_slow, monotonic() + min(self._seconds, MAX_HANDICAP_SECONDS))
        self._turns.change(waiting=self)
        self.turn.acquire()
        self._began = monotonic()

    def end_turn(self) -> None:
        """Give up the turn."""
        self._seconds += monotonic() - self._began
        self._turns.change(ended=1)

    def pause(self) -> None:
        """Let others compute if this turn has lasted long enough; raise _AbandonedError."""
        if self.is_abandoned:
            raise _AbandonedError
        if monotonic() > self._began + TURN_SECONDS:
            self.end_turn()
            self.begin_turn()


class _Turns:
    """Lets `limit` computations run at once, those that have computed least first, and one more short one."""

    def __init__(self, limit: int) -> None:
        self._limit, self._running, self._lock = limit, 0, Lock()
        self._waiting: list[_Computation] = []

    def change(self, *, waiting: _Computation | None = None, ended: int = 0) -> None:
        """Queue a computation, or count an ended turn; then release the `turn` of those that may begin."""
        with self._lock:
            self._running -= ended
            if waiting is not None:
                self._waiting.append(waiting)
            while self._running <= self._limit:
                # The place beyond the limit is for short computations alone.
                only_short = self._running == self._limit
                ready = [item for item in self._waiting if item.is_short or not only_short]
                if not ready:
                    break
                first = min(ready, key=attrgetter("rank"))
                self._waiting.remove(first)
                self._running += 1
                first.turn.release()


@contextmanager
def _reserved(room: Semaphore) -> Iterator[None]:
    if not room.acquire(blocking=False):
        raise BusyError("busy", remedy="ask again in a second")
    try:
        yield
    finally:
        room.release()


class WorkerThreads:
    """Threads in which computations run in short turns.

    Args:
        limit: Number of computations that run at once; one more may run if it is short.
        room: Number of short computations, and of long ones, that are accepted before BusyError is raised.

    A computation ends at its next pause when its client has gone. The threads are daemons, so that a process
    that is told to stop does not wait for them.
    """

    def __init__(self, limit: int, room: int) -> None:
        self._turns, self._long, self._short = _Turns(limit), Semaphore(room), Semaphore(room)
        self._queue: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._idle, self._threads = Semaphore(0), 0

    async def run(self, compute: Callable[[], T], *, is_short: bool = False) -> T:
        """Return what `compute` returns; raise BusyError if there is no room for it."""
        with _reserved(self._short if is_short else self._long):
            return await self._call(_Computation(self._turns, is_short=is_short), compute)

    def reserve(self) -> AbstractContextManager[None]:
        """Return a context that holds room for a long computation; entering it raises BusyError."""
        return _reserved(self._long)

    async def batches(self, items: Iterator[T]) -> AsyncIterator[list[T]]:
        """Yield the items of an iterator in batches, as a thread computes them, inside ``with reserve()``."""
        computation = _Computation(self._turns)

        def next_batch() -> list[T]:
            end = monotonic() + SEND_EVERY_SECONDS
            batch = []
            for item in items:
                batch.append(item)
                if monotonic() > end:
                    break
            return batch

        while batch := await self._call(computation, next_batch):
            yield batch

    async def _call(self, computation: _Computation, compute: Callable[[], T]) -> T:
        """Run `compute` in a thread; if this coroutine is cancelled, `compute` is skipped or ends early."""
        future: Future[T] = Future()

        def work() -> None:
            computation.begin_turn()
            try:
                # A future that was cancelled while it waited is not computed at all.
                if future.set_running_or_notify_cancel():
                    with paced(computation.pause):
                        future.set_result(compute())
            except BaseException as error:
                future.set_exception(error)
            finally:
                computation.end_turn()

        self._queue.put(work)
        del work  # only the thread keeps it now, so that its arguments are freed afterwards
        # Start a thread only if none is waiting for work.
        if not self._idle.acquire(blocking=False):
            Thread(target=self._work, name="elman-worker", daemon=True).start()
            self._threads += 1
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            computation.is_abandoned = True
            raise

    def _work(self) -> None:
        while (work := self._queue.get()) is not None:
            work()
            del work  # otherwise the thread would keep its arguments until the next one
            self._idle.release()

    def close(self) -> None:
        """End the threads once they have finished what they compute."""
        for _ in range(self._threads):
            self._queue.put(None)
