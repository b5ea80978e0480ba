"""What a trained model answers, without torch: streams and, on them, each task's questions."""

from __future__ import annotations

from collections.abc import Callable

from elman.model import Model
from elman.runtime.language import Evaluation, LanguagePredictor, ngram_part, ngram_verdict
from elman.runtime.network import Network
from elman.runtime.pool import StreamPool
from elman.runtime.sequence import layer_sequence
from elman.runtime.stream import Score, Stream

__all__ = [
    "Evaluation",
    "LanguagePredictor",
    "Network",
    "Score",
    "Stream",
    "StreamPool",
    "layer_sequence",
    "ngram_part",
    "ngram_verdict",
    "open",
]

_PREDICTORS: dict[str, Callable[[Model, str], LanguagePredictor]] = {"language": LanguagePredictor}


def open(  # noqa: A001 - the verb of the house
    model: Model, storage: str = "float32"
) -> LanguagePredictor:
    """Return what answers for `model`, by the task it was trained for; raises OptionError.

    `storage` is that of the weights, "float32" or "bf16".
    """
    return _PREDICTORS[model.config.task](model, storage)
