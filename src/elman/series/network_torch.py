"""The forecaster's network and its loss in torch; `elman.series.network` states its formula."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor

from elman.series.config import ForecastConfig
from elman.series.predictor import ForecastPredictor
from elman.training.objective import Trainable
from elman.training.random import Dropout
from elman.training.recurrent_layers import initialise, recurrent


class _Member(torch.nn.Module):
    """One network; `ahead` is the number of future segments."""

    def __init__(self, config: ForecastConfig, ahead: int, dropout: float, precision: str) -> None:
        super().__init__()
        self.config, self.ahead = config, ahead
        H = config.hidden_size
        self.input = torch.nn.Linear(config.input_size, H)
        self.layers = torch.nn.ModuleList(
            recurrent(config, H, H, precision) for _ in range(config.num_layers)
        )
        self.middle = torch.nn.Linear(2 * H, H)
        self.output = torch.nn.Linear(H, config.segment * config.quantiles)
        self.skip = torch.nn.Linear(config.input_size, config.segment, bias=False)
        self.dropout = Dropout(dropout)
        # It starts at the naive forecast: the answers of an untrained network are 0.
        initialise(self, config, ForecastPredictor.initial_weights)

    def forward(self, inputs: Tensor) -> Tensor:
        """Return quantiles ``[ahead, B, s, Q]`` for ``inputs [S, B, F]``."""
        read = self.input(inputs).relu()
        y = read
        for layer in self.layers:
            y, _ = layer(self.dropout(y))
        # Only the future segments are answered.
        future, read = y[-self.ahead :], read[-self.ahead :]
        mixed = self.middle(torch.cat([self.dropout(future), read], dim=2)).relu()
        answers = self.output(self.dropout(mixed)).unflatten(2, (self.config.segment, -1))
        skipped = self.skip(inputs[-self.ahead :])
        return cast(Tensor, answers + skipped[..., None])


class Forecaster(Trainable):
    """All members, each with its own weights: quantiles ``[M, B, h, Q]`` in units of the window."""

    def __init__(
        self, config: ForecastConfig, horizon: int, dropout: float = 0.0, precision: str = "float32"
    ) -> None:
        super().__init__()
        self.horizon = horizon
        ahead = -(-horizon // config.segment)
        self.members = torch.nn.ModuleList(
            _Member(config, ahead, dropout, precision) for _ in range(config.members)
        )

    def forward(self, inputs: Tensor) -> Tensor:
        """Return the quantiles of every member for ``inputs [S, B, F]``."""
        # [M, ahead, B, s, Q] → [M, B, ahead·s, Q], cut to the horizon
        answers = torch.stack([member(inputs) for member in self.members])
        return answers.permute(0, 2, 1, 3, 4).flatten(2, 3)[:, :, : self.horizon]


def pinball(quantiles: Tensor, truth: Tensor, weight: Tensor, levels: Tensor) -> Tensor:
    """Return the summed quantile loss of the windows, averaged over the members.

    The loss of a window is the mean over its known steps and over the levels, times its weight.

    Source: R. Koenker and G. Bassett, "Regression Quantiles", Econometrica 46 (1978).

    Args:
        quantiles: ``[M, B, h, Q]``.
        truth: ``[B, h]``, NaN where missing.
        weight: ``[B]``.
        levels: ``[Q]``.

    >>> pinball(torch.zeros(1, 1, 1, 1), torch.ones(1, 1), torch.ones(1), torch.tensor([0.25]))
    tensor(0.2500)
    """
    known = ~truth.isnan()
    # [M, B, h, Q]; a missing step has the weight 0 in the next line
    distance = torch.where(known, truth, 0.0)[..., None] - quantiles
    losses = torch.maximum(levels * distance, (levels - 1) * distance) * known[..., None]
    windows = losses.sum(2).mean(2) / known.sum(1).clamp(min=1)
    return (windows * weight).sum() / len(quantiles)
