"""The states of a classifier, regressor or tagger over many texts: the outputs of its layers."""

from __future__ import annotations

import numpy as np

from elman.errors import InputError
from elman.inspect.states import (
    RecordedStates,
    check_step_count,
    end_of_text,
    layer_outputs,
    mark_tokens,
    max_recorded_steps,
    spaced_tokens,
    units_of,
)
from elman.labels.batches import EncodedSequences, length_buckets
from elman.labels.dataset import SequenceSource
from elman.labels.network import SequenceNetwork
from elman.text.words import LINE_END

_TEXTS_AT_ONCE = 32


def record_states(
    network: SequenceNetwork, source: SequenceSource | None, steps: int
) -> RecordedStates:
    """Return the states of the first member after the last `steps` tokens; raises InputError, DataError."""
    codec = network.codec
    if codec.tokens is None:
        expected = "a model that reads text, or a forecaster"
        raise InputError("units of a model that reads sequences of numbers", expected=expected)
    if source is None:
        expected = "a list of texts, or one text on each line"
        raise InputError("the text to find units on", got="nothing", expected=expected)
    member = network.members[0]
    units = units_of(member.layers)
    steps = max_recorded_steps(units, steps)
    if isinstance(source, str):
        source = [line for line in end_of_text(source, steps).split(LINE_END) if line.strip()]
    texts = network.sequences(source or [""])
    encoded = EncodedSequences.of(codec, texts)
    lengths = encoded.lengths
    # the last texts that together have at most so many steps
    kept = np.flatnonzero(np.cumsum(lengths[::-1])[::-1] <= steps)
    total = int(lengths[kept].sum())
    check_step_count(total)
    # [units, steps], in the order of the texts
    states = np.empty((len(units), total), np.float32)
    starts = (np.cumsum(lengths[kept]) - lengths[kept]).tolist()
    start_of = dict(zip(kept.tolist(), starts, strict=True))
    for rows in (kept[bucket] for bucket in length_buckets(lengths[kept], _TEXTS_AT_ONCE)):
        # texts of similar length run together
        batch = encoded.batch(rows)
        outputs = layer_outputs(member.layers, member.read(batch), batch.steps.sizes)
        for row, values in zip(rows.tolist(), batch.steps.unpack(outputs), strict=True):
            states[:, start_of[row] : start_of[row] + len(values)] = values.T
    tokens: list[str] = []
    for item in (texts.items[row] for row in kept):
        words = codec.tokens.tokenise(item) if texts.kind == "text" else [*item]
        first, *rest = spaced_tokens(codec.tokens, words or [" "])
        tokens += [LINE_END + first, *rest]
    ids = np.concatenate([encoded.sequences[row] for row in kept])
    marks = mark_tokens(tokens, words=codec.tokens.level == "word")
    return RecordedStates(tuple(tokens), ids, marks, units, states)
