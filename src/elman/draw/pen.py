"""The pen of the house's pictures: text that stays text, shapes, and the one style sheet.

Every string that comes from outside goes through `clean` and is escaped. A shape says what it is by its
class; how it looks is in `STYLE` alone, light and dark. Nothing here has an id, a script, a style attribute
or an address, so any number of pictures stand on one page.
"""

from __future__ import annotations

import html
import math
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from elman.errors import ShapeError

__all__ = [
    "STYLE",
    "advance",
    "attribute",
    "box",
    "clean",
    "dot",
    "group",
    "level",
    "limit",
    "number",
    "numbers",
    "paragraph",
    "path",
    "picture",
    "signed",
    "sized",
    "text",
    "tiles",
    "way",
]

# Colours by what they are for. Of text, each has at least 4.5:1 against the ground.
_LIGHT_AND_DARK = {
    "ground": ("#ffffff", "#12171c"),
    "ink": ("#22303c", "#e3e8ed"),
    "grey": ("#5d6b78", "#9ba8b5"),
    "pale": ("#dde3e8", "#313b45"),
    "up": ("#1668b5", "#6cb2f5"),
    "down": ("#c0402b", "#f58e76"),
    "rest": ("#f1f3f5", "#222a32"),
    "rise": ("#9cc3e6", "#23507c"),
    "fall": ("#f3b6a8", "#7f3d2f"),
}
_LEVELS = 7  # of a colour scale, on either side of zero
_LONGEST, _MARKS = 40, 2  # characters of a label; marks over one letter
_WIDTHS = (280.0, 4000.0)  # of a picture, in pixels
_LARGEST = 1e290  # what is beyond would overflow when two are subtracted

_PAINT = (
    (".ground,.hit", "fill", "ground"),
    ("text", "fill", "ink"),
    (".grey", "fill", "grey"),
    ("text.up,.bar.up,.dot.up,.edge.up,.band", "fill", "up"),
    ("text.down,.bar.down,.dot.down,.edge.down", "fill", "down"),
    ("text.plain,.bar.plain,.dot", "fill", "grey"),
    (".track", "fill", "rest"),
    (".rule,.cell", "stroke", "pale"),
    (".arc.up,.line.up", "stroke", "up"),
    (".arc.down,.line.down", "stroke", "down"),
    (".arc.plain,.line.plain,.flow,.void", "stroke", "grey"),
    (".line.ink,.ring", "stroke", "ink"),
    (".dot.ink", "fill", "ink"),
)


def _mixed(first: str, last: str, share: float) -> str:
    """Return the colour that lies so far on the way from one to another."""
    ends = ([int(colour[place : place + 2], 16) for place in (1, 3, 5)] for colour in (first, last))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(*ends, strict=True))


def _colours(theme: int) -> dict[str, str]:
    """Return the colours of a theme, 0 (light) or 1 (dark).

    With them are two scales: of tiles (s), and of what lies under words (t).
    """
    found = {name: both[theme] for name, both in _LIGHT_AND_DARK.items()}
    for scale, ends in (("s", ("up", "down")), ("t", ("rise", "fall"))):
        for sign, end in zip("pn", ends, strict=True):
            for step in range(1, _LEVELS + 1):
                name = f"{scale}{sign}{step}"
                found[name] = _mixed(found["rest"], found[end], step / _LEVELS)
    return found


def _style() -> str:
    """Return the style sheet; a reader that knows no custom properties gets the light colours."""
    light, dark = _colours(0), _colours(1)

    def properties(theme: dict[str, str]) -> str:
        return "".join(f"--elman-{name}:{colour};" for name, colour in theme.items())

    def painted(selectors: str, what: str, name: str) -> str:
        scoped = ",".join(f".elman {selector}" for selector in selectors.split(","))
        return f"{scoped}{{{what}:{light[name]};{what}:var(--elman-{name})}}"

    scales = (
        (f".{name}", "fill", name) for name in light if name[0] in "st" and name[-1].isdigit()
    )
    return "\n".join(
        (
            f".elman{{{properties(light)}color-scheme:light dark;display:block;max-width:100%;height:auto;"
            'font-family:system-ui,-apple-system,"Segoe UI","Noto Sans","DejaVu Sans",sans-serif;'
            "font-size:13px}",
            f"@media (prefers-color-scheme:dark){{.elman{{{properties(dark)}}}}}",
            *(painted(*rule) for rule in (*_PAINT, *scales)),
            ".elman text{unicode-bidi:isolate;direction:ltr;white-space:pre;"
            "font-variant-numeric:tabular-nums}",
            ".elman .small{font-size:11px}",
            ".elman .large{font-size:16px;font-weight:600}",
            ".elman .strong{font-weight:600}",
            ".elman .middle{text-anchor:middle}",
            ".elman .end{text-anchor:end}",
            ".elman .line,.elman .rule,.elman .cell,.elman .void,.elman .flow,.elman .arc,.elman .ring"
            "{fill:none}",
            ".elman .line{stroke-width:1.6;stroke-linejoin:round;stroke-linecap:round}",
            ".elman .line.ink,.elman .line.thin{stroke-width:1.2}",
            ".elman .dashed{stroke-dasharray:5 3}",
            ".elman .band{fill-opacity:.16}",
            ".elman .void{stroke-dasharray:2 3}",
            ".elman .ring{stroke-width:1.4}",
            ".elman .arc{stroke-opacity:.72}",
            ".elman .arc.plain{stroke-dasharray:3 5}",
            ".elman .words:hover .arc{stroke-opacity:.15}",
            ".elman .words .word:hover .arc,.elman .words .word:focus .arc{stroke-opacity:.95}",
            "svg.elman [tabindex]{cursor:pointer;outline:none}",
            "svg.elman [tabindex]:hover .hit{fill:var(--elman-rest)}",
            "svg.elman [tabindex]:focus-visible .hit{stroke:var(--elman-up);stroke-width:2}",
            "@media (forced-colors:active){.elman{forced-color-adjust:none}}",
        )
    )


STYLE = _style()
"""The rules that every picture needs; a page links them once, a picture that stands alone holds them."""


def _visible(character: str) -> str:
    """Return a character as it may stand in a picture: none steers, hides or reorders its neighbours."""
    code = ord(character)
    if character in "\n\t":
        return "↵" if character == "\n" else "⇥"
    if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") or code in (0xFFFE, 0xFFFF):
        return "\ufffd"
    if unicodedata.bidirectional(character) in _STEERING or code in (0x200E, 0x200F, 0x61C):
        return "\ufffd"
    return character


_STEERING = {"LRE", "RLE", "LRO", "RLO", "PDF", "LRI", "RLI", "FSI", "PDI"}


def clean(words: object, longest: int = _LONGEST) -> str:
    r"""Return a text as it may stand in a picture: of at most `longest` characters, not yet escaped.

    Control characters, lone surrogates and what turns the direction of writing become U+FFFD; a line end and
    spaces at the ends are shown, and of many marks over one letter two are kept.

    >>> clean("a\x1b\u202eb"), clean("\n"), clean(" to"), clean("x" * 50, 5)
    ('a\ufffd\ufffdb', '↵', '␣to', 'xxxx…')
    """
    whole = str(words)
    head = whole[: longest + 1]
    bare = head.strip(" ")
    left = len(head) - len(head.lstrip(" "))
    shown = "␣" * left + bare + "␣" * (len(head) - len(bare) - left)
    kept: list[str] = []
    marks = 0
    for character in map(_visible, shown):
        marks = marks + 1 if unicodedata.category(character)[0] == "M" else 0
        if marks <= _MARKS:
            kept.append(character)
    if len(whole) > longest:
        kept[longest - 1 :] = "…"
    return "".join(kept) or "∅"


def attribute(name: str, value: object, longest: int = 160) -> str:
    """Return ``name="value"`` with a blank before it."""
    return f' {name}="{html.escape(clean(value, longest))}"'


def number(value: float) -> str:
    """Return a coordinate: finite, of at most one decimal.

    >>> number(3.04), number(-0.01), number(float("nan")), number(1e308)
    ('3', '0', '0', '100000')
    """
    if not math.isfinite(value):
        return "0"
    shown = f"{min(max(value, -1e5), 1e5):.1f}".removesuffix(".0")
    return "0" if shown == "-0" else shown


def signed(value: float, *, plus: bool = True) -> str:
    """Return a value as a person reads it: sign, two decimals, powers of ten where they are needed.

    >>> signed(0.314), signed(-12.5), signed(2e-5), signed(0.0), signed(float("inf"))
    ('+0.31', '−12.50', '+2e−05', '0', '?')
    """
    if not math.isfinite(value):
        return "?"
    form = ".2f" if 0.005 <= abs(value) < 1e4 else ".2g" if abs(value) < 1 else ".3g"
    shown = "0" if value == 0 else f"{value:{'+' if plus else ''}{form}}"
    return shown.replace("-", "−")


def numbers(values: ArrayLike | None, name: str, shape: tuple[int | None, ...]) -> np.ndarray:
    """Return `values` as float64 of `shape` (None: any length), without what overflows; raises ShapeError."""
    found = np.asarray(() if values is None else values, np.float64)
    if found.size == 0 and 0 in (wanted := [length or 0 for length in shape]):
        found = found.reshape(wanted)
    fits = found.ndim == len(shape) and all(
        wanted in (None, got) for wanted, got in zip(shape, found.shape, strict=True)
    )
    if not fits:
        expected = [wanted if wanted is not None else "any" for wanted in shape]
        raise ShapeError(name, got=found.shape, expected=str(expected))
    return np.where(np.isfinite(found), np.clip(found, -_LARGEST, _LARGEST), np.nan)


def limit(*values: ArrayLike) -> float:
    """Return the largest finite absolute value, 1 where there is none but zeros.

    >>> limit([1.0, -3.0], [float("nan")]), limit([])
    (3.0, 1.0)
    """
    joined = np.concatenate([np.abs(np.asarray(part, np.float64)).ravel() for part in values])
    return float(joined[np.isfinite(joined)].max(initial=0)) or 1.0


def level(value: float, most: float, scale: str = "s") -> str:
    """Return the class of a value's colour on a scale from −most to most; "track" at zero.

    >>> level(1.0, 1.0), level(-0.5, 1.0), level(0.0, 1.0)
    ('sp7', 'sn4', 'track')
    """
    share = min(1.0, abs(value) / most) if math.isfinite(value) else 0.0
    step = math.floor(share * _LEVELS + 0.5)
    return f"{scale}{'p' if value > 0 else 'n'}{step}" if step else "track"


def way(value: float, *, failed: bool = False) -> str:
    """Return the class of what raises, lowers, or (failed, zero) neither."""
    return "plain" if failed or not value else "up" if value > 0 else "down"


def _em(character: str) -> float:
    """Return about how wide a character is, in its size: no font is at hand to ask."""
    if unicodedata.category(character) in ("Mn", "Me", "Cf"):
        return 0.0
    if unicodedata.east_asian_width(character) in "WF" or character == "\ufffd":
        return 1.0
    if character in "iljtfrI.,:;'|!() ":
        return 0.38
    wide = character in "mwMW@%" or character > "\u024f"
    return 0.95 if wide else 0.76 if character.isupper() else 0.63


def advance(words: str, size: float = 13, *, bold: bool = False) -> float:
    """Return about how wide a cleaned text of `size` is, in pixels."""
    return size * (1.15 if bold else 1.0) * sum(map(_em, words))


def _fitting(words: str, room: float, kind: str) -> str:
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
    """Return a line of text at its baseline, cleaned, cut to `room` pixels, escaped.

    >>> text(1, 2, "<b>", "small")
    '<text class="small" x="1" y="2">&lt;b&gt;</text>'
    """
    shown = _fitting(clean(words, 160), room, kind)
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{number(x)}" y="{number(y)}"{more}>{html.escape(shown)}</text>'


def paragraph(
    x: float, y: float, words: str, width: float, kind: str = "small grey"
) -> tuple[str, float]:
    """Return a text in lines of `width` pixels, and the baseline after the last; of at most eight lines."""
    lines = [""]
    for word in " ".join(words[:1600].split()).split(" "):
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and advance(longer, 11) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    shown = [line for line in lines if line]
    if len(shown) > 8:
        shown[7:] = [f"{shown[7]} …"]
    return (
        "".join(text(x, y + 16 * place, line, kind, width) for place, line in enumerate(shown)),
        y + 16 * len(shown),
    )


def box(x: float, y: float, width: float, height: float, kind: str, corner: float = 0) -> str:
    """Return a rectangle."""
    round_ = f' rx="{number(corner)}"' if corner else ""
    return (
        f'<rect class="{kind}" x="{number(x)}" y="{number(y)}" width="{number(max(0.0, width))}"'
        f' height="{number(max(0.0, height))}"{round_}/>'
    )


def dot(kind: str, x: float, y: float, radius: float) -> str:
    """Return a circle."""
    return f'<circle class="{kind}" cx="{number(x)}" cy="{number(y)}" r="{radius:g}"/>'


def path(kind: str, *steps: str | float, more: str = "") -> str:
    """Return a path of letters and coordinates."""
    drawn = " ".join(step if isinstance(step, str) else number(step) for step in steps)
    return f'<path class="{kind}" d="{drawn}"{more}/>'


def tiles(
    values: np.ndarray, x: Sequence[float] | np.ndarray, y: float, width: float, height: float
) -> str:
    """Return ``[U, T]`` as tiles, a path a colour: columns begin at `x [T]`, rows from `y` on.

    `values` are shares from -1 to 1; what is not a number has no tile.
    """
    found: dict[str, list[str]] = {}
    rise = number(max(height - 0.5, 0.5 * height))
    for row, column in np.argwhere(np.isfinite(values)):
        place = f"M{number(x[column])} {number(y + height * row)}"
        tile = f"{place}h{number(width)}v{rise}h-{number(width)}z"
        found.setdefault(level(values[row, column], 1.0), []).append(tile)
    return "".join(path(kind, "".join(found[kind])) for kind in sorted(found))


def group(kind: str, parts: Iterable[str], more: str = "", title: str = "") -> str:
    """Return shapes as one, with the tooltip `title`."""
    tooltip = f"<title>{html.escape(clean(title, 160))}</title>" if title else ""
    return f'<g class="{kind}"{more}>{tooltip}{"".join(parts)}</g>'


def sized(width: float) -> float:
    """Return the width that a picture gets: what is asked for, from 280 to 4,000 pixels."""
    return min(max(float(width), _WIDTHS[0]), _WIDTHS[1]) if math.isfinite(width) else _WIDTHS[0]


def picture(
    parts: Iterable[Any],
    width: float,
    height: float,
    label: str,
    *,
    standalone: bool,
    role: str = "img",
) -> str:
    """Return the whole picture; `standalone` puts the style sheet into it."""
    style = f"<style>{STYLE}</style>" if standalone else ""
    size = f"{number(width)} {number(height)}"
    across, down = size.split()
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="elman" role="{role}"'
        f'{attribute("aria-label", label)} viewBox="0 0 {size}" width="{across}" height="{down}">'
        f"{style}{box(0, 0, width, height, 'ground')}{''.join(parts)}</svg>"
    )
