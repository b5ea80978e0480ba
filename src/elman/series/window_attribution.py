"""Attribution of a forecast to the values and columns of its window, by gradients through the network.

The network reads differences: each value against the value a season before. The attribution goes back from
these inputs to single values, so that each share belongs to one value or one column.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from elman.engine.layers import member_arrays
from elman.engine.passage import Layers
from elman.explain.gradients import slopes_between
from elman.series.codec import ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.network import Activations, forward
from elman.series.series import SeriesSet
from elman.series.windows import Prepared, WindowRule, Windows

if TYPE_CHECKING:
    from elman.series.predictor import ForecastPredictor


class Part(NamedTuple):
    """A block of neighbouring rows of one column, which gets one share."""

    name: str
    role: str
    """values, past, future or static."""
    column: int
    first: int
    end: int
    """The row after the last one."""


def attribute(
    predictor: ForecastPredictor,
    series: SeriesSet,
    parts: Sequence[Part],
    steps: np.ndarray,
    *,
    frozen: bool,
) -> tuple[np.ndarray, float]:
    """Attribute the mean forecast of some steps to parts of the window, after the rule's transform.

    Args:
        predictor: the forecaster.
        series: the one series that is explained.
        parts: the blocks of rows to which shares are given.
        steps: the forecast steps, from 0, whose mean is explained.
        frozen: freeze gates and rectifiers at this window (decomposition); otherwise integrate gradients.

    Returns:
        The share ``[N]`` of each part, and the rest of the forecast, which belongs to no part.
    """
    codec, config = predictor.codec, predictor.model.config
    window = _Window(codec, series, parts, steps)
    rows, base = window.rows, window.base
    networks = [
        _Network(config, member_arrays(predictor.model.arrays, m), codec.rule, frozen)
        for m in range(config.members)
    ]
    answers = np.mean([network.answers(rows) for network in networks], axis=0)
    weights, rest = _median_weights(codec, answers, steps)
    slopes = np.zeros_like(rows)
    size = len(rows) * (config.input_size + 8 * config.hidden_size * config.num_layers)
    for network in networks:
        network.set_target(weights)
        mean, constant = slopes_between(network.run, base, rows, frozen=frozen, size=size)
        slopes += mean / config.members
        rest += constant / config.members
    shares = window.shares(slopes)
    # Inputs that were clipped, among others, are not the sum of their values: put the rest into the bias.
    rest += (slopes * (rows - base)).sum() - (shares - window.naive_shares).sum()
    rest = (rest - window.naive_shares.sum()) * window.unit + window.naive_forecast
    return shares * window.unit, float(rest)


class _Terms(NamedTuple):
    """Inputs of the network that are a multiple of a value: arrays ``[n]``."""

    owners: np.ndarray
    """The part of each value, or the number of parts for values without a part."""
    inputs: np.ndarray
    """Flat indices into the inputs ``[S, F]``."""
    amounts: np.ndarray
    """What the value contributes to the input."""


class _Window:
    """The inputs of one window, and for each part the inputs that depend on it.

    The order of the inputs is that of `WindowRule.prepare`.
    """

    def __init__(
        self, codec: ForecastCodec, series: SeriesSet, parts: Sequence[Part], steps: np.ndarray
    ) -> None:
        self.rule, self.parts, self.length = codec.rule, parts, len(series.values[0])
        windows = codec.windows(series)
        prepared, _ = windows.prepare(np.array([0]), np.array([self.length]))
        self.rows = prepared.inputs[:, 0].astype(np.float64)
        """The inputs ``[S, F]``."""
        self.unit = float(prepared.unit[0])
        self._terms = [*self._covariate_terms(series), *self._static_terms()]
        self._add_value_terms(windows, prepared, steps)
        attributed = np.zeros(self.rows.size, bool)
        for term in self._terms:
            attributed[term.inputs] = True
        self.base = np.where(attributed.reshape(self.rows.shape), 0.0, self.rows)
        """The inputs of a window that stays at its level, as the baseline."""

    def _flat(self, channel: int, steps: np.ndarray) -> np.ndarray:
        """Return the flat indices of a channel at time steps of the window."""
        S, F = self.rule.segment, self.rows.shape[1]
        return np.asarray((steps // S) * F + channel * S + steps % S)

    def _owners(self, role: str, column: int) -> np.ndarray:
        """Return the part of every time step ``[W + reach]`` of a column."""
        W, T = self.rule.window, self.length
        owners = np.full(W + T + self.rule.reach, len(self.parts))
        for number, part in enumerate(self.parts):
            if (part.role, part.column) == (role, column):
                owners[W + part.first : W + part.end] = number
        return owners[T:]

    def _covariate_terms(self, series: SeriesSet) -> list[_Terms]:
        # Level, change and long season come first, then the marks of missing values, then the covariates.
        first = 3 + bool(self.rule.long_season)
        roles = [(role, k) for role in ("past", "future") for k in range(len(series.names[role]))]
        terms = []
        for channel, (role, column) in enumerate(roles, first):
            at = self._flat(channel, np.arange(self.rule.window + self.rule.reach))
            terms.append(_Terms(self._owners(role, column), at, self.rows.flat[at]))
        return terms

    def _static_terms(self) -> list[_Terms]:
        S, F = self.rows.shape
        owners = {part.column: n for n, part in enumerate(self.parts) if part.role == "static"}
        terms = []
        for column in range(self.rule.static):
            at = np.arange(S) * F + F - self.rule.static + column
            owner = np.full(S, owners.get(column, len(self.parts)))
            terms.append(_Terms(owner, at, self.rows.flat[at]))
        return terms

    def _add_value_terms(self, windows: Windows, prepared: Prepared, steps: np.ndarray) -> None:
        rule, W, T, count = self.rule, self.rule.window, self.length, len(self.parts)
        values = windows.values[0][T : T + W]
        source = _sources(rule, values)
        # The index -1 of a missing source selects the appended entry: no part, and the level itself.
        owner = np.append(self._owners("values", 0)[:W], count)[source]
        known = np.append(np.isfinite(values), True)[source]
        at = self._flat(0, np.arange(W + rule.reach))
        level = self.rows.flat[at]
        self._terms.append(_Terms(owner, at, level))
        # This input is log(unit / deviation) / 3, so it converts levels to units of the window.
        units_per_level = np.exp(-3 * self.rows[0, self.rows.shape[1] - rule.static - 1])
        in_units = units_per_level * np.append(level[:W], 0.0)[source]
        for channel, at, later in _differences(rule):
            earlier = at - rule.season
            both = known[later] & known[earlier]
            at, later, earlier = at[both], later[both], earlier[both]
            inputs = self._flat(channel, at)
            self._terms.append(_Terms(owner[later], inputs, in_units[later]))
            self._terms.append(_Terms(owner[earlier], inputs, -in_units[earlier]))
        naive = np.bincount(owner[W + steps], in_units[W + steps] / len(steps), count + 1)
        self.naive_shares = naive[:count]
        """The share ``[N]`` of each part in the naive forecast, against the level, in units."""
        self.naive_forecast = float((prepared.base[0, steps] / len(steps)).sum())

    def shares(self, slopes: np.ndarray) -> np.ndarray:
        """Return the share ``[N]`` of each part, against the level, in units, from ``slopes [S, F]``."""
        count = len(self.parts)
        shares = np.zeros(count + 1)
        for owners, inputs, amounts in self._terms:
            shares += np.bincount(owners, slopes.flat[inputs] * amounts, count + 1)
        return np.asarray(shares[:count] + self.naive_shares)


def _median_weights(
    codec: ForecastCodec, answers: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the weight ``[reach, Q]`` of each answer in the mean median of `steps`, and its calibration.

    The network's quantiles may cross, before and after calibration, so the median can be any of them.
    """
    weights, correction = np.zeros_like(answers), 0.0
    for step in steps:
        order = np.argsort(answers[step], kind="stable")
        calibrated = np.argsort(answers[step, order] + codec.corrections, kind="stable")
        median = calibrated[codec.levels.index(0.5)]
        weights[step, order[median]] += 1 / len(steps)
        correction += float(codec.corrections[median]) / len(steps)
    return weights, correction


def _sources(rule: WindowRule, window: np.ndarray) -> np.ndarray:
    """Return for each time step ``[W + reach]`` the step whose value it has: itself, or the one repeated.

    A future step whose phase of the season has no known value gets -1.
    """
    source = np.arange(rule.window + rule.reach)
    for step in range(rule.window, len(source)):
        earlier = np.arange(step - rule.season, -1, -rule.season)
        earlier = earlier[earlier < rule.window]
        earlier = earlier[np.isfinite(window[earlier])]
        source[step] = earlier[0] if len(earlier) else -1
    return source


def _differences(rule: WindowRule) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return the channels that are a value minus the value a season before.

    For each channel: its number, its time steps, and the time step of the value.
    """
    at = np.arange(rule.season, rule.window)
    differences = [(1, at, at)]
    if long := rule.long_season:
        at = np.arange(rule.season, rule.window + rule.reach)
        # Beyond a whole long season of the future, the last known long season repeats.
        cycles = 1 + np.maximum(at - rule.window, 0) // long
        later = at - cycles * long
        differences.append((2, at[later >= 0], later[later >= 0]))
    return differences


class _Network:
    """One member of the forecaster, forwards to a weighted sum of its answers, and backwards."""

    def __init__(
        self, config: ForecastConfig, own: Mapping[str, np.ndarray], rule: WindowRule, frozen: bool
    ) -> None:
        self.layers = Layers(config, own, dtype=np.float64 if frozen else np.float32)
        self.arrays = {name: array.astype(np.float64) for name, array in own.items()}
        self.ahead = rule.ahead

    def _recurrent(self, read: np.ndarray) -> np.ndarray:
        self.passage = self.layers.read(read)
        return self.passage.y

    def _forward(self, x: np.ndarray) -> Activations:
        return forward(self.arrays, x, self.ahead, self._recurrent)

    def answers(self, rows: np.ndarray) -> np.ndarray:
        """Return the quantiles ``[reach, Q]`` of one window ``[S, F]``, before they are sorted."""
        answers = self._forward(rows[:, None]).answers
        return answers.reshape(-1, answers.shape[3])

    def set_target(self, weights: np.ndarray) -> None:
        """Explain the sum of the answers times ``weights [reach, Q]``."""
        self.weights = weights.reshape(self.ahead, 1, -1, weights.shape[1])
        by_segment = weights.reshape(self.ahead, -1)
        self.to_mixed = by_segment @ self.arrays["output.weight"]
        self.constant = (by_segment @ self.arrays["output.bias"]).sum()
        self.to_skipped = self.weights[:, 0].sum(axis=2) @ self.arrays["skip.weight"]

    def run(self, rows: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return scores ``[B]``, slopes ``[B, S, F]`` and biases ``[B]``, as `Run` asks for ``rows``."""
        arrays, H, future = self.arrays, self.layers.hidden_size, slice(-self.ahead, None)
        x = rows.transpose(1, 0, 2).astype(np.float64)
        read, mixed, answers = self._forward(x)
        score = (answers * self.weights).sum(axis=(0, 2, 3))
        d_mixed = (mixed > 0) * self.to_mixed[:, None]
        d_both = d_mixed @ arrays["middle.weight"]
        dy = np.zeros_like(read)
        dy[future] = d_both[:, :, :H]
        back = self.passage.back(dy, frozen=frozen)
        d_read = back.dx.astype(np.float64)
        d_read[future] += d_both[:, :, H:]
        d_sums = d_read * (read > 0)
        slopes = d_sums @ arrays["input.weight"]
        slopes[future] += self.to_skipped[:, None]
        bias = back.bias + (d_mixed @ arrays["middle.bias"]).sum(axis=0) + self.constant
        bias = bias + (d_sums @ arrays["input.bias"]).sum(axis=0)
        return score, slopes.transpose(1, 0, 2), bias
