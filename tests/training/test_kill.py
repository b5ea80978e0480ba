"""A run that is killed at any moment and resumed gives the same bytes as an uninterrupted run."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.kill

TRAIN = [
    "--level", "char", "--steps", "240", "--hidden-size", "24", "--num-layers", "2", "--dropout", "0.2",
    "--batch-size", "8", "--sequence-length", "20", "--evaluations", "6", "--checkpoint-every", "0.01s",
    "--seed", "3",
]  # fmt: skip

# Kills its own process with SIGKILL inside the n-th of these calls, before, halfway through or after it.
ASSASSIN = """
import os, signal, sys
name, number, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
right, calls = getattr(os, name), 0
def call(*arguments, **named):
    global calls
    calls += 1
    if calls != number:
        return right(*arguments, **named)
    if when == "half":
        right(arguments[0], bytes(arguments[1])[: len(arguments[1]) // 2])
    if when == "after":
        right(*arguments, **named)
    os.kill(os.getpid(), signal.SIGKILL)
setattr(os, name, call)
from elman.cli import main
main(sys.argv[4:])
"""


def payload(path: Path) -> bytes:
    """Return the file without its header, which contains the duration of training."""
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little") :]


def card(path: Path) -> dict[str, object]:
    """Return the card without its times."""
    data = path.read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    card = json.loads(header["__metadata__"]["card"])
    del card["created"], card["training"]["seconds"]
    return dict(card)


def command(text: Path, output: Path, *more: str) -> list[str]:
    return ["train", str(text), "-o", str(output), "--json", *TRAIN, *more]


@pytest.fixture(scope="module")
def uninterrupted(manual: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    text = folder / "manual.txt"
    text.write_text(manual, encoding="utf-8")
    subprocess.run(
        [sys.executable, "-m", "elman", *command(text, folder / "m.safetensors")],
        check=True,
        capture_output=True,
    )
    return folder


def finish(folder: Path, output: Path, *more: str) -> None:
    """Resume until the end and compare with the uninterrupted run."""
    done = subprocess.run(
        [sys.executable, "-m", "elman", *command(folder / "manual.txt", output, "--resume", *more)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert payload(output) == payload(folder / "m.safetensors")
    assert card(output) == card(folder / "m.safetensors")
    assert not output.with_suffix(".checkpoint").exists()


def test_killed_at_random_moments(uninterrupted: Path, tmp_path: Path) -> None:
    output = tmp_path / "m.safetensors"
    moments = random.Random(0)
    kills = 0
    for _ in range(4):
        begun = output.with_suffix(".checkpoint").joinpath("state.safetensors").exists()
        more = ["--resume"] if begun else []
        process = subprocess.Popen(
            [
                *(sys.executable, "-m", "elman"),
                *command(uninterrupted / "manual.txt", output, *more),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        journal, started = output.with_suffix(".run.jsonl"), time.monotonic()
        size = journal.stat().st_size if journal.exists() else 0
        # wait for the first event of this process, then for a fraction of a second
        while process.poll() is None and time.monotonic() - started < 60:
            if journal.exists() and journal.stat().st_size > size + 2:
                break
            time.sleep(0.01)
        time.sleep(moments.uniform(0.0, 0.3))
        process.send_signal(signal.SIGKILL)
        kills += process.wait() == -signal.SIGKILL
    assert kills >= 2, "the runs ended before they could be killed"
    assert begun, "no run was killed after its first checkpoint"
    finish(uninterrupted, output)


@pytest.mark.parametrize(
    ("call", "number", "when"),
    [
        ("write", 60, "half"),
        ("fsync", 4, "before"),
        ("replace", 3, "before"),
        ("replace", 3, "after"),
    ],
)
def test_killed_inside_a_save(
    uninterrupted: Path, tmp_path: Path, call: str, number: int, when: str
) -> None:
    output = tmp_path / "m.safetensors"
    done = subprocess.run(
        [
            *(sys.executable, "-c", ASSASSIN, call, str(number), when),
            *command(uninterrupted / "manual.txt", output),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert output.with_suffix(".checkpoint").joinpath("state.safetensors").exists()
    finish(uninterrupted, output)


def test_a_run_that_learns_on_is_killed_inside_a_save(uninterrupted: Path, tmp_path: Path) -> None:
    start = ("--from", str(uninterrupted / "m.safetensors"))
    whole = tmp_path / "whole"
    whole.mkdir()
    for output, killer in (
        (whole / "m.safetensors", ("-m", "elman")),
        (tmp_path / "m.safetensors", ("-c", ASSASSIN, "replace", "3", "after")),
    ):
        arguments = command(uninterrupted / "manual.txt", output, *start)
        done = subprocess.run(
            [sys.executable, *killer, *arguments], capture_output=True, check=False
        )
    assert done.returncode == -signal.SIGKILL, done.stderr
    # Another model to learn on from would give another network.
    other = command(
        uninterrupted / "manual.txt", output, "--resume", "--from", str(whole / "m.safetensors")
    )
    refused = subprocess.run(
        [sys.executable, "-m", "elman", *other], capture_output=True, check=False
    )
    assert b"with another model to train further than the interrupted run" in refused.stderr
    (whole / "manual.txt").write_bytes((uninterrupted / "manual.txt").read_bytes())
    finish(whole, output, *start)
