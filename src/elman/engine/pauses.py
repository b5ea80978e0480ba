"""How a long computation shares the machine: where it can be stopped, and how many threads its products take.

Code that computes for long calls `pause` between its blocks. That does nothing unless someone has put a
function of their own there for this thread, as the server does.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["one_thread", "paced", "pause"]

_thread = threading.local()


def pause() -> None:
    """Let the function that `paced` put there for this thread wait, or stop the computation by raising."""
    if (between := getattr(_thread, "between", None)) is not None:
        between()


@contextmanager
def paced(between: Callable[[], None]) -> Iterator[None]:
    """Have `between` called whenever what this thread computes inside comes to a `pause`."""
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
    """Let this thread set the limit: threadpoolctl ignores all threads but the one that set it last."""
    for library in _blas().lib_controllers:
        if (clear := getattr(library, "clear_controlling_thread", None)) is not None:
            clear(force=True)


class _Limit:
    lock, inside = threading.Lock(), 0
    before: Any = None
    """How many are inside `one_thread`, and what the last one to leave restores."""


@contextmanager
def one_thread() -> Iterator[None]:
    """Limit numpy's products inside to one thread, as a context or a decorator.

    A network's products are small: a second thread of BLAS costs more than it saves, and one that waits
    takes a processor from others. The limit is the whole process's as long as anybody is inside.
    """
    with _Limit.lock:
        if not _Limit.inside:
            _take_control()
            _Limit.before = _blas().limit(limits=1)
        _Limit.inside += 1
    try:
        yield
    finally:
        with _Limit.lock:
            _Limit.inside -= 1
            if not _Limit.inside:
                _take_control()
                _Limit.before.restore_original_limits()
