"""The hinge of the house: the trained network as a value, and as one file.

Training returns a `Model`, the file is a `Model`, and all that answers or explains takes one. The
file is data: named arrays, the vocabulary and JSON; nothing in it is executed (``docs/format.md``).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np

from elman import _container, cells
from elman._container import FORMAT, Path
from elman._errors import InputError, ModelFileError, OptionError, ShapeError
from elman._shapes import whole_number
from elman.data.vocabulary import TextCodec

__all__ = ["FORMAT", "TASKS", "Model", "NetworkConfig"]

TASKS = ("language",)

_KIND = "model"
_SIZES = {
    "vocabulary_size": (2, 1 << 24),  # <unk> and what can be predicted
    "embedding_size": (1, 1 << 16),
    "hidden_size": (1, 1 << 16),
    "num_layers": (1, 100),
}


@dataclass(frozen=True)
class NetworkConfig:
    """What a network is made of: embedding, a stack of recurrent layers, and the head.

    Raises OptionError for a value that no network can have.

    >>> config = NetworkConfig("language", "gru", "tanh", 100, 16, 32, 2)
    >>> config.parameters()["layers.1.weight_ih"]
    (96, 32)
    """

    task: str
    cell: str
    activation: str
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

    def __post_init__(self) -> None:
        if self.task not in TASKS:
            raise OptionError("task", got=self.task, expected="one of " + ", ".join(TASKS))
        for name in ("cell", "activation"):
            if type(value := getattr(self, name)) is not str:
                raise OptionError(name, got=value, expected="its name")
        cells.find(self.cell, self.activation)
        for name, (least, most) in _SIZES.items():
            object.__setattr__(self, name, whole_number(name, getattr(self, name), least, most))
        for name in ("residual", "tied", "bias"):
            if type(value := getattr(self, name)) is not bool:
                raise OptionError(name, got=value, expected="True or False")
        if self.tied and self.embedding_size != self.hidden_size:
            raise OptionError(
                "tied with embedding_size",
                got=self.embedding_size,
                expected=f"the hidden_size, {self.hidden_size}",
                remedy="pass tied=False",
            )

    def parameters(self) -> dict[str, tuple[int, ...]]:
        """Return the shape of every parameter by name, in the order of the network.

        ``embedding.weight [V, E]``, ``layers.{k}.…`` as the cell declares them, ``head.weight``
        ``[V, H]`` where it is not the embedding, ``head.bias [V]``.
        """
        V, E, H = self.vocabulary_size, self.embedding_size, self.hidden_size
        cell = cells.find(self.cell, self.activation)
        shapes: dict[str, tuple[int, ...]] = {"embedding.weight": (V, E)}
        for layer in range(self.num_layers):
            for name, shape in cell.parameters(H if layer else E, H, self.bias).items():
                shapes[f"layers.{layer}.{name}"] = shape
        if not self.tied:
            shapes["head.weight"] = (V, H)
        shapes["head.bias"] = (V,)
        return shapes


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network: its configuration, its parameters, its vocabulary, and its card.

    Raises ShapeError where `arrays` are not the float32 parameters that `config` declares, and
    InputError where one holds a number that is not finite or `codec` has another vocabulary size.
    """

    config: NetworkConfig
    arrays: Mapping[str, np.ndarray]
    """float32, named and shaped as ``config.parameters()``; read-only views of what was given."""
    codec: TextCodec
    card: Mapping[str, Any]
    """JSON: how it was trained, on what, and how good it is."""

    def __post_init__(self) -> None:
        if len(self.codec.tokens) != self.config.vocabulary_size:
            raise InputError(
                "the codec's vocabulary",
                got=f"{len(self.codec.tokens)} tokens",
                expected=f"vocabulary_size, {self.config.vocabulary_size}",
            )
        shapes, views = self.config.parameters(), {}
        if unlike := shapes.keys() ^ self.arrays.keys():
            what = f"parameters of {self.config.num_layers} {self.config.cell} layers"
            name = min(unlike)
            raise ShapeError(what, got=f"{'no' if name in shapes else 'one named'} {name}")
        for name, shape in shapes.items():
            array = self.arrays[name]
            if array.shape != shape or array.dtype != np.float32:
                got = f"{array.dtype} {list(array.shape)}"
                raise ShapeError(f"parameter {name}", got=got, expected=f"float32 {list(shape)}")
            if not np.isfinite(array).all():
                count = int(array.size - np.isfinite(array).sum())
                raise InputError(f"parameter {name}", got=f"{count} numbers that are not finite")
            views[name] = array.view()
            views[name].flags.writeable = False
        object.__setattr__(self, "arrays", views)

    @property
    def parameter_count(self) -> int:
        """The number of trained numbers."""
        return sum(math.prod(shape) for shape in self.config.parameters().values())

    def save(self, path: Path) -> None:
        """Write the model to one file, whole or not at all; the same model gives the same bytes.

        Raises OutputError where the file cannot be written, InputError for a card that is no JSON.
        """
        _container.write(path, *self._to_parts())

    def _to_parts(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        codec, arrays = self.codec.to_parts()
        metadata = {
            "kind": _KIND,
            "config": asdict(self.config),
            "codec": codec,
            "card": dict(self.card),
        }
        return {**self.arrays, **arrays}, metadata

    @classmethod
    def load(cls, path: Path) -> Model:
        """Return the model of the file at `path`.

        Raises ModelFileError for anything but a whole and valid model file.
        """
        arrays, metadata = _container.read(path)
        try:
            model = cls._from_parts(dict(arrays), dict(metadata))
            again, form = model._to_parts()
            # json.dumps tells the order of the keys too: one model has exactly one file
            if again.keys() != arrays.keys() or json.dumps(form) != json.dumps(metadata):
                raise ModelFileError("its metadata and arrays", expected="the form that save gives")
            return model
        except InputError as error:
            raise ModelFileError(f"cannot read {path}: {error}") from error

    @classmethod
    def _from_parts(cls, arrays: dict[str, np.ndarray], metadata: dict[str, Any]) -> Model:
        kind = metadata.pop("kind", None)
        if kind != _KIND:
            remedy = "pass the model that elman train wrote"
            raise ModelFileError("the kind of file", got=kind, expected=_KIND, remedy=remedy)
        if metadata.keys() != {"config", "codec", "card"}:
            got = ", ".join(metadata)
            raise ModelFileError("its metadata", got=got, expected="config, codec, card")
        for key, value in metadata.items():
            if type(value) is not dict:
                raise ModelFileError(f"metadata {key}", got=value, expected="an object")
        given, names = metadata["config"], {field.name for field in fields(NetworkConfig)}
        if given.keys() != names:
            unlike = ", ".join(sorted(given.keys() ^ names))
            raise ModelFileError("its config", got=f"other fields: {unlike}")
        config = NetworkConfig(**given)
        codec_arrays = {
            name: arrays.pop(name) for name in list(arrays) if name.startswith("codec.")
        }
        codec = TextCodec.from_parts(metadata["codec"], codec_arrays)
        return cls(config, arrays, codec, metadata["card"])
