"""Measures of rows about text: a language model trains on a part of it, and the rest measures the model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import exp
from pathlib import Path

import numpy as np

import elman
from elman import LanguageModel
from elman.language.detection import DETECTOR, NORMAL_QUANTILE, NormalCounts, detection_figures
from elman.language.ranking import rank_lines
from elman.reproduce.row import SPLIT_SEED, Measured, Trial

STRETCHES, STRETCH_SHARE = 20, 0.03
"""Stretches of a training text, and the share of each at its end, that validate."""


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

    A sequence is an anomaly if its score is above that of 98 % of the last tenth of the normal sequences,
    which validate the training. Anomalies take no part in any choice.
    """
    lines = trial.files[0].read_text(encoding="utf-8").split("\n")
    normal = [line.strip() for line in lines if line.strip()]
    table = elman.read_table(trial.files[1])
    others, truth = table.column("Sequence").tolist(), table.numbers("label") == 1
    count = len(normal) * 9 // 10
    model = LanguageModel(
        level="word", split="whitespace", documents="line", min_count=1, **trial.settings
    )
    valid = _text(normal[count:])
    model.fit(_text(normal[:count]), valid=valid, test=valid, **trial.run())
    trial.ended(model)
    usual, scores = (
        rank_lines(model.predictor_, _text(part), top=1).scores for part in (normal[count:], others)
    )
    detector = NormalCounts(map(str.split, normal))
    reports = {
        "network": scores > np.quantile(usual, NORMAL_QUANTILE),
        DETECTOR: np.array([detector.reports(line.split()) for line in others]),
    }
    figures = {
        f"{'F1' if kind == 'f1' else kind} of the {name}": figure
        for name, reported in reports.items()
        for kind, figure in detection_figures(reported, truth).items()
    }
    return Measured(figures.pop("F1 of the network"), figures)
