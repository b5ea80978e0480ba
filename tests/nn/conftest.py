from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from elman.engine import kernel as native


class Watched:
    """A kernel that counts the calls of each method and keeps the arguments of the last call."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.calls: Counter[str] = Counter()
        self.last: dict[str, dict[str, Any]] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._kernel, name)
        if not callable(found):
            return found

        def watched(**arguments: Any) -> Any:
            self.calls[name] += 1
            self.last[name] = arguments
            return found(**arguments)

        return watched


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Watch the calls of the kernel that Elman chooses."""
    watched = Watched(native.kernel())
    monkeypatch.setattr(native, "running", lambda: watched)
    return watched


@pytest.fixture(params=list(native.kernels()))
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """Force the kernel of each instruction set that this processor has, and watch its calls."""
    forced = native.kernels()[request.param]
    watched = Watched(forced)
    monkeypatch.setattr(native, "kernel", lambda: forced)
    monkeypatch.setattr(native, "running", lambda: watched)
    return watched
