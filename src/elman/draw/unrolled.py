"""The network unrolled as SVG: one cell a token, its state as a strip, and arcs to what it answers."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from elman.draw import pen

__all__ = ["unrolled"]

_EDGE = 16.0  # around the picture
_NARROW = 640.0  # below it the predictions stand under the network, not beside it
_COLUMN = (40.0, 112.0, 72.0)  # width of a cell's column: least, greatest, greatest where narrow
_ARC = 12.0  # the width of the strongest arc
_UNITS, _PREDICTIONS = 32, 16  # shown at most


def _last_that_fit(widths: Sequence[float], room: float, rest: float) -> int:
    """Return how many of the last columns fit; where not all do, `rest` is kept for what was earlier."""
    if sum(widths) <= room:
        return len(widths)
    total, count = rest, 0
    for width in reversed(widths):
        total += width
        if total > room:
            break
        count += 1
    return max(1, count)


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
    """Return the network unrolled over `tokens` [T]: a cell a token, arcs to the answer, predictions as bars.

    `states` [T, U] are the strips in the cells (of many units those that vary most), `contributions` [T] the
    arcs (width by size), `meanings` [T] the tooltips, `note` the sentence below. With `failed` the arcs are
    grey and dashed; dashed are the cells of `unknown` positions. Of a long text the last tokens are shown,
    the earlier ones' contributions as one sum, and with them the number of those `before` all of these.
    A page writes the legend (``data-legend``) and the note itself. Raises ShapeError.

    >>> drawn = unrolled(["I", "eat"], [[0.5], [-0.2]], [("pizza", 0.4)], [0.1, 0.9], target="pizza")
    >>> drawn.count('class="word"'), "data-contribution" in drawn
    (2, True)
    """
    T = len(tokens)
    pushes = None if contributions is None else pen.numbers(contributions, "contributions", (T,))
    strips = pen.numbers(states, "states", (T, None))
    width, predictions = pen.sized(width), predictions[:_PREDICTIONS]
    narrow = width < _NARROW
    side = 92.0 if narrow else min(320.0, 0.34 * width)
    room = width - 2 * _EDGE - side - 12
    wishes = [
        min(max(pen.advance(pen.clean(token)) + 16, _COLUMN[0]), _COLUMN[1 + narrow])
        for token in tokens[-200:]
    ]
    fit = room - 60 * (len(wishes) < T or before > 0)
    count = _last_that_fit(wishes, fit, 60 * (not before)) if T else 0
    wishes, first = wishes[len(wishes) - count :], T - count
    earlier = 60.0 if first or before else 0.0
    stretch = min(1.5, max(1.0, (room - earlier) / max(1.0, sum(wishes))))
    columns = [stretch * wish for wish in wishes]
    left = _EDGE + 12 + earlier + np.concatenate([[0.0], np.cumsum(columns)])
    middle = (left[:-1] + left[1:]) / 2
    goal = float(left[-1]) + 12

    rise = min(116.0, 40 + 0.16 * (goal - _EDGE)) if pushes is not None else 0.0
    base = _EDGE + rise + 8
    units = min(strips.shape[1], _UNITS)
    varied = np.ptp(np.nan_to_num(strips[first:]), axis=0) if count else np.zeros(strips.shape[1])
    chosen = np.sort(np.argsort(-varied, kind="stable")[:units])
    most = pen.limit(strips[first:])
    tall = min(max(96 / max(1, units), 4.0), 14.0)
    top = base + (27 if pushes is not None else 4)
    deep = max(28.0, tall * units) + 8
    word_at = top + deep + 34
    total = 0.0 if pushes is None else float(np.nan_to_num(pushes[:first]).sum())
    ends = pen.limit([total], () if pushes is None else pushes[first:])
    strip = min([column - 14 for column in columns] + [46.0])

    def arc(x: float, value: float) -> str:
        thick = _ARC * abs(value) / ends
        if not thick >= 0.05:
            return ""
        high = base - (rise + 8) * (0.35 + 0.65 * (goal - x) / (goal - _EDGE)) * 4 / 3
        kind = f"arc {pen.way(value, failed=failed)}"
        wide = f' stroke-width="{thick:.2f}"'
        return pen.path(kind, "M", x, base, "C", x, high, goal, high, goal, base, more=wide)

    def amount(x: float, value: float) -> str:
        known = 0.0 if abs(value) < 0.005 * ends else value
        kind = f"small middle {pen.way(known, failed=failed)}"
        return pen.text(x, base + 17, pen.signed(known), kind)

    def column(place: int) -> str:
        x, at, token = float(middle[place]), first + place, tokens[first + place]
        inner = columns[place] - 6
        said = f"word {at + 1}: {pen.clean(token)}"
        more = f' data-position="{at}"' + _button(said, standalone)
        parts = [pen.box(x - inner / 2, base - 2, inner, word_at + 12 - base, "hit", 6)]
        if pushes is not None:
            value = float(pushes[at])
            more += f' data-contribution="{value:.6g}"' if np.isfinite(value) else ""
            parts += [arc(x, value), amount(x, value)]
        if meanings:
            said = f"{meanings[at]} Word {at + 1}: {token}"
        kind = "cell void" if at in unknown else "cell"
        parts.append(pen.box(x - strip / 2 - 4, top, strip + 8, deep, kind, 5))
        shares = strips[at : at + 1, chosen].T / most
        parts.append(pen.tiles(shares, [x - strip / 2], top + 4, strip, tall))
        parts.append(_arrow(x, word_at - 16, x, top + deep + 4))
        parts.append(pen.text(x, word_at, token, "middle", inner))
        return pen.group("word", parts, more, said)

    half = top + deep / 2
    gap = strip / 2 + 5
    flow = [
        _arrow(float(a) + gap, half, float(b) - gap - 1, half)
        for a, b in itertools.pairwise(middle)
    ]
    if count:
        flow.append(_arrow(_EDGE + earlier, half, float(middle[0]) - gap - 1, half))
        flow += [] if narrow else [_arrow(float(middle[-1]) + gap, half, goal + 4, half)]
    past = []
    if earlier:
        x = _EDGE + 25
        past = [
            pen.box(_EDGE, top, 50, deep, "void", 5),
            pen.text(x, half - 3, f"… {before + first:,}", "small middle grey"),
            pen.text(x, half + 12, "earlier", "small middle grey"),
        ]
        if pushes is not None and first:
            past += [arc(x, total), amount(x, total)]
    sizes = np.zeros(count) if pushes is None else np.nan_to_num(np.abs(pushes[first:]))
    words = [column(int(place)) for place in np.argsort(-sizes, kind="stable")]
    answer: list[str] = []
    if pushes is not None and count:
        answer = [
            pen.dot("ring", goal, base, 4),
            pen.text(goal + 12, base + 5, target, "large", width - goal - 12 - _EDGE),
        ]
    x, y, widest = (_EDGE, word_at + 38, width) if narrow else (goal + 14, top + 16, 340.0)
    bars, bottom = _bars(predictions, target, x, y, min(widest, width - _EDGE - x), standalone)
    said = []
    if pushes is not None and count and not failed:
        said.append("Blue raises the answer, red lowers it; the wider, the more.")
    if units:
        some = f"{units} of {strips.shape[1]:,}" if units < strips.shape[1] else "the"
        said.append(f"Strips: {some} units, from −{most:.2g} (red) to {most:.2g} (blue).")
    if any(at >= first for at in unknown):
        said.append("Dashed cells: words that it does not know.")
    below, notes, legend = max(bottom, word_at + 22) + 16, "", ""
    if standalone:
        kind, room = "small down" if failed else "small", width - 2 * _EDGE
        lines, below = pen.paragraph(_EDGE, below, " ".join(said), room)
        more, below = pen.paragraph(_EDGE, below, note, room, kind)
        notes = lines + more
    else:
        legend = pen.attribute("data-legend", " ".join(said), 300)
    label = f"The network unrolled over {before + T:,} words" + (
        f", and what moved: {target}" if pushes is not None else ""
    )
    parts = [pen.group("words", [*past, *words], legend), *flow, *answer, *bars, notes]
    role = "img" if standalone else "group"
    return pen.picture(parts, width, below, label, standalone=standalone, role=role)


def _button(label: str, standalone: bool) -> str:
    """Return what makes a group one that can be pressed; a picture in a file has none."""
    if standalone:
        return ""
    return f' role="button" tabindex="0"{pen.attribute("aria-label", label)}'


def _arrow(x: float, y: float, to_x: float, to_y: float) -> str:
    """Return a straight arrow, level or upright."""
    if to_y == y:
        head = ("M", to_x - 4, y - 3, "L", to_x, y, "L", to_x - 4, y + 3)
    else:
        head = ("M", x - 3, to_y + 4, "L", x, to_y, "L", x + 3, to_y + 4)
    return pen.path("flow", "M", x, y, "L", to_x, to_y, *head)


def _bars(
    predictions: Sequence[tuple[str, float]],
    target: str,
    x: float,
    y: float,
    width: float,
    standalone: bool,
) -> tuple[list[str], float]:
    """Return predictions as bars from x, y on, and where they end."""
    # the target's name is bold, and any of them may be the target
    wide = [pen.advance(pen.clean(name), bold=True) for name, _ in predictions]
    names = min(max(wide, default=0) + 8, 0.52 * width)
    room = width - names - 60
    rows = []
    for rank, (name, probability) in enumerate(predictions):
        share = min(max(float(probability), 0.0), 1.0) if np.isfinite(probability) else 0.0
        strong = "strong" if name == target else ""
        at = y + 24 * rank
        percent = f"{100 * share:.1f} %" if not 0 < share < 0.0005 else "< 0.1 %"
        said = f"{percent}: {pen.clean(name)}"
        more = f' data-rank="{rank}"{pen.attribute("data-token", name)}' + _button(said, standalone)
        parts = [
            pen.box(x - 4, at - 12, width + 4, 24, "hit", 4),
            pen.text(x, at + 4, name, strong, names - 6),
            pen.box(x + names, at - 6, room, 12, "track", 2),
            pen.box(x + names, at - 6, room * share, 12, f"bar {'up' if strong else 'plain'}", 2),
            pen.text(x + width, at + 4, percent, f"small end grey {strong}".strip()),
        ]
        rows.append(pen.group("prediction", parts, more, said))
    return rows, y + 24 * len(predictions) - 12
