"""Writing a file completely or not at all, also when the process is killed or the power fails."""

from __future__ import annotations

import errno
import os
import stat
import time
from contextlib import suppress
from typing import TypeAlias

from elman.errors import OutputError

Path: TypeAlias = str | os.PathLike[str]

_STALE_SECONDS = 3600.0
_REMEDIES = {
    errno.ENOENT: "make the folder first",
    errno.ENOTDIR: "make the folder first",
    errno.EISDIR: "pass the name of a file",
    errno.ENOSPC: "free some space",
    errno.EDQUOT: "free some space",
    errno.EFBIG: "raise the limit on file sizes",
}


def atomic_write(path: Path, *parts: bytes | memoryview) -> None:
    """Write `parts`, one after the other, as the file `path`, completely or not at all.

    A temporary file in the same folder is written, flushed to disk and renamed over `path`. If `path` is a
    link, its target is replaced. The new file keeps the mode of the earlier one. After a failure the
    earlier file is unchanged, and the temporary file is removed.

    Raises:
        OutputError: the file cannot be written.
    """
    target = ""
    try:
        # A rename over a link would replace the link and leave its target as it was.
        target = os.path.realpath(path)
        _replace(target, parts)
    except (OSError, ValueError) as error:
        remedy = _REMEDIES.get(
            getattr(error, "errno", None) or 0, "choose a place you may write to"
        )
        earlier = "; the earlier file is as it was" if os.path.isfile(target) else ""
        raise OutputError(
            f"cannot write {os.fspath(path)}", got=_reason(error), remedy=remedy + earlier
        ) from error
    try:
        _sync_folder(os.path.dirname(target))
    except OSError as error:
        raise OutputError(
            f"{os.fspath(path)} is written, but may not outlive a power cut", got=_reason(error)
        ) from error


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error)


def _replace(target: str, parts: tuple[bytes | memoryview, ...]) -> None:
    try:
        mode = os.stat(target).st_mode
    except FileNotFoundError:
        mode = None
    if mode is not None:
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "a folder of that name")
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "a device or pipe of that name")
        if not os.access(target, os.W_OK):
            raise PermissionError(errno.EACCES, "the file is write-protected")
    folder = os.path.dirname(target)
    # Clean up here, since only a later save knows that an earlier one was killed.
    _remove_stale(folder)
    temporary = os.path.join(folder, f".elman-{os.urandom(8).hex()}.tmp")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o666)
    try:
        try:
            if mode is not None:
                os.fchmod(descriptor, stat.S_IMODE(mode))
            for part in parts:
                _write_all(descriptor, memoryview(part))
            # Flush before the rename: after a power cut the new name must not have empty contents.
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(temporary, target)
    except BaseException:
        with suppress(OSError):
            os.unlink(temporary)
        raise


def _write_all(descriptor: int, part: memoryview) -> None:
    while part:
        written = os.write(descriptor, part)
        if written == 0:
            raise OSError(errno.EIO, "nothing could be written")
        part = part[written:]


def _remove_stale(folder: str) -> None:
    # A killed process leaves its temporary file behind. A running one writes to its file all the time, so an
    # old modification time means that nobody needs the file.
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".elman-") and entry.name.endswith(".tmp"):
                with suppress(OSError):
                    if time.time() - entry.stat().st_mtime > _STALE_SECONDS:
                        os.unlink(entry.path)


def _sync_folder(folder: str) -> None:
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except PermissionError:
        return  # this user may write into the folder but not list it
    try:
        os.fsync(descriptor)
    except OSError as error:
        # some file systems cannot flush a folder
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)
