"""Export of a trained model to ONNX: graphs, and a JSON text beside them that says how to use them."""

from __future__ import annotations

import json
from pathlib import Path

from elman._version import __version__
from elman.errors import MissingDependencyError, installing
from elman.export.refusal import refusal
from elman.files.atomic import atomic_write
from elman.files.model import Model
from elman.labels.config import SequenceConfig
from elman.language.config import NetworkConfig

MAX_WEIGHT_BYTES = 2_000_000_000
"""Most bytes of weights: a file of ONNX holds less than 2 GiB."""


def write_onnx(model: Model, path: str | Path) -> list[Path]:
    """Write a trained model as ONNX files (opset 17).

    The file `path` reads whole sequences. If the network reads step by step, a second file, with ``-step`` in
    its name, reads one step, and takes and returns the state. Both hold a JSON text ``elman`` in their
    metadata, with the vocabulary, the labels and the sizes (``docs/export.md``).

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
        from elman.export.onnx_labels import labels_facts, labels_graph
        from elman.export.onnx_language import language_facts, language_graph
        from elman.export.onnx_series import forecast_facts, forecast_graph
    except ImportError as error:
        raise MissingDependencyError("--onnx", got=error, remedy=installing("onnx")) from error
    config, size = model.config, sum(array.nbytes for array in model.arrays.values())
    if size > MAX_WEIGHT_BYTES:
        raise refusal(
            "onnx", f"weights of {size:,} bytes, with at most {MAX_WEIGHT_BYTES:,} in a file"
        )
    if isinstance(config, NetworkConfig):
        facts = language_facts(model)
        graphs = [language_graph(model, single=single) for single in (False, True)]
    elif isinstance(config, SequenceConfig):
        facts = labels_facts(model)
        reads_steps = not config.bidirectional and model.codec.wide is None
        graphs = [labels_graph(model, single=single) for single in (False, True)[: 1 + reads_steps]]
    else:
        facts, graphs = forecast_facts(model), [forecast_graph(model)]
    metadata = {"elman": json.dumps({"version": __version__, **config.to_dict(), **facts})}
    files = [Path(path), Path(path).with_name(f"{Path(path).stem}-step{Path(path).suffix}")]
    files = files[: len(graphs)]
    for file, graph in zip(files, graphs, strict=True):
        atomic_write(file, graph.model(metadata).SerializeToString())
    return files
