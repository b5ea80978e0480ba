"""Language modelling as a task of the registry: the commands' questions to a language model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import compress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from elman.errors import OptionError, printable, warn
from elman.language.options import LanguageOptions
from elman.task_types import (
    Answers,
    Evaluated,
    EvaluateRequest,
    ExplainRequest,
    PredictRequest,
    Printable,
    Ranking,
    Reading,
    TrainingFiles,
)

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.files.model import Model
    from elman.files.model_types import ModelTypes
    from elman.language.predictor import LanguagePredictor
    from elman.language.replies import LanguageReplies
    from elman.tables.column_kinds import ColumnKinds
    from elman.training.journal import Run
    from elman.training.task_display import TaskDisplay
    from elman.training.trainer import Outcome


_BAR_WIDTH = 40
_MAX_POSITION_DIGITS = 8


class LanguageTask:
    """A language model: text in, the probabilities of the next token out."""

    name = "language"
    panel = "Text (language)"
    options = LanguageOptions
    column_options = ()
    trains_on_held_out_files = True
    predict_options = frozenset[str]()
    evaluate_options = frozenset[str]()
    explain_options = frozenset({"equations", "replace"})

    def model_types(self) -> ModelTypes:
        """Return the classes of the configuration and the codec in a model file."""
        from elman.language.config import NetworkConfig
        from elman.text.vocabulary import TextCodec

        return NetworkConfig, TextCodec

    def predictor_type(self) -> type[LanguagePredictor]:
        """Return `LanguagePredictor`."""
        from elman.language.predictor import LanguagePredictor

        return LanguagePredictor

    def replies_type(self) -> type[LanguageReplies]:
        """Return `LanguageReplies`."""
        from elman.language.replies import LanguageReplies

        return LanguageReplies

    def display(self) -> TaskDisplay:
        """Return the words of the task about its training runs."""
        from elman.language.display import LanguageDisplay

        return LanguageDisplay()

    def open(self, model: Model, storage: str) -> LanguagePredictor:
        """Return a predictor whose weights are stored as `storage`, "float32" or "bf16"."""
        return self.predictor_type()(model, storage)

    def guess(self, files: Sequence[str], options: Mapping[str, Any]) -> str:
        """Return "": no option suggests this task, which is the default."""
        del files, options
        return ""

    def suggest(self, kinds: ColumnKinds) -> str:
        """Return "": a table is rarely meant as text."""
        del kinds
        return ""

    def train(
        self,
        data: TrainingFiles,
        options: LanguageOptions,
        run: Run,
    ) -> Outcome:
        """Train on text files and folders; raises as `LanguageModel.fit`."""
        from elman.training.estimator import needs_torch

        with needs_torch():
            from elman.language.train import train_language

        valid, test = (
            None if files is None else [*map(Path, files)] for files in (data.valid, data.test)
        )
        return train_language([*map(Path, data.files)], options, run, valid=valid, test=test)

    def read_input(self, predictor: LanguagePredictor, file: str, reading: Reading) -> str:
        """Return the text of a file."""
        from elman.text.labelled_lines import read_lines

        del predictor
        return "\n".join(read_lines(file, reading["encoding"]))

    def predict(self, predictor: LanguagePredictor, request: PredictRequest) -> Answers:
        """Return the most probable next tokens after each line of the source."""
        from elman.text.arguments import argument_lines

        lines = argument_lines(request.source or "", request.reading["encoding"])
        return Answers(rankings=_rankings(predictor, lines, request.count))

    def evaluate(self, predictor: LanguagePredictor, request: EvaluateRequest) -> Evaluated:
        """Return the loss and perplexity on text files."""
        files = [Path(file) for file in request.files]
        return Evaluated(predictor.evaluate(files, encoding=request.reading["encoding"]))

    def explain(self, predictor: LanguagePredictor, request: ExplainRequest) -> Printable:
        """Return the explanation of the next token, its equations, or the effect of a replaced token."""
        from elman.text.arguments import argument_lines

        text = "\n".join(argument_lines(request.source or "", request.reading["encoding"]))
        if request.replace is not None:
            return _replacement(predictor, text, request.replace)
        options = dict(request.options)
        if request.equations:
            options["method"] = "decomposition"
        explanation = predictor.explain(text, request.target, **options)
        if not request.equations:
            return explanation
        from elman.language.equations import equations

        return ExplanationWithEquations(
            explanation, equations(predictor, text, explanation=explanation)
        )


@dataclass(frozen=True)
class ExplanationWithEquations:
    """An explanation by decomposition that is printed as its equations."""

    explanation: Explanation
    equations: str

    def to_dict(self) -> dict[str, Any]:
        """Return the explanation and the lines of the equations, for JSON."""
        return self.explanation.to_dict() | {"equations": self.equations.splitlines()}

    def to_svg(self) -> str:
        """Return the picture of the explanation."""
        return self.explanation.to_svg()

    def plot(self) -> Any:
        """Return the explanation as a matplotlib figure."""
        return self.explanation.plot()

    def __str__(self) -> str:
        return self.equations


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
    predictions: tuple[tuple[str, float, float], ...]
    """Triples of a token, its probability now, and its probability before."""

    def to_dict(self) -> dict[str, Any]:
        """Return all fields, for JSON."""
        rows = [
            {"token": token, "probability": now, "before": before}
            for token, now, before in self.predictions
        ]
        return {
            "text": self.text,
            "position": self.position,
            "token": self.token,
            "word": self.word,
            "predictions": rows,
        }

    def __str__(self) -> str:
        from elman.explain.explanation import display_name

        names = [display_name(token) for token, _, _ in self.predictions]
        width = max(map(len, names))
        lines = [f"{printable(self.changed_text, 400)} …", f"{'':{width}}    now  before"]
        for name, (_, now, before) in zip(names, self.predictions, strict=True):
            bar = "█" * round(_BAR_WIDTH * now)
            lines.append(f"{name:{width}}  {now:.3f}   {before:.3f}  {bar}".rstrip())
        return "\n".join(lines)


def _replacement(predictor: LanguagePredictor, text: str, argument: str) -> Replacement:
    """Return what comes after `text` with another token; `argument` is POSITION=WORD."""
    from elman.language.context import Context
    from elman.language.explain import replace

    position, equals, word = argument.partition("=")
    if not (equals and position.strip().isdecimal() and len(position) <= _MAX_POSITION_DIGITS):
        raise OptionError("--replace", got=argument, expected="POSITION=WORD, such as 1=hate")
    place = int(position)
    after = replace(predictor, text, place, word)
    before = dict(predictor.predict_next(text, len(predictor.model.codec)))
    tokens = list(Context.of(predictor, text).tokens)
    replaced, tokens[place] = tokens[place], word
    separator = predictor.model.codec.separator
    pairs = zip([None, *tokens], tokens, strict=False)
    changed = "".join(separator(previous, token) + token for previous, token in pairs)
    rows = tuple((token, probability, before[token]) for token, probability in after)
    return Replacement(text, changed, place, replaced, word, rows)


def _rankings(predictor: LanguagePredictor, lines: Iterable[str], count: int) -> Iterator[Ranking]:
    """Yield what may come after each line; warn after the last one where `<unk>` has most probability."""
    from elman.text.words import UNKNOWN

    notes = []
    for line in warn_of_unknown_tokens(predictor, lines):
        predictions = predictor.predict_next(line, count)
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
