"""Sequences and what is to be said of each, as a reader trains on them: split, and as numbers."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, cast

import numpy as np

from elman.errors import DataError
from elman.labels.codec import Labels, SequenceCodec
from elman.labels.confusion import Tags
from elman.labels.dataset import Encoded, Sequences

__all__ = ["Labelled", "Part"]


@dataclass(frozen=True, eq=False)
class Labelled:
    """Sequences and what is to be said of each: labels, numbers, or a list of tags a sequence."""

    sequences: Sequences
    targets: Sequence[Any]
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Where they stand in a table of that kind, for the card."""

    def __post_init__(self) -> None:
        self.sequences.check_paired(self.targets)

    def stepwise(self) -> Labelled:
        """Return them with one tag a step, texts cut at white space; raises DataError where it is not so."""
        sequences = self.sequences.stepwise()
        for row, (item, tags) in enumerate(zip(sequences.items, self.targets, strict=True)):
            if isinstance(tags, str) or len(item) != len(tags) or not len(item):
                got = "one text" if isinstance(tags, str) else f"{len(tags)} tags"
                expected = "one or more, a tag each"
                raise DataError(
                    f"sequence {row}", got=f"{len(item)} steps, {got}", expected=expected
                )
        return replace(self, sequences=sequences)

    def take(self, rows: Iterable[int]) -> Labelled:
        """Return those in `rows`, in that order."""
        rows = list(rows)
        return Labelled(self.sequences.take(rows), [self.targets[row] for row in rows])

    def flat(self, task: str) -> Sequence[Any]:
        """Return one label or number a sequence, or for tags those of all steps in a row."""
        return [tag for tags in self.targets for tag in tags] if task == "tag" else self.targets

    def numbers(self) -> np.ndarray:
        """Return the targets as finite float64 ``[N]``; raises DataError where they are not."""
        try:
            numbers = np.asarray(self.targets, np.float64)
        except (TypeError, ValueError) as error:
            raise DataError("targets", got=str(error), expected="numbers") from None
        if numbers.ndim != 1 or not np.isfinite(numbers).all():
            expected = "one finite number a sequence"
            raise DataError("Input y contains NaN or infinity", expected=expected)
        return numbers

    def __len__(self) -> int:
        return len(self.targets)

    def contents(self) -> list[Hashable]:
        """Return a value for each sequence by which equal ones are found."""
        if self.sequences.kind == "numbers":
            return [(item.shape, item.tobytes()) for item in self.sequences.items]
        return list(self.sequences.items)

    def _units(self, task: str, seed: int) -> list[list[list[int]]]:
        """Return for each class its units in random order: the rows of equal sequences."""
        rows: dict[Hashable, list[int]] = {}
        for row, key in enumerate(self.contents()):
            rows.setdefault(key, []).append(row)
        units = list(rows.values())
        groups: dict[Any, list[list[int]]] = {}
        for place in np.random.default_rng(seed).permutation(len(units)).tolist():
            label = self.targets[units[place][0]] if task == "classify" else None
            groups.setdefault(label, []).append(units[place])
        return list(groups.values())

    def split(self, task: str, share: float, seed: int) -> tuple[list[int], list[int]]:
        """Return the rows to train on and those held out: of every class its share, where it has enough.

        Equal sequences stay together. Of a class that has two sequences one is held out, of a class that
        has one none.
        """
        held: list[int] = []
        for units in self._units(task, seed):
            count = max(1, round(share * sum(map(len, units))))
            chosen: list[int] = []
            for rows in units[:-1]:
                if len(chosen) + len(rows) <= count:
                    chosen += rows
            held += chosen
        taken = set(held)
        return [row for row in range(len(self.targets)) if row not in taken], sorted(held)

    def folds(self, task: str, count: int, seed: int) -> tuple[tuple[int, ...], ...]:
        """Return the rows of each of `count` parts, in which classes have about the same shares."""
        found: list[list[int]] = [[] for _ in range(count)]
        units = [one for group in self._units(task, seed) for one in group]
        for place, rows in enumerate(units):
            found[place % count] += rows
        return tuple(tuple(sorted(rows)) for rows in found)

    def facts(self) -> dict[str, Any]:
        """Return how many there are and how long, for the card."""
        lengths = self.sequences.lengths
        return {
            "kind": self.sequences.kind,
            "sequences": len(lengths),
            "steps": int(lengths.sum()),
            "shortest": int(lengths.min()),
            "longest": int(lengths.max()),
        }

    def digest(self) -> str:
        """Return the SHA-256 of sequences and targets, in order."""
        whole = hashlib.sha256(self.sequences.digest().encode())
        for target in self.targets:
            plain = target.tolist() if isinstance(target, np.ndarray | np.generic) else target
            whole.update(repr(plain).encode("utf-8", "surrogatepass") + b"\xff")
        return whole.hexdigest()


@dataclass(frozen=True, eq=False)
class Part:
    """Sequences as the network reads them, and the numbers of what is to be said of each."""

    encoded: Encoded
    targets: list[np.ndarray]
    """int64 ``[1]`` or ``[T_i]``, below 0 for labels not in training; float32 ``[1]`` for numbers."""
    tags: Tags | None = None
    """The tags as text, where the targets are tags."""

    @classmethod
    def of(cls, task: str, codec: SequenceCodec, data: Labelled) -> Part:
        """Return `data` as the network of `codec` reads it; raises DataError, ShapeError."""
        encoded = Encoded.of(codec, data.sequences)
        if codec.target is not None:
            return cls(encoded, [*codec.target.apply(data.numbers()[:, None])])
        labels = cast(Labels, codec.labels)
        numbers = labels.encode_apart(data.flat(task))
        if task == "classify":
            return cls(encoded, [*numbers[:, None]])
        ends = np.cumsum([len(tags) for tags in data.targets])[:-1]
        tags = Tags([[*map(str, one)] for one in data.targets], labels.names)
        return cls(encoded, np.split(numbers, ends), tags)

    def __len__(self) -> int:
        return len(self.encoded)

    def class_weights(self, outputs: int, *, balanced: bool) -> np.ndarray:
        """Return what the loss of each class is multiplied by, float32 ``[K]``, 1 in the mean."""
        weights = np.ones(outputs)
        if balanced:
            counts = np.bincount(np.concatenate(self.targets), minlength=outputs)
            weights = counts.sum() / (np.maximum(counts, 1) * (counts > 0).sum())
        return weights.astype(np.float32)
