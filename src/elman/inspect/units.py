"""Meanings of single units: which unit of a network best indicates each of the readable properties.

The measure is the area under the ROC curve: the probability that the unit has a higher value at a step where
the property holds than at one where it does not; by chance it is 0.5. The unit and its direction are chosen
on the first half of the steps, and the area is measured on the second half. Two baselines stand beside it:
the best unit of an untrained network of the same configuration, chosen the same way, and the input of the
step alone. A property that a baseline indicates as well is no finding.
"""

from __future__ import annotations

import html
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from typing_extensions import TypedDict

from elman.errors import DataError
from elman.inspect.properties import SERIES, TEXT
from elman.inspect.similar import Similar, find_similar
from elman.inspect.states import MAX_STEPS, RecordedStates, Unit, read_states, untrained
from elman.tables.frames import Frame, frame_of
from elman.tables.json_values import json_fields

if TYPE_CHECKING:
    from elman.inspect.predictor import Predictor, Source


MIN_SHARE, MIN_COUNT, MIN_COUNT_OF_HALF = 0.005, 200, 50
"""A property must hold at, and fail at, this share of all steps, so many steps, and so many of each half."""

_BLOCK_NUMBERS = 1 << 20  # that are ranked at once
_EXCERPT_CHARACTERS = 400


@dataclass(frozen=True)
class UnitScore:
    """A property and the unit that indicates it best."""

    meaning: str
    """The name of the property."""
    sentence: str
    """Words that explain to which steps the property applies."""
    layer: int
    state: str
    unit: int
    direction: int
    """1 where the unit is higher when the property holds, -1 where it is lower."""
    area: float
    """The area under the ROC curve on the second half of the steps."""
    baseline: float
    """The same for the best unit of an untrained network, chosen the same way."""
    token: float
    """The same for the input of the step alone."""
    share: float
    """The share of all steps where the property holds."""

    @property
    def place(self) -> Unit:
        """The layer, state and number of the unit."""
        return Unit(self.layer, self.state, self.unit)

    @property
    def gain(self) -> float:
        """Difference between the area and the larger of the two baselines."""
        return self.area - max(self.baseline, self.token)


class UnitJson(TypedDict):
    """A score, as `Units.to_dict` returns it."""

    property: str
    name: str
    sentence: str
    layer: int
    state: str
    unit: int
    direction: int
    area: float
    baseline: float
    token: float
    share: float
    gain: float
    found: bool


class UnitsJson(TypedDict):
    """The scores, as `Units.to_dict` returns them."""

    steps: int
    units: int
    properties: list[UnitJson]


@dataclass(frozen=True, eq=False)
class Excerpt:
    """A piece of a text and the values of one unit over it, to be drawn on colours."""

    tokens: tuple[str, ...]
    values: np.ndarray
    """``[T]``, from -1 to 1: the distance from the unit's mean, divided by two standard deviations."""
    title: str = ""
    """The name of the unit, and for a finding the property and the area."""

    def to_svg(self, *, standalone: bool = True) -> str:
        """Return a picture: the text on colours."""
        from elman.draw import figures

        tokens = [token.strip(" ") or " " for token in self.tokens]
        return figures.coloured_text(tokens, self.values, title=self.title, standalone=standalone)


@dataclass(frozen=True, eq=False)
class Units:
    """Properties of a text or of series that units of a network represent, as `find_units` returns them."""

    scores: tuple[UnitScore, ...]
    """Best unit of each property, the largest gain first."""
    recorded: RecordedStates

    @property
    def found(self) -> tuple[UnitScore, ...]:
        """The scores that are findings: those above both baselines."""
        return tuple(score for score in self.scores if score.gain > 0)

    def excerpt(self, unit: Unit | str, meaning: str = "") -> Excerpt:
        """Return a piece of the second half of the text where the unit changes most.

        Args:
            unit: The unit, or its name as `Unit.of` reads it.
            meaning: The name of a property; the piece is then one where this property changes most.

        Raises:
            OptionError: The network has no such unit.
        """
        unit = Unit.of(unit) if isinstance(unit, str) else unit
        recorded, values = self.recorded, self.recorded.values(unit)
        marks = recorded.marks.get(meaning)
        # Two deviations have the full colour.
        scaled = ((values - values.mean()) / (2 * (values.std() or 1))).clip(-1, 1)
        # [N + 1]: where each token begins in the text
        ends = np.cumsum([0, *map(len, recorded.tokens)])
        # The unit was chosen on the first half, so an excerpt shows it on new text.
        half = len(scaled) // 2
        signal = (scaled if marks is None else marks).astype(np.float64)[half:]
        # As many tokens as some 400 characters at the text's beginning have.
        size = min(len(signal), max(1, int(np.searchsorted(ends, _EXCERPT_CHARACTERS)) - 1))
        # the variance in every window of that size, from sums that run over the signal
        sums, squares = (np.concatenate([[0.0], np.cumsum(x)]) for x in (signal, signal**2))
        mean = (sums[size:] - sums[:-size]) / size
        # The window with the largest variance: mean of the squares minus square of the mean.
        first = half + int(np.argmax((squares[size:] - squares[:-size]) / size - mean**2))
        # from the start of a line, if there is one in the first half of the window
        lines = (at for at in range(first, first + size // 2) if "\n" in recorded.tokens[at])
        first, end = next(lines, first), first + size
        title = f"unit {unit}" if marks is None else f"{unit}: {meaning}"
        return Excerpt(recorded.tokens[first:end], scaled[first:end], title)

    def shown(self, score: UnitScore) -> Excerpt:
        """Return the excerpt of a score's unit, high where the unit says that the property holds."""
        excerpt = self.excerpt(score.place, score.meaning)
        area, baseline = (f"{x:.3f}".removeprefix("0") for x in (score.area, score.baseline))
        title = f"{excerpt.title} (area {area}, untrained {baseline})"
        return replace(excerpt, values=score.direction * excerpt.values, title=title)

    def like(self, phrase: str, count: int = 10) -> Similar:
        """Return the units that stand out over a phrase of the recorded text; see `units_like`.

        Raises DataError where the text does not contain the phrase.
        """
        return find_similar(self.recorded, phrase, count)

    def to_dict(self, count: int | None = None) -> UnitsJson:
        """Return the first `count` scores, by default all, for JSON."""
        rows = [
            json_fields(
                score, UnitJson, property=score.meaning, name=str(score.place), found=score.gain > 0
            )
            for score in self.scores[:count]
        ]
        steps, units = len(self.recorded.tokens), len(self.recorded.units)
        return {"steps": steps, "units": units, "properties": rows}

    def to_frame(self) -> Frame:
        """Return the scores as a polars data frame, or as columns without polars."""
        return frame_of(self.to_dict()["properties"])

    def to_json(self, count: int | None = None) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(count), ensure_ascii=False, allow_nan=False)

    def to_svg(self, *, standalone: bool = True) -> str:
        """Return a picture of the text coloured by the best finding; raises DataError where there is none."""
        if not self.found:
            got = "none that tells a property better than its baselines"
            raise DataError("units", got=got, remedy="name one: excerpt(unit).to_svg()")
        return self.shown(self.found[0]).to_svg(standalone=standalone)

    def _repr_html_(self) -> str:
        picture = self.to_svg() if self.found else ""
        return f"<div><pre>{html.escape(str(self))}</pre>{picture}</div>"

    def table(self, count: int | None = None) -> str:
        """Return the first `count` scores as a table; a line separates the findings from the others."""
        if not self.scores:
            return "No property occurs often enough in the input."
        head = [f"{'property':<30} {'unit':>8}    gain   area  untrained  input alone"]
        if not self.found:
            head.insert(0, "No unit indicates a property better than its baselines do.")
        lines = [
            f"{score.meaning:<30} {score.place!s:>8}  {score.gain:+.3f}  {score.area:.3f}"
            f"  {score.baseline:9.3f}  {score.token:11.3f}"
            for score in self.scores[:count]
        ]
        # Scores are sorted by gain, so that the findings come first.
        findings = len(self.found)
        if 0 < findings < len(lines):
            note = "no findings: an untrained network or the input alone indicates these as well"
            lines.insert(findings, note)
        return "\n".join([*head, *lines])

    def __str__(self) -> str:
        return self.table()


def find_units(predictor: Predictor, source: Source = None, *, steps: int = MAX_STEPS) -> Units:
    """Return for each readable property the unit of the network that indicates it best.

    A property is measured where it holds at half a percent of the steps and at 200 of them, and fails at as
    many.

    Args:
        predictor: What `elman.load` returns.
        source: The text, texts or series to read, as for `elman.inspect.states.read_states`.
        steps: How many steps are read at most, counted from the end.

    Returns:
        The scores, best first, and the recorded states.

    Raises:
        DataError: The source is too short.
        InputError: The source is missing, or the model reads sequences of numbers.
        OptionError: `steps` is less than 1,000.
    """
    recorded = read_states(predictor, source, steps)
    # Choose on the first half, measure on the second.
    half = len(recorded.tokens) // 2
    marks = {name: held for name, held in recorded.marks.items() if _occurs(held, half)}
    if not marks:
        return Units((), recorded)
    held = np.stack([*marks.values()])
    chosen, directions, measured = _best(recorded.states, held)
    # The untrained network reads the same input, and its best unit is chosen in the same way.
    baselines = _best(read_states(untrained(predictor), source, steps).states, held)[2]
    inputs = recorded.inputs
    # Numbers are compared as if they were units; of tokens, how often the property held at each.
    by_input = _by_token(inputs, held) if inputs.ndim == 1 else _best(inputs, held)[2]
    sentences = {known.name: known.sentence for known in TEXT}
    sentences |= {known.name: known.sentence for known in SERIES}
    columns = [directions, measured, baselines, by_input, held.mean(axis=1)]
    scores = [
        UnitScore(name, sentences[name], *recorded.units[row], *numbers)
        for name, row, *numbers in zip(
            marks, chosen.tolist(), *(column.tolist() for column in columns), strict=True
        )
    ]
    return Units(tuple(sorted(scores, key=lambda score: -score.gain)), recorded)


def _occurs(held: np.ndarray, half: int) -> bool:
    """Return whether a property holds and fails often enough, in both halves of the steps."""
    least = max(MIN_COUNT, MIN_SHARE * len(held))
    return all(
        marks.sum() >= least and min(marks[:half].sum(), marks[half:].sum()) >= MIN_COUNT_OF_HALF
        for marks in (held, ~held)
    )


def areas(values: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the area under the ROC curve of each unit for each property, float64 ``[U, P]``.

    The area is the mean rank of the steps where the property holds, scaled, so each unit is sorted once.

    Args:
        values: The units' values, ``[U, N]``. Equal values count half.
        held: Whether each property holds, bool ``[P, N]``. The area is NaN where it always or never holds.

    Source: J. Hanley and B. McNeil, "The Meaning and Use of the Area under a ROC Curve" (1982).

    >>> areas(np.array([[0.1, 0.4, 0.4, 0.8]]), np.array([[False, False, True, True]])).tolist()
    [[0.875]]
    """
    U, N = values.shape
    # [P, N]; sums of ranks are exact in float64 for up to 2^26 steps
    truths = held.astype(np.float64)
    positives = truths.sum(axis=1)
    rank_sums = np.empty((U, len(held)))
    rows = max(1, _BLOCK_NUMBERS // N)
    for first in range(0, U, rows):
        ranks = np.stack([*map(_ranks, values[first : first + rows])])
        # [rows, N] · [N, P]: the sum of the ranks of the steps where each property holds
        rank_sums[first : first + rows] = ranks @ truths.T
    with np.errstate(invalid="ignore", divide="ignore"):
        result: np.ndarray = (rank_sums / positives - (positives + 1) / 2) / (N - positives)
    return result


def _ranks(values: np.ndarray) -> np.ndarray:
    """Return the ranks of values ``[N]``, from 1; equal values share the mean of their ranks."""
    _, kinds, counts = np.unique(values, return_inverse=True, return_counts=True)
    return np.asarray((np.cumsum(counts) - (counts - 1) / 2)[kinds])


def _best(values: np.ndarray, held: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return for each property the row and direction chosen on the first half, and the area on the second."""
    half = values.shape[1] // 2
    first = areas(values[:, :half], held[:, :half])
    # [P]: the unit farthest from chance, in either direction
    chosen = np.argmax(np.abs(first - 0.5), axis=0)
    directions = np.where(first[chosen, np.arange(len(held))] >= 0.5, 1, -1)
    # Only the chosen units are ranked again on the second half, each of them once.
    rows, places = np.unique(chosen, return_inverse=True)
    second = areas(values[rows, half:], held[:, half:])[places, np.arange(len(held))]
    return chosen, directions, np.where(directions > 0, second, 1 - second)


def _by_token(ids: np.ndarray, held: np.ndarray) -> np.ndarray:
    """Return the area on the second half of how often each property held at a token in the first."""
    half = len(ids) // 2
    # Number the tokens that occur from 0, so that the counts need no more room than these.
    _, kinds = np.unique(ids, return_inverse=True)
    count = np.bincount(kinds[:half], minlength=int(kinds.max()) + 1)
    measured = []
    for truth in held:
        sums = np.bincount(kinds[:half], truth[:half], len(count))
        # a token that is new in the second half gets the mean frequency
        rates = np.where(count > 0, sums / np.maximum(count, 1), truth[:half].mean())
        measured.append(areas(rates[kinds[half:]][None], truth[None, half:])[0, 0])
    return np.array(measured)
