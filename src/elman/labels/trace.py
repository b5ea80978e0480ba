"""The trace of a classifier, regressor or tagger: states and gates at every step of one sequence."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from elman.engine.passage import Layers
from elman.inspect.trace import StepPredictions, Trace, check_trace_size
from elman.labels.ablation import ablatable_sequence
from elman.labels.batches import EncodedSequences
from elman.labels.kinds import LABEL, TAG
from elman.labels.network import SequenceNetwork, probabilities

_MAX_PREFIXES = 128
"""Steps of a text for which each prefix is classified, which takes time that grows with their square."""


def record_trace(network: SequenceNetwork, sequence: ArrayLike, k: int) -> Trace:
    """Return the trace with the `k` most probable answers after each step.

    A tagger has its answer at each step. A classifier of a text of at most 128 steps has the answer that it
    would give if the text ended there. Raises InputError, DataError.
    """
    kind, codec, member = network.config.kind, network.codec, network.members[0]
    sequences = network.sequences([sequence])
    x = member.read(EncodedSequences.of(codec, sequences).batch([0]))
    layers = Layers(network.config, member.arrays, kernel=False)
    check_trace_size(layers, len(x))
    predictions: list[StepPredictions] = [()] * len(x)
    tokens = [f"step {step}" for step in range(len(x))]
    if sequences.kind != "numbers":
        ablatable = ablatable_sequence(network, sequence, None)
        tokens = ablatable.names if len(ablatable.names) == len(x) else tokens
        if kind is LABEL and len(tokens) <= _MAX_PREFIXES:
            # for each step, the inputs after it, which are left out
            later = [tuple(range(step + 1, len(tokens))) for step in range(len(tokens))]
            predictions = _best(ablatable.logits_without(later), codec.known_labels.names, k)
    if kind is TAG:
        (logits,) = network.step_logits(sequences)
        predictions = _best(logits, codec.known_labels.names, k)
    return Trace.of(kind.task, tokens, layers, [layers.read(x[:, None])], [0], predictions)


def _best(logits: np.ndarray, names: Sequence[str], k: int) -> list[StepPredictions]:
    """Return the `k` most probable labels of each row of ``logits [T, K]``."""
    predictions: list[StepPredictions] = []
    for shares in probabilities(logits):
        order = np.argsort(-shares, kind="stable")[:k].tolist()
        predictions.append(tuple((names[i], float(shares[i])) for i in order))
    return predictions
