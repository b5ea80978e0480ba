"""Labelled sequences: the examples that a network learns from, as the user has them and encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import numpy as np

from elman.errors import DataError
from elman.labels.batches import EncodedSequences
from elman.labels.codec import SequenceCodec
from elman.labels.confusion import TrueTags
from elman.labels.dataset import Sequences
from elman.labels.kinds import KINDS, LABEL, TargetKind
from elman.labels.label_values import Label, Labels
from elman.training.journal import JsonObject

Targets: TypeAlias = Sequence[Any]
"""A label, a number, or a list of tags for each sequence."""
TargetSource: TypeAlias = Sequence[Label] | Sequence[Sequence[Label]] | np.ndarray
"""Targets as users pass them."""


@dataclass(frozen=True, eq=False)
class LabelledSequences:
    """Sequences and their targets."""

    sequences: Sequences
    targets: Targets
    columns: Mapping[str, str] = field(default_factory=dict)
    """The options that name columns of a table; the card keeps them, so that later tables are read alike."""
    kind: TargetKind = LABEL

    def __post_init__(self) -> None:
        self.sequences.check_paired(self.targets)

    def of_task(self, task: str) -> LabelledSequences:
        """Return the examples of a task; for tagging, texts are split at white space.

        Raises DataError if the tags of a sequence do not pair with its steps.
        """
        kind = KINDS[task]
        if not kind.per_step:
            return replace(self, kind=kind)
        sequences = self.sequences.stepwise()
        for row, (item, tags) in enumerate(zip(sequences.items, self.targets, strict=True)):
            if isinstance(tags, str) or len(item) != len(tags):
                got = "one text" if isinstance(tags, str) else f"{len(tags)} tags"
                expected = "at least one step, and a tag for each"
                raise DataError(
                    f"sequence {row}", got=f"{len(item)} steps, {got}", expected=expected
                )
        return replace(self, sequences=sequences, kind=kind)

    def take(self, rows: Iterable[int]) -> LabelledSequences:
        """Return the examples in `rows`, in that order."""
        rows = list(rows)
        targets = [self.targets[row] for row in rows]
        return replace(self, sequences=self.sequences.take(rows), targets=targets)

    @property
    def flat_targets(self) -> Targets:
        """The targets; for tagging the tags of all steps in one list."""
        if not self.kind.per_step:
            return self.targets
        return [tag for tags in self.targets for tag in tags]

    def numbers(self) -> np.ndarray:
        """Return the targets as finite float64 ``[N]``; raises DataError if they are not numbers."""
        try:
            numbers = np.asarray(self.targets, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError("targets", got=str(error), expected="numbers") from None
        if numbers.ndim != 1 or not np.isfinite(numbers).all():
            expected = "one finite number for each sequence"
            raise DataError("Input y contains NaN or infinity", expected=expected)
        return numbers

    def __len__(self) -> int:
        return len(self.targets)

    def keys(self) -> list[Hashable]:
        """Return a value for each sequence that is equal for equal sequences."""
        if self.sequences.kind == "numbers":
            return [(item.shape, item.tobytes()) for item in self.sequences.items]
        return list(self.sequences.items)

    def _copies_by_class(self, seed: int) -> list[list[list[int]]]:
        """Return for each class, in random order, lists of the rows that hold copies of one sequence."""
        # the rows of equal sequences move together, so that no copy is in two sets
        rows: dict[Hashable, list[int]] = {}
        for row, key in enumerate(self.keys()):
            rows.setdefault(key, []).append(row)
        copies = list(rows.values())
        classes: dict[Any, list[list[int]]] = {}
        for index in np.random.default_rng(seed).permutation(len(copies)).tolist():
            label = self.targets[copies[index][0]] if self.kind is LABEL else None
            classes.setdefault(label, []).append(copies[index])
        return list(classes.values())

    def split(self, share: float, seed: int) -> tuple[list[int], list[int]]:
        """Return the rows to train on and the rows to hold out, stratified by class.

        Copies of a sequence stay on one side. At least one sequence of each class is held out, except of a
        class that has only one.
        """
        held_out: list[int] = []
        for copies in self._copies_by_class(seed):
            # number of sequences of this class to hold out
            count = max(1, round(share * sum(map(len, copies))))
            chosen: list[int] = []
            # the last group stays in training, so that every class can be learned
            for rows in copies[:-1]:
                if len(chosen) + len(rows) <= count:
                    chosen += rows
            held_out += chosen
        taken = set(held_out)
        return [row for row in range(len(self.targets)) if row not in taken], sorted(held_out)

    def folds(self, count: int, seed: int) -> tuple[tuple[int, ...], ...]:
        """Return the rows of each of `count` cross-validation folds, stratified by class."""
        folds: list[list[int]] = [[] for _ in range(count)]
        copies = [rows for group in self._copies_by_class(seed) for rows in group]
        for index, rows in enumerate(copies):
            # groups are dealt out class by class, so that each fold gets its share of every class
            folds[index % count] += rows
        return tuple(tuple(sorted(rows)) for rows in folds)

    def facts(self) -> JsonObject:
        """Return the number of sequences and their lengths, for the card."""
        lengths = self.sequences.lengths
        return {
            "kind": self.sequences.kind,
            "sequences": len(lengths),
            "steps": int(lengths.sum()),
            "shortest": int(lengths.min()),
            "longest": int(lengths.max()),
        }

    def digest(self) -> str:
        """Return a SHA-256 over sequences and targets, in order."""
        sha = hashlib.sha256(self.sequences.digest().encode())
        for target in self.targets:
            # numpy shows its numbers differently from version to version
            plain = target.tolist() if isinstance(target, np.ndarray | np.generic) else target
            sha.update(repr(plain).encode("utf-8", "surrogatepass") + b"\xff")
        return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class RunInputs:
    """Optional inputs of a run beside its training sequences."""

    valid: LabelledSequences | None = None
    """Held-out sequences, in place of a share of the training sequences."""
    test: LabelledSequences | None = None
    """The test set, in place of half of the held-out sequences."""
    labels: Labels | None = None
    """The labels to expect, if they are known."""


@dataclass(frozen=True, eq=False)
class EncodedExamples:
    """Encoded sequences and their encoded targets."""

    encoded: EncodedSequences
    targets: list[np.ndarray]
    """Target of each sequence: int64 ``[1]``, or ``[T_i]`` for tags, negative for labels not in training;
    float32 ``[1]`` for regression."""
    tags: TrueTags | None = None
    """The tags as text, for the task "tag"."""

    @classmethod
    def of(cls, codec: SequenceCodec, examples: LabelledSequences) -> EncodedExamples:
        """Encode `examples`; raises DataError, ShapeError."""
        encoded = EncodedSequences.of(codec, examples.sequences)
        if codec.target is not None:
            return cls(encoded, [*codec.target.apply(examples.numbers()[:, None])])
        labels = codec.known_labels
        numbers = labels.encode_distinct(examples.flat_targets)
        if not examples.kind.per_step:
            return cls(encoded, [*numbers[:, None]])
        tags = TrueTags.of(examples.targets, labels.names)
        return cls(encoded, tags.by_sequence(numbers), tags)

    def __len__(self) -> int:
        return len(self.encoded)

    def class_weights(self, outputs: int, *, balanced: bool) -> np.ndarray:
        """Return the weight of each class in the loss, float32 ``[K]``.

        The weights are all 1, or if `balanced` inversely proportional to how often a class occurs.
        """
        weights = np.ones(outputs)
        if balanced:
            counts = np.bincount(np.concatenate(self.targets), minlength=outputs)
            # N / (K · n) for a class that occurs n times; the mean over all sequences is 1
            weights = counts.sum() / (np.maximum(counts, 1) * (counts > 0).sum())
        return weights.astype(np.float32)
