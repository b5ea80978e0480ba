"""Base class of the tasks, with the options and the answers of the commands that ask a trained model.

Nothing here knows a task, so that every task folder can import it. Importing it is cheap, because
``elman --help`` needs it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence, Sized
from dataclasses import dataclass, field
from importlib import import_module
from typing import (
    TYPE_CHECKING,
    ClassVar,
    Generic,
    Literal,
    Protocol,
    TypeAlias,
    TypedDict,
    TypeVar,
)

from elman.training.options import Options, Values, answering, picture, reading

if TYPE_CHECKING:
    import numpy as np
    from matplotlib.figure import Figure

    from elman.engine.config import ModelConfig
    from elman.files.model_types import Codec
    from elman.inspect.predictor import Predictor
    from elman.inspect.replies import Replies
    from elman.tables.column_kinds import ColumnKinds
    from elman.training.journal import JsonObject, Run
    from elman.training.task_display import TaskDisplay
    from elman.training.trainer import Outcome

    Table: TypeAlias = Mapping[str, Sequence[str | float | None] | np.ndarray]
    """Columns of equal length by name."""
    Pictures: TypeAlias = Mapping[str, Callable[[], str | Figure]]
    """Functions that draw an SVG text or a matplotlib figure, by the option that names its file."""


class Reading(TypedDict):
    """Options that say how to read files; None lets the reader detect the value."""

    encoding: str | None
    decimal: str | None
    header: bool | None


@dataclass(frozen=True, kw_only=True)
class EncodingOptions(Options):
    """Option of the commands that read text alone."""

    encoding: str | None = reading(
        None, "encoding of the files, such as utf-8 (default: detected)", rare=True
    )


@dataclass(frozen=True, kw_only=True)
class ReadingOptions(EncodingOptions):
    """Options of how files are read, which every command has."""

    decimal: Literal[".", ","] | None = reading(
        None, "decimal mark of the numbers in a table (default: detected)", rare=True
    )
    header: bool | None = reading(
        None,
        "whether the first row of a table names its columns (default: detected); without names they are 0, 1",
        rare=True,
    )

    @property
    def how(self) -> Reading:
        """The options as the readers of files take them."""
        return {"encoding": self.encoding, "decimal": self.decimal, "header": self.header}


@dataclass(frozen=True, kw_only=True)
class HeldOutFiles(ReadingOptions):
    """Options of the command `train` for tasks that read the held-out data from files of their own."""

    valid: tuple[str, ...] | None = reading(None, "validation data (default: a share of FILE)")
    test: tuple[str, ...] | None = reading(None, "test data (default: half of the validation data)")


@dataclass(frozen=True, kw_only=True)
class PredictOptions(ReadingOptions):
    """Options of the command `predict` for every task."""

    # Tasks whose answers are single numbers, or whole forecasts, ignore it.
    k: int = answering(5, "number of words or labels to show, the best first", low=1)


@dataclass(frozen=True, kw_only=True)
class ExplainOptions(ReadingOptions):
    """Options of the command `explain` for every task."""

    target: str | None = answering(
        None,
        "answer to explain (default: the most probable); for a forecaster the number of steps ahead "
        "(default: the mean of all steps)",
    )
    # The names repeat `METHODS` of elman.explain.explanation, which needs numpy.
    method: (
        Literal["replacement", "decomposition", "integrated gradients", "leave-one-out"] | None
    ) = answering(None, "how the effect of an input is measured (default: replacement)")
    quick: bool = answering(False, "use fewer replacements and skip the self-test")
    # The page of the server and matplotlib draw the same explanation in different ways.
    svg: str | None = picture("file to draw the picture of the page to: .svg", ".svg")
    plot: str | None = picture("file to draw a matplotlib picture to: .svg or .png", ".svg", ".png")


class Printable(Protocol):
    """A result that `str` shows to a person and `to_dict` to a program."""

    def to_dict(self) -> Mapping[str, object]:
        """Return the result as JSON."""


class Drawable(Printable, Protocol):
    """An explanation, which can be drawn in two ways."""

    def to_svg(self) -> str:
        """Return the picture of the page."""

    def plot(self) -> Figure:
        """Return the picture that matplotlib draws."""


@dataclass(frozen=True)
class Ranking:
    """The most probable answers for one text, best first."""

    text: str
    shares: Sequence[tuple[str, float]]
    """Pairs of an answer and its probability."""
    details: JsonObject = field(default_factory=dict)
    """The object that ``--json`` prints in place of the ranking."""


@dataclass(frozen=True)
class Answers:
    """Predictions: either a table, or a ranking for each text."""

    table: Table | None = None
    rankings: Iterable[Ranking] = ()
    """Computed one at a time, so that a line of standard input is answered before the next one arrives."""
    pictures: Pictures = field(default_factory=dict)


@dataclass(frozen=True)
class Result:
    """A report or an explanation, and its pictures."""

    printed: Printable
    pictures: Pictures = field(default_factory=dict)

    @classmethod
    def of(cls, explanation: Drawable) -> Result:
        """Return an explanation with both of its pictures."""
        return cls(explanation, {"svg": explanation.to_svg, "plot": explanation.plot})


T_co = TypeVar("T_co", covariant=True)


class LazyClass(Generic[T_co]):
    """Attribute of a task: the class that its table `classes` names, imported when it is first used."""

    # Python calls this when it makes the class Task, with the name of the attribute.
    def __set_name__(self, owner: type[Task], name: str) -> None:
        self._role = name.removesuffix("_type")

    def __get__(self, instance: Task | None, owner: type[Task]) -> type[T_co]:
        # The module is imported now, because importing all of them would make `elman --help` slow.
        module, _, name = owner.classes[self._role].partition(":")
        cls: type[T_co] = getattr(import_module(module), name)
        return cls


class Task(ABC):
    """One task. The class says what it is and trains it; an instance asks one trained model.

    Everything that the command and the server do with a task goes through these members. Methods import
    numpy, torch and the rest of their folder when they are called.
    """

    name: ClassVar[str]
    """Name of the task, as in ``--task`` and in the configuration of its models."""
    panel: ClassVar[str]
    """Heading in ``elman train --help`` above the options that only this kind of task has."""
    command_options: ClassVar[dict[str, type[Options]]]
    """Options of the commands predict, evaluate and explain, and those of train about files."""

    variations: ClassVar[tuple[Mapping[str, float], ...]] = (
        {"learning_rate": 2},
        {"dropout": 0.5},
        {"hidden_size": 2},
        {"learning_rate": 0.5},
        {"dropout": 1.5},
        {"num_layers": 2},
    )
    """Configurations that `elman tune` compares with the defaults: factors of the numbers of the default
    plan, the most promising ones first. Later ones take part where the user has chosen an option himself."""

    classes: ClassVar[dict[str, str]]
    """Module and name of each class below, such as "elman.language.config:NetworkConfig" for "config"."""

    options: ClassVar[LazyClass[Options]] = LazyClass()
    """Options of training that the estimator has too."""
    config_type: ClassVar[LazyClass[ModelConfig]] = LazyClass()
    codec_type: ClassVar[LazyClass[Codec]] = LazyClass()
    predictor_type: ClassVar[LazyClass[Predictor]] = LazyClass()
    replies_type: ClassVar[LazyClass[Replies]] = LazyClass()
    """The class that answers the server's requests with a predictor."""
    display_type: ClassVar[LazyClass[TaskDisplay]] = LazyClass()
    """The class with the words of the task about its training runs."""

    # Subclasses narrow this type, so that their methods know the predictor of their own task.
    predictor: Predictor

    def __init__(self, predictor: Predictor) -> None:
        self.predictor = predictor

    @classmethod
    def guess(cls, files: Sequence[str], values: Values) -> str:
        """Return what in a ``train`` command suggests this task, such as "--horizon", or ""."""
        del files, values
        return ""

    @classmethod
    def suggest(cls, kinds: ColumnKinds) -> str:
        """Return the options of a likely ``train`` command for a table with these columns, or ""."""
        del kinds
        return ""

    @classmethod
    @abstractmethod
    def train(cls, files: Sequence[str], values: Values, run: Run) -> Outcome:
        """Train a model on files; raises the same errors as the ``fit`` of the task's estimator."""

    @abstractmethod
    def read_input(self, file: str, how: Reading) -> Sized:
        """Return everything that a file holds, as the predictor's own methods take it."""

    @abstractmethod
    def predict(self, source: str | None, values: Values, *, as_table: bool) -> Answers:
        """Return the answers of the command `predict`.

        Args:
            source: The text or file on the command line.
            values: Values of the command's options.
            as_table: Whether a program reads the answer, so that even one prediction is a row of a table.
        """

    @abstractmethod
    def evaluate(self, files: Sequence[str], values: Values) -> Result:
        """Return the report of the command `evaluate`."""

    @abstractmethod
    def explain(self, source: str | None, values: Values) -> Result:
        """Return the explanation of the command `explain`."""
