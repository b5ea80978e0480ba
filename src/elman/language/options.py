"""The options for training a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from elman.errors import OptionError
from elman.training.options import network, reading, training
from elman.training.recurrent_options import RecurrentOptions

Level: TypeAlias = Literal["char", "word"]
DocumentUnit: TypeAlias = Literal["file", "line"]

DEFAULT_TIME = "3m"
"""The time budget of a run without a limit of its own."""


@dataclass(frozen=True, kw_only=True)
class LanguageOptions(RecurrentOptions):
    """The options for training a language model; None lets Elman choose a value.

    Raises OptionError for a value that an option cannot take.

    >>> LanguageOptions(hidden_size=0)
    Traceback (most recent call last):
    elman.errors.OptionError: hidden_size: got 0; expected a whole number from 1 to 16384
    """

    level: Level | None = reading(None, "tokens: characters or words (default: from the text)")
    split: Literal["words", "whitespace", "log"] = reading(
        "words",
        "split at white space; words also splits off punctuation, log masks numbers",
    )
    documents: DocumentUnit | None = reading(
        None, "what a document is: a file or a line (default: from the text)"
    )
    max_vocabulary: int | None = reading(
        None,
        "largest number of tokens in the vocabulary; rarer ones become <unk> (default: 20000 characters, "
        "50000 words)",
        low=2,
        rare=True,
    )
    min_count: int | None = reading(
        None,
        "number of times a token must occur to be in the vocabulary (default: 1 for characters and small "
        "texts, 2 for words)",
        low=1,
        rare=True,
    )
    encoding: str | None = reading(
        None, "encoding of the files, such as utf-8 (default: detected)", rare=True
    )
    held_out: float = reading(
        0.1,
        "share of the data held out: half for validation, half for the test",
        low=0.001,
        high=0.9,
    )
    held_out_from: Literal["auto", "random", "end"] = reading(
        "auto",
        "which text to hold out: random lines or files, or the end (auto: random lines, or random files "
        "if there are 20 or more; the end of logs and of a single text)",
        rare=True,
    )
    embedding_size: int | None = network(
        None, "size of a token's embedding (default: the hidden size)", low=1, high=16384, rare=True
    )
    residual: bool = network(
        False, "add the input of each layer but the first to its output", rare=True
    )
    tied: bool | None = network(
        None,
        "use the embedding's weights in the output layer too (default: if the sizes are equal)",
        rare=True,
    )
    time: str | float | None = training(
        None, f"budget of time, such as 90s, 3m or 1h30m (default: {DEFAULT_TIME})"
    )
    sequence_length: int | None = training(
        None,
        "time steps between two updates of the weights (default: from time and length of the text)",
        low=1,
        rare=True,
    )
    sampled_softmax: int | None = training(
        None,
        "number of common words, and of randomly drawn words, that represent a large vocabulary in each "
        "step; 0 uses all words (default: 1024 if the vocabulary has 8192 or more)",
        low=0,
        rare=True,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # Characters are not split, so that a way to split them would be ignored.
        if self.split != "words" and self.level == "char":
            raise OptionError("split", got=self.split, expected="words", remedy="or level word")
