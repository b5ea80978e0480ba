"""Questions to models in threads: who computes when, and how many may be at work at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import Future
from contextlib import AbstractContextManager, contextmanager
from operator import attrgetter
from queue import SimpleQueue
from threading import Lock, Semaphore, Thread
from time import monotonic
from typing import Any, TypeVar

from elman.engine.pauses import paced
from elman.serve.stream_store import BusyError

__all__ = ["Work"]

T = TypeVar("T")
# Seconds of pieces that are sent together.
TOGETHER = 0.02
# Characters, or steps, below which an input is short.
SHORT = 2_000
# Seconds that a short question computes before it has to stand behind new ones.
QUICK = 0.05
# Seconds that a question computes before the others have their turn.
SLICE = 0.02
# Seconds by which a question that has computed for long stands behind a new one, at most.
LARGEST_HANDICAP = 1.0


class _GoneError(Exception):
    """Nobody waits for the answer any more."""


class _Question:
    """One question: how long it has computed, and whether somebody waits for its answer."""

    def __init__(self, turns: _Turns, *, short: bool = False) -> None:
        self.short, self.gone, self.turn = short, False, Semaphore(0)
        self.rank = (False, 0.0)
        self._turns, self._spent, self._began = turns, 0.0, 0.0

    def begin(self) -> None:
        """Wait for a turn."""
        slow = not self.short or self._spent > QUICK
        self.rank = (slow, monotonic() + min(self._spent, LARGEST_HANDICAP))
        self._turns.ask(self)
        self.turn.acquire()
        self._began = monotonic()

    def end(self) -> None:
        """Give the turn up."""
        self._spent += monotonic() - self._began
        self._turns.leave()

    def pause(self) -> None:
        """Let others compute where this has done so for a while; raises _GoneError."""
        if self.gone:
            raise _GoneError
        if monotonic() > self._began + SLICE:
            self.end()
            self.begin()


class _Turns:
    """Lets `most` questions compute at once, first those that have computed least, and a short one more."""

    def __init__(self, most: int) -> None:
        self._most, self._running, self._lock = most, 0, Lock()
        self._waiting: list[_Question] = []

    def ask(self, question: _Question) -> None:
        """Give the question a turn when it is the first."""
        with self._lock:
            self._waiting.append(question)
            self._start()

    def leave(self) -> None:
        """Take a turn back."""
        with self._lock:
            self._running -= 1
            self._start()

    def _start(self) -> None:
        while self._running <= self._most:
            last = self._running == self._most
            able = [one for one in self._waiting if one.short or not last]
            if not able:
                return
            first = min(able, key=attrgetter("rank"))
            self._waiting.remove(first)
            self._running += 1
            first.turn.release()


@contextmanager
def _place(room: Semaphore) -> Iterator[None]:
    """Take one of the places in a room; raises BusyError where none is free."""
    if not room.acquire(blocking=False):
        raise BusyError("busy", remedy="ask again in a second")
    try:
        yield
    finally:
        room.release()


class Work:
    """Threads in which questions compute in short turns: `threads` at once, and one more that is short.

    A question gives its turn up where the code that answers it calls `elman.engine.pauses.pause`, and it ends
    there
    when its client has gone. Short and long questions have `room` for so many each; beyond it BusyError is
    raised. The threads are daemons, so that a process which is told to end does not wait for them.
    """

    def __init__(self, threads: int, room: int) -> None:
        self._turns, self._long, self._short = _Turns(threads), Semaphore(room), Semaphore(room)
        self._asked: SimpleQueue[tuple[Future[Any], _Question, Callable[[], Any]] | None] = (
            SimpleQueue()
        )
        self._idle, self._threads = Semaphore(0), 0

    async def run(self, question: Callable[..., T], *arguments: Any, **options: Any) -> T:
        """Return what `question` returns, asked in a thread."""
        return await self.quick(None, question, *arguments, **options)

    async def quick(self, given: Any, question: Callable[..., T], *arguments: Any, **how: Any) -> T:
        """Return the same of what a person who types waits for, where the input `given` is short."""
        short = given is not None and len(given) < SHORT
        with _place(self._short if short else self._long):
            asked = _Question(self._turns, short=short)
            return await self._call(asked, lambda: question(*arguments, **how))

    def place(self) -> AbstractContextManager[None]:
        """Return what holds a place among the long questions; entering it raises BusyError."""
        return _place(self._long)

    async def whole(self, made: Iterator[T]) -> list[T]:
        """Return all that `made` yields; no more of it is made when nobody waits for it any more."""
        with self.place():
            return [piece async for some in self.pieces(made) for piece in some]

    async def pieces(self, made: Iterator[T]) -> AsyncIterator[list[T]]:
        """Yield what `made` yields, some at a time, as a thread makes it; inside ``with work.place()``."""
        question = _Question(self._turns)

        def some() -> list[T]:
            end, found = monotonic() + TOGETHER, []
            for piece in made:
                found.append(piece)
                if monotonic() > end:
                    break
            return found

        while found := await self._call(question, some):
            yield found

    async def _call(self, question: _Question, answer: Callable[[], T]) -> T:
        """Return what `answer` returns; it is not asked, or ends, where nobody waits for it any more."""
        future: Future[T] = Future()
        self._asked.put((future, question, answer))
        if not self._idle.acquire(blocking=False):
            Thread(target=self._work, name="elman-work", daemon=True).start()
            self._threads += 1
        try:
            return await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            question.gone = True
            raise

    def _work(self) -> None:
        while (asked := self._asked.get()) is not None:
            future, question, answer = asked
            question.begin()
            try:
                if future.set_running_or_notify_cancel():
                    with paced(question.pause):
                        future.set_result(answer())
            except BaseException as error:
                future.set_exception(error)
            finally:
                question.end()
            # what was asked is not held until the next question
            del asked, future, question, answer
            self._idle.release()

    def close(self) -> None:
        """Let the threads end."""
        for _ in range(self._threads):
            self._asked.put(None)
