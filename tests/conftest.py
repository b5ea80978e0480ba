"""Settings of the whole test suite, and its closing message about missing browsers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import settings

from elman.engine import kernel as native
from elman.explain import element_ablation as ablation
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
    """Print in the last lines how many tests did not run because no browser is installed."""
    skipped = terminalreporter.stats.get("skipped", [])
    lost = sum("Chromium is not installed" in str(report.longrepr) for report in skipped)
    if lost:
        terminalreporter.write_line(
            f"{lost} browser tests did NOT run: Chromium is not installed (Debian: apt-get install chromium)"
        )


@pytest.fixture(scope="session")
def make() -> Callable[..., Model]:
    """Return a function that makes small models with random weights, equal for equal arguments."""
    return make_model


@pytest.fixture(scope="module", params=["numpy", *(["kernel"] if native.kernels() else [])])
def way(request: pytest.FixtureRequest) -> Iterator[str]:
    """Run the tests of a module twice: in numpy, as if no kernel had been built, and in the kernel."""
    with pytest.MonkeyPatch.context() as patch:
        if request.param == "numpy":
            patch.setattr(native, "why_not", lambda: "it was not built")
            patch.setattr(native, "kernel", lambda: None)
        yield request.param


@pytest.fixture(params=list(native.kernels()))
def kernel(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the test with the kernel of each instruction set that this processor has."""
    found = native.kernels()[request.param]
    monkeypatch.setattr(native, "kernel", lambda: found)
    return found


@pytest.fixture(params=list(native.kernels())[:1])
def widest(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Run the test with the widest instruction set only, because it would take long with all."""
    found = native.kernels()[request.param]
    monkeypatch.setattr(native, "kernel", lambda: found)
    return found


@pytest.fixture
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace each input only twice, which is enough for tests that check sums or repeat a run."""
    monkeypatch.setattr(ablation, "MAX_REPLACEMENTS", 2)
    monkeypatch.setattr(ablation, "MIN_REPLACEMENTS", 2)
