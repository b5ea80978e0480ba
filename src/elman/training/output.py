"""The files that a run writes: its model and its journal, and a lock that keeps other runs away from them."""

from __future__ import annotations

import os
import tempfile
from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from elman.errors import OutputError
from elman.files.model import Model, check_output
from elman.training.journal import Event, Journal, Run


class Output:
    """Passes the events of a run on to its watcher and its journal, and writes its model.

    As a context it keeps other runs away from the model. Only the lead process has an output; those of the
    other processes write nothing.
    """

    def __init__(self, run: Run, *, leads: bool) -> None:
        """Write the files of `run` in the process that `leads`."""
        self.path, self.watch = (run.output, run.watch) if leads else (None, None)
        self.journal: Journal | None = None

    def __enter__(self) -> Output:
        if self.path is None:
            return self
        check_output(self.path)
        # The lock belongs to this object, not to the thread that acquires it.
        self.lock = FileLock(self.path.with_suffix(".lock"), thread_local=False)
        try:
            self.lock.acquire(timeout=0)
        except Timeout:
            raise OutputError(
                f"another training is writing {self.path}",
                remedy="wait until it ends, or choose another -o",
            ) from None
        except OSError as error:
            raise OutputError(f"cannot lock {self.lock.lock_file}", got=error.strerror) from error
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
        if self.path is not None:
            # Unlink while the lock is held, so that the lock of a next run stays.
            # Windows removes the file when it is released.
            with suppress(OSError):
                os.unlink(self.lock.lock_file)
            self.lock.release()

    def open_journal(self, *, resume: bool) -> None:
        """Begin the journal beside the model; with `resume`, append to the one that is there."""
        if self.path is not None:
            self.journal = Journal(self.path, resume=resume)

    def emit(self, event: Event) -> None:
        """Pass `event` on. Where the journal cannot be written, training goes on without it."""
        if self.watch is not None:
            self.watch(event)
        if self.journal is None:
            return
        try:
            self.journal(event)
        except OutputError as error:
            # Close first: the warning is an event, which must not reach the broken journal again.
            self.close()
            self.warn(f"{error}; training goes on without its journal")

    def warn(self, text: str) -> None:
        """Emit a warning."""
        self.emit({"event": "warning", "text": text})

    def close(self) -> None:
        """Close the journal."""
        if self.journal is not None:
            self.journal.close()
            self.journal = None

    def save(self, model: Model) -> None:
        """Write the model; where that fails, write it to the folder of temporary files.

        Raises OutputError, which names the file that was written instead.
        """
        if self.path is None:
            return
        try:
            model.save(self.path)
        except OutputError as error:
            # In a new folder, so that no other file of that name is overwritten.
            instead = Path(tempfile.mkdtemp(prefix="elman-")) / self.path.name
            try:
                model.save(instead)
            except OutputError:
                raise error from None
            raise OutputError(f"{error}; until then the model is {instead}") from error
