"""The house as drawn: who imports whom, where torch may be, what `__all__` says, what is never called."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
FILES = sorted(SOURCE.rglob("*.py"))

# Level by level: a module may import from lower levels, and from its own package.
LEVELS: list[set[str]] = [
    {"_version", "_errors", "_kernel"},
    {"_frames", "_shapes", "_numbers", "_rows", "_atomic", "_native", "_pace"},
    {"_container", "options", "plots"},
    {"cells", "data", "metrics"},
    {"config"},
    {"model"},
    {"nn", "runtime"},
    {"training", "explain", "_display"},
    {"_progress"},
    {"estimators", "serve"},
    {"bench", "cli", "demo", "__init__", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
WINGS = ({"nn", "training"}, {"runtime", "explain"})
TORCH = {"nn", "training"}
# the one call that goes up, made late: an explanation is a method of the thing explained
DOOR = (SOURCE / "elman/runtime/inspectable.py", "explain")
# code that a file could smuggle in, by the name it is called by
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


def room(file: Path) -> str:
    """The top-level module or package that a file belongs to."""
    return file.relative_to(SOURCE / "elman").parts[0].removesuffix(".py")


def imported_by(node: ast.Call) -> str:
    """The module that a call of import_module names, * for each part that is computed; "" for none."""
    if not ast.unparse(node.func).endswith("import_module") or not node.args:
        return ""
    named = node.args[0]
    parts = named.values if isinstance(named, ast.JoinedStr) else [named]
    name = "".join(str(one.value) if isinstance(one, ast.Constant) else "*" for one in parts)
    return name.lstrip("*")


def imports(tree: ast.AST, file: Path) -> list[tuple[str, bool]]:
    """Every absolute module name imported, by statement or by name, and whether at import time."""
    lazy = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        or (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test))
        for inner in ast.walk(node)
    }
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found += [(alias.name, id(node) not in lazy) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            module = str(node.module)
            names = [module]
            if module == "elman":
                names = [f"elman.{alias.name}" for alias in node.names]
            found += [(name, id(node) not in lazy) for name in names]
        elif isinstance(node, ast.Call) and imported_by(node):
            found.append((imported_by(node), id(node) not in lazy))
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_only_go_down(file: Path) -> None:
    own = room(file)
    for name, at_import in imports(ast.parse(file.read_text(encoding="utf-8")), file):
        parts = name.split(".")
        if parts[0] == "torch":
            assert own in TORCH, f"{file} imports torch"
        if parts[0] != "elman" or len(parts) == 1:
            continue
        other = parts[1] if parts[1] in LEVEL else "__init__"
        if other == "_kernel":
            assert own == "_native", f"{file} imports the kernel itself"
        if other == own or ((file, other) == DOOR and not at_import):
            continue
        if LEVEL[own] < len(LEVELS) - 1:
            assert LEVEL[other] < LEVEL[own], f"{file} ({own}) imports {name}"
        for wing, opposite in (WINGS, WINGS[::-1]):
            assert not (own in wing and other in opposite), f"{file} crosses to the other wing"
        if LEVEL[own] >= LEVEL["estimators"] and other in TORCH:
            assert not at_import, f"{file} imports the torch wing at import time"


@pytest.mark.parametrize(
    ("line", "name"),
    [
        ('import_module("elman.explain")', "elman.explain"),
        ('importlib.import_module("torch._dynamo")', "torch._dynamo"),
        ('import_module(f"elman.explain.{module}")', "elman.explain.*"),
        ('import_module(f"elman.{room}.units")', "elman.*.units"),
    ],
)
def test_what_is_imported_by_name_is_seen(line: str, name: str) -> None:
    late = f"def ask():\n    return {line}"
    assert imports(ast.parse(line), SOURCE) == [(name, True)]
    assert imports(ast.parse(late), SOURCE) == [(name, False)]


def test_the_door_is_seen() -> None:
    file, above = DOOR
    assert (f"elman.{above}", False) in imports(ast.parse(file.read_text("utf-8")), file)


def test_every_module_has_a_level() -> None:
    assert {room(file) for file in FILES} <= set(LEVEL)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_all_is_exact(file: Path) -> None:
    """`__all__` holds every public name made in the module, and nothing that is not there."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    made: set[str] = set()
    imported: set[str] = set()
    declared: set[str] | None = None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            made.add(node.name)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            imported |= {alias.asname or alias.name for alias in node.names}
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            for inner in node.body:
                if isinstance(inner, ast.ImportFrom):
                    imported |= {alias.asname or alias.name for alias in inner.names}
        elif isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names = {target.id for target in targets if isinstance(target, ast.Name)}
            if names == {"__all__"}:
                assert isinstance(node, ast.Assign)
                declared = set(ast.literal_eval(node.value))
                assert len(declared) == len(ast.literal_eval(node.value))
    if file.name == "__main__.py":
        assert declared is None
        return
    assert declared is not None, f"{file} has no __all__"
    public = {name for name in made if not name.startswith("_")}
    assert public <= declared, f"missing from __all__: {public - declared}"
    everything = {
        name.id
        for node in ast.walk(tree)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
        for name in [node]
    }
    assert declared <= made | imported | everything, f"{file}: {declared - made - imported}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_nothing_that_a_file_says_is_executed(file: Path) -> None:
    tree = ast.parse(file.read_text(encoding="utf-8"))
    for name, _ in imports(tree, file):
        assert name.split(".")[0] not in FORBIDDEN_MODULES, f"{file} imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_CALLS, f"{file} calls {called}"
            assert called not in ("torch.load", "torch.save", "np.load"), f"{file} calls {called}"


def test_torch_stays_in_its_wing() -> None:
    code = (
        "import elman, elman.data, elman.model, elman.runtime, elman.explain, elman.serve, elman.cli, sys\n"
        "print(sorted({'torch', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_training_does_not_import_the_compiler_of_torch() -> None:
    code = (
        "import elman, sys\n"
        "elman.LanguageModel(hidden_size=4, steps=2).fit('I like tea . ' * 40)\n"
        "print('torch.optim' in sys.modules, 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "True False"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, elman.cli\n"
        "print(sorted({'torch', 'sklearn', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
