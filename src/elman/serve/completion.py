"""Completion of one prompt token by token, up to a stop text, a token limit or the end of a document."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate, repeat
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from elman.language.network import STEPS_PER_CALL
from elman.language.predictor import LanguagePredictor
from elman.language.sampling import Sampling, best, generator
from elman.language.stream import token_numbers
from elman.serve.schema import CompletionRequest
from elman.text.vocabulary import TextCodec
from elman.text.words import plain_line_ends

Prompt: TypeAlias = str | Sequence[int]
MIN_LOG_PROBABILITY = -9999.0
"""Value sent in place of the logarithm of zero, as OpenAI does."""


def token_limit(request: CompletionRequest) -> int:
    """Return how many new tokens each completion of a request may have."""
    return 16 if request.max_tokens is None else request.max_tokens


def stream_blocks(codec: TextCodec, tokens: NDArray[np.int64]) -> list[NDArray[np.int64]]:
    """Split tokens ``[N]`` into the blocks that a stream reads at once, for results equal bit for bit.

    >>> [len(block) for block in stream_blocks(TextCodec("char", ("<unk>", "a")), np.ones(1200, int))]
    [0, 512, 512, 176]
    """
    ends = np.flatnonzero(tokens == codec.end_id)
    first = int(ends[-1]) + 1 if len(ends) else 0
    return np.split(tokens, range(first, len(tokens), STEPS_PER_CALL))


def token_spans(codec: TextCodec, text: str) -> Iterator[tuple[int, int]]:
    r"""Yield where each token of `text` begins and ends, in characters; white space between tokens may vary.

    >>> codec = TextCodec("word", ("<unk>", "I", "like", "!"))
    >>> list(token_spans(codec, "  I   LIKE it!"))
    [(2, 3), (6, 10), (11, 13), (13, 14)]
    """
    for run in re.finditer(r"\S+|\r\n|\s", text):
        sizes = [len(token) for token in codec.tokenise(plain_line_ends(run[0]))]
        # a token that masks a number can be longer than the number, so limit each end to the run
        ends = [min(run.start() + size, run.end()) for size in accumulate(sizes)]
        if ends:
            ends[-1] = run.end()
            yield from zip([run.start(), *ends], ends, strict=False)


@dataclass(frozen=True)
class Piece:
    """A token as text, with log probabilities if the request asks for them."""

    text: str
    offset: int
    """Position of its first character in the text of its completion."""
    log_probability: float | None = None
    best: dict[str, float] | None = None
    """Log probabilities of this token and of the most probable ones."""


@dataclass
class Chunk:
    """A piece of the text of one completion; the last one gives the reason why it ended."""

    index: int
    pieces: list[Piece] = field(default_factory=list)
    text: str = ""
    finish_reason: str | None = None
    prompt_tokens: int = 0
    new_tokens: int = 0

    def append(self, other: Chunk) -> None:
        """Add the chunk that follows this one."""
        self.pieces += other.pieces
        self.text += other.text
        self.finish_reason = other.finish_reason


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
            # a top_p of 0 means the most probable token alone
            top_p=None if request.top_p is None else max(request.top_p, 1e-9),
        )
        stops = [request.stop] if isinstance(request.stop, str) else request.stop or []
        self.stops = [stop for stop in stops if stop]
        self.last_token: int | None = None
        self.offset, self.text = 0, ""
        self.echoed: list[Piece] = []

    def read(self) -> Iterator[None]:
        """Read the prompt, and yield after each block so that the computation can be stopped."""
        if self.request.echo:
            yield from self._read_and_echo()
        else:
            for block in stream_blocks(self.codec, self.tokens):
                self.stream.feed(block)
                yield
            in_document = len(self.tokens) and self.tokens[-1] != self.codec.end_id
            self.last_token = int(self.tokens[-1]) if in_document else None

    def fork(self, index: int) -> Completion:
        """Return completion number `index` of the same prompt, which has been read."""
        other = copy.copy(self)
        other.index, other.stream = index, self.stream.fork()
        return other

    def chunks(self) -> Iterator[Chunk]:
        """Yield the text as it is generated, beginning with the echoed prompt."""
        yield Chunk(self.index, [*self.echoed], self.text, prompt_tokens=len(self.tokens))
        yield from self._until_stop(self._generate())

    def _read_and_echo(self) -> Iterator[None]:
        """Read the prompt token by token, because each token becomes part of the answer."""
        sent = self.prompt if isinstance(self.prompt, str) else None
        spans = repeat(None) if sent is None else token_spans(self.codec, sent)
        log_probabilities = self._log_probabilities()
        for token in self.tokens.tolist():
            self.echoed.append(self._piece(token, log_probabilities, next(spans)))
            log_probabilities = self.stream.step(token)
            yield
        self.text = "".join(piece.text for piece in self.echoed) if sent is None else sent
        self.offset = len(self.text)

    def _generate(self) -> Iterator[Piece | None]:
        """Yield sampled tokens, and None at the end of a document."""
        seed, log_probabilities = self.request.seed, self._log_probabilities()
        random = generator(None if seed is None else (seed + self.index) % 2**63)
        for _ in range(token_limit(self.request)):
            token = self.sampling.draw(log_probabilities, random.random())
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
        text = self.codec.piece(self.last_token, token)
        begin, end = span or (self.offset, self.offset + len(text))
        # the text of a word begins with the space before it; in a prompt that is the last white space sent
        offset = begin - (begin > self.offset and text[0] == " ")
        self.offset = end
        count = self.request.logprobs
        if count is None:
            piece = Piece(text, offset)
        else:
            # the token itself is listed even if it is not among the most probable ones
            listed = [*(best(log_probabilities, count).tolist() if count else ()), token]
            values = {
                self.codec.piece(self.last_token, other): _finite(log_probabilities[other])
                for other in listed
            }
            piece = Piece(text, offset, _finite(log_probabilities[token]), values)
        self.last_token = None if token == self.codec.end_id else token
        return piece

    def _until_stop(self, pieces: Iterator[Piece | None]) -> Iterator[Chunk]:
        """Yield the text up to the first stop text; hold back pieces that may be the beginning of one."""
        held: list[Piece] = []
        for piece in pieces:
            if piece is None:
                yield self._chunk(held, "stop", 1)
                return
            held.append(piece)
            text = "".join(piece.text for piece in held)
            stop_at = min((i for stop in self.stops if (i := text.find(stop)) >= 0), default=-1)
            if stop_at >= 0:
                yield self._cut(held, stop_at)
                return
            keep = max((_overlap(text, stop) for stop in self.stops), default=0)
            ready = 0
            while ready < len(held) and len(text) - len(held[ready].text) >= keep:
                text = text[len(held[ready].text) :]
                ready += 1
            yield self._chunk(held[:ready], None, 1)
            held = held[ready:]
        yield self._chunk(held, "length", 0)

    def _chunk(self, pieces: list[Piece], finish_reason: str | None, new_tokens: int) -> Chunk:
        text = "".join(piece.text for piece in pieces)
        return Chunk(self.index, list(pieces), text, finish_reason, 0, new_tokens)

    def _cut(self, pieces: list[Piece], length: int) -> Chunk:
        """Return the last chunk, whose text is cut to `length` characters where the stop text begins."""
        chunk = self._chunk(pieces, "stop", 1)
        end = pieces[0].offset + length
        chunk.pieces = [piece for piece in pieces if piece.offset < end]
        chunk.text = chunk.text[:length]
        return chunk


def _finite(log_probability: float) -> float:
    return max(float(log_probability), MIN_LOG_PROBABILITY)


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` may be the beginning of `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
