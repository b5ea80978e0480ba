"""The state of a run as one value: everything that the next step depends on, for recovery and exact resume.

The trainer takes a `Snapshot` at fixed steps, never at moments of the clock, and saves the last one from
which a step came out finite. So a run that was killed and resumed passes through the same states, bit for
bit, as one that was not killed, also when it later has to go back to a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import TypeAlias

import numpy as np
import torch

from elman.training.averaging import Average
from elman.training.distributed import Group
from elman.training.journal import JsonObject
from elman.training.objective import LayerState, Objective
from elman.training.optimizer import AdamW
from elman.training.random import Randomness

StageResult: TypeAlias = JsonObject
"""Facts that a task keeps of a finished stage, for the stages after it and for the card."""

_GENERATORS = ("random", "random.cuda")


@dataclass
class Progress:
    """Progress of a stage, in plain numbers."""

    step: int = 0
    epoch: int = 0
    index: int = 0  # batch of the epoch that comes next
    elapsed: float = 0.0  # seconds of training
    rate_scale: float = 1.0  # halved by each recovery
    recoveries: int = 0
    evaluated: float = 0.0  # share of the budget at the last evaluation
    waited: int = 0  # evaluations since the best one
    measured: int = 0  # step of the last evaluation
    cooling: int = 0  # step from which an open run lowers its rate to zero; 0 until that is decided
    cooling_steps: int = 0  # steps over which the rate falls
    before: float | None = None  # measure of a trained network before it learns on
    hurried: bool = False  # whether the limit of time came while the measure still improved

    def facts(self, steps_in_epoch: int) -> JsonObject:
        """Return how far it came, for the card."""
        return {
            "steps": self.step,
            "epochs": self.epoch + self.index / max(1, steps_in_epoch),
            "seconds": round(self.elapsed, 3),
            "recoveries": self.recoveries,
        }


@dataclass(frozen=True)
class Best:
    """The best network so far: its measure on the validation set, its step and its arrays."""

    value: float
    step: int
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Snapshot:
    """A run at one step: named arrays, and numbers as JSON."""

    arrays: dict[str, np.ndarray]
    numbers: JsonObject

    def starting_with(self, prefix: str) -> dict[str, np.ndarray]:
        """Return the arrays whose names start with `prefix`, by their names without it."""
        return {
            name.removeprefix(prefix): array
            for name, array in self.arrays.items()
            if name.startswith(prefix)
        }


def _tensors(layer: LayerState) -> tuple[torch.Tensor, ...]:
    return layer if isinstance(layer, tuple) else (layer,)


def _tensor(array: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(array.copy())


@dataclass
class TrainingState:
    """Everything that changes while a stage is trained."""

    objective: Objective
    optimizer: AdamW
    average: Average
    earlier: Sequence[StageResult]
    """Results of the stages that the run has finished."""
    progress: Progress = field(default_factory=Progress)
    best: Best | None = None
    start: Mapping[str, np.ndarray] = field(default_factory=dict)
    """Weights of an earlier stage from which the networks of this stage and of later ones start, if any."""

    def capture(self, group: Group, random: Randomness) -> Snapshot:
        """Return everything that the next step depends on, the same in every process."""
        network = self.objective.network
        # Copies: the next step writes into the parameters.
        arrays = {f"network.{name}": array for name, array in network.arrays().items()}
        # torch keys its state by parameter objects; a file needs names.
        names = {id(parameter): name for name, parameter in network.named_parameters()}
        for parameter, moments in self.optimizer.state.items():
            for key, tensor in moments.items():
                arrays[f"optimizer.{names[id(parameter)]}.{key}"] = tensor.cpu().numpy().copy()
        for index, layer in enumerate(self.objective.carried or ()):
            for position, tensor in enumerate(_tensors(layer)):
                # Each process carries the state of its own sequences; the snapshot holds all, [1, B, H].
                lanes = torch.cat(group.all_gather(tensor.detach()), dim=1)
                arrays[f"carried.{index}.{position}"] = lanes.cpu().numpy().copy()
        for name, generator in zip(_GENERATORS, random.generators, strict=False):
            # Dropout draws from a generator of its own in every process.
            states = group.all_gather(generator.get_state()[None].to(group.device))
            for rank, state in enumerate(states):
                arrays[f"{name}.{rank}"] = state[0].cpu().numpy().copy()
        best = self.best
        if best is not None:
            arrays |= {f"best.{name}": array for name, array in best.arrays.items()}
        arrays |= {f"start.{name}": array for name, array in self.start.items()}
        means = self.average.arrays()
        arrays |= {f"average.{name}": array for name, array in means.items()}
        numbers = {
            "progress": asdict(self.progress),
            "best": None if best is None else {"value": best.value, "step": best.step},
            "earlier": [*self.earlier],
        }
        return Snapshot(arrays, numbers)

    def restore(self, snapshot: Snapshot, group: Group, random: Randomness) -> None:
        """Go back to `snapshot`, with the random numbers of the run."""
        network = self.objective.network
        network.load(snapshot.starting_with("network."))
        for name, parameter in network.named_parameters():
            moments = snapshot.starting_with(f"optimizer.{name}.")
            # Before its first step a parameter has no moments.
            self.optimizer.state.pop(parameter, None)
            if moments:
                self.optimizer.state[parameter] = {
                    key: _tensor(array).to(group.device) for key, array in moments.items()
                }
        self.objective.carried = _own_lanes(snapshot.starting_with("carried."), group)
        for name, generator in zip(_GENERATORS, random.generators, strict=False):
            generator.set_state(_tensor(snapshot.arrays[f"{name}.{group.rank}"]))
        self.start = snapshot.starting_with("start.")
        self.average.restore(snapshot.starting_with("average."))
        best = snapshot.numbers["best"]
        self.best = None
        if best is not None:
            self.best = Best(best["value"], best["step"], snapshot.starting_with("best."))
        self.progress = Progress(**snapshot.numbers["progress"])

    def recover(self, snapshot: Snapshot, group: Group, random: Randomness) -> None:
        """Go back to `snapshot` with half the learning rate, but keep the best network."""
        progress, best = self.progress, self.best
        self.restore(snapshot, group, random)
        # The snapshot may be older than the best network, which is kept in any case.
        if self.best is None or (best is not None and best.value < self.best.value):
            self.best = best
        # Time and recoveries go on counting, or a run could recover for ever.
        self.progress.elapsed = progress.elapsed
        self.progress.recoveries = progress.recoveries + 1
        self.progress.rate_scale = progress.rate_scale / 2


def _own_lanes(lanes: Mapping[str, np.ndarray], group: Group) -> list[LayerState] | None:
    """Return this process's lanes of the carried state of every layer; None where nothing is carried."""
    layers: dict[int, list[torch.Tensor]] = {}
    for name in sorted(lanes, key=lambda name: [*map(int, name.split("."))]):
        own = _tensor(group.columns(lanes[name])).to(group.device)
        layers.setdefault(int(name.split(".")[0]), []).append(own)
    states: list[LayerState] = [
        (tensors[0], tensors[1]) if len(tensors) == 2 else tensors[0] for tensors in layers.values()
    ]
    return states or None
