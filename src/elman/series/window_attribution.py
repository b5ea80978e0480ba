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
from elman.series.window_rule import Prepared, Scale, WindowRule

if TYPE_CHECKING:
    from elman.series.predictor import ForecastPredictor


class Block(NamedTuple):
    """A block of neighbouring rows of one column, which gets one share."""

    name: str
    role: str
    """Kind of the column: values, past, future or static."""
    column: int
    first: int
    end: int
    """Index after the block's last row."""


def attribute(
    predictor: ForecastPredictor,
    series: SeriesSet,
    blocks: Sequence[Block],
    steps: np.ndarray,
    *,
    frozen: bool,
) -> tuple[np.ndarray, float]:
    """Attribute the mean forecast of some steps to blocks of the window, after the rule's transform.

    Args:
        predictor: The forecaster.
        series: The one series that is explained.
        blocks: The blocks of rows to which shares are given.
        steps: The forecast steps, from 0, whose mean is explained.
        frozen: Freeze gates and rectifiers at this window (decomposition); otherwise integrate gradients.

    Returns:
        The share ``[N]`` of each block, and the rest of the forecast, which belongs to no block.
    """
    codec, config = predictor.codec, predictor.model.config
    moved = _without_each_block(codec, series, blocks)
    rows, base = moved.inputs[:, 0].astype(np.float64), moved.inputs[:, -1].astype(np.float64)
    # Each member explains its own share of the mean forecast.
    networks = [
        _Network(config, member_arrays(predictor.model.arrays, m), codec.rule, frozen)
        for m in range(config.members)
    ]
    answers = np.mean([network.answers(rows) for network in networks], axis=0)
    weights, rest = _median_weights(codec, answers, steps)
    slopes = np.zeros_like(rows)
    # Numbers in memory for one point of the path, for all gates of all layers.
    size = len(rows) * (config.input_size + 8 * config.hidden_size * config.num_layers)
    for network in networks:
        network.set_target(weights)
        mean, constant = slopes_between(network.run, base, rows, frozen=frozen, size=size)
        slopes += mean / config.members
        rest += constant / config.members
    # [S, N, F]: how far each block moves the inputs away from those of a window without it
    shares = np.einsum("sf,snf->n", slopes, rows[:, None] - moved.inputs[:, 1:-1])
    # Inputs that were clipped, among others, are not the sum of their blocks: put the rest into the bias.
    rest += (slopes * (rows - base)).sum() - shares.sum()
    # [1 + N + 1]: the naive forecast, to which the network adds its answer, in units of the window
    naive = (moved.base[:, steps] / len(steps) / moved.unit[:, None]).sum(axis=1)
    naive_shares = naive[0] - naive[1:-1]
    rest += naive[0] - naive_shares.sum()
    return (shares + naive_shares) * moved.unit[0], float(rest * moved.unit[0])


def _without_each_block(
    codec: ForecastCodec, series: SeriesSet, blocks: Sequence[Block]
) -> Prepared:
    """Return the window of a series: itself, then without each of the N blocks alone, then without all.

    Values that are left out are at the level of the window, covariates at their mean. All ``N + 2`` windows
    have the location and scale of the first, so that their inputs are linear in the blocks.
    """
    rule, T, N = codec.rule, len(series.values[0]), len(blocks)
    cut = codec.windows(series).cut(np.array([0]), np.array([T]))
    scale = rule.scale(cut.values[:, : rule.steps_back], cut.least_unit)
    level, known = np.ldexp(scale.location, scale.power), np.isfinite(cut.values[0])
    past = np.repeat(cut.values[:, : rule.steps_back], N + 2, axis=0)
    covariates, static = (
        None if rows is None else np.repeat(rows, N + 2, axis=0)
        for rows in (cut.covariates, cut.static)
    )
    # Window `number` is without this block alone, the last window is without all of them.
    for window, block in [*enumerate(blocks, 1), *((-1, block) for block in blocks)]:
        at = np.arange(block.first, block.end) - T + rule.steps_back
        if block.role == "values":
            past[window, at[known[at]]] = level
        elif block.role == "static" and static is not None:
            static[window, block.first] = 0
        elif covariates is not None:
            column = block.column + (rule.past if block.role == "future" else 0)
            covariates[window, at, column] = 0
    scale = Scale(*(np.repeat(numbers, N + 2) for numbers in scale))
    return rule.arrange(past, scale, covariates, static, codec.ridge)


def _median_weights(
    codec: ForecastCodec, answers: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return the weight ``[reach, Q]`` of each answer in the mean median of `steps`, and its calibration.

    The network's quantiles may cross, before and after calibration, so the median can be any of them.
    """
    weights, correction = np.zeros_like(answers), 0.0
    for step in steps:
        order = np.argsort(answers[step], kind="stable")
        # Sorting before and after the corrections, exactly as a forecast does.
        calibrated = np.argsort(answers[step, order] + codec.corrections, kind="stable")
        median = calibrated[codec.levels.index(0.5)]
        weights[step, order[median]] += 1 / len(steps)
        correction += float(codec.corrections[median]) / len(steps)
    return weights, correction


class _Network:
    """One member of the forecaster, forwards to a weighted sum of its answers, and backwards."""

    def __init__(
        self,
        config: ForecastConfig,
        weights: Mapping[str, np.ndarray],
        rule: WindowRule,
        frozen: bool,
    ) -> None:
        self.layers = Layers(config, weights, dtype=np.float64 if frozen else np.float32)
        self.arrays = {name: array.astype(np.float64) for name, array in weights.items()}
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
        # [ahead, s·Q]
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
        # Backwards through the rectifier: no slope where it is closed.
        d_mixed = (mixed > 0) * self.to_mixed[:, None]
        d_both = d_mixed @ arrays["middle.weight"]
        dy = np.zeros_like(read)
        dy[future] = d_both[:, :, :H]
        back = self.passage.back(dy, frozen=frozen)
        d_read = back.dx.astype(np.float64)
        # The future segments also reach the middle layer past the recurrent layers.
        d_read[future] += d_both[:, :, H:]
        d_sums = d_read * (read > 0)
        slopes = d_sums @ arrays["input.weight"]
        slopes[future] += self.to_skipped[:, None]
        bias = back.bias + (d_mixed @ arrays["middle.bias"]).sum(axis=0) + self.constant
        bias = bias + (d_sums @ arrays["input.bias"]).sum(axis=0)
        return score, slopes.transpose(1, 0, 2), bias
