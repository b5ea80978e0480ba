"""What a trained model answers, without torch: streams and, on them, each task's questions.

A task's module is imported when a model of that task is opened, so that the prediction of a word waits for no
calendar.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

from elman.files.model import Model

__all__ = ["open"]

# By task, the module and the class of its predictor.
_PREDICTORS = {
    "language": ("language", "LanguagePredictor"),
    "classify": ("labels", "ClassifierPredictor"),
    "regress": ("labels", "RegressorPredictor"),
    "tag": ("labels", "TaggerPredictor"),
    "forecast": ("series", "ForecastPredictor"),
}


def open(  # noqa: A001 - the verb of the house
    model: Model, storage: str = "float32"
) -> Any:
    """Return what answers for `model`, the predictor of the task it was trained for; raises OptionError.

    `storage` is that of the weights, "float32" or "bf16".
    """
    module, name = _PREDICTORS[model.config.task]
    return getattr(import_module(f"elman.{module}.predictor"), name)(model, storage)
