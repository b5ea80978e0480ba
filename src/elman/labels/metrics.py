"""The report on labels: figures of all and of each class, calibration, and plain models beside them."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import DataError, OptionError, printable
from elman.labels.calibration import Bin, calibration_error, log_loss, reliability
from elman.labels.confusion import (
    ENTITY_F1,
    METRICS,
    Baseline,
    Tags,
    chance_of_labels,
    class_figures,
    confusion_table,
    count_unseen,
    label_figures,
    metric_of_table,
)
from elman.labels.tags import EntityFigures, entity_figures
from elman.metrics.comparison import Comparison
from elman.tables.frames import frame

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["UNSEEN", "Classification", "classification", "compared_labels"]

UNSEEN = "(not in training)"
# Longer tables are cut to the labels with the most wrong answers.
_SHOWN, _SHOWN_CROSS = 20, 10
_COLUMNS = f"{'precision':>10}{'recall':>10}{'F1':>10}{'support':>10}"


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
    """Of whole entities, where the labels are tags that mark them."""
    unseen: int = 0
    """Labels of the truth that were not in training."""
    comparisons: tuple[Comparison, ...] = ()
    """How the network stands to each of `beside` by `metric`."""

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
        """How the network stands to each baseline, in plain words."""
        return tuple(map(str, self.comparisons))

    def plot(self, calibration: bool = False) -> Figure:
        """Return a matplotlib figure of the confusion table, or of the calibration.

        Raises OptionError for a calibration without probabilities, MissingDependencyError.

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
        """Return the figures of every label as a data frame of polars, or as columns without polars."""
        return frame({"label": self.labels, **class_figures(self.table)._asdict()})

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and what follows from them, for JSON."""
        figures = class_figures(self.table)
        return asdict(self) | {
            "count": self.count,
            **{name: metric_of_table(name, self.table, self.unseen) for name in METRICS},
            "beside": [plain.figures() for plain in self.beside],
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
            )
            if value is not None
        ]
        parts = self._entities(), self._classes(), self._cross(), self._beside()
        return "\n".join(itertools.chain(lines, *parts))

    def _entities(self) -> list[str]:
        if self.entities is None:
            return []
        rows = [("all entities", self.entities), *self.entities.types.items()]
        rows[1:] = sorted(rows[1:], key=lambda row: row[1].right - row[1].true)[:_SHOWN]
        more = len(self.entities.types) + 1 - len(rows)
        return [
            "",
            f"{'entities, ' + self.entities.scheme:17}" + _COLUMNS,
            *(_row(kind, one.precision, one.recall, one.f1, one.true) for kind, one in rows),
            *([f"and {more} more types, of which fewer are missed"] if more else []),
        ]

    def _classes(self) -> list[str]:
        precision, recall, f1, support = class_figures(self.table)
        shown = np.arange(len(self.labels))
        if more := max(0, len(shown) - _SHOWN):
            wrong = self.table.sum(axis=0) + support - 2 * np.diag(self.table)
            shown = np.lexsort((-support, -wrong))[:_SHOWN]
        return [
            "",
            f"{'label':17}" + _COLUMNS,
            *(
                _row(self.labels[k], precision[k], recall[k], f1[k], support[k])
                for k in shown.tolist()
            ),
            *([f"and {more} more, with fewer wrong answers"] if more else []),
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


def _row(name: str, precision: float, recall: float, f1: float, support: int) -> str:
    return f"{printable(name, 16):17}{precision:>10.4f}{recall:>10.4f}{f1:>10.4f}{support:>10,}"


def compared_labels(
    truth: ArrayLike,
    answers: np.ndarray,
    beside: Sequence[Baseline],
    metric: str,
    tags: Tags | None = None,
) -> tuple[Comparison, ...]:
    """Return how the `answers` ``[N]`` of a network stand to those of plain models, by one `metric`."""
    ours = label_figures(truth, answers, tags)[metric]
    found = []
    for plain in beside:
        chance = None
        if plain.answers is not None:
            chance = chance_of_labels(metric, truth, answers, plain.answers, tags)
        theirs = getattr(plain, metric) or 0.0
        found.append(Comparison(plain.name, metric, ours, theirs, chance))
    return tuple(found)


def classification(
    truth: ArrayLike,
    answers: ArrayLike,
    labels: Sequence[str],
    *,
    beside: Sequence[Baseline] = (),
    metric: str | None = None,
    tags: Sequence[Sequence[str]] | None = None,
) -> Classification:
    """Return the report of `answers`: probabilities ``[N, K]``, or numbers of `labels` ``[N]``.

    Args:
        truth: Numbers of the true labels ``[N]``. Those below 0 were not in training, each of them with a
            number of its own; they have one row in the table, `UNSEEN`, and no answer to them is right.
        answers: What the network answers.
        labels: The labels of training by their numbers.
        beside: Plain models on the same data.
        metric: By which they are compared: accuracy, macro_f1, macro_recall or entity_f1 (default:
            accuracy, or with tags that mark entities entity_f1).
        tags: The true tags of each sequence, where the labels are tags of steps.

    Raises ShapeError, OptionError, and DataError where there is no answer.

    >>> classification([0, 1, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.4, 0.6], [0.7, 0.3]], ["no", "yes"]).accuracy
    0.75
    """
    steps = None if tags is None else Tags(tags, labels)
    marked = steps is not None and steps.mark_entities
    known = [*METRICS, *([ENTITY_F1] if marked else [])]
    metric = metric or known[-1 if marked else 0]
    if metric not in known:
        raise OptionError("metric", got=metric, expected=", ".join(known))
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
        beside=tuple(replace(plain, answers=None) for plain in beside),
        metric=metric,
        unit="sequences" if tags is None else "tokens",
        entities=entity_figures(steps.truth, steps.answers(found)) if steps and marked else None,
        unseen=count_unseen(truth),
        comparisons=compared_labels(truth, found, beside, metric, steps),
    )
