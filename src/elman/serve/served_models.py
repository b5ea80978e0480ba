"""What all routes share: the models by name, their streams, the threads for long questions, the counts."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Thread
from typing import Any

import numpy as np

from elman.errors import InputError, printable
from elman.language.stream import token_numbers
from elman.serve.batcher import Batcher
from elman.serve.metrics import Metrics
from elman.serve.replies import ModelCard, describe
from elman.serve.settings import Settings
from elman.serve.stream_store import NotFoundError, Streams
from elman.serve.threads import Work
from elman.text.vocabulary import TextCodec

__all__ = ["Desk", "Served"]

CLOSE_SECONDS = 0.5
"""For a step that is being computed when the server ends."""


@dataclass(frozen=True, eq=False)
class Served:
    """A model that is served."""

    predictor: Any
    card: ModelCard
    streams: Streams | None
    """None for a model that does not read text word by word."""


class Desk:
    """The models of one server, what `elman.load` returned, by the names they are asked by."""

    def __init__(self, models: Mapping[str, Any], settings: Settings) -> None:
        self.settings, self.metrics = settings, Metrics()
        self.work = Work(settings.threads, settings.max_tasks)
        self.models: dict[str, Served] = {}
        created = int(time.time())
        for name, predictor in models.items():
            streams = None
            if predictor.model.config.task == "language":
                observe = self.metrics.observer(name)
                batcher = Batcher(predictor.network, settings.window, observe)
                streams = Streams(name, batcher, settings.idle_seconds, self._room, self._cut)
            self.models[name] = Served(predictor, describe(name, predictor, created), streams)
        self.metrics.watch(lambda: sum(map(len, self._all())))

    def _all(self) -> list[Streams]:
        return [one.streams for one in self.models.values() if one.streams is not None]

    def _room(self) -> int:
        held = self._all()
        if sum(map(len, held)) >= self.settings.max_streams:
            for streams in held:
                streams.sweep()
        return self.settings.max_streams - sum(map(len, held))

    async def _cut(self, codec: TextCodec, text: str) -> np.ndarray:
        return await self.work.run(token_numbers, codec, text)

    def served(self, name: str) -> Served:
        """Return the model of that name; raises NotFoundError."""
        if name not in self.models:
            known = ", ".join(map(printable, self.models))
            raise NotFoundError("no such model", got=name, expected=known)
        return self.models[name]

    def language(self, name: str) -> tuple[Any, Streams]:
        """Return a language model of that name and its streams; raises NotFoundError, InputError."""
        found = self.served(name)
        if found.streams is None:
            raise InputError(f"{name} is a model for {found.card['task']}", expected="language")
        return found.predictor, found.streams

    def streams_of(self, name: str) -> Streams:
        """Return where the stream of that name is held; raises NotFoundError."""
        for streams in self._all():
            if name in streams:
                return streams
        raise NotFoundError("no such stream", remedy="make one with POST /v1/streams")

    def sweep(self) -> None:
        """Forget the streams that were idle for too long."""
        for streams in self._all():
            streams.sweep()

    def close(self) -> None:
        """End the threads, when the last answer was given; what nobody waits for is not waited for."""
        self.work.close()
        closing = [Thread(target=one.batcher.close, daemon=True) for one in self._all()]
        for thread in closing:
            thread.start()
        end = time.monotonic() + CLOSE_SECONDS
        for thread in closing:
            thread.join(max(0.0, end - time.monotonic()))
