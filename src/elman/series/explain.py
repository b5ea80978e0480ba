"""Explanation of a forecast: which earlier values and which columns moved it, by lag."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from elman.cells import find
from elman.engine.shapes import whole_number
from elman.errors import DataError
from elman.explain.element_ablation import count_replacements
from elman.explain.explanation import ADDITIVE, DECOMPOSITION, LEFT_OUT, REPLACEMENT, Explanation
from elman.explain.gradients import finite, held_note
from elman.explain.question import Question, Shares
from elman.series.forecast import ChartColumns
from elman.series.grid import stamp_name
from elman.series.read_options import SeriesSource
from elman.series.series import SeriesSet
from elman.series.window_attribution import Block, attribute
from elman.series.window_rule import WindowRule

if TYPE_CHECKING:
    from elman.series.predictor import ForecastPredictor


MAX_EXPLAINED_INPUTS = 128
"""Inputs of an explanation, at most; in a longer window, neighbouring values are one input."""
MAX_REPLACED_WINDOWS = 1 << 10
"""Windows that are forecast for all replacements together."""
# Falls of the score below these are rounding errors: as a share of the spread of the series (rounding in the
# network), and of its level (rounding of the sum).
_SPREAD_ROUNDING, _LEVEL_ROUNDING = 1e-6, 1e-14

Change: TypeAlias = tuple[str, np.ndarray]
"""A role of the series to explain, and its columns with one input replaced or left out."""


class ExplainedChart(ChartColumns):
    """The columns of a forecast's chart, with what moved the forecast."""

    contributions: dict[int, float]
    """The share of the value at each lag."""
    name: str
    """The id of the series."""


def explain_forecast(
    predictor: ForecastPredictor,
    what: SeriesSource | None = None,
    target: int | str | None = None,
    *,
    method: str | None = None,
    quick: bool = False,
) -> Explanation:
    """Explain the forecast of one series by its earlier values, by lag, and by its covariates.

    Lag 1 is the last value. Inputs are the values of the window that the network reads, its past and
    known-future covariates, and the static covariates; if there are more than 128, neighbours are one input
    ("lags 25-48").

    With "replacement", the default, and "leave-one-out", the score is the median forecast in the units of
    the series, and the forecast is repeated for each input. "replacement" measures the mean fall of the
    forecast when other values replace an input: values of the window at the same phase of the season, or of
    the same column. "leave-one-out" replaces a value by interpolation between its neighbours at the same
    phase of the season (without a season, between the values beside it), and a covariate by its mean in
    training.

    With "decomposition" and "integrated gradients", the score is what the network computes (the logarithm of
    the forecast, if it forecasts logarithms), and it is distributed over the inputs, compared with a window
    that stays at its level. A value that the naive forecast repeats gets its distance from the level as part
    of its share. The level itself, the scale of the window, the calendar and the calibration belong to the
    bias. The active rectifiers and the order of the quantiles are taken as given; a forecast that is bounded
    by 0 leaves a residual.

    Args:
        predictor: What `elman.load` returns for a forecaster.
        what: The id of a series, or rows of one other series, read as those of training (default: the only
            known series).
        target: The step ahead, from 1 (default: the mean of the whole horizon).
        method: "replacement" (the default), "decomposition", "integrated gradients" or "leave-one-out".
        quick: Whether to omit the self-test and to replace fewer times, for a first answer.

    Raises:
        DataError: there is no such series, or more than one.
        OptionError: there is no such step or method.
        InputError: the states of the network overflow.
    """
    question = _ForecastQuestion(predictor, one_series(predictor, what), target)
    return question.answer(method, quick=quick)


def forecast_picture(
    predictor: ForecastPredictor,
    what: SeriesSource | None = None,
    explanation: Explanation | None = None,
) -> ExplainedChart:
    """Return a forecast, its history and the share of the value at each lag, as `draw.forecast` takes them.

    A block of lags distributes its share evenly.

    Args:
        predictor: The forecaster.
        what: The series, as for `explain_forecast`.
        explanation: An explanation of this series (default: computed here).

    Raises:
        DataError, OptionError, InputError: as `explain_forecast`.
    """
    series = one_series(predictor, what)
    if explanation is None:
        explanation = explain_forecast(predictor, series)
    forecast = predictor.forecast(series)
    T, shares = len(series.values[0]), dict[int, float]()
    blocks = _blocks_of(series, predictor.codec.rule)
    for block, share in zip(blocks, explanation.contributions.tolist(), strict=True):
        if block.role == "values":
            lags = range(T - block.end + 1, T - block.first + 1)
            shares |= dict.fromkeys(lags, share / len(lags))
    columns = forecast.chart_columns(0)
    shown = np.isfinite(columns["median"])  # the steps on which the series has values
    intervals = {
        share: (low[shown], high[shown]) for share, (low, high) in columns["intervals"].items()
    }
    return {
        **columns,
        "times": columns["times"][shown],
        "median": columns["median"][shown],
        "intervals": intervals,
        "contributions": shares,
        "name": series.ids[0],
    }


def one_series(predictor: ForecastPredictor, what: SeriesSource | None) -> SeriesSet:
    """Return the end of the one series that `what` names or holds; raises DataError."""
    if isinstance(what, str):
        series = predictor.history.select([what])
    else:
        series = predictor.history if what is None else predictor.read(what)
    if len(series) != 1:
        raise DataError("which series?", got=f"{len(series)} of them", remedy="name one")
    return predictor.codec.trimmed(series)


def span(first: int, last: int) -> str:
    """Return the name of neighbouring numbers, or of a single one.

    >>> span(3, 5), span(3, 3)
    ('3-5', '3')
    """
    return f"{first}" if first == last else f"{first}-{last}"


def _blocks_of(series: SeriesSet, rule: WindowRule) -> list[Block]:
    """Return the inputs of an explanation of one series: blocks of each column, the oldest first."""
    T = len(series.values[0])
    columns = [("values", 0, "", series.values[0])]
    for role, covariates in (("past", series.past[0]), ("future", series.future[0])):
        names = enumerate(series.names[role])
        columns += [(role, k, f"{name}, ", covariates[:, k]) for k, name in names]
    static = series.names["static"]
    # All columns share the inputs that static covariates leave.
    max_blocks = max(1, (MAX_EXPLAINED_INPUTS - len(static)) // len(columns))
    window = min(T, rule.steps_back)
    blocks = []
    for role, column, name, numbers in columns:
        end = min(len(numbers), T + rule.reach if role == "future" else T)
        size = max(1, -(-(window + max(0, end - T)) // max_blocks))
        # Count blocks from the origin backwards, so that the block next to the forecast is complete.
        edges = [(max(T - window, last - size), last) for last in range(T, T - window, -size)]
        edges = edges[::-1] + [(at, min(end, at + size)) for at in range(T, end, size)]
        for first, last in edges:
            if np.isfinite(numbers[first:last]).any():
                where = f"lag{'s' * (last - first > 1)} {span(T - last + 1, T - first)}"
                if first >= T:
                    where = f"{span(first - T + 1, last - T)} ahead"
                blocks.append(Block(name + where, role, column, first, last))
    # A static covariate that is missing has nothing to explain.
    known = np.flatnonzero(np.isfinite(series.static[0])).tolist()
    return blocks + [Block(static[at], "static", 0, at, at + 1) for at in known]


class _ForecastQuestion(Question):
    """The question why a series has its forecast, at one step or on average over the horizon."""

    # A decomposition takes the active rectifiers as given, so it is never exact.
    task = "forecast"

    def __init__(
        self, predictor: ForecastPredictor, series: SeriesSet, target: int | str | None
    ) -> None:
        self.predictor, self.series, self.draws = predictor, series, 0
        self.rule = rule = predictor.codec.rule
        self.ahead = np.arange(rule.horizon)
        if target is not None:
            # The command passes text; more than eight digits would be no step in any case.
            digits = isinstance(target, str) and target.isascii() and target.isdigit()
            number = int(target) if digits and len(str(target)) < 9 else target
            self.ahead = np.array([whole_number("target", number, 1, rule.horizon) - 1])
        first, last = int(self.ahead[0]) + 1, int(self.ahead[-1]) + 1
        self.target = f"{series.ids[0]}, {span(first, last)} ahead"
        self.blocks = _blocks_of(series, rule)
        self.inputs = tuple(block.name for block in self.blocks)
        known = series.values[0][np.isfinite(series.values[0])]
        low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
        # Subtract after scaling: the difference of huge values would overflow.
        spread = _SPREAD_ROUNDING * high - _SPREAD_ROUNDING * low
        self.min_change = float(spread + _LEVEL_ROUNDING * max(high, -low))

    def shares(self, method: str) -> Shares:
        """Return the shares of the inputs; the rest of the score is the bias."""
        with np.errstate(over="ignore", invalid="ignore"):
            shares, rest = attribute(
                self.predictor, self.series, self.blocks, self.ahead, frozen=method == DECOMPOSITION
            )
        return finite(shares), 0.0, float(finite(rest))

    def note(self, method: str) -> str:
        """Return the dates of the lags, and what the method cannot distinguish or takes as given."""
        values = [block for block in self.blocks if block.role == "values"]
        notes = []
        if values:
            near, far = values[-1].end - 1, values[0].first
            T = len(self.series.values[0])
            first, last = (
                stamp_name(self.series.times[0][at]).replace("T", " ") for at in (far, near)
            )
            notes.append(f"Lag {T - near} is {last}, lag {T - far} is {first}.")
        if values and np.ptp(self.series.values[0][np.isfinite(self.series.values[0])]) == 0:
            notes.append("The series is constant, so that no value can be told from another.")
        if method == REPLACEMENT and self.blocks:
            notes.append(f"Each input was replaced by {self.draws} others of the same series.")
        if method == LEFT_OUT:
            column = "" if len(values) == len(self.blocks) else ", a column's by its mean"
            notes.append(f"A value left out is replaced by its neighbours in the season{column}.")
        if method in ADDITIVE:
            notes.append("Level and scale of the window and the calendar are in the bias.")
        if method == DECOMPOSITION:
            config = self.predictor.model.config
            notes.append(held_note(find(config.cell, config.activation), "rectifiers"))
        return " ".join(notes)

    def scored(self, method: str) -> tuple[str, float]:
        """Return the name of the score and the score: the forecast, transformed for additive methods."""
        transformed = method in ADDITIVE
        mean = "" if len(self.ahead) == 1 else "mean "
        name = f"{mean}{'logarithm of the ' * (transformed and self.rule.log)}forecast"
        return name, float(self._mean_forecast(self.series, transformed=transformed)[0])

    def replaced(self, sample: int, *, quick: bool) -> np.ndarray:
        """Return the mean fall of the forecast ``[N]`` when each input is replaced."""
        draw = np.random.default_rng(sample)
        self.draws = draws = count_replacements(MAX_REPLACED_WINDOWS, len(self.blocks), quick=quick)
        changes = [self._replacement(block, draw) for block in self.blocks for _ in range(draws)]
        scores = self._scores(changes)
        # Divide before adding: the sum of huge values would overflow.
        mean = (scores.reshape(-1, draws) / draws).sum(axis=1)
        # Smaller falls are rounding errors, and count as none.
        falls = self.scored(REPLACEMENT)[1] - mean
        return np.where(np.abs(falls) > self.min_change, falls, 0.0)

    def _column(self, block: Block) -> tuple[np.ndarray, np.ndarray]:
        """Return a copy of the columns of a block's role, and in it a view of the column of the block."""
        columns = getattr(self.series, block.role)[0].copy()
        return columns, columns.reshape(len(columns), -1)[:, block.column]

    def _replacement(self, block: Block, draw: np.random.Generator) -> Change:
        """Return the columns of a block's role, in which other values drawn from its column replace it.

        A value is replaced by others in the window, from the same phase of the season if there are at least
        two. A row of a covariate is replaced by others of the series, and a static covariate by that of
        another series.
        """
        columns, column = self._column(block)
        if block.role == "static":
            column[block.first] = draw.choice(self.predictor.history.static[:, block.first])
            return block.role, columns
        numbers, is_value = column.copy(), block.role == "values"
        # Values without a logarithm can neither be replaced nor replace others.
        usable = np.flatnonzero(np.isfinite(self.rule.transform(numbers) if is_value else numbers))
        replaced = usable[(usable >= block.first) & (usable < block.end)]
        if is_value:
            usable = usable[usable >= len(numbers) - self.rule.steps_back]
        for at in replaced.tolist():
            others = usable[usable != at]
            same_phase = others[(others - at) % self.rule.season == 0] if is_value else others
            others = same_phase if len(same_phase) > 1 else others
            if len(others):
                column[at] = numbers[draw.choice(others)]
        return block.role, columns

    def left_out(self) -> np.ndarray:
        """Return the fall of the forecast ``[N]`` when each input is interpolated from its neighbours."""
        scores = self._scores([self._without(block) for block in self.blocks])
        return np.asarray(self.scored(LEFT_OUT)[1] - scores)

    def _without(self, block: Block) -> Change:
        """Return the columns of a block's role without the block."""
        columns, column = self._column(block)
        # [T], or [S] for static covariates
        removed = np.zeros(len(column), bool)
        removed[block.first : block.end] = True
        if block.role == "values":
            known = np.isfinite(self.rule.transform(column))
            return block.role, _interpolated(column, known, removed, self.rule.season)
        column[removed] = np.nan  # a missing covariate reads as its mean in training
        return block.role, columns

    def _scores(self, changes: Sequence[Change]) -> np.ndarray:
        """Return the mean forecast ``[n]`` of the series after each of the changes."""
        if not changes:
            return np.zeros(0)
        self.steps += len(changes) * (self.rule.window // self.rule.segment + self.rule.ahead)
        # One series for each change, forecast together in batches.
        many = self.series.at([0] * len(changes))
        columns = {role: [*getattr(many, role)] for role in ("values", "past", "future", "static")}
        for number, (role, column) in enumerate(changes):
            columns[role][number] = column
        return self._mean_forecast(
            replace(
                many,
                values=tuple(columns["values"]),
                past=tuple(columns["past"]),
                future=tuple(columns["future"]),
                static=np.stack(columns["static"]),
            )
        )

    def _mean_forecast(self, series: SeriesSet, *, transformed: bool = False) -> np.ndarray:
        """Return the mean median ``[n]`` of the explained steps of each series."""
        forecasts = self.predictor.forecast(series, every_step=True).median[:, self.ahead]
        if transformed:
            forecasts = self.rule.transform(forecasts)
        # Divide before adding: the sum of huge values would overflow.
        return finite((forecasts / len(self.ahead)).sum(axis=1))


def _interpolated(
    values: np.ndarray, known: np.ndarray, removed: np.ndarray, season: int
) -> np.ndarray:
    """Replace the removed ones of ``values [T]`` by interpolation at the same phase of the season.

    Interpolation is linear between two kept values, and constant beyond them. If no value of the phase is
    kept, it uses all phases; if no value at all is kept, the mean of the removed ones.

    >>> removed = np.array([False, False, True, False])
    >>> _interpolated(np.array([1.0, 5.0, 9.0, 5.0]), np.ones(4, bool), removed, 2).tolist()
    [1.0, 5.0, 1.0, 5.0]
    """
    result, kept, places = values.copy(), known & ~removed, np.arange(len(values))
    removed = removed & known
    if not kept.any():
        result[removed] = (values[known] / max(1, known.sum())).sum()
        return result
    result[removed] = np.interp(places[removed], places[kept], values[kept])
    # Interpolate within each phase of the season, which overrides the line through all values.
    for phase in np.unique(places[removed] % season) if season > 1 else ():
        here = places % season == phase
        if (kept & here).any():
            to, of = removed & here, kept & here
            result[to] = np.interp(places[to], places[of], values[of])
    return result
