"""The predictor of a language model: next tokens, generated text, scores and evaluation."""

from __future__ import annotations

import itertools
import math
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import numpy as np

from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.inspect.predictor import InitialWeights, Inspectable, Predictor
from elman.language.adaptation import Adapt, Adaptation, adaptation_of
from elman.language.config import NetworkConfig
from elman.language.network import Network
from elman.language.pool import StreamPool
from elman.language.sampling import GenerationOptions, Predictions
from elman.language.stream import Readable, Score, Stream
from elman.tables.frames import frame_of
from elman.text.sources import Source
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID, plain_line_ends

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.inspect.memory import Cuts
    from elman.inspect.states import RecordedStates
    from elman.inspect.trace import Trace


def _number(card: Mapping[str, Any], *names: str) -> float | None:
    """Return the number at a path of names in a card, which comes from a file and may be any JSON object."""
    # A wrong type at any name on the path gives None instead of an error.
    value: Any = card
    for name in names:
        value = value.get(name) if isinstance(value, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return value


def _perplexity(loss: float) -> float:
    return math.exp(min(loss, 700.0))  # exp of a larger number overflows


@dataclass(frozen=True, kw_only=True)
class NgramComparison:
    """The comparison of a network with an n-gram model on the test set of its training.

    >>> comparison = NgramComparison(
    ...     held_out_loss=1.5, ngram_loss=1.6, ngram_order=6, ngram_error=0.01, ngram_outcome="better"
    ... )
    >>> comparison.verdict[-71:]
    'on the test set: the network beats it by 0.1000 (standard error 0.0100)'
    """

    held_out_loss: float | None = None
    """Mean loss of the network on the test set of its training, from the model's card."""
    ngram_loss: float | None = None
    """Mean loss of the n-gram model on the same test set."""
    ngram_order: int | None = None
    ngram_tokens: int | None = None
    """Number of last tokens of the training text that the n-gram model counted; None for all tokens."""
    ngram_error: float | None = None
    """Standard error of the difference between the two losses."""
    ngram_outcome: str | None = None
    """"better", "worse" or "no difference": the significant outcome; None if it was not tested."""

    @staticmethod
    def fields_of(card: Mapping[str, Any]) -> dict[str, Any]:
        """Return the fields as a model's card has them."""
        order, counted = _number(card, "ngram", "order"), _number(card, "ngram", "tokens_counted")
        tokens = _number(card, "data", "tokens")
        ngram = card.get("ngram")
        tested = ngram.get("difference") if isinstance(ngram, Mapping) else None
        outcome = tested.get("verdict") if isinstance(tested, Mapping) else None
        if outcome not in ("better", "worse", "no difference"):
            outcome = None  # by an older version, or not a card of ours
        return {
            "held_out_loss": _number(card, "held_out", "loss"),
            "ngram_loss": _number(card, "ngram", "loss"),
            "ngram_order": None if order is None else int(order),
            "ngram_tokens": int(counted) if counted and tokens and counted < tokens else None,
            "ngram_error": outcome and _number(card, "ngram", "difference", "standard_error"),
            "ngram_outcome": outcome,
        }

    @property
    def beats_ngram(self) -> bool | None:
        """Whether the network beats the n-gram model on its test set: significantly, if that was tested."""
        if self.held_out_loss is None or self.ngram_loss is None:
            return None
        if self.ngram_outcome is not None:
            return self.ngram_outcome == "better"
        return self.held_out_loss < self.ngram_loss

    @property
    def verdict(self) -> str:
        """The comparison in plain words; empty without both losses."""
        loss, ngram_loss, error = self.held_out_loss, self.ngram_loss, self.ngram_error
        if loss is None or ngram_loss is None:
            return ""
        name = f"a {self.ngram_order}-gram" if self.ngram_order else "an n-gram"
        last = f"the last {self.ngram_tokens:,} tokens of " if self.ngram_tokens else ""
        words = f"{name} model of {last}the same training text has {ngram_loss:.4f}"
        words += " on the test set" if self.ngram_outcome else " held out"
        chance = "" if error is None else f" (standard error {error:.4f})"
        if self.ngram_outcome == "no difference":
            uncertainty = f"shows NO DIFFERENCE that this test set can tell from chance{chance}"
            if error is None:
                uncertainty = (
                    "and so short a test set cannot tell how much of the difference is chance"
                )
            return f"{words}: the network has {loss:.4f}, {uncertainty}"
        if loss < ngram_loss:
            return f"{words}: the network beats it by {ngram_loss - loss:.4f}{chance}"
        return f"{words}: the network, with {loss:.4f}, DOES NOT BEAT IT{chance}"


@dataclass(frozen=True)
class Evaluation(NgramComparison):
    """Loss of a model on a text, and the comparison with an n-gram model from its training.

    >>> print(Evaluation(tokens=100, characters=100, loss=1.5, unknown_share=0.0))
    tokens predicted        100
    loss                 1.5000  nats a token
    bits a token         2.1640
    bits a character     2.1640
    perplexity             4.48
    unknown tokens       0.00 %
    """

    tokens: int
    """Number of predicted tokens."""
    characters: int
    """Number of characters of the text."""
    loss: float
    """Mean loss in nats per token."""
    unknown_share: float
    """Share of the tokens that are outside the vocabulary; they are predicted as `<unk>`."""
    warnings: tuple[str, ...] = ()
    """Warnings about the text."""
    cache_loss: float | None = None
    """Loss with a continuous cache; None if it was not measured."""
    weights_loss: float | None = None
    """Loss with weights that learn from the text; None if it was not measured."""
    both_loss: float | None = None
    """Loss with both; None if it was not measured."""
    adaptation: Mapping[str, float] | None = None
    """Strengths of the adaptation."""

    @property
    def bits_per_token(self) -> float:
        """The loss in bits per token."""
        return self.loss / math.log(2)

    @property
    def bits_per_character(self) -> float:
        """Bits of the whole text per character, which is comparable between vocabularies."""
        return self.bits_per_token * self.tokens / max(1, self.characters)

    @property
    def perplexity(self) -> float:
        """``exp(loss)``: the number of equally likely tokens that would give the same loss."""
        return _perplexity(self.loss)

    def to_dict(self) -> dict[str, Any]:
        """Return all fields and properties, for JSON."""
        derived = ("bits_per_token", "bits_per_character", "perplexity", "beats_ngram")
        fields = asdict(self) | {name: getattr(self, name) for name in derived}
        return fields | {"warnings": list(self.warnings)}

    def to_frame(self) -> Any:
        """Return the figures in one row of a polars data frame, or as a dict of columns without polars."""
        figures = self.to_dict()
        del figures["warnings"], figures["adaptation"]
        return frame_of([figures])

    def __str__(self) -> str:
        lines = [
            f"tokens predicted {self.tokens:>10,}",
            f"loss             {self.loss:>10.4f}  nats a token",
            f"bits a token     {self.bits_per_token:>10.4f}",
            f"bits a character {self.bits_per_character:>10.4f}",
            f"perplexity       {self.perplexity:>10.{2 if self.perplexity < 1e4 else 0}f}",
            f"unknown tokens   {100 * self.unknown_share:>8.2f} %",
        ]
        adapted = {
            "with a cache": self.cache_loss,
            "learning on": self.weights_loss,
            "with both": self.both_loss,
        }
        lines += [
            f"{name:16} {loss:>10.4f}  nats a token, perplexity {_perplexity(loss):.2f}"
            for name, loss in adapted.items()
            if loss is not None
        ]
        if self.adaptation is not None:
            strengths = (f"{name} {value:g}" for name, value in self.adaptation.items())
            lines.append(f"adapted by {', '.join(strengths)}")
        if self.verdict:
            lines.append(f"in training {self.verdict}")
        return "\n".join([*lines, *(f"warning: {warning}" for warning in self.warnings)])


class LanguagePredictor(Predictor):
    """A trained language model, ready for use, as `elman.load` returns it.

    It never changes: every call reads its text in a new stream.

    Args:
        model: The trained model.
        storage: The storage of the weights, "float32" or "bf16".

    Raises:
        OptionError: There is no such storage, or the kernel that it needs is missing.
    """

    model: Model[NetworkConfig, TextCodec]
    initial_weights = InitialWeights(zero=("head.bias",))

    def __init__(self, model: Model[NetworkConfig, TextCodec], storage: str = "float32") -> None:
        self.model = model
        self.network = Network(model, storage=storage)

    def __reduce__(self) -> tuple[type[LanguagePredictor], tuple[Model, str]]:
        # A pickle holds the model; the network is built again from it.
        return type(self), (self.model, self.network.storage)

    def explainer(self) -> Callable[..., Explanation]:
        """Return `explain_language`."""
        from elman.language.explain import explain_language

        return explain_language

    def record_trace(self, sequence: Readable, k: int) -> Trace:
        """Return the trace of a text or of token numbers; raises InputError."""
        from elman.language.trace import record_trace

        return record_trace(self.network, sequence, k)

    def record_states(self, source: str | None, steps: int) -> RecordedStates:
        """Return the states after each of the last tokens of a text; raises InputError, DataError."""
        from elman.language.states import record_states

        return record_states(self.model, source, steps)

    def memory_cuts(self, source: Readable | None, far: int) -> Cuts:
        """Return contexts in a text, by default one that the model writes; raises InputError."""
        from elman.language.memory import memory_cuts

        return memory_cuts(self.network, source, far)

    def stream(self, adapt: Adapt | Adaptation | None = None) -> Stream:
        """Return a new stream; with `adapt`, as in `Stream`, it learns from the text that it reads."""
        return Stream(self.network, adapt)

    def streams(self, n: int) -> StreamPool:
        """Return a pool of `n` new streams that step together; raises OptionError."""
        return StreamPool(self.network, n)

    def predict_next(self, text: Readable, k: int = 5) -> Predictions:
        """Return the `k` most probable tokens after `text` with their probabilities, best first.

        `<unk>` is not in the list; its probability is the list's `unknown_probability`. Raises OptionError,
        and InputError for token numbers outside the vocabulary.
        """
        return self.stream().feed(text).predict(k)

    def generate(
        self, prompt: Readable = "", n: int = 200, **sampling: Unpack[GenerationOptions]
    ) -> str:
        """Return the text of `generate_pieces` as one string."""
        return "".join(self.generate_pieces(prompt, n, **sampling))

    def generate_pieces(
        self, prompt: Readable = "", n: int = 200, **sampling: Unpack[GenerationOptions]
    ) -> Iterator[str]:
        """Draw `n` tokens after `prompt`, and yield the text of each one as soon as it is drawn.

        `sampling` takes the settings of `Stream.generate_pieces`: temperature, top_k, top_p, seed.
        """
        return self.stream().feed(prompt).generate_pieces(n, **sampling)

    def beam(self, prompt: Readable = "", n: int = 20, width: int = 10) -> list[tuple[str, float]]:
        """Return the `width` most probable continuations of `prompt`, as `Stream.beam` does."""
        return self.stream().feed(prompt).beam(n, width)

    def score(self, text: Readable) -> Score:
        """Return the probability of each token of `text` after all tokens before it."""
        return self.stream().score(text)

    def unknown_tokens(self, text: str) -> tuple[str, ...]:
        """Return the distinct tokens of `text` that are outside the vocabulary, in order."""
        codec = self.model.codec
        text = plain_line_ends(text)
        outside = codec.encode(text) == UNKNOWN_ID
        return tuple(dict.fromkeys(itertools.compress(codec.tokenise(text), outside.tolist())))

    def adaptation(
        self,
        adapt: Adapt | Adaptation | None,
        valid: Source | None = None,
        *,
        encoding: str | None = None,
    ) -> Adaptation | None:
        """Return the strengths of an adaptation for `stream` and `evaluate`.

        Args:
            adapt: The parts that adapt, as in `Stream`, or the strengths to begin with; None for none.
            valid: A text to choose the strengths on; without it they are the defaults.
            encoding: The encoding of the files; None detects it.

        Raises:
            DataError: The text is missing, empty, too short or not text.
            OptionError: There is a text without `adapt`, or no such part.
        """
        codec = self.model.codec
        settings = None if adapt is None else adaptation_of(adapt, codec.level)
        if valid is None:
            return settings
        if settings is None:
            raise OptionError("valid", got="a text without adapt", expected="adapt with it")
        from elman.language.adapted_loss import choose_strengths
        from elman.language.corpus import load_corpus

        with tempfile.TemporaryDirectory(prefix="elman-") as folder:
            corpus = load_corpus(valid, codec, encoding=encoding, workspace=Path(folder))
            return choose_strengths(self.network, corpus.tokens, settings)

    def evaluate(
        self,
        text: Source,
        *,
        encoding: str | None = None,
        lanes: int = 32,
        adapt: Adapt | Adaptation | None = None,
        valid: Source | None = None,
    ) -> Evaluation:
        """Return how well the model predicts a text.

        Args:
            text: A text, a path of a file or folder, or several of either.
            encoding: The encoding of the files; None detects it.
            lanes: A long document is read in up to so many parts side by side, each after a warm-up on the
                text before it; 1 reads it as a whole.
            adapt: Also measure the model while it adapts to the text, as in `Stream`: with a "cache", with
                "weights" that learn, or with each of these and "both". The text is then read in one stream.
            valid: A text to choose the strengths of the adaptation on, which must be another one than `text`.

        Raises:
            DataError: A text is missing, empty, too short or not text.
            OptionError: An option has a value that it cannot take.
        """
        # Only an evaluation needs these modules.
        from elman.language.adapted_loss import adapted_figures
        from elman.language.batches import evaluation_chunks
        from elman.language.corpus import load_corpus

        settings = self.adaptation(adapt, valid, encoding=encoding)
        # A long text is encoded into a file in this folder and mapped into memory.
        with tempfile.TemporaryDirectory(prefix="elman-") as folder:
            corpus = load_corpus(text, self.model.codec, encoding=encoding, workspace=Path(folder))
            total, count = 0.0, 0
            chunks = evaluation_chunks(corpus.tokens, lanes=lanes)
            for chunk, scores in self.network.score_chunks(chunks):
                # Sums are taken in double precision: a long text has millions of terms.
                total -= float(scores.sum(dtype=np.float64))
                count += chunk.predicted
            adapted = (
                {} if settings is None else adapted_figures(self.network, corpus.tokens, settings)
            )
        return Evaluation(
            tokens=count,
            characters=corpus.facts.characters,
            loss=total / max(1, count),
            unknown_share=corpus.facts.unknown / max(1, corpus.facts.tokens),
            warnings=corpus.facts.warnings,
            adaptation=None if settings is None else asdict(settings),
            **adapted,
            **NgramComparison.fields_of(self.card),
        )


def language_predictor(model: object) -> LanguagePredictor:
    """Return the predictor of `model`, which is a language predictor or a fitted `LanguageModel`.

    Raises InputError for anything else, and NotFittedError for an estimator before `fit`.
    """
    predictor = model._inspected() if isinstance(model, Inspectable) else model
    if not isinstance(predictor, LanguagePredictor):
        raise InputError(
            "the first argument",
            got=type(model).__name__,
            expected="a language model: what elman.load returns, or a fitted LanguageModel",
        )
    return predictor
