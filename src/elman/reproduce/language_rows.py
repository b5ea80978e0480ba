"""Measures of rows about text: a language model trains on a part of it, and the rest measures the model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from math import exp
from pathlib import Path

import numpy as np

import elman
from elman import LanguageModel
from elman.language.ranking import rank_lines
from elman.reproduce.row import SPLIT_SEED, Measured, Trial

NORMAL_QUANTILE = 0.98
"""Share of the normal sequences below the threshold for an anomaly."""
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
    counts_of_normal, counts = (
        [frozenset(Counter(line.split()).items()) for line in lines]
        for lines in (normal, sequences)
    )
    known = {*counts_of_normal}
    return np.array([one not in known for one in counts], bool)
