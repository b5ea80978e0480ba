"""Tables: files and frames as named columns; `elman.tables.columns` says what becomes of a value."""

from __future__ import annotations

import csv
import difflib
import io
import itertools
import json
import os
import re
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import numpy as np

from elman.errors import DataError, MissingDependencyError, OptionError, installing
from elman.files.atomic import Path, atomic_write
from elman.tables.columns import column_of, numbers_of, quoted, row_name, several
from elman.tables.delimited import parse_delimited
from elman.tables.numerals import read_written_numbers
from elman.text.encodings import first_bytes, read_text, steady_file

__all__ = ["Table", "only_counts", "read_table", "records", "write_table"]

_JSON = (".jsonl", ".ndjson", ".json")
_PARQUET = b"PAR1"
_NOTES_SHOWN = 3


@dataclass(frozen=True, eq=False)
class Table:
    """Columns of one length, by name."""

    columns: dict[str, np.ndarray]
    """``[R]`` int64, float64, bool, datetime64[us], or object: str and None."""
    name: str
    """What messages call it."""
    notes: tuple[str, ...] = ()
    """How the file was read, for the person to know: the delimiter, a guessed encoding, written numbers."""
    zones: Mapping[str, str] = field(default_factory=dict)
    """The time zone of each column of stamps that bore one; the stamps are in UTC."""

    @property
    def rows(self) -> int:
        """The number of rows."""
        return next((len(column) for column in self.columns.values()), 0)

    def column(self, name: str) -> np.ndarray:
        """Return the column `name`; raises DataError with the names that are near.

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

        Raises DataError at the first value that is no number; `where` names a row.

        >>> read_table({"y": [1, None, 3]}).numbers("y")
        array([ 1., nan,  3.])
        """
        return numbers_of(self.column(name), f"column {quoted(name)} of {self.name}", where)


def _build(
    columns: Iterable[tuple[object, Any]],
    name: str,
    decimal: str | None = None,
    notes: Sequence[str] = (),
) -> Table:
    built: dict[str, np.ndarray] = {}
    texts: dict[str, Sequence[str | None]] = {}
    zones: dict[str, str] = {}
    for key, values in columns:
        title = str(key).strip()
        if title in built:
            raise DataError(
                f"{name} has two columns of the name {quoted(title)}", remedy="rename one"
            )
        if hasattr(values, "to_pylist"):  # pyarrow's, which yields no plain values
            values = values.to_pylist()
        if hasattr(values, "to_frame"):
            built[title], zone = _frame_column(values)
        elif isinstance(values, Iterable) and not isinstance(values, (str, bytes, Mapping)):
            built[title], zone = column_of(values)
        else:
            raise DataError(f"column {quoted(title)} of {name} is no list of values")
        zones |= {title: zone} if zone is not None else {}
        if built[title].dtype.kind == "O":
            texts[title] = built[title].tolist()
        elif isinstance(values, list) and {*map(type, values)} == {str}:
            texts[title] = values
    lengths = {title: len(values) for title, values in built.items()}
    if len(set(lengths.values())) > 1:
        first, length = next(iter(lengths.items()))
        other = next(title for title in lengths if lengths[title] != length)
        raise DataError(
            f"the columns of {name} differ in length",
            got=f"{length} in {quoted(first)}, {lengths[other]} in {quoted(other)}",
        )
    written, said = read_written_numbers(built, texts, decimal)
    if said:
        shown = said[:_NOTES_SHOWN] + (["…"] if len(said) > _NOTES_SHOWN else [])
        notes = (*notes, f"{name}: column {', column '.join(shown)}")
    return Table(built | written, name, tuple(notes), zones)


def _library(package: str, what: str) -> Any:
    try:
        return import_module(package)
    except ImportError:
        raise MissingDependencyError(f"{what} need {package}", remedy=installing("train")) from None


def _frame_column(values: Any) -> tuple[np.ndarray, str | None]:
    """Return the column of a data frame, and the time zone of stamps that bore one."""
    nw = _library("narwhals", "data frames")
    series: Any = nw.from_native(values, series_only=True, pass_through=False)
    dtype = series.dtype
    if dtype == nw.Datetime and (zone := dtype.time_zone) is not None:
        series = series.dt.convert_time_zone("UTC").dt.replace_time_zone(None)
        return column_of(series.to_numpy())[0], str(zone)
    if type(getattr(values, "dtype", None)).__name__ == "PeriodDtype":
        return column_of(values.dt.to_timestamp().to_numpy())
    wide = dtype in (nw.Int128, nw.UInt128)  # which numpy has not
    exact = dtype.is_integer() and not wide and not series.null_count()
    if exact or dtype.is_float() or dtype in (nw.Datetime, nw.Date):
        return column_of(series.to_numpy())
    return column_of(series.to_list())


def _frame(source: Any, name: str, ordered: bool = False) -> Table:
    nw = _library("narwhals", "data frames")
    if hasattr(source, "to_frame"):  # a single column
        source = source.to_frame()
    if hasattr(source, "reset_index"):  # pandas; no other frame has an index
        index = source.index
        dates = type(index).__name__ in ("DatetimeIndex", "PeriodIndex", "MultiIndex")
        if (dates or index.name is not None or ordered) and index.name not in source.columns:
            source = source.reset_index()
        return _build(((key, column) for key, column in source.items()), name)
    try:
        frame: Any = nw.from_native(source)
    except TypeError:
        raise DataError(
            "the data",
            got=type(source).__name__,
            expected="a path, a data frame, a dict of columns, a list of rows, or an array",
        ) from None
    if isinstance(frame, nw.LazyFrame):
        frame = frame.collect()
    return _build(((key, frame[key]) for key in frame.columns), name)


def _records(
    records: Sequence[Mapping[str, Any]],
    name: str,
    decimal: str | None = None,
    notes: Sequence[str] = (),
) -> Table:
    keys = dict.fromkeys(itertools.chain.from_iterable(records))
    columns = ((key, [record.get(key) for record in records]) for key in keys)
    return _build(columns, name, decimal, notes)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(record := dict(pairs)) < len(pairs):
        raise ValueError("a name stands twice in one object")
    return record


def _json(text: str, name: str, decimal: str | None, notes: Sequence[str]) -> Table:
    records: list[Any] = []
    whole = text.lstrip().startswith("[")
    for number, line in enumerate([text] if whole else text.split("\n"), 1):
        if not line.strip():
            continue
        place = name if whole else f"{name}, line {number}"
        try:
            value = json.loads(line, object_pairs_hook=_no_duplicates)
        except (ValueError, RecursionError) as error:
            raise DataError(f"{place} is not JSON", got=error) from None
        found = value if whole else [value]
        if not all(isinstance(record, dict) for record in found):
            raise DataError(f"{place} is no JSON object", remedy='write {"name": value, ...}')
        records += found
    return _records(records, name, decimal, notes)


def _parquet(path: str, name: str) -> Table:
    pl = _library("polars", "Parquet files")
    try:
        frame = pl.read_parquet(path)
    except (pl.exceptions.PolarsError, OSError) as error:
        raise DataError(f"cannot read {name} as Parquet", got=error) from None
    return _frame(frame, name)


def _file(
    source: str, name: str | None, encoding: str | None, decimal: str | None, header: bool | None
) -> Table:
    with steady_file(source, name) as (path, name):
        suffix = os.path.splitext(name.lower().removesuffix(".gz"))[1]
        if first_bytes(path).startswith(_PARQUET) or suffix == ".parquet":
            return _parquet(path, name)
        text, notes = read_text(path, encoding, name=name)
    if not text.strip():
        raise DataError(f"{name} is empty")
    # The first letter tells the kind of a file whose name does not, such as standard input.
    looks = suffix not in (".csv", ".tsv") and text.lstrip()[0] in "{["
    if suffix in _JSON or looks:
        return _json(text, name, decimal, notes)
    names, columns, said = parse_delimited(text, name, tabs=suffix == ".tsv", header=header)
    return _build(zip(names, columns, strict=True), name, decimal, [*notes, *said])


def only_counts(frame: Any) -> bool:
    """Return whether the index of a pandas frame only counts its rows from 0, or is none."""
    index = getattr(frame, "index", None)
    if not hasattr(frame, "reset_index") or index is None:
        return True
    whole = getattr(getattr(index, "dtype", None), "kind", "O") in "iu"
    return bool(whole and np.array_equal(np.asarray(index), np.arange(len(index))))


def read_table(
    source: Any,
    *,
    encoding: str | None = None,
    decimal: str | None = None,
    header: bool | None = None,
    name: str | None = None,
    ordered: bool = False,
) -> Table:
    """Return `source` as columns.

    Args:
        source: the path of a CSV, TSV, JSON Lines or Parquet file (text may be compressed by gzip),
            ``"-"`` for standard input; a
            frame of pandas (with its index, where that is named or dates), polars or pyarrow; a
            dict of columns; a list of dicts; a numpy array, structured, ``[R]`` or ``[R, C]``
            (columns "0", "1", ...).
        encoding: the text file's encoding; None finds it.
        decimal: the mark before the decimals of numbers, ``"."`` or ``","``; None finds it where the
            table has numbers that only one of them fits (`elman.tables.numerals`).
        header: whether the first row of delimited text names the columns; None finds out. Columns
            without a name are called "0", "1", ...
        name: what messages call the table; None uses the path.
        ordered: whether the order of the rows matters, so that an index of a pandas frame that has no
            name and does more than count the rows is a column, "index".

    Raises:
        DataError: it cannot be read, with file and line.
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
    if isinstance(source, Mapping):
        return _build(source.items(), name, decimal)
    if isinstance(source, np.ndarray):
        if source.dtype.names:
            return _build(((key, source[key]) for key in source.dtype.names), name)
        if source.ndim not in (1, 2):
            raise DataError(name, got=f"an array of shape {source.shape}", expected="[R] or [R, C]")
        return _build(enumerate(source.T if source.ndim == 2 else source[None]), name)
    if isinstance(source, Sequence) and all(isinstance(row, Mapping) for row in source):
        return _records(source, name, decimal)
    return _frame(source, name, ordered and not only_counts(source))


def _listed(values: Any) -> list[Any]:
    """Return a column as text and JSON hold it: None where missing."""
    first = next((value for value in values if value is not None), None)
    if getattr(first, "tzinfo", None) is not None:
        return [None if value is None else value.isoformat() for value in values]
    array = values if isinstance(values, np.ndarray) else column_of(values)[0]
    if array.dtype.kind == "M":
        texts = np.datetime_as_string(array.astype("datetime64[us]")).tolist()
        dates = [re.sub(r"\.?0*$", "", text) if "." in text else text for text in texts]
        if all(text == "NaT" or text.endswith("T00:00:00") for text in dates):
            dates = [text.removesuffix("T00:00:00") for text in dates]
        return [None if text == "NaT" else text for text in dates]
    return [None if value != value else value for value in array.tolist()]


def _write_parquet(columns: Mapping[str, Any], path: Path) -> None:
    pl = _library("polars", "Parquet files")
    buffer = io.BytesIO()
    table = _build(columns.items(), "the table")
    frame = pl.DataFrame(
        {
            key: column.tolist() if column.dtype.kind == "O" else column
            for key, column in table.columns.items()
        }
    )
    zoned = [
        pl.col(key).dt.replace_time_zone("UTC").dt.convert_time_zone(zone)
        for key, zone in table.zones.items()
    ]
    frame.with_columns(zoned).write_parquet(buffer)
    atomic_write(path, buffer.getvalue())


def records(columns: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the rows of columns as JSON holds them: dates as text, None where a value is missing.

    >>> list(records({"day": ["mon"], "y": [float("nan")]}))
    [{'day': 'mon', 'y': None}]
    """
    listed = {key: _listed(values) for key, values in columns.items()}
    for row in zip(*listed.values(), strict=True):
        yield dict(zip(listed, row, strict=True))


def write_table(columns: Mapping[str, Any], path: Path) -> None:
    """Write the columns as the file `path`, whole or not at all; ``"-"`` is CSV on standard output.

    The ending says which kind: .csv, .txt, .tsv, .jsonl, .ndjson, .json (lines) or .parquet. Floats
    are written in the fewest digits that read back as the same number, missing values as nothing.

    Raises OptionError for another ending, OutputError where it cannot be written,
    MissingDependencyError where polars is not installed for .parquet.

    >>> write_table({"day": ["mon", "tue"], "y": [0.1, None]}, "-")
    day,y
    mon,0.1
    tue,
    """
    suffix = ".csv" if path == "-" else os.path.splitext(os.fspath(path))[1].lower()
    if suffix == ".parquet":
        _write_parquet(columns, path)
        return
    out = io.StringIO()
    if suffix in _JSON:
        for row in records(columns):
            out.write(json.dumps(row, ensure_ascii=False) + "\n")
    elif suffix in (".csv", ".txt", ".tsv"):
        writer = csv.writer(out, delimiter="\t" if suffix == ".tsv" else ",", lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(
            [str(value).lower() if isinstance(value, bool) else value for value in row.values()]
            for row in records(columns)
        )
    else:
        raise OptionError(
            "the file to write", got=path, expected="an ending .csv, .tsv, .jsonl or .parquet"
        )
    if path == "-":
        sys.stdout.write(out.getvalue())
    else:
        atomic_write(path, out.getvalue().encode("utf-8", "surrogatepass"))
