"""Fit of a linear model on random convolutions: ridge regression with leave-one-out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from elman.labels.calibration import fit_temperature
from elman.labels.convolutions import ConvolutionPart, Convolutions
from elman.labels.linear_models import DEFAULT_SETTINGS, FitSettings
from elman.labels.ridge import fit_ridge

MANY_SEQUENCES = 2_500
FEATURES, FEATURES_OF_MANY = 5_000, 2_500
"""Features for few sequences, and for `MANY_SEQUENCES`, where a ridge regression on more takes minutes."""
MAX_SEQUENCES, MAX_STEPS = 20_000, 1 << 24
"""Training sequences, and their time steps, that the model is fitted on."""
MAX_CHANNELS = 256
LEVEL_WEIGHT = 0.3
"""Standard deviation of all levels together, against that of all convolutions."""


class FittedConvolutions(NamedTuple):
    """A fitted part, and what it answers to the sequences that it was fitted on."""

    part: ConvolutionPart
    strength: float
    rows: np.ndarray
    """int64 ``[M]``: the sequences that it was fitted on."""
    left_out: np.ndarray
    """Logits ``[M, K]`` of each of them by a model without it."""


def fit_convolutions(
    sequences: Sequence[np.ndarray],
    targets: np.ndarray,
    outputs: int,
    settings: FitSettings = DEFAULT_SETTINGS,
) -> FittedConvolutions | None:
    """Fit a linear model on random convolutions of scaled sequences ``[T_i, C]``.

    Args:
        sequences: The training set.
        targets: Numbers of its labels ``[N]``; or standardised numbers, with one output.
        outputs: Number of labels; 1 for numbers.
        settings: The seed of the convolutions, the weights of classes, and the strength if it is known.

    Returns:
        The fitted model; its logits are calibrated. None if there is nothing to learn, or too many channels.

    >>> draw = np.random.default_rng(0)
    >>> waves = [np.sin(np.arange(40) / (1 + i % 2) + draw.normal())[:, None] for i in range(20)]
    >>> fitted = fit_convolutions(waves, np.arange(20) % 2, 2)
    >>> (fitted.left_out.argmax(axis=1) == np.arange(20) % 2).mean().item()
    1.0
    """
    rows = np.random.default_rng(settings.seed).permutation(len(sequences))[:MAX_SEQUENCES]
    steps = np.cumsum([len(sequences[row]) for row in rows.tolist()])
    rows = np.sort(rows[: max(2, int(np.searchsorted(steps, MAX_STEPS, side="right")))])
    kept, answers = [sequences[row] for row in rows.tolist()], targets[rows]
    if sequences[0].shape[1] > MAX_CHANNELS or len(np.unique(answers)) < 2:
        return None
    count = FEATURES if len(rows) <= MANY_SEQUENCES else FEATURES_OF_MANY
    convolutions = Convolutions.of(kept, count, settings.seed)
    features = convolutions.features(kept)
    scale = _scale(features, convolutions)
    features *= scale
    weights = np.ones(len(rows))
    if settings.balanced and outputs > 1:
        weights = 1 / np.bincount(answers, minlength=outputs)[answers]
        weights /= weights.mean()
    wanted = np.eye(outputs)[answers] if outputs > 1 else answers[:, None].astype(np.float64)
    ridge = fit_ridge(features, wanted, weights, settings.strength)
    means = ridge.means / np.maximum(scale, np.finfo(np.float32).tiny)
    part = ConvolutionPart(
        convolutions,
        means.astype(np.float32),
        (ridge.weights * scale[:, None]).astype(np.float32),
        ridge.bias,
    )
    factor = 1 / fit_temperature(ridge.left_out, answers) if outputs > 1 else 1.0
    return FittedConvolutions(part.scaled(factor), ridge.strength, rows, factor * ridge.left_out)


def _scale(features: np.ndarray, convolutions: Convolutions) -> np.ndarray:
    """Return the factor of each feature that standardises it and weighs levels and convolutions."""
    deviation = features.std(axis=0)
    scale = np.where(deviation > 1e-6, 1 / np.maximum(deviation, 1e-6), 0).astype(np.float32)
    levels = convolutions.levels.size
    scale[-levels:] *= LEVEL_WEIGHT * np.sqrt((len(scale) - levels) / levels)
    return scale
