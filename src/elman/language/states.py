"""The states of a language model over a long text.

A text is read in several lanes side by side. Each lane first reads the tokens before its own ones, so that
its state has settled when it starts to count. Where each line is a document, every line starts from zeros,
as in training.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from elman.engine.passage import Layers
from elman.errors import InputError
from elman.files.model import Model
from elman.inspect.states import (
    RecordedStates,
    check_step_count,
    end_of_text,
    mark_tokens,
    max_recorded_steps,
    spaced_tokens,
    units_of,
)
from elman.language.batches import evaluation_chunks
from elman.language.tokens import Tokens
from elman.text.words import LINE_END, UNKNOWN_ID

LANES = 16
"""Parts of a text that are read side by side, at most."""
LINES_AT_ONCE = 32
WARM_UP_TOKENS = 400
"""Tokens that a lane reads before its own ones; a text of fewer than 4 times as many is read in one lane."""
_CHUNK_STEPS = 64


def record_states(model: Model, text: str | None, steps: int) -> RecordedStates:
    """Return the states after each of the last `steps` tokens; raises InputError, DataError."""
    if not isinstance(text, str):
        got = "nothing" if text is None else type(text).__name__
        raise InputError("the text to find units on", got=got, expected="a text")
    codec, config = model.codec, model.config
    layers = Layers(config, model.arrays, residual=config.residual, kernel=False)
    units = units_of(layers.layers, layers.cell.states)
    # A network of many units is recorded for fewer steps, so that the states fit into memory.
    steps = max_recorded_steps(units, steps)
    text = end_of_text(text, steps)
    tokens, ids = codec.tokenise(text)[-steps:], codec.encode(text)[-steps:]
    # A line is read from the <end> before it; the cut text may have lost that of its first line.
    if codec.end_id is not None and len(ids) and ids[0] != codec.end_id:
        tokens, ids = [LINE_END, *tokens], np.concatenate([[codec.end_id], ids])
    check_step_count(len(ids))
    states = np.empty((len(units), len(ids)), np.float32)
    for indices, block in _read(layers, model.arrays["embedding.weight"], ids, codec.end_id):
        states[:, indices] = block
    displayed = spaced_tokens(codec, tokens)
    marks = mark_tokens(displayed, words=codec.level == "word")
    return RecordedStates(displayed, ids, marks, units, states)


def _read(
    layers: Layers, embedding: np.ndarray, ids: np.ndarray, end_id: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield indices ``[K]`` of tokens and the states ``[U, K]`` after them, until all are read.

    With `end_id`, it is also the first of ``ids [N]``.
    """
    # A chunk pairs each token with the next one, so one more token follows the last one.
    if end_id is None:
        text, first = Tokens(np.append(ids, UNKNOWN_ID), np.zeros(1, np.int64)), 1
        lanes, warm_up = max(1, min(LANES, len(ids) // (4 * WARM_UP_TOKENS))), WARM_UP_TOKENS
    else:
        # The chunks read <end> before every line by themselves.
        text, first = Tokens(np.append(ids[1:], end_id), np.flatnonzero(ids == end_id), end_id), 0
        lanes, warm_up = LINES_AT_ONCE, len(ids)  # so long that no line is cut into parts
    carried: list[np.ndarray] | None = None
    for chunk in evaluation_chunks(
        text, lanes=lanes, warm_up=warm_up, sequence_length=_CHUNK_STEPS
    ):
        # All lanes of a group start together, so the first chunk of a group needs no carried state.
        passage = layers.read(embedding[chunk.inputs], None if chunk.fresh.all() else carried)
        carried = passage.end
        shape = (-1, *chunk.inputs.shape)
        # The states [1, S, T, B, H] of each layer as [S·H, T, B], one layer after the other.
        states = [layer[0].transpose(0, 3, 1, 2).reshape(shape) for layer in passage.states]
        yield chunk.indices[chunk.is_target] - first, np.concatenate(states)[:, chunk.is_target]
