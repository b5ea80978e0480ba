"""Reports on a classifier, tagger or regressor: metrics, and the comparison with plain models."""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, OptionError, printable
from elman.labels.calibration import ReliabilityBin, calibration_error, log_loss, reliability
from elman.labels.confusion import (
    ENTITY_F1,
    METRICS,
    BaselineFigures,
    MethodFigures,
    TrueTags,
    class_figures,
    compare,
    confusion_table,
    count_unseen,
    label_p_value,
    metric_of_table,
)
from elman.labels.label_values import Label
from elman.labels.tags import EntityFigures, entity_figures
from elman.metrics.correlation import pearson, spearman
from elman.metrics.forecast_errors import mae, rmse
from elman.metrics.paired import Comparison, exchange_p_value
from elman.tables.frames import frame, frame_of
from elman.training.journal import JsonObject

if TYPE_CHECKING:
    from matplotlib.figure import Figure


UNSEEN = "(not in training)"
NETWORK_NAME = "the network"
MAX_ROWS_SHOWN = 20
"""A report with more labels shows those with the most wrong answers."""
MAX_CONFUSION_SHOWN = 10
"""A report with more labels does not show the confusion table."""


@dataclass(frozen=True)
class Classification:
    """The metrics of a network's labels, beside those of plain models; returned by `classification`."""

    labels: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    """A row for each true label and a column for each answer, in the order of `labels`."""
    log_loss: float | None
    """Mean log loss in nats; None without probabilities, or if no true label was in training."""
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

    def to_dict(self) -> JsonObject:
        """Return all fields and derived metrics, for JSON."""
        figures = class_figures(self.table)._asdict()
        return asdict(self) | {
            "count": self.count,
            **{name: getattr(self, name) for name in METRICS},
            "beside": [plain.figures() for plain in self.beside],
            "classes": {name: values.tolist() for name, values in figures.items()},
            "bins": [bin_._asdict() for bin_ in self.bins],
            "sentences": list(self.sentences),
        }

    def __str__(self) -> str:
        figures = {
            "accuracy": self.accuracy,
            "macro F1": self.macro_f1,
            "macro recall": self.macro_recall,
            "log loss": self.log_loss,
            "calibration error": self.calibration_error,
        }
        lines = [f"{self.unit:17}{self.count:>10,}"]
        for name, value in figures.items():
            unit = "  nats" if name == "log loss" else ""
            lines += [] if value is None else [f"{name:17}{value:>10.4f}{unit}"]
        tables = self._entity_table(), self._class_table(), self._confusion_table()
        return "\n".join(itertools.chain(lines, *tables, self._comparison_lines()))

    def _entity_table(self) -> list[str]:
        if self.entities is None:
            return []
        # types with the most missed entities first
        types = sorted(self.entities.types.items(), key=lambda row: row[1].right - row[1].true)
        chosen = [("all entities", self.entities), *types][:MAX_ROWS_SHOWN]
        rows = [(name, kind.precision, kind.recall, kind.f1, kind.true) for name, kind in chosen]
        more = len(types) + 1 - len(chosen)
        note = f"and {more} more types with fewer misses"
        return _table(f"entities, {self.entities.scheme}", rows, note if more else "")

    def _class_table(self) -> list[str]:
        precision, recall, f1, support = class_figures(self.table)
        chosen = np.arange(len(self.labels))
        if more := max(0, len(chosen) - MAX_ROWS_SHOWN):
            # an error counts for both labels: the true one and the answered one
            wrong = self.table.sum(axis=0) + support - 2 * np.diag(self.table)
            # the most errors first; among equals, the more frequent label
            chosen = np.lexsort((-support, -wrong))[:MAX_ROWS_SHOWN]
        rows = [(self.labels[k], precision[k], recall[k], f1[k], support[k]) for k in chosen]
        return _table("label", rows, f"and {more} more, with fewer wrong answers" if more else "")

    def _confusion_table(self) -> list[str]:
        if len(self.labels) > MAX_CONFUSION_SHOWN:
            return []
        lines = ["", f"{'truth, answer →':17}"]
        for label, row in zip(self.labels, self.confusion, strict=True):
            lines[1] += f"{printable(label, 9):>10}"
            lines.append(f"{printable(label, 16):17}" + "".join(f"{count:>10,}" for count in row))
        return lines

    def _comparison_lines(self) -> list[str]:
        lines = [*self.sentences]
        # metrics of a single class say little, so the report names that class first
        present = np.flatnonzero(class_figures(self.table).support)
        if len(present) == 1 < len(self.labels):
            label = printable(self.labels[present[0]], 40)
            lines.insert(0, f"all {self.unit} have one label: {label}")
        return ["", *lines] if lines else []


def _table(
    title: str, rows: Iterable[tuple[str, float, float, float, int]], note: str
) -> list[str]:
    """Return lines with name, precision, recall, F1 and support, under a heading."""
    lines = ["", f"{title:17}{'precision':>10}{'recall':>10}{'F1':>10}{'support':>10}"]
    for name, precision, recall, f1, support in rows:
        figures = f"{precision:>10.4f}{recall:>10.4f}{f1:>10.4f}{support:>10,}"
        lines.append(f"{printable(name, 16):17}{figures}")
    return [*lines, note] if note else lines


def classification(
    truth: ArrayLike,
    answers: ArrayLike,
    labels: Sequence[str],
    *,
    beside: Sequence[BaselineFigures] = (),
    metric: str | None = None,
    tags: Sequence[Sequence[Label]] | None = None,
    numbers: np.ndarray | None = None,
) -> Classification:
    """Return the report on a classifier or tagger; raises ShapeError, OptionError, DataError.

    Args:
        truth: Numbers of the true labels ``[N]``. A label that was not in training has a negative number of
            its own; all of these share the row `UNSEEN` of the table, and no answer to them is right.
        answers: Probabilities ``[N, K]``, or numbers of the answered labels ``[N]``.
        labels: The labels of training, in the order of their numbers.
        beside: Metrics of plain models on the same data.
        metric: Metric of the comparison: accuracy, macro_f1, macro_recall or entity_f1 (default: accuracy,
            or entity_f1 for tags that mark entities).
        tags: The true tags of each sequence, if the labels are tags of time steps.
        numbers: Numbers of the answered labels ``[N]`` (default: the most probable ones).

    >>> classification([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], ["no", "yes"]).accuracy
    0.75
    """
    true_tags = None if tags is None else TrueTags.of(tags, labels)
    shares = np.asarray(answers)
    if not len(shares):
        raise DataError("there is nothing to compare", got="no answer")
    has_shares = shares.ndim == 2
    if numbers is None:
        numbers = shares.argmax(axis=1) if has_shares else shares
    network = BaselineFigures.of(NETWORK_NAME, truth, numbers, true_tags)
    metric = _chosen_metric(network, metric)
    table = confusion_table(truth, numbers, len(labels))
    bins = reliability(shares, truth) if has_shares else ()
    p_value = partial(label_p_value, metric, truth, tags=true_tags)
    return Classification(
        labels=(*labels, UNSEEN)[: len(table)],
        confusion=tuple(map(tuple, table.tolist())),
        log_loss=log_loss(shares, truth) if has_shares else None,
        calibration_error=calibration_error(bins) if bins else None,
        bins=bins,
        # the answers have served their test; a report that is kept would only grow by them
        beside=tuple(replace(plain, answers=None) for plain in beside),
        metric=metric,
        unit="sequences" if tags is None else "tokens",
        entities=_entities(true_tags, numbers),
        unseen=count_unseen(truth),
        comparisons=compare(network, beside, metric, p_value),
    )


def _chosen_metric(network: BaselineFigures, metric: str | None) -> str:
    metrics = [name for name in (*METRICS, ENTITY_F1) if getattr(network, name) is not None]
    metric = metric or (ENTITY_F1 if ENTITY_F1 in metrics else "accuracy")
    if metric not in metrics:
        raise OptionError("metric", got=metric, expected=", ".join(metrics))
    return metric


def _entities(tags: TrueTags | None, numbers: np.ndarray) -> EntityFigures | None:
    if tags is None or not tags.mark_entities:
        return None
    return entity_figures(tags.truth, tags.answers(numbers))


def r2(predicted: ArrayLike, truth: ArrayLike) -> float:
    """Return the share of the truth's variance that is explained; below 0, the mean would be better.

    For a constant truth, which has no variance, it is 1 if every prediction is right, else 0.
    Raises DataError, ShapeError.

    >>> round(r2([1.0, 2.0, 2.0], [1.0, 2.0, 3.0]), 4)
    0.5
    """
    error = rmse(predicted, truth)
    truths = np.asarray(truth, np.float64)
    middle = float(np.mean(truths[np.isfinite(truths)]))
    spread = rmse(np.full_like(truths, middle), truths)
    # the spread of a constant may be a rounding error instead of 0
    if spread <= 1e-12 * abs(middle):
        return float(error == 0)
    return 1 - min((error / spread) ** 2, 1e300)


@dataclass(frozen=True)
class RegressionFigures(MethodFigures):
    """Errors of a method that predicts numbers, and correlations of its predictions with the truth."""

    mae: float
    rmse: float
    r2: float
    pearson: float | None = None
    """None if all predictions, or all true values, are equal; so is `spearman`."""
    spearman: float | None = None

    @classmethod
    def of(cls, name: str, predicted: ArrayLike, truth: ArrayLike) -> RegressionFigures:
        """Return the metrics of predictions ``[N]``; raises DataError, ShapeError."""
        errors = mae(predicted, truth), rmse(predicted, truth), r2(predicted, truth)
        correlations = pearson(predicted, truth), spearman(predicted, truth)
        return cls(name, *errors, *correlations, answers=np.asarray(predicted, np.float64))


@dataclass(frozen=True)
class Regression:
    """The errors of a network, beside those of plain models."""

    count: int
    methods: tuple[RegressionFigures, ...]
    """The network first."""

    comparisons: tuple[Comparison, ...] = ()
    """The network compared with each other method by MAE."""

    @property
    def sentences(self) -> tuple[str, ...]:
        """A sentence on each comparison."""
        return tuple(map(str, self.comparisons))

    def to_dict(self) -> JsonObject:
        """Return all fields and the sentences, for JSON."""
        methods = [method.figures() for method in self.methods]
        return asdict(self) | {"methods": methods, "sentences": list(self.sentences)}

    def to_frame(self) -> Any:
        """Return the errors of every method as a polars data frame, or as columns if polars is missing."""
        return frame_of(
            method.figures() | {"pearson": method.pearson, "spearman": method.spearman}
            for method in self.methods
        )

    def __str__(self) -> str:
        heading = f"{'MAE':>11}{'RMSE':>11}{'R²':>9}{'Pearson':>10}{'Spearman':>10}"
        lines = [f"{self.count:,} sequences", f"{'':24}{heading}"]
        for row in self.methods:
            correlations = "".join(
                f"{'-':>10}" if value is None else f"{value:>10.4f}"
                for value in (row.pearson, row.spearman)
            )
            errors = f"{row.mae:>11.4g}{row.rmse:>11.4g}{row.r2:>9.4f}"
            lines.append(f"{row.name[:24]:24}{errors}{correlations}")
        return "\n".join([*lines, *self.sentences])


def regression(
    predicted: ArrayLike, truth: ArrayLike, beside: Sequence[RegressionFigures] = ()
) -> Regression:
    """Return the report on predictions ``[N]``, beside the errors of others; raises DataError, ShapeError.

    >>> print(regression([1.0, 2.0, 2.0], [1.0, 2.0, 3.0]))
    3 sequences
                                    MAE       RMSE       R²   Pearson  Spearman
    the network                  0.3333     0.5774   0.5000    0.8660    0.8660
    """
    network = RegressionFigures.of(NETWORK_NAME, predicted, truth)
    truths = np.asarray(truth, np.float64)
    known = np.isfinite(truths)

    def p_value(ours: np.ndarray, theirs: np.ndarray) -> float:
        """Test the absolute errors in pairs."""
        first, second = (abs(answers - truths)[known][:, None] for answers in (ours, theirs))
        return exchange_p_value(first, second, lambda sums: sums[..., 0])

    return Regression(
        int(known.sum()),
        # the answers have served their test; a report that is kept would only grow by them
        tuple(replace(method, answers=None) for method in (network, *beside)),
        compare(network, beside, "MAE", p_value, lower_is_better=True),
    )
