"""The door from a predictor to what explains it: the one call of this wing that goes up, made late.

An explanation is a method of the thing explained; `elman.explain` itself stands above the predictors and is
imported when it is first asked.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from elman._errors import InputError
from elman._pace import one_thread

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.explain.memory import Memory
    from elman.explain.trace import Trace
    from elman.explain.units import Units

__all__ = ["Inspectable"]


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

    def explain(self, what: Any = None, target: Any = None, **options: Any) -> Explanation:
        """Return why the answer for `what` is `target` (default: the most probable), input by input.

        `options` are those of the task, as `elman.explain.explain` says. Raises InputError, OptionError.
        """
        found: Explanation = _ask("explain", self._reading(what), what, target, **options)
        return found

    def trace(self, what: Any = None, **options: Any) -> Trace:
        """Return states, gates and predictions at every step of `what`; raises InputError."""
        found: Trace = _ask("read_trace", self._reading(what), what, **options)
        return found

    def memory(self, what: Any = None, **options: Any) -> Memory:
        """Return how far back the model remembers, measured on `what`; raises InputError."""
        found: Memory = _ask("measure_memory", self._inspected(), what, **options)
        return found

    def units(self, what: Any = None, **options: Any) -> Units:
        """Return what the units of the model stand for in `what`, of a forecaster in the series it knows.

        Raises InputError.
        """
        found: Units = _ask("find_units", self._inspected(), what, **options)
        return found


@one_thread()
def _ask(question: str, *given: Any, **options: Any) -> Any:
    return getattr(import_module("elman.explain"), question)(*given, **options)
