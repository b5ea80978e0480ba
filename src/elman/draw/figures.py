"""Pictures as SVG: contributions as bars, text on colours, and units over time.

The functions of this folder serve notebooks, the files of the command and the page: they take plain arrays
and return a string, the same string for the same input. Blue stands for a value that raises a score or lies
above zero, red for the opposite; width, position and sign say the same, so that nothing depends on colour
alone. A picture that is `standalone` contains its style sheet; pages link the style sheet and pass False.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from elman.draw import pen
from elman.draw.contribution_chart import ContributionChart

# lengths are in pixels
_EDGE = 16.0
_ROW_HEIGHT = 22
_LINE_HEIGHT = 32
"""Height of a row of coloured text."""
_MIN_TILE_WIDTH, _MAX_TILE_WIDTH = 5, 26.0
_MAX_BAR = 4
"""Thickness of the bar over or under the most strongly coloured token."""
_MAX_TOKENS, _MAX_UNITS = 4000, 64


def contributions(chart: ContributionChart, *, width: float = 720, standalone: bool = True) -> str:
    """Draw an explanation as a bar for each input; below them bias, residual and their sum as numbers.

    A ring marks the change that was measured when the input was replaced. A method that measures each input
    by itself has no rings and no sum, because its bars are these changes. Of more than 24 inputs those with
    the largest contributions are shown. An explanation that fails its own test is grey.

    Args:
        chart: The parts of the picture, such as the rows and the verdict.
        width: In pixels.
        standalone: Whether the picture contains its style sheet.
    """
    width = pen.sized(width)
    room = width - 2 * _EDGE
    title = f"why {pen.clean(chart.target)}"
    first, y = pen.paragraph(_EDGE, 50, chart.about, room)
    second, y = pen.paragraph(_EDGE, y, f"Shown is {chart.caption}.", room)
    rows, y = _rows(chart, y + 12, width)
    shapes = [pen.text(_EDGE, 32, title, "large", room), first, second, *rows]
    y += 12
    if any(np.isfinite(row.absence) for row in chart.bars):
        note = "the measured change when it is replaced"
        shapes.append(pen.dot("ring", _EDGE + 5, y - 4, 4.5))
        shapes.append(pen.text(_EDGE + 16, y, note, "small grey"))
        y += 20
    for words, kind in (
        (chart.unseen, "small grey"),
        (chart.verdict, "small down" if chart.failed else "small"),
        (chart.note, "small grey"),
    ):
        lines, y = pen.paragraph(_EDGE, y, words, room, kind)
        shapes.append(lines)
    return pen.picture(shapes, width, y, title, standalone=standalone)


def _rows(chart: ContributionChart, y: float, width: float) -> tuple[list[str], float]:
    """Return the shapes of an explanation's rows, drawn from y downwards, and the y below them."""
    listed, count = [*chart.bars, *chart.sums], len(chart.bars)
    # [N, 2]: value and ring of each row
    amounts = pen.numbers([(row.value, row.absence) for row in listed], "rows", (None, 2))
    # The bar of a value that is not finite has no length.
    lengths = np.nan_to_num(amounts[:, 0]) * (not chart.flat)
    drawn = np.concatenate([lengths[:count], np.nan_to_num(amounts[:count, 1])])
    low, high = float(drawn.min(initial=0)), float(drawn.max(initial=0))
    longest = max((pen.advance(pen.clean(row.name)) for row in chart.bars), default=0.0)
    names = min(longest + 12, 0.32 * width)
    start, right = _EDGE + names, width - _EDGE
    # in halves, because the difference of two large numbers may overflow
    # 64 pixels at the right are kept for the values as numbers.
    scale = (right - 64 - start) / min((high / 2 - low / 2) * 2 or 1.0, 1e300)
    zero = start - low * scale
    shapes = [pen.path("rule", "M", zero, y - 14, "V", y + _ROW_HEIGHT * count - 8)]
    for at, (row, (value, ring)) in enumerate(zip(listed, amounts.tolist(), strict=True)):
        is_sum = bool(chart.sums) and at == len(listed) - 1
        if is_sum:
            shapes.append(pen.path("rule", "M", _EDGE, y - 8, "H", right))
            y += 8
        kind = "strong" if is_sum else "grey" if row.position is None else ""
        room = names - 8 if at < count else right - _EDGE - 72
        parts = [pen.text(_EDGE, y + 4, row.name, kind, room)]
        if at < count:
            bar, x = (
                f"bar {pen.way(value, failed=chart.failed)}",
                zero + min(lengths[at], 0.0) * scale,
            )
            parts.append(pen.box(x, y - 7, abs(lengths[at]) * scale, 14, bar, 1.5))
        parts.append(pen.text(right, y + 4, pen.signed(value), f"end {kind}".strip()))
        tooltip = f"{pen.signed(value)}: {row.name}"
        if np.isfinite(ring):
            parts.append(pen.dot("ring", zero + ring * scale, y, 4.5))
            tooltip = f"{pen.signed(value)}; measured: {pen.signed(ring)}. Input: {row.name}"
        more = "" if row.position is None else f' data-position="{row.position}"'
        shapes.append(pen.group("row", parts, more, tooltip))
        y += _ROW_HEIGHT
    return shapes, y


def coloured_text(
    tokens: Sequence[str],
    values: ArrayLike,
    *,
    title: str = "",
    width: float = 720,
    standalone: bool = True,
) -> str:
    """Draw words or characters on colours, in rows as they are read.

    A value above zero also has a bar over its token, one below zero a bar under it, as thick as the value is
    large. Characters stand close together, words apart; a line end ends the row.

    Args:
        tokens: The words or characters; of more than 4,000 the first are shown.
        values: The value of each token, ``[T]``.
        title: A line above the text.
        width: In pixels.
        standalone: Whether the picture contains its style sheet.

    Raises:
        ShapeError: There is not one value for each token.
    """
    T = len(tokens)
    shown_values = pen.numbers(values, "values", (T,))[:_MAX_TOKENS]
    largest, width = pen.limit(shown_values), pen.sized(width)
    close = all(len(token) <= 1 for token in tokens)
    shapes = [pen.text(_EDGE, 32, title, "strong", width - 2 * _EDGE)] if title else []
    x, y, broken = _EDGE, _EDGE + (48 if title else 20), False
    for at, (token, value) in enumerate(zip(tokens, shown_values.tolist(), strict=False)):
        shown = " " if token == " " else pen.clean(token)
        room = min(max(pen.advance(shown), 8.0) + (2 if close else 10), width - 2 * _EDGE)
        # A token that is wider than the whole row stands alone in its row.
        if broken or (x > _EDGE and x + room > width - _EDGE):
            x, y = _EDGE, y + _LINE_HEIGHT
        parts = _coloured(token, value, largest, x, y, room)
        more = f' data-position="{at}"'
        shapes.append(pen.group("word", parts, more, f"{pen.signed(value)}: {shown}"))
        x += room + (0 if close else 3)
        broken = token == "\n"
    y += _LINE_HEIGHT
    scale = f"from −{largest:.3g} (red, bar below) to {largest:.3g} (blue, bar above)"
    if len(shown_values) < T:
        scale += f"; the first {len(shown_values):,} of {T:,}"
    shapes.append(pen.text(_EDGE, y, scale, "small grey", width - 2 * _EDGE))
    label = title or f"{T} pieces of text coloured by value"
    return pen.picture(shapes, width, y + 14, label, standalone=standalone)


def _coloured(
    token: str, value: float, largest: float, x: float, y: float, room: float
) -> list[str]:
    """Return one token on its colour, with its bar."""
    # The bar says by its place and thickness what the colour says.
    thick = _MAX_BAR * (abs(value) / largest if np.isfinite(value) else 0.0)
    parts = [pen.box(x, y - 16, room, 22, pen.level(value, largest, "t"))]
    if thick >= 0.2:
        top = y - 17 - thick if value > 0 else y + 7
        parts.append(pen.box(x, top, room, thick, f"bar {pen.way(value)}"))
    if token != " " and pen.clean(token).strip():
        kind = "middle" + (" grey" if token in ("\n", "\t") else "")
        parts.append(pen.text(x + room / 2, y, token, kind, room))
    return parts


def heat(
    values: ArrayLike,
    tokens: Sequence[str],
    units: Sequence[object],
    *,
    title: str = "",
    width: float = 960,
    standalone: bool = True,
) -> str:
    """Draw the values of units over time as tiles: a row for each unit, a column for each token.

    Args:
        values: The values, ``[U, T]``; the first 64 units and the last tokens that fit are shown.
        tokens: The names of the columns.
        units: The names of the rows.
        title: What is shown; by default the number of units.
        width: In pixels.
        standalone: Whether the picture contains its style sheet.

    Raises:
        ShapeError: The values do not fit the tokens and units.
    """
    U, T = len(units), len(tokens)
    table, width = pen.numbers(values, "values", (U, T))[:_MAX_UNITS], pen.sized(width)
    longest = max((pen.advance(pen.clean(unit), 11) for unit in units[:_MAX_UNITS]), default=0)
    names = min(longest + 10, 0.3 * width)
    room = width - 2 * _EDGE - names
    count = min(T, int(room / _MIN_TILE_WIDTH))
    across = min(_MAX_TILE_WIDTH, room / max(1, count))
    height = min(18.0, max(12.0, 400 / max(1, len(table))))
    first = T - count
    largest = pen.limit(table[:, first:])
    head = title or (f"{len(table)} of {U:,} units" if len(table) < U else f"{U:,} units")
    late = f", the last {count:,} of {T:,} steps" if count < T else ""
    caption = f"{head}{late}, from −{largest:.2g} (red) to {largest:.2g} (blue)"
    if not T:
        table, caption = table[:0], title or "no step was read"
    lines, y = pen.paragraph(_EDGE, _EDGE + 14.0, caption, width - 2 * _EDGE)
    shapes, y = [lines], y - 4
    left = _EDGE + names + across * np.arange(count)
    for row, unit in enumerate(units[: len(table)]):
        at, shares = y + height * row, table[row : row + 1, first:] / largest
        tiles = pen.tiles(shares, left, at, across - 0.4, height)
        name = pen.text(_EDGE + names - 8, at + height / 2 + 4, unit, "small end grey", names - 8)
        shapes.append(pen.group("unit", [name, tiles], pen.attribute("data-unit", unit)))
    y += height * len(table) + 8
    columns, below = _column_names(tokens[first:], left.tolist(), y, across)
    label = f"{head} over {T:,} steps" if T else caption
    return pen.picture([*shapes, *columns], width, y + below + 4, label, standalone=standalone)


def _column_names(
    tokens: Sequence[str], left: list[float], y: float, across: float
) -> tuple[list[str], float]:
    """Return the names below columns, and their height: upright where they fit, else turned, else none."""
    single = across >= 9 and max((len(token) for token in tokens), default=0) <= 1
    longest = max((pen.advance(pen.clean(token), 11) for token in tokens), default=0)
    columns = [(x + across / 2, token) for x, token in zip(left, tokens, strict=True)]
    if single or longest + 4 <= across:
        return [pen.text(x, y + 8, token, "small middle") for x, token in columns], 16.0
    if across < 11:
        return [], 16.0
    names = []
    for x, token in columns:
        # a text that reads upwards
        turned = f' transform="translate({pen.number(x + 4)} {pen.number(y)}) rotate(-90)"'
        names.append(pen.text(0, 0, token, "small end", 88, turned))
    return names, min(90.0, longest + 8)
