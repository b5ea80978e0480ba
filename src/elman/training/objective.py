"""An objective: the network of one stage of training, its batches, their loss, and its validation measure."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor

from elman.training.journal import JsonObject

# One layer's states as the torch modules take them: [1, B, H], a pair of them for the LSTM.
LayerState: TypeAlias = "Tensor | tuple[Tensor, Tensor]"

_TORCH_SUFFIX = "_l0"  # torch numbers the layers within a module; each of our modules has one layer


def _model_name(parameter: str) -> str:
    return parameter.replace(_TORCH_SUFFIX, "")


class Trainable(torch.nn.Module):
    """A network whose parameters are the arrays of its model by name."""

    def arrays(self) -> dict[str, np.ndarray]:
        """Return copies of the parameters by the model's names."""
        return {
            _model_name(name): parameter.detach().cpu().numpy().copy()
            for name, parameter in self.named_parameters()
        }

    def load_known(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set those parameters that `arrays` has by the model's names."""
        self.load(self.arrays() | dict(arrays))

    def zero_loss(self) -> Tensor:
        """Return a loss of 0 whose gradients are 0, for a process that got no share of a batch."""
        return torch.stack([weight.sum() for weight in self.parameters()]).sum() * 0.0

    def load(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Set every parameter from the model's arrays."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                # a copy, because the arrays of a model are read-only
                parameter.copy_(torch.from_numpy(np.array(arrays[_model_name(name)])))


@dataclass(frozen=True)
class Measure:
    """Result of measuring a network on the validation set."""

    value: float
    """The number that chooses the best network: less is better."""
    facts: JsonObject = field(default_factory=dict)
    """Further metrics, written to the journal next to `value`."""


class Objective(ABC):
    """Everything that one stage of training needs from a task."""

    network: Trainable
    unit: str
    """The noun for what `loss` counts, such as "token"."""
    pretrains: bool = False
    """Whether the stage only gives the networks of later stages their first weights, and no model."""
    carried: list[LayerState] | None = None
    """The hidden state that the next step starts from, in a task that carries it over."""

    @abstractmethod
    def steps_in_epoch(self, epoch: int) -> int:
        """Return the number of batches of `epoch`."""

    @abstractmethod
    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
        """Return the loss of one batch.

        Args:
            epoch: The pass over the data, from 0.
            index: The batch within the epoch, from 0.

        Returns:
            The summed loss of this process's share of the batch, and the units of the whole batch.
        """

    def steps_between_evaluations(self) -> int:
        """Return after how many steps a run without a budget evaluates again: about an epoch."""
        # at least every 200 steps, so that a long epoch does not hide a better network
        return min(200, max(50, self.steps_in_epoch(0)))

    def advance(self) -> None:  # noqa: B027 - most tasks carry nothing
        """Carry the state over: the trainer has taken the step of the last `loss`."""

    @abstractmethod
    def measure(self) -> Measure:
        """Return how good the network is on the validation set; only the lead process calls this."""

    def seconds_to_measure(self) -> float:
        """Return how many seconds `measure` takes."""
        started = time.monotonic()
        self.measure()
        return time.monotonic() - started
