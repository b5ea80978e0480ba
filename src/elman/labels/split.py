"""Split of labelled sequences into training, validation and test set, and warnings about the split.

The validation set (or cross-validation, if there is too little data for one) chooses the step at which
training ends, the temperature and the metric. The test set is measured once, after all choices. Copies of a
sequence stay in one set; otherwise a network that memorises sequences would look better than it is.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.errors import DataError
from elman.labels.batches import EncodedSequences
from elman.labels.codec import SequenceCodec
from elman.labels.examples import LabelledSequences
from elman.text.words import UNKNOWN_ID

MIN_SEQUENCES_TO_SPLIT = 20
"""With fewer sequences, all are used for training."""
MIN_HELD_OUT_SEQUENCES = 50
"""A validation set needs this many sequences, and so does its test set; else cross-validation is used."""
FOLDS = 3
MANY_SINGLE_LABELS, MOSTLY_SINGLE_LABELS = 0.5, 0.9
"""If a larger share of labels occurs only once, Elman warns or refuses: the column may hold ids."""


@dataclass(frozen=True, eq=False)
class Split:
    """The training, validation and test set of one run."""

    training: LabelledSequences
    validation: LabelledSequences | None
    test: LabelledSequences | None
    folds: tuple[tuple[int, ...], ...]
    """Rows of the training set in each cross-validation fold; empty without cross-validation."""
    description: str
    warnings: tuple[str, ...]

    @property
    def validates(self) -> bool:
        """Whether a validation set or cross-validation decides when training ends."""
        return self.validation is not None or bool(self.folds)


def split_examples(
    examples: LabelledSequences,
    share: float,
    seed: int,
    valid: LabelledSequences | None = None,
    test: LabelledSequences | None = None,
    *,
    continued: bool = False,
    labels_are_known: bool = False,
) -> Split:
    """Split `examples` into training, validation and test set.

    Args:
        examples: The sequences to train on.
        share: Share of `examples` to hold out, if `valid` is not given.
        seed: Seed of the random split.
        valid: Held-out sequences that the user passed.
        test: Test set that the user passed; without it, half of the held-out sequences become the test set.
        continued: Whether a trained model learns on. It then trains for a fixed time if there are too few
            sequences for a validation set, and may see a single class.
        labels_are_known: Whether the user passed the list of labels, so that labels may occur only once.

    Raises:
        DataError: There are too few sequences or classes, or nearly all labels occur only once.
    """
    if not continued:
        _check_enough(examples)
    warnings = _repetition_warning(examples)
    if not examples.kind.is_number and not (continued or labels_are_known):
        warnings += _single_label_warning(examples.flat_targets)
    given = valid is not None, valid is not None or test is not None
    training, validation, test = _hold_out(examples, share, seed, valid, test, continued=continued)
    folds: tuple[tuple[int, ...], ...] = ()
    enough = len(set(training.keys())) >= 2 * FOLDS
    if validation is None and test is not None and not continued and enough:
        folds = training.folds(FOLDS, seed)
    warnings += _overlap_warning(training, validation, "validation", "training")
    warnings += _overlap_warning(training, test, "test", "training")
    warnings += _overlap_warning(validation, test, "test", "validation")
    description = _description(validation, test, len(folds), given)
    return Split(training, validation, test, folds, description, tuple(warnings))


def _hold_out(
    examples: LabelledSequences,
    share: float,
    seed: int,
    valid: LabelledSequences | None,
    test: LabelledSequences | None,
    *,
    continued: bool,
) -> tuple[LabelledSequences, LabelledSequences | None, LabelledSequences | None]:
    """Return the training, validation and test set; the arguments are those of `split_examples`."""
    training, held_out = examples, valid
    if held_out is None and (len(examples) >= MIN_SEQUENCES_TO_SPLIT or test is not None):
        kept, rows = examples.split(share, seed)
        if continued and test is None and len(rows) < 2 * MIN_HELD_OUT_SEQUENCES:
            rows = []
        if rows:
            training, held_out = examples.take(kept), examples.take(rows)
    if held_out is None:
        return training, None, test
    if test is None:
        if len(held_out) < 2 * MIN_HELD_OUT_SEQUENCES:
            # too few to choose on and to measure on: cross-validation chooses
            return training, None, held_out
        first, second = held_out.split(0.5, seed + 1)
        return training, held_out.take(first), held_out.take(second)
    if valid is None and len(held_out) < MIN_HELD_OUT_SEQUENCES:
        return examples, None, test
    return training, held_out, test


def _single_label_warning(labels: Sequence[Any]) -> list[str]:
    """Return a warning if most labels occur only once; raises DataError if nearly all do."""
    once = sum(count == 1 for count in Counter(labels).values())
    if len(labels) < MIN_SEQUENCES_TO_SPLIT or once <= MANY_SINGLE_LABELS * len(labels):
        return []
    got = f"{once:,} of {len(labels):,} labels occur only once"
    if once <= MOSTLY_SINGLE_LABELS * len(labels):
        return [f"{got}: such a class cannot be measured and is hard to learn"]
    remedy = "name the column of labels, or train for regress if they are numbers"
    raise DataError("these are no classes", got=got, expected="labels that repeat", remedy=remedy)


def _check_enough(examples: LabelledSequences) -> None:
    if len(examples) < 2:
        expected = "two or more, and some dozens to learn anything from"
        raise DataError("the training set is one sample", got="one sequence", expected=expected)
    if examples.kind.is_number:
        return
    labels = set(map(str, examples.flat_targets))
    if len(labels) < 2:
        raise DataError(
            "the labels of the training set: there is nothing to tell apart in one class",
            got=f"only {next(iter(labels))!r}",
            expected="two classes or more",
            remedy="check that the column of labels is the right one",
        )


def _description(
    validation: LabelledSequences | None,
    test: LabelledSequences | None,
    folds: int,
    given: tuple[bool, bool],
) -> str:
    if test is None and not folds and validation is None:
        few = "nothing is held out, because there are too few different sequences"
        return f"{few}: no figure says how good the network is"
    origins = ["as given" if was_given else "drawn by the seed" for was_given in given]
    parts = []
    if validation is not None:
        parts.append(f"{len(validation):,} sequences, {origins[0]}, choose when training ends")
    elif folds:
        parts.append(f"{folds}-fold cross-validation chooses when training ends")
    if test is not None:
        parts.append(f"{len(test):,} sequences, {origins[1]}, are the test set")
    return "; ".join(parts)


def _repetition_warning(examples: LabelledSequences) -> list[str]:
    """Return a warning if many sequences, or all of them, occur more than once."""
    counts = Counter(examples.keys())
    fewest = min(counts.values())
    if len(examples) >= MIN_SEQUENCES_TO_SPLIT and fewest > 1:
        return [f"every sequence occurs {fewest} times or more: is a file given twice?"]
    repeated = len(examples) - len(counts)
    if repeated <= len(examples) // 100:
        return []
    return [
        f"{repeated:,} of {len(examples):,} sequences repeat another one; "
        "copies stay on one side of the split"
    ]


def _overlap_warning(
    first: LabelledSequences | None, second: LabelledSequences | None, name: str, first_name: str
) -> list[str]:
    """Return a warning if the `second` set, called `name`, contains sequences of the `first` set."""
    if first is None or second is None:
        return []
    keys = set(first.keys())
    count = sum(key in keys for key in second.keys())  # noqa: SIM118 - no dictionary
    if not count:
        return []
    shared = "all" if count == len(second) else f"{count:,} of the"
    return [
        f"{shared} {len(second):,} sequences of the {name} set are in the {first_name} set too: "
        "its figures flatter"
    ]


def describe_differences(
    codec: SequenceCodec,
    training: LabelledSequences,
    measured: LabelledSequences,
    name: str,
) -> list[str]:
    """Return a warning if a validation or test set differs from the training set.

    Compared are lengths, unknown tokens and shares of labels.

    Args:
        codec: The codec, which knows the tokens of training.
        training: The training set.
        measured: The validation or test set.
        name: What the warning calls that set.
    """
    differences = []
    means = [examples.sequences.lengths.mean() for examples in (training, measured)]
    if max(means) > 1.5 * min(means) and _lengths_differ(training, measured):
        differences.append(f"{means[1]:.3g} steps on average against {means[0]:.3g}")
    if codec.tokens is not None:
        before, now = (_unknown_share(codec, examples) for examples in (training, measured))
        if now > 2 * before + 0.03:
            differences.append(f"{100 * now:.3g} % unknown tokens against {100 * before:.3g} %")
    if not training.kind.is_number:
        differences += _label_share_difference(training.flat_targets, measured.flat_targets)
    if not differences:
        return []
    return [f"the {name} set is unlike the training set: {'; '.join(differences)}"]


def _lengths_differ(training: LabelledSequences, measured: LabelledSequences) -> bool:
    """Return whether the mean lengths differ by more than five standard errors."""
    first, second = (examples.sequences.lengths for examples in (training, measured))
    error = np.sqrt(first.var() / len(first) + second.var() / len(second))
    return bool(abs(first.mean() - second.mean()) > 5 * error)


def _unknown_share(codec: SequenceCodec, examples: LabelledSequences) -> float:
    encoded = EncodedSequences.of(codec, examples.sequences)
    return float((np.concatenate(encoded.token_ids) == UNKNOWN_ID).mean())


def _label_share_difference(training: Sequence[Any], measured: Sequence[Any]) -> list[str]:
    """Describe the label whose share differs most, if the difference is larger than chance makes it."""
    counts = [Counter(map(str, labels)) for labels in (training, measured)]
    labels = sorted({*counts[0], *counts[1]})
    before, now = (np.array([count[label] / count.total() for label in labels]) for count in counts)
    error = np.sqrt(before * (1 - before) * (1 / len(training) + 1 / len(measured))).clip(0.02)
    worst = int((abs(now - before) / error).argmax())
    if abs(now[worst] - before[worst]) < max(0.1, 5 * error[worst]):
        return []
    shares = f"{100 * now[worst]:.3g} % of it against {100 * before[worst]:.3g} %"
    return [f"label {labels[worst]} is {shares}"]
