"""The vocabulary: text to numbers and back, and how it is counted."""

from __future__ import annotations

import functools
import operator
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import chain, repeat
from typing import Any

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError, ModelFileError, OptionError, message, printable
from elman.text.words import (
    LINE_END,
    LONGEST,
    LONGEST_TOKEN,
    UNKNOWN,
    UNKNOWN_ID,
    in_raw,
    pieces,
    plain_line_ends,
    separator,
    spans,
    tokenise,
)

__all__ = [
    "DOCUMENTS",
    "END",
    "LEVELS",
    "SPLITS",
    "UNKNOWN",
    "TextCodec",
    "TokenCounter",
    "code_points",
    "count_vocabulary",
    "pack_texts",
    "unknown_warning",
    "unpack_texts",
]

_MOSTLY = 0.5

LEVELS = ("char", "word")
SPLITS = ("words", "whitespace", "log")
DOCUMENTS = ("file", "line")
END = "<end>"

_DEFAULT_MAXIMUM = {"char": 20_000, "word": 50_000}
_DEFAULT_MINIMUM = {"char": 1, "word": 2}
_UNICODE = 0x110000
_DISTINCT = 1_000_000
_PIECES = 200_000
_SHORT = 1 << 12
# Characters: a text without white space is one long piece, and its words can all be long.
_HELD = 32 << 20


def code_points(text: str) -> np.ndarray:
    """Return the code points of `text` as uint32 ``[N]``, lone surrogates included.

    >>> code_points("aé").tolist()
    [97, 233]
    """
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), "<u4")


def _problem(level: object, split: object, documents: object, tokens: Sequence[str]) -> str:
    """Return what is wrong with a codec's parts in words, or an empty string."""
    for name, value, choices in (
        ("level", level, LEVELS),
        ("split", split, SPLITS),
        ("documents", documents, DOCUMENTS),
    ):
        if value not in choices:
            return message(name, got=value, expected=f"one of {', '.join(choices)}")
    special = (UNKNOWN, END) if documents == "line" else (UNKNOWN,)
    if tuple(tokens[: len(special)]) != special:
        return f"the vocabulary does not begin with {' '.join(special)}"
    if len(set(tokens)) != len(tokens):
        return "the vocabulary holds a token twice"
    for token in tokens[len(special) :]:
        if level == "char":
            good = len(token) == 1
        else:
            short = 0 < len(token) <= LONGEST_TOKEN
            good = token == LINE_END or (short and not any(map(str.isspace, token)))
        if not good or (documents == "line" and token == LINE_END):
            return f"the vocabulary holds {printable(repr(token), 40)}, which no text gives"
    return ""


class _Known(dict[str, tuple[int, ...]]):
    """The numbers of the pieces met before, so that each kind of piece is cut but once."""

    def __init__(self, index: Mapping[str, int], split: str) -> None:
        super().__init__()
        self._index, self._split = index, split

    def __missing__(self, piece: str) -> tuple[int, ...]:
        numbers = tuple(map(self._index.get, tokenise(piece, self._split), repeat(UNKNOWN_ID)))
        if len(piece) <= LONGEST:
            if len(self) >= _PIECES:
                self.clear()
            self[piece] = numbers
        return numbers


@dataclass(frozen=True)
class TextCodec:
    r"""Text to token numbers and back: a level, a way to split, and the tokens in their order.

    Number 0 is `<unk>`, what every character or word outside the vocabulary reads as. With
    documents="line" number 1 is `<end>`, the start and the end of every line, and what a line
    end reads as.

    >>> codec = TextCodec("word", ("<unk>", "\n", "I", "like", "pizza", "!"))
    >>> codec.encode("I like cold pizza!").tolist()
    [2, 3, 0, 4, 5]
    >>> codec.decode([2, 3, 0, 4, 5])
    'I like <unk> pizza!'
    """

    level: str
    tokens: tuple[str, ...] = field(repr=False)
    split: str = "words"
    documents: str = "file"

    def __post_init__(self) -> None:
        problem = _problem(self.level, self.split, self.documents, self.tokens)
        if problem:
            raise OptionError(problem)

    def __len__(self) -> int:
        """Return the size of the vocabulary, V."""
        return len(self.tokens)

    @property
    def end_id(self) -> int | None:
        """The number of `<end>`, or None where documents are files."""
        return 1 if self.documents == "line" else None

    @property
    def start_id(self) -> int:
        """The number that is read before anything else: `<end>`, line end or commonest token."""
        if self.end_id is not None:
            return self.end_id
        return self._index.get(LINE_END, min(1, len(self.tokens) - 1))

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        index = {token: number for number, token in enumerate(self.tokens)}
        if self.end_id is not None:
            # a literal <end> in a text must not end a line
            del index[END]
            index[LINE_END] = self.end_id
        return index

    @functools.cached_property
    def _table(self) -> np.ndarray:
        table = np.zeros(_UNICODE, np.uint32)
        for token, number in self._index.items():
            if len(token) == 1:
                table[ord(token)] = number
        return table

    @functools.cached_property
    def _known(self) -> _Known:
        return _Known(self._index, self.split)

    def __reduce__(self) -> tuple[type[TextCodec], tuple[str, tuple[str, ...], str, str]]:
        # what was cached stays behind
        return TextCodec, (self.level, self.tokens, self.split, self.documents)

    def tokenise(self, text: str) -> list[str]:
        """Return the tokens of `text` as strings, whether the vocabulary has them or not."""
        return list(text) if self.level == "char" else tokenise(text, self.split)

    def spans(self, text: str) -> list[tuple[int, int]]:
        """Return where each token of `text`, its line ends made plain, stands in it, as (begin, end)."""
        if self.level != "char":
            return spans(text, self.split)
        return in_raw(text, [(at, at + 1) for at in range(len(plain_line_ends(text)))])

    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of the tokens of `text`, int64 ``[N]``."""
        if self.level == "char":
            numbers: np.ndarray = self._table[code_points(text)]
            return numbers.astype(np.int64)
        known = map(self._known.__getitem__, pieces(text))
        return np.fromiter(chain.from_iterable(known), np.int64)

    def numbers(self, tokens: Iterable[str]) -> np.ndarray:
        """Return the number of each token, int64 ``[N]``, whatever stands in it."""
        return np.fromiter((self._index.get(token, UNKNOWN_ID) for token in tokens), np.int64)

    def separator(self, previous: str | None, token: str) -> str:
        """Return the white space to write between two tokens; `previous` is None at the start."""
        if self.level == "char" or (self.end_id is not None and END in (previous, token)):
            return ""
        return separator(previous, token, self.split)

    def piece(self, previous: int | None, number: int) -> str:
        r"""Return what to write for token `number` after `previous`, white space first.

        `<end>` is written as a line end, `<unk>` among characters as U+FFFD.
        Raises OptionError for a number outside the vocabulary.

        >>> codec = TextCodec("word", ("<unk>", "<end>", "pizza", "!"), documents="line")
        >>> [codec.piece(None, 2), codec.piece(2, 2), codec.piece(2, 3), codec.piece(3, 1)]
        ['pizza', ' pizza', '!', '\n']
        """
        for given in (previous or 0, number):
            if not 0 <= given < len(self.tokens):
                raise OptionError("token", got=given, expected=f"0 to {len(self.tokens) - 1}")
        if number == self.end_id:
            return LINE_END
        if self.level == "char":
            return self.tokens[number] if number else "\ufffd"
        before = None if previous is None else self.tokens[previous]
        return self.separator(before, self.tokens[number]) + self.tokens[number]

    def decode(self, numbers: Iterable[int]) -> str:
        """Return the text of token numbers: exact for characters, up to white space for words."""
        pieces: list[str] = []
        previous: int | None = None
        for number in map(operator.index, numbers):
            pieces.append(self.piece(previous, number))
            previous = number
        return "".join(pieces)

    def check(self, config: Any) -> None:
        """Raise InputError where a network has another vocabulary size."""
        if len(self.tokens) != config.vocabulary_size:
            raise InputError(
                "the codec's vocabulary",
                got=f"{len(self.tokens)} tokens",
                expected=f"vocabulary_size, {config.vocabulary_size}",
            )

    def to_parts(self, name: str = "codec") -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the codec as a JSON object and arrays named ``{name}.…``, for a model file."""
        form = {"level": self.level, "split": self.split, "documents": self.documents}
        return form, pack_texts(name, self.tokens)

    @classmethod
    def from_parts(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], name: str = "codec"
    ) -> TextCodec:
        """Return the codec that `to_parts` took apart; raises ModelFileError for anything else."""
        tokens = unpack_texts(name, arrays)
        level, split, documents = (config.get(name) for name in ("level", "split", "documents"))
        if problem := _problem(level, split, documents, tokens):
            raise ModelFileError(f"vocabulary: {problem}")
        return cls(str(level), tokens, str(split), str(documents))


def pack_texts(name: str, texts: Iterable[str]) -> dict[str, np.ndarray]:
    """Return texts as the arrays ``{name}.bytes`` and ``{name}.lengths`` of a model file."""
    encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
    return {
        f"{name}.bytes": np.frombuffer(b"".join(encoded), np.uint8),
        f"{name}.lengths": np.array([len(text) for text in encoded], np.uint32),
    }


def unpack_texts(name: str, arrays: Mapping[str, np.ndarray]) -> tuple[str, ...]:
    """Return the texts that `pack_texts` packed; raises ModelFileError for anything else."""
    payload, lengths = (
        _part(arrays, f"{name}.{part}", dtype)
        for part, dtype in (("bytes", np.uint8), ("lengths", np.uint32))
    )
    if int(lengths.sum(dtype=np.uint64)) != len(payload):
        raise ModelFileError("vocabulary: lengths and bytes do not fit together")
    text, stops = payload.tobytes(), np.cumsum(lengths, dtype=np.int64).tolist()
    try:
        return tuple(
            text[start:stop].decode("utf-8", "surrogatepass")
            for start, stop in zip([0, *stops], stops, strict=False)
        )
    except UnicodeDecodeError as error:
        raise ModelFileError("vocabulary: not UTF-8", got=error.reason) from None


def _part(arrays: Mapping[str, np.ndarray], name: str, dtype: type[np.generic]) -> np.ndarray:
    array = arrays.get(name)
    if array is None or array.dtype != dtype or array.ndim != 1:
        got = "nothing" if array is None else f"{array.dtype} {list(array.shape)}"
        raise ModelFileError(name, got=got, expected=f"a row of {dtype.__name__}")
    return array


class TokenCounter:
    """Counts tokens in bounded memory: of words at most a million kinds, the rarest dropped."""

    def __init__(self, level: str, split: str = "words") -> None:
        self.level, self.split = level, split
        self.pruned = False
        self._codes = np.zeros(_UNICODE, np.int64)
        self._words: Counter[str] = Counter()
        self._pieces: Counter[str] = Counter()
        self._held = 0

    def add(self, text: str) -> None:
        """Count the tokens of a text that ends where a token ends."""
        if self.level == "char":
            codes = code_points(text)
            if len(codes) < _SHORT:
                # the first emoji would make every tweet's bincount 100,000 numbers long
                kinds, counts = np.unique(codes, return_counts=True)
                self._codes[kinds] += counts
            else:
                counts = np.bincount(codes)
                self._codes[: len(counts)] += counts
        else:
            self._pieces.update(pieces(text))
            self._held += len(text)
            if len(self._pieces) > _PIECES or self._held > _HELD:
                self._cut()

    def _cut(self) -> None:
        for piece, count in self._pieces.items():
            for word in tokenise(piece, self.split):
                self._words[word] += count
            if len(self._words) > _DISTINCT:
                self._prune()
        self._pieces.clear()
        self._held = 0
        if sum(map(len, self._words)) > 2 * _HELD:
            self._prune()

    def _prune(self) -> None:
        # Half of them stays, so that the work for each new word is constant. Of words that are
        # equally rare the earliest met stay.
        half = min(_DISTINCT, len(self._words)) // 2
        kept = {word for word, _ in self._words.most_common(half)}
        self._words = Counter({word: n for word, n in self._words.items() if word in kept})
        self.pruned = True

    def common(self, minimum: int = 1) -> list[tuple[str, int]]:
        """Return (token, count) by falling count, ties by text; counts below `minimum` left out."""
        self._cut()
        pairs = [(chr(code), int(self._codes[code])) for code in np.flatnonzero(self._codes)]
        pairs += self._words.items()
        pairs = [pair for pair in pairs if pair[1] >= minimum]
        return sorted(pairs, key=lambda pair: (-pair[1], pair[0]))


def unknown_warning(unknown: int, tokens: int) -> list[str]:
    """Return what to say where most of the tokens that a model is given are outside its vocabulary.

    >>> unknown_warning(1, 10), len(unknown_warning(6, 10))
    ([], 1)
    """
    if unknown <= _MOSTLY * tokens:
        return []
    return [
        f"{unknown / tokens:.0%} of the tokens are not in the model's vocabulary: is this the language,"
        " the encoding and the kind of text that it was trained on?"
    ]


def count_vocabulary(
    blocks: Iterable[str],
    *,
    level: str = "char",
    split: str = "words",
    documents: str = "file",
    max_vocabulary: int | None = None,
    min_count: int | None = None,
) -> tuple[TextCodec, bool]:
    r"""Return the codec of a text counted in one bounded pass, and whether rare words were dropped.

    `blocks` are the text in order, cut where tokens end, its line ends ``"\n"``. `max_vocabulary`
    is the most tokens that the codec may hold, `<unk>` and `<end>` among them (20,000 characters,
    50,000 words); what occurs fewer than `min_count` times (1 for characters, 2 for words) becomes
    `<unk>`. Raises OptionError for an option's value.

    >>> codec, pruned = count_vocabulary(["to be or not to be\n"], level="word")
    >>> codec.tokens
    ('<unk>', 'be', 'to')
    """
    special = (UNKNOWN, END) if documents == "line" else (UNKNOWN,)
    if problem := _problem(level, split, documents, special):
        raise OptionError(problem)
    maximum = _DEFAULT_MAXIMUM[level] if max_vocabulary is None else max_vocabulary
    maximum = whole_number("max_vocabulary", maximum, len(special) + 1)
    minimum = _DEFAULT_MINIMUM[level] if min_count is None else min_count
    minimum = whole_number("min_count", minimum, 1)
    counter = TokenCounter(level, split)
    for block in blocks:
        counter.add(block)
    reserved = {*special, LINE_END} if documents == "line" else {*special}
    room = maximum - len(special)
    tokens = [token for token, _ in counter.common(minimum) if token not in reserved]
    if not tokens:
        # a text so short that no word occurs twice
        tokens = [token for token, _ in counter.common() if token not in reserved]
        if tokens and min_count is not None:
            remedy = "no token occurs that often; pass a smaller one"
            raise OptionError("min_count", got=min_count, remedy=remedy)
    return TextCodec(level, (*special, *tokens[:room]), split, documents), counter.pruned
