"""A question why: a score, how far it falls when inputs are replaced, and how a method shares it out."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from elman.errors import InputError, OptionError
from elman.explain.explanation import ADDITIVE, DECOMPOSITION, LEFT_OUT, METHODS, Explanation
from elman.explain.gradients import finite
from elman.explain.selftest import self_test

__all__ = ["Question", "Shares"]

Shares = tuple[np.ndarray, float, float]
"""Of the inputs float64 ``[N]``, of the start state and of the bias."""

_OUT = "the states of this network leave the range of numbers here"


class Question(ABC):
    """Why a score is what it is; each task asks in its own way."""

    task: str
    target: str
    inputs: tuple[str, ...]
    exact = False
    """Whether the decomposition is the network itself."""
    methods: tuple[str, ...] = METHODS
    """Those by which it can be answered, the default one first."""
    groups: tuple[int, ...] = ()
    """The group of each input; the test sums over groups, such as words. Empty: each input alone."""
    least = 0.0
    """A change of the score below this is none."""
    steps = 0
    """Recurrent steps that were run for the measured changes."""

    @abstractmethod
    def scored(self, method: str) -> tuple[str, float]:
        """Return the name of the score that a method explains, and the score."""

    @abstractmethod
    def replaced(self, sample: int, *, quick: bool) -> np.ndarray:
        """Return how far the score falls ``[N]`` when each input alone is replaced by plausible others.

        Args:
            sample: Which sample of the others is drawn, where they are drawn: 0 for the explanation, 1 for
                its test, so that the test does not repeat the errors of the draws.
            quick: Whether a first answer is wanted, from fewer draws.
        """

    def left_out(self) -> np.ndarray:
        """Return how far the score falls ``[N]`` when each input alone is left out."""
        raise NotImplementedError

    @abstractmethod
    def shares(self, method: str) -> Shares:
        """Return what the score is the sum of, by a method that adds up."""

    @abstractmethod
    def note(self, method: str) -> str:
        """Return what a reader must know about an answer by that method."""

    def answer(self, method: str | None = None, *, quick: bool = False) -> Explanation:
        """Return the explanation by `method`, or by the default one; a `quick` one is not tested.

        Raises OptionError, InputError where the score is no number.
        """
        method = self.methods[0] if method is None else method
        if method not in self.methods:
            raise OptionError("method", got=method, expected=" | ".join(self.methods))
        name, score = self.scored(method)
        if not np.isfinite(score):
            raise InputError(_OUT, remedy="explain a shorter sequence")
        start_state = bias = 0.0
        absence: np.ndarray | None = None
        if method in ADDITIVE:
            contributions, start_state, bias = self.shares(method)
        else:
            ask = self.left_out() if method == LEFT_OUT else self.replaced(0, quick=quick)
            absence = contributions = finite(ask)
        if not np.isfinite([*contributions, start_state, bias]).all():
            raise InputError(_OUT, remedy="explain a shorter sequence")
        tested = None
        if not quick:
            falls = finite(self.replaced(1, quick=False))
            absence = falls if absence is None else absence
            groups = np.array(self.groups or range(len(self.inputs)), np.int64)
            tested = self_test(
                np.bincount(groups, contributions), np.bincount(groups, falls), least=self.least
            )
        return Explanation(
            task=self.task,
            target=self.target,
            method=method,
            exact=method == DECOMPOSITION and self.exact,
            score_name=name,
            score=score,
            inputs=self.inputs,
            contributions=contributions,
            start_state=start_state,
            bias=bias,
            residual=float(finite(score - (contributions.sum() + start_state + bias))),
            absence=absence,
            test=tested,
            steps=self.steps,
            note=self.note(method),
            groups=self.groups,
            least=self.least,
        )
