"""Base class of the estimators: parameters made from the options of a task, and the model after `fit`."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Mapping
from dataclasses import replace
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, Generic, Literal, Self, TypeVar

from elman.engine.shapes import whole_number
from elman.errors import MissingDependencyError, NotFittedError, OptionError, installing
from elman.files.model import Model
from elman.inspect.predictor import Inspectable, Predictor
from elman.training.continuation import adopted
from elman.training.journal import Event, JsonObject, Run, Watch
from elman.training.options import Options
from elman.training.progress import TrainingDisplay
from elman.training.recurrent_options import CellName, RecurrentOptions
from elman.training.task_display import TaskDisplay

try:
    from sklearn import exceptions
    from sklearn.base import BaseEstimator
except ImportError as error:
    raise MissingDependencyError(
        "scikit-learn is not installed", remedy=installing("train")
    ) from error


if TYPE_CHECKING:
    from elman.training.trainer import Outcome

PredictorT = TypeVar("PredictorT", bound=Predictor)
OptionsT = TypeVar("OptionsT", bound=RecurrentOptions)


class _NotFittedError(NotFittedError, exceptions.NotFittedError):
    """Elman's error that is scikit-learn's too, because the tools of scikit-learn catch theirs."""


def _both(first: Watch, second: Watch | None) -> Watch:
    """Return a function that calls `first` with an event, then `second`."""
    if second is None:
        return first

    def watch(event: Event) -> None:
        first(event)
        second(event)

    return watch


def _described(options: type[Options]) -> str:
    """Return the help of every parameter, for the docstring of an estimator."""
    lines = [
        "All parameters are given by name; `random_state` is another name of `seed`.",
        "",
        "Args:",
    ]
    for field in options.declared():
        default = "" if field.default is None else f" [{field.default}]"
        text = f"{field.name}: {field.metadata['help']}{default}"
        lines += textwrap.wrap(text, 100, initial_indent="    ", subsequent_indent="        ")
    return "\n".join(lines) + "\n"


class Estimator(Inspectable, BaseEstimator, Generic[PredictorT, OptionsT]):
    """Base of the estimators; the parameters of each are the options of its task, all by name.

    ``tools/signatures`` writes the initialisers and the declarations of the attributes from the options.
    """

    task: ClassVar[str]
    options: type[OptionsT]
    predictor_type: type[PredictorT]
    """The class of the predictor that opens a model of this task."""
    display_type: type[TaskDisplay]
    """The class of the words about its runs, for `verbose`."""
    __signature__: ClassVar[inspect.Signature]

    model_: Model
    predictor_: PredictorT
    card_: JsonObject
    stopped_: str

    # attributes of RecurrentOptions, written by tools/signatures
    cell: CellName
    activation: Literal["linear", "tanh", "relu"]
    hidden_size: int | None
    num_layers: int | None
    bias: bool
    dropout: float | None
    time: str | float | None
    epochs: float | None
    steps: int | None
    batch_size: int | None
    learning_rate: float | None
    weight_decay: float | None
    warm_up: float
    clip: float
    average: float | None
    evaluations: int
    patience: int
    checkpoint_every: str | float
    precision: Literal["float32", "bf16"] | None
    seed: int
    threads: int | None
    device: Literal["auto", "cpu", "cuda"]
    # end of attributes

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "options" in vars(cls):
            # scikit-learn expects to find every parameter of the signature in `get_params`.
            parameters = inspect.signature(cls.__init__).parameters.values()
            shown = [item for item in parameters if item.name not in ("self", "random_state")]
            cls.__signature__ = inspect.Signature(shown)
            cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{_described(cls.options)}"

    @classmethod
    def _get_param_names(cls) -> list[str]:
        # scikit-learn copies an estimator by these names, and `random_state` is the seed once more.
        return [name for name in super()._get_param_names() if name != "random_state"]

    def _set_parameters(self, parameters: Mapping[str, Any]) -> None:
        """Set the attributes of a new estimator from the local variables of its initialiser."""
        for name, default in self.options.defaults().items():
            setattr(self, name, parameters.get(name, default))
        if parameters["random_state"] is not None:
            if self.seed != 0:
                expected = "one of them: they are the same"
                raise OptionError("random_state", got="seed too", expected=expected)
            self.random_state = parameters["random_state"]

    @property
    def random_state(self) -> int | None:
        """The seed of all random numbers; scikit-learn's name for `seed`."""
        return self.seed

    @random_state.setter
    def random_state(self, value: int | None) -> None:
        # 0 is the default seed: a run without a choice is reproducible too.
        self.seed = 0 if value is None else whole_number("random_state", value, 0)

    def set_params(self, **parameters: Any) -> Self:
        """Set parameters by name; `random_state` sets `seed`."""
        if "random_state" in parameters:
            self.random_state = parameters.pop("random_state")
        super().set_params(**parameters)
        return self

    def _checked_options(self) -> OptionsT:
        return self.options(**self.get_params())

    @classmethod
    def from_file(cls, path: str | PathLike[str], **parameters: Any) -> Self:
        """Return an estimator that is fitted already: with the model of a file, to learn on from it.

        Args:
            path: The model file.
            parameters: Parameters of the estimator, for later calls of `fit` and `partial_fit`.

        Raises:
            ModelFileError: The file is damaged, or no model.
            OptionError: The model is for another task, or a parameter contradicts it.
        """
        estimator, model = cls(**parameters), Model.load(path)
        estimator._adopted(model)
        estimator._keep(model, "complete")
        return estimator

    def _adopted(self, model: Model | None) -> OptionsT:
        """Return the options of a run that trains `model` further; None begins with a new network."""
        options = self._checked_options()
        if model is None:
            return options
        # A parameter at its default is one that the user has not chosen.
        defaults = options.defaults()
        chosen = {k: v for k, v in self.get_params().items() if v != defaults[k]}
        return self.options.from_values(adopted(self.options, chosen, self.task, model))

    @property
    def _trained(self) -> Model | None:
        """The model that `partial_fit` trains further; None before the first training."""
        return self.model_ if hasattr(self, "predictor_") else None

    def _train(self, train: Callable[[Run], Outcome], run: Run, verbose: bool) -> Self:
        """Call `train`, show its progress if `verbose`, and keep its model."""
        if not verbose:
            outcome = train(run)
        else:
            # The display names the file that the run writes, if it writes one.
            name = None if run.output is None else str(run.output)
            with TrainingDisplay(self.display_type(), to_stderr=False, output=name) as display:
                outcome = train(replace(run, watch=_both(display.watch, run.watch)))
                display.finish(outcome.stopped, outcome.model.card)
        self._keep(outcome.model, outcome.stopped)
        return self

    def _keep(self, model: Model, stopped: str) -> None:
        """Set the attributes of a fitted estimator."""
        self.model_, self.stopped_ = model, stopped
        self.card_ = dict(model.card)
        self.predictor_ = self.predictor_type(model)

    def _fitted(self) -> PredictorT:
        if not hasattr(self, "predictor_"):
            name = type(self).__name__
            raise _NotFittedError(f"this {name} is not fitted", remedy="call fit first")
        return self.predictor_

    def _inspected(self) -> PredictorT:
        return self._fitted()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "predictor_")

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to one file, atomically; raises OutputError where the file cannot be written."""
        self._fitted().save(path)
