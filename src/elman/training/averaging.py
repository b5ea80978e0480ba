"""The exponential moving average of a network's weights, which is what is evaluated and kept.

Sources: B. Polyak and A. Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992); the
exponential form as in T. Salimans and D. Kingma's code for arXiv:1602.07868.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch


class Average:
    """The moving average of the parameters: ``mean = decay * mean + (1 - decay) * parameter`` after a step.

    The first steps use a smaller `decay`, so that the initial weights are soon forgotten. With a `decay` of 0
    there is no average: the parameters themselves are evaluated and kept.

    >>> layer = torch.nn.Linear(1, 1)
    >>> average = Average(layer, 0.9)
    >>> with torch.no_grad():
    ...     _ = layer.weight.fill_(1.0)
    >>> average.follow(10**6)
    >>> with average.applied():
    ...     bool(layer.weight < 1)
    True
    """

    def __init__(self, network: torch.nn.Module, decay: float) -> None:
        self.decay = decay
        self.parameters = dict(network.named_parameters()) if decay else {}
        self.means = {name: weight.detach().clone() for name, weight in self.parameters.items()}

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Update the average after step number `step`, from 0."""
        # the schedule of TensorFlow's ExponentialMovingAverage with num_updates
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, mean in self.means.items():
            mean.lerp_(self.parameters[name], share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Replace the parameters by their averages within the block."""
        # A copy, not an exchange of storages: cuDNN needs its weights where they are.
        kept = {name: weight.detach().clone() for name, weight in self.parameters.items()}
        self._load(self.means)
        try:
            yield
        finally:
            self._load(kept)

    @torch.no_grad()
    def _load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        for name, weight in self.parameters.items():
            weight.copy_(tensors[name])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return copies of the averages by parameter name."""
        return {name: mean.cpu().numpy().copy() for name, mean in self.means.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set the averages, as `arrays` returned them."""
        for name, mean in self.means.items():
            mean.copy_(torch.from_numpy(np.array(arrays[name])))
