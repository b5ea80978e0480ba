"""Layout: what of a table is an id, a date, a value; long, wide, or one series a row.

Columns that the options name are those; else ``unique_id``, ``ds`` and ``y`` in any case of
letters. For what is not named, the first rule that fits:

| what there is | what is read |
|---|---|
| a target, with or without an id and a date | long: one row a stamp (and id) |
| several targets named, or one date column and several columns of numbers | wide: a series a column |
| one date column, one column of texts, one of numbers | long: the texts are the ids |
| one column of texts, each its own, first, and several of numbers; no date | a series a row |
| one column of numbers, with or without a date | one series |
| several columns of numbers and no date | wide; an error where one is called like a time |
| anything else | an error that names the options |

A day and a time of day in two columns are one time.

A column of dates is one of stamps, or of texts whose first has the form of a date, or of numbers
that can only be dates (20240131) in a column with the name of a time. The index of a pandas frame is a
column where it has a name or holds dates, texts or numbers that do not just count the rows. Of arrays, a
vector is a series, a matrix ``[N, T]`` one a row, and a list or dict of vectors one each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from importlib import import_module
from typing import Any, NoReturn

import numpy as np

from elman.errors import DataError
from elman.series.rows import Rows, SeriesOptions
from elman.series.times import TIME_WORDS, count_steps, is_date, stamps_of
from elman.tables.columns import column_of, may_be_number, numbers_of, quoted, row_name, several
from elman.tables.dates import join_clock
from elman.tables.reader import Table, only_counts, read_table

__all__ = ["read_rows"]

_DEFAULTS = {"id_column": "unique_id", "time_column": "ds", "target": "y"}
_EXACT = 2**53


def _unclear(table: Table, why: str, remedy: str) -> NoReturn:
    raise DataError(f"{table.name} can be read in several ways: {why}", remedy=remedy)


def _named(table: Table, options: SeriesOptions, role: str) -> str | None:
    """Return the column of a role by option, or by its default name."""
    if (named := getattr(options, role)) is not None:
        table.column(named)  # raises where there is none
        return str(named)
    same = [name for name in table.columns if name.casefold() == _DEFAULTS[role]]
    if len(same) > 1 and _DEFAULTS[role] not in same:
        _unclear(table, f"columns {several(same)}", f"pass {role}=")
    return same[0] if len(same) == 1 else _DEFAULTS[role] if same else None


def _target(table: Table, name: str, where: Callable[[int], str], notes: list[str]) -> np.ndarray:
    column = table.column(name)
    if column.dtype.kind == "b":
        notes.append(f"column {quoted(name)} is true or false: read as 1 and 0")
    if column.dtype.kind == "i" and ((column > _EXACT) | (column < -_EXACT)).any():
        notes.append(f"column {quoted(name)} has whole numbers beyond 2^53: read as the nearest")
    return table.numbers(name, where)


def _ids(table: Table, name: str) -> tuple[list[str], np.ndarray]:
    """Return the ids in the order they come, and which of them each row is of."""
    column = table.column(name)
    if column.dtype.kind == "f":
        column = np.array([None if value != value else value for value in column.tolist()], object)
    codes: dict[str, int] = {}
    numbers = np.empty(len(column), np.int64)
    for row, value in enumerate(column.tolist()):
        if value is None:
            raise DataError(
                f"no id in column {quoted(name)}, {row_name(row)}",
                remedy="write one, or drop the row",
            )
        numbers[row] = codes.setdefault(str(value), len(codes))
    plain: dict[str, str] = {}
    for key in codes:
        other = plain.setdefault(" ".join(key.split()), key)
        if other != key:
            raise DataError(
                f"ids {other!r} and {key!r} of column {quoted(name)} differ in white space alone",
                remedy="write them alike where they are one series",
            )
    return list(codes), numbers


def _groups(codes: np.ndarray, count: int) -> list[np.ndarray]:
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
        rows.times = stamps_of(table, time, options, _groups(codes, len(labels)), rows, rows.where)
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
        _note_copies(rows, rows.future)
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
        stamps = stamps_of(table, time, options, [np.arange(length)], made, row_name)
        made.times = np.tile(stamps, count)
    return made


def _vectors(vectors: Mapping[str, np.ndarray], notes: list[str]) -> Rows:
    lengths = [len(vector) for vector in vectors.values()]
    codes = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.concatenate([np.zeros(0, int), *map(np.arange, lengths)])
    values = np.concatenate([np.zeros(0), *vectors.values()])
    return Rows(list(vectors), codes, rows, values, notes=notes, counted="value")


def _a_row_each(table: Table, ids: str, notes: list[str]) -> Rows:
    labels, _ = _ids(table, ids)
    values = np.array([table.numbers(name) for name in table.columns if name != ids]).T
    notes.append(f"each row is a series, called by column {quoted(ids)}")
    # the shorter ones end before the table does
    ends = values.shape[1] - np.argmax(~np.isnan(values[:, ::-1]), 1)
    return _vectors(
        {key: row[:end] for key, row, end in zip(labels, values, ends.tolist(), strict=True)}, notes
    )


def _check_roles(table: Table, options: SeriesOptions, named: Mapping[str, str | None]) -> None:
    """Raise DataError for a column with two roles: what is forecast would be given as known."""
    roles: dict[str, str] = {}
    targets = options.target if isinstance(options.target, tuple) else ()
    given = [("target", name) for name in (*targets, *filter(None, [named["target"]]))]
    given += [
        (role, name) for role in ("past", "future", "static") for name in getattr(options, role)
    ]
    taken = dict.fromkeys(name for _, name in given)
    given += [(role, name) for role in ("id", "time") if (name := named[role]) in taken and name]
    for role, name in given:
        pair = {role, roles.setdefault(name, role)}
        if len(pair) == 2 and ("target" in pair or not pair & {"id", "time"}):
            raise DataError(
                f"column {quoted(name)} of {table.name} is named as {' and as '.join(sorted(pair))}",
                remedy="name it once",
            )


def _note_copies(rows: Rows, future: np.ndarray) -> None:
    """Note a known-future column with the values of the target: then the forecast would copy it."""
    for name, column in zip(rows.names["future"], future.T, strict=True):
        both = np.isfinite(column) & np.isfinite(rows.target)
        same = both.any() and np.array_equal(column[both], rows.target[both])
        if same and np.ptp(column[both]) > 0:
            rows.notes.append(
                f"column {quoted(name)}, known in advance, is equal to the target in every row: it is"
                " only of use if the next values are really known"
            )


def _from_table(table: Table, options: SeriesOptions, index: str | None = None) -> Rows:
    columns, joined = join_clock(table.columns, options.time_column)
    table, notes = replace(table, columns=columns), [*table.notes, *joined]
    if not table.rows:
        raise DataError(f"{table.name} has no rows", remedy="pass one that has")
    covariates = (*options.past, *options.future, *options.static)
    targets = options.target if isinstance(options.target, tuple) else ()
    target = None if targets else _named(table, options, "target")
    ids, time = _named(table, options, "id_column"), _named(table, options, "time_column")
    _check_roles(table, options, {"target": target, "id": ids, "time": time})
    left = [name for name in table.columns if name not in {ids, time, target, *covariates}]
    if time is None:
        # Dates of another form than date_format are an error of the time column, not a column to leave out.
        for form in (options, replace(options, date_format=None)):
            if dates := [name for name in left if is_date(name, table.columns[name], form)]:
                break
        if len(dates) > 1:
            _unclear(table, f"dates in {several(dates)}", "pass time_column=")
        if dates:
            time = dates[0]
            left.remove(time)
            notes.append(f"column {quoted(time)} is taken as the time")
    if index in left and table.columns[index].dtype.kind in "if":
        left.remove(index)
        if time is None and (ids is not None or len(np.unique(table.columns[index])) == table.rows):
            time = index
            notes.append("the index of the frame is taken as the time: its numbers count the steps")
    numbers = [name for name in left if table.columns[name].dtype.kind in "bif"]
    texts = [name for name in left if table.columns[name].dtype.kind == "O"]
    hints = [name for name in numbers if name.casefold() in TIME_WORDS]
    if time is None and ids is None and hints and not targets and (target or len(numbers) > 1):
        _unclear(table, f"column {several(hints)} may be the time", "pass time_column= or target=")
    if target is not None:
        return _long(table, options, ids, time, target, notes)
    if targets:
        return _wide(table, options, time, targets, notes)
    named = ids or (texts[0] if texts and left[0] == texts[0] else None)
    rest = time is None and not covariates and len(numbers) > 1 and len(texts) == (ids is None)
    if rest and named is not None and len(_ids(table, named)[0]) == table.rows:
        return _a_row_each(table, named, notes)
    for name in texts:
        if may_be_number(table.columns[name]):
            table.numbers(name)  # raises: which decimal mark the column has is not clear
    if not numbers:
        raise DataError(f"{table.name} has no column of numbers", remedy="pass target=")
    if len(numbers) == 1 and (ids is not None or not texts):
        if len(table.columns) > 1:
            notes.append(f"column {quoted(numbers[0])} is taken as the target")
        return _long(table, options, ids, time, numbers[0], notes)
    if len(numbers) == len(texts) == 1 and time is not None and not covariates:
        notes.append(f"{quoted(texts[0])} is taken as the id, {quoted(numbers[0])} as the target")
        return _long(table, options, texts[0], time, numbers[0], notes)
    if ids is None and not texts and not covariates:
        notes.append(f"each of the {len(numbers)} columns of numbers is a series")
        return _wide(table, options, time, numbers, notes)
    _unclear(
        table,
        f"numbers in {several(numbers)}" + (f" and texts in {several(texts)}" if texts else ""),
        "pass target= and, where a column says which series a row belongs to, id_column=",
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
    """Return the column that an index without a name becomes; raises DataError where it holds durations."""
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
    # Whoever has such series has pandas, which puts equal stamps into one row.
    frame = import_module("pandas").DataFrame
    return frame({str(name): part for name, part in parts.items()})


def read_rows(source: Any, options: SeriesOptions, *, future_only: bool = False) -> Rows:
    """Return the rows of all series in `source`, as the rules above read it.

    With `future_only` target and past covariates may be absent. Raises DataError where it can be
    read in several ways, or not at all.

    >>> rows = read_rows([[1, 2], [3]], SeriesOptions())
    >>> rows.ids, rows.codes.tolist(), rows.target.tolist()
    (['0', '1'], [0, 0, 1], [1.0, 2.0, 3.0])
    """
    vectors: dict[str, Any] | None = None
    if isinstance(source, (list, tuple, Mapping)):
        source = _side_by_side(source)
    if isinstance(source, np.ndarray) and source.ndim == 2:
        if source.shape[1] == 1 < source.shape[0]:
            raise DataError(
                f"an array of shape {source.shape} is one series or {source.shape[0]}",
                remedy="pass a vector [T] for one, a data frame for the other",
            )
        vectors = {str(row): values for row, values in enumerate(source)}
    elif isinstance(source, (list, tuple)) and source and not isinstance(source[0], Mapping):
        if all(map(_is_vector, source)):
            vectors = {str(row): values for row, values in enumerate(source)}
        else:
            source = np.array(source, object)
    elif isinstance(source, Mapping) and all(map(_is_vector, source.values())):
        columns = {*_DEFAULTS.values(), options.id_column, options.time_column, options.target}
        unequal = len({len(values) for values in source.values()}) > 1
        if unequal and columns.isdisjoint(source):
            vectors = {str(name): values for name, values in source.items()}
    if vectors is not None:
        return _vectors({name: _vector(values, name) for name, values in vectors.items()}, [])
    index = _index_column(source)
    table = read_table(source, ordered=True)
    if future_only:
        wanted = (options.target if isinstance(options.target, str) else "y", *options.past)
        absent = {name: np.full(table.rows, np.nan) for name in wanted}
        table = replace(table, columns={**absent, **table.columns})
    rows = _from_table(table, options, index)
    count_steps(rows, options)
    return rows
