"""The torch wing: from data and options to a `Model`."""

from __future__ import annotations

from elman.training.baselines import compare
from elman.training.forecast import train_forecaster
from elman.training.labelled import Labelled, train_labelled
from elman.training.language import train_language
from elman.training.run import Outcome

__all__ = ["Labelled", "Outcome", "compare", "train_forecaster", "train_labelled", "train_language"]
