"""Random inputs that are plausible for a model: tokens and numbers distributed as in training.

The model file has all that this needs: its vocabulary is ordered by falling frequency, so that Zipf's law
gives the frequencies, and its scaler has the mean and standard deviation of each channel.
"""

from __future__ import annotations

import numpy as np

from elman.tables.scaler import Scaler
from elman.text.vocabulary import TextCodec

_SHIFT = 2.7  # added to the ranks in Zipf's law, by B. Mandelbrot (1953); it matters for the commonest words


def strata(count: int, columns: int, draw: np.random.Generator) -> np.ndarray:
    """Return uniform numbers ``[count, columns]``, in each column one from each `count`-th of 0 to 1."""
    # Each column has one number from each stratum, in an order of its own.
    order = draw.permuted(np.tile(np.arange(count)[:, None], (1, columns)), axis=0)
    return np.asarray((order + draw.random((count, columns))) / count)


def tokens(codec: TextCodec, count: int, columns: int, draw: np.random.Generator) -> np.ndarray:
    """Return random tokens ``[count, columns]`` as text.

    Their frequencies follow Zipf's law by their rank in the vocabulary; `<unk>` and `<end>` are not drawn.
    """
    # <unk> has number 0, and <end>, where there is one, number 1.
    first = 1 if codec.end_id is None else 2
    known = np.array([*codec.tokens[first:]] or [codec.tokens[0]], object)
    # [V]: sums of the frequencies up to each rank, not yet divided by their total
    cumulative = np.cumsum(1 / (np.arange(len(known)) + 1 + _SHIFT))
    ranks = np.searchsorted(cumulative, strata(count, columns, draw) * cumulative[-1], side="right")
    return np.asarray(known[np.minimum(ranks, len(known) - 1)])


def numbers(scaler: Scaler, count: int, steps: int, draw: np.random.Generator) -> np.ndarray:
    """Return normal random numbers ``[count, steps, C]`` with the means and deviations of training."""
    # [count, steps, C]
    drawn = draw.standard_normal((count, steps, len(scaler.mean)))
    return np.asarray(drawn * scaler.scale + scaler.mean)
