"""The training of a forecaster: the split in time, windows, objective, calibration, test and card."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from time import monotonic
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from elman.errors import OptionError
from elman.metrics.forecast import mean_of_quantiles
from elman.series.codec import ForecastCodec
from elman.series.config import ForecastConfig
from elman.series.network_torch import Forecaster, pinball
from elman.series.options import ForecasterOptions
from elman.series.plan import UNMEASURED_STEPS, ForecastPlan, forecast_plan, percents
from elman.series.report import Window, forecast_report
from elman.series.series import SeriesSet
from elman.series.split import (
    Origins,
    held_out_steps,
    origins_to_test,
    origins_to_validate,
    training_origins,
)
from elman.series.window_rule import choose_rule, usual_change
from elman.series.windows import Prepared, WindowRule
from elman.tables.scaler import Scaler
from elman.training.checkpoint import Best
from elman.training.distributed import Group
from elman.training.loop import Watch
from elman.training.objective import Measure, Objective
from elman.training.plan import Schedule
from elman.training.run import Outcome, Run, execute

__all__ = ["train_forecaster"]

FEW_WINDOWS = 50
"""Validation windows that do not overlap, below which intervals are only widened."""
DOUBTED_VALUES = 100
"""Validation values from which half of what they say of the mean is believed."""
FIRST_SHARE = 1 / 3
"""Share of a run's limit in which the first network finds out how long to train."""
SPARE = 0.8
"""Share of the remaining time that the members of the last stage are planned to take."""
TRENDS = 0.7
"""Share of the windows to which a line is added."""
UNTESTED = (
    "no values can be held out of series so short: intervals are not calibrated, and how good forecasts"
    " are is not known"
)
FARTHEST = 60.0
"""Truth farther from the naive forecast, in units of the window, is as far as that."""


def train_forecaster(
    series: SeriesSet,
    options: ForecasterOptions,
    *,
    output: Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Train a forecaster on `series` and return it, calibrated and tested on their held-out end.

    Raises DataError, OptionError, OutputError, ModelFileError, DivergedError.
    """
    load = partial(_ForecastRun.load, series, options, output)
    return execute(load, options, output=output, resume=resume, watch=watch)


class _ForecastObjective(Objective):
    """The quantiles of every step of a window's future, as distances from its naive forecast."""

    unit = "window"

    def __init__(
        self, run: _ForecastRun, config: ForecastConfig, training: Origins, held: Origins | None
    ) -> None:
        self.run, self.training, self.held = run, training, held
        plan, rule = run.plan, run.codec.rule
        # one start in every process, whatever random numbers an earlier stage drew there
        run.random.seed(plan.seed)
        self.network: Forecaster = Forecaster(config, rule.horizon, plan.dropout, plan.precision)
        self.levels = torch.tensor(run.codec.levels)
        # windows of large relative changes count more where logarithms are forecast: errors of the
        # values themselves are what a person reads
        draw = np.random.default_rng([plan.seed, 1])
        sample = draw.integers(0, len(training), min(2000, 20 * len(training)))
        self.usual = float(training.prepare(sample)[0].unit.mean()) if rule.log else math.inf

    def chunks(self, epoch: int) -> int:  # noqa: ARG002 - every pass is as long
        return math.ceil(len(self.training) / self.run.plan.batch_size)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
        draw = np.random.default_rng([self.run.plan.seed, 2, epoch, index])
        size, group = self.run.plan.batch_size, self.run.group
        drawn = self._drawn(draw, size)
        own = slice(group.rank, None, group.world_size)
        if not len(drawn[own]):  # more processes than windows
            return self.network.nothing(), size
        return self._total(*self._disturbed(draw, drawn, own)), size

    def _disturbed(
        self, draw: np.random.Generator, places: np.ndarray, own: slice
    ) -> tuple[Prepared, np.ndarray]:
        """Return `own` of the windows with what keeps a network from learning few series by heart."""
        plan, trends = self.run.plan, None
        if plan.trend:
            trends = draw.standard_normal(len(places)) * (draw.random(len(places)) < TRENDS)
            trends = plan.trend * trends[own]
        windows, truth = self.training.prepare(places[own], trends)
        S, _, F = windows.inputs.shape
        # the same for a window whatever the number of processes
        noise = draw.standard_normal((len(places), S, F), np.float32)[own].transpose(1, 0, 2)
        return windows._replace(inputs=windows.inputs + np.float32(plan.noise) * noise), truth

    def _drawn(self, draw: np.random.Generator, size: int) -> np.ndarray:
        """Return windows: a series first, each as probable, then one of its origins."""
        firsts = self.training.firsts
        chosen = draw.integers(0, len(firsts) - 1, size)
        first, last = firsts[chosen], firsts[chosen + 1]
        places: np.ndarray = first + (draw.random(size) * (last - first)).astype(np.int64)
        return places

    def _total(self, windows: Prepared, truth: np.ndarray) -> Tensor:
        device = next(self.network.parameters()).device
        wanted, weight = self._wanted(windows, truth)
        return pinball(
            self.network(torch.from_numpy(windows.inputs).to(device)),
            wanted.float().to(device),
            weight.float().to(device),
            self.levels.to(device),
        )

    def _wanted(self, windows: Prepared, truth: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the truth ``[B, h]`` that is learned, and how much each window counts ``[B]``."""
        weight = 1 + np.minimum(windows.unit / self.usual, 10.0)
        return torch.from_numpy(truth.clip(-FARTHEST, FARTHEST)), torch.from_numpy(weight)

    def answers(self, held: Origins) -> tuple[np.ndarray, np.ndarray, Prepared]:
        """Return quantiles ``[N, h, Q]`` and truth ``[N, h]`` in units of the windows, and the windows.

        The windows come without their inputs, which can be too large to hold together.
        """
        device, at_once = next(self.network.parameters()).device, held.windows.rule.at_once
        quantiles, truths, bases, units = [], [], [], []
        self.network.eval()
        with torch.no_grad():
            for first in range(0, len(held), at_once):
                windows, truth = held.prepare(np.arange(first, min(first + at_once, len(held))))
                found = self.network(torch.from_numpy(windows.inputs).to(device)).mean(0)
                quantiles.append(np.sort(found.cpu().double().numpy(), axis=2))
                truths.append(truth)
                bases.append(windows.base)
                units.append(windows.unit)
        self.network.train()
        nothing = np.empty((0, len(held), 0), np.float32)
        together = Prepared(nothing, np.concatenate(bases), np.concatenate(units))
        return np.concatenate(quantiles), np.concatenate(truths), together

    def measure(self) -> Measure:
        if self.held is None:  # all is trained on, and nothing is left to measure on
            return Measure(0.0, {"held_out_loss": None})
        quantiles, truth, windows = self.answers(self.held)
        wanted, weight = self._wanted(windows, truth)
        levels = torch.tensor(self.run.codec.levels, dtype=torch.float64)
        total = pinball(torch.from_numpy(quantiles)[None], wanted, weight, levels)
        loss = float(total) / float(weight.sum())
        return Measure(loss, {"held_out_loss": loss})


@dataclass
class _ForecastRun(Run):
    """One run with everything it was given and what follows from it."""

    options: ForecasterOptions
    plan: ForecastPlan
    config: ForecastConfig
    codec: ForecastCodec
    series: SeriesSet
    held: tuple[int, ...]
    """Steps at the end of each series that are held out; 0 where it is too short."""
    begun: float = 0.0
    """When the first stage began, by the clock `monotonic`."""

    @classmethod
    def load(
        cls, series: SeriesSet, options: ForecasterOptions, output: Path | None, group: Group
    ) -> _ForecastRun:
        levels, lengths = _levels(options.levels), [len(values) for values in series.values]
        if 1 < max(lengths) <= options.horizon:
            expected = f"at most {max(lengths) - 1}: the longest series has {max(lengths)} values"
            raise OptionError("horizon", got=options.horizon, expected=expected)
        rule, calendar = choose_rule(series, options)
        for _ in range(2):
            # what is held out has no say in how windows are cut; how much it is goes by that
            plan = forecast_plan(options, rule, lengths)
            held = held_out_steps(series, rule.horizon, plan.least_past)
            known = tuple(
                one[: len(one) - last] for one, last in zip(series.values, held, strict=True)
            )
            rule, calendar = choose_rule(replace(series, values=known), options)
        least = min(
            (float(np.nanmin(v)) for v in series.values if np.isfinite(v).any()), default=0.0
        )
        rule = replace(
            rule,
            log=rule.log and least > 0,
            nonnegative=rule.nonnegative and least >= 0,
            usual=usual_change(known, rule),
        )
        # of what is known up to the present, what is held out is not known
        past = [one[: len(one) - last] for one, last in zip(series.past, held, strict=True)]
        codec = ForecastCodec(
            rule,
            levels,
            np.zeros(len(levels)),
            calendar,
            _scaler(past, series.names["past"]),
            _scaler(series.future, series.names["future"]),
            _scaler((series.static,), series.names["static"]),
            series,
        )
        rule = replace(
            rule,
            covariates=codec.covariates,
            past=len(series.names["past"]),
            static=len(series.names["static"]),
        )
        codec = replace(codec, rule=rule, history=codec.trimmed(series))
        config = ForecastConfig(
            task="forecast",
            cell=options.cell,
            activation=options.activation,
            input_size=codec.rule.input_size,
            hidden_size=plan.hidden_size,
            num_layers=plan.num_layers,
            bias=options.bias,
            segment=codec.rule.segment,
            quantiles=len(codec.levels),
            members=plan.members,
        )
        return cls(options, plan, config, codec, group, output, series, held)

    def data_identity(self) -> dict[str, str]:
        whole = hashlib.sha256()
        for name in self.series.ids:
            whole.update(name.encode("utf-8", "surrogatepass") + b"\xff")
        for some in (self.series.values, self.series.past, self.series.future):
            for part in some:
                whole.update(np.ascontiguousarray(part).data)
        whole.update(np.ascontiguousarray(self.series.starts).view(np.int64).data)
        whole.update(np.ascontiguousarray(self.series.static).data)
        return {"series": whole.hexdigest()}

    @cached_property
    def validated(self) -> Origins | None:
        """The windows that choose, None where no series is long enough for them."""
        return origins_to_validate(self.series, self.codec, self.held)

    def _training(self, held: Sequence[int]) -> Origins:
        return training_origins(self.series, self.codec, self.plan, held)

    def stage(self, earlier: Sequence[Mapping[str, Any]]) -> tuple[_ForecastObjective, Schedule]:
        if earlier:
            last = earlier[0]
            budget = {"steps": last["of"], "stop": last["steps"], "limit": last["limit"]}
            plan = replace(self.plan, time=None, epochs=None, evaluations=1, **budget)
            config = replace(self.config, members=last["members"])
            nothing = [0] * len(self.held)
            return _ForecastObjective(self, config, self._training(nothing), None), plan
        held, training, plan = self.validated, self._training(self.held), self.plan
        config = self.config
        if held is None:  # there is nothing to choose the best by: it is the last
            plan = replace(plan, evaluations=1)
            if plan.limit is not None:
                plan = replace(plan, steps=UNMEASURED_STEPS)
        if self._two_stages():
            # one network tells how long to train and how wide intervals are; then all train on all
            config = replace(config, members=1)
            if plan.time is not None:
                plan = replace(plan, time=plan.time / (1 + plan.members))
            if plan.limit is not None:
                plan = replace(plan, limit=plan.limit * self._first_share())
        self.begun = monotonic()
        return _ForecastObjective(self, config, training, held), plan

    def _first_share(self) -> float:
        """Return the share of the limit for the stage that chooses; the others follow from its length."""
        asked = self.options.members
        return FIRST_SHARE if asked is None else 1 / (1 + asked)

    def config_of(self, best: Best) -> ForecastConfig:
        """Return the configuration with as many members as the `best` network has."""
        members = {name.split(".")[1] for name in best.arrays}
        return replace(self.config, members=len(members))

    def _two_stages(self) -> bool:
        return self.validated is not None and self.plan.refit

    def after(
        self, earlier: Sequence[Mapping[str, Any]], best: Best, steps: int
    ) -> dict[str, Any] | None:
        if earlier or not self._two_stages():
            return None
        members, limit = self.plan.members, self.plan.limit
        if limit is not None:
            spent = monotonic() - self.begun
            (limit,) = self.group.broadcast([max(1.0, limit - spent)])
            if self.options.members is None:
                # as many as the time allows, by the time that one took
                each = max(1e-9, self.group.broadcast([spent])[0] * best.step / steps)
                members = max(1, min(members, int(SPARE * limit / each)))
        return {"steps": best.step, "of": steps, "members": members, "limit": limit}

    def learned(
        self, earlier: Sequence[Mapping[str, Any]], objective: Objective, best: Best
    ) -> dict[str, Any]:
        """Return what validation says of the `best` network (corrections), and what the test measures."""
        if earlier:
            return dict(earlier[0])
        objective, levels = cast(_ForecastObjective, objective), self.codec.levels
        if objective.held is None:
            nothing = {"corrections": [0.0] * len(levels), "mean_factor": 1.0}
            return nothing | {"held_out": None, "validation": None}
        objective.network.load(best.arrays)
        few = objective.held.apart(self.codec.rule.horizon) < FEW_WINDOWS
        quantiles, truth, windows = objective.answers(objective.held)
        moved = self._moved(objective.held)
        corrections = _conformal(quantiles[moved], truth[moved], levels, few)
        validation = {"windows": len(objective.held), "held_out_loss": best.value}
        tested = origins_to_test(self.series, self.codec, self.held)
        held_out = None if tested is None else self._tested(objective, tested, corrections)
        return {
            "corrections": corrections.tolist(),
            "mean_factor": _mean_factor(self.codec.rule, windows, quantiles, truth, levels),
            "held_out": held_out,
            "validation": validation,
        }

    def _moved(self, origins: Origins) -> np.ndarray:
        """Return which windows have a past that is not constant; others have no unit to calibrate in."""
        pairs = zip(origins.series.tolist(), origins.origins.tolist(), strict=True)
        pasts = (self.series.values[place][:at] for place, at in pairs)
        return np.array([np.unique(past[np.isfinite(past)]).size > 1 for past in pasts], bool)

    def _tested(
        self, objective: _ForecastObjective, tested: Origins, corrections: np.ndarray
    ) -> dict[str, Any]:
        """Return the report of the calibrated forecasts of windows that chose nothing."""
        quantiles, _, prepared = objective.answers(tested)
        forecast = self.codec.rule.forecast(prepared, np.sort(quantiles + corrections, axis=2))
        seasons, starts = self.codec.seasons, self.codec.clock(self.series).tolist()
        pairs = zip(tested.series.tolist(), tested.origins.tolist(), forecast, strict=True)
        windows = [
            Window.of(
                self.series.ids[place], self.series.values[place], at, row.T, seasons, starts[place]
            )
            for place, at, row in pairs
        ]
        return forecast_report(windows, self.codec.levels).to_dict()

    def report(self) -> dict[str, Any]:
        lengths = [len(values) for values in self.series.values]
        missing = sum(int(np.isnan(values).sum()) for values in self.series.values)
        return {
            "data": {
                "series": len(lengths),
                "values": sum(lengths),
                "missing": missing,
                "shortest": min(lengths),
                "longest": max(lengths),
                "frequency": self.series.frequency.words,
                "warnings": [*self.series.warnings, *([] if self.validated else [UNTESTED])],
            },
            "windows": asdict(self.codec.rule),
            "held_out": {
                "series": sum(map(bool, self.held)),
                "steps": max(self.held),
                "tested": max(self.held) // 2,
            },
        }

    def facts(self, best: Best, learned: Mapping[str, Any], refit: bool) -> dict[str, Any]:
        del best  # the facts about it are in `learned`
        report = self.report()
        report["data"].pop("warnings")
        return {
            "data": report["data"],
            "windows": report["windows"],
            "held_out": learned["held_out"],
            "validation": learned["validation"],
            "refit": refit,
        }

    def finish(
        self, best: Best, learned: Mapping[str, Any]
    ) -> tuple[Mapping[str, np.ndarray], Any]:
        corrections, factor = np.array(learned["corrections"]), learned["mean_factor"]
        return best.arrays, replace(self.codec, corrections=corrections, mean_factor=factor)


def _levels(intervals: str) -> tuple[float, ...]:
    """Return the levels of the quantiles: those of the intervals, and what a network learns well by."""
    shares = {0.5, 0.8, 0.9, 0.95} | {percent / 100 for percent in percents(intervals)}
    half = sorted({round((1 - share) / 2, 9) for share in shares})
    return (*half, 0.5, *(round(1 - level, 9) for level in reversed(half)))


def _scaler(parts: Sequence[np.ndarray], names: Sequence[str]) -> Scaler | None:
    return Scaler.of(parts) if names else None


def _mean_factor(
    rule: WindowRule,
    windows: Prepared,
    quantiles: np.ndarray,
    truth: np.ndarray,
    levels: Sequence[float],
) -> float:
    """Return what the means of forecasts are to be multiplied by, so that they add up to the truth.

    Each window counts alike, whatever the size of its series; of a few windows a part of the factor is taken.
    It is 1 where values may be below 0.
    """
    known = np.isfinite(truth)
    if not (rule.log or rule.nonnegative) or not known.any():
        return 1.0
    found = np.where(known, mean_of_quantiles(rule.forecast(windows, quantiles), levels), 0.0)
    came = np.where(known, rule.forecast(windows, truth[..., None])[..., 0], 0.0)
    with np.errstate(over="ignore", invalid="ignore"):
        size = (found + came).sum(axis=1)
        shares = [float((part.sum(axis=1) / size)[size > 0].sum()) for part in (came, found)]
    if not all(0 < share < math.inf for share in shares):
        return 1.0
    trust = known.sum() / (known.sum() + DOUBTED_VALUES)
    return float(np.clip(shares[0] / shares[1], 0.5, 2.0) ** trust)


def _conformal(
    quantiles: np.ndarray, truth: np.ndarray, levels: Sequence[float], few: bool = False
) -> np.ndarray:
    """Return what to add to each quantile so that its interval holds its share of the held-out truth.

    A `few` windows tell that intervals are too narrow, not that they are too wide.

    Source: Y. Romano, E. Patterson and E. Candès, "Conformalized Quantile Regression" (2019), with one
    correction for all steps of the horizon.
    """
    corrections = np.zeros(len(levels))
    known, truth = np.isfinite(truth), truth.clip(-FARTHEST, FARTHEST)
    if not known.any():
        return corrections
    for low in range(len(levels) // 2):
        high = len(levels) - 1 - low
        outside = np.maximum(quantiles[..., low] - truth, truth - quantiles[..., high])[known]
        share = levels[high] - levels[low]
        distance = float(np.quantile(outside, min(1.0, share * (1 + 1 / len(outside)))))
        distance = max(0.0, distance) if few else distance
        corrections[low], corrections[high] = -distance, distance
    return corrections
