"""Labelled sequences: the examples that a network learns from, as the user has them and encoded."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from elman.errors import DataError
from elman.labels.batches import EncodedSequences
from elman.labels.codec import SequenceCodec
from elman.labels.confusion import TrueTags
from elman.labels.dataset import Sequences


@dataclass(frozen=True, eq=False)
class LabelledSequences:
    """Sequences and their targets: a label, a number, or a list of tags for each sequence."""

    sequences: Sequences
    targets: Sequence[Any]
    columns: Mapping[str, Any] = field(default_factory=dict)
    """The options that name columns of a table; the card keeps them, so that later tables are read alike."""

    def __post_init__(self) -> None:
        self.sequences.check_paired(self.targets)

    def stepwise(self) -> LabelledSequences:
        """Return the examples with texts split at white space, for tagging.

        Raises:
            DataError: A sequence is empty, or has more or fewer tags than time steps.
        """
        sequences = self.sequences.stepwise()
        for row, (item, tags) in enumerate(zip(sequences.items, self.targets, strict=True)):
            if isinstance(tags, str) or len(item) != len(tags) or not len(item):
                got = "one text" if isinstance(tags, str) else f"{len(tags)} tags"
                expected = "at least one step, and a tag for each"
                raise DataError(
                    f"sequence {row}", got=f"{len(item)} steps, {got}", expected=expected
                )
        return replace(self, sequences=sequences)

    def take(self, rows: Iterable[int]) -> LabelledSequences:
        """Return the examples in `rows`, in that order."""
        rows = list(rows)
        return LabelledSequences(self.sequences.take(rows), [self.targets[row] for row in rows])

    def flat_targets(self, task: str) -> Sequence[Any]:
        """Return the targets; for the task "tag" the tags of all steps in one list."""
        return [tag for tags in self.targets for tag in tags] if task == "tag" else self.targets

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

    def _copies_by_class(self, task: str, seed: int) -> list[list[list[int]]]:
        """Return for each class, in random order, lists of the rows that hold copies of one sequence."""
        rows: dict[Hashable, list[int]] = {}
        for row, key in enumerate(self.keys()):
            rows.setdefault(key, []).append(row)
        copies = list(rows.values())
        classes: dict[Any, list[list[int]]] = {}
        for index in np.random.default_rng(seed).permutation(len(copies)).tolist():
            label = self.targets[copies[index][0]] if task == "classify" else None
            classes.setdefault(label, []).append(copies[index])
        return list(classes.values())

    def split(self, task: str, share: float, seed: int) -> tuple[list[int], list[int]]:
        """Return the rows to train on and the rows to hold out, stratified by class.

        Copies of a sequence stay on one side. At least one sequence of each class is held out, except of a
        class that has only one.
        """
        held_out: list[int] = []
        for copies in self._copies_by_class(task, seed):
            count = max(1, round(share * sum(map(len, copies))))
            chosen: list[int] = []
            for rows in copies[:-1]:
                if len(chosen) + len(rows) <= count:
                    chosen += rows
            held_out += chosen
        taken = set(held_out)
        return [row for row in range(len(self.targets)) if row not in taken], sorted(held_out)

    def folds(self, task: str, count: int, seed: int) -> tuple[tuple[int, ...], ...]:
        """Return the rows of each of `count` cross-validation folds, stratified by class."""
        folds: list[list[int]] = [[] for _ in range(count)]
        copies = [rows for group in self._copies_by_class(task, seed) for rows in group]
        for index, rows in enumerate(copies):
            folds[index % count] += rows
        return tuple(tuple(sorted(rows)) for rows in folds)

    def facts(self) -> dict[str, Any]:
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
            plain = target.tolist() if isinstance(target, np.ndarray | np.generic) else target
            sha.update(repr(plain).encode("utf-8", "surrogatepass") + b"\xff")
        return sha.hexdigest()


@dataclass(frozen=True, eq=False)
class EncodedExamples:
    """Encoded sequences and their encoded targets."""

    encoded: EncodedSequences
    targets: list[np.ndarray]
    """For each sequence int64 ``[1]`` or, for tags, ``[T_i]``, negative for labels not in training; for
    regression float32 ``[1]``."""
    tags: TrueTags | None = None
    """The tags as text, for the task "tag"."""

    @classmethod
    def of(cls, task: str, codec: SequenceCodec, examples: LabelledSequences) -> EncodedExamples:
        """Encode `examples`; raises DataError, ShapeError."""
        encoded = EncodedSequences.of(codec, examples.sequences)
        if codec.target is not None:
            return cls(encoded, [*codec.target.apply(examples.numbers()[:, None])])
        labels = codec.known_labels
        numbers = labels.encode_distinct(examples.flat_targets(task))
        if task != "tag":
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
            weights = counts.sum() / (np.maximum(counts, 1) * (counts > 0).sum())
        return weights.astype(np.float32)
