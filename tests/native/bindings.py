"""Run the tests that reach the kernel on an extension module built elsewhere: `bindings.py FOLDER`."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest


def run(folder: Path) -> int:
    """Run them on the module in `folder`; return pytest's exit code."""
    (file,) = folder.glob("_kernel*.so")
    spec = importlib.util.spec_from_file_location("elman._kernel", file)
    assert spec is not None
    assert spec.loader is not None
    module = sys.modules["elman._kernel"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    tests = Path(__file__).resolve().parent.parent
    places = (
        tests / "engine" / "test_layers.py",
        tests / "engine" / "test_passage.py",
        tests / "language" / "test_network.py",
        tests / "language" / "test_stream.py",
        tests / "nn" / "test_kernel.py",
        tests / "nn" / "test_functional.py",
    )
    return pytest.main(["--quiet", *map(str, places)])


if __name__ == "__main__":
    sys.exit(run(Path(sys.argv[1])))
