"""The wheel of Python alone, for Pyodide and JupyterLite: its contents, its requirements, and its answers."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Iterator
from email.parser import Parser
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parent.parent
GOLDEN = ROOT / "tests" / "golden"
BUILD = (
    "import sys; from scikit_build_core.build import build_wheel; print(build_wheel(sys.argv[1]))"
)
BROWSER = {"sys_platform": "emscripten", "platform_system": "Emscripten", "extra": ""}
# In a browser no thread can start.
ALONE = """
import sys, threading
sys.path.insert(0, sys.argv.pop(1))
def refused(self): raise RuntimeError("can't start new thread")
threading.Thread.start = refused
"""
# Answers of every golden model, to the rounding that tests/files/test_model.py allows.
ASK = """
import importlib.util, json, warnings
import elman, numpy as np
from elman.engine import kernel
folder, golden = sys.path[0], sys.argv[1]
assert elman.__file__.startswith(folder), elman.__file__
assert kernel.why_not() and not kernel.kernels()
warnings.simplefilter("ignore", elman.errors.KernelWarning)
spec = importlib.util.spec_from_file_location("make", f"{golden}/make.py")
make = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make)
answers = json.loads(make.ANSWERS.read_text("utf-8"))
for name, expected in answers.items():
    got = make.ask(elman.load(f"{golden}/{name}").model)
    np.testing.assert_allclose(got, expected, rtol=8 * 100 * 2**-24, atol=0)
print(len(answers), sorted({"torch", "polars", "sklearn", "elman._kernel"} & sys.modules.keys()))
"""
COMMAND = "from elman.cli import main; main()"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel as the command in docs/export.md does, but without a network."""
    folder = tmp_path_factory.mktemp("wheel")
    environment = os.environ | {"ELMAN_PURE": "1"}
    command = [sys.executable, "-c", BUILD, str(folder)]
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    [built] = folder.glob("*.whl")
    return built


def requirements(of: list[str], environment: dict[str, str]) -> Iterator[Requirement]:
    """Yield the requirements that hold in an environment."""
    for requirement in map(Requirement, of):
        if requirement.marker is None or requirement.marker.evaluate(environment):
            yield requirement


def needed(wheel: Path, environment: dict[str, str]) -> set[str]:
    with zipfile.ZipFile(wheel) as archive:
        [name] = [name for name in archive.namelist() if name.endswith(".dist-info/METADATA")]
        facts = Parser().parsestr(archive.read(name).decode())
    return {one.name for one in requirements(facts.get_all("Requires-Dist", []), environment)}


def test_the_wheel_is_python_alone(wheel: Path) -> None:
    assert wheel.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    package = ROOT / "src"
    own = {path.relative_to(package).as_posix() for path in package.glob("elman/**/*.py")}
    assert own <= names
    assert not [
        name for name in names if name.endswith((".so", ".pyd", ".cpp", ".pyc", "no_kernel.txt"))
    ]
    assert {"elman/py.typed", "elman/export/c/elman.c", "elman/serve/page/index.html"} <= names
    assert {name.split("/")[0] for name in names if ".dist-info" not in name} == {"elman"}


def test_the_wheel_requires_what_a_browser_has(wheel: Path) -> None:
    browser = {"numpy", "threadpoolctl", "typer", "rich", "typing-extensions", "narwhals"}
    assert needed(wheel, BROWSER) == browser
    assert needed(wheel, {"sys_platform": "linux", "extra": ""}) == browser | {"polars"}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with the wheel and what it requires in a browser, and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    waiting, done = sorted(needed(wheel, BROWSER)), set[str]()
    while waiting:
        name = waiting.pop()
        if name in done:
            continue
        done.add(name)
        package = metadata.distribution(name)
        waiting += [one.name for one in requirements(package.requires or [], BROWSER)]
        for file in package.files or []:
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (folder / top).exists():
                (folder / top).symlink_to(Path(str(package.locate_file(top))))
    assert {"numpy", "click"} <= {path.name for path in folder.iterdir()}
    return folder


def alone(code: str, *arguments: object) -> str:
    """Return what code prints in a process that knows only the standard library."""
    command = [sys.executable, "-I", "-S", "-c", ALONE + code, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_golden_model_answers_with_the_requirements_alone(installed: Path) -> None:
    count = len([*GOLDEN.glob("*.safetensors")])
    assert alone(ASK, installed, GOLDEN) == f"{count} []\n"


def test_the_command_runs_with_the_requirements_alone(installed: Path) -> None:
    said = alone(COMMAND, installed, "predict", GOLDEN / "gru-1.safetensors", "a")
    assert said.startswith("a …\n")
