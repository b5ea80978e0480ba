"""The style sheet of all pictures, with the colours of light and dark pages."""

from __future__ import annotations

from importlib.resources import files

LEVELS = 7
"""Steps of a colour scale on either side of zero."""

# Colours by purpose, light and dark. Text colours have a contrast of at least 4.5:1 to the ground (WCAG 2.2).
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
# selectors, property and colour of the style sheet
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
    """Return the colour at a share of the way from the first to the last."""
    ends = ([int(colour[at : at + 2], 16) for at in (1, 3, 5)] for colour in (first, last))
    return "#" + "".join(f"{round(a + share * (b - a)):02x}" for a, b in zip(*ends, strict=True))


def _colours(theme: int) -> dict[str, str]:
    """Return the colours of a theme, 0 (light) or 1 (dark), by name.

    Among them are two scales, from "rest" to a positive (p) and a negative (n) end: s for tiles, and t for
    the ground under words.
    """
    colours = {name: both[theme] for name, both in _LIGHT_AND_DARK.items()}
    for scale, ends in (("s", ("up", "down")), ("t", ("rise", "fall"))):
        for sign, end in zip("pn", ends, strict=True):
            for step in range(1, LEVELS + 1):
                name = f"{scale}{sign}{step}"
                colours[name] = _mixed(colours["rest"], colours[end], step / LEVELS)
    return colours


def _style() -> str:
    """Return the style sheet; a viewer without custom properties shows the light colours."""
    light, dark = _colours(0), _colours(1)

    def properties(theme: dict[str, str]) -> str:
        return "".join(f"--elman-{name}:{colour};" for name, colour in theme.items())

    def painted(selectors: str, what: str, name: str) -> str:
        scoped = ",".join(f".elman {selector}" for selector in selectors.split(","))
        return f"{scoped}{{{what}:{light[name]};{what}:var(--elman-{name})}}"

    # The steps of both scales have a digit at the end of their names.
    scales = [(f".{name}", "fill", name) for name in light if name[-1].isdigit()]
    rules = (
        f".elman{{{properties(light)}}}",
        f"@media (prefers-color-scheme:dark){{.elman{{{properties(dark)}}}}}",
        *(painted(*rule) for rule in (*_PAINT, *scales)),
        (files("elman.draw") / "pictures.css").read_text(encoding="utf-8").strip(),
    )
    return "\n".join(rules)


STYLE = _style()
"""The style sheet of all pictures: a page links it once, and a picture that stands alone contains it."""
