"""The text that an explanation of a language model is about: its last tokens and the state before them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from elman.engine.passage import Passage
from elman.language.network import Network
from elman.language.readable import Readable, token_numbers
from elman.text.vocabulary import TextCodec

MAX_EXPLAINED_TOKENS = 256
"""Only this many last tokens of a text are explained; the tokens before them are part of the start state."""


class Context(NamedTuple):
    """The tokens before a prediction: the last ones of a text, and the state in which they are read."""

    network: Network
    tokens: tuple[str, ...]
    numbers: np.ndarray
    """int64 ``[N]``: the tokens' numbers in the vocabulary, at most `MAX_EXPLAINED_TOKENS`."""
    start: np.ndarray
    """``[S]``: the state before the first token, a row as in `Network`."""
    before: int
    """Number of the document's earlier tokens, which the network has read into `start`."""
    ignored: bool = False
    """Whether the text has earlier documents, which the network does not remember."""
    spans: tuple[tuple[int, int], ...] = ()
    """Begin and end of each token in the text, in characters; empty for a text given as token numbers."""

    @classmethod
    def of(cls, network: Network, text: Readable) -> Context:
        """Return the context that the last document of `text` makes; raises InputError."""
        codec: TextCodec = network.model.codec
        numbers = token_numbers(codec, text)
        spans: list[tuple[int, int]] = []
        tokens = [codec.tokens[number] for number in numbers.tolist()]
        if isinstance(text, str):
            located = codec.tokens_with_spans(text)
            tokens = [token for token, _, _ in located]
            spans = [(begin, end) for _, begin, end in located]
        # Where documents are lines, the network forgets the lines before the last one.
        first = codec.document_start(numbers)
        cut = max(first, len(numbers) - MAX_EXPLAINED_TOKENS)
        start = network.read(numbers[first:cut], network.start)
        return cls(
            network=network,
            tokens=tuple(tokens[cut:]),
            numbers=numbers[cut:],
            start=start,
            before=cut - first,
            ignored=first > 1,
            spans=tuple(spans[cut:]),
        )

    def output(self) -> np.ndarray:
        """Return the output ``[H]`` after the text."""
        return self.network.output(self.network.read(self.numbers, self.start))

    def passage(self, dtype: npt.DTypeLike) -> Passage:
        """Return the recorded pass over the text, which has at least one token; raises InputError."""
        x = self.network.embedding[self.numbers, None]
        layers = self.network.recording_layers(dtype)
        return layers.read(x, self.network.layer_states(self.start[None]))
