"""Series: rows of any layout as one regular grid a series, and what is done about what is wrong.

`elman.data.layout` says which column is what. Here is what becomes of what a row may hold; every
error names the series and its row, and whatever was changed is said in `SeriesSet.warnings`.

| hazard | what is done |
|---|---|
| rows out of order | sorted by time |
| a missing date, a gap | `gaps`: a missing value (mask), the last value again (fill), or an error |
| a value that is NaN, None, empty, ``NA`` | `missing`: left missing, the last value again, or an error |
| rows before the first value | left out; an error with missing="error" |
| rows behind the last value | left out; with known-future columns they are the known future |
| a series without a value | left out; an error where no other is left, or with missing="error" |
| a series of one value, of one value all along, of 1e300 | kept |
| two rows of one stamp, with one value or two | `duplicates`: an error, or first, last, mean, sum |
| an infinite value | an error |
| a text that is no number, as 1,234.5 | an error that says how to write it |
| a target that is true or false | 1 and 0 |
| whole numbers beyond 2^53 | the nearest float64 |
| stamps between the steps | an error |
| series of several frequencies | an error that names two of them |
| a step that most, but not all, stamps keep | the commonest one; what lacks are gaps |
| one stamp a series, so that no step is seen | an error: pass `frequency` |
| a gap of more than a hundred times the rows | an error: a year is mistyped |
| stamps with a time zone | UTC; with `timezone`, stamps of one hour a day stay local |
| stamps with and without a time zone | an error |
| local stamps and `timezone`, the hour that comes twice | by their order |
| the same, the hour that clocks leap over | an error |
| the same without `timezone` | a gap in spring, a duplicate in autumn |
| dates in several forms, 31/01/2020 | see `elman.data.dates`; an error where it cannot be told |
| a date that is none, or is missing | an error |
| ids that are numbers | their digits: 1, 1.0 and "1" are one id |
| an id that is missing; ids that differ in white space alone | an error |
| a column that is not there, or there twice | an error, with the names that are near |
| no rows | an error |
| a covariate that is missing | as `missing`; filled, its first value stands for those before it |
| known-future columns that end with the target | kept: `future` is as long as `values` |
| a static text | a column of ones and zeros for each category; of none of them zeros, and said |
| a static column of two values in one series | an error |
| new ids, in `append` | new series |
| stamps that are there already, in `append` | `overlap`: an error, or replaced |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from elman._errors import DataError, OptionError
from elman.data.calendar import Frequency, advance, positions
from elman.data.columns import column_of, numbers_of
from elman.data.grid import make_grids, stamp_name
from elman.data.layout import Rows, SeriesOptions, quoted, read_rows, several

__all__ = ["SeriesOptions", "SeriesSet", "load_series"]

_ROLES = ("id", "time", "target", "past", "future")


@dataclass(frozen=True, eq=False)
class SeriesSet:
    """One or many series, each on a grid without gaps; NaN where a value is missing."""

    ids: tuple[str, ...]
    starts: np.ndarray
    """``[N]`` datetime64[us] or int64: the first stamp of each."""
    times: tuple[np.ndarray, ...]
    """``[T]`` each, of the values."""
    values: tuple[np.ndarray, ...]
    """``[T]`` float64 each."""
    past: tuple[np.ndarray, ...]
    """``[T, P]`` float64 each: known up to the last value."""
    future: tuple[np.ndarray, ...]
    """``[T + more, F]`` float64 each: known beyond the last value."""
    static: np.ndarray
    """``[N, S]`` float64."""
    names: Mapping[str, tuple[str, ...]]
    """Of the columns, by role: id, time, target, past, future, static (as encoded)."""
    frequency: Frequency
    categories: Mapping[str, tuple[str, ...]]
    """Of the static columns that are texts."""
    warnings: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, which: np.ndarray | Sequence[str]) -> SeriesSet:
        """Return the series of a mask ``[N]`` of bool, or of several ids in that order.

        Raises DataError for an id that is not there.

        >>> load_series({"a": [1, 2], "b": [3, 4]}).select(["b"]).values
        (array([3., 4.]),)
        """
        if isinstance(which, np.ndarray) and which.dtype == bool:
            places = np.flatnonzero(which).tolist()
        else:
            index = {key: place for place, key in enumerate(self.ids)}
            if strange := [key for key in which if key not in index]:
                raise DataError(f"no series {several(strange)}", expected=several(self.ids))
            places = [index[key] for key in which]
        parts: dict[str, Any] = {
            name: tuple(getattr(self, name)[place] for place in places)
            for name in ("ids", "times", "values", "past", "future")
        }
        return replace(self, **parts, starts=self.starts[places], static=self.static[places])

    def before(self, steps: int) -> SeriesSet:
        """Return every series without its last steps; what is known of the future stays.

        A series of no more steps than that stays, without a value.

        >>> load_series([1, 2, 3]).before(2).values
        (array([1.]),)
        """
        keep = [max(0, len(values) - steps) for values in self.values]
        parts: dict[str, Any] = {
            name: tuple(
                array[:length] for array, length in zip(getattr(self, name), keep, strict=True)
            )
            for name in ("times", "values", "past")
        }
        if not self.names["future"]:
            parts["future"] = tuple(
                array[:length] for array, length in zip(self.future, keep, strict=True)
            )
        return replace(self, **parts)

    def append(self, other: SeriesSet, *, gaps: str = "mask", overlap: str = "error") -> SeriesSet:
        """Return the series going on with those of one id in `other`; new ids are new series.

        Without dates they go on at once. `gaps` between them: mask, fill or error; stamps that both
        have: error or replace (by what `other` has). Raises DataError where they do not fit.

        >>> load_series([1, 2]).append(load_series([3])).values
        (array([1., 2., 3.]),)
        """
        _check_alike(self, other, gaps, overlap)
        index = {key: place for place, key in enumerate(self.ids)}
        new = [key not in index for key in other.ids]
        values, past, future = list(self.values), list(self.past), list(self.future)
        for place, key in enumerate(other.ids):
            if key not in index:
                continue
            at = index[key]
            step = _joint(self, other, at, place, gaps, overlap)
            if len(other.values[place]):
                values[at] = _join(values[at], other.values[place], step, gaps)
                past[at] = _join(past[at], other.past[place], step, gaps)
            whole = _join(future[at], other.future[place], step, gaps)
            # without known-future columns it is as long as the values
            future[at] = whole if self.names["future"] else np.zeros((len(values[at]), 0))
        more = other.select(np.array(new, bool))
        joined = (*values, *more.values)
        starts = np.concatenate([self.starts, more.starts])
        return replace(
            self,
            ids=self.ids + more.ids,
            starts=starts,
            times=_stamps(starts, joined, self.frequency),
            values=joined,
            past=(*past, *more.past),
            future=(*future, *more.future),
            static=np.concatenate([self.static, more.static]),
            warnings=tuple(dict.fromkeys(self.warnings + other.warnings)),
        )


def _stamps(
    starts: np.ndarray, values: Sequence[np.ndarray], frequency: Frequency
) -> tuple[np.ndarray, ...]:
    return tuple(
        advance(start, frequency, np.arange(len(series)))
        for start, series in zip(starts, values, strict=True)
    )


def _check_alike(one: SeriesSet, other: SeriesSet, gaps: str, overlap: str) -> None:
    if gaps not in ("mask", "fill", "error"):
        raise OptionError("gaps", got=gaps, expected="mask | fill | error")
    if overlap not in ("error", "replace"):
        raise OptionError("overlap", got=overlap, expected="error | replace")
    for role in ("past", "future", "static"):
        if one.names[role] != other.names[role]:
            raise DataError(
                f"the {role} columns differ",
                got=", ".join(other.names[role]) or "none",
                expected=", ".join(one.names[role]) or "none",
            )
    if one.frequency != other.frequency or bool(one.names["time"]) != bool(other.names["time"]):
        raise DataError(
            "the rows to append have another frequency",
            got=other.frequency.words,
            expected=one.frequency.words,
            remedy=f"pass frequency={str(one.frequency)!r} where they are read",
        )


def _joint(one: SeriesSet, other: SeriesSet, at: int, place: int, gaps: str, overlap: str) -> int:
    """Return the step of series `at` at which series `place` of `other` begins."""
    length = len(one.values[at])
    if not one.names["time"]:
        return length
    start = other.starts[place]
    steps, exact = positions(other.starts[place : place + 1], one.frequency, one.starts[at])
    what, step = f"series {quoted(one.ids[at])} at {stamp_name(start)}", int(steps[0])
    if not exact[0]:
        raise DataError(f"{what} is between its steps", expected=one.frequency.words)
    has = len(other.values[place]) > 0
    if step < 0 or (step < length and has and overlap == "error"):
        remedy = "drop those rows" if step < 0 else 'pass overlap="replace", or drop those rows'
        raise DataError(f"{what} is not behind its last value", remedy=remedy)
    if step > length and has and gaps == "error":
        raise DataError(f"{what}: {step - length} steps are missing before it")
    return step


def _join(old: np.ndarray, new: np.ndarray, step: int, gaps: str) -> np.ndarray:
    joined = np.full((max(len(old), step + len(new)), *old.shape[1:]), np.nan)
    joined[: len(old)] = old
    there = joined[step : step + len(new)]
    joined[step : step + len(new)] = np.where(np.isnan(new), there, new)
    if gaps == "fill" and 0 < len(old) < step:
        joined[len(old) : step] = old[-1]
    return joined


def _one_each(rows: Rows, name: str) -> list[Any]:
    """Return the value of a static column for every id, None where it is missing."""
    found: dict[int, tuple[Any, int]] = {}
    for row, (code, value) in enumerate(
        zip(rows.codes.tolist(), rows.static[name].tolist(), strict=True)
    ):
        if value is None or value != value:
            continue
        one, before = found.setdefault(code, (value, row))
        if one != value:
            raise DataError(
                f"{rows.where(row)}: static column {quoted(name)} is {value!r}, and"
                f" {one!r} in row {rows.rows[before] + 1}",
                remedy="pass it with past= or future=, or write one value a series",
            )
    return [found.get(code, (None, 0))[0] for code in range(len(rows.ids))]


def _static(
    rows: Rows, known: Mapping[str, tuple[str, ...]] | None
) -> tuple[np.ndarray, list[str], dict[str, tuple[str, ...]]]:
    """Return the static columns ``[N, S]``, their names, and the categories of those of texts."""
    columns: list[list[float]] = []
    names: list[str] = []
    categories: dict[str, tuple[str, ...]] = {}
    for name, column in rows.static.items():
        values = _one_each(rows, name)
        if name not in known if known is not None else column.dtype.kind in "bif":
            what, column = f"static column {quoted(name)}", column_of(values)[0]
            numbers = numbers_of(column, what, lambda code: f"series {quoted(rows.ids[code])}")
            columns.append(numbers.tolist())
            names.append(name)
            continue
        texts = [None if value is None else str(value) for value in values]
        kinds = sorted(set(filter(None, texts))) if known is None else known[name]
        if strange := sorted({text for text in texts if text is not None} - set(kinds)):
            rows.notes.append(
                f"static column {quoted(name)} has what it had not before: {several(strange)};"
                " read as none of its kinds"
            )
        columns += [[float(text == kind) for text in texts] for kind in kinds]
        names += [f"{name}={kind}" for kind in kinds]
        categories[name] = tuple(kinds)
    matrix = np.array(columns, np.float64).reshape(len(columns), len(rows.ids)).T
    return matrix, names, categories


def load_series(
    source: Any,
    options: SeriesOptions | None = None,
    *,
    categories: Mapping[str, tuple[str, ...]] | None = None,
    future_only: bool = False,
) -> SeriesSet:
    """Return the series in `source`: a table of any kind that `read_table` takes, or arrays.

    Args:
        source: a path or a data frame, long or wide (`elman.data.layout` has the rules); a vector
            ``[T]``, a matrix ``[N, T]``, a list of vectors, a dict of them by id.
        options: the columns and the policies.
        categories: those of an earlier set, for a network that knows its static columns.
        future_only: whether the rows hold known-future columns alone, to `append`.

    Raises:
        DataError: it cannot be read, or as the table above says.
        OptionError: the frequency or the time zone is none, or does not fit.
        MissingDependencyError: narwhals or polars is not installed.

    >>> series = load_series({"ds": ["2020-01-01", "2020-01-02", "2020-01-04"], "y": [1, 2, 4]})
    >>> series.frequency.words, series.values
    ('daily', (array([ 1.,  2., nan,  4.]),))
    """
    options = options or SeriesOptions()
    rows = read_rows(source, options, future_only=future_only)
    grids, frequency = make_grids(rows, options)
    static, static_names, found = _static(rows, categories)
    past = 1 + len(options.past)
    values = tuple(grid.matrix[: grid.length, 0] for grid in grids)
    starts = np.array([grid.start for grid in grids])
    return SeriesSet(
        ids=tuple(rows.ids[grid.code] for grid in grids),
        starts=starts,
        times=_stamps(starts, values, frequency),
        values=values,
        past=tuple(grid.matrix[: grid.length, 1:past] for grid in grids),
        future=tuple(grid.matrix[:, past:] for grid in grids),
        static=static[[grid.code for grid in grids]],
        names={role: rows.names.get(role, ()) for role in _ROLES} | {"static": tuple(static_names)},
        frequency=frequency,
        categories=found,
        warnings=tuple(rows.notes),
    )
