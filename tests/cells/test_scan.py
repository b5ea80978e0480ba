from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from elman.cells import Ops, numpy_ops, scan
from elman.nn.unrolled import torch_ops

LENGTHS = (1, 2, 3, 4, 7, 8, 9, 63, 64, 65, 200)
BACKENDS = [
    pytest.param(numpy_ops(), np.asarray, id="numpy"),
    pytest.param(torch_ops(), torch.from_numpy, id="torch"),
]


def example(length: int, dtype: type) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    draw = np.random.default_rng(length)
    a = draw.uniform(-1, 1, (length, 2, 3))
    b, start = draw.normal(size=(length, 2, 3)), draw.normal(size=(2, 3))
    return a.astype(dtype), b.astype(dtype), start.astype(dtype)


@pytest.mark.parametrize(("ops", "array"), BACKENDS)
@pytest.mark.parametrize("form", [scan.sequential, scan.parallel])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("length", LENGTHS)
def test_both_forms_are_the_recurrence(
    ops: Ops, array: Callable[[np.ndarray], Any], form: Callable[..., Any], dtype: type, length: int
) -> None:
    a, b, start = example(length, dtype)
    h, expected = start.astype(np.float64), np.empty((length, 2, 3))
    for step in range(length):
        h = expected[step] = a[step].astype(np.float64) * h + b[step]
    got = np.asarray(form(ops, array(a), array(b), array(start)))
    assert got.dtype == dtype
    # |a| <= 1: a rounding is never magnified, and each of the T steps or log2(T) rounds adds two
    largest = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(
        got, expected, rtol=0, atol=2 * length * np.finfo(dtype).eps * largest
    )


@pytest.mark.parametrize("form", [scan.sequential, scan.parallel])
def test_whole_numbers_are_exact(form: Callable[..., Any]) -> None:
    """a = 1 sums b: with whole numbers both forms agree to the last bit."""
    b = np.arange(1.0, 101.0)[:, None]
    got = form(numpy_ops(), np.ones_like(b), b, np.array([5.0]))
    np.testing.assert_array_equal(got[:, 0], 5 + np.arange(1, 101) * np.arange(2, 102) / 2)


@pytest.mark.parametrize("form", [scan.sequential, scan.parallel])
def test_inputs_do_not_change(form: Callable[..., Any]) -> None:
    arrays = example(9, np.float64)
    before = [array.copy() for array in arrays]
    form(numpy_ops(), *arrays)
    for array, copy in zip(arrays, before, strict=True):
        np.testing.assert_array_equal(array, copy)
