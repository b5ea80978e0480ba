"""Pictures: SVG drawn from plain arrays, and matplotlib figures."""
