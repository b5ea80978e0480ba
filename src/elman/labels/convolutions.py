"""The wide part of sequences of numbers: a linear model on features of random convolutions.

The features follow MiniRocket (A. Dempster et al., arXiv:2012.08791). There are 84 kernels of 9 weights, six
of them -1 and three of them 2, each at several dilations. A feature is the share of the time steps at which a
convolution exceeds a threshold, and thresholds are quantiles of convolutions of training sequences. The
kernels sum to zero, so features of a second kind tell levels: the share of the steps at which a channel
itself exceeds a quantile of training.

A logit is thus a sum over time steps, which `ConvolutionPart.shares` takes apart exactly.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple, Self

import numpy as np

from elman.errors import ModelFileError
from elman.files.container import Facts, JsonObject
from elman.labels.config import SequenceConfig
from elman.labels.wide import Encoded, WidePart, WideShares

KERNEL_SIZE = 9
_TWOS = np.array([*itertools.combinations(range(KERNEL_SIZE), 3)])
KERNELS = np.full((len(_TWOS), KERNEL_SIZE), -1, np.float32)
"""Weights of the kernels, ``[84, 9]``."""
np.put_along_axis(KERNELS, _TWOS, 2, axis=1)
LEVELS = 16
"""Thresholds of each channel."""
MAX_KERNEL_CHANNELS = 9
"""Channels that one convolution adds up at most, as in MiniRocket for several channels."""
SAMPLED_SEQUENCES, CONVOLVED_SEQUENCES, SAMPLED_STEPS = 64, 8, 100_000
"""Largest numbers of training sequences, and of their steps, whose quantiles become thresholds."""
STEPS_PER_BLOCK = 4096
"""Time steps that are convolved at once, so that they stay in the cache."""
_ARRAYS: dict[str, tuple[type[np.generic], int]] = {
    "dilations": (np.int64, 1),
    "channels": (np.bool_, 3),
    "thresholds": (np.float32, 3),
    "levels": (np.float32, 2),
    "means": (np.float32, 1),
    "weights": (np.float32, 2),
    "bias": (np.float64, 1),
}


class Exceeded(NamedTuple):
    """Time steps at which some values exceed their thresholds."""

    features: np.ndarray
    """int64 ``[F']``: numbers of the features."""
    first: int
    """The first time step of `steps`."""
    steps: np.ndarray
    """bool ``[T', N, F']``."""
    channels: np.ndarray
    """bool ``[F', C]``: the channels that each feature reads."""


@dataclass(frozen=True, eq=False)
class Convolutions:
    """Dilations D, kernels and thresholds of the features of sequences ``[T_i, C]``; immutable."""

    dilations: np.ndarray
    """int64 ``[D]``: distance of the steps that neighbouring weights of a kernel read."""
    channels: np.ndarray
    """bool ``[D, 84, C]``: the channels that each convolution adds up."""
    thresholds: np.ndarray
    """float32 ``[D, 84, B]``: thresholds of each convolution."""
    levels: np.ndarray
    """float32 ``[Q, C]``: thresholds of the channels themselves."""

    @classmethod
    def of(cls, sequences: Sequence[np.ndarray], features: int, seed: int) -> Convolutions:
        """Return random convolutions for sequences ``[T_i, C]``, with about so many features."""
        draw = np.random.default_rng(seed)
        length, C = int(np.median([len(one) for one in sequences])), sequences[0].shape[1]
        # the widest kernel spans a sequence of median length
        widest = max(1.0, (length - 1) / (KERNEL_SIZE - 1))
        octaves = np.arange(0, math.log2(widest) + 1e-9, 0.5)
        dilations = np.unique((2**octaves).astype(np.int64))
        D, K = len(dilations), len(KERNELS)
        channels = np.ones((D, K, C), bool)
        if C > 1:
            counts = 2 ** draw.uniform(0, math.log2(min(C, MAX_KERNEL_CHANNELS) + 1), (D, K))
            ranks = draw.random((D, K, C)).argsort(axis=2).argsort(axis=2)
            channels = ranks < counts.astype(np.int64)[..., None]
        B = max(1, features // (D * K))
        # multiples of the golden ratio spread evenly between 0 and 1
        quantiles = (np.arange(1, D * K * B + 1) * (1 + math.sqrt(5)) / 2 % 1).reshape(D, K, B)
        rows = np.concatenate(_sample(sequences, SAMPLED_SEQUENCES, draw))
        levels = np.quantile(rows, (np.arange(LEVELS) + 0.5) / LEVELS, axis=0)
        thresholds = np.empty((D, K, B), np.float32)
        found = cls(dilations, channels, thresholds, levels.astype(np.float32))
        for d in range(D):
            sampled = _sample(sequences, CONVOLVED_SEQUENCES, draw)
            every = [found.convolved(sequence[:, None], d) for sequence in sampled]
            # the convolutions of all sampled sequences by half of the kernels
            for parts in zip(*every, strict=True):
                values = np.concatenate([part[:, 0] for _, _, part in parts])
                for column, kernel in enumerate(parts[0][0].tolist()):
                    thresholds[d, kernel] = np.quantile(values[:, column], quantiles[d, kernel])
        return found

    @property
    def count(self) -> int:
        """Number of features, F."""
        return self.thresholds.size + self.levels.size

    def convolved(self, block: np.ndarray, d: int) -> Iterator[tuple[np.ndarray, int, np.ndarray]]:
        """Yield the convolutions of sequences ``[T, N, C]`` at dilation number `d`.

        Yields:
            Numbers of some kernels ``[K']``, the first time step, and values float32 ``[T', N, K']``.
        """
        T, N, C = block.shape
        dilation = int(self.dilations[d])
        reach = dilation * (KERNEL_SIZE // 2)
        padded = np.zeros((T + 2 * reach, N, C), np.float32)
        padded[reach : reach + T] = block
        # [T, N, 9, C]: the steps that a kernel reads around each step
        taps = [padded[j * dilation : j * dilation + T] for j in range(KERNEL_SIZE)]
        read = np.stack(taps, axis=2)
        numbers = np.arange(len(KERNELS))
        for parity in (0, 1):
            kernels = numbers[(numbers + d) % 2 == parity]
            # every second kernel reads only complete windows, the others zeros beyond the ends
            first = reach if parity and 2 * reach < T else 0
            inside = read[first : T - first].reshape(-1, KERNEL_SIZE * C)
            weights = KERNELS[kernels][:, :, None] * self.channels[d, kernels][:, None]
            values = inside @ weights.reshape(len(kernels), -1).T.astype(np.float32)
            yield kernels, first, values.reshape(-1, N, len(kernels))

    def exceeded(self, block: np.ndarray) -> Iterator[Exceeded]:
        """Yield for all features, some at a time, the steps of ``block [T, N, C]`` that count for them."""
        D, K, B = self.thresholds.shape
        for d in range(D):
            for kernels, first, values in self.convolved(block, d):
                channels, thresholds = self.channels[d, kernels], self.thresholds[d, kernels]
                for b in range(B):
                    features = (d * K + kernels) * B + b
                    yield Exceeded(features, first, values > thresholds[:, b], channels)
        every = np.eye(block.shape[2], dtype=bool)
        for q, level in enumerate(self.levels):
            features = D * K * B + q * len(level) + np.arange(len(level))
            yield Exceeded(features, 0, block > level, every)

    def features(self, sequences: Sequence[np.ndarray]) -> np.ndarray:
        """Return the features of sequences ``[T_i, C]``, float32 ``[N, F]``, between 0 and 1."""
        shares = np.empty((len(sequences), self.count), np.float32)
        lengths = np.array([len(sequence) for sequence in sequences])
        for length in np.unique(lengths).tolist():
            alike, size = np.flatnonzero(lengths == length), max(1, STEPS_PER_BLOCK // length)
            for rows in np.split(alike, range(size, len(alike), size)):
                block = np.stack([sequences[row] for row in rows.tolist()], axis=1)
                for found in self.exceeded(block):
                    # bytes are added up several times as fast as booleans are averaged
                    counts = found.steps.view(np.uint8).sum(axis=0, dtype=np.uint32)
                    shares[np.ix_(rows, found.features)] = counts / len(found.steps)
        return shares


def _sample(
    sequences: Sequence[np.ndarray], count: int, draw: np.random.Generator
) -> list[np.ndarray]:
    """Return so many random sequences, cut to `SAMPLED_STEPS` in all."""
    sampled, room = [], SAMPLED_STEPS
    for row in draw.permutation(len(sequences))[:count].tolist():
        if room:
            sampled.append(sequences[row][:room])
            room -= len(sampled[-1])
    return sampled


@dataclass(frozen=True, eq=False)
class ConvolutionPart(WidePart):
    """A linear model of the features of random convolutions.

    With the features ``f [F]`` of a sequence its logits are ``(f - means) @ weights + bias``.
    """

    kind = "convolutions"
    note = "Convolutions count at the middle step of their kernel, against their mean in training."
    convolutions: Convolutions
    means: np.ndarray
    """float32 ``[F]``: means of the features in training."""
    weights: np.ndarray
    """float32 ``[F, K]``."""
    bias: np.ndarray
    """float64 ``[K]``."""

    def problem(self, config: SequenceConfig) -> str:
        """Return in words why the part does not fit a network of this configuration, or "" if it does."""
        channels = self.convolutions.levels.shape[1]
        if config.channels != channels:
            return f"convolutions of {channels} channels"
        return super().problem(config)

    def logits(self, encoded: Encoded) -> np.ndarray:
        """Return the logits of each sequence, float64 ``[N, K]``."""
        features = self.convolutions.features(encoded.sequences)
        return np.asarray((features - self.means).astype(np.float64) @ self.weights + self.bias)

    def shares(self, encoded: Encoded, output: int, *, letters: bool = False) -> WideShares:
        """Return the share of each number, against the mean features of training.

        A step at which a threshold is exceeded counts at the middle of the kernel, equally for all channels
        that the convolution adds up.
        """
        del letters
        sequence = encoded.sequences[0]
        elements = np.zeros(sequence.shape)
        for found in self.convolutions.exceeded(sequence[:, None]):
            each = self.weights[found.features, output] / len(found.steps)
            # [T', F'], against a feature that is its mean at every step
            terms = (found.steps[:, 0] - self.means[found.features]) * each
            divided = found.channels / found.channels.sum(axis=1, keepdims=True)
            elements[found.first : found.first + len(terms)] += terms @ divided
        return WideShares(elements, float(self.bias[output]))

    def scaled(self, factor: float) -> Self:
        """Return the same model with logits multiplied by `factor`."""
        weights = (self.weights * factor).astype(np.float32)
        return replace(self, weights=weights, bias=self.bias * factor)

    def to_parts(self) -> tuple[JsonObject, dict[str, np.ndarray]]:
        """Return the kind, and the arrays ``codec.wide.…``."""
        fields = vars(self.convolutions) | vars(self)
        return {"kind": self.kind}, {f"codec.wide.{name}": fields[name] for name in _ARRAYS}

    @classmethod
    def from_parts(cls, form: Facts, arrays: Mapping[str, np.ndarray]) -> Self:
        """Return the part stored by `to_parts`; raises ModelFileError for anything else."""
        if form.keys() != {"kind"}:
            raise ModelFileError("codec wide", got=sorted(form), expected="a kind")
        fields: dict[str, np.ndarray] = {}
        for name, (dtype, dimensions) in _ARRAYS.items():
            array = arrays.get(f"codec.wide.{name}")
            if array is None or array.dtype != dtype or array.ndim != dimensions:
                expected = f"{dtype.__name__} in {dimensions} dimensions"
                raise ModelFileError(f"codec wide {name}", expected=expected)
            if not np.isfinite(array).all():
                raise ModelFileError(f"codec wide {name}", expected="finite numbers")
            fields[name] = array
        convolutions = Convolutions(*(fields.pop(name) for name in [*_ARRAYS][:4]))
        part = cls(convolutions, **fields)
        D, K, C = convolutions.channels.shape
        fits = (
            convolutions.dilations.shape == (D,)
            and ((convolutions.dilations > 0) & (convolutions.dilations < 1 << 32)).all()
            and convolutions.thresholds.shape[:2] == (D, len(KERNELS)) == (D, K)
            and convolutions.levels.shape[1] == C
            and convolutions.channels.any(axis=2).all()
            and part.means.shape == (convolutions.count,)
            and part.weights.shape == (convolutions.count, len(part.bias))
        )
        if not fits:
            raise ModelFileError("codec wide", expected="convolutions, with a weight for each")
        return part
