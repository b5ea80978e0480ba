"""The architecture holds: imports go down, torch stays in its folders, only task folders know tasks."""

from __future__ import annotations

import ast
import copy
import functools
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parent.parent / "src"
FILES = sorted(SOURCE.rglob("*.py"))

# A folder with a task.py is a task.
TASKS = {file.parent.name for file in FILES if file.name == "task.py"}
# From bottom to top. A file may import from the levels below its own, and from files beside it.
LEVELS: list[set[str]] = [
    {"_version", "errors", "_kernel"},
    {"cells"},
    {"engine", "files"},
    {"nn", "text", "tables"},
    {"draw", "metrics"},
    {"explain"},
    {"inspect"},
    {"training"},
    {"task_types"},
    TASKS,
    {"tasks"},
    {"export"},
    {"serve", "reproduce", "cli", "bench", "__init__", "__main__"},
]
LEVEL = {name: level for level, names in enumerate(LEVELS) for name in names}
# Files that may import torch: those of nn and training, and these files of a task.
TORCH_FOLDERS, TORCH_FILES = (
    {"nn", "training"},
    {"train", "network_torch", "objective", "pretraining"},
)
# Here "forecast" is a kind of picture, and not a task.
PICTURES = {"draw.charts", "draw.figures", "draw.plots", "serve.routes_explain"}
# Modules and functions that could execute code which a data file contains.
FORBIDDEN_MODULES = {"pickle", "marshal", "shelve", "dill", "joblib", "cloudpickle"}
FORBIDDEN_CALLS = {"eval", "exec", "compile", "__import__"}


# Roles of files in a task folder: one role, one name. Some have a base in a folder below.
ROLES = {
    "command_options",
    "stream",
    *(
        "options",
        "config",
        "plan",
        "dataset",
        "split",
        "codec",
        "batches",
        "train",
        "objective",
        "network",
    ),
    *(
        "network_torch",
        "predictor",
        "explain",
        "replies",
        "display",
        "states",
        "trace",
        "memory",
        "metrics",
    ),
    *("calibration", "estimator", "task"),
}
# Other names that several folders have: what each holds is plain from its folder.
MAX_SHARED_NAMES = 3
MAX_ANY_PER_1000_LINES = 5


def room(file: Path) -> str:
    """Return the top-level module or package of a file."""
    return file.relative_to(SOURCE / "elman").parts[0].removesuffix(".py")


@functools.cache
def parsed(file: Path) -> ast.Module:
    """Return the syntax tree of a file; no test may change it."""
    return ast.parse(file.read_text(encoding="utf-8"))


@functools.cache
def is_module(name: str) -> bool:
    path = SOURCE.joinpath(*name.split("."))
    return path.with_suffix(".py").is_file() or (path / "__init__.py").is_file()


def imported_by(node: ast.Call) -> str:
    """Return the module that a call of import_module names, with * for computed parts, or ""."""
    if not ast.unparse(node.func).endswith("import_module") or not node.args:
        return ""
    named = node.args[0]
    parts = named.values if isinstance(named, ast.JoinedStr) else [named]
    name = "".join(str(one.value) if isinstance(one, ast.Constant) else "*" for one in parts)
    return name.lstrip("*")


def imports(tree: ast.AST, file: Path) -> list[tuple[str, bool]]:
    """Return every module that is imported, and whether that happens at import time."""
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
            full = [f"{module}.{alias.name}" for alias in node.names]
            names = [name if module == "elman" or is_module(name) else module for name in full]
            found += [(name, id(node) not in lazy) for name in names]
        elif isinstance(node, ast.Call) and imported_by(node):
            found.append((imported_by(node), id(node) not in lazy))
    return found


def module_name(file: Path) -> str:
    parts = file.relative_to(SOURCE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = {module_name(file): file for file in FILES}


class WithoutTypes(ast.NodeTransformer):
    """Removes the imports that only type checkers read."""

    def visit_If(self, node: ast.If) -> ast.If | None:
        return None if "TYPE_CHECKING" in ast.unparse(node.test) else node


def imported_modules(file: Path, *, types: bool = True) -> set[str]:
    """Return the package's modules that a file imports, also in functions and for type checkers."""
    tree = parsed(file) if types else WithoutTypes().visit(copy.deepcopy(parsed(file)))
    return {name for name, _ in imports(tree, file) if name.split(".")[0] == "elman"}


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_imports_only_go_down(file: Path) -> None:
    own, module = room(file), module_name(file)
    for name in imported_modules(file):
        parts = name.split(".")
        if len(parts) == 1:
            continue
        other = parts[1] if parts[1] in LEVEL else "__init__"
        if other == "_kernel":
            assert module == "elman.engine.kernel", f"{file} imports the kernel itself"
        if other == own or LEVEL[own] >= LEVEL["tasks"]:
            continue
        sideways = own in TASKS and other in TASKS
        upwards = LEVEL[other] > LEVEL[own] or sideways
        assert not upwards, f"{module} imports {name}, which is not below it"


def names_task(tree: ast.AST) -> bool:
    """Return whether code has the name of a task as text, or compares a `task` with anything."""
    names = {"language", "classify", "regress", "tag", "forecast"}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in names:
            return True
        by_value = ast.Eq | ast.NotEq | ast.In | ast.NotIn
        if isinstance(node, ast.Compare) and isinstance(node.ops[0], by_value):
            sides = [
                ast.unparse(side).rpartition(".")[2] for side in (node.left, *node.comparators)
            ]
            if "task" in sides and sides != ["task", "tasks"]:
                return True
    return False


@pytest.mark.parametrize("module", MODULES)
def test_only_the_registry_and_the_task_folders_know_tasks(module: str) -> None:
    name = module.removeprefix("elman.")
    if name.split(".")[0] in {*TASKS, "tasks"} or name in PICTURES:
        return
    tree = parsed(MODULES[module])
    assert not names_task(tree), name


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ('if model.config.task == "tag": pass', True),
        ("labelled = task in LABELLED", True),
        ('words = {"classify": "labels"}', True),
        ("task = tasks.task_of(model)", False),
        ("known = config.task in config.tasks", False),
    ],
)
def test_names_of_tasks_are_found(line: str, found: bool) -> None:
    assert names_task(ast.parse(line)) == found


@pytest.mark.slow
def test_no_cycles_between_files() -> None:
    edges = {
        module: {
            name
            for name in imported_modules(file, types=False)
            if name in MODULES and name != module
        }
        for module, file in MODULES.items()
    }
    # remove files that import none of the remaining ones, again and again: a cycle remains
    while leaves := {module for module, others in edges.items() if not others}:
        edges = {
            module: others - leaves for module, others in edges.items() if module not in leaves
        }
    assert not edges, f"in or above a cycle: {sorted(edges)}"


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_torch_is_imported_where_networks_are_trained(file: Path) -> None:
    names = imports(parsed(file), file)
    if any(name.split(".")[0] == "torch" for name, _ in names):
        assert room(file) in TORCH_FOLDERS or file.stem in TORCH_FILES, f"{file} imports torch"


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


def test_a_name_of_a_file_says_what_is_inside() -> None:
    """Outside the roles of a task folder, few files of different folders have the same name."""
    names = Counter(file.stem for file in FILES if file.stem != "__init__")
    shared = {name for name, count in names.items() if count > 1} - ROLES
    assert len(shared) <= MAX_SHARED_NAMES, shared


def test_every_module_has_a_level() -> None:
    assert {room(file) for file in FILES} <= set(LEVEL)


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(SOURCE)))
def test_all_is_exact(file: Path) -> None:
    """A package lists all of its names; in a module a leading underscore marks the private ones."""
    tree = parsed(file)
    made: set[str] = set()
    imported: set[str] = set()
    declared: set[str] | None = None
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
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
    if file.name != "__init__.py":
        assert declared is None, f"{file} has an __all__"
        return
    if declared is None:
        assert not made | imported, f"{file} has no __all__"
        return
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
    tree = parsed(file)
    for name, _ in imports(tree, file):
        assert name.split(".")[0] not in FORBIDDEN_MODULES, f"{file} imports {name}"
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in FORBIDDEN_CALLS, f"{file} calls {called}"
            assert called not in ("torch.load", "torch.save", "np.load"), f"{file} calls {called}"


@pytest.mark.slow
def test_torch_stays_in_its_wing() -> None:
    code = (
        "import elman, elman.tasks, elman.serve, elman.cli, sys\n"
        "print(sorted({'torch', 'sklearn', 'pandas'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, elman.cli\n"
        "print(sorted({'torch', 'sklearn', 'numpy', 'safetensors'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_prediction_imports_only_what_it_needs() -> None:
    """Imports take time, so `elman predict` starts without modules that only few predictions need."""
    model = Path(__file__).parent / "golden/gru-1.safetensors"
    code = (
        f"import sys, elman; elman.load({str(model)!r}).predict_next('a')\n"
        "print([name for name in sys.modules if 'adapted' in name or 'corpus' in name"
        " or name.startswith(('elman.explain', 'elman.draw', 'elman.labels.', 'elman.training.co'))"
        " and not name.endswith(('.task', 'options'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_command_predict_imports_only_what_it_needs() -> None:
    model = Path(__file__).parent / "golden/gru-1.safetensors"
    code = (
        f"import sys; from elman.cli import main\ntry: main(['predict', {str(model)!r}, 'a'])\n"
        "except SystemExit as left: print(left.code or 0)\n"
        "packages = {'rich', 'torch', 'sklearn', 'polars', 'narwhals', 'pandas', 'matplotlib'}\n"
        "print(sorted(name for name in sys.modules if name.split('.')[0] in packages"
        " or name.startswith(('elman.cli.train', 'elman.cli.serve', 'elman.serve', 'elman.cli.explain'))"
        " or name.startswith('elman.') and name.endswith('.options')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "['elman.training.options']"]


@pytest.mark.slow
@pytest.mark.parametrize("task", ["language", "forecast"])
def test_training_imports_no_scikit_learn(tmp_path: Path, task: str) -> None:
    data, model = tmp_path / "data.csv", tmp_path / "m.safetensors"
    data.write_text("I like tea .\n" * 40)
    options = ["--level", "char"]
    if task == "forecast":
        data.write_text("\n".join(["y", *(str(value % 5) for value in range(90))]) + "\n")
        options = ["--horizon", "3", "--members", "1"]
    arguments = ["train", str(data), "--task", task, "--steps", "1", "-o", str(model), *options]
    code = (
        "import sys; from elman.cli import main\n"
        f"try: main({arguments!r})\nexcept SystemExit as left: print(left.code or 0)\n"
        "print(sorted({'sklearn', 'scipy', 'pandas', 'torch._dynamo'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-2:] == ["0", "[]"]


def test_few_types_are_any() -> None:
    """Few lines of code have the type Any, which hides mistakes from type checkers."""
    lines = sum(len(file.read_text(encoding="utf-8").splitlines()) for file in FILES)
    uses = sum(
        isinstance(node, ast.Name) and node.id == "Any"
        for file in FILES
        for node in ast.walk(parsed(file))
    )
    assert 1000 * uses / lines <= MAX_ANY_PER_1000_LINES
