"""The codec of a text: a vocabulary of tokens, with which text becomes token numbers and text again."""

from __future__ import annotations

import functools
import operator
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import chain, repeat
from typing import Any, Protocol

import numpy as np

from elman.errors import InputError, ModelFileError, OptionError, message, printable
from elman.text.packed_texts import pack_texts, unpack_texts
from elman.text.words import (
    LINE_END,
    MAX_TOKEN_CHARACTERS,
    MAX_WORD_CHARACTERS,
    UNKNOWN,
    UNKNOWN_ID,
    code_points,
    pieces,
    plain_line_ends,
    separator,
    spans_in_raw_text,
    tokenise,
    tokens_with_spans,
)

LEVELS = ("char", "word")
SPLITS = ("words", "whitespace", "log")
DOCUMENTS = ("file", "line")
END = "<end>"
UNICODE_SIZE = 0x110000
"""One more than the largest code point."""
MAX_KNOWN_PIECES = 200_000
"""The largest number of distinct pieces of text for which results are kept in memory."""
MAX_REMEMBERED_CHARACTERS = 64
"""Longest text, white space included, that is remembered as one token."""
_UNKNOWN_SHARE_TO_WARN = 0.5


class _Sized(Protocol):
    """A configuration of a network that reads tokens."""

    @property
    def vocabulary_size(self) -> int: ...


def special_tokens(documents: str) -> tuple[str, ...]:
    """Return the tokens with which every vocabulary of this kind of documents begins."""
    return (UNKNOWN, END) if documents == "line" else (UNKNOWN,)


def codec_problem(level: object, split: object, documents: object, tokens: Sequence[str]) -> str:
    """Return in words why no codec can have these fields, or "" if one can."""
    for name, value, choices in (
        ("level", level, LEVELS),
        ("split", split, SPLITS),
        ("documents", documents, DOCUMENTS),
    ):
        if value not in choices:
            return message(name, got=value, expected=f"one of {', '.join(choices)}")
    special = special_tokens(str(documents))
    if tuple(tokens[: len(special)]) != special:
        return f"the vocabulary does not begin with {' '.join(special)}"
    if len(set(tokens)) != len(tokens):
        return "the vocabulary holds a token twice"
    # A vocabulary may come from a file of anybody: each token must be one that reading a text can give.
    for token in tokens[len(special) :]:
        if level == "char":
            good = len(token) == 1
        else:
            short = 0 < len(token) <= MAX_TOKEN_CHARACTERS
            good = token == LINE_END or (short and not any(map(str.isspace, token)))
        if not good or (documents == "line" and token == LINE_END):
            return f"the vocabulary holds {printable(repr(token), 40)}, which no text gives"
    return ""


class _PieceNumbers(dict[str, tuple[int, ...]]):
    """The token numbers of pieces of text; each distinct piece is tokenised only once."""

    def __init__(self, index: Mapping[str, int], split: str) -> None:
        super().__init__()
        self._index, self._split = index, split

    def __missing__(self, piece: str) -> tuple[int, ...]:
        numbers = tuple(map(self._index.get, tokenise(piece, self._split), repeat(UNKNOWN_ID)))
        # Long pieces rarely occur again and would fill the memory.
        if len(piece) <= MAX_WORD_CHARACTERS:
            if len(self) >= MAX_KNOWN_PIECES:
                self.clear()
            self[piece] = numbers
        return numbers


@dataclass(frozen=True)
class TextCodec:
    r"""Converts text to token numbers and back.

    Token 0 is `<unk>`, as which every character or word outside the vocabulary is read. With
    documents="line", token 1 is `<end>`: the start and the end of every line, as which a line end is
    read.

    >>> codec = TextCodec("word", ("<unk>", "\n", "I", "like", "pizza", "!"))
    >>> codec.encode("I like cold pizza!").tolist()
    [2, 3, 0, 4, 5]
    >>> codec.decode([2, 3, 0, 4, 5])
    'I like <unk> pizza!'
    """

    level: str
    """"char" or "word"."""
    tokens: tuple[str, ...] = field(repr=False)
    """The vocabulary; a token's number is its index."""
    split: str = "words"
    """The way to find words, as in `tokenise`."""
    documents: str = "file"
    """"file" or "line": the part of a text before which the network forgets everything."""

    def __post_init__(self) -> None:
        if problem := codec_problem(self.level, self.split, self.documents, self.tokens):
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
        """The number of the token before any text: `<end>`, or the line end, or the commonest token."""
        if self.end_id is not None:
            return self.end_id
        return self._index.get(LINE_END, min(1, len(self.tokens) - 1))

    @functools.cached_property
    def _index(self) -> dict[str, int]:
        index = {token: number for number, token in enumerate(self.tokens)}
        if self.end_id is not None:
            # The characters <end> in a text must not end a line; a line end does.
            del index[END]
            index[LINE_END] = self.end_id
        return index

    @functools.cached_property
    def _number_of_code_point(self) -> np.ndarray:
        # A table of all code points turns a text into numbers by one indexing.
        numbers = np.zeros(UNICODE_SIZE, np.uint32)
        for token, number in self._index.items():
            if len(token) == 1:
                numbers[ord(token)] = number
        return numbers

    @functools.cached_property
    def ordinary(self) -> range:
        """The numbers of all tokens but `<unk>` and `<end>`."""
        return range(1 + max(UNKNOWN_ID, self.end_id or 0), len(self.tokens))

    @functools.cached_property
    def _single_tokens(self) -> dict[str, int]:
        return {}

    def ordinary_token(self, token: object) -> int | None:
        """Return the number of one ordinary token without making an array, or None.

        `token` is its number, or a text that `remember_token` has met. None stands for everything else.
        """
        if type(token) is str:
            return self._single_tokens.get(token)
        return token if type(token) is int and token in self.ordinary else None

    def remember_token(self, text: str, numbers: np.ndarray) -> None:
        """Remember for `ordinary_token` a short text whose ``numbers [N]`` are one ordinary token."""
        if len(numbers) == 1 and len(text) <= MAX_REMEMBERED_CHARACTERS:
            number = int(numbers[0])
            if len(self._single_tokens) == MAX_KNOWN_PIECES:
                self._single_tokens.clear()
            if number in self.ordinary:
                self._single_tokens[text] = number

    @functools.cached_property
    def _piece_numbers(self) -> _PieceNumbers:
        return _PieceNumbers(self._index, self.split)

    def __reduce__(self) -> tuple[type[TextCodec], tuple[str, tuple[str, ...], str, str]]:
        # A pickle or copy leaves the caches behind.
        return TextCodec, (self.level, self.tokens, self.split, self.documents)

    def tokenise(self, text: str) -> list[str]:
        """Return the tokens of `text` as strings, including those outside the vocabulary."""
        return list(text) if self.level == "char" else tokenise(text, self.split)

    def tokens_with_spans(self, text: str) -> list[tuple[str, int, int]]:
        """Return the tokens of `text`, each with its begin and end in characters."""
        if self.level == "word":
            return tokens_with_spans(text, self.split)
        characters = enumerate(plain_line_ends(text))
        return spans_in_raw_text(text, ((token, i, i + 1) for i, token in characters))

    def encode(self, text: str) -> np.ndarray:
        """Return the numbers of the tokens of `text`, int64 ``[N]``."""
        if self.level == "char":
            numbers: np.ndarray = self._number_of_code_point[code_points(text)]
            return numbers.astype(np.int64)
        # Most pieces are words that were met before, so their numbers are looked up.
        numbers_of_pieces = map(self._piece_numbers.__getitem__, pieces(text))
        return np.fromiter(chain.from_iterable(numbers_of_pieces), np.int64)

    def numbers(self, tokens: Iterable[str]) -> np.ndarray:
        """Return the number of each token, int64 ``[N]``, without splitting the tokens."""
        return np.fromiter((self._index.get(token, UNKNOWN_ID) for token in tokens), np.int64)

    def document_start(self, numbers: np.ndarray) -> int:
        """Return the index after the last `<end>` in ``numbers [N]``; 0 without one."""
        ends = np.flatnonzero(numbers == self.end_id)
        return int(ends[-1]) + 1 if len(ends) else 0

    def separator(self, previous: str | None, token: str) -> str:
        """Return the white space between two tokens; `previous` is None at the start."""
        if self.level == "char" or (self.end_id is not None and END in (previous, token)):
            return ""
        return separator(previous, token, self.split)

    def piece(self, previous: int | None, number: int) -> str:
        r"""Return the text that token `number` adds after token `previous`, white space included.

        `<end>` becomes a line end, and `<unk>` among characters becomes U+FFFD. Raises OptionError for a
        number outside the vocabulary.

        >>> codec = TextCodec("word", ("<unk>", "<end>", "pizza", "!"), documents="line")
        >>> [codec.piece(None, 2), codec.piece(2, 2), codec.piece(2, 3), codec.piece(3, 1)]
        ['pizza', ' pizza', '!', '\n']
        """
        for checked in (previous or 0, number):
            if not 0 <= checked < len(self.tokens):
                raise OptionError("token", got=checked, expected=f"0 to {len(self.tokens) - 1}")
        if number == self.end_id:
            return LINE_END
        if self.level == "char":
            return self.tokens[number] if number else "\ufffd"
        before = None if previous is None else self.tokens[previous]
        return self.separator(before, self.tokens[number]) + self.tokens[number]

    def decode(self, numbers: Iterable[int], previous: int | None = None) -> str:
        """Return the text of token numbers after token `previous`.

        It is the encoded text for characters, and differs from it only in white space for words.
        """
        texts: list[str] = []
        for number in map(operator.index, numbers):
            texts.append(self.piece(previous, number))
            previous = number
        return "".join(texts)

    def check(self, config: _Sized) -> None:
        """Raise InputError if the network of `config` has another vocabulary size."""
        if len(self.tokens) != config.vocabulary_size:
            raise InputError(
                "the codec's vocabulary",
                got=f"{len(self.tokens)} tokens",
                expected=f"vocabulary_size, {config.vocabulary_size}",
            )

    def settings(self) -> dict[str, str]:
        """Return the options of training that this codec fixes, by their names."""
        return {"level": self.level, "split": self.split, "documents": self.documents}

    def with_tokens(self, tokens: Iterable[str], maximum: int | None = None) -> TextCodec:
        """Return the codec with further tokens at its end, those of `tokens` that it does not have.

        Args:
            tokens: Tokens of the same level, the most important ones first.
            maximum: The largest size of the new vocabulary (default: no limit).

        >>> TextCodec("char", ("<unk>", "a")).with_tokens("abc").tokens
        ('<unk>', 'a', 'b', 'c')
        """
        known = set(self.tokens)
        new = [token for token in tokens if token not in known]
        room = None if maximum is None else max(0, maximum - len(self))
        return replace(self, tokens=(*self.tokens, *new[:room])) if new[:room] else self

    def to_parts(self, name: str = "codec") -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        """Return the codec as a JSON object and arrays named ``{name}.…``, for a model file."""
        fields = {"level": self.level, "split": self.split, "documents": self.documents}
        return fields, pack_texts(name, self.tokens)

    @classmethod
    def from_parts(
        cls, config: Mapping[str, Any], arrays: Mapping[str, np.ndarray], name: str = "codec"
    ) -> TextCodec:
        """Return the codec that `to_parts` took apart; raises ModelFileError for damaged parts."""
        tokens = unpack_texts(name, arrays)
        level, split, documents = (config.get(key) for key in ("level", "split", "documents"))
        if problem := codec_problem(level, split, documents, tokens):
            raise ModelFileError(f"vocabulary: {problem}")
        return cls(str(level), tokens, str(split), str(documents))


def unknown_warning(unknown: int, tokens: int) -> list[str]:
    """Return a warning if more than half of a text's tokens are outside the vocabulary.

    >>> unknown_warning(1, 10), len(unknown_warning(6, 10))
    ([], 1)
    """
    if unknown <= _UNKNOWN_SHARE_TO_WARN * tokens:
        return []
    return [
        f"{unknown / tokens:.0%} of the tokens are not in the model's vocabulary: is this the language,"
        " the encoding and the kind of text that it was trained on?"
    ]
