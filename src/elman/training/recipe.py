"""The recipe of a training run: everything that a task contributes to it.

The trainer calls a recipe in this order: `start_facts` once; then for every stage `stage`, and after its last
step `evaluate` and `next_stage`; at the end `card_facts` and `finish`. A task that trains one network has one
stage.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from elman.engine.config import ModelConfig
from elman.training.checkpoint import Best, StageResult
from elman.training.distributed import Group
from elman.training.journal import JsonObject
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
    codec: Any
    group: Group
    random: Randomness

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
    ) -> tuple[ModelConfig, Mapping[str, np.ndarray], Any]:
        """Return configuration, arrays and codec of the model that keeps the `best` network."""
        del result  # for tasks that calibrate
        return self.config, best.arrays, self.codec
