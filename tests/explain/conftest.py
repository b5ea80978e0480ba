"""The small random language models of tests/runtime, by numpy and by the kernel, here too."""

from __future__ import annotations

from runtime.conftest import make, way

__all__ = ["make", "way"]
