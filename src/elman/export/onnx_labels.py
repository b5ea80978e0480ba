"""Graphs of a classifier, regressor or tagger: the answers to whole sequences, or to one more step of each.

Sequences of a batch are filled up to equal lengths with any tokens or numbers, and the graph takes the
lengths. A step continues from a state, which holds the states of the layers and the sums of the poolings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from elman.cells import find
from elman.engine.layers import Layer, member_arrays
from elman.export.onnx_graph import Graph, Value
from elman.export.onnx_layers import concatenated, inside, recurrent, standardised
from elman.export.onnx_wide import convolution_logits, ngram_logits
from elman.files.container import JsonObject
from elman.files.model import Model
from elman.labels.affixes import HASH_BASE, HASH_PRIME, PREFIXES, SUFFIXES
from elman.labels.codec import SequenceCodec
from elman.labels.config import SequenceConfig
from elman.labels.convolutions import ConvolutionPart
from elman.labels.network import SequenceNetwork
from elman.labels.ngrams import NgramPart

# Rows of the state that continue a pooling; poolings other than the last also share a count of steps.
_POOL_ROWS = {"last": 0, "mean": 1, "max": 1, "attention": 3}


def labels_graph(model: Model[SequenceConfig, SequenceCodec], *, single: bool) -> Graph:
    """Return the graph of a network for labelled sequences, or for a `single` step of each."""
    builder, config, codec = _Builder(model, single), model.config, model.codec
    graph, K, H = builder.graph, config.outputs, config.hidden_size
    members = [builder.member(member_arrays(model.arrays, m)) for m in range(config.members)]
    logits = members[0].op("Mean", *members[1:])
    if isinstance(codec.wide, NgramPart):
        logits += ngram_logits(graph, codec.wide)
    if isinstance(codec.wide, ConvolutionPart) and builder.lengths is not None:
        logits += convolution_logits(codec.wide, builder.steps, builder.lengths)
    axes = ("batch", "time") if config.kind.per_step and not single else ("batch",)
    if config.kind.per_step:
        logits = builder.batch_first(logits)
    if codec.target is not None:
        numbers = logits.cast("float64").reshape(-1) * codec.target.scale + codec.target.mean
        graph.output("answers", numbers, "batch")
    else:
        graph.output("logits", logits, *axes, K)
        if not config.transitions:
            graph.output("probabilities", logits.op("Softmax", axis=-1), *axes, K)
    if single:
        state = concatenated(builder.after, axis=0).transpose(1, 0, 2)
        graph.output("new_state", state, "batch", builder.rows, H)
    return graph


def labels_facts(model: Model[SequenceConfig, SequenceCodec]) -> JsonObject:
    """Return what a program needs to encode sequences and to name the answers."""
    codec, facts = model.codec, JsonObject()
    for name, text in (("vocabulary", codec.tokens), ("alphabet", codec.alphabet)):
        if text is not None:
            facts[name] = [*text.tokens]
    if codec.tokens is not None:
        facts |= {"level": codec.tokens.level, "split": codec.tokens.split}
        facts["lowercase"] = codec.lowercase
    if codec.labels is not None:
        facts["labels"] = [*codec.labels.values]
    if isinstance(codec.wide, NgramPart):
        reader = codec.wide.reader
        facts["ngrams"] = {"tokens": reader.tokens, "letters": reader.letters}
        facts["ngrams"] |= {"folded": reader.folded.tolist(), "keys": codec.wide.keys.tolist()}
    chain = SequenceNetwork(model).chain
    if chain is not None:
        facts["transitions"] = {name: scores.tolist() for name, scores in vars(chain).items()}
    return facts


class _Builder:
    """The inputs that the members share, and the graph of each member."""

    def __init__(self, model: Model[SequenceConfig, SequenceCodec], single: bool) -> None:
        config, codec = model.config, model.codec
        graph = self.graph = Graph("sequences")
        self.config, self.single, self.cell = config, single, find(config.cell, config.activation)
        if codec.scaler is not None:
            numbers = self._input("numbers", "float64", len(codec.scaler.mean))
            self.steps = standardised(numbers, codec.scaler)
        else:
            self.steps = self._input("tokens", "int64")
        self.lengths = None if single else graph.input("lengths", "int64", "batch")
        if config.alphabet_size:
            # every word of the batch is a sequence of letters: [letters, T·B] and [T·B]
            letters = self._input("letters", "int64", "letters")
            count = letters.op("Shape", start=2)
            shape = graph.constant(np.array([-1])).op("Concat", count, axis=0)
            self.letters = letters.op("Reshape", shape).transpose(1, 0)
            self.sizes = self._input("letter_lengths", "int64").reshape(-1).op("Max", 1)
        # rows of the state before the step, the next one last, and those after it
        self._before, self.after = list[Value](), list[Value]()
        pools = sum(_POOL_ROWS[way] for way in config.pools)
        self.rows = len(self.cell.states) * config.num_layers + pools + bool(pools)
        self.rows *= config.members
        if single:
            state = graph.input("state", "float32", "batch", self.rows, config.hidden_size)
            self._before = state.transpose(1, 0, 2).several("Split", self.rows, axis=0)[::-1]

    def _input(self, name: str, dtype: str, *shape: int | str) -> Value:
        """Add an input with a value for each step; return it as ``[T, B, ...]``."""
        axes = ("batch",) if self.single else ("batch", "time")
        value = self.graph.input(name, dtype, *axes, *shape)
        return value.unsqueeze(0) if self.single else self.batch_first(value, len(shape))

    def batch_first(self, value: Value, further: int = 1) -> Value:
        """Exchange the axes of steps and sequences; a single step loses its axis instead."""
        axes = (1, 0, *range(2, 2 + further))
        return value.squeeze(0) if self.single else value.transpose(*axes)

    def _read(self, arrays: Mapping[str, np.ndarray]) -> Value:
        """Return the inputs of the first layer, ``[T, B, I]``."""
        graph, config = self.graph, self.config
        if config.channels:
            return self.steps
        x = graph.constant(arrays["embedding.weight"]).op("Gather", self.steps)
        if not config.alphabet_size:
            return x

        def by_step(rows: Value, size: int) -> Value:
            return rows.op("Reshape", self.steps.op("Shape").op("Concat", [size], axis=0))

        if config.affixes:
            x += by_step(self._affixes(arrays["affixes.weight"]), config.embedding_size)
        vectors = graph.constant(arrays["alphabet.weight"]).op("Gather", self.letters)
        _, ends = recurrent(Layer(self.cell, arrays, "spelling"), vectors, self.sizes)
        spelled = by_step(ends[0].transpose(1, 0, 2), 2 * config.spelling_size)
        return x.op("Concat", spelled, axis=2)

    def _affixes(self, table: np.ndarray) -> Value:
        """Return the sums of the vectors of each word's affixes, as `elman.labels.affixes` hashes them."""
        rows = list[Value]()
        for from_end, longest in enumerate((PREFIXES, SUFFIXES)):
            hashes = self.sizes * 0 + from_end
            for n in range(longest):
                is_inside = self.sizes > n
                step = is_inside.where(self.sizes * from_end + (-1 - n if from_end else n), 0)
                letter = self.letters.op("GatherElements", step.unsqueeze(0), axis=0).squeeze(0)
                hashes = (hashes * HASH_BASE + is_inside.where(letter + 1, 0)) % HASH_PRIME
                rows.append((hashes % len(table)).unsqueeze(0))
        # [affixes, T·B, E]
        return self.graph.constant(table).op("Gather", concatenated(rows, axis=0)).sum(0)

    def member(self, arrays: Mapping[str, np.ndarray]) -> Value:
        """Return the logits of one member, ``[B, K]``, or for a tagger ``[T, B, K]``."""
        config = self.config
        y, ends = self._read(arrays), list[Value]()
        for k in range(config.num_layers):
            layer = Layer(self.cell, arrays, f"layers.{k}")
            start = [self._before.pop() for _ in self.cell.states] if self.single else []
            y, ends = recurrent(layer, y, self.lengths, start)
            self.after += ends
        if config.pools:
            attention = arrays.get("attention.weight", np.zeros((1, config.output_size)))
            if self.lengths is None:
                y = self._pooled_step(y, y.linear(attention))
            else:
                y = self._pooled(y, ends[0], y.linear(attention), self.lengths)
        return y.linear(arrays["head.weight"], arrays["head.bias"])

    def _pooled(self, y: Value, end: Value, scores: Value, lengths: Value) -> Value:
        """Return the pooled outputs ``[B, P·D]`` of whole sequences ``y [T, B, D]``."""
        is_inside = inside(y, lengths)
        kept, pooled = is_inside.cast("float32"), list[Value]()
        for way in self.config.pools:
            if way == "last":
                pooled.append(end.transpose(1, 0, 2).reshape(0, self.config.output_size))
            elif way == "max":
                pooled.append(is_inside.where(y, -np.inf).op("ReduceMax", axes=[0], keepdims=0))
            elif way == "mean":
                pooled.append((y * kept).sum(0) / lengths.cast("float32").reshape(-1, 1))
            else:
                weights = is_inside.where(scores, -np.inf).op("Softmax", axis=0)
                pooled.append((y * kept * weights).sum(0))
        return concatenated(pooled, axis=1)

    def _pooled_step(self, y: Value, score: Value) -> Value:
        """Return the pooled outputs ``[B, P·H]`` of all steps up to ``y [1, B, H]``."""
        pooled, count = list[Value](), y
        if {*self.config.pools} != {"last"}:
            count = self._before.pop() + 1
            self.after.append(count)
        is_first = count < 2
        for way in self.config.pools:
            rows = [self._before.pop() for _ in range(_POOL_ROWS[way])]
            if way == "last":
                pooled.append(y)
            elif way == "max":
                rows = [is_first.where(y, rows[0].op("Max", y))]
                pooled.append(rows[0])
            elif way == "mean":
                rows = [rows[0] + y]
                pooled.append(rows[0] / count)
            else:
                # a softmax over all steps so far, relative to the largest score, which the state keeps
                largest, total, weighted = rows
                peak = is_first.where(score, largest.op("Max", score))
                fade, weight = (largest - peak).op("Exp"), (score - peak).op("Exp")
                rows = [peak, total * fade + weight, weighted * fade + weight * y]
                pooled.append(rows[2] / rows[1])
            self.after += rows
        return concatenated(pooled, axis=2).squeeze(0)
