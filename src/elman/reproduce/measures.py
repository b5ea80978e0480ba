"""Measures of the rows: each splits public data, trains with the defaults, and measures the test part."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from itertools import pairwise
from math import exp
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

import elman
from elman import Forecaster, LanguageModel, SequenceClassifier, SequenceTagger
from elman.language.ranking import rank_lines
from elman.reproduce.row import Measured, Trial

Part: TypeAlias = tuple[Sequence[Any], list[Any]]
"""Sequences and their labels or tags."""
SPLIT_SEED = 0
"""Seed of folds and of shuffled lines; the seed of a trial changes the training alone."""
NORMAL_QUANTILE = 0.99
"""Share of the normal sequences below the threshold for an anomaly."""
STRETCHES, STRETCH_SHARE = 20, 0.03
"""Stretches of a training text, and the share of each at its end, that validate."""
RIDGE_LAGS, RIDGE_PENALTIES = 336, (1e-4, 1e-2, 1.0, 100.0)


def last_tenth(trial: Trial, adapt: bool = False) -> Measured:
    """Train on the first 90 % of a text, less 20 stretches that validate; measure the rest.

    With `adapt`, the model adapts to the rest while it reads it, by strengths that the stretches choose.
    """
    text = trial.files[0].read_text(encoding="utf-8")
    end = int(0.9 * len(text))
    bounds = [end * index // STRETCHES for index in range(STRETCHES + 1)]
    pieces = [text[begin:stop] for begin, stop in pairwise(bounds)]
    cut = int(end / STRETCHES * (1 - STRETCH_SHARE))
    model = LanguageModel(level="char", **trial.settings)
    training, valid = [piece[:cut] for piece in pieces], "".join(piece[cut:] for piece in pieces)
    return _text_figures(trial, model, training, valid, text[end:], adapt=adapt)


def shuffled_lines(trial: Trial, held_out: int) -> Measured:
    """Train on lines, shuffled with a fixed seed; return the loss of a character of the held-out ones."""
    lines = trial.files[0].read_text(encoding="utf-8").split("\n")
    lines = [line.strip() for line in lines if line.strip()]
    lines = [lines[row] for row in np.random.default_rng(SPLIT_SEED).permutation(len(lines))]
    model = LanguageModel(level="char", documents="line", **trial.settings)
    return _text_figures(trial, model, _text(lines[:-held_out]), None, _text(lines[-held_out:]))


def _text(lines: Sequence[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def official_text(trial: Trial, adapt: bool = False) -> Measured:
    """Train on words separated by white space, with official parts; return the test perplexity."""
    model = LanguageModel(level="word", split="whitespace", **trial.settings)
    loss, beside = _text_figures(trial, model, *trial.files, adapt=adapt)
    return Measured(exp(loss), {name: exp(figure) for name, figure in beside.items()})


def _text_figures(
    trial: Trial,
    model: LanguageModel,
    train: str | Path | Sequence[str],
    valid: str | Path | None,
    test: str | Path,
    *,
    adapt: bool = False,
) -> Measured:
    """Return the loss of a token of the test text, with `adapt` that of the adapted model."""
    model.fit(train, valid=valid, test=test, **trial.run())
    trial.ended(model)
    beside = {"n-gram model of the same text": float(model.card_["ngram"]["loss"])}
    if not adapt:
        return Measured(model.evaluate(test).loss, beside)
    found = model.predictor_.evaluate(test, adapt="both", valid=valid)
    losses = {
        "not adapted": found.loss,
        "with a cache": found.cache_loss,
        "with weights that learn": found.weights_loss,
        "with both": found.both_loss,
    }
    known = {name: loss for name, loss in losses.items() if loss is not None}
    # the last one has every part that the strengths leave on
    return Measured([*known.values()][-1], beside | known)


def unusual_lines(trial: Trial) -> Measured:
    """Train on normal sequences of events; return the F1 of the anomalies among others.

    A sequence is an anomaly if its most surprising event has more bits than that of 99 % of the normal
    sequences that took no part in training, the last tenth. Anomalies take no part in any choice.
    """
    lines = trial.files[0].read_text(encoding="utf-8").split("\n")
    normal = [line.strip() for line in lines if line.strip()]
    table = elman.read_table(trial.files[1])
    others, truth = table.column("Sequence").tolist(), table.numbers("label") == 1
    count = len(normal) * 9 // 10
    model = LanguageModel(
        level="word", split="whitespace", documents="line", min_count=1, **trial.settings
    )
    model.fit(_text(normal[:count]), **trial.run())
    trial.ended(model)
    usual, scores = (
        rank_lines(model.predictor_, _text(part), top=1).scores for part in (normal[count:], others)
    )
    found = _found(scores > np.quantile(usual, NORMAL_QUANTILE), truth, "network")
    detected = _found(unlike_any(normal, others), truth, "three-line detector")
    return Measured(found.pop("F1 of the network"), found | detected)


def _found(answers: np.ndarray, truth: np.ndarray, name: str) -> dict[str, float]:
    """Return precision, recall and F1 of boolean answers ``[N]``."""
    right, answered, true = (int(part.sum()) for part in (answers & truth, answers, truth))
    return {
        f"precision of the {name}": right / max(1, answered),
        f"recall of the {name}": right / max(1, true),
        f"F1 of the {name}": 2 * right / max(1, answered + true),
    }


def unlike_any(normal: Sequence[str], sequences: Sequence[str]) -> np.ndarray:
    """Return which sequences the three-line detector reports, boolean ``[N]``.

    It reports a sequence with an event, a length or counts of events that no normal sequence has
    (M. Landauer, F. Skopik, M. Wurzenberger 2023, "A critical review of common log data sets").

    >>> unlike_any(["a b b", "b a b"], ["b b a", "a b", "a a b"]).tolist()
    [False, True, True]
    """
    # equal counts of all events imply known events and a known length
    known, others = (
        [frozenset(Counter(line.split()).items()) for line in lines]
        for lines in (normal, sequences)
    )
    return np.array([counts not in {*known} for counts in others], bool)


def official_labels(trial: Trial, metric: str = "accuracy", **options: str) -> Measured:
    """Train a classifier with official parts; return its figure for the test part."""
    model = SequenceClassifier(**trial.settings).set_params(**options)
    if metric != "accuracy":
        model.set_params(metric=metric)
    return _labelled(trial, model, _parts(trial.files), metric)


def official_tags(trial: Trial) -> Measured:
    """Train a tagger with official parts; return the entity F1 of the test part."""
    model = SequenceTagger(metric="entity_f1", **trial.settings)
    parts = [
        ([text.split() for text in texts], [str(tags).split() for tags in all_tags])
        for texts, all_tags in _parts(trial.files)
    ]
    return _labelled(trial, model, parts, "entity_f1")


def ten_folds(trial: Trial, count: int = 10) -> Measured:
    """Return the mean accuracy of stratified folds."""
    ((texts, labels),) = _parts(trial.files)
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    # equal labels become neighbours, and neighbours go to the folds in turn
    order = order[np.argsort(np.array(labels)[order], kind="stable")]
    figures = []
    for fold in range(count):
        chosen = np.arange(len(order)) % count == fold
        train, test = (
            ([texts[row] for row in rows], [labels[row] for row in rows])
            for rows in (np.sort(order[~chosen]), np.sort(order[chosen]))
        )
        model = SequenceClassifier(**trial.settings)
        figures.append(_labelled(trial, model, [train, test], "accuracy", f"-{fold}"))
    beside = {name: _mean(figure.beside[name] for figure in figures) for name in figures[0].beside}
    return Measured(_mean(figure.value for figure in figures), beside)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean([*values]))


def _parts(files: Sequence[Path]) -> list[Part]:
    """Return the parts in a row: a `.ts` file or one with lines ``LABEL TEXT`` each, or a pair of files."""
    one_file = len(files) == 1 or files[0].suffix == ".ts"
    sources = [str(file) for file in files]
    if not one_file:
        sources = [f"{texts},{labels}" for texts, labels in zip(*[iter(sources)] * 2, strict=True)]
    parts: list[Part] = []
    for source in sources:
        sequences, labels = elman.read_sequences(source)
        parts.append((sequences, [*(labels or ())]))
    return parts


def _labelled(
    trial: Trial,
    model: SequenceClassifier | SequenceTagger,
    parts: Sequence[Part],
    metric: str,
    name: str = "",
) -> Measured:
    """Train on the first part, validate on a part between it and the last, and measure the last one."""
    (X, y), *valid, test = parts
    model.fit(X, y, valid=valid[0] if valid else None, test=test, **trial.run(name))
    trial.ended(model)
    beside = {plain["name"]: float(plain[metric]) for plain in model.card_["baselines"]}
    report = model.evaluate(*test)
    of = report.entities if metric == "entity_f1" else report
    return Measured(float(getattr(of, metric.removeprefix("entity_"))), beside)


def many_series(trial: Trial, horizon: int, naive2: Sequence[float]) -> Measured:
    """Return the OWA of many series, from the averages of sMAPE and MASE over all of them."""
    train, test = trial.files
    rows = [line.split(",") for line in test.read_text(encoding="utf-8").splitlines()[1:]]
    later = {
        row[0].strip('"'): np.array([float(cell.strip('"')) for cell in row[1:] if cell.strip('"')])
        for row in rows
    }
    model = Forecaster(horizon=horizon, **trial.settings).fit(train, **trial.run())
    trial.ended(model)
    network, *simple = model.evaluate(later).methods
    percent, scaled = naive2
    owa = {
        method.name: (method.smape / percent + method.mase / scaled) / 2
        for method in (network, *simple)
        if method.mase is not None
    }
    coverage = {f"coverage of {each.level:.0%}": each.coverage for each in network.intervals}
    return Measured(owa.pop(network.name), owa | coverage)


def columns_ahead(
    trial: Trial, columns: Sequence[str], horizon: int, train: int, valid: int, test: int
) -> Measured:
    """Return the squared error of all columns, from every step of the test part but the last horizon."""
    table = elman.read_table(trial.files[0])
    known, later = {}, {}
    for name in columns:
        values = table.numbers(name)[: train + valid + test]
        # standardised by the training part, as all published figures are
        values = (values - values[:train].mean()) / values[:train].std()
        known[name], later[name] = values[:-test], values[-test:]
    model = Forecaster(horizon=horizon, **trial.settings).fit(known, **trial.run())
    trial.ended(model)
    network, *simple = model.evaluate(later, step=1).methods
    return Measured(network.rmse**2, {method.name: method.rmse**2 for method in simple})


def next_value(trial: Trial, column: str) -> Measured:
    """Return the absolute error of the next value over that of a ridge regression on the last values.

    Every value of the last fifth of the series is forecast from those before it.
    """
    values = elman.read_table(trial.files[0]).numbers(column)
    start = len(values) * 4 // 5
    model = Forecaster(horizon=1, **trial.settings).fit(values[:start], **trial.run())
    trial.ended(model)
    network, *simple = model.evaluate(values[start:], step=1).methods
    ridge = float(np.abs(ridge_on_lags(values, start) - values[start:]).mean())
    beside = {method.name: method.mae / ridge for method in simple}
    return Measured(network.mae / ridge, beside | {"MAE of the ridge": ridge})


def ridge_on_lags(values: np.ndarray, start: int) -> np.ndarray:
    """Return the forecasts ``[T - start]`` of each value from `start` on by the values before it.

    A ridge regression on at most 336 lags is fitted on the values before `start`; the last fifth of them
    chooses its penalty.

    >>> ridge_on_lags(np.arange(40.0), 30).round(1).tolist()[:3]
    [30.0, 31.0, 32.0]
    """
    lags = min(RIDGE_LAGS, start // 4)
    windows = np.lib.stride_tricks.sliding_window_view(values, lags)[:-1]
    # differences from the last value, so that a level that drifts does not matter
    last, scale = windows[:, -1], values[:start].std() or 1.0
    inputs, targets = (windows - last[:, None]) / scale, (values[lags:] - last) / scale
    known, fitted = start - lags, (start - lags) * 4 // 5

    def forecast(rows: int, penalty: float) -> np.ndarray:
        x = inputs[:rows]
        weights = np.linalg.solve(x.T @ x + penalty * rows * np.eye(lags), x.T @ targets[:rows])
        return np.asarray(inputs @ weights)

    def error(penalty: float) -> float:
        differences = forecast(fitted, penalty) - targets
        return float(np.abs(differences[fitted:known]).mean())

    best = min(RIDGE_PENALTIES, key=error)
    return np.asarray(last[known:] + scale * forecast(known, best)[known:])
