"""Export of a trained model to ONNX: graphs, and a JSON text beside them that says how to use them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from elman._version import __version__
from elman.errors import MissingDependencyError, installing
from elman.export.refusal import check_holds
from elman.files.atomic import atomic_write
from elman.files.model import Model

if TYPE_CHECKING:
    from elman.export.onnx_graph import Graph
    from elman.files.container import JsonObject


def write_onnx(model: Model, path: str | Path) -> list[Path]:
    """Write a trained model as ONNX files (opset 17).

    The file `path` reads whole sequences. A second file, with ``-step`` in its name, reads one step and
    takes and returns the state; a network that reads backwards too has none. Both hold a JSON text ``elman``
    in their metadata, with the vocabulary, labels and sizes (``docs/export.md``).

    Args:
        model: The model, such as ``elman.load(...).model``.
        path: The file for whole sequences, which should end in ``.onnx``.

    Returns:
        The files that were written.

    Raises:
        InputError: ONNX cannot hold the model.
        MissingDependencyError: the package onnx is not installed.
        OutputError: a file cannot be written.
    """
    try:
        import onnx  # noqa: F401
    except ImportError as error:
        raise MissingDependencyError("--onnx", got=error, remedy=installing("onnx")) from error
    path = Path(path)
    graphs, facts = _graphs(model)
    facts = {"version": __version__, **model.config.to_dict(), **facts}
    metadata = {"elman": json.dumps(facts, ensure_ascii=False)}
    written = []
    for ending, graph in graphs.items():
        written.append(path.with_name(path.stem + ending + path.suffix))
        atomic_write(written[-1], graph.model(metadata).SerializeToString())
    return written


def _graphs(model: Model) -> tuple[dict[str, Graph], JsonObject]:
    """Return the graphs by the ending of their file's name, and the facts for programs that use them."""
    from elman.language.config import NetworkConfig

    if isinstance(model.config, NetworkConfig):
        from elman.export.onnx_language import language_facts, language_graph

        graphs = {
            "": language_graph(model, single=False),
            "-step": language_graph(model, single=True),
        }
        return graphs, language_facts(model)
    check_holds("onnx", f"a model for {model.config.task}")
    return {}, {}
