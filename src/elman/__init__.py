"""Elman: recurrent networks on your own sequences.

>>> import elman
>>> elman.LanguageModel(level="char", hidden_size=64).get_params()["hidden_size"]
64
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, TypeVar, overload

from elman._version import __version__
from elman.files.model_types import set_lookup

if TYPE_CHECKING:
    from os import PathLike

    from elman.errors import (
        DataError,
        DataWarning,
        DivergedError,
        ElmanError,
        InputError,
        MissingDependencyError,
        ModelFileError,
        NotFittedError,
        OptionError,
        OutputError,
    )
    from elman.files.model import Model
    from elman.files.model_types import ModelTypes
    from elman.inspect.predictor import Predictor
    from elman.labels.estimator import SequenceClassifier, SequenceRegressor, SequenceTagger
    from elman.labels.predictor import ClassifierPredictor, RegressorPredictor, TaggerPredictor
    from elman.labels.read import read_sequences
    from elman.language.estimator import LanguageModel
    from elman.language.predictor import LanguagePredictor
    from elman.series.estimator import Forecaster
    from elman.series.predictor import ForecastPredictor
    from elman.tables.reader import read_table

__all__ = [
    "ClassifierPredictor",
    "DataError",
    "DataWarning",
    "DivergedError",
    "ElmanError",
    "ForecastPredictor",
    "Forecaster",
    "InputError",
    "LanguageModel",
    "LanguagePredictor",
    "MissingDependencyError",
    "Model",
    "ModelFileError",
    "NotFittedError",
    "OptionError",
    "OutputError",
    "Predictor",
    "RegressorPredictor",
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceTagger",
    "TaggerPredictor",
    "__version__",
    "load",
    "read_sequences",
    "read_table",
]

# Modules of the public names that are not errors. Each is imported when its name is first used, so that
# `import elman` stays fast.
_MODULES = {
    "ClassifierPredictor": "elman.labels.predictor",
    "ForecastPredictor": "elman.series.predictor",
    "Forecaster": "elman.series.estimator",
    "LanguageModel": "elman.language.estimator",
    "LanguagePredictor": "elman.language.predictor",
    "Model": "elman.files.model",
    "Predictor": "elman.inspect.predictor",
    "RegressorPredictor": "elman.labels.predictor",
    "SequenceClassifier": "elman.labels.estimator",
    "SequenceRegressor": "elman.labels.estimator",
    "SequenceTagger": "elman.labels.estimator",
    "TaggerPredictor": "elman.labels.predictor",
    "read_sequences": "elman.labels.read",
    "read_table": "elman.tables.reader",
}

P = TypeVar("P", bound="Predictor")


def _model_types(task: object) -> ModelTypes:
    from elman.tasks import model_types

    return model_types(task)


# The reader of model files stands below the registry of tasks, which tells it the classes to read into.
set_lookup(_model_types)


@overload
def load(path: str | PathLike[str], storage: str | None = None) -> Predictor: ...
@overload
def load(path: str | PathLike[str], storage: str | None = None, *, kind: type[P]) -> P: ...
def load(
    path: str | PathLike[str], storage: str | None = None, *, kind: type[Any] | None = None
) -> Any:
    """Return the trained model in the file `path`, ready to answer; torch is not needed.

    Args:
        path: The model file.
        storage: "float32", "bf16" or "int8" (default: as the model is stored). With "bf16" the weights of a
            language model are rounded to bfloat16, and with "int8" those of any model to integers of 8 bits.
            They then take a half or a quarter of the bytes, so that larger language models answer faster.
            `save` writes a model that was loaded with "int8" as a file of about a quarter of the size.
        kind: The class that the model must have, such as `elman.LanguagePredictor`. Editors and type
            checkers then know the methods of the result.

    Raises:
        ModelFileError: the file is damaged, or not an Elman model.
        OptionError: the task has no such `storage`.
        InputError: the model is not of this `kind`.

    >>> import tempfile
    >>> import elman
    >>> trained = elman.LanguageModel(hidden_size=4, steps=2).fit("I like tea . " * 40)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     trained.save(f"{folder}/tea.safetensors")
    ...     model = elman.load(f"{folder}/tea.safetensors", kind=elman.LanguagePredictor)
    >>> len(model.predict_next("I like", k=3))
    3
    """
    from elman.errors import InputError
    from elman.files.model import Model
    from elman.tasks import open_model

    predictor = open_model(Model.load(path), storage)
    if kind is not None and not isinstance(predictor, kind):
        what = f"{path} is a model for {predictor.model.config.task}"
        raise InputError(what, got=type(predictor).__name__, expected=kind.__name__)
    return predictor


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'elman' has no attribute {name!r}")
    return getattr(import_module(_MODULES.get(name, "elman.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
