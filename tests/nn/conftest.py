from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from elman.engine import kernel as native
from elman.nn import autograd


class Watched:
    """A kernel that counts its calls, and keeps the arguments of the last by name."""

    def __init__(self, kernel: Any) -> None:
        self._kernel = kernel
        self.calls: Counter[str] = Counter()
        self.last: dict[str, tuple[Any, ...]] = {}

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._kernel, name)
        if not callable(found):
            return found

        def watched(*given: Any) -> Any:
            self.calls[name] += 1
            self.last[name] = given
            return found(*given)

        return watched


class Native:
    """The module `elman.engine.kernel` with a watched kernel."""

    def __init__(self, watched: Watched) -> None:
        self.kernel = lambda: watched

    def __getattr__(self, name: str) -> Any:
        return getattr(native, name)


@pytest.fixture
def chosen(monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The kernel that runs by itself, watched where the layers call it."""
    watched = Watched(native.kernel())
    monkeypatch.setattr(autograd, "kernel", Native(watched))
    return watched


@pytest.fixture(params=list(native.kernels()))
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Watched:
    """The kernel of every instruction set that this processor has, watched as well."""
    forced = native.kernels()[request.param]
    monkeypatch.setattr(native, "kernel", lambda: forced)
    watched = Watched(forced)
    monkeypatch.setattr(autograd, "kernel", Native(watched))
    return watched
