"""Measure how long the command takes from the shell: to a prediction, and to the first step of training."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from benchmarks.measure import Case, Prepared, Row, Settings

__all__ = ["cases"]

MODEL = Path(__file__).resolve().parent.parent / "tests/golden/gru-1.safetensors"
CHARACTERS = 1_000_000
COMMAND = "from elman.cli import main; main()"
# Ends the process as soon as the first step is done.
FIRST_STEP = """import os
from elman.training.trainer import Trainer
whole = Trainer._step
def first(*arguments):
    whole(*arguments)
    os._exit(0)
Trainer._step = first
"""


def _text(folder: str) -> Path:
    """Return a file with lines of random words, all of which occur again."""
    draw = np.random.default_rng(0)
    words = ["".join(draw.choice([*"abcdefghijklmnop"], 5)) for _ in range(2000)]
    lines = (" ".join(draw.choice(words, 8)) for _ in range(CHARACTERS // 48))
    path = Path(folder) / "text.txt"
    path.write_text("\n".join(lines), "utf-8")
    return path


def startup(settings: Settings) -> Prepared:
    """Run each command in a new process, in turn; Python keeps its compiled files between the runs."""
    del settings
    folder = tempfile.TemporaryDirectory()
    training = (
        "train",
        str(_text(folder.name)),
        "--level",
        "char",
        "-o",
        f"{folder.name}/m.safetensors",
    )
    codes = {
        "elman predict": (COMMAND, "predict", str(MODEL), "a"),
        "numpy and typer": ("import numpy, typer",),
        "elman train": (FIRST_STEP + COMMAND, *training),
        "torch": ("import torch",),
    }
    environment = {
        name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"
    } | {"PYTHONPYCACHEPREFIX": f"{folder.name}/compiled"}

    def seconds(code: str, *arguments: str) -> float:
        began = time.perf_counter()
        command = [sys.executable, "-c", code, *arguments]
        subprocess.run(command, env=environment, capture_output=True, check=True)
        return time.perf_counter() - began

    def measure(rounds: int) -> dict[str, list[float]]:
        for code in codes.values():
            seconds(*code)
        found: dict[str, list[float]] = {side: [] for side in codes}
        for _ in range(rounds):
            for side, code in codes.items():
                found[side].append(seconds(*code))
        return found

    rows = [
        Row(
            "elman predict from the shell",
            ("elman predict",),
            ("numpy and typer",),
            0.18,
            0.12,
            by="time",
        ),
        Row(
            f"elman train, {CHARACTERS:,} characters, to the first step",
            ("elman train",),
            ("torch",),
            2,
            1,
            by="time",
        ),
    ]
    return Prepared(rows, measure=measure, after=folder.cleanup, unit="s")


def cases() -> list[Case]:
    """Return the case that measures start-up."""
    return [Case("startup", startup)]
