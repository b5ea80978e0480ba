"""Export of a trained model to ONNX: graphs, and a JSON text beside them that says how to use them."""

from __future__ import annotations

import json
from pathlib import Path

from elman._version import __version__
from elman.errors import MissingDependencyError, installing
from elman.export.refusal import refusal
from elman.files.atomic import atomic_write
from elman.files.model import Model
from elman.language.config import NetworkConfig


def write_onnx(model: Model, path: str | Path) -> list[Path]:
    """Write a trained model as ONNX files (opset 17).

    The file `path` reads whole texts. A second file, with ``-step`` in its name, reads one token. Both take
    and return the state, and hold a JSON text ``elman`` in their metadata, with the vocabulary and the sizes
    (``docs/export.md``).

    Args:
        model: The model, such as ``elman.load(...).model``.
        path: The file for whole texts, which should end in ``.onnx``.

    Returns:
        The files that were written.

    Raises:
        InputError: ONNX cannot hold the model.
        MissingDependencyError: the package onnx is not installed.
        OutputError: a file cannot be written.
    """
    try:
        from elman.export.onnx_language import language_facts, language_graph
    except ImportError as error:
        raise MissingDependencyError("--onnx", got=error, remedy=installing("onnx")) from error
    if not isinstance(model.config, NetworkConfig):
        raise refusal("onnx", f"a model for {model.config.task}")
    path = Path(path)
    facts = {"version": __version__, **model.config.to_dict(), **language_facts(model)}
    metadata = {"elman": json.dumps(facts, ensure_ascii=False)}
    written = []
    for ending, single in (("", False), ("-step", True)):
        written.append(path.with_name(path.stem + ending + path.suffix))
        graph = language_graph(model, single=single)
        atomic_write(written[-1], graph.model(metadata).SerializeToString())
    return written
