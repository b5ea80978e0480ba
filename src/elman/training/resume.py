"""Checks for `--resume`: a run continues only its own checkpoint and never replaces another run's model."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

from elman._version import __version__
from elman.errors import OptionError, OutputError
from elman.files.model import Model
from elman.training.checkpoint import Store
from elman.training.distributed import Group
from elman.training.journal import JsonObject
from elman.training.objective import Objective
from elman.training.recipe import Recipe

ObjectiveT = TypeVar("ObjectiveT", bound=Objective)


def identity_of(recipe: Recipe[ObjectiveT]) -> JsonObject:
    """Return everything that must be equal for a run to be resumed, by its name in messages."""
    settings = asdict(recipe.options) | {"time": recipe.plan.time}
    for name in ("checkpoint_every", "threads"):
        settings.pop(name)
    return {
        **recipe.data_identity(),
        **settings,
        "processes": recipe.group.world_size,
        "version": __version__,
    }


def is_unfinished(store: Store | None, group: Group) -> bool:
    """Return whether there is a checkpoint to resume, the same answer in every process."""
    exists = store is not None and store.file.exists()
    (count,) = group.all_reduce([], [float(exists)])
    if count not in (0.0, float(group.world_size)):
        raise OutputError(
            "every process needs the checkpoint",
            got=f"it in {count:.0f} of {group.world_size}",
            remedy="give all of them one shared folder",
        )
    return bool(count)


def finished_model(output: Path | None, identity: JsonObject, group: Group) -> Model:
    """Return the model in `output` that this very run ended in; raises OptionError, OutputError."""
    complete = False
    if group.leads and output is not None and output.exists():
        card = Model.load(output).card
        complete = card.get("training", {}).get("stopped") in ("budget", "early")
        if complete and card.get("identity") != identity:
            raise OutputError(
                f"there is nothing to resume, and {output} is the model of another run",
                remedy="train without --resume to replace it, or choose another -o",
            )
    complete = bool(group.broadcast([float(complete)])[0])
    if not complete or output is None:
        raise OptionError(
            "resume",
            got="no checkpoint" + (f" beside {output}" if output else ", for no output"),
            expected="that of an interrupted run",
            remedy="train without it, from the beginning",
        )
    return Model.load(output)
