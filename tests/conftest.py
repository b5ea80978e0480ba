"""Settings of the whole suite, and what it says at its end."""

from __future__ import annotations

from typing import Any

from hypothesis import settings

# A busy machine may pause any example for longer than hypothesis allows by default.
settings.register_profile("no deadline", deadline=None)
settings.load_profile("no deadline")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    """Say in the last lines that a browser was missing, where one was."""
    skipped = terminalreporter.stats.get("skipped", [])
    lost = sum("Chromium is not installed" in str(report.longrepr) for report in skipped)
    if lost:
        terminalreporter.write_line(
            f"{lost} browser tests did NOT run: Chromium is not installed (Debian: apt-get install chromium)"
        )
