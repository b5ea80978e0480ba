"""What a task asks of the loop: its network, its batches and their loss, and how good the network is."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from torch import Tensor

__all__ = ["LayerState", "Measure", "Objective", "Trainable"]

# One layer's states as the torch modules take them: [1, B, H], a pair of them for the LSTM.
LayerState: TypeAlias = "Tensor | tuple[Tensor, Tensor]"

_SUFFIX = "_l0"  # every layer is a torch module of one layer


def _name(parameter: str) -> str:
    return parameter.replace(_SUFFIX, "")


class Trainable(torch.nn.Module):
    """A network whose parameters are the arrays of its model by name."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return copies of the parameters by the model's names."""
        return {
            _name(name): parameter.detach().cpu().numpy().copy()
            for name, parameter in self.named_parameters()
        }

    def nothing(self) -> Tensor:
        """Return the loss of a process that got no part of a batch: 0, with a gradient of 0."""
        return torch.stack([weight.sum() for weight in self.parameters()]).sum() * 0.0

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set every parameter from the model's arrays."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                parameter.copy_(torch.from_numpy(np.array(arrays[_name(name)])))


@dataclass(frozen=True)
class Measure:
    """How good a network is on the held-out part."""

    value: float
    """By which the best is chosen: less is better."""
    facts: Mapping[str, Any] = field(default_factory=dict)
    """What is told beside it, for the journal."""


class Objective(ABC):
    """What a task asks of the loop."""

    network: Trainable
    unit: str
    """What `loss` counts, in one word."""
    carried: list[LayerState] | None = None
    """The state that the next step starts from, where a task carries one."""

    @abstractmethod
    def chunks(self, epoch: int) -> int:
        """Return the number of steps that `epoch` has."""

    @abstractmethod
    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
        """Return the summed loss of this process's share of a batch, and what the whole batch counts."""

    def steps_between_measures(self) -> int:
        """Return after how many steps a run without a budget measures again: about an epoch."""
        return min(200, max(50, self.chunks(0)))

    def advance(self) -> None:  # noqa: B027 - most tasks carry nothing
        """Go on: the step of the last `loss` was taken."""

    @abstractmethod
    def measure(self) -> Measure:
        """Return how good the network is; the lead alone asks."""

    def probe(self) -> float:
        """Return the seconds that `measure` takes."""
        started = time.monotonic()
        self.measure()
        return time.monotonic() - started
