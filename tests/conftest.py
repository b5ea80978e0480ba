"""Settings of the whole suite, and what it says at its end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from elman.engine import kernel as native
from elman.explain import ablation
from elman.files.model import Model
from factories import make_model

# A busy machine may pause any example for longer than hypothesis allows by default.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test that drives a browser."""
    for item in items:
        if "browser" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.browser)


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in the last lines that a browser was missing, where one was."""
    skipped = terminalreporter.stats.get("skipped", [])
    lost = sum("Chromium is not installed" in str(report.longrepr) for report in skipped)
    if lost:
        terminalreporter.write_line(
            f"{lost} browser tests did NOT run: Chromium is not installed (Debian: apt-get install chromium)"
        )


@pytest.fixture(scope="session")
def make() -> Callable[..., Model]:
    """Makes small models with random weights, the same for the same arguments."""
    return make_model


@pytest.fixture(scope="module", params=["numpy", *(["kernel"] if native.kernels() else [])])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """How networks run: in numpy, as where no kernel was built, and in the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(native, "why_not", lambda: "it was not built")
            patch.setattr(native, "kernel", lambda: None)
        yield request.param


@pytest.fixture(params=list(native.kernels()))
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The kernel of every instruction set that this processor has, in turn the one that runs."""
    found = native.kernels()[request.param]
    monkeypatch.setattr(native, "kernel", lambda: found)
    return found


@pytest.fixture(params=list(native.kernels())[:1])
def widest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """The kernel of the widest instruction set alone, for what would take long in each."""
    found = native.kernels()[request.param]
    monkeypatch.setattr(native, "kernel", lambda: found)
    return found


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace each input twice only: for tests of sums and plain re-runs."""
    monkeypatch.setattr(ablation, "MAX_REPLACEMENTS", 2)
    monkeypatch.setattr(ablation, "MIN_REPLACEMENTS", 2)
