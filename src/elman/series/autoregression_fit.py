"""Fit of the linear autoregression: a ridge regression whose strength and lags cross-validation chooses.

The training windows are cut into blocks of time. The sums of squares and products of each block are computed
once, and leaving a block out subtracts its sums. So trying every strength and number of lags costs little.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple, TypeAlias

import numpy as np

from elman.series.autoregression import Ridge, lag_inputs
from elman.series.codec import ForecastCodec
from elman.series.plan import ForecastPlan
from elman.series.series import SeriesSet
from elman.series.time_split import Origins, origins_for_training
from elman.series.window_choice import has_rare_events

PENALTIES = tuple(10.0 ** (half / 2) for half in range(4, -15, -1))
"""Ridge penalties that are tried, as shares of the mean square of the inputs."""
LAG_COUNTS = (6, 12, 24, 48, 96, 168, 336, 672)
"""Numbers of lags that are tried."""
DEFAULT_LAGS = 336
"""Lags that are tried where the window is shorter: two weeks of hours, a week of half hours."""
MAX_WINDOWS = 30_000
"""Training windows that the regression is fitted to, at most."""
BLOCKS = 8
"""Blocks of time in the cross-validation."""
MIN_BLOCK_WINDOWS = 4
"""Windows in each block; with fewer, the weights are 0."""
MAX_TARGET = 12.0
"""Bound of the distance from the naive forecast, in units of the window."""
MIN_GAIN_ERRORS = 2.0
"""Standard errors by which the ridge must beat the naive forecast; otherwise its weights are 0."""
MIN_ERROR_SHARE = 0.1
"""Share of the deviation below which smaller errors do not give a window more weight."""
MIN_DEVIATION = 1e-3
"""Least deviation of the forecast errors, in units of the window."""

Pairs: TypeAlias = Iterable[tuple[np.ndarray, np.ndarray]]
"""Batches of windows: inputs ``[B, L]`` and targets ``[B, targets]``."""


class Sums:
    """Sums of squares and products of the last `lags` inputs and of the targets of windows."""

    def __init__(self, pairs: Pairs, lags: int, targets: int) -> None:
        self.windows = 0
        self.inputs, self.products = np.zeros((lags, lags)), np.zeros((lags, targets))
        self.targets = np.zeros(targets)
        for x, y in pairs:
            recent = x[:, -lags:]
            self.windows += len(x)
            self.inputs += recent.T @ recent
            self.products += recent.T @ y
            self.targets += (y**2).sum(axis=0)

    def add(self, other: Sums, sign: int = 1) -> Sums:
        """Add the sums of other windows, or take them away with the sign -1, and return self."""
        self.windows += sign * other.windows
        self.inputs += sign * other.inputs
        self.products += sign * other.products
        self.targets += sign * other.targets
        return self

    def empty(self) -> Sums:
        """Return sums of this shape over no windows."""
        return Sums((), *self.products.shape)

    def solve(self, lags: int, penalties: Sequence[float]) -> list[np.ndarray]:
        """Return the weights ``[L, targets]`` of the last `lags` inputs for each penalty."""
        values, vectors = np.linalg.eigh(self.inputs[-lags:, -lags:])
        rotated = vectors.T @ self.products[-lags:]
        size = max(float(values.mean()), 1e-12)
        return [
            vectors @ (rotated / (np.maximum(values, 0) + penalty * size)[:, None])
            for penalty in penalties
        ]

    def errors(self, weights: np.ndarray) -> np.ndarray:
        """Return the mean squared error ``[targets]`` of ``weights [L, targets]`` in these windows."""
        L = len(weights)
        squares = (weights * (self.inputs[-L:, -L:] @ weights)).sum(axis=0)
        errors = self.targets - 2 * (weights * self.products[-L:]).sum(axis=0) + squares
        return np.asarray(np.maximum(errors, 0.0) / self.windows)


class Block(NamedTuple):
    """A block of windows that is left out together."""

    core: Sums
    """The windows that are measured: no window of another block knows a part of their future."""
    whole: Sums
    """The windows that the weights must not know."""


class Fit(NamedTuple):
    """The weights with the lowest cross-validated error."""

    season: int
    """The season that the regression adds to, 1 for the last value."""
    weights: np.ndarray
    """``[L, h]``."""
    errors: np.ndarray
    """``[blocks, h]``: mean squared error in each block of weights fitted to the others."""


def fit_ridge(
    series: SeriesSet, codec: ForecastCodec, plan: ForecastPlan, held_out: Sequence[int]
) -> ForecastCodec:
    """Return the codec with a linear autoregression, fitted to the series before the held-out steps.

    Raises DataError if no series is long enough to train on.
    """
    rule, h = codec.rule, codec.rule.horizon
    known = series.before(held_out)
    # A series must hold training windows at different origins beside the lags.
    room = max(rule.season + 1, (max(map(len, known.values)) - h) // 3)
    lags = min(max(DEFAULT_LAGS, rule.window), LAG_COUNTS[-1], room)
    wide = replace(codec, rule=replace(rule, lags=lags, lag_season=1), ridge=None)
    origins = origins_for_training(series, wide, plan, held_out)
    # The naive forecast of the rule comes first.
    seasons = sorted({1, rule.season}, reverse=True)
    fit, naive = _fit(origins, seasons, sorted({*(n for n in LAG_COUNTS if n < lags), lags}))
    gains = 1 - fit.errors.mean(axis=1) / np.maximum(naive.mean(axis=1), 1e-12)
    # In a random walk, the best of many fits only seems better than the last value. Half of the changes of
    # rare events are 0, and so is the median forecast of a change.
    is_better = gains.mean() > MIN_GAIN_ERRORS * gains.std() / np.sqrt(max(1, len(gains) - 1))
    if not is_better or has_rare_events(known):
        fit = Fit(rule.season, np.zeros((1, h)), naive)
    deviation = np.maximum(np.sqrt(fit.errors.mean(axis=0)), MIN_DEVIATION)
    rule = replace(rule, lags=len(fit.weights), lag_season=fit.season)
    return replace(codec, rule=rule, ridge=Ridge(fit.weights.T.copy(), deviation))


def refit_ridge(series: SeriesSet, codec: ForecastCodec, plan: ForecastPlan) -> ForecastCodec:
    """Return the codec with its linear autoregression fitted to all values, with the same lags."""
    ridge, rule = codec.ridge, codec.rule
    if ridge is None or not ridge.weights.any():
        return codec
    origins = origins_for_training(series, codec, plan, [0] * len(series))
    fit, _ = _fit(origins, [rule.lag_season], [rule.lags])
    return replace(codec, ridge=Ridge(fit.weights.T.copy(), ridge.deviation))


def _fit(origins: Origins, seasons: Sequence[int], counts: Sequence[int]) -> tuple[Fit, np.ndarray]:
    """Return the best fit, and the errors ``[blocks, h]`` of the naive forecast of the first season."""
    h = origins.windows.rule.horizon
    every = np.unique(np.linspace(0, len(origins) - 1, MAX_WINDOWS).astype(np.int64))
    blocks = _blocks(
        lambda part: _pairs(origins, part, seasons), every, h, counts[-1], len(seasons) * h
    )
    if len(blocks) < 2:  # too few windows to cross-validate
        return Fit(seasons[0], np.zeros((1, h)), np.ones((1, h))), np.ones((1, h))
    naive = np.stack([block.core.targets[:h] / block.core.windows for block in blocks])
    best = _choose(blocks, seasons, counts)
    # Fit once more, with less weight for large errors, towards the least absolute error.
    again = _reweighted(lambda part: _pairs(origins, part, [best.season]), best)
    count = len(best.weights)
    weights = _choose(_blocks(again, every, h, count, h), [best.season], [count]).weights
    return best._replace(weights=weights), naive


def _pairs(
    origins: Origins, which: np.ndarray, seasons: Sequence[int]
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield the inputs and the targets ``[B, seasons·h]`` of windows: distances from naive forecasts."""
    rule = origins.windows.rule
    for first in range(0, len(which), rule.batch_size):
        batch = which[first : first + rule.batch_size]
        cut = origins.windows.cut(origins.series[batch], origins.origins[batch])
        scale = rule.scale(cut.values[:, : rule.steps_back], cut.least_unit)
        values = np.ldexp(cut.values, -scale.power[:, None])
        past, future = values[:, : rule.steps_back], values[:, rule.steps_back :]
        targets = []
        for season in seasons:
            with np.errstate(over="ignore", invalid="ignore"):
                distance = (future - rule.repeated(past, scale, season)) / scale.unit[:, None]
            # A missing value counts as the naive forecast, and an extreme one is bounded.
            distance = np.nan_to_num(distance, posinf=MAX_TARGET, neginf=-MAX_TARGET)
            targets.append(distance[:, : rule.horizon].clip(-MAX_TARGET, MAX_TARGET))
        yield lag_inputs(past, scale.unit, rule.lags), np.concatenate(targets, axis=1)


def _reweighted(pairs_of: Callable[[np.ndarray], Pairs], fit: Fit) -> Callable[[np.ndarray], Pairs]:
    """Return `pairs_of` with windows scaled so that squared errors count about as absolute ones do."""
    deviation = max(float(np.sqrt(fit.errors.mean())), MIN_DEVIATION)

    def scaled(which: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for x, y in pairs_of(which):
            error = np.abs(y - x[:, -len(fit.weights) :] @ fit.weights).mean(axis=1)
            share = deviation / np.maximum(error, MIN_ERROR_SHARE * deviation)
            yield x * np.sqrt(share)[:, None], y * np.sqrt(share)[:, None]

    return scaled


def _blocks(
    pairs_of: Callable[[np.ndarray], Pairs],
    every: np.ndarray,
    horizon: int,
    lags: int,
    targets: int,
) -> list[Block]:
    """Return the sums of the windows at `every`, in blocks."""
    blocks = []
    for which in np.array_split(every, BLOCKS):
        if len(which) >= MIN_BLOCK_WINDOWS:
            # Windows within a horizon of another block have a part of their future in common with it.
            gap = min(horizon, int(which[-1] - which[0]) // 4)
            inside = (which >= which[0] + gap) & (which <= which[-1] - gap)
            core, edges = (
                Sums(pairs_of(part), lags, targets) for part in (which[inside], which[~inside])
            )
            blocks.append(Block(core, edges.add(core)))
    return blocks


def _choose(blocks: Sequence[Block], seasons: Sequence[int], counts: Sequence[int]) -> Fit:
    """Return the fit whose season, number of lags and penalty have the lowest cross-validated error."""
    total = blocks[0].core.empty()
    for block in blocks:
        total.add(block.whole)
    h = len(total.targets) // len(seasons)
    naive = np.stack([block.core.targets[:h].mean() / block.core.windows for block in blocks])
    lowest, chosen = np.inf, (0, counts[0], PENALTIES[0], np.ones((len(blocks), h)))
    for count in counts:
        others = (total.empty().add(total).add(block.whole, -1) for block in blocks)
        paths = [other.solve(count, PENALTIES) for other in others]
        for number, penalty in enumerate(PENALTIES):
            pairs = zip(blocks, paths, strict=True)
            errors = np.stack([block.core.errors(path[number]) for block, path in pairs])
            for own, part in enumerate(np.split(errors, len(seasons), axis=1)):
                value = float((part.mean(axis=1) / np.maximum(naive, 1e-12)).mean())
                if value < lowest:
                    lowest, chosen = value, (own, count, penalty, part)
    own, count, penalty, errors = chosen
    weights = total.solve(count, [penalty])[0][:, own * h : (own + 1) * h]
    return Fit(seasons[own], weights, errors)
