"""Which kernel runs, or why none does; and that no instruction set leaks out of its object."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from elman import _native

ROOT = Path(__file__).resolve().parent.parent
WITHOUT = (
    "import sys\n"
    "class Blocked:\n"
    "    def find_spec(self, name, path=None, target=None):\n"
    "        if name == 'elman._kernel':\n"
    "            raise ModuleNotFoundError('blocked', name=name)\n"
    "sys.meta_path.insert(0, Blocked())\n"
)


def python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
    )


@pytest.mark.parametrize("isa", list(_native.kernels()))
def test_the_forced_set_is_the_one_that_runs(isa: str) -> None:
    code = "from elman import _native\nprint(_native.kernel().name, _native.isa())"
    assert python(code, ELMAN_ISA=isa).stdout.split() == [isa, isa]


def test_the_widest_set_runs_by_itself() -> None:
    code = "from elman import _native\nprint(_native.isa(), *_native.kernels())"
    isa, *known = python(code, ELMAN_ISA="").stdout.split()
    assert isa == known[0]
    assert known[-1] == "base"


def command(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys\nfrom elman.cli import main\nsys.argv = {['elman', *arguments]!r}\nmain()"
    return python(code, **environment)


def test_a_set_that_is_not_there_is_one_line() -> None:
    ran = command("info", ELMAN_ISA="sse9")
    assert ran.returncode == 2
    assert ran.stderr.count("\n") == 1
    assert "ELMAN_ISA: got sse9; expected one of " in ran.stderr


@pytest.mark.parametrize("threads", ["0", "two", "-1", "9999"])
def test_a_number_of_threads_that_cannot_be_is_one_line(threads: str) -> None:
    ran = command("info", ELMAN_THREADS=threads)
    assert ran.returncode == 2
    assert f"ELMAN_THREADS: got {threads}; expected a whole number" in ran.stderr


def test_threads_are_those_asked_for() -> None:
    ran = command("info", "--json", ELMAN_THREADS="3")
    assert json.loads(ran.stdout)["threads"] == 3


def test_without_the_kernel_everything_answers_and_says_so_once() -> None:
    code = WITHOUT + (
        "import warnings\n"
        "warnings.simplefilter('always')\n"
        "import numpy as np\n"
        "from elman import _native\n"
        "from elman.runtime.sampling import Sampling\n"
        "with warnings.catch_warnings(record=True) as said:\n"
        "    warnings.simplefilter('always')\n"
        "    for _ in range(3):\n"
        "        print(Sampling().draw(np.zeros(3, np.float32), 0.9))\n"
        "print(len(said), said[0].category.__name__, _native.isa(), bool(_native.why_not()))\n"
    )
    ran = python(code, ELMAN_ISA="", ELMAN_REQUIRE_NATIVE="")
    assert ran.stdout.split() == ["2", "2", "2", "1", "RuntimeWarning", "None", "True"], ran.stderr


def test_a_kernel_that_is_required_and_missing_is_one_line() -> None:
    code = WITHOUT + "from elman.cli import main\nsys.argv = ['elman', 'info']\nmain()"
    ran = python(code, ELMAN_ISA="", ELMAN_REQUIRE_NATIVE="1")
    assert ran.returncode == 2
    assert ran.stderr.startswith("elman: the compiled kernel is missing (")
    assert ran.stderr.count("\n") == 1


def test_info_names_what_runs() -> None:
    told = json.loads(command("info", "--json").stdout)
    assert told["kernel"] == _native.isa()
    assert told["instruction_sets"] == list(_native.kernels())


def test_an_instruction_set_exports_its_table_and_nothing_else() -> None:
    """A weak symbol compiled for a newer processor could be taken for the code of an older one."""
    assert shutil.which("nm"), "the symbols are read by nm of binutils"
    objects = sorted((ROOT / "native" / "editable").rglob("kernel_*.dir/**/kernel.cpp.o"))
    assert len(objects) == len(_native.kernels())
    for file in objects:
        listed = subprocess.run(
            ["nm", "--defined-only", "--extern-only", "--demangle", str(file)],
            capture_output=True,
            text=True,
            check=True,
        ).stdout.splitlines()
        symbols = [line.split(maxsplit=2)[1:] for line in listed]
        assert len(symbols) == 1, symbols
        ((kind, name),) = symbols
        assert name.startswith("elman::kernel_")
        assert kind not in "WVu"
