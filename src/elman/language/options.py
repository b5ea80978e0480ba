"""The options for training a language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from elman.errors import OptionError
from elman.task_types import ExplainOptions
from elman.training.options import answering, network, reading, training
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

    level: Level | None = reading(
        None,
        "the tokens of the model: characters or words (default: words, or characters if the text is a list "
        "of words or has few repeated words)",
    )
    split: Literal["words", "whitespace", "log"] = reading(
        "words",
        "how to find words: words also splits off punctuation; whitespace only splits at white space, for "
        "texts that are tokenized already; log does the same and masks numbers",
    )
    documents: DocumentUnit | None = reading(
        None,
        "what the network reads from state zero: each file, or each line, such as a name or a sentence "
        "(default: each file, or each line if most lines are one word or repeated)",
    )
    max_vocabulary: int | None = reading(
        None,
        "largest number of tokens in the vocabulary; rarer ones become <unk> (default: 20000 characters, "
        "50000 words)",
        low=2,
    )
    min_count: int | None = reading(
        None,
        "number of times a token must occur to be in the vocabulary (default: 1 for characters and small "
        "texts, 2 for words)",
        low=1,
    )
    encoding: str | None = reading(
        None, "encoding of the files, such as utf-8 or cp1252 (default: detected from their bytes)"
    )
    held_out: float = reading(
        0.1,
        "share of the text to keep out of training: half of it is the validation set, which chooses the best "
        "network, the other half the test set, which measures it",
        low=0.001,
        high=0.9,
    )
    held_out_from: Literal["auto", "random", "end"] = reading(
        "auto",
        "the part of the text to hold out: random lines or files, or the end (auto: random lines, or random "
        "files if there are 20 or more; the end of logs and of a single text)",
    )
    embedding_size: int | None = network(
        None, "size of a token's embedding (default: the hidden size)", low=1, high=16384
    )
    residual: bool = network(False, "add the input of each layer but the first to its output")
    tied: bool | None = network(
        None,
        "use the embedding's weights in the output layer too (default: if the sizes are equal)",
    )
    time: str | float | None = training(
        None,
        f"time for training, such as 90s, 3m or 1h30m (default: {DEFAULT_TIME} without epochs or steps)",
    )
    sequence_length: int | None = training(
        None,
        "time steps between two updates of the weights (default: from time and length of the text)",
        low=1,
    )
    sampled_softmax: int | None = training(
        None,
        "number of common words, and of randomly drawn words, that represent a large vocabulary in each "
        "step; 0 uses all words (default: 1024 if the vocabulary has 8192 or more)",
        low=0,
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.split != "words" and self.level == "char":
            raise OptionError("split", got=self.split, expected="words", remedy="or level word")


@dataclass(frozen=True, kw_only=True)
class LanguageExplainOptions(ExplainOptions):
    """Options of the command `explain` for a language model."""

    unknown: bool = answering(False, "the same as --method replacement")
    equations: bool = answering(False, "print the network's equations, from the answer backwards")
    replace: str | None = answering(
        None,
        "POSITION=WORD: show the predictions with another word at this position, counted from 0",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        others = ("method", "unknown", "quick", "target", "svg", "plot", "equations")
        used = [name for name in others if getattr(self, name) not in (None, False)]
        if self.replace is not None and used:
            expected = "no other option but --json"
            raise OptionError("--replace", got=f"--{used[0]} with it", expected=expected)
        if self.equations and (self.unknown or self.method not in (None, "decomposition")):
            got = "--unknown" if self.unknown else f"--method {self.method}"
            expected = "no method: equations are those of decomposition"
            raise OptionError("--equations", got=f"{got} with it", expected=expected)
