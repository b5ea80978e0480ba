"""Configuration of a language model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from elman.engine.config import Config, Shapes
from elman.errors import OptionError


@dataclass(frozen=True)
class NetworkConfig(Config):
    """Sizes of a language model: an embedding, a stack of recurrent layers, and the head.

    >>> config = NetworkConfig("language", "gru", "tanh", 100, 16, 32, 2)
    >>> config.parameters()["layers.1.weight_ih"]
    (96, 32)
    """

    vocabulary_size: int
    embedding_size: int
    hidden_size: int
    num_layers: int
    residual: bool = False
    """Add the input of each layer but the first to its output."""
    tied: bool = False
    """Use the embedding as the head's weight."""
    bias: bool = True
    """Give the recurrent layers a bias; the head always has one."""

    tasks = ("language",)
    limits: ClassVar[Mapping[str, tuple[int, int]]] = {
        "vocabulary_size": (2, 1 << 24),  # <unk> and a token that can be predicted
        "embedding_size": (1, 1 << 16),
        "hidden_size": (1, 1 << 16),
        "num_layers": (1, 100),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.tied and self.embedding_size != self.hidden_size:
            raise OptionError(
                "tied with embedding_size",
                got=self.embedding_size,
                expected=f"the hidden_size, {self.hidden_size}",
                remedy="pass tied=False",
            )

    def parameters(self) -> Shapes:
        """Return the shape of every parameter by name, in the order of the network.

        ``embedding.weight [V, E]``, ``layers.{k}.…`` as the cell declares them, ``head.weight``
        ``[V, H]`` where it is not the embedding, ``head.bias [V]``.
        """
        V, E, H = self.vocabulary_size, self.embedding_size, self.hidden_size
        shapes: Shapes = {"embedding.weight": (V, E)}
        for k in range(self.num_layers):
            size = H if k else E
            shapes |= self.layer(f"layers.{k}", size, H, bidirectional=False, bias=self.bias)
        if not self.tied:
            shapes["head.weight"] = (V, H)
        shapes["head.bias"] = (V,)
        return shapes
