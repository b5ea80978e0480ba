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

    from elman._errors import (
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
    from elman.data.examples import read_sequences
    from elman.data.tables import read_table
    from elman.estimators import (
        Forecaster,
        LanguageModel,
        SequenceClassifier,
        SequenceRegressor,
        SequenceTagger,
    )
    from elman.model import Model
    from elman.runtime.language import LanguagePredictor

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
    "Forecaster": "elman.estimators",
    "LanguageModel": "elman.estimators",
    "SequenceClassifier": "elman.estimators",
    "SequenceRegressor": "elman.estimators",
    "SequenceTagger": "elman.estimators",
    "LanguagePredictor": "elman.runtime.language",
    "Model": "elman.model",
    "read_sequences": "elman.data.examples",
    "read_table": "elman.data.tables",
}


def load(path: str | PathLike[str], storage: str = "float32") -> Any:
    """Return the trained model in the file `path`, ready to answer; torch is not needed.

    With `storage` "bf16" a step reads the weights rounded to bfloat16, half the bytes: larger networks
    answer faster. Raises ModelFileError for a file that is not a whole Elman model, OptionError for a
    `storage` that cannot be.
    """
    from elman import runtime
    from elman.model import Model

    return runtime.open(Model.load(path), storage)


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'elman' has no attribute {name!r}")
    return getattr(import_module(_HOMES.get(name, "elman._errors")), name)


def __dir__() -> list[str]:
    return sorted(__all__)
