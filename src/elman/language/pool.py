"""A pool of streams that step together, so that each product with the weights serves all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.language.network import Network
from elman.language.sampling import Predictions, Sampling, SamplingOptions, generator, ranked
from elman.language.stream import Readable, Stream, network_of, token_numbers
from elman.language.stream_state import state_from_bytes
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID

# Tokens that all streams together read in one forward call, which bounds the memory for their gates.
MAX_TOKENS_PER_CALL = 4096


class StreamPool:
    """Streams of one model, each with its own state, that step together.

    Each stream answers as a `Stream` with the same input does, bit for bit with the compiled kernel, and
    to rounding without it. Streams are numbered from 0. For `beam`, `score`, `state` and `fork`, take a
    single stream out with ``stream(i)``.

    Args:
        model: The model or its network.
        n: The number of streams.

    Attributes:
        unknown: ``[n]``: for each stream, the tokens outside the vocabulary that it has read since its reset.

    Raises:
        OptionError: `n` is not a positive whole number.
    """

    def __init__(self, model: Model | Network, n: int) -> None:
        n = whole_number("n", n, 1)
        self.network = network_of(model)
        self.codec: TextCodec = self.network.model.codec
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
        """Reset the streams `which`, or all streams; return self. Raises OptionError."""
        places = self._places(which)
        self._forget(places)
        self.unknown[places] = 0
        return self

    def add(self, n: int) -> StreamPool:
        """Add `n` new streams with the next numbers; return self. Raises OptionError."""
        n = whole_number("n", n, 1)
        self._states = np.concatenate([self._states, np.tile(self.network.start, (n, 1))])
        self._last = np.concatenate([self._last, np.full(n, -1)])
        self.unknown = np.concatenate([self.unknown, np.zeros(n, np.int64)])
        return self

    def _places(self, which: Sequence[int] | None) -> np.ndarray:
        """Return the numbers of the streams `which`, or of all streams for None."""
        if which is None:
            return np.arange(len(self))
        last = len(self) - 1
        places = [whole_number("stream", i, 0, last) for i in which]
        if len({*places}) < len(places):
            raise OptionError("streams", got=places, expected="each once")
        return np.array(places, np.int64)

    def feed(self, readables: Sequence[Readable], which: Sequence[int] | None = None) -> StreamPool:
        """Read a text or token numbers into each of the streams `which`, or into all streams.

        Other streams stay where they are; after an error, all do.

        Args:
            readables: One text, or one sequence of token numbers, for each stream; lengths may differ.
            which: The numbers of the streams.

        Returns:
            The pool.

        Raises:
            InputError: `readables` has another length than `which`, or an item cannot be read.
            OptionError: A stream does not exist or is named twice.
        """
        places = self._places(which)
        listed = isinstance(readables, list | tuple | np.ndarray)
        if not listed or len(readables) != len(places):
            got = f"{len(readables)}" if listed else type(readables).__name__
            raise InputError("texts for the pool", got=got, expected=f"a list of {len(places)}")
        lines = [token_numbers(self.codec, readable) for readable in readables]
        unknown = [np.count_nonzero(numbers == UNKNOWN_ID) for numbers in lines]
        states, last = self._states[places], self._last[places]  # copies, kept if reading succeeds
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
        """Read each line from its row of `states`, and update `states` and `last` in place."""
        lengths = np.array([len(line) for line in lines])
        done = 0
        # Read to the end of the shortest line in all rows, then on in the rows that have more.
        for length in np.unique(lengths[lengths > 0]).tolist():
            active = np.flatnonzero(lengths >= length)
            tokens = np.stack([lines[i][done:length] for i in active.tolist()], axis=1)
            rows = states[active]
            steps = max(1, MAX_TOKENS_PER_CALL // len(active))
            for start in range(0, len(tokens), steps):
                _, rows = self.network.forward(tokens[start : start + steps], rows)
            states[active], last[active] = rows, tokens[-1]
            done = length

    def predict(self, k: int = 5, which: Sequence[int] | None = None) -> list[Predictions]:
        """Return the answer of `Stream.predict` for each of the streams `which`, or for all streams.

        Raises OptionError.
        """
        k = whole_number("k", k, 1)
        places = self._places(which)
        rows = self.network.rows_per_block
        return [
            ranked(self.codec, log_probabilities, k)
            for start in range(0, len(places), rows)
            for log_probabilities in self.network.log_probabilities(
                self.network.output(self._states[places[start : start + rows]])
            )
        ]

    def generate(
        self, n: int, seed: int | None = None, **sampling: Unpack[SamplingOptions]
    ) -> list[str]:
        """Draw `n` tokens for each stream, read them, and return their text, as `Stream.generate` does.

        Stream i draws with the seed ``seed + i``. Raises OptionError.
        """
        n = whole_number("n", n, 1)
        settings = Sampling(**sampling)
        first = generator(seed)  # checks the seed before anything is added to it
        randoms = [first] + [
            generator(None if seed is None else seed + i) for i in range(1, len(self))
        ]
        end_id, last = self.codec.end_id, self._last.tolist()
        drawn = np.empty((n, len(self)), np.int64)
        for step in range(n):
            drawn[step] = tokens = self._draw(settings, randoms)
            # A stream that has drawn <end> starts anew and reads nothing.
            if end_id is not None:
                self._forget(np.flatnonzero(tokens == end_id))
            to_read = [tokens[i : i + (tokens[i] != end_id)] for i in range(len(self))]
            self._read(to_read, self._states, self._last)
        return [
            self.codec.decode(numbers.tolist(), None if previous < 0 else previous)
            for numbers, previous in zip(drawn.T, last, strict=True)
        ]

    def _draw(self, sampling: Sampling, randoms: Sequence[np.random.Generator]) -> np.ndarray:
        rows = self.network.rows_per_block
        tokens = []
        for start in range(0, len(self), rows):
            logits = self.network.logits(self.network.output(self._states[start : start + rows]))
            tokens += [
                sampling.draw(row, random.random())
                for row, random in zip(logits, randoms[start : start + rows], strict=True)
            ]
        return np.array(tokens)

    def stream(self, i: int) -> Stream:
        """Return a copy of stream `i` as an independent `Stream`; raises OptionError."""
        i = whole_number("stream", i, 0, len(self) - 1)
        stream = Stream(self.network)
        stream._state = self._states[i].copy()
        if self._last[i] >= 0:
            stream._last = int(self._last[i])
        stream.unknown = int(self.unknown[i])
        return stream

    def put(self, i: int, stream: Stream) -> StreamPool:
        """Move stream `i` to the position of `stream`; return self.

        Raises OptionError if stream `i` does not exist, and InputError for a stream of another model.
        """
        i = whole_number("stream", i, 0, len(self) - 1)
        self._states[i], last = state_from_bytes(self.network, stream.state)
        self._last[i] = -1 if last is None else last
        self.unknown[i] = stream.unknown
        return self
