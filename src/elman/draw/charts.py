"""Charts as SVG: memory by lag, a forecast behind its history, and the curves of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from elman.draw import pen as svg

__all__ = ["curves", "forecast", "memory"]

_EDGE = 16.0
_HORIZON = 0.01  # where the change of a prediction counts as none
_HISTORY = (6, 60)  # of the history, so many horizons or steps are shown
_POINTS = 2000  # of a line that are drawn, first and last among them
_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
_KINDS = ("ink", "up", "down", "plain")  # of lines, in their order


class _Frame(NamedTuple):
    """Where a chart lies on its picture, and which values its edges stand for."""

    left: float
    top: float
    right: float
    bottom: float
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]

    def x(self, value: float) -> float:
        return _place(value, self.x_ends, self.left, self.right)

    def y(self, value: float) -> float:
        return _place(value, self.y_ends, self.bottom, self.top)


def _place(value: float, ends: tuple[float, float], first: float, last: float) -> float:
    # halves, for the distance of two numbers may be beyond what a number holds
    whole = ends[1] / 2 - ends[0] / 2
    share = (value / 2 - ends[0] / 2) / whole if whole else 0.5
    return first + (last - first) * share


def _ends(*values: np.ndarray, padded: float = 0) -> tuple[float, float]:
    """Return the least and the greatest number, apart from each other, with so much of both beyond."""
    joined = np.concatenate([part.ravel() for part in values])
    joined = joined[np.isfinite(joined)]
    if not len(joined):
        return 0.0, 1.0
    low, high = float(joined.min()), float(joined.max())
    apart = max(abs(low), 1.0) * 1e-6
    if high / 2 - low / 2 <= apart / 2:
        return low - 0.5 - apart, low + 0.5 + apart
    beyond = padded * (high / 2 - low / 2) * 2
    return low - beyond, high + beyond


def _ticks(ends: tuple[float, float], count: int) -> list[float]:
    """Return round numbers between two, about `count`.

    >>> _ticks((0.0, 1.0), 4)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    span = (ends[1] / 2 - ends[0] / 2) * 2 / max(1, count)
    if not (math.isfinite(span) and 1e-290 < span < 1e290):
        return [*ends]
    power = 10.0 ** math.floor(math.log10(span))
    step = next(power * size for size in (1, 2, 2.5, 5, 10) if power * size >= span * 0.999)
    first, last = math.ceil(ends[0] / step - 1e-9), math.floor(ends[1] / step + 1e-9)
    return [place * step for place in range(first, last + 1)]


def _plain(value: float) -> str:
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e7 else f"{value:.4g}"


def _axes(frame: _Frame, title: str, under: str, powers: tuple[bool, bool] = (False, False)) -> str:
    """Return the lines and numbers of a chart; of an axis of `powers` the values are exponents of ten."""

    def said(value: float, power: bool) -> str:
        if power and not -2 <= value <= 4:
            return "10" + str(round(value)).translate(_RAISED)
        return _plain(10.0**value if power else value)

    def places(ends: tuple[float, float], count: int, power: bool) -> list[float]:
        if not power:
            return _ticks(ends, count)
        if ends[1] - ends[0] <= 2:
            sizes = [k + math.log10(size) for k in range(-1, 6) for size in (1, 2, 5)]
            return [size for size in sizes if ends[0] <= size <= ends[1]]
        step = max(1, math.ceil((ends[1] - ends[0]) / count))
        return [float(k) for k in range(math.ceil(ends[0]), math.floor(ends[1]) + 1, step)]

    room = frame.right - frame.left
    parts = [svg.text(frame.left, frame.top - 14, title, "strong", room)] if title else []
    for tick in places(frame.y_ends, max(2, int((frame.bottom - frame.top) / 42)), powers[1]):
        y = frame.y(tick)
        parts.append(svg.path("rule", "M", frame.left, y, "H", frame.right))
        parts.append(svg.text(frame.left - 6, y + 4, said(tick, powers[1]), "small end grey"))
    if under:
        for tick in places(frame.x_ends, max(2, int((frame.right - frame.left) / 70)), powers[0]):
            shown = said(tick, powers[0])
            parts.append(svg.text(frame.x(tick), frame.bottom + 16, shown, "small middle grey"))
        middle = (frame.left + frame.right) / 2
        parts.append(svg.text(middle, frame.bottom + 34, under, "small middle grey"))
    return "".join(parts)


def _line(frame: _Frame, xs: np.ndarray, ys: np.ndarray, kind: str) -> str:
    """Return a line through points, with a gap where one is not a number."""
    steps: list[str | float] = []
    pen = "M"
    drawn = np.linspace(0, max(len(xs) - 1, 0), min(len(xs), _POINTS)).astype(np.int64)
    for place in np.unique(drawn).tolist():
        x, y = float(xs[place]), float(ys[place])
        if math.isfinite(x) and math.isfinite(y):
            steps += [pen, frame.x(x), frame.y(y)]
            # a line of one point has no length: the round cap makes it a dot
            steps += ["h", 0.1] if pen == "M" else []
            pen = "L"
        else:
            pen = "M"
    return svg.path(f"line {kind}", *steps) if steps else ""


def memory(
    lags: ArrayLike,
    change: ArrayLike,
    gradient: ArrayLike | None,
    *,
    most: ArrayLike | None = None,
    width: float = 720,
    standalone: bool = True,
) -> str:
    """Return how far back a network remembers: `change` [K] of the prediction and `gradient` [K] by lag [K].

    The first is linear, with a line at 0.01, where the prediction no longer changes, and with `most` [K],
    the change that 95 in 100 predictions do not exceed, as a thin line. The second is logarithmic, and left
    out where it is None. Raises ShapeError.
    """
    at = svg.numbers(lags, "lags", (None,))
    first = svg.numbers(change, "change", (len(at),))
    second = (
        np.zeros(len(at)) if gradient is None else svg.numbers(gradient, "gradient", (len(at),))
    )
    upper = first if most is None else svg.numbers(most, "most", (len(at),))
    width = svg.sized(width)
    wide = width >= 560 and gradient is not None
    positive = at[at > 0]
    long = len(positive) > 1 and float(positive.max()) >= 32 * float(positive.min())
    with np.errstate(divide="ignore", invalid="ignore"):
        xs = np.log10(np.where(at > 0, at, np.nan)) if long else at
        tiny = np.log10(np.where(second > 0, second, np.nan))
    across = (width - 2 * _EDGE - 52 * (1 + wide)) / (1 + wide)
    left, high = _EDGE + 46, 150.0
    x_ends = _ends(xs)
    one = _Frame(
        left, 46, left + across, 46 + high, x_ends, (0.0, max(svg.limit(upper[upper > 0]), 0.02))
    )
    if wide:
        two = one._replace(left=left + across + 58, right=left + 2 * across + 52)
    else:
        two = one._replace(top=one.top + high + 92, bottom=one.bottom + high + 92)
    low, high_ = _ends(tiny)
    two = two._replace(y_ends=(math.floor(low), math.ceil(high_)))
    rule = one.y(_HORIZON)
    parts = [
        _axes(one, "change of the prediction", "number of last inputs kept", (long, False)),
        svg.path("line plain thin dashed", "M", one.left, rule, "H", one.right),
        svg.text(one.right, rule - 5, "no change: 0.01", "small end grey"),
        _line(one, xs, first, "up"),
    ]
    if most is not None:
        about = "thin: 95 in 100 change no more"
        parts += [_line(one, xs, upper, "up thin")]
        parts += [svg.text(one.right, one.top + 10, about, "small end grey")]
    if gradient is not None:
        parts.append(_axes(two, "gradient at the input", "lag: inputs back", (long, True)))
        parts.append(_line(two, xs, tiny, "down"))
    bottom = one.bottom if gradient is None else two.bottom
    return svg.picture(
        parts, width, bottom + 48, "Memory of the network by lag", standalone=standalone
    )


def _times(values: ArrayLike) -> tuple[np.ndarray, list[str] | None]:
    """Return times as numbers, and as words where they are dates."""
    found = np.asarray(values)
    if found.dtype.kind != "M":
        return svg.numbers(found, "times", (None,)), None
    seconds = found.astype("datetime64[s]")
    days = bool((seconds == seconds.astype("datetime64[D]")).all())
    words = [str(time).replace("T", " ")[: 10 if days else 16] for time in seconds]
    missing = np.isnat(seconds)
    return np.where(missing, np.nan, seconds.astype(np.int64).astype(np.float64)), words


def forecast(
    history_times: ArrayLike,
    history: ArrayLike,
    times: ArrayLike,
    median: ArrayLike,
    intervals: Mapping[float, tuple[ArrayLike, ArrayLike]] | None = None,
    contributions: Mapping[int, float] | None = None,
    *,
    chosen: int | None = None,
    name: str = "",
    width: float = 960,
    standalone: bool = True,
) -> str:
    """Return a forecast [H] behind its history [T], with intervals, and what moved it as bars below.

    Times are numbers or datetime64; `intervals` has (low, high) [H] by the share that they promise (0.8);
    `contributions` has what the value of each lag added (lag 1 is the last of the history); the step ahead
    that is `chosen` (from 1) is marked. Of a long history the last six horizons are shown. Raises ShapeError.
    """
    before, words = _times(history_times)
    past = svg.numbers(history, "history and its times", before.shape)
    after, later = _times(times)
    line = svg.numbers(median, "forecast and its times", after.shape)
    bands = [
        (
            share,
            svg.numbers(low, "an interval", line.shape),
            svg.numbers(high, "an interval", line.shape),
        )
        for share, (low, high) in sorted((intervals or {}).items(), reverse=True)
    ]
    T = len(before)
    lags = {lag: float(value) for lag, value in (contributions or {}).items() if 1 <= lag <= T}
    shown = max(_HISTORY[1], _HISTORY[0] * len(line), *lags, 1)
    before, past = before[-shown:], past[-shown:]
    words = [*(words or [])[-shown:], *(later or [])] if words is not None else None
    width = svg.sized(width)
    whole = np.concatenate([before, after])
    frame = _Frame(
        _EDGE + 50,
        46,
        width - _EDGE - 4,
        46 + min(240.0, 0.45 * width),
        _ends(whole),
        _ends(past, line, *(part for band in bands for part in band[1:]), padded=0.05),
    )
    base = frame.bottom + (64 if lags else 0)
    parts = [_axes(frame, name or "forecast", "")]
    parts += _times_axis(frame, whole, words, base)
    known = np.flatnonzero(np.isfinite(past) & np.isfinite(before))[-1:]

    def joined(values: np.ndarray) -> np.ndarray:
        # from the last known value on, that the eye need not jump
        return np.concatenate([past[known], values])

    at = np.concatenate([before[known], after])
    for _, low, high in bands:
        low, high = joined(low), joined(high)
        fine = np.flatnonzero(np.isfinite(at) & np.isfinite(low) & np.isfinite(high))
        edge = [(at[i], low[i]) for i in fine] + [(at[i], high[i]) for i in fine[::-1]]
        steps: list[str | float] = []
        for x, y in edge:
            steps += ["L" if steps else "M", frame.x(float(x)), frame.y(float(y))]
        parts.append(svg.path("band", *steps, "z") if edge else "")
    parts += [_line(frame, before, past, "ink"), _line(frame, at, joined(line), "up")]
    if len(after):
        now = frame.x(float(at[0]))
        parts.append(svg.path("line plain thin dashed", "M", now, frame.top, "V", base))
    if chosen is not None and 1 <= chosen <= len(line):
        x, y = frame.x(float(after[chosen - 1])), frame.y(float(line[chosen - 1]))
        if math.isfinite(x + y):
            parts.append(svg.path("line plain thin", "M", x, frame.top, "V", frame.bottom))
            parts.append(svg.dot("dot up", x, y, 4.5))
    parts += _by_lag(frame, before, lags, base)
    shares = ", ".join(f"{100 * share:g} %" for share, *_ in bands)
    said = "history, forecast" + (f", intervals of {shares}" if bands else "")
    if lags:
        said += "; bars: how each earlier value moved it"
    lines, below = svg.paragraph(frame.left, base + 38, said, frame.right - frame.left)
    parts.append(lines)
    label = f"Forecast of {len(line)} steps after {T}: {name}"
    return svg.picture(parts, width, below, label, standalone=standalone)


def _times_axis(
    frame: _Frame, times: np.ndarray, words: list[str] | None, base: float
) -> list[str]:
    """Return the names of times below a chart: round numbers, or dates as far apart as they fit."""
    if words is None:
        ticks = _ticks(frame.x_ends, max(2, int((frame.right - frame.left) / 90)))
        named = [
            (tick, f"time {_plain(tick)}" if not k else _plain(tick))
            for k, tick in enumerate(ticks)
        ]
    else:
        room = max(map(len, words), default=0) * 7 + 24
        count = max(2, int((frame.right - frame.left) / max(room, 1)))
        places = np.unique((np.arange(count) + 0.5) * len(words) / count).astype(np.int64)
        named = [(float(times[place]), words[place]) for place in places.tolist() if words]
    parts = []
    for time, word in named:
        if math.isfinite(time):
            half = svg.advance(word, 11) / 2
            x = min(max(frame.x(time), frame.left + half), frame.right - half)
            parts.append(svg.text(x, base + 18, word, "small middle grey"))
    return parts


def _by_lag(frame: _Frame, times: np.ndarray, lags: Mapping[int, float], base: float) -> list[str]:
    """Return contributions as bars under the values that made them, above zero and below."""
    if not lags:
        return []
    zero, most = base - 26, svg.limit(list(lags.values()))
    inside = times[np.isfinite(times)]
    gap = (frame.right - frame.left) / max(2, len(inside))
    wide = min(max(0.7 * gap, 1.5), 12.0)
    parts = [svg.path("rule", "M", frame.left, zero, "H", frame.right)]
    for lag, value in sorted(lags.items(), reverse=True):
        time = float(times[-lag])
        if not (math.isfinite(time) and math.isfinite(value)):
            continue
        high = 24 * abs(value) / most
        kind = "up" if value > 0 else "down"
        x, y = frame.x(time) - wide / 2, zero - high if value > 0 else zero
        bar = svg.box(x, y, wide, high, f"bar {kind}")
        parts.append(
            svg.group("row", [bar], f' data-lag="{lag}"', f"{svg.signed(value)} by lag {lag}")
        )
    parts.append(svg.text(frame.left - 6, zero + 4, "moved", "small end grey"))
    return parts


def curves(
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    marks: Sequence[tuple[float, str]] = (),
    *,
    title: str = "loss",
    width: float = 720,
    standalone: bool = True,
) -> str:
    """Return curves (steps [N], values [N]) by name, named above, with marks at steps.

    A value that is no number is a gap. Of more than four curves the last are drawn alike. Raises ShapeError.
    """
    drawn = []
    for name, (steps, values) in lines.items():
        xs = svg.numbers(steps, "steps", (None,))
        drawn.append(
            (svg.clean(name, 24), xs, svg.numbers(values, "values and their steps", xs.shape))
        )
    width = svg.sized(width)
    left, right, top = _EDGE + 46, width - _EDGE - 4, 32.0
    x, legend = left + min(svg.advance(svg.clean(title), bold=True), 0.4 * width) + 24, []
    for place, (name, *_) in enumerate(drawn):
        room = min(svg.advance(name, 11), right - left - 12) + 28
        if x + room > right and x > left:
            x, top = left, top + 16
        kind = _KINDS[min(place, len(_KINDS) - 1)]
        dot = svg.dot(f"dot {kind}", x + 4, top - 4, 3.5)
        colour = {"ink": "small"}.get(kind, f"small {kind}")
        legend += [dot, svg.text(x + 12, top, name, colour, right - x - 12)]
        x += room
    empty = np.zeros(0)
    x_ends = _ends(empty, *(xs[np.isfinite(ys)] for _, xs, ys in drawn))
    frame = _Frame(
        left,
        top + 14,
        right,
        top + 14 + min(240.0, 0.5 * width),
        x_ends,
        _ends(empty, *(ys for *_, ys in drawn)),
    )
    parts = [_axes(frame, "", "step"), svg.text(left, 32, title, "strong", 0.4 * width), *legend]
    for row, (step, words) in enumerate(sorted(marks)[:40]):
        if x_ends[0] <= step <= x_ends[1]:
            x = frame.x(step)
            parts.append(svg.path("line plain thin dashed", "M", x, frame.top, "V", frame.bottom))
            side, gap = ("end", -5) if x > (frame.left + frame.right) / 2 else ("", 5)
            kind = f"small grey {side}".strip()
            parts.append(
                svg.text(
                    x + gap,
                    frame.top + 10 + 14 * (row % 3),
                    words,
                    kind,
                    (frame.right - frame.left) / 2,
                )
            )
    for place, (_, xs, ys) in enumerate(drawn):
        kind = _KINDS[min(place, len(_KINDS) - 1)]
        parts.append(_line(frame, xs, ys, kind))
        for last in np.flatnonzero(np.isfinite(xs) & np.isfinite(ys))[-1:]:
            at_x, at_y = frame.x(float(xs[last])), frame.y(float(ys[last]))
            parts.append(svg.dot(f"dot {kind}", at_x, at_y, 2.6))
    label = f"Curves of {len(drawn)} measures over steps"
    return svg.picture(parts, width, frame.bottom + 48, label, standalone=standalone)
