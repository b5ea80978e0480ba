"""The network of a language model in training, as a torch module: embedding, recurrent layers and head.

Its parameters have the names of `NetworkConfig.parameters()`, under which the model file stores them.
"""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from elman import nn
from elman.cells import find
from elman.language.config import NetworkConfig
from elman.language.predictor import LanguagePredictor
from elman.nn.sampled_softmax import sampled_cross_entropy
from elman.training.cooccurrence import cooccurrence_embeddings
from elman.training.objective import LayerState, Trainable
from elman.training.random import Drawing, Dropout
from elman.training.recurrent_layers import initialise, recurrent

MEASURED_LOGITS = 1 << 24
"""The largest number of logits that are held at once in evaluation."""
MIN_COOCCURRENCE_VOCABULARY = 1000
"""Smallest vocabulary whose embeddings start from co-occurrences; others start at random."""


class Network(Trainable, Drawing):
    """A module that reads token ids ``[T, B]`` from a state and returns the head's inputs and the new state.

    Args:
        config: The sizes of the network.
        dropout: The share of numbers that dropout sets to zero in training.
        sampled_softmax: The number of common tokens, and of drawn tokens, in the sampled softmax; 0 uses
            the whole vocabulary.
        precision: The precision of the recurrent layers.
    """

    def __init__(
        self,
        config: NetworkConfig,
        dropout: float = 0.0,
        sampled_softmax: int = 0,
        precision: str = "float32",
    ) -> None:
        super().__init__()
        self.config = config
        # the whole vocabulary if the sampled tokens would be as many
        self.sampled = sampled_softmax if 2 * sampled_softmax < config.vocabulary_size else 0
        self.precision = precision
        self.cell = find(config.cell, config.activation)
        self.embedding = torch.nn.Embedding(config.vocabulary_size, config.embedding_size)
        # Only the first layer reads embeddings; each other one reads the layer below.
        sizes = [config.embedding_size] + [config.hidden_size] * (config.num_layers - 1)
        self.layers = torch.nn.ModuleList(
            recurrent(config, size, config.hidden_size, precision) for size in sizes
        )
        self.dropout = Dropout(dropout, locked=True)
        self.head = torch.nn.Linear(config.hidden_size, config.vocabulary_size)
        if config.tied:
            self.head.weight = self.embedding.weight
        initialise(self, config, LanguagePredictor.initial_weights)

    def start_from(self, ids: np.ndarray, seed: int) -> None:
        """Set initial weights from the tokens ``ids`` of the training text.

        The head's bias starts so that an output of zero predicts each token by its frequency: AdamW moves a
        bias by at most the learning rate a step, so that it would otherwise need thousands of steps to learn
        which words are rare. The embeddings of a large vocabulary start from the words that occur together.
        """
        size, embedding_size = self.embedding.weight.shape
        counts = np.bincount(ids, minlength=size) + 0.5  # half a count for tokens that never occur
        with torch.no_grad():
            self.head.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))
            if size >= max(MIN_COOCCURRENCE_VOCABULARY, 2 * embedding_size):
                embeddings = cooccurrence_embeddings(ids, size, embedding_size, seed)
                self.embedding.weight.copy_(torch.from_numpy(embeddings))

    def forward(
        self, tokens: Tensor, state: list[LayerState] | None = None
    ) -> tuple[Tensor, list[LayerState]]:
        """Return the head's inputs ``[T, B, H]`` and every layer's new state; None means state zero."""
        # If the vocabulary is smaller than the batch, the first layer multiplies each token's embedding only
        # once. Dropout would then take the same features from every occurrence of a token in the chunk. That
        # makes probabilities wrong and did not help on any text, so such embeddings are left whole.
        small_vocabulary = len(self.embedding.weight) < tokens.numel()
        hidden = self.embedding.weight if small_vocabulary else self.dropout(self.embedding(tokens))
        new_state: list[LayerState] = []
        for index, layer in enumerate(self.layers):
            before = None if state is None else state[index]
            if small_vocabulary and index == 0:
                output, layer_state = cast(Any, nn.embedded)(layer, tokens, hidden, before)
            else:
                output, layer_state = layer(hidden, before)
            new_state.append(layer_state)
            output = self.dropout(output)
            hidden = output + hidden if self.config.residual and index > 0 else output
        return hidden, new_state

    def loss(self, hidden: Tensor, targets: Tensor, ignore: int) -> Tensor:
        """Return the summed cross entropy (nats) of ``targets [T, B]``, except those equal to `ignore`.

        In training this may be an estimate by `sampled_cross_entropy`.
        """
        if self.training and self.sampled:
            kept = targets != ignore
            return sampled_cross_entropy(
                hidden[kept],
                self.head.weight,
                self.head.bias,
                targets[kept],
                self.sampled,
                self.sampled,
                self.generator,
                self.precision,
            )
        rows, flat_targets = hidden.flatten(0, 1), targets.flatten()
        total = hidden.new_zeros(())
        for block in self._blocks(len(rows)):
            total = total + nn.linear_cross_entropy(
                rows[block],
                self.head.weight,
                self.head.bias,
                flat_targets[block],
                ignore_index=ignore,
                reduction="sum",
            )
        return total

    def _blocks(self, rows: int) -> list[slice]:
        """Return slices of so many rows of logits; in training one slice, else as many as memory allows."""
        size = rows if self.training else max(1, MEASURED_LOGITS // len(self.head.bias))
        return [slice(start, start + size) for start in range(0, rows, max(1, size))]

    def token_losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy (nats) ``[N]`` of each of ``targets [N]`` after ``hidden [N, H]``."""
        losses = [
            torch.nn.functional.cross_entropy(
                self.head(hidden[block]), targets[block], reduction="none"
            )
            for block in self._blocks(len(hidden))
        ]
        return torch.cat(losses)
