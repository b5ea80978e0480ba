"""The hinge of the house: the trained network as a value, and as one file.

Training returns a `Model`, the file is a `Model`, and all that answers or explains takes one. The
file is data: named arrays, the vocabulary and JSON; nothing in it is executed (``docs/format.md``).
"""

from __future__ import annotations

import json
import math
import os
import pathlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from importlib import import_module
from typing import Any

import numpy as np

from elman.engine.config import Config, ForecastConfig, NetworkConfig, SequenceConfig
from elman.errors import InputError, ModelFileError, OptionError, OutputError, ShapeError
from elman.files import container
from elman.files.container import FORMAT, Path

__all__ = ["FORMAT", "SUFFIX", "TASKS", "Model", "check_output", "folder_of", "model_name"]

SUFFIX = ".safetensors"
_KIND = "model"


# the configuration, and the codec with its module, which is imported when a model of the task is read
_TASKS: dict[str, tuple[type[Config], str, str]] = {
    "language": (NetworkConfig, "text.vocabulary", "TextCodec"),
    "classify": (SequenceConfig, "labels.codec", "SequenceCodec"),
    "regress": (SequenceConfig, "labels.codec", "SequenceCodec"),
    "tag": (SequenceConfig, "labels.codec", "SequenceCodec"),
    "forecast": (ForecastConfig, "series.codec", "ForecastCodec"),
}
TASKS = tuple(_TASKS)


@dataclass(frozen=True, eq=False)
class Model:
    """A trained network: its configuration, its parameters, its vocabulary, and its card.

    Raises ShapeError where `arrays` are not the float32 parameters that `config` declares, and
    InputError where one holds a number that is not finite or `codec` has another vocabulary size.
    """

    config: Any
    """What the network is made of: the configuration of its task, from `elman.engine.config`."""
    arrays: Mapping[str, np.ndarray]
    """float32, named and shaped as ``config.parameters()``; read-only views of what was given."""
    codec: Any
    """What its task reads and answers, as numbers and back: vocabulary, labels, scaler."""
    card: Mapping[str, Any]
    """JSON: how it was trained, on what, and how good it is."""

    def __post_init__(self) -> None:
        self.codec.check(self.config)
        shapes, views = self.config.parameters(), {}
        if unlike := shapes.keys() ^ self.arrays.keys():
            what = f"parameters of {self.config.task} by {self.config.cell}"
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
    def summary(self) -> str:
        """The network in some words, such as "lstm, 1 × 512 units, 2,135,106 parameters"."""
        config = self.config
        sizes = f"{config.num_layers} × {config.hidden_size} units"
        return f"{config.cell}, {sizes}, {self.parameter_count:,} parameters"

    def __repr__(self) -> str:
        return f"Model({self.config.task}: {self.summary})"

    @property
    def parameter_count(self) -> int:
        """The number of trained numbers."""
        return sum(math.prod(shape) for shape in self.config.parameters().values())

    def save(self, path: Path) -> None:
        """Write the model to one file, whole or not at all; the same model gives the same bytes.

        Raises OutputError where the file cannot be written, OptionError for a file without a name before
        its suffix, InputError for a card that is no JSON.
        """
        model_name(path)
        container.write(path, *self._to_parts())

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
        arrays, metadata = container.read(path)
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
        task = metadata["config"].get("task")
        if type(task) is not str or task not in _TASKS:  # a list is no key
            raise ModelFileError("its task", got=task, expected="one of " + ", ".join(TASKS))
        config_type, module, name = _TASKS[task]
        codec_type = getattr(import_module(f"elman.{module}"), name)
        config = config_type.of(metadata["config"])
        codec_arrays = {
            name: arrays.pop(name) for name in list(arrays) if name.startswith("codec.")
        }
        codec = codec_type.from_parts(metadata["codec"], codec_arrays)
        return cls(config, arrays, codec, metadata["card"])


def model_name(path: Path) -> str:
    """Return the name of a model file without its suffix; raises OptionError where nothing else is left.

    >>> model_name("models/meals.safetensors")
    'meals'
    """
    name = pathlib.PurePath(path).name
    if name == SUFFIX:
        expected = f"a name before the suffix, such as model{SUFFIX}"
        raise OptionError("the model's file", got=name, expected=expected)
    return name.removesuffix(SUFFIX)


def folder_of(output: pathlib.Path) -> pathlib.Path:
    """Return the folder in which an unfinished run keeps what it needs, beside the model `output`."""
    return output.with_suffix(".checkpoint")


def check_output(output: pathlib.Path) -> None:
    """Raise OptionError or OutputError where no model can be written as the file `output`."""
    folder, unfinished = output.parent, folder_of(output)
    no_folder = "{}, a file where a folder must be"
    problems = {
        "a folder": output.is_dir(),
        "no such folder": not folder.exists(),
        no_folder.format(folder.name): not folder.is_dir(),
        "a folder that is not writable": not os.access(folder, os.W_OK | os.X_OK),
        "a file that is write-protected": output.exists() and not os.access(output, os.W_OK),
        no_folder.format(unfinished.name): unfinished.exists() and not unfinished.is_dir(),
    }
    if got := next((problem for problem, there in problems.items() if there), ""):
        remedy = "choose another with -o" if folder.exists() else "make it first"
        raise OutputError(f"cannot write the model {output}", got=got, remedy=remedy)
    if model_name(output) == output.name:
        raise OptionError("output", got=output.name, expected=f"a name that ends in {SUFFIX}")
