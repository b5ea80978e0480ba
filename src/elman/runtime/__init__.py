"""What a trained model answers, without torch: streams and, on them, each task's questions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

from elman.model import Model
from elman.runtime.forecast import Forecast, ForecastPredictor, SeriesStream
from elman.runtime.labelled import ClassifierPredictor, RegressorPredictor, TaggerPredictor
from elman.runtime.language import Evaluation, LanguagePredictor, ngram_part, ngram_verdict
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
    "Predictor",
    "RegressorPredictor",
    "Score",
    "SeriesStream",
    "Stream",
    "StreamPool",
    "TaggerPredictor",
    "layer_sequence",
    "ngram_part",
    "ngram_verdict",
    "open",
]

Predictor: TypeAlias = (
    LanguagePredictor
    | ClassifierPredictor
    | RegressorPredictor
    | TaggerPredictor
    | ForecastPredictor
)

_PREDICTORS: dict[str, Callable[[Model, str], Predictor]] = {
    "language": LanguagePredictor,
    "classify": ClassifierPredictor,
    "regress": RegressorPredictor,
    "tag": TaggerPredictor,
    "forecast": ForecastPredictor,
}


def open(  # noqa: A001 - the verb of the house
    model: Model, storage: str = "float32"
) -> Any:
    """Return what answers for `model`, a `Predictor` of the task it was trained for; raises OptionError.

    `storage` is that of the weights, "float32" or "bf16".
    """
    return _PREDICTORS[model.config.task](model, storage)
