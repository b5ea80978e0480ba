"""The linear recurrence h[t] = a[t]·h[t-1] + b[t], step by step and in parallel over time.

Two neighbouring steps combine into one step, ``(a2·a1, a2·b1 + b2)``, so log2(T) rounds of doubling compute
all steps. Source: W. D. Hillis and G. L. Steele, "Data Parallel Algorithms", CACM 29 (1986). Both functions
work on numpy arrays and torch tensors and agree up to rounding.
"""

from __future__ import annotations

from elman.cells._cell import Array, Ops


def sequential(ops: Ops, a: Array, b: Array, start: Array) -> Array:
    """Return every h[t] ``[T, ...]``, step by step from h[-1] = ``start [...]``.

    >>> import numpy as np
    >>> from elman.cells import numpy_ops
    >>> sequential(numpy_ops(), np.array([0.5, 0.5]), np.array([1.0, 1.0]), np.array(2.0)).tolist()
    [2.0, 2.0]
    """
    h, states = start, []
    for step in range(len(a)):
        h = a[step] * h + b[step]
        states.append(h[None])
    return ops.concatenate(states)


def parallel(ops: Ops, a: Array, b: Array, start: Array) -> Array:
    """Compute the result of `sequential` in log2(T) rounds over the whole sequence.

    >>> import numpy as np
    >>> from elman.cells import numpy_ops
    >>> parallel(numpy_ops(), np.array([0.5, 0.5]), np.array([1.0, 1.0]), np.array(2.0)).tolist()
    [2.0, 2.0]
    """
    # Put the start state into the first step, so that all steps combine alike.
    b = ops.concatenate([(a[0] * start + b[0])[None], b[1:]])
    # steps that each element combines so far
    reach = 1
    while reach < len(a):
        b = ops.concatenate([b[:reach], a[reach:] * b[:-reach] + b[reach:]])
        a = ops.concatenate([a[:reach], a[reach:] * a[:-reach]])
        reach *= 2
    return b
