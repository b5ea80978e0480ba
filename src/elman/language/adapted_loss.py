"""The loss of a language model that adapts to a text, and the choice of the adaptation's strengths."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TypedDict

import numpy as np

from elman.errors import InputError
from elman.language.adaptation import Adaptation
from elman.language.adapted_network import AdaptedNetwork
from elman.language.network import Network
from elman.language.tokens import Tokens

BLOCK_TOKENS = 4096
"""Tokens of a text that are read in one call."""
MAX_CHOICE_TOKENS = 10_000
"""Tokens of a validation text that strengths are chosen on."""
FACTORS = {
    "rate": (1.0, 0.0, 0.25, 0.5, 2.0, 4.0),
    "decay": (1.0, 0.0, 0.3, 3.0),
    "sharpness": (1.0, 0.5, 2.0),
    "cache_share": (1.0, 0.0, 0.5, 1.5, 2.5),
}
"""Factors of the default strengths that are tried on a validation text, in this order."""


def adapted_losses(network: Network, text: Tokens, settings: Adaptation) -> np.ndarray:
    """Return the mean loss (nats) of a text without and with the cache, ``[2]``.

    The documents are read one after the other in a single stream, which learns from all of them.
    """
    adapted, total, count = AdaptedNetwork(network, settings), np.zeros(2), 0
    for first, end in zip(text.starts, [*text.starts[1:], len(text.ids)], strict=True):
        state = adapted.start
        for begin in range(first, end, BLOCK_TOKENS):
            ids = text.ids[begin : min(end, begin + BLOCK_TOKENS)].astype(np.int64)
            scores, state = adapted.learn(ids, state)
            # Without `<end>`, the first token of a document is not predicted.
            counted = scores[:, int(begin == first and text.end_id is None) :]
            total -= counted.sum(axis=1, dtype=np.float64)
            count += counted.shape[1]
    return total / max(1, count)


class AdaptedFigures(TypedDict, total=False):
    """The losses that an evaluation reports; those of parts that are off are missing."""

    cache_loss: float
    weights_loss: float
    both_loss: float


def adapted_figures(network: Network, text: Tokens, settings: Adaptation) -> AdaptedFigures:
    """Return the mean losses (nats) of a text with each part of the adaptation, and with both."""
    figures = AdaptedFigures()
    if settings.cache_share:
        figures["cache_loss"] = float(adapted_losses(network, text, settings.only("cache"))[1])
    if settings.rate:
        learning, both = adapted_losses(network, text, settings)
        figures["weights_loss"] = float(learning)
        if settings.cache_share:
            figures["both_loss"] = float(both)
    return figures


def choose_strengths(network: Network, valid: Tokens, start: Adaptation) -> Adaptation:
    """Return the strengths that predict a validation text best, searched one after the other from `start`."""
    valid = valid.beginning(MAX_CHOICE_TOKENS)
    for name, factors in FACTORS.items():
        part = "weights" if name in ("rate", "decay") else "cache"
        # A part that is off stays off; a rate of 0 leaves no decay to choose.
        if not (start.rate if part == "weights" else start.cache_share):
            continue
        highest = 0.99 if name in ("decay", "cache_share") else math.inf
        values = [min(getattr(start, name) * factor, highest) for factor in factors]
        candidates = [replace(start, **{name: value}) for value in values]
        losses = [_loss_or_infinity(network, valid, c.only(part)) for c in candidates]
        start = candidates[int(np.argmin(losses))]
    return start


def _loss_or_infinity(network: Network, text: Tokens, settings: Adaptation) -> float:
    """Return the loss with both parts, or infinity where the network has diverged."""
    try:
        loss = float(adapted_losses(network, text, settings)[1])
    except InputError:
        return math.inf
    return loss if math.isfinite(loss) else math.inf
