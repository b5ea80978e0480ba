"""Graphs of the linear models that are added to a classifier or regressor."""

from __future__ import annotations

import numpy as np

from elman.export.onnx_graph import Graph, Value
from elman.export.onnx_layers import concatenated, inside
from elman.labels.convolutions import KERNEL_SIZE, KERNELS, ConvolutionPart
from elman.labels.ngrams import NgramPart


def ngram_logits(graph: Graph, part: NgramPart) -> Value:
    """Return the logits ``[B, K]`` of the n-grams of texts, from which n-grams a text has, and how often.

    The hashes are computed outside: ONNX of this version has no exclusive or. The inputs are the place of
    each known n-gram among the keys, and its count in the text; a count of 0 fills up a row.
    """
    features = graph.input("ngrams", "int64", "batch", "ngrams")
    counts = graph.input("ngram_counts", "float32", "batch", "ngrams")

    def of_feature(values: np.ndarray) -> Value:
        # one more row, so that a part without n-grams has one too
        table = np.concatenate([values, np.zeros((1, *values.shape[1:]), values.dtype)])
        return graph.constant(table).op("Gather", features).cast("float32")

    # (1 + ln count) · scale, and 0 for a count of 0
    values = (counts.op("Max", 1).op("Log") + counts.op("Min", 1)) * of_feature(part.scale)
    # n-grams of tokens have even hashes, those of letters odd ones; each kind is divided by its norm
    kinds = [values * of_feature(part.keys % 2 == kind) for kind in (0, 1)]
    least = float(np.sqrt(np.finfo(np.float32).tiny))
    even, odd = (kind / kind.op("ReduceL2", axes=[1]).op("Max", least) for kind in kinds)
    return ((even + odd).unsqueeze(2) * of_feature(part.weights)).sum(1) + part.bias


def convolution_logits(part: ConvolutionPart, x: Value, lengths: Value) -> Value:
    """Return the logits ``[B, K]`` of the random convolutions of standardised numbers ``x [T, B, C]``."""
    found = part.convolutions
    # [B, C, T], 0 behind the end of a sequence
    x = inside(x, lengths).where(x, 0).transpose(1, 2, 0)
    steps, lengths = x.steps(2), lengths.reshape(-1, 1)

    def shares(values: Value, thresholds: np.ndarray, reach: int) -> Value:
        """Return the share of the steps at which ``values [B, N, T]`` exceed ``thresholds [N, M]``."""
        # only complete windows count, except in sequences that are too short to have one
        has_some = (lengths > 2 * reach).cast("int64")
        first = has_some * reach
        counts = (steps < lengths - first).op("And", (steps < first).op("Not")).unsqueeze(1, 2)
        above = (values.unsqueeze(2) > thresholds[:, :, None]).op("And", counts)
        total = above.cast("float32").sum(3).reshape(0, -1)
        return total / (lengths - first * 2).cast("float32")

    D, N, M = found.thresholds.shape
    features, order, numbers = list[Value](), list[np.ndarray](), np.arange(N)
    for d, dilation in enumerate(found.dilations.tolist()):
        reach = dilation * (KERNEL_SIZE // 2)
        for parity in (0, 1):
            kernels = numbers[(numbers + d) % 2 == parity]
            weights = KERNELS[kernels][:, None] * found.channels[d, kernels][:, :, None]
            values = x.op("Conv", weights, dilations=[dilation], pads=[reach, reach])
            features.append(shares(values, found.thresholds[d, kernels], reach * parity))
            order.append(((d * N + kernels)[:, None] * M + np.arange(M)).ravel())
    features.append(shares(x, found.levels.T, 0))
    levels = D * N * M + np.arange(found.levels.size).reshape(found.levels.shape)
    rows = np.concatenate([*order, levels.T.ravel()])
    means: np.ndarray = part.means[rows]
    centred = (concatenated(features, axis=1) - means).cast("float64")
    return (centred.linear(part.weights[rows].T) + part.bias).cast("float32")
