"""matplotlib figures: the same bytes each time, hostile names as plain text, any amount of data."""

from __future__ import annotations

import builtins
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from elman.draw import plots
from elman.errors import MissingDependencyError, OptionError, OutputError, ShapeError

HOSTILE = (
    "$x^$",
    "$\\frac{",
    "<script>alert(1)</script>",
    "a\nb\x00\u202ecod",
    "日本 🦊",
    "x" * 10_000,
    "",
)


def drawn_forecast(title: str = "", count: int = 100) -> Any:
    days = np.arange("2024-01-01", count + 10, dtype="datetime64[D]")
    values = np.sin(np.arange(count + 10))
    middle = values[count:]
    bands = {0.8: (middle - 1, middle + 1), 0.95: (middle - 2, middle + 2)}
    return plots.forecast(
        days[:count], values[:count], days[count:], middle + 0.1, bands, middle, title
    )


def drawn_confusion(title: str = "") -> Any:
    return plots.confusion([[8, 2, 0], [1, 9, 0], [0, 0, 0]], ["no", "yes", "$x^$"], title)


def drawn_calibration(title: str = "") -> Any:
    return plots.calibration([(0.8, 13 / 15, 40, 0.84, 0.7), (14 / 15, 1.0, 60, 0.99, 0.9)], title)


def drawn_scatter(title: str = "") -> Any:
    return plots.scatter(np.arange(50.0), np.arange(50.0) + 1, title)


DRAWN = (drawn_forecast, drawn_confusion, drawn_calibration, drawn_scatter)


@pytest.mark.slow
@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("name", ["a.svg", "a.png", "A.PNG"])
def test_same_figure_gives_the_same_bytes(
    tmp_path: Path, draw: Callable[..., Any], name: str
) -> None:
    plots.save(draw("a title"), tmp_path / name)
    once = (tmp_path / name).read_bytes()
    plots.save(draw("a title"), tmp_path / name)
    assert (tmp_path / name).read_bytes() == once
    if name == "a.svg":
        assert ElementTree.fromstring(once).tag.endswith("svg")
        assert b"<dc:date>" not in once
    else:
        # eight by four and a half inches
        assert once.startswith(b"\x89PNG")
        size = [int.from_bytes(once[place : place + 4]) for place in (16, 20)]
        assert size == [1200, 675]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.slow
@pytest.mark.parametrize("draw", DRAWN)
@pytest.mark.parametrize("title", HOSTILE, ids=range(len(HOSTILE)))
def test_title_is_plain_text(tmp_path: Path, draw: Callable[..., Any], title: str) -> None:
    figure = draw(title)
    shown = figure.axes[0].get_title(loc="left")
    assert len(shown) <= 60
    assert shown.isprintable()
    plots.save(figure, tmp_path / "a.svg")
    plots.save(figure, tmp_path / "a.png")
    svg = (tmp_path / "a.svg").read_text(encoding="utf-8")
    ElementTree.fromstring(svg)
    assert "<script" not in svg
    assert "\u202e" not in svg


@pytest.mark.slow
@pytest.mark.parametrize("label", HOSTILE, ids=range(len(HOSTILE)))
def test_label_is_plain_text(tmp_path: Path, label: str) -> None:
    figure = plots.confusion([[1, 2], [3, 4]], [label, "b"])
    shown = figure.axes[0].get_xticklabels()[0].get_text()
    assert len(shown) <= 18
    assert shown.isprintable()
    # whoever saves it by other means gets no formula either
    figure.savefig(tmp_path / "other.pdf") if label.isascii() else plots.save(
        figure, tmp_path / "a.svg"
    )


@pytest.mark.slow
def test_user_settings_neither_change_nor_matter(tmp_path: Path) -> None:
    import matplotlib

    plots.save(drawn_forecast("a"), tmp_path / "a.svg")
    plain = (tmp_path / "a.svg").read_bytes()
    mine: dict[Any, Any] = {
        "font.size": 30.0,
        "axes.facecolor": "black",
        "svg.fonttype": "none",
    }
    with matplotlib.rc_context(mine):
        plots.save(drawn_forecast("a"), tmp_path / "b.svg")
        assert {name: matplotlib.rcParams[name] for name in mine} == mine
    assert (tmp_path / "b.svg").read_bytes() == plain


@pytest.mark.slow
def test_pyplot_is_not_imported() -> None:
    code = (
        "import sys, elman.draw.plots as plots\n"
        "first = 'matplotlib' in sys.modules\n"
        "plots.scatter([1.0], [1.0])\n"
        "print(first, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_end_of_a_long_history_is_shown() -> None:
    figure = drawn_forecast(count=1000)
    lines = {line.get_label(): line for line in figure.axes[0].get_lines()}
    assert len(lines["history"].get_xdata()) == 60
    # the forecast begins at the last known value
    assert lines["forecast"].get_ydata()[0] == lines["history"].get_ydata()[-1]
    assert len(lines["forecast"].get_xdata()) == 11


@pytest.mark.slow
def test_history_and_truth_may_have_gaps(tmp_path: Path) -> None:
    nan = float("nan")
    figure = plots.forecast([0, 1, 2], [1.0, 2.0, nan], [3, 4], [3.0, 4.0], truth=[nan, 5.0])
    line: Any = figure.axes[0].get_lines()[1]
    assert line.get_ydata().tolist() == [2.0, 3.0, 4.0]
    plots.save(figure, tmp_path / "a.png")
    plots.save(plots.forecast([0], [nan], [1], [1.0]), tmp_path / "a.png")
    plots.save(plots.forecast([], [], [1], [1.0]), tmp_path / "a.png")


def test_most_common_labels_are_shown() -> None:
    table = np.diag(np.arange(100))
    figure = plots.confusion(table, [f"label {k}" for k in range(100)], "tags")
    labels = [text.get_text() for text in figure.axes[0].get_yticklabels()]
    assert labels == [f"label {k}" for k in range(60, 100)]
    assert figure.axes[0].get_title(loc="left") == "tags (the most common 40 of 100 labels)"


@pytest.mark.slow
def test_figures_without_data_are_drawn(tmp_path: Path) -> None:
    for figure in (plots.calibration([]), plots.scatter([], []), plots.confusion([[0]], ["a"])):
        plots.save(figure, tmp_path / "a.svg")


def test_wrong_shapes_and_names_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ShapeError, match="forecast and its times"):
        plots.forecast([0], [1.0], [1, 2], [1.0])
    with pytest.raises(ShapeError, match="an interval"):
        plots.forecast([0], [1.0], [1], [1.0], {0.8: ([1.0, 2.0], [1.0])})
    with pytest.raises(ShapeError, match="confusion table"):
        plots.confusion([[1, 2]], ["a", "b"])
    with pytest.raises(ShapeError, match="truth and predictions"):
        plots.scatter([1.0], [1.0, 2.0])
    for name in ("a.jpg", "a", "svg"):
        with pytest.raises(OptionError, match=r"ends in \.svg or \.png"):
            plots.save(drawn_scatter(), tmp_path / name)
    with pytest.raises(OutputError):
        plots.save(drawn_scatter(), tmp_path / "no" / "a.svg")
    assert list(tmp_path.iterdir()) == []


def test_error_without_matplotlib_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(MissingDependencyError, match=re.escape('pip install ".[plot]"')):
        plots.scatter([1.0], [1.0])
