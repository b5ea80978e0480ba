"""Units that stand out over a phrase, and the places of a text where the state is most similar to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import DataError, InputError, printable
from elman.inspect.states import MAX_STEPS, RecordedStates, Unit, read_states
from elman.tables.frames import Frame, frame_of
from elman.text.words import plain_line_ends

if TYPE_CHECKING:
    from elman.inspect.predictor import Predictor, Source


_BLOCK_NUMBERS = 1 << 20  # numbers that are standardised at once
_CONTEXT_CHARACTERS = 40
_MAX_OCCURRENCES = 1_000


@dataclass(frozen=True)
class SimilarPlace:
    """A place in the text where the states are similar to those over a phrase."""

    position: int
    """The number of its first step."""
    likeness: float
    """The cosine between the mean standardised states here and over the phrase."""
    before: str
    text: str
    after: str


@dataclass(frozen=True)
class Similar:
    """Units and passages that resemble a phrase, as `units_like` returns them."""

    phrase: str
    occurrences: int
    """Number of times that the phrase occurs in the text."""
    units: tuple[tuple[Unit, float], ...]
    """The units that stand out most: the mean over the phrase minus the mean elsewhere, in deviations."""
    places: tuple[SimilarPlace, ...]
    """The places with the most similar states, outside the phrase itself."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields for JSON."""
        units = [
            {**unit._asdict(), "name": str(unit), "difference": value} for unit, value in self.units
        ]
        return asdict(self) | {"units": units, "places": [*map(asdict, self.places)]}

    def to_frame(self) -> Frame:
        """Return the places as a polars data frame, or as columns without polars."""
        return frame_of(map(asdict, self.places))

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        times = "once" if self.occurrences == 1 else f"{self.occurrences:,} times"
        rows = [f"units that stand out most over {printable(self.phrase, 40)!r} (read {times}):"]
        rows.append(f"{'unit':>8}  difference")
        rows += [f"{unit!s:>8}  {value:+10.1f}" for unit, value in self.units]
        rows += ["places where the state is most similar:", "likeness  place"]
        rows += [
            f"{place.likeness:8.3f}  {printable(place.before[-30:]).rjust(30)}"
            f"[{printable(place.text)}]{printable(place.after[:30])}"
            for place in self.places
        ]
        return "\n".join(rows)


def units_like(
    predictor: Predictor, text: Source, phrase: str, count: int = 10, *, steps: int = MAX_STEPS
) -> Similar:
    """Return the units that stand out over a phrase, and the places where the state is most similar.

    Args:
        predictor: What `elman.load` returns for a model that reads text.
        text: The text to search, as for `elman.inspect.states.read_states`. Where it does not contain the
            phrase, the phrase is appended as a line.
        phrase: Some words or characters.
        count: How many units and places are returned.
        steps: How many steps of the text are read at most, counted from the end.

    Raises:
        InputError: The phrase is empty, or the text cannot be read.
        DataError: The text is too short, or no whole tokens of it are the phrase.
        OptionError: `count` or `steps` is out of range.
    """
    if not isinstance(phrase, str) or not phrase.strip():
        raise InputError("phrase", got=phrase, expected="some words")
    recorded = read_states(predictor, text, steps)
    # Append a phrase that the text lacks, so that the network reads it at the end.
    if not len(_occurrences(recorded, phrase)) and isinstance(text, str):
        recorded = read_states(predictor, f"{text.rstrip()}\n{phrase}", steps)
    return find_similar(recorded, phrase, count)


def _occurrences(recorded: RecordedStates, phrase: str) -> np.ndarray:
    """Return the first step of each occurrence, and the step after its last: ``[n, 2]``, n at most 1,000."""
    text, sizes = "".join(recorded.tokens), np.array([0, *map(len, recorded.tokens)])
    # [N + 1]: where each token begins in the text, and where the last one ends
    edges = np.cumsum(sizes)
    wanted, at = plain_line_ends(phrase).strip(), -1
    spans: list[tuple[int, int]] = []
    while wanted and len(spans) < _MAX_OCCURRENCES and (at := text.find(wanted, at + 1)) >= 0:
        first = int(np.searchsorted(edges, at, side="right")) - 1
        last = int(np.searchsorted(edges, at + len(wanted), side="left"))
        # only whole tokens, except for the white space before the first one
        if edges[last] == at + len(wanted) and text[edges[first] : at].strip() == "":
            spans.append((first, last))
            at += len(wanted) - 1
    return np.array(spans, np.int64).reshape(-1, 2)


def _standardised(recorded: RecordedStates) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the states by blocks of units, each unit with mean 0 and deviation 1 over all steps."""
    U, N = recorded.states.shape
    size = max(1, _BLOCK_NUMBERS // N)
    for block in (slice(first, first + size) for first in range(0, U, size)):
        states = recorded.states[block].astype(np.float64)
        # [units of the block, N]
        states -= states.mean(axis=1, keepdims=True)
        # A unit that never changes has no deviation, and says nothing about the phrase.
        spread = states.std(axis=1, keepdims=True)
        yield block, np.divide(states, spread, out=np.zeros_like(states), where=spread > 0)


def find_similar(recorded: RecordedStates, phrase: str, count: int = 10) -> Similar:
    """Return what `units_like` returns, for recorded states; raises DataError where the phrase is missing."""
    count = whole_number("count", count, 1)
    spans = _occurrences(recorded, phrase)
    if not len(spans):
        raise DataError("phrase", got=phrase, expected="words that occur in the text")
    U, N = recorded.states.shape
    inside = np.isin(np.arange(N), [step for first, last in spans for step in range(first, last)])
    # Windows have as many steps as the first occurrence of the phrase.
    M = int(spans[0, 1] - spans[0, 0])
    differences = np.zeros(U)
    # the cosine of each window of M steps with the phrase, summed up over blocks of units
    products, squares, own = np.zeros(N - M + 1), np.zeros(N - M + 1), 0.0
    for block, states in _standardised(recorded):
        over = states[:, inside].mean(axis=1)
        rest = states[:, ~inside].mean(axis=1) if not inside.all() else 0.0
        differences[block] = over - rest
        # The mean of every window, as a difference of running sums: [units, N - M + 1].
        sums = np.cumsum(np.pad(states, ((0, 0), (1, 0))), axis=1)
        windows = (sums[:, M:] - sums[:, :-M]) / M
        products += over @ windows
        squares += np.square(windows).sum(axis=0)
        own += float(over @ over)
    # A network whose states never change has only zeros here: do not divide by them.
    likeness = products / np.sqrt(np.maximum(squares * own, 1e-30))
    ranked = np.argsort(-np.abs(differences), kind="stable")[:count].tolist()
    places = tuple(_places(recorded, likeness, inside, M, count))
    units = tuple((recorded.units[row], float(differences[row])) for row in ranked)
    return Similar(phrase, len(spans), units, places)


def _places(
    recorded: RecordedStates, likeness: np.ndarray, taken: np.ndarray, size: int, count: int
) -> Iterator[SimilarPlace]:
    """Yield the most similar windows of `size` steps that overlap neither each other nor `taken` steps."""
    # The caller's array marks the occurrences of the phrase itself.
    taken = taken.copy()
    for first in np.argsort(-likeness, kind="stable").tolist():
        if not count:
            return
        end = first + size
        if not taken[first:end].any():
            taken[first:end] = True
            count -= 1
            # a token has at least one character, so this many tokens are enough on each side
            edges = (max(0, first - _CONTEXT_CHARACTERS), first, end, end + _CONTEXT_CHARACTERS)
            before, text, after = ("".join(recorded.tokens[a:b]) for a, b in pairwise(edges))
            before, after = before[-_CONTEXT_CHARACTERS:], after[:_CONTEXT_CHARACTERS]
            yield SimilarPlace(first, float(likeness[first]), before, text, after)
