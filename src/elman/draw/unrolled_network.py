"""The network unrolled over time as SVG: a cell for each token with its state, and arcs to the answer."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import KW_ONLY, dataclass

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


@dataclass
class Unrolled:
    """The drawing of a network unrolled over T tokens: a cell for each, arcs to the answer, predictions.

    Of a long text the last tokens are shown; a box stands for the earlier ones and for the sum of their
    contributions.

    Raises:
        ShapeError: `states` or `contributions` do not fit the tokens.

    >>> drawn = Unrolled(["I", "eat"], [[0.5], [-0.2]], [("pizza", 0.4)], [0.1, 0.9], target="pizza").svg()
    >>> drawn.count('class="word"'), "data-contribution" in drawn
    (2, True)
    """

    tokens: Sequence[str]
    """The tokens that the network read."""
    states: ArrayLike | None
    """The states after each token, ``[T, U]``, drawn as strips; of more than 32 units those that change most.
    None draws no strips."""
    predictions: Sequence[tuple[str, float]]
    """The most probable answers with their probabilities; at most 16 are drawn as bars."""
    contributions: ArrayLike | None = None
    """The contribution of each token to the answer, ``[T]``, drawn as arcs whose thickness is its size."""
    meanings: Sequence[str] = ()
    """A sentence about the contribution of each token, shown as its tooltip."""
    target: str = ""
    """The answer that the contributions explain."""
    note: str = ""
    """A sentence below a picture that stands alone."""
    failed: bool = False
    """Whether the explanation failed its own test; its arcs are then grey and dashed."""
    _: KW_ONLY
    unknown: Sequence[int] = ()
    """The positions of tokens outside the vocabulary, whose cells are dashed."""
    before: int = 0
    """Number of tokens that the network read before the first of `tokens`."""
    width: float = 960
    """Width of the picture in pixels."""
    standalone: bool = True
    """Whether the picture contains style sheet, legend and note. A page writes these itself, with the legend
    from ``data-legend``, and gets groups that can be reached with the keyboard."""

    def __post_init__(self) -> None:
        T, self._arcs = len(self.tokens), self.contributions is not None
        shares = self.contributions if self._arcs else np.zeros(T)
        self._shares = pen.numbers(shares, "contributions", (T,))
        self._values = pen.numbers(self.states, "states", (T, None))
        self.width = pen.sized(self.width)
        self._narrow = self.width < _NARROW_WIDTH
        self._place_columns()
        shown, U = self._values[self._first :], self._values.shape[1]
        spread = np.ptp(np.nan_to_num(shown), axis=0) if len(shown) else np.zeros(U)
        # the units that change most over the tokens that are shown
        self._units = np.sort(np.argsort(-spread, kind="stable")[:_MAX_UNITS])
        self._largest_state = pen.limit(shown)
        self._earlier_share = float(np.nan_to_num(self._shares[: self._first]).sum())
        self._largest_share = pen.limit([self._earlier_share], self._shares[self._first :])
        # from top to bottom: the arcs, the contributions as numbers, the cells, the words
        self._arc_height = min(116.0, 40 + 0.16 * (self._goal - _EDGE)) if self._arcs else 0.0
        self._arc_y = _EDGE + self._arc_height + 8
        self._cell_y = self._arc_y + (27 if self._arcs else 4)
        self._tile_height = min(max(96 / max(1, len(self._units)), 4.0), 14.0)
        self._cell_height = max(28.0, self._tile_height * len(self._units)) + 8
        self._word_y = self._cell_y + self._cell_height + 34
        self._strip = min([width - 14 for width in self._widths] + [_MAX_STRIP])

    def _place_columns(self) -> None:
        """Choose the last tokens that fit into the width, and place their columns."""
        # leave room at the right for the name of the answer and the predictions
        aside = 92.0 if self._narrow else min(320.0, 0.34 * self.width)
        room = self.width - 2 * _EDGE - aside - 12
        widest = _MAX_NARROW_COLUMN if self._narrow else _MAX_COLUMN
        last = [pen.advance(pen.clean(token)) for token in self.tokens[-_MAX_TOKENS:]]
        wishes = np.clip(np.array(last) + 16, _MIN_COLUMN, widest)
        earlier = self.before > 0 or len(wishes) < len(self.tokens)
        fitting = room - _EARLIER * earlier
        if wishes.sum() > fitting:
            sums = np.cumsum(wishes[::-1]) + _EARLIER * (not self.before)
            wishes = wishes[-max(1, int((sums <= fitting).sum())) :]
        self._first = len(self.tokens) - len(wishes)
        """The first token that is shown."""
        self._left = _EDGE + _EARLIER * (self.before > 0 or self._first > 0)
        """The left edge of the network; a box of earlier tokens stands before it."""
        # Columns share the room that is left, up to half of their width each.
        stretch = (room + _EDGE - self._left) / max(1.0, wishes.sum())
        widths = wishes * min(1.5, max(1.0, stretch))
        # [C + 1]: the edges of the C columns that are shown
        edges = self._left + 12 + np.concatenate([[0.0], np.cumsum(widths)])
        self._widths: list[float] = widths.tolist()
        self._middles: list[float] = ((edges[:-1] + edges[1:]) / 2).tolist()
        self._goal = float(edges[-1]) + 12
        """The x of the answer, at which all arcs end."""

    def svg(self) -> str:
        """Return the picture."""
        bars, bottom = self._bars()
        below, room = max(bottom, self._word_y + 22) + 16, self.width - 2 * _EDGE
        notes = hint = ""
        if self.standalone:
            legend, below = pen.paragraph(_EDGE, below, self._legend, room)
            kind = "small down" if self.failed else "small"
            note, below = pen.paragraph(_EDGE, below, self.note, room, kind)
            notes = legend + note
        else:
            hint = pen.attribute("data-legend", self._legend, 300)
        label = f"The network unrolled over {self.before + len(self.tokens):,} words"
        if self._arcs:
            label += f", and what moved: {self.target}"
        # columns with large contributions first, so that thin arcs lie on top
        order = np.argsort(-np.nan_to_num(np.abs(self._shares[self._first :])), kind="stable")
        columns = [*self._earlier_tokens(), *map(self._word, order.tolist())]
        shapes = [pen.group("words", columns, hint), *self._arrows(), *self._answer(), *bars, notes]
        role = "img" if self.standalone else "group"
        return pen.picture(shapes, self.width, below, label, standalone=self.standalone, role=role)

    def _share(self, x: float, value: float) -> list[str]:
        """Return a token's contribution as an arc from the token at `x` to the answer, and as a number.

        The arc is left out if it would be too thin to see.
        """
        arc, goal, y = "", self._goal, self._arc_y
        thickness = _MAX_ARC * abs(value) / self._largest_share
        if thickness >= 0.05:
            # a cubic curve reaches three quarters of the height of its control points
            rise = (self._arc_height + 8) * (0.35 + 0.65 * (goal - x) / (goal - _EDGE))
            high, stroke = y - rise * 4 / 3, f' stroke-width="{thickness:.2f}"'
            kind = f"arc {pen.way(value, failed=self.failed)}"
            arc = pen.path(kind, "M", x, y, "C", x, high, goal, high, goal, y, more=stroke)
        # a number without colour if it is shown as 0; more than two decimals would run into the next number
        least = self._largest_share if self._largest_share < 0.02 else max(1.0, self._largest_share)
        shown = 0.0 if abs(value) < 0.005 * least else value
        kind = f"small middle {pen.way(shown, failed=self.failed)}"
        return [arc, pen.text(x, y + 17, pen.signed(shown), kind)]

    def _word(self, column: int) -> str:
        """Return one column: arc, contribution, cell with strip, and token."""
        at = self._first + column
        x, token, value = self._middles[column], self.tokens[at], float(self._shares[at])
        top, strip, inner = self._cell_y, self._strip, self._widths[column] - 6
        title = f"word {at + 1}: {pen.clean(token)}"
        more = f' data-position="{at}"' + self._button(title)
        height = self._word_y + 12 - self._arc_y
        shapes = [pen.box(x - inner / 2, self._arc_y - 2, inner, height, "hit", 6)]
        if self._arcs:
            more += f' data-contribution="{value:.6g}"' if np.isfinite(value) else ""
            shapes += self._share(x, value)
        if self.meanings:
            title = f"{self.meanings[at]} Word {at + 1}: {token}"
        kind = "cell void" if at in self.unknown else "cell"
        shapes.append(pen.box(x - strip / 2 - 4, top, strip + 8, self._cell_height, kind, 5))
        # [U, 1]: the state after this token, from -1 to 1
        levels = self._values[at : at + 1, self._units].T / self._largest_state
        shapes.append(pen.tiles(levels, [x - strip / 2], top + 4, strip, self._tile_height))
        shapes.append(_arrow(x, self._word_y - 16, x, top + self._cell_height + 4))
        shapes.append(pen.text(x, self._word_y, token, "middle", inner))
        return pen.group("word", shapes, more, title)

    def _earlier_tokens(self) -> list[str]:
        """Return the box that stands for earlier tokens, with the sum of their contributions."""
        if not (self.before or self._first):
            return []
        x, y = _EDGE + 25, self._cell_y + self._cell_height / 2
        shapes = [
            pen.box(_EDGE, self._cell_y, 50, self._cell_height, "void", 5),
            pen.text(x, y - 3, f"… {self.before + self._first:,}", "small middle grey"),
            pen.text(x, y + 12, "earlier", "small middle grey"),
        ]
        return shapes + (self._share(x, self._earlier_share) if self._arcs and self._first else [])

    def _arrows(self) -> list[str]:
        """Return the arrows from cell to cell, into the first one, and out of the last one."""
        middles, y = self._middles, self._cell_y + self._cell_height / 2
        # Arrows end before the border of a cell.
        gap = self._strip / 2 + 5
        arrows = [_arrow(a + gap, y, b - gap - 1, y) for a, b in itertools.pairwise(middles)]
        if middles:
            arrows.append(_arrow(self._left, y, middles[0] - gap - 1, y))
            if not self._narrow:
                arrows.append(_arrow(middles[-1] + gap, y, self._goal + 4, y))
        return arrows

    def _answer(self) -> list[str]:
        """Return the ring at which the arcs end, and the name of the answer."""
        x, y = self._goal, self._arc_y
        if not (self._arcs and self._widths):
            return []
        name = pen.text(x + 12, y + 5, self.target, "large", self.width - x - 12 - _EDGE)
        return [pen.dot("ring", x, y, 4), name]

    @property
    def _legend(self) -> str:
        """Sentences that explain the colours, widths and dashes."""
        sentences, U = [], self._values.shape[1]
        if self._arcs and self._widths and not self.failed:
            sentences.append("Blue raises the answer, red lowers it; the wider, the more.")
        if len(self._units):
            units = f"{len(self._units)} of {U:,}" if len(self._units) < U else "the"
            ends = f"from −{self._largest_state:.2g} (red) to {self._largest_state:.2g} (blue)"
            sentences.append(f"Strips: {units} units, {ends}.")
        if any(at >= self._first for at in self.unknown):
            sentences.append("Dashed cells: words that it does not know.")
        return " ".join(sentences)

    def _button(self, label: str) -> str:
        """Return the attributes that make a group a button; a picture in a file has no buttons."""
        if self.standalone:
            return ""
        return f' role="button" tabindex="0"{pen.attribute("aria-label", label)}'

    def _bars(self) -> tuple[list[str], float]:
        """Return the predictions as bars, beside or under the network, and the y where they end."""
        predictions = self.predictions[:_MAX_PREDICTIONS]
        x, y, width = self._goal + 14, self._cell_y + 16, 340.0
        if self._narrow:
            x, y, width = _EDGE, self._word_y + 38, self.width
        width = min(width, self.width - _EDGE - x)
        # measure all names in bold: any of them may be the target, whose name is bold
        widths = [pen.advance(pen.clean(name), bold=True) for name, _ in predictions]
        names = min(max(widths, default=0) + 8, 0.52 * width)
        room = width - names - 60
        rows = []
        for rank, (name, probability) in enumerate(predictions):
            # A probability may be NaN or out of range in the drawing of a broken network.
            share = min(max(float(probability), 0.0), 1.0) if np.isfinite(probability) else 0.0
            strong = "strong" if name == self.target else ""
            at = y + _PREDICTION_HEIGHT * rank
            percent = f"{100 * share:.1f} %" if not 0 < share < 0.0005 else "< 0.1 %"
            title = f"{percent}: {pen.clean(name)}"
            more = f' data-rank="{rank}"{pen.attribute("data-token", name)}{self._button(title)}'
            bar = f"bar {'up' if strong else 'plain'}"
            shapes = [
                pen.box(x - 4, at - 12, width + 4, _PREDICTION_HEIGHT, "hit", 4),
                pen.text(x, at + 4, name, strong, names - 6),
                pen.box(x + names, at - 6, room, 12, "track", 2),
                pen.box(x + names, at - 6, room * share, 12, bar, 2),
                pen.text(x + width, at + 4, percent, f"small end grey {strong}".strip()),
            ]
            rows.append(pen.group("prediction", shapes, more, title))
        return rows, y + _PREDICTION_HEIGHT * len(predictions) - 12


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """Return a straight arrow, horizontal to the right or vertical upwards."""
    if to_y == y:
        head = ("M", to_x - 4, y - 3, "L", to_x, y, "L", to_x - 4, y + 3)
    else:
        head = ("M", x - 3, to_y + 4, "L", x, to_y, "L", x + 3, to_y + 4)
    return pen.path("flow", "M", x, y, "L", to_x, to_y, *head)
