"""Regular grids: rows in any order become one value for each step, by the policies for faulty rows."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NoReturn

import numpy as np

from elman.errors import DataError, OptionError
from elman.series.calendar import Stamp, advance, positions
from elman.series.frequency import DAY, Frequency
from elman.series.frequency_inference import infer_frequency, without_jitter
from elman.series.read_options import SeriesOptions
from elman.series.rows import Rows
from elman.tables.columns import of_series, quoted

MAX_GAP_STEPS_PER_ROW = 100
"""Steps of a gap for each row of its series; beyond this a stamp is mistyped, such as 2201 for 2021."""
MIN_MAX_GAP_STEPS = 2_000
"""Steps that a gap may have in any series."""

_NOTES = {
    "empty": "{series} without a value: left out",
    "before": "{count} rows before the first value: left out ({series})",
    "behind": "{count} rows behind the last value: left out, the forecast begins there ({series})",
    "gaps": "{count} steps without a row: {gaps} ({series})",
    "missing": "{count} rows without a value: {missing} ({series})",
}
"""The note about each kind of change, with the number of rows and the series."""
_POLICY_WORDS = {"mask": "left missing", "fill": "filled with the value before"}


def stamp_name(stamp: Stamp) -> str:
    """Return how a message shows a stamp.

    >>> stamp_name(np.datetime64("2020-01-01T00:00", "us"))
    '2020-01-01'
    """
    if stamp.dtype.kind != "M":
        return str(stamp)
    second = stamp.astype("datetime64[s]")
    return str(second if second == stamp else stamp).removesuffix("T00:00:00")


def _ids_of(rows: Rows, codes: Iterable[int]) -> str:
    return of_series([rows.ids[code] for code in codes])


def max_gap(rows: int) -> int:
    """Return how many steps a gap may have in a series of so many rows."""
    return max(MAX_GAP_STEPS_PER_ROW * rows, MIN_MAX_GAP_STEPS)


def _merged(matrix: np.ndarray, begins: np.ndarray, policy: str) -> np.ndarray:
    """Merge each run of rows that starts at one of `begins` into one row, by the policy `duplicates`."""
    ends = np.append(begins[1:], len(matrix))
    merged: np.ndarray
    if policy in ("first", "last"):
        merged = matrix[begins if policy == "first" else ends - 1]
        return merged
    counts = np.add.reduceat(~np.isnan(matrix), begins, dtype=np.float64)
    divisors = np.repeat(np.maximum(counts, 1), ends - begins, 0)
    if policy == "sum":
        divisors[:, 0] = 1  # only the target is summed; covariates are averaged
    # Divide before adding, so that a mean of finite values is finite.
    with np.errstate(over="ignore"):
        merged = np.add.reduceat(np.nan_to_num(matrix) / divisors, begins)
    merged[counts == 0] = np.nan
    return merged


@dataclass(eq=False)
class _SortedRows:
    """Rows sorted by series and time, one for each stamp: of all series, or of a single one."""

    rows: Rows
    """The unsorted rows of all series, for messages and notes."""
    names: list[str]
    """The columns of the matrix."""
    future: int
    """The first column of the matrix that is known in advance."""
    codes: np.ndarray
    times: np.ndarray
    origin: np.ndarray
    """``[R]``: the index of each row in the unsorted rows."""
    matrix: np.ndarray
    """``[R, 1 + P + F]``: target, past and future columns."""

    @classmethod
    def of(cls, rows: Rows) -> _SortedRows:
        """Sort the rows; those with the same stamp stay side by side."""
        columns = [
            part for part in (rows.target[:, None], rows.past, rows.future) if part is not None
        ]
        matrix = np.concatenate(columns, 1)
        future = matrix.shape[1] - (0 if rows.future is None else rows.future.shape[1])
        roles = ("target", "past", "future")
        names = [name for role in roles for name in rows.names.get(role, ())] or ["the value"]
        if (infinite := np.argwhere(np.isinf(matrix))).size:
            row, column = infinite[0]
            raise DataError(
                f"{rows.where(row)}: {quoted(names[column])} is infinite",
                remedy="correct it, or leave it empty if the value is missing",
            )
        order = np.argsort(rows.codes, kind="stable")
        codes = rows.codes[order]
        if rows.times is None:  # the rows of a series are consecutive steps
            times = np.arange(len(codes)) - np.searchsorted(codes, codes)
            return cls(rows, names, future, codes, times, order, matrix[order])
        by_series, order = order, np.lexsort((rows.times, rows.codes))
        if (moved := np.unique(codes[order != by_series])).size:
            rows.notes.append(f"rows out of order in time: sorted ({_ids_of(rows, moved)})")
        return cls(rows, names, future, codes, rows.times[order], order, matrix[order])

    def where(self, at: int) -> str:
        """Return how a message names a sorted row."""
        return self.rows.where(self.origin[at])

    def of_series(self, begin: int, end: int) -> _SortedRows:
        """Return the rows from `begin` to before `end`, which belong to one series."""
        names = ("codes", "times", "origin", "matrix")
        return replace(self, **{name: getattr(self, name)[begin:end] for name in names})

    def without_duplicates(self, policy: str) -> _SortedRows:
        """Merge rows with the same stamp, by the policy `duplicates`."""
        codes, stamps = self.codes, self.times
        repeats = (codes[1:] == codes[:-1]) & (stamps[1:] == stamps[:-1])
        if not repeats.any():
            return self
        if policy == "error":
            at = int(np.argmax(repeats))
            same = np.array_equal(self.matrix[at], self.matrix[at + 1], equal_nan=True)
            remedy = 'pass duplicates= ("first", "last", "mean" or "sum")'
            if not self.rows.names.get("id"):
                remedy += ", or id_column= if a column names the series of each row"
            raise DataError(
                f"{self.where(at + 1)}: {stamp_name(stamps[at])} again, as in row"
                f" {self.rows.rows[self.origin[at]] + 1}, with {'the same' if same else 'another'} value",
                remedy=remedy,
            )
        begins = np.flatnonzero(np.append(True, ~repeats))
        merged = _merged(self.matrix, begins, policy)
        if np.isinf(merged).any():
            at = int(np.argmax(np.isinf(merged).any(1)))
            raise DataError(f"{self.where(begins[at])}: the sum of its stamp is too large")
        self.rows.notes.append(
            f"{int(repeats.sum())} rows with the stamp of another row: duplicates={policy!r}"
            f" ({_ids_of(self.rows, np.unique(codes[1:][repeats]))})"
        )
        origin = self.origin[begins]
        return replace(
            self, codes=codes[begins], times=stamps[begins], origin=origin, matrix=merged
        )

    def check_missing(self, last: int) -> None:
        """Raise DataError for a missing value; behind row `last` only future columns must be known."""
        missing = np.isnan(self.matrix)
        if self.future < len(self.names):
            missing[last + 1 :, : self.future] = False
        if missing.any():
            row, column = np.argwhere(missing)[0]
            raise DataError(
                f"{self.where(row)}: {quoted(self.names[column])} is missing",
                remedy='add it, or pass missing="mask" or "fill"',
            )

    def steps(self, frequency: Frequency) -> np.ndarray:
        """Return the step of each row, counted from the first.

        Raises:
            DataError: a stamp lies between two steps, or so far from the others that it must be mistyped.
        """
        steps, exact = positions(self.times, frequency)
        if not exact.all():
            at = int(np.argmin(exact))
            remedy = 'correct the stamp, or pass frequency= (as "steps")'
            if self.times.dtype.kind == "M":
                remedy = "correct the stamp, pass frequency=, or timezone= where days are local"
                remedy += ', or frequency="steps" to count the rows'
            raise DataError(
                f"{self.where(at)}: {stamp_name(self.times[at])} is between the"
                f" steps of a series that is {frequency.words} from {stamp_name(self.times[0])} on",
                remedy=remedy,
            )
        gaps = np.diff(steps)
        # A gap at either end that is longer than all the other rows span isolates a mistyped stamp.
        end = max(gaps[0], gaps[-1]) if len(gaps) > 2 else 0
        is_isolated = end > max(MIN_MAX_GAP_STEPS, gaps.sum() - end)
        if gaps.max(initial=0) > max_gap(len(steps)) or is_isolated:
            after = int(np.argmax(gaps)) + 1
            # The side of the gap with fewer rows holds the mistyped stamp.
            early = after <= len(steps) - after
            at, side = after - early, "before the next row" if early else "after the row before"
            raise DataError(
                f"{self.where(at)}: {stamp_name(self.times[at])} is {gaps[after - 1]} steps {side}",
                remedy="correct the stamp, drop the row, or pass frequency= with a longer step",
            )
        return steps

    def fail_at_gap(self, at: int, frequency: Frequency) -> NoReturn:
        """Raise DataError for the missing step after row `at`."""
        (stamp,) = advance(self.times[at], frequency, 1)
        raise DataError(
            f"{self.where(at)}: no row for {stamp_name(stamp)} behind it",
            remedy='add the row, or pass gaps="mask" or "fill"',
        )


def _common_frequency(ids: Sequence[str], stamps: Sequence[np.ndarray]) -> Frequency:
    """Return the frequency that all series share; raises DataError if they differ."""
    longest = infer_frequency(max(stamps, key=len))
    seen: set[bytes] = set()
    series_of: dict[Frequency, int] = {}
    for place, times in enumerate(stamps):
        if len(times) < 3 or (key := times.tobytes()) in seen:
            continue
        seen.add(key)
        own = infer_frequency(times)
        # Do not ask a series that consists mostly of gaps.
        if np.mean(np.diff(positions(times, own)[0]) == 1) > 0.5:
            series_of.setdefault(own, place)
    if len(series_of) > 1:
        # A series may lack an open weekday that others have: take the open days that fit all of them.
        for frequency in sorted(series_of, key=lambda frequency: frequency.week.count("1")):
            known = (times for times in stamps if len(times) > 2)
            if frequency.week and all(positions(times, frequency)[1].all() for times in known):
                return frequency
        (own, first), (other, second) = list(series_of.items())[:2]
        raise DataError(
            f"series of several frequencies: {quoted(ids[first])} is {own.words},"
            f" {quoted(ids[second])} {other.words}",
            remedy='read them separately, or pass frequency= if one has gaps (such as "Mon-Sat")',
        )
    return next(iter(series_of), longest)


def _correct_jitter(ordered: _SortedRows, bounds: np.ndarray, options: SeriesOptions) -> None:
    """Move the stamps of a clock that jitters to whole steps, and note it."""
    if ordered.times.dtype.kind != "M":
        return
    step = Frequency.parse(options.frequency).step if options.frequency is not None else 0
    if step >= DAY or (options.frequency is not None and not step):
        return
    corrected = [without_jitter(times, step) for times in np.split(ordered.times, bounds[1:-1])]
    joined = np.concatenate(corrected)
    if (off := abs(joined - ordered.times)).any():
        seconds = int(off.max().astype(np.int64)) / 1e6
        words = f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
        ordered.rows.notes.append(f"stamps up to {words} off: moved to whole steps")
        ordered.times = joined


def _frequency(ordered: _SortedRows, bounds: np.ndarray, options: SeriesOptions) -> Frequency:
    rows = ordered.rows
    dated = ordered.times.dtype.kind == "M"
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
        return Frequency(1, "steps")
    stamps = np.split(ordered.times, bounds[1:-1])
    frequency = _common_frequency([rows.ids[code] for code in ordered.codes[bounds[:-1]]], stamps)
    rows.notes.append(f"frequency: {frequency.words}, found in the stamps")
    return frequency


@dataclass(frozen=True, eq=False)
class Grid:
    """One series on a regular grid."""

    code: int
    """The series, as an index into the ids."""
    start: Stamp
    """Its first stamp."""
    length: int
    """The steps up to its last value."""
    matrix: np.ndarray
    """float64 ``[length + more, 1 + P + F]``: target, past and future columns."""


def _forward_filled(matrix: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Replace each missing value of ``matrix [T, C]`` that is `allowed` by the last known one.

    Missing values before the first known one of a column are replaced by that.
    """
    known = ~np.isnan(matrix)
    last = np.maximum.accumulate(np.where(known, np.arange(len(matrix))[:, None], -1), 0)
    last = np.where(last < 0, known.argmax(0), last)
    return np.where(allowed & ~known, np.take_along_axis(matrix, last, 0), matrix)


def _to_grid(
    series: _SortedRows,
    frequency: Frequency,
    options: SeriesOptions,
    counts: Mapping[str, dict[int, int]],
) -> Grid | None:
    """Put a series on its grid, None if it has no value; `counts` the changes by kind and series."""
    code, valued = int(series.codes[0]), np.flatnonzero(~np.isnan(series.matrix[:, 0]))
    first, last = (int(valued[0]), int(valued[-1])) if len(valued) else (0, -1)
    ahead = np.flatnonzero(~np.isnan(series.matrix[:, series.future :]).all(1))
    if options.missing == "error":
        series.check_missing(last)
    if not len(valued) and not len(ahead):
        counts["empty"][code] = 1
        return None
    steps = series.steps(frequency)
    last = max(last, int(ahead[-1]) if len(ahead) else 0)
    counts["before"][code] = first
    counts["behind"][code] = len(steps) - last - 1
    kept = slice(first, last + 1)
    start, steps = series.times[first], steps[kept] - steps[first]
    length = int(steps[valued[-1] - first]) + 1 if len(valued) else 0
    grid = np.full((steps[-1] + 1, series.matrix.shape[1]), np.nan)
    grid[steps] = series.matrix[kept]
    has_row = np.zeros(len(grid), bool)
    has_row[steps] = True
    counts["gaps"][code] = int((~has_row).sum())
    counts["missing"][code] = int(np.isnan(grid[:length][has_row[:length], 0]).sum())
    if options.gaps == "error" and not has_row.all():
        series.fail_at_gap(first + int(np.argmax(np.diff(steps) > 1)), frequency)
    for policy, where in ((options.gaps, ~has_row), (options.missing, has_row)):
        if policy == "fill":
            allowed = np.repeat(where[:, None], grid.shape[1], 1)
            # Behind the last value, target and past columns are not missing but unknown.
            allowed[length:, : series.future] = False
            grid = _forward_filled(grid, allowed)
    grid.flags.writeable = False
    return Grid(code, start, length, grid)


def make_grids(rows: Rows, options: SeriesOptions) -> tuple[list[Grid], Frequency]:
    """Put each series on its regular grid, in the order of their ids.

    Args:
        rows: the rows; notes about changes are added to them.
        options: the frequency, and the policies for missing values, gaps and duplicates.

    Returns:
        The grids of all series with a value, and their common frequency.

    Raises:
        DataError: a row is faulty and its policy is "error", or no policy covers the fault.
        OptionError: the frequency does not fit the stamps.

    >>> rows = Rows(["a"], np.zeros(2, int), np.arange(2), np.array([5.0, 6.0]), np.array([3, 1]))
    >>> grids, frequency = make_grids(rows, SeriesOptions(frequency="steps"))
    >>> grids[0].start.item(), grids[0].matrix.ravel()
    (1, array([ 6., nan,  5.]))
    """
    ordered = _SortedRows.of(rows).without_duplicates(options.duplicates)
    codes = ordered.codes
    bounds = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1], [True]]))
    if not len(codes):
        raise DataError("there is no series", remedy="pass at least one")
    _correct_jitter(ordered, bounds, options)
    frequency = _frequency(ordered, bounds, options)
    counts: dict[str, dict[int, int]] = {name: {} for name in _NOTES}
    grids = []
    for begin, end in itertools.pairwise(bounds.tolist()):
        grid = _to_grid(ordered.of_series(begin, end), frequency, options, counts)
        if grid is not None:
            grids.append(grid)
    for code in sorted(set(range(len(rows.ids))) - set(codes.tolist())):
        if options.missing == "error":
            raise DataError(f"series {quoted(rows.ids[code])} has no value", remedy="leave it out")
        counts["empty"][code] = 1
    if not grids:
        got = f"only missing ones in {len(rows.codes):,} rows of {of_series(rows.ids)}"
        raise DataError("no series has a value", got=got, expected="at least one")
    for name, count_of in counts.items():
        if touched := [code for code, count in count_of.items() if count]:
            note = _NOTES[name].format(
                count=sum(count_of.values()),
                series=_ids_of(rows, touched),
                gaps=_POLICY_WORDS.get(options.gaps),
                missing=_POLICY_WORDS.get(options.missing),
            )
            rows.notes.append(note)
    return grids, frequency
