"""The questions about its network that every predictor answers, such as `explain` and `memory`.

Each question imports its module when it is asked, so that opening a model stays fast. A task takes part
through the hooks of `Predictor`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Mapping
from inspect import signature
from os import PathLike
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeAlias

from elman.engine.pauses import one_thread
from elman.errors import InputError, OptionError
from elman.files.model import Model

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation
    from elman.inspect.memory import Cuts, Memory
    from elman.inspect.states import RecordedStates
    from elman.inspect.trace import Trace
    from elman.inspect.units import Units


Source: TypeAlias = Any
"""An input in any form that the model's task reads: text, sequences or rows of series; None for no input."""


class InitialWeights(NamedTuple):
    """Settings by which the initial weights of a network differ between the tasks.

    `elman.training.recurrent_layers.initialise` and `elman.inspect.states.untrained` use these settings.
    """

    embedding_deviation: float | None = None
    """Standard deviation of the embeddings; None lets `embeddings` choose."""
    zero: tuple[str, ...] = ()
    """Prefixes of parameter names; the parameters with these prefixes are 0 before training."""
    open_forget_gates: bool = True
    """Whether the forget gates of an lstm start with a bias of 1."""

    def embeddings(self, size: int, parameters: Container[str]) -> float:
        """Return the standard deviation of embeddings of a size E in a network with these `parameters`.

        Embeddings that are the output layer's weights too start at 1/√E, so that the logits are about 1.
        Others start at √(32/E), at most 1: from small inputs the gates are nearly linear, and a linear gate
        is slow to learn what two tokens mean together; large inputs saturate the gates.
        """
        if self.embedding_deviation is not None:
            return self.embedding_deviation
        return min(1.0, math.sqrt(32 / size)) if "head.weight" in parameters else size**-0.5


class Inspectable:
    """A predictor, or a fitted estimator that holds one, whose methods answer questions about its network."""

    def _inspected(self) -> Predictor:
        """Return the predictor that answers; raises NotFittedError for an estimator before `fit`."""
        raise NotImplementedError

    def _predictor_for(self, what: Source) -> Predictor:
        """Return the predictor that answers; raises InputError where it needs an input and has none."""
        predictor = self._inspected()
        # Only a forecaster's file holds series; every other model needs an input.
        if what is None and not predictor.holds_input:
            expected = f"what a model for {predictor.model.config.task} reads"
            raise InputError("the input to read", got="nothing", expected=expected)
        return predictor

    @one_thread()
    def explain(
        self,
        what: Source = None,
        target: str | int | float | None = None,
        **options: str | int | bool | None,
    ) -> Explanation:
        """Explain why the answer for `what` is `target`, input by input.

        Args:
            what: The input that is explained; a forecaster that knows one series needs none.
            target: The answer that is explained: a token, a label, a step ahead. By default the most probable
                answer; for a forecaster the mean of all steps.
            options: ``method`` and ``quick`` for every task; see `elman.language.explain.explain_language`,
                `elman.labels.explain.explain_labelled` and `elman.series.explain.explain_forecast` for these
                and the further ones of each task.

        Returns:
            A number for each input, and how the explanation did in its own test.

        Raises:
            InputError: The input is missing or cannot be read.
            OptionError: The task has no such option or target.
        """
        predictor = self._predictor_for(what)
        method = predictor.explainer()
        # The options of a task are the parameters after predictor, what and target.
        known = [*signature(method).parameters][3:]
        for option in options:
            if option not in known:
                task = predictor.model.config.task
                expected = "only " + ", ".join(known)
                raise OptionError(option, got=f"a model for {task}", expected=expected)
        explanation: Explanation = method(predictor, what, target, **options)
        return explanation

    @one_thread()
    def trace(self, what: Source = None, *, k: int = 5) -> Trace:
        """Return states, gates and the `k` best predictions at every step of `what`; raises InputError.

        See `elman.inspect.trace.read_trace`.
        """
        from elman.inspect.trace import read_trace

        return read_trace(self._predictor_for(what), what, k=k)

    @one_thread()
    def memory(self, what: Source = None, *, far: int = 256) -> Memory:
        """Return how far back the model remembers, measured on `what` up to `far` steps; raises InputError.

        See `elman.inspect.memory.measure_memory`.
        """
        from elman.inspect.memory import measure_memory

        return measure_memory(self._inspected(), what, far=far)

    @one_thread()
    def units(self, what: Source = None, *, steps: int = 60_000) -> Units:
        """Return what the units stand for in the last `steps` steps of `what`; raises InputError.

        See `elman.inspect.units.find_units`.
        """
        from elman.inspect.units import find_units

        return find_units(self._inspected(), what, steps=steps)


class Predictor(Inspectable):
    """A trained model, ready to answer; `elman.load` returns one, of the class of its task.

    A task's class implements the hooks `explainer`, `record_trace`, `record_states` and `memory_cuts`.
    """

    model: Model
    initial_weights: ClassVar[InitialWeights] = InitialWeights()
    holds_input: ClassVar[bool] = False
    """Whether the model file holds an input that is read by default, as a forecaster's series are."""

    def __init__(self, model: Model, storage: str | None = None) -> None:
        # a task that can compute with weights of another type has an initialiser of its own
        if storage not in (None, "float32", "int8"):
            expected = f"float32 or int8 for {model.config.task}"
            raise OptionError("storage", got=storage, expected=expected)
        self.model = model.quantised() if storage == "int8" else model

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.model.config.task}: {self.model.summary})"

    def _inspected(self) -> Predictor:
        return self

    def explainer(self) -> Callable[..., Explanation]:
        """Return the function of the task that explains an answer: ``(predictor, what, target, ...)``."""
        raise NotImplementedError

    def record_trace(self, sequence: Source, k: int) -> Trace:
        """Return the trace of one sequence, with `k` predictions at each step."""
        raise NotImplementedError

    def record_states(self, source: Source, steps: int) -> RecordedStates:
        """Return the states after each of the last `steps` steps of a text, texts or series."""
        raise NotImplementedError

    def memory_cuts(self, source: Source, far: int) -> Cuts:
        """Return windows of a source, and how answers change if at most `far` of their steps are kept."""
        raise NotImplementedError

    @property
    def card(self) -> Mapping[str, Any]:
        """Facts about the model: its training, its data and its quality."""
        return self.model.card

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model to one file, completely or not at all; raises OutputError."""
        self.model.save(path)
