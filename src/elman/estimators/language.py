"""The language model as a scikit-learn estimator."""

from __future__ import annotations

import inspect
from os import PathLike
from pathlib import Path
from typing import Any

from elman import runtime
from elman._errors import MissingDependencyError, NotFittedError
from elman.data import Source
from elman.model import Model
from elman.options import LanguageOptions, defaults
from elman.runtime import Evaluation, LanguagePredictor, Stream

try:
    from sklearn.base import BaseEstimator
except ImportError as error:
    raise MissingDependencyError(
        "scikit-learn is not installed", remedy='pip install "elman[train]"'
    ) from error

__all__ = ["LanguageModel", "sample"]

SAMPLE_TOKENS = {"char": 160, "word": 40}


def sample(model: Model) -> str:
    """Return a short text that `model` writes, the same at every call."""
    predictor = runtime.open(model)
    return predictor.generate(n=SAMPLE_TOKENS[model.codec.level], temperature=0.8, seed=0)


class LanguageModel(BaseEstimator):  # type: ignore[misc]
    r"""A recurrent network that predicts the next word or character of a text.

    Its parameters are `elman.options.LanguageOptions`, all by name; None lets Elman choose.
    After `fit`: `model_` (the value that the file holds), `predictor_` (what `elman.load` returns),
    `card_` (how it was trained and how good it is) and `stopped_` (why training ended).

    >>> text = "I like tea .\n" * 40
    >>> model = LanguageModel(hidden_size=8, steps=60, documents="line", learning_rate=0.05).fit(text)
    >>> model.predict_next("I like", k=1)[0][0]
    'tea'
    """

    model_: Model
    predictor_: LanguagePredictor
    card_: dict[str, Any]
    stopped_: str

    def __init__(self, **parameters: Any) -> None:
        known = defaults()
        for name in parameters:
            if name not in known:
                raise TypeError(
                    f"LanguageModel has no parameter {name!r}; it has {', '.join(known)}"
                )
        for name, default in known.items():
            setattr(self, name, parameters.get(name, default))

    # scikit-learn, help() and editors read the parameters from the signature
    __init__.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [
            inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY),
            *(
                inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
                for name, default in defaults().items()
            ),
        ]
    )

    def fit(
        self,
        X: Source,
        y: None = None,  # noqa: ARG002 - scikit-learn's signature
        *,
        valid: Source | None = None,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Any = None,
    ) -> LanguageModel:
        """Train on `X`: a text, a path of a file or folder, or several of either; return self.

        `valid` is a text to measure on in place of the last part of `X`; `output` is a file for the
        model, beside which the journal and the checkpoint stand; `resume` goes on from that
        checkpoint; `watch` is called with every event, a dict as in the journal.

        Raises DataError, OptionError, OutputError, ModelFileError, DivergedError, all ElmanError.
        """
        options = LanguageOptions(**self.get_params())
        try:
            from elman.training import train_language
        except ModuleNotFoundError as error:
            raise MissingDependencyError(
                "training needs torch", got=str(error), remedy='pip install "elman[train]"'
            ) from error
        outcome = train_language(
            X,
            options,
            valid=valid,
            output=None if output is None else Path(output),
            resume=resume,
            watch=watch,
            sample=sample,
        )
        self.model_ = outcome.model
        self.card_ = dict(outcome.model.card)
        self.stopped_ = outcome.stopped
        self.predictor_ = runtime.open(outcome.model)
        return self

    def _fitted(self) -> LanguagePredictor:
        if not hasattr(self, "predictor_"):
            raise NotFittedError("this LanguageModel is not fitted", remedy="call fit first")
        return self.predictor_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "predictor_")

    def predict_next(self, text: str, k: int = 5) -> list[tuple[str, float]]:
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

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to one file, atomically; raises OutputError where that cannot be."""
        self._fitted().save(path)
