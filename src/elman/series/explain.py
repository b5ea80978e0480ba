"""Why a forecast is what it is: which earlier values, which columns and at which lag moved it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elman.cells import find
from elman.engine.shapes import whole_number
from elman.errors import DataError
from elman.explain.ablation import count_replacements
from elman.explain.explanation import ADDITIVE, DECOMPOSITION, LEFT_OUT, REPLACEMENT, Explanation
from elman.explain.gradients import finite, held
from elman.explain.question import Question, Shares
from elman.series.attribution import Part, shared_out
from elman.series.series import SeriesSet

__all__ = ["explain_forecast", "forecast_picture", "one_series", "span", "varied"]

MOST = 128
"""Inputs that are told apart; of a longer window neighbours are one."""
_WINDOWS = 1 << 10  # that are forecast for all replacements together
# a smaller fall is none: of the spread of the series, by rounding in the network; of its level, in the sum
_LEAST, _ROUNDING = 1e-6, 1e-14


def explain_forecast(
    predictor: Any,
    what: Any = None,
    target: int | str | None = None,
    *,
    method: str | None = None,
    quick: bool = False,
) -> Explanation:
    """Return which earlier values and columns moved the forecast of one series, by lag.

    Lag 1 is the last value. Inputs are the values of the window that the network reads, its past and
    future columns and the series' own; where there are more than 128, neighbours are one ("lags 25-48").

    By "replacement", the default, and by "leave-one-out" the score is the forecast (its median) in the units
    of the series, and the whole forecast is run again for each input. "replacement" measures how far it
    falls, in the mean, when others stand in the place of a value: values of the window at the same place in
    the season, or of the column. By "leave-one-out" a value is what its season's neighbours say (without a
    season, the values beside it), a column its mean in training.

    By "decomposition" or "integrated gradients" a score in the space of the network (the logarithm of the
    forecast, where it forecasts logarithms) is shared out among what the network reads, against a window
    that stood at its level all along. The value that the naive forecast repeats has its distance from the
    level as part of its share; the level itself, the window's scale, the calendar and the calibration are in
    the bias. Given are the relus that were open and the quantiles' order; a forecast that is held at 0 is in
    the residual.

    Args:
        predictor: what `elman.load` returns for the task forecast.
        what: the id of a series, where it knows several; or rows of one other series, read as in training.
        target: the step ahead, from 1; by default the mean of the whole horizon.
        method: "replacement" (the default), "decomposition", "integrated gradients" or "leave-one-out".
        quick: leave the self-test out and replace fewer times, for a first answer.

    Raises:
        DataError: there is no such series, or more than one.
        OptionError: there is no such step or method.
        InputError: the states of the network leave the range of numbers.
    """
    return _Ahead(predictor, one_series(predictor, what), target).answer(method, quick=quick)


def forecast_picture(
    predictor: Any, what: Any = None, explanation: Explanation | None = None
) -> dict[str, Any]:
    """Return a forecast, its history and the share of the value at each lag, as `draw.forecast` takes them.

    `what` and `explanation` are those of `explain_forecast`, which is asked where none is given; a block of
    lags has its share in equal parts. Raises as it does.
    """
    series = one_series(predictor, what)
    if explanation is None:
        explanation = explain_forecast(predictor, series)
    forecast = predictor.forecast(series)
    T, shares = len(series.values[0]), dict[int, float]()
    parts = _parts(series, predictor.codec.rule)
    for part, share in zip(parts, explanation.contributions.tolist(), strict=True):
        if part.role == "values":
            lags = range(T - part.end + 1, T - part.first + 1)
            shares |= dict.fromkeys(lags, share / len(lags))
    ends = {percent / 100: forecast.interval(percent) for percent in forecast.intervals}
    shown = np.isfinite(forecast.median[0])
    return {
        "history_times": forecast.history.times[0],
        "history": series.values[0],
        "times": forecast.times[0][shown],
        "median": forecast.median[0][shown],
        "intervals": {
            share: (low[0][shown], high[0][shown]) for share, (low, high) in ends.items()
        },
        "contributions": shares,
        "name": series.ids[0],
    }


def one_series(predictor: Any, what: Any) -> SeriesSet:
    """Return the one series that is asked about, its end; raises DataError."""
    history: SeriesSet = predictor.history
    if isinstance(what, str):
        found = history.select([what])
    else:
        found = history if what is None else predictor.read(what)
    if len(found) != 1:
        raise DataError("which series?", got=f"{len(found)} of them", remedy="name one")
    one: SeriesSet = predictor.codec.trimmed(found)
    return one


def varied(
    series: SeriesSet, rows: Sequence[int], variants: Sequence[Mapping[str, np.ndarray]]
) -> SeriesSet:
    """Return for each variant the series in that row with the columns that the variant has."""

    def column(role: str) -> list[Any]:
        own = getattr(series, role)
        return [one.get(role, own[row]) for row, one in zip(rows, variants, strict=True)]

    columns = ("times", "values", "past", "future")
    parts: dict[str, Any] = {role: tuple(column(role)) for role in columns}
    return replace(
        series,
        ids=tuple(map(str, range(len(rows)))),
        starts=np.array(column("starts"), series.starts.dtype),
        static=np.stack(column("static")),
        **parts,
    )


def span(first: int, last: int) -> str:
    """Return neighbours by their ends, one by its number.

    >>> span(3, 5), span(3, 3)
    ('3-5', '3')
    """
    return f"{first}" if first == last else f"{first}-{last}"


def _time(time: Any) -> str:
    if isinstance(time, np.datetime64):
        time = str(time.astype("datetime64[s]")).replace("T", " ").removesuffix(" 00:00:00")
    return str(time)


def _parts(series: SeriesSet, rule: Any) -> list[Part]:
    """Return what can be left out of one series, the oldest rows of a column first."""
    T = len(series.values[0])
    columns = [("values", 0, "", series.values[0])]
    for role in ("past", "future"):
        given = getattr(series, role)[0]
        columns += [(role, k, name, given[:, k]) for k, name in enumerate(series.names[role])]
    static = series.names["static"]
    most = max(1, (MOST - len(static)) // len(columns))
    window = min(T, rule.window)
    found = []
    for role, column, name, numbers in columns:
        end = min(len(numbers), T + rule.reach if role == "future" else T)
        # lags are counted from the forecast, so its nearest block is a whole one
        ahead = max(0, end - T)
        size = max(1, -(-(window + ahead) // most))
        starts = [*range(T, T - window, -size)][::-1]
        edges = [(max(T - window, start - size), start) for start in starts]
        edges += [(start, min(end, start + size)) for start in range(T, end, size)]
        for first, last in edges:
            if not np.isfinite(numbers[first:last]).any():
                continue
            place = (
                f"{span(first - T + 1, last - T)} ahead"
                if first >= T
                else f"lag{'s' * (last - first > 1)} {span(T - last + 1, T - first)}"
            )
            found.append(Part(f"{name}, {place}" if name else place, role, column, first, last))
    for column, name in enumerate(static):
        if np.isfinite(series.static[0, column]):
            found.append(Part(name, "static", column, 0, 1))
    return found


class _Ahead(Question):
    """Why a forecast is what it is, some steps ahead."""

    task = "forecast"  # which rectifiers are open is held as it was: no decomposition is exact

    def __init__(self, predictor: Any, series: SeriesSet, target: int | str | None) -> None:
        self.predictor, self.series, self.draws = predictor, series, 0
        self.rule = rule = predictor.codec.rule
        self.ahead = np.arange(rule.horizon)
        if target is not None:
            digits = isinstance(target, str) and target.isascii() and target.isdigit()
            number = int(target) if digits and len(str(target)) < 9 else target
            self.ahead = np.array([whole_number("target", number, 1, rule.horizon) - 1])
        first, last = int(self.ahead[0]) + 1, int(self.ahead[-1]) + 1
        self.target = f"{series.ids[0]}, {span(first, last)} ahead"
        self.parts = _parts(series, rule)
        self.inputs = tuple(part.name for part in self.parts)
        known = series.values[0][np.isfinite(series.values[0])]
        low, high = (known.min(), known.max()) if len(known) else (0.0, 0.0)
        self.least = float(_LEAST * high - _LEAST * low + _ROUNDING * max(high, -low))

    def shares(self, method: str) -> Shares:
        """Return the shares in the space of the network, of the bias all that is no input's."""
        with np.errstate(over="ignore", invalid="ignore"):
            shares, rest = shared_out(
                self.predictor, self.series, self.parts, self.ahead, frozen=method == DECOMPOSITION
            )
        return finite(shares), 0.0, float(finite(rest))

    def note(self, method: str) -> str:
        """Return what the lags are, and what the method does not tell apart or takes as given."""
        values = [part for part in self.parts if part.role == "values"]
        notes = []
        if values:
            near, far = values[-1].end - 1, values[0].first
            T = len(self.series.values[0])
            last, first = (_time(self.series.times[0][place]) for place in (near, far))
            notes.append(f"Lag {T - near} is {last}, lag {T - far} is {first}.")
        if values and np.ptp(self.series.values[0][np.isfinite(self.series.values[0])]) == 0:
            notes.append("The series is constant, so that no value can be told from another.")
        if method == REPLACEMENT and self.parts:
            notes.append(f"Each input was replaced by {self.draws} others of the same series.")
        if method == LEFT_OUT:
            column = "" if len(values) == len(self.parts) else ", a column's by its mean"
            notes.append(f"A value left out is replaced by its neighbours in the season{column}.")
        if method not in ADDITIVE:
            return " ".join(notes)
        notes.append("Level and scale of the window and the calendar are in the bias.")
        if method == DECOMPOSITION:
            config = self.predictor.model.config
            notes.append(held(find(config.cell, config.activation), "rectifiers"))
        return " ".join(notes)

    def scored(self, method: str) -> tuple[str, float]:
        """Return the mean forecast as it is, or in the space of the network."""
        transformed = method in ADDITIVE
        mean = "" if len(self.ahead) == 1 else "mean "
        name = f"{mean}{'logarithm of the ' * (transformed and self.rule.log)}forecast"
        return name, float(self._scores([{}], transformed=transformed)[0])

    def replaced(self, sample: int, *, quick: bool) -> np.ndarray:
        """Return how far the mean forecast falls, in the mean, when each input is replaced."""
        draw = np.random.default_rng(sample)
        self.draws = draws = count_replacements(_WINDOWS, len(self.parts), quick=quick)
        variants = [self._other(part, draw) for part in self.parts for _ in range(draws)]
        scores = self._scores(variants)
        # in parts: the sum of great numbers would leave the range
        mean = (scores.reshape(-1, draws) / draws).sum(axis=1)
        falls = self.scored(REPLACEMENT)[1] - mean
        return np.where(np.abs(falls) > self.least, falls, 0.0)

    def _other(self, part: Part, draw: np.random.Generator) -> dict[str, np.ndarray]:
        """Return the column of a part in which others of its own values stand in its place.

        A value is replaced by others in the window, of the same place in the season where there are at
        least two, a row of a column by others in the series. A static column is that of another series.
        """
        own = getattr(self.series, part.role)[0]
        column = own.copy()
        if part.role == "static":
            column[part.column] = draw.choice(self.predictor.history.static[:, part.column])
            return {part.role: column}
        values = part.role == "values"
        numbers = own if values else own[:, part.column]
        places = np.flatnonzero(np.isfinite(self.rule.transform(numbers) if values else numbers))
        gone = places[(places >= part.first) & (places < part.end)]
        if values:
            places = places[places >= len(numbers) - self.rule.window]
        for place in gone.tolist():
            others = places[places != place]
            alike = others[(others - place) % self.rule.season == 0] if values else others
            others = alike if len(alike) > 1 else others
            if len(others):
                at = place if values else (place, part.column)
                column[at] = numbers[draw.choice(others)]
        return {part.role: column}

    def left_out(self) -> np.ndarray:
        """Return how far the mean forecast falls when each input is what its neighbours say."""
        scores = self._scores([self._without(part) for part in self.parts])
        return np.asarray(self.scored(LEFT_OUT)[1] - scores)

    def _without(self, part: Part) -> dict[str, np.ndarray]:
        """Return the column of a part without it."""
        column = getattr(self.series, part.role)[0].copy()
        if part.role == "values":
            known, gone = np.isfinite(self.rule.transform(column)), np.zeros(len(column), bool)
            gone[part.first : part.end] = True
            return {part.role: _expected(column, known, gone, self.rule.season)}
        # what is missing reads as the mean of training
        place = (
            (part.column,) if part.role == "static" else (slice(part.first, part.end), part.column)
        )
        column[place] = np.nan
        return {part.role: column}

    def _scores(
        self, variants: Sequence[dict[str, np.ndarray]], *, transformed: bool = False
    ) -> np.ndarray:
        """Return the mean forecast ``[n]`` of the series with some of its columns changed."""
        if not variants:
            return np.zeros(0)
        changed = sum(map(bool, variants))
        self.steps += changed * (self.rule.window // self.rule.segment + self.rule.ahead)

        many = varied(self.series, [0] * len(variants), variants)
        found = self.predictor.forecast(many, every_step=True).median[:, self.ahead]
        if transformed:
            found = self.rule.transform(found)
        # in parts: the sum of great numbers would leave the range
        return finite((found / len(self.ahead)).sum(axis=1))


def _expected(values: np.ndarray, known: np.ndarray, gone: np.ndarray, season: int) -> np.ndarray:
    """Return `values` ``[T]``, those that are `gone` as what is left of their season says.

    Between two values of one place in the season that is a straight line, beyond them the nearest; of a
    place of which nothing is left, the same among all values; of nothing at all, the mean.

    >>> gone = np.array([False, False, True, False])
    >>> _expected(np.array([1.0, 5.0, 9.0, 5.0]), np.ones(4, bool), gone, 2).tolist()
    [1.0, 5.0, 1.0, 5.0]
    """
    found, kept, places = values.copy(), known & ~gone, np.arange(len(values))
    gone = gone & known
    if not kept.any():
        found[gone] = (values[known] / max(1, known.sum())).sum()
        return found
    found[gone] = np.interp(places[gone], places[kept], values[kept])
    for place in np.unique(places[gone] % season) if season > 1 else ():
        here = places % season == place
        if (kept & here).any():
            some, of = gone & here, kept & here
            found[some] = np.interp(places[some], places[of], values[of])
    return found
