"""Suggestion of a command for a table without a task, from the kinds of its columns."""

from __future__ import annotations

import shlex
import sys
import tempfile
from collections.abc import Sequence
from typing import TYPE_CHECKING

from elman.errors import ElmanError
from elman.tasks import TASKS

if TYPE_CHECKING:
    from elman.tables.column_kinds import ColumnKinds


_DEFAULT = next(iter(TASKS))


def likely_command(files: Sequence[str]) -> str:
    """Return a sentence that suggests a command for files that are tables, or "" for texts."""
    from elman.labels.read import is_table
    from elman.tables.column_kinds import ColumnKinds
    from elman.tables.reader import read_table
    from elman.text.input_files import STDIN

    if [*files] == [STDIN] and (kinds := _kinds_of_standard_input()) and kinds.are_series:
        options = _options(kinds)
        return f"`elman train - {options}` is likely, and --task {_DEFAULT} reads it as text"
    # Standard input that is not a table of series is read as text without a question.
    tables = [file for file in files if is_table(file)]
    if not tables:
        return ""
    named = (f"--task {name}" for name, task in TASKS.items() if task.guess(tables[:1], {}))
    options = next(named, "") or _options(ColumnKinds.of(read_table(tables[0]).columns))
    likely = f"`elman train {shlex.join(files)} {options}` is likely" if options else "name one"
    return f"{likely}, and --task {_DEFAULT} reads the file as text"


def _kinds_of_standard_input() -> ColumnKinds | None:
    """Return the kinds of the columns of the table that standard input begins with, or None for a text.

    The bytes are only peeked at, so that training reads them afterwards.
    """
    from elman.tables.column_kinds import ColumnKinds
    from elman.tables.reader import read_table

    peek = getattr(getattr(sys.stdin, "buffer", None), "peek", None)
    # The last line may be cut off in the middle, which would make it an unequal row.
    lines = b"" if peek is None else peek().rpartition(b"\n")[0]
    with tempfile.NamedTemporaryFile(suffix=".csv") as file:
        file.write(lines + b"\n")
        file.flush()
        try:
            columns = read_table(file.name).columns
        except ElmanError:
            return None
    # Any text without commas is a table of one column to the reader.
    return ColumnKinds.of(columns) if len(columns) > 1 else None


def _options(kinds: ColumnKinds) -> str:
    """Return the options that fit the columns of a table, or "" where no task fits."""
    return next(filter(None, (task.suggest(kinds) for task in TASKS.values())), "")
