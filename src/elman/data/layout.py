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
from dataclasses import dataclass, field, replace
from importlib import import_module
from typing import Any, NoReturn

import numpy as np

from elman._errors import DataError, OptionError, printable
from elman.data.calendar import DAY, Frequency
from elman.data.columns import column_of, numbers_of, row_name
from elman.data.dates import form_note, join_clock, looks_like_date, parse_times
from elman.data.stamps import NUMBER_FORMATS, number_format, times_of_numbers
from elman.data.tables import Table, only_counts, read_table
from elman.data.zones import known_zone, local_days, one_clock, to_utc, usable_zone

__all__ = ["Rows", "SeriesOptions", "of_series", "quoted", "read_rows", "several"]

_DEFAULTS = {"id_column": "unique_id", "time_column": "ds", "target": "y"}
_TIME_WORDS = (
    *("t", "time", "timestamp", "date", "datetime", "step", "index", "period"),
    *("second", "minute", "hour", "day", "week", "month", "quarter", "year"),
)
_TIME_NAMES = (
    "ds",
    "datum",
    "fecha",
    "dato",
    "dates",
    "day_id",
    "date_id",
    "yearmonth",
    "year_month",
)
_POLICIES = {
    "missing": ("mask", "fill", "error"),
    "gaps": ("mask", "fill", "error"),
    "duplicates": ("error", "first", "last", "mean", "sum"),
}
_EXACT = 2**53


@dataclass(frozen=True)
class SeriesOptions:
    """Which columns series are in, and what is done about what is wrong with them.

    Raises OptionError for a policy that there is not.

    >>> SeriesOptions(target="Close", gaps="fill").missing
    'mask'
    """

    id_column: str | None = None
    """The column that says which series a row belongs to."""
    time_column: str | None = None
    target: str | tuple[str, ...] | None = None
    """The column to forecast; several make a series each."""
    past: tuple[str, ...] = ()
    """Columns known up to the present."""
    future: tuple[str, ...] = ()
    """Columns known in advance."""
    static: tuple[str, ...] = ()
    """Columns with one value a series."""
    frequency: str | Frequency | None = None
    """The step, as 30min or MS; found in the stamps where it is not given."""
    timezone: str | None = None
    """Where the clocks stand that stamps without a zone are of, as Europe/Berlin."""
    date_format: str | None = None
    """The form of the dates, as `datetime.strptime` takes it; dates of common forms are read without.

    epoch_s, epoch_ms, epoch_us and epoch_ns are numbers since 1970, excel the days of a spreadsheet.
    """
    missing: str = "mask"
    """A row without a value: mask (left missing), fill (the last one again) or error."""
    gaps: str = "mask"
    """A row that is not there: mask, fill or error."""
    duplicates: str = "error"
    """Rows of one stamp: error, first, last, mean or sum (of the target; covariates: the mean)."""

    def __post_init__(self) -> None:
        for name, allowed in _POLICIES.items():
            if getattr(self, name) not in allowed:
                raise OptionError(name, got=getattr(self, name), expected=" | ".join(allowed))
        for name in ("past", "future", "static", "target"):
            if isinstance(value := getattr(self, name), list):
                object.__setattr__(self, name, tuple(value))
            elif isinstance(value, str) and name != "target":
                object.__setattr__(self, name, (value,))


@dataclass(eq=False)
class Rows:
    """The rows of all series, in the order they came in."""

    ids: list[str]
    codes: np.ndarray
    """``[R]`` int64: which of the ids."""
    rows: np.ndarray
    """``[R]`` int64: the row of the source, for messages."""
    target: np.ndarray
    """``[R]`` float64."""
    times: np.ndarray | None = None
    """``[R]`` datetime64[us] or int64."""
    past: np.ndarray | None = None
    """``[R, P]`` float64."""
    future: np.ndarray | None = None
    """``[R, F]`` float64."""
    static: dict[str, np.ndarray] = field(default_factory=dict)
    """``[R]`` each, as in the table."""
    names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Of the columns, by role: id, time, target, past, future; of a role that is not there none."""
    notes: list[str] = field(default_factory=list)
    counted: str = "row"
    reading: dict[str, str] = field(default_factory=dict)
    """How stamps and ids were written: `date_format` of numbers, `zone` of the stamps, `ids` "whole"."""

    def where(self, at: int) -> str:
        """Return how a message names one of the rows."""
        return f"series {quoted(self.ids[self.codes[at]])}, {self.counted} {self.rows[at] + 1}"


def quoted(name: str) -> str:
    """Return an id or a column's name as messages show it.

    >>> quoted("a")
    "'a'"
    """
    return f"'{printable(name, 40)}'"


def several(names: Sequence[str]) -> str:
    """Return the first of several names as messages show them.

    >>> several(["a", "b", "c", "d", "e"])
    "'a', 'b', 'c', 'd', …"
    """
    return ", ".join(map(quoted, names[:4])) + (", …" if len(names) > 4 else "")


def of_series(ids: Sequence[str]) -> str:
    """Return how a note names the series that it is about.

    >>> of_series(["a"]), of_series(["a", "b"])
    ("series 'a'", "2 series: 'a', 'b'")
    """
    count = "series" if len(ids) == 1 else f"{len(ids)} series:"
    return f"{count} {several(ids)}"


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


def _is_date(name: str, column: np.ndarray, options: SeriesOptions) -> bool:
    if column.dtype.kind in "if" and name.casefold() in (*_TIME_WORDS, *_TIME_NAMES):
        try:
            return number_format(column, name, row_name) is not None
        except DataError:  # most of it are dates
            return True
    if column.dtype.kind != "O":
        return column.dtype.kind == "M"
    first = next((text for text in column if text is not None), "")
    if options.date_format is None or options.date_format in NUMBER_FORMATS:
        return looks_like_date(first)
    try:
        parse_times(column[column == first][:1], date_format=options.date_format)
    except DataError:
        return False
    return True


def _read_times(
    column: np.ndarray, name: str, options: SeriesOptions, rows: Rows, where: Callable[[int], str]
) -> tuple[np.ndarray, str | None]:
    """Return the time column as stamps, or as counted steps, and the zone of stamps that are in UTC."""
    form = options.date_format
    if column.dtype.kind in "if":
        if form is None and not str(options.frequency).endswith("steps"):
            form = number_format(column, name, where)
            if form is not None:
                example = f"{column[np.isfinite(column)][0]:.15g}"
                rows.notes.append(
                    f"column {quoted(name)}: numbers such as {example} read as dates ({form})"
                )
        if form is None and column.dtype.kind == "i":
            return column, None
        if form is not None:
            rows.reading["date_format"] = form
        if form in NUMBER_FORMATS:
            return times_of_numbers(column, form), "UTC"
    form = None if form in NUMBER_FORMATS else form
    return parse_times(column, date_format=form, where=where)


def _inside(group: np.ndarray, where: Callable[[int], str]) -> Callable[[int], str]:
    return lambda row: where(int(group[row]))


def _count_steps(rows: Rows, options: SeriesOptions) -> None:
    """Put the number of each row in its series in place of its date, where steps are asked for."""
    dated = rows.times is not None and rows.times.dtype.kind == "M"
    if rows.times is None or not dated or not str(options.frequency).endswith("steps"):
        return
    order = np.lexsort((rows.times, rows.codes))
    codes = rows.codes[order]
    counted = np.empty(len(codes), np.int64)
    counted[order] = np.arange(len(codes)) - np.searchsorted(codes, codes)
    rows.times, rows.names["time"] = counted, ()
    rows.reading.pop("zone", None)
    rows.notes.append('dates only order the rows, for frequency="steps" counts them')


def _stamps(
    table: Table,
    name: str,
    options: SeriesOptions,
    groups: Sequence[np.ndarray],
    rows: Rows,
    where: Callable[[int], str],
) -> np.ndarray:
    """Return the time column; `groups` are the rows of each series, in order."""
    column = table.column(name)
    times, zone = _read_times(column, name, options, rows, where)
    if times.dtype.kind != "M":
        return times
    if np.isnat(times).any():
        raise DataError(f"no date, {where(int(np.argmax(np.isnat(times))))}", remedy="drop the row")
    zone = usable_zone(found) if (found := zone or table.zones.get(name)) else None
    if zone is not None and column.dtype.kind not in "if":
        rows.reading["zone"] = options.timezone or zone
    local = options.timezone or zone
    if local is None:
        return times
    known_zone(local)
    step = Frequency.parse(options.frequency).step if options.frequency else 0
    days = not 0 < step < DAY  # under a day stamps are kept in UTC
    if zone is None:
        if days and one_clock(times):  # dates, whatever the clocks do
            return times
        for group in groups:
            times[group] = to_utc(times[group], local, _inside(group, where))
    # A day is a day whatever the clocks do: of stamps at one hour of each day that hour is kept.
    whole = local_days(times, local) if days else None
    return times if whole is None else whole


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
        rows.times = _stamps(table, time, options, _groups(codes, len(labels)), rows, rows.where)
        notes += form_note(table.columns[time], rows.times)
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
    _count_steps(rows, options)
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
        stamps = _stamps(table, time, options, [np.arange(length)], made, row_name)
        notes += form_note(table.columns[time], stamps)
        made.times = np.tile(stamps, count)
    _count_steps(made, options)
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
        dates = [name for name in left if _is_date(name, table.columns[name], options)]
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
    hints = [name for name in numbers if name.casefold() in _TIME_WORDS]
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
    return _from_table(table, options, index)
