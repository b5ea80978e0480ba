"""The network unrolled over time as SVG: a cell for each token with its state, and arcs to the answer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from elman.draw import pen

# lengths are in pixels
_EDGE = 16.0
_NARROW_WIDTH = 640.0
"""Width of a picture below which the predictions stand under the network instead of beside it."""
_MIN_COLUMN, _MAX_COLUMN, _MAX_NARROW_COLUMN = 40.0, 112.0, 72.0
_EARLIER = 60.0
"""Width of the box that stands for earlier tokens."""
_MAX_STRIP = 46.0
_MAX_ARC = 12.0
"""Thickness of the arc of the largest contribution."""
_PREDICTION_HEIGHT = 24
_MAX_TOKENS, _MAX_UNITS, _MAX_PREDICTIONS = 200, 32, 16


def unrolled(
    tokens: Sequence[str],
    states: ArrayLike | None,
    predictions: Sequence[tuple[str, float]],
    contributions: ArrayLike | None = None,
    meanings: Sequence[str] = (),
    target: str = "",
    note: str = "",
    failed: bool = False,
    *,
    unknown: Sequence[int] = (),
    before: int = 0,
    width: float = 960,
    standalone: bool = True,
) -> str:
    """Draw the network unrolled over T tokens: a cell for each, arcs to the answer, predictions as bars.

    Of a long text the last tokens are shown; a box stands for the earlier ones and for the sum of their
    contributions.

    Args:
        tokens: The tokens that the network read.
        states: The states after each token, ``[T, U]``, drawn as strips; of more than 32 units those that
            change most. None draws no strips.
        predictions: The most probable answers with their probabilities; at most 16 are drawn.
        contributions: The contribution of each token to the answer, ``[T]``, drawn as arcs whose thickness is
            its size.
        meanings: A sentence about the contribution of each token, shown as its tooltip.
        target: The answer that the contributions explain.
        note: A sentence below a picture that stands alone.
        failed: Whether the explanation failed its own test; its arcs are then grey and dashed.
        unknown: The positions of tokens outside the vocabulary, whose cells are dashed.
        before: How many tokens the network read before the first of `tokens`.
        width: In pixels.
        standalone: Whether the picture contains style sheet, legend and note. A page writes these itself,
            with the legend from ``data-legend``, and gets groups that can be reached with the keyboard.

    Returns:
        The SVG.

    Raises:
        ShapeError: `states` or `contributions` do not fit the tokens.

    >>> drawn = unrolled(["I", "eat"], [[0.5], [-0.2]], [("pizza", 0.4)], [0.1, 0.9], target="pizza")
    >>> drawn.count('class="word"'), "data-contribution" in drawn
    (2, True)
    """
    T = len(tokens)
    shares = None if contributions is None else pen.numbers(contributions, "contributions", (T,))
    strips = pen.numbers(states, "states", (T, None))
    network = _Network(
        tokens,
        strips,
        shares,
        meanings,
        target,
        failed,
        unknown,
        before,
        pen.sized(width),
        standalone,
    )
    bars, bottom = _bars(network, predictions[:_MAX_PREDICTIONS])
    below, room = max(bottom, network.word_y + 22) + 16, network.width - 2 * _EDGE
    notes = hint = ""
    if standalone:
        legend, below = pen.paragraph(_EDGE, below, network.legend, room)
        notes, below = pen.paragraph(_EDGE, below, note, room, "small down" if failed else "small")
        notes = legend + notes
    else:
        hint = pen.attribute("data-legend", network.legend, 300)
    label = f"The network unrolled over {before + T:,} words"
    if shares is not None:
        label += f", and what moved: {target}"
    words = pen.group("words", [*network.earlier_tokens(), *network.words()], hint)
    shapes = [words, *network.arrows(), *network.answer(), *bars, notes]
    role = "img" if standalone else "group"
    return pen.picture(shapes, network.width, below, label, standalone=standalone, role=role)


class _Columns(NamedTuple):
    """The columns of the tokens that are shown, which are the last ones."""

    first: int
    """The first token that is shown."""
    earlier: float
    """Width that is kept for the box of earlier tokens, 0 where there are none."""
    widths: list[float]
    middles: np.ndarray
    """The x of the middle of each column."""
    goal: float
    """The x of the answer, at which all arcs end."""


def _columns(tokens: Sequence[str], before: int, width: float) -> _Columns:
    """Return the columns of the last tokens that fit into a picture `width` pixels wide."""
    T, narrow = len(tokens), width < _NARROW_WIDTH
    # leave room at the right for the name of the answer and the predictions
    room = width - 2 * _EDGE - (92.0 if narrow else min(320.0, 0.34 * width)) - 12
    widest = _MAX_NARROW_COLUMN if narrow else _MAX_COLUMN
    wishes = [
        min(max(pen.advance(pen.clean(token)) + 16, _MIN_COLUMN), widest)
        for token in tokens[-_MAX_TOKENS:]
    ]
    fitting = room - _EARLIER * (len(wishes) < T or before > 0)
    count = _last_that_fit(wishes, fitting, _EARLIER * (not before)) if T else 0
    wishes, first = wishes[len(wishes) - count :], T - count
    earlier = _EARLIER if first or before else 0.0
    stretch = min(1.5, max(1.0, (room - earlier) / max(1.0, sum(wishes))))
    widths = [stretch * wish for wish in wishes]
    left = _EDGE + 12 + earlier + np.concatenate([[0.0], np.cumsum(widths)])
    return _Columns(first, earlier, widths, (left[:-1] + left[1:]) / 2, float(left[-1]) + 12)


@dataclass
class _Network:
    """The drawing of one network: its data, the layout computed from them, and methods that draw shapes."""

    tokens: Sequence[str]
    states: np.ndarray
    contributions: np.ndarray | None
    meanings: Sequence[str]
    target: str
    failed: bool
    unknown: Sequence[int]
    before: int
    width: float
    standalone: bool

    def __post_init__(self) -> None:
        self.narrow = self.width < _NARROW_WIDTH
        self.columns = _columns(self.tokens, self.before, self.width)
        first, goal = self.columns.first, self.columns.goal
        shown, U = self.states[first:], self.states.shape[1]
        shares = np.empty(0) if self.contributions is None else self.contributions
        spread = np.ptp(np.nan_to_num(shown), axis=0) if len(shown) else np.zeros(U)
        # the units that change most over the tokens that are shown
        self.units = np.sort(np.argsort(-spread, kind="stable")[:_MAX_UNITS])
        self.largest_state = pen.limit(shown)
        self.earlier_contribution = float(np.nan_to_num(shares[:first]).sum())
        self.largest_contribution = pen.limit([self.earlier_contribution], shares[first:])
        # from top to bottom: the arcs, the contributions as numbers, the cells, the words
        arcs = self.contributions is not None
        self.arc_height = min(116.0, 40 + 0.16 * (goal - _EDGE)) if arcs else 0.0
        self.arc_y = _EDGE + self.arc_height + 8
        self.cell_y = self.arc_y + (27 if arcs else 4)
        self.tile_height = min(max(96 / max(1, len(self.units)), 4.0), 14.0)
        self.cell_height = max(28.0, self.tile_height * len(self.units)) + 8
        self.word_y = self.cell_y + self.cell_height + 34
        self.strip_width = min([width - 14 for width in self.columns.widths] + [_MAX_STRIP])

    def arc(self, x: float, value: float) -> str:
        """Return the arc of a contribution from x to the answer, or nothing where it is too thin to see."""
        thickness = _MAX_ARC * abs(value) / self.largest_contribution
        if not thickness >= 0.05:
            return ""
        goal, y = self.columns.goal, self.arc_y
        # a cubic curve reaches three quarters of the height of its control points
        high = y - (self.arc_height + 8) * (0.35 + 0.65 * (goal - x) / (goal - _EDGE)) * 4 / 3
        kind, stroke = (
            f"arc {pen.way(value, failed=self.failed)}",
            f' stroke-width="{thickness:.2f}"',
        )
        return pen.path(kind, "M", x, y, "C", x, high, goal, high, goal, y, more=stroke)

    def amount(self, x: float, value: float) -> str:
        """Return a contribution as a number, without colour if it is shown as 0."""
        shown = 0.0 if abs(value) < 0.005 * self.largest_contribution else value
        kind = f"small middle {pen.way(shown, failed=self.failed)}"
        return pen.text(x, self.arc_y + 17, pen.signed(shown), kind)

    def words(self) -> list[str]:
        """Return the columns, those with large contributions first, so that thin arcs lie on top."""
        first, count = self.columns.first, len(self.columns.widths)
        sizes = np.zeros(count)
        if self.contributions is not None:
            sizes = np.nan_to_num(np.abs(self.contributions[first:]))
        return [self.word(column) for column in np.argsort(-sizes, kind="stable").tolist()]

    def word(self, column: int) -> str:
        """Return one column: arc, contribution, cell with strip, and token."""
        at = self.columns.first + column
        x, token = float(self.columns.middles[column]), self.tokens[at]
        top, strip, inner = self.cell_y, self.strip_width, self.columns.widths[column] - 6
        title = f"word {at + 1}: {pen.clean(token)}"
        more = f' data-position="{at}"' + _button(title, self.standalone)
        height = self.word_y + 12 - self.arc_y
        shapes = [pen.box(x - inner / 2, self.arc_y - 2, inner, height, "hit", 6)]
        if self.contributions is not None:
            value = float(self.contributions[at])
            more += f' data-contribution="{value:.6g}"' if np.isfinite(value) else ""
            shapes += [self.arc(x, value), self.amount(x, value)]
        if self.meanings:
            title = f"{self.meanings[at]} Word {at + 1}: {token}"
        kind = "cell void" if at in self.unknown else "cell"
        shapes.append(pen.box(x - strip / 2 - 4, top, strip + 8, self.cell_height, kind, 5))
        levels = self.states[at : at + 1, self.units].T / self.largest_state
        shapes.append(pen.tiles(levels, [x - strip / 2], top + 4, strip, self.tile_height))
        shapes.append(_arrow(x, self.word_y - 16, x, top + self.cell_height + 4))
        shapes.append(pen.text(x, self.word_y, token, "middle", inner))
        return pen.group("word", shapes, more, title)

    def earlier_tokens(self) -> list[str]:
        """Return the box that stands for earlier tokens, with the sum of their contributions."""
        if not self.columns.earlier:
            return []
        x, y, first = _EDGE + 25, self.cell_y + self.cell_height / 2, self.columns.first
        shapes = [
            pen.box(_EDGE, self.cell_y, 50, self.cell_height, "void", 5),
            pen.text(x, y - 3, f"… {self.before + first:,}", "small middle grey"),
            pen.text(x, y + 12, "earlier", "small middle grey"),
        ]
        if self.contributions is not None and first:
            total = self.earlier_contribution
            shapes += [self.arc(x, total), self.amount(x, total)]
        return shapes

    def arrows(self) -> list[str]:
        """Return the arrows from cell to cell, into the first one, and out of the last one."""
        columns, y = self.columns, self.cell_y + self.cell_height / 2
        middles, gap = columns.middles.tolist(), self.strip_width / 2 + 5
        arrows = [_arrow(a + gap, y, b - gap - 1, y) for a, b in itertools.pairwise(middles)]
        if middles:
            arrows.append(_arrow(_EDGE + columns.earlier, y, middles[0] - gap - 1, y))
            if not self.narrow:
                arrows.append(_arrow(middles[-1] + gap, y, columns.goal + 4, y))
        return arrows

    def answer(self) -> list[str]:
        """Return the ring at which the arcs end, and the name of the answer."""
        goal, y = self.columns.goal, self.arc_y
        if self.contributions is None or not self.columns.widths:
            return []
        name = pen.text(goal + 12, y + 5, self.target, "large", self.width - goal - 12 - _EDGE)
        return [pen.dot("ring", goal, y, 4), name]

    @property
    def legend(self) -> str:
        """Return sentences that explain the colours, widths and dashes."""
        sentences, U = [], self.states.shape[1]
        if self.contributions is not None and self.columns.widths and not self.failed:
            sentences.append("Blue raises the answer, red lowers it; the wider, the more.")
        if len(self.units):
            units = f"{len(self.units)} of {U:,}" if len(self.units) < U else "the"
            ends = f"from −{self.largest_state:.2g} (red) to {self.largest_state:.2g} (blue)"
            sentences.append(f"Strips: {units} units, {ends}.")
        if any(at >= self.columns.first for at in self.unknown):
            sentences.append("Dashed cells: words that it does not know.")
        return " ".join(sentences)


def _last_that_fit(widths: Sequence[float], room: float, rest: float) -> int:
    """Return how many of the last columns fit; if not all do, a width of `rest` is kept free before them."""
    if sum(widths) <= room:
        return len(widths)
    total, count = rest, 0
    for width in reversed(widths):
        total += width
        if total > room:
            break
        count += 1
    return max(1, count)


def _button(label: str, standalone: bool) -> str:
    """Return the attributes that make a group a button; a picture in a file has no buttons."""
    if standalone:
        return ""
    return f' role="button" tabindex="0"{pen.attribute("aria-label", label)}'


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """Return a straight arrow, horizontal to the right or vertical upwards."""
    if to_y == y:
        head = ("M", to_x - 4, y - 3, "L", to_x, y, "L", to_x - 4, y + 3)
    else:
        head = ("M", x - 3, to_y + 4, "L", x, to_y, "L", x + 3, to_y + 4)
    return pen.path("flow", "M", x, y, "L", to_x, to_y, *head)


def _bars(network: _Network, predictions: Sequence[tuple[str, float]]) -> tuple[list[str], float]:
    """Return the predictions as bars, beside or under the network, and the y where they end."""
    x, y, width = network.columns.goal + 14, network.cell_y + 16, 340.0
    if network.narrow:
        x, y, width = _EDGE, network.word_y + 38, network.width
    width = min(width, network.width - _EDGE - x)
    # measure all names in bold: any of them may be the target, whose name is bold
    widths = [pen.advance(pen.clean(name), bold=True) for name, _ in predictions]
    names = min(max(widths, default=0) + 8, 0.52 * width)
    room = width - names - 60
    rows = []
    for rank, (name, probability) in enumerate(predictions):
        share = min(max(float(probability), 0.0), 1.0) if np.isfinite(probability) else 0.0
        strong = "strong" if name == network.target else ""
        at = y + _PREDICTION_HEIGHT * rank
        percent = f"{100 * share:.1f} %" if not 0 < share < 0.0005 else "< 0.1 %"
        title = f"{percent}: {pen.clean(name)}"
        more = f' data-rank="{rank}"{pen.attribute("data-token", name)}'
        bar = f"bar {'up' if strong else 'plain'}"
        shapes = [
            pen.box(x - 4, at - 12, width + 4, _PREDICTION_HEIGHT, "hit", 4),
            pen.text(x, at + 4, name, strong, names - 6),
            pen.box(x + names, at - 6, room, 12, "track", 2),
            pen.box(x + names, at - 6, room * share, 12, bar, 2),
            pen.text(x + width, at + 4, percent, f"small end grey {strong}".strip()),
        ]
        more += _button(title, network.standalone)
        rows.append(pen.group("prediction", shapes, more, title))
    return rows, y + _PREDICTION_HEIGHT * len(predictions) - 12
