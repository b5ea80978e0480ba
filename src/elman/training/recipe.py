"""The recipe of a training run: everything that a task contributes to it.

The trainer calls a recipe in this order: `start_facts` once; then for every stage `stage`, and after its last
step `evaluate` and `next_stage`; at the end `card_facts` and `finish`. A task that trains one network has one
stage.
"""

from __future__ import annotations

import json
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Generic, TypeVar

import numpy as np
import torch

from elman._version import __version__
from elman.engine.config import ModelConfig
from elman.files.model import Model
from elman.files.model_types import Codec
from elman.training.checkpoint import Best, StageResult
from elman.training.continuation import history_of
from elman.training.distributed import Group
from elman.training.journal import Event, JsonObject
from elman.training.objective import Objective
from elman.training.plan import Schedule
from elman.training.random import Randomness
from elman.training.recurrent_options import RecurrentOptions

ObjectiveT = TypeVar("ObjectiveT", bound=Objective)


@dataclass
class Recipe(ABC, Generic[ObjectiveT]):
    """A task's data, networks with their losses and measures, and the facts for its card."""

    options: RecurrentOptions
    plan: Schedule
    config: ModelConfig
    codec: Codec
    group: Group
    random: Randomness
    before: Model | None = field(default=None, kw_only=True)
    """The trained model that the run trains further, with its vocabulary and labels already extended."""

    @abstractmethod
    def data_identity(self) -> dict[str, str]:
        """Return a digest of every data set by its name in messages; `--resume` compares them."""

    @abstractmethod
    def start_facts(self) -> JsonObject:
        """Return the data and their split as facts for the event that starts the run."""

    @abstractmethod
    def stage(self, earlier: Sequence[StageResult]) -> tuple[ObjectiveT, Schedule]:
        """Return what the next stage trains, and for how long.

        The weights of its network are drawn from the run's random numbers. `earlier` has the results of
        the finished stages.
        """

    def evaluate(
        self, earlier: Sequence[StageResult], objective: ObjectiveT, best: Best
    ) -> StageResult:
        """Return what the validation and test sets say about the `best` network of a stage."""
        del earlier, objective, best  # for tasks that calibrate or test
        return {}

    def next_stage(
        self, earlier: Sequence[StageResult], best: Best, steps: int
    ) -> StageResult | None:
        """Return what determines the stage after this one, with its length as "steps"; None to end the run.

        Args:
            earlier: Results of the stages before this one.
            best: The best network of this stage.
            steps: The number of steps of this stage's whole schedule.
        """
        del earlier, best, steps  # for tasks of several stages
        return None

    @abstractmethod
    def card_facts(self, best: Best, result: StageResult, refit: bool) -> JsonObject:
        """Return the facts about data and quality for the card; only the lead process calls this.

        Args:
            best: The network that the model keeps.
            result: The result of `evaluate` for it.
            refit: Whether it was trained in a stage after the first one.
        """

    def finish(
        self, best: Best, result: StageResult
    ) -> tuple[ModelConfig, Mapping[str, np.ndarray], Codec]:
        """Return configuration, arrays and codec of the model that keeps the `best` network."""
        del result  # for tasks that calibrate
        return self.config, best.arrays, self.codec

    def identity(self) -> JsonObject:
        """Return everything that must be equal for a run to be resumed, by its name in messages."""
        settings = asdict(self.options) | {"time": self.plan.time}
        # These two do not change the numbers of a run, so they may differ.
        for name in ("checkpoint_every", "threads"):
            settings.pop(name)
        data, processes = self.data_identity(), self.group.world_size
        if self.before is not None:
            data["model to train further"] = self.before.digest()
        return {**data, **settings, "processes": processes, "version": __version__}

    def start_event(self) -> Event:
        """Return the event that starts a run: its data, its network, its plan and its machine."""
        shapes = self.config.parameters().values()
        return {
            "event": "start",
            "elman": __version__,
            "task": self.config.task,
            **self.start_facts(),
            "history": self.history(),
            "network": asdict(self.config),
            "parameters": sum(math.prod(shape) for shape in shapes),
            "plan": asdict(self.plan),
            "device": str(self.group.device),
            "processes": self.group.world_size,
            "threads": torch.get_num_threads(),
        }

    def history(self) -> list[JsonObject]:
        """Return the earlier trainings of the network, the first one first; none for a new network."""
        return [] if self.before is None else history_of(self.before, self.data_identity())

    def card(self, facts: JsonObject, training: JsonObject, identity: JsonObject) -> JsonObject:
        """Return the card of the model, as JSON reads it back.

        Args:
            facts: What `card_facts` returned.
            training: How training went.
            identity: What must be equal for a run to be resumed.
        """
        card = {
            "version": __version__,
            "created": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
            **facts,
            "training": training,
            "settings": asdict(self.plan),
            "identity": identity,
        }
        if self.before is not None:
            card["history"] = self.history()
        # Tuples become lists, so that a card is equal to itself read back from a file.
        return dict(json.loads(json.dumps(card)))
