"""The batches of labelled sequences, their loss, and the measure of a network between steps."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from elman.labels.codec import ABSENT
from elman.labels.dataset import Steps, bucketed
from elman.labels.examples import Part
from elman.labels.network_torch import Reader
from elman.training.objective import Measure, Objective

if TYPE_CHECKING:
    from elman.labels.train import LabelledRun

__all__ = ["LabelledObjective"]

MEASURED = 64
"""Sequences side by side where no gradient is needed."""


class LabelledObjective(Objective):
    """One answer a sequence, or one a step."""

    unit = "sequence"

    def __init__(self, run: LabelledRun, part: Part, held: Part | None) -> None:
        self.run, self.part, self.held = run, part, held
        plan = run.plan
        self.network: Reader = Reader(run.config, plan.dropout, plan.word_dropout, plan.precision)
        if run.before is not None:
            self.network.load(run.before.arrays)
        self.weights = torch.from_numpy(
            part.class_weights(run.config.outputs, balanced=run.balanced)
        )
        self._epoch: tuple[int, list[np.ndarray]] | None = None

    def chunks(self, epoch: int) -> int:  # noqa: ARG002 - every pass is as long
        """Return the number of batches of an epoch."""
        return math.ceil(len(self.part) / self.run.plan.batch_size)

    def _batches(self, epoch: int) -> list[np.ndarray]:
        if self._epoch is None or self._epoch[0] != epoch:
            draw = np.random.default_rng([self.run.plan.seed, epoch])
            batches = bucketed(self.part.encoded.lengths, self.run.plan.batch_size, draw)
            self._epoch = epoch, batches
        return self._epoch[1]

    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
        """Return the summed loss of this process's share of a batch, and what the batch counts."""
        places = self._batches(epoch)[index]
        group = self.run.group
        own = places[group.rank :: group.world_size]
        count = len(places)
        if self.run.config.task == "tag":
            count = int(self.part.encoded.lengths[places].sum())
        if not len(own):  # more processes than sequences
            return self.network.nothing(), count
        return self._total(self.part, own, self.run.plan.label_smoothing, self.weights), count

    def _total(self, part: Part, places: np.ndarray, smoothing: float, weights: Tensor) -> Tensor:
        """Return the summed loss of the sequences in `places`, the mean of the members'."""
        batch = part.encoded.batch(places)
        logits = self.network(batch)
        wanted = Steps.of([part.targets[place] for place in places.tolist()]).rows
        if self.run.config.task != "tag":
            wanted = wanted[batch.steps.order]
        targets = torch.from_numpy(wanted).to(logits.device)
        if self.run.config.task == "regress":
            return torch.square(logits[..., 0] - targets).sum() / len(logits)
        total = functional.cross_entropy(
            logits.flatten(0, 1),
            targets.repeat(len(logits)),
            weights.to(logits.device),
            ignore_index=ABSENT,
            label_smoothing=smoothing,
            reduction="sum",
        )
        return total / len(logits)

    def answers(self, part: Part) -> list[np.ndarray]:
        """Return the logits ``[1, K]`` or ``[T_i, K]`` of each sequence, in the order of `part`."""
        found: list[np.ndarray] = [np.empty(0)] * len(part)
        self.network.eval()
        with torch.no_grad():
            for places in bucketed(part.encoded.lengths, MEASURED):
                steps = (batch := part.encoded.batch(places)).steps
                rows = self.network(batch).mean(0).cpu().numpy()
                if self.run.config.task == "tag":
                    parts = steps.apart(rows)
                else:
                    parts = [*rows[np.argsort(steps.order)][:, None]]
                for place, one in zip(places.tolist(), parts, strict=True):
                    found[place] = one
        self.network.train()
        return found

    def logits(self, part: Part) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits ``[N, K]`` of a part, and the numbers it has ``[N]``."""
        return np.concatenate(self.answers(part)), np.concatenate(part.targets)

    def measure(self) -> Measure:
        """Return how good the network is on the validation set, or on the fold that is left out."""
        if self.held is None:  # this stage lasts for a fixed number of steps
            return Measure(0.0, {"held_out_loss": None})
        return self.run.measured(np.concatenate(self.answers(self.held)), self.held)

    def steps_between_measures(self) -> int:
        """Return a number of steps in which at least four times the measured sequences are trained on."""
        measured = 0 if self.held is None else len(self.held)
        return max(super().steps_between_measures(), 4 * measured // self.run.plan.batch_size)
