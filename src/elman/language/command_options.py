"""Options of the commands that read a text, beside those of training."""

from __future__ import annotations

from dataclasses import dataclass

from elman.errors import OptionError
from elman.task_types import ExplainOptions, PredictOptions, ReadingOptions
from elman.training.options import Options, answering, reading


@dataclass(frozen=True, kw_only=True)
class AdaptOptions(Options):
    """Options for a language model that adapts to the text it reads."""

    adapt: bool = answering(
        False,
        "learn from the text while reading it; evaluate also shows the loss with a cache, with weights that "
        "learn, and with both",
    )
    valid: tuple[str, ...] | None = reading(
        None,
        "texts to choose the strengths of --adapt on (default: strengths measured on other texts)",
    )


@dataclass(frozen=True, kw_only=True)
class LanguagePredictOptions(AdaptOptions, PredictOptions):
    """Options of the command `predict` for a language model."""


@dataclass(frozen=True, kw_only=True)
class LanguageEvaluateOptions(AdaptOptions, ReadingOptions):
    """Options of the command `evaluate` for a language model."""


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
        # A replaced token is neither explained nor drawn, so these options would be ignored.
        others = ("method", "unknown", "quick", "target", "svg", "plot", "equations")
        used = [name for name in others if getattr(self, name) not in (None, False)]
        if self.replace is not None and used:
            expected = "no other option but --json"
            raise OptionError("--replace", got=f"--{used[0]} with it", expected=expected)
        if self.equations and (self.unknown or self.method not in (None, "decomposition")):
            got = "--unknown" if self.unknown else f"--method {self.method}"
            expected = "no method: equations are those of decomposition"
            raise OptionError("--equations", got=f"{got} with it", expected=expected)
