"""Elements that an SVG picture may contain, and hostile texts for tests of pictures."""

from __future__ import annotations

SVG = "{http://www.w3.org/2000/svg}"
ELEMENTS = {"svg", "style", "g", "rect", "path", "circle", "text", "title"}
# attributes whose values are coordinates or lengths
PLACES = {"viewBox", "width", "height", "x", "y", "rx", "d", "cx", "cy", "r", "stroke-width"}
# the names of the data attributes that the page reads
HOOKS = {"position", "contribution", "token", "rank", "unit", "lag", "legend"}
ATTRIBUTES = {
    *PLACES,
    *(f"data-{hook}" for hook in HOOKS),
    *("class", "role", "aria-label", "transform", "tabindex"),
}
# characters that change the direction of writing
STEERING = set("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
HOSTILE = (
    "<script>alert(1)</script>",
    "\"><img src=x onerror='alert(1)'>",
    "</style></svg><svg onload=alert(1)>",
    "]]>&amp;&#0;",
    "a\u202ecod\u2066x\u200f",
    "a\x00\x1b[2J\ud800\ufffe\uffff\x85\u2028",
    "x" * 10_000,
    "Z" + "\u0301" * 500,
    "日本 🦊 שלום",
    "",
    " ",
    "\n",
)
