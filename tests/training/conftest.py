"""A small real text for the tests of training: the manual of Python."""

from __future__ import annotations

from pathlib import Path
from pydoc_data.topics import topics

import pytest


@pytest.fixture(scope="session")
def manual() -> str:
    return "".join(topics[name] for name in sorted(topics))[:60_000]


@pytest.fixture
def manual_file(manual: str, tmp_path: Path) -> Path:
    path = tmp_path / "manual.txt"
    path.write_text(manual, encoding="utf-8")
    return path
