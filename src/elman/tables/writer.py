"""Writer of tables: named columns as CSV, TSV, JSON Lines or Parquet."""

from __future__ import annotations

import csv
import datetime
import io
import json
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from elman.errors import OptionError
from elman.files.atomic import Path, atomic_write
from elman.tables.columns import column_of
from elman.tables.reader import JSON_LINES, build_table, import_library

Columns = Mapping[str, Any]
"""Columns of one length by name."""


def _plain_values(values: Iterable[object]) -> list[object]:
    """Return the values of a column for text and JSON: dates as text, None where missing."""
    values = values if isinstance(values, np.ndarray) else list(values)
    first = next((value for value in values if value is not None), None)
    if isinstance(first, datetime.datetime) and first.tzinfo is not None:
        return [
            value.isoformat() if isinstance(value, datetime.datetime) else None for value in values
        ]
    array = values if isinstance(values, np.ndarray) else column_of(values)[0]
    if array.dtype.kind == "M":
        # the shortest form of the whole column: dates alone where no row has a time of day
        texts = np.datetime_as_string(array.astype("datetime64[us]")).tolist()
        dates = [re.sub(r"\.?0*$", "", text) if "." in text else text for text in texts]
        if all(text == "NaT" or text.endswith("T00:00:00") for text in dates):
            dates = [text.removesuffix("T00:00:00") for text in dates]
        return [None if text == "NaT" else text for text in dates]
    # NaN is the only value that differs from itself
    return [None if value != value else value for value in array.tolist()]


def _write_parquet(columns: Columns, path: Path) -> None:
    pl = import_library("polars", "Parquet files")
    buffer = io.BytesIO()
    table = build_table(columns.items(), "the table")
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


def records(columns: Columns) -> Iterator[dict[str, object]]:
    """Yield rows as dicts for JSON: dates as text, None where a value is missing.

    >>> list(records({"day": ["mon"], "y": [float("nan")]}))
    [{'day': 'mon', 'y': None}]
    """
    listed = {key: _plain_values(values) for key, values in columns.items()}
    for row in zip(*listed.values(), strict=True):
        yield dict(zip(listed, row, strict=True))


def write_table(columns: Columns, path: Path) -> None:
    """Write columns to the file `path` atomically, or with ``"-"`` as CSV to standard output.

    Floats are written with the fewest digits that read back as the same number, missing values as nothing.

    Args:
        columns: Columns of one length by name.
        path: The file. Its extension determines the format: .csv, .txt, .tsv, .jsonl, .ndjson, .json (JSON
            Lines) or .parquet.

    Raises:
        OptionError: The extension is another one.
        OutputError: The file cannot be written.
        MissingDependencyError: .parquet needs polars, which is not installed.

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
    if suffix in JSON_LINES:
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
            "the file to write", got=path, expected="an extension .csv, .tsv, .jsonl or .parquet"
        )
    if path == "-":
        sys.stdout.write(out.getvalue())
    else:
        # lone surrogates are written as they were read
        atomic_write(path, out.getvalue().encode("utf-8", "surrogatepass"))
