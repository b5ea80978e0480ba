"""Accuracy, macro F1 and macro recall from the confusion table, and paired tests of them.

Labels are numbers from 0. A label that was not in training has a negative number of its own. All such labels
share the last row of the table, in which no answer is right; in means over classes, each of them counts as a
class of its own, as in scikit-learn.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, ShapeError
from elman.labels.label_values import Label
from elman.labels.tags import are_entities, entity_counts
from elman.metrics.paired import (
    MAX_TABLE_CELLS,
    Comparison,
    exchange_p_value,
    mcnemar_p_value,
    sum_by_group,
)

METRICS = ("accuracy", "macro_f1", "macro_recall")
ENTITY_F1 = "entity_f1"
"""The F1 of whole entities: the metric of tags that mark entities."""


def confusion_table(truth: ArrayLike, predicted: ArrayLike, classes: int) -> np.ndarray:
    """Return the confusion table, int64 ``[K, K]``, with a row for each true and a column for each answer.

    ``K`` is `classes`, or one more if the truth holds negative labels. Raises ShapeError, DataError.

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
    # the number of a cell in the flattened table: row · size + column
    cells = np.where(truths < 0, classes, truths) * size + answers
    return np.bincount(cells, minlength=size * size).reshape(size, size)


class ClassFigures(NamedTuple):
    """The measures of each class, arrays ``[K]``; 0 where a class never occurs."""

    precision: np.ndarray
    recall: np.ndarray
    f1: np.ndarray
    support: np.ndarray
    """Number of examples of each class."""


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
    """Return a metric ``[...]`` from counts ``[..., K]``; the last class holds all `unseen` labels."""
    if metric == "accuracy":
        return np.asarray(right.sum(-1) / max(1, support.sum()))
    # recall is right / support, and F1 is 2 · right / (support + answered)
    divisor = support if metric == "macro_recall" else (support + answered) / 2
    # The last class stands for all unseen labels; each of them counts as a class.
    counted = (divisor > 0).sum(-1) + max(0, unseen - 1)
    return np.asarray((right / np.maximum(divisor, 0.5)).sum(-1) / np.maximum(1, counted))


def metric_of_table(metric: str, table: np.ndarray, unseen: int = 0) -> float:
    """Return one of `METRICS` of a confusion table, 0 for an empty one.

    Accuracy is the share of right answers. Macro F1 is the mean F1 of the classes that are true or answered
    at least once, macro recall the mean recall of the classes that are true at least once.

    Args:
        metric: One of `METRICS`.
        table: The confusion table ``[K, K]``.
        unseen: Number of labels not in training that share the last row.

    >>> table = np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]])
    >>> [round(metric_of_table(metric, table), 4) for metric in METRICS]
    [0.75, 0.7333, 0.75]
    """
    return float(_score(metric, np.diag(table), table.sum(axis=0), table.sum(axis=1), unseen))


@dataclass(frozen=True)
class MethodFigures:
    """The metrics of one method, a network or a plain model, on a test set."""

    name: str
    answers: np.ndarray | None = field(default=None, repr=False, compare=False, kw_only=True)
    """The model's answers ``[N]``, label numbers or numbers; a test of skill needs them."""

    def figures(self) -> dict[str, str | float]:
        """Return name and metrics, for JSON."""
        return {
            name: value
            for name, value in vars(self).items()
            if name != "answers" and value is not None
        }


def compare(
    network: MethodFigures,
    beside: Sequence[MethodFigures],
    metric: str,
    p_value: Callable[[np.ndarray, np.ndarray], float],
    *,
    lower_is_better: bool = False,
) -> tuple[Comparison, ...]:
    """Compare the `network` with other methods by one metric; `p_value` tests the answers of a pair."""
    comparisons = []
    for plain in beside:
        known = None
        if network.answers is not None and plain.answers is not None:
            known = p_value(network.answers, plain.answers)
        ours, theirs = (getattr(method, metric.lower()) or 0.0 for method in (network, plain))
        comparisons.append(Comparison(plain.name, metric, ours, theirs, known, lower_is_better))
    return tuple(comparisons)


@dataclass(frozen=True)
class BaselineFigures(MethodFigures):
    """The metrics of a classifier or tagger."""

    accuracy: float
    macro_f1: float
    macro_recall: float
    entity_f1: float | None = None
    """None unless the labels are tags that mark entities."""

    @classmethod
    def of(
        cls, name: str, truth: ArrayLike, answers: np.ndarray, tags: TrueTags | None = None
    ) -> BaselineFigures:
        """Return the metrics of `answers` ``[N]``, numbers of labels; raises ShapeError, DataError."""
        return cls(name, **label_figures(truth, answers, tags), answers=answers)


def label_figures(
    truth: ArrayLike, answers: np.ndarray, tags: TrueTags | None = None
) -> dict[str, float]:
    """Return every metric of `answers` ``[N]`` by name; raises ShapeError, DataError.

    >>> label_figures([0, 1, 1, 1], np.array([0, 1, 1, 0]))["accuracy"]
    0.75
    """
    truths = np.asarray(truth, np.int64)
    # renumber the labels that occur: a table of ten thousand labels would be too large
    present = np.unique(np.concatenate([truths[truths >= 0], answers]))
    renumbered = np.where(truths < 0, truths, np.searchsorted(present, truths))
    table = confusion_table(renumbered, np.searchsorted(present, answers), len(present))
    figures = {name: metric_of_table(name, table, count_unseen(truths)) for name in METRICS}
    if tags is not None and tags.mark_entities:
        figures[ENTITY_F1] = tags.entity_f1(answers)
    return figures


def count_unseen(truth: ArrayLike) -> int:
    """Return the number of distinct labels not in training, that is, of distinct negative numbers."""
    truths = np.asarray(truth, np.int64)
    return len(np.unique(truths[truths < 0]))


@dataclass(frozen=True, eq=False)
class TrueTags:
    """The true tags of sequences, against which the answers of all steps in a row are measured."""

    truth: Sequence[Sequence[str]]
    names: Sequence[str]
    """The labels of training, in the order of their numbers."""

    @classmethod
    def of(cls, truth: Iterable[Iterable[Label]], names: Sequence[str]) -> TrueTags:
        """Return the tags in `truth` as text."""
        return cls([[*map(str, tags)] for tags in truth], names)

    @property
    def groups(self) -> np.ndarray:
        """Index of the sequence that each step belongs to ``[N]``."""
        return np.repeat(np.arange(len(self.truth)), [len(tags) for tags in self.truth])

    @property
    def mark_entities(self) -> bool:
        """Whether the labels of training mark entities, such as B-PER."""
        return are_entities(self.names)

    def by_sequence(self, numbers: np.ndarray) -> list[np.ndarray]:
        """Return the `numbers` ``[N]`` of all steps as one array ``[T_i]`` for each sequence."""
        return np.split(numbers, np.cumsum([len(tags) for tags in self.truth])[:-1])

    def answers(self, numbers: np.ndarray) -> list[list[str]]:
        """Return the tags of each sequence from the numbers ``[N]`` of all answers."""
        return [[self.names[number] for number in tags] for tags in self.by_sequence(numbers)]

    def entity_sums(self, numbers: np.ndarray) -> np.ndarray:
        """Return for each sequence how many entities are true, answered and right, ``[S, 3]``."""
        counts = entity_counts(self.truth, self.answers(numbers))
        return np.array([[kinds.total() for kinds in row] for row in counts]).reshape(-1, 3)

    def entity_f1(self, numbers: np.ndarray) -> float:
        """Return the F1 of whole entities from the numbers ``[N]`` of all answers."""
        return float(_entity_f1(self.entity_sums(numbers).sum(axis=0)))


def _entity_f1(sums: np.ndarray) -> np.ndarray:
    return np.asarray(2 * sums[..., 2] / np.maximum(1, sums[..., 0] + sums[..., 1]))


def label_p_value(
    metric: str,
    truth: ArrayLike,
    ours: np.ndarray,
    theirs: np.ndarray,
    tags: TrueTags | None = None,
) -> float:
    """Return the probability that chance alone makes two models differ at least this much in `metric`.

    The accuracy of sequences is compared by McNemar's test. For other metrics, and for tags, whose steps
    depend on one another, the answers of whole sequences are exchanged at random.

    Args:
        metric: One of `METRICS`, or for tags that mark entities "entity_f1".
        truth: Numbers of the true labels ``[N]``.
        ours: Numbers of the first model's answers ``[N]``.
        theirs: Numbers of the second model's answers ``[N]``.
        tags: The true tags, if the labels are tags of time steps.

    >>> label_p_value("accuracy", [0, 1], np.array([0, 1]), np.array([0, 0]))
    1.0
    """
    truths = np.asarray(truth, np.int64)
    if metric == ENTITY_F1 and tags is not None:
        return exchange_p_value(tags.entity_sums(ours), tags.entity_sums(theirs), _entity_f1)
    # [2, N]: whether the answers of each model are right
    right = np.stack([ours == truths, theirs == truths])
    if metric == "accuracy" and tags is None:
        return mcnemar_p_value(int((right[0] & ~right[1]).sum()), int((right[1] & ~right[0]).sum()))
    # sequences are independent of one another, but the steps of one sequence are not
    groups = np.arange(len(truths)) if tags is None else tags.groups
    if metric == "accuracy":
        first, second = (sum_by_group(groups, hits[:, None]) for hits in right)
        return exchange_p_value(first, second, lambda sums: sums[..., 0])
    return _macro_p_value(metric, truths, ours, theirs, groups)


def _macro_p_value(
    metric: str, truths: np.ndarray, ours: np.ndarray, theirs: np.ndarray, groups: np.ndarray
) -> float:
    """Return `label_p_value` for a mean over classes; the answers of one group are exchanged together."""
    differ = ours != theirs
    if not differ.any():
        return 1.0
    labels = np.unique(np.concatenate([truths.clip(-1), ours, theirs]))
    # labels that occur in the truth or in an answer are renumbered from 0
    support = np.bincount(np.searchsorted(labels, truths.clip(-1)), minlength=len(labels))
    width, unseen = 2 * len(labels), count_unseen(truths)
    units = _exchange_units(groups, differ, MAX_TABLE_CELLS // width)

    def counts(answers: np.ndarray) -> np.ndarray:
        """Return for each unit how often each label is right, then how often it is answered."""
        cells = units * width + np.searchsorted(labels, answers)
        size = (int(units.max()) + 1) * width
        # [units, 2 · labels], flattened
        table = np.bincount(cells, answers == truths, size)
        table += np.bincount(cells + len(labels), minlength=size)
        return table.reshape(-1, width)

    def score(sums: np.ndarray) -> np.ndarray:
        hits, answered = np.split(sums, 2, axis=-1)
        return _score(metric, hits, answered, support, unseen)

    return exchange_p_value(counts(ours), counts(theirs), score)


def _exchange_units(groups: np.ndarray, differ: np.ndarray, max_units: int) -> np.ndarray:
    """Return the unit ``[N]`` in which each answer is exchanged.

    Unit 0 holds the groups in which both models answer alike, so that exchanging them changes nothing; the
    other groups are distributed at random over units 1 to `max_units`.
    """
    differing = np.unique(groups[differ])
    # the place of each group among those in which the models differ, if it is there
    index = np.searchsorted(differing, groups).clip(max=len(differing) - 1)
    # a fixed seed, so that the p-value of a test set never changes
    numbers = np.random.default_rng(0).permutation(len(differing)) % max(1, max_units)
    return np.where(differing[index] == groups, 1 + numbers[index], 0)
