"""Registry of tasks: the only place that lists them.

A task is one folder. Its ``task.py`` holds an object with the members of `Task`, and everything above the
task folders (the command, the server) works through these members. A new task is a new folder and one line
in `TASKS`.

Importing the registry is cheap, because ``elman --help`` needs it: a task imports numpy, torch and its codec
inside its methods.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from elman.errors import ModelFileError
from elman.labels.task import ClassifyTask, RegressTask, TagTask
from elman.language.task import LanguageTask
from elman.series.task import ForecastTask

if TYPE_CHECKING:
    from elman.files.model import Model
    from elman.files.model_types import ModelTypes
    from elman.inspect.predictor import Predictor
    from elman.inspect.replies import Replies
    from elman.tables.column_kinds import ColumnKinds
    from elman.task_types import (
        Answers,
        Evaluated,
        EvaluateRequest,
        ExplainRequest,
        PredictRequest,
        Printable,
        Reading,
        TrainingFiles,
    )
    from elman.training.journal import Run
    from elman.training.task_display import TaskDisplay
    from elman.training.trainer import Outcome


P = TypeVar("P", bound="Predictor")
O = TypeVar("O")  # noqa: E741 - the options of a task


class Task(Protocol[P, O]):
    """Everything that the command and the server ask of a task with predictors `P` and options `O`."""

    @property
    def name(self) -> str:
        """Name of the task, as in ``--task`` and in the configuration of its models."""

    @property
    def panel(self) -> str:
        """Heading in ``elman train --help`` above the options that only this kind of task has."""

    @property
    def options(self) -> type[O]:
        """Options of training."""

    @property
    def column_options(self) -> tuple[str, ...]:
        """Names of the members of `Columns` that are not among `options` and that training takes."""

    @property
    def trains_on_held_out_files(self) -> bool:
        """Whether training takes ``--valid`` and ``--test``."""

    @property
    def predict_options(self) -> frozenset[str]:
        """Options of ``elman predict`` that not all tasks have, and this one has."""

    @property
    def evaluate_options(self) -> frozenset[str]:
        """Options of ``elman evaluate`` that not all tasks have, and this one has."""

    @property
    def explain_options(self) -> frozenset[str]:
        """Options of ``elman explain`` that not all tasks have, and this one has."""

    def model_types(self) -> ModelTypes:
        """Return the classes of the configuration and the codec in a model file."""

    def predictor_type(self) -> type[P]:
        """Return the class that answers with a model."""

    def replies_type(self) -> type[Replies]:
        """Return the class that answers the server's requests with a predictor."""

    def display(self) -> TaskDisplay:
        """Return the words of the task about its training runs."""

    def open(self, model: Model, storage: str) -> P:
        """Return a predictor; `storage` is that of the weights, "float32" or "bf16"."""

    def guess(self, files: Sequence[str], options: Mapping[str, Any]) -> str:
        """Return what in a ``train`` command suggests this task, such as "--horizon", or ""."""

    def suggest(self, kinds: ColumnKinds) -> str:
        """Return the options of a likely ``train`` command for a table with these columns, or ""."""

    def train(
        self,
        data: TrainingFiles,
        options: O,
        run: Run,
    ) -> Outcome:
        """Train a model on files; raises as the ``fit`` of the task's estimator."""

    def read_input(self, predictor: P, file: str, reading: Reading) -> Any:
        """Return everything that a file holds, as the predictor's own methods take it."""

    def predict(self, predictor: P, request: PredictRequest) -> Answers:
        """Return the answers of the command ``predict``."""

    def evaluate(self, predictor: P, request: EvaluateRequest) -> Evaluated:
        """Return the report of the command ``evaluate``."""

    def explain(self, predictor: P, request: ExplainRequest) -> Printable:
        """Return the explanation of the command ``explain``."""


_TASKS: tuple[Task[Any, Any], ...] = (
    LanguageTask(),
    ClassifyTask(),
    RegressTask(),
    TagTask(),
    ForecastTask(),
)
TASKS = {task.name: task for task in _TASKS}
"""Tasks by name. The first one is the task of a command that suggests no other."""


def task_of(model: Model) -> Task[Any, Any]:
    """Return the task that a model was trained for."""
    return TASKS[model.config.task]


def open_model(model: Model, storage: str = "float32") -> Predictor:
    """Return the predictor of the task that `model` was trained for.

    Args:
        model: the trained model.
        storage: "float32", or "bf16" for weights rounded to half the bytes.

    Raises:
        OptionError: the task has no such storage.
    """
    predictor: Predictor = task_of(model).open(model, storage)
    return predictor


def model_types(name: object) -> ModelTypes:
    """Return the configuration and codec class of a task.

    Args:
        name: the task that a model file names; a damaged file may hold anything.

    Raises:
        ModelFileError: no task has this name.
    """
    if not isinstance(name, str) or name not in TASKS:
        raise ModelFileError("its task", got=name, expected="one of " + ", ".join(TASKS))
    return TASKS[name].model_types()
