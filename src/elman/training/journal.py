"""Events of a run, and its journal: a file beside the model with every event as a line of JSON."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import TypeAlias

from elman.errors import OutputError
from elman.files.container import JsonObject as JsonObject
from elman.files.model import Model, check_output

Event: TypeAlias = JsonObject
"""Something that happened in a run, as JSON: its name under "event", and facts by name."""
Watch: TypeAlias = Callable[[Event], None]
"""A function that is called with every event of a run."""


@dataclass(frozen=True)
class Run:
    """The files of a run, and the function that watches it."""

    output: Path | None = None
    """The model's file; beside it are the journal and, until the run ends, its checkpoint."""
    resume: bool = False
    """Whether to continue from the checkpoint of an interrupted run."""
    watch: Watch | None = None
    """A function that is called with every event."""
    before: Model | None = None
    """The trained model that this run trains further, if any."""
    pause: float | None = None
    """Seconds of its first stage after which the run pauses, to be resumed later; None for no pause."""

    @classmethod
    def of(
        cls,
        output: str | PathLike[str] | None,
        resume: bool,
        watch: Watch | None,
        before: Model | None = None,
    ) -> Run:
        """Return a run; raises OptionError, OutputError where its output cannot be written."""
        if output is not None:
            check_output(Path(output))
        return cls(None if output is None else Path(output), resume, watch, before)


class Journal:
    """Appends events to a file of JSON lines."""

    def __init__(self, output: Path, *, resume: bool) -> None:
        """Open the journal of the model `output`; with `resume`, append to the one that is there.

        Raises OutputError.
        """
        self.path = output.with_suffix(".run.jsonl")
        try:
            self._file = self.path.open("a" if resume else "w", encoding="utf-8")
            size = self.path.stat().st_size
            # A kill may have left half a line, which must not swallow the next event.
            if size and self.path.read_bytes()[size - 1 :] != b"\n":
                self._file.write("\n")
        except OSError as error:
            raise OutputError(f"cannot write {self.path}", got=error.strerror) from error

    def __call__(self, event: Event) -> None:
        """Write one event, NaN and infinity as null; raises OutputError."""
        # JSON has no NaN and no infinity, and other readers refuse Python's spelling of them.
        line = {
            name: None if isinstance(value, float) and not math.isfinite(value) else value
            for name, value in event.items()
        }
        try:
            self._file.write(json.dumps(line) + "\n")
            # Flush each line, so that another process can follow the run and a kill loses none.
            self._file.flush()
        except OSError as error:
            raise OutputError(f"cannot write {self.path}", got=error.strerror) from error

    def close(self) -> None:
        """Close the file."""
        with suppress(OSError):  # a write that failed has raised its error already
            self._file.close()
