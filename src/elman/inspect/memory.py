"""Memory of a network: how much its answers change when input beyond each lag is cut off.

Each task provides its windows and what cutting them changes (`Predictor.memory_cuts`); the report is the
same for all tasks. It shows medians over all windows, and as the reach the lag that 95 in 100 windows need,
so that one unusual window decides neither.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from typing_extensions import TypedDict

from elman.engine.shapes import whole_number
from elman.errors import InputError
from elman.tables.frames import Frame, frame
from elman.tables.json_values import json_fields

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from elman.inspect.predictor import Predictor, Source


UNCHANGED = 0.01
"""A prediction counts as unchanged when at most this share of its probability or of a deviation moved."""
REACH_SHARE = 0.95
"""Share of the windows that `Memory.horizon` is measured by."""
MAX_LAG = 256
"""The longest lag in tokens or steps; a series is measured over its whole window."""
MAX_WINDOWS = 64
"""Windows that are measured."""
_LAGS = sorted({*(1 << n for n in range(14)), *(3 << n for n in range(12))})
_SUBJECTS = {"token": "text is", "step": "sequences are", "value": "series are"}
_BAR_CHARACTERS = 30
_VANISHED = 1e-3  # share of the largest gradient below which the gradient has vanished
_VANISHING_RATE, _EXPLODING_RATE = 0.9, 1.1  # factor from token to token


class Cuts(NamedTuple):
    """Windows of a task's input, and functions that measure what cutting off their older part changes."""

    unit: str
    """Unit of the lags: "token", "step" or "value"."""
    answer: str
    """Name of the output that changes: "prediction", "answer" or "forecast"."""
    source: str
    """Source of the windows, as the report names it."""
    lengths: list[int]
    """Number of units of each window before its answer."""
    moved: Callable[[int, list[int]], np.ndarray]
    """Return how far the answers of chosen windows move ``[n]`` when only the last `lag` units are kept."""
    gradient: Callable[[Sequence[int]], np.ndarray] | None = None
    """Return the median norm of the gradient ``[K]`` at each lag; None where the task does not measure it."""


class MemoryJson(TypedDict):
    """A memory as `Memory.to_dict` returns it."""

    unit: str
    lags: list[int]
    change: list[float]
    most: list[float]
    gradient: list[float] | None
    typical: int | None
    horizon: int | None
    rate: float | None
    positions: int
    source: str
    verdict: str


@dataclass(frozen=True, eq=False)
class Memory:
    """Dependence of a network's answers on older input, for each of K lags.

    >>> change, most = np.array([0.5, 0.0, 0.0]), np.array([0.9, 0.3, 0.0])
    >>> memory = Memory((1, 2, 4), change, most, np.array([1.0, 0.5, 0.125]), 64, "a text")
    >>> memory.typical, memory.horizon, memory.rate
    (2, 4, 0.5)
    """

    lags: tuple[int, ...]
    """Lags in units of the input: 1 is the last unit before the answer."""
    change: np.ndarray
    """float64 ``[K]``: how far the answer moves when only the last `lag` units are kept, in the median over
    the windows. For probabilities it is the share that moves (total variation), for numbers the difference in
    standard deviations. The answer of a whole window reads at most its last 2·far units."""
    most: np.ndarray
    """float64 ``[K]``: the same for the window that 95 in 100 windows do not exceed."""
    gradient: np.ndarray | None
    """float64 ``[K]``: the median norm of d log p / d embedding, with p the probability of the most probable
    token and the embedding that of the token at `lag`. None for all tasks but language."""
    positions: int
    """Windows that were measured."""
    source: str
    """Source of the windows."""
    unit: str = "token"
    """Unit of the lags: "token", "step" or "value"."""
    answer: str = "prediction"
    """Name of the network's output: "prediction", "answer" or "forecast"."""

    @property
    def typical(self) -> int | None:
        """The lag from which on a cut leaves half of the answers unchanged, or None."""
        return self._first_unchanged(self.change)

    @property
    def horizon(self) -> int | None:
        """The lag from which on a cut leaves 95 in 100 answers unchanged, or None.

        It is one of `lags`. Lags between them were not measured, so fewer units may be enough.
        """
        return self._first_unchanged(self.most)

    def _first_unchanged(self, change: np.ndarray) -> int | None:
        # The index after the last lag whose cut still changes the answer; 0 if no lag does.
        changed = int(np.append(0, np.flatnonzero(change > UNCHANGED) + 1)[-1])
        # None stands behind the longest lag: even its cut changes the answer.
        return (*self.lags, None)[changed]

    @property
    def _slopes(self) -> list[float]:
        return [0.0] * len(self.lags) if self.gradient is None else self.gradient.tolist()

    @property
    def _compared(self) -> tuple[int, int, float]:
        """The indices of the two lags whose gradients are compared, and the quotient of the gradients.

        They are the largest gradient and the last one; for a gradient that grows, the first and the largest.
        """
        slopes = self._slopes
        near, far = slopes.index(max(slopes)), len(slopes) - 1
        # A gradient below a thousandth of its largest value has vanished.
        least = _VANISHED * slopes[near]
        if slopes[far] >= least and (near == far or slopes[0] < least):
            # The gradient grows with the lag: compare the first lag that has one with the largest.
            near, far = next((at for at, slope in enumerate(slopes) if slope), 0), near
        return near, far, slopes[far] / (slopes[near] or 1.0)

    @property
    def rate(self) -> float:
        """The factor of the gradient from token to token, a geometric mean; 0 where it is 0 at the far end.

        It is taken from the lag of the largest gradient to the last lag; for a gradient that grows, from the
        first lag to that of the largest.
        """
        near, far, share = self._compared
        return 0.0 if near == far else share ** (1 / (self.lags[far] - self.lags[near]))

    @property
    def verdict(self) -> str:
        """The result in two sentences.

        The gradient vanishes where less than a thousandth of it is left, or where its rate is 0.9 or less; it
        explodes where it grows more than a thousandfold, or where its rate is 1.1 or more.
        """
        reach = self._reach
        if self.gradient is None:
            return f"{reach}."
        if not self.gradient.any():
            return f"{reach}. There is no gradient, even at lag {self.lags[0]}."
        near, far, share = self._compared
        if near == far:
            return f"{reach}. There is a gradient at lag {self.lags[far]} alone."
        # rounded as the sentence shows it, so that both always agree
        rate, does = round(self.rate, 3), "neither vanishes nor explodes"
        if share < _VANISHED or rate <= _VANISHING_RATE:
            does = "vanishes"
        elif share > 1 / _VANISHED or rate >= _EXPLODING_RATE:
            does = "explodes"
        at = f"at lag {self.lags[far]} it is {_plain(share)} times that at lag {self.lags[near]}"
        return f"{reach}. The gradient {does}: {at}, a factor of {_plain(self.rate)} a token."

    @property
    def _reach(self) -> str:
        """A sentence without its full stop that says how far back the answers depend on the input."""
        units = f"{self.unit}s"
        if self.horizon is None:
            count = f"{self.typical} {units}" if self.typical != 1 else f"{self.unit}"
            half = f"; half of them need at most the last {count}" if self.typical else ""
            cut = f"when all but the last {self.lags[-1]} {units} are cut off{half}"
            # Without a typical lag, at least half of the answers still change at the longest lag.
            many = "Most" if self.typical is None else "More than 5 in 100"
            return f"{many} {self.answer}s still change {cut}"
        if self.horizon == 1:
            return f"The last {self.unit} alone decides the {self.answer}"
        reach = f"95 in 100 {self.answer}s need at most the last {self.horizon} {units}"
        if self.typical == self.horizon:
            return reach
        half = "the last one alone" if self.typical == 1 else f"at most the last {self.typical}"
        return f"{reach}, half of them {half}"

    def to_dict(self) -> MemoryJson:
        """Return all fields and the properties for JSON."""
        return json_fields(self, MemoryJson, rate=None if self.gradient is None else self.rate)

    def to_frame(self) -> Frame:
        """Return change and gradient by lag, as a polars data frame or as columns without polars."""
        return frame({"lag": self.lags, "change": self.change, "gradient": self.gradient})

    def to_json(self) -> str:
        """Return `to_dict` as one line of JSON."""
        return json.dumps(self.to_dict(), ensure_ascii=False, allow_nan=False)

    def to_svg(self, *, width: float = 720, standalone: bool = True) -> str:
        """Return a picture of change and gradient by lag, `width` pixels wide."""
        from elman.draw import charts

        return charts.memory(
            self.lags,
            self.change,
            self.gradient,
            most=self.most,
            width=width,
            standalone=standalone,
        )

    def plot(self) -> Figure:
        """Return the picture as a matplotlib figure; raises MissingDependencyError."""
        from elman.draw import plots

        return plots.memory(self.lags, self.change, self.gradient)

    def __str__(self) -> str:
        lines = [f"{'known':>6}  {'change':>8}  {'95 in 100':>9}"]
        lines += [
            f"{lag:>6}  {change:>8.4f}  {most:>9.4f}"
            for lag, change, most in zip(self.lags, self.change, self.most, strict=True)
        ]
        if self.gradient is not None:
            slopes = ["gradient", *(f"{slope:.3g}" for slope in self.gradient)]
            lines = [f"{line}  {slope:>10}" for line, slope in zip(lines, slopes, strict=True)]
        # The bars show the change that 95 in 100 windows do not exceed.
        shares = self.most / (self.most.max() or 1.0)
        bars = ["", *("█" * round(_BAR_CHARACTERS * share) for share in shares.tolist())]
        lines = [f"{line}  {bar}".rstrip() for line, bar in zip(lines, bars, strict=True)]
        measured = f"{self.positions} {self.answer}s in {self.source}"
        return "\n".join([*lines, measured, self.verdict])

    def _repr_html_(self) -> str:
        import html

        return f"<div>{self.to_svg()}<p>{html.escape(self.verdict)}</p></div>"


def _plain(factor: float) -> str:
    """Return a factor with three decimals, and a bound for a very large or very small factor."""
    if factor > 1000:
        return "more than 1,000"
    return "less than 0.001" if factor < 0.001 else f"{round(factor, 3):g}"


def measure_memory(predictor: Predictor, source: Source = None, *, far: int = MAX_LAG) -> Memory:
    """Return how much the answers of a model depend on older input.

    The older part of up to 64 windows is cut off, and the answer is compared with that of the whole window.
    The gradient by lag is measured for language models only.

    Args:
        predictor: What `elman.load` returns, for any task.
        source: What to measure on. For language a text, by default 1,000 tokens that the model writes itself
            with seed 0; each line by itself where each line is a document. For labelled sequences a list of
            them or a text of lines, by default plausible ones, drawn as frequent as in training. For
            forecasts rows of series, by default the series in the model file.
        far: The longest lag in tokens or steps, from 1 to 256. A series is measured up to the length of its
            window.

    Returns:
        The change of the answers by lag. The answer for a whole window is the one after its last 2·far tokens
        or steps.

    Raises:
        InputError: The input is too short to cut anything off, or the gradient overflows.
        OptionError: `far` is out of its range.
        DataError: The sequences or series differ from the data of training.
    """
    far = whole_number("far", far, 1, MAX_LAG)
    cuts = predictor.memory_cuts(source, far)
    longest = max(cuts.lengths, default=0)
    # A window of a series is short, so it is measured at all its lags.
    lags = [lag for lag in _LAGS if lag < longest and (lag <= far or cuts.unit == "value")]
    if not lags:
        raise InputError(
            f"the {_SUBJECTS[cuts.unit]} too short to cut anything off",
            got=f"at most {longest} {cuts.unit}s" if longest != 1 else f"1 {cuts.unit}",
            expected=f"more than one {cuts.unit}",
        )
    return summarised(cuts, lags)


def summarised(cuts: Cuts, lags: list[int]) -> Memory:
    """Return the memory that windows show at `lags`; a window counts at the lags that are shorter than it."""
    lengths = np.array(cuts.lengths)
    # For each lag, the change of the answer of every window that is longer, [n].
    moved = [cuts.moved(lag, np.flatnonzero(lengths > lag).tolist()) for lag in lags]
    # [K], one number for each lag
    change = np.array([np.median(changes) for changes in moved])
    # The lower quantile, so that one unusual window in a few does not decide. In a sample of two it would lie
    # below the median, hence the maximum.
    most = np.array([np.quantile(changes, REACH_SHARE, method="lower") for changes in moved])
    gradient = None if cuts.gradient is None else cuts.gradient(lags)
    words = (cuts.source, cuts.unit, cuts.answer)
    numbers = (change, np.maximum(change, most), gradient)
    return Memory(tuple(lags), *numbers, len(cuts.lengths), *words)


def total_variation(shares: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Return the share of probability ``[n]`` that moves between distributions ``[n, V]``."""
    return np.asarray(np.abs(shares - others).sum(axis=1) / 2)


def spread_evenly(count: int) -> np.ndarray:
    """Return at most 64 places of `count`, spread evenly from the first to the last."""
    return np.linspace(0, count - 1, min(MAX_WINDOWS, count)).astype(int)
