"""Comparison of a network with plain models: fitted on its training set, measured on its test set."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from elman.labels.baselines import (
    Baseline,
    convolution_model,
    linear_classifier,
    linear_regressor,
    linear_tagger,
    majority,
    mean,
    most_frequent_tag,
)
from elman.labels.codec import SequenceCodec
from elman.labels.confusion import ENTITY_F1, BaselineFigures, TrueTags
from elman.labels.examples import LabelledSequences
from elman.labels.label_values import Labels
from elman.labels.linear_models import DEFAULT_SETTINGS, FitSettings
from elman.labels.metrics import RegressionFigures, classification, regression
from elman.training.journal import JsonObject


def fit_baselines(
    training: LabelledSequences,
    labels: Labels | None,
    settings: FitSettings = DEFAULT_SETTINGS,
) -> list[Baseline]:
    """Fit the plain models that a network is compared with, the simplest first.

    Args:
        training: The training set of the network.
        labels: The labels of the network; None for a regressor.
        settings: How the linear models are fitted; for macro_recall every class counts the same.

    Raises:
        DataError: There are no labels.
        MissingDependencyError: scikit-learn is not installed.
    """
    inputs = _inputs(training)
    balanced = settings.balanced or settings.metric == "macro_recall"
    # the choice of the regularisation of a tagger sees single steps, which have no entities
    metric = "accuracy" if settings.metric == ENTITY_F1 else settings.metric
    settings = replace(settings, balanced=balanced, metric=metric)
    if labels is None:
        numbers = training.numbers()
        models = [mean(numbers), linear_regressor(inputs, numbers, settings)]
    else:
        numbers = labels.encode(training.flat_targets)
        models = [majority(numbers)]
        if not training.kind.per_step:
            models.append(linear_classifier(inputs, numbers, settings))
        else:
            if training.sequences.kind != "numbers":
                models.append(most_frequent_tag(inputs, numbers))
            models.append(linear_tagger(inputs, numbers, settings))
    if models[-1].name == models[0].name:
        # a linear model that had nothing to learn is the simplest model again
        return models[:-1]
    if training.sequences.kind == "numbers" and not training.kind.per_step:
        outputs = 1 if labels is None else len(labels)
        convolutions = convolution_model(inputs, numbers, outputs, settings)
        models += [] if convolutions is None else [convolutions]
    return models


def measure_label_baselines(
    training: LabelledSequences,
    test: LabelledSequences,
    labels: Labels | None = None,
    settings: FitSettings = DEFAULT_SETTINGS,
) -> list[BaselineFigures]:
    """Fit the plain models of `fit_baselines` on `training` and measure them on `test`.

    The labels are those in `training` if they are not given. Raises as `fit_baselines`.
    """
    labels = labels or Labels.of(training.flat_targets)
    models = fit_baselines(training, labels, settings)
    tags = TrueTags.of(test.targets, labels.names) if test.kind.per_step else None
    # labels that are not in training get negative numbers, which no answer equals
    truth, inputs = labels.encode_distinct(test.flat_targets), _inputs(test)
    return [BaselineFigures.of(model.name, truth, model.predict(inputs), tags) for model in models]


def measure_number_baselines(
    training: LabelledSequences,
    test: LabelledSequences,
    settings: FitSettings = DEFAULT_SETTINGS,
) -> list[RegressionFigures]:
    """Fit the plain models of a regressor on `training` and measure them on `test`, as for labels."""
    models, inputs = fit_baselines(training, None, settings), _inputs(test)
    return [RegressionFigures.of(one.name, one.predict(inputs), test.targets) for one in models]


def compare_with_baselines(
    codec: SequenceCodec,
    training: LabelledSequences,
    test: LabelledSequences,
    answers: np.ndarray,
    settings: FitSettings,
) -> list[JsonObject]:
    """Fit the plain models on the training set and compare the network with each of them, for the card.

    Args:
        codec: The codec of the network.
        training: The training set.
        test: The test set.
        answers: The network's answers to it ``[N]``: numbers of labels, or numbers in the targets' unit.
        settings: How the linear models are fitted, and the metric by which labels are compared.

    Returns:
        For each plain model its name, metrics, verdict, p-value and a sentence that says how it compares.
    """
    if codec.labels is None:
        numbers = measure_number_baselines(training, test, settings)
        figures = [model.figures() for model in numbers]
        results = regression(answers, test.numbers(), numbers).comparisons
    else:
        plain = measure_label_baselines(training, test, codec.labels, settings)
        figures = [model.figures() for model in plain]
        results = classification(
            codec.labels.encode_distinct(test.flat_targets),
            answers,
            codec.labels.names,
            beside=plain,
            metric=settings.metric,
            tags=test.targets if training.kind.per_step else None,
        ).comparisons
    return [
        values | {"verdict": result.verdict, "p_value": result.p_value, "sentence": str(result)}
        for values, result in zip(figures, results, strict=True)
    ]


def _inputs(examples: LabelledSequences) -> Sequence[Any]:
    """Return the inputs of the plain models: texts, arrays of numbers, or for tags all steps in a row."""
    sequences = examples.sequences
    if examples.kind.per_step:
        return [(item, index) for item in sequences.items for index in range(len(item))]
    return sequences.items if sequences.kind == "numbers" else sequences.texts
