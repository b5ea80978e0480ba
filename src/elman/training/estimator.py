"""Base class of the estimators: parameters made from the options of a task, and the model after `fit`."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from difflib import get_close_matches
from os import PathLike
from pathlib import Path
from typing import Any, ClassVar, TypeVar, get_type_hints

from elman.engine.shapes import whole_number
from elman.errors import MissingDependencyError, NotFittedError, OptionError, installing, printable
from elman.files.model import Model, check_output
from elman.inspect.predictor import Inspectable
from elman.training.journal import Event, JsonObject, Watch
from elman.training.options import Options, members_of
from elman.training.progress import TrainingDisplay
from elman.training.recurrent_options import RecurrentOptions
from elman.training.task_display import TaskDisplay

try:
    from sklearn import exceptions
    from sklearn.base import BaseEstimator
except ImportError as error:
    raise MissingDependencyError(
        "scikit-learn is not installed", remedy=installing("train")
    ) from error


Self = TypeVar("Self", bound="Estimator")


class _NotFittedError(NotFittedError, exceptions.NotFittedError):  # type: ignore[misc]
    """Elman's error that is scikit-learn's too, because the tools of scikit-learn catch theirs."""


@contextmanager
def needs_torch() -> Iterator[None]:
    """Raise MissingDependencyError where an import within the block fails because torch is not installed."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            "training needs torch", got=str(error), remedy=installing("train")
        ) from error


def _with_seed(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with scikit-learn's `random_state` renamed to `seed`; raises OptionError."""
    renamed = dict(parameters)
    if "random_state" in renamed:
        state = renamed.pop("random_state")
        if "seed" in renamed:
            expected = "one of them: they are the same"
            raise OptionError("random_state", got="seed too", expected=expected)
        renamed["seed"] = 0 if state is None else whole_number("random_state", state, 0)
    return renamed


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


class Parameters:
    """Stands in the place of the options among the bases of an estimator at run time."""


class Estimator(Inspectable, BaseEstimator):  # type: ignore[misc]
    """Base of the estimators; its parameters are the options of its task, all by name."""

    options: ClassVar[type[RecurrentOptions]]
    predictor_type: ClassVar[type[Any]]
    """The class of the predictor that opens a model of this task."""
    display_type: ClassVar[type[TaskDisplay]]
    """The class of the words about its runs, for `verbose`."""

    __repr__ = BaseEstimator.__repr__

    model_: Model
    predictor_: Any
    card_: JsonObject
    stopped_: str

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "options" not in vars(cls):
            return

        def initialise(self: Estimator, *values: Any, **parameters: Any) -> None:
            known = cls.options.defaults()
            if values:
                types = get_type_hints(cls.options).items()
                likely = [name for name, kind in types if values[0] in members_of(kind)]
                value = printable(repr(values[0]))
                call = f"{cls.__name__}({likely[0] if likely else 'name'}={value})"
                raise TypeError(
                    f"{cls.__name__} takes its parameters by name, got {value} without one:"
                    f" write {call}, and pass data to fit"
                )
            parameters = _with_seed(parameters)
            for name in [name for name in parameters if name not in known]:
                near = get_close_matches(name, known, 1)
                hint = f"did you mean {near[0]}?" if near else f"help({cls.__name__}) lists them"
                raise TypeError(f"{cls.__name__} has no parameter {name!r}; {hint}")
            for name, default in known.items():
                setattr(self, name, parameters.get(name, default))

        # scikit-learn and help() read the parameters from the signature.
        initialise.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
            [
                inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY),
                *(
                    inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default)
                    for name, default in cls.options.defaults().items()
                ),
            ]
        )
        cls.__init__ = initialise  # type: ignore[method-assign, assignment]
        cls.__doc__ = f"{inspect.cleandoc(cls.__doc__ or '')}\n\n{_described(cls.options)}"

    @property
    def random_state(self) -> Any:
        """The seed of all random numbers; scikit-learn's name for `seed`."""
        return self.seed

    @random_state.setter
    def random_state(self, value: Any) -> None:
        self.seed = _with_seed({"random_state": value})["seed"]

    def set_params(self: Self, **parameters: Any) -> Self:
        """Set parameters by name; `random_state` sets `seed`."""
        super().set_params(**_with_seed(parameters))
        return self

    def _checked_options(self) -> Any:
        return self.options(**self.get_params())

    @contextmanager
    def _shown(
        self, verbose: bool, watch: Watch | None, output: str | PathLike[str] | None
    ) -> Iterator[Watch | None]:
        """Check `output`, then yield the watcher of a run: `watch`, together with a display if `verbose`."""
        if output is not None:
            check_output(Path(output))
        if not verbose:
            yield watch
            return
        name = None if output is None else str(output)
        with TrainingDisplay(self.display_type(), to_stderr=False, output=name) as display:
            ends: list[Event] = []

            def tell(event: Event) -> None:
                display.watch(event)
                if event["event"] == "end":
                    ends.append(event)
                if watch is not None:
                    watch(event)

            yield tell
            for end in ends:
                display.finish(end["stopped"], end["card"])

    def _keep(self: Self, outcome: Any) -> Self:
        self.model_ = outcome.model
        self.card_ = dict(outcome.model.card)
        self.stopped_ = outcome.stopped
        self.predictor_ = self.predictor_type(outcome.model)
        return self

    def _fitted(self) -> Any:
        if not hasattr(self, "predictor_"):
            name = type(self).__name__
            raise _NotFittedError(f"this {name} is not fitted", remedy="call fit first")
        return self.predictor_

    def _inspected(self) -> Any:
        return self._fitted()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "predictor_")

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to one file, atomically; raises OutputError where the file cannot be written."""
        self._fitted().save(path)
