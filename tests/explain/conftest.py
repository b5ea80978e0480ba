"""The small random language models of tests/runtime, by numpy and by the kernel, here too."""

from __future__ import annotations

import pytest

from elman.explain import forecast, parts
from runtime.conftest import make, way

__all__ = ["few_draws", "make", "way"]


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace each input twice only: for tests of sums and plain re-runs."""
    for module in (parts, forecast):
        monkeypatch.setattr(module, "DRAWS", 2)
        monkeypatch.setattr(module, "FEWEST_DRAWS", 2)
