"""Training on labelled sequences: division, codec, plan, stages, the measures that choose and report, card.

The stages of a run are networks that are trained one after the other. With a validation set there is one,
which the set stops; without, one for each fold of a cross-validation and one that is trained for as long as
was best in the folds. Then the test set is measured. Where data is small, the model that is kept is trained
anew on all of it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch.nn import functional

from elman.errors import DataError, OptionError
from elman.files.container import Limits
from elman.files.model import Model
from elman.labels.baselines import compare
from elman.labels.calibration import fit_temperature
from elman.labels.codec import ABSENT, Labels, SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.confusion import ENTITY_F1, label_figures
from elman.labels.dataset import check_finite, learn_codec
from elman.labels.examples import Labelled, Part
from elman.labels.metrics import compared_labels
from elman.labels.objective import LabelledObjective
from elman.labels.options import LabelledOptions
from elman.labels.plan import LabelledPlan, labelled_plan
from elman.labels.regression import RegressionFigures, compared_numbers
from elman.labels.split import Division, divide, unlike
from elman.labels.tags import are_entities, scheme
from elman.tables.scaler import Scaler
from elman.training.checkpoint import Best
from elman.training.distributed import Group
from elman.training.loop import Watch
from elman.training.objective import Measure, Objective
from elman.training.plan import Schedule, is_unlimited
from elman.training.run import Outcome, Run, execute

__all__ = ["Given", "Labelled", "LabelledRun", "train_labelled"]

CODEC_ARRAYS = 10
"""Most arrays of a codec: three vocabularies of two, and two scalers of two."""
PASSES_ON, RATE_ON = 5.0, 0.25
"""Passes over new sequences, and the share of the learning rate, where they are not given."""


def train_labelled(
    task: str,
    data: Labelled,
    options: LabelledOptions,
    *,
    valid: Labelled | None = None,
    test: Labelled | None = None,
    labels: Labels | None = None,
    before: Model | None = None,
    output: Path | None = None,
    resume: bool = False,
    watch: Watch | None = None,
) -> Outcome:
    """Train a reader for the `task` classify, regress or tag and return the best by the validation set.

    Args:
        task: "classify", "regress" or "tag".
        data: The sequences to train on; a part of them is held out where `valid` is not given.
        options: The options of the task.
        valid: Sequences that are held out in place of a part of `data`.
        test: The test set in place of half of what is held out.
        labels: The labels to expect, where they are known.
        before: A model that learns on, with its own sizes and codec.
        output: As for `execute`; `resume` and `watch` too.
        resume: See `output`.
        watch: See `output`.

    Raises DataError, OptionError, ShapeError, OutputError, ModelFileError, DivergedError.
    """
    given = Given(valid, test, labels, before)
    load = partial(LabelledRun.load, task, data, options, given, output)
    return execute(load, options, output=output, resume=resume, watch=watch)


@dataclass(frozen=True, eq=False)
class Given:
    """What training may be given beside its sequences."""

    valid: Labelled | None = None
    test: Labelled | None = None
    labels: Labels | None = None
    before: Model | None = None
    """The model that learns on."""


@dataclass
class LabelledRun(Run):
    """One run with everything it was given and what follows from it."""

    options: LabelledOptions
    plan: LabelledPlan
    config: SequenceConfig
    codec: SequenceCodec
    data: Labelled
    parts: Division
    before: Model | None
    """The model that learns on."""

    @classmethod
    def load(
        cls,
        task: str,
        data: Labelled,
        options: LabelledOptions,
        given: Given,
        output: Path | None,
        group: Group,
    ) -> LabelledRun:
        """Return the run that the data and the options ask for; raises DataError, OptionError, ShapeError."""
        check_finite(data.sequences, missing=options.missing == "mask")
        before, labels, valid, test = given.before, given.labels, given.valid, given.test
        if task == "tag":
            data = data.stepwise()
            valid, test = (None if one is None else one.stepwise() for one in (valid, test))
        if labels is None and before is None and task != "regress":
            labels = Labels.of(data.flat(task))
        known = {"learns_on": before is not None, "labels_are_known": given.labels is not None}
        parts = divide(task, data, options.held_out, options.seed, valid, test, **known)
        training = parts.training
        codec = before.codec if before is not None else _codec(task, options, training, labels)
        if codec.labels is not None:
            codec.labels.require(data.flat(task))
            for part in (parts.validation, parts.test):
                if part is not None and (codec.labels.encode(part.flat(task)) < 0).all():
                    raise DataError("the sequences to measure on have no label of those trained on")
        validates = parts.validation is not None or bool(parts.folds)
        text = codec.tokens is not None
        plan = labelled_plan(options, training.sequences.lengths, text, validates)
        if before is not None:
            plan = _learning_on(plan, options)
        config = _config(task, options, plan, codec) if before is None else before.config
        _check_size(config)
        _check_metric(options, codec)
        return cls(options, plan, config, codec, group, output, data, parts, before)

    def data_identity(self) -> dict[str, str]:
        """Return the digests of the parts."""
        parts = {
            "sequences": self.parts.training,
            "validation sequences": self.parts.validation,
            "test sequences": self.parts.test,
        }
        return {name: "" if part is None else part.digest() for name, part in parts.items()}

    @property
    def balanced(self) -> bool:
        """Whether rare classes weigh more."""
        return getattr(self.options, "class_weight", "none") == "balanced"

    @cached_property
    def stages(self) -> tuple[str, ...]:
        """What the networks of this run are for, in the order of their training."""
        first = ("fold",) * len(self.parts.folds) + ("measured",)
        # of sequences that were held out, a refit learns as well
        refit = self.plan.refit and len(self.data) > len(self.parts.training)
        return first + ("refit",) * refit

    def _sizes(self) -> list[int]:
        """Return the number of sequences on which each stage is trained."""
        count = len(self.parts.training)
        sizes = {"measured": count, "refit": len(self.data)}
        folds = [count - len(fold) for fold in self.parts.folds]
        return folds + [sizes[stage] for stage in self.stages[len(folds) :]]

    def stage(self, earlier: Sequence[Mapping[str, Any]]) -> tuple[LabelledObjective, Schedule]:
        """Return the objective and the schedule of the stage after the `earlier` ones."""
        task, codec, place = self.config.task, self.codec, len(earlier)
        training, held = self.parts.training, self.parts.validation
        if earlier:
            # the same start in every process, whatever dropout has drawn there
            self.random.seed(self.plan.seed + place)
        if self.stages[place] == "fold":
            fold = set(self.parts.folds[place])
            held = training.take(sorted(fold))
            training = training.take(row for row in range(len(training)) if row not in fold)
        elif self.stages[place] == "refit":
            training, held = self.data, None
        part = None if held is None else Part.of(task, codec, held)
        return LabelledObjective(self, Part.of(task, codec, training), part), self._plan(earlier)

    def _plan(self, earlier: Sequence[Mapping[str, Any]]) -> LabelledPlan:
        """Return how long the stage after the `earlier` ones lasts."""
        plan, sizes, place = self.plan, self._sizes(), len(earlier)
        if earlier and self.stages[place] != "fold":
            return replace(plan, time=None, epochs=None, evaluations=1, **self._length(earlier))
        if earlier and plan.time is not None:
            return replace(plan, time=None, steps=earlier[0]["length"])
        share = sizes[place] / sum(sizes)
        plan = replace(
            plan,
            time=None if plan.time is None else plan.time * share,
            limit=None if plan.limit is None else plan.limit * share,
        )
        # nothing tells which step is best: it is the last
        validates = self.parts.validation is not None or bool(self.parts.folds)
        return plan if validates else replace(plan, evaluations=1)

    def _length(self, earlier: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Return as many passes over a stage's sequences as were best in the stages before it, in steps."""
        sizes, place = self._sizes(), len(earlier)
        known = range(len(self.parts.folds)) if self.stages[place] == "measured" else [place - 1]
        found = {
            name: float(np.median([earlier[one][of] * sizes[place] / sizes[one] for one in known]))
            for name, of in (("steps", "length"), ("stop", "best"))
        }
        return {name: max(1, round(value)) for name, value in found.items()}

    def after(
        self, earlier: Sequence[Mapping[str, Any]], best: Best, steps: int
    ) -> dict[str, Any] | None:
        """Return the step at which the network was best, and the steps of the stage after it."""
        if len(earlier) + 1 == len(self.stages):
            return None
        own = {"best": best.step, "length": steps}
        following = self.stages[len(earlier) + 1]
        left = None if following == "fold" else self._length([*earlier, own])["stop"]
        return own | {"next": following, "steps": left}

    def learned(
        self, earlier: Sequence[Mapping[str, Any]], objective: Objective, best: Best
    ) -> dict[str, Any]:
        """Return what validation and test set tell of the `best` network: temperature and measures."""
        objective = cast(LabelledObjective, objective)
        stage = self.stages[len(earlier)]
        if stage == "refit":
            return {**earlier[-1], "stage": stage}
        objective.network.load(best.arrays)
        if objective.held is not None:
            logits, wanted = objective.logits(objective.held)
            temperature = 1.0 if self.config.task == "regress" else fit_temperature(logits, wanted)
            facts = self.measured(logits / temperature, objective.held).facts
            validation: dict[str, Any] | None = {**facts, "sequences": len(objective.held)}
        else:
            temperature, validation = _mean_of_folds(earlier)
        found = {"stage": stage, "temperature": temperature, "validation": validation}
        return found if stage == "fold" else found | self._tested(objective, temperature)

    def _tested(self, objective: LabelledObjective, temperature: float) -> dict[str, Any]:
        """Return what the test set tells of the network, and how it stands to plain models there."""
        test = self.parts.test
        if test is None:
            return {"held_out": None, "baselines": []}
        part = Part.of(self.config.task, self.codec, test)
        logits, wanted = objective.logits(part)
        facts = dict(self.measured(logits / temperature, part).facts) | {"sequences": len(test)}
        if not self.group.leads:
            return {"held_out": facts, "baselines": []}
        plain = compare(
            self.config.task,
            self.parts.training,
            test,
            self.codec.labels,
            "balanced" if self.balanced or self.compared_by == "macro_recall" else None,
            metric=self.compared_by,
            seed=self.plan.seed,
        )
        if self.config.task == "regress":
            target, truth = cast(Scaler, self.codec.target), test.numbers()
            answers = logits[:, 0].astype(np.float64) * target.scale[0] + target.mean[0]
            comparisons = compared_numbers(
                truth, RegressionFigures.of("the network", answers, truth), plain
            )
        else:
            comparisons = compared_labels(
                wanted, logits.argmax(axis=1), plain, self.compared_by, part.tags
            )
        rows = [
            one.figures() | {"verdict": two.verdict, "p_value": two.p_value, "sentence": str(two)}
            for one, two in zip(plain, comparisons, strict=True)
        ]
        return {"held_out": facts, "baselines": rows}

    def measured(self, logits: np.ndarray, held: Part) -> Measure:
        """Return how good ``logits [N, K]`` are for the targets of `held`."""
        wanted = np.concatenate(held.targets)
        if self.config.task == "regress":
            scale = float(cast(Scaler, self.codec.target).scale[0])
            apart = (logits[:, 0] - wanted).astype(np.float64)
            loss = float(np.mean(apart**2))
            facts = {"held_out_loss": loss, "rmse": scale * math.sqrt(loss)}
            return Measure(loss, facts | {"mae": scale * float(np.mean(abs(apart)))})
        loss = float(
            functional.cross_entropy(
                torch.from_numpy(logits).double(),
                torch.from_numpy(wanted.clip(ABSENT)),
                ignore_index=ABSENT,
            )
        )
        facts = {"held_out_loss": loss} | label_figures(wanted, logits.argmax(axis=1), held.tags)
        metric = getattr(self.options, "metric", "loss")
        # among equals the smaller loss
        value = loss if metric == "loss" else 1e-6 * loss - facts[metric]
        return Measure(value, facts)

    def report(self) -> dict[str, Any]:
        """Return what was read and how it is divided."""
        parts, task = self.parts, self.config.task
        warnings = [*parts.warnings]
        for name, part in (("validation", parts.validation), ("test", parts.test)):
            if part is not None:
                warnings += unlike(self.codec, task, parts.training, part, name)
        labels = () if self.codec.labels is None else self.codec.labels.names
        entities = task == "tag" and are_entities(labels)
        return {
            "data": parts.training.facts(),
            "validation": None if parts.validation is None else parts.validation.facts(),
            "held_out": None if parts.test is None else parts.test.facts(),
            "split": parts.words,
            "warnings": warnings,
            "stages": [*self.stages],
            "vocabulary": self.config.vocabulary_size,
            "labels": [*labels],
            "scheme": scheme(self.data.targets) if entities else "",
        }

    def facts(self, best: Best, learned: Mapping[str, Any], refit: bool) -> dict[str, Any]:
        """Return what the card says of the data and of how good the network is."""
        del best  # the facts about it are in `learned`
        refit = refit and learned["stage"] == "refit"
        return {
            "data": (self.data if refit else self.parts.training).facts()
            | {"sha256": self.data.digest()},
            "columns": dict(self.data.columns),
            "split": self.parts.words,
            # a run that was interrupted in a fold has measured nothing
            "held_out": learned.get("held_out"),
            "validation": learned["validation"],
            "temperature": learned["temperature"],
            "refit": refit,
            "metric": self.compared_by,
            "baselines": learned.get("baselines", []),
        }

    @property
    def compared_by(self) -> str:
        """The measure by which the network stands beside plain models."""
        if self.config.task == "regress":
            return "mae"
        metric: str = getattr(self.options, "metric", "loss")
        if metric != "loss":
            return metric
        names = cast(Labels, self.codec.labels).names
        return ENTITY_F1 if self.config.task == "tag" and are_entities(names) else "accuracy"

    def finish(
        self, best: Best, learned: Mapping[str, Any]
    ) -> tuple[Mapping[str, np.ndarray], Any]:
        """Return arrays and codec: the head's divided by the temperature (C. Guo et al. 2017)."""
        arrays = dict(best.arrays)
        for name in arrays:
            if ".head." in name:
                arrays[name] = (arrays[name] / learned["temperature"]).astype(np.float32)
        return arrays, self.codec


def _mean_of_folds(earlier: Sequence[Mapping[str, Any]]) -> tuple[float, dict[str, Any] | None]:
    """Return the temperature and the measures of cross-validation: the means of what the folds tell."""
    if not earlier:
        return 1.0, None
    temperature = float(np.exp(np.mean([math.log(one["temperature"]) for one in earlier])))
    parts = [one["validation"] for one in earlier]
    means = {name: float(np.mean([part[name] for part in parts])) for name in parts[0]}
    count = sum(part["sequences"] for part in parts)
    return temperature, means | {"sequences": count, "folds": len(parts)}


def _codec(
    task: str, options: LabelledOptions, training: Labelled, labels: Labels | None
) -> SequenceCodec:
    codec = learn_codec(
        training.sequences,
        level=options.level,
        lowercase=options.lowercase,
        max_vocabulary=options.max_vocabulary,
        min_count=options.min_count,
        missing=options.missing,
    )
    target = Scaler.of([training.numbers()[:, None]]) if task == "regress" else None
    return replace(codec, labels=labels, target=target)


def _check_metric(options: LabelledOptions, codec: SequenceCodec) -> None:
    if getattr(options, "metric", "loss") != ENTITY_F1 or codec.labels is None:
        return
    if not are_entities(codec.labels.names):
        got = "tags such as " + ", ".join(codec.labels.names[:5])
        raise OptionError(
            "metric: entity_f1 is of tags that mark entities", got=got, expected="B-, I- and O"
        )


def _learning_on(plan: LabelledPlan, options: LabelledOptions) -> LabelledPlan:
    """Return the plan of a network that has learned before: few and small steps, lest it forgets."""
    if is_unlimited(options):
        plan = replace(plan, epochs=PASSES_ON, limit=None)
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
