"""scikit-learn faces of the line from data to answers; no maths."""

from __future__ import annotations

from elman.estimators._base import training
from elman.estimators.forecaster import Forecaster
from elman.estimators.labelled import SequenceClassifier, SequenceRegressor, SequenceTagger
from elman.estimators.language import LanguageModel, sample

__all__ = [
    "Forecaster",
    "LanguageModel",
    "SequenceClassifier",
    "SequenceRegressor",
    "SequenceTagger",
    "sample",
    "training",
]
