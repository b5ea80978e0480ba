"""Series: rows of any layout as one regular grid a series, and what is done about what is wrong.

`elman.series.layout` says which column is what. Here is what becomes of what a row may hold; every
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
| numbers as people write them, as 1,234.50 or 12 % | read and said (`elman.tables.numerals`) |
| a text that is no number, or as 1,234 one in two ways | an error that says what to do |
| a target that is true or false | 1 and 0 |
| whole numbers beyond 2^53 | the nearest float64 |
| stamps between the steps | an error |
| series of several frequencies | an error that names two of them |
| a step that most, but not all, stamps keep | the commonest one; what lacks are gaps |
| one stamp a series, so that no step is seen | an error: pass `frequency` |
| a gap of more than a hundred times the rows (2,000 steps at least) | an error: a year is mistyped |
| a first or last row farther off than all others are long | the same |
| stamps with a time zone | UTC under a day; stamps of one hour a day stay local; told in that zone |
| plain dates and `timezone` | dates, though the clocks leap over a midnight |
| numbers that can only be dates, as 20240131 or seconds since 1970 | dates, with a note |
| one of them that is none, as 20240230 | an error |
| stamps a tenth of a step and five minutes or less off | the steps, with a note |
| dates and frequency="steps" | steps in the order of the dates |
| one day of the week closed in each of three weeks and more | open days: the closed ones are no steps |
| masked values, `pandas.NA` | missing |
| an index without a name that holds dates, texts or numbers | a column, `index` |
| an index that holds durations | an error |
| one column as target and known in advance | an error; a copy of the target is noted |
| stamps with and without a time zone | an error |
| local stamps and `timezone`, the hour that comes twice | by their order |
| the same, the hour that clocks leap over | an error |
| the same without `timezone` | a gap in spring, a duplicate in autumn |
| dates in several forms, 31/01/2020 | see `elman.tables.dates`; an error where it cannot be told |
| a date that is none, or is missing | an error |
| ids that are numbers | their digits: 1, 1.0 and "1" are one id |
| an id that is missing; ids that differ in white space alone | an error |
| a column that is not there, or there twice | an error, with the names that are near |
| no rows | an error |
| a covariate that is missing | as `missing`; filled, its first value stands for those before it |
| known-future columns that end with the target | kept: `future` is as long as `values` |
| a static text | a column of ones and zeros for each category; of none of them zeros, and said |
| a static column of two values in one series | an error |
| new ids, in `append` | new series, with a note; an error where "7" stands for the known "007" |
| known stamps with the same values, in `append` | nothing changes |
| known stamps with other values, in `append` | `overlap`: an error, replaced, or kept as known |
| stamps before the first that is kept, in `append` | left out, with a note |
| steps between the last value and the new rows, in `append` | `gaps`, with a note |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from elman.errors import DataError, OptionError
from elman.series.calendar import DAY, Frequency, advance, positions, steadied
from elman.series.grid import farthest, make_grids, stamp_name
from elman.series.layout import read_rows
from elman.series.rows import SeriesOptions
from elman.series.static import encode_static, static_columns
from elman.series.zones import to_local
from elman.tables.columns import is_number, of_series, quoted, several

__all__ = ["READING", "SeriesOptions", "SeriesSet", "load_series", "stamps_from"]

READING = ("timezone", "date_format", "missing", "gaps", "duplicates")
"""The options of `SeriesOptions` by which later rows are read, too."""

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
    reading: Mapping[str, str | None] = field(default_factory=dict)
    """How rows were read, by the names in READING, and what was found of how they were written."""

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, which: np.ndarray | Sequence[str]) -> SeriesSet:
        """Return the series of a mask ``[N]`` of bool, or of several ids in that order.

        Raises DataError for an id that is not there.

        >>> load_series({"a": [1, 2], "b": [3, 4]}).select(["b"]).values
        (array([3., 4.]),)
        """
        if isinstance(which, np.ndarray) and which.dtype == bool:
            return self._taken(np.flatnonzero(which).tolist())
        index = {key: place for place, key in enumerate(self.ids)}
        which = [str(key) for key in which]  # ids that are numbers are given as such
        if strange := [key for key in which if key not in index]:
            raise DataError(f"no series {several(strange)}", expected=several(self.ids))
        return self._taken([index[key] for key in which])

    def _taken(self, places: list[int]) -> SeriesSet:
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
        names = ["times", "values", "past", *([] if self.names["future"] else ["future"])]
        parts: dict[str, Any] = {
            name: tuple(
                array[:length] for array, length in zip(getattr(self, name), keep, strict=True)
            )
            for name in names
        }
        return replace(self, **parts)

    @property
    def static_columns(self) -> tuple[str, ...]:
        """The static columns as they were passed, before texts were encoded, in that order."""
        return static_columns(self.names["static"], self.categories)

    @property
    def zone(self) -> str | None:
        """Where the clocks stand that show its stamps; None where there is no time zone."""
        return self.reading.get("timezone") or self.reading.get("zone")

    def clocks(self, times: np.ndarray) -> np.ndarray:
        """Return stamps as local clocks show them: under a day they are kept in UTC."""
        inside_day = 0 < self.frequency.step < DAY and times.dtype.kind == "M"
        return to_local(times, self.zone) if self.zone is not None and inside_day else times

    def append(self, other: SeriesSet, *, gaps: str = "mask", overlap: str = "error") -> SeriesSet:
        """Return the series continued by the series of the same id in `other`; new ids are added.

        Without dates new values follow the last value. The columns of `other` may come in any order.

        Args:
            other: the new rows, read with the same columns and the same step.
            gaps: what becomes of steps between both: mask (left missing), fill or error.
            overlap: what becomes of steps that both have with different values: error, replace (the
                values of `other` win) or keep (the values that are known win). Equal values pass.

        Raises:
            DataError: they do not fit each other.
            OptionError: there is no such policy.

        >>> load_series([1, 2]).append(load_series([3])).values
        (array([1., 2., 3.]),)
        """
        _check_policies(self, other, gaps, overlap)
        other = _arranged(other, self)
        notes: list[str] = []
        early: dict[str, int] = {}
        missing: dict[str, int] = {}
        index = {key: place for place, key in enumerate(self.ids)}
        added = [key for key in other.ids if key not in index]
        if self.ids and added:
            _check_spelling(self.ids, added)
            notes.append(f"series not known before: {several(added)}")
        values, past, future = list(self.values), list(self.past), list(self.future)
        for place, key in enumerate(other.ids):
            if key not in index:
                continue
            at = index[key]
            step, rows = _joint(self, other, at, place)
            if step < 0:
                early[key], step = -step, 0
            elif len(rows.values[0]) and step > len(values[at]):
                missing[key] = step - len(values[at])
            if self.names["time"]:
                _check_gap(self, rows, at, step, gaps)
                _check_overlap(self, rows, at, step, overlap)
            keep = overlap == "keep"
            if len(rows.values[0]):
                values[at] = _join(values[at], rows.values[0], step, gaps, keep)
                past[at] = _join(past[at], rows.past[0], step, gaps, keep)
            whole = _join(future[at], rows.future[0], step, gaps, keep)
            # without known-future columns it is as long as the values
            future[at] = whole if self.names["future"] else np.zeros((len(values[at]), 0))
        notes += _said(early, "{} rows before the first step that is kept: left out ({})")
        done = "left missing" if gaps == "mask" else "filled with the value before"
        notes += _said(missing, f"{{}} steps without a row before the new rows: {done} ({{}})")
        more = other.select(added)
        joined = (*values, *more.values)
        starts = np.concatenate([self.starts, more.starts])
        return replace(
            self,
            ids=self.ids + more.ids,
            starts=starts,
            times=stamps_from(starts, joined, self.frequency),
            values=joined,
            past=(*past, *more.past),
            future=(*future, *more.future),
            static=np.concatenate([self.static, more.static]),
            warnings=tuple(dict.fromkeys((*self.warnings, *other.warnings, *notes))),
        )


def stamps_from(
    starts: np.ndarray, values: Sequence[np.ndarray], frequency: Frequency
) -> tuple[np.ndarray, ...]:
    """Return the stamps ``[T]`` of the `values` of each series, from its first stamp on."""
    return tuple(
        advance(start, frequency, np.arange(len(series)))
        for start, series in zip(starts, values, strict=True)
    )


def _check_policies(one: SeriesSet, other: SeriesSet, gaps: str, overlap: str) -> None:
    if gaps not in ("mask", "fill", "error"):
        raise OptionError("gaps", got=gaps, expected="mask | fill | error")
    if overlap not in ("error", "replace", "keep"):
        raise OptionError("overlap", got=overlap, expected="error | replace | keep")
    if one.frequency != other.frequency or bool(one.names["time"]) != bool(other.names["time"]):
        raise DataError(
            "the rows to append have another frequency",
            got=other.frequency.words,
            expected=one.frequency.words,
            remedy=f"pass frequency={str(one.frequency)!r} where they are read",
        )


def _arranged(given: SeriesSet, like: SeriesSet) -> SeriesSet:
    """Return `given` with its columns in the order of those of `like`; raises DataError where they differ.

    A kind of a static text that none of the given series has is a column of zeros, and a kind that is
    new is left out.
    """
    parts: dict[str, Any] = {}
    texts = set(like.categories) & set(given.categories)
    kinds = {f"{name}={kind}" for name in texts for kind in given.categories[name]}
    wanted_kinds = {f"{name}={kind}" for name in texts for kind in like.categories[name]}
    for role in ("past", "future", "static"):
        own, wanted = given.names[role], like.names[role]
        if own == wanted:
            continue
        if (set(own) - kinds) != (set(wanted) - wanted_kinds):
            raise DataError(
                f"the {role} columns differ",
                got=", ".join(own) or "none",
                expected=", ".join(wanted) or "none",
            )
        order = [own.index(name) if name in own else len(own) for name in wanted]
        arrays = getattr(given, role)
        # the last column, of zeros, stands for the kinds that are not there
        if role == "static":
            parts[role] = np.pad(arrays, ((0, 0), (0, 1)))[:, order]
        else:
            parts[role] = tuple(array[:, order] for array in arrays)
    if not parts:
        return given
    return replace(given, **parts, names=like.names, categories=like.categories)


def _check_spelling(known: Sequence[str], new: Sequence[str]) -> None:
    """Raise DataError for a new id that only spells a known number, or its white space, differently."""
    spelled = {_plain(key): key for key in known}
    for key in new:
        if (other := spelled.get(_plain(key))) is not None:
            raise DataError(
                f"series {quoted(key)} is not known, but {quoted(other)} is",
                remedy="write the id as in training (a number loses its leading zeros)",
            )


def _plain(key: str) -> str:
    text = " ".join(key.split())
    return text.lstrip("0").removesuffix(".0") if is_number(text.lstrip("0") or "0") else text


def _said(counts: Mapping[str, int], text: str) -> list[str]:
    """Return a note of how much was changed in which series, none where nothing was."""
    return [text.format(sum(counts.values()), of_series([*counts]))] if counts else []


def _joint(one: SeriesSet, other: SeriesSet, at: int, place: int) -> tuple[int, SeriesSet]:
    """Return the step of series `at` at which series `place` of `other` begins, and its rows from there.

    The step is negative where it begins earlier than what is known; its rows are then cut.
    """
    length, rows = len(one.values[at]), other._taken([place])
    if not one.names["time"]:
        return length, rows
    if 0 < one.frequency.step < DAY and rows.starts.dtype.kind == "M":
        rows = replace(rows, starts=steadied(rows.starts, one.frequency.step, one.starts[at]))
    steps, exact = positions(rows.starts, one.frequency, one.starts[at])
    what, step = f"series {quoted(one.ids[at])} at {stamp_name(rows.starts[0])}", int(steps[0])
    if not exact[0]:
        expected = f"{one.frequency.words} from {stamp_name(one.starts[at])}"
        raise DataError(f"{what} is between its steps", expected=expected)
    if step < 0:
        cut: dict[str, Any] = {
            name: (getattr(rows, name)[0][-step:],) for name in ("values", "past", "future")
        }
        rows = replace(rows, starts=one.starts[at : at + 1], **cut)
    return step, rows


def _check_gap(one: SeriesSet, rows: SeriesSet, at: int, step: int, gaps: str) -> None:
    """Raise DataError for steps that are missing before new rows, if that is an error, or for too many."""
    gap = step - len(one.values[at])
    if gap <= 0 or not len(rows.values[0]):
        return
    what = f"series {quoted(one.ids[at])} at {stamp_name(rows.starts[0])}"
    if gaps == "error":
        raise DataError(f"{what}: {gap} steps are missing before it")
    if gap > farthest(len(one.values[at]) // 10 + len(rows.values[0])):
        raise DataError(f"{what}: {gap} steps after its last value", remedy="mend the stamp")


def _check_overlap(one: SeriesSet, rows: SeriesSet, at: int, step: int, overlap: str) -> None:
    """Raise DataError where a step that is known already comes with another value, if that is an error."""
    known = one.values[at][step : step + len(rows.values[0])]
    columns = [("the value", known[:, None], rows.values[0][: len(known), None])]
    for role in ("past", "future") if len(known) else ():
        shared = slice(step, step + len(known))
        columns.append((role, getattr(one, role)[at][shared], getattr(rows, role)[0][: len(known)]))
    for what, old, new in columns:
        there = np.isfinite(old) & np.isfinite(new)
        differ = there & ~np.isclose(old, new, rtol=1e-9, atol=0)
        if overlap == "error" and differ.any():
            row, column = (int(found) for found in np.argwhere(differ)[0])
            (stamp,) = advance(one.starts[at], one.frequency, np.array([step + row]))
            name = what if what == "the value" else quoted(one.names[what][column])
            raise DataError(
                f"series {quoted(one.ids[at])} at {stamp_name(stamp)}: {name} is known already",
                got=f"{new[row, column]:g}",
                expected=f"{old[row, column]:g}",
                remedy='pass overlap="replace" to correct it, or overlap="keep"',
            )


def _join(old: np.ndarray, new: np.ndarray, step: int, gaps: str, keep: bool) -> np.ndarray:
    joined = np.full((max(len(old), step + len(new)), *old.shape[1:]), np.nan)
    joined[: len(old)] = old
    there = joined[step : step + len(new)]
    first, second = (there, new) if keep else (new, there)
    joined[step : step + len(new)] = np.where(np.isnan(first), second, first)
    if gaps == "fill" and 0 < len(old) < step:
        joined[len(old) : step] = old[-1]
    return joined


def load_series(
    source: Any,
    options: SeriesOptions | None = None,
    *,
    categories: Mapping[str, tuple[str, ...]] | None = None,
    future_only: bool = False,
) -> SeriesSet:
    """Return the series in `source`: a table of any kind that `read_table` takes, or arrays.

    Args:
        source: a path or a data frame, long or wide (`elman.series.layout` has the rules); a vector
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
    static, static_names, found = encode_static(rows, categories)
    past = 1 + len(options.past)
    values = tuple(grid.matrix[: grid.length, 0] for grid in grids)
    starts = np.array([grid.start for grid in grids])
    return SeriesSet(
        ids=tuple(rows.ids[grid.code] for grid in grids),
        starts=starts,
        times=stamps_from(starts, values, frequency),
        values=values,
        past=tuple(grid.matrix[: grid.length, 1:past] for grid in grids),
        future=tuple(grid.matrix[:, past:] for grid in grids),
        static=static[[grid.code for grid in grids]],
        names={role: rows.names.get(role, ()) for role in _ROLES} | {"static": tuple(static_names)},
        frequency=frequency,
        categories=found,
        warnings=tuple(rows.notes),
        reading={name: getattr(options, name) for name in READING} | rows.reading,
    )
