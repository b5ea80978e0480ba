"""Grids: rows in any order as one value a step, with the policies for what is wrong with them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import DataError, OptionError
from elman.series.calendar import DAY, Frequency, advance, infer_frequency, positions, steadied
from elman.series.rows import Rows, SeriesOptions
from elman.tables.columns import of_series, quoted

__all__ = ["Grid", "farthest", "make_grids", "stamp_name"]

_STEPS = Frequency(1, "steps")
# A mistyped year must not become a grid of thousands of empty steps.
_GAP_PER_ROW = 100
_MIN_GAP = 2_000


def stamp_name(stamp: Any) -> str:
    """Return how a message shows a stamp.

    >>> stamp_name(np.datetime64("2020-01-01T00:00", "us"))
    '2020-01-01'
    """
    if stamp.dtype.kind != "M":
        return str(stamp)
    second = stamp.astype("datetime64[s]")
    return str(second if second == stamp else stamp).removesuffix("T00:00:00")


def farthest(rows: int) -> int:
    """Return how many steps a gap may have in a series of so many rows: beyond it a stamp is mistyped."""
    return max(_GAP_PER_ROW * rows, _MIN_GAP)


def _matrix(rows: Rows) -> tuple[np.ndarray, list[str]]:
    """Return target, past and future side by side ``[R, 1 + P + F]``, and their names."""
    parts = [rows.target[:, None], rows.past, rows.future]
    matrix = np.concatenate([part for part in parts if part is not None], 1)
    roles = ("target", "past", "future")
    names = [name for role in roles for name in rows.names.get(role, ())] or ["the value"]
    if (bad := np.argwhere(np.isinf(matrix))).size:
        row, column = bad[0]
        raise DataError(
            f"{rows.where(row)}: {quoted(names[column])} is infinite",
            remedy="mend it, or leave it empty where the value is missing",
        )
    return matrix, names


def _merged(matrix: np.ndarray, begins: np.ndarray, how: str) -> np.ndarray:
    """Return one row for each run of rows that `begins` at those places."""
    ends = np.append(begins[1:], len(matrix))
    merged: np.ndarray
    if how in ("first", "last"):
        merged = matrix[begins if how == "first" else ends - 1]
        return merged
    counts = np.add.reduceat(~np.isnan(matrix), begins, dtype=np.float64)
    shares = np.repeat(np.maximum(counts, 1), ends - begins, 0)
    if how == "sum":
        shares[:, 0] = 1  # of covariates the mean is meant
    # divided first, so that a mean of finite values is finite
    with np.errstate(over="ignore"):
        merged = np.add.reduceat(np.nan_to_num(matrix) / shares, begins)
    merged[counts == 0] = np.nan
    return merged


@dataclass(eq=False)
class _Sorted:
    """The rows by series and time, one a stamp."""

    codes: np.ndarray
    times: np.ndarray
    origin: np.ndarray
    """``[R]`` the place in the rows as they came, for messages."""
    matrix: np.ndarray


def _sort(rows: Rows, matrix: np.ndarray, options: SeriesOptions) -> _Sorted:
    order = grouped = np.argsort(rows.codes, kind="stable")
    codes = rows.codes[order]
    if rows.times is None:  # they follow one another
        counted = np.arange(len(codes)) - np.searchsorted(codes, codes)
        return _Sorted(codes, counted, order, matrix[order])
    order = np.lexsort((rows.times, rows.codes))
    if (moved := np.unique(codes[order != grouped])).size:
        rows.notes.append(
            f"rows out of order in time: sorted ({of_series([rows.ids[code] for code in moved])})"
        )
    stamps = rows.times[order]
    made = _Sorted(codes, stamps, order, matrix[order])
    again = (codes[1:] == codes[:-1]) & (stamps[1:] == stamps[:-1])
    if not again.any():
        return made
    if options.duplicates == "error":
        at = int(np.argmax(again))
        alike = np.array_equal(made.matrix[at], made.matrix[at + 1], equal_nan=True)
        remedy = 'pass duplicates= ("first", "last", "mean" or "sum")'
        if not rows.names.get("id"):
            remedy += ", or id_column= where a column tells the series apart"
        raise DataError(
            f"{rows.where(order[at + 1])}: {stamp_name(stamps[at])} again, as in row"
            f" {rows.rows[order[at]] + 1}, with {'the same' if alike else 'another'} value",
            remedy=remedy,
        )
    begins = np.flatnonzero(np.append(True, ~again))
    merged = _merged(made.matrix, begins, options.duplicates)
    if np.isinf(merged).any():
        at = int(np.argmax(np.isinf(merged).any(1)))
        raise DataError(f"{rows.where(order[begins[at]])}: the sum of its stamp is too large")
    touched = np.unique(codes[1:][again])
    rows.notes.append(
        f"{int(again.sum())} rows of a stamp that was there: duplicates={options.duplicates!r}"
        f" ({of_series([rows.ids[code] for code in touched])})"
    )
    return _Sorted(codes[begins], stamps[begins], order[begins], merged)


def _widest(said: dict[Frequency, int], stamps: Sequence[np.ndarray]) -> dict[Frequency, int]:
    """Return the one of several frequencies whose open days of the week fit all stamps, if one does."""
    for frequency in sorted(said, key=lambda one: one.week.count("1")):
        if frequency.week and all(positions(times, frequency)[1].all() for times in stamps):
            return {frequency: said[frequency]}
    return said


def _common_frequency(ids: Sequence[str], stamps: Sequence[np.ndarray]) -> Frequency:
    """Return the frequency that the series have in common; raises DataError where they differ."""
    longest = max(range(len(stamps)), key=lambda place: len(stamps[place]))
    found = infer_frequency(stamps[longest])
    stated: dict[bytes, Frequency] = {}
    said: dict[Frequency, int] = {}
    for place, times in enumerate(stamps):
        if len(times) < 3 or (key := times.tobytes()) in stated:
            continue
        stated[key] = own = infer_frequency(times)
        # a series that is mostly gaps says nothing
        if np.mean(np.diff(positions(times, own)[0]) == 1) > 0.5:
            said.setdefault(own, place)
    if len(said) > 1:
        said = _widest(said, [times for times in stamps if len(times) > 2])
    if len(said) > 1:
        (one, first), (two, second) = list(said.items())[:2]
        raise DataError(
            f"series of several frequencies: {quoted(ids[first])} is {one.words},"
            f" {quoted(ids[second])} {two.words}",
            remedy='read them apart, or pass frequency= where one of them has gaps (as "Mon-Sat")',
        )
    return next(iter(said), found)


def _steady(rows: Rows, sorted_: _Sorted, bounds: np.ndarray, options: SeriesOptions) -> None:
    """Move the stamps of a clock that jitters by milliseconds to whole steps, and note it."""
    if sorted_.times.dtype.kind != "M":
        return
    step = Frequency.parse(options.frequency).step if options.frequency is not None else 0
    if step >= DAY or (options.frequency is not None and not step):
        return
    moved = [steadied(times, step) for times in np.split(sorted_.times, bounds[1:-1])]
    together = np.concatenate(moved)
    if (far := abs(together - sorted_.times)).any():
        rows.notes.append(f"stamps up to {_duration(far.max())} off: moved to whole steps")
        sorted_.times = together


def _duration(time: Any) -> str:
    seconds = int(time.astype(np.int64)) / 1e6
    return f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"


def _frequency(
    rows: Rows, sorted_: _Sorted, bounds: np.ndarray, options: SeriesOptions
) -> Frequency:
    dated = sorted_.times.dtype.kind == "M"
    if options.frequency is not None:
        frequency = Frequency.parse(options.frequency)
        if dated == (frequency.unit == "steps"):
            raise OptionError(
                "frequency",
                got=frequency,
                expected="a step of dates, as D" if dated else "steps, for there are no dates",
                remedy="" if dated else "name the dates with time_column=",
            )
        return frequency
    if rows.times is None:
        return _STEPS
    stamps = np.split(sorted_.times, bounds[1:-1])
    frequency = _common_frequency([rows.ids[code] for code in sorted_.codes[bounds[:-1]]], stamps)
    rows.notes.append(f"frequency: {frequency.words}, found in the stamps")
    return frequency


@dataclass(frozen=True, eq=False)
class Grid:
    """One series on a grid."""

    code: int
    """Which of the ids."""
    start: Any
    """datetime64[us] or int64: its first stamp."""
    length: int
    """The steps up to its last value."""
    matrix: np.ndarray
    """``[length + more, 1 + P + F]`` float64: target, past and future columns."""


def _filled(matrix: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Return `matrix` ``[T, C]`` with each missing value that is `allowed` as the last one again.

    Before its first value a column has that one.
    """
    there = ~np.isnan(matrix)
    last = np.maximum.accumulate(np.where(there, np.arange(len(matrix))[:, None], -1), 0)
    last = np.where(last < 0, there.argmax(0), last)
    return np.where(allowed & ~there, np.take_along_axis(matrix, last, 0), matrix)


@dataclass(eq=False)
class _Series:
    """The rows of one series, sorted, one a stamp."""

    rows: Rows
    code: int
    times: np.ndarray
    origin: np.ndarray
    matrix: np.ndarray
    names: list[str]
    future: int
    """The first of the columns that are known in advance."""

    def check_missing(self, last: int) -> None:
        """Raise DataError at a missing value; of rows behind the `last` the future columns count."""
        missing = np.isnan(self.matrix)
        if self.future < len(self.names):
            missing[last + 1 :, : self.future] = False
        if missing.any():
            row, column = np.argwhere(missing)[0]
            raise DataError(
                f"{self.rows.where(self.origin[row])}: {quoted(self.names[column])} is missing",
                remedy='write it, or pass missing="mask" or "fill"',
            )

    def steps(self, frequency: Frequency) -> np.ndarray:
        """Return the step of each row from the first; raises DataError for one that has none."""
        steps, exact = positions(self.times, frequency)
        if not exact.all():
            at = int(np.argmin(exact))
            remedy = 'mend the stamp, or pass frequency= (as "steps")'
            if self.times.dtype.kind == "M":
                remedy = "mend the stamp, pass frequency=, or timezone= where days are local"
                remedy += ', or frequency="steps" to count the rows'
            raise DataError(
                f"{self.rows.where(self.origin[at])}: {stamp_name(self.times[at])} is between the"
                f" steps of a series that is {frequency.words} from {stamp_name(self.times[0])} on",
                remedy=remedy,
            )
        gaps = np.diff(steps)
        # farther off than all the others are long
        end = max(gaps[0], gaps[-1]) if len(gaps) > 2 else 0
        is_alone = end > max(_MIN_GAP, gaps.sum() - end)
        if gaps.max(initial=0) > farthest(len(steps)) or is_alone:
            after = int(np.argmax(gaps)) + 1
            # The side of the gap with fewer rows holds the mistyped stamp.
            early = after <= len(steps) - after
            at, side = after - early, "before the next row" if early else "after the row before"
            raise DataError(
                f"{self.rows.where(self.origin[at])}: {stamp_name(self.times[at])} is"
                f" {gaps[after - 1]} steps {side}",
                remedy="mend the stamp, drop the row, or pass frequency= with a longer step",
            )
        return steps

    def refuse_gap(self, steps: np.ndarray, frequency: Frequency) -> None:
        """Raise DataError for the first step without a row."""
        at = int(np.argmax(np.diff(steps) > 1))
        (stamp,) = advance(self.times[at], frequency, 1)
        raise DataError(
            f"{self.rows.where(self.origin[at])}: no row for {stamp_name(stamp)} behind it",
            remedy='add the row, or pass gaps="mask" or "fill"',
        )


def _lay(
    series: _Series, frequency: Frequency, options: SeriesOptions, counts: dict[str, dict[int, int]]
) -> Grid | None:
    """Return the series on its grid, None where it has no value; `counts` what was changed."""
    valued = np.flatnonzero(~np.isnan(series.matrix[:, 0]))
    first, last = (int(valued[0]), int(valued[-1])) if len(valued) else (0, -1)
    ahead = np.flatnonzero(~np.isnan(series.matrix[:, series.future :]).all(1))
    if options.missing == "error":
        series.check_missing(last)
    if not len(valued) and not len(ahead):
        counts["empty"][series.code] = 1
        return None
    steps = series.steps(frequency)
    last = max(last, int(ahead[-1]) if len(ahead) else 0)
    kept = slice(first, last + 1)
    counts["before"][series.code] = first
    counts["behind"][series.code] = len(steps) - last - 1
    origin, steps = series.times[first], steps[kept] - steps[first]
    length = int(steps[valued[-1] - first]) + 1 if len(valued) else 0
    grid = np.full((steps[-1] + 1, series.matrix.shape[1]), np.nan)
    grid[steps] = series.matrix[kept]
    given = np.zeros(len(grid), bool)
    given[steps] = True
    counts["gaps"][series.code] = int((~given).sum())
    counts["missing"][series.code] = int(np.isnan(grid[:length][given[:length], 0]).sum())
    if options.gaps == "error" and not given.all():
        series.refuse_gap(steps, frequency)
    for policy, where in ((options.gaps, ~given), (options.missing, given)):
        if policy == "fill":
            allowed = np.repeat(where[:, None], grid.shape[1], 1)
            # behind the last value target and past columns are not missing but unknown
            allowed[length:, : series.future] = False
            grid = _filled(grid, allowed)
    grid.flags.writeable = False
    return Grid(series.code, origin, length, grid)


_SAID = {
    "empty": "{series} without a value: left out",
    "before": "{count} rows before the first value: left out ({series})",
    "behind": "{count} rows behind the last value: left out, the forecast begins there ({series})",
    "gaps": "{count} steps without a row: {gaps} ({series})",
    "missing": "{count} rows without a value: {missing} ({series})",
}
_DONE = {"mask": "left missing", "fill": "filled with the value before"}


def make_grids(rows: Rows, options: SeriesOptions) -> tuple[list[Grid], Frequency]:
    """Return each series on its grid, in the order of their ids, and the step of all.

    What was changed is added to the notes of `rows`. Raises DataError as the table of
    `elman.series.series` says, OptionError for a frequency that does not fit.

    >>> rows = Rows(["a"], np.zeros(2, int), np.arange(2), np.array([5.0, 6.0]), np.array([3, 1]))
    >>> grids, frequency = make_grids(rows, SeriesOptions(frequency="steps"))
    >>> grids[0].start.item(), grids[0].matrix.ravel()
    (1, array([ 6., nan,  5.]))
    """
    matrix, names = _matrix(rows)
    future = matrix.shape[1] - (0 if rows.future is None else rows.future.shape[1])
    sorted_ = _sort(rows, matrix, options)
    codes = sorted_.codes
    bounds = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1], [True]]))
    if not len(codes):
        raise DataError("there is no series", remedy="pass at least one")
    _steady(rows, sorted_, bounds, options)
    frequency = _frequency(rows, sorted_, bounds, options)
    counts: dict[str, dict[int, int]] = {name: {} for name in _SAID}
    grids = []
    for begin, end in itertools.pairwise(bounds.tolist()):
        times, origin, part = (
            whole[begin:end] for whole in (sorted_.times, sorted_.origin, sorted_.matrix)
        )
        series = _Series(rows, int(codes[begin]), times, origin, part, names, future)
        if (grid := _lay(series, frequency, options, counts)) is not None:
            grids.append(grid)
    for code in sorted(set(range(len(rows.ids))) - set(codes.tolist())):
        if options.missing == "error":
            raise DataError(f"series {quoted(rows.ids[code])} has no value", remedy="leave it out")
        counts["empty"][code] = 1
    if not grids:
        got = f"only missing ones in {len(rows.codes):,} rows of {of_series(rows.ids)}"
        raise DataError("no series has a value", got=got, expected="at least one")
    for name, found in counts.items():
        if touched := [code for code, count in found.items() if count]:
            said = _SAID[name].format(
                count=sum(found.values()),
                series=of_series([rows.ids[code] for code in touched]),
                gaps=_DONE.get(options.gaps),
                missing=_DONE.get(options.missing),
            )
            rows.notes.append(said)
    return grids, frequency
