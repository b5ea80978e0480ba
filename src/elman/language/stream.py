"""One stream: what has been read is its state, and every question is answered from there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError
from elman.files.model import Model
from elman.language.network import Network
from elman.language.sampling import MAX_WIDTH, Predictions, Sampling, beam_search, generator, ranked
from elman.language.state import pack, unpack
from elman.tables.frames import frame
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID, plain_line_ends

__all__ = ["Readable", "Score", "Stream", "network_of", "token_numbers"]

Readable: TypeAlias = str | Sequence[int] | np.ndarray

# Steps of one product of inputs: long enough to be quick, short enough that memory stays small.
STEPS = 512


def network_of(model: Model | Network) -> Network:
    """Return the network of a model, or the network itself where one is ready."""
    return model if isinstance(model, Network) else Network(model)


def token_numbers(codec: TextCodec, readable: Readable) -> np.ndarray:
    """Return the token numbers ``[N]`` of a text or of a sequence of token numbers.

    Raises InputError for anything else and for numbers outside the vocabulary.
    """
    if isinstance(readable, str):
        return codec.encode(plain_line_ends(readable))
    limit = f"text, or token numbers from 0 to {len(codec) - 1}"
    if isinstance(readable, bytes | bytearray):
        got, remedy = type(readable).__name__, "decode bytes first"
        raise InputError("tokens", got=got, expected=limit, remedy=remedy)
    try:
        numbers = np.asarray(readable)
    except (ValueError, OverflowError) as error:
        raise InputError("tokens", got=error, expected=limit) from None
    if numbers.ndim == 1 and not numbers.size:
        return numbers.astype(np.int64)
    if numbers.ndim != 1 or numbers.dtype.kind not in "iu":
        got, remedy = f"{numbers.dtype.name} {list(numbers.shape)}", ""
        if not numbers.ndim:
            got = type(readable).__name__
        elif numbers.dtype.kind == "U":
            got, remedy = f"a list of {len(numbers)} texts", "pass one text at a time"
        raise InputError("tokens", got=got, expected=limit, remedy=remedy)
    outside = (numbers < 0) | (numbers >= len(codec))
    if outside.any():
        raise InputError("tokens", got=int(numbers[outside][0]), expected=limit)
    return numbers.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Score:
    """How probable a text is, token by token."""

    tokens: tuple[str, ...]
    """The tokens of the text, `<unk>` for those outside the vocabulary."""
    log_probabilities: np.ndarray
    """Natural logarithm ``[N]`` of each token's probability after all before it."""

    @property
    def total(self) -> float:
        """The log probability of the whole text in nats."""
        return float(self.log_probabilities.sum(dtype=np.float64))

    @property
    def loss(self) -> float:
        """Nats a token; 0 for an empty text."""
        # 0 minus the total, for -0.0 is no loss that a person writes
        return 0.0 - self.total / max(1, len(self.tokens))

    def to_frame(self) -> Any:
        """Return the tokens and their log probabilities as a data frame, or as columns without polars."""
        return frame({"token": self.tokens, "log_probability": self.log_probabilities})

    def __str__(self) -> str:
        rows = [
            f"{token!r:>16}  {np.exp(value):8.4f}  {value:9.3f}"
            for token, value in zip(self.tokens, self.log_probabilities.tolist(), strict=True)
        ]
        head = f"{'token':>16}  {'prob.':>8}  {'log prob.':>9}"
        return "\n".join([head, *rows, f"loss {self.loss:.4f} nats a token"])


class Stream:
    """One sequence being read: feed it, ask what comes next, let it write.

    Questions leave it where it is; only `feed` and `generate` move it. The first token is predicted
    as behind the codec's start token: the end of a line, where documents are lines, or else a line
    end or the commonest token. Where documents are lines, every line starts so, from state zero.

    `unknown` counts the tokens fed since the last reset that are outside the vocabulary.
    """

    def __init__(self, model: Model | Network) -> None:
        self.network = network_of(model)
        self.codec = self.network.model.codec
        self.reset()

    def __repr__(self) -> str:
        read = "nothing read" if self._last is None else f"after {self.codec.tokens[self._last]!r}"
        return f"Stream({self.network.model.summary}; {read})"

    def reset(self) -> Stream:
        """Forget all that was fed; returns self."""
        self.unknown = 0
        self._anew()
        return self

    def _anew(self) -> None:
        self._last: int | None = None
        self._state = self.network.start.copy()
        self._spare = np.empty_like(self._state)

    def fork(self) -> Stream:
        """Return a stream that has read the same and goes its own way from here."""
        other = Stream.__new__(Stream)
        other.__dict__.update(self.__dict__)
        other._state, other._spare = self._state.copy(), np.empty_like(self._state)
        return other

    def feed(self, readable: Readable) -> Stream:
        """Read a text or token numbers; returns self.

        A token outside the vocabulary is read as `<unk>` and counted in `unknown`. Raises
        InputError for numbers outside the vocabulary.
        """
        numbers = token_numbers(self.codec, readable)
        self.unknown += int(np.count_nonzero(numbers == UNKNOWN_ID))
        if self.codec.end_id is not None:
            ends = np.flatnonzero(numbers == self.codec.end_id)
            if len(ends):
                # what stands before the last line's start is forgotten by design
                self._anew()
                numbers = numbers[ends[-1] + 1 :]
        for start in range(0, len(numbers), STEPS):
            self._advance(numbers[start : start + STEPS])
        return self

    def _advance(self, numbers: np.ndarray) -> np.ndarray:
        """Read ``numbers [T]``, T from 1; return the outputs ``[T, H]``."""
        y, states = self.network.forward(numbers[:, None], self._state[None])
        self._state, self._last = states[0], int(numbers[-1])
        return y[:, 0]

    def step(self, token: int, out: np.ndarray | None = None) -> np.ndarray:
        """Read one token number; return the log probabilities ``[V]`` of the next, written to `out`.

        The shortest way from a token to a prediction, for programs that step in real time. Raises
        InputError for a number outside the vocabulary and for an `out` that does not fit.
        """
        if out is None:
            out = np.empty(len(self.codec), self.network.dtype)
        if type(token) is not int or not 0 <= token < len(self.codec):
            token = whole_number("token", token, 0, len(self.codec) - 1)
        fits = isinstance(out, np.ndarray) and out.shape == (len(self.codec),)
        if not fits or out.dtype != self.network.dtype or not out.flags.c_contiguous:
            expected = f"{self.network.dtype} [{len(self.codec)}], contiguous"
            raise InputError(
                "out", got=getattr(out, "shape", type(out).__name__), expected=expected
            )
        if token == UNKNOWN_ID:
            self.unknown += 1
        if token == self.codec.end_id:
            self._anew()
            out[:] = self._log_probabilities()
            return out
        self.network.step(token, self._state, self._spare, out)
        self._state, self._spare = self._spare, self._state
        self._last = token
        return out

    @property
    def probabilities(self) -> np.ndarray:
        """The probability ``[V]`` of each token of the vocabulary to come next, `<unk>` too."""
        result: np.ndarray = np.exp(self._log_probabilities())
        return result

    def _log_probabilities(self) -> np.ndarray:
        return self.network.log_probabilities(self.network.output(self._state))

    def predict(self, k: int = 5) -> Predictions:
        """Return the `k` most probable next tokens with their probability, best first.

        `<unk>` is never offered; its share of the probability is not given to the others. Where
        documents are lines, `<end>` is the end of the line. Raises OptionError.
        """
        k = whole_number("k", k, 1)
        return ranked(self.codec, self._log_probabilities(), k)

    def generate(self, n: int, seed: int | None = None, **sampling: Any) -> str:
        """Return the text of `generate_pieces`, whole: the same text, in one call of the kernel."""
        n = whole_number("n", n, 1)
        how, uniforms = Sampling(**sampling), generator(seed).random(n)
        tokens = self.network.generate(self._state, uniforms, *how.in_kernel)
        if tokens is None:
            return "".join(self._pieces(how, iter(uniforms.tolist())))
        text = self._text(tokens.tolist())
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
        """Return `n` drawn tokens as text, piece by piece, and read them as each is drawn.

        `temperature` divides the logits (0 takes the most probable token); then only the `top_k`
        most probable tokens stay, then the fewest that together have probability `top_p`. The
        same `seed` gives the same text. Where documents are lines, `<end>` is written as a line end
        and the stream starts anew. Raises OptionError.
        """
        n = whole_number("n", n, 1)
        sampling, random = Sampling(temperature, top_k, top_p), generator(seed)
        return self._pieces(sampling, (random.random() for _ in range(n)))

    def _pieces(self, sampling: Sampling, uniforms: Iterator[float]) -> Iterator[str]:
        codec, network = self.codec, self.network
        for uniform in uniforms:
            token = sampling.draw(network.logits(network.output(self._state)), uniform)
            piece = codec.piece(self._last, token)
            if token == codec.end_id:
                self._anew()
            else:
                self._advance(np.array([token]))
            yield piece

    def beam(self, n: int, width: int = 10) -> list[tuple[str, float]]:
        """Return the `width` most probable continuations of `n` tokens with log probability.

        A beam search: the `width` best beginnings are kept at each step. Best first; the stream
        stays where it is. Where documents are lines, a continuation may end early, in a line end.
        Raises OptionError.
        """
        n = whole_number("n", n, 1)
        width = whole_number("width", width, 1, MAX_WIDTH)
        found = beam_search(self.network, self._state, n, width)
        return [(self._text(tokens), score) for tokens, score in found]

    def _text(self, tokens: list[int]) -> str:
        pieces, previous = [], self._last
        for token in tokens:
            pieces.append(self.codec.piece(previous, token))
            previous = None if token == self.codec.end_id else token
        return "".join(pieces)

    def score(self, readable: Readable) -> Score:
        """Return how probable each token of a text is after all before it; the stream stays.

        Tokens outside the vocabulary are scored as `<unk>`. Raises InputError.
        """
        numbers = token_numbers(self.codec, readable)
        reader = self.fork()
        parts = [np.empty(0, self.network.dtype)]
        for line in self._lines(numbers):
            for start in range(0, len(line), STEPS):
                block = line[start : start + STEPS]
                before = self.network.output(reader._state)[None]
                y = reader._advance(block)
                hidden = np.concatenate([before, y[:-1]])
                parts.append(self.network.target_log_probabilities(hidden, block))
            if line[-1] == self.codec.end_id:
                reader._anew()
        tokens = tuple(self.codec.tokens[number] for number in numbers.tolist())
        return Score(tokens, np.concatenate(parts))

    def _lines(self, numbers: np.ndarray) -> list[np.ndarray]:
        if self.codec.end_id is None:
            return [numbers] if len(numbers) else []
        ends = np.flatnonzero(numbers == self.codec.end_id) + 1
        return [line for line in np.split(numbers, ends) if len(line)]

    @property
    def state(self) -> bytes:
        """Where the stream stands, as bytes to keep; set it to go on from there.

        `unknown` is not in it, and counts from 0 after it is set. Setting raises InputError for
        another model's state, and for bytes that are no state.
        """
        return pack(self.network, self._state, self._last)

    @state.setter
    def state(self, state: bytes) -> None:
        self._state, self._last = unpack(self.network, state)
        self._spare = np.empty_like(self._state)
        self.unknown = 0
