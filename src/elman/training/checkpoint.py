"""Exact resume: all that the next step depends on, as one value, and its file.

A `Snapshot` is taken at fixed steps, never at moments of the clock, and what is saved is the last one
from which a step came out finite. So a run that was killed and resumed passes through the very states of
one that was not, also when it later has to go back to a snapshot.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch

from elman.errors import ModelFileError, OutputError, printable
from elman.files import container
from elman.files.model import folder_of
from elman.training.distributed import Group
from elman.training.objective import LayerState, Trainable
from elman.training.random import Randomness

__all__ = ["Best", "Progress", "Snapshot", "Store", "capture", "part", "restore"]

KIND = "checkpoint"
_GENERATORS = ("random", "random.cuda")
# five arrays for each parameter, at the most layers that an option allows
LIMITS = container.Limits(
    header_bytes=1 << 22, tensors=8192, payload_bytes=1 << 36, json_marks=100_000
)


@dataclass
class Progress:
    """Where a run stands, in plain numbers."""

    step: int = 0
    epoch: int = 0
    index: int = 0  # chunk of the epoch that comes next
    elapsed: float = 0.0  # seconds of training
    rate_scale: float = 1.0  # halved by each recovery
    recoveries: int = 0
    evaluated: float = 0.0  # share of the budget at which the held-out part was last measured
    waited: int = 0  # measurements since the best
    measured: int = 0  # step of the last measurement
    cooling: int = 0  # step from which the rate falls to zero, 0 before that is known
    cooling_steps: int = 0  # steps over which it falls
    hurried: bool = False  # the limit of time came while the measure still improved


@dataclass(frozen=True)
class Best:
    """The best network so far: its measure on the held-out part, step and arrays."""

    value: float
    step: int
    arrays: Mapping[str, np.ndarray]


@dataclass(frozen=True)
class Snapshot:
    """A run at one step: named arrays and plain numbers."""

    arrays: dict[str, np.ndarray]
    numbers: dict[str, Any]


def _states(layer: LayerState) -> tuple[torch.Tensor, ...]:
    return layer if isinstance(layer, tuple) else (layer,)


def capture(
    network: Trainable,
    optimizer: torch.optim.Optimizer,
    carried: list[LayerState] | None,
    best: Best | None,
    progress: Progress,
    group: Group,
    random: Randomness,
) -> Snapshot:
    """Return all that the next step depends on, in every process the same."""
    arrays = {f"network.{name}": array for name, array in network.arrays().items()}
    named = {id(parameter): name for name, parameter in network.named_parameters()}
    for parameter, moments in optimizer.state.items():
        for key, tensor in moments.items():
            arrays[f"optimizer.{named[id(parameter)]}.{key}"] = tensor.cpu().numpy().copy()
    for index, layer in enumerate(carried or ()):
        for index_of, tensor in enumerate(_states(layer)):
            whole = torch.cat(group.all_gather(tensor.detach()), dim=1)
            arrays[f"carried.{index}.{index_of}"] = whole.cpu().numpy().copy()
    for name, generator in zip(_GENERATORS, random.generators, strict=False):
        states = group.all_gather(generator.get_state()[None].to(group.device))
        for rank, state in enumerate(states):
            arrays[f"{name}.{rank}"] = state[0].cpu().numpy().copy()
    numbers: dict[str, Any] = {"progress": asdict(progress), "best": None}
    if best is not None:
        numbers["best"] = {"value": best.value, "step": best.step}
        arrays |= {f"best.{name}": array for name, array in best.arrays.items()}
    return Snapshot(arrays, numbers)


def part(snapshot: Snapshot, prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays of `snapshot` whose names begin with `prefix`, without it."""
    return {
        name.removeprefix(prefix): array
        for name, array in snapshot.arrays.items()
        if name.startswith(prefix)
    }


def restore(
    snapshot: Snapshot,
    network: Trainable,
    optimizer: torch.optim.Optimizer,
    group: Group,
    random: Randomness,
) -> tuple[list[LayerState] | None, Best | None, Progress]:
    """Set network, optimiser and random state from `snapshot`; return carried state, best, progress."""

    def tensor(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array.copy())

    network.load(part(snapshot, "network."))
    for name, parameter in network.named_parameters():
        moments = part(snapshot, f"optimizer.{name}.")
        optimizer.state.pop(parameter, None)
        if moments:
            optimizer.state[parameter] = {
                key: tensor(array).to(group.device) for key, array in moments.items()
            }
    carried: list[LayerState] | None = None
    lanes = part(snapshot, "carried.")
    if lanes:
        parts: dict[int, list[torch.Tensor]] = {}
        for name in sorted(lanes, key=lambda name: [*map(int, name.split("."))]):
            own = tensor(group.columns(lanes[name])).to(group.device)
            parts.setdefault(int(name.split(".")[0]), []).append(own)
        carried = [(one[0], one[1]) if len(one) == 2 else one[0] for one in parts.values()]
    for name, generator in zip(_GENERATORS, random.generators, strict=False):
        generator.set_state(tensor(snapshot.arrays[f"{name}.{group.rank}"]))
    best = snapshot.numbers["best"]
    return (
        carried,
        None if best is None else Best(best["value"], best["step"], part(snapshot, "best.")),
        Progress(**snapshot.numbers["progress"]),
    )


class Store:
    """The folder beside the model in which an unfinished run is kept."""

    def __init__(self, output: Path, identity: Mapping[str, Any]) -> None:
        self.folder = folder_of(output)
        self.file = self.folder / "state.safetensors"
        self.identity = dict(identity)

    def save(self, snapshot: Snapshot) -> None:
        """Write `snapshot` atomically; raises OutputError and leaves the earlier one."""
        try:
            self.folder.mkdir(exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot make the folder {self.folder}",
                got=error.strerror,
                remedy="choose another -o",
            ) from error
        metadata = {"kind": KIND, "identity": self.identity, "numbers": snapshot.numbers}
        container.write(self.file, snapshot.arrays, metadata, limits=LIMITS)

    def load(self) -> Snapshot | None:
        """Return what was saved last, None where nothing was.

        Raises ModelFileError for a damaged file, or one of a run with other settings or data.
        """
        if not self.file.exists():
            return None
        arrays, metadata = container.read(self.file, limits=LIMITS)
        if metadata.get("kind") != KIND:
            raise ModelFileError(
                f"checkpoint {self.file}", got=f"a {metadata.get('kind')}", expected=f"a {KIND}"
            )
        for name, value in self.identity.items():
            kept = metadata["identity"].get(name)
            if kept != value:
                raise ModelFileError(
                    f"--resume with another {name} than the interrupted run",
                    got=None if "text" in name else value,
                    expected="the same" if "text" in name else printable(kept),
                    remedy=f"or remove {self.folder}",
                )
        numbers = metadata["numbers"]
        known = {field.name for field in fields(Progress)}
        if set(numbers["progress"]) != known:
            raise ModelFileError(f"checkpoint {self.file} has another set of numbers")
        return Snapshot(arrays, numbers)

    def clear(self) -> None:
        """Remove what the run kept, and the folder if nothing else is in it."""
        self.file.unlink(missing_ok=True)
        with suppress(OSError):
            for unfinished in self.folder.glob(".elman-*.tmp"):  # a kill inside a save leaves it
                unfinished.unlink(missing_ok=True)
            for workspace in self.folder.glob("text.*"):
                with suppress(OSError):  # its files have no names; a folder with files is not ours
                    workspace.rmdir()
            self.folder.rmdir()
