"""Which units stand out over a phrase, and where else in a text the network's state is most like it there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import DataError, InputError, printable
from elman.inspect.states import Reading, Unit, read_states
from elman.tables.frames import frame_of
from elman.text.words import plain_line_ends

__all__ = ["Like", "Place", "like", "units_like"]

_BLOCK = 1 << 20  # numbers that are standardised at once
_CONTEXT = 40  # characters
_OCCURRENCES = 1_000


@dataclass(frozen=True)
class Place:
    """A place of the text whose states are like those over a phrase."""

    position: int
    """Of its first step."""
    likeness: float
    """Cosine of the mean standardised states."""
    before: str
    text: str
    after: str


@dataclass(frozen=True)
class Like:
    """What the network does over a phrase, as `units_like` returns it."""

    phrase: str
    occurrences: int
    units: tuple[tuple[Unit, float], ...]
    """Those that stand out most over it: their mean there minus that elsewhere, in standard deviations."""
    places: tuple[Place, ...]
    """Where else the states are most alike."""

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        units = [
            {**unit._asdict(), "name": str(unit), "difference": value} for unit, value in self.units
        ]
        places = [asdict(place) for place in self.places]
        head = {"phrase": self.phrase, "occurrences": self.occurrences}
        return {**head, "units": units, "places": places}

    def to_frame(self) -> Any:
        """Return the places as a data frame of polars, or as columns without polars."""
        return frame_of(map(asdict, self.places))

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def __str__(self) -> str:
        times = "once" if self.occurrences == 1 else f"{self.occurrences:,} times"
        rows = [f"over {printable(self.phrase, 40)!r} (read {times}) these units stand out most:"]
        rows.append(f"{'unit':>8}  difference")
        rows += [f"{unit!s:>8}  {value:+10.1f}" for unit, value in self.units]
        rows += ["the state is most alike at:", "likeness  place"]
        rows += [
            f"{one.likeness:8.3f}  {printable(one.before[-30:]).rjust(30)}[{printable(one.text)}]"
            f"{printable(one.after[:30])}"
            for one in self.places
        ]
        return "\n".join(rows)


def units_like(predictor: Any, what: Any, phrase: str, count: int = 10, **options: Any) -> Like:
    """Return which units stand out over `phrase` in a text, and where else the state is most alike.

    Where the text does not have the phrase, it is read behind it. Raises OptionError, DataError, InputError.
    """
    if not isinstance(phrase, str) or not phrase.strip():
        raise InputError("phrase", got=phrase, expected="some words")
    reading = read_states(predictor, what, **options)
    if not len(_occurrences(reading, phrase)) and isinstance(what, str):
        reading = read_states(predictor, f"{what.rstrip()}\n{phrase}", **options)
    return like(reading, phrase, count)


def _occurrences(reading: Reading, phrase: str) -> np.ndarray:
    """Return the first and last+1 steps ``[n, 2]`` of where the text has the phrase, n at most 1,000."""
    text, sizes = "".join(reading.tokens), np.array([0, *map(len, reading.tokens)])
    edges = np.cumsum(sizes)
    wanted, at = plain_line_ends(phrase).strip(), -1
    found: list[tuple[int, int]] = []
    while wanted and len(found) < _OCCURRENCES and (at := text.find(wanted, at + 1)) >= 0:
        first = int(np.searchsorted(edges, at, side="right")) - 1
        last = int(np.searchsorted(edges, at + len(wanted), side="left"))
        if edges[last] == at + len(wanted) and text[edges[first] : at].strip() == "":
            found.append((first, last))
            at += len(wanted) - 1
    return np.array(found, np.int64).reshape(-1, 2)


def _standardised(reading: Reading) -> Iterator[tuple[slice, np.ndarray]]:
    """Yield the states by blocks of units, each with mean 0 and deviation 1 over all steps."""
    U, N = reading.states.shape
    rows = max(1, _BLOCK // N)
    for some in (slice(first, first + rows) for first in range(0, U, rows)):
        states = reading.states[some].astype(np.float64)
        states -= states.mean(axis=1, keepdims=True)
        spread = states.std(axis=1, keepdims=True)
        yield some, np.divide(states, spread, out=np.zeros_like(states), where=spread > 0)


def like(reading: Reading, phrase: str, count: int = 10) -> Like:
    """Return what `units_like` does, of what was read; raises DataError where that has no such phrase."""
    count = whole_number("count", count, 1)
    found = _occurrences(reading, phrase)
    if not len(found):
        raise DataError("phrase", got=phrase, expected="one that stands in the text")
    U, N = reading.states.shape
    inside = np.zeros(N, bool)
    for first, last in found:
        inside[first:last] = True
    M = int(found[0, 1] - found[0, 0])
    differences = np.zeros(U)
    products, squares, own = np.zeros(N - M + 1), np.zeros(N - M + 1), 0.0
    for some, states in _standardised(reading):
        over = states[:, inside].mean(axis=1)
        rest = states[:, ~inside].mean(axis=1) if not inside.all() else 0.0
        differences[some] = over - rest
        sums = np.cumsum(np.pad(states, ((0, 0), (1, 0))), axis=1)
        windows = (sums[:, M:] - sums[:, :-M]) / M
        products += over @ windows
        squares += np.square(windows).sum(axis=0)
        own += float(over @ over)
    likeness = products / np.sqrt(np.maximum(squares * own, 1e-30))
    ranked = np.argsort(-np.abs(differences), kind="stable")[:count].tolist()
    places = tuple(_places(reading, likeness, inside, M, count))
    units = tuple((reading.units[unit], float(differences[unit])) for unit in ranked)
    return Like(phrase, len(found), units, places)


def _places(
    reading: Reading, likeness: np.ndarray, taken: np.ndarray, size: int, count: int
) -> Iterator[Place]:
    """Yield the steps most alike that overlap neither each other nor what is `taken`."""
    taken = taken.copy()
    for first in np.argsort(-likeness, kind="stable").tolist():
        if not count:
            return
        if not taken[first : first + size].any():
            taken[first : first + size] = True
            count -= 1
            parts = (
                reading.tokens[max(0, first - _CONTEXT) : first],
                reading.tokens[first : first + size],
                reading.tokens[first + size : first + size + _CONTEXT],
            )
            before, text, after = map("".join, parts)
            yield Place(first, float(likeness[first]), before[-_CONTEXT:], text, after[:_CONTEXT])
