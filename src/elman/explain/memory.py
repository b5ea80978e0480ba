"""How far back a language model remembers: what cutting the older text changes, and the gradient by lag."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman._errors import InputError
from elman._frames import frame
from elman._shapes import whole_number
from elman.data.words import UNKNOWN_ID
from elman.explain.opened import Opened
from elman.runtime.stream import Readable, token_numbers

__all__ = ["CLOSE", "Memory", "measure_memory"]

CLOSE = 0.01
"""A prediction is the same when no more of its probability than this has moved."""
POSITIONS = 64
WRITTEN = 1000
"""Tokens that the model writes itself where no text is given."""
_FAR = 256
_LAGS = sorted({*(1 << n for n in range(9)), *(3 << n for n in range(7))})
_BAR = 30
_ROOM = 1 << 24  # numbers of the gates that a way back keeps at once
_VANISHED = 1e-3
_FALLS, _GROWS = 0.9, 1.1  # a token


@dataclass(frozen=True, eq=False)
class Memory:
    """How much the prediction owes to what stands further back, lag by lag.

    >>> told = Memory((1, 2, 4), np.array([0.5, 0.02, 0.0]), np.array([1.0, 0.5, 0.125]), 64, "a text")
    >>> told.horizon, told.rate
    (4, 0.5)
    """

    lags: tuple[int, ...]
    """Tokens: 1 is the last one before the prediction."""
    change: np.ndarray
    """float64 ``[K]``: the mean share of the prediction's probability that moves (total variation) when
    all tokens before the last `lag` are cut off. What it is held against knows at most the last 2·far."""
    gradient: np.ndarray
    """float64 ``[K]``: the mean norm of d log p / d embedding, p that of the most probable token, the
    embedding that of the `lag`-th last one."""
    positions: int
    """Predictions that were measured."""
    source: str
    """What was read."""

    @property
    def horizon(self) -> int | None:
        """The lag from which on no cut changes the prediction by more than `CLOSE`, None without one.

        One of `lags`: what lies between them was not tried, so that fewer tokens may be enough.
        """
        after = np.append(0, np.flatnonzero(self.change > CLOSE) + 1)[-1]
        return self.lags[after] if after < len(self.lags) else None

    @property
    def _ends(self) -> tuple[int, int]:
        """Between which places it is told: from the largest gradient to the last, or from the first to it."""
        peak, last = int(self.gradient.argmax()), len(self.lags) - 1
        least = _VANISHED * self.gradient[peak]
        if self.gradient[last] >= least and (peak == last or self.gradient[0] < least):
            return int(np.flatnonzero(self.gradient)[0]) if self.gradient[peak] else 0, peak
        return peak, last

    @property
    def _share(self) -> float:
        near, far = self._ends
        return float(self.gradient[far]) / (float(self.gradient[near]) or 1.0)

    @property
    def rate(self) -> float:
        """What the gradient is multiplied by from token to token, in the geometric mean; 0 where it ends.

        From the lag where it is largest to the last one; where it grows, from the first to the largest.
        """
        near, far = self._ends
        return 0.0 if near == far else self._share ** (1 / (self.lags[far] - self.lags[near]))

    @property
    def verdict(self) -> str:
        """What it comes to, in two sentences.

        The gradient vanishes where less than a thousandth of it is left, or it falls to .9 a token or less;
        it explodes where it is more than 1,000 times as large, or grows to 1.1 a token or more.
        """
        if self.horizon is None:
            reach = f"The prediction still changes when all but the last {self.lags[-1]} tokens are cut off"
        elif self.horizon == 1:
            reach = "The last token alone decides the prediction"
        else:
            reach = f"The prediction needs at most the last {self.horizon} tokens"
        if not self.gradient.any():
            return f"{reach}. There is no gradient, even at lag {self.lags[0]}."
        near, far = self._ends
        if near == far:
            return f"{reach}. There is a gradient at lag {self.lags[far]} alone."
        # the rate as it is told
        share, rate, does = self._share, round(self.rate, 3), "neither vanishes nor explodes"
        if share < _VANISHED or rate <= _FALLS:
            does = "vanishes"
        elif share > 1 / _VANISHED or rate >= _GROWS:
            does = "explodes"
        at = f"at lag {self.lags[far]} it is {_plain(share)} times that at lag {self.lags[near]}"
        return f"{reach}. The gradient {does}: {at}, a factor of {_plain(self.rate)} a token."

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "lags": [*self.lags],
            "change": self.change.tolist(),
            "gradient": self.gradient.tolist(),
            "horizon": self.horizon,
            "rate": self.rate,
            "positions": self.positions,
            "source": self.source,
            "verdict": self.verdict,
        }

    def to_frame(self) -> Any:
        """Return change and gradient by lag as a data frame of polars, or as columns without polars."""
        return frame({"lag": self.lags, "change": self.change, "gradient": self.gradient})

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def to_svg(self, *, width: float = 720, standalone: bool = True) -> str:
        """Return it as a picture."""
        from elman.explain import draw

        return draw.memory(
            self.lags, self.change, self.gradient, width=width, standalone=standalone
        )

    def plot(self) -> Any:
        """Return it as a matplotlib figure; raises MissingDependencyError."""
        from elman import plots

        return plots.memory(self.lags, self.change, self.gradient)

    def __str__(self) -> str:
        largest = self.change.max() or 1.0
        rows = [
            f"{lag:>6}  {change:>8.4f}  {gradient:>10.3g}  {'█' * round(_BAR * change / largest)}".rstrip()
            for lag, change, gradient in zip(self.lags, self.change, self.gradient, strict=True)
        ]
        head = f"{'known':>6}  {'change':>8}  {'gradient':>10}"
        told = f"{self.positions} predictions in {self.source}"
        return "\n".join([head, *rows, told, self.verdict])

    def _repr_html_(self) -> str:
        import html

        return f"<div>{self.to_svg()}<p>{html.escape(self.verdict)}</p></div>"


def _plain(factor: float) -> str:
    """Return a factor as a person reads it."""
    if factor > 1000:
        return "more than 1,000"
    return "less than 0.001" if factor < 0.001 else f"{round(factor, 3):g}"


def measure_memory(predictor: Any, what: Readable | None = None, *, far: int = _FAR) -> Memory:
    """Return how much the predictions of a language model owe to what stands further back.

    Measured at up to 64 places of a text, by default one of 1,000 tokens that the model itself writes from
    seed 0, and for lags to `far` tokens (1 to 256), within lines where each stands alone. The prediction
    after all of the text is that after its last 2·far tokens at most; the gradient is that of its most
    probable token. Raises InputError, OptionError.
    """
    task = predictor.model.config.task
    if task != "language":
        remedy = "`elman explain` tells what moved its answer"
        raise InputError(
            f"memory of a model for {task}", expected="one for language", remedy=remedy
        )
    far = whole_number("far", far, 1, _FAR)
    source = "the text that was given"
    if what is None:
        what = predictor.generate("", WRITTEN, seed=0)
        source = f"{WRITTEN:,} tokens that the model wrote itself"
    numbers = token_numbers(predictor.model.codec, what)
    contexts = _contexts(numbers, predictor.model.codec.end_id, far)
    longest = max(map(len, contexts), default=0)
    lags = [lag for lag in _LAGS if lag <= far and lag < longest]
    if not lags:
        got = "1 token" if len(numbers) == 1 else f"{len(numbers):,} tokens"
        expected = "more than one" if predictor.model.codec.end_id is None else "more in a line"
        raise InputError("the text is too short to cut anything off", got=got, expected=expected)
    predicted = _predictions(predictor.network, contexts)
    change = []
    for lag in lags:
        some = [place for place, one in enumerate(contexts) if len(one) > lag]
        cut = _predictions(predictor.network, [contexts[place][-lag:] for place in some])
        moved = [
            np.abs(one - predicted[place]).sum() / 2 for one, place in zip(cut, some, strict=True)
        ]
        change.append(float(np.mean(moved)))
    gradient = _gradients(predictor.network, contexts, lags)
    return Memory(tuple(lags), np.array(change), gradient, len(contexts), source)


def _contexts(numbers: np.ndarray, end_id: int | None, far: int) -> list[np.ndarray]:
    """Return what stands before each place that is measured, in its line, at most twice `far`.

    The places are spread evenly over those that know the most: more than `far` tokens, or where too few do,
    as many as the middle place.
    """
    places = np.arange(1, len(numbers) + 1)
    ends = np.zeros(len(numbers), bool) if end_id is None else numbers == end_id
    known = places - np.maximum.accumulate(np.where(ends, places, 0))
    places, known = places[known > 0], known[known > 0]
    if not len(places):
        return []
    deep = np.flatnonzero(known >= min(far + 1, np.median(known)))
    spread = np.linspace(0, len(deep) - 1, min(POSITIONS, len(deep))).astype(int)
    chosen = deep[spread]
    return [
        numbers[place - min(depth, 2 * far) : place]
        for place, depth in zip(places[chosen].tolist(), known[chosen].tolist(), strict=True)
    ]


def _groups(contexts: list[np.ndarray]) -> list[tuple[list[int], np.ndarray]]:
    """Return the contexts of one length together: their places and tokens ``[T, B]``."""
    lengths: dict[int, list[int]] = {}
    for place, one in enumerate(contexts):
        lengths.setdefault(len(one), []).append(place)
    return [(some, np.stack([contexts[i] for i in some], axis=1)) for some in lengths.values()]


def _predictions(network: Any, contexts: list[np.ndarray]) -> list[np.ndarray]:
    """Return the probabilities ``[V]`` after each context, read from the start state."""
    found: list[np.ndarray] = [np.empty(0)] * len(contexts)
    for some, tokens in _groups(contexts):
        y, _ = network.forward(tokens, np.repeat(network.start[None], len(some), axis=0))
        for place, row in zip(some, y[-1], strict=True):
            found[place] = np.exp(network.log_probabilities(row[None])[0].astype(np.float64))
    return found


def _gradients(network: Any, contexts: list[np.ndarray], lags: list[int]) -> np.ndarray:
    """Return the mean norm ``[K]`` of the gradient at each lag; raises InputError where it has none."""
    config = network.model.config
    total, count = np.zeros(len(lags)), np.zeros(len(lags))
    for some, tokens in _groups(contexts):
        depth = min(len(tokens), lags[-1])
        numbers = depth * config.num_layers * network.cell.G * config.hidden_size
        room = max(1, _ROOM // numbers)
        for first in range(0, len(some), room):
            part = tokens[:, first : first + room]
            norms = _norms(network, part, depth, network.dtype)
            if not np.isfinite(norms).all():
                # what explodes leaves the range of float32 first
                norms = _norms(network, part, depth, np.float64)
            if not np.isfinite(norms).all():
                what = "the gradient of this network leaves the range of numbers"
                raise InputError(what, remedy="measure on a shorter text")
            for place, lag in enumerate(lags):
                if lag <= len(norms):
                    total[place] += norms[-lag].sum()
                    count[place] += norms.shape[1]
    found: np.ndarray = total / np.maximum(count, 1)
    return found


def _norms(network: Any, tokens: np.ndarray, depth: int, dtype: Any) -> np.ndarray:
    """Return the norms of the gradients at the last of ``tokens [T, B]``, NaN where a state is no number."""
    opened = Opened(network, dtype)
    head = opened.head(slice(None))[0].astype(np.float64)
    rows = np.repeat(network.start[None], tokens.shape[1], axis=0)
    before, tokens = tokens[:-depth], tokens[-depth:]
    if len(before):
        _, rows = network.forward(before, rows)
    with np.errstate(over="ignore", invalid="ignore"):
        try:
            passage = opened.passage(opened.embedding[tokens], rows)
        except InputError:
            return np.full(tokens.shape, np.nan)
        logs = network.log_probabilities(passage.y[-1])
        offered = logs.copy()
        offered[:, UNKNOWN_ID] = -np.inf  # it is never offered as a prediction
        dy = np.zeros_like(passage.y)
        # of log softmax: that row of the head, less the mean row
        dy[-1] = head[offered.argmax(axis=1)] - np.exp(logs.astype(np.float64)) @ head
        found: np.ndarray = np.linalg.norm(passage.back(dy).dx.astype(np.float64), axis=2)
    return found
