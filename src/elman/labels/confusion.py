"""Measures from the table of true and answered labels, for a network and for plain models beside it.

Labels are numbers from 0; a truth below 0 is a label that was not in training, and each such label has a
number of its own. All of them share one row of the table, behind the others, in which no answer is right; in
means over classes each of them counts for itself, as scikit-learn counts it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, ShapeError
from elman.labels.tags import are_entities, entity_counts
from elman.metrics.comparison import MAX_CELLS, chance_of_exchange, mcnemar, summed_by_group

__all__ = [
    "ENTITY_F1",
    "METRICS",
    "Baseline",
    "ClassFigures",
    "Tags",
    "chance_of_labels",
    "class_figures",
    "confusion_table",
    "count_unseen",
    "label_figures",
    "metric_of_table",
]

ENTITY_F1 = "entity_f1"


def confusion_table(truth: ArrayLike, predicted: ArrayLike, classes: int) -> np.ndarray:
    """Return how often each label was answered for each, int64 ``[K, K]``: truth down, answer across.

    ``K`` is `classes`, and one more where the truth holds labels below 0. Raises ShapeError, DataError.

    >>> confusion_table([0, 1, 1], [0, 1, 0], 2).tolist()
    [[1, 0], [1, 1]]
    """
    truths, answers = np.asarray(truth, np.int64), np.asarray(predicted, np.int64)
    if truths.shape != answers.shape or truths.ndim != 1:
        raise ShapeError(
            "truth and answers do not pair", got=f"{truths.shape}, {answers.shape}", expected="[N]"
        )
    if len(truths) and (truths.max() >= classes or answers.max() >= classes or answers.min() < 0):
        raise DataError("a label's number", expected=f"below {classes}")
    size = classes + bool((truths < 0).any())
    places = np.where(truths < 0, classes, truths) * size + answers
    return np.bincount(places, minlength=size * size).reshape(size, size)


class ClassFigures(NamedTuple):
    """The figures of each class, arrays ``[K]``; a share of nothing is 0."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    """How often it is the truth."""


def class_figures(table: np.ndarray) -> ClassFigures:
    """Return precision, recall, F1 and support of each class of a confusion table.

    >>> class_figures(np.array([[1, 0], [1, 2]])).precision.tolist()
    [0.5, 1.0]
    """
    right, answered, support = np.diag(table), table.sum(axis=0), table.sum(axis=1)
    return ClassFigures(
        right / np.maximum(1, answered),
        right / np.maximum(1, support),
        2 * right / np.maximum(1, answered + support),
        support,
    )


def _score(
    metric: str, right: np.ndarray, answered: np.ndarray, support: np.ndarray, unseen: int
) -> np.ndarray:
    """Return a metric ``[...]`` of counts ``[..., K]``, of which the last is of all `unseen` labels."""
    if metric == "accuracy":
        return np.asarray(right.sum(-1) / max(1, support.sum()))
    divisor = support if metric == "macro_recall" else (support + answered) / 2
    counted = (divisor > 0).sum(-1) + max(0, unseen - 1)
    return np.asarray((right / np.maximum(divisor, 0.5)).sum(-1) / np.maximum(1, counted))


def metric_of_table(metric: str, table: np.ndarray, unseen: int = 0) -> float:
    """Return one of `METRICS` of a confusion table, 0 for an empty one.

    Accuracy is the share of right answers. Macro F1 is the mean F1 of the classes that are true or answered
    at least once, macro recall the mean recall of the classes that are true at least once. `unseen` is how
    many labels that were not in training the last row of the table has.

    >>> table = np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]])
    >>> [round(metric_of_table(metric, table), 4) for metric in METRICS]
    [0.75, 0.7333, 0.75]
    """
    return float(_score(metric, np.diag(table), table.sum(axis=0), table.sum(axis=1), unseen))


METRICS = ("accuracy", "macro_f1", "macro_recall")


@dataclass(frozen=True)
class Baseline:
    """What a plain model reaches on the same test set."""

    name: str
    accuracy: float
    macro_f1: float
    macro_recall: float
    entity_f1: float | None = None
    """Of whole entities, where the labels are tags that mark them."""
    answers: np.ndarray | None = field(default=None, repr=False, compare=False)
    """The number of the label it answers with ``[N]``; without it no test tells chance from skill."""

    @classmethod
    def of(
        cls, name: str, truth: ArrayLike, answers: np.ndarray, tags: Tags | None = None
    ) -> Baseline:
        """Return the figures of `answers` ``[N]``, numbers of labels; raises ShapeError, DataError."""
        figures = label_figures(truth, answers, tags)
        return cls(name, **figures, answers=answers)

    def figures(self) -> dict[str, Any]:
        """Return name and figures, for JSON."""
        return {
            name: value
            for name, value in vars(self).items()
            if name != "answers" and value is not None
        }


def label_figures(
    truth: ArrayLike, answers: np.ndarray, tags: Tags | None = None
) -> dict[str, float]:
    """Return every metric of `answers` ``[N]`` by its name; raises ShapeError, DataError.

    >>> label_figures([0, 1, 1, 1], np.array([0, 1, 1, 0]))["accuracy"]
    0.75
    """
    truths = np.asarray(truth, np.int64)
    # the labels met alone: the table of ten thousand would be large
    met = np.unique(np.concatenate([truths[truths >= 0], answers]))
    places = np.where(truths < 0, truths, np.searchsorted(met, truths))
    table = confusion_table(places, np.searchsorted(met, answers), len(met))
    figures = {name: metric_of_table(name, table, count_unseen(truths)) for name in METRICS}
    if tags is not None and tags.mark_entities:
        figures[ENTITY_F1] = tags.entity_f1(answers)
    return figures


def count_unseen(truth: ArrayLike) -> int:
    """Return how many labels that were not in training there are, each with a number of its own below 0."""
    truths = np.asarray(truth, np.int64)
    return len(np.unique(truths[truths < 0]))


@dataclass(frozen=True, eq=False)
class Tags:
    """The true tags of sequences, whose steps are answered one by one."""

    truth: Sequence[Sequence[str]]
    names: Sequence[str]
    """The labels of training by their numbers."""

    @property
    def groups(self) -> np.ndarray:
        """The number of the sequence of each step ``[N]``."""
        return np.repeat(np.arange(len(self.truth)), [len(tags) for tags in self.truth])

    @property
    def mark_entities(self) -> bool:
        """Whether the labels of training mark entities."""
        return are_entities(self.names)

    def answers(self, numbers: np.ndarray) -> list[list[str]]:
        """Return answers ``[N]`` as tags, a list for each sequence."""
        ends = np.cumsum([len(tags) for tags in self.truth])[:-1]
        return [[self.names[k] for k in part] for part in np.split(numbers, ends)]

    def entity_sums(self, numbers: np.ndarray) -> np.ndarray:
        """Return for each sequence how many entities are true, answered and right, ``[S, 3]``."""
        counts = entity_counts(self.truth, self.answers(numbers))
        return np.array([[one.total() for one in three] for three in counts]).reshape(-1, 3)

    def entity_f1(self, numbers: np.ndarray) -> float:
        """Return the F1 of whole entities of answers ``[N]``."""
        return float(_entity_f1(self.entity_sums(numbers).sum(axis=0)))


def _entity_f1(sums: np.ndarray) -> np.ndarray:
    return np.asarray(2 * sums[..., 2] / np.maximum(1, sums[..., 0] + sums[..., 1]))


def chance_of_labels(
    metric: str, truth: ArrayLike, ours: np.ndarray, theirs: np.ndarray, tags: Tags | None = None
) -> float:
    """Return the probability that chance alone makes two models differ so much in `metric`.

    Accuracy of sequences is compared by McNemar's test. For other metrics, and for tags, whose steps depend
    on one another, the answers of whole sequences are exchanged at random.

    Args:
        metric: One of `METRICS`, or with tags that mark entities "entity_f1".
        truth: Numbers of the true labels ``[N]``.
        ours: Those that one model answers.
        theirs: Those that the other one answers.
        tags: The sequences of which the labels are steps.

    >>> chance_of_labels("accuracy", [0, 1], np.array([0, 1]), np.array([0, 0]))
    1.0
    """
    truths = np.asarray(truth, np.int64)
    if metric == ENTITY_F1 and tags is not None:
        return chance_of_exchange(tags.entity_sums(ours), tags.entity_sums(theirs), _entity_f1)
    right = np.stack([ours == truths, theirs == truths])
    if metric == "accuracy" and tags is None:
        return mcnemar(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    groups = np.arange(len(truths)) if tags is None else tags.groups
    if metric == "accuracy":
        one, two = (summed_by_group(groups, part[:, None]) for part in right)
        return chance_of_exchange(one, two, lambda sums: sums[..., 0])
    differ = ours != theirs
    if not differ.any():
        return 1.0
    labels = np.unique(np.concatenate([truths.clip(-1), ours, theirs]))
    support = np.bincount(np.searchsorted(labels, truths.clip(-1)), minlength=len(labels))
    units, unseen = _units(groups, differ, MAX_CELLS // (2 * len(labels))), count_unseen(truths)

    width = 2 * len(labels)

    def counts(answers: np.ndarray, hits: np.ndarray) -> np.ndarray:
        places = units * width + np.searchsorted(labels, answers)
        size = (int(units.max()) + 1) * width
        found = np.bincount(places, hits, size)
        found += np.bincount(places + len(labels), minlength=size)
        return found.reshape(-1, width)

    def score(sums: np.ndarray) -> np.ndarray:
        hits, answered = np.split(sums, 2, axis=-1)
        return _score(metric, hits, answered, support, unseen)

    return chance_of_exchange(counts(ours, right[0]), counts(theirs, right[1]), score)


def _units(groups: np.ndarray, differ: np.ndarray, most: int) -> np.ndarray:
    """Return a unit for each row ``[N]``: 0 where its group is answered alike, else 1 to `most`."""
    unlike = np.unique(groups[differ])
    places = np.searchsorted(unlike, groups).clip(max=len(unlike) - 1)
    numbers = np.random.default_rng(0).permutation(len(unlike)) % max(1, most)
    return np.where(unlike[places] == groups, 1 + numbers[places], 0)
