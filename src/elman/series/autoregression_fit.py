"""Fit of the linear autoregression: a ridge regression whose strength and lags cross-validation chooses.

The training windows are cut into blocks: of time, or of series if there are many of them. The sums of squares
and products of each block are computed once, and leaving a block out subtracts its sums. So trying every
strength and number of lags costs little.

Cross-validation also knows the time after a block, which flatters a fit. So bounded lags must also lower the
error in later blocks of fits to the blocks before them, and the validation windows, which come after all
blocks, choose between the regression with bounded lags, the one without them, and the naive forecast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, TypeAlias

import numpy as np

from elman.series.autoregression import Ridge, bounded, lag_inputs
from elman.series.codec import ForecastCodec
from elman.series.plan import ForecastPlan
from elman.series.series import SeriesSet
from elman.series.time_split import Origins, origins_for_training, origins_for_validation
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
"""Bound of the distance from the naive forecast, in units of the window or, if larger, median distances."""
MIN_GAIN_ERRORS = 2.0
"""Standard errors by which the ridge must beat the naive forecast; otherwise its weights are 0."""
MIN_LATER_GAIN_ERRORS = 1.0
"""Standard errors by which bounded lags must lower the error in later blocks; otherwise they are left out."""
MIN_ERROR_SHARE = 0.1
"""Share of the deviation below which smaller errors do not give a window more weight."""
MIN_DEVIATION = 1e-3
"""Least deviation of the forecast errors, in units of the window."""
BOUNDED_LAGS = 24
"""Last values that count a second time, bounded."""
BOUND_SHARE = 0.5
"""Bound of the distances that count a second time, as a share of the root mean square of all distances."""
MAX_SAMPLED_TARGET = 1e6
"""Bound of the targets in the sample from which `Design.target_bounds` follow, in units of the window."""
BOUND_SAMPLE_WINDOWS = 2000
"""Training windows from which bounds are computed."""
MIN_VALIDATION_WINDOWS = 8
"""Validation windows without overlap that are needed to choose by them."""

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


@dataclass(frozen=True, eq=False)
class Design:
    """The numbers of training windows that the regression reads and forecasts."""

    origins: Origins
    seasons: Sequence[int]
    """The seasons of the naive forecasts whose distances are the targets."""
    target_bounds: Mapping[int, float]
    """Bound of the targets of each season, in units of the window."""
    bounded_lags: int = 0
    """K, the last values that count a second time, bounded."""
    bound: float = 0.0
    """Their bound, in units of the window."""

    def pairs(self, which: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the inputs ``[B, L + K]`` and the targets ``[B, seasons·h]`` of the windows at `which`."""
        rule = self.origins.windows.rule
        for first in range(0, len(which), rule.batch_size):
            batch = which[first : first + rule.batch_size]
            cut = self.origins.windows.cut(self.origins.series[batch], self.origins.origins[batch])
            scale = rule.scale(cut.values[:, : rule.steps_back], cut.least_unit)
            values = np.ldexp(cut.values, -scale.power[:, None])
            past, future = values[:, : rule.steps_back], values[:, rule.steps_back :]
            targets = []
            for season in self.seasons:
                with np.errstate(over="ignore", invalid="ignore"):
                    distance = (future - rule.repeated(past, scale, season)) / scale.unit[:, None]
                # A missing value counts as the naive forecast, and an extreme one is bounded.
                bound = self.target_bounds[season]
                distance = np.nan_to_num(distance[:, : rule.horizon], posinf=bound, neginf=-bound)
                targets.append(distance.clip(-bound, bound))
            inputs = lag_inputs(past, scale.unit, rule.lags)
            again = bounded(inputs, self.bounded_lags, self.bound)
            inputs = np.concatenate([inputs[:, :-1], again, inputs[:, -1:]], axis=1)
            yield inputs, np.concatenate(targets, axis=1)


class Fit(NamedTuple):
    """The weights with the lowest cross-validated error."""

    season: int
    """The season that the regression adds to, 1 for the last value."""
    weights: np.ndarray
    """``[L + K, h]``: L - 1 distances, the K bounded ones, and the constant."""
    errors: np.ndarray
    """``[blocks, h]``: mean squared error in each block of weights fitted to the others."""
    penalty: float = 0.0
    later_errors: np.ndarray = np.zeros(0)
    """``[later blocks]``: about the absolute error in a block of weights fitted to the blocks before it."""

    def ridge(self, bounded_lags: int = 0, bound: float = 0.0) -> Ridge:
        """Return the autoregression with these weights."""
        K, last = bounded_lags, len(self.weights) - 1
        linear = np.concatenate([self.weights[: last - K], self.weights[last:]])
        # The lags must reach as far back as the bounded ones.
        linear = np.pad(linear, [(max(0, K + 1 - len(linear)), 0), (0, 0)])
        deviation = np.maximum(np.sqrt(self.errors.mean(axis=0)), MIN_DEVIATION)
        return Ridge(
            linear.T.copy(), deviation, self.weights[last - K : last].T.copy(), bound if K else 0.0
        )


def fit_ridge(
    series: SeriesSet, codec: ForecastCodec, plan: ForecastPlan, held_out: Sequence[int]
) -> ForecastCodec:
    """Return the codec with a linear autoregression, fitted to the series before the held-out steps.

    The validation windows among the held-out steps choose its kind, if there are enough of them.

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
    design = _design(origins, seasons)
    counts = sorted({*(n for n in LAG_COUNTS if n < lags), lags})
    fit, naive = _fit(replace(design, bounded_lags=0), counts)
    # In a random walk, the best of many fits only seems better than the last value. Half of the changes of
    # rare events are 0, and so is the median forecast of a change.
    is_better = _gain(naive, fit.errors, MIN_GAIN_ERRORS)
    plain = _with_ridge(codec, Fit(rule.season, np.zeros((1, h)), naive).ridge(), rule.season)
    if not is_better or has_rare_events(known):
        return plain
    candidates = [_with_ridge(codec, fit.ridge(), fit.season), plain]
    again, _ = _fit(design, counts)
    if _gain(fit.later_errors[:, None], again.later_errors[:, None], MIN_LATER_GAIN_ERRORS):
        ridge = again.ridge(design.bounded_lags, design.bound)
        candidates.insert(0, _with_ridge(codec, ridge, again.season))
    # The first of equals is chosen, also where there are too few validation windows.
    errors = [_error(origins_for_validation(series, one, held_out)) for one in candidates]
    return candidates[errors.index(min(errors))]


def _with_ridge(codec: ForecastCodec, ridge: Ridge, season: int) -> ForecastCodec:
    rule = replace(codec.rule, lags=ridge.weights.shape[1], lag_season=season)
    return replace(codec, rule=rule, ridge=ridge)


def _design(origins: Origins, seasons: Sequence[int]) -> Design:
    """Return the design with bounds that fit a sample of its windows."""
    design = Design(origins, seasons, dict.fromkeys(seasons, MAX_SAMPLED_TARGET))
    sample = np.unique(np.linspace(0, len(origins) - 1, BOUND_SAMPLE_WINDOWS).astype(np.int64))
    pairs = [*design.pairs(sample)]
    inputs, targets = (np.concatenate(arrays) for arrays in zip(*pairs, strict=True))
    # [seasons]: usual distance from each naive forecast; a mean would follow a few jumps of a constant series
    sizes = np.median(np.abs(targets).reshape(len(targets), len(seasons), -1), axis=(0, 2))
    bounds = MAX_TARGET * np.maximum(sizes, 1.0)
    return replace(
        design,
        target_bounds=dict(zip(seasons, bounds.tolist(), strict=True)),
        bounded_lags=min(BOUNDED_LAGS, origins.windows.rule.lags - 1),
        bound=BOUND_SHARE * float(np.sqrt((inputs[:, :-1] ** 2).mean())),
    )


def _gain(before: np.ndarray, after: np.ndarray, standard_errors: float) -> bool:
    """Return whether errors ``[blocks, h]`` fell, by more than `standard_errors` of the blocks."""
    gains = 1 - after.mean(axis=1) / np.maximum(before.mean(axis=1), 1e-12)
    return bool(gains.mean() > standard_errors * gains.std() / np.sqrt(max(1, len(gains) - 1)))


def _error(origins: Origins | None) -> float:
    """Return the mean absolute error of the forecast that the network would correct, in units of windows.

    It is 0 if there are too few windows to tell.
    """
    if origins is None or origins.separate(origins.windows.rule.horizon) < MIN_VALIDATION_WINDOWS:
        return 0.0
    windows, size = origins.windows, origins.windows.rule.batch_size
    errors = []
    for first in range(0, len(origins), size):
        _, truth = origins.prepare(np.arange(first, min(first + size, len(origins))))
        errors.append(np.abs(truth[np.isfinite(truth)]))
    spread = 1.0 if windows.ridge is None else windows.ridge.spread
    return float(np.concatenate(errors).mean()) * spread


def refit_ridge(series: SeriesSet, codec: ForecastCodec, plan: ForecastPlan) -> ForecastCodec:
    """Return the codec with its linear autoregression fitted to all values, with the same lags."""
    ridge, rule = codec.ridge, codec.rule
    if ridge is None or not ridge.weights.any():
        return codec
    origins = origins_for_training(series, codec, plan, [0] * len(series))
    design = _design(origins, [rule.lag_season])
    design = replace(design, bounded_lags=ridge.bounded_lags, bound=ridge.bound)
    fit, _ = _fit(design, [rule.lags])
    refitted = fit.ridge(ridge.bounded_lags, ridge.bound)
    return replace(codec, ridge=replace(refitted, deviation=ridge.deviation))


def _fit(design: Design, counts: Sequence[int]) -> tuple[Fit, np.ndarray]:
    """Return the best fit, and the errors ``[blocks, h]`` of the naive forecast of the first season."""
    origins, seasons, K = design.origins, design.seasons, design.bounded_lags
    h = origins.windows.rule.horizon
    every = np.unique(np.linspace(0, len(origins) - 1, MAX_WINDOWS).astype(np.int64))
    blocks = _blocks(design.pairs, every, h, counts[-1] + K, len(seasons) * h)
    if len(blocks) < 2:  # too few windows to cross-validate
        return Fit(seasons[0], np.zeros((1 + K, h)), np.ones((1, h))), np.ones((1, h))
    naive = np.stack([block.core.targets[:h] / block.core.windows for block in blocks])
    best = _choose(blocks, seasons, [count + K for count in counts])
    # Fit once more, with less weight for large errors, towards the least absolute error.
    again = _reweighted(replace(design, seasons=[best.season]).pairs, best)
    columns = len(best.weights)
    blocks = _blocks(again, every, h, columns, h)
    final = _choose(blocks, [best.season], [columns])
    # A reweighted squared error is about the deviation times the absolute error, which the division leaves.
    later = _later_errors(blocks, final) / max(float(np.sqrt(best.errors.mean())), MIN_DEVIATION)
    return final._replace(errors=best.errors, later_errors=later), naive


def _later_errors(blocks: Sequence[Block], fit: Fit) -> np.ndarray:
    """Return the mean squared error in each block of the second half, of a fit to the blocks before it."""
    past, errors = blocks[0].core.empty(), []
    for number, block in enumerate(blocks):
        if 2 * number >= len(blocks):
            (weights,) = past.solve(len(fit.weights), [fit.penalty])
            errors.append(block.core.errors(weights).mean())
        past.add(block.whole)
    return np.array(errors)


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
    return Fit(seasons[own], weights, errors, penalty)
