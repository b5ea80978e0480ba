"""Graphs of the linear models that are added to a classifier or regressor."""

from __future__ import annotations

import numpy as np

from elman.export.onnx_graph import Graph
from elman.labels.convolutions import KERNEL_SIZE, KERNELS, ConvolutionPart
from elman.labels.ngrams import NgramPart


def ngram_logits(graph: Graph, part: NgramPart) -> str:
    """Return the logits ``[B, K]`` of the n-grams of texts, from which n-grams a text has, and how often.

    The hashes are computed outside: ONNX of this version has no exclusive or. The inputs are the place of
    each known n-gram among the keys, and its count in the text; a count of 0 fills up a row.
    """
    op, last, one = graph.op, graph.constant([-1]), graph.constant([1.0])
    features = graph.input("ngrams", "int64", "batch", "ngrams")
    counts = graph.input("ngram_counts", "float32", "batch", "ngrams")

    def of_feature(values: np.ndarray) -> str:
        # one more row, so that a part without n-grams has one too
        table = np.concatenate([values, np.zeros((1, *values.shape[1:]), values.dtype)])
        return graph.cast(op("Gather", graph.constant(table), features), "float32")

    # (1 + ln count) · scale, and 0 for a count of 0
    factor = op("Add", op("Log", op("Max", counts, one)), op("Min", counts, one))
    values, terms = op("Mul", factor, of_feature(part.scale)), list[str]()
    least = graph.constant([float(np.sqrt(np.finfo(np.float32).tiny))])
    # n-grams of tokens have even hashes, those of letters odd ones; each kind is divided by its norm
    for kind in (0, 1):
        own = op("Mul", values, of_feature((part.keys % 2 == kind).astype(np.float32)))
        norm = op("ReduceL2", own, axes=[1])
        terms.append(op("Div", own, op("Max", norm, least)))
    weighted = op("Mul", op("Unsqueeze", op("Add", *terms), last), of_feature(part.weights))
    total = op("ReduceSum", weighted, graph.constant([1]), keepdims=0)
    return op("Add", total, graph.constant(part.bias))


def convolution_logits(graph: Graph, part: ConvolutionPart, x: str, lengths: str) -> str:
    """Return the logits ``[B, K]`` of the random convolutions of standardised numbers ``x [T, B, C]``."""
    op, found = graph.op, part.convolutions
    inside = graph.mask(x, lengths)
    # [B, C, T], 0 behind the end of a sequence
    x = op("Transpose", op("Where", inside, x, graph.constant([0.0])), perm=[1, 2, 0])
    steps = op(
        "Range", graph.constant(0), op("Squeeze", op("Shape", x, start=2)), graph.constant(1)
    )
    lengths = graph.reshape(lengths, -1, 1)

    def shares(values: str, thresholds: np.ndarray, reach: int) -> str:
        """Return the share of the steps at which ``values [B, N, T]`` exceed ``thresholds [N, M]``."""
        # only complete windows count, except in sequences that are too short to have one
        has_some = op("Less", graph.constant([2 * reach]), lengths)
        first = op("Where", has_some, graph.constant([reach]), graph.constant([0]))
        counts = op("Less", steps, op("Sub", lengths, first))
        counts = op("And", counts, op("GreaterOrEqual", steps, first))
        above = op("Greater", op("Unsqueeze", values, graph.constant([2])),
                   graph.constant(thresholds[:, :, None]))  # fmt: skip
        above = op("And", above, op("Unsqueeze", counts, graph.constant([1, 2])))
        total = op("ReduceSum", graph.cast(above, "float32"), graph.constant([3]), keepdims=0)
        span = op("Sub", lengths, op("Add", first, first))
        return op("Div", graph.reshape(total, 0, -1), graph.cast(span, "float32"))

    D, N, M = found.thresholds.shape
    features, order, numbers = list[str](), list[np.ndarray](), np.arange(N)
    for d, dilation in enumerate(found.dilations.tolist()):
        reach = dilation * (KERNEL_SIZE // 2)
        for parity in (0, 1):
            kernels = numbers[(numbers + d) % 2 == parity]
            weights = KERNELS[kernels][:, None] * found.channels[d, kernels][:, :, None]
            values = op("Conv", x, graph.constant(weights), dilations=[dilation],
                        pads=[reach, reach])  # fmt: skip
            features.append(shares(values, found.thresholds[d, kernels], reach * parity))
            order.append(((d * N + kernels)[:, None] * M + np.arange(M)).ravel())
    features.append(shares(x, found.levels.T, 0))
    levels = D * N * M + np.arange(found.levels.size).reshape(found.levels.shape)
    rows = np.concatenate([*order, levels.T.ravel()])
    centred = op("Sub", op("Concat", *features, axis=1), graph.constant(part.means[rows]))
    weights = graph.cast(graph.constant(part.weights[rows]), "float64")
    logits = op("MatMul", graph.cast(centred, "float64"), weights)
    return graph.cast(op("Add", logits, graph.constant(part.bias)), "float32")
