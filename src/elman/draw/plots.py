"""matplotlib figures: a forecast, a confusion table, calibration, contributions, states and memory.

Every function takes plain arrays and returns a `Figure` that shows itself in a notebook and does not depend
on pyplot, so no window and no global state knows it. A name in a figure is plain text on one line, of at
most 60 characters; it is never read as a formula. Figures exist beside the SVG of `elman.draw.figures`
because they can be changed, and saved in other formats.
"""

from __future__ import annotations

import functools
import io
import os
import tempfile
import textwrap
import warnings
import webbrowser
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from elman.draw.charts import UNCHANGED, last_steps
from elman.draw.rows import Explained, rows_of
from elman.errors import MissingDependencyError, OptionError, ShapeError, installing, printable
from elman.files.atomic import Path, atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure


_INK, _GREY, _PALE, _BLUE, _RED = "#22303c", "#5d6b78", "#dde3e8", "#1668b5", "#c8442e"
_SIZE, _DPI = (8.0, 4.5), 150  # inches
_MAX_NAME_CHARACTERS, _MAX_LABEL_CHARACTERS = 60, 18
_MAX_LABELS = 40  # rows of a confusion table
_MAX_LABELS_WITH_COUNTS = 20
_MAX_UNITS, _MAX_STEPS, _MAX_TICKS = 64, 200, 60
# fonts of the machine for characters that DejaVu Sans lacks
_FONTS = ("Noto Sans CJK JP", "Noto Sans Arabic", "Noto Sans", "Arial Unicode MS", "Unifont")


def _style() -> AbstractContextManager[None]:
    """Return a context with the project's style, whatever the user's own settings are."""
    try:
        from matplotlib import font_manager, style
    except ImportError as error:
        raise MissingDependencyError(
            "matplotlib is not installed", remedy=installing("plot")
        ) from error
    fonts = [font for font in _FONTS if font in font_manager.get_font_names()]
    settings = {
        "axes.edgecolor": _PALE,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.labelcolor": _GREY,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": _INK,
        "axes.titlelocation": "left",
        "axes.titlesize": 12,
        "figure.constrained_layout.h_pad": 0.1,
        "figure.constrained_layout.w_pad": 0.12,
        "font.family": ["DejaVu Sans", *fonts],
        "font.size": 9,
        "grid.color": _PALE,
        "grid.linewidth": 0.7,
        "legend.frameon": False,
        "svg.hashsalt": "elman",
        "text.color": _INK,
        "text.parse_math": False,
        "xtick.color": _PALE,
        "xtick.labelcolor": _GREY,
        "ytick.color": _PALE,
        "ytick.labelcolor": _GREY,
    }
    return style.context(["default", settings])


@functools.cache
def _picture() -> type[Figure]:
    """Return a class of figures that show themselves without pyplot."""
    from matplotlib.figure import Figure

    class Picture(Figure):
        """A figure that a notebook displays, and that `show` opens in the browser."""

        def _repr_svg_(self) -> str:
            return _written(self, ".svg").decode()

        def show(self, warn: bool = True) -> None:  # noqa: ARG002 - matplotlib's signature
            """Write the figure to a temporary file and open it in the browser."""
            with tempfile.NamedTemporaryFile(suffix=".svg", delete=False) as file:
                file.write(_written(self, ".svg"))
            webbrowser.open(f"file://{file.name}")

    return Picture


def _drawn(draw: Callable[[Figure, Axes], None], title: str, size: tuple[float, float]) -> Figure:
    """Return a new figure after `draw` has filled it."""
    with _style():
        from matplotlib.text import Text

        figure = _picture()(figsize=size, dpi=_DPI, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(printable(title, _MAX_NAME_CHARACTERS))
        draw(figure, axes)
    # also where the user saves the figure without our style, a dollar sign must not start a formula
    for text in figure.findobj(Text):
        text.set_parse_math(False)
    return figure


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside lower center", ncols=5, handlelength=1.6)


def _grid(axes: Axes, columns: Sequence[str], rows: Sequence[str], upright: bool) -> None:
    """Name the columns and rows of an image; `upright` turns the names of the columns."""
    every = max(1, len(columns) // _MAX_TICKS)
    axes.set_xticks(range(0, len(columns), every), columns[::every], rotation=90 if upright else 0)
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _same(name: str, *arrays: ArrayLike) -> list[np.ndarray]:
    """Return arrays of one length ``[N]``; raises ShapeError."""
    same = [np.asarray(array) for array in arrays]
    shapes = [array.shape for array in same]
    if any(shape != shapes[0] or len(shape) != 1 for shape in shapes):
        raise ShapeError(name, got=shapes, expected="[N] each")
    return same


def forecast(
    history_times: ArrayLike,
    history: ArrayLike,
    times: ArrayLike,
    median: ArrayLike,
    intervals: Mapping[float, tuple[ArrayLike, ArrayLike]] | None = None,
    truth: ArrayLike | None = None,
    title: str = "",
) -> Figure:
    """Draw a forecast of H steps behind its history of T steps.

    Args:
        history_times: Times of the history, ``[T]``: numbers or datetime64. Of a long history the last six
            horizons are shown.
        history: Values of the history, ``[T]``.
        times: Times of the forecast, ``[H]``.
        median: The median forecast, ``[H]``.
        intervals: Lower and upper ends ``[H]`` of each interval, by its nominal coverage such as 0.8.
        truth: The true values, ``[H]``, where they are known.
        title: A line above the chart.

    Raises:
        ShapeError: Values and times have different lengths.
        MissingDependencyError: matplotlib is not installed.

    >>> figure = forecast([0, 1, 2], [5.0, 6.0, 5.5], [3, 4], [6.0, 6.5], {0.8: ([5.0, 5.0], [7.0, 8.0])})
    >>> figure.get_size_inches().tolist()
    [8.0, 4.5]
    """
    before, past = _same("history and its times", history_times, history)
    after, line = _same("forecast and its times", times, median)
    shown = last_steps(len(line))
    before, past = before[-shown:], past[-shown:]
    known = np.flatnonzero(np.isfinite(past))[-1:]

    def joined(values: ArrayLike) -> np.ndarray:
        # lines start at the last known value, so that they continue the history
        return np.concatenate([past[known], _same("an interval", line, values)[1]])

    def draw(figure: Figure, axes: Axes) -> None:
        at = np.concatenate([before[known], after])
        ordered = sorted((intervals or {}).items(), reverse=True)
        for place, (level, (low, high)) in enumerate(ordered):
            shade = 0.16 + 0.2 * place / max(1, len(ordered) - 1)
            ends, name = (joined(low), joined(high)), f"{100 * level:g} % interval"
            axes.fill_between(at, *ends, color=_BLUE, alpha=shade, lw=0, label=name)
        axes.plot(before, past, color=_INK, lw=1.3, label="history")
        axes.plot(at, joined(line), color=_BLUE, lw=1.8, label="forecast")
        if truth is not None:
            axes.plot(at, joined(truth), color=_RED, lw=1.3, ls=(0, (4, 1.5)), label="what came")
        axes.margins(x=0.01)
        if at.dtype.kind == "M":
            from matplotlib.dates import AutoDateLocator, ConciseDateFormatter

            locator = AutoDateLocator(minticks=4, maxticks=9)  # type: ignore[no-untyped-call]
            formatter = ConciseDateFormatter(locator)  # type: ignore[no-untyped-call]
            axes.xaxis.set_major_locator(locator)
            axes.xaxis.set_major_formatter(formatter)
        _legend(figure)

    return _drawn(draw, title, _SIZE)


def confusion(table: ArrayLike, labels: Sequence[object], title: str = "") -> Figure:
    """Draw a confusion table ``[K, K]``, whose rows are true labels and are coloured by their shares.

    Of more than 40 labels the most common ones are shown. Raises ShapeError, MissingDependencyError.

    >>> confusion([[8, 2], [1, 9]], ["no", "yes"]).axes[0].get_xlabel()
    'answer'
    """
    counts = np.asarray(table)
    if counts.shape != (len(labels), len(labels)):
        raise ShapeError("confusion table", got=counts.shape, expected=f"[{len(labels)}] twice")
    shown = np.sort(np.argsort(-counts.sum(axis=1), kind="stable")[:_MAX_LABELS])
    shares = counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    counts, shares = counts[np.ix_(shown, shown)], shares[np.ix_(shown, shown)]
    names = [printable(labels[place], _MAX_LABEL_CHARACTERS) for place in shown]
    if len(shown) < len(labels):
        title = f"{printable(title, 30)} (the most common {len(shown)} of {len(labels):,} labels)"

    def draw(_: Figure, axes: Axes) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        colours = LinearSegmentedColormap.from_list("", ["#ffffff", "#9cc3e6", _BLUE])
        axes.imshow(shares, cmap=colours, vmin=0, vmax=1, aspect="auto")
        long = len(names) > 8 or max(map(len, names), default=0) > 10
        _grid(axes, names, names, upright=long)
        axes.set(xlabel="answer", ylabel="truth")
        axes.set_xticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(len(names) + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="minor", length=0)
        if len(names) > _MAX_LABELS_WITH_COUNTS:
            return
        for row, column in np.ndindex(counts.shape):
            count, share = f"{counts[row, column]:,}", shares[row, column]
            text = f"{count}\n{100 * share:.0f} %" if len(names) <= 6 else count
            colour = "white" if share > 0.6 else _INK
            size = 10 if len(names) <= 6 else 8
            axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)

    return _drawn(draw, title, (_SIZE[0], max(_SIZE[1], 1.5 + 0.28 * len(names))))


def calibration(bins: Sequence[tuple[float, float, int, float, float]], title: str = "") -> Figure:
    """Draw how often answers of a given probability are right.

    `bins` are those of `elman.labels.calibration.reliability`: lower and upper end, count of answers, their
    mean probability, and the share that is right. Raises MissingDependencyError.

    >>> calibration([(0.8, 0.9, 40, 0.86, 0.7)]).axes[0].get_ylabel()
    'share that is right'
    """
    low, high, answers, confidence, right = np.array(bins, np.float64).reshape(-1, 5).T

    def draw(figure: Figure, axes: Axes) -> None:
        share = answers / max(1.0, answers.sum())
        name, width = "share of all answers", high - low
        axes.bar(low, share, width, align="edge", color=_PALE, edgecolor="white", label=name)
        axes.plot([0, 1], [0, 1], color=_GREY, lw=1, ls=(0, (4, 3)), label="calibrated")
        axes.plot(confidence, right, color=_BLUE, lw=1.5, marker="o", ms=5, label="the network")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set(xlabel="probability of the answer", ylabel="share that is right")
        _legend(figure)

    return _drawn(draw, title, _SIZE)


def scatter(truth: ArrayLike, predicted: ArrayLike, title: str = "") -> Figure:
    """Draw predicted numbers ``[N]`` over the true ones.

    Raises ShapeError, MissingDependencyError.

    >>> scatter([1.0, 2.0], [1.5, 2.0]).axes[0].get_xlabel()
    'truth'
    """
    true, answered = _same("truth and predictions", truth, predicted)

    def draw(figure: Figure, axes: Axes) -> None:
        both = np.concatenate([true, answered])
        ends = [both.min(initial=np.inf), both.max(initial=-np.inf)] if len(both) else [0, 1]
        axes.plot(ends, ends, color=_GREY, lw=1, ls=(0, (4, 3)), label="all right")
        # many points are drawn fainter, so that their density stays visible
        opacity = min(0.8, max(0.08, 200 / max(1, len(true))))
        axes.scatter(true, answered, s=14, color=_BLUE, alpha=opacity, lw=0, label="the network")
        axes.set(xlabel="truth", ylabel="predicted")
        _legend(figure)

    return _drawn(draw, title, _SIZE)


def contributions(explanation: Explained, title: str = "") -> Figure:
    """Draw an explanation as a bar for each input; below them bias, residual and their sum as numbers.

    The figure shows what `elman.draw.figures.contributions` shows. Raises ShapeError, MissingDependencyError.
    """
    bars, sums, unseen = rows_of(explanation)
    rows = [*bars, *sums]
    names = [printable(row.name, _MAX_LABEL_CHARACTERS) for row in bars]
    names += [printable(row.name, _MAX_NAME_CHARACTERS // 2) for row in sums]
    failed = explanation.passed is False
    score = f"{printable(explanation.score_name, _MAX_NAME_CHARACTERS)} {explanation.score:.4g}"
    rings = [(row.absence, at) for at, row in enumerate(bars) if np.isfinite(row.absence)]
    ring = "A ring is the measured change when that input is replaced." if rings else ""
    caption = f"Shown is {explanation.caption}."
    notes = (caption, unseen, ring, explanation.verdict, explanation.note)
    words = [textwrap.fill(printable(note, 800), 100) for note in notes if note]

    def draw(figure: Figure, axes: Axes) -> None:
        colours = [_GREY if failed else _BLUE if row.value > 0 else _RED for row in bars]
        axes.barh(range(len(bars)), [row.bar for row in bars], color=colours, height=0.7)
        if rings:
            axes.plot(*np.transpose(rings), "o", mfc="none", mec=_INK)
        axes.vlines(0, -0.5, len(bars) - 0.5, color=_GREY, lw=0.8)
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), names)
        values = [f"{row.value:+.4g}".replace("-", "−") for row in rows]
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(rows)), values)
        right.spines["right"].set_visible(False)
        for side in (axes, right):
            side.tick_params(axis="y", length=0)
        if sums:
            axes.axhline(len(rows) - 1.5, color=_GREY, lw=0.8)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(f"{score}, by {explanation.method}")
        figure.supxlabel("\n".join(words), fontsize=8, color=_RED if failed else _GREY, wrap=True)

    title = title or f"why {printable(explanation.target, 40)}"
    return _drawn(draw, title, (_SIZE[0], max(_SIZE[1], 1.5 + 0.24 * len(rows))))


def states(
    values: ArrayLike, tokens: Sequence[object], units: Sequence[object], title: str = ""
) -> Figure:
    """Draw states ``[U, T]``: a row for each unit, a column for each token, blue above zero and red below.

    The first 64 units and the last 200 tokens are shown. Raises ShapeError, MissingDependencyError.

    >>> states([[0.1, -0.5]], ["I", "eat"], ["unit 3"]).axes[0].get_yticklabels()[0].get_text()
    'unit 3'
    """
    table = np.asarray(values, np.float64)
    if table.shape != (len(units), len(tokens)):
        raise ShapeError("states", got=table.shape, expected=f"[{len(units)}, {len(tokens)}]")
    table = table[:_MAX_UNITS, max(0, len(tokens) - _MAX_STEPS) :]
    names = [printable(unit, _MAX_LABEL_CHARACTERS) for unit in units[: len(table)]]
    words = [
        printable(token, _MAX_LABEL_CHARACTERS) for token in tokens[len(tokens) - table.shape[1] :]
    ]

    def draw(figure: Figure, axes: Axes) -> None:
        from matplotlib.colors import LinearSegmentedColormap

        if not table.size:
            return
        colours = LinearSegmentedColormap.from_list("", [_RED, "#f1f3f5", _BLUE])
        largest = np.abs(table[np.isfinite(table)]).max(initial=0) or 1.0
        drawn = axes.imshow(table, cmap=colours, vmin=-largest, vmax=largest, aspect="auto")
        _grid(axes, words, names, upright=max(map(len, words)) > 1)
        figure.colorbar(drawn, ax=axes, shrink=0.6).outline.set_visible(False)

    return _drawn(draw, title, (_SIZE[0], max(_SIZE[1], 1.5 + 0.18 * len(names))))


def memory(
    lags: ArrayLike, change: ArrayLike, gradient: ArrayLike | None, title: str = ""
) -> Figure:
    """Draw how far back a network remembers: change and gradient ``[K]`` over lags ``[K]``.

    The gradient has a logarithmic axis of its own; None leaves it out. Raises ShapeError,
    MissingDependencyError.

    >>> [axes.get_ylabel() for axes in memory([1, 2], [0.5, 0.1], [1.0, 0.1]).axes]
    ['change of the prediction', 'norm of the gradient']
    """
    slopes = change if gradient is None else gradient
    at, first, second = _same("lags, change and gradient", lags, change, slopes)

    def draw(figure: Figure, axes: Axes) -> None:
        axes.axhline(UNCHANGED, color=_GREY, lw=1, ls=(0, (4, 3)), label="no change")
        axes.plot(at, first, color=_BLUE, lw=1.8, marker="o", ms=3, label="change")
        axes.set(xlabel="lag", ylabel="change of the prediction")
        if (at > 0).any() and at.max() > 50:
            axes.set_xscale("log")
        # matplotlib would write powers of ten as formulas, which are switched off
        axes.xaxis.set_major_formatter("{x:g}")
        if gradient is None:
            return
        other = axes.twinx()
        # a logarithmic axis has no zero, so the line has a gap where the gradient is 0
        other.plot(at, np.where(second > 0, second, np.nan), color=_RED, lw=1.3, label="gradient")
        other.set_ylabel("norm of the gradient")
        other.set_yscale("log" if (second > 0).any() else "linear")
        other.yaxis.set_major_formatter("{x:.3g}")
        other.grid(visible=False)
        _legend(figure)

    return _drawn(draw, title, _SIZE)


def save(figure: Figure, path: Path) -> None:
    """Write a figure to a file whose name ends in .svg or .png, whole or not at all.

    The same figure gives the same bytes. Raises OptionError for another name, OutputError.
    """
    kind = os.path.splitext(os.fspath(path))[1].lower()
    if kind not in (".svg", ".png"):
        raise OptionError("a picture", got=path, expected="a name that ends in .svg or .png")
    atomic_write(path, _written(figure, kind))


def _written(figure: Figure, kind: str) -> bytes:
    """Return the bytes of a file with the suffix `kind`; the same figure gives the same bytes."""
    # without the date of today
    metadata = {"Date": None} if kind == ".svg" else {}
    buffer = io.BytesIO()
    with _style(), warnings.catch_warnings():
        # matplotlib draws a box for a character that no font has; the warning would not help the user
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        figure.savefig(buffer, format=kind[1:], metadata=metadata)
    return buffer.getvalue()
