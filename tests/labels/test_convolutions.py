from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from sklearn.linear_model import Ridge
from sklearn.model_selection import LeaveOneOut, cross_val_predict

import elman
from elman import tasks
from elman.errors import ModelFileError
from elman.explain.explanation import DECOMPOSITION, INTEGRATED
from elman.labels.batches import EncodedSequences
from elman.labels.convolution_fit import fit_convolutions
from elman.labels.convolutions import KERNELS, ConvolutionPart, Convolutions
from elman.labels.dataset import Sequences
from elman.labels.linear_models import FitSettings
from elman.labels.ridge import fit_ridge


def waves(count: int, channels: int = 1, seed: int = 0) -> tuple[list[np.ndarray], np.ndarray]:
    """Return noisy sines of 5 to 60 steps whose frequency is the label."""
    draw = np.random.default_rng(seed)
    labels, lengths = draw.integers(0, 2, count), draw.integers(5, 60, count)
    sequences = [
        np.sin(np.arange(length)[:, None] * (0.4 + 0.5 * label) + draw.uniform(0, 6, channels))
        + 0.2 * draw.normal(size=(length, channels))
        for length, label in zip(lengths.tolist(), labels.tolist(), strict=True)
    ]
    return [sequence.astype(np.float32) for sequence in sequences], labels


def plain_features(convolutions: Convolutions, sequence: np.ndarray) -> np.ndarray:
    """Return the features of one sequence, by loops over steps, kernels and thresholds."""
    T, C = sequence.shape
    features = []
    for d, dilation in enumerate(convolutions.dilations.tolist()):
        for k in range(len(KERNELS)):
            values = []
            for t in range(T):
                reads = [t + (j - 4) * dilation for j in range(9)]
                if (k + d) % 2 and 8 * dilation < T and not (reads[0] >= 0 and reads[-1] < T):
                    continue
                values.append(
                    sum(
                        float(KERNELS[k, j]) * float(sequence[at, c])
                        for j, at in enumerate(reads)
                        for c in np.flatnonzero(convolutions.channels[d, k]).tolist()
                        if 0 <= at < T
                    )
                )
            features += [np.mean(np.array(values) > b) for b in convolutions.thresholds[d, k]]
    for level in convolutions.levels:
        features += [np.mean(sequence[:, c] > level[c]) for c in range(C)]
    return np.array(features)


@pytest.mark.parametrize("channels", [1, 3])
def test_features_are_those_of_plain_loops(channels: int) -> None:
    sequences, _ = waves(12, channels)
    convolutions = Convolutions.of(sequences, 700, seed=0)
    sequences.append(sequences[0][:1])
    features = convolutions.features(sequences)
    # a value that is equal to its threshold but for rounding may count or not
    for row in (0, 1, 12):
        plain = plain_features(convolutions, sequences[row])
        assert np.mean(abs(features[row] - plain) > 1e-6) < 0.02
    assert len(np.unique(convolutions.thresholds)) > convolutions.thresholds.size / 2


@pytest.mark.parametrize("shape", [(30, 12), (12, 30)])
def test_ridge_agrees_with_scikit_learn(shape: tuple[int, int]) -> None:
    draw = np.random.default_rng(0)
    X, Y = draw.normal(size=shape) + 3, draw.normal(size=(shape[0], 2)) - 1
    fitted = fit_ridge(X, Y, np.ones(len(X)), 0.1)
    alpha = 0.1 * np.mean(np.sum((X - X.mean(0)) ** 2, axis=1))
    oracle = Ridge(alpha=alpha).fit(X, Y)
    answers = (X - fitted.means) @ fitted.weights + fitted.bias
    assert answers == pytest.approx(oracle.predict(X))
    left_out = cross_val_predict(Ridge(alpha=alpha), X, Y, cv=LeaveOneOut())
    # the means that centre the features belong to the left-out fit too
    assert fitted.left_out == pytest.approx(left_out, abs=2e-2)
    weights = draw.integers(1, 4, len(X)).astype(float)
    heavy = fit_ridge(X, Y, weights, 0.1)
    distances = np.sum((X - np.average(X, axis=0, weights=weights)) ** 2, axis=1)
    oracle = Ridge(alpha=0.1 * np.mean(weights * distances)).fit(X, Y, sample_weight=weights)
    answers = (X - heavy.means) @ heavy.weights + heavy.bias
    assert answers == pytest.approx(oracle.predict(X))


@pytest.mark.parametrize("shape", [(4, 3), (4, 8)])
def test_equal_rows_are_answered_by_the_mean(shape: tuple[int, int]) -> None:
    targets = np.array([[0.0], [1.0], [1.0], [0.0]])
    fitted = fit_ridge(np.ones(shape, np.float32), targets, np.ones(4), None)
    assert (fitted.weights.tolist(), fitted.bias.tolist()) == ([[0.0]] * shape[1], [0.5])
    # the answer for a row without it is the mean of the other three
    assert fitted.left_out == pytest.approx((targets.sum() - targets) / 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_the_part_learns_and_its_shares_are_exact(channels: int) -> None:
    sequences, labels = waves(60, channels)
    fitted = fit_convolutions(sequences, labels, 2)
    assert fitted is not None
    part = fitted.part.scaled(0.5)
    others, truth = waves(100, channels, seed=1)
    logits = part.logits(EncodedSequences(others))
    assert (logits.argmax(axis=1) == truth).mean() > 0.9
    for row in range(3):
        shares = part.shares(EncodedSequences(others[row : row + 1]), 1)
        assert shares.elements.shape == others[row].shape
        assert shares.elements.sum() + shares.bias == pytest.approx(logits[row, 1], abs=1e-4)
    # what a model without the sequence answers differs from what the model itself answers
    inside = fitted.part.logits(EncodedSequences(sequences))
    assert abs(inside - fitted.left_out).max() > 1e-3
    assert (fitted.left_out.argmax(axis=1) == labels).mean() > 0.9


def test_numbers_and_rare_classes() -> None:
    sequences, labels = waves(60)
    numbers = fit_convolutions(sequences, labels - 0.5, 1)
    assert numbers is not None
    assert np.corrcoef(numbers.left_out[:, 0], labels)[0, 1] > 0.9
    draw = np.random.default_rng(0)
    noise = [draw.normal(size=(20, 1)).astype(np.float32) for _ in range(60)]
    rare = (np.arange(60) % 6 == 0).astype(np.int64)
    shares = []
    for balanced in (False, True):
        fitted = fit_convolutions(noise, rare, 2, FitSettings(balanced=balanced))
        assert fitted is not None
        shares.append((fitted.left_out.argmax(axis=1) == 1).mean())
    assert shares[0] < 0.1 < shares[1]
    assert fit_convolutions(noise, np.zeros(60, np.int64), 2) is None


def test_the_part_is_stored_and_checked() -> None:
    fitted = fit_convolutions(*waves(20, 2), 2)
    assert fitted is not None
    form, arrays = fitted.part.to_parts()
    stored = ConvolutionPart.from_parts(form, arrays)
    encoded = EncodedSequences(waves(5, 2, seed=1)[0])
    assert (stored.logits(encoded) == fitted.part.logits(encoded)).all()

    def refused(**changed: Any) -> None:
        with pytest.raises(ModelFileError):
            ConvolutionPart.from_parts(
                form, arrays | {f"codec.wide.{name}": array for name, array in changed.items()}
            )

    refused(dilations=np.array([0, 1]))
    refused(bias=np.array([np.nan, 0.0]))
    refused(weights=np.zeros((3, 2), np.float32))
    refused(means=np.zeros(3, np.float64))
    refused(channels=np.zeros_like(arrays["codec.wide.channels"]))


def test_training_adds_the_part_and_explanations_include_it() -> None:
    draw = np.random.default_rng(0)
    sequences, labels = waves(60, 2)
    # a gap in every tenth sequence
    for sequence in sequences[::10]:
        sequence[draw.integers(len(sequence))] = np.nan
    names = np.array(["slow", "fast"])[labels]
    how: dict[str, Any] = {"steps": 6, "hidden_size": 4, "members": 1, "missing": "mask"}
    model = elman.SequenceClassifier(**how).fit(sequences, names)
    wide = model.model_.codec.wide
    assert isinstance(wide, ConvolutionPart)
    others, truth = waves(100, 2, seed=1)
    assert (model.predict(others) == np.array(["slow", "fast"])[truth]).mean() > 0.9
    # the network alone has learned nothing yet
    alone = replace(model.model_, codec=replace(model.model_.codec, wide=None))
    without: Any = tasks.open_model(alone)
    assert (without.predict(others) == np.array(["slow", "fast"])[truth]).mean() < 0.8
    for method in (DECOMPOSITION, INTEGRATED):
        for of in ("steps", "channels"):
            told = model.explain(others[0], target="fast", method=method, of=of)
            assert "Convolutions count at the middle" in told.note
            total = told.contributions.sum() + told.bias + told.residual
            assert total == pytest.approx(told.score, abs=1e-4)
            score = without.explain(others[0], target="fast", method=method, of=of).score
            fast = [*model.classes_].index("fast")
            encoded = EncodedSequences.of(model.model_.codec, Sequences.of(others[:1]))
            assert told.score - score == pytest.approx(wide.logits(encoded)[0, fast], abs=1e-4)
    moved = model.explain(others[0], target="fast")
    assert len(moved.contributions) == len(others[0])


def test_numbers_of_sequences_have_a_wide_part_too() -> None:
    sequences, labels = waves(60)
    model = elman.SequenceRegressor(steps=6, members=1).fit(sequences, 100.0 + 7 * labels)
    assert isinstance(model.model_.codec.wide, ConvolutionPart)
    others, truth = waves(50, seed=1)
    report = model.evaluate(others, 100.0 + 7 * truth)
    assert report.methods[0].pearson is not None
    assert report.methods[0].pearson > 0.8
    assert "Spearman" in str(report)
