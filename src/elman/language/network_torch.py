"""The network of a language model in training, as a torch module: embedding, recurrent layers and head.

Its parameters have the names of `NetworkConfig.parameters()`, under which the model file stores them.
"""

from __future__ import annotations

from typing import Any, cast

import torch
from torch import Tensor

from elman import nn
from elman.cells import find
from elman.language.config import NetworkConfig
from elman.language.sampled_softmax import sampled_cross_entropy
from elman.training.layers import recurrent
from elman.training.objective import LayerState, Trainable
from elman.training.random import Drawing, Dropout

MEASURED_LOGITS = 1 << 24
"""The largest number of logits that are held at once in evaluation."""


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
        self.cell = find(config.cell, config.activation)
        self.embedding = torch.nn.Embedding(config.vocabulary_size, config.embedding_size)
        sizes = [config.embedding_size] + [config.hidden_size] * (config.num_layers - 1)
        self.layers = torch.nn.ModuleList(
            recurrent(config, size, config.hidden_size, precision) for size in sizes
        )
        self.dropout = Dropout(dropout)
        self.head = torch.nn.Linear(config.hidden_size, config.vocabulary_size)
        if config.tied:
            self.head.weight = self.embedding.weight
        self._initialise()

    def _initialise(self) -> None:
        with torch.no_grad():
            torch.nn.init.normal_(self.embedding.weight, std=self.config.embedding_size**-0.5)
            torch.nn.init.zeros_(self.head.bias)
            if self.config.cell == "lstm" and self.config.bias:
                # The forget gate starts open: R. Jozefowicz et al. (2015), section 2.2.
                forget = slice(self.config.hidden_size, 2 * self.config.hidden_size)
                for layer in self.layers:
                    layer.bias_ih_l0[forget] = 1.0  # type: ignore[operator]

    def forward(
        self, tokens: Tensor, state: list[LayerState] | None = None
    ) -> tuple[Tensor, list[LayerState]]:
        """Return the head's inputs ``[T, B, H]`` and every layer's new state; None means state zero."""
        weight = self.embedding.weight
        hidden: Any = None
        # If the vocabulary is smaller than the batch, the layers multiply each token's embedding only once.
        # Dropout then acts on the embeddings, and so in the same way at all steps of a chunk, as in
        # variational dropout (Y. Gal and Z. Ghahramani, arXiv:1512.05287, section 4.2).
        if len(weight) < tokens.numel():
            weight = self.dropout(weight)
        else:
            hidden = self.dropout(self.embedding(tokens))
        new_state: list[LayerState] = []
        for index, layer in enumerate(self.layers):
            before = None if state is None else state[index]
            if hidden is None:
                output, layer_state = cast(Any, nn.embedded)(layer, tokens, weight, before)
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
            )
        rows, flat_targets = hidden.flatten(0, 1), targets.flatten()
        block = len(rows) if self.training else self._block
        total = hidden.new_zeros(())
        blocks = zip(torch.split(rows, block), torch.split(flat_targets, block), strict=True)
        for block_rows, block_targets in blocks:
            total = total + nn.linear_cross_entropy(
                block_rows,
                self.head.weight,
                self.head.bias,
                block_targets,
                ignore_index=ignore,
                reduction="sum",
            )
        return total

    @property
    def _block(self) -> int:
        return max(1, MEASURED_LOGITS // len(self.head.bias))

    def token_losses(self, hidden: Tensor, targets: Tensor) -> Tensor:
        """Return the cross entropy (nats) ``[N]`` of each of ``targets [N]`` after ``hidden [N, H]``."""
        blocks = zip(
            torch.split(hidden, self._block), torch.split(targets, self._block), strict=True
        )
        return torch.cat(
            [
                torch.nn.functional.cross_entropy(self.head(rows), row_targets, reduction="none")
                for rows, row_targets in blocks
            ]
        )
