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
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from elman.draw.axes import ends_of
from elman.draw.charts import UNCHANGED, forecast_lines
from elman.draw.contribution_chart import ContributionChart
from elman.draw.pen import limit, numbers
from elman.errors import MissingDependencyError, OptionError, installing, printable
from elman.files.atomic import Path, atomic_write

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.image import AxesImage


_INK, _GREY, _PALE, _BLUE, _RED = "#22303c", "#5d6b78", "#dde3e8", "#1668b5", "#c8442e"
_DASHES = (0, (4, 3))
_WIDTH, _HEIGHT = 8.0, 4.5  # inches
_MAX_NAME_CHARACTERS, _MAX_LABEL_CHARACTERS = 60, 18
_MAX_LABELS = 40  # rows of a confusion table
_MAX_LABELS_WITH_COUNTS = 20
_MAX_UNITS, _MAX_STEPS, _MAX_TICKS = 64, 200, 60
# fonts of the machine for characters that DejaVu Sans lacks
_FONTS = ("Noto Sans CJK JP", "Noto Sans Arabic", "Noto Sans", "Arial Unicode MS", "Unifont")
_STYLE_FILE = os.path.join(os.path.dirname(__file__), "elman.mplstyle")


def _style() -> AbstractContextManager[None]:
    """Return a context with the project's style, whatever the user's own settings are."""
    try:
        from matplotlib import font_manager, style
    except ImportError as error:
        raise MissingDependencyError(
            "matplotlib is not installed", remedy=installing("plot")
        ) from error
    # matplotlib warns about each font that the machine does not have.
    fonts = [font for font in _FONTS if font in font_manager.get_font_names()]
    return style.context(["default", _STYLE_FILE, {"font.family": ["DejaVu Sans", *fonts]}])


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


@contextmanager
def _drawing(title: str, height: float = _HEIGHT) -> Iterator[tuple[Figure, Axes]]:
    """Yield a new figure of at least the usual height and its axes, to be filled."""
    with _style():
        from matplotlib.text import Text

        size = (_WIDTH, max(_HEIGHT, height))
        figure = _picture()(figsize=size, layout="constrained")
        axes = figure.add_subplot()
        axes.set_title(printable(title, _MAX_NAME_CHARACTERS))
        yield figure, axes
    # also where the user saves the figure without our style, a dollar sign must not start a formula
    for text in figure.findobj(Text):
        text.set_parse_math(False)


def _legend(figure: Figure) -> None:
    figure.legend(loc="outside lower center", ncols=5, handlelength=1.6)


def _labels(names: Sequence[object]) -> list[str]:
    return [printable(name, _MAX_LABEL_CHARACTERS) for name in names]


def _image(
    axes: Axes,
    table: np.ndarray,
    columns: list[str],
    rows: list[str],
    colours: list[str],
    low: float,
) -> AxesImage:
    """Draw a table with named columns and rows, coloured from `low` to ``-low``, or from 0 to 1."""
    from matplotlib.colors import LinearSegmentedColormap

    scale = LinearSegmentedColormap.from_list("", colours)
    image = axes.imshow(table, cmap=scale, vmin=low, vmax=-low or 1, aspect="auto")
    every = max(1, len(columns) // _MAX_TICKS)
    axes.set_xticks(range(0, len(columns), every), columns[::every])
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)
    return image


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
    after = np.asarray(times)
    lines = forecast_lines(np.asarray(history_times), history, after, median, intervals)
    with _drawing(title) as (figure, axes):
        for number, (level, (low, high)) in enumerate(lines.bands.items()):
            # The narrowest interval is darkest; all are drawn over each other.
            shade = 0.16 + 0.2 * number / max(1, len(lines.bands) - 1)
            name = f"{100 * level:g} % interval"
            axes.fill_between(lines.after, low, high, color=_BLUE, alpha=shade, lw=0, label=name)
        axes.plot(lines.before, lines.past, color=_INK, lw=1.3, label="history")
        axes.plot(lines.after, lines.median, color=_BLUE, lw=1.8, label="forecast")
        if truth is not None:
            came = forecast_lines(np.asarray(history_times), history, after, truth, None).median
            axes.plot(lines.after, came, color=_RED, lw=1.3, ls=(0, (4, 1.5)), label="true values")
        axes.margins(x=0.01)
        _legend(figure)
    return figure


def confusion(table: ArrayLike, labels: Sequence[object], title: str = "") -> Figure:
    """Draw a confusion table ``[K, K]``, whose rows are true labels and are coloured by their shares.

    Of more than 40 labels the most common ones are shown. Raises ShapeError, MissingDependencyError.

    >>> confusion([[8, 2], [1, 9]], ["no", "yes"]).axes[0].get_xlabel()
    'answer'
    """
    K = len(labels)
    counts = numbers(table, "confusion table", (K, K)).astype(np.int64)
    # [K]: how many sequences have each true label
    totals = counts.sum(axis=1)
    shown = np.sort(np.argsort(-totals, kind="stable")[:_MAX_LABELS])
    shares = (counts / np.maximum(1, totals)[:, None])[np.ix_(shown, shown)]
    names, count = _labels([labels[index] for index in shown]), len(shown)
    if count < K:
        title = f"{printable(title, 30)} (the most common {count} of {K:,} labels)"
    with _drawing(title, 1.5 + 0.28 * count) as (figure, axes):
        _image(axes, shares, names, names, ["#ffffff", "#9cc3e6", _BLUE], 0)
        if count > 8 or max(map(len, names), default=0) > 10:
            axes.tick_params(axis="x", rotation=90)
        axes.set(xlabel="answer", ylabel="truth")
        # white lines between the cells
        axes.set_xticks(np.arange(count + 1) - 0.5, minor=True)
        axes.set_yticks(np.arange(count + 1) - 0.5, minor=True)
        axes.grid(which="minor", color="white", linewidth=2)
        axes.tick_params(which="minor", length=0)
        for (row, column), share in np.ndenumerate(shares):
            if count <= _MAX_LABELS_WITH_COUNTS:
                text = f"{counts[shown[row], shown[column]]:,}"
                text += f"\n{100 * share:.0f} %" if count <= 6 else ""
                colour, size = "white" if share > 0.6 else _INK, 10 if count <= 6 else 8
                axes.text(column, row, text, ha="center", va="center", fontsize=size, color=colour)
    return figure


def calibration(bins: Sequence[tuple[float, float, int, float, float]], title: str = "") -> Figure:
    """Draw how often answers of a given probability are right.

    `bins` are those of `elman.labels.calibration.reliability`: lower and upper end, count of answers, their
    mean probability, and the share that is right. Raises MissingDependencyError.

    >>> calibration([(0.8, 0.9, 40, 0.86, 0.7)]).axes[0].get_ylabel()
    'share that is right'
    """
    low, high, answers, confidence, right = np.array(bins, np.float64).reshape(-1, 5).T
    with _drawing(title) as (figure, axes):
        # The bars show how many answers each point of the line stands for.
        share = answers / max(1.0, answers.sum())
        name, width = "share of all answers", high - low
        axes.bar(low, share, width, align="edge", color=_PALE, edgecolor="white", label=name)
        axes.plot([0, 1], [0, 1], color=_GREY, lw=1, ls=_DASHES, label="calibrated")
        axes.plot(confidence, right, color=_BLUE, lw=1.5, marker="o", ms=5, label="the network")
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set(xlabel="probability of the answer", ylabel="share that is right")
        _legend(figure)
    return figure


def scatter(truth: ArrayLike, predicted: ArrayLike, title: str = "") -> Figure:
    """Draw predicted numbers ``[N]`` over the true ones.

    Raises ShapeError, MissingDependencyError.

    >>> scatter([1.0, 2.0], [1.5, 2.0]).axes[0].get_xlabel()
    'truth'
    """
    true = numbers(truth, "truth", (None,))
    answered = numbers(predicted, "truth and predictions", true.shape)
    ends = ends_of(true, answered)
    with _drawing(title) as (figure, axes):
        axes.plot(ends, ends, color=_GREY, lw=1, ls=_DASHES, label="prediction equals truth")
        # many points are drawn fainter, so that their density stays visible
        opacity = min(0.8, max(0.08, 200 / max(1, len(true))))
        axes.scatter(true, answered, s=14, color=_BLUE, alpha=opacity, lw=0, label="the network")
        axes.set(xlabel="truth", ylabel="predicted")
        _legend(figure)
    return figure


def contributions(chart: ContributionChart, title: str = "") -> Figure:
    """Draw an explanation as a bar for each input; below them bias, residual and their sum as numbers.

    The figure shows what `elman.draw.figures.contributions` shows. Raises MissingDependencyError.
    """
    rows = [*chart.bars, *chart.sums]
    names = _labels([row.name for row in chart.bars])
    # The name of the score may be longer than those of the inputs.
    names += [printable(row.name, _MAX_NAME_CHARACTERS // 2) for row in chart.sums]
    lengths = [0.0 if chart.flat else row.value for row in chart.bars]
    colours = [_GREY if chart.failed else _BLUE if row.value > 0 else _RED for row in chart.bars]
    rings = [(row.absence, at) for at, row in enumerate(chart.bars) if np.isfinite(row.absence)]
    ring = "A ring is the measured change when that input is replaced." if rings else ""
    notes = (f"Shown is {chart.caption}.", chart.unseen, ring, chart.verdict, chart.note)
    below = "\n".join(textwrap.fill(printable(note, 800), 100) for note in notes if note)
    title = title or f"why {printable(chart.target, 40)}"
    with _drawing(title, 1.5 + 0.24 * len(rows)) as (figure, axes):
        axes.barh(range(len(lengths)), lengths, color=colours, height=0.7)
        if rings:
            axes.plot(*np.transpose(rings), "o", mfc="none", mec=_INK)
        axes.vlines(0, -0.5, len(lengths) - 0.5, color=_GREY, lw=0.8)
        axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
        axes.set_yticks(range(len(rows)), names)
        values = [f"{row.value:+.4g}".replace("-", "−") for row in rows]
        # The values stand at the right end of their rows, as ticks of a second axis.
        right = axes.secondary_yaxis("right")
        right.set_yticks(range(len(rows)), values)
        right.spines["right"].set_visible(False)
        for side in (axes, right):
            side.tick_params(axis="y", length=0)
        if chart.sums:
            axes.axhline(len(rows) - 1.5, color=_GREY, lw=0.8)
        axes.grid(visible=False, axis="y")
        axes.set_xlabel(printable(chart.about, 2 * _MAX_NAME_CHARACTERS))
        figure.supxlabel(below, fontsize=8, color=_RED if chart.failed else _GREY, wrap=True)
    return figure


def states(
    values: ArrayLike, tokens: Sequence[object], units: Sequence[object], title: str = ""
) -> Figure:
    """Draw states ``[U, T]``: a row for each unit, a column for each token, blue above zero and red below.

    The first 64 units and the last 200 tokens are shown. Raises ShapeError, MissingDependencyError.

    >>> states([[0.1, -0.5]], ["I", "eat"], ["unit 3"]).axes[0].get_yticklabels()[0].get_text()
    'unit 3'
    """
    table = numbers(values, "states", (len(units), len(tokens)))[:_MAX_UNITS, -_MAX_STEPS:]
    names, words = _labels(units[: len(table)]), _labels(tokens[-_MAX_STEPS:])
    with _drawing(title, 1.5 + 0.18 * len(names)) as (figure, axes):
        if table.size:
            drawn = _image(axes, table, words, names, [_RED, "#f1f3f5", _BLUE], -limit(table))
            axes.tick_params(axis="x", rotation=90 if max(map(len, words)) > 1 else 0)
            figure.colorbar(drawn, ax=axes, shrink=0.6).outline.set_visible(False)
    return figure


def memory(
    lags: ArrayLike, change: ArrayLike, gradient: ArrayLike | None, title: str = ""
) -> Figure:
    """Draw how far back a network remembers: change and gradient ``[K]`` over lags ``[K]``.

    The gradient has a logarithmic axis of its own; None leaves it out. Raises ShapeError,
    MissingDependencyError.

    >>> [axes.get_ylabel() for axes in memory([1, 2], [0.5, 0.1], [1.0, 0.1]).axes]
    ['change of the prediction', 'norm of the gradient']
    """
    at = numbers(lags, "lags", (None,))
    with _drawing(title) as (figure, axes):
        axes.axhline(UNCHANGED, color=_GREY, lw=1, ls=_DASHES, label="no change")
        changes = numbers(change, "change", at.shape)
        axes.plot(at, changes, color=_BLUE, lw=1.8, marker="o", ms=3, label="change")
        axes.set(xlabel="lag", ylabel="change of the prediction")
        if (at > 0).any() and at.max() > 50:
            axes.set_xscale("log")
        # matplotlib would write powers of ten as formulas, which are switched off
        axes.xaxis.set_major_formatter("{x:g}")
        if gradient is not None:
            # Both curves share the lags but not the unit, so each has its own axis.
            slopes, other = numbers(gradient, "gradient", at.shape), axes.twinx()
            # a logarithmic axis has no zero, so the line has a gap where the gradient is 0
            positive = np.where(slopes > 0, slopes, np.nan)
            other.plot(at, positive, color=_RED, lw=1.3, label="gradient")
            other.set_ylabel("norm of the gradient")
            other.set_yscale("log" if (slopes > 0).any() else "linear")
            other.yaxis.set_major_formatter("{x:.3g}")
            other.grid(visible=False)
            _legend(figure)
    return figure


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
    buffer = io.BytesIO()
    with _style(), warnings.catch_warnings():
        # matplotlib draws a box for a character that no font has; the warning would not help the user
        warnings.filterwarnings("ignore", "Glyph .* missing from")
        # without the date of today
        metadata = {"Date": None} if kind == ".svg" else {}
        figure.savefig(buffer, format=kind[1:], metadata=metadata)
    return buffer.getvalue()
