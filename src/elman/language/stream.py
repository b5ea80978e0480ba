"""A stream: a sequence that a language model reads token by token, and what it answers after each token."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError
from elman.files.model import Model
from elman.language.adaptation import Adapt, Adaptation, adaptation_of
from elman.language.network import Network
from elman.language.readable import Readable, token_numbers
from elman.language.sampling import (
    MAX_BEAM_WIDTH,
    Predictions,
    Sampling,
    SamplingOptions,
    beam_search,
    generator,
    ranked,
)
from elman.tables.frames import frame
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID

if TYPE_CHECKING:
    from elman.language.adapted_network import AdaptedNetwork

# magic, format version, last token or -1, bytes per number, SHA-256 of the model
_HEADER = struct.Struct("<4sBiB32s")
_MAGIC, _FORMAT_VERSION = b"ELST", 1


def network_of(model: Model | Network) -> Network:
    """Return the network of a model; a network is returned as it is."""
    return model if isinstance(model, Network) else Network(model)


@dataclass(frozen=True, eq=False)
class Score:
    """The probability of a text, token by token."""

    tokens: tuple[str, ...]
    """The tokens of the text; `<unk>` stands for those outside the vocabulary."""
    log_probabilities: np.ndarray
    """``[N]``: the natural logarithm of each token's probability after all tokens before it."""

    @property
    def total(self) -> float:
        """The log probability of the whole text in nats."""
        return float(self.log_probabilities.sum(dtype=np.float64))

    @property
    def loss(self) -> float:
        """The mean loss in nats per token; 0 for an empty text."""
        # A total of 0 would become -0.0 if it were negated.
        return 0.0 - self.total / max(1, len(self.tokens))

    def to_frame(self) -> Any:
        """Return tokens and log probabilities as a data frame, or as a dict of columns without polars."""
        return frame({"token": self.tokens, "log_probability": self.log_probabilities})

    def __str__(self) -> str:
        rows = [
            f"{token!r:>16}  {np.exp(value):8.4f}  {value:9.3f}"
            for token, value in zip(self.tokens, self.log_probabilities.tolist(), strict=True)
        ]
        head = f"{'token':>16}  {'prob.':>8}  {'log prob.':>9}"
        return "\n".join([head, *rows, f"loss {self.loss:.4f} nats a token"])


class Stream:
    r"""A sequence that a language model reads: feed it, ask what comes next, let it generate.

    Only `feed`, `step` and `generate` move the stream; other methods leave it where it is. The first token is
    predicted as if after the codec's start token: the end of a line if documents are lines, or else a line
    end or the commonest token. If documents are lines, every line starts like this, from state zero.

    With `adapt`, the stream has its own copy of the weights, and `feed` and `step` learn from what they read
    (`elman.language.adaptation`). Drawn text teaches nothing. Neither the model nor another stream changes.

    Args:
        model: The model or its network.
        adapt: "weights" goes on training on the text, "cache" prefers tokens that came after similar
            contexts, "both" does both, with default strengths; an `Adaptation` sets its own. None does not
            adapt.

    Attributes:
        unknown: The number of tokens outside the vocabulary that were fed since the last reset.

    >>> import elman
    >>> model = elman.LanguageModel(hidden_size=8, steps=2).fit("I like tea .\n" * 40)
    >>> stream = model.stream().feed("I like")
    >>> len(stream.predict(k=3)), len(stream.generate(n=4, seed=0).split()) <= 4
    (3, True)
    """

    def __init__(self, model: Model | Network, adapt: Adapt | Adaptation | None = None) -> None:
        self.network = network_of(model)
        self._adapted: AdaptedNetwork | None = None
        if adapt is not None:
            # Few streams adapt, so the module is imported only for these.
            from elman.language.adapted_network import AdaptedNetwork

            settings = adaptation_of(adapt, self.network.model.codec.level)
            self.network = self._adapted = AdaptedNetwork(self.network, settings)
        self.codec: TextCodec = self.network.model.codec
        self._state = self.network.start.copy()
        self._step_in_place()
        self.reset()

    def __repr__(self) -> str:
        read = "nothing read" if self._last is None else f"after {self.codec.tokens[self._last]!r}"
        return f"Stream({self.network.model.summary}; {read})"

    def reset(self) -> Stream:
        """Forget everything that was fed and learned; return self."""
        self.unknown = 0
        if self._adapted is not None:
            self.network = self._adapted = self._adapted.renewed()
        self._restart()
        return self

    def _restart(self) -> None:
        self._last: int | None = None
        self._state[:] = self.network.start

    def _step_in_place(self) -> None:
        """Let the kernel read single tokens in the memory of `_state`, which then never moves."""
        self._position = self.network.position(self._state)

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_position": None}

    def __setstate__(self, attributes: dict[str, Any]) -> None:
        self.__dict__.update(attributes)
        self._step_in_place()

    def fork(self) -> Stream:
        """Return a new stream that has read the same and goes on independently."""
        # __init__ would compute a new start state; everything but the state can be shared.
        other = Stream.__new__(Stream)
        other.__dict__.update(self.__dict__)
        if self._adapted is not None:
            other.network = other._adapted = self._adapted.fork()
        other._state = self._state.copy()
        other._step_in_place()
        return other

    def feed(self, readable: Readable) -> Stream:
        """Read a text, token numbers, or the number of one token; return self.

        A token outside the vocabulary is read as `<unk>` and counted in `unknown`. Raises InputError for
        numbers outside the vocabulary.
        """
        self._read(readable)
        return self

    def _read(self, readable: Readable) -> None:
        # Most calls read one token, which needs no array.
        token = self.codec.ordinary_token(readable)
        if token is None or self._adapted is not None:
            self._read_all(readable)
        else:
            self._read_token(token)

    def _read_token(self, token: int) -> None:
        if self._position is None or not self._position.read(token):
            self._state[:] = self.network.read(np.array([token]), self._state)
        self._last = token

    def _read_all(self, readable: Readable) -> None:
        numbers = token_numbers(self.codec, readable)
        self.unknown += int(np.count_nonzero(numbers == UNKNOWN_ID))
        if self._adapted is not None:
            # It learns from every line, also from those whose state is forgotten. It keeps its argument.
            _, self._state[:] = self._adapted.learn(numbers, self._state.copy())
            if len(numbers):
                self._last = None if numbers[-1] == self.codec.end_id else int(numbers[-1])
            return
        if begin := self.codec.document_start(numbers):
            self._restart()  # the start of a line forgets all lines before it
        if begin < len(numbers):
            self._state[:] = self.network.read(numbers[begin:], self._state)
            self._last = int(numbers[-1])

    def step(self, token: int, out: np.ndarray | None = None) -> np.ndarray:
        """Read one token number and return the log probabilities of the next token.

        This is the fastest way from a token to a prediction, for programs that step in real time.

        Args:
            token: The number of the token.
            out: A contiguous array ``[V]`` to write the result to; None makes a new one.

        Returns:
            Log probabilities ``[V]``.

        Raises:
            InputError: `out` does not fit.
            OptionError: The vocabulary has no such number.
        """
        if out is None:
            out = np.empty(len(self.codec), self.network.dtype)
        # whole_number takes longer than the rest of the checks, so it runs only where it may raise an
        # error.
        if type(token) is not int or not 0 <= token < len(self.codec):
            token = whole_number("token", token, 0, len(self.codec) - 1)
        fits = isinstance(out, np.ndarray) and out.shape == (len(self.codec),)
        if not fits or out.dtype != self.network.dtype or not out.flags.c_contiguous:
            expected = f"{self.network.dtype} [{len(self.codec)}], contiguous"
            raise InputError(
                "out", got=getattr(out, "shape", type(out).__name__), expected=expected
            )
        self._read(token)
        if self._position is None or not self._position.predict(out):
            out[:] = self._log_probabilities()
        return out

    @property
    def probabilities(self) -> np.ndarray:
        """The probability ``[V]`` that each token of the vocabulary comes next, including `<unk>`."""
        result: np.ndarray = np.exp(self._log_probabilities())
        return result

    def _log_probabilities(self) -> np.ndarray:
        return self.network.log_probabilities(self.network.output(self._state))

    def predict(self, k: int = 5) -> Predictions:
        """Return the `k` most probable next tokens with their probabilities, best first.

        `<unk>` is never among them, and the others do not get its share of the probability. If documents
        are lines, `<end>` stands for the end of the line. Raises OptionError.
        """
        if type(k) is not int or k < 1:
            k = whole_number("k", k, 1)
        if self._position is not None:
            found = Predictions()
            share = self._position.rank(k, UNKNOWN_ID, self.codec.tokens, found)
            if share >= 0:
                found.unknown_probability = share
                return found
        return ranked(self.codec, self._log_probabilities(), k)

    def generate(self, n: int, seed: int | None = None, **sampling: Unpack[SamplingOptions]) -> str:
        """Return the text of `generate_pieces` as one string, made by one call of the kernel."""
        n = whole_number("n", n, 1)
        # One random number for each token, drawn in advance, gives the same text with and without the
        # kernel.
        settings, uniforms = Sampling(**sampling), generator(seed).random(n)
        tokens = self.network.generate(self._state, uniforms, settings.in_kernel)
        if tokens is None:
            return "".join(self._draw_pieces(settings, iter(uniforms.tolist())))
        text = self.codec.decode(tokens.tolist(), self._last)
        last = int(tokens[-1])
        self._last = None if last == self.codec.end_id else last
        return text

    def generate_pieces(
        self,
        n: int,
        temperature: float = 1.0,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int | None = None,
    ) -> Iterator[str]:
        """Draw `n` tokens, read each one, and yield its text as soon as it is drawn.

        If documents are lines, `<end>` becomes a line end, and the stream starts anew.

        Args:
            n: The number of tokens.
            temperature: A divisor of the logits; 0 takes the most probable token.
            top_k: Only this many most probable tokens are drawn from.
            top_p: Then, only the fewest tokens that together have this probability are drawn from.
            seed: The same seed gives the same text.

        Raises:
            OptionError: An option has a value that it cannot take.
        """
        n = whole_number("n", n, 1)
        settings, random = Sampling(temperature, top_k, top_p), generator(seed)
        return self._draw_pieces(settings, (random.random() for _ in range(n)))

    def _draw_pieces(self, sampling: Sampling, uniforms: Iterator[float]) -> Iterator[str]:
        for uniform in uniforms:
            logits = self.network.logits(self.network.output(self._state))
            token = sampling.draw(logits, uniform)
            piece = self.codec.piece(self._last, token)
            # `feed` would check the number again, which takes as long as the step.
            if token == self.codec.end_id:
                self._restart()
            else:
                self._read_token(token)
            yield piece

    def beam(self, n: int, width: int = 10) -> list[tuple[str, float]]:
        """Return the most probable continuations with their log probabilities, best first.

        A beam search keeps the `width` best beginnings at each step; the stream stays where it is. If
        documents are lines, a continuation may end early, in a line end.

        Args:
            n: The number of tokens of a continuation.
            width: The number of continuations, at most `MAX_BEAM_WIDTH`.

        Raises:
            OptionError: `n` or `width` has a value that it cannot take.
        """
        n = whole_number("n", n, 1)
        width = whole_number("width", width, 1, MAX_BEAM_WIDTH)
        continuations = beam_search(self.network, self._state, n, width)
        return [(self.codec.decode(tokens, self._last), score) for tokens, score in continuations]

    def score(self, readable: Readable) -> Score:
        """Return the probability of each token of a text after all tokens before it; the stream stays.

        Tokens outside the vocabulary are scored as `<unk>`. Raises InputError.
        """
        numbers = token_numbers(self.codec, readable)
        state, log_probabilities = self._state, []
        for line in np.split(numbers, np.flatnonzero(numbers == self.codec.end_id) + 1):
            scores, _ = self.network.score(line, state)
            log_probabilities.append(scores)
            state = self.network.start  # only a line end is followed by another line
        tokens = tuple(self.codec.tokens[number] for number in numbers.tolist())
        return Score(tokens, np.concatenate(log_probabilities))

    @property
    def state(self) -> bytes:
        """The position of the stream as bytes; assign them to a stream of the same model to go on from there.

        `unknown` is not part of it and counts from 0 after an assignment. An assignment raises InputError
        for the state of another model, and for bytes that are not a state. A stream that adapts has no such
        bytes, because its weights would be part of them: reading `state` then raises InputError.
        """
        if self._adapted is not None:
            got, expected = "one that adapts", "a stream without adapt"
            remedy = "fork it to keep its position"
            raise InputError("state of a stream", got=got, expected=expected, remedy=remedy)
        network, last = self.network, -1 if self._last is None else self._last
        header = (_MAGIC, _FORMAT_VERSION, last, network.dtype.itemsize, network.digest)
        numbers = self._state.astype(network.dtype.newbyteorder("<"))
        return _HEADER.pack(*header) + numbers.tobytes()

    @state.setter
    def state(self, state: bytes) -> None:
        self._state[:], self._last = _state_from_bytes(self.network, state)
        self.unknown = 0


def _state_from_bytes(network: Network, state: object) -> tuple[np.ndarray, int | None]:
    """Return the numbers and the last token in bytes of `Stream.state`; raises InputError for other bytes."""
    dtype = network.dtype
    size = _HEADER.size + network.state_size * dtype.itemsize
    expected = f"{size} bytes that Stream.state gave"
    if not isinstance(state, bytes | bytearray | memoryview):
        raise InputError("state", got=type(state).__name__, expected=expected)
    state = bytes(state)
    if len(state) < _HEADER.size or not state.startswith(_MAGIC):
        raise InputError("state", got=f"{len(state)} other bytes", expected=expected)
    _, version, last, itemsize, digest = _HEADER.unpack_from(state)
    # The checks go from the outside in, so that each message names the real reason.
    if version != _FORMAT_VERSION:
        raise InputError("state", got=f"format {version}", expected=f"format {_FORMAT_VERSION}")
    if digest != network.digest:
        raise InputError("state of another model", remedy="use the very model that made it")
    if itemsize != dtype.itemsize:
        got = f"{8 * itemsize} bits a number"
        raise InputError("state", got=got, expected=f"{8 * dtype.itemsize}")
    if len(state) != size or not -1 <= last < len(network.model.codec):
        raise InputError("state", got=f"{len(state)} damaged bytes", expected=expected)
    numbers = np.frombuffer(state, dtype.newbyteorder("<"), offset=_HEADER.size)
    return numbers.astype(dtype), None if last < 0 else last
