"""Reader of tables: files and data frames as named columns.

`elman.tables.columns` lists the types that values are converted to.
"""

from __future__ import annotations

import difflib
import itertools
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from elman.errors import DataError, MissingDependencyError
from elman.tables.columns import (
    column_of,
    numbers_of,
    quoted,
    row_name,
    several,
    text_column,
)
from elman.tables.delimited import parse_delimited
from elman.tables.numerals import read_written_numbers
from elman.text.encodings import first_bytes
from elman.text.input_files import read_text, rereadable_file

JSON_LINES = (".jsonl", ".ndjson", ".json")
_PARQUET = b"PAR1"
MAX_NOTES = 3

NamedValues = Iterable[tuple[object, Any]]
"""Pairs of a column's name and its values, in whatever type the user passed them."""


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of one length."""

    columns: dict[str, np.ndarray]
    """``[R]`` int64, float64, bool, datetime64[us], or object: str and None."""
    name: str
    """The name of the table in messages."""
    notes: tuple[str, ...] = ()
    """Sentences on guesses that the user should know: delimiter, encoding, meaning of numbers."""
    zones: Mapping[str, str] = field(default_factory=dict)
    """The time zone of each column of dates that had one; the dates themselves are in UTC."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return next((len(column) for column in self.columns.values()), 0)

    def column(self, name: str) -> np.ndarray:
        """Return the column `name`; raises DataError, which lists similar names.

        >>> read_table({"Close": [1, 2]}).column("close")
        Traceback (most recent call last):
        elman.errors.DataError: the table has no column 'close'; did you mean 'Close'?
        """
        if name in self.columns:
            return self.columns[name]
        folded = {known.casefold(): known for known in self.columns}
        near = difflib.get_close_matches(name.casefold(), folded, 3)
        hint = f"it has {several([*self.columns], 8)}"
        if near:
            hint = f"did you mean {' or '.join(quoted(folded[key]) for key in near)}?"
        raise DataError(f"{self.name} has no column {quoted(name)}; {hint}")

    def numbers(self, name: str, where: Callable[[int], str] = row_name) -> np.ndarray:
        """Return the column `name` as float64 ``[R]``, NaN where missing.

        Raises DataError for the first value that is no number; `where` gives the name of a row.

        >>> read_table({"y": [1, None, 3]}).numbers("y")
        array([ 1., nan,  3.])
        """
        return numbers_of(self.column(name), f"column {quoted(name)} of {self.name}", where)


def import_library(package: str, what: str) -> Any:
    """Return a library; raises MissingDependencyError, which says that `what` need it."""
    try:
        return import_module(package)
    except ImportError:
        raise MissingDependencyError(
            f"{what} need {package}", remedy=f"run pip install {package}"
        ) from None


def _convert(values: Any) -> tuple[np.ndarray, str | None]:
    """Return values as a column, and the time zone of dates."""
    if hasattr(values, "to_pylist"):  # an array of pyarrow does not iterate over Python values
        values = values.to_pylist()
    if not hasattr(values, "to_frame"):
        return column_of(values)
    nw = import_library("narwhals", "data frames")
    if type(getattr(values, "dtype", None)).__name__ == "PeriodDtype":  # unknown to narwhals
        return column_of(values.dt.to_timestamp().to_numpy())
    series = nw.from_native(values, series_only=True, pass_through=False)
    dtype = series.dtype
    if dtype == nw.Datetime and (zone := dtype.time_zone) is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return column_of(series.to_numpy())[0], str(zone)
    wide = dtype in (nw.Int128, nw.UInt128)  # numpy has no such type
    # numpy shows missing whole numbers as floats, which are exact up to 2^53 only
    exact = dtype.is_integer() and not wide and not series.null_count()
    as_array = exact or dtype.is_float() or dtype in (nw.Datetime, nw.Date)
    return column_of(series.to_numpy() if as_array else series.to_list())


def build_table(
    columns: NamedValues,
    name: str,
    decimal: str | None = None,
    notes: Sequence[str] = (),
    convert: Callable[[Any], tuple[np.ndarray, str | None]] = _convert,
) -> Table:
    """Return the table of pairs of name and values.

    Args:
        columns: The pairs.
        name: The name of the table in messages.
        decimal: The decimal mark, as in `read_table`.
        notes: Sentences on guesses that the user should know.
        convert: Gives the array and the time zone of the values of a column.

    Raises:
        DataError: Two columns have the same name or differ in length, or one is no list of values.
    """
    built: dict[str, np.ndarray] = {}
    # also of numbers: where other columns have decimal commas, a point may separate their thousands
    texts: dict[str, Sequence[str | None]] = {}
    zones: dict[str, str] = {}
    for key, values in columns:
        title = str(key).strip()
        if title in built:
            raise DataError(
                f"{name} has two columns of the name {quoted(title)}", remedy="rename one"
            )
        if isinstance(values, str | bytes | Mapping) or not hasattr(values, "__iter__"):
            raise DataError(f"column {quoted(title)} of {name} is no list of values")
        built[title], zone = convert(values)
        if zone is not None:
            zones[title] = zone
        if built[title].dtype.kind == "O":
            texts[title] = built[title].tolist()
        elif convert is not _convert or (type(values) is list and {*map(type, values)} == {str}):
            texts[title] = values
        first = next(iter(built))
        if len(built[title]) != len(built[first]):
            raise DataError(
                f"the columns of {name} differ in length",
                got=f"{len(built[first])} in {quoted(first)}, {len(built[title])} in {quoted(title)}",
            )
    written, guesses = read_written_numbers(built, texts, decimal)
    if guesses:
        shown = guesses[:MAX_NOTES] + (["…"] if len(guesses) > MAX_NOTES else [])
        notes = (*notes, f"{name}: column {', column '.join(shown)}")
    return Table(built | written, name, tuple(notes), zones)


def _frame_columns(source: Any, ordered: bool = False) -> NamedValues:
    """Return pairs of name and values of a data frame; `ordered` is that of `read_table`."""
    nw = import_library("narwhals", "data frames")
    if hasattr(source, "to_frame"):  # a single column
        source = source.to_frame()
    if hasattr(source, "reset_index"):  # pandas; no other frame has an index
        index = source.index
        dates = type(index).__name__ in ("DatetimeIndex", "PeriodIndex", "MultiIndex")
        if (dates or index.name is not None or ordered) and index.name not in source.columns:
            source = source.reset_index()
        columns: NamedValues = source.items()
        return columns
    try:
        frame = nw.from_native(source).lazy().collect()
    except TypeError:
        raise DataError(
            "the data",
            got=type(source).__name__,
            expected="a path, a data frame, a dict of columns, a list of rows, or an array",
        ) from None
    return ((key, frame[key]) for key in frame.columns)


def _record_columns(records: Sequence[Mapping[str, object]]) -> Iterable[tuple[str, list[object]]]:
    """Return pairs of name and values of rows, which may lack names."""
    keys = dict.fromkeys(itertools.chain.from_iterable(records))
    return ((key, [record.get(key) for record in records]) for key in keys)


def _no_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    if len(record := dict(pairs)) < len(pairs):
        raise ValueError("a name occurs twice in one object")
    return record


def _json_objects(text: str, name: str) -> Iterator[dict[str, object]]:
    """Yield the objects of JSON Lines, or of one JSON list."""
    is_list = text.lstrip().startswith("[")
    for number, line in enumerate([text] if is_list else text.split("\n"), 1):
        if not line.strip():
            continue
        where = name if is_list else f"{name}, line {number}"
        try:
            value = json.loads(line, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{where} is not JSON", got=error) from None
        for record in value if is_list else [value]:
            if not isinstance(record, dict):
                raise DataError(f"{where} is no JSON object", remedy='write {"name": value, ...}')
            yield record


def _file(
    source: str, name: str | None, encoding: str | None, decimal: str | None, header: bool | None
) -> Table:
    with rereadable_file(source, name) as (path, name):
        suffix = os.path.splitext(name.lower().removesuffix(".gz"))[1]
        # the first bytes tell for standard input, which has no extension
        if first_bytes(path).startswith(_PARQUET) or suffix == ".parquet":
            pl = import_library("polars", "Parquet files")
            try:
                return build_table(_frame_columns(pl.read_parquet(path)), name, decimal)
            except (pl.exceptions.PolarsError, OSError) as error:
                raise DataError(f"cannot read {name} as Parquet", got=error) from None
        text, notes = read_text(path, encoding, name=name)
    if not text.strip():
        raise DataError(f"{name} is empty")
    # standard input and other names without an extension are recognised by their first character
    looks_like_json = suffix not in (".csv", ".tsv") and text.lstrip()[0] in "{["
    if suffix in JSON_LINES or looks_like_json:
        return build_table(_record_columns([*_json_objects(text, name)]), name, decimal, notes)
    import_library("polars", "text files with tables")  # one clear error where it is missing
    columns, guesses = parse_delimited(text, name, tabs=suffix == ".tsv", header=header)
    return build_table(
        columns, name, decimal, [*notes, *guesses], lambda texts: (text_column(texts), None)
    )


def only_counts(frame: object) -> bool:
    """Return whether a frame has no index, or one that only numbers its rows from 0."""
    # a list has a method `index` too, and only pandas has `reset_index`
    index = getattr(frame, "index", None)
    if not hasattr(frame, "reset_index") or index is None:
        return True
    is_whole = getattr(getattr(index, "dtype", None), "kind", "O") in "iu"
    return bool(is_whole and np.array_equal(np.asarray(index), np.arange(len(index))))


def _source_columns(source: Any, name: str, ordered: bool) -> NamedValues:
    """Return pairs of name and values of anything but a file."""
    if isinstance(source, Mapping):
        return source.items()
    if isinstance(source, np.ndarray):
        if source.dtype.names:
            return ((key, source[key]) for key in source.dtype.names)
        if source.ndim not in (1, 2):
            raise DataError(name, got=f"an array of shape {source.shape}", expected="[R] or [R, C]")
        return enumerate(source.T if source.ndim == 2 else source[None])
    if isinstance(source, Sequence) and all(isinstance(row, Mapping) for row in source):
        return _record_columns(source)
    return _frame_columns(source, ordered and not only_counts(source))


def read_table(
    source: Any,
    *,
    encoding: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
    name: str | None = None,
    ordered: bool = False,
) -> Table:
    """Return a file or data frame as a table of named columns.

    Args:
        source: The path of a CSV, TSV, JSON Lines or Parquet file (text may be compressed by gzip), or
            ``"-"`` for standard input; a data frame of pandas, polars or pyarrow (the index of pandas
            becomes a column if it has a name or holds dates); a dict of columns; a list of dicts; or a numpy
            array, structured, ``[R]`` or ``[R, C]`` (columns "0", "1", ...).
        encoding: Encoding of a text file (default: detected).
        decimal: Decimal mark, ``"."`` or ``","`` (default: the one that fits the numbers of the table, see
            `elman.tables.numerals`).
        header: Whether the first row of delimited text names the columns (default: detected). Columns
            without a name are called "0", "1", ...
        name: The name of the table in messages (default: the path).
        ordered: Whether the order of the rows matters, so that an index of a pandas frame that does more
            than number the rows becomes a column "index" even without a name.

    Raises:
        DataError: The source cannot be read; the message names file and line.
        MissingDependencyError: narwhals or polars is not installed.

    >>> table = read_table({"day": ["mon", "tue"], "y": [1.0, 2.5], "n": ["3", "NA"]})
    >>> {name: column.tolist() for name, column in table.columns.items()}
    {'day': ['mon', 'tue'], 'y': [1.0, 2.5], 'n': [3.0, nan]}
    """
    if isinstance(source, Table):
        return source
    if isinstance(source, (str, os.PathLike)):
        return _file(os.fspath(source), name, encoding, decimal, header)
    name = name or "the table"
    return build_table(_source_columns(source, name, ordered), name, decimal)
