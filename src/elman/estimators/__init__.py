"""scikit-learn faces of the line from data to answers; no maths."""

from __future__ import annotations

from elman.estimators.language import LanguageModel

__all__ = ["LanguageModel"]
