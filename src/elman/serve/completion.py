"""Completion of one prompt token by token, up to a stop text, a token limit or the end of a document."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from elman.engine.pauses import pause
from elman.language.predictor import LanguagePredictor
from elman.language.readable import token_numbers
from elman.language.sampling import Sampling, best, generator
from elman.serve.schema import CompletionRequest

Prompt: TypeAlias = str | Sequence[int]
MIN_LOG_PROBABILITY = -9999.0
"""Value sent in place of the logarithm of zero, as OpenAI does."""


@dataclass(frozen=True)
class Piece:
    """A token as text, with log probabilities if the request asks for them."""

    text: str
    offset: int
    """Position of its first character in the text of its completion."""
    log_probability: float | None = None
    best: dict[str, float] | None = None
    """Log probabilities of this token and of the most probable ones."""


@dataclass(frozen=True)
class Chunk:
    """A part of the text of one completion; the last one gives the reason why the text ended."""

    pieces: list[Piece]
    text: str
    finish_reason: str | None = None


class Completion:
    """A text that continues a prompt.

    Call `read` once, then `fork` for each completion of the prompt, and `chunks` on each fork. An echoed
    prompt is the text as it was sent, not the text of its tokens.
    """

    def __init__(
        self, predictor: LanguagePredictor, request: CompletionRequest, prompt: Prompt
    ) -> None:
        self.codec, self.request, self.index = predictor.model.codec, request, 0
        self.prompt, self.tokens = prompt, token_numbers(self.codec, prompt)
        self.stream = predictor.stream()
        self.sampling = Sampling(
            1.0 if request.temperature is None else request.temperature,
            # A top_p of 0 means the most probable token alone.
            top_p=None if request.top_p is None else max(request.top_p, 1e-9),
        )
        stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
        self.stops = [stop for stop in stops if stop]
        self.last_token: int | None = None
        """The token before the next one, or None at the start of a document."""
        self.echoed = Chunk([], "")
        # `offset` is the length of the completion's text so far, in characters.
        self.offset = self.new_tokens = 0

    @property
    def max_new_tokens(self) -> int:
        """The largest number of tokens that the request allows after the prompt."""
        return 16 if self.request.max_tokens is None else self.request.max_tokens

    def read(self) -> None:
        """Read the prompt; token by token for an echo, because each token becomes part of the answer."""
        if not self.request.echo:
            self.stream.feed(self.tokens)
            if len(self.tokens) and self.tokens[-1] != self.codec.end_id:
                self.last_token = int(self.tokens[-1])
            return
        spans: list[tuple[int, int] | None] = [None] * len(self.tokens)
        if isinstance(self.prompt, str):
            spans = [(start, end) for _, start, end in self.codec.tokens_with_spans(self.prompt)]
        pieces, log_probabilities = [], self._log_probabilities()
        for token, span in zip(self.tokens.tolist(), spans, strict=True):
            pause()
            pieces.append(self._piece(token, log_probabilities, span))
            log_probabilities = self.stream.step(token)
        text = "".join(piece.text for piece in pieces)
        self.echoed = Chunk(pieces, self.prompt if isinstance(self.prompt, str) else text)
        self.offset = len(self.echoed.text)

    def fork(self, index: int) -> Completion:
        """Return completion number `index` of the same prompt, which has been read."""
        other = copy.copy(self)
        other.index, other.stream = index, self.stream.fork()
        return other

    def chunks(self) -> Iterator[Chunk]:
        """Yield the echoed prompt and then the text as it is generated, up to the first stop text.

        Pieces that may begin a stop text are held back until the next pieces show whether they do.
        """
        yield self.echoed
        held: list[Piece] = []
        for piece in self._generate():
            if piece is None:
                yield _chunk(held, "stop")
                return
            held.append(piece)
            text = "".join(piece.text for piece in held)
            starts = [start for stop in self.stops if (start := text.find(stop)) >= 0]
            if starts:
                # Leave out the stop text and the pieces that lie within it.
                length = min(starts)
                first = held[0].offset
                before = [piece for piece in held if piece.offset < first + length]
                yield Chunk(before, text[:length], "stop")
                return
            # Hold back as many characters as may begin a stop text; send the pieces before them.
            keep = max((_overlap(text, stop) for stop in self.stops), default=0)
            ends = accumulate(len(piece.text) for piece in held)
            ready = sum(end <= len(text) - keep for end in ends)
            yield _chunk(held[:ready])
            held = held[ready:]
        yield _chunk(held, "length")

    def _generate(self) -> Iterator[Piece | None]:
        """Yield sampled tokens, and None at the end of a document."""
        seed, log_probabilities = self.request.seed, self._log_probabilities()
        # Each completion draws with a seed of its own, else all would be the same.
        random = generator(None if seed is None else (seed + self.index) % 2**63)
        for _ in range(self.max_new_tokens):
            pause()
            token = self.sampling.draw(log_probabilities, random.random())
            self.new_tokens += 1
            if token == self.codec.end_id:
                yield None
                return
            yield self._piece(token, log_probabilities)
            log_probabilities = self.stream.step(token)

    def _log_probabilities(self) -> NDArray[np.floating]:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.stream.probabilities))

    def _piece(
        self,
        token: int,
        log_probabilities: NDArray[np.floating],
        span: tuple[int, int] | None = None,
    ) -> Piece:
        """Return a token as text; `span` is its begin and end in a prompt that was sent as text."""
        # The codec needs the token before, because it decides whether a space separates both.
        last, self.last_token = self.last_token, None if token == self.codec.end_id else token
        text = self.codec.piece(last, token)
        begin, end = span or (self.offset, self.offset + len(text))
        # The text of a word includes one space before it, so it begins one character earlier.
        offset = begin - (begin > self.offset and text[0] == " ")
        self.offset = end
        count = self.request.logprobs
        if count is None:
            return Piece(text, offset)
        # The token itself is listed even if it is not among the most probable ones.
        listed = [*(best(log_probabilities, count).tolist() if count else ()), token]
        values = {
            self.codec.piece(last, other): max(float(log_probabilities[other]), MIN_LOG_PROBABILITY)
            for other in listed
        }
        return Piece(text, offset, values[text], values)


def _chunk(pieces: list[Piece], finish_reason: str | None = None) -> Chunk:
    return Chunk(pieces, "".join(piece.text for piece in pieces), finish_reason)


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
