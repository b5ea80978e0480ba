"""What a trained model answers, without torch: streams and, on them, each task's questions.

What a task needs is imported when a model of it is opened, so that a word's prediction waits for no calendar.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from elman.model import Model

if TYPE_CHECKING:
    from elman.runtime.forecast import Forecast
    from elman.runtime.forecaster import ForecastPredictor, SeriesStream
    from elman.runtime.labelled import ClassifierPredictor, RegressorPredictor, TaggerPredictor
    from elman.runtime.language import (
        Evaluation,
        LanguagePredictor,
        ngram_outcome,
        ngram_part,
        ngram_verdict,
    )
    from elman.runtime.network import Network
    from elman.runtime.pool import StreamPool
    from elman.runtime.sequence import layer_sequence
    from elman.runtime.stream import Score, Stream

__all__ = [
    "ClassifierPredictor",
    "Evaluation",
    "Forecast",
    "ForecastPredictor",
    "LanguagePredictor",
    "Network",
    "RegressorPredictor",
    "Score",
    "SeriesStream",
    "Stream",
    "StreamPool",
    "TaggerPredictor",
    "layer_sequence",
    "ngram_outcome",
    "ngram_part",
    "ngram_verdict",
    "open",
]

_HOMES = {
    "ClassifierPredictor": "labelled",
    "Evaluation": "language",
    "Forecast": "forecast",
    "ForecastPredictor": "forecaster",
    "LanguagePredictor": "language",
    "Network": "network",
    "RegressorPredictor": "labelled",
    "Score": "stream",
    "SeriesStream": "forecaster",
    "Stream": "stream",
    "StreamPool": "pool",
    "TaggerPredictor": "labelled",
    "layer_sequence": "sequence",
    "ngram_outcome": "language",
    "ngram_part": "language",
    "ngram_verdict": "language",
}

_PREDICTORS = {
    "language": "LanguagePredictor",
    "classify": "ClassifierPredictor",
    "regress": "RegressorPredictor",
    "tag": "TaggerPredictor",
    "forecast": "ForecastPredictor",
}


def open(  # noqa: A001 - the verb of the house
    model: Model, storage: str = "float32"
) -> Any:
    """Return what answers for `model`, the predictor of the task it was trained for; raises OptionError.

    `storage` is that of the weights, "float32" or "bf16".
    """
    return __getattr__(_PREDICTORS[model.config.task])(model, storage)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'elman.runtime' has no attribute {name!r}")
    return getattr(import_module(f"elman.runtime.{_HOMES[name]}"), name)
