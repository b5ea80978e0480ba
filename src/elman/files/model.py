"""A trained network as a value, and as one file.

Training returns a `Model`, a file holds a `Model`, and everything that answers or explains takes one. The
file is data: named arrays, the codec and JSON. Nothing in it is executed (``docs/format.md``).
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pathlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Generic

import numpy as np
from typing_extensions import TypeVar

from elman.engine.config import ModelConfig
from elman.engine.quantisation import is_stored_form, quantised, rounded_weights
from elman.errors import InputError, ModelFileError, OptionError, OutputError, ShapeError
from elman.files import container
from elman.files.atomic import Path
from elman.files.container import Facts, JsonObject
from elman.files.model_types import Codec, types_of

SUFFIX = ".safetensors"
_KIND = "model"
_SCALES = "scales"
"""Name of the array of the scales of all rows of integers, matrix after matrix in order of their names."""

C = TypeVar("C", bound=ModelConfig, default=Any)
K = TypeVar("K", bound=Codec, default=Any)

STORAGES = ("float32", "int8")


@dataclass(frozen=True, eq=False)
class Model(Generic[C, K]):
    """A trained network: its configuration `C`, its parameters, its codec `K`, and its card.

    Raises:
        ShapeError: `arrays` are not the float32 parameters that `config` declares.
        InputError: an array holds a number that is not finite, or `codec` does not fit `config`.
        OptionError: there is no such `storage`.
    """

    config: C
    """Sizes of the network, in the configuration class of the task."""
    arrays: Mapping[str, np.ndarray]
    """float32, named and shaped as ``config.parameters()``; read-only views of the arrays passed in."""
    codec: K
    """Translation between inputs, answers and numbers: vocabulary, labels, scaler."""
    card: Facts
    """JSON that says how the model was trained, on which data, and how good it is."""
    storage: str = "float32"
    """How a file stores the parameters: "float32", or "int8" for matrices rounded to integers of 8 bits with
    a scale for each row. With "int8", `arrays` holds the rounded numbers, as float32."""

    def __post_init__(self) -> None:
        if self.storage not in STORAGES:
            raise OptionError("storage", got=self.storage, expected=" or ".join(STORAGES))
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
            # Read-only, because predictors share the arrays of one model.
            views[name] = rounded_weights(array) if self._is_rounded(name) else array.view()
            views[name].flags.writeable = False
        object.__setattr__(self, "arrays", views)

    @property
    def summary(self) -> str:
        """Cell and sizes, such as "lstm, 1 × 512 units, 2,135,106 parameters"."""
        config = self.config
        sizes = f"{config.num_layers} × {config.hidden_size} units"
        return f"{config.cell}, {sizes}, {self.parameter_count:,} parameters"

    def __repr__(self) -> str:
        return f"Model({self.config.task}: {self.summary})"

    @property
    def parameter_count(self) -> int:
        """Count of trained numbers."""
        return sum(math.prod(shape) for shape in self.config.parameters().values())

    def _is_rounded(self, name: str) -> bool:
        # a forbidden transition is a large number, which would leave no precision to the others
        matrix = len(self.config.parameters()[name]) == 2 and "transitions." not in name
        return matrix and self.storage == "int8"

    def quantised(self) -> Model[C, K]:
        """Return the model with its matrices rounded to 8 bits, so that its file is about a quarter as large.

        >>> from elman import LanguageModel
        >>> model = LanguageModel(hidden_size=4, steps=2).fit("I like tea . " * 40).model_
        >>> model.quantised().storage
        'int8'
        """
        return self if self.storage == "int8" else replace(self, storage="int8")

    def digest(self) -> str:
        """Return a SHA-256 over everything that determines the answers: all parts but the card."""
        arrays, metadata = self._to_parts()
        del metadata["card"]
        sha = hashlib.sha256(json.dumps(metadata).encode())
        for name in sorted(arrays):
            sha.update(name.encode() + np.ascontiguousarray(arrays[name]).tobytes())
        return sha.hexdigest()

    def save(self, path: Path) -> None:
        """Write the model to one file, completely or not at all; the same model gives the same bytes.

        Raises:
            OutputError: the file cannot be written.
            OptionError: the file has no name before its suffix.
            InputError: the card cannot be written as JSON.
        """
        model_name(path)
        container.write(path, *self._to_parts())

    def _to_parts(self) -> tuple[dict[str, np.ndarray], JsonObject]:
        codec, arrays = self.codec.to_parts()
        metadata = {
            "kind": _KIND,
            "config": self.config.to_dict(),
            "codec": codec,
            "card": dict(self.card),
        }
        return {**self._stored_arrays(), **arrays}, metadata

    def _stored_arrays(self) -> dict[str, np.ndarray]:
        """Return the parameters as in the file: with int8, integers and the scales of their rows."""
        stored, scales = dict(self.arrays), []
        for name in sorted(stored):
            if self._is_rounded(name):
                stored[name], rows = quantised(stored[name])
                scales.append(rows)
        return stored | ({_SCALES: np.concatenate(scales)} if scales else {})

    @classmethod
    def load(cls, path: Path) -> Model:
        """Return the model in the file at `path`; raises ModelFileError for a damaged or foreign file."""
        arrays, metadata = container.read(path)
        try:
            model = cls._from_parts(dict(arrays), dict(metadata))
            saved_arrays, saved_metadata = model._to_parts()
            # One model has exactly one file, so the order of the keys must match too: json.dumps keeps it.
            same = json.dumps(saved_metadata) == json.dumps(metadata)
            types = {name: array.dtype for name, array in arrays.items()}
            if {name: array.dtype for name, array in saved_arrays.items()} != types or not same:
                raise ModelFileError("its metadata and arrays", expected="the form that save gives")
            return model
        except InputError as error:
            raise ModelFileError(f"cannot read {path}: {error}") from error

    @staticmethod
    def _from_parts(arrays: dict[str, np.ndarray], metadata: JsonObject) -> Model:
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
        config_type, codec_type = types_of(metadata["config"].get("task"))
        config = config_type.of(metadata["config"])
        # Arrays of the codec share the file with the parameters.
        codec_arrays = {
            name: arrays.pop(name) for name in list(arrays) if name.startswith("codec.")
        }
        codec = codec_type.from_parts(metadata["codec"], codec_arrays)
        storage = "int8" if _SCALES in arrays else "float32"
        if storage == "int8":
            arrays = _widened(arrays)
        return Model(config, arrays, codec, metadata["card"], storage)


def _widened(stored: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the parameters of a file as float32; raises ModelFileError for what `save` never writes."""
    arrays, begin = dict(stored), 0
    scales = arrays.pop(_SCALES)
    matrices = {name: array for name, array in arrays.items() if array.dtype == np.int8}
    count = sum(len(array) for array in matrices.values() if array.ndim == 2)
    if scales.shape != (count,) or scales.dtype != np.float32:
        got, expected = f"{scales.dtype} {list(scales.shape)}", f"float32 [{count}]"
        raise ModelFileError("the array scales", got=got, expected=expected)
    for name in sorted(name for name, array in matrices.items() if array.ndim == 2):
        integers = matrices[name]
        rows = scales[begin : begin + len(integers)]
        if not is_stored_form(integers, rows):
            expected = "127 or -127 in each row but rows of zeros, and scales of 16 bits"
            raise ModelFileError(f"the integers of {name}", expected=expected)
        arrays[name] = integers * rows[:, None]
        begin += len(integers)
    return arrays


def model_name(path: Path) -> str:
    """Return the name of a model file without its suffix; raises OptionError for a suffix alone.

    >>> model_name("models/meals.safetensors")
    'meals'
    """
    name = pathlib.PurePath(path).name
    if name == SUFFIX:
        expected = f"a name before the suffix, such as model{SUFFIX}"
        raise OptionError("the model's file", got=name, expected=expected)
    return name.removesuffix(SUFFIX)


def folder_of(output: pathlib.Path) -> pathlib.Path:
    """Return the folder beside the model `output` in which an unfinished run keeps its checkpoint."""
    return output.with_suffix(".checkpoint")


def check_output(output: pathlib.Path) -> None:
    """Raise OptionError or OutputError where no model can be written as the file `output`."""
    folder, unfinished = output.parent, folder_of(output)
    no_folder = "{}, a file where a folder is needed"
    problems = {
        "a folder": output.is_dir(),
        "no such folder": not folder.exists(),
        no_folder.format(folder.name): not folder.is_dir(),
        "a folder that is not writable": not os.access(folder, os.W_OK | os.X_OK),
        "a file that is write-protected": output.exists() and not os.access(output, os.W_OK),
        no_folder.format(unfinished.name): unfinished.exists() and not unfinished.is_dir(),
    }
    if got := next((problem for problem, there in problems.items() if there), ""):
        remedy = "choose another file with -o" if folder.exists() else "create the folder first"
        raise OutputError(f"cannot write the model {output}", got=got, remedy=remedy)
    if model_name(output) == output.name:
        raise OptionError("output", got=output.name, expected=f"a name that ends in {SUFFIX}")
