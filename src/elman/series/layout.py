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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, NoReturn

import numpy as np

from elman.errors import DataError
from elman.series.read_options import SeriesOptions
from elman.series.rows import Rows
from elman.series.time_column import TIME_WORDS, count_steps, is_date, read_time_column
from elman.tables.columns import column_of, may_be_number, numbers_of, quoted, row_name, several
from elman.tables.dates import join_clock
from elman.tables.reader import Table, only_counts, read_table

_DEFAULTS = {"id_column": "unique_id", "time_column": "ds", "target": "y"}
_MAX_EXACT_INTEGER = 2**53


def _fail_as_ambiguous(table: Table, why: str, remedy: str) -> NoReturn:
    raise DataError(f"{table.name} can be read in several ways: {why}", remedy=remedy)


def _named(table: Table, options: SeriesOptions, role: str) -> str | None:
    """Return the column of a role, named by the options or by its default name; None if there is none."""
    if (named := getattr(options, role)) is not None:
        table.column(named)  # raises if the table has no such column
        return str(named)
    matches = [name for name in table.columns if name.casefold() == _DEFAULTS[role]]
    if len(matches) > 1 and _DEFAULTS[role] not in matches:
        _fail_as_ambiguous(table, f"columns {several(matches)}", f"pass {role}=")
    return matches[0] if len(matches) == 1 else _DEFAULTS[role] if matches else None


def _target(table: Table, name: str, where: Callable[[int], str], notes: list[str]) -> np.ndarray:
    column = table.column(name)
    if column.dtype.kind == "b":
        notes.append(f"column {quoted(name)} is true or false: read as 1 and 0")
    if (
        column.dtype.kind == "i"
        and ((column > _MAX_EXACT_INTEGER) | (column < -_MAX_EXACT_INTEGER)).any()
    ):
        notes.append(f"column {quoted(name)} has whole numbers beyond 2^53: read as the nearest")
    return table.numbers(name, where)


def _ids(table: Table, name: str) -> tuple[list[str], np.ndarray]:
    """Return the ids in the order of the rows, and for each row the index of its id."""
    column = table.column(name)
    if column.dtype.kind == "f":
        column = np.array([None if value != value else value for value in column.tolist()], object)
    codes: dict[str, int] = {}
    numbers = np.empty(len(column), np.int64)
    for row, value in enumerate(column.tolist()):
        if value is None:
            raise DataError(
                f"no id in column {quoted(name)}, {row_name(row)}",
                remedy="add the id, or drop the row",
            )
        numbers[row] = codes.setdefault(str(value), len(codes))
    spellings: dict[str, str] = {}
    for key in codes:
        other = spellings.setdefault(" ".join(key.split()), key)
        if other != key:
            raise DataError(
                f"ids {other!r} and {key!r} of column {quoted(name)} differ only in white space",
                remedy="spell them alike if they are the same series",
            )
    return list(codes), numbers


def _rows_by_code(codes: np.ndarray, count: int) -> list[np.ndarray]:
    order = np.argsort(codes, kind="stable")
    return np.split(order, np.searchsorted(codes[order], np.arange(1, count)))


def _long(
    table: Table,
    options: SeriesOptions,
    ids: str | None,
    time: str | None,
    target: str,
    notes: list[str],
) -> Rows:
    labels, codes = _ids(table, ids) if ids is not None else ([target], np.zeros(table.rows, int))
    rows = Rows(labels, codes, np.arange(table.rows), np.zeros(0), notes=notes)
    if ids is not None and table.columns[ids].dtype.kind == "i":
        rows.reading["ids"] = "whole"
    if time is not None:
        groups = _rows_by_code(codes, len(labels))
        rows.times = read_time_column(table, time, options, groups, rows, rows.where)
    rows.target = _target(table, target, rows.where, notes)
    for role in ("past", "future"):
        columns = [table.numbers(name, rows.where) for name in getattr(options, role)]
        setattr(rows, role, np.array(columns).reshape(len(columns), table.rows).T)
    rows.static = {name: table.column(name) for name in options.static}
    rows.names = {
        "id": (ids,) if ids is not None else (),
        "time": (time,) if time is not None else (),
        "target": (target,),
        "past": options.past,
        "future": options.future,
    }
    if rows.future is not None:
        _note_copies_of_target(rows, rows.future)
    used = {ids, time, target, *options.past, *options.future, *options.static}
    if unused := [name for name in table.columns if name not in used]:
        notes.append(f"columns not used: {several(unused)}")
    return rows


def _wide(
    table: Table, options: SeriesOptions, time: str | None, targets: Sequence[str], notes: list[str]
) -> Rows:
    count, length = len(targets), table.rows
    codes, rows = np.repeat(np.arange(count), length), np.tile(np.arange(length), count)
    names: dict[str, tuple[str, ...]] = {"time": (time,) if time else ()}
    if isinstance(options.target, tuple):
        names["target"] = tuple(targets)
    made = Rows(list(targets), codes, rows, np.zeros(0), names=names, notes=notes)
    values = [_target(table, name, row_name, notes) for name in targets]
    made.target = np.concatenate(values) if values else np.zeros(0)
    if time is not None:
        stamps = read_time_column(table, time, options, [np.arange(length)], made, row_name)
        made.times = np.tile(stamps, count)
    return made


def _vectors(vectors: Mapping[str, np.ndarray], notes: list[str]) -> Rows:
    lengths = [len(vector) for vector in vectors.values()]
    codes = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.concatenate([np.zeros(0, int), *map(np.arange, lengths)])
    values = np.concatenate([np.zeros(0), *vectors.values()])
    return Rows(list(vectors), codes, rows, values, notes=notes, counted="value")


def _series_in_rows(table: Table, ids: str, notes: list[str]) -> Rows:
    labels, _ = _ids(table, ids)
    values = np.array([table.numbers(name) for name in table.columns if name != ids]).T
    notes.append(f"each row is a series, named by column {quoted(ids)}")
    # Shorter series leave the last columns empty.
    ends = values.shape[1] - np.argmax(~np.isnan(values[:, ::-1]), 1)
    return _vectors(
        {key: row[:end] for key, row, end in zip(labels, values, ends.tolist(), strict=True)}, notes
    )


def _check_roles(table: Table, options: SeriesOptions, named: Mapping[str, str | None]) -> None:
    """Raise DataError for a column with two roles: a target would leak into its own forecast."""
    targets = options.target if isinstance(options.target, tuple) else ()
    uses = [("target", name) for name in (*targets, *filter(None, [named["target"]]))]
    uses += [
        (role, name) for role in ("past", "future", "static") for name in getattr(options, role)
    ]
    taken = {name for _, name in uses}
    uses += [(role, name) for role in ("id", "time") if (name := named[role]) and name in taken]
    roles: dict[str, str] = {}
    for role, name in uses:
        both = {role, roles.setdefault(name, role)}
        # An id or a time may also be a covariate.
        if len(both) == 2 and ("target" in both or not both & {"id", "time"}):
            raise DataError(
                f"column {quoted(name)} of {table.name} is named as {' and as '.join(sorted(both))}",
                remedy="name it once",
            )


def _note_copies_of_target(rows: Rows, future: np.ndarray) -> None:
    """Note a known-future column that equals the target, because the forecast would only copy it."""
    for name, column in zip(rows.names["future"], future.T, strict=True):
        both = np.isfinite(column) & np.isfinite(rows.target)
        is_copy = both.any() and np.array_equal(column[both], rows.target[both])
        if is_copy and np.ptp(column[both]) > 0:
            rows.notes.append(
                f"column {quoted(name)}, known in advance, is equal to the target in every row: it only"
                " helps if the next values are really known"
            )


def _take_dates(
    table: Table, options: SeriesOptions, free: list[str], notes: list[str]
) -> str | None:
    """Take the only column of dates out of the `free` ones as the time; None if there is none."""
    # Dates in another form than date_format are an error of the time column, not a column to leave out.
    for form in (options, replace(options, date_format=None)):
        if dates := [name for name in free if is_date(name, table.columns[name], form)]:
            break
    if len(dates) > 1:
        _fail_as_ambiguous(table, f"dates in {several(dates)}", "pass time_column=")
    if not dates:
        return None
    free.remove(dates[0])
    notes.append(f"column {quoted(dates[0])} is taken as the time")
    return dates[0]


def _from_table(table: Table, options: SeriesOptions, index: str | None = None) -> Rows:
    """Read a table; `index` is the column that holds the nameless index of a frame."""
    columns, joined = join_clock(table.columns, options.time_column)
    table, notes = replace(table, columns=columns), [*table.notes, *joined]
    if not table.rows:
        raise DataError(f"{table.name} has no rows", remedy="pass a table with rows")
    targets = options.target if isinstance(options.target, tuple) else ()
    target = None if targets else _named(table, options, "target")
    ids, time = _named(table, options, "id_column"), _named(table, options, "time_column")
    _check_roles(table, options, {"target": target, "id": ids, "time": time})
    taken = {ids, time, target, *options.past, *options.future, *options.static}
    free = [name for name in table.columns if name not in taken]
    if time is None:
        time = _take_dates(table, options, free, notes)
    if index in free and table.columns[index].dtype.kind in "if":
        free.remove(index)
        if time is None and (ids is not None or len(np.unique(table.columns[index])) == table.rows):
            time = index
            notes.append("the index of the frame is taken as the time: its numbers count the steps")
    numbers = [name for name in free if table.columns[name].dtype.kind in "bif"]
    likely_times = [name for name in numbers if name.casefold() in TIME_WORDS]
    may_be_time = time is None and ids is None and not targets and (target or len(numbers) > 1)
    if likely_times and may_be_time:
        why = f"column {several(likely_times)} may be the time"
        _fail_as_ambiguous(table, why, "pass time_column= or target=")
    if target is not None:
        return _long(table, options, ids, time, target, notes)
    if targets:
        return _wide(table, options, time, targets, notes)
    return _without_target(table, options, ids, time, free, notes)


def _without_target(
    table: Table,
    options: SeriesOptions,
    ids: str | None,
    time: str | None,
    free: Sequence[str],
    notes: list[str],
) -> Rows:
    """Read a table whose target is not named, by the kinds of its `free` columns."""
    numbers = [name for name in free if table.columns[name].dtype.kind in "bif"]
    texts = [name for name in free if table.columns[name].dtype.kind == "O"]
    has_covariates = bool(options.past or options.future or options.static)
    label = ids or (texts[0] if texts and free[0] == texts[0] else None)
    may_be_rows = time is None and not has_covariates and len(numbers) > 1
    may_be_rows = may_be_rows and len(texts) == (ids is None)
    if may_be_rows and label is not None and len(_ids(table, label)[0]) == table.rows:
        return _series_in_rows(table, label, notes)
    for name in texts:
        if may_be_number(table.columns[name]):
            table.numbers(name)  # raises: the decimal mark of the column is ambiguous
    if not numbers:
        raise DataError(f"{table.name} has no column of numbers", remedy="pass target=")
    if len(numbers) == 1 and (ids is not None or not texts):
        if len(table.columns) > 1:
            notes.append(f"column {quoted(numbers[0])} is taken as the target")
        return _long(table, options, ids, time, numbers[0], notes)
    if len(numbers) == len(texts) == 1 and time is not None and not has_covariates:
        notes.append(f"{quoted(texts[0])} is taken as the id, {quoted(numbers[0])} as the target")
        return _long(table, options, texts[0], time, numbers[0], notes)
    if ids is None and not texts and not has_covariates:
        notes.append(f"each of the {len(numbers)} columns of numbers is a series")
        return _wide(table, options, time, numbers, notes)
    _fail_as_ambiguous(
        table,
        f"numbers in {several(numbers)}" + (f" and texts in {several(texts)}" if texts else ""),
        "pass target= and, if a column names the series of each row, id_column=",
    )


def _vector(values: Any, name: str) -> np.ndarray:
    column, _ = column_of(values)
    return numbers_of(column, f"series {quoted(name)}", lambda row: f"value {row + 1}")


def _is_vector(values: Any) -> bool:
    try:
        return np.ndim(values) == 1
    except ValueError:  # lists of unequal lists
        return False


def _index_column(source: Any) -> str | None:
    """Return the column name for a nameless index of a frame; raises DataError if it holds durations."""
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


def _side_by_side(source: Any) -> Any:
    """Return a list or dict of pandas series with indexes as one frame, and anything else as it is."""
    parts = source if isinstance(source, Mapping) else dict(enumerate(source))
    if not parts or all(hasattr(part, "columns") or only_counts(part) for part in parts.values()):
        return source
    # Series with an index come from pandas, which aligns equal stamps in one row.
    frame = import_module("pandas").DataFrame
    return frame({str(name): part for name, part in parts.items()})


def _array_vectors(source: Any, options: SeriesOptions) -> dict[str, Any] | None:
    """Return the series of a matrix, or of a list or dict of vectors, by id; None for other sources."""
    if isinstance(source, np.ndarray) and source.ndim == 2:
        if source.shape[1] == 1 < source.shape[0]:
            raise DataError(
                f"an array of shape {source.shape} is one series or {source.shape[0]}",
                remedy="pass a vector [T] for one series, a data frame for several",
            )
        return {str(row): values for row, values in enumerate(source)}
    if isinstance(source, (list, tuple)) and source and not isinstance(source[0], Mapping):
        if all(map(_is_vector, source)):
            return {str(row): values for row, values in enumerate(source)}
    elif isinstance(source, Mapping) and all(map(_is_vector, source.values())):
        columns = {*_DEFAULTS.values(), options.id_column, options.time_column, options.target}
        unequal = len({len(values) for values in source.values()}) > 1
        if unequal and columns.isdisjoint(source):
            return {str(name): values for name, values in source.items()}
    return None


def read_rows(source: Any, options: SeriesOptions, *, future_only: bool = False) -> Rows:
    """Read the rows of all series in a table, by the rules of this module.

    Args:
        source: a path, a data frame, a list of rows, or arrays.
        options: the columns and the format of their dates.
        future_only: whether target and past covariates may be absent, for known-future rows.

    Raises:
        DataError: the table cannot be read, or can be read in several ways.

    >>> rows = read_rows([[1, 2], [3]], SeriesOptions())
    >>> rows.ids, rows.codes.tolist(), rows.target.tolist()
    (['0', '1'], [0, 0, 1], [1.0, 2.0, 3.0])
    """
    if isinstance(source, (list, tuple, Mapping)):
        source = _side_by_side(source)
    vectors = _array_vectors(source, options)
    if vectors is not None:
        return _vectors({name: _vector(values, name) for name, values in vectors.items()}, [])
    if isinstance(source, (list, tuple)) and source and not isinstance(source[0], Mapping):
        source = np.array(source, object)
    index = _index_column(source)
    table = read_table(source, ordered=True)
    if future_only:
        wanted = (options.target if isinstance(options.target, str) else "y", *options.past)
        absent = {name: np.full(table.rows, np.nan) for name in wanted}
        table = replace(table, columns={**absent, **table.columns})
    rows = _from_table(table, options, index)
    count_steps(rows, options)
    return rows
