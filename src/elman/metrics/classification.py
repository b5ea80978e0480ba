"""How good labels are: measures from the table of truth and answer, and the report.

Labels are numbers from 0; a truth below 0 is a label that was not there in training. It counts as one more
class, behind all others, of which no answer is right.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from elman._errors import DataError, OptionError, ShapeError, printable
from elman._frames import frame
from elman.metrics.calibration import Bin, calibration_error, log_loss, reliability
from elman.metrics.tags import EntityFigures

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "METRICS",
    "UNSEEN",
    "Baseline",
    "ClassFigures",
    "Classification",
    "accuracy",
    "baseline_verdict",
    "class_figures",
    "classification",
    "confusion_table",
    "macro_f1",
    "macro_recall",
]

UNSEEN = "(not in training)"
# Longer tables are cut, the commonest labels first.
_SHOWN, _SHOWN_CROSS = 20, 10


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


def accuracy(table: np.ndarray) -> float:
    """Return the share of right answers in a confusion table, 0 in an empty one.

    >>> accuracy(np.array([[1, 0], [1, 2]]))
    0.75
    """
    return float(np.trace(table) / max(1, table.sum()))


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


def macro_f1(table: np.ndarray) -> float:
    """Return the mean F1 of the classes that are true or answered at least once, 0 where none is.

    >>> macro_f1(np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]])).__round__(4)
    0.7333
    """
    figures = class_figures(table)
    there = (figures.support + table.sum(axis=0)) > 0
    return float(figures.f1[there].mean()) if there.any() else 0.0


def macro_recall(table: np.ndarray) -> float:
    """Return the mean recall of the classes that are true at least once, 0 where none is.

    >>> macro_recall(np.array([[2, 0, 0], [1, 1, 0], [0, 0, 0]]))
    0.75
    """
    figures = class_figures(table)
    there = figures.support > 0
    return float(figures.recall[there].mean()) if there.any() else 0.0


METRICS: dict[str, Callable[[np.ndarray], float]] = {
    "accuracy": accuracy,
    "macro_f1": macro_f1,
    "macro_recall": macro_recall,
}


@dataclass(frozen=True)
class Baseline:
    """What a plain answer reaches on the same sequences."""

    name: str
    accuracy: float
    macro_f1: float
    macro_recall: float

    @classmethod
    def of(cls, name: str, table: np.ndarray) -> Baseline:
        """Return the figures of a confusion table."""
        return cls(name, accuracy(table), macro_f1(table), macro_recall(table))


def baseline_verdict(score: float, baseline: float, name: str, metric: str) -> str:
    """Return in plain words how a network's `metric` stands to that of the baseline of that `name`.

    >>> baseline_verdict(0.91, 0.88, "a linear model", "accuracy")
    'a linear model of the same training part has accuracy 0.8800: the network beats it by 0.0300'
    """
    words = f"{name} of the same training part has {metric.replace('_f1', ' F1').replace('_', ' ')}"
    if score > baseline:
        return f"{words} {baseline:.4f}: the network beats it by {score - baseline:.4f}"
    return f"{words} {baseline:.4f}: the network, with {score:.4f}, DOES NOT BEAT IT"


@dataclass(frozen=True)
class Classification:
    """How good a network's labels are, beside plain answers; what `classification` returns."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """Truth down, answer across, in the order of `labels`."""
    log_loss: float | None
    """Nats; None without probabilities, or where no true label was there in training."""
    calibration_error: float | None
    bins: tuple[Bin, ...]
    beside: tuple[Baseline, ...] = ()
    metric: str = "accuracy"
    """By which network and baselines are compared."""
    unit: str = "sequences"
    """What has a label: "sequences" or "tokens"."""
    entities: EntityFigures | None = None
    """Of whole entities, where the labels name them step by step."""

    @property
    def table(self) -> np.ndarray:
        """The confusion table, int64 ``[K, K]``."""
        return np.array(self.confusion)

    @property
    def count(self) -> int:
        """How many answers were compared."""
        return int(self.table.sum())

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return accuracy(self.table)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that are true or answered."""
        return macro_f1(self.table)

    @property
    def macro_recall(self) -> float:
        """Mean recall of the classes that are true."""
        return macro_recall(self.table)

    @property
    def sentences(self) -> tuple[str, ...]:
        """How the network stands to each baseline, in plain words."""
        score = METRICS[self.metric](self.table)
        return tuple(
            baseline_verdict(score, getattr(plain, self.metric), plain.name, self.metric)
            for plain in self.beside
        )

    def plot(self, calibration: bool = False) -> Figure:
        """Return a matplotlib figure of the confusion table, or of the calibration.

        Raises OptionError for a calibration without probabilities, MissingDependencyError.

        >>> report = classification([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["no", "yes"])
        >>> report.plot(calibration=True).axes[0].get_ylabel()
        'share that is right'
        """
        from elman import plots

        if not calibration:
            return plots.confusion(self.table, self.labels)
        if not self.bins:
            raise OptionError("calibration", got="answers alone", expected="probabilities")
        return plots.calibration(self.bins)

    def to_frame(self) -> Any:
        """Return the figures of every label as a data frame of polars, or as columns without polars."""
        return frame({"label": self.labels, **class_figures(self.table)._asdict()})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and what follows from them, for JSON."""
        figures = class_figures(self.table)
        return asdict(self) | {
            "count": self.count,
            **{name: metric(self.table) for name, metric in METRICS.items()},
            "classes": {name: part.tolist() for name, part in figures._asdict().items()},
            "bins": [one._asdict() for one in self.bins],
            "sentences": list(self.sentences),
        }

    def __str__(self) -> str:
        lines = [f"{self.unit:17}{self.count:>10,}"]
        lines += [
            f"{name:17}{value:>10.4f}{note}"
            for name, value, note in (
                ("accuracy", self.accuracy, ""),
                ("macro F1", self.macro_f1, ""),
                ("macro recall", self.macro_recall, ""),
                ("log loss", self.log_loss, "  nats"),
                ("calibration error", self.calibration_error, ""),
                ("entities' F1", None if self.entities is None else self.entities.f1, ""),
            )
            if value is not None
        ]
        return "\n".join([*lines, *self._classes(), *self._cross(), *self._beside()])

    def _classes(self) -> list[str]:
        precision, recall, f1, support = class_figures(self.table)
        shown = np.argsort(-support, kind="stable")[:_SHOWN]
        more = len(self.labels) - len(shown)
        return [
            "",
            f"{'label':17}{'precision':>10}{'recall':>10}{'F1':>10}{'support':>10}",
            *(
                f"{printable(self.labels[k], 16):17}{precision[k]:>10.4f}{recall[k]:>10.4f}"
                f"{f1[k]:>10.4f}{support[k]:>10,}"
                for k in sorted(shown.tolist())
            ),
            *([f"and {more} more"] if more else []),
        ]

    def _cross(self) -> list[str]:
        if len(self.labels) > _SHOWN_CROSS:
            return []
        heads = [printable(label, 9) for label in self.labels]
        return [
            "",
            f"{'truth, answer →':17}" + "".join(f"{head:>10}" for head in heads),
            *(
                f"{printable(label, 16):17}" + "".join(f"{count:>10,}" for count in row)
                for label, row in zip(self.labels, self.confusion, strict=True)
            ),
        ]

    def _beside(self) -> list[str]:
        alone = np.flatnonzero(class_figures(self.table).support)
        words = [f"all {self.unit} are of one label: {printable(self.labels[alone[0]], 40)}"]
        said = [*(words if len(alone) == 1 < len(self.labels) else []), *self.sentences]
        return ["", *said] if said else []


def classification(
    truth: ArrayLike,
    answers: ArrayLike,
    labels: Sequence[str],
    *,
    beside: Sequence[Baseline] = (),
    metric: str = "accuracy",
    unit: str = "sequences",
    entities: EntityFigures | None = None,
) -> Classification:
    """Return the report of `answers`: probabilities ``[N, K]``, or numbers of `labels` ``[N]``.

    Labels of the truth that were not there in training count as one class more, `UNSEEN`, of which no
    answer is right. With one class every figure is that of a table of one. Raises ShapeError, OptionError,
    and DataError where there is no answer.

    >>> classification([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], ["no", "yes"]).accuracy
    0.75
    """
    if metric not in METRICS:
        raise OptionError("metric", got=metric, expected=", ".join(METRICS))
    shares = np.asarray(answers)
    if not len(shares):
        raise DataError("there is nothing to compare", got="no answer")
    found = shares.argmax(axis=1) if shares.ndim == 2 else shares
    table = confusion_table(truth, found, len(labels))
    bins = reliability(shares, truth) if shares.ndim == 2 else ()
    return Classification(
        labels=tuple(labels) if len(table) == len(labels) else (*labels, UNSEEN),
        confusion=tuple(map(tuple, table.tolist())),
        log_loss=log_loss(shares, truth) if shares.ndim == 2 else None,
        calibration_error=calibration_error(bins) if bins else None,
        bins=bins,
        beside=tuple(beside),
        metric=metric,
        unit=unit,
        entities=entities,
    )
