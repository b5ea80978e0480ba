"""Regular grids: rows in any order become one value for each step, by the policies for faulty rows."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from elman.errors import DataError, OptionError
from elman.series.calendar import Stamp, advance, infer_frequency, positions, without_jitter
from elman.series.frequency import DAY, Frequency
from elman.series.read_options import SeriesOptions
from elman.series.rows import Rows
from elman.tables.columns import quoted

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
POLICY_WORDS = {"mask": "left missing", "fill": "filled with the value before"}

Changes = dict[str, dict[int, int]]
"""Number of changed rows, by the kind of change and the code of the series."""


def stamp_name(stamp: Stamp) -> str:
    """Return how a message shows a stamp.

    >>> stamp_name(np.datetime64("2020-01-01T00:00", "us"))
    '2020-01-01'
    """
    if stamp.dtype.kind != "M":
        return str(stamp)
    second = stamp.astype("datetime64[s]")
    return str(second if second == stamp else stamp).removesuffix("T00:00:00")


def max_gap(rows: int) -> int:
    """Return how many steps a gap may have in a series of so many rows."""
    return max(MAX_GAP_STEPS_PER_ROW * rows, MIN_MAX_GAP_STEPS)


@dataclass(frozen=True, eq=False)
class Grid:
    """One series on a regular grid."""

    code: int
    """The series, as an index into the ids."""
    start: Stamp
    """Stamp of the first row."""
    length: int
    """Number of steps from the first row to the last value."""
    matrix: np.ndarray
    """float64 ``[length + more, 1 + P + F]``: target, past and future columns."""


def _sorted(rows: Rows) -> Rows:
    """Sort rows by series and time; those with the same stamp stay side by side."""
    if (infinite := np.argwhere(np.isinf(rows.matrix))).size:
        row, column = infinite[0]
        raise DataError(
            f"{rows.where(row)}: {rows.column_name(column)} is infinite",
            remedy="correct it, or leave it empty if the value is missing",
        )
    # lexsort sorts by its last key first: by series, and within a series by time.
    order = np.lexsort((rows.times, rows.codes))
    moved = order != np.argsort(rows.codes, kind="stable")
    if moved.any():
        ids = rows.ids_of(np.unique(rows.codes[order[moved]]))
        rows.notes.append(f"rows out of order in time: sorted ({ids})")
    return rows.take(order)


def _merged(matrix: np.ndarray, begins: np.ndarray, policy: str) -> np.ndarray:
    """Merge each run of rows that starts at one of `begins` into one row, by the policy `duplicates`."""
    # Run n holds the rows from begins[n] to before ends[n].
    ends = np.append(begins[1:], len(matrix))
    if policy in ("first", "last"):
        return np.asarray(matrix[begins if policy == "first" else ends - 1])
    counts = np.add.reduceat(~np.isnan(matrix), begins, dtype=np.float64)
    divisors = np.repeat(np.maximum(counts, 1), ends - begins, 0)
    if policy == "sum":
        divisors[:, 0] = 1  # only the target is summed; covariates are averaged
    # Divide before adding, so that a mean of finite values is finite.
    with np.errstate(over="ignore"):
        merged = np.add.reduceat(np.nan_to_num(matrix) / divisors, begins)
    return np.where(counts == 0, np.nan, merged)


def _without_duplicates(rows: Rows, policy: str) -> Rows:
    """Merge sorted rows of a series with the same stamp, by the policy `duplicates`."""
    codes, times = rows.codes, rows.times
    repeats = (codes[1:] == codes[:-1]) & (times[1:] == times[:-1])
    if not repeats.any():
        return rows
    if policy == "error":
        at = int(np.argmax(repeats))
        same = np.array_equal(rows.matrix[at], rows.matrix[at + 1], equal_nan=True)
        remedy = 'pass duplicates= ("first", "last", "mean" or "sum")'
        if not rows.names.get("id"):
            remedy += ", or id_column= if a column names the series of each row"
        raise DataError(
            f"{rows.where(at + 1)}: {stamp_name(times[at])} again, as in row {rows.rows[at] + 1},"
            f" with {'the same' if same else 'another'} value",
            remedy=remedy,
        )
    begins = np.flatnonzero(np.append(True, ~repeats))
    merged = replace(rows.take(begins), matrix=_merged(rows.matrix, begins, policy))
    infinite = np.isinf(merged.matrix).any(1)
    if infinite.any():
        at = int(np.argmax(infinite))
        raise DataError(f"{merged.where(at)}: the sum of its stamp is too large")
    ids = rows.ids_of(np.unique(codes[1:][repeats]))
    note = f"{repeats.sum()} rows with the stamp of another row: duplicates={policy!r} ({ids})"
    rows.notes.append(note)
    return merged


def _without_jitter(rows: Rows, bounds: np.ndarray, options: SeriesOptions) -> Rows:
    """Move the stamps of a clock that jitters to whole steps, and note it."""
    frequency = None if options.frequency is None else Frequency.parse(options.frequency)
    if rows.times.dtype.kind != "M" or (frequency and not 0 < frequency.step < DAY):
        return rows
    step = frequency.step if frequency else 0
    # Each series has a clock of its own.
    each = [without_jitter(times, step) for times in np.split(rows.times, bounds[1:-1])]
    corrected = np.concatenate(each)
    if (off := abs(corrected - rows.times)).any():
        seconds = int(off.max().astype(np.int64)) / 1e6
        words = f"{seconds:.3g} s" if seconds >= 1 else f"{1000 * seconds:.3g} ms"
        rows.notes.append(f"stamps up to {words} off: moved to whole steps")
    return replace(rows, times=corrected)


def _common_frequency(ids: Sequence[str], stamps: Sequence[np.ndarray]) -> Frequency:
    """Return the frequency that all series share; raises DataError if they differ."""
    # The fallback if every series is too short or mostly gaps.
    longest = infer_frequency(max(stamps, key=len))
    series_of: dict[Frequency, int] = {}
    # Many series have the same stamps, so infer the frequency of each pattern once.
    numbered = reversed([*enumerate(stamps)])
    first_with = {times.tobytes(): n for n, times in numbered if len(times) > 2}
    for number in sorted(first_with.values()):
        frequency = infer_frequency(stamps[number])
        # Do not ask a series that consists mostly of gaps.
        if np.mean(np.diff(positions(stamps[number], frequency)[0]) == 1) > 0.5:
            series_of.setdefault(frequency, number)
    if len(series_of) > 1:
        # A series may lack an open weekday that others have: take the open days that fit all of them.
        for frequency in sorted(series_of, key=lambda frequency: frequency.week.count("1")):
            known = (times for times in stamps if len(times) > 2)
            if frequency.week and all(positions(times, frequency)[1].all() for times in known):
                return frequency
        (one, first), (other, second) = list(series_of.items())[:2]
        raise DataError(
            f"series of several frequencies: {quoted(ids[first])} is {one.words},"
            f" {quoted(ids[second])} {other.words}",
            remedy='read them separately, or pass frequency= if one has gaps (such as "Mon-Sat")',
        )
    return next(iter(series_of), longest)


def _frequency(rows: Rows, bounds: np.ndarray, options: SeriesOptions) -> Frequency:
    """Return the frequency of the options, or the one that the sorted stamps show."""
    is_dated = rows.times.dtype.kind == "M"
    if options.frequency is not None:
        frequency = Frequency.parse(options.frequency)
        if is_dated == (frequency.unit == "steps"):
            raise OptionError(
                "frequency",
                got=frequency,
                expected="a step of dates, as D" if is_dated else "steps, for there are no dates",
                remedy="" if is_dated else "name the dates with time_column=",
            )
        return frequency
    if not rows.names.get("time"):
        return Frequency(1, "steps")
    ids = [rows.ids[code] for code in rows.codes[bounds[:-1]]]
    frequency = _common_frequency(ids, np.split(rows.times, bounds[1:-1]))
    rows.notes.append(f"frequency: {frequency.words}, found in the stamps")
    return frequency


def _check_missing(series: Rows, last: int) -> None:
    """Raise DataError for a missing value; behind row `last` only future columns must be known."""
    missing = np.isnan(series.matrix)
    if series.names.get("future"):
        missing[last + 1 :, : series.future] = False
    if missing.any():
        row, column = np.argwhere(missing)[0]
        raise DataError(
            f"{series.where(row)}: {series.column_name(column)} is missing",
            remedy='add it, or pass missing="mask" or "fill"',
        )


def _steps(series: Rows, frequency: Frequency) -> np.ndarray:
    """Return the step of each row of one series, counted from its first.

    Raises:
        DataError: a stamp lies between two steps, or so far from the others that it must be mistyped.
    """
    steps, exact = positions(series.times, frequency)
    if not exact.all():
        at = int(np.argmin(exact))
        remedy = 'correct the stamp, or pass frequency= (as "steps")'
        if series.times.dtype.kind == "M":
            remedy = "correct the stamp, pass frequency=, or timezone= where days are local"
            remedy += ', or frequency="steps" to count the rows'
        raise DataError(
            f"{series.where(at)}: {stamp_name(series.times[at])} is between the steps of a series that is"
            f" {frequency.words} from {stamp_name(series.times[0])} on",
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
            f"{series.where(at)}: {stamp_name(series.times[at])} is {gaps[after - 1]} steps {side}",
            remedy="correct the stamp, drop the row, or pass frequency= with a longer step",
        )
    return steps


def forward_filled(matrix: np.ndarray, allowed: np.ndarray) -> np.ndarray:
    """Replace each missing value of ``matrix [T, C]`` that is `allowed` by the last known one.

    Missing values before the first known one of a column are replaced by that.
    """
    known = ~np.isnan(matrix)
    # [T, C]: the row of the last known value up to each step, -1 before the first known one
    last = np.maximum.accumulate(np.where(known, np.arange(len(matrix))[:, None], -1), 0)
    last = np.where(last < 0, known.argmax(0), last)
    return np.where(allowed & ~known, np.take_along_axis(matrix, last, 0), matrix)


def _to_grid(
    series: Rows, frequency: Frequency, options: SeriesOptions, changes: Changes
) -> Grid | None:
    """Put the sorted rows of one series on its grid; None if it has no value. `changes` are counted."""
    code, valued = int(series.codes[0]), np.flatnonzero(~np.isnan(series.matrix[:, 0]))
    first, last = (int(valued[0]), int(valued[-1])) if len(valued) else (0, -1)
    # Rows in which every known-future column has a value; they may lie behind the last target.
    ahead = np.flatnonzero(~np.isnan(series.matrix[:, series.future :]).all(1))
    if options.missing == "error":
        _check_missing(series, last)
    if not len(valued) and not len(ahead):
        changes["empty"][code] = 1
        return None
    steps = _steps(series, frequency)
    last = max(last, *ahead[-1:].tolist(), 0)
    changes["before"][code] = first
    changes["behind"][code] = len(steps) - last - 1
    # A series begins with its first value; leading rows without one carry no information.
    kept = slice(first, last + 1)
    start, steps = series.times[first], steps[kept] - steps[first]
    length = int(steps[valued[-1] - first]) + 1 if len(valued) else 0
    # [length + more, 1 + P + F], NaN at steps without a row
    grid = np.full((steps[-1] + 1, series.matrix.shape[1]), np.nan)
    grid[steps] = series.matrix[kept]
    has_row = np.isin(np.arange(len(grid)), steps)
    changes["gaps"][code] = int((~has_row).sum())
    changes["missing"][code] = int(np.isnan(grid[:length][has_row[:length], 0]).sum())
    if options.gaps == "error" and not has_row.all():
        at = first + int(np.argmax(np.diff(steps) > 1))
        (stamp,) = advance(series.times[at], frequency, 1)
        raise DataError(
            f"{series.where(at)}: no row for {stamp_name(stamp)} behind it",
            remedy='add the row, or pass gaps="mask" or "fill"',
        )
    for policy, where in ((options.gaps, ~has_row), (options.missing, has_row)):
        if policy == "fill":
            allowed = np.repeat(where[:, None], grid.shape[1], 1)
            # Behind the last value, target and past columns are not missing but unknown.
            allowed[length:, : series.future] = False
            grid = forward_filled(grid, allowed)
    grid.flags.writeable = False
    return Grid(code, start, length, grid)


def _change_notes(rows: Rows, changes: Changes, options: SeriesOptions) -> list[str]:
    """Return a note about each kind of change that some series had."""
    words = {name: POLICY_WORDS.get(getattr(options, name)) for name in ("gaps", "missing")}
    notes = []
    for kind, note in _NOTES.items():
        if touched := {code: count for code, count in changes[kind].items() if count}:
            series, count = rows.ids_of(touched), sum(touched.values())
            notes.append(note.format(count=count, series=series, **words))
    return notes


def make_grids(rows: Rows, options: SeriesOptions) -> tuple[list[Grid], Frequency]:
    """Put each series on its regular grid, in the order of their ids.

    Args:
        rows: The rows; notes about changes are added to them.
        options: The frequency, and the policies for missing values, gaps and duplicates.

    Returns:
        The grids of all series with a value, and their common frequency.

    Raises:
        DataError: a row is faulty and its policy is "error", or no policy covers the fault.
        OptionError: the frequency does not fit the stamps.

    >>> values, times = np.array([[5.0], [6.0]]), np.array([3, 1])
    >>> rows = Rows(["a"], np.zeros(2, int), np.arange(2), values, times)
    >>> grids, frequency = make_grids(rows, SeriesOptions(frequency="steps"))
    >>> grids[0].start.item(), grids[0].matrix.ravel()
    (1, array([ 6., nan,  5.]))
    """
    ordered = _without_duplicates(_sorted(rows), options.duplicates)
    codes = ordered.codes
    if not len(codes):
        raise DataError("there is no series", remedy="pass at least one")
    # The rows of series n are those from bounds[n] to before bounds[n + 1].
    bounds = np.flatnonzero(np.concatenate([[True], codes[1:] != codes[:-1], [True]]))
    ordered = _without_jitter(ordered, bounds, options)
    frequency = _frequency(ordered, bounds, options)
    changes: Changes = defaultdict(dict)
    series = [ordered.take(slice(*pair)) for pair in itertools.pairwise(bounds.tolist())]
    made = [_to_grid(each, frequency, options, changes) for each in series]
    grids = [grid for grid in made if grid is not None]
    for code in sorted(set(range(len(rows.ids))) - set(codes.tolist())):
        if options.missing == "error":
            raise DataError(f"series {quoted(rows.ids[code])} has no value", remedy="leave it out")
        changes["empty"][code] = 1
    if not grids:
        got = (
            f"only missing ones in {len(rows.codes):,} rows of {rows.ids_of(range(len(rows.ids)))}"
        )
        raise DataError("no series has a value", got=got, expected="at least one")
    rows.notes += _change_notes(rows, changes, options)
    return grids, frequency
