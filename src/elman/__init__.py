"""Elman: recurrent networks on your own sequences.

>>> import elman
>>> elman.LanguageModel(level="char", hidden_size=64).get_params()["hidden_size"]
64
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from elman._version import __version__

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
    from elman.labels.estimator import SequenceClassifier, SequenceRegressor, SequenceTagger
    from elman.labels.read import read_sequences
    from elman.language.estimator import LanguageModel
    from elman.language.predictor import LanguagePredictor
    from elman.series.estimator import Forecaster
    from elman.tables.reader import read_table

__all__ = [
    "DataError",
    "DataWarning",
    "DivergedError",
    "ElmanError",
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
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceTagger",
    "__version__",
    "load",
    "read_sequences",
    "read_table",
]

# What is not an error comes from here, when it is first asked for: `import elman` stays cheap.
_HOMES = {
    "Forecaster": "elman.series.estimator",
    "LanguageModel": "elman.language.estimator",
    "SequenceClassifier": "elman.labels.estimator",
    "SequenceRegressor": "elman.labels.estimator",
    "SequenceTagger": "elman.labels.estimator",
    "LanguagePredictor": "elman.language.predictor",
    "Model": "elman.files.model",
    "read_sequences": "elman.labels.read",
    "read_table": "elman.tables.reader",
}


def load(path: str | PathLike[str], storage: str = "float32") -> Any:
    """Return the trained model in the file `path`, ready to answer; torch is not needed.

    With `storage` "bf16" a step reads the weights rounded to bfloat16, half the bytes: larger networks
    answer faster. Raises ModelFileError for a file that is not a whole Elman model, OptionError for a
    `storage` that cannot be.
    """
    from elman import tasks
    from elman.files.model import Model

    return tasks.open(Model.load(path), storage)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'elman' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "elman.errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
