"""Report on a classifier or tagger: metrics, confusion table, calibration, comparison with plain models."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, OptionError, printable
from elman.labels.calibration import ReliabilityBin, calibration_error, log_loss, reliability
from elman.labels.confusion import (
    ENTITY_F1,
    METRICS,
    BaselineFigures,
    TrueTags,
    class_figures,
    confusion_table,
    count_unseen,
    label_figures,
    label_p_value,
    metric_of_table,
)
from elman.labels.tags import EntityFigures, entity_figures
from elman.metrics.paired import Comparison
from elman.tables.frames import frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure


UNSEEN = "(not in training)"
MAX_ROWS_SHOWN = 20
"""A report with more labels shows those with the most wrong answers."""
MAX_CONFUSION_SHOWN = 10
"""A report with more labels does not show the confusion table."""
_COLUMNS = f"{'precision':>10}{'recall':>10}{'F1':>10}{'support':>10}"


@dataclass(frozen=True)
class Classification:
    """The metrics of a network's labels, beside those of plain models; returned by `classification`."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """A row for each true label and a column for each answer, in the order of `labels`."""
    log_loss: float | None
    """In nats; None without probabilities, or if no true label was in training."""
    calibration_error: float | None
    bins: tuple[ReliabilityBin, ...]
    beside: tuple[BaselineFigures, ...] = ()
    metric: str = "accuracy"
    """The metric by which network and plain models are compared."""
    unit: str = "sequences"
    """The things that have a label: "sequences" or "tokens"."""
    entities: EntityFigures | None = None
    """Counts of whole entities; None unless the labels are tags that mark entities."""
    unseen: int = 0
    """Number of true labels that were not in training."""
    comparisons: tuple[Comparison, ...] = ()
    """The network compared with each of `beside` by `metric`."""

    @property
    def table(self) -> np.ndarray:
        """The confusion table, int64 ``[K, K]``."""
        return np.array(self.confusion)

    @property
    def count(self) -> int:
        """Number of answers that were measured."""
        return int(self.table.sum())

    @property
    def accuracy(self) -> float:
        """Share of right answers."""
        return metric_of_table("accuracy", self.table)

    @property
    def macro_f1(self) -> float:
        """Mean F1 of the classes that are true or answered."""
        return metric_of_table("macro_f1", self.table, self.unseen)

    @property
    def macro_recall(self) -> float:
        """Mean recall of the classes that are true."""
        return metric_of_table("macro_recall", self.table, self.unseen)

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence on each comparison."""
        return tuple(map(str, self.comparisons))

    def plot(self, calibration: bool = False) -> Figure:
        """Return a matplotlib figure of the confusion table, or of the calibration.

        Raises OptionError if there are no probabilities to draw a calibration of, MissingDependencyError.

        >>> report = classification([0, 1], [[0.9, 0.1], [0.2, 0.8]], ["no", "yes"])
        >>> report.plot(calibration=True).axes[0].get_ylabel()
        'share that is right'
        """
        from elman.draw import plots

        if not calibration:
            return plots.confusion(self.table, self.labels)
        if not self.bins:
            raise OptionError("calibration", got="answers alone", expected="probabilities")
        return plots.calibration(self.bins)

    def to_frame(self) -> Any:
        """Return the metrics of every label as a polars data frame, or as columns if polars is missing."""
        return frame({"label": self.labels, **class_figures(self.table)._asdict()})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and derived metrics, for JSON."""
        figures = class_figures(self.table)
        return asdict(self) | {
            "count": self.count,
            **{name: metric_of_table(name, self.table, self.unseen) for name in METRICS},
            "beside": [plain.figures() for plain in self.beside],
            "classes": {name: values.tolist() for name, values in figures._asdict().items()},
            "bins": [bin_._asdict() for bin_ in self.bins],
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
            )
            if value is not None
        ]
        tables = self._entity_table(), self._class_table(), self._confusion_table()
        return "\n".join(itertools.chain(lines, *tables, self._comparison_lines()))

    def _entity_table(self) -> list[str]:
        if self.entities is None:
            return []
        rows = [("all entities", self.entities), *self.entities.types.items()]
        rows[1:] = sorted(rows[1:], key=lambda row: row[1].right - row[1].true)[:MAX_ROWS_SHOWN]
        more = len(self.entities.types) + 1 - len(rows)
        return [
            "",
            f"{'entities, ' + self.entities.scheme:17}" + _COLUMNS,
            *(_row(name, kind.precision, kind.recall, kind.f1, kind.true) for name, kind in rows),
            *([f"and {more} more types, of which fewer are missed"] if more else []),
        ]

    def _class_table(self) -> list[str]:
        precision, recall, f1, support = class_figures(self.table)
        shown = np.arange(len(self.labels))
        if more := max(0, len(shown) - MAX_ROWS_SHOWN):
            wrong = self.table.sum(axis=0) + support - 2 * np.diag(self.table)
            shown = np.lexsort((-support, -wrong))[:MAX_ROWS_SHOWN]
        return [
            "",
            f"{'label':17}" + _COLUMNS,
            *(
                _row(self.labels[k], precision[k], recall[k], f1[k], support[k])
                for k in shown.tolist()
            ),
            *([f"and {more} more, with fewer wrong answers"] if more else []),
        ]

    def _confusion_table(self) -> list[str]:
        if len(self.labels) > MAX_CONFUSION_SHOWN:
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

    def _comparison_lines(self) -> list[str]:
        lines = [*self.sentences]
        present = np.flatnonzero(class_figures(self.table).support)
        if len(present) == 1 < len(self.labels):
            label = printable(self.labels[present[0]], 40)
            lines.insert(0, f"all {self.unit} have one label: {label}")
        return ["", *lines] if lines else []


def _row(name: str, precision: float, recall: float, f1: float, support: int) -> str:
    return f"{printable(name, 16):17}{precision:>10.4f}{recall:>10.4f}{f1:>10.4f}{support:>10,}"


def compare_labels(
    truth: ArrayLike,
    answers: np.ndarray,
    beside: Sequence[BaselineFigures],
    metric: str,
    tags: TrueTags | None = None,
) -> tuple[Comparison, ...]:
    """Compare the `answers` ``[N]`` of a network with those of plain models by one `metric`."""
    ours = label_figures(truth, answers, tags)[metric]
    comparisons = []
    for plain in beside:
        p_value = None
        if plain.answers is not None:
            p_value = label_p_value(metric, truth, answers, plain.answers, tags)
        theirs = getattr(plain, metric) or 0.0
        comparisons.append(Comparison(plain.name, metric, ours, theirs, p_value))
    return tuple(comparisons)


def classification(
    truth: ArrayLike,
    answers: ArrayLike,
    labels: Sequence[str],
    *,
    beside: Sequence[BaselineFigures] = (),
    metric: str | None = None,
    tags: Sequence[Sequence[str]] | None = None,
) -> Classification:
    """Return the report on the answers of a classifier or tagger.

    Args:
        truth: Numbers of the true labels ``[N]``. A label that was not in training has a negative number of
            its own; all of these share the row `UNSEEN` of the table, and no answer to them is right.
        answers: Probabilities ``[N, K]``, or numbers of the answered labels ``[N]``.
        labels: The labels of training, in the order of their numbers.
        beside: Metrics of plain models on the same data.
        metric: Metric of the comparison: accuracy, macro_f1, macro_recall or entity_f1 (default: accuracy,
            or entity_f1 for tags that mark entities).
        tags: The true tags of each sequence, if the labels are tags of time steps.

    Raises:
        ShapeError: Truth and answers differ in length.
        OptionError: There is no such metric.
        DataError: There are no answers.

    >>> classification([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], ["no", "yes"]).accuracy
    0.75
    """
    true_tags = None if tags is None else TrueTags(tags, labels)
    marks_entities = true_tags is not None and true_tags.mark_entities
    metrics = [*METRICS, *([ENTITY_F1] if marks_entities else [])]
    metric = metric or metrics[-1 if marks_entities else 0]
    if metric not in metrics:
        raise OptionError("metric", got=metric, expected=", ".join(metrics))
    shares = np.asarray(answers)
    if not len(shares):
        raise DataError("there is nothing to compare", got="no answer")
    has_shares = shares.ndim == 2
    numbers = shares.argmax(axis=1) if has_shares else shares
    table = confusion_table(truth, numbers, len(labels))
    bins = reliability(shares, truth) if has_shares else ()
    entities = None
    if true_tags is not None and marks_entities:
        entities = entity_figures(true_tags.truth, true_tags.answers(numbers))
    return Classification(
        labels=tuple(labels) if len(table) == len(labels) else (*labels, UNSEEN),
        confusion=tuple(map(tuple, table.tolist())),
        log_loss=log_loss(shares, truth) if has_shares else None,
        calibration_error=calibration_error(bins) if bins else None,
        bins=bins,
        beside=tuple(replace(plain, answers=None) for plain in beside),
        metric=metric,
        unit="sequences" if tags is None else "tokens",
        entities=entities,
        unseen=count_unseen(truth),
        comparisons=compare_labels(truth, numbers, beside, metric, true_tags),
    )
