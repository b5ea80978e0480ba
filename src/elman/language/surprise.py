r"""How surprising each line of a text is to a language model, and which lines are the most.

The surprise of a token is ``-log2`` of the probability that the model gave it, in bits: 1 for the toss of a
coin, 10 for one case in a thousand. Where the model's documents are lines each line stands alone, and its
last token is `<end>`; else each line is read after the lines before it, and its last token is the line end.
"""

from __future__ import annotations

import functools
import hashlib
import heapq
import io
import math
import operator
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TextIO, cast

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError, OptionError, printable
from elman.inspect.predictor import Inspectable
from elman.language.network import Network
from elman.language.predictor import LanguagePredictor, language_predictor
from elman.tables.frames import frame, frame_of
from elman.text.sources import Document, Source, read_sources
from elman.text.vocabulary import END, TextCodec, unknown_warning
from elman.text.words import LINE_END, UNKNOWN_ID, plain_line_ends

__all__ = ["MEASURES", "RankedLine", "Ranking", "Surprise", "rank_lines", "score_lines"]

MOST = 3
"""Tokens whose mean is the measure "top"."""

MEASURES: Mapping[str, Callable[[np.ndarray], Any]] = {
    "max": np.max,
    "top": lambda bits: (
        np.partition(bits, -MOST)[-MOST:].mean() if len(bits) > MOST else bits.mean()
    ),
    "mean": np.mean,
    "total": np.sum,
}
"""A line's one number, from the bits of its tokens: their greatest, the mean of the three greatest, the mean
of all, the sum."""

# Lines that wait to be read side by side, and their tokens; lines whose bits are kept, and their tokens.
_WAITING = 1 << 12
_TOKENS = 1 << 16
_KNOWN = 1 << 14
_KNOWN_TOKENS = 1 << 20
# Numbers of one piece of outputs [T, B, H] (16 MiB), and its steps.
_NUMBERS = 1 << 22
_STEPS = 512
# Beside the longest line none is read that is shorter than this share of it.
_FILLED = 0.5
_WIDTH = 72


def _function(measure: str) -> Callable[[np.ndarray], Any]:
    if measure not in MEASURES:
        raise OptionError("measure", got=measure, expected="one of " + ", ".join(MEASURES))
    return MEASURES[measure]


@dataclass(frozen=True, eq=False)
class Surprise:
    """How surprising the tokens of one line are.

    >>> codec = TextCodec("word", ("<unk>", "<end>", "tea"), documents="line")
    >>> line = Surprise(1, "tea cake", np.array([1.0, 9.0, 2.0], np.float32), 1, codec)
    >>> line.tokens[line.most], line.score(), line.score("mean"), line.score("total")
    ('cake', 9.0, 4.0, 12.0)
    """

    line: int
    """Its number, from 1."""
    text: str
    bits: np.ndarray
    """``[N]`` float32: the surprise of each of `tokens`; empty where a line that stands alone has none."""
    unknown: int
    """Tokens outside the vocabulary; they are scored as `<unk>`."""
    codec: TextCodec = field(repr=False)

    @functools.cached_property
    def tokens(self) -> tuple[str, ...]:
        """Its tokens as they were read, then `<end>` or the line end."""
        if not len(self.bits):
            return ()
        end = END if self.codec.end_id is not None else LINE_END
        return (*self.codec.tokenise(self.text), end)

    @property
    def most(self) -> int:
        """The place of the most surprising token, the first of them."""
        return int(self.bits.argmax())

    def score(self, measure: str = "max") -> float:
        """Return the line's one number, in bits; 0 without tokens. Raises OptionError."""
        function = _function(measure)
        return float(function(self.bits.astype(np.float64))) if len(self.bits) else 0.0

    def to_frame(self) -> Any:
        """Return the tokens and their surprise as a data frame of polars, or as columns without polars."""
        return frame({"token": self.tokens, "bits": self.bits})

    def __str__(self) -> str:
        rows = [
            f"{printable(token, 24):>24} {bits:8.2f}"
            for token, bits in zip(self.tokens, self.bits.tolist(), strict=True)
        ]
        return "\n".join([f"{'token':>24} {'bits':>8}", *rows])


def score_lines(predictor: LanguagePredictor, lines: str | Iterable[str]) -> Iterator[Surprise]:
    r"""Yield the surprise of each of `lines` (a text, or lines with or without their ends), in order.

    Lines that stand alone are read many side by side, each different one once; memory is bounded by
    the longest line. A line without tokens then has no bits: in training there is none. Raises
    InputError for a line in which a line ends.
    """
    if isinstance(lines, str):
        lines = plain_line_ends(lines).removesuffix(LINE_END).split(LINE_END) if lines else ()
    codec, network = predictor.model.codec, predictor.network
    alone = codec.end_id is not None
    encoded = ((line, codec.encode(line + LINE_END)) for line in _checked(lines))
    scored = (_side_by_side if alone else _in_a_row)(network, encoded)
    for number, (line, ids, bits) in enumerate(scored, 1):
        unknown = int(np.count_nonzero(ids == UNKNOWN_ID))
        yield Surprise(number, line, bits, unknown, codec)


_Line = tuple[str, np.ndarray]
_Scored = tuple[str, np.ndarray, np.ndarray]


def _checked(lines: Iterable[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if not isinstance(line, str):
            raise InputError(f"line {number}", got=type(line).__name__, expected="text")
        line = line.rstrip("\r\n")
        if LINE_END in line or "\r" in line:
            raise InputError(f"line {number}", got=line, expected="no line end in it")
        yield line


def _bits(network: Network, hidden: np.ndarray, targets: np.ndarray) -> np.ndarray:
    # + 0 makes 0 of -0
    return network.target_log_probabilities(hidden, targets) / -np.float32(math.log(2)) + 0


def _in_a_row(network: Network, lines: Iterable[_Line]) -> Iterator[_Scored]:
    """Yield each line with its bits, read after the lines before it."""
    state = network.start[None]
    for line, ids in lines:
        parts = []
        for at in range(0, len(ids), _STEPS):
            piece = ids[at : at + _STEPS]
            before = network.output(state)
            outputs, state = network.forward(piece[:, None], state)
            hidden = np.concatenate([before, outputs[:-1, 0]])
            parts.append(_bits(network, hidden, piece))
        yield line, ids, np.concatenate(parts)


def _side_by_side(network: Network, lines: Iterable[_Line]) -> Iterator[_Scored]:
    """Yield each line with its bits, each read from state zero; one that came before is not read again."""
    # a line of nothing but its end is no line in training
    known = {_key(np.array([network.model.codec.end_id])): np.zeros(0, np.float32)}
    for block in _blocks(lines):
        keys = [_key(ids) for _, ids in block]
        new = {key: ids for key, (_, ids) in zip(keys, block, strict=True) if key not in known}
        for group in _groups(list(new.values()), network.hidden_size):
            for ids, bits in zip(group, _together(network, group), strict=True):
                known[_key(ids)] = bits
        for key, (line, ids) in zip(keys, block, strict=True):
            yield line, ids, known[key]
        if len(known) > _KNOWN or sum(map(len, known.values())) > _KNOWN_TOKENS:
            for key in new:
                del known[key]


def _blocks(lines: Iterable[_Line]) -> Iterator[list[_Line]]:
    """Yield lines in blocks, so that few of them wait in memory."""
    block: list[_Line] = []
    held = 0
    for line in lines:
        block.append(line)
        held += len(line[1])
        if len(block) >= _WAITING or held >= _TOKENS:
            yield block
            block, held = [], 0
    yield block


def _key(ids: np.ndarray) -> bytes:
    return hashlib.blake2b(ids.tobytes(), digest_size=16).digest()


def _groups(lines: list[np.ndarray], hidden_size: int) -> Iterator[list[np.ndarray]]:
    """Yield the lines in groups of about one length, small enough to be read side by side."""
    lines.sort(key=len, reverse=True)
    group: list[np.ndarray] = []
    for ids in lines:
        if group:
            length = len(group[0])
            widest = max(1, _NUMBERS // (min(length, _STEPS) * hidden_size))
            if len(group) >= widest or len(ids) < _FILLED * length:
                yield group
                group = []
        group.append(ids)
    if group:
        yield group


def _together(network: Network, group: list[np.ndarray]) -> list[np.ndarray]:
    """Return the bits of each line of a group, the longest line first; every line ends in `<end>`."""
    lengths = np.array([len(ids) for ids in group])
    inside = np.arange(lengths[0])[:, None] < lengths
    targets = np.zeros(inside.shape, np.int64)
    targets.T[inside.T] = np.concatenate(group)
    start = np.full((1, len(group)), network.model.codec.start_id)
    inputs = np.concatenate([start, targets[:-1]])
    found = np.zeros(inside.shape, np.float32)
    state = network.initial_state(len(group))
    for at in range(0, len(inputs), _STEPS):
        piece = slice(at, at + _STEPS)
        # the lines that are not over yet come first
        going = int(np.count_nonzero(inside[at]))
        hidden, state = network.forward(inputs[piece, :going], state[:going])
        real = inside[piece, :going]
        part = found[piece, :going]
        part[real] = _bits(network, hidden[real], targets[piece, :going][real])
    return [found[:length, lane].copy() for lane, length in enumerate(lengths.tolist())]


@dataclass(frozen=True, eq=False)
class RankedLine:
    """One line of a ranking."""

    rank: int
    """From 1, the most surprising."""
    file: str
    score: float
    """Bits, by the ranking's measure."""
    surprise: Surprise
    """The line, its number in its file, and its steps."""

    def to_row(self, steps: bool = False) -> dict[str, Any]:
        """Return what a table shows of it; with `steps` its tokens and the bits of each too."""
        found = self.surprise
        row: dict[str, Any] = {
            "rank": self.rank,
            "file": self.file,
            "line": found.line,
            "score": self.score,
            "token": found.tokens[found.most],
            "token_bits": float(found.bits[found.most]),
            "unknown": found.unknown,
            "text": found.text,
        }
        if steps:
            row |= {"tokens": list(found.tokens), "bits": found.bits.tolist()}
        return row


@dataclass(frozen=True, eq=False)
class Ranking:
    """The most surprising lines of a text first."""

    measure: str
    rows: tuple[RankedLine, ...]
    scores: np.ndarray
    """``[lines]`` float64, bits: the score of every line read, in their order; 0 where it is empty."""
    empty: int
    """Lines of nothing but white space; they are not ranked, whatever their line end's surprise is."""
    tokens: int
    """Tokens scored, the ends of lines among them."""
    unknown: int
    """Tokens outside the vocabulary; they are scored as `<unk>`."""
    warnings: tuple[str, ...] = ()
    """What was odd about the text, in words."""

    def to_rows(self, steps: bool = False) -> list[dict[str, Any]]:
        """Return the ranked lines as dicts, for CSV or JSON; with `steps` the bits of each token too."""
        return [row.to_row(steps) for row in self.rows]

    def to_dict(self, steps: bool = False) -> dict[str, Any]:
        """Return the ranked lines and what was counted, for JSON."""
        return {
            "measure": self.measure,
            "lines": len(self.scores),
            "empty": self.empty,
            "tokens": self.tokens,
            "unknown": self.unknown,
            "median": self.median,
            "warnings": list(self.warnings),
            "rows": self.to_rows(steps),
        }

    def to_frame(self) -> Any:
        """Return the ranked lines as a data frame of polars, or as columns without polars."""
        return frame_of(self.to_rows())

    @property
    def median(self) -> float:
        """The score that half of the lines do not reach, in bits; 0 without lines."""
        return float(np.median(self.scores)) if len(self.scores) else 0.0

    def __str__(self) -> str:
        rows = self.to_rows()
        several = len({row["file"] for row in rows}) > 1
        places = [f"{row['file']}:{row['line']}" if several else str(row["line"]) for row in rows]
        places = [printable(place, 60) for place in places]
        tokens = [printable(row["token"], 24) for row in rows]
        left, width = (max([4, *map(len, names)]) for names in (places, tokens))
        lines, share = len(self.scores), 100 * self.unknown / max(1, self.tokens)
        empty = f", {self.empty:,} of them empty" if self.empty else ""
        return "\n".join(
            [
                f"rank {'line':>{left}} {self.measure:>8}  {'token':<{width}}   bits  text",
                *(
                    f"{row['rank']:>4} {place:>{left}} {row['score']:8.2f}  {token:<{width}} "
                    f"{row['token_bits']:6.2f}  {printable(row['text'], _WIDTH)}"
                    for row, place, token in zip(rows, places, tokens, strict=True)
                ),
                f"{lines:,} lines{empty}; half of them below {self.median:.2f} bits; "
                f"{share:.2f} % of the tokens unknown",
                *(f"warning: {warning}" for warning in self.warnings),
            ]
        )


def _lines(document: Document) -> Iterator[str]:
    """Yield the lines of a document without their ends."""
    parts: list[str] = []
    for block in document.blocks():
        first, *others = block.split(LINE_END)
        parts.append(first)
        for other in others:
            yield "".join(parts)
            parts = [other]
    if any(parts):
        yield "".join(parts)


def rank_lines(
    predictor: Inspectable,
    source: Source | TextIO,
    *,
    measure: str = "max",
    top: int | None = 20,
    encoding: str | None = None,
) -> Ranking:
    r"""Return the `top` (None: all) most surprising lines of a text, a path, several, or an open file.

    `predictor` is what `elman.load` returned for a language model, or a fitted `LanguageModel`.
    `measure` is one of `MEASURES`. The default, a line's most surprising token, ranked unusual event
    sequences best or within a thousandth of the best in `benchmarks/hdfs.py`, however short the training:
    one event that cannot be is enough, wherever it stands, while a mean thins it out in a long line and
    a sum grows with every harmless token. Equal scores stay in the order of the text. Raises DataError,
    InputError, OptionError.
    """
    language = language_predictor(predictor)
    _function(measure)  # its fault is told before a long text is read
    if top is not None:
        top = whole_number("top", top, 1)
    warnings: list[str] = []
    if isinstance(source, io.TextIOBase):
        texts: Iterable[tuple[str, Iterable[str]]] = [("-", cast(TextIO, source))]
    else:
        documents, warnings = read_sources(source, encoding, lines=True)
        texts = ((document.name, _lines(document)) for document in documents)
    scores = array("d")
    counts = {"empty": 0, "tokens": 0, "unknown": 0}

    def scored() -> Iterator[tuple[float, str, Surprise]]:
        for name, lines in texts:
            for surprise in score_lines(language, lines):
                blank = not surprise.text.strip() or not len(surprise.bits)
                scores.append(0.0 if blank else surprise.score(measure))
                counts["tokens"] += len(surprise.bits)
                counts["unknown"] += surprise.unknown
                if blank:
                    counts["empty"] += 1
                else:
                    yield scores[-1], name, surprise

    score = operator.itemgetter(0)
    # both keep the order of equal scores
    if top is None:
        best = sorted(scored(), key=score, reverse=True)
    else:
        best = heapq.nlargest(top, scored(), key=score)
    rows = tuple(
        RankedLine(rank, name, score, surprise)
        for rank, (score, name, surprise) in enumerate(best, 1)
    )
    warnings += unknown_warning(counts["unknown"], counts["tokens"])
    return Ranking(measure, rows, np.array(scores), **counts, warnings=tuple(warnings))
