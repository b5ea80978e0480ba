"""The options of every task, declared once: command, estimators and runs are made from them."""

from __future__ import annotations

from elman.options._declare import Options, members_of, seconds
from elman.options.forecast import ForecasterOptions
from elman.options.labelled import (
    ClassifierOptions,
    LabelledOptions,
    RegressorOptions,
    TaggerOptions,
)
from elman.options.language import DEFAULT_TIME, LanguageOptions
from elman.options.recurrent import RecurrentOptions

__all__ = [
    "DEFAULT_TIME",
    "ClassifierOptions",
    "ForecasterOptions",
    "LabelledOptions",
    "LanguageOptions",
    "Options",
    "RecurrentOptions",
    "RegressorOptions",
    "TaggerOptions",
    "members_of",
    "seconds",
]
