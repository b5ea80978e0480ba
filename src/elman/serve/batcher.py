"""Batching of streams: the requests of all streams of one model share each pass through the network."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from elman.language.network import Network
from elman.language.pool import StreamPool
from elman.language.readable import Readable, token_numbers
from elman.language.sampling import Predictions
from elman.language.stream import Stream
from elman.serve.http_errors import StaleError

TOKENS_PER_ROUND = 64
"""Tokens that a stream reads before the other streams have their turn."""
MIN_NEW_SLOTS = 256


class StreamReply(NamedTuple):
    """Position and predictions of a stream after a request."""

    position: int
    predictions: Predictions
    state: bytes | None = None
    own: Stream | None = None
    """Of a stream that adapts: a copy of it, with the weights that it has learned."""


class StreamStart(NamedTuple):
    """State and position at which a stream begins; None is the state of zeros."""

    state: bytes | None = None
    position: int = 0


@dataclass(eq=False, slots=True)
class HeldStream:
    """A stream in a slot of the pool, which holds its state, and what the server knows about it."""

    slot: int
    """Number of the slot; requests of a stream that adapts are queued by it too."""
    last_used: float = 0.0
    position: int = 0
    """Number of tokens that it has read."""
    seq: int = -1
    """Number of its last numbered request; -1 before the first one."""
    digest: int = 0
    """Hash of the tokens of this request, by which the same request is recognised when it is sent again."""
    is_broken: bool = False
    """Whether a fault stopped it in the middle of a request."""
    own: Stream | None = None
    """The stream with weights of its own, if it adapts; it then takes no part in the pool."""


@dataclass(eq=False, slots=True)
class StreamRequest:
    """One request of a stream: go to `start` if it is given, read the input, and reply."""

    stream: HeldStream
    input: Readable = ""
    k: int = 0
    """Number of predictions to return."""
    seq: int | None = None
    """Number of this request in its stream, from 0; None if the client does not number its requests."""
    start: StreamStart | None = None
    """New start of the stream before it reads; None continues the stream."""
    with_state: bool = False
    """Whether the reply contains the state, or a copy of a stream that adapts."""
    future: asyncio.Future[StreamReply] = field(
        default_factory=lambda: asyncio.get_running_loop().create_future()
    )
    tokens: NDArray[np.int64] | None = None
    """``[N]``, or None before the request's turn."""
    digest: int = 0
    tokens_read: int = 0
    outcome: StreamReply | Exception | None = None

    @property
    def rest(self) -> NDArray[np.int64]:
        """The tokens that have not been read yet."""
        return np.empty(0, np.int64) if self.tokens is None else self.tokens[self.tokens_read :]


class Batcher:
    """The streams of one model in numbered slots, advanced by one thread.

    Args:
        network: The network that all streams share.
        window_seconds: How long a batch waits for requests of other streams.
        count_batch: Called with the number of streams and of tokens of each batch.

    Requests of one slot are answered in the order of `submit`, those of different slots together. A long
    input is read in rounds of `TOKENS_PER_ROUND` tokens. A reply equals that of a `Stream` alone bit for bit
    (without the kernel, up to rounding). A request and its number count only once all of its input has been
    read. A fault leaves the stream where it was before the request; if part of the input had been read by
    then, the stream answers every further request with StaleError.
    """

    def __init__(
        self,
        network: Network,
        window_seconds: float,
        count_batch: Callable[[int, int], None] = lambda *_: None,
    ) -> None:
        self.network = network
        self._pool = StreamPool(network, 1)
        self._window_seconds, self.count_batch = window_seconds, count_batch
        self._arrived: SimpleQueue[StreamRequest | None] = SimpleQueue()
        # Unfinished requests by slot; each round advances the first one of every slot.
        self._queues: dict[int, deque[StreamRequest]] = {}
        self._thread: threading.Thread | None = None

    def submit(self, request: StreamRequest) -> asyncio.Future[StreamReply]:
        """Return the future of a request's reply, which raises InputError if the request is invalid."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name="elman-streams", daemon=True)
            self._thread.start()
        self._arrived.put(request)
        return request.future

    def close(self, seconds: float | None = None) -> None:
        """Answer all submitted requests, then end the thread; wait at most `seconds` for it."""
        if self._thread is not None:
            self._arrived.put(None)
            self._thread.join(seconds)
            self._thread = None

    def _work(self) -> None:
        is_open = True
        while is_open or self._queues:
            if not self._queues:
                is_open = self._enqueue(self._arrived.get())
                # Requests that arrive now share the batch.
                time.sleep(self._window_seconds)
            # Take all that has arrived; None is the last item.
            while is_open:
                try:
                    is_open = self._enqueue(self._arrived.get_nowait())
                except Empty:
                    break
            finished = self._round()
            for loop in {request.future.get_loop() for request in finished}:
                with suppress(RuntimeError):  # the event loop has been closed
                    loop.call_soon_threadsafe(_resolve, loop, finished)

    def _enqueue(self, request: StreamRequest | None) -> bool:
        """Queue a request in its slot; return False for None, which ends the thread."""
        if request is not None:
            self._queues.setdefault(request.stream.slot, deque()).append(request)
        return request is not None

    def _round(self) -> list[StreamRequest]:
        """Let the first request of every slot read up to one round of tokens; return what is finished."""
        # Later requests of a slot wait until its first one is finished.
        requests = [queue[0] for queue in self._queues.values()]
        for request in requests:
            with _fault_of(request):
                if request.tokens is None:
                    self._start(request)
        self._feed_all([item for item in requests if item.outcome is None and len(item.rest)])
        complete = [item for item in requests if item.outcome is None and not len(item.rest)]
        self._reply_to(complete)
        finished = [request for request in requests if request.outcome is not None]
        for request in finished:
            queue = self._queues[request.stream.slot]
            queue.popleft()
            if not queue:
                del self._queues[request.stream.slot]
        return finished

    def _start(self, request: StreamRequest) -> None:
        """Encode the input, check the request's number and move the stream to its start."""
        held = request.stream
        # A long text has been encoded already, because encoding it here would delay all streams.
        tokens = token_numbers(self.network.model.codec, request.input)
        request.digest = hash(tokens.tobytes())
        if request.start is not None:
            self._begin(held.slot, request.start.state)
            held.position = request.start.position
        elif held.is_broken:
            remedy = "delete it and create another one"
            raise StaleError("an error interrupted a request of this stream", remedy=remedy)
        elif _is_repeated(request, len(tokens)):
            tokens = tokens[:0]
        request.tokens, request.input = tokens, ""

    def _begin(self, slot: int, state: bytes | None) -> None:
        """Let a new stream begin in a slot; raise InputError for the state of another model."""
        pool = self._pool
        if slot >= len(pool):
            # Grow in small steps: many streams must cost little more than their states.
            pool.add(max(slot + 1 - len(pool), len(pool) // 64, MIN_NEW_SLOTS))
        stream = Stream(self.network)
        if state is not None:
            # The setter raises the error before the slot changes.
            stream.state = state
        pool.put(slot, stream)

    def _feed_all(self, requests: list[StreamRequest]) -> None:
        """Let each request read its next block of tokens; a fault becomes the outcome of its request."""
        try:
            self._feed(requests)
        except Exception:
            # Read again one by one to find the request that causes the fault.
            for request in requests:
                with _fault_of(request):
                    self._feed([request])
                if request.outcome is not None and request.tokens_read:
                    request.stream.is_broken = True

    def _feed(self, requests: list[StreamRequest]) -> None:
        """Let each request read its next block of tokens; after an exception none of them has."""
        if requests:
            blocks = [request.rest[:TOKENS_PER_ROUND] for request in requests]
            self._read([request.stream for request in requests], blocks)
            for request, block in zip(requests, blocks, strict=True):
                request.tokens_read += len(block)
            self.count_batch(len(requests), sum(map(len, blocks)))

    def _read(self, streams: list[HeldStream], blocks: list[NDArray[np.int64]]) -> None:
        self._pool.feed(blocks, [stream.slot for stream in streams])

    def _predict(self, k: int, streams: list[HeldStream]) -> list[Predictions]:
        # One product with the output weights [V, H] serves all streams.
        return self._pool.predict(k, [stream.slot for stream in streams])

    def _reply_to(self, requests: list[StreamRequest]) -> None:
        """Count requests whose input has been read, and set their replies."""
        for request in requests:
            held = request.stream
            held.position += request.tokens_read
            if request.seq is not None:
                held.seq, held.digest = request.seq, request.digest
        predictions = dict.fromkeys(requests, Predictions([], 0.0))
        asking = [request for request in requests if request.k]
        with _fault_of(*asking):
            if asking:
                k, streams = max(item.k for item in asking), [item.stream for item in asking]
                predictions |= zip(asking, self._predict(k, streams), strict=True)
        for request in requests:
            if request.outcome is None:
                with _fault_of(request):
                    request.outcome = self._reply(request, predictions[request])

    def _reply(self, request: StreamRequest, predictions: Predictions) -> StreamReply:
        held = request.stream
        # The batch was predicted with the largest k.
        best = Predictions(predictions[: request.k], predictions.unknown_probability)
        if not request.with_state:
            return StreamReply(held.position, best)
        if held.own is not None:
            return StreamReply(held.position, best, own=held.own.fork())
        return StreamReply(held.position, best, self._pool.stream(held.slot).state)


class AdaptingBatcher(Batcher):
    """The streams of one model that adapt, advanced one after the other by a thread of their own.

    Each has weights of its own, so that no two share a pass. They leave the other streams' thread alone,
    because a gradient step takes long.
    """

    def _begin(self, slot: int, state: bytes | None) -> None:
        """Leave the stream as its maker made it."""

    def _feed_all(self, requests: list[StreamRequest]) -> None:
        for request in requests:
            with _fault_of(request):
                self._feed([request])
            # After a fault it may have learned from a part of the input.
            request.stream.is_broken |= request.outcome is not None

    def _read(self, streams: list[HeldStream], blocks: list[NDArray[np.int64]]) -> None:
        for stream, block in zip(_own(streams), blocks, strict=True):
            stream.feed(block)

    def _predict(self, k: int, streams: list[HeldStream]) -> list[Predictions]:
        return [stream.predict(k) for stream in _own(streams)]

    def _reply_to(self, requests: list[StreamRequest]) -> None:
        # one by one, so that a fault in one stream's prediction is no other's
        for request in requests:
            super()._reply_to([request])


def _own(streams: list[HeldStream]) -> list[Stream]:
    return [stream.own for stream in streams if stream.own is not None]


def _is_repeated(request: StreamRequest, token_count: int) -> bool:
    """Return whether the client sends its last request again; raise StaleError if it skips one."""
    seq, last = request.seq, request.stream.seq
    if seq is None:
        if last >= 0 and token_count:
            expected = f"{last + 1}, as the last request had a number"
            raise StaleError("seq", got="none", expected=expected)
    # The answer to the last request was lost: send it again without reading again.
    elif seq == last:
        if request.digest == request.stream.digest:
            return True
        expected = f"the same input as before, or seq {last + 1}"
        raise StaleError("seq", got=f"{last} with another input", expected=expected)
    elif seq != last + 1:
        expected = f"{last + 1}, or {last} again" if last >= 0 else "0 first"
        raise StaleError("seq", got=seq, expected=expected)
    return False


@contextmanager
def _fault_of(*requests: StreamRequest) -> Iterator[None]:
    """Make an exception inside the context the outcome of the requests."""
    try:
        yield
    except Exception as error:
        for request in requests:
            request.outcome = error


def _resolve(loop: asyncio.AbstractEventLoop, requests: list[StreamRequest]) -> None:
    for request in requests:
        future = request.future
        # A future that is done was cancelled: its client has gone.
        if future.done() or future.get_loop() is not loop:
            continue
        if isinstance(request.outcome, Exception):
            future.set_exception(request.outcome)
        elif request.outcome is not None:
            future.set_result(request.outcome)
