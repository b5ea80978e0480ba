"""Objective of the forecaster: batches drawn from the training windows, their loss, and validation."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from elman.series.calibration import MAX_DISTANCE
from elman.series.network_torch import Forecaster, pinball
from elman.series.plan import ForecastPlan
from elman.series.time_split import Origins
from elman.series.window_rule import Prepared
from elman.training.distributed import Group
from elman.training.objective import Measure, Objective

TREND_SHARE = 0.7
"""Share of the training windows to which a line is added."""
MAX_UNIT_WEIGHT = 10.0
"""Bound of the weight that a window gets for large relative changes."""
UNIT_SAMPLE_WINDOWS = 2000
"""Training windows whose mean unit is the usual one."""


class ForecastObjective(Objective):
    """Quantile loss of every step of the windows' future, as distances from the naive forecast.

    The network must be created after the random numbers of the run were seeded.
    """

    unit = "window"

    def __init__(
        self,
        network: Forecaster,
        levels: Sequence[float],
        plan: ForecastPlan,
        group: Group,
        training: Origins,
        validation: Origins | None,
    ) -> None:
        self.network: Forecaster = network
        self.levels, self.plan, self.group = tuple(levels), plan, group
        self.training, self.validation = training, validation
        # Where logarithms are forecast, windows with large relative changes count more, because users look
        # at errors of the values themselves.
        draw = np.random.default_rng([plan.seed, 1])
        sample = draw.integers(0, len(training), min(UNIT_SAMPLE_WINDOWS, 20 * len(training)))
        is_log = training.windows.rule.log
        self.usual = float(training.prepare(sample)[0].unit.mean()) if is_log else math.inf

    def steps_in_epoch(self, epoch: int) -> int:  # noqa: ARG002 - every epoch has the same length
        """Return the number of training steps of an epoch."""
        return math.ceil(len(self.training) / self.plan.batch_size)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
        """Return the summed loss of this process's windows, and the number of windows in the batch."""
        draw = np.random.default_rng([self.plan.seed, 2, epoch, index])
        size = self.plan.batch_size
        drawn = self._drawn(draw, size)
        # Every process draws the whole batch and takes every n-th window of it.
        mine = slice(self.group.rank, None, self.group.world_size)
        if not len(drawn[mine]):  # there are more processes than windows
            return self.network.zero_loss(), size
        windows, truth = self._augmented(draw, drawn, mine)
        answers, (wanted, weight) = self._run(windows), self._wanted(windows, truth)
        wanted, weight, levels = (
            numbers.float().to(answers.device)
            for numbers in (wanted, weight, torch.tensor(self.levels))
        )
        return pinball(answers, wanted, weight, levels), size

    def _run(self, windows: Prepared) -> Tensor:
        """Return the quantiles ``[M, B, h, Q]`` of every member."""
        device = next(self.network.parameters()).device
        answers: Tensor = self.network(torch.from_numpy(windows.inputs).to(device))
        return answers

    def _drawn(self, draw: np.random.Generator, size: int) -> np.ndarray:
        """Draw windows: first a series, each with the same probability, then one of its origins."""
        firsts = self.training.firsts
        # Long series must not crowd out short ones.
        chosen = draw.integers(0, len(firsts) - 1, size)
        first, last = firsts[chosen], firsts[chosen + 1]
        drawn: np.ndarray = first + (draw.random(size) * (last - first)).astype(np.int64)
        return drawn

    def _augmented(
        self, draw: np.random.Generator, drawn: np.ndarray, mine: slice
    ) -> tuple[Prepared, np.ndarray]:
        """Prepare this process's windows with random trends and noise, against overfitting of few series.

        The random numbers are drawn for all windows, so that they do not depend on the number of processes.
        """
        trends = None
        if self.plan.trend:
            # A line added to past and future teaches the network to continue trends.
            trends = draw.standard_normal(len(drawn)) * (draw.random(len(drawn)) < TREND_SHARE)
            trends = self.plan.trend * trends[mine]
        windows, truth = self.training.prepare(drawn[mine], trends)
        S, _, F = windows.inputs.shape
        noise = draw.standard_normal((len(drawn), S, F), np.float32)[mine].transpose(1, 0, 2)
        return windows._replace(inputs=windows.inputs + np.float32(self.plan.noise) * noise), truth

    def _wanted(self, windows: Prepared, truth: np.ndarray) -> tuple[Tensor, Tensor]:
        """Return the bounded truth ``[B, h]`` and the weight ``[B]`` of each window."""
        # All weights are 1 unless logarithms are forecast, because `usual` is then infinite.
        weight = 1 + np.minimum(windows.unit / self.usual, MAX_UNIT_WEIGHT)
        return torch.from_numpy(truth.clip(-MAX_DISTANCE, MAX_DISTANCE)), torch.from_numpy(weight)

    def answers(self, origins: Origins) -> tuple[np.ndarray, np.ndarray, Prepared]:
        """Run the network on windows without training it.

        Returns:
            Sorted quantiles ``[N, h, Q]`` and truth ``[N, h]``, both in units of the windows, and the windows
            without their inputs, which could be too large to hold together.
        """
        batch_size = origins.windows.rule.batch_size
        batches = []
        self.network.eval()
        with torch.no_grad():
            for first in range(0, len(origins), batch_size):
                last = min(first + batch_size, len(origins))
                windows, truth = origins.prepare(np.arange(first, last))
                # [M, B, h, Q] → [B, h, Q]: the mean of the members, as in a forecast
                answers = self._run(windows).mean(0).cpu().double().numpy()
                batches.append((np.sort(answers, axis=2), truth, windows.base, windows.unit))
        self.network.train()
        quantiles, truth, base, unit = map(np.concatenate, zip(*batches, strict=True))
        return quantiles, truth, Prepared(np.empty((0, len(origins), 0), np.float32), base, unit)

    def measure(self) -> Measure:
        """Return the loss on the validation windows."""
        if self.validation is None:  # the series are too short to hold anything out
            return Measure(0.0, {"held_out_loss": None})
        quantiles, truth, windows = self.answers(self.validation)
        wanted, weight = self._wanted(windows, truth)
        levels = torch.tensor(self.levels, dtype=torch.float64)
        total = pinball(torch.from_numpy(quantiles)[None], wanted, weight, levels)
        loss = float(total) / float(weight.sum())
        return Measure(loss, {"held_out_loss": loss})
