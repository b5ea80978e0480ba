"""Stages of a run on labelled sequences: the kind of each network that the run trains, and for how long.

Results of finished stages are lists in the order of `Stages.kinds`, as the trainer keeps them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from elman.labels.plan import LabelledPlan
from elman.labels.split import Split
from elman.training.checkpoint import Best, StageResult
from elman.training.journal import JsonObject

PRETRAINING_PASSES, PRETRAINING_BATCH_SIZE = 5.0, 64
PRETRAINING_SHARE = 1 / 3
"""Largest share of a budget of time that pre-training takes."""


@dataclass(frozen=True)
class Stages:
    """The stages of one run, in order."""

    plan: LabelledPlan
    split: Split
    sequences: int
    """Number of all labelled sequences."""
    pretrains: bool
    """Whether a language model of unlabelled text gives the networks their first weights."""

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """The kind of each stage: "pretrain", "fold", "measured" or "refit"."""
        first = ("pretrain",) * self.pretrains + ("fold",) * len(self.split.folds) + ("measured",)
        # if no sequences are held out, the measured network is already trained on all data
        refit = self.plan.refit and self.sequences > len(self.split.training)
        return first + ("refit",) * refit

    @property
    def _folds(self) -> range:
        return range(self.pretrains, self.pretrains + len(self.split.folds))

    def fold(self, index: int) -> tuple[int, ...]:
        """Return the rows that the stage number `index`, which is one of the folds, leaves out."""
        return self.split.folds[self._folds.index(index)]

    def of_folds(self, results: Sequence[StageResult]) -> Sequence[StageResult]:
        """Return the results of the folds."""
        return [results[index] for index in self._folds]

    @cached_property
    def _sizes(self) -> list[int]:
        """Number of labelled sequences that each stage trains on."""
        count = len(self.split.training)
        sizes = {"pretrain": 0, "measured": count, "refit": self.sequences}
        return [
            count - len(self.fold(index)) if kind == "fold" else sizes[kind]
            for index, kind in enumerate(self.kinds)
        ]

    def schedule(self, earlier: Sequence[StageResult]) -> LabelledPlan:
        """Return the plan of the stage after the `earlier` ones: how long it trains."""
        plan, index = self.plan, len(earlier)
        if self.kinds[index] == "pretrain":
            return self._pretraining()
        if not plan.chooses_step:
            plan = replace(plan, evaluations=1)
        # the measured network and the refit train as long as the stages before them found best
        if self.kinds[index] == "refit" or (self.kinds[index] == "measured" and self._folds):
            return replace(plan, time=None, epochs=None, evaluations=1, **self._length(earlier))
        # later folds take as many steps as the first one did in its time, so that they can be compared
        if index in self._folds[1:] and plan.time is not None:
            return replace(plan, time=None, steps=earlier[self._folds[0]]["length"])
        # all stages share the budget by their numbers of sequences
        share = self._sizes[index] / sum(self._sizes)
        left = 1 - PRETRAINING_SHARE if self.pretrains else 1.0
        return replace(
            plan,
            time=None if plan.time is None else plan.time * left * share,
            limit=None if plan.limit is None else plan.limit * share,
        )

    def _pretraining(self) -> LabelledPlan:
        """Return the plan of pre-training: a number of passes, or a share of the time."""
        plan = self.plan
        return replace(
            plan,
            time=None if plan.time is None else plan.time * PRETRAINING_SHARE,
            epochs=PRETRAINING_PASSES,
            steps=None,
            evaluations=1,
            batch_size=PRETRAINING_BATCH_SIZE,
        )

    def _length(self, earlier: Sequence[StageResult]) -> JsonObject:
        """Return the number of steps of a stage: as many epochs as were best in the stages before it."""
        sizes, index = self._sizes, len(earlier)
        # the measured network follows the folds, and the refit follows the stage before it
        known = self._folds if self.kinds[index] == "measured" else [index - 1]
        # the median ignores a fold that stopped unusually early or late
        steps = {
            name: np.median([earlier[k][key] * sizes[index] / sizes[k] for k in known])
            for name, key in (("steps", "length"), ("stop", "best"))
        }
        return {name: max(1, round(float(value))) for name, value in steps.items()}

    def following(
        self, earlier: Sequence[StageResult], best: Best, steps: int
    ) -> StageResult | None:
        """Return the best step of a stage of so many `steps`, and the length of the next one, if any.

        Args:
            earlier: The results of the stages before it.
            best: Its best network.
            steps: The number of steps of its whole schedule.
        """
        index = len(earlier)
        if index + 1 == len(self.kinds):
            return None
        this_stage = {"best": best.step, "length": steps}
        following = self.kinds[index + 1]
        is_open = following == "fold" or self.kinds[index] == "pretrain"
        length = None if is_open else self._length([*earlier, this_stage])["stop"]
        return this_stage | {"next": following, "steps": length}
