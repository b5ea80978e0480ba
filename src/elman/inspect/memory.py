"""How far back a network remembers: what cutting off the older input changes, and the gradient by lag.

One odd window decides nothing: the table shows medians over all windows, and the reach is that of 95 in 100.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from elman.engine.shapes import whole_number
from elman.errors import InputError
from elman.inspect.cuts import POSITIONS, Cuts, labelled_cuts, series_cuts, variation
from elman.language.differentiable import DifferentiableNetwork
from elman.language.stream import Readable, token_numbers
from elman.tables.frames import frame
from elman.text.words import UNKNOWN_ID

__all__ = ["CLOSE", "Memory", "measure_memory", "summarised"]

CLOSE = 0.01
"""A prediction is the same when no more of its probability, or of a deviation, than this has moved."""
MOST = 0.95
"""Share of the windows whose reach is told."""
WRITTEN = 1000
"""Tokens that the model writes itself where no text is given."""
_FAR = 256
_LAGS = sorted({*(1 << n for n in range(14)), *(3 << n for n in range(12))})
_BAR = 30
_ROOM = 1 << 24  # numbers of the gates that a way back keeps at once
_VANISHED = 1e-3
_FALLS, _GROWS = 0.9, 1.1  # a token


@dataclass(frozen=True, eq=False)
class Memory:
    """How much the prediction owes to what stands further back, lag by lag.

    >>> change, most = np.array([0.5, 0.0, 0.0]), np.array([0.9, 0.3, 0.0])
    >>> told = Memory((1, 2, 4), change, most, np.array([1.0, 0.5, 0.125]), 64, "a text")
    >>> told.typical, told.horizon, told.rate
    (2, 4, 0.5)
    """

    lags: tuple[int, ...]
    """In units of the input: 1 is the last one before the prediction."""
    change: np.ndarray
    """float64 ``[K]``: how far the prediction moves when all but the last `lag` units are cut off, in the
    median over the windows. Of probabilities it is the share that moves (total variation), of numbers the
    difference in deviations. What it is held against knows at most the last 2·far."""
    most: np.ndarray
    """float64 ``[K]``: the same of the window that 95 in 100 do not exceed."""
    gradient: np.ndarray | None
    """float64 ``[K]``: the median norm of d log p / d embedding, p that of the most probable token, the
    embedding that of the `lag`-th last one. None but for language."""
    positions: int
    """Windows that were measured."""
    source: str
    """What was read."""
    unit: str = "token"
    """What a lag counts: "token", "step" or "value"."""
    answer: str = "prediction"
    """What is predicted: "prediction", "answer" or "forecast"."""

    @property
    def typical(self) -> int | None:
        """The lag from which on a cut changes half of the predictions by no more than `CLOSE`."""
        return self._after(self.change)

    @property
    def horizon(self) -> int | None:
        """The lag from which on a cut changes 95 in 100 predictions by no more than `CLOSE`, or None.

        One of `lags`: what lies between them was not tried, so that fewer may be enough.
        """
        return self._after(self.most)

    def _after(self, change: np.ndarray) -> int | None:
        after = np.append(0, np.flatnonzero(change > CLOSE) + 1)[-1]
        return self.lags[after] if after < len(self.lags) else None

    @property
    def _slopes(self) -> np.ndarray:
        return np.zeros(len(self.lags)) if self.gradient is None else self.gradient

    @property
    def _ends(self) -> tuple[int, int]:
        """Between which places it is told: from the largest gradient to the last, or from the first to it."""
        peak, last = int(self._slopes.argmax()), len(self.lags) - 1
        least = _VANISHED * self._slopes[peak]
        if self._slopes[last] >= least and (peak == last or self._slopes[0] < least):
            return int(np.flatnonzero(self._slopes)[0]) if self._slopes[peak] else 0, peak
        return peak, last

    @property
    def _share(self) -> float:
        near, far = self._ends
        return float(self._slopes[far]) / (float(self._slopes[near]) or 1.0)

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
        reach = self._reach
        if self.gradient is None:
            return f"{reach}."
        if not self._slopes.any():
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

    @property
    def _reach(self) -> str:
        """How far back the predictions depend on the input, without its full stop."""
        units = f"{self.unit}s"
        if self.horizon is None:
            known = f"{self.typical} {units}" if self.typical != 1 else f"{self.unit}"
            half = f"; half of them need at most the last {known}" if self.typical else ""
            cut = f"when all but the last {self.lags[-1]} {units} are cut off{half}"
            many = "Most" if self.typical is None else "More than 5 in 100"
            return f"{many} {self.answer}s still change {cut}"
        if self.horizon == 1:
            return f"The last {self.unit} alone decides the {self.answer}"
        reach = f"95 in 100 {self.answer}s need at most the last {self.horizon} {units}"
        if self.typical == self.horizon:
            return reach
        known = "the last one alone" if self.typical == 1 else f"at most the last {self.typical}"
        return f"{reach}, half of them {known}"

    def to_dict(self) -> dict[str, Any]:
        """Return all of it for JSON."""
        return {
            "unit": self.unit,
            "lags": [*self.lags],
            "change": self.change.tolist(),
            "most": self.most.tolist(),
            "gradient": None if self.gradient is None else self.gradient.tolist(),
            "typical": self.typical,
            "horizon": self.horizon,
            "rate": None if self.gradient is None else self.rate,
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
        from elman.draw import figures

        how: dict[str, Any] = {"width": width, "standalone": standalone}
        return figures.memory(self.lags, self.change, self.gradient, most=self.most, **how)

    def plot(self) -> Any:
        """Return it as a matplotlib figure; raises MissingDependencyError."""
        from elman.draw import plots

        return plots.memory(self.lags, self.change, self.gradient)

    def __str__(self) -> str:
        largest = self.most.max() or 1.0
        lines = [f"{'known':>6}  {'change':>8}  {'95 in 100':>9}"]
        lines += [
            f"{lag:>6}  {change:>8.4f}  {most:>9.4f}"
            for lag, change, most in zip(self.lags, self.change, self.most, strict=True)
        ]
        if self.gradient is not None:
            slopes = ["gradient", *(f"{slope:.3g}" for slope in self.gradient.tolist())]
            lines = [f"{line}  {slope:>10}" for line, slope in zip(lines, slopes, strict=True)]
        bars = ["", *("█" * round(_BAR * most / largest) for most in self.most.tolist())]
        lines = [f"{line}  {bar}".rstrip() for line, bar in zip(lines, bars, strict=True)]
        told = f"{self.positions} {self.answer}s in {self.source}"
        return "\n".join([*lines, told, self.verdict])

    def _repr_html_(self) -> str:
        import html

        return f"<div>{self.to_svg()}<p>{html.escape(self.verdict)}</p></div>"


def _plain(factor: float) -> str:
    """Return a factor as a person reads it."""
    if factor > 1000:
        return "more than 1,000"
    return "less than 0.001" if factor < 0.001 else f"{round(factor, 3):g}"


def measure_memory(predictor: Any, what: Any = None, *, far: int = _FAR) -> Memory:
    """Return how much the answers of a model owe to what stands further back in its input.

    The older part of up to 64 windows is cut off, and the answer is held against that of the whole window.
    The gradient by lag is measured for language alone.

    Args:
        predictor: What `elman.load` returns, for any task.
        what: What to measure on. For language a text, by default 1,000 tokens that the model itself writes
            from seed 0, each line by itself where documents are lines. For labelled sequences a list of
            them or a text of lines, by default sequences that are drawn as training had them. For forecasts
            the rows of series, by default the series that the model knows.
        far: The longest lag in tokens or steps, from 1 to 256. For series it is the length of the window.

    Returns:
        The change of the answers by lag. The prediction for the whole text is that after its last 2·far
        tokens or steps.

    Raises:
        InputError: Nothing can be cut off, or the gradient leaves the range of numbers.
        OptionError: `far` is out of its range.
        DataError: The sequences or series are not as in training.
    """
    far = whole_number("far", far, 1, _FAR)
    cuts = _CUTS[predictor.model.config.task](predictor, what, far)
    longest = max(cuts.lengths, default=0)
    lags = [lag for lag in _LAGS if lag < longest and (lag <= far or cuts.unit == "value")]
    if not lags:
        raise InputError(
            f"the {_READ[cuts.unit]} too short to cut anything off",
            got=f"at most {longest} {cuts.unit}s" if longest != 1 else f"1 {cuts.unit}",
            expected=f"more than one {cuts.unit}",
        )
    return summarised(cuts, lags)


def summarised(cuts: Cuts, lags: list[int]) -> Memory:
    """Return the memory that windows show at some lags."""
    moved = []
    for lag in lags:
        some = [place for place, length in enumerate(cuts.lengths) if length > lag]
        moved.append(cuts.moved(lag, some))
    change = np.array([np.median(one) for one in moved])
    # The lower quantile lets one odd window of a few decide nothing; of two windows it would be the lesser.
    most = np.array([np.quantile(one, MOST, method="lower") for one in moved])
    return Memory(
        tuple(lags),
        change,
        np.maximum(change, most),
        None if cuts.gradient is None else cuts.gradient(lags),
        len(cuts.lengths),
        cuts.source,
        cuts.unit,
        cuts.answer,
    )


def _text_cuts(predictor: Any, what: Readable | None, far: int) -> Cuts:
    """Return contexts within a text, or within one that the model writes."""
    source = "the text that was given"
    if what is None:
        what = predictor.generate("", WRITTEN, seed=0)
        source = f"{WRITTEN:,} tokens that the model wrote itself"
    numbers, network = token_numbers(predictor.model.codec, what), predictor.network
    contexts = _contexts(numbers, predictor.model.codec.end_id, far)
    whole = _predictions(network, contexts)

    def moved(lag: int, which: list[int]) -> np.ndarray:
        cut = _predictions(network, [contexts[place][-lag:] for place in which])
        return variation(np.stack(cut), np.stack([whole[place] for place in which]))

    def gradient(lags: Sequence[int]) -> np.ndarray:
        return _gradients(network, contexts, lags)

    lengths = [*map(len, contexts)]
    return Cuts("token", "prediction", source, lengths, moved, gradient)


_CUTS: dict[str, Callable[[Any, Any, int], Cuts]] = {
    "language": _text_cuts,
    **dict.fromkeys(("classify", "regress", "tag"), labelled_cuts),
    "forecast": series_cuts,
}
_READ = {"token": "text is", "step": "sequences are", "value": "series are"}


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


def _gradients(network: Any, contexts: list[np.ndarray], lags: Sequence[int]) -> np.ndarray:
    """Return the median norm ``[K]`` of the gradient at each lag; raises InputError where it has none."""
    config = network.model.config
    found: list[list[np.ndarray]] = [[] for _ in lags]
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
                    found[place].append(norms[-lag])
    return np.array([np.median(np.concatenate(some)) for some in found])


def _norms(network: Any, tokens: np.ndarray, depth: int, dtype: Any) -> np.ndarray:
    """Return the norms of the gradients at the last of ``tokens [T, B]``, NaN where a state is no number."""
    opened = DifferentiableNetwork(network, dtype)
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
