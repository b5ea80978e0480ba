"""Why a reader of labelled sequences answers so: which words, letters or steps moved its answer."""

from __future__ import annotations

from typing import Any

import numpy as np

from elman.cells import find
from elman.engine.passage import Layers
from elman.engine.pooling import pool, pool_backward
from elman.errors import DataError
from elman.explain.explanation import ADDITIVE, DECOMPOSITION, LEFT_OUT, REPLACEMENT, Explanation
from elman.explain.gradients import finite, held, slopes_between
from elman.explain.question import Question, Shares
from elman.labels.ablation import Reading, taken_apart
from elman.labels.codec import ABSENT
from elman.tables.columns import several

__all__ = ["explain_labelled"]

_LEAST = 0.01  # of a logit, or of a deviation of a regressor's targets: a smaller change is none


def explain_labelled(
    predictor: Any,
    what: Any,
    target: Any = None,
    *,
    method: str | None = None,
    of: int | str | None = None,
    quick: bool = False,
) -> Explanation:
    """Return which inputs of one sequence moved the answer of a classifier, regressor or tagger.

    The score is the logit of a label (that of a tag at a step), or a regressor's number in its units; of
    several members it is their mean, and so are the contributions. Above 256 inputs neighbours are one.

    "replacement", the default, measures how far the score falls, in the mean, when an input is replaced by
    others that the model alone determines: words and characters drawn by their frequency in training, numbers
    of other steps of the sequence and numbers as spread as in training. "leave-one-out" leaves words and
    characters out, and puts the mean of the channel in the sequence in the place of numbers; the word whose
    tag is asked for is then unknown. By "decomposition" and "integrated gradients" words and characters are
    held against nothing (numbers of zero), numbers against that mean. Given are the steps that a pool over
    the largest chose and, in the decomposition, the weights of attention.

    Args:
        predictor: what `elman.load` returns for the tasks classify, regress and tag.
        what: one sequence: a text, a list of tokens, numbers ``[T]`` or ``[T, C]``.
        target: the label or tag, by default the most probable; nothing for a regressor.
        method: "replacement" (the default), "decomposition", "integrated gradients" or "leave-one-out".
        of: for texts "words" or "characters" (those by which words are spelled, with the words' own vectors
            in the bias; where none are, by replacement and leave-one-out alone); for numbers "steps" or
            "channels"; for a tagger the step, from 0, by default the last.
        quick: leave the self-test out and replace fewer times, for a first answer.

    Raises:
        DataError: the sequence is not as in training, or the network has no such label.
        OptionError: there is no such method or input.
        InputError: the states of the network leave the range of numbers.
    """
    return _Answer(predictor, taken_apart(predictor, what, of), target).answer(method, quick=quick)


class _Answer(Question):
    """Why a label has its logit, or a regressor its number."""

    def __init__(self, predictor: Any, reading: Reading, target: Any) -> None:
        config, codec = predictor.model.config, predictor.model.codec
        self.reading, self.task = reading, config.task
        self.inputs = tuple(reading.names)
        self.number = _number(predictor, target, reading.logits([()])[0])
        self._scale, self._shift = 1.0, 0.0
        self.target, self._name = "value", "value"
        if config.task == "regress":
            self._scale, self._shift = codec.target.scale[0], codec.target.mean[0]
        else:
            self.target, self._name = predictor.labels.names[self.number], "logit"
        if reading.step is not None:
            self._name += f" at step {reading.step}"
        self.least = _LEAST * self._scale
        self.groups = reading.groups
        if not reading.read_by_network:
            self.methods = (REPLACEMENT, LEFT_OUT)
        pools = {"max": "chosen maxima", "attention": "weights of attention"}
        self._chosen = [name for pool, name in pools.items() if pool in config.pools]
        self.cell = find(config.cell, config.activation)
        self.exact = self.cell.exact and not self._chosen

    def scored(self, method: str) -> tuple[str, float]:
        """Return the answer as it is."""
        del method
        return self._name, float(self._scores(self.reading.logits([()]))[0])

    def replaced(self, sample: int, *, quick: bool) -> np.ndarray:
        """Return how far the answer falls, in the mean, when each input is replaced."""
        scores = self._scores(self.reading.replaced_logits(sample, quick=quick))
        self.steps = self.reading.steps
        # in parts: the sum of great numbers would leave the range
        mean = (scores / scores.shape[1]).sum(axis=1)
        return np.asarray(self.scored(REPLACEMENT)[1] - mean)

    def left_out(self) -> np.ndarray:
        """Return how far the answer falls without each input."""
        sets: list[tuple[int, ...]] = [(place,) for place in range(len(self.inputs))]
        scores = self._scores(self.reading.logits(sets))
        self.steps = self.reading.steps
        return np.asarray(self.scored(LEFT_OUT)[1] - scores)

    def _scores(self, logits: np.ndarray) -> np.ndarray:
        """Return the answers ``[...]`` that logits ``[..., K]`` stand for."""
        with np.errstate(over="ignore"):
            return finite(logits[..., self.number].astype(np.float64) * self._scale + self._shift)

    def shares(self, method: str) -> Shares:
        """Return the mean of the members' shares."""
        if not self.inputs:
            return np.empty(0), 0.0, self.scored(method)[1]
        with np.errstate(over="ignore", invalid="ignore"):
            shares, rest = _shares(self.reading, self.number, method)
            rest = rest * self._scale + self._shift
            return finite(shares * self._scale), 0.0, float(finite(rest))

    def note(self, method: str) -> str:
        """Return what is unknown, and what the method takes as given."""
        told = [self.reading.note, self.reading.shared if method in ADDITIVE else ""]
        if method == REPLACEMENT and self.inputs:
            told.append(f"Each input was replaced by {self.reading.draws} others.")
        if method == DECOMPOSITION and self.inputs:
            told.append(held(self.cell, *self._chosen))
        return " ".join(filter(None, told))


def _number(predictor: Any, target: Any, logits: np.ndarray) -> int:
    """Return which of the network's outputs is asked about."""
    if predictor.model.config.task == "regress":
        if target is not None:
            raise DataError("target", got=target, expected="none: a regressor has one answer")
        return 0
    labels = predictor.labels
    if target is None:
        return int(logits.argmax())
    plain = isinstance(target, str | int | float | np.generic)
    number = int(labels.encode([target])[0]) if plain else ABSENT
    if number == ABSENT:
        raise DataError("no such label", got=target, expected=several(labels.names))
    return number


def _shares(reading: Reading, number: int, method: str) -> tuple[np.ndarray, float]:
    """Return the share ``[N]`` of every input in a logit and that of nothing read: the members' mean."""
    found, rests = [], []
    for one in reading.members:
        network = _Network(one, number, reading, method == DECOMPOSITION)
        rows, base = reading.rows(one)
        states = 8 * one.config.output_size * one.config.num_layers
        size = reading.length * (one.config.input_size + states) + 16 * rows.size
        owner = np.broadcast_to(reading.owner_of_rows, rows.shape).ravel()
        frozen = method == DECOMPOSITION
        slopes, rest = slopes_between(network.run, base, rows, frozen=frozen, size=size)
        worth = (slopes * (rows - base)).ravel()
        found.append(np.bincount(owner, worth, len(reading.names)))
        rests.append(rest)
    return np.mean(found, axis=0), float(np.mean(rests))


class _Network:
    """One member, from what is varied to the score and back."""

    def __init__(self, one: Any, number: int, reading: Reading, double: bool) -> None:
        config, dtype = one.config, np.float64 if double else np.float32
        self.pools, self.step = config.pools, reading.step
        self.layers = Layers(config, one.arrays, dtype=dtype)
        self.head, self.bias = one.head[number], float(one.arrays["head.bias"][number])
        self.attention = one.arrays.get("attention.weight")
        self.hidden_size = config.hidden_size
        self.spelling: Layers | None = None
        if reading.spelled is not None:
            numbers, self.ends = reading.spelled
            self.spelling = Layers(config, one.arrays, ["spelling"], dtype=dtype)
            self.words = one.arrays["embedding.weight"][numbers].astype(dtype)

    def run(self, rows: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return what `Run` says."""
        if self.spelling is None:
            score, dx, bias = self._above(rows.transpose(1, 0, 2), frozen)
            return score, dx.transpose(1, 0, 2), bias
        B, (T, E) = len(rows), self.words.shape
        x = np.empty((T, B, E + 2 * self.spelling.hidden_size), self.words.dtype)
        x[:, :, :E] = self.words[:, None]
        counts = np.diff(self.ends, prepend=0)
        passages = []
        for count in np.unique(counts):  # words of as many letters side by side
            which = np.flatnonzero(counts == count)
            places = self.ends[which] - count + np.arange(count)[:, None]
            # [letters, B, words, S]
            passage = self.spelling.read(
                rows[:, places].swapaxes(0, 1).reshape(count, -1, rows.shape[2])
            )
            spelled = np.concatenate([*passage.end[0][:, 0]], axis=1)
            x[which, :, E:] = spelled.reshape(B, len(which), -1).swapaxes(0, 1)
            passages.append((which, places, passage))
        score, dx, bias = self._above(x, frozen)
        bias = bias + np.einsum("tbe,te->b", dx[:, :, :E], self.words)
        slopes = np.empty(rows.shape, dx.dtype)
        for which, places, passage in passages:
            d_spelled = dx[which][:, :, E:].swapaxes(0, 1).reshape(B * len(which), -1)
            dend = np.zeros_like(passage.end[0])
            dend[:, 0] = np.split(d_spelled, 2, axis=1)
            back = passage.back(np.zeros_like(passage.y), frozen=frozen, dend=dend)
            slopes[:, places] = back.dx.reshape(len(places), B, len(which), -1).swapaxes(0, 1)
            bias += back.bias.reshape(B, -1).sum(axis=1)
        return score, slopes, bias

    def _above(self, x: np.ndarray, frozen: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return score, slopes ``[T, B, I]`` and bias for what the first layer reads."""
        passage = self.layers.read(x)
        y = passage.y.astype(np.float64)
        dy = np.zeros_like(y)
        score = np.full(y.shape[1], self.bias)
        if self.step is not None:
            dy[self.step] = self.head
            score += y[self.step] @ self.head
        if self.pools:
            T, B, D = y.shape
            rows, sizes = y.reshape(T * B, D), np.full(T, B)
            pooled = pool(self.pools, rows, passage.end[-1], sizes, self.attention)
            score += pooled @ self.head
            dy = pool_backward(
                self.pools,
                rows,
                sizes,
                np.broadcast_to(self.head, pooled.shape),
                self.attention,
                hidden_size=self.hidden_size,
                frozen=frozen,
            ).reshape(y.shape)
        back = passage.back(dy, frozen=frozen)
        return score, back.dx, back.bias + self.bias
