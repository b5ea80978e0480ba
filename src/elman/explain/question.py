"""A question why: a score, what it is without some of its inputs, and how a method shares it out."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from elman._errors import InputError, OptionError
from elman.explain.deletion import deletion_test
from elman.explain.explanation import DECOMPOSITION, LEFT_OUT, METHODS, Explanation
from elman.explain.gradients import finite

__all__ = ["Question", "Sets", "Shares"]

Sets = Sequence[tuple[int, ...]]
"""Sets of inputs, by their places in rising order."""
Shares = tuple[np.ndarray, float, float]
"""Of the inputs float64 ``[N]``, of the start state and of the bias."""

_OUT = "the states of this network leave the range of numbers here"


class Question(ABC):
    """Why a score is what it is; each task asks in its own way."""

    task: str
    target: str
    score_name: str
    inputs: tuple[str, ...]
    exact = False
    """Whether the decomposition is the network itself."""
    methods: tuple[str, ...] = METHODS
    """Those by which it can be answered, the default one first."""
    steps = 0
    """Recurrent steps that `scores` has run for what lacks something."""

    @abstractmethod
    def scores(self, sets: Sets) -> np.ndarray:
        """Return the score float64 ``[n]`` without each of n sets of inputs."""

    @abstractmethod
    def shares(self, method: str) -> Shares:
        """Return what the score is the sum of, by a method that adds up."""

    def nothing(self) -> float:
        """Return the score without any input."""
        return float(self.scores([tuple(range(len(self.inputs)))])[0])

    @abstractmethod
    def note(self, method: str) -> str:
        """Return what is to be said of an answer by that method."""

    def answer(self, method: str | None = None) -> Explanation:
        """Return the explanation by `method`, or by the default one.

        A default decomposition that fails its own test gives way to leave-one-out, unless that fails too.
        Raises OptionError, InputError where the score is no number.
        """
        if method is not None and method not in self.methods:
            raise OptionError("method", got=method, expected=" | ".join(self.methods))
        found = self.scores([(), *((place,) for place in range(len(self.inputs)))])
        score, alone, steps = float(found[0]), found[1:], self.steps
        if not np.isfinite(score):
            raise InputError(_OUT, remedy="explain a shorter sequence")
        measured = finite(score - alone)

        def by(method: str) -> Explanation:
            shares = (measured, 0.0, self.nothing()) if method == LEFT_OUT else self.shares(method)
            contributions, start_state, bias = shares
            if not np.isfinite([*contributions, start_state, bias]).all():
                raise InputError(_OUT, remedy="explain a shorter sequence")
            return Explanation(
                task=self.task,
                target=self.target,
                method=method,
                exact=method == DECOMPOSITION and self.exact,
                score_name=self.score_name,
                score=score,
                inputs=self.inputs,
                contributions=contributions,
                start_state=start_state,
                bias=bias,
                residual=float(finite(score - (contributions.sum() + start_state + bias))),
                absence=measured,
                deletion=deletion_test(
                    contributions, score, alone, self.scores, measured=method == LEFT_OUT
                ),
                steps=steps,
                note=self.note(method),
            )

        first = by(self.methods[0] if method is None else method)
        if method is not None or first.method == LEFT_OUT or first.passed is not False:
            return first
        second = by(LEFT_OUT)
        if second.passed is False:
            return _noted(first, "By leave-one-out it fails its own test too.")
        return _noted(second, f"By {first.method} it fails here: {first.tested}.")


def _noted(told: Explanation, note: str) -> Explanation:
    return replace(told, note=" ".join(filter(None, (told.note, note))))
