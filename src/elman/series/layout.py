"""Layout of a table: which columns are ids, times, targets and covariates, and which rows are a series.

Columns that the options name have those roles. Columns called ``unique_id``, ``ds`` and ``y``, in any case
of letters, are id, time and target. For the other columns the first row of this table that fits decides:

| the table has | it is read as |
|---|---|
| a target, with or without id and time | long: a row for each stamp (and id) |
| several named targets, or one column of dates and several of numbers | wide: a series for each column |
| one column of dates, one of texts, one of numbers | long: the texts are the ids |
| a first column of distinct texts and several of numbers, no dates | a series for each row |
| one column of numbers, with or without dates | one series |
| several columns of numbers and no dates | wide; an error if a column is called like a time |
| anything else | an error that names the options |

A date and a time of day in two columns are joined to one time. A column of dates holds stamps, or texts
whose first has the form of a date, or numbers that can only be dates (20240131) under the name of a time.
The index of a pandas frame is a column if it has a name, or if it holds dates, texts or numbers that do
more than count the rows. A vector is one series, a matrix ``[N, T]`` holds a series in each row, and a list
or dict of vectors one in each vector.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError
from elman.series.read_options import SeriesOptions, SeriesSource
from elman.series.rows import Rows, step_in_series
from elman.series.time_column import TIME_WORDS, counts_steps, is_date, read_time_column
from elman.tables.columns import column_of, may_be_number, numbers_of, quoted, row_name, several
from elman.tables.dates import join_clock
from elman.tables.reader import Table, only_counts, read_table

_DEFAULTS = {"id_column": "unique_id", "time_column": "ds", "target": "y"}
_MAX_EXACT_INTEGER = 2**53

Vectors: TypeAlias = "Sequence[Any] | Mapping[str, Any]"
"""Rows, vectors or columns, in a list or by name."""


class _TableReader:
    """Reads one table: which columns have which role, and from them the rows of all series."""

    def __init__(self, table: Table, options: SeriesOptions) -> None:
        # A date and a time of day in two columns become one column before any role is chosen.
        columns, joined = join_clock(table.columns, options.time_column)
        self.table, self.options = replace(table, columns=columns), options
        self.notes = [*table.notes, *joined]
        if not table.rows:
            raise DataError(f"{table.name} has no rows", remedy="pass a table with rows")
        self.targets = options.target if isinstance(options.target, tuple) else ()
        self.target = None if self.targets else self._named("target")
        self.id, self.time = self._named("id_column"), self._named("time_column")
        self._check_roles()
        covariates = (*options.past, *options.future, *options.static)
        self.has_covariates = bool(covariates)
        taken = {self.id, self.time, self.target, *covariates}
        self.free = [name for name in self.table.columns if name not in taken]

    def _ambiguous(self, why: str, remedy: str) -> DataError:
        return DataError(f"{self.table.name} can be read in several ways: {why}", remedy=remedy)

    def free_of_kind(self, kinds: str) -> list[str]:
        """Return the columns without a role whose numpy kind is one of `kinds`."""
        return [name for name in self.free if self.table.columns[name].dtype.kind in kinds]

    def _named(self, role: str) -> str | None:
        """Return the column of a role, named by the options or by its default name; None without one."""
        if (named := getattr(self.options, role)) is not None:
            self.table.column(named)  # raises if the table has no such column
            return str(named)
        default = _DEFAULTS[role]
        # Names differ in case between programs: DS, Ds and ds are one name.
        matches = [name for name in self.table.columns if name.casefold() == default]
        if len(matches) > 1 and default not in matches:
            raise self._ambiguous(f"columns {several(matches)}", f"pass {role}=")
        return matches[0] if len(matches) == 1 else default if matches else None

    def _check_roles(self) -> None:
        """Raise DataError for a column with two roles: a target would leak into its own forecast."""
        uses = [("target", name) for name in (*self.targets, self.target) if name is not None]
        for role in ("past", "future", "static"):
            uses += [(role, name) for name in getattr(self.options, role)]
        # The column of ids or times may also be a covariate, but not the target.
        taken = {name for _, name in uses}
        uses += [
            (role, n) for role, n in (("id", self.id), ("time", self.time)) if n in taken and n
        ]
        # The first role of each name; a second one is compared with it.
        roles: dict[str, str] = {}
        for role, name in uses:
            both = {role, roles.setdefault(name, role)}
            if len(both) == 2 and ("target" in both or not both & {"id", "time"}):
                raise DataError(
                    f"column {quoted(name)} of {self.table.name} is named as"
                    f" {' and as '.join(sorted(both))}",
                    remedy="name it once",
                )

    def read(self, index: str | None) -> Rows:
        """Return the rows; `index` is the column that holds the nameless index of a frame."""
        if self.time is None:
            self._take_dates()
        if index in self.free and self.table.columns[index].dtype.kind in "if":
            self.free.remove(index)
            counts = len(np.unique(self.table.columns[index])) == self.table.rows
            if self.time is None and (self.id is not None or counts):
                self.time = index
                note = "the index of the frame is taken as the time: its numbers count the steps"
                self.notes.append(note)
        numbers = self.free_of_kind("bif")
        # A column of counted steps must not become a target or a series by accident.
        likely_times = [name for name in numbers if name.casefold() in TIME_WORDS]
        may_be_time = self.time is None and self.id is None and not self.targets
        if likely_times and may_be_time and (self.target or len(numbers) > 1):
            why = f"column {several(likely_times)} may be the time"
            raise self._ambiguous(why, "pass time_column= or target=")
        if self.target is not None:
            return self._long(self.id, self.target)
        return self._wide(self.targets) if self.targets else self._without_target(numbers)

    def _take_dates(self) -> None:
        """Take the only free column of dates as the time."""
        # Dates in another form than date_format are an error of the time column, not a column to leave out.
        for form in (self.options, replace(self.options, date_format=None)):
            dates = [name for name in self.free if is_date(name, self.table.columns[name], form)]
            if len(dates) > 1:
                raise self._ambiguous(f"dates in {several(dates)}", "pass time_column=")
            if dates:
                self.time = dates[0]
                self.free.remove(self.time)
                self.notes.append(f"column {quoted(self.time)} is taken as the time")
                return

    def _without_target(self, numbers: list[str]) -> Rows:
        """Read a table whose target is not named, by the kinds of its free columns."""
        table, texts = self.table, self.free_of_kind("O")
        # A first column of distinct texts names the series of each row.
        label = self.id or (texts[0] if texts and self.free[0] == texts[0] else None)
        may_be_rows = self.time is None and not self.has_covariates and len(numbers) > 1
        may_be_rows = may_be_rows and len(texts) == (self.id is None)
        if may_be_rows and label is not None and len(self._ids(label)[0]) == table.rows:
            return self._series_in_rows(label)
        for name in texts:
            if may_be_number(table.columns[name]):
                table.numbers(name)  # raises: the decimal mark of the column is ambiguous
        if not numbers:
            raise DataError(f"{table.name} has no column of numbers", remedy="pass target=")
        if len(numbers) == 1 and (self.id is not None or not texts):
            if len(table.columns) > 1:
                self.notes.append(f"column {quoted(numbers[0])} is taken as the target")
            return self._long(self.id, numbers[0])
        if len(numbers) == len(texts) == 1 and self.time is not None and not self.has_covariates:
            note = f"{quoted(texts[0])} is taken as the id, {quoted(numbers[0])} as the target"
            self.notes.append(note)
            return self._long(texts[0], numbers[0])
        if self.id is None and not texts and not self.has_covariates:
            self.notes.append(f"each of the {len(numbers)} columns of numbers is a series")
            return self._wide(numbers)
        raise self._ambiguous(
            f"numbers in {several(numbers)}" + (f" and texts in {several(texts)}" if texts else ""),
            "pass target= and, if a column names the series of each row, id_column=",
        )

    def _target(self, name: str, where: Callable[[int], str]) -> np.ndarray:
        column = self.table.column(name)
        if column.dtype.kind == "b":
            self.notes.append(f"column {quoted(name)} is true or false: read as 1 and 0")
        if (
            column.dtype.kind == "i"
            and ((column > _MAX_EXACT_INTEGER) | (column < -_MAX_EXACT_INTEGER)).any()
        ):
            note = f"column {quoted(name)} has whole numbers beyond 2^53: read as the nearest"
            self.notes.append(note)
        return self.table.numbers(name, where)

    def _ids(self, name: str) -> tuple[list[str], np.ndarray]:
        """Return the ids in the order of the rows, and for each row the index of its id."""
        # Codes number the ids in the order in which they first occur.
        codes: dict[str, int] = {}
        numbers = np.empty(self.table.rows, np.int64)
        for row, value in enumerate(self.table.column(name).tolist()):
            if value is None or value != value:
                what = f"no id in column {quoted(name)}, {row_name(row)}"
                raise DataError(what, remedy="add the id, or drop the row")
            numbers[row] = codes.setdefault(str(value), len(codes))
        # Ids that differ in white space alone are typing errors more often than two series.
        spellings: dict[str, str] = {}
        for key in codes:
            other = spellings.setdefault(" ".join(key.split()), key)
            if other != key:
                raise DataError(
                    f"ids {other!r} and {key!r} of column {quoted(name)} differ only in white space",
                    remedy="spell them alike if they are the same series",
                )
        return list(codes), numbers

    def _long(self, ids: str | None, target: str) -> Rows:
        """Read a row for each stamp, and for each of the `ids` if there is a column of them."""
        table, options = self.table, self.options
        labels, codes = [target], np.zeros(table.rows, np.int64)
        if ids is not None:
            labels, codes = self._ids(ids)
        rows = Rows(labels, codes, np.arange(table.rows), np.zeros((0, 0)), step_in_series(codes))
        rows.notes = self.notes
        if ids is not None and table.columns[ids].dtype.kind == "i":
            rows.reading["ids"] = "whole"
        if self.time is not None:
            rows.times = self._times(self.time, codes, rows, rows.where)
        # The order of `NUMBER_ROLES`: target, past, future.
        columns = [self._target(target, rows.where)]
        columns += [table.numbers(name, rows.where) for name in (*options.past, *options.future)]
        rows.matrix = np.stack(columns, axis=1)
        rows.static = {name: table.column(name) for name in options.static}
        rows.names |= {"past": options.past, "future": options.future, "target": (target,)}
        rows.names["id"] = (ids,) if ids is not None else ()
        self._note_copies_of_target(rows)
        used = {ids, self.time, target, *options.past, *options.future, *options.static}
        if unused := [name for name in table.columns if name not in used]:
            self.notes.append(f"columns not used: {several(unused)}")
        return rows

    def _times(
        self, name: str, codes: np.ndarray, rows: Rows, where: Callable[[int], str]
    ) -> np.ndarray:
        """Read the time column; `codes` are the series of its rows."""
        times = read_time_column(self.table, name, self.options, codes, rows, where)
        rows.names["time"] = (name,)
        if counts_steps(self.options) and times.dtype.kind == "M":
            rows.names["time"] = ()
            rows.reading.pop("zone", None)
            note = 'dates only order the rows, because frequency="steps" counts them'
            self.notes.append(note)
            return step_in_series(codes, times)
        return times

    def _note_copies_of_target(self, rows: Rows) -> None:
        """Note a known-future column that equals the target, because the forecast would only copy it."""
        # A constant column is no copy: many flags are 0 wherever the target is.
        target = rows.matrix[:, 0]
        for name, column in zip(self.options.future, rows.matrix.T[rows.future :], strict=True):
            both = np.isfinite(column) & np.isfinite(target)
            is_copy = both.any() and np.array_equal(column[both], target[both])
            if is_copy and np.ptp(column[both]) > 0:
                self.notes.append(
                    f"column {quoted(name)}, known in advance, is equal to the target in every row: it"
                    " only helps if the next values are really known"
                )

    def _wide(self, targets: Sequence[str]) -> Rows:
        """Read a series in each column of `targets`."""
        made = _vectors({name: self._target(name, row_name) for name in targets}, self.notes)
        made.counted = "row"
        if isinstance(self.options.target, tuple):
            made.names["target"] = tuple(targets)
        if self.time is not None:
            times = self._times(self.time, np.zeros(self.table.rows, np.int64), made, row_name)
            made.times = np.tile(times, len(targets))
        return made

    def _series_in_rows(self, ids: str) -> Rows:
        labels, _ = self._ids(ids)
        values = np.array(
            [self.table.numbers(name) for name in self.table.columns if name != ids]
        ).T
        self.notes.append(f"each row is a series, named by column {quoted(ids)}")
        # Shorter series leave the last columns empty.
        ends = values.shape[1] - np.argmax(~np.isnan(values[:, ::-1]), 1)
        rows = zip(labels, values, ends.tolist(), strict=True)
        return _vectors({key: row[:end] for key, row, end in rows}, self.notes)


def _vectors(vectors: Mapping[str, np.ndarray], notes: list[str]) -> Rows:
    """Return the rows of series that are given as vectors, by id."""
    lengths = [len(vector) for vector in vectors.values()]
    codes = np.repeat(np.arange(len(lengths)), lengths)
    steps = step_in_series(codes)
    values = np.concatenate([np.zeros(0), *vectors.values()])[:, None]
    return Rows(list(vectors), codes, steps, values, steps, notes=notes, counted="value")


def _is_vector(values: ArrayLike) -> bool:
    try:
        return np.ndim(values) == 1
    except ValueError:  # lists of unequal lists
        return False


def _index_column(source: SeriesSource | None) -> str | None:
    """Return the column name for a nameless index of a frame; raises DataError if it holds durations."""
    # Only frames of pandas have an index with a name.
    index = getattr(source, "index", None)
    if only_counts(source) or getattr(index, "name", "") is not None:
        return None
    if type(index).__name__ == "TimedeltaIndex":
        raise DataError(
            "the index of the frame holds durations",
            expected="dates",
            remedy='add a date to it, as frame.index + pandas.Timestamp("2020-01-01")',
        )
    columns = getattr(source, "columns", ())
    return "index" if "index" not in columns else "level_0"


def _side_by_side(source: Vectors) -> SeriesSource:
    """Return a list or dict of pandas series with indexes as one frame, and anything else as it is."""
    vectors = source if isinstance(source, Mapping) else dict(enumerate(source))
    if not vectors or all(
        hasattr(vector, "columns") or only_counts(vector) for vector in vectors.values()
    ):
        return source
    # Series with an index come from pandas, which aligns equal stamps in one row.
    aligned: SeriesSource = import_module("pandas").DataFrame(
        {str(name): vector for name, vector in vectors.items()}
    )
    return aligned


def _read_vectors(source: SeriesSource | None, options: SeriesOptions) -> Rows | None:
    """Read a matrix, or a list or dict of vectors, with a series in each; None for other sources."""
    vectors: Mapping[Hashable, Sequence[float]] | None = None
    if isinstance(source, np.ndarray) and source.ndim == 2:
        if source.shape[1] == 1 < source.shape[0]:
            raise DataError(
                f"an array of shape {source.shape} is one series or {source.shape[0]}",
                remedy="pass a vector [T] for one series, a data frame for several",
            )
        vectors = dict(enumerate(source))
    elif isinstance(source, (list, tuple)) and source and all(map(_is_vector, source)):
        vectors = dict(enumerate(source))
    elif isinstance(source, Mapping) and all(map(_is_vector, source.values())):
        columns = {*_DEFAULTS.values(), options.id_column, options.time_column, options.target}
        unequal = len({len(values) for values in source.values()}) > 1
        vectors = source if unequal and columns.isdisjoint(source) else None
    if vectors is None:
        return None
    numbers = {}
    for name, values in vectors.items():
        what, (column, _) = f"series {quoted(str(name))}", column_of(values)
        numbers[str(name)] = numbers_of(column, what, lambda row: f"value {row + 1}")
    return _vectors(numbers, [])


def read_rows(
    source: SeriesSource | None, options: SeriesOptions, *, future_only: bool = False
) -> Rows:
    """Read the rows of all series in a table, by the rules of this module.

    Args:
        source: A path, a data frame, a list of rows, or arrays.
        options: The columns and the format of their dates.
        future_only: Whether target and past covariates may be absent, for known-future rows.

    Raises:
        DataError: the table cannot be read, or can be read in several ways.

    >>> rows = read_rows([[1, 2], [3]], SeriesOptions())
    >>> rows.ids, rows.codes.tolist(), rows.matrix.ravel().tolist()
    (['0', '1'], [0, 0, 1], [1.0, 2.0, 3.0])
    """
    if isinstance(source, (list, tuple, Mapping)):
        source = _side_by_side(source)
    if (rows := _read_vectors(source, options)) is not None:
        return rows
    if isinstance(source, (list, tuple)) and source and not isinstance(source[0], Mapping):
        source = np.array(source, object)
    # Look at the index before the frame becomes a table, which only has columns.
    index = _index_column(source)
    table = read_table(source, ordered=True)
    if future_only:
        wanted = (options.target if isinstance(options.target, str) else "y", *options.past)
        # Rows of the future may lack the target and past columns; NaN stands for them.
        absent = {name: np.full(table.rows, np.nan) for name in wanted}
        table = replace(table, columns={**absent, **table.columns})
    return _TableReader(table, options).read(index)
