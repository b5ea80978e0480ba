"""The rectangle of a chart: values to pixels, ticks with their numbers, and lines through points."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from elman.draw import pen

_MAX_POINTS = 2000
"""Points of a line that are drawn, the first and the last among them."""
_MIN_TICK_GAP_X, _MIN_TICK_GAP_Y = 70, 42  # pixels
_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Frame(NamedTuple):
    """The rectangle of a chart in its picture, and the values at its edges."""

    left: float
    top: float
    right: float
    bottom: float
    x_ends: tuple[float, float]
    y_ends: tuple[float, float]

    @property
    def width(self) -> float:
        """The width in pixels."""
        return self.right - self.left

    def x(self, value: float) -> float:
        """Return the horizontal position of a value in pixels."""
        return _position(value, self.x_ends, self.left, self.right)

    def y(self, value: float) -> float:
        """Return the vertical position of a value in pixels, counted from above."""
        return _position(value, self.y_ends, self.bottom, self.top)


def _position(value: float, ends: tuple[float, float], first: float, last: float) -> float:
    # in halves, because the difference of two large numbers may overflow
    length = ends[1] / 2 - ends[0] / 2
    share = (value / 2 - ends[0] / 2) / length if length else 0.5
    return first + (last - first) * share


def ends_of(*values: np.ndarray, padding: float = 0) -> tuple[float, float]:
    """Return the smallest and the largest number, never equal, moved apart by `padding` of their distance."""
    joined = np.concatenate([part.ravel() for part in values])
    joined = joined[np.isfinite(joined)]
    if not len(joined):
        return 0.0, 1.0
    low, high = float(joined.min()), float(joined.max())
    # Closer ends would lead to a division by zero, or show a nearly flat line as a steep one.
    apart = max(abs(low), 1.0) * 1e-6
    if high / 2 - low / 2 <= apart / 2:
        return low - 0.5 - apart, low + 0.5 + apart
    beyond = padding * (high / 2 - low / 2) * 2
    return low - beyond, high + beyond


def ticks(ends: tuple[float, float], count: int) -> list[float]:
    """Return about `count` round numbers between two numbers.

    >>> ticks((0.0, 1.0), 4)
    [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    span = (ends[1] / 2 - ends[0] / 2) * 2 / max(1, count)
    # Beyond this range a power of ten would overflow or round to zero.
    if not (math.isfinite(span) and 1e-290 < span < 1e290):
        return [*ends]
    power = 10.0 ** math.floor(math.log10(span))
    # The smallest round step that gives at most about `count` ticks; 0.999 forgives rounding.
    step = next(power * size for size in (1, 2, 2.5, 5, 10) if power * size >= span * 0.999)
    # 1e-9 keeps a tick that lies on an end of the axis in spite of rounding.
    first, last = math.ceil(ends[0] / step - 1e-9), math.floor(ends[1] / step + 1e-9)
    # Multiples of the step, because repeated addition would collect rounding errors.
    return [number * step for number in range(first, last + 1)]


def _log_ticks(ends: tuple[float, float], count: int) -> list[float]:
    """Return about `count` exponents of ten between two, or where these are close those of 1, 2 and 5."""
    # Up to two powers of ten have lines at 1, 2 and 5. The lags of a memory are from 1 to some thousands.
    if ends[1] - ends[0] <= 2:
        exponents = [k + math.log10(size) for k in range(-1, 6) for size in (1, 2, 5)]
        return [exponent for exponent in exponents if ends[0] <= exponent <= ends[1]]
    step = max(1, math.ceil((ends[1] - ends[0]) / count))
    return [float(k) for k in range(math.ceil(ends[0]), math.floor(ends[1]) + 1, step)]


def plain(value: float) -> str:
    """Return a number without decimals where it is whole, else with four digits."""
    return f"{value:,.0f}" if value == round(value) and abs(value) < 1e7 else f"{value:.4g}"


def _power(exponent: float) -> str:
    """Return a power of ten as a number, or with its exponent raised where the number is long."""
    if -2 <= exponent <= 4:
        return plain(10.0**exponent)
    return "10" + str(round(exponent)).translate(_SUPERSCRIPT)


def axes(frame: Frame, title: str, x_name: str, *, log_x: bool = False, log_y: bool = False) -> str:
    """Return the title, the lines and the numbers of a chart; values on a logarithmic axis are exponents.

    Without `x_name` there are no numbers below the chart.
    """
    shapes = [pen.text(frame.left, frame.top - 14, title, "strong", frame.width)] if title else []
    count = max(2, int((frame.bottom - frame.top) / _MIN_TICK_GAP_Y))
    for tick in _log_ticks(frame.y_ends, count) if log_y else ticks(frame.y_ends, count):
        y, shown = frame.y(tick), _power(tick) if log_y else plain(tick)
        shapes.append(pen.path("rule", "M", frame.left, y, "H", frame.right))
        shapes.append(pen.text(frame.left - 6, y + 4, shown, "small end grey"))
    if x_name:
        count = max(2, int(frame.width / _MIN_TICK_GAP_X))
        for tick in _log_ticks(frame.x_ends, count) if log_x else ticks(frame.x_ends, count):
            shown = _power(tick) if log_x else plain(tick)
            shapes.append(pen.text(frame.x(tick), frame.bottom + 16, shown, "small middle grey"))
        middle = (frame.left + frame.right) / 2
        shapes.append(pen.text(middle, frame.bottom + 34, x_name, "small middle grey"))
    return "".join(shapes)


def polyline(frame: Frame, xs: np.ndarray, ys: np.ndarray, kind: str) -> str:
    """Return a line through points, with a gap where a coordinate is NaN."""
    steps: list[str | float] = []
    command = "M"
    drawn = np.linspace(0, max(len(xs) - 1, 0), min(len(xs), _MAX_POINTS)).astype(np.int64)
    for index in np.unique(drawn).tolist():
        x, y = float(xs[index]), float(ys[index])
        if math.isfinite(x) and math.isfinite(y):
            steps += [command, frame.x(x), frame.y(y)]
            # a line of one point has no length: this one and its round cap make it a dot
            steps += ["h", 0.1] if command == "M" else []
            command = "L"
        else:
            command = "M"
    return pen.path(f"line {kind}", *steps) if steps else ""
