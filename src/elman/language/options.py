"""The options of training a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from elman.errors import OptionError
from elman.training.options import network, reading, training
from elman.training.recurrent_options import RecurrentOptions

__all__ = ["DEFAULT_TIME", "LanguageOptions"]

DEFAULT_TIME = "3m"


@dataclass(frozen=True)
class LanguageOptions(RecurrentOptions):
    """What a person may choose when training a language model; None lets Elman choose.

    Raises OptionError for a value that cannot be.

    >>> LanguageOptions(hidden_size=0)
    Traceback (most recent call last):
    elman.errors.OptionError: hidden_size: got 0; expected a whole number from 1 to 16384
    """

    level: Literal["char", "word"] | None = reading(
        None,
        "what one step reads: a character or a word (default: a word, or a character where words do not "
        "fit the text)",
    )
    split: Literal["words", "whitespace", "log"] = reading(
        "words",
        "how words are found; whitespace is for texts that come tokenized, log masks numbers too",
    )
    documents: Literal["file", "line"] | None = reading(
        None,
        "what starts from state zero: each file, or each line, such as names and sentences (default: each "
        "file, or each line of a list of words)",
    )
    max_vocabulary: int | None = reading(
        None, "commonest tokens kept, the rest <unk> (20000 characters, 50000 words)", low=1
    )
    min_count: int | None = reading(
        None,
        "times a token must occur to be kept (default: 1 for characters and small texts, 2 for words)",
        low=1,
    )
    encoding: str | None = reading(
        None, "encoding of the files, such as utf-8 or cp1252 (default: detected from their bytes)"
    )
    held_out: float = reading(
        0.1,
        "share of the text kept from training: one half chooses the best network, the other measures it",
        low=0.001,
        high=0.9,
    )
    held_out_from: Literal["auto", "random", "end"] = reading(
        "auto",
        "where it is taken from: lines or files drawn by the seed, or the end of the text (auto: lines and "
        "many files are drawn, the end of logs and of one text is held out)",
    )
    embedding_size: int | None = network(
        None, "numbers that stand for a token (default: the hidden size)", low=1, high=16384
    )
    residual: bool = network(False, "add each layer's input to its output, from the second on")
    tied: bool | None = network(
        None, "output shares the embedding's weights (default: where sizes allow)"
    )
    time: str | float | None = training(
        None, f"budget of time: 90s, 3m, 1h30m ({DEFAULT_TIME} without epochs or steps)"
    )
    sequence_length: int | None = training(
        None, "steps unrolled between two updates (default: from the data)", low=1
    )
    sampled_softmax: int | None = training(
        None,
        "words drawn a step to stand for a large vocabulary, 0 takes all (default: from the data)",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split != "words" and self.level == "char":
            raise OptionError("split", got=self.split, expected="words", remedy="or level word")
