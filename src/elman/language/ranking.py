"""The most surprising lines of a text: `elman score` and `rank_lines`."""

from __future__ import annotations

import heapq
import io
import operator
import sys
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, TextIO

import numpy as np
from numpy.typing import ArrayLike

from elman.engine.shapes import whole_number
from elman.errors import DataError, OptionError, printable
from elman.inspect.predictor import Inspectable
from elman.language.detection import DETECTOR, NORMAL_QUANTILE, Detection, NormalCounts
from elman.language.predictor import LanguagePredictor, language_predictor
from elman.language.surprise import DEFAULT_MEASURE, Surprise, measure_function, score_lines
from elman.tables.frames import frame_of
from elman.text.sources import Source, document_lines, read_sources
from elman.text.vocabulary import unknown_warning

_SHOWN_CHARACTERS = 72
_JSON_FIELDS = ("measure", "empty", "tokens", "unknown", "median")


@dataclass(frozen=True, eq=False)
class RankedLine:
    """A line of a ranking."""

    rank: int
    """1 for the most surprising line."""
    score: float
    """The line's score in bits, by the measure of the ranking."""
    file: str
    surprise: Surprise
    """The line, its number in its file, and the surprise of its tokens."""

    def to_row(self, steps: bool = False) -> dict[str, Any]:
        """Return the line as a table shows it; with `steps` also its tokens and their bits."""
        surprise = self.surprise
        row: dict[str, Any] = {
            "rank": self.rank,
            "file": self.file,
            "line": surprise.line,
            "score": self.score,
            "token": surprise.tokens[surprise.most],
            "token_bits": float(surprise.bits[surprise.most]),
            "unknown": surprise.unknown,
            "text": surprise.text,
        }
        if steps:
            row |= {"tokens": list(surprise.tokens), "bits": surprise.bits.tolist()}
        return row


@dataclass(frozen=True, eq=False)
class Ranking:
    """The lines of a text by falling surprise."""

    measure: str
    rows: tuple[RankedLine, ...]
    scores: np.ndarray
    """``[lines]`` float64, bits: the score of every line in the order of the text; 0 for an empty line."""
    empty: int
    """Number of lines without visible characters, which are not ranked."""
    tokens: int
    """Number of tokens that were scored, including the ends of lines."""
    unknown: int
    """Number of tokens outside the vocabulary, which are scored as `<unk>`."""
    warnings: tuple[str, ...] = ()
    """Warnings about the text."""
    detection: Detection | None = None
    """The lines that differ from normal lines; None without normal lines."""

    def to_rows(self, steps: bool = False) -> list[dict[str, Any]]:
        """Return the ranked lines as dicts, for CSV or JSON; with `steps` also the bits of each token."""
        return [row.to_row(steps) for row in self.rows]

    def to_dict(self, steps: bool = False) -> dict[str, Any]:
        """Return the ranked lines and all counts, for JSON."""
        fields = {name: getattr(self, name) for name in _JSON_FIELDS}
        rows = self.to_rows(steps)
        fields |= {"lines": len(self.scores), "warnings": list(self.warnings), "rows": rows}
        return fields | ({"detection": self.detection.to_dict()} if self.detection else {})

    def to_frame(self) -> Any:
        """Return the ranked lines as a polars data frame, or as a dict of columns without polars."""
        return frame_of(self.to_rows())

    @property
    def median(self) -> float:
        """The median score of all lines in bits; 0 without lines."""
        return float(np.median(self.scores)) if len(self.scores) else 0.0

    def __str__(self) -> str:
        several = len({row.file for row in self.rows}) > 1
        cells = [("line", "token")]
        for row in self.rows:
            line, token = row.surprise.line, row.surprise.tokens[row.surprise.most]
            location = f"{row.file}:{line}" if several else str(line)
            cells.append((printable(location, 60), printable(token, 24)))
        location_width, token_width = (max(map(len, column)) for column in zip(*cells, strict=True))
        lines = [
            f"rank {'line':>{location_width}} {self.measure:>8}  {'token':<{token_width}}   bits  text"
        ]
        for row, (location, token) in zip(self.rows, cells[1:], strict=True):
            bits = row.surprise.bits[row.surprise.most]
            text = printable(row.surprise.text, _SHOWN_CHARACTERS)
            lines.append(
                f"{row.rank:>4} {location:>{location_width}} {row.score:8.2f}  "
                f"{token:<{token_width}} {bits:6.2f}  {text}"
            )
        unknown = 100 * self.unknown / max(1, self.tokens)
        empty = f", {self.empty:,} of them empty" if self.empty else ""
        lines.append(
            f"{len(self.scores):,} lines{empty}; half of them below {self.median:.2f} bits; "
            f"{unknown:.2f} % of the tokens unknown"
        )
        lines += [str(self.detection)] if self.detection else []
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


def rank_lines(
    predictor: Inspectable,
    source: Source | TextIO,
    *,
    measure: str = DEFAULT_MEASURE,
    top: int | None = 20,
    encoding: str | None = None,
    normal: Source | None = None,
    labels: ArrayLike | None = None,
) -> Ranking:
    """Return the most surprising lines of a text; raises DataError, InputError and OptionError.

    The default measure, "peaks", is nearly that of the most surprising token, and further surprising tokens
    raise it. A mean dilutes one impossible event in a long line, and a sum grows with every ordinary token.
    docs/score.md compares the measures. Equal scores stay in the order of the text.

    Args:
        predictor: A language model, as `elman.load` returns it, or a fitted `LanguageModel`.
        source: A text, a path, several of these, or an open file.
        measure: The score of a line, one of `elman.language.surprise.MEASURES`.
        top: The number of lines to return; None returns all.
        encoding: The encoding of the files; None detects it.
        normal: Normal lines, for the threshold and the three-line detector of `elman.language.detection`.
        labels: ``[lines]`` bool, whether each line of `source` is unusual; needs `normal`.
    """
    language = language_predictor(predictor)
    measure_function(measure)  # raises before a long text is read
    limit = sys.maxsize if top is None else whole_number("top", top, 1)
    if labels is not None and normal is None:
        raise OptionError("labels", got="no normal lines", expected="normal= for the threshold")
    reference = None if normal is None else _Normal(language, normal, measure, encoding)
    texts, warnings = _texts(source, encoding)
    # An array of doubles takes 8 bytes a line; only the best lines are kept whole.
    scores, unlike = array("d"), array("B")
    counts = Counter(empty=0, tokens=0, unknown=0)

    def scored() -> Iterator[tuple[float, str, Surprise]]:
        for name, lines in texts:
            for surprise in score_lines(language, lines):
                is_empty = _is_empty(surprise)
                counts.update(empty=is_empty, tokens=len(surprise.bits), unknown=surprise.unknown)
                scores.append(0.0 if is_empty else surprise.score(measure))
                if reference is not None:
                    unlike.append(not is_empty and reference.counts.reports(surprise.tokens))
                if not is_empty:
                    yield scores[-1], name, surprise

    # nlargest keeps the order of equal scores
    best = heapq.nlargest(limit, scored(), key=operator.itemgetter(0))
    rows = tuple(RankedLine(rank, *line) for rank, line in enumerate(best, 1))
    warnings += unknown_warning(counts["unknown"], counts["tokens"])
    every = np.array(scores)
    detection = None
    if reference is not None:
        reported = {"network": every > reference.threshold, DETECTOR: np.array(unlike, bool)}
        detection = Detection(reference.threshold, reported, _truth(labels, len(every)))
    return Ranking(measure, rows, every, **counts, warnings=tuple(warnings), detection=detection)


class _Normal:
    """Normal lines: the threshold of their scores, and the counts of their tokens."""

    def __init__(
        self, language: LanguagePredictor, source: Source, measure: str, encoding: str | None
    ) -> None:
        scores = array("d")

        def tokens() -> Iterator[tuple[str, ...]]:
            for _, lines in _texts(source, encoding)[0]:
                for surprise in score_lines(language, lines):
                    if not _is_empty(surprise):
                        scores.append(surprise.score(measure))
                        yield surprise.tokens

        self.counts = NormalCounts(tokens())
        if not scores:
            raise DataError("the normal lines are all empty", remedy="pass lines of normal text")
        self.threshold = float(np.quantile(scores, NORMAL_QUANTILE))


def _texts(
    source: Source | TextIO, encoding: str | None
) -> tuple[Iterable[tuple[str, Iterable[str]]], list[str]]:
    """Return the names and lines of the documents of a source, and warnings."""
    if isinstance(source, io.TextIOBase):
        return [("-", source)], []
    documents, warnings = read_sources(source, encoding, lines=True)
    return ((document.name, document_lines(document)) for document in documents), warnings


def _is_empty(surprise: Surprise) -> bool:
    return not surprise.text.strip() or not len(surprise.bits)


def _truth(labels: ArrayLike | None, lines: int) -> np.ndarray | None:
    """Return the labels ``[lines]`` as bool; raises DataError for another number of them."""
    if labels is None:
        return None
    truth = np.asarray(labels)
    if truth.shape != (lines,):
        raise DataError(
            "labels", got=f"{truth.size:,}", expected=f"one for each of {lines:,} lines"
        )
    return truth.astype(bool)
