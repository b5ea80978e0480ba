"""The memory of a language model: contexts cut to their last tokens, and the gradient at each lag."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

from elman.errors import InputError
from elman.inspect.memory import Cuts, spread_evenly, total_variation
from elman.language.network import Network
from elman.language.readable import Readable, token_numbers
from elman.language.stream import Stream
from elman.text.words import UNKNOWN_ID

GENERATED_TOKENS = 1000
"""Length of the text that the model writes itself where it is given none."""
_MAX_GATE_NUMBERS = 1 << 24
"""Numbers of all gates that one backward pass keeps: it bounds how many contexts go through it together."""


def memory_cuts(network: Network, text: Readable | None, far: int) -> Cuts:
    """Return contexts within a text, or within one that the model writes; raises InputError."""
    source = "the text that was given"
    if text is None:
        text = Stream(network).generate(GENERATED_TOKENS, seed=0)
        source = f"{GENERATED_TOKENS:,} tokens that the model wrote itself"
    codec = network.model.codec
    contexts = _contexts(token_numbers(codec, text), codec.end_id, far)
    # The full contexts are read once; every cut of them is compared with these predictions.
    uncut = _predictions(network, contexts)

    def moved(lag: int, rows: list[int]) -> np.ndarray:
        cut = _predictions(network, [contexts[row][-lag:] for row in rows])
        return total_variation(np.stack(cut), np.stack([uncut[row] for row in rows]))

    def gradient(lags: Sequence[int]) -> np.ndarray:
        return _gradients(network, contexts, lags)

    return Cuts("token", "prediction", source, [*map(len, contexts)], moved, gradient)


def _contexts(numbers: np.ndarray, end_id: int | None, far: int) -> list[np.ndarray]:
    """Return the tokens before each measured position, within its line, at most twice `far` of them.

    The positions are spread evenly over those with the longest contexts: more than `far` tokens, or where too
    few positions have as many, at least the median length.
    """
    positions = np.arange(1, len(numbers) + 1)
    ends = np.zeros(len(numbers), bool) if end_id is None else numbers == end_id
    # maximum.accumulate carries the position of the last line end to all positions after it.
    lengths = positions - np.maximum.accumulate(np.where(ends, positions, 0))
    positions, lengths = positions[lengths > 0], lengths[lengths > 0]
    if not len(positions):
        return []
    # A context must be longer than `far`, so that a cut to `far` tokens takes something away.
    long = np.flatnonzero(lengths >= min(far + 1, np.median(lengths)))
    chosen = long[spread_evenly(len(long))]
    return [
        numbers[position - min(length, 2 * far) : position]
        for position, length in zip(
            positions[chosen].tolist(), lengths[chosen].tolist(), strict=True
        )
    ]


def _groups(contexts: list[np.ndarray]) -> list[tuple[list[int], np.ndarray]]:
    """Return contexts of the same length as batches: their rows, and their tokens ``[T, B]``."""
    rows_by_length: dict[int, list[int]] = {}
    for row, context in enumerate(contexts):
        rows_by_length.setdefault(len(context), []).append(row)
    groups = rows_by_length.values()
    return [(rows, np.stack([contexts[row] for row in rows], axis=1)) for rows in groups]


def _predictions(network: Network, contexts: list[np.ndarray]) -> list[np.ndarray]:
    """Return the probabilities ``[V]`` after each context, read from the start state."""
    outputs = np.empty((len(contexts), network.hidden_size), network.dtype)
    for rows, tokens in _groups(contexts):
        y, _ = network.forward(tokens, np.repeat(network.start[None], len(rows), axis=0))
        outputs[rows] = y[-1]
    # row by row, as a vocabulary may be large
    return [np.exp(network.log_probabilities(row).astype(np.float64)) for row in outputs]


def _gradients(network: Network, contexts: list[np.ndarray], lags: Sequence[int]) -> np.ndarray:
    """Return the median norm ``[K]`` of the gradient at each lag; raises InputError where it overflows."""
    config = network.model.config
    norms_at: list[list[np.ndarray]] = [[] for _ in lags]
    for rows, tokens in _groups(contexts):
        depth = min(len(tokens), lags[-1])
        numbers = depth * config.num_layers * network.cell.G * config.hidden_size
        # number of contexts that go through one backward pass together
        size = max(1, _MAX_GATE_NUMBERS // numbers)
        for first in range(0, len(rows), size):
            batch = tokens[:, first : first + size]
            norms = _norms(network, batch, depth, network.dtype)
            if not np.isfinite(norms).all():
                # an exploding gradient overflows float32 long before float64
                norms = _norms(network, batch, depth, np.float64)
            if not np.isfinite(norms).all():
                what = "the gradient of this network leaves the range of numbers"
                raise InputError(what, remedy="measure on a shorter text")
            for position, lag in enumerate(lags):
                # norms[-1] belongs to the last token, at lag 1. A short context has no token at a large
                # lag.
                if lag <= len(norms):
                    norms_at[position].append(norms[-lag])
    return np.array([np.median(np.concatenate(norms)) for norms in norms_at])


def _norms(network: Network, tokens: np.ndarray, depth: int, dtype: DTypeLike) -> np.ndarray:
    """Return the norm of the gradient at each of the last `depth` of ``tokens [T, B]``, as ``[depth, B]``.

    It is NaN where a state overflows.
    """
    layers, head = network.recording_layers(dtype), network.head_weight.astype(np.float64)
    states = np.repeat(network.start[None], tokens.shape[1], axis=0)
    # No gradient is needed before the last `depth` tokens, so these are read without a record.
    before, tokens = tokens[:-depth], tokens[-depth:]
    if len(before):
        _, states = network.forward(before, states)
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            passage = layers.read(network.embedding[tokens], network.layer_states(states))
        except InputError:
            return np.full(tokens.shape, np.nan)
        logs = network.log_probabilities(passage.y[-1])
        offered = logs.copy()
        offered[:, UNKNOWN_ID] = -np.inf  # <unk> is never offered as a prediction
        dy = np.zeros_like(passage.y)
        # the gradient of a log softmax is the token's row of the head minus the mean row by probability
        dy[-1] = head[offered.argmax(axis=1)] - np.exp(logs.astype(np.float64)) @ head
        norms: np.ndarray = np.linalg.norm(passage.back(dy).dx.astype(np.float64), axis=2)
    return norms
