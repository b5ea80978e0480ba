"""What the units of a network stand for: every unit of every layer held against readable properties.

The measure is the area under the ROC curve: how probable it is that the unit stands higher where the property
holds than where it does not, .5 by chance. Unit and direction are chosen on the first half of what was read,
the area is that of the second half. Beside it stand the best unit of an untrained network of the same make,
chosen the same way, and what the input of the step alone gives: a property that these tell as well is no
finding.
"""

from __future__ import annotations

import html
import json
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from elman.errors import DataError
from elman.inspect.properties import SERIES, TEXT
from elman.inspect.similar import Like, like, units_like
from elman.inspect.states import Reading, Unit, read_states, untrained
from elman.tables.frames import frame_of

__all__ = ["Excerpt", "UnitScore", "Units", "areas", "find_units", "units_like"]

SHARE, FEWEST, FEWEST_OF_HALF = 0.005, 200, 50
"""Of the steps, so many must have a property, and so many must not."""

_BLOCK = 1 << 20  # numbers that are ranked at once
_EXCERPT = 400  # characters


@dataclass(frozen=True)
class UnitScore:
    """A property and the unit that tells it best."""

    meaning: str
    """The name of the property."""
    sentence: str
    """What is true of the steps where the property holds."""
    layer: int
    state: str
    unit: int
    direction: int
    """1 where the unit stands higher where the property holds, -1 where it stands lower."""
    area: float
    """Held-out area under the ROC curve."""
    baseline: float
    """The same of the best unit of an untrained network, chosen the same way."""
    token: float
    """The same of the input of that step alone."""
    share: float
    """Of all steps, where the property holds."""

    @property
    def place(self) -> Unit:
        """Where the unit is."""
        return Unit(self.layer, self.state, self.unit)

    @property
    def gain(self) -> float:
        """What the unit knows more than the better of the two baselines."""
        return self.area - max(self.baseline, self.token)


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A piece of what was read and the values of a unit over it, for `coloured_text`."""

    tokens: tuple[str, ...]
    values: np.ndarray
    """``[T]``, from -1 to 1: below and above the unit's middle, by its spread over all that was read."""
    title: str = ""
    """Which unit it is, and of a finding which property and how well it is told."""

    def to_svg(self, *, standalone: bool = True) -> str:
        """Return it as a picture: text on colours."""
        from elman.draw import figures

        tokens = [token.strip(" ") or " " for token in self.tokens]
        return figures.coloured_text(tokens, self.values, title=self.title, standalone=standalone)


@dataclass(frozen=True, eq=False)
class Units:
    """What the units of a network stand for in a text, as `find_units` returns it."""

    scores: tuple[UnitScore, ...]
    """One a property, the unit that knows most more than the baselines first."""
    reading: Reading

    @property
    def found(self) -> tuple[UnitScore, ...]:
        """The scores that are findings: those above both baselines."""
        return tuple(score for score in self.scores if score.gain > 0)

    def excerpt(self, unit: Unit | str, meaning: str = "") -> Excerpt:
        """Return a piece of what was read, from the held-out half, where the unit changes most.

        With the name of a property, where that does. Raises OptionError for a unit that is not there.
        """
        unit = Unit.of(unit) if isinstance(unit, str) else unit
        reading, values = self.reading, self.reading.values(unit)
        marks = reading.marks.get(meaning)
        middle, spread = values.mean(), values.std() or 1
        scaled = ((values - middle) / (2 * spread)).clip(-1, 1)
        sizes = np.cumsum([0, *map(len, reading.tokens)])
        size = max(1, int(np.searchsorted(sizes, _EXCERPT)) - 1)
        half = len(scaled) // 2
        told = (scaled if marks is None else marks).astype(np.float64)[half:]
        ones, squares = (np.concatenate([[0.0], np.cumsum(part)]) for part in (told, told**2))
        size = min(size, len(told))
        mean = (ones[size:] - ones[:-size]) / size
        first = half + int(np.argmax((squares[size:] - squares[:-size]) / size - mean**2))
        # from a line's beginning, where one is near
        near = (at for at in range(first, first + size // 2) if "\n" in reading.tokens[at])
        first, size = next(near, first), first + size
        title = f"unit {unit}" if marks is None else f"{unit}: {meaning}"
        return Excerpt(reading.tokens[first:size], scaled[first:size], title)

    def shown(self, score: UnitScore) -> Excerpt:
        """Return the excerpt of a score's unit, high where the unit says that the property holds."""
        excerpt = self.excerpt(score.place, score.meaning)
        area, baseline = (f"{one:.3f}".removeprefix("0") for one in (score.area, score.baseline))
        title = f"{excerpt.title} (area {area}, untrained {baseline})"
        return replace(excerpt, values=score.direction * excerpt.values, title=title)

    def like(self, phrase: str, count: int = 10) -> Like:
        """Return what `units_like` does, where the phrase stands in what was read; raises DataError."""
        return like(self.reading, phrase, count)

    def to_dict(self, count: int | None = None) -> dict[str, Any]:
        """Return the scores, at most `count`, for JSON."""
        rows = [
            {"property": score.meaning, "name": str(score.place)}
            | {name: value for name, value in asdict(score).items() if name != "meaning"}
            | {"gain": score.gain, "found": score.gain > 0}
            for score in self.scores[:count]
        ]
        size = len(self.reading.tokens)
        return {"steps": size, "units": len(self.reading.units), "properties": rows}

    def to_frame(self) -> Any:
        """Return the scores as a data frame of polars, or as columns without polars."""
        return frame_of(self.to_dict()["properties"])

    def to_json(self, count: int | None = None) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(count), ensure_ascii=False, allow_nan=False)

    def to_svg(self, *, standalone: bool = True) -> str:
        """Return the text coloured by the best finding as a picture; raises DataError without one."""
        if not self.found:
            got = "none that tells a property better than its baselines"
            raise DataError("units", got=got, remedy="name one: excerpt(unit).to_svg()")
        return self.shown(self.found[0]).to_svg(standalone=standalone)

    def _repr_html_(self) -> str:
        drawn = self.to_svg() if self.found else ""
        return f"<div><pre>{html.escape(str(self))}</pre>{drawn}</div>"

    def table(self, count: int | None = None) -> str:
        """Return the first `count` scores as a table, below a line those that are no findings."""
        if not self.scores:
            return "No property occurs often enough in what was read."
        rows = [f"{'property':<30} {'unit':>8}    gain   area  untrained  input alone"]
        if not self.found:
            rows.insert(0, "No unit tells a property better than its baselines.")
        lines = [
            f"{one.meaning:<30} {one.place!s:>8}  {one.gain:+.3f}  {one.area:.3f}"
            f"  {one.baseline:9.3f}  {one.token:11.3f}"
            for one in self.scores[:count]
        ]
        found = len(self.found)
        if 0 < found < len(lines):
            lines.insert(
                found, "not found, for an untrained network or the input alone tells as much:"
            )
        return "\n".join([*rows, *lines])

    def __str__(self) -> str:
        return self.table()


def find_units(predictor: Any, what: Any = None, **options: Any) -> Units:
    """Return which unit of the network tells each readable property of `what` best.

    `what` and `options` (steps) are those of `read_states`: a text for a language model, texts for a reader
    of labelled texts, series for a forecaster. A property counts where it holds at half a percent of the
    steps, 200 at least, and fails at as many. Raises DataError where there is too little to read, InputError,
    OptionError.
    """
    reading = read_states(predictor, what, **options)
    half = len(reading.tokens) // 2
    marks = {name: held for name, held in reading.marks.items() if _occurs(held, half)}
    if not marks:
        return Units((), reading)
    held = np.stack([*marks.values()])
    chosen, directions, found = _best(reading.states, held)
    base = _best(read_states(untrained(predictor), what, **options).states, held)[2]
    inputs = reading.inputs
    token = _by_token(inputs, held) if inputs.ndim == 1 else _best(inputs, held)[2]
    sentences = {one.name: one.sentence for one in (*TEXT, *SERIES)}
    scores = [
        UnitScore(name, sentences[name], unit.layer, unit.state, unit.number, int(direction), *more)
        for name, unit, direction, *more in zip(
            marks,
            (reading.units[place] for place in chosen.tolist()),
            directions.tolist(),
            found.tolist(),
            base.tolist(),
            token.tolist(),
            held.mean(axis=1).tolist(),
            strict=True,
        )
    ]
    return Units(tuple(sorted(scores, key=lambda score: -score.gain)), reading)


def _occurs(held: np.ndarray, half: int) -> bool:
    least = max(FEWEST, SHARE * len(held))
    return all(
        part.sum() >= least and min(part[:half].sum(), part[half:].sum()) >= FEWEST_OF_HALF
        for part in (held, ~held)
    )


def areas(values: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each unit for each property, float64 ``[U, P]``.

    ``values [U, N]`` and truths ``held [P, N]``; ties count half; NaN for a truth that never changes. One
    sort a unit, by blocks of units: the area is the mean rank where the property holds, scaled.

    Source: J. Hanley and B. McNeil, "The Meaning and Use of the Area under a ROC Curve" (1982).

    >>> areas(np.array([[0.1, 0.4, 0.4, 0.8]]), np.array([[False, False, True, True]])).tolist()
    [[0.875]]
    """
    U, N = values.shape
    truths = held.astype(np.float64)
    positives = truths.sum(axis=1)
    found = np.empty((U, len(held)))
    rows = max(1, _BLOCK // N)
    for first in range(0, U, rows):
        found[first : first + rows] = _ranks(values[first : first + rows]) @ truths.T
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = (found / positives - (positives + 1) / 2) / (N - positives)
    return result


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks from 1 in each row, those of equal values the mean of theirs."""
    order = np.argsort(values, axis=1)
    ordered = np.take_along_axis(values, order, axis=1)
    places = np.arange(values.shape[1], dtype=np.float64)
    other = ordered[:, 1:] != ordered[:, :-1]
    edge = np.ones((len(values), 1), bool)
    first = np.maximum.accumulate(np.where(np.hstack([edge, other]), places, 0), axis=1)
    last = np.where(np.hstack([other, edge]), places, np.inf)
    last = np.minimum.accumulate(last[:, ::-1], axis=1)[:, ::-1]
    ranks = np.empty_like(first)
    np.put_along_axis(ranks, order, (first + last) / 2 + 1, axis=1)
    return ranks


def _best(values: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return row and direction chosen on the first half for each property, and its area on the second."""
    half = values.shape[1] // 2
    first = areas(values[:, :half], held[:, :half])
    chosen = np.argmax(np.abs(first - 0.5), axis=0)
    directions = np.where(first[chosen, np.arange(len(held))] >= 0.5, 1, -1)
    rows, places = np.unique(chosen, return_inverse=True)
    second = areas(values[rows, half:], held[:, half:])[places, np.arange(len(held))]
    return chosen, directions, np.where(directions > 0, second, 1 - second)


def _by_token(ids: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the area on the second half of how often the property held at that token in the first."""
    half = len(ids) // 2
    _, kinds = np.unique(ids, return_inverse=True)
    count = np.bincount(kinds[:half], minlength=int(kinds.max()) + 1)
    found = []
    for truth in held:
        sums = np.bincount(kinds[:half], truth[:half], len(count))
        # one met for the first time is taken for a usual one
        rates = np.where(count > 0, sums / np.maximum(count, 1), truth[:half].mean())
        found.append(areas(rates[kinds[half:]][None], truth[None, half:])[0, 0])
    return np.array(found)
