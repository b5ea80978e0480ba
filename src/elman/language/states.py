"""The states of a language model over a long text.

A text is read in several lanes side by side. Each lane first reads the tokens before its own ones, so that
its state has settled when it starts to count. Where each line is a document, every line starts from zeros,
as in training.
"""

from __future__ import annotations

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from elman.engine.passage import Layers
from elman.errors import InputError
from elman.files.model import Model
from elman.inspect.states import (
    RecordedStates,
    Unit,
    check_step_count,
    end_of_text,
    mark_tokens,
    max_recorded_steps,
    spaced_tokens,
)
from elman.text.words import LINE_END

LANES = 16
"""Parts of a text that are read side by side, at most."""
WARM_UP_TOKENS = 400
"""Tokens that a lane reads before its own ones."""
_CHUNK_STEPS = 64  # that are read at once
_LINES_AT_ONCE = 32


class _Lane(NamedTuple):
    """A run of tokens that is read from a state of zeros."""

    first: int
    counted: int
    """The first token after which the states are kept."""
    end: int


def record_states(model: Model, text: str | None, steps: int) -> RecordedStates:
    """Return the states after each of the last `steps` tokens; raises InputError, DataError."""
    if not isinstance(text, str):
        got = "nothing" if text is None else type(text).__name__
        raise InputError("the text to find units on", got=got, expected="a text")
    codec, config = model.codec, model.config
    layers = Layers(config, model.arrays, residual=config.residual, kernel=False)
    units = tuple(
        Unit(layer, state, number)
        for layer in range(config.num_layers)
        for state in layers.cell.states
        for number in range(config.hidden_size)
    )
    steps = max_recorded_steps(units, steps)
    text = end_of_text(text, steps)
    tokens, ids = codec.tokenise(text)[-steps:], codec.encode(text)[-steps:]
    if codec.end_id is not None and len(ids) and ids[0] != codec.end_id:
        tokens, ids = [LINE_END, *tokens], np.concatenate([[codec.end_id], ids])
    check_step_count(len(ids))
    states = np.empty((len(units), len(ids)), np.float32)
    embedding = model.arrays["embedding.weight"]
    lanes = _lanes(ids, codec.end_id)
    for first in range(0, len(lanes), _LINES_AT_ONCE):
        _read(layers, embedding, ids, lanes[first : first + _LINES_AT_ONCE], states)
    shown = spaced_tokens(codec, tokens)
    marks = mark_tokens(shown, words=codec.level == "word")
    return RecordedStates(shown, ids, marks, units, states)


def _lanes(ids: np.ndarray, end_id: int | None) -> list[_Lane]:
    """Return the lines where lines are documents, by length; else parts of one text with their warm-up."""
    if end_id is not None:
        ends = [*np.flatnonzero(ids == end_id).tolist(), len(ids)]
        lines = [_Lane(first, first, end) for first, end in pairwise(ends)]
        return sorted(lines, key=lambda line: line.end - line.first)
    count = max(1, min(LANES, len(ids) // (4 * WARM_UP_TOKENS)))
    edges = [len(ids) * lane // count for lane in range(count + 1)]
    return [_Lane(max(0, first - WARM_UP_TOKENS), first, end) for first, end in pairwise(edges)]


def _read(
    layers: Layers, embedding: np.ndarray, ids: np.ndarray, lanes: list[_Lane], states: np.ndarray
) -> None:
    """Read lanes side by side and write their states into ``states [U, N]``."""
    longest, carried = max(lane.end - lane.first for lane in lanes), None
    for begin in range(0, longest, _CHUNK_STEPS):
        size = min(_CHUNK_STEPS, longest - begin)
        # a lane that has ended reads token 0; the states of that are not kept
        inputs = np.zeros((size, len(lanes)), np.int64)
        for column, lane in enumerate(lanes):
            tokens = ids[lane.first + begin : min(lane.end, lane.first + begin + size)]
            inputs[: len(tokens), column] = tokens
        passage = layers.read(embedding[inputs], carried)
        carried = passage.end
        block = np.concatenate(
            [layer[0].transpose(0, 3, 1, 2).reshape(-1, *inputs.shape) for layer in passage.states]
        )
        for column, lane in enumerate(lanes):
            offset = lane.first + begin
            low, high = max(lane.counted, offset), min(lane.end, offset + size)
            if low < high:
                states[:, low:high] = block[:, low - offset : high - offset, column]
