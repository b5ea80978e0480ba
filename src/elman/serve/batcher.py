"""Requests of many streams, read together: each product with the weights serves all that wait."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NamedTuple

import numpy as np

from elman.errors import InputError
from elman.language.network import Network
from elman.language.pool import StreamPool
from elman.language.sampling import Predictions
from elman.language.stream import Readable, Stream, token_numbers

__all__ = ["Answer", "Batcher", "Job", "Origin", "StaleError"]

# Tokens that a stream reads before the others have their turn again.
TURN = 64


class StaleError(InputError):
    """A request of a stream is not the next one, or nobody can say where the stream is."""

    status = 409


class Answer(NamedTuple):
    """Where a stream is after a request, and what it said there."""

    position: int
    predictions: Predictions
    state: bytes | None


class Origin(NamedTuple):
    """Where a stream begins: at state zero, or where another one was."""

    state: bytes | None = None
    position: int = 0


@dataclass(eq=False, slots=True)
class Job:
    """One request of a stream: begin where it says, read, and answer."""

    slot: int
    readable: Readable = ""
    k: int = 0
    """Predictions wanted."""
    seq: int | None = None
    """The request's number in the stream, from 0."""
    begin: Origin | None = None
    """Begin there; else go on."""
    pack: bool = False
    """Answer with the state."""
    future: asyncio.Future[Answer] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    numbers: np.ndarray = field(default_factory=lambda: np.empty(0, np.int64))
    digest: int = 0
    """Of its numbers."""
    read: int = 0
    """How many of its numbers were read."""
    started: bool = False


class Batcher:
    """The streams of one model in numbered slots, moved by one thread.

    Requests of a slot are answered in the order of `submit`, those of different slots together; a long
    text is read in turns with the others. Every answer is that of a `Stream` alone, bit for bit (to
    rounding without the kernel). A request counts as read, with its number, when all of it is; a fault
    before leaves its stream where it was, or else answering nothing but StaleError. `observe` is told
    how many streams and tokens each product had.
    """

    def __init__(
        self, network: Network, window: float, observe: Callable[[int, int], None] = lambda *_: None
    ) -> None:
        self.network = network
        self._pool = StreamPool(network, 1)
        self._position = np.zeros(1, np.int64)
        # of each slot's last numbered request: its number and its digest
        self._seq, self._digest = np.full(1, -1), np.zeros(1, np.int64)
        # slots whose streams a fault has left in the middle of a request
        self._broken: set[int] = set()
        self._window, self._observe = window, observe
        self._arrived: SimpleQueue[Job | None] = SimpleQueue()
        self._lanes: dict[int, deque[Job]] = {}
        self._thread: threading.Thread | None = None

    def submit(self, job: Job) -> asyncio.Future[Answer]:
        """Return the future of a job's answer, InputError in it where the job cannot be done."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="elman-streams", daemon=True)
            self._thread.start()
        self._arrived.put(job)
        return job.future

    def close(self) -> None:
        """Answer what was submitted, then end the thread."""
        if self._thread is not None:
            self._arrived.put(None)
            self._thread.join()
            self._thread = None

    def _work(self) -> None:
        going = True
        while going or self._lanes:
            if not self._lanes:
                going = self._take(self._arrived.get())
                # others that come now share the product
                time.sleep(self._window)
            while going:
                try:
                    going = self._take(self._arrived.get_nowait())
                except Empty:
                    break
            done = self._round()
            for loop in {job.future.get_loop() for job, _ in done}:
                with suppress(RuntimeError):  # a loop that is closed waits for nothing
                    loop.call_soon_threadsafe(_resolve, loop, done)

    def _take(self, job: Job | None) -> bool:
        if job is not None:
            self._lanes.setdefault(job.slot, deque()).append(job)
        return job is not None

    def _round(self) -> list[tuple[Job, Answer | Exception]]:
        """Let every slot's first request read a block; return those that are done."""
        turn = [lane[0] for lane in self._lanes.values()]
        done: list[tuple[Job, Answer | Exception]] = []
        going = []
        for job in turn:
            try:
                if not job.started:
                    self._start(job)
                going.append(job)
            except Exception as error:
                done.append((job, error))
        done += self._read(going)
        for job, _ in done:
            lane = self._lanes[job.slot]
            lane.popleft()
            if not lane:
                del self._lanes[job.slot]
        return done

    def _start(self, job: Job) -> None:
        slot, pool = job.slot, self._pool
        held = len(self._seq)
        if slot >= held:
            # by little, so that many streams cost little more than their states
            more = max(slot + 1 - held, held // 64, 256)
            position, digest = (np.pad(one, (0, more)) for one in (self._position, self._digest))
            seq = np.pad(self._seq, (0, more), constant_values=-1)
            pool.add(more)
            self._position, self._seq, self._digest = position, seq, digest
        numbers = token_numbers(pool.codec, job.readable)
        job.digest = hash(numbers.tobytes())
        last = int(self._seq[slot])
        if job.begin is not None:
            stream = Stream(self.network)
            if job.begin.state is not None:
                stream.state = job.begin.state
            pool.put(slot, stream)
            self._position[slot], self._seq[slot] = job.begin.position, -1
            self._broken.discard(slot)
        elif slot in self._broken:
            remedy = "delete it, and begin another"
            raise StaleError("a fault left the stream within a request", remedy=remedy)
        elif job.seq is None:
            if last >= 0 and len(numbers):
                raise StaleError("seq", got="none", expected=f"{last + 1}, for the last had one")
        elif job.seq == last and job.digest == self._digest[slot]:
            numbers = numbers[:0]  # it was read; only its answer was lost
        elif job.seq == last:
            expected = f"what {last} was before, or {last + 1}"
            raise StaleError("seq", got=f"{last} with another input", expected=expected)
        elif job.seq != last + 1:
            expected = f"{last + 1}, or {last} again" if last >= 0 else "0 first"
            raise StaleError("seq", got=job.seq, expected=expected)
        job.numbers, job.readable, job.started = numbers, "", True

    def _read(self, jobs: list[Job]) -> list[tuple[Job, Answer | Exception]]:
        """Let each read a block, and answer those that have read all; a fault answers its own job."""
        faults: dict[Job, Exception] = {}
        reading = [job for job in jobs if job.read < len(job.numbers)]
        try:
            self._feed(reading)
        except Exception:
            # whose fault it was shows when each is alone
            for job in reading:
                try:
                    self._feed([job])
                except Exception as error:
                    faults[job] = error
                    if job.read:
                        self._broken.add(job.slot)
        done = [job for job in jobs if job not in faults and job.read == len(job.numbers)]
        for job in done:
            self._position[job.slot] += job.read
            if job.seq is not None:
                self._seq[job.slot], self._digest[job.slot] = job.seq, job.digest
        asked = [job for job in done if job.k]
        predictions: dict[Job, Predictions] = {}
        try:
            if asked:
                found = self._pool.predict(max(job.k for job in asked), [job.slot for job in asked])
                predictions = dict(zip(asked, found, strict=True))
        except Exception as error:
            faults |= dict.fromkeys(asked, error)
        answers = []
        for job in done:
            if job not in faults:
                try:
                    answers.append(
                        (job, self._answer(job, predictions.get(job, Predictions([], 0.0))))
                    )
                except Exception as error:
                    faults[job] = error
        return [*faults.items(), *answers]

    def _feed(self, reading: list[Job]) -> None:
        """Let each read a block, or none of them."""
        if not reading:
            return
        blocks = [job.numbers[job.read : job.read + TURN] for job in reading]
        self._pool.feed(blocks, [job.slot for job in reading])
        for job, block in zip(reading, blocks, strict=True):
            job.read += len(block)
        self._observe(len(reading), sum(map(len, blocks)))

    def _answer(self, job: Job, all_: Predictions) -> Answer:
        slot = job.slot
        state = self._pool.stream(slot).state if job.pack else None
        asked = Predictions(all_[: job.k], all_.unknown_probability)
        return Answer(int(self._position[slot]), asked, state)


def _resolve(loop: asyncio.AbstractEventLoop, done: list[tuple[Job, Answer | Exception]]) -> None:
    for job, answer in done:
        future = job.future
        if future.done() or future.get_loop() is not loop:  # done before: who asked has gone
            continue
        if isinstance(answer, Exception):
            future.set_exception(answer)
        else:
            future.set_result(answer)
