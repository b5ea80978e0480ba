"""The compiled kernel: the parts that were built, the choice of instruction set, and Elman without a
kernel."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cases import CELLS
from elman.engine import kernel
from elman.errors import OptionError

ROOT = Path(__file__).resolve().parents[2]
GOLDEN = ROOT / "tests" / "golden" / "lstm-1.safetensors"
# the object files that `make setup` keeps
OBJECTS = {
    folder.name.removeprefix("kernel_").removesuffix(".dir"): folder / "native" / "kernel.cpp.o"
    for folder in (ROOT / "native" / "editable" / "kernel" / "CMakeFiles").glob("kernel_*.dir")
}
SETS = list(kernel.kernels())
WIDTHS = {"base": 4, "avx2": 8, "avx512": 16, "avx512_vnni": 16, "avx512_bf16": 16}
# makes the extension module impossible to import
BLOCKED = "import sys; sys.modules['elman._kernel'] = None\n"
REASON = "it is not there: it was not built, or the build failed"
COMMAND = "import sys; from elman.cli import main; main(sys.argv[1:])"


def python(code: str, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run `code` in a new process, with no other environment variables of Elman than `variables`."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("ELMAN_")}
    return subprocess.run(
        [sys.executable, "-W", "error::DeprecationWarning", "-c", code, *arguments],
        env=own | variables,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def answer(code: str, **variables: str) -> Any:
    """Run `code`, which must succeed without warnings, and return the JSON that it prints."""
    done = python(code, **variables)
    assert (done.returncode, done.stderr) == (0, "")
    return json.loads(done.stdout)


def refusal(done: subprocess.CompletedProcess[str]) -> str:
    """The single line of the command's error message."""
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith("elman: ")
    return line


def test_the_kernel_was_built() -> None:
    assert SETS, kernel.why_not()
    assert SETS[-1] == "base"
    assert kernel.why_not() == ""
    # the kernel finds the instruction sets that Linux reports
    flags = set(re.findall(r"\w+", Path("/proc/cpuinfo").read_text().partition("\n\n")[0]))
    needed = {"avx2": {"avx2", "fma"}, "avx512": {"avx512f", "avx512bw", "avx512dq", "avx512vl"}}
    needed["avx512_vnni"] = needed["avx512"] | {"avx512_vnni"}
    needed["avx512_bf16"] = needed["avx512_vnni"] | {"avx512_bf16"}
    assert {name for name in SETS if name != "base"} == {
        name for name in OBJECTS if name in needed and needed[name] <= flags
    }


FORCED = f"""
import json, elman
from elman.engine import kernel as native
kernel, model = native.kernel(), elman.load({str(GOLDEN)!r})
state = model.stream().feed("I like to eat pizza " * 9).state.hex()
print(json.dumps([native.isa(), kernel.name, kernel.width, kernel.bfloat16, state]))
"""


@pytest.mark.slow
def test_a_forced_instruction_set_runs() -> None:
    outputs = {}
    for name in SETS:
        *facts, outputs[name] = answer(FORCED, ELMAN_ISA=name)
        assert facts == [name, name, WIDTHS[name], name == "avx512_bf16"]
    assert answer(FORCED) == answer(FORCED, ELMAN_ISA=SETS[0])
    # without fused multiply-adds every product is rounded, so the bits differ
    assert "avx2" not in SETS or outputs["base"] != outputs["avx2"]


@pytest.mark.slow
def test_an_unknown_instruction_set_is_one_clear_line() -> None:
    line = refusal(python(COMMAND, "info", ELMAN_ISA="sse9"))
    assert line == f"elman: ELMAN_ISA: got sse9; expected one of {', '.join(SETS)}"


def test_object_files_define_only_their_table() -> None:
    """The linker may take a weak symbol from any object file, and with it code for another processor."""
    assert set(OBJECTS) >= set(SETS), "`make setup` keeps what it built"
    for name, path in OBJECTS.items():
        listed = subprocess.run(
            ["nm", "--format=posix", path], capture_output=True, text=True, check=True
        )
        symbols = [line.split()[:2] for line in listed.stdout.splitlines()]
        assert [symbol for symbol, kind in symbols if kind in "WwVvu"] == []
        defined = [symbol for symbol, kind in symbols if kind.isupper() and kind != "U"]
        assert defined == [f"_ZN5elman{len('kernel_' + name)}kernel_{name}E"]


@pytest.mark.parametrize("name", OBJECTS)
def test_object_files_use_only_their_instruction_set(name: str) -> None:
    command = ["objdump", "--disassemble", "--no-show-raw-insn", str(OBJECTS[name])]
    code = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    registers = {4: "x", 8: "y", 16: "z"}
    widest = max(re.findall(r"%([xyz])mm\d", code), default="x")
    assert widest == registers[WIDTHS[name]]
    assert ("vfmadd" in code) == (name != "base")
    assert ("vpdpbusd" in code) == (name in {"avx512_vnni", "avx512_bf16"})
    assert ("vdpbf16ps" in code) == (name == "avx512_bf16")


INFO = "import json; from elman.training.facts import describe_installation as d; print(json.dumps(d()))"


@pytest.mark.slow
def test_info_names_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    facts = answer(INFO, ELMAN_ISA="base", ELMAN_THREADS="3")
    assert (facts["kernel"], facts["instruction_sets"], facts["threads"]) == ("base", SETS, 3)
    for arguments in ((), ("--json",)):
        done = python(COMMAND, "info", *arguments, ELMAN_ISA="base")
        assert (done.returncode, done.stderr) == (0, "")
        assert re.search(r"kernel\W+base\b", done.stdout)


@pytest.mark.slow
def test_info_says_why_there_is_no_kernel() -> None:
    facts = answer(BLOCKED + INFO)
    assert (facts["kernel"], facts["instruction_sets"]) == (f"none: {REASON}", [])
    done = python(BLOCKED + COMMAND, "info")
    assert (done.returncode, done.stderr) == (0, "")
    assert REASON in " ".join(done.stdout.split())


@pytest.mark.slow
@pytest.mark.parametrize("variables", [{"ELMAN_REQUIRE_NATIVE": "1"}, {"ELMAN_ISA": "base"}])
@pytest.mark.parametrize("arguments", [("info",), ("predict", str(GOLDEN), "I")])
def test_a_required_kernel_that_is_missing_is_one_clear_line(
    variables: dict[str, str], arguments: tuple[str, ...]
) -> None:
    line = refusal(python(BLOCKED + COMMAND, *arguments, **variables))
    assert line == f"elman: the compiled kernel is missing ({REASON}): {kernel.REMEDY}"
    done = python(COMMAND, *arguments, **variables)
    assert done.returncode == 0


@pytest.mark.slow
def test_a_missing_kernel_is_no_error_unless_required() -> None:
    for value in ("", "0"):
        done = python(
            BLOCKED + COMMAND, "predict", str(GOLDEN), "I", "--json", ELMAN_REQUIRE_NATIVE=value
        )
        assert done.returncode == 0
        assert json.loads(done.stdout)["predictions"]


BOTH = """
import json, warnings
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    import elman, torch
    from elman import nn
    from elman.engine import kernel as native
    model = elman.load(sys.argv[1] if len(sys.argv) > 1 else GOLDEN)
    numbers = [probability for _, probability in model.predict_next("I like", k=3)]
    torch.manual_seed(0)
    layer, x = nn.GRU(5, 7, 2, bidirectional=True), torch.randn(4, 3, 5, requires_grad=True)
    y, end = layer(x)
    (y.square().sum() + end.sum()).backward()
    for tensor in (y, end, x.grad, *(weight.grad for weight in layer.parameters())):
        numbers += tensor.flatten().tolist()
print(json.dumps([native.isa(), [str(one.message) for one in caught], numbers]))
"""


@pytest.mark.slow
def test_without_the_kernel_everything_works_after_one_warning() -> None:
    code = f"import sys; GOLDEN = {str(GOLDEN)!r}\n" + BOTH
    name, said, numbers = answer(code)
    assert (name, said) == (SETS[0], [])
    without, said_without, expected = answer(BLOCKED + code)
    assert without is None
    (line,) = said_without
    assert (
        line
        == f"Elman runs without its compiled kernel, many times slower: {REASON}; {kernel.REMEDY}"
    )
    # sums of at most 100 products of float32, in another order
    np.testing.assert_allclose(
        numbers, expected, rtol=0, atol=100 * np.finfo(np.float32).eps * np.abs(expected).max()
    )


class _Broken:
    """An import hook for which the extension module exists but does not load."""

    def find_spec(self, name: str, *_: object) -> None:
        if name == "elman._kernel":
            raise ImportError("undefined symbol: nothing\nat all", name=name)


def test_why_not_is_the_installers_or_the_loaders_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "elman._kernel", None)
    monkeypatch.setattr(kernel, "__file__", str(tmp_path / "engine/kernel.py"))
    assert kernel.why_not.__wrapped__() == REASON
    (tmp_path / "no_kernel.txt").write_text("no C++ compiler was found\n")
    assert kernel.why_not.__wrapped__() == "no C++ compiler was found"
    monkeypatch.delitem(sys.modules, "elman._kernel")
    monkeypatch.setattr(sys, "meta_path", [_Broken(), *sys.meta_path])
    reason = kernel.why_not.__wrapped__()
    assert reason == "it does not load: undefined symbol: nothing\\nat all"


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (("gru", "tanh", 4, 1, True), "its cell gru has 4 gates and 1 states"),
        (("lstm", "tanh", 4, 1, True), "its cell lstm has 4 gates and 1 states"),
        (("gate", "tanh", 1, 1, True), "it has a cell ('gate', 'tanh', 1, 1, True)"),
    ],
)
def test_a_kernel_with_other_cells_is_not_used(
    monkeypatch: pytest.MonkeyPatch, row: tuple[Any, ...], reason: str
) -> None:
    module = importlib.import_module("elman._kernel")
    monkeypatch.setattr(module, "CELLS", (row, *module.CELLS))
    assert kernel.why_not.__wrapped__() == f"it was built from other sources: {reason}"


def test_the_kernel_has_every_cell() -> None:
    assert [kernel.cell_number(cell) for cell in CELLS] == [*range(len(CELLS))]


def argument_names(function: Any) -> list[str]:
    """The names of the arguments, from the signature that nanobind writes into the docstring."""
    return re.findall(r"(\w+): ", str(function.__doc__).partition("->")[0])


def test_the_stub_has_the_signatures_of_the_module() -> None:
    module = importlib.import_module("elman._kernel")
    stub = ast.parse((Path(kernel.__file__).parents[1] / "_kernel.pyi").read_text(encoding="utf-8"))
    classes = {node.name: node for node in stub.body if isinstance(node, ast.ClassDef)}
    for name in ("Kernel", "Network"):
        for method in classes[name].body:
            if isinstance(method, ast.FunctionDef) and method.args.kwonlyargs:
                declared = [argument.arg for argument in method.args.kwonlyargs]
                assert argument_names(getattr(getattr(module, name), method.name)) == declared
    functions = {node.name for node in stub.body if isinstance(node, ast.FunctionDef)}
    public = {name for name in vars(module) if not name.startswith("_")}
    assert public == {*classes, *functions, "CELLS"}


@pytest.mark.parametrize(("asked", "count"), [("1", 1), ("12", 12), ("64", 64)])
def test_threads_from_the_environment(
    monkeypatch: pytest.MonkeyPatch, asked: str, count: int
) -> None:
    monkeypatch.setenv("ELMAN_THREADS", asked)
    assert kernel.threads.__wrapped__() == kernel.threads.__wrapped__(7) == count


def test_threads_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ELMAN_THREADS", "")
    assert kernel.threads.__wrapped__() == len(os.sched_getaffinity(0))
    assert kernel.threads.__wrapped__(7) == 7


@pytest.mark.slow
@pytest.mark.parametrize("asked", ["0", "-1", "65", "two", "1.5", " 1", "٣", "9" * 5000])
def test_impossible_numbers_of_threads_are_refused(
    monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    monkeypatch.setenv("ELMAN_THREADS", asked)
    with pytest.raises(OptionError, match="ELMAN_THREADS: got"):
        kernel.threads.__wrapped__()
    line = refusal(python(COMMAND, "info", ELMAN_THREADS=asked))
    assert "ELMAN_THREADS" in line


def test_a_forked_process_has_threads_of_its_own() -> None:
    code = """
import os
from elman.engine import kernel as native
kernel = native.kernel()
kernel.peak(threads=2)
child = os.fork()
if child == 0:
    kernel.peak(threads=2)
    os._exit(0)
print(os.waitpid(child, 0)[1])
"""
    assert answer(code) == 0


def configure(folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Configure the build with a compiler that does not exist."""
    tools = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = {**os.environ, "PATH": tools, "CXX": "/no/such/compiler", **variables}
    command = ["cmake", "-S", str(ROOT), "-B", str(folder), "-G", "Ninja"]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@pytest.mark.slow
def test_without_a_compiler_the_reason_is_installed(tmp_path: Path) -> None:
    done = configure(tmp_path / "build", ELMAN_REQUIRE_NATIVE="")
    assert done.returncode == 0, done.stderr
    install = ["cmake", "--install", str(tmp_path / "build"), "--prefix", str(tmp_path)]
    subprocess.run(install, capture_output=True, check=True)
    (file,) = (tmp_path / "elman").iterdir()
    assert file.name == "no_kernel.txt"
    assert file.read_text() == "no C++ compiler was found when Elman was installed\n"


def test_without_a_compiler_a_required_kernel_is_an_error(tmp_path: Path) -> None:
    done = configure(tmp_path / "build", ELMAN_REQUIRE_NATIVE="1")
    assert done.returncode != 0
    assert "The kernel cannot be built: no C++ compiler was found" in done.stderr


def test_the_extension_is_the_one_of_this_package() -> None:
    module = importlib.import_module("elman._kernel")
    assert Path(str(module.__file__)).parent == Path(kernel.__file__).parents[1]
