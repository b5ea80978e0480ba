"""Batches and loss of labelled sequences in training, and the measure of a network between steps."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from elman.labels.batches import EpochBatches, PackedSteps, length_buckets
from elman.labels.calibration import log_loss, search_temperature
from elman.labels.config import SequenceConfig
from elman.labels.confusion import label_figures
from elman.labels.examples import EncodedExamples
from elman.labels.label_values import UNKNOWN_LABEL
from elman.labels.network_torch import TorchSequenceNetwork
from elman.labels.options import LabelledOptions
from elman.labels.plan import LabelledPlan
from elman.labels.tag_chain import TagChain
from elman.training.distributed import Group
from elman.training.objective import Measure, Objective

SEQUENCES_PER_BATCH = 64
"""Sequences in a batch when the network is only measured."""
CHAIN_LOSS_SHARE = 0.7
"""Share of the loss of whole sequences of chained tags; the rest is that of single steps."""
SEQUENCES_TO_CALIBRATE = 1000
"""Held-out sequences by which the temperature of chained tags is fitted, at most."""


class LabelledObjective(Objective):
    """The cross-entropy of labels or tags, or the squared error of numbers."""

    unit = "sequence"

    def __init__(
        self,
        config: SequenceConfig,
        plan: LabelledPlan,
        options: LabelledOptions,
        group: Group,
        examples: EncodedExamples,
        held: EncodedExamples | None,
        scale: float,
        rules: TagChain | None = None,
    ) -> None:
        """Make a network and the batches of `examples`.

        Args:
            config: The sizes of the network.
            plan: Batch size, dropout, precision and seed.
            options: The weights of classes, and the metric that chooses the best network.
            group: The processes that share each batch.
            examples: The examples to train on.
            held: The examples to measure on; None for a stage of a fixed number of steps.
            scale: The standard deviation of the targets of a regression.
            rules: The pairs of neighbouring tags that may occur, for chained tags.
        """
        self.config, self.plan, self.group = config, plan, group
        self.examples, self.held, self.scale, self.rules = examples, held, scale, rules
        self.metric = options.selection_metric
        self.network: TorchSequenceNetwork = TorchSequenceNetwork(
            config, plan.dropout, plan.word_dropout, plan.precision
        )
        weights = examples.class_weights(config.outputs, balanced=options.balances_classes)
        self.weights = torch.from_numpy(weights)
        self.batches = EpochBatches(examples.encoded.lengths, plan.batch_size, plan.seed)

    def steps_in_epoch(self, epoch: int) -> int:  # noqa: ARG002 - all epochs are equally long
        """Return the number of batches in an epoch."""
        return len(self.batches)

    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
        """Return the summed loss of this process's share of a batch, and the batch's number of answers."""
        # every process draws the same batches from the same seed and takes each n-th row of them
        rows = self.batches.of(epoch)[index]
        group = self.group
        share = rows[group.rank :: group.world_size]
        count = len(rows)
        if self.config.kind.per_step:
            # a tagger has one answer for each step
            count = int(self.examples.encoded.lengths[rows].sum())
        if not len(share):  # more processes than sequences
            return self.network.zero_loss(), count
        return self._total(share), count

    def _total(self, rows: np.ndarray) -> Tensor:
        """Return the summed loss of the sequences in `rows`, averaged over the members."""
        examples, plan = self.examples, self.plan
        batch = examples.encoded.batch(rows)
        logits = self.network(batch)
        # the targets in the order of the logits, with the longest sequence first
        packed = PackedSteps.of([examples.targets[row] for row in rows.tolist()]).rows
        if not self.config.kind.per_step:
            packed = packed[batch.steps.order]
        targets = torch.from_numpy(packed).to(logits.device)
        if self.config.kind.is_number:
            # logits [M, B, 1] of M members, and targets [B]
            return torch.square(logits[..., 0] - targets).sum() / len(logits)
        # logits [M, N, K] of M members become [M·N, K]
        total = functional.cross_entropy(
            logits.flatten(0, 1),
            targets.repeat(len(logits)),
            self.weights.to(logits.device),
            ignore_index=UNKNOWN_LABEL,
            label_smoothing=plan.label_smoothing,
            reduction="sum",
        )
        if self.rules is not None:
            sizes = batch.steps.sizes.tolist()
            chained = [
                chain.losses(rows, targets, sizes, self.rules)
                for chain, rows in zip(self.network.chains, logits, strict=True)
            ]
            # the loss of single steps, which is smoothed, keeps the logits from growing too sure
            total = torch.lerp(total, torch.stack(chained).sum(), CHAIN_LOSS_SHARE)
        return total / len(logits)

    def logits(self, examples: EncodedExamples) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits ``[N, K]`` of all answers in a row, and the targets ``[N]``."""
        answers: list[np.ndarray] = [np.empty(0)] * len(examples)
        self.network.eval()
        with torch.no_grad():
            for rows in length_buckets(examples.encoded.lengths, SEQUENCES_PER_BATCH):
                steps = (batch := examples.encoded.batch(rows)).steps
                # the members answer together, by the mean of their logits
                logits = self.network(batch).mean(0).cpu().numpy()
                if self.config.kind.per_step:
                    of_rows = steps.unpack(logits)
                else:
                    # undo the packed order; each sequence has one row [1, K]
                    of_rows = [*logits[np.argsort(steps.order)][:, None]]
                for row, answer in zip(rows.tolist(), of_rows, strict=True):
                    answers[row] = answer
        self.network.train()
        return np.concatenate(answers), np.concatenate(examples.targets)

    def decided(
        self, logits: np.ndarray, examples: EncodedExamples, factor: float = 1.0
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return log probabilities ``[N, K]`` up to a constant, and the numbers of the answers ``[N]``.

        Args:
            logits: The logits of all answers in a row ``[N, K]``, multiplied by `factor`.
            examples: The examples that are answered.
            factor: One over the temperature, by which the scores of neighbouring tags are multiplied too.
        """
        if self.rules is None:
            return logits, logits.argmax(axis=1)
        chain = self.chain(self.rules).scaled(factor)
        by_sequence = np.split(logits, np.cumsum(examples.encoded.lengths)[:-1])
        answers = [chain.best(rows) for rows in by_sequence]
        return np.concatenate(chain.log_probabilities(by_sequence)), np.concatenate(answers)

    def chain(self, rules: TagChain) -> TagChain:
        """Return the learned scores of neighbouring tags, with the `rules`."""
        members = [
            {f"transitions.{name}": score.detach().cpu().numpy() for name, score in named}
            for named in (chain.named_parameters() for chain in self.network.chains)
        ]
        return TagChain.of_members(members) + rules

    def chain_temperature(self, logits: np.ndarray) -> float:
        """Return the temperature of chained tags with the least log loss on the held-out sequences.

        It is 1 if every tag of ``logits [N, K]`` is right, because the loss then has no minimum.
        """
        if self.rules is None or self.held is None:
            return 1.0
        targets = np.concatenate(self.held.targets)
        if np.array_equal(self.decided(logits, self.held)[1], targets):
            return 1.0
        chain, ends = self.chain(self.rules), np.cumsum(self.held.encoded.lengths)
        by_sequence = np.split(logits, ends[:-1])[:SEQUENCES_TO_CALIBRATE]
        targets = targets[: ends[len(by_sequence) - 1]]

        def loss(temperature: float) -> float:
            rows = [rows / temperature for rows in by_sequence]
            found = chain.scaled(1 / temperature).log_probabilities(rows)
            return log_loss(np.exp(np.concatenate(found)), targets) or 0.0

        return search_temperature(loss)

    def measure_logits(
        self, logits: np.ndarray, examples: EncodedExamples, factor: float = 1.0
    ) -> Measure:
        """Return the loss and the metrics of ``logits [N, K]`` for `examples`; arguments as `decided`."""
        if self.config.kind.is_number:
            return _measure_numbers(logits, examples, self.scale)
        return _measure_labels(*self.decided(logits, examples, factor), examples, self.metric)

    def measure(self) -> Measure:
        """Return loss and metrics on the validation set, or on the fold that is left out."""
        if self.held is None:  # this stage trains for a fixed number of steps
            return Measure(0.0, {"held_out_loss": None})
        return self.measure_logits(self.logits(self.held)[0], self.held)

    def steps_between_evaluations(self) -> int:
        """Return a number of steps that trains on at least four times as many sequences as are measured."""
        # measuring must not take more time than training
        measured = 0 if self.held is None else len(self.held)
        return max(super().steps_between_evaluations(), 4 * measured // self.plan.batch_size)


def _measure_labels(
    logits: np.ndarray, answers: np.ndarray, examples: EncodedExamples, metric: str
) -> Measure:
    targets = np.concatenate(examples.targets)
    loss = float(
        functional.cross_entropy(
            torch.from_numpy(logits).double(),
            torch.from_numpy(targets.clip(UNKNOWN_LABEL)),
            ignore_index=UNKNOWN_LABEL,
        )
    )
    figures = label_figures(targets, answers, examples.tags)
    # The loss decides between networks that are equal in the metric.
    value = loss if metric == "loss" else 1e-6 * loss - figures[metric]
    return Measure(value, {"held_out_loss": loss} | figures)


def _measure_numbers(logits: np.ndarray, examples: EncodedExamples, scale: float) -> Measure:
    errors = (logits[:, 0] - np.concatenate(examples.targets)).astype(np.float64)
    # in standardised targets; `scale` brings the other metrics back to the user's unit
    loss = float(np.mean(errors**2))
    facts = {"held_out_loss": loss, "rmse": scale * math.sqrt(loss)}
    return Measure(loss, facts | {"mae": scale * float(np.mean(abs(errors)))})
