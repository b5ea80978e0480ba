"""Division of labelled sequences into a training, a validation and a test set.

The validation set, or cross-validation where there is too little data for it, chooses the step at which
training ends, the temperature and the metric. The test set is measured once, after all choices. Equal
sequences stay on one side, or the figures would flatter a network that knows them by heart.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import DataError
from elman.labels.codec import SequenceCodec
from elman.labels.dataset import Encoded
from elman.labels.examples import Labelled
from elman.text.words import UNKNOWN_ID

__all__ = ["FOLDS", "SMALLEST", "Division", "divide", "unlike"]

SMALLEST = 20
"""Sequences below which none is held out."""
MIN_PART = 50
"""Sequences of a validation set and of a test set below which cross-validation chooses the step."""
FOLDS = 3
MANY_SINGLE, MOSTLY_SINGLE = 0.5, 0.9
"""Shares of labels that occur once, above which they are warned of and refused: a column of texts or ids."""


@dataclass(frozen=True, eq=False)
class Division:
    """The parts of labelled sequences."""

    training: Labelled
    validation: Labelled | None
    test: Labelled | None
    folds: tuple[tuple[int, ...], ...]
    """Rows of the training set that validate a network which is trained on its other rows."""
    words: str
    warnings: tuple[str, ...]


def divide(
    task: str,
    data: Labelled,
    share: float,
    seed: int,
    valid: Labelled | None = None,
    test: Labelled | None = None,
    *,
    learns_on: bool = False,
    labels_are_known: bool = False,
) -> Division:
    """Return the parts of `data`, of which a `share` is kept from training where `valid` is not given.

    Where `test` is not given, half of what is kept from training is the test set. A network that `learns_on`
    trains for a fixed time where there is too little for a validation set. Where `labels_are_known`, a first
    batch may hold each of them once. Raises DataError.
    """
    if not learns_on:
        _check_enough(task, data)
    warnings = _repeated(data)
    if task != "regress" and not (learns_on or labels_are_known):
        warnings += _single(data.flat(task))
    training, held, given = data, valid, test is not None
    if held is None and (len(data) >= SMALLEST or test is not None):
        kept, rows = data.split(task, share, seed)
        if learns_on and test is None and len(rows) < 2 * MIN_PART:
            rows = []
        if rows:
            training, held = data.take(kept), data.take(rows)
    validation = held
    if test is None and held is not None:
        validation, test = None, held
        if len(held) >= 2 * MIN_PART:
            first, second = held.split(task, 0.5, seed + 1)
            validation, test = held.take(first), held.take(second)
    elif valid is None and held is not None and len(held) < MIN_PART:
        training, validation = data, None
    folds: tuple[tuple[int, ...], ...] = ()
    enough = len(set(training.contents())) >= 2 * FOLDS
    if validation is None and test is not None and not learns_on and enough:
        folds = training.folds(task, FOLDS, seed)
    warnings += _known(training, validation, "validation", "training")
    warnings += _known(training, test, "test", "training")
    warnings += _known(validation, test, "test", "validation")
    words = _words(validation, test, folds, (valid is not None, given or valid is not None))
    return Division(training, validation, test, folds, words, tuple(warnings))


def _single(labels: Sequence[Any]) -> list[str]:
    """Return a warning where most labels occur once; raises DataError where nearly all do."""
    once = sum(count == 1 for count in Counter(labels).values())
    if len(labels) < SMALLEST or once <= MANY_SINGLE * len(labels):
        return []
    got = f"{once:,} of {len(labels):,} labels occur only once"
    if once <= MOSTLY_SINGLE * len(labels):
        return [f"{got}: of such a class there is nothing to measure, and little to learn"]
    remedy = "name the column of labels, or train for regress where they are numbers"
    raise DataError("these are no classes", got=got, expected="labels that repeat", remedy=remedy)


def _check_enough(task: str, data: Labelled) -> None:
    if len(data) < 2:
        expected = "two at least, and some dozens to learn anything from"
        raise DataError("the training set is one sample", got="one sequence", expected=expected)
    kinds = set(map(str, data.flat(task))) if task != "regress" else {"", " "}
    if len(kinds) < 2:
        raise DataError(
            "the labels of the training set: there is nothing to tell apart in one class",
            got=f"only {next(iter(kinds))!r}",
            expected="two classes or more",
            remedy="check that the column of labels is the right one",
        )


def _words(
    validation: Labelled | None,
    test: Labelled | None,
    folds: tuple[Any, ...],
    given: tuple[bool, bool],
) -> str:
    if test is None and not folds and validation is None:
        few = "nothing is held out, for there are too few different sequences"
        return f"{few}: no figure says how good the network is"
    by = ["as given" if one else "drawn by the seed" for one in given]
    parts = []
    if validation is not None:
        parts.append(f"{len(validation):,} sequences, {by[0]}, choose when training ends")
    elif folds:
        parts.append(f"{len(folds)}-fold cross-validation chooses when training ends")
    if test is not None:
        parts.append(f"{len(test):,} sequences, {by[1]}, are the test set")
    return "; ".join(parts)


def _repeated(data: Labelled) -> list[str]:
    """Return what is to be said of sequences that `data` has more than once."""
    counts = Counter(data.contents())
    fewest = min(counts.values())
    if len(data) >= SMALLEST and fewest > 1:
        return [f"every sequence is there {fewest} times or more: is a file given twice?"]
    more = len(data) - len(counts)
    if more <= len(data) // 100:
        return []
    repeated = f"{more:,} of {len(data):,} sequences repeat another one"
    return [f"{repeated}; copies stay on one side of the split"]


def _known(other: Labelled | None, part: Labelled | None, name: str, where: str) -> list[str]:
    """Return a warning of sequences of a `part` that the `other` part has as well."""
    if other is None or part is None:
        return []
    known = set(other.contents())
    count = sum(key in known for key in part.contents())
    if not count:
        return []
    some = "all" if count == len(part) else f"{count:,} of the"
    repeated = f"{some} {len(part):,} sequences of the {name} set"
    return [f"{repeated} are in the {where} set too: its figures flatter"]


def unlike(
    codec: SequenceCodec, task: str, training: Labelled, part: Labelled, name: str
) -> list[str]:
    """Return in words in what the `part` with a `name` is unlike the training set.

    Args:
        codec: The codec, by which tokens are unknown.
        task: The task, by which there are labels to compare.
        training: The training set.
        part: The part that is measured.
        name: The name of the part, in words.
    """
    found = []
    pairs = [one.sequences.lengths.mean() for one in (training, part)]
    if max(pairs) > 1.5 * min(pairs) and _apart(training, part):
        found.append(f"{pairs[1]:.3g} steps on average against {pairs[0]:.3g}")
    if codec.tokens is not None:
        shares = [_unknown(codec, one) for one in (training, part)]
        if shares[1] > 2 * shares[0] + 0.03:
            found.append(f"{100 * shares[1]:.3g} % unknown tokens against {100 * shares[0]:.3g} %")
    if task != "regress":
        found += _label_shares(training.flat(task), part.flat(task))
    if not found:
        return []
    return [f"the {name} set is unlike the training set: {'; '.join(found)}"]


def _apart(training: Labelled, part: Labelled) -> bool:
    """Return whether mean lengths differ by more than five of their standard errors."""
    one, two = (given.sequences.lengths for given in (training, part))
    error = np.sqrt(one.var() / len(one) + two.var() / len(two))
    return bool(abs(one.mean() - two.mean()) > 5 * error)


def _unknown(codec: SequenceCodec, data: Labelled) -> float:
    encoded = Encoded.of(codec, data.sequences)
    tokens = np.concatenate(encoded.sequences)
    words = tokens if encoded.words is None else encoded.words[tokens]
    return float((words == UNKNOWN_ID).mean())


def _label_shares(training: Sequence[Any], part: Sequence[Any]) -> list[str]:
    """Return the label whose share differs most, where that is more than chance makes."""
    names = [[str(one) for one in given] for given in (training, part)]
    labels = sorted({*names[0], *names[1]})
    shares = [np.array([given.count(name) / len(given) for name in labels]) for given in names]
    error = np.sqrt(shares[0] * (1 - shares[0]) * (1 / len(training) + 1 / len(part))).clip(0.02)
    worst = int((abs(shares[1] - shares[0]) / error).argmax())
    before, now = shares[0][worst], shares[1][worst]
    if abs(now - before) < max(0.1, 5 * error[worst]):
        return []
    return [f"label {labels[worst]} is {100 * now:.3g} % of it against {100 * before:.3g} %"]
