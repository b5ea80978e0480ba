"""Trained models in forms that run without Python: what ``elman export`` writes."""

from __future__ import annotations

from elman.export.c_source import write_c
from elman.export.html_page import write_html
from elman.export.onnx_file import write_onnx

__all__ = ["write_c", "write_html", "write_onnx"]
