"""The house's pictures as SVG: the unrolled network, contributions, coloured text, states, and charts.

One writer for the notebook, the command's files and the page: plain arrays in, a string out, the same string
for the same input. Blue stands for what raises a score or lies above zero, red for the opposite; width, place
and sign say it too. `standalone` puts `STYLE` into the picture; a page that links it passes False, and gets
groups that can be reached by keyboard.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike

from elman.draw import pen
from elman.draw.charts import curves, forecast, memory
from elman.draw.pen import STYLE
from elman.draw.rows import rows_of
from elman.draw.unrolled import unrolled

if TYPE_CHECKING:
    from elman.explain.explanation import Explanation

__all__ = [
    "STYLE",
    "coloured_text",
    "contributions",
    "curves",
    "forecast",
    "heat",
    "memory",
    "unrolled",
]

_EDGE = 16.0  # around every picture
_PIECES = 4000  # of a coloured text


def contributions(explanation: Explanation, *, width: float = 720, standalone: bool = True) -> str:
    """Return an explanation as bars for what was read, and below them bias, residual and their sum.

    A ring marks the measured change when an input is replaced, where that is known. By a method that measures
    each input a bar is that change: there are no rings and no sum. Of more than 24 inputs those of the
    largest contributions are shown. One that fails its own test is grey, and says so; its note is below.
    Raises ShapeError.
    """
    bars, sums, unseen = rows_of(explanation)
    rows = [*bars, *sums]
    failed = explanation.passed is False
    amounts = pen.numbers([(row.value, row.absence, row.bar) for row in rows], "rows", (None, 3))

    width = pen.sized(width)
    room = width - 2 * _EDGE
    reached = np.nan_to_num(amounts[: len(bars), 1:])
    low, high = float(reached.min(initial=0)), float(reached.max(initial=0))
    longest = max((pen.advance(pen.clean(row.name)) for row in bars), default=0.0)
    names = min(longest + 12, 0.32 * width)
    start, end = _EDGE + names, width - _EDGE - 64
    span = (high / 2 - low / 2) * 2 or 1.0
    scale = (end - start) / min(span, 1e300)
    zero = start - low * scale
    title = f"why {pen.clean(explanation.target)}"
    parts = [pen.text(_EDGE, 32, title, "large", room)]
    score = pen.signed(float(explanation.score), plus=False)
    about, y = pen.paragraph(
        _EDGE, 50, f"{explanation.score_name} {score}, by {explanation.method}", room
    )
    parts.append(about)
    about, y = pen.paragraph(_EDGE, y, f"Shown is {explanation.caption}.", room, "small grey")
    parts.append(about)
    y += 12

    def row_at(y: float, at: int, kind: str) -> str:
        name, place = rows[at].name, rows[at].place
        value, ring, shown = amounts[at].tolist()
        shown = shown if np.isfinite(shown) else 0.0
        x = zero + min(shown, 0.0) * scale
        bar, barred = f"bar {pen.way(value, failed=failed)}", at < len(bars)
        found = [
            pen.text(_EDGE, y + 4, name, kind, names - 8 if barred else room - 72),
            pen.box(x, y - 7, abs(shown) * scale, 14, bar, 1.5) if barred else "",
            pen.text(width - _EDGE, y + 4, pen.signed(value), f"end {kind}".strip()),
        ]
        said = f"{pen.signed(value)}: {name}"
        if np.isfinite(ring):
            x = zero + ring * scale
            found.append(pen.dot("ring", x, y, 4.5))
            said = f"{pen.signed(value)}; measured: {pen.signed(ring)}. Input: {name}"
        more = "" if place is None else f' data-position="{place}"'
        return pen.group("row", found, more, said)

    parts.append(pen.path("rule", "M", zero, y - 14, "V", y + 22 * len(bars) - 8))
    for at, row in enumerate(rows):
        last = at == len(rows) - 1 and bool(sums)
        if last:
            parts.append(pen.path("rule", "M", _EDGE, y - 8, "H", width - _EDGE))
            y += 8
        kind = "strong" if last else "grey" if row.place is None else ""
        parts.append(row_at(y, at, kind))
        y += 22
    y += 12
    if np.isfinite(amounts[:, 1]).any():
        parts.append(pen.dot("ring", _EDGE + 5, y - 4, 4.5))
        parts.append(
            pen.text(_EDGE + 16, y, "the measured change when it is replaced", "small grey")
        )
        y += 20
    kinds = ("small grey", "small down" if failed else "small", "small grey")
    said = (unseen, explanation.verdict, explanation.note)
    for words, kind in zip(said, kinds, strict=True):
        lines, y = pen.paragraph(_EDGE, y, words, room, kind)
        parts.append(lines)
    return pen.picture(parts, width, y, title, standalone=standalone)


def coloured_text(
    tokens: Sequence[str],
    values: ArrayLike,
    *,
    title: str = "",
    width: float = 720,
    standalone: bool = True,
) -> str:
    """Return words or characters [T] on colours by `values` [T], in rows as they are read.

    What is above zero has a bar over it, what is below one under it, as thick as it is strong. Characters
    stand close, words apart; a line end ends the row. Raises ShapeError.
    """
    T = len(tokens)
    found = pen.numbers(values, "values", (T,))[:_PIECES]
    most, width = pen.limit(found), pen.sized(width)
    close = all(len(token) <= 1 for token in tokens)
    parts = [pen.text(_EDGE, 32, title, "strong", width - 2 * _EDGE)] if title else []
    x, y, broken = _EDGE, _EDGE + (48 if title else 20), False
    for at, (token, value) in enumerate(zip(tokens, found.tolist(), strict=False)):
        shown = " " if token == " " else pen.clean(token)
        room = min(max(pen.advance(shown), 8.0) + (2 if close else 10), width - 2 * _EDGE)
        if broken or (x > _EDGE and x + room > width - _EDGE):
            x, y = _EDGE, y + 32
        share = abs(value) / most if np.isfinite(value) else 0.0
        thick = 4 * share
        bar = pen.box(
            x, y - 17 - thick if value > 0 else y + 7, room, thick, f"bar {pen.way(value)}"
        )
        pieces = [
            pen.box(x, y - 16, room, 22, pen.level(value, most, "t")),
            bar if thick >= 0.2 else "",
            pen.text(x + room / 2, y, token, "middle" + (" grey" if shown in "↵⇥" else ""), room)
            if shown.strip()
            else "",
        ]
        more = f' data-position="{at}"'
        parts.append(pen.group("word", pieces, more, f"{pen.signed(value)}: {shown}"))
        x += room + (0 if close else 3)
        broken = token == "\n"
    y += 32
    scale = f"from −{most:.3g} (red, bar below) to {most:.3g} (blue, bar above)"
    if len(found) < T:
        scale += f"; the first {len(found):,} of {T:,}"
    parts.append(pen.text(_EDGE, y, scale, "small grey", width - 2 * _EDGE))
    label = title or f"{T} pieces of text coloured by value"
    return pen.picture(parts, width, y + 14, label, standalone=standalone)


def heat(
    values: ArrayLike,
    tokens: Sequence[str],
    units: Sequence[object],
    *,
    title: str = "",
    width: float = 960,
    standalone: bool = True,
) -> str:
    """Return `values` [U, T] of units over time as tiles: a row a unit, a column a token.

    At most 64 units and the last tokens that fit are shown. Raises ShapeError.
    """
    U, T = len(units), len(tokens)
    table = pen.numbers(values, "values", (U, T))[:64]
    width = pen.sized(width)
    names = min(
        max((pen.advance(pen.clean(unit), 11) for unit in units[:64]), default=0) + 10, 0.3 * width
    )
    room = width - 2 * _EDGE - names
    count = min(T, int(room / 5))
    across = min(26.0, room / max(1, count))
    tall = min(18.0, max(12.0, 400 / max(1, len(table))))
    shown, most = tokens[T - count :], pen.limit(table[:, T - count :])
    head = title or (f"{len(table)} of {U:,} units" if len(table) < U else f"{U:,} units")
    late = f", the last {count:,} of {T:,} steps" if count < T else ""
    said = f"{head}{late}, from −{most:.2g} (red) to {most:.2g} (blue)"
    if not T:
        table, said = table[:0], title or "no step was read"
    lines, y = pen.paragraph(_EDGE, _EDGE + 14.0, said, width - 2 * _EDGE)
    parts = [lines]
    y -= 4
    left = _EDGE + names + across * np.arange(count)
    for row, unit in enumerate(units[: len(table)]):
        at = y + tall * row
        drawn = pen.tiles(table[row : row + 1, T - count :] / most, left, at, across - 0.4, tall)
        name = pen.text(_EDGE + names - 8, at + tall / 2 + 4, unit, "small end grey", names - 8)
        parts.append(pen.group("unit", [name, drawn], pen.attribute("data-unit", unit)))
    y += tall * len(table) + 8
    upright = across >= 9 and max((len(token) for token in shown), default=0) <= 1
    longest = max((pen.advance(pen.clean(token), 11) for token in shown), default=0)
    below = 16.0
    if upright or longest + 4 <= across:
        parts += [
            pen.text(x + across / 2, y + 8, token, "small middle")
            for x, token in zip(left, shown, strict=True)
        ]
    elif across >= 11:
        below = min(90.0, longest + 8)
        parts += [
            pen.text(0, 0, token, "small end", 88, _turned(float(x) + across / 2 + 4, y))
            for x, token in zip(left, shown, strict=True)
        ]
    label = f"{head} over {T:,} steps" if T else said
    return pen.picture(parts, width, y + below + 4, label, standalone=standalone)


def _turned(x: float, y: float) -> str:
    return f' transform="translate({pen.number(x)} {pen.number(y)}) rotate(-90)"'
