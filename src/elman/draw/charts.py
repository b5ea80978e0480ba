"""Charts as SVG: a network's memory by lag, a forecast behind its history, the curves of a training run."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from elman.draw import pen
from elman.draw.axes import Frame, axes, ends_of, plain, polyline, ticks

UNCHANGED = 0.01
"""Change of a prediction at which the chart of memory draws the line "no change"."""
_MIN_HISTORY, _MAX_HISTORY_HORIZONS = 60, 6
_MAX_MARKS = 40
_LINE_KINDS = ("ink", "up", "down", "plain")
"""Classes of the lines of `curves`, in their order."""
# lengths are in pixels
_EDGE = 16.0
_MIN_TIME_GAP = 90


def memory(
    lags: ArrayLike,
    change: ArrayLike,
    gradient: ArrayLike | None,
    *,
    most: ArrayLike | None = None,
    width: float = 720,
    standalone: bool = True,
) -> str:
    """Draw how far back a network remembers, as a chart of the change and a chart of the gradient by lag.

    Args:
        lags: How many of the last inputs were kept, ``[K]``.
        change: How far the median prediction moved, ``[K]``, with a line at 0.01 for "no change".
        gradient: The norm of the gradient, ``[K]``, on a logarithmic scale. None draws no second chart.
        most: The change that 95 in 100 predictions do not exceed, ``[K]``, as a thin line.
        width: In pixels.
        standalone: Whether the picture contains its style sheet.

    Raises:
        ShapeError: The arrays have different lengths.
    """
    at = pen.numbers(lags, "lags", (None,))
    changes = pen.numbers(change, "change", at.shape)
    upper = changes if most is None else pen.numbers(most, "most", at.shape)
    width = pen.sized(width)
    # On a narrow page the charts stand one below the other.
    side_by_side = width >= 560 and gradient is not None
    positive = at[at > 0]
    # Use a logarithmic axis where the lags span at least five powers of two.
    log_x = len(positive) > 1 and float(positive.max()) >= 32 * float(positive.min())
    xs = _exponents(at) if log_x else at
    across = (width - 2 * _EDGE - 52 * (1 + side_by_side)) / (1 + side_by_side)
    left, height = _EDGE + 46, 150.0
    # At least 0.02, so that the line of no change at 0.01 stays inside the chart.
    y_ends = (0.0, max(pen.limit(upper[upper > 0]), 0.02))
    frame = Frame(left, 46, left + across, 46 + height, ends_of(xs), y_ends)
    rule = frame.y(UNCHANGED)
    shapes = [
        axes(frame, "change of the prediction", "number of last inputs kept", log_x=log_x),
        pen.path("line plain thin dashed", "M", frame.left, rule, "H", frame.right),
        pen.text(frame.right, rule - 5, f"no change: {UNCHANGED:g}", "small end grey"),
        polyline(frame, xs, changes, "up"),
    ]
    if most is not None:
        note = "thin: 95 in 100 change no more"
        shapes += [polyline(frame, xs, upper, "up thin")]
        shapes += [pen.text(frame.right, frame.top + 10, note, "small end grey")]
    if gradient is not None:
        exponents = _exponents(pen.numbers(gradient, "gradient", at.shape))
        low, high = ends_of(exponents)
        # Whole powers of ten at both ends of the axis.
        frame = frame._replace(y_ends=(math.floor(low), math.ceil(high)))
        if side_by_side:
            frame = frame._replace(left=left + across + 58, right=left + 2 * across + 52)
        else:
            frame = frame._replace(top=frame.top + height + 92, bottom=frame.bottom + height + 92)
        title, x_name = "gradient at the input", "lag: inputs back"
        shapes += [axes(frame, title, x_name, log_x=log_x, log_y=True)]
        shapes += [polyline(frame, xs, exponents, "down")]
    label = "Memory of the network by lag"
    return pen.picture(shapes, width, frame.bottom + 48, label, standalone=standalone)


def _exponents(values: np.ndarray) -> np.ndarray:
    """Return the exponents of ten of numbers, with NaN for those that are not positive."""
    return np.log10(np.where(values > 0, values, np.nan))


def _times(values: ArrayLike) -> tuple[np.ndarray, list[str] | None]:
    """Return times as numbers, and as text where they are dates."""
    times = np.asarray(values)
    if times.dtype.kind != "M":
        return pen.numbers(times, "times", (None,)), None
    seconds = times.astype("datetime64[s]")
    # Leave out the time of day where all times are midnight.
    days = bool((seconds == seconds.astype("datetime64[D]")).all())
    words = [str(time).replace("T", " ")[: 10 if days else 16] for time in seconds]
    missing = np.isnat(seconds)
    return np.where(missing, np.nan, seconds.astype(np.int64).astype(np.float64)), words


class ForecastLines(NamedTuple):
    """The lines of a forecast and of the end of its history.

    Those of the forecast start at the last known value, so that they continue the history.
    """

    before: np.ndarray
    """Times of the history that is shown."""
    past: np.ndarray
    after: np.ndarray
    """Times of the forecast, and of the last known value."""
    median: np.ndarray
    bands: dict[float, list[np.ndarray]]
    """Lower and upper ends by nominal coverage, the widest first."""


def forecast_lines(
    before: np.ndarray,
    history: ArrayLike,
    after: np.ndarray,
    median: ArrayLike,
    intervals: Mapping[float, tuple[ArrayLike, ArrayLike]] | None,
    longest_lag: int = 0,
) -> ForecastLines:
    """Return the lines of a forecast; raises ShapeError.

    They show six horizons of the history, 60 steps at least, and all steps up to `longest_lag`.
    """
    past = pen.numbers(history, "history and its times", before.shape)
    shown = max(_MIN_HISTORY, _MAX_HISTORY_HORIZONS * len(after), longest_lag)
    before, past = before[-shown:], past[-shown:]
    # The index of the last known value, or none: the lines of the forecast start there.
    known = np.flatnonzero(np.isfinite(past) & np.isfinite(before))[-1:]

    def joined(values: ArrayLike, name: str = "an interval") -> np.ndarray:
        return np.concatenate([past[known], pen.numbers(values, name, after.shape)])

    line = joined(median, "forecast and its times")
    levels = sorted((intervals or {}).items(), reverse=True)
    bands = {level: [joined(end) for end in ends] for level, ends in levels}
    return ForecastLines(before, past, np.concatenate([before[known], after]), line, bands)


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
    """Draw a forecast of H steps behind its history of T steps, and below it what moved the forecast.

    Args:
        history_times: Times of the history, ``[T]``: numbers or datetime64. Of a long history the last six
            horizons are shown.
        history: Values of the history, ``[T]``.
        times: Times of the forecast, ``[H]``.
        median: The median forecast, ``[H]``.
        intervals: Lower and upper ends ``[H]`` of each interval, by its nominal coverage such as 0.8.
        contributions: The contribution of the value at each lag, drawn as bars; lag 1 is the last value.
        chosen: The step ahead, from 1, that is marked.
        name: The name of the series.
        width: In pixels.
        standalone: Whether the picture contains its style sheet.

    Raises:
        ShapeError: Values and times have different lengths.
    """
    before, words = _times(history_times)
    after, later = _times(times)
    T, H, width = len(before), len(after), pen.sized(width)
    # A lag counts back from the end of the history, so lag 1 is its last value.
    lags = {lag: float(value) for lag, value in (contributions or {}).items() if 1 <= lag <= T}
    lines = forecast_lines(before, history, after, median, intervals, max(lags, default=0))
    values = [lines.past, lines.median, *(end for ends in lines.bands.values() for end in ends)]
    top, right, all_times = 46, width - _EDGE - 4, np.concatenate([lines.before, after])
    bottom, y_ends = top + min(240.0, 0.45 * width), ends_of(*values, padding=0.05)
    frame = Frame(_EDGE + 50, top, right, bottom, ends_of(all_times), y_ends)
    # The bars of the lags stand between the chart and its times.
    base = bottom + (64 if lags else 0)
    shapes = [axes(frame, name or "forecast", "")]
    dates = None if words is None else [*words[T - len(lines.before) :], *(later or [])]
    shapes += _times_axis(frame, all_times, dates, base)
    shapes += _forecast_lines(frame, lines, base)
    if chosen is not None and 1 <= chosen <= H:
        # Counted from the end, because the lines may begin with the last known value.
        x, y = (float(line[chosen - 1 - H]) for line in (lines.after, lines.median))
        x, y = frame.x(x), frame.y(y)
        if math.isfinite(x + y):
            shapes.append(pen.path("line plain thin", "M", x, frame.top, "V", frame.bottom))
            shapes.append(pen.dot("dot up", x, y, 4.5))
    shapes += _lag_bars(frame, lines.before, lags, base)
    legend = "history, forecast"
    if lines.bands:
        legend += ", intervals of " + ", ".join(f"{100 * share:g} %" for share in lines.bands)
    if lags:
        legend += "; bars: how each earlier value moved it"
    paragraph, below = pen.paragraph(frame.left, base + 38, legend, frame.width)
    shapes.append(paragraph)
    label = f"Forecast of {H} steps after {T}: {name}"
    return pen.picture(shapes, width, below, label, standalone=standalone)


def _forecast_lines(frame: Frame, lines: ForecastLines, base: float) -> list[str]:
    """Return intervals, history, forecast, and a vertical line down to `base` where the forecast starts."""
    at, shapes = lines.after, []
    for low, high in lines.bands.values():
        fine = np.flatnonzero(np.isfinite(at) & np.isfinite(low) & np.isfinite(high))
        outline = [(at[i], low[i]) for i in fine] + [(at[i], high[i]) for i in fine[::-1]]
        steps: list[str | float] = []
        for x, y in outline:
            steps += ["L" if steps else "M", frame.x(float(x)), frame.y(float(y))]
        shapes.append(pen.path("band", *steps, "z") if outline else "")
    shapes.append(polyline(frame, lines.before, lines.past, "ink"))
    shapes.append(polyline(frame, at, lines.median, "up"))
    if len(at):
        now = frame.x(float(at[0]))
        shapes.append(pen.path("line plain thin dashed", "M", now, frame.top, "V", base))
    return shapes


def _times_axis(frame: Frame, times: np.ndarray, words: list[str] | None, base: float) -> list[str]:
    """Return the times below a chart: round numbers, or as many dates as fit."""
    if words is None:
        numbers = ticks(frame.x_ends, max(2, int(frame.width / _MIN_TIME_GAP)))
        named = [(time, f"{'' if k else 'time '}{plain(time)}") for k, time in enumerate(numbers)]
    else:
        room = max(map(len, words), default=0) * 7 + 24
        count = max(2, int(frame.width / max(room, 1)))
        # Divide the steps into as many equal parts as dates fit, and name the step in the middle of each.
        places = np.unique((np.arange(count) + 0.5) * len(words) / count).astype(np.int64)
        named = [(float(times[index]), words[index]) for index in places.tolist() if words]
    shapes = []
    for time, word in named:
        if math.isfinite(time):
            half = pen.advance(word, 11) / 2
            # A date at the edge moves inwards, so that it is not cut off.
            x = min(max(frame.x(time), frame.left + half), frame.right - half)
            shapes.append(pen.text(x, base + 18, word, "small middle grey"))
    return shapes


def _lag_bars(frame: Frame, times: np.ndarray, lags: Mapping[int, float], base: float) -> list[str]:
    """Return the contribution of each lag as a bar below its value, upwards where it is positive."""
    if not lags:
        return []
    zero, largest = base - 26, pen.limit(list(lags.values()))
    # Bars leave a gap of three tenths of the distance between two values.
    gap = frame.width / max(2, int(np.isfinite(times).sum()))
    width = min(max(0.7 * gap, 1.5), 12.0)
    shapes = [pen.path("rule", "M", frame.left, zero, "H", frame.right)]
    for lag, value in sorted(lags.items(), reverse=True):
        time = float(times[-lag])
        if not (math.isfinite(time) and math.isfinite(value)):
            continue
        height = 24 * abs(value) / largest
        y, kind = (zero - height, "bar up") if value > 0 else (zero, "bar down")
        bar = pen.box(frame.x(time) - width / 2, y, width, height, kind)
        title = f"{pen.signed(value)} by lag {lag}"
        shapes.append(pen.group("row", [bar], f' data-lag="{lag}"', title))
    shapes.append(pen.text(frame.left - 6, zero + 4, "moved", "small end grey"))
    return shapes


def curves(
    lines: Mapping[str, tuple[ArrayLike, ArrayLike]],
    marks: Sequence[tuple[float, str]] = (),
    *,
    title: str = "loss",
    width: float = 720,
    standalone: bool = True,
) -> str:
    """Draw curves over the steps of a training run.

    Args:
        lines: Steps and values ``[N]`` by the name of each curve. A value that is NaN is a gap. From the
            fourth curve on all have the same colour.
        marks: Steps that are marked by a vertical line and a text; at most 40.
        title: The name of what is measured.
        width: In pixels.
        standalone: Whether the picture contains its style sheet.

    Raises:
        ShapeError: The steps and values of a curve have different lengths.
    """
    drawn = []
    for number, (name, (steps, values)) in enumerate(lines.items()):
        xs = pen.numbers(steps, "steps", (None,))
        ys = pen.numbers(values, "values and their steps", xs.shape)
        kind = _LINE_KINDS[min(number, len(_LINE_KINDS) - 1)]
        drawn.append((pen.clean(name, 24), kind, xs, ys))
    width = pen.sized(width)
    left, right = _EDGE + 46, width - _EDGE - 4
    start = left + min(pen.advance(pen.clean(title), bold=True), 0.4 * width) + 24
    legend, y = _legend([(name, kind) for name, kind, *_ in drawn], start, left, right)
    empty, top = np.zeros(0), y + 14
    x_ends = ends_of(empty, *(xs[np.isfinite(ys)] for *_, xs, ys in drawn))
    y_ends = ends_of(empty, *(ys for *_, ys in drawn))
    frame = Frame(left, top, right, top + min(240.0, 0.5 * width), x_ends, y_ends)
    shapes = [axes(frame, "", "step"), pen.text(left, 32, title, "strong", 0.4 * width), *legend]
    shapes += _marks(frame, sorted(marks)[:_MAX_MARKS])
    for _, kind, xs, ys in drawn:
        shapes.append(polyline(frame, xs, ys, kind))
        for last in np.flatnonzero(np.isfinite(xs) & np.isfinite(ys))[-1:]:
            x, y = frame.x(float(xs[last])), frame.y(float(ys[last]))
            shapes.append(pen.dot(f"dot {kind}", x, y, 2.6))
    label = f"Curves of {len(drawn)} measures over steps"
    return pen.picture(shapes, width, frame.bottom + 48, label, standalone=standalone)


def _legend(
    names: Sequence[tuple[str, str]], x: float, left: float, right: float
) -> tuple[list[str], float]:
    """Return the names of curves with coloured dots, from x on, and the baseline of the last row."""
    shapes, y = [], 32.0
    for name, kind in names:
        room = min(pen.advance(name, 11), right - left - 12) + 28
        if x + room > right and x > left:
            # The name does not fit into the row: start the next one.
            x, y = left, y + 16
        colour = "small" if kind == "ink" else f"small {kind}"
        dot = pen.dot(f"dot {kind}", x + 4, y - 4, 3.5)
        shapes += [dot, pen.text(x + 12, y, name, colour, right - x - 12)]
        x += room
    return shapes, y


def _marks(frame: Frame, marks: Sequence[tuple[float, str]]) -> list[str]:
    """Return vertical lines with their texts, which take turns in three rows."""
    shapes = []
    for row, (step, words) in enumerate(marks):
        if frame.x_ends[0] <= step <= frame.x_ends[1]:
            x, y = frame.x(step), frame.top + 10 + 14 * (row % 3)
            line = pen.path("line plain thin dashed", "M", x, frame.top, "V", frame.bottom)
            shapes.append(line)
            # A text in the right half is written to the left of its line.
            side, gap = ("end", -5) if x > (frame.left + frame.right) / 2 else ("", 5)
            kind = f"small grey {side}".strip()
            shapes.append(pen.text(x + gap, y, words, kind, frame.width / 2))
    return shapes
