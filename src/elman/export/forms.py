"""Registry of the forms of ``elman export``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from elman.export.c_source import write_c
from elman.export.html_page import write_html
from elman.export.onnx_file import write_onnx
from elman.files.model import Model


class Form(NamedTuple):
    """A form in which ``elman export`` writes a model."""

    suffix: str
    """Suffix of the file."""
    write: Callable[[Model, Path], list[Path]]
    """Writes a model as a file, and returns all files that it wrote."""


FORMS = {
    "onnx": Form(".onnx", write_onnx),
    "c": Form(".c", write_c),
    "html": Form(".html", write_html),
}
"""The forms by the names of their options."""
