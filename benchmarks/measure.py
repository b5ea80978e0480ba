"""Cases of the speed benchmark: sides whose results must agree, timed samples, and rows of the table."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from elman.bench import Peak, Side, interleave

__all__ = [
    "Case",
    "Prepared",
    "Row",
    "Settings",
    "agree",
    "agree_in_norm",
    "figures",
    "samples_of",
]

SAMPLE_SECONDS = 0.05


@dataclass(frozen=True)
class Settings:
    """Settings that all cases share."""

    rounds: int = 7
    compile_seconds: float = 60.0
    """Seconds that torch.compile may take for one peer; slower peers are left out."""


@dataclass(frozen=True)
class Row:
    """A row of the table: names of Elman's sides and of its peers; the fastest of each are compared."""

    name: str
    ours: tuple[str, ...]
    peers: tuple[str, ...] = ()
    at_least: float | None = None
    hope: float | None = None
    operations: float = 0.0
    """Floating-point operations of one of our steps."""
    by: str = "ratio"
    """Kind of the marks: "ratio" of their time to ours, "share" of the peak, "memory", ours to theirs, or our
    "time" in the unit of the case."""


@dataclass
class Prepared:
    """A prepared case whose sides agree; `measure` takes the samples, in the unit `unit`."""

    rows: list[Row]
    sides: dict[str, Side] = field(default_factory=dict)
    agreement: dict[str, float] = field(default_factory=dict)
    """Differences of the results as a share of the allowed difference, by the name of the comparison."""
    left_out: dict[str, str] = field(default_factory=dict)
    """Reasons why peers could not be measured, by their names."""
    after: Callable[[], object] | None = None
    measure: Callable[[int], dict[str, list[float]]] | None = None
    """Function that takes the samples of a case that does not measure times."""
    unit: str = "ms"


@dataclass(frozen=True)
class Case:
    """A case by its name, prepared only when it is measured, because that costs time and memory."""

    name: str
    prepare: Callable[[Settings], Prepared]


def agree(
    got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], tolerance: float
) -> float:
    """Return the largest difference, relative to its array's largest number, as a share of `tolerance`."""
    assert got.keys() == expected.keys(), f"{sorted(got)} against {sorted(expected)}"
    worst = 0.0
    for name, array in expected.items():
        assert got[name].shape == array.shape, name
        difference = np.abs(got[name] - array).max() / np.abs(array).max()
        share = float(difference) / tolerance
        assert share <= 1, f"{name}: {difference:.3g} apart, {tolerance:.3g} allowed"
        worst = max(worst, share)
    return worst


def agree_in_norm(
    got: Mapping[str, np.ndarray], expected: Mapping[str, np.ndarray], products: int
) -> float:
    """Return the difference that rounded weights make, as a share of the allowed difference.

    Rounding both factors to bfloat16, by at most 2⁻⁹, changes the norm of a product by at most 2·2⁻⁹ of it;
    rounding them to integers of 8 bits changes it by about as much.
    Between input and result, `products` such products follow each other.
    """
    tolerance = products * 2.0**-8
    worst = 0.0
    for name, array in expected.items():
        difference = np.linalg.norm(got[name] - array) / np.linalg.norm(array)
        share = float(difference) / tolerance
        assert share <= 1, (
            f"{name}, rounded: {difference:.3g} apart in norm, {tolerance:.3g} allowed"
        )
        worst = max(worst, share)
    return worst


def samples_of(prepared: Prepared, rounds: int, peak: Peak) -> dict[str, list[float]]:
    """Return the samples of every side: milliseconds a step, or the case's own unit."""
    if prepared.measure is not None:
        return prepared.measure(rounds)
    sides = prepared.sides | {"peak": Side(peak)}
    found = interleave(sides, rounds, sample=SAMPLE_SECONDS)
    del found["peak"]  # this case measures rates itself
    return {name: [time * 1e3 for time in times] for name, times in found.items()}


def figures(row: Row, medians: Mapping[str, float], peak: float) -> dict[str, Any]:
    """Return the fields of a row: fastest sides, ratio, share of the peak, and whether its mark is met.

    Fields that a row does not have are None.
    """
    ours = min(row.ours, key=medians.__getitem__)
    peer = min(row.peers, key=medians.__getitem__, default=None)
    gflops = row.operations / medians[ours] / 1e6 if row.operations else None
    found: dict[str, Any] = {
        "name": row.name,
        "ours": {name: medians[name] for name in row.ours},
        "peers": {name: medians[name] for name in row.peers},
        "ratio": None if peer is None else medians[peer] / medians[ours],
        "gflops": gflops,
        "share": gflops * 1e9 / peak if gflops and peak else None,
        "memory": None if peer is None else medians[ours] / medians[peer],
        "time": medians[ours],
        "by": row.by,
        "at_least": row.at_least,
        "hope": row.hope,
    }
    value = found[row.by]
    if row.by != "memory":
        found["memory"] = None
    less = row.by in ("memory", "time")
    for mark, limit in (("met", row.at_least), ("hoped", row.hope)):
        known = value is not None and limit is not None
        found[mark] = (value <= limit if less else value >= limit) if known else None
    return found
