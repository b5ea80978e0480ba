"""Many streams in step: each product with the weights serves all of them at once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.language.network import BLOCK, Network
from elman.language.sampling import Predictions, Sampling, generator, ranked
from elman.language.state import unpack
from elman.language.stream import Readable, Stream, network_of, token_numbers
from elman.text.words import UNKNOWN_ID

__all__ = ["StreamPool"]

# Tokens of all streams together in one pass: their gate sums stay in bounded memory.
TOKENS = 4096


class StreamPool:
    """`n` streams of one model, each with its own state, stepped together.

    Each answers as a `Stream` fed the same would, bit for bit (to rounding without the kernel), whoever
    shares the pool. Streams
    are numbered from 0; what is not asked of all at once (`beam`, `score`, `state`, `fork`) is asked
    of ``stream(i)``. `unknown` ``[n]`` counts as a stream's does. Raises OptionError for `n`.
    """

    def __init__(self, model: Model | Network, n: int) -> None:
        n = whole_number("n", n, 1)
        self.network = network_of(model)
        self.codec = self.network.model.codec
        self._states = self.network.initial_state(n)
        self._last = np.full(n, -1)
        self.unknown = np.zeros(n, np.int64)
        self.reset()

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self._last)

    def __repr__(self) -> str:
        return f"StreamPool({len(self):,} streams; {self.network.model.summary})"

    def reset(self, which: Sequence[int] | None = None) -> StreamPool:
        """Forget all that was fed to the streams `which`, or to any; returns self. Raises OptionError."""
        places = self._places(which)
        self._forget(places)
        self.unknown[places] = 0
        return self

    def add(self, n: int) -> StreamPool:
        """Make `n` more streams, at state zero and numbered on; returns self. Raises OptionError."""
        n = whole_number("n", n, 1)
        self._states = np.concatenate([self._states, np.tile(self.network.start, (n, 1))])
        self._last = np.concatenate([self._last, np.full(n, -1)])
        self.unknown = np.concatenate([self.unknown, np.zeros(n, np.int64)])
        return self

    def _places(self, which: Sequence[int] | None) -> np.ndarray:
        """Return the numbers of the streams `which`, of all where none are named."""
        if which is None:
            return np.arange(len(self))
        last = len(self) - 1
        places = [whole_number("stream", i, 0, last) for i in which]
        if len({*places}) < len(places):
            raise OptionError("streams", got=places, expected="each once")
        return np.array(places, np.int64)

    def feed(self, readables: Sequence[Readable], which: Sequence[int] | None = None) -> StreamPool:
        """Read a text or token numbers, of any lengths, into each of the streams `which`, or of all.

        The others stay where they are, and where it raises all of them. Returns self. Raises InputError
        where there is not one for each, or as `Stream.feed` does, OptionError for a number no stream has.
        """
        places = self._places(which)
        listed = isinstance(readables, list | tuple | np.ndarray)
        if not listed or len(readables) != len(places):
            got = f"{len(readables)}" if listed else type(readables).__name__
            raise InputError("texts for the pool", got=got, expected=f"a list of {len(places)}")
        lines = [token_numbers(self.codec, readable) for readable in readables]
        unknown = [np.count_nonzero(numbers == UNKNOWN_ID) for numbers in lines]
        states, last = self._states[places], self._last[places]  # copies, until all is read
        end_id = self.codec.end_id
        if end_id is not None:
            for i, numbers in enumerate(lines):
                ends = np.flatnonzero(numbers == end_id)
                if len(ends):
                    states[i], last[i] = self.network.start, -1
                    lines[i] = numbers[ends[-1] + 1 :]
        self._read(lines, states, last)
        self._states[places], self._last[places] = states, last
        self.unknown[places] += np.array(unknown, np.int64)
        return self

    def _forget(self, which: np.ndarray) -> None:
        self._states[which] = self.network.start
        self._last[which] = -1

    def _read(self, lines: Sequence[np.ndarray], states: np.ndarray, last: np.ndarray) -> None:
        """Read each line into its row of the states; rows whose numbers have ended stay out of the rest."""
        lengths = np.array([len(line) for line in lines])
        done = 0
        for length in np.unique(lengths[lengths > 0]).tolist():
            active = np.flatnonzero(lengths >= length)
            tokens = np.stack([lines[i][done:length] for i in active.tolist()], axis=1)
            rows = states[active]
            steps = max(1, TOKENS // len(active))
            for start in range(0, len(tokens), steps):
                _, rows = self.network.forward(tokens[start : start + steps], rows)
            states[active], last[active] = rows, tokens[-1]
            done = length

    def predict(self, k: int = 5, which: Sequence[int] | None = None) -> list[Predictions]:
        """Return what `Stream.predict` would, for each of the streams `which`, or of all.

        Raises OptionError.
        """
        k = whole_number("k", k, 1)
        places = self._places(which)
        rows = max(1, BLOCK // len(self.codec))
        return [
            ranked(self.codec, log_probabilities, k)
            for start in range(0, len(places), rows)
            for log_probabilities in self.network.log_probabilities(
                self.network.output(self._states[places[start : start + rows]])
            )
        ]

    def generate(self, n: int, seed: int | None = None, **sampling: Any) -> list[str]:
        """Return `n` drawn tokens of each stream as text, as `Stream.generate_pieces` would.

        Stream i draws with the random numbers of ``seed + i``. Raises OptionError.
        """
        n = whole_number("n", n, 1)
        how = Sampling(**sampling)
        first = generator(seed)
        randoms = [first] + [
            generator(None if seed is None else seed + i) for i in range(1, len(self))
        ]
        codec, end_id = self.codec, self.codec.end_id
        texts: list[list[str]] = [[] for _ in randoms]
        for _ in range(n):
            tokens = self._draw(how, randoms)
            for text, last, token in zip(texts, self._last.tolist(), tokens.tolist(), strict=True):
                text.append(codec.piece(None if last < 0 else last, token))
            if end_id is not None:
                self._forget(np.flatnonzero(tokens == end_id))
            read = [tokens[i : i + (tokens[i] != end_id)] for i in range(len(self))]
            self._read(read, self._states, self._last)
        return ["".join(text) for text in texts]

    def _draw(self, sampling: Sampling, randoms: Sequence[np.random.Generator]) -> np.ndarray:
        rows = max(1, BLOCK // len(self.codec))
        tokens = []
        for start in range(0, len(self), rows):
            logits = self.network.logits(self.network.output(self._states[start : start + rows]))
            tokens += [
                sampling.draw(row, random.random())
                for row, random in zip(logits, randoms[start : start + rows], strict=True)
            ]
        return np.array(tokens)

    def stream(self, i: int) -> Stream:
        """Return stream `i` as a `Stream` that goes its own way from here; raises OptionError."""
        i = whole_number("stream", i, 0, len(self) - 1)
        stream = Stream(self.network)
        stream._state = self._states[i].copy()
        if self._last[i] >= 0:
            stream._last = int(self._last[i])
        stream.unknown = int(self.unknown[i])
        return stream

    def put(self, i: int, stream: Stream) -> StreamPool:
        """Let stream `i` go on from where `stream` is; returns self.

        Raises OptionError for a number that no stream has, InputError for another model's stream.
        """
        i = whole_number("stream", i, 0, len(self) - 1)
        self._states[i], last = unpack(self.network, stream.state)
        self._last[i] = -1 if last is None else last
        self.unknown[i] = stream.unknown
        return self
