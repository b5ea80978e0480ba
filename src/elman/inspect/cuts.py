"""Windows whose earlier part is cut off, of labelled sequences and series, and how far the answers move."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.engine.layers import log_softmax
from elman.explain import plausible
from elman.labels.batches import EncodedSequences
from elman.labels.dataset import Sequences
from elman.series.explain import varied

__all__ = ["POSITIONS", "Cuts", "labelled_cuts", "series_cuts", "variation"]

POSITIONS = 64
"""Windows that are measured, at most."""
_DRAWN_STEPS = 64  # of a sequence that is drawn where none is given


class Cuts(NamedTuple):
    """Windows of a task, and what cutting them does."""

    unit: str
    """What a lag counts: "token", "step" or "value"."""
    answer: str
    """What moves: "prediction", "answer" or "forecast"."""
    source: str
    lengths: list[int]
    """Units that each window has before its answer."""
    moved: Callable[[int, list[int]], np.ndarray]
    """How far the answer moves ``[n]`` when all but the last `lag` units of some windows are cut off."""
    gradient: Callable[[Sequence[int]], np.ndarray] | None = None
    """The gradient ``[K]`` at each of some lags, where the task measures it."""


def variation(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the share of probability that moves between distributions ``[n, V]``: total variation."""
    return np.asarray(np.abs(one - other).sum(axis=1) / 2)


def labelled_cuts(predictor: Any, what: Any, far: int) -> Cuts:
    """Return sequences whose label, number or tag is asked for, at most 64.

    Without sequences, 64 plausible ones of 64 steps are drawn. A tag is that of the step two thirds into the
    sequence. A number moves in deviations of the training targets.
    """
    model = predictor.model
    codec, task = model.codec, model.config.task
    given, source = _sequences(codec, what)
    if task == "tag":
        given = given.stepwise()
    encoded = EncodedSequences.of(codec, given)
    long = [row for row, length in enumerate(encoded.lengths.tolist()) if length > 1]
    rows = [long[at] for at in _spread(len(long))]
    items = [encoded.sequences[row] for row in rows]
    at = [2 * len(one) // 3 if task == "tag" else len(one) - 1 for one in items]

    def read(which: Iterable[int], lag: int) -> np.ndarray:
        cut = [max(0, at[row] + 1 - lag) for row in which]
        variants = [items[row][first:] for row, first in zip(which, cut, strict=True)]
        steps = [at[row] - first for row, first in zip(which, cut, strict=True)]
        changed = EncodedSequences(variants, encoded.words, encoded.letters)
        found = predictor.network.encoded_logits(changed, steps if task == "tag" else None)
        found = found.astype(np.float64)
        return np.asarray(found if codec.labels is None else np.exp(log_softmax(found)))

    whole = read(range(len(items)), 2 * far)

    def moved(lag: int, which: list[int]) -> np.ndarray:
        found = read(which, lag)
        apart = variation(found, whole[which])
        return apart if codec.labels is not None else 2 * apart

    return Cuts("step", "answer", source, [place + 1 for place in at], moved)


def _sequences(codec: Any, what: Any) -> tuple[Sequences, str]:
    """Return the sequences to measure on and what they are."""
    if what is not None:
        lines = what.split("\n") if isinstance(what, str) else what
        return Sequences.of(lines), "the sequences that were given"
    draw, count, size = np.random.default_rng(0), POSITIONS, _DRAWN_STEPS
    if codec.tokens is None:
        drawn = plausible.numbers(codec.scaler, count, size, draw)
        source = f"sequences of {size} steps with numbers drawn as they were in training"
        return Sequences("numbers", (*drawn,)), source
    tokens = plausible.tokens(codec.tokens, count, size, draw)
    source = f"sequences of {size} tokens drawn by their frequency in training"
    if codec.tokens.level == "char":
        return Sequences("text", tuple(map("".join, tokens))), source
    return Sequences("tokens", tuple(map(tuple, tokens))), source


def _spread(count: int) -> list[int]:
    """Return at most 64 of `count` places, spread evenly."""
    return np.linspace(0, count - 1, min(POSITIONS, count)).astype(int).tolist() if count else []


def series_cuts(predictor: Any, what: Any, far: int) -> Cuts:
    """Return windows of series whose mean forecast is asked for, at most 64.

    Older values and past columns become missing; a forecast moves in deviations of its window's values.
    """
    del far
    series = predictor.history if what is None else predictor.read(what)
    rule = predictor.codec.rule
    places = []
    for row, values in enumerate(series.values):
        known = np.isfinite(rule.transform(values))
        least = min(rule.window, len(values)) - 1
        places += [(row, end + 1) for end in np.flatnonzero(known).tolist() if end >= least]
    chosen = [places[at] for at in _spread(len(places))]
    windows = [_window(series, row, origin, rule.window) for row, origin in chosen]
    spread = np.array([np.nanstd(one["values"]) or 1.0 for one in windows])

    def forecast(which: Sequence[int], lag: int) -> np.ndarray:
        cut = [_cut(windows[row], lag) for row in which]
        many = varied(series, [chosen[row][0] for row in which], cut)
        return np.asarray(predictor.forecast(many).median)

    whole = forecast(range(len(windows)), rule.window)

    def moved(lag: int, which: list[int]) -> np.ndarray:
        apart = np.abs(forecast(which, lag) - whole[which]).mean(axis=1)
        return np.asarray(apart / spread[which])

    source = "the series that it knows" if what is None else "the series that were given"
    lengths = [len(one["values"]) for one in windows]
    return Cuts("value", "forecast", source, lengths, moved)


def _window(series: Any, row: int, origin: int, size: int) -> dict[str, np.ndarray]:
    """Return the columns of one series from `size` steps before an origin."""
    first = max(0, origin - size)
    parts = {name: getattr(series, name)[row][first:origin] for name in ("times", "values", "past")}
    return {**parts, "starts": parts["times"][0], "future": series.future[row][first:]}


def _cut(window: dict[str, np.ndarray], lag: int) -> dict[str, np.ndarray]:
    older = max(0, len(window["values"]) - lag)
    changed = {name: window[name].copy() for name in ("values", "past")}
    for column in changed.values():
        column[:older] = np.nan
    return window | changed
