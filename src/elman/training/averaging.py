"""The running mean of a network's weights, by which it is measured and kept.

Source: B. Polyak and A. Juditsky, "Acceleration of Stochastic Approximation by Averaging" (1992); the
exponential form as in T. Salimans and D. Kingma's code for arXiv:1602.07868.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import numpy as np
import torch

__all__ = ["Average"]


class Average:
    """The mean of what the parameters were, of which a step keeps the share `decay`; 0 is no mean.

    The first steps keep less, so that where training began is soon forgotten.

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
        self.network, self.decay = network, decay
        self.means = {
            name: parameter.detach().clone()
            for name, parameter in network.named_parameters()
            if decay
        }

    @torch.no_grad()
    def follow(self, step: int) -> None:
        """Move the mean on after a step."""
        share = 1 - min(self.decay, (1 + step) / (10 + step))
        for name, parameter in self._own():
            self.means[name].lerp_(parameter, share)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Give the network the mean within the block."""
        kept = {name: tensor.detach().clone() for name, tensor in self._own()}
        self.load(self.means)
        try:
            yield
        finally:
            self.load(kept)

    def _own(self) -> list[tuple[str, torch.Tensor]]:
        return [item for item in self.network.named_parameters() if item[0] in self.means]

    @torch.no_grad()
    def load(self, tensors: Mapping[str, torch.Tensor]) -> None:
        """Set the parameters that have a mean."""
        for name, parameter in self._own():
            parameter.copy_(tensors[name])

    def arrays(self) -> dict[str, np.ndarray]:
        """Return copies of the means."""
        return {name: mean.cpu().numpy().copy() for name, mean in self.means.items()}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set the means."""
        for name, mean in self.means.items():
            mean.copy_(torch.from_numpy(np.array(arrays[name])))
