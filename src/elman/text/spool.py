"""An array that grows at its end and is kept on disk where it is long."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from elman.errors import OutputError

__all__ = ["IN_MEMORY_CHARACTERS", "Spool"]

IN_MEMORY_CHARACTERS = 32 << 20
"""Longer texts are kept in a file that is mapped into memory."""


class Spool:
    """An array that grows at its end, of numbers for a text of so many `characters`.

    That of a long text is in a nameless file in `workspace`, which is removed with its map.
    """

    def __init__(self, dtype: np.dtype[Any], workspace: Path | None, characters: int) -> None:
        self.dtype = dtype
        self.length = 0
        self._arrays: list[np.ndarray] = []
        self._workspace = workspace
        self._file: IO[bytes] | None = None
        if characters > IN_MEMORY_CHARACTERS:
            with self._writing():
                if workspace is not None:
                    workspace.mkdir(parents=True, exist_ok=True)
                # The file has no name: nothing is left of it, however the process ends.
                self._file = tempfile.TemporaryFile(dir=workspace)  # noqa: SIM115

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Raise OutputError in place of an OSError."""
        try:
            yield
        except OSError as error:
            where = self._workspace or tempfile.gettempdir()
            got = error.strerror or error
            raise OutputError(f"cannot keep the encoded text in {where}", got=got) from None

    def append(self, array: np.ndarray) -> None:
        """Add the numbers of ``array [N]``; raises OutputError."""
        self.length += len(array)
        if self._file is None:
            self._arrays.append(array.astype(self.dtype))
            return
        with self._writing():
            self._file.write(array.astype(self.dtype).data)

    def finish(self) -> np.ndarray:
        """Return all that was appended, not to be written to."""
        if self._file is None or not self.length:
            whole = np.concatenate([np.zeros(0, self.dtype), *self._arrays])
            whole.flags.writeable = False
            return whole
        with self._writing(), self._file as file:
            file.flush()
            return np.memmap(file, self.dtype, "r", shape=(self.length,))
