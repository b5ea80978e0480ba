"""Whenever writing a file fails, the earlier file stays and no temporary file remains."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from os import stat_result
from pathlib import Path
from typing import Any

import pytest

from elman.errors import OutputError
from elman.files.atomic import atomic_write

OLD, NEW = b"the earlier file", (b"the", b" new file" * 1000, b"")
CALLS = ("open", "fchmod", "write", "fsync", "close", "replace", "stat", "access")


class Faults:
    """Counts the calls of the functions of `os` that a save uses, and lets the N-th fail."""

    def __init__(
        self, patch: pytest.MonkeyPatch, fail_at: int, code: int, short: bool = False
    ) -> None:
        self.calls: list[str] = []
        for name in CALLS:
            patch.setattr(os, name, self._counted(name, getattr(os, name), fail_at, code, short))

    def _counted(
        self, name: str, real: Callable[..., Any], fail_at: int, code: int, short: bool
    ) -> Callable[..., stat_result | bool | int]:
        def call(*arguments: memoryview | int | str, **keywords: Any) -> stat_result | bool | int:
            self.calls.append(name)
            if len(self.calls) - 1 == fail_at:
                if name == "close":  # Linux closes the file even if close fails
                    real(*arguments)
                raise OSError(code, os.strerror(code))
            if short and name == "write":
                descriptor, part = arguments
                assert isinstance(part, memoryview | bytes)
                return real(descriptor, part[: max(1, len(part) // 2)])
            return real(*arguments, **keywords)

        return call


def save_with(
    path: Path, fail_at: int, code: int = errno.EIO, short: bool = False
) -> tuple[list[str], OutputError | None]:
    """Save `NEW` and return the calls of `os`, and the error if there was one."""
    error = None
    with pytest.MonkeyPatch.context() as patch:
        faults = Faults(patch, fail_at, code, short)
        try:
            atomic_write(path, *NEW)
        except OutputError as raised:
            error = raised
    return faults.calls, error


def test_writes_parts_in_order(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file", b"a", memoryview(b"bc"), b"")
    assert (tmp_path / "file").read_bytes() == b"abc"
    assert os.listdir(tmp_path) == ["file"]


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO])
@pytest.mark.parametrize("short", [False, True])
def test_every_call_may_fail(tmp_path: Path, code: int, short: bool) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    calls, error = save_with(path, fail_at=-1, short=short)
    assert error is None
    assert calls.count("fsync") == 2
    assert calls.count("replace") == 1
    assert calls.count("write") >= (2 if not short else 10)
    renamed = calls.index("replace")
    for n in range(len(calls)):
        path.write_bytes(OLD)
        made, error = save_with(path, fail_at=n, code=code, short=short)
        assert error is not None, f"call {n}, {calls[n]}, failed unseen"
        assert made[n] == calls[n]
        assert os.strerror(code) in str(error)
        assert "\n" not in str(error)
        # after the rename the new file exists, but it may not survive a power failure
        assert path.read_bytes() == (OLD if n <= renamed else b"".join(NEW))
        assert ("earlier file is as it was" in str(error)) == (n <= renamed)
        assert os.listdir(tmp_path) == ["file"]


def test_first_save_may_fail_too(tmp_path: Path) -> None:
    path = tmp_path / "file"
    calls, _ = save_with(path, fail_at=-1)
    for n in range(calls.index("replace") + 1):
        path.unlink(missing_ok=True)
        _, error = save_with(path, fail_at=n, code=errno.ENOSPC)
        assert error is not None
        assert os.listdir(tmp_path) == []


def test_killed_at_every_call(tmp_path: Path) -> None:
    path = tmp_path / "file"
    # each save runs in a fork of a process that has imported the standard library and Elman only
    script = f"""
import os, signal
from elman.files.atomic import atomic_write
names, path, n = {CALLS!r}, {str(path)!r}, 0
while True:
    with open(path, "wb") as file:
        file.write({OLD!r})
    child = os.fork()
    if child == 0:
        left = n
        def killing(real):
            def call(*arguments, **keywords):
                global left
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return real(*arguments, **keywords)
            return call
        for name in names:
            setattr(os, name, killing(getattr(os, name)))
        atomic_write(path, *{NEW!r})
        os._exit(0)
    _, status = os.waitpid(child, 0)
    with open(path, "rb") as file:
        content = file.read()
    assert content in ({OLD!r}, {b"".join(NEW)!r}), n
    if status == 0:
        break
    n += 1
print(n)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) >= 10


def test_interrupted_by_the_keyboard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)

    def interrupted(descriptor: int, part: memoryview) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", interrupted)
        with pytest.raises(KeyboardInterrupt):
            atomic_write(path, *NEW)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_a_write_of_zero_bytes_does_not_loop_forever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda descriptor, part: 0)
        with pytest.raises(OutputError, match="nothing could be written"):
            atomic_write(tmp_path / "file", *NEW)
    assert os.listdir(tmp_path) == []


def test_real_full_device(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    real = os.open

    def full(name: str, flags: int, mode: int = 0o777) -> int:
        descriptor = real(name, flags, mode)
        if str(name).endswith(".tmp"):
            os.close(descriptor)
            return real("/dev/full", os.O_WRONLY)
        return descriptor

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", full)
        with pytest.raises(OutputError, match=r"No space left.*free some space"):
            atomic_write(path, *NEW)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_real_limit_on_file_size(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        with pytest.raises(OutputError, match="too large"):
            atomic_write(path, *NEW)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert path.read_bytes() == OLD
    assert os.listdir(tmp_path) == ["file"]


def test_missing_folder(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"No such file.*make the folder first"):
        atomic_write(tmp_path / "missing" / "file", b"")
    (tmp_path / "file").write_bytes(OLD)
    with pytest.raises(OutputError, match="make the folder first"):
        atomic_write(tmp_path / "file" / "file", b"")


def test_target_is_not_a_file(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match="a folder of that name"):
        atomic_write(tmp_path, b"")
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(OutputError, match="device or pipe"):
        atomic_write(tmp_path / "pipe", b"")
    with pytest.raises(OutputError, match="device or pipe"):
        atomic_write("/dev/null", b"")
    with pytest.raises(OutputError, match="null"):
        atomic_write("a\0b", b"")
    assert os.listdir(tmp_path) == ["pipe"]


def test_write_protected_file_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "file"
    path.write_bytes(OLD)
    monkeypatch.setattr(os, "access", lambda name, mode: False)
    with pytest.raises(OutputError, match="write-protected"):
        atomic_write(path, *NEW)
    assert path.read_bytes() == OLD


def test_link_keeps_its_place_and_file_its_mode(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "file", tmp_path / "link"
    target.write_bytes(OLD)
    target.chmod(0o640)
    link.symlink_to(target)
    atomic_write(link, *NEW)
    assert link.is_symlink()
    assert target.read_bytes() == b"".join(NEW)
    assert target.stat().st_mode & 0o777 == 0o640


def test_new_file_has_the_usual_mode(tmp_path: Path) -> None:
    atomic_write(tmp_path / "file", b"")
    (tmp_path / "usual").write_bytes(b"")
    assert (tmp_path / "file").stat().st_mode == (tmp_path / "usual").stat().st_mode


def test_temporary_files_of_killed_saves_are_removed_later(tmp_path: Path) -> None:
    old, young, other = (tmp_path / name for name in (".elman-1.tmp", ".elman-2.tmp", "mine.tmp"))
    for path in (old, young, other):
        path.write_bytes(b"")
    os.utime(old, (0, 0))
    os.utime(other, (0, 0))
    atomic_write(tmp_path / "file", b"")
    assert sorted(os.listdir(tmp_path)) == [".elman-2.tmp", "file", "mine.tmp"]


@pytest.mark.parametrize("code", [errno.EINVAL, errno.ENOTSUP])
def test_file_systems_that_cannot_sync_a_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    real = os.fsync

    def fsync(descriptor: int) -> None:
        if os.path.isdir(f"/proc/self/fd/{descriptor}"):
            raise OSError(code, os.strerror(code))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    atomic_write(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"
