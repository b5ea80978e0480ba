"""Configuration of a network that reads labelled sequences."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from elman.engine.config import Config, Shapes, member_shapes
from elman.errors import OptionError
from elman.labels.kinds import KINDS, TargetKind
from elman.labels.options import pools_of


@dataclass(frozen=True)
class SequenceConfig(Config):
    """Sizes of a network that reads sequences: an answer a sequence, or with the task "tag" an answer a step.

    Its input is tokens or `channels` numbers a step. With an alphabet, a second network reads the characters
    of each token. Several `members` of the same sizes answer together, by the mean of their logits.

    >>> config = SequenceConfig("classify", "gru", "tanh", 0, 0, 0, 0, 3, 8, 1, True, True, "mean", 2, 1)
    >>> config.parameters()["members.0.head.weight"]
    (2, 16)
    """

    vocabulary_size: int
    """Tokens, including `<unk>`; 0 where the input is numbers."""
    embedding_size: int
    alphabet_size: int
    """Characters of the network that reads spellings, including `<unk>`; 0 without such a network."""
    spelling_size: int
    """Units of that network in each direction, and the size of its embedding of characters."""
    channels: int
    """Numbers a step; 0 where the input is tokens."""
    hidden_size: int
    num_layers: int
    bidirectional: bool
    bias: bool
    pooling: str
    """Pooling of the steps of a sequence: last, mean, max or attention, or several joined by ``+``.

    Empty for tags.
    """
    outputs: int
    """Classes or tags; 1 for a number."""
    members: int
    transitions: bool = False
    """Whether pairs of neighbouring tags have scores (`elman.labels.tag_chain`); older files lack it."""
    affixes: int = 0
    """Rows of the table of `elman.labels.affixes`; 0 without one, as in older files."""

    tasks = tuple(KINDS)
    added = ("transitions", "affixes")
    limits: ClassVar[Mapping[str, tuple[int, int]]] = {
        "vocabulary_size": (0, 1 << 24),
        "embedding_size": (0, 1 << 16),
        "alphabet_size": (0, 1 << 21),
        "spelling_size": (0, 1 << 16),
        "channels": (0, 1 << 16),
        "hidden_size": (1, 1 << 16),
        "num_layers": (1, 100),
        "outputs": (1, 1 << 20),
        "members": (1, 32),
        "affixes": (0, 1 << 20),
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        pools, tags = self.pools, self.kind.per_step
        tokens, spellings = bool(self.vocabulary_size), bool(self.alphabet_size)
        # by field, whether it fits the other fields, and the value that would
        needs = {
            "pooling": (bool(pools) != tags, "none for tags" if tags else "a pooling"),
            "channels": (bool(self.channels) != tokens, "0 for tokens" if tokens else "1 or more"),
            "embedding_size": (
                bool(self.embedding_size) == tokens,
                "1 or more for tokens" if tokens else "0 for numbers",
            ),
            "alphabet_size": (tokens or not spellings, "0 for numbers"),
            "spelling_size": (
                bool(self.spelling_size) == spellings,
                "1 or more with an alphabet" if spellings else "0 without an alphabet",
            ),
            "transitions": (tags or not self.transitions, "false"),
            "affixes": ((tags and spellings) or not self.affixes, "0 without tags and an alphabet"),
            "outputs": (not self.kind.is_number or self.outputs == 1, "1 for a number"),
        }
        for name, (fits, expected) in needs.items():
            if not fits:
                got = f"{getattr(self, name)!r} for {self.task}"
                raise OptionError(name, got=got, expected=expected)

    @property
    def kind(self) -> TargetKind:
        """The kind of target that the network answers with."""
        return KINDS[self.task]

    @property
    def pools(self) -> tuple[str, ...]:
        """Names in `pooling`, in their order."""
        return pools_of(self.pooling)

    @property
    def input_size(self) -> int:
        """Numbers that the first layer reads at each step."""
        return self.channels or self.embedding_size + 2 * self.spelling_size

    @property
    def output_size(self) -> int:
        """Numbers that the last layer outputs at each step."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    def parameters(self) -> Shapes:
        """Return the shape of every parameter by name, each member's behind ``members.{m}.``.

        ``embedding.weight [V, E]``, ``alphabet.weight [A, S]`` and ``spelling.…`` (both ways), for tags
        ``affixes.weight [R, E]``, the ``layers.{k}.…``, ``attention.weight [1, D]``,
        ``head.weight [K, P·D]``, ``head.bias [K]``, and for chained tags ``transitions.start [K]``,
        ``transitions.end [K]``, ``transitions.weight [K, K]``.
        """
        shapes: Shapes = {}
        if self.vocabulary_size:
            shapes["embedding.weight"] = (self.vocabulary_size, self.embedding_size)
        if self.alphabet_size:
            S = self.spelling_size
            shapes["alphabet.weight"] = (self.alphabet_size, S)
            shapes |= self.layer("spelling", S, S, bidirectional=True, bias=self.bias)
        if self.affixes:
            shapes["affixes.weight"] = (self.affixes, self.embedding_size)
        # outputs of both directions side by side
        D = self.output_size
        for k in range(self.num_layers):
            size = D if k else self.input_size
            shapes |= self.layer(
                f"layers.{k}",
                size,
                self.hidden_size,
                bidirectional=self.bidirectional,
                bias=self.bias,
            )
        if "attention" in self.pools:
            shapes["attention.weight"] = (1, D)
        # a tagger has no pools: its head reads the outputs of a single step
        shapes["head.weight"] = (self.outputs, max(1, len(self.pools)) * D)
        shapes["head.bias"] = (self.outputs,)
        if self.transitions:
            shapes["transitions.start"] = shapes["transitions.end"] = (self.outputs,)
            shapes["transitions.weight"] = (self.outputs, self.outputs)
        return member_shapes(shapes, self.members)
