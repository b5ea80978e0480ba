"""The base of the explanations of all tasks: from scores and measured changes to an `Explanation`."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np

from elman.errors import InputError, OptionError
from elman.explain.explanation import ADDITIVE, DECOMPOSITION, LEFT_OUT, METHODS, Explanation
from elman.explain.gradients import finite
from elman.explain.selftest import self_test

Shares = tuple[np.ndarray, float, float]
"""Contributions of the inputs float64 ``[N]``, of the start state and of the bias."""

_OVERFLOW = "the hidden states leave the range of numbers on this sequence"


class Question(ABC):
    """The question why one answer has its score, and the methods to explain it; each task has a subclass."""

    task: str
    target: str
    inputs: tuple[str, ...]
    exact = False
    """Whether the decomposition equals the network."""
    methods: tuple[str, ...] = METHODS
    """The methods that can explain this score, the default one first."""
    groups: tuple[int, ...] = ()
    """The group of each input, such as a word of characters; the test sums over groups. Empty: no groups."""
    min_change = 0.0
    """A change of the score counts as 0 if it is not larger than this."""
    steps = 0
    """Recurrent steps computed for the measured changes."""

    @abstractmethod
    def scored(self, method: str) -> tuple[str, float]:
        """Return the kind of score that a method explains, and the score."""

    @abstractmethod
    def replaced(self, sample: int, *, quick: bool) -> np.ndarray:
        """Return how far the score falls ``[N]`` when each input alone is replaced by plausible others.

        Args:
            sample: Seed of the random replacements: 0 for the explanation, 1 for its test, so that the test
                does not repeat the sampling errors of the explanation.
            quick: Use fewer replacements for a first answer.
        """

    def left_out(self) -> np.ndarray:
        """Return how far the score falls ``[N]`` when each input alone is left out."""
        raise NotImplementedError

    @abstractmethod
    def shares(self, method: str) -> Shares:
        """Return the terms that sum to the score, by an additive method."""

    @abstractmethod
    def note(self, method: str) -> str:
        """Return the assumptions of the method for this score, in sentences."""

    def answer(self, method: str | None = None, *, quick: bool = False) -> Explanation:
        """Return the explanation by `method`, None for the default method.

        A `quick` explanation is not tested. Raises OptionError, and InputError where the score is not finite.
        """
        method = self.methods[0] if method is None else method
        if method not in self.methods:
            raise OptionError("method", got=method, expected=" | ".join(self.methods))
        name, score = self.scored(method)
        if not np.isfinite(score):
            raise InputError(_OVERFLOW, remedy="explain a shorter sequence")
        start_state = bias = 0.0
        absence: np.ndarray | None = None
        if method in ADDITIVE:
            contributions, start_state, bias = self.shares(method)
        else:
            changes = self.left_out() if method == LEFT_OUT else self.replaced(0, quick=quick)
            absence = contributions = finite(changes)
        # Terms may overflow even where the score does not.
        if not np.isfinite([*contributions, start_state, bias]).all():
            raise InputError(_OVERFLOW, remedy="explain a shorter sequence")
        tested = None
        if not quick:
            # Drawn with another seed than the explanation's own replacements.
            falls = finite(self.replaced(1, quick=False))
            absence = falls if absence is None else absence
            # Characters are tested by word: one letter alone rarely moves a score.
            groups = np.array(self.groups or range(len(self.inputs)), np.int64)
            named, moves = (np.bincount(groups, numbers) for numbers in (contributions, falls))
            tested = self_test(named, moves, min_change=self.min_change)
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
            min_change=self.min_change,
        )
