"""An array that grows at its end and is kept on disk if it is long."""

from __future__ import annotations

import contextlib
import io
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np

from elman.errors import OutputError

MAX_BYTES_IN_MEMORY = 32 << 20
"""A longer array is kept in a file that is mapped into memory."""


class GrowingArray:
    """Numbers that belong to a text, appended block by block.

    Args:
        dtype: The type of the numbers.
        workspace: The folder for the file of a long array; None uses the system's temporary folder.

    Raises:
        OutputError: The workspace cannot be written to.
    """

    def __init__(self, dtype: type[np.generic], workspace: Path | None) -> None:
        self.dtype = np.dtype(dtype)
        self.length = 0
        self._workspace = workspace
        self._file: IO[bytes] = io.BytesIO()

    @property
    def _is_long(self) -> bool:
        return self.length * self.dtype.itemsize > MAX_BYTES_IN_MEMORY

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
        with self._writing():
            # The array has just become long: move what it holds to the disk.
            if self._is_long and isinstance(self._file, io.BytesIO):
                if self._workspace is not None:
                    self._workspace.mkdir(parents=True, exist_ok=True)
                # The file has no name, so the system deletes it however the process ends.
                file = tempfile.TemporaryFile(dir=self._workspace)  # noqa: SIM115
                file.write(self._file.getbuffer())
                self._file = file
            self._file.write(array.astype(self.dtype).data)

    def finish(self) -> np.ndarray:
        """Return everything that was appended as one array, which is read-only."""
        with self._writing(), self._file as file:
            if isinstance(file, io.BytesIO):
                return np.frombuffer(file.getvalue(), self.dtype)
            file.flush()
            return np.memmap(file, self.dtype, "r", shape=(self.length,))
