"""An array that grows at its end and is kept on disk if it is long."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

from elman.errors import OutputError

IN_MEMORY_CHARACTERS = 32 << 20
"""The arrays of a longer text are kept in a file that is mapped into memory."""


class GrowingArray:
    """Numbers that belong to a text, appended block by block.

    Args:
        dtype: The type of the numbers.
        workspace: The folder for the file of a long text; None uses the system's temporary folder.
        characters: The length of the text.

    Raises:
        OutputError: The workspace cannot be written to.
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
                # The file has no name, so the system deletes it however the process ends.
                self._file = tempfile.TemporaryFile(dir=workspace)  # noqa: SIM115

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        """Turn an OSError into an OutputError."""
        try:
            yield
        except OSError as error:
            folder = self._workspace or tempfile.gettempdir()
            got = error.strerror or error
            raise OutputError(f"cannot keep the encoded text in {folder}", got=got) from None

    def append(self, array: np.ndarray) -> None:
        """Add the numbers of ``array [N]`` at the end; raises OutputError."""
        self.length += len(array)
        if self._file is None:
            self._arrays.append(array.astype(self.dtype))
            return
        with self._writing():
            self._file.write(array.astype(self.dtype).data)

    def finish(self) -> np.ndarray:
        """Return everything that was appended as one array, which is read-only."""
        if self._file is None or not self.length:
            joined = np.concatenate([np.zeros(0, self.dtype), *self._arrays])
            joined.flags.writeable = False
            return joined
        with self._writing(), self._file as file:
            file.flush()
            return np.memmap(file, self.dtype, "r", shape=(self.length,))
