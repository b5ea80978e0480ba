r"""The surprise of a language model at each token of a line of text.

The surprise of a token is ``-log2`` of the probability that the model gave it, in bits: 1 for the toss of a
coin, 10 for one case in a thousand. If the model's documents are lines, each line is read from state zero,
and its last token is `<end>`. Otherwise each line is read after the lines before it, and its last token is
the line end.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np

from elman.errors import InputError, OptionError, printable
from elman.language.batches import evaluation_chunks
from elman.language.network import STEPS_PER_CALL, Network
from elman.language.predictor import LanguagePredictor
from elman.language.tokens import Tokens
from elman.tables.frames import frame
from elman.text.input_files import split_lines
from elman.text.vocabulary import END, TextCodec
from elman.text.words import LINE_END, UNKNOWN_ID, plain_line_ends

TOP_TOKENS = 3
"""Number of tokens in the measure "top"."""

DEFAULT_MEASURE = "peaks"
MEASURES: Mapping[str, Callable[[np.ndarray], Any]] = {
    "peaks": lambda bits: np.cbrt(np.sum(bits**3)),
    "max": np.max,
    "top": lambda bits: np.partition(bits, -min(TOP_TOKENS, len(bits)))[-TOP_TOKENS:].mean(),
    "mean": np.mean,
    "total": np.sum,
}
"""The ways to compute a line's score from the bits of its tokens: the cube root of the sum of their cubes,
the largest, the mean of the three largest, the mean of all, the sum."""

# Limits on the lines that wait in memory to be read side by side.
_MAX_WAITING_LINES, _MAX_WAITING_TOKENS = 1 << 12, 1 << 16
# Limits on the lines whose bits are kept in case the line occurs again.
_MAX_KNOWN_LINES, _MAX_KNOWN_TOKENS = 1 << 14, 1 << 20
# Limit on the numbers in the outputs [T, B, H] of lines that are read side by side (16 MiB).
_MAX_OUTPUT_NUMBERS = 1 << 22


def measure_function(measure: str) -> Callable[[np.ndarray], Any]:
    """Return the function of `MEASURES` with this name; raises OptionError."""
    if measure not in MEASURES:
        raise OptionError("measure", got=measure, expected="one of " + ", ".join(MEASURES))
    return MEASURES[measure]


@dataclass(frozen=True, eq=False)
class Surprise:
    """The surprise of each token of a line.

    >>> codec = TextCodec("word", ("<unk>", "<end>", "tea"), documents="line")
    >>> line = Surprise(1, "tea cake", np.array([1.0, 9.0, 2.0], np.float32), 1, codec)
    >>> line.tokens[line.most], line.score("max"), line.score("mean"), line.score("total")
    ('cake', 9.0, 4.0, 12.0)
    """

    line: int
    """Number of the line, from 1."""
    text: str
    bits: np.ndarray
    """``[N]`` float32: the surprise of each of `tokens`; empty for an empty line that is a document."""
    unknown: int
    """Number of tokens outside the vocabulary, which are scored as `<unk>`."""
    codec: TextCodec = field(repr=False)

    @functools.cached_property
    def tokens(self) -> tuple[str, ...]:
        """The tokens of the line, then `<end>` or the line end."""
        if not len(self.bits):
            return ()
        end = END if self.codec.end_id is not None else LINE_END
        return (*self.codec.tokenise(self.text), end)

    @property
    def most(self) -> int:
        """Index of the most surprising token; the first one if several are equal."""
        return int(self.bits.argmax())

    def score(self, measure: str = DEFAULT_MEASURE) -> float:
        """Return the line's score by one of `MEASURES`, in bits; 0 without tokens. Raises OptionError."""
        function = measure_function(measure)
        return float(function(self.bits.astype(np.float64))) if len(self.bits) else 0.0

    def to_frame(self) -> Any:
        """Return tokens and bits as a polars data frame, or as a dict of columns without polars."""
        return frame({"token": self.tokens, "bits": self.bits})

    def __str__(self) -> str:
        rows = [
            f"{printable(token, 24):>24} {bits:8.2f}"
            for token, bits in zip(self.tokens, self.bits.tolist(), strict=True)
        ]
        return "\n".join([f"{'token':>24} {'bits':>8}", *rows])


def score_lines(predictor: LanguagePredictor, lines: str | Iterable[str]) -> Iterator[Surprise]:
    r"""Yield the surprise of each line, in order.

    If the model's documents are lines, many lines are read side by side, identical lines only once, and an
    empty line has no bits. Memory is bounded by the longest line.

    Args:
        predictor: A language model, as `elman.load` returns it.
        lines: A text, or lines with or without their ends.

    Raises:
        InputError: A line is not text or has a line end inside it.
    """
    if isinstance(lines, str):
        lines = split_lines(plain_line_ends(lines)) if lines else ()
    codec, network = predictor.model.codec, predictor.network
    encoded = ((line, codec.encode(line + LINE_END)) for line in _checked(lines))
    read = _score_in_sequence if codec.end_id is None else _score_side_by_side
    for number, (line, ids, bits) in enumerate(read(network, encoded), 1):
        unknown = int(np.count_nonzero(ids == UNKNOWN_ID))
        yield Surprise(number, line, bits, unknown, codec)


_EncodedLine: TypeAlias = tuple[str, np.ndarray]
_ScoredLine: TypeAlias = tuple[str, np.ndarray, np.ndarray]


def _checked(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not isinstance(line, str):
            raise InputError(f"line {number}", got=type(line).__name__, expected="text")
        line = line.rstrip("\r\n")
        if LINE_END in line or "\r" in line:
            raise InputError(f"line {number}", got=line, expected="no line end in it")
        yield line


def _bits(log_probabilities: np.ndarray) -> np.ndarray:
    # + 0 turns -0 into 0
    return log_probabilities / -np.float32(math.log(2)) + 0


def _score_in_sequence(network: Network, lines: Iterable[_EncodedLine]) -> Iterator[_ScoredLine]:
    """Yield each line with its bits, read after the lines before it."""
    state = network.start
    for line, ids in lines:
        log_probabilities, state = network.score(ids, state)
        yield line, ids, _bits(log_probabilities)


def _score_side_by_side(network: Network, lines: Iterable[_EncodedLine]) -> Iterator[_ScoredLine]:
    """Yield each line with its bits, read from state zero; a repeated line is not read again."""
    # Training drops empty lines, so a line with nothing but its end has no bits.
    # A line is known by the bytes of its token numbers.
    known = {np.array([network.model.codec.end_id]).tobytes(): np.zeros(0, np.float32)}
    for block in _blocks(lines):
        distinct = {ids.tobytes(): ids for _, ids in block}
        new = {key: ids for key, ids in distinct.items() if key not in known}
        if new:
            known |= zip(new, _score_documents(network, [*new.values()]), strict=True)
        for line, ids in block:
            yield line, ids, known[ids.tobytes()]
        # Old lines stay, because the commonest lines of a log are met first.
        too_long = sum(map(len, known.values())) > _MAX_KNOWN_TOKENS
        if len(known) > _MAX_KNOWN_LINES or too_long:
            for key in new:
                del known[key]


def _blocks(lines: Iterable[_EncodedLine]) -> Iterator[list[_EncodedLine]]:
    """Yield lines in blocks, so that only a bounded number waits in memory."""
    block: list[_EncodedLine] = []
    tokens = 0
    for line in lines:
        block.append(line)
        tokens += len(line[1])
        if len(block) >= _MAX_WAITING_LINES or tokens >= _MAX_WAITING_TOKENS:
            yield block
            block, tokens = [], 0
    yield block


def _score_documents(network: Network, lines: list[np.ndarray]) -> list[np.ndarray]:
    """Return the bits of each line; lines of similar length are read side by side from state zero."""
    lengths = np.array([len(line) for line in lines])
    stops = np.cumsum(lengths)
    # Every line, with its line end, is a document of one text.
    text = Tokens(np.concatenate(lines), stops - lengths, network.model.codec.end_id)
    # [steps, lanes, H] numbers are in memory; short lines leave room for more lanes.
    longest = min(int(lengths.max()), STEPS_PER_CALL)
    chunks = evaluation_chunks(
        text,
        lanes=max(1, _MAX_OUTPUT_NUMBERS // (longest * network.hidden_size)),
        warm_up=len(text.ids),  # so long that no line is cut into parts
        sequence_length=STEPS_PER_CALL,
    )
    bits = np.zeros(len(text.ids), np.float32)
    for chunk, scores in network.score_chunks(chunks):
        bits[chunk.indices[chunk.is_target]] = _bits(scores)
    return np.split(bits, stops[:-1])
