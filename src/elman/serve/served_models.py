"""The models of one server by name, with what their routes share: streams, worker threads and counters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Annotated, TypeAlias

from fastapi import Depends, Request

from elman.errors import InputError, printable
from elman.inspect.predictor import Predictor
from elman.inspect.replies import Replies
from elman.language.predictor import LanguagePredictor, language_predictor
from elman.serve.batcher import Batcher
from elman.serve.http_errors import NotFoundError
from elman.serve.model_card import ModelCard, model_card
from elman.serve.server_metrics import Metrics
from elman.serve.settings import Settings
from elman.serve.stream_store import StreamStore
from elman.serve.threads import WorkerThreads
from elman.tasks import task_of

SWEEP_SECONDS = 30.0
"""Time between two searches for idle streams when no client creates one."""
CLOSE_SECONDS = 0.5
"""Time for the streams' threads to finish a step when the server stops."""


class ServedModels:
    """The models of one server.

    Args:
        models: Predictors, as `elman.load` returns them, by the names in requests.
        settings: The server's settings.
    """

    def __init__(self, models: Mapping[str, Predictor], settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self.workers = WorkerThreads(settings.threads, settings.max_tasks)
        self._replies: dict[str, Replies] = {}
        self.cards: dict[str, ModelCard] = {}
        self._streams: dict[str, StreamStore] = {}
        """Streams by name of the model; only models that read text token by token have any."""
        created = int(time.time())
        for name, predictor in models.items():
            # The task decides what its models answer; the server only asks.
            replies = task_of(predictor.model).replies_type(predictor)
            self._replies[name], self.cards[name] = replies, model_card(name, replies, created)
            if replies.reads_tokens:
                network = language_predictor(predictor).network
                batcher = Batcher(network, settings.window, self.metrics.batch_counter(name))
                self._streams[name] = StreamStore(
                    name, batcher, settings.idle_seconds, self._room, self.workers
                )
        self.metrics.watch_streams(self._stream_count)

    def _stream_count(self) -> int:
        return sum(map(len, self._streams.values()))

    def _room(self) -> int:
        """Return how many more streams the server may hold; if none, forget idle streams first."""
        # Searching for idle streams takes time, so do it only when there is no room.
        if self._stream_count() >= self.settings.max_streams:
            self.sweep()
        return self.settings.max_streams - self._stream_count()

    def replies(self, name: str, *, reads_tokens: bool = False) -> Replies:
        """Return the replies of a model; raise NotFoundError.

        With `reads_tokens`, raise InputError for a model that does not read text token by token.
        """
        if name not in self._replies:
            known = ", ".join(map(printable, self._replies))
            raise NotFoundError("no such model", got=name, expected=known)
        replies = self._replies[name]
        if reads_tokens and not replies.reads_tokens:
            task = self.cards[name]["task"]
            raise InputError(f"{name} is a model for {task}", expected="a language model")
        return replies

    def language_model(self, name: str) -> tuple[LanguagePredictor, StreamStore]:
        """Return a language model and its streams; raise NotFoundError, InputError."""
        replies = self.replies(name, reads_tokens=True)
        return language_predictor(replies.predictor), self._streams[name]

    def store_of(self, stream: str) -> StreamStore:
        """Return the store that holds a stream; raise NotFoundError."""
        for store in self._streams.values():
            if stream in store:
                return store
        raise NotFoundError("no such stream", remedy="create one with POST /v1/streams")

    def sweep(self) -> None:
        """Forget the streams that have been idle for too long."""
        for store in self._streams.values():
            store.sweep()

    async def sweep_forever(self) -> None:
        """Sweep at intervals, so that streams are forgotten even if no client creates new ones."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def close(self) -> None:
        """End all threads; a step that is being computed may take `CLOSE_SECONDS` to finish."""
        self.workers.close()
        end = time.monotonic() + CLOSE_SECONDS
        for store in self._streams.values():
            store.close(max(0.0, end - time.monotonic()))


def _served_models(request: Request) -> ServedModels:
    served: ServedModels = request.app.state.served
    return served


Served: TypeAlias = Annotated[ServedModels, Depends(_served_models)]
"""Type of an endpoint's parameter that receives the server's models."""
