"""Language modelling as a task of the registry: the commands' questions to a language model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, TypedDict

from elman.errors import OptionError, needs_torch, printable, warn
from elman.language.command_options import (
    LanguageEvaluateOptions,
    LanguageExplainOptions,
    LanguagePredictOptions,
)
from elman.task_types import (
    Answers,
    HeldOutFiles,
    Ranking,
    Reading,
    Result,
    Task,
)
from elman.training.options import Options, Values

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.language.adaptation import Adapt, Adaptation
    from elman.language.predictor import LanguagePredictor
    from elman.training.journal import JsonObject, Run
    from elman.training.trainer import Outcome


_BAR_WIDTH = 40
_MAX_POSITION_DIGITS = 8


class LanguageTask(Task):
    """A language model: text in, the probabilities of the next token out."""

    name = "language"
    panel = "Text (language)"
    command_options: ClassVar[dict[str, type[Options]]] = {
        "train": HeldOutFiles,
        "predict": LanguagePredictOptions,
        "evaluate": LanguageEvaluateOptions,
        "explain": LanguageExplainOptions,
    }
    classes: ClassVar[dict[str, str]] = {
        "options": "elman.language.options:LanguageOptions",
        "config": "elman.language.config:NetworkConfig",
        "codec": "elman.text.vocabulary:TextCodec",
        "predictor": "elman.language.predictor:LanguagePredictor",
        "replies": "elman.language.replies:LanguageReplies",
        "display": "elman.language.display:LanguageDisplay",
    }

    predictor: LanguagePredictor

    @classmethod
    def train(cls, files: Sequence[str], values: Values, run: Run) -> Outcome:
        """Train on text files and folders; raises the same errors as `LanguageModel.fit`."""
        with needs_torch():
            from elman.language.train import train_language

        from elman.language.options import LanguageOptions

        held_out = HeldOutFiles.from_values(values)
        valid, test = (
            None if names is None else [*map(Path, names)]
            for names in (held_out.valid, held_out.test)
        )
        options = LanguageOptions.from_values(values)
        return train_language([*map(Path, files)], options, run, valid=valid, test=test)

    def read_input(self, file: str, how: Reading) -> str:
        """Return the text of a file."""
        from elman.text.input_files import read_lines

        return "\n".join(read_lines(file, how["encoding"]))

    def predict(self, source: str | None, values: Values, *, as_table: bool) -> Answers:
        """Return the most probable next tokens after each line of the source."""
        from elman.text.sources import argument_lines

        del as_table
        options = LanguagePredictOptions.from_values(values)
        lines = argument_lines(source or "", options.encoding)
        return Answers(
            rankings=_rankings(self.predictor, lines, options.k, self._adaptation(options))
        )

    def evaluate(self, files: Sequence[str], values: Values) -> Result:
        """Return the loss and perplexity on text files."""
        options = LanguageEvaluateOptions.from_values(values)
        evaluation = self.predictor.evaluate(
            [*map(Path, files)],
            encoding=options.encoding,
            adapt=self._adaptation(options),
        )
        return Result(evaluation)

    def _adaptation(
        self, options: LanguagePredictOptions | LanguageEvaluateOptions
    ) -> Adaptation | None:
        """Return the strengths with which the model adapts, None where it does not."""
        valid = None if options.valid is None else [*map(Path, options.valid)]
        adapt: Adapt | None = "both" if options.adapt else None
        return self.predictor.adaptation(adapt, valid, encoding=options.encoding)

    def explain(self, source: str | None, values: Values) -> Result:
        """Return the explanation of the next token, its equations, or the effect of a replaced token."""
        from elman.text.sources import argument_lines

        options = LanguageExplainOptions.from_values(values)
        # All lines of a file are one context, and the token after the last one is explained.
        text = "\n".join(argument_lines(source or "", options.encoding))
        if options.replace is not None:
            return Result(_replacement(self.predictor, text, options.replace))
        explanation = self.predictor.explain(
            text,
            options.target,
            # The equations show the terms into which the decomposition splits a logit.
            method="decomposition" if options.equations else options.method,
            unknown=options.unknown,
            quick=options.quick,
        )
        shown = Result.of(explanation)
        if not options.equations:
            return shown
        from elman.language.equations import equations

        lines = equations(self.predictor, text, explanation=explanation)
        return Result(ExplanationWithEquations(explanation, lines), shown.pictures)


@dataclass(frozen=True)
class ExplanationWithEquations:
    """An explanation by decomposition that is printed as its equations."""

    explanation: Explanation
    equations: str

    def to_dict(self) -> JsonObject:
        """Return the explanation and the lines of the equations."""
        return self.explanation.to_dict() | {"equations": self.equations.splitlines()}

    def __str__(self) -> str:
        return self.equations


class ReplacedPrediction(TypedDict):
    """The probability of a token now, and the one before a token was replaced."""

    token: str
    probability: float
    before: float


@dataclass(frozen=True)
class Replacement:
    """The most probable next tokens after a text with one token replaced, beside those before."""

    text: str
    changed_text: str
    """The text with the other token, on one line."""
    position: int
    token: str
    """The token that was at the position."""
    word: str
    """The token that replaced it."""
    predictions: tuple[ReplacedPrediction, ...]

    def to_dict(self) -> JsonObject:
        """Return the fields as JSON."""
        return asdict(self)

    def __str__(self) -> str:
        from elman.explain.input_names import display_name

        names = [display_name(row["token"]) for row in self.predictions]
        width = max(map(len, names))
        lines = [f"{printable(self.changed_text, 400)} …", f"{'':{width}}    now  before"]
        for name, row in zip(names, self.predictions, strict=True):
            now, bar = row["probability"], "█" * round(_BAR_WIDTH * row["probability"])
            lines.append(f"{name:{width}}  {now:.3f}   {row['before']:.3f}  {bar}".rstrip())
        return "\n".join(lines)


def _replacement(predictor: LanguagePredictor, text: str, argument: str) -> Replacement:
    """Return what comes after `text` with another token; `argument` is POSITION=WORD."""
    from elman.language.context import Context
    from elman.language.explain import replace

    position, equals, word = argument.partition("=")
    if not (equals and position.strip().isdecimal() and len(position) <= _MAX_POSITION_DIGITS):
        raise OptionError("--replace", got=argument, expected="POSITION=WORD, such as 1=hate")
    number = int(position)
    after = replace(predictor, text, number, word)
    # Ask for the whole vocabulary, because the best tokens afterwards may have been improbable before.
    before = dict(predictor.predict_next(text, len(predictor.model.codec)))
    tokens = list(Context.of(predictor.network, text).tokens)
    replaced, tokens[number] = tokens[number], word
    separator = predictor.model.codec.separator
    # The separator between two tokens depends on both: no space stands before a full stop.
    pairs = zip([None, *tokens], tokens, strict=False)
    changed = "".join(separator(previous, token) + token for previous, token in pairs)
    rows = tuple(
        ReplacedPrediction(token=token, probability=probability, before=before[token])
        for token, probability in after
    )
    return Replacement(text, changed, number, replaced, word, rows)


def _rankings(
    predictor: LanguagePredictor, lines: Iterable[str], count: int, adapt: Adaptation | None
) -> Iterator[Ranking]:
    """Yield what may come after each line; warn after the last one where `<unk>` has most probability."""
    from elman.text.words import UNKNOWN

    notes = []
    for line in warn_of_unknown_tokens(predictor, lines):
        # Each line is answered for itself, so it has a stream of its own.
        predictions = predictor.stream(adapt).feed(line).predict(count)
        unknown = predictions.unknown_probability
        details = {
            "text": line,
            "predictions": [{"token": token, "probability": p} for token, p in predictions],
            "unknown": list(predictor.unknown_tokens(line)),
            "unknown_probability": unknown,
        }
        yield Ranking(
            line, [*predictions, *([(UNKNOWN, unknown)] if predictions.note else [])], details
        )
        notes += [predictions.note] if predictions.note else []
    # One warning for all lines, because a long file would print thousands.
    if notes:
        more = f", and most of it in {len(notes) - 1:,} more lines" if len(notes) > 1 else ""
        warn([notes[0] + more])


def warn_of_unknown_tokens(predictor: LanguagePredictor, texts: Iterable[str]) -> Iterator[str]:
    """Yield `texts`; after the last one warn once of all tokens that are outside the vocabulary."""
    from elman.text.vocabulary import unknown_warning
    from elman.text.words import UNKNOWN_ID

    codec, unknown_tokens = predictor.model.codec, Counter[str]()
    lines = tokens = 0
    for lines, text in enumerate(texts, 1):  # noqa: B007 - the last number is their count
        yield text
        unknown = codec.encode(text) == UNKNOWN_ID
        unknown_tokens.update(compress(codec.tokenise(text), unknown.tolist()))
        tokens += len(unknown)
    if unknown_tokens:
        total = unknown_tokens.total()
        count = f" ({total:,} of {tokens:,} tokens in {lines:,} lines)" if lines > 1 else ""
        names = printable(", ".join(unknown_tokens), 400)
        warn([f"not in the vocabulary, read as <unk>: {names}{count}"])
        warn(unknown_warning(total, tokens))
