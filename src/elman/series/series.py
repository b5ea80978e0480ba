"""Series on regular grids, and the function that reads them from any table.

`elman.series.layout` decides the role of each column. ``docs/forecast.md`` lists what happens to faulty rows;
every error names the series and the row, and every change is noted in `SeriesSet.warnings`.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias, TypedDict

import numpy as np

from elman.errors import DataError
from elman.series.calendar import advance
from elman.series.frequency import DAY, Frequency
from elman.series.grid import make_grids
from elman.series.layout import read_rows
from elman.series.read_options import KEPT_OPTIONS, SeriesOptions, SeriesSource
from elman.series.rows import ROLES, Rows
from elman.series.time_zones import to_local
from elman.tables.columns import column_of, numbers_of, quoted, several

_StaticValue: TypeAlias = "str | float | bool | None"


class RaggedColumns(TypedDict):
    """The columns of a `SeriesSet` that have an array of its own length for each series."""

    values: tuple[np.ndarray, ...]
    past: tuple[np.ndarray, ...]
    future: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class SeriesSet:
    """One or several series, each on a regular grid; missing values are NaN."""

    ids: tuple[str, ...]
    starts: np.ndarray
    """datetime64[us] or int64 ``[N]``: the first stamp of each series."""
    values: tuple[np.ndarray, ...]
    """float64 ``[T]`` for each series."""
    past: tuple[np.ndarray, ...]
    """float64 ``[T, P]`` for each series: covariates known up to the last value."""
    future: tuple[np.ndarray, ...]
    """float64 ``[T + more, F]`` for each series: covariates known beyond the last value."""
    static: np.ndarray
    """float64 ``[N, S]``, encoded as numbers."""
    names: Mapping[str, tuple[str, ...]]
    """The columns by role: id, time, target, past, future, static (as encoded)."""
    frequency: Frequency
    categories: Mapping[str, tuple[str, ...]]
    """The categories of each static column of texts."""
    warnings: tuple[str, ...]
    """Notes about what was changed or assumed when the rows were read."""
    reading: Mapping[str, str | None] = field(default_factory=dict)
    """Options for reading more rows: the `KEPT_OPTIONS`, and the form of the source's stamps and ids."""

    def __len__(self) -> int:
        return len(self.ids)

    def select(self, ids: Sequence[str]) -> SeriesSet:
        """Return the series with these ids, in their order.

        Raises:
            DataError: there is no series with such an id.

        >>> load_series({"a": [1, 2], "b": [3, 4]}).select(["b"]).values
        (array([3., 4.]),)
        """
        index = {key: number for number, key in enumerate(self.ids)}
        wanted = [str(key) for key in ids]  # callers may pass ids that are numbers
        if unknown := [key for key in wanted if key not in index]:
            raise DataError(f"no series {several(unknown)}", expected=several(self.ids))
        return self.at([index[key] for key in wanted])

    def at(self, numbers: Sequence[int], firsts: Sequence[int] | None = None) -> SeriesSet:
        """Return the series at these indices, each without the steps before its own one of `firsts`."""
        pairs = [*zip(numbers, firsts or [0] * len(numbers), strict=True)]
        # Leaving out steps moves the start; the times of all steps are computed only then.
        starts = [self.times[n][first] if first else self.starts[n] for n, first in pairs]
        return replace(
            self,
            ids=tuple(self.ids[n] for n in numbers),
            starts=np.array(starts, self.starts.dtype),
            values=tuple(self.values[n][first:] for n, first in pairs),
            past=tuple(self.past[n][first:] for n, first in pairs),
            future=tuple(self.future[n][first:] for n, first in pairs),
            static=self.static[[*numbers]],
        )

    def before(self, steps: int | Sequence[int]) -> SeriesSet:
        """Return every series without its last `steps` values; known-future covariates are kept.

        A series with no more values than that remains, without values.

        Args:
            steps: The number of values to leave out, of all series or of each.

        >>> load_series([1, 2, 3]).before(2).values
        (array([1.]),)
        """
        steps = [steps] * len(self) if isinstance(steps, int) else steps
        pairs = zip(self.values, steps, strict=True)
        ends = [max(0, len(values) - count) for values, count in pairs]
        values, past = cut(self.values, ends), cut(self.past, ends)
        future = self.future if self.names["future"] else cut(self.future, ends)
        return replace(self, values=values, past=past, future=future)

    @cached_property
    def times(self) -> tuple[np.ndarray, ...]:
        """``[T]`` for each series: the stamps of the values."""
        pairs = zip(self.starts, map(len, self.values), strict=True)
        return tuple(advance(start, self.frequency, np.arange(length)) for start, length in pairs)

    def matrix(self, number: int) -> np.ndarray:
        """Return value, past and future columns of one series, ``[T + more, 1 + P + F]``."""
        # Value and past columns end with the last value; known-future columns may go on.
        known = np.column_stack([self.values[number], self.past[number]])
        future = self.future[number]
        matrix = np.full((max(len(known), len(future)), known.shape[1] + future.shape[1]), np.nan)
        matrix[: len(known), : known.shape[1]] = known
        matrix[: len(future), known.shape[1] :] = future
        return matrix

    @property
    def lowest(self) -> float:
        """The lowest value of all series, 0 if there is none."""
        lowest = (np.nanmin(values) for values in self.values if np.isfinite(values).any())
        return float(min(lowest, default=0.0))

    @property
    def static_columns(self) -> tuple[str, ...]:
        """The static columns as the user passed them, before texts were encoded."""
        kinds = self.categories.items()
        text_of = {f"{name}={kind}": name for name, all_kinds in kinds for kind in all_kinds}
        return tuple(dict.fromkeys(text_of.get(name, name) for name in self.names["static"]))

    @property
    def zone(self) -> str | None:
        """The time zone in which stamps are shown; None if the stamps have no zone."""
        return self.reading.get("timezone") or self.reading.get("zone")

    def clocks(self, times: np.ndarray) -> np.ndarray:
        """Return stamps in local time; stamps of steps under a day are kept in UTC."""
        # Stamps of longer steps are local already, see `time_column`.
        is_utc = 0 < self.frequency.step < DAY and times.dtype.kind == "M"
        return to_local(times, self.zone) if self.zone is not None and is_utc else times


def cut(arrays: Iterable[np.ndarray], ends: Iterable[int]) -> tuple[np.ndarray, ...]:
    """Return each array up to its own end."""
    return tuple(array[:end] for array, end in zip(arrays, ends, strict=True))


def split_columns(
    matrices: Sequence[np.ndarray], lengths: Iterable[int], past: int
) -> RaggedColumns:
    """Split matrices ``[T + more, 1 + P + F]`` into columns of series of these `lengths`.

    `past` is the number P of past columns.
    """
    known = cut(matrices, lengths)
    return {
        "values": tuple(matrix[:, 0] for matrix in known),
        "past": tuple(matrix[:, 1 : 1 + past] for matrix in known),
        "future": tuple(matrix[:, 1 + past :] for matrix in matrices),
    }


def _value_of_each(rows: Rows, name: str) -> list[_StaticValue]:
    """Return the value of a static column for each series, None where it is missing."""
    # For each series: its value, and the row that has it, for the error message.
    first_seen: dict[int, tuple[_StaticValue, int]] = {}
    for row, (code, value) in enumerate(
        zip(rows.codes.tolist(), rows.static[name].tolist(), strict=True)
    ):
        if value is None or value != value:
            continue
        expected, before = first_seen.setdefault(code, (value, row))
        if expected != value:
            raise DataError(
                f"{rows.where(row)}: static column {quoted(name)} is {value!r}, and"
                f" {expected!r} in row {rows.rows[before] + 1}",
                remedy="pass it with past= or future=, or write the same value in all rows of a series",
            )
    return [first_seen.get(code, (None, 0))[0] for code in range(len(rows.ids))]


def encode_static(
    rows: Rows, known: Mapping[str, tuple[str, ...]] | None
) -> tuple[np.ndarray, list[str], dict[str, tuple[str, ...]]]:
    """Encode the static columns as numbers.

    Args:
        rows: The rows; a note is added to them for categories that the model does not know.
        known: The categories of a trained model, or None to take them from the rows.

    Returns:
        The encoded columns as float64 ``[N, S]``, their names, and the categories of each text column.

    Raises:
        DataError: a series has two values, or two encoded columns have the same name.
    """
    columns: list[list[float]] = []
    names: list[str] = []
    categories: dict[str, tuple[str, ...]] = {}
    for name, column in rows.static.items():
        values = _value_of_each(rows, name)
        if name not in known if known is not None else column.dtype.kind in "bif":
            what, column = f"static column {quoted(name)}", column_of(values)[0]
            numbers = numbers_of(column, what, lambda code: f"series {quoted(rows.ids[code])}")
            columns.append(numbers.tolist())
            names.append(name)
            continue
        # Categories of digits arrive as floats if all rows hold such categories: write them as in training.
        values = [f"{value:.15g}" if isinstance(value, float) else value for value in values]
        # One column of 0 and 1 for each category; an unknown category is 0 in all of them.
        texts = [None if value is None else str(value) for value in values]
        kinds = sorted(set(filter(None, texts))) if known is None else known[name]
        if unknown := sorted({text for text in texts if text is not None} - set(kinds)):
            rows.notes.append(
                f"static column {quoted(name)} has categories that the model does not know:"
                f" {several(unknown)}; read as none of the known ones"
            )
        columns += [[float(text == kind) for text in texts] for kind in kinds]
        names += [f"{name}={kind}" for kind in kinds]
        categories[name] = tuple(kinds)
    if repeated := sorted(name for name in set(names) if names.count(name) > 1):
        raise DataError(f"two static columns are called {quoted(repeated[0])}", remedy="rename one")
    # [S, N] → [N, S]; the reshape keeps the shape if there are no static columns.
    matrix = np.array(columns, np.float64).reshape(len(columns), len(rows.ids)).T
    return matrix, names, categories


def load_series(
    source: SeriesSource | None,
    options: SeriesOptions | None = None,
    *,
    categories: Mapping[str, tuple[str, ...]] | None = None,
    future_only: bool = False,
) -> SeriesSet:
    """Read series from a table of any kind that `read_table` takes, or from arrays.

    Args:
        source: A path or a data frame, long or wide (`elman.series.layout` has the rules); a vector
            ``[T]``, a matrix ``[N, T]``, a list of vectors, or a dict of vectors by id.
        options: The columns and the policies for faulty rows.
        categories: The categories of static texts that a trained network knows.
        future_only: Whether the rows hold only known-future covariates.

    Raises:
        DataError: the table cannot be read, or a row is faulty and no policy covers the fault.
        OptionError: there is no such frequency or time zone, or it does not fit.
        MissingDependencyError: narwhals or polars is not installed.

    >>> series = load_series({"ds": ["2020-01-01", "2020-01-02", "2020-01-04"], "y": [1, 2, 4]})
    >>> series.frequency.words, series.values
    ('daily', (array([ 1.,  2., nan,  4.]),))
    """
    options = options or SeriesOptions()
    # Source → rows in any order → regular grids → series.
    rows = read_rows(source, options, future_only=future_only)
    grids, frequency = make_grids(rows, options)
    static, static_names, found_categories = encode_static(rows, categories)
    matrices, lengths = [grid.matrix for grid in grids], [grid.length for grid in grids]
    return SeriesSet(
        ids=tuple(rows.ids[grid.code] for grid in grids),
        starts=np.array([grid.start for grid in grids]),
        **split_columns(matrices, lengths, len(options.past)),
        static=static[[grid.code for grid in grids]],
        names={role: rows.names.get(role, ()) for role in ROLES} | {"static": tuple(static_names)},
        frequency=frequency,
        categories=found_categories,
        warnings=tuple(rows.notes),
        reading={name: getattr(options, name) for name in KEPT_OPTIONS} | rows.reading,
    )
