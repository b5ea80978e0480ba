"""Registry of tasks: the only place that lists them.

A task is one folder. Its ``task.py`` holds a subclass of `Task`, and everything above the task folders (the
command, the server) works through the members of that class. A new task is a new folder and one line in
`TASKS`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from elman.errors import ModelFileError
from elman.labels.task import ClassifyTask, RegressTask, TagTask
from elman.language.task import LanguageTask
from elman.series.task import ForecastTask
from elman.task_types import Task

if TYPE_CHECKING:
    from elman.files.model import Model
    from elman.files.model_types import ModelTypes
    from elman.inspect.predictor import Predictor


# The order counts: the first task is the default, and a task before another wins a guess.
_TASKS: tuple[type[Task], ...] = (
    LanguageTask,
    ClassifyTask,
    RegressTask,
    TagTask,
    ForecastTask,
)
TASKS = {task.name: task for task in _TASKS}
"""Tasks by name. The first one is the task of a command that suggests no other."""


def task_of(model: Model) -> type[Task]:
    """Return the task that a model was trained for."""
    return TASKS[model.config.task]


def open_model(model: Model, storage: str | None = None) -> Predictor:
    """Return the predictor of the task that `model` was trained for.

    Args:
        model: The trained model.
        storage: "float32", or "bf16" or "int8" for rounded weights (default: as the model is stored).

    Raises:
        OptionError: the task has no such storage.
    """
    # The class is looked up through the task, so that only the folder of this task is imported.
    return task_of(model).predictor_type(model, storage)


def model_types(name: object) -> ModelTypes:
    """Return the configuration and codec class of a task.

    Args:
        name: The task that a model file names; a damaged file may hold anything.

    Raises:
        ModelFileError: no task has this name.
    """
    if not isinstance(name, str) or name not in TASKS:
        raise ModelFileError("its task", got=name, expected="one of " + ", ".join(TASKS))
    return TASKS[name].config_type, TASKS[name].codec_type
