"""Options of training on labelled sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elman.errors import OptionError
from elman.training.options import network, reading, training
from elman.training.recurrent_options import RecurrentOptions

POOLINGS = ("last", "mean", "max", "attention")
_WIDE_HELP = (
    "add a linear model, on n-grams of a text or convolutions of numbers, to the network's answers"
)
_POOLING_HELP = "last, mean, max, attention; several joined by + (default: from the data)"


@dataclass(frozen=True, kw_only=True)
class LabelledOptions(RecurrentOptions):
    """Options that classifier, regressor and tagger share; None lets Elman choose."""

    level: Literal["both", "word", "char"] = reading(
        "both", "time steps of a text: words with their spelling (both), words, or characters"
    )
    lowercase: bool = reading(True, "lowercase words; their spelling keeps upper case", rare=True)
    max_vocabulary: int | None = reading(
        None,
        "size of the vocabulary; rarer tokens become <unk> (default: 20000 characters or 50000 words)",
        low=1,
        rare=True,
    )
    min_count: int | None = reading(
        None,
        "occurrences below which a token becomes <unk> (default: 1 for characters, 2 for words)",
        low=1,
        rare=True,
    )
    missing: Literal["error", "mask"] = reading(
        "error", "missing numbers: an error, or masked (a further channel marks them)"
    )
    held_out: float = reading(
        0.1,
        "share of the data held out: half for validation, half for the test",
        low=0.001,
        high=0.9,
    )
    embedding_size: int | None = network(
        None, "size of a token's embedding (default: 100)", low=1, high=16384, rare=True
    )
    vectors: str | None = network(
        None,
        "file of word vectors (word2vec, GloVe, fastText) from which the words of a text start",
        rare=True,
    )
    pretrain: str | None = training(
        None,
        "file of unlabelled text, a text a line, whose words the network first learns to predict",
    )
    spelling_size: int | None = network(
        None,
        "units in each direction of the network that reads spellings (default: 32)",
        low=1,
        high=16384,
        rare=True,
    )
    bidirectional: bool = network(True, "read each sequence in both directions", rare=True)
    members: int | None = network(
        None, "networks whose answers are averaged (default: from the data)", low=1, high=32
    )
    refit: bool | None = training(
        None,
        "finally train anew on all sequences, for the best length (default: below 2000 sequences)",
        rare=True,
    )
    word_dropout: float | None = training(
        None,
        "share of words replaced by <unk> in training (default: 0.1 for texts, else 0)",
        low=0.0,
        high=0.99,
        rare=True,
    )

    @property
    def selection_metric(self) -> str:
        """The metric that chooses the best network; "loss" for a regressor, which has no such option."""
        return str(getattr(self, "metric", "loss"))

    @property
    def has_wide_part(self) -> bool:
        """Whether a linear model is added to the network; taggers do not have this option."""
        return bool(getattr(self, "wide", False))

    @property
    def balances_classes(self) -> bool:
        """Whether rare classes weigh more in the loss."""
        return getattr(self, "class_weight", "none") == "balanced"


@dataclass(frozen=True, kw_only=True)
class ClassifierOptions(LabelledOptions):
    """Options of `SequenceClassifier`; None lets Elman choose.

    >>> ClassifierOptions(pooling="sum")
    Traceback (most recent call last):
    elman.errors.OptionError: pooling: got sum; expected of last, mean, max, attention, joined by +
    """

    pooling: str | None = network(None, _POOLING_HELP)
    wide: bool = network(True, _WIDE_HELP, rare=True)
    class_weight: Literal["none", "balanced"] = training(
        "none", "weights of classes in the loss: equal, or larger for rare classes"
    )
    label_smoothing: float | None = training(
        None,
        "share of each label's probability spread over all classes (default: 0.1 for texts, else 0)",
        low=0.0,
        high=0.99,
        rare=True,
    )
    metric: Literal["loss", "accuracy", "macro_f1", "macro_recall"] = training(
        "loss", "loss, accuracy, macro_f1, macro_recall: which chooses the best network"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        pools_of(self.pooling or "")


@dataclass(frozen=True, kw_only=True)
class RegressorOptions(LabelledOptions):
    """Options of `SequenceRegressor`; None lets Elman choose."""

    pooling: str | None = network(None, _POOLING_HELP)
    wide: bool = network(True, _WIDE_HELP, rare=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        pools_of(self.pooling or "")


@dataclass(frozen=True, kw_only=True)
class TaggerOptions(LabelledOptions):
    """Options of `SequenceTagger`; None lets Elman choose."""

    metric: Literal["loss", "accuracy", "macro_f1", "macro_recall", "entity_f1"] = training(
        "loss", "loss, accuracy, macro_f1, macro_recall, entity_f1: which chooses the best network"
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.level == "char":
            raise OptionError("level", got="char", expected="both or word: a tag belongs to a word")


def pools_of(pooling: str) -> tuple[str, ...]:
    """Return the names that an option joins by "+"; raises OptionError for an unknown or repeated one.

    >>> pools_of("mean+max")
    ('mean', 'max')
    """
    pools = tuple(pooling.split("+")) if pooling else ()
    if not set(pools) <= {*POOLINGS} or len(set(pools)) != len(pools):
        expected = f"of {', '.join(POOLINGS)}, joined by +"
        raise OptionError("pooling", got=pooling, expected=expected)
    return pools
