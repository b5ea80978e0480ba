"""The questions that every predictor answers about itself, such as `explain`.

Each question imports its module when it is asked, so that opening a model stays fast.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from inspect import signature
from os import PathLike
from typing import TYPE_CHECKING, Any

from elman.engine.pauses import one_thread
from elman.errors import InputError, OptionError
from elman.files.model import Model

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.inspect.memory import Memory
    from elman.inspect.trace import Trace
    from elman.inspect.units import Units

__all__ = ["Inspectable", "Predictor"]


class Inspectable:
    """What every predictor can be asked about itself."""

    def __repr__(self) -> str:
        model = self._inspected().model
        return f"{type(self).__name__}({model.config.task}: {model.summary})"

    def _inspected(self) -> Any:
        return self

    def _reading(self, what: Any) -> Any:
        """Return the predictor that is to read `what`; raises InputError where it needs more than nothing."""
        predictor = self._inspected()
        task = predictor.model.config.task
        if what is None and task != "forecast":
            expected = f"what a model for {task} reads"
            raise InputError("what is to be read", got="nothing", expected=expected)
        return predictor

    @one_thread()
    def explain(self, what: Any = None, target: Any = None, **options: Any) -> Explanation:
        """Return why the answer for `what` is `target` (default: the most probable), input by input.

        `options` are those of the task: `elman.language.explain.explain_language`,
        `elman.labels.explain.explain_labelled` or `elman.series.explain.explain_forecast`. Raises
        InputError, OptionError.
        """
        predictor = self._reading(what)
        method = predictor.explainer()
        known = [*signature(method).parameters][3:]
        for option in options:
            if option not in known:
                task = predictor.model.config.task
                raise OptionError(option, got=f"a model for {task}", expected=" or ".join(known))
        explanation: Explanation = method(predictor, what, target, **options)
        return explanation

    @one_thread()
    def trace(self, what: Any = None, **options: Any) -> Trace:
        """Return states, gates and predictions at every step of `what`; raises InputError."""
        from elman.inspect.trace import read_trace

        return read_trace(self._reading(what), what, **options)

    @one_thread()
    def memory(self, what: Any = None, **options: Any) -> Memory:
        """Return how far back the model remembers, measured on `what`; raises InputError."""
        from elman.inspect.memory import measure_memory

        return measure_memory(self._inspected(), what, **options)

    @one_thread()
    def units(self, what: Any = None, **options: Any) -> Units:
        """Return what the units of the model stand for in `what`, of a forecaster in the series it knows.

        Raises InputError.
        """
        from elman.inspect.units import find_units

        return find_units(self._inspected(), what, **options)


class Predictor(Inspectable):
    """A trained model, ready to answer; what `elman.load` returns."""

    model: Model

    def explainer(self) -> Callable[..., Explanation]:
        """Return the function of the task that explains a prediction: ``(predictor, what, target, ...)``."""
        raise NotImplementedError

    @property
    def card(self) -> Mapping[str, Any]:
        """How the model was trained, on what, and how good it is."""
        return self.model.card

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to one file, atomically; raises OutputError where that cannot be."""
        self.model.save(path)
