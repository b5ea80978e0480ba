"""The language model as a scikit-learn estimator."""

from __future__ import annotations

import re
from functools import partial
from os import PathLike
from typing import Literal, Unpack

from elman.errors import DataError, needs_torch
from elman.language.adaptation import Adapt, Adaptation
from elman.language.display import LanguageDisplay
from elman.language.evaluation import Evaluation
from elman.language.options import DocumentUnit, LanguageOptions, Level
from elman.language.predictor import LanguagePredictor
from elman.language.sampling import GenerationOptions, Predictions
from elman.language.stream import Stream
from elman.text.input_files import STDIN
from elman.text.sources import Source, is_path
from elman.training.estimator import Estimator
from elman.training.journal import Run, Watch
from elman.training.recurrent_options import CellName

_SHORT_WORD = re.compile("[!-~]{1,100}")


def _check_not_mistyped(text: Source) -> None:
    """Raise DataError for a text of one short word: it is more likely the mistyped name of a file."""
    if (
        isinstance(text, str)
        and _SHORT_WORD.fullmatch(text)
        and not is_path(text)
        and text != STDIN
    ):
        remedy = "check the path, or pass a text of several words"
        raise DataError(
            f"no file or folder has the name {text!r}", got="a text of one word", remedy=remedy
        )


class LanguageModel(Estimator[LanguagePredictor, LanguageOptions]):
    r"""A recurrent network that predicts the next word or character of a text.

    Its parameters are the fields of `elman.language.options.LanguageOptions`, passed by name; None lets Elman
    choose a value.

    Attributes:
        model_: The trained model, as the model file holds it.
        predictor_: The predictor, as `elman.load` returns it.
        card_: The record of the training, with the figures on the test set.
        stopped_: The reason why training ended.

    >>> text = "I like tea .\n" * 40
    >>> model = LanguageModel(hidden_size=8, steps=60, documents="line", learning_rate=0.05).fit(text)
    >>> model.predict_next("I like", k=1)[0][0]
    'tea'
    """

    task = "language"
    options = LanguageOptions
    predictor_type = LanguagePredictor
    display_type = LanguageDisplay

    # attributes of LanguageOptions, written by tools/signatures
    level: Level | None
    split: Literal["words", "whitespace", "log"]
    documents: DocumentUnit | None
    max_vocabulary: int | None
    min_count: int | None
    encoding: str | None
    held_out: float
    held_out_from: Literal["auto", "random", "end"]
    embedding_size: int | None
    residual: bool
    tied: bool | None
    sequence_length: int | None
    sampled_softmax: int | None
    # end of attributes
    # parameters of LanguageOptions, written by tools/signatures

    def __init__(
        self,
        *,
        level: Level | None = None,
        split: Literal["words", "whitespace", "log"] = "words",
        documents: DocumentUnit | None = None,
        max_vocabulary: int | None = None,
        min_count: int | None = None,
        encoding: str | None = None,
        held_out: float = 0.1,
        held_out_from: Literal["auto", "random", "end"] = "auto",
        cell: CellName = "lstm",
        activation: Literal["linear", "tanh", "relu"] = "tanh",
        hidden_size: int | None = None,
        num_layers: int | None = None,
        bias: bool = True,
        dropout: float | None = None,
        embedding_size: int | None = None,
        residual: bool = False,
        tied: bool | None = None,
        time: str | float | None = None,
        epochs: float | None = None,
        steps: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
        weight_decay: float | None = None,
        warm_up: float = 0.03,
        clip: float = 1.0,
        average: float | None = None,
        evaluations: int = 10,
        patience: int = 5,
        checkpoint_every: str | float = "30s",
        precision: Literal["float32", "bf16"] | None = None,
        seed: int = 0,
        random_state: int | None = None,
        threads: int | None = None,
        device: Literal["auto", "cpu", "cuda"] = "auto",
        sequence_length: int | None = None,
        sampled_softmax: int | None = None,
    ) -> None:
        self._set_parameters(locals())

    # end of parameters

    def fit(
        self,
        X: Source,
        y: None = None,  # noqa: ARG002 - scikit-learn's signature
        *,
        valid: Source | None = None,
        test: Source | None = None,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Watch | None = None,
        verbose: bool = False,
    ) -> LanguageModel:
        """Train the model on a text.

        Args:
            X: A text, a path of a file or folder, or several of either.
            y: Ignored; scikit-learn passes it.
            valid: The held-out text, instead of a part of `X`.
            test: The text that every reported figure is measured on, instead of half of the held-out text.
            output: The file for the model; journal and checkpoint are written beside it.
            resume: Whether to go on from that checkpoint.
            watch: A function that is called with every event of the run, a dict as in the journal.
            verbose: Whether to print the progress as the command `elman train` does.

        Returns:
            The estimator itself.

        Raises:
            DataError: The text is missing, empty, too short or not text.
            OptionError: A parameter has a value that it cannot take.
            OutputError: `output` cannot be written to.
            ModelFileError: The checkpoint cannot be used.
            DivergedError: Training reached numbers that are not finite.
        """
        return self._learn(X, valid, test, Run.of(output, resume, watch), verbose)

    def partial_fit(
        self,
        X: Source,
        y: None = None,  # noqa: ARG002 - scikit-learn's signature
        *,
        valid: Source | None = None,
        test: Source | None = None,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Watch | None = None,
        verbose: bool = False,
    ) -> LanguageModel:
        """Train the network further on a new text, by default for 5 epochs.

        The default learning rate is between a tenth and the whole of that of a new network, the higher the
        more the new text surprises the trained one. New words and characters get rows of weights; everything
        else keeps its size. The first call trains a new network.

        Args:
            X: The new text, as for `fit`.
            y: Ignored; scikit-learn passes it.
            valid: As for `fit`.
            test: As for `fit`.
            output: As for `fit`.
            resume: As for `fit`.
            watch: As for `fit`.
            verbose: As for `fit`.

        Returns:
            The estimator itself.

        Raises:
            OptionError: A parameter contradicts the model, or has a value that it cannot take.
            DataError, OutputError, ModelFileError, DivergedError: As `fit`.
        """
        return self._learn(X, valid, test, Run.of(output, resume, watch, self._trained), verbose)

    def _learn(
        self, X: Source, valid: Source | None, test: Source | None, run: Run, verbose: bool
    ) -> LanguageModel:
        _check_not_mistyped(X)
        options = self._adopted(run.before)
        with needs_torch():
            from elman.language.train import train_language
        train = partial(train_language, X, options, valid=valid, test=test)
        return self._train(train, run, verbose)

    def predict_next(self, text: str, k: int = 5) -> Predictions:
        """Return the `k` most probable tokens after `text` with their probabilities, best first."""
        return self._fitted().predict_next(text, k)

    def generate(
        self, prompt: str = "", n: int = 200, **sampling: Unpack[GenerationOptions]
    ) -> str:
        """Return `n` new tokens after `prompt` as text; `sampling` as in `LanguagePredictor.generate`."""
        return self._fitted().generate(prompt, n, **sampling)

    def evaluate(
        self,
        text: Source,
        *,
        encoding: str | None = None,
        adapt: Adapt | Adaptation | None = None,
        valid: Source | None = None,
    ) -> Evaluation:
        """Return how well the model predicts `text`, as `LanguagePredictor.evaluate` does."""
        return self._fitted().evaluate(text, encoding=encoding, adapt=adapt, valid=valid)

    def score(self, X: Source, y: None = None) -> float:  # noqa: ARG002 - scikit-learn's signature
        """Return the mean log probability (nats) of the tokens of `X`; larger is better."""
        return -self._fitted().evaluate(X).loss

    def stream(self, adapt: Adapt | Adaptation | None = None) -> Stream:
        """Return a new stream; with `adapt`, as in `Stream`, it learns from the text that it reads."""
        return self._fitted().stream(adapt)
