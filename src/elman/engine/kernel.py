"""Access to the compiled kernel: which instruction set runs, or why none does.

No other file imports the extension module ``elman._kernel``. Its operations, which take keyword arguments,
are methods of `Kernel` and `Network`, described in ``_kernel.pyi``. Three environment variables control the
kernel:

- ``ELMAN_ISA`` forces one of the instruction sets.
- ``ELMAN_THREADS`` is the largest number of threads. Work that is too small for a second thread runs on one.
- ``ELMAN_REQUIRE_NATIVE=1`` makes a missing kernel an error. Otherwise Elman falls back to numpy and torch,
  which are slower, and warns once.
"""

from __future__ import annotations

import functools
import importlib
import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from elman.cells import Cell, find
from elman.errors import KernelWarning, MissingDependencyError, OptionError, printable

if TYPE_CHECKING:
    from elman._kernel import Kernel as Kernel
    from elman._kernel import Network as Network
    from elman._kernel import Position as Position
    from elman._kernel import Saved as Saved


MAX_THREADS = 64
"""Largest number of threads of one call; the same constant is in ``native/kernel.h``."""
REMEDY = "install GCC or Clang and Python's C headers, then install Elman again"


class LayerWeights(NamedTuple):
    """Parameters of one direction of a layer in PyTorch's layout, or their gradients."""

    weight_ih: np.ndarray
    """``[G·H, I]``."""
    weight_hh: np.ndarray | None = None
    """``[G·H, H]``; None for a cell without recurrent weights."""
    bias_ih: np.ndarray | None = None
    """``[G·H]``, or None without bias."""
    bias_hh: np.ndarray | None = None
    """``[G·H]``, or None without bias or recurrent weights."""


class LayerCall(NamedTuple):
    """A forward pass of one direction of one layer in the kernel, and the backward pass through it.

    The arrays of both are float32 and contiguous, with the shapes that ``_kernel.pyi`` gives.
    """

    cell: Cell
    sizes: np.ndarray
    """int64 ``[T]``: sequences that are still running at each step."""
    reverse: bool = False
    """Whether the direction runs from the last step to the first."""
    bfloat16: bool = False
    """Whether products round both sides to bfloat16."""
    max_threads: int | None = None
    """The largest number of threads (default: as `threads`)."""

    def forward(
        self,
        x: np.ndarray,
        weights: LayerWeights,
        start: np.ndarray,
        y: np.ndarray,
        end: np.ndarray,
        tokens: np.ndarray | None = None,
    ) -> Saved:
        """Write the outputs `y` and the last states `end`, and return what `backward` needs."""
        return running().forward(
            cell=required_number(self.cell),
            sizes=self.sizes,
            reverse=self.reverse,
            bfloat16=self.bfloat16,
            threads=self.max_threads or threads(),
            x=x,
            tokens=tokens,
            weight_ih=weights.weight_ih,
            weight_hh=weights.weight_hh,
            start=start,
            y=y,
            bias_ih=weights.bias_ih,
            bias_hh=weights.bias_hh,
            end=end,
        )

    def backward(
        self,
        saved: Saved,
        x: np.ndarray,
        weights: LayerWeights,
        start: np.ndarray,
        y: np.ndarray,
        d_output: tuple[np.ndarray, np.ndarray | None],
        d_input: tuple[np.ndarray | None, np.ndarray],
        d_weights: LayerWeights,
        tokens: np.ndarray | None = None,
    ) -> None:
        """Write the gradients of x and `start`, the pair `d_input`, and those of the weights.

        The pair `d_output` has the gradients of the outputs and of the last states (None: zeros).
        """
        running().backward(
            saved=saved,
            cell=required_number(self.cell),
            sizes=self.sizes,
            reverse=self.reverse,
            bfloat16=self.bfloat16,
            threads=self.max_threads or threads(),
            x=x,
            tokens=tokens,
            weight_ih=weights.weight_ih,
            weight_hh=weights.weight_hh,
            start=start,
            y=y,
            dy=d_output[0],
            dend=d_output[1],
            dx=d_input[0],
            dstart=d_input[1],
            dweight_ih=d_weights.weight_ih,
            dweight_hh=d_weights.weight_hh,
            dbias_ih=d_weights.bias_ih,
            dbias_hh=d_weights.bias_hh,
        )


@functools.cache
def why_not() -> str:
    """Return why the extension module cannot be used, or an empty string if it can."""
    try:
        importlib.import_module("elman._kernel")
    except ImportError as error:
        # The file is there, but the system cannot load it: say why.
        if not isinstance(error, ModuleNotFoundError) or error.name != "elman._kernel":
            return f"it does not load: {printable(error, 400)}"
        # CMakeLists.txt writes this file when it leaves the kernel out
        reason = Path(__file__).parents[1] / "no_kernel.txt"
        try:
            return reason.read_text(encoding="utf-8").strip()
        except OSError:
            return "it is not there: it was not built, or the build failed"
    return _other_cells()


def _other_cells() -> str:
    """Return how the cells of the extension module differ from those of `elman.cells`, or an empty string.

    ``native/cells.def`` declares them for the module. They differ if the module was built from other sources.
    """
    from elman import _kernel

    others = "it was built from other sources: "
    for row in _kernel.CELLS:
        try:
            # a row of cells.def: name, activation, gates, states, recurrent weights
            name, activation, *facts = row
            cell = find(name, activation)
        except (OptionError, ValueError):
            return f"{others}it has a cell {row}"
        if facts != [cell.G, len(cell.states), cell.recurrent]:
            return f"{others}its cell {name} has {facts[0]} gates and {facts[1]} states"
    return ""


def _required() -> bool:
    required = os.environ.get("ELMAN_REQUIRE_NATIVE", "") not in ("", "0")
    return required or bool(os.environ.get("ELMAN_ISA", ""))


def _missing() -> MissingDependencyError:
    return MissingDependencyError(f"the compiled kernel is missing ({why_not()})", remedy=REMEDY)


def kernels() -> dict[str, Kernel]:
    """Return the kernels that this processor can run by the name of their instruction set, widest first."""
    if why_not():
        return {}
    from elman import _kernel

    return {kernel.name: kernel for kernel in _kernel.kernels()}


@functools.cache
def kernel() -> Kernel | None:
    """Return the kernel to run, or None after a warning if there is none.

    Raises:
        OptionError: this processor or this build does not have the instruction set in ELMAN_ISA.
        MissingDependencyError: there is no kernel, and ELMAN_ISA or ELMAN_REQUIRE_NATIVE=1 requires one.
    """
    # Widest first, so that the first one is the fastest.
    available, forced = kernels(), os.environ.get("ELMAN_ISA", "")
    if available and forced and forced not in available:
        raise OptionError("ELMAN_ISA", got=forced, expected=f"one of {', '.join(available)}")
    if available:
        return available[forced or next(iter(available))]
    if _required():
        raise _missing()
    warnings.warn(
        f"Elman runs without its compiled kernel, many times slower: {why_not()}; {REMEDY}",
        KernelWarning,
        stacklevel=2,
    )
    return None


def isa() -> str | None:
    """Return the name of the instruction set that runs, or None without a kernel.

    Raises the same errors as `kernel`.
    """
    # Asking for the name alone must not warn about a missing kernel.
    chosen = kernel() if kernels() or _required() else None
    return None if chosen is None else chosen.name


def cell_number(cell: Cell) -> int | None:
    """Return the number of a cell in the kernel, or None if the kernel does not have the cell.

    The kernel counts each activation of cell "rnn" as a cell of its own.
    """
    return None if why_not() else _numbers().get((cell.name, cell.activation))


def running() -> Kernel:
    """Return the kernel that runs; raises MissingDependencyError without one."""
    chosen = kernel()
    if chosen is None:
        raise _missing()
    return chosen


def required_number(cell: Cell) -> int:
    """Return `cell_number`, or raise MissingDependencyError if the kernel cannot run the cell."""
    number = cell_number(cell)
    if number is None:
        raise MissingDependencyError(
            f"the compiled kernel cannot run cell {cell.name}", remedy=REMEDY
        )
    return number


@functools.cache
def _numbers() -> dict[tuple[str, str], int]:
    from elman import _kernel

    # A cell's number is its row in cells.def.
    return {(row[0], row[1]): number for number, row in enumerate(_kernel.CELLS)}


def network_type() -> type[Network]:
    """Return the class of language models that are packed for inference in the kernel."""
    from elman import _kernel

    return _kernel.Network


def position_type() -> type[Position]:
    """Return the class of the position of one stream in the kernel."""
    from elman import _kernel

    return _kernel.Position


def share_threads() -> None:
    """Make the kernel run on the OpenMP threads of this process: two pools would wait for each other."""
    from elman import _kernel

    _kernel.share_threads()


@functools.cache
def threads(default: int | None = None) -> int:
    """Return the largest number of threads that the kernel may use.

    It is ELMAN_THREADS, else `default`, else the number of processors that this process may use.

    Raises:
        OptionError: ELMAN_THREADS is not a whole number from 1 to 64.
    """
    text = os.environ.get("ELMAN_THREADS", "")
    if text:
        # `int` would also take other digits, signs, spaces and underscores.
        is_number = text.isascii() and text.isdigit() and len(text) <= 4
        if not is_number or not 1 <= int(text) <= MAX_THREADS:
            expected = f"a whole number from 1 to {MAX_THREADS}"
            raise OptionError("ELMAN_THREADS", got=text, expected=expected)
        return int(text)
    if default is not None:
        return min(MAX_THREADS, default)
    # A container may have fewer processors than the machine.
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS
    return min(MAX_THREADS, len(affinity(0)) if affinity else os.cpu_count() or 1)


def has_bfloat16() -> bool:
    """Return whether there is a kernel, and the processor can multiply bfloat16 numbers."""
    chosen = kernel()
    return chosen is not None and chosen.bfloat16


def require_bfloat16() -> None:
    """Raise OptionError where `has_bfloat16` is false."""
    if not has_bfloat16():
        raise OptionError(
            "precision",
            got=f"bf16 on {isa() or 'no kernel'}",
            expected="a processor with bfloat16 products (AVX512_BF16)",
            remedy="use float32",
        )
