"""Graphs of a language model: logits of the next token after every token of a text, or after one token."""

from __future__ import annotations

from elman.cells import find
from elman.engine.layers import Layer
from elman.export.onnx_graph import Graph, Value
from elman.export.onnx_layers import concatenated, recurrent
from elman.files.container import JsonObject
from elman.files.model import Model
from elman.language.config import NetworkConfig
from elman.language.network import Network
from elman.text.vocabulary import TextCodec


def language_graph(model: Model[NetworkConfig, TextCodec], *, single: bool) -> Graph:
    """Return the graph of a language model, for texts ``[batch, time]`` or a `single` token of each.

    Both take the state ``[batch, rows, H]`` of each text and return the next one; it begins as zeros. Texts
    of a batch that are shorter than others are filled up with any token: the whole graph takes their lengths.
    """
    config, network = model.config, Network(model)
    cell, graph = find(config.cell, config.activation), Graph("text")
    H, V = config.hidden_size, config.vocabulary_size
    rows = config.num_layers * len(cell.states)
    axes = ("batch",) if single else ("batch", "time")
    tokens = graph.input("tokens", "int64", *axes)
    state = graph.input("state", "float32", "batch", rows, H)
    lengths = None if single else graph.input("lengths", "int64", "batch")
    ids = tokens.reshape(1, -1) if single else tokens.transpose(1, 0)
    x = graph.constant(network.embedding).op("Gather", ids)
    # [rows, 1, B, H]
    parts = state.transpose(1, 0, 2).several("Split", rows, axis=0)
    after: list[Value] = []
    for k in range(config.num_layers):
        layer = Layer(cell, model.arrays, f"layers.{k}")
        start = parts[k * len(cell.states) : (k + 1) * len(cell.states)]
        y, ends = recurrent(layer, x, lengths, start)
        x = y + x if config.residual and k else y
        after += ends
    logits = x.linear(network.head_weight, network.head_bias)
    logits = logits.reshape(-1, V) if single else logits.transpose(1, 0, 2)
    graph.output("logits", logits, *axes, V)
    state = concatenated(after, axis=0).transpose(1, 0, 2)
    graph.output("new_state", state, "batch", rows, H)
    return graph


def language_facts(model: Model[NetworkConfig, TextCodec]) -> JsonObject:
    """Return what a program needs to turn texts into tokens and back."""
    codec = model.codec
    return {
        "vocabulary": [*codec.tokens],
        "level": codec.level,
        "split": codec.split,
        "documents": codec.documents,
        "start_token": codec.start_id,
        # the network has read this token before every line; otherwise only its output counts
        "start_state": "kept" if codec.end_id is not None else "zero",
    }
