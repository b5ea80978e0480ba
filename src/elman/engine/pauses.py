"""Long computations that share the machine: points to wait or stop at, and numpy on one thread.

A long computation calls `pause` between its blocks. The call does nothing unless the thread runs inside
`paced`, as questions in the server do.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_thread = threading.local()


def pause() -> None:
    """Call the function that `paced` has set for this thread; it may wait, or stop the caller by raising."""
    if (between := getattr(_thread, "between", None)) is not None:
        between()


@contextmanager
def paced(between: Callable[[], None]) -> Iterator[None]:
    """Call `between` at every `pause` that this thread reaches inside the context."""
    # Each thread has its own function: other threads of the server run on.
    _thread.between = between
    try:
        yield
    finally:
        _thread.between = None


@functools.cache
def _blas() -> Any:
    from threadpoolctl import ThreadpoolController

    return ThreadpoolController().select(user_api="blas")


def _take_control() -> None:
    """Let this thread set the limit; threadpoolctl ignores all threads but the last that has set it."""
    # one for each BLAS library in the process
    for library in _blas().lib_controllers:
        if (clear := getattr(library, "clear_controlling_thread", None)) is not None:
            clear(force=True)


class _Limit:
    lock = threading.Lock()
    users = 0
    """Number of calls that are inside `one_thread`."""
    previous: Any = None
    """The limit that the last of them restores."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit numpy's matrix products to one thread; a context manager and a decorator.

    A network's products are small. A second thread of BLAS costs more than it saves, and while it waits it
    takes a processor from others. The limit holds for the whole process while any thread is inside.
    """
    with _Limit.lock:
        if not _Limit.users:
            _take_control()
            _Limit.previous = _blas().limit(limits=1)
        _Limit.users += 1
    try:
        yield
    finally:
        with _Limit.lock:
            _Limit.users -= 1
            if not _Limit.users:
                _take_control()
                _Limit.previous.restore_original_limits()
