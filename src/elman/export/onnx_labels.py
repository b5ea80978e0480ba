"""Graphs of a classifier, regressor or tagger: the answers to whole sequences, or to one more step of each.

Sequences of a batch are filled up to equal lengths with any tokens or numbers, and the graph takes the
lengths. A step continues from a state, which holds the states of the layers and the sums of the poolings.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from elman.cells import find
from elman.engine.layers import Layer, member_arrays
from elman.export.onnx_graph import Graph, Type
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
    graph, K = builder.graph, config.outputs
    members = [builder.member(member_arrays(model.arrays, m)) for m in range(config.members)]
    logits = graph.op("Mean", *members)
    if isinstance(codec.wide, NgramPart):
        logits = graph.op("Add", logits, ngram_logits(graph, codec.wide))
    if isinstance(codec.wide, ConvolutionPart):
        wide = convolution_logits(graph, codec.wide, builder.steps, builder.lengths)
        logits = graph.op("Add", logits, wide)
    axes: tuple[str, ...] = ("batch",)
    if config.kind.per_step:
        logits = builder.batch_first(logits)
        axes = axes if single else ("batch", "time")
    if codec.target is not None:
        value = graph.reshape(graph.cast(logits, "float64"), -1)
        value = graph.op("Mul", value, graph.constant(codec.target.scale))
        value = graph.op("Add", value, graph.constant(codec.target.mean))
        graph.output("answers", value, "float64", "batch")
    else:
        graph.output("logits", logits, "float32", *axes, K)
        if not config.transitions:
            shares = graph.op("Softmax", logits, axis=-1)
            graph.output("probabilities", shares, "float32", *axes, K)
    if single:
        state = graph.op("Transpose", graph.op("Concat", *builder.after, axis=0), perm=[1, 0, 2])
        graph.output("new_state", state, "float32", "batch", builder.rows, config.hidden_size)
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
        config = self.config = model.config
        graph = self.graph = Graph("sequences")
        self.single, self.cell = single, find(config.cell, config.activation)
        if model.codec.scaler is not None:
            numbers = self._input("numbers", "float64", len(model.codec.scaler.mean))
            self.steps = graph.standardised(numbers, model.codec.scaler)
        else:
            self.steps = self._input("tokens", "int64")
        self.lengths = "" if single else graph.input("lengths", "int64", "batch")
        if config.alphabet_size:
            # every word of the batch is a sequence of letters: [letters, T·B] and [T·B]
            letters = self._input("letters", "int64", "letters")
            count = graph.op("Shape", letters, start=2)
            shape = graph.op("Concat", graph.constant([-1]), count, axis=0)
            letters = graph.op("Reshape", letters, shape)
            self.letters = graph.op("Transpose", letters, perm=[1, 0])
            sizes = graph.reshape(self._input("letter_lengths", "int64"), -1)
            self.sizes = graph.op("Max", sizes, graph.constant([1]))
        # rows of the state before the step, the next one last, and those after it
        self._before, self.after = list[str](), list[str]()
        pools = sum(_POOL_ROWS[way] for way in config.pools)
        self.rows = len(self.cell.states) * config.num_layers + pools + bool(pools)
        self.rows *= config.members
        if single:
            state = graph.input("state", "float32", "batch", self.rows, config.hidden_size)
            state = graph.op("Transpose", state, perm=[1, 0, 2])
            self._before = graph.several("Split", self.rows, state, axis=0)[::-1]

    def _input(self, name: str, dtype: Type, *shape: int | str) -> str:
        """Add an input with a value for each step; return it as ``[T, B, ...]``."""
        axes = ("batch",) if self.single else ("batch", "time")
        value = self.graph.input(name, dtype, *axes, *shape)
        if self.single:
            return self.graph.op("Unsqueeze", value, self.graph.constant([0]))
        return self.batch_first(value, len(shape))

    def batch_first(self, value: str, further: int = 1) -> str:
        """Exchange the axes of steps and sequences; a single step loses its axis instead."""
        if self.single:
            return self.graph.op("Squeeze", value, self.graph.constant([0]))
        return self.graph.op("Transpose", value, perm=[1, 0, *range(2, 2 + further)])

    def _read(self, arrays: Mapping[str, np.ndarray]) -> str:
        """Return the inputs of the first layer, ``[T, B, I]``."""
        graph, config = self.graph, self.config
        if config.channels:
            return self.steps
        x = graph.op("Gather", graph.constant(arrays["embedding.weight"]), self.steps)
        if not config.alphabet_size:
            return x

        def by_step(rows: str, size: int) -> str:
            shape = graph.op(
                "Concat", graph.op("Shape", self.steps), graph.constant([size]), axis=0
            )
            return graph.op("Reshape", rows, shape)

        if config.affixes:
            affixes = self._affixes(arrays["affixes.weight"])
            x = graph.op("Add", x, by_step(affixes, config.embedding_size))
        vectors = graph.op("Gather", graph.constant(arrays["alphabet.weight"]), self.letters)
        _, ends = graph.recurrent(Layer(self.cell, arrays, "spelling"), vectors, self.sizes)
        spelled = graph.op("Transpose", ends[0], perm=[1, 0, 2])
        return graph.op("Concat", x, by_step(spelled, 2 * config.spelling_size), axis=2)

    def _affixes(self, table: np.ndarray) -> str:
        """Return the sums of the vectors of each word's affixes, as `elman.labels.affixes` hashes them."""
        graph, op = self.graph, self.graph.op
        one, zero, rows = graph.constant([1]), graph.constant([0]), list[str]()
        last = op("Sub", self.sizes, one)
        for from_end, longest in enumerate((PREFIXES, SUFFIXES)):
            hashes = graph.constant([from_end])
            for n in range(longest):
                place = graph.constant([n])
                inside = op("Less", place, self.sizes)
                step = op("Where", inside, op("Sub", last, place) if from_end else place, zero)
                letter = op("GatherElements", self.letters, op("Unsqueeze", step, zero), axis=0)
                code = op("Where", inside, op("Add", op("Squeeze", letter, zero), one), zero)
                hashes = op("Add", op("Mul", hashes, graph.constant([HASH_BASE])), code)
                hashes = op("Mod", hashes, graph.constant([HASH_PRIME]))
                row = op("Mod", hashes, graph.constant([len(table)]))
                rows.append(op("Unsqueeze", row, zero))
        # [affixes, T·B, E]
        vectors = op("Gather", graph.constant(table), op("Concat", *rows, axis=0))
        return op("ReduceSum", vectors, zero, keepdims=0)

    def member(self, arrays: Mapping[str, np.ndarray]) -> str:
        """Return the logits of one member, ``[B, K]``, or for a tagger ``[T, B, K]``."""
        graph, config = self.graph, self.config
        y, ends = self._read(arrays), list[str]()
        for k in range(config.num_layers):
            layer = Layer(self.cell, arrays, f"layers.{k}")
            start = [self._before.pop() for _ in self.cell.states] if self.single else []
            y, ends = graph.recurrent(layer, y, self.lengths, start)
            self.after += ends
        if config.pools:
            attention = arrays.get("attention.weight", np.zeros((1, config.output_size)))
            pool = self._pooled_step if self.single else self._pooled
            y = pool(y, ends[0], attention.astype(np.float32))
        return graph.linear(y, arrays["head.weight"], arrays["head.bias"])

    def _pooled(self, y: str, end: str, attention: np.ndarray) -> str:
        """Return the pooled outputs ``[B, P·D]`` of whole sequences ``y [T, B, D]``."""
        graph, op, inside = self.graph, self.graph.op, self.graph.mask(y, self.lengths)
        first, outside, pooled = graph.constant([0]), graph.constant(-np.inf), list[str]()

        def total(values: str) -> str:
            return op(
                "ReduceSum", op("Mul", values, graph.cast(inside, "float32")), first, keepdims=0
            )

        for way in self.config.pools:
            if way == "last":
                ends = op("Transpose", end, perm=[1, 0, 2])
                pooled.append(graph.reshape(ends, 0, self.config.output_size))
            elif way == "max":
                values = op("Where", inside, y, outside)
                pooled.append(op("ReduceMax", values, axes=[0], keepdims=0))
            elif way == "mean":
                steps = graph.cast(graph.reshape(self.lengths, -1, 1), "float32")
                pooled.append(op("Div", total(y), steps))
            else:
                scores = op("Where", inside, graph.linear(y, attention), outside)
                pooled.append(total(op("Mul", y, op("Softmax", scores, axis=0))))
        return op("Concat", *pooled, axis=1)

    def _pooled_step(self, y: str, end: str, attention: np.ndarray) -> str:
        """Return the pooled outputs ``[B, P·H]`` of all steps up to ``y [1, B, H]``."""
        graph, op, pooled = self.graph, self.graph.op, list[str]()
        is_first = count = ""
        if {*self.config.pools} != {"last"}:
            before = self._before.pop()
            is_first = op("Equal", before, graph.constant(0.0))
            count = op("Add", before, graph.constant(1.0))
            self.after.append(count)
        for way in self.config.pools:
            rows = [self._before.pop() for _ in range(_POOL_ROWS[way])]
            if way == "last":
                pooled.append(end)
            elif way == "max":
                rows = [op("Where", is_first, y, op("Max", rows[0], y))]
                pooled.append(rows[0])
            elif way == "mean":
                rows = [op("Add", rows[0], y)]
                pooled.append(op("Div", rows[0], count))
            else:
                # a softmax over all steps so far, relative to the largest score, which the state keeps
                score, (largest, *sums) = graph.linear(y, attention), rows
                peak = op("Where", is_first, score, op("Max", largest, score))
                fade, weight = (
                    op("Exp", op("Sub", largest, peak)),
                    op("Exp", op("Sub", score, peak)),
                )
                terms = zip(sums, (weight, op("Mul", weight, y)), strict=True)
                rows = [peak, *(op("Add", op("Mul", row, fade), term) for row, term in terms)]
                pooled.append(op("Div", rows[2], rows[1]))
            self.after += rows
        return graph.reshape(
            op("Concat", *pooled, axis=2), -1, len(pooled) * self.config.hidden_size
        )
