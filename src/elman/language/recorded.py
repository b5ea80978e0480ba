"""A language model opened up: what it reads of a text, its layers to go back through, its head."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from elman.engine.passage import Layers, Passage
from elman.errors import InputError
from elman.language.network import Network
from elman.language.stream import Readable, token_numbers
from elman.text.vocabulary import TextCodec
from elman.text.words import plain_line_ends

__all__ = ["MOST", "Opened", "Read"]

MOST = 256
"""Tokens that are explained, the last ones; what stands before them is in the start state."""


class Read(NamedTuple):
    """A text as the network reads it: its last tokens, and the state before them."""

    tokens: tuple[str, ...]
    numbers: np.ndarray
    """int64 ``[N]``, at most `MOST`."""
    start: np.ndarray
    """``[S]``, a row as `Network` has it."""
    before: int
    """Tokens of the document that are in `start`."""
    ignored: bool = False
    """Whether documents before this one were left away."""
    spans: tuple[tuple[int, int], ...] = ()
    """Where the tokens stand in the text, as (begin, end) in characters; empty for numbers of tokens."""

    @classmethod
    def of(cls, predictor: Any, text: Readable) -> Read:
        """Return what a language model reads of `text`: its last document; raises InputError."""
        network: Network = predictor.network
        codec: TextCodec = network.model.codec
        numbers = token_numbers(codec, text)
        spans: list[tuple[int, int]] = []
        if isinstance(text, str):
            tokens, spans = codec.tokenise(plain_line_ends(text)), codec.spans(text)
        else:
            tokens = [codec.tokens[number] for number in numbers.tolist()]
        ends = np.flatnonzero(numbers == codec.end_id) if codec.end_id is not None else np.empty(0)
        # what stands before the last line's start is forgotten by design
        first = int(ends[-1]) + 1 if len(ends) else 0
        cut = max(first, len(numbers) - MOST)
        start = network.start
        for place in range(first, cut, MOST):
            _, rows = network.forward(numbers[place : min(cut, place + MOST), None], start[None])
            start = rows[0]
        shown = tuple(tokens[cut:]), numbers[cut:], start, cut - first, first > 1
        return cls(*shown, tuple(spans[cut:]))


class Opened:
    """The parts of a language model; a state is a row ``[S]`` as `Network` has it. `kernel`: see `Layers`."""

    def __init__(self, network: Network, dtype: Any = None, *, kernel: bool = True) -> None:
        model = network.model
        config, arrays = model.config, model.arrays
        if network.storage != "float32":
            what = "to look inside, the weights must be as trained"
            raise InputError(what, got=network.storage, remedy="load the model without storage")
        dtype = network.dtype if dtype is None else dtype
        self.layers = Layers(config, arrays, residual=config.residual, dtype=dtype, kernel=kernel)
        self.embedding: np.ndarray = arrays["embedding.weight"]
        self._weight: np.ndarray = arrays["embedding.weight" if config.tied else "head.weight"]
        self._bias: np.ndarray = arrays["head.bias"]

    def head(self, targets: Sequence[int] | slice) -> tuple[np.ndarray, np.ndarray]:
        """Return weights ``[K, H]`` and biases ``[K]``, float64, of the logits of some tokens."""
        which = targets if isinstance(targets, slice) else list(targets)
        return self._weight[which], self._bias[which].astype(np.float64)

    def passage(self, x: np.ndarray, states: np.ndarray) -> Passage:
        """Return the passage of ``x [T, B, E]`` from ``states [B, S]``; raises InputError."""
        H, count = self.layers.hidden_size, len(self.layers.cell.states)
        # behind the layers' states stands the last output, which no layer reads
        rows = states[:, :-H].reshape(len(states), -1, 1, count, H)
        return self.layers.read(x, [*rows.transpose(1, 2, 3, 0, 4)])
