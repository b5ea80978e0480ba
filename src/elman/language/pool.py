"""A pool of streams that step together, so that each product with the weights serves all of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.language.network import Network
from elman.language.readable import Readable, token_numbers
from elman.language.sampling import Predictions, Sampling, SamplingOptions, generator, ranked_rows
from elman.language.stream import Stream, network_of
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
        self.network = network_of(model)
        self.codec: TextCodec = self.network.model.codec
        # One row [S] for each stream; -1 in `_last` says that a stream has read nothing.
        self._states = self.network.initial_state(0)
        self._last, self.unknown = np.zeros((2, 0), np.int64)
        self.add(n)

    def __len__(self) -> int:
        """Return the number of streams."""
        return len(self._last)

    def __repr__(self) -> str:
        return f"StreamPool({len(self):,} streams; {self.network.model.summary})"

    def add(self, n: int) -> StreamPool:
        """Add `n` new streams with the next numbers; return self. Raises OptionError."""
        n = whole_number("n", n, 1)
        self._states = np.concatenate([self._states, np.tile(self.network.start, (n, 1))])
        self._last = np.append(self._last, np.full(n, -1))
        self.unknown = np.append(self.unknown, np.zeros(n, np.int64))
        return self

    def reset(self, which: Sequence[int] | None = None) -> StreamPool:
        """Reset the streams `which`, or all streams; return self. Raises OptionError."""
        indices = self._indices(which)
        self._states[indices], self._last[indices] = self.network.start, -1
        self.unknown[indices] = 0
        return self

    def _indices(self, which: Sequence[int] | None) -> np.ndarray:
        """Return the numbers of the streams `which`, or of all streams for None."""
        if which is None:
            return np.arange(len(self))
        last = len(self) - 1
        indices = [whole_number("stream", i, 0, last) for i in which]
        if len({*indices}) < len(indices):
            raise OptionError("streams", got=indices, expected="each once")
        return np.array(indices, np.int64)

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
        indices = self._indices(which)
        listed = isinstance(readables, list | tuple | np.ndarray)
        if not listed or len(readables) != len(indices):
            got = f"{len(readables)}" if listed else type(readables).__name__
            raise InputError("texts for the pool", got=got, expected=f"a list of {len(indices)}")
        if isinstance(readables, np.ndarray) and readables.ndim == 1:
            readables = readables.tolist()  # numbers of Python's, which `ordinary_token` takes
        tokens = [self.codec.ordinary_token(readable) for readable in readables]
        if None not in tokens and len(tokens):
            # one token for each stream: a single step
            numbers = np.array([tokens], np.int64)
            if which is None:
                _, self._states = self.network.forward(numbers, self._states)
            else:
                _, self._states[indices] = self.network.forward(numbers, self._states[indices])
            self._last[indices] = numbers[0]
            return self
        lines = [token_numbers(self.codec, readable) for readable in readables]
        unknown = [np.count_nonzero(numbers == UNKNOWN_ID) for numbers in lines]
        # These are copies. They are kept only if reading succeeds.
        states, last = self._states[indices], self._last[indices]
        # A line end forgets everything before it, so only the last line of each text is read.
        for i, numbers in enumerate(lines):
            if begin := self.codec.document_start(numbers):
                states[i], last[i], lines[i] = self.network.start, -1, numbers[begin:]
        self._read(lines, states, last)
        self._states[indices], self._last[indices] = states, last
        self.unknown[indices] += np.array(unknown, np.int64)
        return self

    def _read(self, lines: Sequence[np.ndarray], states: np.ndarray, last: np.ndarray) -> None:
        """Read each line from its row of `states`, and update `states` and `last` in place."""
        lengths = np.array([len(line) for line in lines])
        done = 0
        # Read to the end of the shortest line in all rows, then on in the rows that have more.
        for length in np.unique(lengths[lengths > 0]).tolist():
            active = np.flatnonzero(lengths >= length)
            tokens = np.stack([lines[i][done:length] for i in active.tolist()], axis=1)
            rows = states[active]
            # The kernel holds the gates of all tokens of a call.
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
        outputs = self.network.output(self._states)
        outputs = outputs if which is None else outputs[self._indices(which)]
        return [
            predictions
            for block in self.network.blocks(len(outputs))
            for predictions in ranked_rows(
                self.codec, self.network.log_probabilities(outputs[block]), k
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
        generator(seed)  # checks the seed before anything is added to it
        randoms = [generator(None if seed is None else seed + i) for i in range(len(self))]
        before, drawn = self._last.tolist(), np.empty((n, len(self)), np.int64)
        for step in range(n):
            drawn[step] = tokens = self._draw(settings, randoms)
            # `feed` would check the numbers again. A stream that draws <end> starts anew and reads nothing.
            ended = tokens == self.codec.end_id
            self._states[ended], self._last[ended] = self.network.start, -1
            to_read = [tokens[i : i + 1 - end] for i, end in enumerate(ended.tolist())]
            self._read(to_read, self._states, self._last)
        return [
            self.codec.decode(numbers.tolist(), None if last < 0 else last)
            for numbers, last in zip(drawn.T, before, strict=True)
        ]

    def _draw(self, sampling: Sampling, randoms: Sequence[np.random.Generator]) -> np.ndarray:
        tokens = []
        for block in self.network.blocks(len(self)):
            logits = self.network.logits(self.network.output(self._states[block]))
            tokens += [
                sampling.draw(row, random.random())
                for row, random in zip(logits, randoms[block], strict=True)
            ]
        return np.array(tokens)

    def stream(self, i: int) -> Stream:
        """Return a copy of stream `i` as an independent `Stream`; raises OptionError."""
        i = whole_number("stream", i, 0, len(self) - 1)
        stream = Stream(self.network)
        stream._state[:] = self._states[i]
        if self._last[i] >= 0:
            stream._last = int(self._last[i])
        stream.unknown = int(self.unknown[i])
        return stream

    def put(self, i: int, stream: Stream) -> StreamPool:
        """Move stream `i` to the position of `stream`; return self.

        Raises OptionError if stream `i` does not exist, and InputError for a stream of another model.
        """
        i = whole_number("stream", i, 0, len(self) - 1)
        moved = Stream(self.network)
        moved.state = stream.state  # refuses a stream of another model
        self._states[i], self._last[i] = moved._state, -1 if moved._last is None else moved._last
        self.unknown[i] = stream.unknown
        return self
