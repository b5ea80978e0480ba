"""What a network is made of, by its task: sizes, and from them the name and shape of every parameter."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from elman import cells
from elman.engine.shapes import whole_number
from elman.errors import ModelFileError, OptionError

__all__ = ["POOLINGS", "Config", "ForecastConfig", "NetworkConfig", "SequenceConfig", "members"]

POOLINGS = ("last", "mean", "max", "attention")

Shapes = dict[str, tuple[int, ...]]


@dataclass(frozen=True)
class Config(ABC):
    """Base of the configurations: what every network of recurrent layers has.

    Raises OptionError for a value that no network can have.
    """

    task: str
    cell: str
    activation: str

    tasks: ClassVar[tuple[str, ...]]
    limits: ClassVar[Mapping[str, tuple[int, int]]]
    """The least and the greatest of every whole number."""

    def __post_init__(self) -> None:
        if self.task not in self.tasks:
            raise OptionError("task", got=self.task, expected="one of " + ", ".join(self.tasks))
        for declared in fields(self):
            name, value = declared.name, getattr(self, declared.name)
            if declared.type == "str" and type(value) is not str:
                raise OptionError(name, got=value, expected="text")
            if declared.type == "bool" and type(value) is not bool:
                raise OptionError(name, got=value, expected="True or False")
            if declared.type == "int":
                object.__setattr__(self, name, whole_number(name, value, *self.limits[name]))
        cells.find(self.cell, self.activation)

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Config:
        """Return the configuration with the fields `given`; raises ModelFileError, OptionError."""
        names = {declared.name for declared in fields(cls)}
        if given.keys() != names:
            unlike = ", ".join(sorted(given.keys() ^ names))
            raise ModelFileError("its config", got=f"other fields: {unlike}")
        return cls(**given)

    @abstractmethod
    def parameters(self) -> Shapes:
        """Return the shape of every parameter by name, in the order of the network."""

    def layer(
        self, name: str, input_size: int, hidden_size: int, *, bidirectional: bool, bias: bool
    ) -> Shapes:
        """Return the parameters of one recurrent layer; the names of the way back end in ``_reverse``."""
        shapes = cells.find(self.cell, self.activation).parameters(input_size, hidden_size, bias)
        ways = ("", "_reverse") if bidirectional else ("",)
        return {f"{name}.{part}{way}": shape for way in ways for part, shape in shapes.items()}


@dataclass(frozen=True)
class NetworkConfig(Config):
    """A language model: embedding, a stack of recurrent layers, and the head.

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
        "vocabulary_size": (2, 1 << 24),  # <unk> and what can be predicted
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


@dataclass(frozen=True)
class SequenceConfig(Config):
    """A reader of labelled sequences: one answer a sequence, or with the task "tag" one a step.

    It reads tokens, spelled by a character network where there is an alphabet, or `channels` numbers a
    step. Several `members` of the same make answer together, by the mean of their logits.

    >>> config = SequenceConfig("classify", "gru", "tanh", 0, 0, 0, 0, 3, 8, 1, True, True, "mean", 2, 1)
    >>> config.parameters()["members.0.head.weight"]
    (2, 16)
    """

    vocabulary_size: int
    """Tokens, `<unk>` among them; 0 where the input is numbers."""
    embedding_size: int
    alphabet_size: int
    """Characters of the network that spells words, `<unk>` among them; 0 where there is none."""
    spelling_size: int
    """Units of that network in each direction, and numbers that stand for a character."""
    channels: int
    """Numbers a step; 0 where the input is tokens."""
    hidden_size: int
    num_layers: int
    bidirectional: bool
    bias: bool
    pooling: str
    """How the steps become one: one of `POOLINGS`, or several joined by ``+``; empty for tags."""
    outputs: int
    """Classes or tags; 1 for a number."""
    members: int

    tasks = ("classify", "regress", "tag")
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
    }

    def __post_init__(self) -> None:
        super().__post_init__()
        pooled = self.pooling.split("+") if self.pooling else []
        if not set(pooled) <= {*POOLINGS} or len(set(pooled)) != len(pooled):
            expected = "of " + ", ".join(POOLINGS) + ", joined by +"
            raise OptionError("pooling", got=self.pooling, expected=expected)
        faults = {
            "pooling": bool(pooled) == (self.task == "tag"),
            "channels": bool(self.channels) == bool(self.vocabulary_size),
            "embedding_size": bool(self.embedding_size) != bool(self.vocabulary_size),
            "alphabet_size": bool(self.alphabet_size) > bool(self.vocabulary_size),
            "spelling_size": bool(self.spelling_size) != bool(self.alphabet_size),
            "outputs": self.task == "regress" and self.outputs != 1,
        }
        for name, wrong in faults.items():
            if wrong:
                got = f"{getattr(self, name)!r} for {self.task}"
                raise OptionError(name, got=got, expected="what the other sizes need")

    @property
    def pools(self) -> tuple[str, ...]:
        """The ways of `pooling`, in their order."""
        return tuple(self.pooling.split("+")) if self.pooling else ()

    @property
    def input_size(self) -> int:
        """Numbers that the first layer reads a step."""
        return self.channels or self.embedding_size + 2 * self.spelling_size

    @property
    def output_size(self) -> int:
        """Numbers that the last layer gives a step."""
        return self.hidden_size * (2 if self.bidirectional else 1)

    def parameters(self) -> Shapes:
        """Return the shape of every parameter by name, each member's behind ``members.{m}.``.

        ``embedding.weight [V, E]``, ``alphabet.weight [A, S]`` and ``spelling.…`` (both ways), the
        ``layers.{k}.…``, ``attention.weight [1, D]``, ``head.weight [K, P·D]``, ``head.bias [K]``.
        """
        one: Shapes = {}
        if self.vocabulary_size:
            one["embedding.weight"] = (self.vocabulary_size, self.embedding_size)
        if self.alphabet_size:
            S = self.spelling_size
            one["alphabet.weight"] = (self.alphabet_size, S)
            one |= self.layer("spelling", S, S, bidirectional=True, bias=self.bias)
        D = self.output_size
        for k in range(self.num_layers):
            size = D if k else self.input_size
            one |= self.layer(
                f"layers.{k}",
                size,
                self.hidden_size,
                bidirectional=self.bidirectional,
                bias=self.bias,
            )
        if "attention" in self.pools:
            one["attention.weight"] = (1, D)
        one["head.weight"] = (self.outputs, max(1, len(self.pools)) * D)
        one["head.bias"] = (self.outputs,)
        return members(one, self.members)


@dataclass(frozen=True)
class ForecastConfig(Config):
    """A forecaster: segments of a window in, quantiles of every step of its future out.

    >>> config = ForecastConfig("forecast", "gru", "tanh", 10, 8, 1, True, 4, 3, 1)
    >>> config.parameters()["members.0.output.weight"]
    (12, 8)
    """

    input_size: int
    """Numbers of a segment, F."""
    hidden_size: int
    num_layers: int
    bias: bool
    segment: int
    """Steps that one recurrent step reads and answers."""
    quantiles: int
    members: int

    tasks = ("forecast",)
    limits: ClassVar[Mapping[str, tuple[int, int]]] = {
        "input_size": (1, 1 << 20),
        "hidden_size": (1, 1 << 16),
        "num_layers": (1, 100),
        "segment": (1, 1 << 16),
        "quantiles": (1, 1 << 10),
        "members": (1, 32),
    }

    def parameters(self) -> Shapes:
        """Return the shape of every parameter by name, each member's behind ``members.{m}.``.

        ``input.weight [H, F]``, ``layers.{k}.…``, ``middle.weight [H, 2·H]``, ``output.weight [s·Q, H]``,
        their biases, and ``skip.weight [s, F]``.
        """
        H = self.hidden_size
        one: Shapes = {"input.weight": (H, self.input_size), "input.bias": (H,)}
        for k in range(self.num_layers):
            one |= self.layer(f"layers.{k}", H, H, bidirectional=False, bias=self.bias)
        one["middle.weight"], one["middle.bias"] = (H, 2 * H), (H,)
        one["output.weight"] = (self.segment * self.quantiles, H)
        one["output.bias"] = (self.segment * self.quantiles,)
        one["skip.weight"] = (self.segment, self.input_size)
        return members(one, self.members)


def members(one: Shapes, count: int) -> Shapes:
    """Return the shapes of `count` networks of the same make, each one's behind ``members.{m}.``."""
    return {
        f"members.{member}.{name}": shape for member in range(count) for name, shape in one.items()
    }
