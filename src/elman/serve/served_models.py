"""The models of one server by name, with what their routes share: streams, worker threads and counters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from threading import Thread
from typing import Annotated, TypeAlias

import numpy as np
from fastapi import Depends, Request
from numpy.typing import NDArray

from elman.errors import InputError, printable
from elman.inspect.predictor import Predictor
from elman.inspect.replies import Replies
from elman.language.predictor import LanguagePredictor, language_predictor
from elman.language.stream import token_numbers
from elman.serve.batcher import Batcher
from elman.serve.http_errors import NotFoundError
from elman.serve.metrics import Metrics
from elman.serve.model_card import ModelCard, model_card
from elman.serve.settings import Settings
from elman.serve.stream_store import StreamStore
from elman.serve.threads import WorkerThreads
from elman.tasks import task_of
from elman.text.vocabulary import TextCodec

SWEEP_SECONDS = 30.0
"""Time between two searches for idle streams when no client creates one."""
CLOSE_SECONDS = 0.5
"""Time for the streams' threads to finish a step when the server stops."""


@dataclass(frozen=True, eq=False)
class ServedModel:
    """A model and what the server holds for it."""

    predictor: Predictor
    replies: Replies
    card: ModelCard
    streams: StreamStore | None
    """None if the model does not read text token by token."""


class ServedModels:
    """The models of one server.

    Args:
        models: Predictors, as `elman.load` returns them, by the names in requests.
        settings: The server's settings.
    """

    def __init__(self, models: Mapping[str, Predictor], settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self.workers = WorkerThreads(settings.threads, settings.max_tasks)
        self.models: dict[str, ServedModel] = {}
        created = int(time.time())
        for name, predictor in models.items():
            replies = task_of(predictor.model).replies_type()(predictor)
            streams = None
            if replies.reads_tokens:
                count_batch = self.metrics.batch_counter(name)
                network = language_predictor(predictor).network
                batcher = Batcher(network, settings.window, count_batch)
                streams = StreamStore(
                    name, batcher, settings.idle_seconds, self._room, self._tokenise
                )
            card = model_card(name, replies, created)
            self.models[name] = ServedModel(predictor, replies, card, streams)
        self.metrics.watch_streams(lambda: sum(map(len, self._stores())))

    def _stores(self) -> list[StreamStore]:
        return [model.streams for model in self.models.values() if model.streams is not None]

    def _room(self) -> int:
        """Return how many more streams the server may hold; if none, forget idle streams first."""
        stores = self._stores()
        if sum(map(len, stores)) >= self.settings.max_streams:
            for store in stores:
                store.sweep()
        return self.settings.max_streams - sum(map(len, stores))

    async def _tokenise(self, codec: TextCodec, text: str) -> NDArray[np.int64]:
        return await self.workers.run(partial(token_numbers, codec, text))

    def model(self, name: str) -> ServedModel:
        """Return a model by its name; raise NotFoundError."""
        if name not in self.models:
            known = ", ".join(map(printable, self.models))
            raise NotFoundError("no such model", got=name, expected=known)
        return self.models[name]

    def language_model(self, name: str) -> tuple[LanguagePredictor, StreamStore]:
        """Return a language model and its streams; raise NotFoundError, InputError."""
        model = self.model(name)
        if model.streams is None:
            raise InputError(
                f"{name} is a model for {model.card['task']}", expected="a language model"
            )
        return language_predictor(model.predictor), model.streams

    def store_of(self, stream: str) -> StreamStore:
        """Return the store that holds a stream; raise NotFoundError."""
        for store in self._stores():
            if stream in store:
                return store
        raise NotFoundError("no such stream", remedy="create one with POST /v1/streams")

    def sweep(self) -> None:
        """Forget the streams that have been idle for too long."""
        for store in self._stores():
            store.sweep()

    async def sweep_forever(self) -> None:
        """Sweep at intervals, so that streams are forgotten even if no client creates new ones."""
        while True:
            await asyncio.sleep(SWEEP_SECONDS)
            self.sweep()

    def close(self) -> None:
        """End all threads; a step that is being computed may take `CLOSE_SECONDS` to finish."""
        self.workers.close()
        closing = [Thread(target=store.batcher.close, daemon=True) for store in self._stores()]
        for thread in closing:
            thread.start()
        end = time.monotonic() + CLOSE_SECONDS
        for thread in closing:
            thread.join(max(0.0, end - time.monotonic()))


def _served_models(request: Request) -> ServedModels:
    served: ServedModels = request.app.state.served
    return served


Served: TypeAlias = Annotated[ServedModels, Depends(_served_models)]
"""Type of an endpoint's parameter that receives the server's models."""
