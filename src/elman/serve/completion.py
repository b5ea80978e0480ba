"""One text that goes on from a prompt, token by token, up to a stop or the end of a document."""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import accumulate, repeat
from typing import Any

import numpy as np

from elman.language.sampling import Sampling, best, generator
from elman.language.stream import STEPS, token_numbers
from elman.serve.schema import CompletionBody
from elman.text.vocabulary import TextCodec
from elman.text.words import plain_line_ends

__all__ = ["Choice", "Part", "Piece", "blocks", "most_tokens", "places"]


def most_tokens(body: CompletionBody) -> int:
    """Return how many tokens a choice may have."""
    return 16 if body.max_tokens is None else body.max_tokens


def blocks(codec: TextCodec, numbers: np.ndarray) -> list[np.ndarray]:
    """Return token numbers ``[N]`` cut where a stream that reads them would cut: it says the same to the bit.

    >>> [len(block) for block in blocks(TextCodec("char", ("<unk>", "a")), np.ones(1200, int))]
    [0, 512, 512, 176]
    """
    ends = np.flatnonzero(numbers == codec.end_id)
    first = int(ends[-1]) + 1 if len(ends) else 0
    return np.split(numbers, range(first, len(numbers), STEPS))


def places(codec: TextCodec, text: str) -> Iterator[tuple[int, int]]:
    r"""Yield where each token of `text` begins and ends in it, whatever white space is between.

    >>> codec = TextCodec("word", ("<unk>", "I", "like", "!"))
    >>> list(places(codec, "  I   LIKE it!"))
    [(2, 3), (6, 10), (11, 13), (13, 14)]
    """
    for run in re.finditer(r"\S+|\r\n|\s", text):
        sizes = [len(token) for token in codec.tokenise(plain_line_ends(run[0]))]
        # where numbers are masked a token is not as long as what it stands for
        ends = [min(run.start() + size, run.end()) for size in accumulate(sizes)]
        if ends:
            ends[-1] = run.end()
            yield from zip([run.start(), *ends], ends, strict=False)


@dataclass(frozen=True)
class Piece:
    """A token as text, with what it and the most probable ones had for log probability where asked."""

    text: str
    at: int
    """Where it stands in the text of its choice."""
    log_probability: float | None = None
    best: dict[str, float] | None = None


@dataclass
class Part:
    """Some text of one choice, and at its end why it ended."""

    index: int
    pieces: list[Piece] = field(default_factory=list)
    text: str = ""
    reason: str | None = None
    read: int = 0
    """Tokens of the prompt."""
    written: int = 0
    """New tokens."""

    def add(self, other: Part) -> None:
        """Go on with the part that follows."""
        self.pieces += other.pieces
        self.text += other.text
        self.reason = other.reason


class Choice:
    """One text that goes on from one prompt: the first one reads it, `another` goes on from there.

    What is echoed of a prompt is the text as it was sent.
    """

    def __init__(self, predictor: Any, body: CompletionBody, prompt: Any) -> None:
        self.codec, self.body, self.index = predictor.model.codec, body, 0
        self.prompt, self.numbers = prompt, token_numbers(self.codec, prompt)
        self.stream = predictor.stream()
        self.sampling = Sampling(
            1.0 if body.temperature is None else body.temperature,
            # 0 is the most probable token alone
            top_p=None if body.top_p is None else max(body.top_p, 1e-9),
        )
        stops = [body.stop] if isinstance(body.stop, str) else body.stop or []
        self.stops = [stop for stop in stops if stop]
        self.last: int | None = None
        self.at, self.text = 0, ""
        self.echoed: list[Piece] = []

    def read(self) -> Iterator[None]:
        """Read the prompt, and yield now and then."""
        if self.body.echo:
            yield from self._read()
        else:
            for block in blocks(self.codec, self.numbers):
                self.stream.feed(block)
                yield
            ends = len(self.numbers) and self.numbers[-1] != self.codec.end_id
            self.last = int(self.numbers[-1]) if ends else None

    def another(self, index: int) -> Choice:
        """Return the choice of that number, which has read what this one has."""
        other = copy.copy(self)
        other.index, other.stream = index, self.stream.fork()
        return other

    def parts(self) -> Iterator[Part]:
        """Yield the text as it is made."""
        yield Part(self.index, [*self.echoed], self.text, read=len(self.numbers))
        yield from self._stopped(self._write())

    def _read(self) -> Iterator[None]:
        """Read the prompt word by word, as it goes into the answer too."""
        sent = self.prompt if isinstance(self.prompt, str) else None
        stand = repeat(None) if sent is None else places(self.codec, sent)
        found = self._probabilities()
        for number in self.numbers.tolist():
            self.echoed.append(self._piece(number, found, next(stand)))
            found = self.stream.step(number)
            yield
        self.text = "".join(piece.text for piece in self.echoed) if sent is None else sent
        self.at = len(self.text)

    def _write(self) -> Iterator[Piece | None]:
        """Draw tokens, and None at the end of a document."""
        seed, found = self.body.seed, self._probabilities()
        random = generator(None if seed is None else (seed + self.index) % 2**63)
        for _ in range(most_tokens(self.body)):
            number = self.sampling.draw(found, random.random())
            if number == self.codec.end_id:
                yield None
                return
            yield self._piece(number, found)
            found = self.stream.step(number)

    def _probabilities(self) -> np.ndarray:
        with np.errstate(divide="ignore"):
            return np.asarray(np.log(self.stream.probabilities))

    def _piece(self, number: int, found: np.ndarray, place: tuple[int, int] | None = None) -> Piece:
        text = self.codec.piece(self.last, number)
        begin, end = place or (self.at, self.at + len(text))
        # the space that is written before a word is the last of what was sent before it
        at = begin - (begin > self.at and text[0] == " ")
        self.at = end
        count = self.body.logprobs
        if count is None:
            piece = Piece(text, at)
        else:
            # the token itself too, among the most probable ones or not
            top = {
                self.codec.piece(self.last, each): _finite(found[each])
                for each in [*(best(found, count).tolist() if count else ()), number]
            }
            piece = Piece(text, at, _finite(found[number]), top)
        self.last = None if number == self.codec.end_id else number
        return piece

    def _stopped(self, made: Iterator[Piece | None]) -> Iterator[Part]:
        """Yield what is written up to the first stop; what may be the beginning of one is held back."""
        held: list[Piece] = []
        for piece in made:
            if piece is None:
                yield self._part(held, "stop", 1)
                return
            held.append(piece)
            text = "".join(piece.text for piece in held)
            at = min((p for stop in self.stops if (p := text.find(stop)) >= 0), default=-1)
            if at >= 0:
                yield self._cut(held, at)
                return
            keep = max((_overlap(text, stop) for stop in self.stops), default=0)
            free = 0
            while free < len(held) and len(text) - len(held[free].text) >= keep:
                text = text[len(held[free].text) :]
                free += 1
            yield self._part(held[:free], None, 1)
            held = held[free:]
        yield self._part(held, "length", 0)

    def _part(self, pieces: list[Piece], reason: str | None, written: int) -> Part:
        text = "".join(piece.text for piece in pieces)
        return Part(self.index, list(pieces), text, reason, 0, written)

    def _cut(self, held: list[Piece], at: int) -> Part:
        part = self._part(held, "stop", 1)
        part.pieces = [piece for piece in held if piece.at < held[0].at + at]
        part.text = part.text[:at]
        return part


def _finite(value: float) -> float:
    return max(float(value), -9999.0)


def _overlap(text: str, stop: str) -> int:
    """Return how many characters at the end of `text` may begin `stop`."""
    sizes = range(min(len(text), len(stop) - 1), 0, -1)
    return next((size for size in sizes if text.endswith(stop[:size])), 0)
