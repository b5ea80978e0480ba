"""Results of the rows: one JSON file each, in which finished seeds are kept."""

from __future__ import annotations

import ast
import hashlib
import json
import statistics
import subprocess
from pathlib import Path

import elman
from elman.errors import DataError
from elman.files.atomic import atomic_write
from elman.reproduce.row import Row, Settings, Trial
from elman.training.facts import describe_installation
from elman.training.journal import JsonObject

PACKAGE = Path(elman.__file__).parent
WITHOUT_FIGURES = {"cli", "serve", "draw", "explain", "bench.py", "tasks.py", "task_types.py"}
"""Folders and files of the package that neither train nor measure a network."""


def code_of(task: str) -> list[Path]:
    """Return the files that train and measure a task: all but `WITHOUT_FIGURES` and those of other tasks."""
    other_tasks = {file.parent.name for file in PACKAGE.glob("*/task.py")} - {task}
    files = []
    for file in sorted(PACKAGE.rglob("*.py")):
        first, *_ = file.relative_to(PACKAGE).parts
        measures = first != "reproduce" or file.stem in ("row", f"{task}_rows")
        if measures and first not in WITHOUT_FIGURES | other_tasks:
            files.append(file)
    return files


def code_digest(task: str) -> str:
    """Return a digest of the code behind the figures of a task; if it changes, they are measured again."""
    digest = hashlib.sha256()
    for file in code_of(task):
        digest.update(bare_code(file.read_text(encoding="utf-8")).encode())
    return digest.hexdigest()[:12]


class _Bare(ast.NodeTransformer):
    def visit_Expr(self, node: ast.Expr) -> ast.Expr | None:
        return None if isinstance(node.value, ast.Constant) else node


def bare_code(source: str) -> str:
    """Return the syntax tree of a module as text, without its comments and docstrings.

    >>> bare_code("x = 1  # one") == bare_code("'A number.'; x = 1") != bare_code("x = 2")
    True
    """
    return ast.dump(_Bare().visit(ast.parse(source)))


def commit() -> str:
    """Return the commit of the checkout, with -dirty after changes, or "" for an installed package."""
    command = ["git", "-C", str(PACKAGE), "describe", "--always", "--dirty", "--abbrev=12"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def read_result(folder: Path, row: Row) -> JsonObject | None:
    """Return the stored result of a row, None if there is none; raises DataError for a damaged file."""
    path = folder / f"reproduce-{row.name}.json"
    try:
        result: JsonObject = json.loads(path.read_text(encoding="utf-8"))
        _ = result["facts"], result["mean"], [run["value"] for run in result["runs"]]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        what = f"{path} holds no result"
        raise DataError(what, got=type(error).__name__, remedy="remove it") from error
    return result


def measure(
    row: Row, data: Path, models: Path, results: Path, settings: Settings, seeds: int, command: str
) -> JsonObject:
    """Measure a row with each of the seeds that its file of results lacks, and return the result.

    Args:
        row: The row.
        data: The folder of the public data.
        models: The folder for trained models and checkpoints.
        results: The folder for the file of results, which is written after every seed.
        settings: Budget and threads; each run has a seed of its own.
        seeds: The number of seeds.
        command: The command that measures this, for the file.

    Raises:
        DataError: A data file is missing or another one, or the file of results is damaged.
    """
    row.check_files(data)
    # models of other code are other runs
    digest = code_digest(row.task)
    models = models / digest
    for folder in (models, results):
        folder.mkdir(parents=True, exist_ok=True)
    facts: JsonObject = {
        "row": row.name,
        "measure": row.measure,
        "arguments": {**row.arguments},
        "code": digest,
        "budget": {name: settings[name] for name in ("time", "steps")},
        "threads": settings["threads"],
    }
    result = read_result(results, row)
    runs: list[JsonObject] = result["runs"] if result and result["facts"] == facts else []
    done = {run["seed"] for run in runs}
    for seed in sorted({*range(seeds)} - done):
        files = tuple(data / name for name in row.files)
        trial = Trial(row.model, files, models, {**settings, "seed": seed})
        value, beside = row.measured(trial)
        run = {"seed": seed, "value": value, "minutes": trial.trained, "beside": {**beside}}
        runs = [*runs, run]
        result = {"facts": facts, **summary(row, runs), "runs": runs}
        result |= {"command": command, "commit": commit(), "machine": describe_installation()}
        text = json.dumps(result, indent=1, ensure_ascii=False) + "\n"
        atomic_write(results / f"reproduce-{row.name}.json", text.encode())
    return result or facts


def summary(row: Row, runs: list[JsonObject]) -> JsonObject:
    """Return the mean over the seeds, their standard deviation, and the figures to compare with."""
    values = [float(run["value"]) for run in runs]
    mean = statistics.fmean(values)
    plain = {name: [run["beside"][name] for run in runs] for name in runs[0]["beside"]}
    return {
        "title": row.title,
        "mean": mean,
        "standard_deviation": statistics.stdev(values) if len(values) > 1 else None,
        "verdict": row.verdict(mean),
        "at_least": row.at_least,
        "reach_for": row.reach_for,
        "published": {f"{name} ({source})": value for name, value, source in row.published},
        "beside": {name: statistics.fmean(figures) for name, figures in plain.items()},
    }


def described(result: JsonObject) -> str:
    """Return a result as lines of text: the seeds, ours beside the marks, published and plain models."""
    spread, machine = result["standard_deviation"], result["machine"]
    figures = {
        **{
            f"seed {run['seed']}, trained {sum(run['minutes']):.1f} min": run["value"]
            for run in result["runs"]
        },
        f"mean: {result['verdict']}": result["mean"],
        **({} if spread is None else {"standard deviation": spread}),
        "asked: at least": result["at_least"],
        "asked: reach for": result["reach_for"],
        **{f"published: {name}": value for name, value in result["published"].items()},
        **{f"beside it: {name}": value for name, value in result["beside"].items()},
    }
    place = f"{machine['machine']}, {machine['cores']} cores, {machine['threads']} threads"
    return "\n".join(
        [
            result["title"],
            *(f"  {value:9.4f}  {name}" for name, value in figures.items()),
            f"commit {result['commit'] or 'unknown'}, {place}, kernel {machine['kernel']}",
        ]
    )
