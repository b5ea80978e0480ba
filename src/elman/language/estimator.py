"""The language model as a scikit-learn estimator."""

from __future__ import annotations

import re
from os import PathLike
from pathlib import Path
from typing import Any, cast

from elman.errors import DataError
from elman.files.model import Model
from elman.language.options import LanguageOptions
from elman.language.predictor import Evaluation, LanguagePredictor
from elman.language.sampling import Predictions
from elman.language.stream import Stream
from elman.text.encodings import STDIN
from elman.text.sources import Source, is_path
from elman.training.estimator import Estimator, needs_torch

__all__ = ["LanguageModel", "sample"]

SAMPLE_TOKENS = {"char": 160, "word": 40}
_WORD = re.compile("[!-~]{1,100}")


def sample(model: Model) -> str:
    """Return a short text that `model` writes, the same at every call."""
    predictor = LanguagePredictor(model)
    return predictor.generate(n=SAMPLE_TOKENS[model.codec.level], temperature=0.8, seed=0)


def _check_not_mistyped(text: Source) -> None:
    """Raise DataError for a text that is one short word, and so rather a name that is no file's."""
    if isinstance(text, str) and _WORD.fullmatch(text) and not is_path(text) and text != STDIN:
        remedy = "check the path, or pass a text of several words"
        raise DataError(
            f"no file or folder has the name {text!r}", got="a text of one word", remedy=remedy
        )


class LanguageModel(Estimator):
    r"""A recurrent network that predicts the next word or character of a text.

    Its parameters are `elman.language.options.LanguageOptions`, all by name; None lets Elman choose.
    After `fit`: `model_` (the value that the file holds), `predictor_` (what `elman.load` returns),
    `card_` (how it was trained and how good it is) and `stopped_` (why training ended).

    >>> text = "I like tea .\n" * 40
    >>> model = LanguageModel(hidden_size=8, steps=60, documents="line", learning_rate=0.05).fit(text)
    >>> model.predict_next("I like", k=1)[0][0]
    'tea'
    """

    options = LanguageOptions
    predictor_type = LanguagePredictor

    def fit(
        self,
        X: Source,
        y: None = None,  # noqa: ARG002 - scikit-learn's signature
        *,
        valid: Source | None = None,
        test: Source | None = None,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Any = None,
        verbose: bool = False,
    ) -> LanguageModel:
        """Train on `X`: a text, a path of a file or folder, or several of either; return self.

        `valid` is the text held out of training in place of a part of `X`; `test` is the text from which
        every reported figure comes, in place of half of what is held out. `output` is a file for the
        model, beside which the journal and the checkpoint stand; `resume` goes on from that
        checkpoint; `watch` is called with every event, a dict as in the journal; with `verbose` the run is
        shown as the command shows it.

        Raises DataError, OptionError, OutputError, ModelFileError, DivergedError, all ElmanError.
        """
        _check_not_mistyped(X)
        options = self._checked_options()
        with needs_torch():
            from elman.language.train import train_language
        with self._shown(verbose, watch, output) as watching:
            outcome = train_language(
                X,
                options,
                valid=valid,
                test=test,
                output=None if output is None else Path(output),
                resume=resume,
                watch=watching,
                sample=sample,
            )
        return self._keep(outcome)

    def _fitted(self) -> LanguagePredictor:
        return cast(LanguagePredictor, super()._fitted())

    def predict_next(self, text: str, k: int = 5) -> Predictions:
        """Return the `k` most probable next tokens after `text` with their probabilities, best first."""
        return self._fitted().predict_next(text, k)

    def generate(self, prompt: str = "", n: int = 200, **sampling: Any) -> str:
        """Return `n` new tokens after `prompt` as text; `sampling` as in `LanguagePredictor.generate`."""
        return self._fitted().generate(prompt, n, **sampling)

    def evaluate(self, text: Source, *, encoding: str | None = None) -> Evaluation:
        """Return how well the model predicts `text`: nats and bits a token, perplexity, `<unk>` share."""
        return self._fitted().evaluate(text, encoding=encoding)

    def score(self, X: Source, y: None = None) -> float:  # noqa: ARG002 - scikit-learn's signature
        """Return the mean log probability (nats) of a token of `X`; greater is better."""
        return -self._fitted().evaluate(X).loss

    def stream(self) -> Stream:
        """Return a stream at state zero."""
        return self._fitted().stream()
