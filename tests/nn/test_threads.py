"""Results depend neither on the number of threads nor on whether they are torch's or the kernel's own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from cases import CELLS, Case, Packed, over_packed, results, same_bits
from elman.engine import kernel as native
from elman.nn import autograd
from elman.nn.layers import LSTM


@pytest.mark.parametrize(
    "packed",
    [
        Packed(Case(cell, 70, 6, 33, 65, bidirectional=True), (70, 70, 69, 31, 2, 1), True)
        for cell in CELLS
    ],
    ids=lambda packed: packed.id,
)
def test_results_do_not_depend_on_the_threads(
    packed: Packed, kernel: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    layer = packed.case.layer(torch.float32)
    for forward in (layer, over_packed(layer, packed)):
        expected = None
        for count in (1, 1, 2, 3, 5):
            monkeypatch.setattr(native, "threads", lambda default, count=count: count)
            got = results(forward, layer, *packed.case.batch(torch.float32))
            expected = expected or got
            same_bits(got, expected)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kernel",
    [name for name, kernel in native.kernels().items() if kernel.bfloat16],
    indirect=True,
)
def test_bf16_does_not_depend_on_the_threads(kernel: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for cell in CELLS:
        case = Case(cell, 31, 66, 17, 65, bidirectional=True)
        layer = case.layer(torch.float32)
        layer.precision = "bf16"
        expected = None
        for count in (1, 2, 3, 5):
            monkeypatch.setattr(native, "threads", lambda default, count=count: count)
            got = results(layer, layer, *case.batch(torch.float32))
            expected = expected or got
            same_bits(got, expected)


def test_torchs_number_of_threads_is_used(chosen: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ELMAN_THREADS", raising=False)
    before = torch.get_num_threads()
    layer = LSTM(3, 4)
    try:
        for count in (3, 1, 2):
            native.threads.cache_clear()
            torch.set_num_threads(count)
            layer(torch.zeros(5, 2, 3))[0].sum().backward()
            assert chosen.last["forward"]["threads"] == count
            assert chosen.last["backward"]["threads"] == count
    finally:
        torch.set_num_threads(before)
        native.threads.cache_clear()


# The kernel in a process without torch, on its own threads, called from one and from two Python threads.
OWN_POOL = """
import sys, threading
import numpy as np
from elman.cells import find
from elman.engine import kernel as native

path, T, B, I, H = sys.argv[1], *map(int, sys.argv[2:])
kernel, cell = native.kernel(), native.cell_number(find("lstm"))
draw = np.random.default_rng(0)
sizes = np.full(T, B)
given = [draw.normal(size=shape).astype(np.float32) / 4
         for shape in ((T * B, I), (4 * H, I), (4 * H, H), (4 * H,), (4 * H,), (2, B, H))]
x, weight_ih, weight_hh, bias_ih, bias_hh, start = given

def run(threads):
    y, end = np.empty((T * B, H), np.float32), np.empty_like(start)
    layer = dict(cell=cell, sizes=sizes, reverse=False, bfloat16=False, threads=threads, x=x, tokens=None,
                 weight_ih=weight_ih, weight_hh=weight_hh, start=start, y=y)
    saved = kernel.forward(**layer, bias_ih=bias_ih, bias_hh=bias_hh, end=end)
    gradients = [np.empty_like(array) for array in given]
    names = ("dx", "dweight_ih", "dweight_hh", "dbias_ih", "dbias_hh", "dstart")
    kernel.backward(saved=saved, **layer, dy=np.ones_like(y), dend=end, **dict(zip(names, gradients)))
    return [y, end, *gradients]

expected = run(1)
def same(threads):
    for _ in range(3):
        for one, other in zip(expected, run(threads), strict=True):
            np.testing.assert_array_equal(one, other)
for threads in (2, 3, 5, 2):
    same(threads)
failures = []
threading.excepthook = failures.append
workers = [threading.Thread(target=same, args=(threads,)) for threads in (2, 3)]
for worker in workers: worker.start()
for worker in workers: worker.join()
assert not failures, failures
assert "torch" not in sys.modules
np.savez(path, *expected, *given)
print(kernel.name, native.isa())
"""


@pytest.mark.slow
def test_forced_set_on_the_kernels_own_threads(kernel: Any, tmp_path: Path) -> None:
    """ELMAN_ISA chooses the kernel, and a process without torch gives the same bits."""
    T, B, I, H = 20, 64, 33, 65  # noqa: E741 - large enough to be worth five threads
    file = tmp_path / "found.npz"
    environment = os.environ | {"ELMAN_ISA": kernel.name}
    printed = subprocess.run(
        [sys.executable, "-c", OWN_POOL, str(file), *map(str, (T, B, I, H))],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert printed.split() == [kernel.name, kernel.name]
    with np.load(file) as loaded:
        arrays = [torch.from_numpy(array) for array in loaded.values()]
    expected, given = arrays[: len(arrays) - 6], arrays[len(arrays) - 6 :]
    x, *weights, start = (array.requires_grad_() for array in given)
    names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
    y, ends = autograd.direction(
        LSTM.cell, dict(zip(names, weights, strict=True)), x, [B] * T, tuple(start), False
    )
    end = torch.stack(ends)
    gradients = torch.autograd.grad(
        [y, end], [x, *weights, start], [torch.ones_like(y), end.detach()]
    )
    for one, other in zip(expected, (y, end, *gradients), strict=True):
        assert torch.equal(one, other)
