"""Requests and answers that pass between the commands and the task of a model.

A command fills in a request, the task answers it, and the command prints or writes the answer. Nothing here
knows a task, so that every task folder can import it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import Field, dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias, TypedDict

if TYPE_CHECKING:
    from matplotlib.figure import Figure


class Reading(TypedDict):
    """Options that say how to read files; None lets the reader detect the value."""

    encoding: str | None
    decimal: str | None
    header: bool | None


ColumnName: TypeAlias = Literal["text", "label", "columns", "id_column", "time_column"]


class Columns(TypedDict, total=False):
    """Columns of a table of labelled sequences, as the options of a command name them."""

    text: str
    label: str
    columns: str
    id_column: str
    time_column: str


class Printable(Protocol):
    """A dataclass that `str` shows to a person and `to_dict` to a program."""

    __dataclass_fields__: ClassVar[dict[str, Field[Any]]]

    def to_dict(self) -> Mapping[str, Any]:
        """Return the result as JSON."""


class Drawable(Protocol):
    """A result that matplotlib can draw."""

    def plot(self) -> Figure:
        """Return a picture of the result."""


@dataclass(frozen=True)
class TrainingFiles:
    """Files that the command `train` names, and how to read them."""

    files: Sequence[str]
    valid: Sequence[str] | None
    test: Sequence[str] | None
    columns: Columns
    reading: Reading


@dataclass(frozen=True)
class PredictRequest:
    """Arguments of the command `predict`; a task reads those that it declares."""

    source: str | None
    columns: Columns
    reading: Reading
    count: int
    """How many predictions to show for each text."""
    as_table: bool
    """Whether a program reads the answer, so that even one prediction is a row of a table."""
    horizon: int | None = None
    future: str | None = None
    overlap: str = "error"
    point: str = "median"


@dataclass(frozen=True)
class Ranking:
    """The most probable answers for one text, best first."""

    text: str
    shares: Sequence[tuple[str, float]]
    """Pairs of an answer and its probability."""
    details: Mapping[str, Any] = field(default_factory=dict)
    """The object that ``--json`` prints in place of the ranking."""


@dataclass(frozen=True)
class Answers:
    """Predictions: either a table, or a ranking for each text."""

    table: Mapping[str, Any] | None = None
    """Columns of equal length by name."""
    rankings: Iterable[Ranking] = ()
    """Computed one at a time, so that a line of standard input is answered before the next one arrives."""
    picture: Drawable | None = None


@dataclass(frozen=True)
class EvaluateRequest:
    """Arguments of the command `evaluate`; a task reads those that it declares."""

    files: Sequence[str]
    columns: Columns
    reading: Reading
    train: Sequence[str] | None = None
    """Files on which to fit plain models, for comparison with the network."""
    metric: str | None = None
    windows: int | None = None
    step: int | None = None
    overlap: str = "error"


@dataclass(frozen=True)
class Evaluated:
    """A report, and functions that draw pictures of it, by the name of the command's option for each."""

    report: Printable
    pictures: Mapping[str, Callable[[], Figure]] = field(default_factory=dict)


@dataclass(frozen=True)
class ExplainRequest:
    """Arguments of the command `explain`; a task reads those that it declares."""

    source: str | None
    reading: Reading
    options: Mapping[str, Any]
    """Options of the task's own function that explains, such as `method`."""
    target: str | None = None
    row: int | None = None
    series: str | None = None
    equations: bool = False
    replace: str | None = None
