"""A reader of labelled sequences: split, codec, plan, objective, honest measure, card."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from elman._container import Limits
from elman._errors import DataError, OptionError
from elman.config import SequenceConfig
from elman.data.codec import ABSENT, Labels, Scaler, SequenceCodec
from elman.data.labelled import Steps, bucketed, check_finite, learn_codec
from elman.metrics import METRICS, fit_temperature
from elman.metrics.classification import confusion_table
from elman.model import Model
from elman.options import LabelledOptions
from elman.training.baselines import compare
from elman.training.checkpoint import Best
from elman.training.distributed import Group
from elman.training.loop import Watch
from elman.training.objective import Measure, Objective
from elman.training.parts import Labelled, Part
from elman.training.plan import LabelledPlan, Schedule, labelled_plan
from elman.training.reader import Reader
from elman.training.run import Outcome, Run, execute

__all__ = ["Labelled", "train_labelled"]

CODEC_ARRAYS = 10
"""Most arrays of a codec: three vocabularies of two, and two scalers of two."""
PASSES_ON, RATE_ON = 5.0, 0.25
"""Passes over new sequences, and the share of the learning rate, where they are not given."""
MEASURED = 64
"""Sequences side by side where no gradient is needed."""


def train_labelled(
    task: str,
    data: Labelled,
    options: LabelledOptions,
    *,
    valid: Labelled | None = None,
    labels: Labels | None = None,
    before: Model | None = None,
    output: Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Train a reader for the `task` classify, regress or tag and return the best by the held-out part.

    `valid` is measured on in place of a part of `data`; `labels` are those to expect, where they are known;
    `before` is a model that learns on, with its own sizes and codec. The rest is as `execute` says.

    Raises DataError, OptionError, ShapeError, OutputError, ModelFileError, DivergedError.
    """

    def load(group: Group) -> _LabelledRun:
        return _LabelledRun.load(task, data, options, valid, labels, before, output, group)

    return execute(load, options, output=output, resume=resume, watch=watch)


class _LabelledObjective(Objective):
    """One answer a sequence, or one a step."""

    unit = "sequence"

    def __init__(self, run: _LabelledRun, part: Part, held: Part | None) -> None:
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
        return math.ceil(len(self.part) / self.run.plan.batch_size)

    def _batches(self, epoch: int) -> list[np.ndarray]:
        if self._epoch is None or self._epoch[0] != epoch:
            draw = np.random.default_rng([self.run.plan.seed, epoch])
            batches = bucketed(self.part.encoded.lengths, self.run.plan.batch_size, draw)
            self._epoch = epoch, batches
        return self._epoch[1]

    def loss(self, epoch: int, index: int) -> tuple[Tensor, int]:
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

    def measure(self) -> Measure:
        if self.held is None:  # all is trained on, and nothing is left to measure on
            return Measure(0.0, {"held_out_loss": None})
        return self.run.measured(np.concatenate(self.answers(self.held)), self.held)


@dataclass
class _LabelledRun(Run):
    """One run with everything it was given and what follows from it."""

    options: LabelledOptions
    plan: LabelledPlan
    config: SequenceConfig
    codec: SequenceCodec
    data: Labelled
    training: Labelled
    held_out: Labelled
    split: str
    before: Model | None
    """The model that learns on."""

    @classmethod
    def load(
        cls,
        task: str,
        data: Labelled,
        options: LabelledOptions,
        valid: Labelled | None,
        labels: Labels | None,
        before: Model | None,
        output: Path | None,
        group: Group,
    ) -> _LabelledRun:
        check_finite(data.sequences, missing=options.missing == "mask")
        if task == "tag":
            data, valid = data.stepwise(), None if valid is None else valid.stepwise()
        if labels is None and before is None and task != "regress":
            labels = Labels.of(data.flat(task))
        if valid is None:
            training_rows, held_rows = data.split(task, options.held_out, options.seed)
            training, held_out = data.take(training_rows), data.take(held_rows or training_rows)
            split = f"{100 * options.held_out:.3g} % of the sequences, drawn by the seed"
            split = (
                split if held_rows else "the sequences trained on: there is only one of each kind"
            )
        else:
            training, held_out, split = data, valid, "sequences of their own"
        if before is not None:
            codec = before.codec
        else:
            codec = learn_codec(
                training.sequences,
                level=options.level,
                lowercase=options.lowercase,
                max_vocabulary=options.max_vocabulary,
                min_count=options.min_count,
                missing=options.missing,
            )
            target = Scaler.of([training.numbers()[:, None]]) if task == "regress" else None
            codec = replace(codec, labels=labels, target=target)
        if codec.labels is not None:
            codec.labels.require(data.flat(task))
            if (codec.labels.encode(held_out.flat(task)) == ABSENT).all():
                raise DataError("the sequences to measure on have no label of those trained on")
        plan = labelled_plan(options, training.sequences.lengths, codec.tokens is not None)
        if before is not None:
            plan = _learning_on(plan, options)
        config = _config(task, options, plan, codec) if before is None else before.config
        _check_size(config)
        return cls(
            options, plan, config, codec, group, output, data, training, held_out, split, before
        )

    def data_identity(self) -> dict[str, str]:
        parts = {"sequences": self.training, "held-out sequences": self.held_out}
        return {name: part.digest() for name, part in parts.items()}

    @property
    def balanced(self) -> bool:
        """Whether rare classes weigh more."""
        return getattr(self.options, "class_weight", "none") == "balanced"

    def stage(self, earlier: Sequence[Mapping[str, Any]]) -> tuple[_LabelledObjective, Schedule]:
        task, codec = self.config.task, self.codec
        if earlier:
            budget = {"steps": earlier[0]["of"], "stop": earlier[0]["steps"]}
            plan = replace(self.plan, time=None, epochs=None, evaluations=1, **budget)
            # the same start in every process, whatever dropout has drawn there
            self.random.seed(self.plan.seed + 1)
            return _LabelledObjective(self, Part.of(task, codec, self.data), None), plan
        held = Part.of(task, codec, self.held_out)
        plan = self.plan
        if self.refits and plan.time is not None:
            plan = replace(plan, time=plan.time / (1 + self.share))
        return _LabelledObjective(self, Part.of(task, codec, self.training), held), plan

    @property
    def share(self) -> float:
        """All sequences as a multiple of those trained on."""
        return len(self.data.targets) / len(self.training.targets)

    @property
    def refits(self) -> bool:
        """Whether a second stage trains anew on all sequences, those held out among them."""
        return self.plan.refit and self.share > 1

    def after(
        self, earlier: Sequence[Mapping[str, Any]], best: Best, steps: int
    ) -> dict[str, Any] | None:
        if earlier or not self.refits:
            return None
        # as many passes over all as were best over the part
        longer = {"steps": best.step * self.share, "of": steps * self.share}
        return {name: max(1, round(one)) for name, one in longer.items()}

    def learned(
        self, earlier: Sequence[Mapping[str, Any]], objective: Objective, best: Best
    ) -> dict[str, Any]:
        """Return what the held-out part tells of the `best` network: temperature and measures."""
        if earlier:
            return dict(earlier[0])
        objective = cast(_LabelledObjective, objective)
        objective.network.load(best.arrays)
        held = cast(Part, objective.held)
        logits = np.concatenate(objective.answers(held))
        temperature = 1.0
        if self.config.task != "regress":
            wanted = np.concatenate(held.targets)
            temperature = fit_temperature(logits, wanted)
        measure = self.measured(logits / temperature, held)
        return {"temperature": temperature, "held_out": dict(measure.facts)}

    def measured(self, logits: np.ndarray, held: Part) -> Measure:
        """Return how good ``logits [N, K]`` are for the held-out targets."""
        wanted = np.concatenate(held.targets)
        if self.config.task == "regress":
            scale = float(cast(Scaler, self.codec.target).scale[0])
            apart = (logits[:, 0] - wanted).astype(np.float64)
            loss = float(np.mean(apart**2))
            facts = {"held_out_loss": loss, "rmse": scale * math.sqrt(loss)}
            return Measure(loss, facts | {"mae": scale * float(np.mean(abs(apart)))})
        loss = float(
            functional.cross_entropy(
                torch.from_numpy(logits).double(), torch.from_numpy(wanted), ignore_index=ABSENT
            )
        )
        # of the labels met alone: a table of ten thousand would be large
        met, places = np.unique([wanted, logits.argmax(axis=1)], return_inverse=True)
        truth, answers = places.reshape(2, -1)
        table = confusion_table(truth, answers, len(met))
        facts = {"held_out_loss": loss}
        facts |= {name: metric(table) for name, metric in METRICS.items()}
        metric = getattr(self.options, "metric", "loss")
        # among equals the smaller loss
        value = loss if metric == "loss" else 1e-6 * loss - facts[metric]
        return Measure(value, facts)

    def report(self) -> dict[str, Any]:
        parts = {"data": self.training, "held_out": self.held_out}
        return {name: part.facts() for name, part in parts.items()} | {
            "split": self.split,
            "vocabulary": self.config.vocabulary_size,
            "labels": [] if self.codec.labels is None else [*self.codec.labels.names],
        }

    def facts(
        self,
        best: Best,  # noqa: ARG002 - what is known of it was learned
        learned: Mapping[str, Any],
        refit: bool,
    ) -> dict[str, Any]:
        return {
            "data": (self.data if refit else self.training).facts()
            | {"sha256": self.data.digest()},
            "columns": dict(self.data.columns),
            "split": self.split,
            "held_out": learned["held_out"] | {"sequences": len(self.held_out.targets)},
            "temperature": learned["temperature"],
            "refit": refit,
            "metric": self.compared_by,
            "baselines": [asdict(one) for one in self.plain()],
        }

    @property
    def compared_by(self) -> str:
        """The measure by which the network stands beside plain models."""
        if self.config.task == "regress":
            return "mae"
        metric: str = getattr(self.options, "metric", "loss")
        return "accuracy" if metric == "loss" else metric

    def plain(self) -> list[Any]:
        """Return what plain models of the training part reach on the held-out part."""
        return compare(
            self.config.task,
            self.training,
            self.held_out,
            self.codec.labels,
            "balanced" if self.balanced or self.compared_by == "macro_recall" else None,
            seed=self.plan.seed,
        )

    def finish(
        self, best: Best, learned: Mapping[str, Any]
    ) -> tuple[Mapping[str, np.ndarray], Any]:
        """Return arrays and codec: the head's divided by the temperature (C. Guo et al. 2017)."""
        arrays = dict(best.arrays)
        for name in arrays:
            if ".head." in name:
                arrays[name] = (arrays[name] / learned["temperature"]).astype(np.float32)
        return arrays, self.codec


def _learning_on(plan: LabelledPlan, options: LabelledOptions) -> LabelledPlan:
    """Return the plan of a network that has learned before: few and small steps, lest it forgets."""
    limited = options.time is not None or options.epochs is not None or options.steps is not None
    if not limited:
        plan = replace(plan, epochs=PASSES_ON)
    if options.learning_rate is None:
        plan = replace(plan, learning_rate=RATE_ON * plan.learning_rate)
    return replace(plan, refit=bool(options.refit))


def _check_size(config: SequenceConfig) -> None:
    # told before hours of training, not after them
    arrays, most = len(config.parameters()), Limits().tensors - CODEC_ARRAYS
    if arrays > most:
        raise OptionError(
            "members and num_layers",
            got=f"{arrays} parameters",
            expected=f"at most {most}, as a model file holds",
        )


def _config(
    task: str, options: LabelledOptions, plan: LabelledPlan, codec: SequenceCodec
) -> SequenceConfig:
    tokens, alphabet, scaler = codec.tokens, codec.alphabet, codec.scaler
    return SequenceConfig(
        task=task,
        cell=options.cell,
        activation=options.activation,
        vocabulary_size=len(tokens) if tokens else 0,
        embedding_size=plan.embedding_size if tokens else 0,
        alphabet_size=len(alphabet) if alphabet else 0,
        spelling_size=plan.spelling_size if alphabet else 0,
        channels=scaler.channels if scaler else 0,
        hidden_size=plan.hidden_size,
        num_layers=plan.num_layers,
        bidirectional=options.bidirectional,
        bias=options.bias,
        pooling="" if task == "tag" else plan.pooling,
        outputs=len(codec.labels) if codec.labels else 1,
        members=plan.members,
    )
