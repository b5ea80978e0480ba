"""The options of training on labelled sequences: one answer a sequence, or one a step."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elman.errors import OptionError
from elman.training.options import network, reading, training
from elman.training.recurrent_options import RecurrentOptions

__all__ = ["ClassifierOptions", "LabelledOptions", "RegressorOptions", "TaggerOptions"]

_POOLINGS = ("last", "mean", "max", "attention")


@dataclass(frozen=True)
class LabelledOptions(RecurrentOptions):
    """What a person may choose of any reader of labelled sequences; None lets Elman choose."""

    level: Literal["both", "word", "char"] = reading(
        "both", "what one step of a text reads: a word and how it is spelled, a word, a character"
    )
    lowercase: bool = reading(True, "read words in lower case; how they are spelled keeps its case")
    max_vocabulary: int | None = reading(
        None, "commonest tokens kept, the rest <unk> (20000 characters, 50000 words)", low=1
    )
    min_count: int | None = reading(
        None, "times a token must occur to be kept (1 for characters, 2 for words)", low=1
    )
    missing: Literal["error", "mask"] = reading(
        "error", "numbers that are missing: an error, or read as missing by a channel of its own"
    )
    held_out: float = reading(
        0.1,
        "share of the sequences kept from training; half of them validate, half test",
        low=0.001,
        high=0.9,
    )
    embedding_size: int | None = network(
        None,
        "numbers that stand for a token (default: from the data)",
        low=1,
        high=16384,
    )
    spelling_size: int | None = network(
        None,
        "units a direction of the network that spells words (default: from the data)",
        low=1,
        high=16384,
    )
    bidirectional: bool = network(True, "read every sequence from both ends")
    members: int | None = network(
        None,
        "networks that answer together (default: from the data)",
        low=1,
        high=32,
    )
    refit: bool | None = training(
        None, "train anew on all sequences once the best length of training is known (small data)"
    )
    word_dropout: float | None = training(
        None,
        "share of words read as <unk> in training (default: from the data)",
        low=0.0,
        high=0.99,
    )


@dataclass(frozen=True)
class ClassifierOptions(LabelledOptions):
    """What a person may choose of a `SequenceClassifier`; None lets Elman choose.

    >>> ClassifierOptions(pooling="sum")
    Traceback (most recent call last):
    elman.errors.OptionError: pooling: got sum; expected of last, mean, max, attention, joined by +
    """

    pooling: str | None = network(
        None,
        "steps as one: last, mean, max, attention, or several joined by + (default: from the data)",
    )
    class_weight: Literal["none", "balanced"] = training(
        "none", "weight of a class: each the same, or by how rare it is"
    )
    label_smoothing: float | None = training(
        None,
        "share of every label given to all classes (default: from the data)",
        low=0.0,
        high=0.99,
    )
    metric: Literal["loss", "accuracy", "macro_f1", "macro_recall"] = training(
        "loss", "by which the best network is chosen"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_pooling(self.pooling)


@dataclass(frozen=True)
class RegressorOptions(LabelledOptions):
    """What a person may choose of a `SequenceRegressor`; None lets Elman choose."""

    pooling: str | None = network(
        None,
        "steps as one: last, mean, max, attention, or several joined by + (default: from the data)",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_pooling(self.pooling)


@dataclass(frozen=True)
class TaggerOptions(LabelledOptions):
    """What a person may choose of a `SequenceTagger`; None lets Elman choose."""

    metric: Literal["loss", "accuracy", "macro_f1", "macro_recall", "entity_f1"] = training(
        "loss", "by which the best network is chosen; entity_f1 is of whole entities"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.level == "char":
            raise OptionError("level", got="char", expected="both or word: a tag is of a word")


def _check_pooling(pooling: str | None) -> None:
    ways = [] if pooling is None else pooling.split("+")
    if not set(ways) <= {*_POOLINGS} or len({*ways}) != len(ways):
        expected = f"of {', '.join(_POOLINGS)}, joined by +"
        raise OptionError("pooling", got=pooling, expected=expected)
