"""A forecaster's answer shared out among the values and columns of the window that its network reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.engine.layers import member_arrays
from elman.engine.passage import Layers, Passage
from elman.explain.gradients import slopes_between
from elman.series.codec import ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.series import SeriesSet
from elman.series.windows import WindowRule

__all__ = ["Part", "shared_out"]


class Part(NamedTuple):
    """What can be left out: rows of a column, from `first` to before `end`."""

    name: str
    role: str
    column: int
    first: int
    end: int


def shared_out(
    predictor: Any, series: SeriesSet, parts: Sequence[Part], steps: np.ndarray, *, frozen: bool
) -> tuple[np.ndarray, float]:
    """Return the share ``[N]`` of each part in the mean of the forecast's `steps`, and of all that is none.

    In the space of the network, which forecasts the distance from the naive forecast.
    """
    codec, config = predictor.codec, predictor.model.config
    window = _Window(codec, series, parts, steps)
    rows, base = window.rows, window.base
    networks = [
        _Network(config, member_arrays(predictor.model.arrays, m), codec.rule, frozen)
        for m in range(config.members)
    ]
    answers = np.mean([network.answers(rows) for network in networks], axis=0)
    weights, rest = _medians(codec, answers, steps)
    slopes = np.zeros_like(rows)
    size = len(rows) * (config.input_size + 8 * config.hidden_size * config.num_layers)
    for network in networks:
        network.ask(weights)
        mean, constant = slopes_between(network.run, base, rows, frozen=frozen, size=size)
        slopes += mean / config.members
        rest += constant / config.members
    shares = window.told(slopes)
    # what was cut to the limits, for one, is no sum of values
    rest += (slopes * (rows - base)).sum() - (shares - window.naive).sum()
    rest = (rest - window.naive.sum()) * window.unit + window.repeated
    return shares * window.unit, float(rest)


class _Window:
    """The window of one series as the network reads it, and what each slope there is worth to which part.

    What it reads of the values, each against the season before it, is taken apart again, so that a share is
    of one value. The order of its numbers is that of `WindowRule.prepare`.
    """

    def __init__(
        self, codec: ForecastCodec, series: SeriesSet, parts: Sequence[Part], steps: np.ndarray
    ) -> None:
        rule, T, self.count = codec.rule, len(series.values[0]), len(parts)
        windows = codec.windows(series)
        prepared, _ = windows.prepare(np.array([0]), np.array([T]))
        self.rows = rows = prepared.inputs[:, 0].astype(np.float64)
        self.unit = float(prepared.unit[0])
        W, s, S, F = rule.window, rule.season, rule.segment, rows.shape[1]
        length, first_static = W + rule.reach, F - rule.static
        kinds = 2 + bool(rule.long_season)  # of values; behind them whether one is missing
        self._terms: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
        varied = np.zeros(rows.size, bool)

        def place(kind: int, at: np.ndarray) -> np.ndarray:
            return np.asarray((at // S) * F + kind * S + at % S)

        def of(role: str, column: int) -> np.ndarray:
            """The part of every step of a column, the number behind the last where of none."""
            found = np.full(W + T + rule.reach, self.count)
            for number, part in enumerate(parts):
                if (part.role, part.column) == (role, column):
                    found[W + part.first : W + part.end] = number
            return found[T:]

        def add(owner: np.ndarray, where: np.ndarray, worth: np.ndarray) -> None:
            varied[where] = True
            self._terms.append((owner, where, worth))

        every = np.arange(length)
        columns = [(role, k) for role in ("past", "future") for k in range(len(series.names[role]))]
        for kind, (role, column) in enumerate(columns, kinds + 1):
            where = place(kind, every)
            add(of(role, column), where, rows.flat[where])
        for column in range(rule.static):
            where = np.arange(len(rows)) * F + first_static + column
            number = of("static", column)[W : W + 1] if T else np.array([self.count])
            add(np.repeat(number, len(rows)), where, rows.flat[where])
        values = windows.values[0][T : T + W]
        source = _sources(rule, values)
        # behind the window stands what takes the place of no value: its level
        owner = np.append(of("values", 0)[:W], self.count)[source]
        there = np.append(np.isfinite(values), True)[source]
        level = rows.flat[place(0, every)]
        add(owner, place(0, every), level)
        # the network is told how many of the window's units a deviation from its level is
        apart = np.exp(-3 * rows[0, first_static - 1]) * np.append(level[:W], 0.0)[source]
        for kind, at, later in _differences(rule):
            earlier = at - s
            some = there[later] & there[earlier]
            at, later, earlier = at[some], later[some], earlier[some]
            add(owner[later], place(kind, at), apart[later])
            add(owner[earlier], place(kind, at), -apart[earlier])
        self.base = np.where(varied.reshape(rows.shape), 0.0, rows)
        naive = np.bincount(owner[W + steps], apart[W + steps] / len(steps), self.count + 1)
        self.naive = naive[: self.count]
        """Of each part in the naive forecast, against the level, in units."""
        self.repeated = float((prepared.base[0, steps] / len(steps)).sum())
        """The naive forecast."""

    def told(self, slopes: np.ndarray) -> np.ndarray:
        """Return the share ``[N]`` of each part in the forecast, against the level, in units."""
        shares = np.zeros(self.count + 1)
        for owner, where, worth in self._terms:
            shares += np.bincount(owner, slopes.flat[where] * worth, self.count + 1)
        return np.asarray(shares[: self.count] + self.naive)


def _medians(
    codec: ForecastCodec, answers: np.ndarray, steps: np.ndarray
) -> tuple[np.ndarray, float]:
    """Return which answers ``[reach, Q]`` the medians of `steps` are the mean of, and its calibration.

    Quantiles may change places, before and after they are calibrated.
    """
    weights, corrected = np.zeros_like(answers), 0.0
    for step in steps:
        order = np.argsort(answers[step], kind="stable")
        calibrated = np.argsort(answers[step, order] + codec.corrections, kind="stable")
        place = calibrated[codec.levels.index(0.5)]
        weights[step, order[place]] += 1 / len(steps)
        corrected += float(codec.corrections[place]) / len(steps)
    return weights, corrected


def _sources(rule: WindowRule, window: np.ndarray) -> np.ndarray:
    """Return where the value at each step ``[W + reach]`` stands: itself, or what the naive forecast repeats.

    -1 where there is none to repeat.
    """
    source = np.arange(rule.window + rule.reach)
    for place in range(rule.window, len(source)):
        earlier = np.arange(place - rule.season, -1, -rule.season)
        earlier = earlier[earlier < rule.window]
        earlier = earlier[np.isfinite(window[earlier])]
        source[place] = earlier[0] if len(earlier) else -1
    return source


def _differences(rule: WindowRule) -> list[tuple[int, np.ndarray, np.ndarray]]:
    """Return the kinds that are a value less the one a season before: kind, steps, and which value."""
    at = np.arange(rule.season, rule.window)
    found = [(1, at, at)]
    if long := rule.long_season:
        at = np.arange(rule.season, rule.window + rule.reach)
        # beyond the long season's end that of the season before it again
        cycles = 1 + np.maximum(at - rule.window, 0) // long
        earlier = at - cycles * long
        found.append((2, at[earlier >= 0], earlier[earlier >= 0]))
    return found


class _Network:
    """One member, from the scaled window to a sum of its answers, and back."""

    def __init__(
        self, config: ForecastConfig, own: Mapping[str, np.ndarray], rule: WindowRule, frozen: bool
    ) -> None:
        self.layers = Layers(config, own, dtype=np.float64 if frozen else np.float32)
        self.own = {name: array.astype(np.float64) for name, array in own.items()}
        self.rule = rule

    def answers(self, rows: np.ndarray) -> np.ndarray:
        """Return the quantiles ``[reach, Q]`` of one window ``[S, F]``, as they come from the network."""
        *_, mixed = self._read(rows[:, None])
        found = mixed[:, 0] @ self.own["output.weight"].T + self.own["output.bias"]
        skipped = rows[-self.rule.ahead :] @ self.own["skip.weight"].T
        return np.asarray(found.reshape(self.rule.reach, -1) + skipped.reshape(-1, 1))

    def ask(self, weights: np.ndarray) -> None:
        """Let the score be the sum of the answers times ``weights [reach, Q]``."""
        segments = weights.reshape(self.rule.ahead, -1)
        self.output = segments @ self.own["output.weight"]
        self.constant = (segments @ self.own["output.bias"]).sum()
        whole = weights.sum(axis=1).reshape(self.rule.ahead, -1)
        self.skip = whole @ self.own["skip.weight"]

    def _read(self, x: np.ndarray) -> tuple[np.ndarray, Passage, np.ndarray]:
        """Return the input's sums, what the layers read of them, and the last segments' mixture."""
        own, last = self.own, slice(-self.rule.ahead, None)
        sums = x @ own["input.weight"].T + own["input.bias"]
        read = np.maximum(sums, 0)
        passage = self.layers.read(read)
        both = np.concatenate([passage.y[last], read[last]], axis=2)
        mixed = np.maximum(both @ own["middle.weight"].T + own["middle.bias"], 0)
        return sums, passage, mixed

    def run(self, rows: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what `Run` says of ``rows [B, S, F]``, in units of the window."""
        own, H, last = self.own, self.layers.hidden_size, slice(-self.rule.ahead, None)
        x = rows.transpose(1, 0, 2).astype(np.float64)
        sums, passage, mixed = self._read(x)
        score = np.einsum("abh,ah->b", mixed, self.output) + self.constant
        score += np.einsum("abf,af->b", x[last], self.skip)
        d_mixed = (mixed > 0) * self.output[:, None]
        d_both = d_mixed @ own["middle.weight"]
        dy = np.zeros(passage.y.shape)
        dy[last] = d_both[:, :, :H]
        back = passage.back(dy, frozen=frozen)
        d_read = back.dx.astype(np.float64)
        d_read[last] += d_both[:, :, H:]
        d_sums = d_read * (sums > 0)
        slopes = d_sums @ own["input.weight"]
        slopes[last] += self.skip[:, None]
        bias = back.bias + (d_mixed @ own["middle.bias"]).sum(axis=0) + self.constant
        bias = bias + (d_sums @ own["input.bias"]).sum(axis=0)
        return score, slopes.transpose(1, 0, 2), bias
