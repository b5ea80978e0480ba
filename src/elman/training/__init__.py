"""The torch wing: from a corpus to a model."""

from __future__ import annotations

from elman.training.language import Outcome, train_language

__all__ = ["Outcome", "train_language"]
