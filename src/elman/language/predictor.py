"""The predictor of a language model: next tokens, generated text, scores and evaluation."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

import numpy as np

from elman.errors import InputError, OptionError
from elman.files.model import Model
from elman.inspect.predictor import InitialWeights, Inspectable, Predictor
from elman.language.adaptation import Adapt, Adaptation, adaptation_of
from elman.language.config import NetworkConfig
from elman.language.evaluation import Evaluation, NgramComparison
from elman.language.network import Network
from elman.language.pool import StreamPool
from elman.language.readable import Readable
from elman.language.sampling import GenerationOptions, Predictions
from elman.language.stream import Score, Stream
from elman.text.sources import Source
from elman.text.vocabulary import TextCodec
from elman.text.words import UNKNOWN_ID, plain_line_ends

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.inspect.memory import Cuts
    from elman.inspect.states import RecordedStates
    from elman.inspect.trace import Trace


class LanguagePredictor(Predictor):
    """A trained language model, ready for use, as `elman.load` returns it.

    It never changes: every call reads its text in a new stream.

    Args:
        model: The trained model.
        storage: The storage of the weights, "float32", "bf16" or "int8" (default: as the model is stored).

    Raises:
        OptionError: There is no such storage, or the kernel that it needs is missing.
    """

    model: Model[NetworkConfig, TextCodec]
    initial_weights = InitialWeights(zero=("head.bias",))

    def __init__(self, model: Model[NetworkConfig, TextCodec], storage: str | None = None) -> None:
        self.network = Network(model, storage=storage)
        self.model = self.network.model

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
