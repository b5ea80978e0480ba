"""The only import of the compiled kernel: which instruction set runs, or why none does.

Three variables of the environment govern it. ``ELMAN_ISA`` forces one of the instruction sets.
``ELMAN_THREADS`` is the largest number of threads; work that is too small for a second thread runs on one.
With ``ELMAN_REQUIRE_NATIVE=1`` a missing kernel is an error; otherwise everything works on numpy and
torch, slower, and one warning says so.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from pathlib import Path
from typing import Any

from elman.errors import KernelWarning, MissingDependencyError, OptionError, printable

__all__ = [
    "cell_number",
    "isa",
    "kernel",
    "kernels",
    "network",
    "require_bfloat16",
    "share_threads",
    "threads",
    "why_not",
]

MAX_THREADS = 64
"""The most threads that the kernel runs on, `MOST_THREADS` in ``native/kernel.h``."""
REMEDY = "install GCC or Clang and Python's C headers, then Elman again"


@functools.cache
def _load() -> tuple[Any, str]:
    """Return the extension module, or None and why it is not there."""
    try:
        return importlib.import_module("elman._kernel"), ""
    except ImportError as error:
        if not isinstance(error, ModuleNotFoundError) or error.name != "elman._kernel":
            return None, f"it does not load: {printable(error, 400)}"
    try:
        # written by CMakeLists.txt where it leaves the kernel out
        return None, Path(__file__).parents[1].joinpath("no_kernel.txt").read_text(
            encoding="utf-8"
        ).strip()
    except OSError:
        return None, "it is not there: it was not built, or the build failed"


def _demanded() -> bool:
    required = os.environ.get("ELMAN_REQUIRE_NATIVE", "") not in ("", "0")
    return required or bool(os.environ.get("ELMAN_ISA", ""))


def kernels() -> dict[str, Any]:
    """Return every kernel that this processor can run, by its instruction set, widest first."""
    module, _ = _load()
    return {} if module is None else {found.name: found for found in module.kernels()}


@functools.cache
def kernel() -> Any | None:
    """Return the kernel that runs, or None, which is said in a warning once.

    Raises OptionError for an ELMAN_ISA that this processor or this build does not have, and
    MissingDependencyError where there is no kernel and ELMAN_ISA or ELMAN_REQUIRE_NATIVE=1 asks for one.
    """
    found, forced = kernels(), os.environ.get("ELMAN_ISA", "")
    if found and forced and forced not in found:
        raise OptionError("ELMAN_ISA", got=forced, expected=f"one of {', '.join(found)}")
    if found:
        return found[forced or next(iter(found))]
    if _demanded():
        raise MissingDependencyError(f"the compiled kernel is missing ({why_not()})", remedy=REMEDY)
    warnings.warn(
        f"Elman runs without its compiled kernel, many times slower: {why_not()}; {REMEDY}",
        KernelWarning,
        stacklevel=2,
    )
    return None


def cell_number(name: str, activation: str) -> int | None:
    """Return the number by which the kernel knows a cell, None for one that it does not have.

    Of `rnn` there is one for each activation.
    """
    module, _ = _load()
    cells: tuple[str, ...] = () if module is None else module.CELLS
    known = f"{name}-{activation}" if name == "rnn" else name
    return cells.index(known) if known in cells else None


def isa() -> str | None:
    """Return the instruction set that runs, None without the kernel; raises as `kernel` does."""
    chosen = kernel() if kernels() or _demanded() else None
    return None if chosen is None else str(chosen.name)


def why_not() -> str:
    """Return why there is no kernel, nothing where there is one."""
    return _load()[1]


def network(*given: Any) -> Any:
    """Return a network made ready for inference in the kernel, of what the extension's class takes."""
    return _load()[0].Network(*given)


def share_threads() -> None:
    """Let the kernel run on the OpenMP threads of this process from now on: two pools wait for each other."""
    _load()[0].share_threads()


@functools.cache
def threads(default: int | None = None) -> int:
    """Return how many threads the kernel may use: ELMAN_THREADS, `default`, or this process's processors.

    Raises OptionError.
    """
    asked = os.environ.get("ELMAN_THREADS", "")
    if asked:
        whole = asked.isascii() and asked.isdigit() and len(asked) <= 4
        if not whole or not 1 <= int(asked) <= MAX_THREADS:
            expected = f"a whole number from 1 to {MAX_THREADS}"
            raise OptionError("ELMAN_THREADS", got=asked, expected=expected)
        return int(asked)
    if default is not None:
        return min(MAX_THREADS, default)
    affinity = getattr(os, "sched_getaffinity", None)
    return min(MAX_THREADS, len(affinity(0)) if affinity else os.cpu_count() or 1)


def require_bfloat16() -> None:
    """Raise OptionError where the processor has no products in bfloat16, or the kernel is absent."""
    chosen = kernel()
    if chosen is None or not chosen.bfloat16:
        raise OptionError(
            "precision",
            got=f"bf16 on {isa() or 'no kernel'}",
            expected="a processor with bfloat16 products (AVX512_BF16)",
            remedy="use float32",
        )
