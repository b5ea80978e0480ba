"""Training on labelled sequences: the stages of a run, what each is trained and measured on, and the card.

A run trains one network after the other. With a validation set, the first network is the measured one, and
the validation set decides when it stops. Without one, a network for each fold of a cross-validation comes
first, and the measured network trains for as long as was best in the folds. Then the test set is measured
once. If data is small, the network that the user gets is finally trained anew on all of it ("refit").
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import TypeAlias

import numpy as np

from elman.errors import DataError, OptionError
from elman.files.model import Model
from elman.labels.batches import EncodedSequences
from elman.labels.codec import SequenceCodec, fit_codec, word_vectors
from elman.labels.comparison import compare_with_baselines
from elman.labels.config import SequenceConfig
from elman.labels.confusion import ENTITY_F1
from elman.labels.dataset import Sequences, check_finite
from elman.labels.examples import EncodedExamples, LabelledSequences, RunInputs
from elman.labels.fused_network import FusedNetwork, mean_of_folds
from elman.labels.fusion import Factors
from elman.labels.label_values import Labels
from elman.labels.linear_models import FitSettings
from elman.labels.objective import LabelledObjective
from elman.labels.options import LabelledOptions
from elman.labels.plan import LabelledPlan, check_metric, labelled_plan, network_config
from elman.labels.pretraining import PretrainingObjective, read_unlabelled
from elman.labels.split import Split, describe_differences, split_examples
from elman.labels.stages import Stages
from elman.labels.tag_chain import TagChain
from elman.labels.tags import are_entities, scheme
from elman.labels.wide import WidePart
from elman.labels.wide_fit import fit_wide
from elman.tables.scaler import Scaler
from elman.training.checkpoint import Best, StageResult
from elman.training.continuation import extended, few_epochs, small_steps
from elman.training.distributed import Group
from elman.training.journal import JsonObject, Run
from elman.training.plan import Schedule
from elman.training.random import Randomness
from elman.training.recipe import Recipe
from elman.training.trainer import WORST_MEASURE, Outcome, train


def train_labelled(
    task: str,
    data: LabelledSequences,
    options: LabelledOptions,
    run: Run,
    inputs: RunInputs,
) -> Outcome:
    """Train a network on labelled sequences and return the model that is best on the validation set.

    Args:
        task: "classify", "regress" or "tag".
        data: The sequences to train on.
        options: The options of the task.
        run: The files of the run, and the function that watches it.
        inputs: What the run has beside these; without a validation set a share of `data` is held out.

    Raises:
        DataError: The data cannot be used.
        OptionError: The options do not fit the data.
        ShapeError: The sequences have different numbers of channels.
        OutputError: The output cannot be written.
        ModelFileError: The checkpoint belongs to another run.
        DivergedError: Training met numbers that are not finite and could not recover.
    """
    if run.before is not None:
        options = few_epochs(options)
    # A tuning compares configurations by the validation loss of their first stage; pre-training has none.
    if run.pause is not None and options.pretrain is not None:
        raise OptionError(
            "pretrain", got="a file, in a tuning", expected="none", remedy="use it with elman train"
        )
    prepare = partial(LabelledRecipe.load, task, data, options, inputs, run.before)
    return train(prepare, options, run)


StageObjective: TypeAlias = LabelledObjective | PretrainingObjective


@dataclass
class LabelledRecipe(Recipe[StageObjective]):
    """One run: options, plan, network sizes, codec and the split data."""

    options: LabelledOptions
    plan: LabelledPlan
    config: SequenceConfig
    codec: SequenceCodec
    data: LabelledSequences
    split: Split
    unlabelled: Sequences | None = None
    """Texts by which a language model gives the networks their first weights."""
    vectors: tuple[np.ndarray, np.ndarray] | None = None
    """Numbers of words ``[W]`` and their vectors ``[W, E]`` from which a new network starts, if any."""
    wide: WidePart | None = None
    """The wide part of the stage that was measured last, before its logits are scaled."""

    @classmethod
    def load(
        cls,
        task: str,
        data: LabelledSequences,
        options: LabelledOptions,
        inputs: RunInputs,
        before: Model[SequenceConfig, SequenceCodec] | None,
        group: Group,
        random: Randomness,
    ) -> LabelledRecipe:
        """Prepare the run; raises DataError, OptionError, ShapeError."""
        # check before the split, so that a message names the row that the user passed
        check_finite(data.sequences, allow_missing=options.missing == "mask")
        labels, data = None, data.of_task(task)
        valid, test = (
            None if examples is None else examples.of_task(task)
            for examples in (inputs.valid, inputs.test)
        )
        # an empty sentence has no step to learn from; when a tagger predicts, it simply gets no tags
        if data.kind.per_step and not data.sequences.lengths.all():
            row = int(data.sequences.lengths.argmin())
            raise DataError(f"sequence {row}", got="0 steps, 0 tags", expected="at least one")
        # held-out rows count too: a label that happens to occur only there still gets an output
        if not data.kind.is_number:
            labels = Labels.of(data.flat_targets)
            if inputs.labels is not None:
                if before is None:
                    inputs.labels.check_known(data.flat_targets)
                labels = inputs.labels.with_labels(labels)
        split = split_examples(
            data,
            options.held_out,
            options.seed,
            valid,
            test,
            continued=before is not None,
            labels_are_known=inputs.labels is not None,
        )
        unlabelled = None
        if options.pretrain is not None:
            if before is not None:
                expected = "a new network, because pre-training gives first weights"
                raise OptionError("pretrain", got="a model to train further", expected=expected)
            unlabelled = read_unlabelled(options.pretrain, split.training.sequences.kind)
        # vocabulary and scaling come from what is trained on, so that the held-out sets stay unseen
        sequences = split.training.sequences.joined(unlabelled)
        # standardised targets [N, 1], so that one learning rate suits every unit of measurement
        target = Scaler.of([split.training.numbers()[:, None]]) if data.kind.is_number else None
        codec = replace(fit_codec(sequences, options), labels=labels, target=target)
        if before is not None:
            codec = before.codec.extended(codec, options.max_vocabulary)
            growths = codec.growths(before.codec)
            before = extended(before, codec, growths, options.seed)
            # a wide part is added again in the end
            codec = codec if codec.wide is None else replace(codec, wide=None)
        if codec.labels is not None:
            for examples in (split.validation, split.test):
                if examples is not None and (codec.labels.encode(examples.flat_targets) < 0).all():
                    raise DataError("the sequences to measure on have no label of those trained on")
        lengths, is_text = split.training.sequences.lengths, codec.tokens is not None
        plan = labelled_plan(options, lengths, is_text, split.validates, in_folds=bool(split.folds))
        vectors = None if before is not None else word_vectors(options, codec)
        if vectors is not None:
            plan = replace(plan, embedding_size=vectors[1].shape[1])
        if before is not None:
            plan = replace(small_steps(plan, options), refit=bool(options.refit))
        config = network_config(task, options, plan, codec) if before is None else before.config
        check_metric(options, codec)
        return cls(
            options=options,
            plan=plan,
            config=config,
            codec=codec,
            group=group,
            random=random,
            data=data,
            split=split,
            unlabelled=unlabelled,
            vectors=vectors,
            before=before,
        )

    def data_identity(self) -> dict[str, str]:
        """Return the digests of the three sets, and of the word vectors."""
        sets = {
            "sequences": self.split.training,
            "validation sequences": self.split.validation,
            "test sequences": self.split.test,
        }
        digests = {
            name: "" if examples is None else examples.digest() for name, examples in sets.items()
        }
        if self.unlabelled is not None:
            digests["unlabelled text"] = self.unlabelled.digest()
        if self.vectors is not None:
            digests["word vectors"] = hashlib.sha256(self.vectors[1].tobytes()).hexdigest()
        return digests

    @cached_property
    def stages(self) -> Stages:
        """The networks that this run trains, one after the other."""
        pretrains = self.unlabelled is not None
        return Stages(self.plan, self.split, len(self.data), pretrains=pretrains)

    def stage(self, earlier: Sequence[StageResult]) -> tuple[StageObjective, Schedule]:
        """Return the objective and the schedule of the next stage; `earlier` holds the results so far."""
        codec, index = self.codec, len(earlier)
        training, held_out = self.split.training, self.split.validation
        kind, schedule = self.stages.kinds[index], self.stages.schedule(earlier)
        if earlier:
            # the number of dropout draws differs between processes: start all of them alike again
            self.random.seed(self.plan.seed + index)
        if kind == "pretrain" and self.unlabelled is not None:
            texts = EncodedSequences.of(codec, self.unlabelled)
            first = PretrainingObjective(self.config, schedule, self.group, texts)
            if self.vectors is not None:
                first.network.start_from(*self.vectors)
            return first, schedule
        if kind == "fold":
            fold = set(self.stages.fold(index))
            held_out = training.take(sorted(fold))
            training = training.take(row for row in range(len(training)) if row not in fold)
        elif kind == "refit":
            training, held_out = self.data, None
        examples = EncodedExamples.of(codec, training)
        held = None if held_out is None else EncodedExamples.of(codec, held_out)
        scale = 1.0 if codec.target is None else float(codec.target.scale[0])
        objective = LabelledObjective(
            self.config, self.plan, self.options, self.group, examples, held, scale, self.rules
        )
        if self.vectors is not None:
            objective.network.start_from(*self.vectors)
        return objective, schedule

    def next_stage(
        self, earlier: Sequence[StageResult], best: Best, steps: int
    ) -> StageResult | None:
        """Return the best step of this stage and the length of the next one; None after the last stage."""
        return self.stages.following(earlier, best, steps)

    def evaluate(
        self, earlier: Sequence[StageResult], objective: StageObjective, best: Best
    ) -> StageResult:
        """Measure the `best` network of a stage with its wide part: factors, validation and test metrics."""
        stage = self.stages.kinds[len(earlier)]
        if isinstance(objective, PretrainingObjective):
            return {"stage": stage}
        if stage == "refit":
            return {**earlier[-1], "stage": stage}
        # the network stands at its last step; measure it at its best one
        objective.network.load(best.arrays)
        # the folds and the refit take the strength that was chosen in the first stage
        strength = next((one["strength"] for one in earlier if "strength" in one), None)
        self.wide, strength = self._fitted_wide(objective.examples, strength)
        model = FusedNetwork(objective, self.wide)
        validation: JsonObject | None = None
        if objective.held is not None:
            factors, validation = model.calibrated(objective.held)
        elif self.before is not None:
            # both parts of the earlier model were scaled before
            factors = Factors(1.0, 1.0 if self.wide else 0.0)
        else:
            factors, validation = mean_of_folds(
                self.stages.of_folds(earlier), fused=self.wide is not None
            )
        measured = {
            "stage": stage,
            # the network's factor is kept as the temperature of its logits
            "temperature": 1 / factors.network,
            "wide_factor": factors.wide,
            "strength": strength,
            "validation": validation,
        }
        return measured if stage == "fold" else measured | self._tested(model, factors)

    @cached_property
    def rules(self) -> TagChain | None:
        """The pairs of neighbouring tags that may occur; None where tags are not chained."""
        if not self.config.transitions or self.codec.labels is None:
            return None
        tags = [[*map(str, tags)] for tags in self.data.targets]
        return TagChain.rules(self.codec.labels.names, tags)

    @property
    def linear(self) -> FitSettings:
        """The settings of linear models: of the wide part, and of the plain models for comparison."""
        balanced = self.options.balances_classes
        return FitSettings(self.compared_by, balanced=balanced, seed=self.plan.seed)

    def _fitted_wide(
        self, examples: EncodedExamples, strength: float | None
    ) -> tuple[WidePart | None, float | None]:
        """Return the wide part for training on `examples`, and its strength."""
        if self.before is not None:
            # a model that is trained further keeps its wide part
            return self.before.codec.wide, None
        if not self.options.has_wide_part:
            return None, None
        fitted = fit_wide(self.codec, examples, replace(self.linear, strength=strength))
        return (None, strength) if fitted is None else fitted

    def _tested(self, model: FusedNetwork, factors: Factors) -> JsonObject:
        """Measure the model on the test set and compare it with its parts and with plain models there."""
        test = self.split.test
        if test is None:
            return {"held_out": None, "baselines": []}
        encoded = EncodedExamples.of(self.codec, test)
        facts, answers = model.tested(encoded, factors, self.compared_by)
        # only the lead process writes the card, so only this one fits plain models
        if not self.group.leads:
            return {"held_out": facts, "baselines": []}
        if self.data.kind.is_number:
            answers = self.codec.numbers(answers[:, None])
        rows = compare_with_baselines(self.codec, self.split.training, test, answers, self.linear)
        return {"held_out": facts, "baselines": rows}

    def start_facts(self) -> JsonObject:
        """Return the facts on the data and its split that the start of a run prints."""
        split = self.split
        warnings = [*split.warnings]
        for name, part in (("validation", split.validation), ("test", split.test)):
            if part is not None:
                warnings += describe_differences(self.codec, split.training, part, name)
        labels = () if self.codec.labels is None else self.codec.labels.names
        entities = self.data.kind.per_step and are_entities(labels)
        return {
            "data": split.training.facts(),
            "validation": None if split.validation is None else split.validation.facts(),
            "held_out": None if split.test is None else split.test.facts(),
            "split": split.description,
            "warnings": warnings,
            "stages": [*self.stages.kinds],
            "unlabelled": None if self.unlabelled is None else len(self.unlabelled),
            "vocabulary": self.config.vocabulary_size,
            "labels": [*labels],
            "scheme": scheme(self.data.targets) if entities else "",
        }

    def card_facts(self, best: Best, result: StageResult, refit: bool) -> JsonObject:
        """Return the entries of the card on the data and on how good the network is."""
        del best  # `result` holds its measures
        refit = refit and result["stage"] == "refit"
        trained_on = self.data if refit else self.split.training
        return {
            "data": trained_on.facts() | {"sha256": self.data.digest()},
            "columns": dict(self.data.columns),
            "split": self.split.description,
            "wide": {"factor": result["wide_factor"], "strength": result["strength"]},
            # a run that was interrupted in a fold has no test measures
            "held_out": result.get("held_out"),
            "validation": result["validation"],
            "temperature": result["temperature"],
            "refit": refit,
            "metric": self.compared_by,
            "baselines": result.get("baselines", []),
        }

    @property
    def compared_by(self) -> str:
        """The metric by which the network is compared with plain models."""
        if self.codec.labels is None:
            return "mae"
        if self.options.selection_metric != "loss":
            return self.options.selection_metric
        is_entity = self.data.kind.per_step and are_entities(self.codec.labels.names)
        return ENTITY_F1 if is_entity else "accuracy"

    def finish(
        self, best: Best, result: StageResult
    ) -> tuple[SequenceConfig, Mapping[str, np.ndarray], SequenceCodec]:
        """Return the parts of the model, with both factors inside its weights (C. Guo et al. 2017)."""
        # with the temperature inside the head, predicting needs no extra step
        arrays = dict(best.arrays)
        for name in arrays:
            if ".head." in name or ".transitions." in name:
                arrays[name] = (arrays[name] / result["temperature"]).astype(np.float32)
            if self.rules is not None and ".transitions." in name:
                ruled = getattr(self.rules, name.rpartition(".")[2])
                # a pair that the rules forbid was never learned
                arrays[name] = np.where(ruled < 0, ruled, arrays[name]).astype(np.float32)
        if not result["wide_factor"]:
            return self.config, arrays, self.codec
        wide, refit = self.wide, result["stage"] == "refit" and best.value < WORST_MEASURE
        # a refit is not measured, and a run that was resumed in one has no wide part yet
        if refit or wide is None:
            kept = EncodedExamples.of(self.codec, self.data if refit else self.split.training)
            wide, _ = self._fitted_wide(kept, result["strength"])
        wide = None if wide is None else wide.scaled(result["wide_factor"])
        return self.config, arrays, replace(self.codec, wide=wide)
