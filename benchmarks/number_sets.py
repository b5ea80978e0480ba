"""Small labelled sets of number sequences: nine generators, and days cut from public series.

Each set has few training sequences, as users' sets often do, and a large test set. The generators differ in
what tells the classes apart: shape, frequency, spread, level, order, position, a short motif, or the relation
of channels. Two sets have numbers as targets.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

import numpy as np

from elman.labels.uea import read_ts


class Part(NamedTuple):
    """Sequences ``[T_i, C]`` and their labels or numbers."""

    sequences: list[np.ndarray]
    targets: list[int] | list[float]


def outlines(count: int, draw: np.random.Generator) -> Part:
    """Outlines of four shapes from a random starting point: distance from the centre at 120 angles."""
    angles = np.linspace(0, 2 * np.pi, 120, endpoint=False)
    shapes = [{2: 1.0, 3: 0.4}, {2: 1.0, 5: 0.4}, {3: 0.9, 4: 0.5}, {2: 1.0, 3: 0.2, 5: 0.2}]
    labels = draw.integers(4, size=count)
    sequences = []
    for label in labels:
        turned = angles + draw.uniform(0, 2 * np.pi)
        curve = sum(
            (size + 0.12 * draw.normal()) * np.cos(k * turned + 0.4 * draw.normal())
            for k, size in shapes[label].items()
        )
        curve = curve + 0.15 * draw.normal(size=120)
        sequences.append(((curve - curve.mean()) / curve.std())[:, None])
    return Part(sequences, labels.tolist())


def power_curves(count: int, draw: np.random.Generator) -> Part:
    """Power demand over the 24 hours of summer and winter days, which differ in the evening."""
    hours = np.arange(24)

    def bump(centre: float, width: float) -> np.ndarray:
        return np.exp(-0.5 * ((hours - centre) / width) ** 2)

    labels = draw.integers(2, size=count)
    sequences = []
    for label in labels:
        level = draw.uniform(0.6, 1.4)
        curve = 1.2 * bump(11 + 0.5 * draw.normal(), 3) + level * bump(15 + draw.normal(), 3)
        evening = 19.0 if label else 20.5
        curve += draw.uniform(0.3, 0.8) * bump(evening + 0.4 * draw.normal(), 1.2)
        curve += 0.08 * draw.normal(size=24)
        sequences.append(((curve - curve.mean()) / curve.std())[:, None])
    return Part(sequences, labels.tolist())


def frequencies(count: int, draw: np.random.Generator) -> Part:
    """Sines of three close frequencies in noise, at any phase and size."""
    labels = draw.integers(3, size=count)
    times = np.arange(100)
    sequences = []
    for label in labels:
        wave = np.sin(2 * np.pi * times * (0.06 + 0.012 * label) + draw.uniform(0, 2 * np.pi))
        sequences.append((draw.uniform(0.5, 2) * (wave + 0.8 * draw.normal(size=100)))[:, None])
    return Part(sequences, labels.tolist())


def spreads(count: int, draw: np.random.Generator) -> Part:
    """Autoregressive noise whose standard deviation, alone, is the class."""
    labels = draw.integers(3, size=count)
    sequences = []
    for label in labels:
        noise = draw.normal(size=80)
        for step in range(1, 80):
            noise[step] += 0.7 * noise[step - 1]
        sequences.append(((1.0 + 0.3 * label) * noise + 3 * draw.normal())[:, None])
    return Part(sequences, labels.tolist())


def levels(count: int, draw: np.random.Generator) -> Part:
    """Noisy oscillations whose mean is the class; their shapes say nothing."""
    labels = draw.integers(2, size=count)
    times = np.arange(60)
    sequences = []
    for label in labels:
        wave = np.sin(times * draw.uniform(0.1, 0.5) + draw.uniform(0, 6))
        sequences.append((wave + draw.normal(size=60) + 0.5 * label)[:, None])
    return Part(sequences, labels.tolist())


def orders(count: int, draw: np.random.Generator) -> Part:
    """A peak and a dip, far apart or near; the class is which of them comes first."""
    labels = draw.integers(2, size=count)
    times = np.arange(100)
    sequences = []
    for label in labels:
        first, second = np.sort(draw.choice(np.arange(5, 95, 6), 2, replace=False))
        sign = 1 if label else -1
        curve = sign * np.exp(-0.5 * ((times - first) / 2) ** 2)
        curve -= sign * np.exp(-0.5 * ((times - second) / 2) ** 2)
        sequences.append((2 * curve + 0.3 * draw.normal(size=100))[:, None])
    return Part(sequences, labels.tolist())


def positions(count: int, draw: np.random.Generator) -> Part:
    """One peak in noise; the class is the third of the sequence that it lies in."""
    labels = draw.integers(3, size=count)
    times = np.arange(90)
    sequences = []
    for label in labels:
        centre = 30 * label + draw.uniform(3, 27)
        curve = 2 * np.exp(-0.5 * ((times - centre) / 2) ** 2)
        sequences.append((curve + 0.4 * draw.normal(size=90))[:, None])
    return Part(sequences, labels.tolist())


def motifs(count: int, draw: np.random.Generator) -> Part:
    """A motif of 20 steps, one of three shapes, somewhere in 400 steps of noise."""
    labels = draw.integers(3, size=count)
    ramp = np.linspace(-1, 1, 20)
    shapes = [ramp, -ramp, 1.5 * np.abs(ramp) - 0.75]
    sequences = []
    for label in labels:
        curve = 0.5 * draw.normal(size=400)
        first = draw.integers(380)
        curve[first : first + 20] += 1.5 * shapes[label]
        sequences.append(curve[:, None])
    return Part(sequences, labels.tolist())


def channels(count: int, draw: np.random.Generator) -> Part:
    """Five channels of 8 to 30 steps that follow a slow curve, each class with its own lags and signs."""
    fixed = np.random.default_rng(5)
    lags, signs = fixed.integers(4, size=(4, 5)), fixed.choice([-1.0, 1.0], size=(4, 5))
    labels = draw.integers(4, size=count)
    sequences = []
    for label in labels:
        steps = int(draw.integers(8, 31))
        curve = np.cumsum(draw.normal(size=steps + 4))
        columns = [
            sign * curve[4 - lag : 4 - lag + steps]
            for lag, sign in zip(lags[label], signs[label], strict=True)
        ]
        sequences.append(np.stack(columns, axis=1) + 0.8 * draw.normal(size=(steps, 5)))
    return Part(sequences, labels.tolist())


def frequency_numbers(count: int, draw: np.random.Generator) -> Part:
    """The frequency of a noisy sine as a number."""
    targets = draw.uniform(0.03, 0.12, size=count)
    times = np.arange(100)
    sequences = []
    for target in targets:
        wave = np.sin(2 * np.pi * times * target + draw.uniform(0, 2 * np.pi))
        sequences.append((wave + 0.7 * draw.normal(size=100))[:, None])
    return Part(sequences, (100 * targets).tolist())


def decay_numbers(count: int, draw: np.random.Generator) -> Part:
    """The time constant of a decay that begins at a random step, as a number; 40 to 90 steps."""
    targets = draw.uniform(3, 15, size=count)
    sequences = []
    for target in targets:
        times = np.arange(draw.integers(40, 91)) - draw.integers(5, 20)
        curve = np.where(times >= 0, np.exp(-np.maximum(times, 0) / target), 0)
        sequences.append((draw.uniform(1, 2) * curve + 0.1 * draw.normal(size=len(times)))[:, None])
    return Part(sequences, targets.tolist())


GENERATORS: dict[str, tuple[Callable[[int, np.random.Generator], Part], int]] = {
    "outlines": (outlines, 40),
    "power curves": (power_curves, 60),
    "frequencies": (frequencies, 60),
    "spreads": (spreads, 60),
    "levels": (levels, 60),
    "orders": (orders, 60),
    "positions": (positions, 60),
    "motifs": (motifs, 90),
    "channels": (channels, 80),
    "frequency (number)": (frequency_numbers, 60),
    "decay (number)": (decay_numbers, 60),
}
"""Generators, with the number of their training sequences."""


def generated(
    name: str, seed: int, count: int | None = None, tests: int = 1000
) -> tuple[Part, Part]:
    """Return a training and a test part of a generated set."""
    generator, few = GENERATORS[name]
    draw = np.random.default_rng([seed, *map(ord, name)])
    return generator(count or few, draw), generator(tests, draw)


def _days(values: np.ndarray, labels: list[int], few: int, seed: int) -> tuple[Part, Part]:
    order = np.random.default_rng(seed).permutation(len(labels))
    train, test = (
        Part([values[row] for row in rows], [labels[row] for row in rows])
        for rows in (order[:few], order[few:])
    )
    return train, test


def real(folder: Path, seed: int) -> dict[str, tuple[Part, Part]]:
    """Return days cut from public series, with the weekday or the season as class, 60 of them to train on."""
    taylor = np.loadtxt(folder / "series/taylor.csv", skiprows=1).reshape(-1, 48, 1)
    with (folder / "ett/ETTh1.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    hours = 24 * (len(rows) // 24)
    ett = np.array([row[1:] for row in rows[:hours]], float).reshape(-1, 24, 7)
    dates = [datetime.fromisoformat(row[0]) for row in rows[:hours:24]]
    scaled = taylor - taylor.mean(axis=1, keepdims=True)
    groups = [0, 1, 1, 1, 2, 3, 4]
    return {
        "demand, weekday": _days(scaled, [groups[day % 7] for day in range(len(taylor))], 42, seed),
        "transformer loads, season": _days(
            ett[:, :, :6], [date.month % 12 // 3 for date in dates], 60, seed
        ),
        "transformer loads, weekend": _days(
            ett[:, :, :6], [int(date.weekday() > 4) for date in dates], 60, seed
        ),
    }


def folds(path: Path, seed: int, count: int = 5) -> list[tuple[Part, Part]]:
    """Return the training and the test part of each fold of the training sequences in a .ts file."""
    sequences, labels = read_ts(path)
    assert labels is not None
    numbers = np.unique(labels, return_inverse=True)[1]
    order = np.random.default_rng(seed).permutation(len(numbers))
    order = order[np.argsort(numbers[order], kind="stable")]
    parts = []
    for fold in range(count):
        inside, outside = np.delete(order, np.s_[fold::count]), order[fold::count]
        parts.append(
            tuple(
                Part([sequences[row] for row in rows], numbers[rows].tolist())
                for rows in (inside, outside)
            )
        )
    return parts
