"""The trace of a language model: states, gates and predictions at every token of a text."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from elman.inspect.trace import Trace, check_trace_size
from elman.language.network import STEPS_PER_CALL, Network
from elman.language.readable import Readable, token_numbers
from elman.language.sampling import ranked
from elman.text.words import plain_line_ends


def record_trace(network: Network, text: Readable, k: int) -> Trace:
    """Return the trace with the `k` most probable tokens after each token; raises InputError."""
    codec = network.model.codec
    numbers = token_numbers(codec, text)
    if isinstance(text, str):
        tokens = codec.tokenise(plain_line_ends(text))
    else:
        tokens = [codec.tokens[number] for number in numbers.tolist()]
    layers = network.recording_layers(kernel=False)
    check_trace_size(layers, len(numbers))
    ends = [] if codec.end_id is None else np.flatnonzero(numbers == codec.end_id).tolist()
    passages, begins = [], []
    for first, end in pairwise([*dict.fromkeys([0, *ends]), len(numbers)]):
        # The first tokens follow the start state. Every line starts from zeros and reads a line end first.
        fresh = first > 0 or first in ends[:1]
        row = np.zeros_like(network.start) if fresh else network.start
        if first < end:
            x = network.embedding[numbers[first:end], None]
            passages.append(layers.read(x, network.layer_states(row[None])))
            begins.append(first)
    # in blocks, so that the logits of all steps are never in memory together
    blocks = [
        passage.y[at : at + STEPS_PER_CALL, 0]
        for passage in passages
        for at in range(0, len(passage.y), STEPS_PER_CALL)
    ]
    predictions = [
        tuple(ranked(codec, row, k)) for y in blocks for row in network.log_probabilities(y)
    ]
    return Trace.of("language", tokens, layers, passages, begins, predictions)
