"""SVG shapes and text for all pictures.

Every string from outside goes through `clean` and is escaped, so it stays text. A shape has a class that says
what it is; colours and line widths are only in `elman.draw.style`. No shape has an id, a script, a style
attribute or a link, so that many pictures can stand on one page and none can load or run anything.
"""

from __future__ import annotations

import html
import math
import re
import unicodedata
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import ArrayLike

from elman.draw.style import LEVELS, STYLE
from elman.errors import ShapeError

_MAX_LABEL_CHARACTERS, _MAX_COMBINING_MARKS = 40, 2
_MAX_TEXT_CHARACTERS = 160  # of a line of text or a tooltip
_MAX_PARAGRAPH_CHARACTERS, _MAX_PARAGRAPH_LINES = 1600, 8
_MIN_WIDTH, _MAX_WIDTH = 280.0, 4000.0  # pixels
_MAX_NUMBER = 1e290  # the difference of two larger numbers may overflow
_MAX_COORDINATE = 1e5


# Characters that would break the XML, or hide or reorder the characters beside them: control characters,
# line separators, marks and overrides of the direction of writing, lone surrogates and non-characters.
_HIDING = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff\ufffe\uffff]"
)


def clean(words: object, longest: int = _MAX_LABEL_CHARACTERS) -> str:
    r"""Return a text that is safe in a picture, with at most `longest` characters; it is not yet escaped.

    Control characters, lone surrogates and characters that change the direction of writing become U+FFFD.
    Line ends, and spaces at the ends, become visible. A letter keeps two of its combining marks.

    >>> clean("a\x1b\u202eb"), clean("\n"), clean(" to"), clean("x" * 50, 5)
    ('a\ufffd\ufffdb', '↵', '␣to', 'xxxx…')
    """
    label = str(words)
    # Spaces at the ends are part of a token, so they must be seen.
    shown = re.sub(r"^ +| +\Z", lambda spaces: "␣" * len(spaces[0]), label[: longest + 1])
    kept: list[str] = []
    marks = 0
    # More marks on one letter would reach into the lines above and below.
    for character in _HIDING.sub("\ufffd", shown.replace("\n", "↵").replace("\t", "⇥")):
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks <= _MAX_COMBINING_MARKS:
            kept.append(character)
    if len(label) > longest:
        kept[longest - 1 :] = "…"
    return "".join(kept) or "∅"


def attribute(name: str, value: object, longest: int = _MAX_TEXT_CHARACTERS) -> str:
    """Return ``name="value"`` after a space, with the value cleaned and escaped."""
    return f' {name}="{html.escape(clean(value, longest))}"'


def number(value: float) -> str:
    """Return a coordinate as text with at most one decimal; NaN becomes 0, and large values are cut off.

    >>> number(3.04), number(-0.01), number(float("nan")), number(1e308)
    ('3', '0', '0', '100000')
    """
    if not math.isfinite(value):
        return "0"
    shown = f"{min(max(value, -_MAX_COORDINATE), _MAX_COORDINATE):.1f}".removesuffix(".0")
    return "0" if shown == "-0" else shown


def signed(value: float, *, plus: bool = True) -> str:
    """Return a value with its sign and two decimals, or with a power of ten where it is large or tiny.

    >>> signed(0.314), signed(-12.5), signed(2e-5), signed(0.0), signed(float("inf"))
    ('+0.31', '−12.50', '+2e−05', '0', '?')
    """
    if not math.isfinite(value):
        return "?"
    # Two decimals where they show the value, else two or three significant digits.
    form = ".2f" if 0.005 <= abs(value) < 1e4 else ".2g" if abs(value) < 1 else ".3g"
    shown = "0" if value == 0 else f"{value:{'+' if plus else ''}{form}}"
    return shown.replace("-", "−")


def numbers(values: ArrayLike | None, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return `values` as float64, clipped so that differences do not overflow, with NaN for infinity.

    Args:
        values: The numbers; None stands for no numbers.
        name: What they are, for the error.
        shape: The shape that they must have; a length of None may be any.

    Raises:
        ShapeError: They have another shape.
    """
    array = np.asarray(() if values is None else values, np.float64)
    # An empty list has lost the lengths of the other dimensions: give them back.
    empty = [length or 0 for length in shape]
    if not array.size and 0 in empty:
        array = array.reshape(empty)
    lengths = zip(shape, array.shape, strict=False)
    if array.ndim != len(shape) or any(length not in (None, got) for length, got in lengths):
        expected = ["any" if length is None else length for length in shape]
        raise ShapeError(name, got=array.shape, expected=str(expected))
    return np.where(np.isfinite(array), np.clip(array, -_MAX_NUMBER, _MAX_NUMBER), np.nan)


def limit(*values: ArrayLike) -> float:
    """Return the largest finite absolute value, or 1 where all values are 0 or not finite.

    >>> limit([1.0, -3.0], [float("nan")]), limit([])
    (3.0, 1.0)
    """
    joined = np.concatenate([np.abs(np.asarray(part, np.float64)).ravel() for part in values])
    return float(joined[np.isfinite(joined)].max(initial=0)) or 1.0


def level(value: float, largest: float, scale: str = "s") -> str:
    """Return the class of a value's colour on a scale from −largest to largest; "track" near zero.

    >>> level(1.0, 1.0), level(-0.5, 1.0), level(0.0, 1.0)
    ('sp7', 'sn4', 'track')
    """
    share = min(1.0, abs(value) / largest) if math.isfinite(value) else 0.0
    step = math.floor(share * LEVELS + 0.5)
    return f"{scale}{'p' if value > 0 else 'n'}{step}" if step else "track"


def way(value: float, *, failed: bool = False) -> str:
    """Return the class for a positive or negative value, or for neither: zero, or of a failed explanation."""
    return "plain" if failed or not value else "up" if value > 0 else "down"


def _em(character: str) -> float:
    """Estimate the width of a character in em; the font is only known where the picture is shown."""
    # Marks on a letter and joiners take no room of their own.
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    # Chinese, Japanese and Korean characters, emoji and the replacement character fill a square.
    if unicodedata.east_asian_width(character) in "WF" or character == "\ufffd":
        return 1.0
    if character in "iljtfrI.,:;'|!() ":
        return 0.38
    wide = character in "mwMW@%" or character > "\u024f"
    return 0.95 if wide else 0.76 if character.isupper() else 0.63


def advance(words: str, size: float = 13, *, bold: bool = False) -> float:
    """Estimate the width in pixels of a cleaned text with a font of `size` pixels."""
    return size * (1.15 if bold else 1.0) * sum(map(_em, words))


def _fitting(words: str, room: float, kind: str) -> str:
    """Return a text cut to `room` pixels, with the font size and weight that its class has in `STYLE`."""
    # The sizes are those of the classes in pictures.css.
    size = 11 if "small" in kind else 16 if "large" in kind else 13
    bold = "strong" in kind or "large" in kind
    shown = words
    while words and advance(shown, size, bold=bold) > room:
        words = words[:-1]
        shown = f"{words}…"
    return shown


def text(
    x: float, y: float, words: object, kind: str = "", room: float = math.inf, more: str = ""
) -> str:
    """Return a line of text that starts at x on the baseline y, cleaned, cut to `room` pixels and escaped.

    >>> text(1, 2, "<b>", "small")
    '<text class="small" x="1" y="2">&lt;b&gt;</text>'
    """
    shown = _fitting(clean(words, _MAX_TEXT_CHARACTERS), room, kind)
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{number(x)}" y="{number(y)}"{more}>{html.escape(shown)}</text>'


def paragraph(
    x: float, y: float, words: str, width: float, kind: str = "small grey"
) -> tuple[str, float]:
    """Return a text in at most eight lines of `width` pixels, and the baseline of the line after them."""
    lines = [""]
    for word in " ".join(words[:_MAX_PARAGRAPH_CHARACTERS].split()).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and advance(longer, 11) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    shown = [line for line in lines if line]
    if len(shown) > _MAX_PARAGRAPH_LINES:
        shown[_MAX_PARAGRAPH_LINES - 1 :] = [f"{shown[_MAX_PARAGRAPH_LINES - 1]} …"]
    drawn = [text(x, y + 16 * at, line, kind, width) for at, line in enumerate(shown)]
    return "".join(drawn), y + 16 * len(shown)


def box(x: float, y: float, width: float, height: float, kind: str, corner: float = 0) -> str:
    """Return a rectangle, whose corners are rounded by `corner` pixels."""
    round_ = f' rx="{number(corner)}"' if corner else ""
    return (
        f'<rect class="{kind}" x="{number(x)}" y="{number(y)}" width="{number(max(0.0, width))}"'
        f' height="{number(max(0.0, height))}"{round_}/>'
    )


def dot(kind: str, x: float, y: float, radius: float) -> str:
    """Return a circle."""
    return f'<circle class="{kind}" cx="{number(x)}" cy="{number(y)}" r="{radius:g}"/>'


def path(kind: str, *steps: str | float, more: str = "") -> str:
    """Return a path from the letters and coordinates of its commands."""
    drawn = " ".join(step if isinstance(step, str) else number(step) for step in steps)
    return f'<path class="{kind}" d="{drawn}"{more}/>'


def tiles(
    values: np.ndarray, x: Sequence[float] | np.ndarray, y: float, width: float, height: float
) -> str:
    """Return a table of coloured tiles, as one path for each colour.

    Args:
        values: Shares from -1 to 1, ``[U, T]``; NaN has no tile.
        x: The left edge of each column, ``[T]``.
        y: The top of the first row.
        width: Of a tile, in pixels.
        height: Of a row, in pixels.
    """
    squares: dict[str, list[str]] = {}
    # Half a pixel between the rows, so that they can be told apart.
    rise = number(max(height - 0.5, 0.5 * height))
    for row, column in np.argwhere(np.isfinite(values)):
        corner = f"M{number(x[column])} {number(y + height * row)}"
        tile = f"{corner}h{number(width)}v{rise}h-{number(width)}z"
        # One path for each colour keeps the picture small.
        squares.setdefault(level(values[row, column], 1.0), []).append(tile)
    return "".join(path(kind, "".join(squares[kind])) for kind in sorted(squares))


def group(kind: str, shapes: Iterable[str], more: str = "", title: str = "") -> str:
    """Return shapes as one group with attributes `more` and the tooltip `title`."""
    tooltip = clean(title, _MAX_TEXT_CHARACTERS)
    tooltip = f"<title>{html.escape(tooltip)}</title>" if title else ""
    return f'<g class="{kind}"{more}>{tooltip}{"".join(shapes)}</g>'


def sized(width: float) -> float:
    """Return the width of a picture: the wanted one, but from 280 to 4,000 pixels."""
    return min(max(float(width), _MIN_WIDTH), _MAX_WIDTH) if math.isfinite(width) else _MIN_WIDTH


def picture(
    shapes: Iterable[str],
    width: float,
    height: float,
    label: str,
    *,
    standalone: bool,
    role: str = "img",
) -> str:
    """Return the finished picture.

    Args:
        shapes: Its shapes, from back to front.
        width: In pixels.
        height: In pixels.
        label: The description that a screen reader speaks.
        standalone: Whether it contains the style sheet.
        role: Its ARIA role: "img", or "group" where shapes in it can be reached with the keyboard.
    """
    style = f"<style>{STYLE}</style>" if standalone else ""
    size = f"{number(width)} {number(height)}"
    across, down = size.split()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="elman" role="{role}"'
        f'{attribute("aria-label", label)} viewBox="0 0 {size}" width="{across}" height="{down}">'
        f"{style}{box(0, 0, width, height, 'ground')}{''.join(shapes)}</svg>"
    )
