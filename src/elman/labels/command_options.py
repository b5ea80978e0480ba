"""Options of the commands that read labelled sequences, beside those of training."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypedDict

from elman.task_types import ExplainOptions, HeldOutFiles, PredictOptions, ReadingOptions
from elman.training.options import answering, picture, reading


class Columns(TypedDict, total=False):
    """Columns of a table of labelled sequences that a command names."""

    text: str
    label: str
    columns: str
    id_column: str
    time_column: str


_COLUMNS: tuple[Literal["text", "label", "columns", "id_column", "time_column"], ...] = (
    *("text", "label", "columns", "id_column", "time_column"),
)


@dataclass(frozen=True, kw_only=True)
class ColumnOptions(ReadingOptions):
    """Options that name columns of a table; commands that ask a model read those of training by default."""

    # For a table of training, None leaves the choice to the reader; a trained model knows its columns.
    text: str | None = reading(None, "column of texts, or of tokens")
    label: str | None = reading(
        None, "column of labels, numbers or tags; or a file with a line for each text"
    )
    columns: str | None = reading(None, "columns of numbers, with commas between them")
    id_column: str | None = reading(None, "column that names the sequence of each row")
    time_column: str | None = reading(None, "column that orders the rows")

    @property
    def named(self) -> Columns:
        """The columns that a command names."""
        columns: Columns = {}
        for name in _COLUMNS:
            if (column := getattr(self, name)) is not None:
                columns[name] = column
        return columns


@dataclass(frozen=True, kw_only=True)
class TrainingFileOptions(HeldOutFiles, ColumnOptions):
    """Options of the command `train` about files of labelled sequences."""


@dataclass(frozen=True, kw_only=True)
class LabelPredictOptions(PredictOptions, ColumnOptions):
    """Options of the command `predict`."""


@dataclass(frozen=True, kw_only=True)
class LabelEvaluateOptions(ColumnOptions):
    """Options of the command `evaluate`."""

    train: tuple[str, ...] | None = reading(
        None, "file of training data of the model: plain models are fitted to it and measured too"
    )
    plot: str | None = picture("file to draw a picture to: .svg or .png", ".svg", ".png")


@dataclass(frozen=True, kw_only=True)
class CategoricalEvaluateOptions(LabelEvaluateOptions):
    """Options of the command `evaluate` where answers are labels."""

    metric: Literal["accuracy", "macro_f1", "macro_recall", "entity_f1"] | None = answering(
        None,
        "metric that compares the network with plain models (default: accuracy, or entity_f1 where tags mark "
        "entities)",
    )
    plot_calibration: str | None = picture(
        "file to draw the calibration to: .svg or .png", ".svg", ".png"
    )


@dataclass(frozen=True, kw_only=True)
class LabelExplainOptions(ExplainOptions):
    """Options of the command `explain`."""

    row: int | None = answering(
        None, "which sequence of a file to explain, counted from 0 (default: 0)", low=0
    )
    of: str | None = answering(
        None,
        "for a tagger the step to explain; for a classifier inputs to measure: words or characters of a "
        "text, steps or channels of numbers",
    )
