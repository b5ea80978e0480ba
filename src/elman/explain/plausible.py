"""Draws of plausible inputs: tokens as frequent as in training, numbers as spread as in training.

The model file alone determines the draws: a vocabulary is ordered by falling frequency, from which Zipf's law
gives the frequencies, and a scaler holds mean and deviation of each channel.
"""

from __future__ import annotations

import numpy as np

from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec

__all__ = ["numbers", "strata", "tokens"]

_SHIFT = 2.7  # of Zipf's law, by B. Mandelbrot (1953), for the commonest words


def strata(count: int, parts: int, draw: np.random.Generator) -> np.ndarray:
    """Return shares ``[count, parts]`` from 0 to 1, for each part one from each of `count` equal strata."""
    order = draw.permuted(np.tile(np.arange(count)[:, None], (1, parts)), axis=0)
    return np.asarray((order + draw.random((count, parts))) / count)


def tokens(codec: TextCodec, count: int, parts: int, draw: np.random.Generator) -> np.ndarray:
    """Return `count` plausible tokens for each of `parts` places, as text ``[count, parts]``.

    Their frequencies follow Zipf's law by their place in the vocabulary; `<unk>` and `<end>` are not drawn.
    """
    first = 1 if codec.end_id is None else 2
    known = np.array([*codec.tokens[first:]] or [codec.tokens[0]], object)
    shares = np.cumsum(1 / (np.arange(len(known)) + 1 + _SHIFT))
    places = np.searchsorted(shares, strata(count, parts, draw) * shares[-1], side="right")
    return np.asarray(known[np.minimum(places, len(known) - 1)])


def numbers(scaler: Scaler, count: int, steps: int, draw: np.random.Generator) -> np.ndarray:
    """Return normal numbers ``[count, steps, C]`` with the mean and deviation of training."""
    drawn = draw.standard_normal((count, steps, len(scaler.mean)))
    return np.asarray(drawn * scaler.scale + scaler.mean)
