"""Base of the estimators of labelled sequences: training, and the checks of what users pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from numbers import Real
from os import PathLike
from typing import Literal, Self, TypeVar

import numpy as np
from sklearn.utils.validation import validate_data

from elman.errors import DataError, needs_torch
from elman.files.model import Model
from elman.labels.dataset import Sequences, SequenceSource
from elman.labels.display import LabelsDisplay
from elman.labels.examples import LabelledSequences, RunInputs, Targets, TargetSource
from elman.labels.label_values import Label, Labels
from elman.labels.options import LabelledOptions
from elman.labels.predictor import LabelPredictor
from elman.labels.stream import SequenceStream
from elman.training.estimator import Estimator
from elman.training.journal import Run, Watch

PredictorT = TypeVar("PredictorT", bound=LabelPredictor)
OptionsT = TypeVar("OptionsT", bound=LabelledOptions)


class SequenceEstimator(Estimator[PredictorT, OptionsT]):
    """Base of the classifier, the regressor and the tagger; each adds its targets and its questions."""

    display_type = LabelsDisplay

    # attributes of LabelledOptions, written by tools/signatures
    level: Literal["both", "word", "char"]
    lowercase: bool
    max_vocabulary: int | None
    min_count: int | None
    missing: Literal["error", "mask"]
    held_out: float
    embedding_size: int | None
    vectors: str | None
    spelling_size: int | None
    bidirectional: bool
    members: int | None
    pretrain: str | None
    refit: bool | None
    word_dropout: float | None
    # end of attributes

    def _sequences(self, X: SequenceSource, *, reset: bool = False) -> Sequences:
        """Return `X` as sequences; an array ``[N, T]`` first passes scikit-learn's validation."""
        if isinstance(X, Sequences):
            return X
        if hasattr(X, "tocsr") or _is_table(X):
            # missing numbers are an error unless the network gets an input that marks them
            finite = "allow-nan" if self.missing == "mask" else True
            X = validate_data(self, X, reset=reset, dtype=np.float64, ensure_all_finite=finite)
        return Sequences.of(X)

    def _targets(self, y: TargetSource) -> Targets:
        return [*y]

    def _examples(
        self, X: SequenceSource, y: TargetSource, *, reset: bool = False
    ) -> LabelledSequences:
        return LabelledSequences(self._sequences(X, reset=reset), self._targets(y))

    def _train_labelled(
        self, data: LabelledSequences, inputs: RunInputs, run: Run, verbose: bool = False
    ) -> Self:
        """Train on sequences and their targets, and keep the model."""
        options = self._adopted(run.before)
        if run.before is not None:
            # Pre-training gave the first weights of the network that now learns on.
            options = replace(options, pretrain=None)
        with needs_torch():
            from elman.labels.train import train_labelled
        start = partial(train_labelled, self.task, data, options, inputs=inputs)
        return self._train(start, run, verbose)

    def _keep(self, model: Model, stopped: str) -> None:
        super()._keep(model, stopped)
        if model.codec.labels is not None:
            self.classes_ = model.codec.labels.array
        # scikit-learn expects a whole number of passes over the data
        self.n_iter_ = max(1, round(self.card_.get("training", {}).get("epochs", 1)))

    def fit(
        self,
        X: SequenceSource,
        y: TargetSource,
        *,
        valid: tuple[SequenceSource, TargetSource] | None = None,
        test: tuple[SequenceSource, TargetSource] | None = None,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Watch | None = None,
        verbose: bool = False,
    ) -> Self:
        """Train on the sequences `X` with the targets `y`.

        Args:
            X: A list of texts or of lists of tokens, a list of arrays ``[T_i]`` or ``[T_i, C]``, or one array
                ``[N, T]`` or ``[N, T, C]``.
            y: A label, a number, or a list of tags for each sequence.
            valid: Held-out sequences and targets, in place of a share of `X`: half of them are the validation
                set, half the test set.
            test: Sequences and targets of the test set, in place of half of the held-out ones.
            output: As for `LanguageModel.fit`.
            resume: As for `LanguageModel.fit`.
            watch: As for `LanguageModel.fit`.
            verbose: As for `LanguageModel.fit`.

        Returns:
            The estimator itself.

        Raises:
            DataError: The data cannot be used.
            OptionError: The options do not fit the data.
            ShapeError: The sequences have different numbers of channels.
            OutputError: The output cannot be written.
            ModelFileError: The checkpoint to resume belongs to another run.
            DivergedError: Training met numbers that are not finite and could not recover.
        """
        return self._learn(X, y, valid, test, Run.of(output, resume, watch), None, verbose)

    def partial_fit(
        self,
        X: SequenceSource,
        y: TargetSource,
        classes: Sequence[Label] | None = None,
        *,
        valid: tuple[SequenceSource, TargetSource] | None = None,
        test: tuple[SequenceSource, TargetSource] | None = None,
        output: str | PathLike[str] | None = None,
        resume: bool = False,
        watch: Watch | None = None,
        verbose: bool = False,
    ) -> Self:
        """Train the network further on new sequences, by default for 5 epochs at a quarter of the rate.

        New words, characters and labels get rows of weights; the scaling of numbers and all sizes stay as
        they are. The first call trains a new network, with `classes` as the list of all labels.

        Args:
            X: The new sequences, as for `fit`.
            y: Their targets.
            classes: All labels, for the first call; later, further labels beside those of `y`.
            valid: As for `fit`.
            test: As for `fit`.
            output: As for `fit`.
            resume: As for `fit`.
            watch: As for `fit`.
            verbose: As for `fit`.

        Returns:
            The estimator itself.

        Raises:
            DataError, ShapeError: The sequences cannot be used, or the model reads others.
            OptionError: A parameter contradicts the model, or does not fit the data.
            OutputError, ModelFileError, DivergedError: As `fit`.
        """
        run = Run.of(output, resume, watch, self._trained)
        return self._learn(X, y, valid, test, run, classes, verbose)

    def _learn(
        self,
        X: SequenceSource,
        y: TargetSource,
        valid: tuple[SequenceSource, TargetSource] | None,
        test: tuple[SequenceSource, TargetSource] | None,
        run: Run,
        classes: Sequence[Label] | None,
        verbose: bool,
    ) -> Self:
        data = self._examples(X, y, reset=run.before is None)
        held_out, measured = (
            None if pair is None else self._examples(*pair) for pair in (valid, test)
        )
        labels = None if classes is None else Labels.of(classes)
        return self._train_labelled(data, RunInputs(held_out, measured, labels), run, verbose)

    def stream(self) -> SequenceStream:
        """Return a stream, to feed step by step; raises InputError for a network that needs all steps."""
        return self._fitted().stream()


def check_given(y: TargetSource | None) -> None:
    """Raise DataError if there are no targets."""
    if y is None:
        # scikit-learn's wording, which its checks of estimators expect
        raise DataError("requires y to be passed, but the target y is None")


def _is_table(X: SequenceSource) -> bool:
    """Return whether `X` is an array or frame of numbers with at most two dimensions, or a flat list."""
    flat = isinstance(X, list) and bool(X) and isinstance(X[0], Real)
    if not (hasattr(X, "__array__") or flat):
        return False
    array = np.asarray(X)
    if array.dtype.kind == "O":
        return array.ndim <= 2 and not any(
            isinstance(value, Sequence | np.ndarray) for value in array.flat
        )
    return array.ndim <= 2 and array.dtype.kind not in "US"
