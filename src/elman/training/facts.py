"""Facts about a model or an installation, and their table for a terminal."""

from __future__ import annotations

import os
from typing import Any

from rich.console import Console
from rich.table import Column, Table
from rich.text import Text

from elman.training.formatting import visible
from elman.training.journal import JsonObject


def facts_table(facts: JsonObject) -> Table:
    """Return a table with a row of name and value for each fact."""
    columns = Column(style="dim"), Column(overflow="fold")
    table = Table(*columns, show_header=False, box=None, pad_edge=False)
    for name, value in facts.items():
        table.add_row(name.replace("_", " "), Text(visible(_shown(value))))
    return table


def _shown(value: Any) -> str:
    """Return a value in words, with a line for each object of a list of objects.

    Lists of objects within these objects are left out.
    """
    if isinstance(value, dict):
        known = {key: member for key, member in value.items() if member is not None}
        rows = [member for member in known.values() if _is_rows(member)]
        line = ", ".join(
            f"{key.replace('_', ' ')} {_shown(member)}"
            for key, member in known.items()
            if not _is_rows(member)
        )
        return "\n".join([line, *map(_shown, rows)])
    if _is_rows(value):
        flat = [{key: cell for key, cell in row.items() if not _is_rows(cell)} for row in value]
        return "\n".join(map(_shown, flat))
    if isinstance(value, list | tuple):
        return ", ".join(map(_shown, value))
    return str(_number(value))


def _is_rows(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(row, dict) for row in value)


def _number(value: Any) -> Any:
    if isinstance(value, float):
        return f"{value:.4g}" if abs(value) < 1e6 else f"{value:,.0f}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else value


def print_facts(facts: JsonObject) -> None:
    """Print a row of name and value for each fact."""
    Console(highlight=False).print(facts_table(facts))


def describe_model(path: str) -> JsonObject:
    """Return size, storage, configuration and card of the model file at `path`."""
    from dataclasses import asdict

    from elman.files.model import Model

    # Reading checks every byte, so a damaged file is reported here.
    model = Model.load(path)
    card = {name: value for name, value in model.card.items() if name != "identity"}
    return {
        "file": path,
        "bytes": os.path.getsize(path),
        "parameters": model.parameter_count,
        "storage": model.storage,
        "network": asdict(model.config),
        **card,
    }


def describe_installation() -> JsonObject:
    """Return versions, machine, optional packages, and the compiled kernel or why it does not run."""
    import platform
    from importlib import metadata

    from elman._version import __version__
    from elman.engine import kernel
    from elman.errors import installing

    def installed(name: str) -> str:
        try:
            return metadata.version(name)
        except metadata.PackageNotFoundError:
            return f"not installed: {installing('train')}"

    return {
        "elman": __version__,
        "python": platform.python_version(),
        "machine": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "kernel": kernel.isa() or f"none: {kernel.why_not()}",
        "instruction_sets": list(kernel.kernels()),
        "threads": kernel.threads(),
        "runtime": f"numpy {metadata.version('numpy')}",
        "torch": installed("torch"),
        "scikit_learn": installed("scikit-learn"),
    }
