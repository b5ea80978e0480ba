"""Strengths of the adaptation of a language model to the text that a stream reads."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias, get_args

from elman.errors import OptionError
from elman.training.options import Options, answering

Adapt: TypeAlias = Literal["cache", "weights", "both"]
"""The parts of the model that adapt to the text."""

CHOICES = get_args(Adapt)


@dataclass(frozen=True, kw_only=True)
class Adaptation(Options):
    """Strengths of the adaptation; a strength of 0 switches its part off.

    Raises OptionError for a value that an option cannot take.

    >>> Adaptation(rate=-1.0)
    Traceback (most recent call last):
    elman.errors.OptionError: rate: got -1.0; expected a number from 0.0
    """

    rate: float = answering(0.0, "change of a weight in a typical gradient step", low=0.0)
    decay: float = answering(
        0.0, "share of its change that a typical weight loses in each step", low=0.0, high=1.0
    )
    segment: int = answering(20, "tokens between two gradient steps", low=1, high=10_000)
    cache_share: float = answering(0.0, "share of the cache in the prediction", low=0.0, high=0.99)
    cache_size: int = answering(2000, "tokens in the cache", low=1, high=10**6)
    sharpness: float = answering(
        0.6,
        "factor of the similarity of two outputs before the cache's softmax",
        low=0.0,
        high=1e6,  # larger products could overflow float32
    )

    def only(self, adapt: str) -> Adaptation:
        """Return the strengths for "cache" or "weights" alone, or for "both"."""
        if adapt == "cache":
            return replace(self, rate=0.0, decay=0.0)
        return replace(self, cache_share=0.0) if adapt == "weights" else self


DEFAULTS = {
    "char": Adaptation(rate=5e-4, decay=1e-3),
    "word": Adaptation(rate=1e-3, decay=1e-3, cache_share=0.15, sharpness=0.6),
}
"""Strengths for characters and words, measured on several texts (docs/recipes.md)."""


def adaptation_of(adapt: Adapt | Adaptation, level: str) -> Adaptation:
    """Return strengths as they are, and for one of `CHOICES` the defaults.

    Raises OptionError for anything else, and for "cache" on a model of characters: its default has no cache,
    because a cache improved no text that was measured (docs/recipes.md).
    """
    if isinstance(adapt, Adaptation):
        return adapt
    if adapt not in CHOICES:
        expected = f"{', '.join(CHOICES)} or an Adaptation"
        raise OptionError("adapt", got=adapt, expected=expected)
    settings = DEFAULTS[level].only(adapt)
    if not settings.rate and not settings.cache_share:
        expected = f'"weights" or "both": the default of level {level} has no {adapt}'
        remedy = "or pass an Adaptation with a cache_share"
        raise OptionError("adapt", got=adapt, expected=expected, remedy=remedy)
    return settings
